"""A database on S3: written, and read as one epoch of training reads it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from store import Work
from store import ours as ingest

if TYPE_CHECKING:
    from kerasgen.batches import BatchBuilder
    from kerasgen.regions import Plan

__all__ = ["by_batch", "ingest", "into_memory", "track"]

BATCH = 64


def _epoch(job: SimpleNamespace) -> tuple[BatchBuilder, Plan]:
    """Batches over the first track at the peaks of the ranges: 2,114 bp in, 1,000 bp out, 500 bp of jitter."""
    from db_ingest import intervals
    from kerasgen.batches import BatchBuilder
    from kerasgen.database import Database
    from kerasgen.regions import Loci, Plan
    from kerasgen.spec import Channels, DataSpec

    database = Database(job.uri)
    with np.load(job.ranges) as found:
        summits = found["windows"] + int(found["width"]) // 2
    channels = [Channels(("signal",), ("sample000",), flank) for flank in (1057, 500)]
    spec = DataSpec(inputs=(channels[0],), outputs=(channels[1],))
    nothing = np.zeros(len(summits), np.int64)
    loci = Loci(
        genome=database.genome,
        chromosome=nothing,
        low=summits - 500,
        high=summits + 500,
        reverse=nothing.astype(bool),
        copy=nothing,
        regions=intervals.merge(summits, summits + 1),
    )
    return BatchBuilder(database, spec), Plan(loci)


def into_memory(job: SimpleNamespace) -> Work:
    """All that the epoch's windows touch, in one go, as training does where memory allows it."""
    builder, plan = _epoch(job)
    return lambda: builder.load(plan, budget_gb=1e3)


def by_batch(job: SimpleNamespace) -> Work:
    """Batch by batch from the database, as training does where memory does not."""
    builder, plan = _epoch(job)
    builder.load(plan, budget_gb=0)

    def work() -> None:
        windows = plan.epoch(0)
        for start in range(0, len(plan), BATCH):
            batch = windows.take(slice(start, start + BATCH))
            builder.inputs(batch), builder.outputs(batch)

    return work


def track(job: SimpleNamespace) -> Any:
    """The whole track."""
    from read import ours

    return ours(job)
