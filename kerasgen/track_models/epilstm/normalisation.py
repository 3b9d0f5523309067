"""Tracks brought to mean 0 and standard deviation 1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from db_ingest.errors import InputError
from kerasgen.track_models.binned import BinnedTracks, Stretch

_BLOCK = 2**18


@dataclass(frozen=True)
class Normalisation:
    """What brings each track to mean 0 and standard deviation 1 in the training bins.

    Args:
        mean, scale: ``(tracks,) float64``; the scale of a track that does not vary is 1.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, tracks: BinnedTracks, stretches: Iterable[Stretch]) -> Normalisation:
        """Take mean and standard deviation over the bins of some stretches that have a value.

        Raises:
            InputError: a track has no value there.
        """
        columns = [(stretch.first, stretch.end) for stretch in stretches]
        mean, scale = np.zeros(len(tracks.pairs)), np.ones(len(tracks.pairs))
        for row, pair in enumerate(tracks.pairs):
            values = np.concatenate([tracks.values[row, first:end] for first, end in columns]).astype(np.float64)
            values = values[~np.isnan(values)]
            if not len(values):
                raise InputError(f"{pair[0]}/{pair[1]}: no value in any training bin; leave this track out")
            mean[row], deviation = values.mean(), values.std()
            if deviation > 0:
                scale[row] = deviation
        return cls(mean, scale)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Normalisation:
        """The same as :meth:`to_json` gave it."""
        return cls(np.array(document["mean"], float), np.array(document["scale"], float))

    def to_json(self) -> dict[str, Any]:
        """As plain data, for a bundle."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Normalised values, one row per bin.

        Args:
            values: ``(tracks, bins) float32``; NaN where there is no value.

        Returns:
            ``(bins, tracks) float32``, NaN likewise.
        """
        result = np.empty(values.shape[::-1], np.float32)
        mean, factor = self.mean.astype(np.float32), (1 / self.scale).astype(np.float32)
        for first in range(0, len(result), _BLOCK):
            some = slice(first, first + _BLOCK)
            np.subtract(values[:, some].T, mean, out=result[some])
            result[some] *= factor
        return result

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Values ``(tracks, bins) float32`` of normalised ones ``(bins, tracks)``."""
        return (values * self.scale + self.mean).astype(np.float32).T
