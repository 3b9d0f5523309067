"""Where the cells of a batch come from: memory or files that hold all of them, or groups of blocks read ahead."""

from __future__ import annotations

import functools
import logging
import threading
from pathlib import Path
from typing import Protocol

import numpy as np

from db_ingest import storage
from db_ingest.ahead import LookAhead
from db_ingest.errors import InputError
from db_ingest.progress import progress
from kerasgen.database import Database
from kerasgen.loader.cells import CellStore, Needs, Parts, size_of
from kerasgen.loader.malloc import keep_freed_memory
from kerasgen.loader.order import Order, cover
from kerasgen.regions.windows import WindowPlan, Windows

log = logging.getLogger("kerasgen")

BLOCK = 2**20
"""Positions of a block, unless less fits: whole tiles, so that an epoch decompresses each once."""

_SHARE_OF_MEMORY = 0.5
_SMALL_BUFFER = 0.5e9
_GROUPS_IN_MEMORY = 2.2
"""A group that is used, one that is read, and what the reading takes."""


class EpochSource(Protocol):
    """Gives the windows of an epoch in order, and what holds them.

    Attributes:
        order: of the windows of an epoch.
        nbytes: bytes held from epoch to epoch.
    """

    order: Order
    nbytes: int

    def epoch(self, plan: WindowPlan, epoch: int) -> tuple[Windows, EpochCells]:
        """The windows of an epoch, and what holds them."""

    def hold(self, windows: Windows) -> EpochCells:
        """What holds windows in the order they have."""


class EpochCells(Protocol):
    """What holds the windows of one epoch."""

    def parts(self, first: int, last: int) -> Parts:
        """Stores that hold windows ``[first, last)``; called for windows of about the same place by several threads."""

    def close(self) -> None:
        """Let go of what was read ahead."""


class MemorySource:
    """All that a plan's windows can touch, read before the first batch.

    Args:
        database: to read from.
        needs: what to hold.
        plan: whose windows.
        order: of the windows of an epoch.
        threads: pieces read at a time.
        folder: of files that hold it, mapped into memory; what they hold already is not read again.

    Attributes:
        bases: that were read, once per track.
    """

    def __init__(
        self,
        database: Database,
        needs: Needs,
        plan: WindowPlan,
        order: Order | None = None,
        threads: int = 1,
        folder: Path | None = None,
    ) -> None:
        self.order = order or Order()
        self._genome = database.genome
        self.store = CellStore(database, needs, functools.cache(plan.cover), folder)
        self.nbytes, self.bases = self.store.nbytes, self.store.bases_to_read
        if self.bases:
            with progress("read", self.bases, "bases") as advance:
                self.store.fill(database, threads, advance)

    def epoch(self, plan: WindowPlan, epoch: int) -> tuple[Windows, EpochCells]:
        """See :class:`EpochSource`."""
        windows = self.order.arrange(self._genome, plan, epoch)[0]
        return windows, self.hold(windows)

    def hold(self, windows: Windows) -> EpochCells:
        """See :class:`EpochSource`."""
        return _WholeStore(self.store)


class BlockSource:
    """Windows in groups of blocks; a group is read while the one before is used.

    Args:
        database: to read from.
        needs: what windows need.
        order: of the windows of an epoch.
        group: windows of a group, for plans that keep their own order.
    """

    def __init__(self, database: Database, needs: Needs, order: Order, group: int) -> None:
        self.order, self.nbytes = order, 0
        self._database, self._needs, self._group = database, needs, group

    def epoch(self, plan: WindowPlan, epoch: int) -> tuple[Windows, EpochCells]:
        """See :class:`EpochSource`."""
        windows, edges = self.order.arrange(self._database.genome, plan, epoch)
        if plan.fixed or self.order.block is None:
            return windows, self.hold(windows)
        return windows, _ReadAhead(self._database, self._needs, windows, edges)

    def hold(self, windows: Windows) -> EpochCells:
        """See :class:`EpochSource`."""
        edges = np.append(np.arange(0, len(windows.centre), self._group), len(windows.centre))
        return _ReadAhead(self._database, self._needs, windows, edges)


class _WholeStore:
    def __init__(self, store: CellStore | None) -> None:
        self._store = store

    def parts(self, first: int, last: int) -> Parts:
        return [(slice(first, last), self._store)]

    def close(self) -> None:
        pass


