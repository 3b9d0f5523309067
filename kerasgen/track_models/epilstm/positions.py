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
from kerasgen.track_models.epilstm.reader import TrackReader


class Codes:
    """Codes of an autoencoder's bottleneck, computed from the tracks of a database; of an ensemble, the first model's.

    Args:
        trained: the bundle of an Epi-LSTM.
        database: holds the tracks that it was trained on, of any chromosomes.

    Raises:
        InputError: a track is missing, or lies on a grid that does not fit.
    """

    def __init__(self, trained: Bundle, database: Database) -> None:
        self._trained, self._reader = trained, TrackReader(trained, database)
        self.bin, self.chromosomes = self._reader.bin, self._reader.chromosomes
        self.components: int = trained.config["architecture"]["config"]["bottleneck"]

    def digest(self, chromosomes: Sequence[str]) -> str:
        """Changes when the model or the tracks do."""
        model = hashlib.sha256(self._trained.model_path.read_bytes()).hexdigest()
        values = [[t.bin, stored_transformation(t), *map(t.checksums.get, chromosomes)] for t in self._reader.tracks]
        return hashlib.sha256(json.dumps([model, values, list(chromosomes)]).encode()).hexdigest()

    def load(self) -> None:
        """Load the model."""
        from kerasgen.track_models.epilstm.encoder import Encoder

        longest = max(map(self._reader.bins, self.chromosomes))
        self._encoder = Encoder(self._trained.load_model(), self._reader.normalisation, longest)

    def blocks(self, chromosome: str) -> Iterator[tuple[int, np.ndarray]]:
        """Read tracks and encode them, some stretches at a time."""
        read = functools.partial(self._reader.read, chromosome)
        yield from self._encoder.run(read, self._reader.bins(chromosome))
