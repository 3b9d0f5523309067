"""A database on S3: written, and read as one epoch of training reads it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from store import Work
from store import ours as ingest

from kerasgen.loader.cells import size_of
from kerasgen.loader.sources import choose

if TYPE_CHECKING:
    from kerasgen.loader.builder import BatchBuilder
    from kerasgen.regions.windows import WindowPlan

__all__ = ["ingest", "into_memory", "through_buffer", "track"]

BATCH = 64


def _epoch(job: SimpleNamespace) -> tuple[BatchBuilder, WindowPlan]:
    """Batches over the first track at the peaks of the ranges: 2,114 bp in, 1,000 bp out, 500 bp of jitter."""
    from db_ingest import intervals
    from kerasgen.database import Database
    from kerasgen.loader.builder import BatchBuilder
    from kerasgen.regions.windows import Loci, WindowPlan
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
    return BatchBuilder(database, spec), WindowPlan(loci)


def into_memory(job: SimpleNamespace) -> Work:
    """All that the epoch's windows touch, in one go, as training does where memory allows it."""
    builder, plan = _epoch(job)
    return lambda: choose(builder.database, builder.needs, plan, cache_gb=1e3)


def through_buffer(job: SimpleNamespace) -> Work:
    """Through a buffer of a tenth of it, as training does where memory does not allow it."""
    builder, plan = _epoch(job)
    budget = size_of(builder.needs, plan.cover)[0] / 10e9

    def work() -> None:
        source = choose(builder.database, builder.needs, plan, cache_gb=budget)
        windows, held = source.epoch(plan, 0)
        for start in range(0, len(plan), BATCH):
            for part, store in held.parts(start, min(start + BATCH, len(plan))):
                batch = windows.take(part)
                builder.inputs(batch, store), builder.outputs(batch, store)
        held.close()

    return work


def track(job: SimpleNamespace) -> Any:
    """The whole track."""
    from read import ours

    return ours(job)
