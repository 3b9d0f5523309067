"""Tracks of a database as an autoencoder that was trained on them takes them."""

from __future__ import annotations

import numpy as np

from db_ingest.errors import InputError
from db_ingest.layout.catalogue import Track
from kerasgen.bundle import Bundle
from kerasgen.database import Database
from kerasgen.track_models.binned import stored_transformation
from kerasgen.track_models.epilstm.normalisation import Normalisation


class TrackReader:
    """What an Epi-LSTM, or principal components, read of a database.

    Args:
        trained: the bundle.
        database: holds the tracks that it was trained on, of any chromosomes.

    Attributes:
        tracks: in the model's order.
        bin: bp per bin.
        transformation: ``"arcsinh"`` or ``"None"``: what values have been through when the model gets them.
        normalisation: that of the tracks.
        chromosomes: those that a track has values on.

    Raises:
        InputError: a track is missing, or lies on a grid that does not fit.
    """

    def __init__(self, trained: Bundle, database: Database) -> None:
        config = trained.config
        self._database, self._model = database, trained.model_path
        self.bin: int = config["bin"]
        self.transformation: str = config["transformation"]
        self.normalisation = Normalisation.from_json(config["normalisation"])
        self.tracks = [self._track(celltype, assay) for celltype, assay in config["tracks"]]
        having = {name for track in self.tracks for name in track.checksums}
        self.chromosomes = tuple(name for name in database.genome.names if name in having)

    def bins(self, chromosome: str) -> int:
        """Bins of a chromosome."""
        return -(-self._database.genome.size(chromosome) // self.bin)

    def read(self, chromosome: str, low: int, high: int) -> np.ndarray:
        """Values of bins ``[low, high)``, ``(tracks, bins) float32``; NaN where there is no value."""
        values = np.empty((len(self.tracks), high - low), np.float32)
        for row, track in zip(values, self.tracks, strict=True):
            row[:] = self._database.bins([track], [chromosome], [low * self.bin], high - low, self.bin)[0, :, 0]
            if stored_transformation(track) != self.transformation:
                np.arcsinh(row, out=row)
        return values

    def _track(self, celltype: str, assay: str) -> Track:
        where = f"{self._database.uri}: {celltype}/{assay}"
        track = next(
            (t for t in self._database.tracks if (t.dataset, t.attribute) == (celltype, assay) and t.kind == "signal"),
            None,
        )
        if track is None:
            raise InputError(f"{where}: no such track; expected all that {self._model} was trained on")
        if self.bin % track.bin:
            raise InputError(f"{where}: measured in bins of {track.bin} bp; {self._model} takes {self.bin}")
        if stored_transformation(track) not in ("None", self.transformation):
            raise InputError(
                f"{where}: was ingested with transform {stored_transformation(track)}; "
                f"{self._model} takes {self.transformation}"
            )
        return track
