"""Tracks as an autoencoder gives them back: from the codes of all tracks, also where one of them has no value."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from db_ingest.errors import InputError
from kerasgen.bundle import Bundle, load_model
from kerasgen.database import Database
from kerasgen.track_models.binned import Pair
from kerasgen.track_models.ensemble import network_path
from kerasgen.track_models.epilstm.reader import TrackReader
from kerasgen.track_models.models import BINS_AT_ONCE, BinRange, TrackModel


class Reconstruction(TrackModel):
    """An Epi-LSTM, principal components or an ensemble, and the database whose tracks it gives back.

    Args:
        trained: the bundle.
        database: holds the tracks that it was trained on, of any chromosomes.
        at_once: bins reconstructed in one go, at most.

    Raises:
        MissingFileError: a file is missing.
        InputError: a track is missing, or lies on a grid that does not fit.
    """

    def __init__(self, trained: Bundle, database: Database, at_once: int) -> None:
        from kerasgen.track_models.epilstm.encoder import LANE_FRAMES, Encoder

        self._reader = reader = TrackReader(trained, database)
        self.tracks: list[Pair] = [(track.dataset, track.attribute) for track in reader.tracks]
        sizes = database.genome.size_by_name
        super().__init__(
            str(trained.prefix),
            trained.config,
            sizes,
            reader.bin,
            reader.transformation,
            trained.config.get("n_models", 1),
        )
        paths = [network_path(trained.prefix, number) for number in range(self.n_models)]
        models = [load_model(path) for path in paths]
        # What is asked for may begin within a lane.
        longest = at_once + LANE_FRAMES * models[0].outputs[0].shape[1]
        longest = min(longest, max(map(reader.bins, reader.chromosomes)))
        self._encoders = [Encoder(model, reader.normalisation, longest, reconstruct=True) for model in models]

    @property
    def chromosomes(self) -> list[str]:
        """Chromosomes that a track of the model has values on."""
        return list(self._reader.chromosomes)

    @property
    def celltypes(self) -> list[str]:
        """Cell types of the tracks."""
        return list(dict.fromkeys(celltype for celltype, _ in self.tracks))

    @property
    def assays(self) -> list[str]:
        """Assays of the tracks."""
        return list(dict.fromkeys(assay for _, assay in self.tracks))

    def pairs(self, celltypes: Sequence[str] | None, assays: Sequence[str] | None) -> list[Pair]:
        """The model's tracks of some cell types and assays; all of a side that is not given.

        Raises:
            InputError: an unknown name, one given twice, or a pair that is named and no track of the model.
        """
        wanted = super().pairs(celltypes, assays)
        strange = [pair for pair in wanted if pair not in self.tracks]
        if strange and celltypes and assays:
            raise InputError(
                f"{self.prefix}: gives back the tracks that it was trained on; {':'.join(strange[0])} is none of them"
            )
        return [pair for pair in wanted if pair in self.tracks]

    def impute(self, pairs: Sequence[Pair], bins: BinRange) -> np.ndarray:
        """Tracks as the model gives them back, ``(pairs, bins) float32``; of an ensemble, the mean.

        In the values that the model was trained on; NaN where none of its tracks has a value.
        """
        return self._each(pairs, bins).mean(axis=0)

    def impute_with_std(self, pairs: Sequence[Pair], bins: BinRange) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`impute` gives, and the standard deviation between the models, likewise."""
        each = self._each(pairs, bins)
        return each.mean(axis=0), each.std(axis=0)

    def _each(self, pairs: Sequence[Pair], bins: BinRange) -> np.ndarray:
        """What each model alone gives, ``(models, pairs, bins) float32``."""
        rows = [self.tracks.index(pair) for pair in pairs]
        read = functools.partial(self._reader.read, bins.chromosome)
        values = np.empty((self.n_models, len(pairs), bins.end - bins.first), np.float32)
        for of_model, encoder in zip(values, self._encoders, strict=True):
            for first, block in encoder.run(read, self._reader.bins(bins.chromosome), bins.first, bins.end):
                low = first - bins.first
                of_model[:, low : low + len(block)] = self._reader.normalisation.undo(block)[rows]
        return values


def open_imputer(trained: Bundle, tdb_array: str | None) -> Reconstruction:
    """Open a bundle with the database that it reads: the one that it was trained on if none is named."""
    return Reconstruction(trained, Database(tdb_array or trained.config["database"]["uri"]), BINS_AT_ONCE)
