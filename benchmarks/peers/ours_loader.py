"""Our loader, in memory and out of core: all that the benchmark knows of its interface is here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from loader import BATCH, INPUT, JITTER, OUTPUT, Batch, Stream, ahead, measure, peaks

if TYPE_CHECKING:
    from kerasgen.loader.builder import BatchBuilder
    from kerasgen.regions.windows import WindowPlan

__all__ = ["generators", "in_memory", "mapped", "measure", "out_of_core", "tracks_of", "uri"]


def uri(job: SimpleNamespace) -> str:
    """Where the database lies."""
    return job.uri or f"{job.target}/database"


def tracks_of(job: SimpleNamespace) -> list[tuple[str, str]]:
    """Attribute and dataset of each track: one that has no strand, or pairs."""
    if len(job.files) == 1:
        return [("signal", "sample000")]
    return [(f"signal_{'minus' if i % 2 else 'plus'}", f"sample{i // 2:03d}") for i in range(len(job.files))]


def parts(job: SimpleNamespace) -> tuple[BatchBuilder, WindowPlan]:
    """What makes batches, nothing loaded, and what says which windows they hold."""
    from db_ingest import intervals
    from db_ingest.inputs.strands import pair_strands
    from kerasgen.database import Database
    from kerasgen.loader.builder import BatchBuilder
    from kerasgen.regions.windows import Loci, WindowPlan
    from kerasgen.spec import Channels, DataSpec

    database = Database(uri(job))
    attributes, datasets = zip(*tracks_of(job), strict=True)
    spec = DataSpec(
        inputs=(Channels(("seq",), (), INPUT // 2),),
        outputs=(
            Channels(attributes, datasets, OUTPUT // 2),
            Channels(attributes, datasets, OUTPUT // 2, aggregation="sum", transformation="log"),
        ),
        strand_map=tuple(pair_strands(sorted(set(attributes))).items()),
    )
    centres = peaks(job)
    nothing = np.zeros(len(centres), np.int64)
    loci = Loci(
        genome=database.genome,
        chromosome=nothing,
        low=centres - JITTER,
        high=centres + JITTER,
        reverse=nothing.astype(bool),
        copy=nothing,
        regions=intervals.merge(centres, centres + 1),
    )
    return BatchBuilder(database, spec), WindowPlan(loci, revcomp=True)


def _stream(job: SimpleNamespace, share: float, cache_dir: str | None = None) -> Callable[[], Stream]:
    """Batches with memory for a share of the bytes of the database's cells that windows can touch, or from files."""

    def start() -> Stream:
        builder, plan = parts(job)
        needed = size_of(builder.needs, plan.cover)[0] / 1e9
        source = choose(
            builder.database, builder.needs, plan, cache_gb=share * needed, cache_dir=cache_dir, threads=job.threads
        )

        def windows() -> Iterator[Any]:
            epoch = 0
            while True:
                drawn, held = source.epoch(plan, epoch)
                for first in range(0, len(plan) - BATCH + 1, BATCH):
                    yield [(drawn.take(part), store) for part, store in held.parts(first, first + BATCH)]
                held.close()
                epoch += 1

        def make(parts: Any) -> Batch:
            found = [(*builder.inputs(part, store), *builder.outputs(part, store)) for part, store in parts]
            if len(found) == 1:
                return found[0]
            sequence, profile, counts = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
            return sequence, profile, counts

        return Stream(ahead(make, windows(), job.threads))

    # Loaded where they are first needed; here, as the peers' modules are, before the clock starts.
    import db_ingest.layout.reader  # noqa: F401
    import kerasgen.loader.builder  # noqa: F401
    from kerasgen.loader.cells import size_of
    from kerasgen.loader.sources import choose

    return start


def in_memory(job: SimpleNamespace) -> Callable[[], Stream]:
    """With memory for all."""
    return _stream(job, 1e3)


def out_of_core(job: SimpleNamespace) -> Callable[[], Stream]:
    """With memory for a tenth."""
    return _stream(job, 0.1)


def mapped(job: SimpleNamespace) -> Callable[[], Stream]:
    """From files mapped into memory, made by an earlier run."""
    return _stream(job, 0.1, f"{job.target}/cells")


def generators(job: SimpleNamespace) -> Callable[[int], Any]:
    """Batches of an epoch as ``gen_train`` has them, by its number: ``keras.utils.PyDataset``, all in memory."""
    from kerasgen.loader.dataset import BatchGenerator
    from kerasgen.loader.sources import choose

    builder, plan = parts(job)
    source = choose(builder.database, builder.needs, plan, cache_gb=1e3, threads=job.threads)
    return lambda epoch: BatchGenerator(builder, plan, BATCH, source=source, epoch=epoch, threads=job.threads)
