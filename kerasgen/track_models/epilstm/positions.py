"""Positions of a genome as the codes of an autoencoder's bottleneck."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np

from kerasgen.bundle import Bundle
from kerasgen.database import Database
from kerasgen.track_models.binned import stored_transformation
from kerasgen.track_models.epilstm.inputs import Inputs


class Codes:
    """Codes of an autoencoder's bottleneck, computed from the tracks of a database; of an ensemble, the first model's.

    Args:
        found: the bundle of an Epi-LSTM.
        database: holds the tracks that it was trained on, of any chromosomes.

    Raises:
        InputError: a track is missing, or lies on a grid that does not fit.
    """

    def __init__(self, found: Bundle, database: Database) -> None:
        self._found, self._inputs = found, Inputs(found, database)
        self.bin, self.chromosomes = self._inputs.bin, self._inputs.chromosomes
        self.components: int = found.config["architecture"]["config"]["bottleneck"]

    def digest(self, chromosomes: Sequence[str]) -> str:
        """Changes when the model or the tracks do."""
        model = hashlib.sha256(self._found.model_path.read_bytes()).hexdigest()
        values = [[t.bin, stored_transformation(t), *map(t.checksums.get, chromosomes)] for t in self._inputs.tracks]
        return hashlib.sha256(json.dumps([model, values, list(chromosomes)]).encode()).hexdigest()

    def load(self) -> None:
        """Load the model."""
        from kerasgen.track_models.epilstm.encoder import Coder

        longest = max(map(self._inputs.bins, self.chromosomes))
        self._coder = Coder(self._found.load_model(), self._inputs.normalisation, longest)

    def blocks(self, chromosome: str) -> Iterator[tuple[int, np.ndarray]]:
        """Read tracks and encode them, some stretches at a time."""
        read = functools.partial(self._inputs.read, chromosome)
        yield from self._coder.run(read, self._inputs.bins(chromosome))
