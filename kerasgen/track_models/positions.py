"""What a trained model says of each position of a genome: its embedding, chromosome by chromosome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np


class Positions(Protocol):
    """Embeddings of the positions of a genome.

    Attributes:
        components: numbers per position.
        bin: bp per position.
        chromosomes: those that there are embeddings of.
    """

    components: int
    bin: int
    chromosomes: tuple[str, ...]

    def digest(self, chromosomes: Sequence[str]) -> str:
        """Changes when the embeddings of these chromosomes would."""

    def load(self) -> None:
        """Load the model; before :meth:`blocks`."""

    def blocks(self, chromosome: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield first bin and ``(bins, components) float32`` of one stretch after another; NaN where there is none."""
