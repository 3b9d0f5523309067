"""How fast a database and settings give batches, beside what the machine can do: what ``gen_bench_loader`` does."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, NamedTuple

from db_ingest.ahead import ahead
from db_ingest.settings import Setting, takes_settings
from kerasgen import spec as specs
from kerasgen.database import Database
from kerasgen.loader.builder import Arrays, BatchBuilder
from kerasgen.loader.cells import CellStore
from kerasgen.loader.sources import EpochSource, choose, require_local_folder
from kerasgen.regions.plan import plan_training
from kerasgen.regions.windows import WindowPlan
from kerasgen.settings import Data, Loading, Samples, TdbArray

log = logging.getLogger("kerasgen")


class Rate(NamedTuple):
    """How fast something went.

    Args:
        what: it was.
        threads: that worked.
        windows: a second.
        megabytes: of arrays a second.
    """

    what: str
    threads: int
    windows: float
    megabytes: float


class LoaderRates(NamedTuple):
    """What :func:`bench_loader` measured.

    Args:
        samples: an epoch.
        start_up: seconds until the first batch could be made.
        held_gb: GB held from epoch to epoch; 0: the windows come through a buffer of blocks.
        batch_mb: MB of a batch.
        rates: of batches, then of the limits.
        peak_gb: most memory of the process so far.
        limit: what holds batches back.
    """

    samples: int
    start_up: float
    held_gb: float
    batch_mb: float
    rates: list[Rate]
    peak_gb: float
    limit: str


@takes_settings
def bench_loader(
    *,
    tdb_array: TdbArray,
    data: Data,
    samples: Samples,
    loading: Loading,
    seconds: Annotated[float, Setting("duration of each measurement", unit="seconds", group="running", above=0)] = 3.0,
) -> LoaderRates:
    """Make the batches that ``gen_train`` would train on with the same flags, and measure how fast they come.

    Raises:
        InputError: as ``gen_train`` does for the same flags.
    """
    database = Database(tdb_array)
    spec = specs.from_settings(database, data)
    builder = BatchBuilder(database, spec, codes=loading.device_one_hot)
    plan = plan_training(database, spec, samples)[1]
    began = time.perf_counter()
    require_local_folder(loading.cache_dir)
    source = choose(
        database,
        builder.needs,
        plan,
        cache_gb=loading.cache_gb,
        cache_dir=loading.cache_dir,
        threads=loading.threads,
        what="training batches",
    )
    batch = _first(builder, source, plan, min(loading.batch_size, len(plan)))
    start_up = time.perf_counter() - began
    size = len(batch[0])
    share = sum(array.nbytes for array in batch) / size
    rates = []
    for threads in sorted({1, loading.threads}):
        log.info("measuring batches with %d thread(s)", threads)
        made = _rate(_batches(builder, source, plan, size, threads), seconds)
        copied = _rate(_by_threads(_copy_of(batch), _forever(), threads), seconds)
        rates += [Rate("batches", threads, made * size, made * size * share / 1e6)]
        rates += [Rate("limit: copies of a batch", threads, copied * size, copied * size * share / 1e6)]
    if not source.nbytes:
        read = _reading(builder, source, plan, seconds)
        rates.append(Rate("limit: the same blocks, only read", 1, read, read * share / 1e6))
    rates.sort(key=lambda rate: rate.what)
    return LoaderRates(
        samples=len(plan),
        start_up=start_up,
        held_gb=source.nbytes / 1e9,
        batch_mb=size * share / 1e6,
        rates=rates,
        peak_gb=_peak_bytes() / 1e9,
        limit=_limit(rates, bool(source.nbytes)),
    )


def _first(builder: BatchBuilder, source: EpochSource, plan: WindowPlan, size: int) -> Arrays:
    windows, held = source.epoch(plan, 0)
    inputs, outputs = builder.build(windows, held.parts(0, size))
    held.close()
    return (*inputs, *outputs)


def _batches(builder: BatchBuilder, source: EpochSource, plan: WindowPlan, size: int, threads: int) -> Iterator[Any]:
    epoch = 0
    while True:
        windows, held = source.epoch(plan, epoch)
        try:
            parts = (held.parts(first, first + size) for first in range(0, len(plan) - size + 1, size))
            yield from _by_threads(functools.partial(builder.build, windows), parts, threads)
        finally:
            held.close()
        epoch += 1


def _reading(builder: BatchBuilder, source: EpochSource, plan: WindowPlan, seconds: float) -> float:
    """Windows a second whose cells are read, nothing being made of them."""
    began, count, epoch = time.perf_counter(), 0, 0
    while time.perf_counter() - began < seconds:
        windows, held = source.epoch(plan, epoch)
        seen: CellStore | None = None
        for first in range(0, len(windows.centre), 64):
            seen = held.parts(first, min(first + 64, len(windows.centre)))[-1][1]
        del seen
        held.close()
        count, epoch = count + len(windows.centre), epoch + 1
    return count / (time.perf_counter() - began)


def _copy_of(batch: Arrays) -> Callable[[Any], Arrays]:
    def copy(_: Any) -> Arrays:
        return tuple(array.copy() for array in batch)

    return copy


def _forever() -> Iterator[None]:
    while True:
        yield None


def _by_threads(make: Callable[[Any], Any], items: Iterable[Any], threads: int) -> Iterator[Any]:
    """``make`` of every item in order, by so many threads ahead of their use; by this one where it is one."""
    return ahead(make, items, threads=threads if threads > 1 else 0, depth=2 * threads)


def _rate(stream: Iterator[Any], seconds: float) -> float:
    """Batches a second, after one that is not counted."""
    next(stream)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        next(stream)
        count += 1
    took = time.perf_counter() - began
    stream.close()  # type: ignore[attr-defined]
    return count / took


def _limit(rates: list[Rate], in_memory: bool) -> str:
    best = {what: max(rate.windows for rate in rates if rate.what == what) for what in {rate.what for rate in rates}}
    made, copied = best["batches"], best["limit: copies of a batch"]
    if not in_memory:
        read = best["limit: the same blocks, only read"]
        if made > 0.6 * read:
            return (
                f"reading and decompressing the database ({made / read:.0%} of its rate); with --cache_gb large enough "
                "to hold all, batches come from memory; with --cache_dir, from files on a local disk"
            )
    if made > 0.4 * copied:
        return f"memory: batches come at {made / copied:.0%} of the rate at which their bytes can be copied"
    return f"the processor: batches come at {made / copied:.0%} of the rate of copying their bytes; try more --threads"


def _peak_bytes() -> int:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
