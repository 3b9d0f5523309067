"""Limits of loaders: the bytes of a batch copied, and the blocks of a database read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import numpy as np
from loader import BATCH, INPUT, OUTPUT, Batch, Stream, ahead, measure, peaks
from ours_loader import tracks_of, uri

__all__ = ["block_reads", "copies", "measure"]

_BATCHES = 32
_BLOCK = 2**22


def copies(job: SimpleNamespace) -> Callable[[], Stream]:
    """Arrays of a batch's shapes copied into fresh ones, from more of them than caches hold."""

    def start() -> Stream:
        tracks = len(job.files)
        shapes = (BATCH, INPUT, 4), (BATCH, OUTPUT, tracks), (BATCH, tracks)
        made = [tuple(np.ones(shape, np.float32) for shape in shapes) for _ in range(_BATCHES)]

        def make(batch: Batch) -> Batch:
            sequence, profile, counts = batch
            return sequence.copy(), profile.copy(), counts.copy()

        return Stream(ahead(make, cycle(made), job.threads))

    return start


def block_reads(job: SimpleNamespace) -> Callable[[], Stream]:
    """Sequence and tracks of the database read once an epoch, block after block, and nothing made of them."""
    import db_ingest.layout.reader  # noqa: F401
    from kerasgen.database import Database

    def start() -> Stream:
        database = Database(uri(job))
        tracks = [None, *(database.track(*names) for names in tracks_of(job))]
        centres = peaks(job)
        block = centres // _BLOCK

        def read(number: int) -> tuple[Any, ...]:
            inside = centres[block == number]
            span = np.maximum(inside[:1] - INPUT, 0), np.minimum(inside[-1:] + INPUT, database.genome.sizes[0])
            return np.empty(len(inside)), *(database.read(track, span) for track in tracks)

        def numbers() -> Iterator[int]:
            while True:
                yield from np.unique(block).tolist()

        return Stream(ahead(read, numbers(), job.threads))

    return start
