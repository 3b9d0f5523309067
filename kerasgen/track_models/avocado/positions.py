"""Positions of a genome as the factors that an Avocado learned of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from db_ingest.errors import InputError
from kerasgen import backend
from kerasgen.bundle import Bundle
from kerasgen.database import Database
from kerasgen.track_models.avocado.whole_genome import GenomeAvocado

_BLOCK = 2**18


class Factors:
    """Genome factors of an Avocado, as it learned them; the tracks are not read again.

    Args:
        trained: the bundle of an Avocado.
        database: one of the genome that it was trained on.

    Raises:
        InputError: a chromosome of another size, or a model without genome factors.
    """

    def __init__(self, trained: Bundle, database: Database) -> None:
        backend.load()
        self._trained = trained
        self._model = GenomeAvocado(trained.prefix)
        self.bin = self._model.main.bin
        self.chromosomes = tuple(self._model.chromosomes)
        self.components = self._width(self.chromosomes[0])
        if self.components == 0:
            raise InputError(
                f"{trained.model_path}: has no genome factors; train one that has, e.g. --preset published"
            )
        grid = database.genome.binned(self.bin)
        for name in self.chromosomes:
            if name not in grid or grid.size(name) != self._model.bins(name):
                raise InputError(
                    f"{database.uri}: no chromosome {name} of {self._model.bins(name):,} bins; expected the genome "
                    f"that {trained.model_path} was trained on"
                )

    def digest(self, chromosomes: Sequence[str]) -> str:
        """Changes when the factors do."""
        own = {s.chromosome for s in self._model.main.stretches}
        files = [
            f"{self._trained.prefix}.npz",
            *(f"{self._trained.prefix}.{n}.npz" for n in chromosomes if n not in own),
        ]
        contents = []
        for path in files:
            with Path(path).open("rb") as file:
                contents.append(hashlib.file_digest(file, "sha256").hexdigest())
        return hashlib.sha256(json.dumps([contents, list(chromosomes)]).encode()).hexdigest()

    def load(self) -> None:
        """Nothing is left to load."""

    def blocks(self, chromosome: str) -> Iterator[tuple[int, np.ndarray]]:
        """Lay the factors of the three resolutions side by side, some bins at a time."""
        model, origin = self._model.of(chromosome)
        bins = self._model.bins(chromosome)
        for first in range(0, bins, _BLOCK):
            last = min(first + _BLOCK, bins)
            yield first, model.factors(origin + first, origin + last)

    def _width(self, chromosome: str) -> int:
        model, origin = self._model.of(chromosome)
        return int(model.factors(origin, origin + 1).shape[1])
