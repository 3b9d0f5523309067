"""Batches of positions and of the experiments that each trains on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from db_ingest.ahead import ahead
from kerasgen.track_models.avocado.context import Context
from kerasgen.track_models.avocado.settings import AvocadoSettings

BLOCK = 200
"""Neighbouring bins that ``permuted`` sampling keeps together: those that share a row of the coarsest factors."""
_AHEAD = 3


class Experiments(NamedTuple):
    """Tracks to learn from.

    Attributes:
        values: ``(tracks, bins) float32``, NaN where there is none.
        celltypes, assays: ``(tracks,) int64`` indices.
        scales: ``(tracks, 2) float32``: the model's units are values less the first, divided by the second. None where
            these are those of ``values``. Whole tracks are never held twice for it.
    """

    values: np.ndarray
    celltypes: np.ndarray
    assays: np.ndarray
    scales: np.ndarray | None = None


class PositionBatch(NamedTuple):
    """One step's samples, ordered by position.

    Attributes:
        positions: ``(n,) int64``.
        inputs: arrays for :class:`.Trainer`: cell types, assays, perhaps context, values, weights.
    """

    positions: np.ndarray
    inputs: list[np.ndarray]


def batches(
    experiments: Experiments,
    settings: AvocadoSettings,
    sampling: str,
    steps: int,
    rng: np.random.Generator,
    context: Context | None,
) -> Iterator[PositionBatch]:
    """Batches, the next few of them made ahead by a thread of its own.

    Args:
        experiments: to learn from.
        settings: the batch size and the share of tracks to do without.
        sampling: see :class:`kerasgen.track_models.avocado.settings.AvocadoSettings`.
        steps: how many.
        rng: draws positions and experiments; the same numbers give the same batches.
        context: averages of the experiments, for a model that takes them.
    """
    order = draw_positions(experiments.values.shape[1], settings.batch_size, sampling, rng)

    def make(step: int) -> PositionBatch:
        return _batch(experiments, settings, order, rng, context)

    # One thread, asked in order: what the generator draws does not depend on who is faster.
    return ahead(make, range(steps), depth=_AHEAD, name="samples")


def _batch(
    experiments: Experiments,
    settings: AvocadoSettings,
    order: Iterator[np.ndarray],
    rng: np.random.Generator,
    context: Context | None,
) -> PositionBatch:
    positions = np.sort(next(order))
    tracks = rng.integers(len(experiments.values), size=len(positions))
    celltypes, assays = experiments.celltypes[tracks], experiments.assays[tracks]
    values = experiments.values[tracks, positions]
    if experiments.scales is not None:
        offset, spread = experiments.scales[tracks].T
        values = (values - offset) / spread
    missing = np.isnan(values)
    inputs = [index[:, None].astype(np.int32) for index in (celltypes, assays)]
    if context is not None:
        kept = None
        if settings.track_dropout:
            kept = rng.random((len(positions), context.tracks), np.float32) >= settings.track_dropout
        inputs.append(context(positions, celltypes, assays, kept))
    values = np.where(missing, np.float32(0), values)
    weights = np.where(missing, np.float32(0), 1 + np.float32(settings.peak_weight) * np.maximum(values, 0))
    return PositionBatch(positions, [*inputs, values, weights])


def draw_positions(bins: int, size: int, sampling: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Positions of batch after batch, without end."""
    if sampling == "random":
        while True:
            yield rng.integers(bins, size=size)
    begin, left = 0, np.empty(0, np.int64)
    blocks = -(-bins // BLOCK)
    while True:
        if sampling == "sequential":
            yield (begin + np.arange(size)) % bins
            begin = (begin + size) % bins
            continue
        while len(left) < size:
            places = (rng.permutation(blocks)[:, None] * BLOCK + np.arange(BLOCK)).ravel()
            left = np.concatenate([left, places[places < bins]])
        yield left[:size]
        left = left[size:]
