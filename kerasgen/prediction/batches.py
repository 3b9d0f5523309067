"""Batches of windows in a given order, read from a database through the loader, each made while one is used."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import numpy as np

from db_ingest.ahead import ahead
from kerasgen.loader.builder import Arrays, BatchBuilder, keep_accepted
from kerasgen.loader.order import Order
from kerasgen.loader.sources import BlockSource, EpochCells
from kerasgen.regions.windows import Windows

_READ_TOGETHER = 4096
"""Windows that are read in one go."""


def read_batches(builder: BatchBuilder, windows: Windows, batch_size: int) -> Generator[tuple[slice, Arrays, Arrays]]:
    """Read windows in order; the next batch is made, and the windows of the next ones are read, meanwhile.

    Threads do that until the generator is closed, see :func:`contextlib.closing`.

    Yields:
        The samples' places, their inputs and their labels.
    """
    count = len(windows.centre)

    def build(first: int) -> tuple[Arrays, Arrays]:
        return builder.build(windows, held.parts(first, min(first + batch_size, count)))

    starts = range(0, count, batch_size)
    with (
        contextlib.closing(_held(builder, windows, batch_size)) as held,
        contextlib.closing(ahead(build, starts)) as made,
    ):
        for first, (inputs, labels) in zip(starts, made, strict=True):
            yield slice(first, min(first + batch_size, count)), inputs, labels


def accepted(builder: BatchBuilder, windows: Windows, batch_size: int) -> Windows:
    """The windows whose values lie within the minima and maxima of inputs and outputs, in order."""
    if not builder.is_filtered or len(windows.centre) == 0:
        return windows
    with contextlib.closing(_held(builder, windows, batch_size)) as held:
        return keep_accepted(builder, windows, batch_size, parts=held.parts)


def _held(builder: BatchBuilder, windows: Windows, batch_size: int) -> EpochCells:
    return BlockSource(builder.database, builder.needs, Order(), max(batch_size, _READ_TOGETHER)).hold(windows)


def turned(values: np.ndarray, windows: Windows, swap: np.ndarray | None = None) -> np.ndarray:
    """Values of windows, ``(n, length, tracks)``, in genome direction: those of reversed windows are turned back.

    Args:
        values: in the direction in which the windows were read.
        windows: ``n`` windows.
        swap: for each channel, the channel whose values it holds in a reversed window; None: its own.
    """
    back = values[:, ::-1] if swap is None else values[:, ::-1][:, :, swap]
    return np.where(windows.reverse[:, None, None], back, values)