class _ReadAhead:
    """Stores of consecutive groups, each read while the one before it is used."""

    def __init__(self, database: Database, needs: Needs, windows: Windows, edges: np.ndarray) -> None:
        self._database, self._needs, self._windows, self._edges = database, needs, windows, edges
        self._lock = threading.Lock()
        self._stores: LookAhead[CellStore] | None = None

    def parts(self, first: int, last: int) -> Parts:
        begin = int(np.searchsorted(self._edges, first, side="right")) - 1
        parts: Parts = []
        while first < last:
            end = min(int(self._edges[begin + 1]), last)
            if end > first:
                parts.append((slice(first, end), self._store(begin)))
            first, begin = end, begin + 1
        return parts

    def close(self) -> None:
        """Let go of what was read ahead; windows that are asked for later are read anew."""
        with self._lock:
            stores, self._stores = self._stores, None
        if stores is not None:
            stores.close()

    def _store(self, group: int) -> CellStore:
        with self._lock:
            if self._stores is None:
                self._stores = LookAhead(self._read, len(self._edges) - 1, depth=2)
            stores = self._stores
        return stores.see(group)

    def _read(self, group: int) -> CellStore:
        windows = self._windows.take(slice(int(self._edges[group]), int(self._edges[group + 1])))
        store = CellStore(self._database, self._needs, lambda flank: cover(self._database.genome, windows, flank))
        store.fill(self._database)
        return store


def choose(
    database: Database,
    needs: Needs,
    plan: WindowPlan,
    *,
    cache_gb: float | None = None,
    cache_dir: str | None = None,
    order: Order | None = None,
    threads: int = 1,
    what: str = "batches",
) -> EpochSource:
    """The source for a plan: kept files if there is a folder for them, memory if the budget holds all, else blocks.

    Args:
        database: to read from.
        needs: what windows need.
        plan: whose windows.
        cache_gb: GB that may be held; None takes half of the free memory; 0 never reads all, and has a small buffer.
        cache_dir: folder of files that hold all that windows can touch, whatever the budget.
        order: kept from an earlier start; else as the source likes it best.
        threads: pieces read at a time.
        what: named in the line that says what was chosen.
    """
    keep_freed_memory()
    if cache_dir is not None:
        source = MemorySource(database, needs, plan, order, threads, Path(cache_dir))
        how = f"{source.bases / 1e6:.1f} Mb read" if source.bases else "kept by an earlier run"
        log.info("%s come from files in %s: %.2f GB, %s", what, cache_dir, source.nbytes / 1e9, how)
        return source
    budget = _free_memory() * _SHARE_OF_MEMORY if cache_gb is None else (cache_gb * 1e9 or _SMALL_BUFFER)
    held, bases = size_of(needs, functools.cache(plan.cover))
    if held <= budget and cache_gb != 0:
        log.info("%s come from memory: %.2f GB, %.1f Mb read", what, held / 1e9, bases / 1e6)
        return MemorySource(database, needs, plan, order, threads)
    order = order or plan_order(database, needs, plan, budget)
    group = budget / _GROUPS_IN_MEMORY / sum(2 * need.flank * need.bytes_per_base for need in needs.values())
    if order.block is None:
        log.info("%s are read from the database one by one, for that is the order of their windows", what)
    else:
        log.info(
            "%s come through a buffer of %d blocks of %.2f Mb: all would be %.2f GB, %.2f GB allowed",
            what, order.buffer, order.block / 1e6, held / 1e9, budget / 1e9,
        )  # fmt: skip
    return BlockSource(database, needs, order, max(1, int(group)))


def require_local_folder(cache_dir: str | None) -> None:
    """Raise :class:`InputError` unless ``--cache_dir`` is a folder that can be written to; it is made."""
    if cache_dir is None:
        return
    if storage.is_remote(cache_dir):
        raise InputError(f"--cache_dir {cache_dir}: expected a folder on this machine's own disk")
    storage.require_writable(Path(cache_dir))


def plan_order(database: Database, needs: Needs, plan: WindowPlan, budget: float) -> Order:
    """Blocks, and as many of them in a group as half of the budget holds, by the windows of the first epoch."""
    windows, genome, group = plan.epoch(0), database.genome, budget / _GROUPS_IN_MEMORY
    held = size_of(needs, functools.cache(lambda flank: cover(genome, windows, flank)))[0]
    position = genome.offsets[windows.chromosome] + windows.centre
    block = BLOCK
    while True:
        bytes_per_block = held / max(1, len(np.unique(position // block)))
        if 4 * bytes_per_block <= group or block <= genome.tile:
            return Order(block, max(1, int(group / max(bytes_per_block, 1))))
        block //= 2


def _free_memory() -> float:
    import psutil

    return float(psutil.virtual_memory().available)
