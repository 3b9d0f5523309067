"""Principal components of tracks: the baseline of an autoencoder, and where one begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from kerasgen.track_models.binned import Stretch

_BLOCK = 2**16


def components(values: np.ndarray, stretches: Sequence[Stretch], number: int) -> np.ndarray:
    """Directions of the largest variance, of tracks whose mean is 0.

    Args:
        values: ``(bins, tracks) float32``, normalised; a missing value (NaN) counts as the mean.
        stretches: the bins to take.
        number: components; those beyond the number of tracks are 0.

    Returns:
        ``(tracks, number) float32``, orthonormal columns, the largest weight of each above 0.
    """
    tracks = values.shape[1]
    products = np.zeros((tracks, tracks))
    for block in _blocks(values, stretches):
        filled = np.nan_to_num(block, copy=True)
        products += filled.T @ filled
    directions = np.linalg.eigh(products)[1][:, ::-1][:, :number]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0)
    found = np.zeros((tracks, number), np.float32)
    found[:, : directions.shape[1]] = directions * np.sign(largest)
    return found


def _blocks(values: np.ndarray, stretches: Sequence[Stretch]) -> Iterable[np.ndarray]:
    for stretch in stretches:
        for first in range(stretch.first, stretch.end, _BLOCK):
            yield values[first : min(first + _BLOCK, stretch.end)]
