"""How much of the tracks a model's codes keep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.binned import BinnedTracks, Stretch
from kerasgen.embedding.frames import Normalisation

if TYPE_CHECKING:
    import keras


def reconstructions(
    model: keras.Model, normalisation: Normalisation, tracks: BinnedTracks, stretches: Sequence[Stretch]
) -> Iterator[tuple[int, np.ndarray]]:
    """Reconstruct stretches from nothing but their own bins.

    Args:
        model: what :func:`architectures.epilstm.build` made.
        normalisation: of its tracks.
        tracks: the tracks that it takes.
        stretches: of these.

    Yields:
        Column of the first bin, and ``(tracks, bins) float32`` in the units of the tracks.
    """
    from kerasgen.embedding.coding import Coder

    coder = Coder(model, normalisation, max(s.end - s.first for s in stretches), reconstruct=True)
    for stretch in stretches:

        def read(low: int, high: int, begin: int = stretch.first) -> np.ndarray:
            return tracks.values[:, begin + low : begin + high]

        for first, values in coder.run(read, stretch.end - stretch.first):
            yield stretch.first + first, normalisation.undo(values)


def r_squared(
    model: keras.Model,
    normalisation: Normalisation,
    tracks: BinnedTracks,
    stretches: Sequence[Stretch],
    scaled: Normalisation | None = None,
) -> float:
    """Share of the variance of all tracks together that reconstructions explain, of values that there are.

    ``1 - sum of squared errors / sum of squared differences from each track's mean in these bins``, each track in units
    of its standard deviation; NaN where nothing varies, or there is no value.

    Args:
        model, normalisation, tracks, stretches: see :func:`reconstructions`.
        scaled: the units, where models of several normalisations are compared; else the model's own.
    """
    scaled = scaled or normalisation
    error = np.zeros(len(tracks.pairs))
    number, total, squares = np.zeros_like(error), np.zeros_like(error), np.zeros_like(error)
    for first, found in reconstructions(model, normalisation, tracks, stretches):
        values = tracks.values[:, first : first + found.shape[1]].astype(np.float64)
        known = ~np.isnan(values)
        # About the training mean, so that squares of large values do not cancel.
        values = np.where(known, values - scaled.mean[:, None], 0)
        error += np.where(known, (found - scaled.mean[:, None] - values) ** 2, 0).sum(axis=1)
        number += known.sum(axis=1)
        total += values.sum(axis=1)
        squares += (values**2).sum(axis=1)
    spread = squares - total**2 / np.maximum(number, 1)
    whole = (spread / scaled.scale**2).sum()
    return float(1 - (error / scaled.scale**2).sum() / whole) if whole > 0 else math.nan
