"""How much of the tracks a model's codes keep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.track_models.binned import BinnedTracks, Stretch
from kerasgen.track_models.epilstm.normalisation import Normalisation

if TYPE_CHECKING:
    import keras


def reconstructions(
    models: Sequence[keras.Model], normalisation: Normalisation, tracks: BinnedTracks, stretches: Sequence[Stretch]
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Reconstruct stretches from nothing but their own bins.

    Args:
        models: those of an ensemble, or one; each what :func:`architectures.epilstm.build` made.
        normalisation: that of their tracks.
        tracks: the tracks that they take.
        stretches: bins of these.

    Yields:
        Column of the first bin, and of each model ``(tracks, bins) float32`` in the units of the tracks; NaN where no
        track has a value.
    """
    from kerasgen.track_models.epilstm.encoder import Encoder

    longest = max(s.end - s.first for s in stretches)
    encoders = [Encoder(model, normalisation, longest, reconstruct=True) for model in models]
    for stretch in stretches:

        def read(low: int, high: int, begin: int = stretch.first) -> np.ndarray:
            return tracks.values[:, begin + low : begin + high]

        bins = stretch.end - stretch.first
        for together in zip(*(encoder.run(read, bins) for encoder in encoders), strict=True):
            yield stretch.first + together[0][0], [normalisation.undo(values) for _, values in together]


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
    return r_squared_of_mean([model], normalisation, tracks, stretches, scaled)[0]


def r_squared_of_mean(
    models: Sequence[keras.Model],
    normalisation: Normalisation,
    tracks: BinnedTracks,
    stretches: Sequence[Stretch],
    scaled: Normalisation | None = None,
) -> tuple[float, list[float]]:
    """What :func:`r_squared` gives, of the mean of the reconstructions of several models, and of each model's."""
    scaled = scaled or normalisation
    error = np.zeros((1 + len(models), len(tracks.pairs)))
    number, total, squares = np.zeros((3, len(tracks.pairs)))
    for first, each in reconstructions(models, normalisation, tracks, stretches):
        values = tracks.values[:, first : first + each[0].shape[1]].astype(np.float64)
        known = ~np.isnan(values)
        # About the training mean, so that squares of large values do not cancel.
        values = np.where(known, values - scaled.mean[:, None], 0)
        for row, reconstructed in zip(error, [np.mean(each, axis=0, dtype=np.float64), *each], strict=True):
            row += np.where(known, (reconstructed - scaled.mean[:, None] - values) ** 2, 0).sum(axis=1)
        number += known.sum(axis=1)
        total += values.sum(axis=1)
        squares += (values**2).sum(axis=1)
    spread = squares - total**2 / np.maximum(number, 1)
    whole = (spread / scaled.scale**2).sum()
    if not whole > 0:
        return math.nan, [math.nan] * len(models)
    of_mean, *of_each = (1 - (error / scaled.scale**2).sum(axis=1) / whole).tolist()
    return of_mean, of_each
