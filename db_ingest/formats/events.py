"""Counts of reads, cut sites or fragments by base, from files that list them in whatever order."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

from db_ingest.errors import InputError
from db_ingest.formats.base import ByBase
from db_ingest.formats.spool import MEMORY, Spool
from db_ingest.layout.genome import Genome

_STRETCH_BITS = 24
_STRETCH = 1 << _STRETCH_BITS
_OFFSET = np.uint32(_STRETCH - 1)
_ENDS = np.uint32(1 << 31)
_GOOD = -1


class EventBatch(NamedTuple):
    """Some events of a file.

    Args:
        chromosome: ``(n,) int32`` place in the genome; -1: the genome lacks it.
        start: ``(n,) int64`` base, or first base, within the chromosome.
        end: ``(n,) int64`` past the last base; None where an event is a single base: a 5' end, a cut site.
        channel: ``(n,) int16`` channel; -1: none of those asked for. None: all in channel 0.
    """

    chromosome: np.ndarray
    start: np.ndarray
    end: np.ndarray | None = None
    channel: np.ndarray | None = None


class EventCounter(ByBase):
    """Reader whose value at a base is the number of events that cover it.

    Events are kept by channel, chromosome and stretch of 2**24 bases as they come, so that a file need not be sorted
    and memory is bounded whatever its size.

    Args:
        path: the file, for messages.
        genome: what ``chromosome`` of a batch counts in.
        batches: all events, used up before the constructor returns; all of them single bases or all of them not.
        channels: number of channels.
        chromosomes: those that the file covers, in genome order; None: all, as of a list of reads without a header,
            where nothing on a chromosome means that nothing was seen there.
        summary: what is known of the file; ``elsewhere`` (events on chromosomes the genome lacks) and ``beyond_ends``
            (see ``reach``) are added to it.
        reach: bp by which events may have been moved past a chromosome's ends. Those that nothing is left of on it are
            left out and counted in ``beyond_ends``; what is left of the others counts.
        memory: bytes to hold at most before scratch space on disk is used.

    Attributes:
        chromosomes, counts, summary: as :class:`~db_ingest.formats.base.SignalReader` has them.

    Raises:
        InputError: an event lies outside its chromosome, farther than ``reach``.
        RunError: the scratch folder is full.
    """

    def __init__(
        self,
        path: str | Path,
        genome: Genome,
        batches: Iterable[EventBatch],
        channels: int,
        chromosomes: tuple[str, ...] | None,
        summary: dict[str, Any],
        *,
        reach: int = 0,
        memory: int = MEMORY,
    ) -> None:
        self.chromosomes = genome.names if chromosomes is None else chromosomes
        self.counts = True
        self.summary = summary
        self._path, self._genome, self._reach = path, genome, reach
        # An end may equal the size, which can be the first base of a stretch of its own.
        self._sizes = genome.size_array()
        self._first = np.concatenate([[0], np.cumsum((self._sizes >> _STRETCH_BITS) + 1)])
        self._stretches = int(self._first[-1])
        self._begun = np.zeros(channels * self._stretches, np.int64)
        self._spool = Spool(channels * self._stretches, 1, memory)
        self._intervals: bool | None = None
        # Kept from read to read: fresh memory costs more than counting.
        self._counts, self._values = np.empty(0, np.int32), np.empty(0, np.float32)
        tally = np.zeros(2, np.int64)
        try:
            for batch in batches:
                self._add(batch, tally)
            self._spool.finish()
        except BaseException:
            if isinstance(batches, Generator):
                batches.close()
            self._spool.close()
            raise
        summary["elsewhere"], summary["beyond_ends"] = int(tally[0]), int(tally[1])
        # Events begun less events ended before each stretch are those that reach into it.
        begun = self._begun.reshape(channels, self._stretches)
        self._open = np.zeros_like(begun)
        for i, j in zip(self._first[:-1], self._first[1:], strict=True):
            np.cumsum(begun[:, i : j - 1], axis=1, out=self._open[:, i + 1 : j])

    @property
    def on_disk(self) -> int:
        """Bytes of scratch space in use on disk."""
        return self._spool.on_disk

    def read(self, chromosome: str, start: int, end: int, channel: int = 0) -> np.ndarray:
        """Events that cover each base of ``[start, end)`` as ``(end - start,) float32``, good until the next call."""
        place = self._genome.index(chromosome)
        if len(self._values) < end - start:
            self._counts, self._values = np.empty(end - start, np.int32), np.empty(end - start, np.float32)
        counts, values = self._counts[: end - start], self._values[: end - start]
        if start == end:
            return values
        counts.fill(0)
        if self._intervals:
            counts[0] = self._open[channel, self._first[place] + (start >> _STRETCH_BITS)]
        for stretch in range(start >> _STRETCH_BITS, (end - 1 >> _STRETCH_BITS) + 1):
            for rows in self._spool.rows(channel * self._stretches + int(self._first[place]) + stretch):
                if self._intervals:
                    _add_changes(rows, (stretch << _STRETCH_BITS) - start, counts)
                else:
                    _add_bases(rows, (stretch << _STRETCH_BITS) - start, counts)
        if self._intervals:
            np.cumsum(counts, out=counts)
        values[:] = counts
        return values

    def close(self) -> None:
        """Let go of memory and scratch space."""
        self._spool.close()

    def _add(self, batch: EventBatch, tally: np.ndarray) -> None:
        n = len(batch.start)
        intervals = batch.end is not None
        if self._intervals not in (None, intervals):
            raise ValueError("batches of single bases and of intervals together")
        self._intervals = intervals
        channel = np.zeros(n, np.int16) if batch.channel is None else batch.channel
        keys = np.empty(n * (1 + intervals), np.uint32)
        rows = np.empty((n * (1 + intervals), 1), np.uint32)
        place = (self._sizes, self._first, self._stretches, self._reach)
        kept, bad = _file_events(
            batch.chromosome, batch.start, batch.end, channel, *place, keys, rows, self._begun, tally
        )
        if bad != _GOOD:
            size = self._sizes[batch.chromosome[bad]]
            name = self._genome.names[batch.chromosome[bad]]
            start = int(batch.start[bad])
            where = f"{start:,}" if batch.end is None else f"{start:,}-{int(batch.end[bad]):,}"
            expected = f"positions from 0 to {size - 1:,}" if batch.end is None else f"0 <= start < end <= {size:,}"
            raise InputError(f"{self._path}: {name}:{where} does not lie on the chromosome; expected {expected}")
        self._spool.add(keys[:kept], rows[:kept])


def layers(takes: Sequence[Iterable[int]], kinds: int) -> list[np.ndarray]:
    """Tables from the kind of an event to the channel that takes it, more than one where channels share a kind.

    Args:
        takes: the kinds of event that each channel takes.
        kinds: number of kinds.

    Returns:
        tables of ``(kinds,) int16``, -1 where no channel takes the kind. A batch of ``table[kind]`` for every table
        counts each event once in every channel that takes it.
    """
    tables: list[np.ndarray] = []
    for channel, taken in enumerate(takes):
        wanted = list(taken)
        if not wanted:
            continue
        table = next((t for t in tables if (t[wanted] == -1).all()), None)
        if table is None:
            table = np.full(kinds, -1, np.int16)
            tables.append(table)
        table[wanted] = channel
    return tables


@numba.njit(nogil=True, cache=True)
def _file_events(
    chromosome: np.ndarray,
    start: np.ndarray,
    end: np.ndarray | None,
    channel: np.ndarray,
    sizes: np.ndarray,
    first: np.ndarray,
    stretches: int,
    reach: int,
    keys: np.ndarray,
    rows: np.ndarray,
    begun: np.ndarray,
    tally: np.ndarray,
) -> tuple[int, int]:
    """File events: bases, one row each, where ``end`` is None; else intervals, where they begin and where they end."""
    kept = 0
    for i in range(len(start)):
        place = chromosome[i]
        if place < 0:
            tally[0] += 1
            continue
        begin = start[i]
        # Each of the two kinds is compiled for itself, without the other's branch.
        if end is None:  # noqa: SIM108
            stop = begin + 1
        else:
            stop = end[i]
        if begin < -reach or stop > sizes[place] + reach or (begin >= stop and reach == 0):
            return kept, i
        begin = begin if begin > 0 else 0
        stop = stop if stop < sizes[place] else sizes[place]
        if begin >= stop:
            tally[1] += channel[i] >= 0
            continue
        if channel[i] < 0:
            continue
        base = channel[i] * stretches + first[place]
        keys[kept] = base + (begin >> _STRETCH_BITS)
        rows[kept, 0] = begin & _OFFSET
        if end is None:
            kept += 1
            continue
        begun[keys[kept]] += 1
        keys[kept + 1] = base + (stop >> _STRETCH_BITS)
        rows[kept + 1, 0] = (stop & _OFFSET) | _ENDS
        begun[keys[kept + 1]] -= 1
        kept += 2
    return kept, _GOOD


@numba.njit(nogil=True, cache=True)
def _add_bases(rows: np.ndarray, shift: int, counts: np.ndarray) -> None:
    for i in range(len(rows)):
        at = np.int64(rows[i, 0]) + shift
        if 0 <= at < len(counts):
            counts[at] += 1


@numba.njit(nogil=True, cache=True)
def _add_changes(rows: np.ndarray, shift: int, counts: np.ndarray) -> None:
    for i in range(len(rows)):
        at = np.int64(rows[i, 0] & _OFFSET) + shift
        if at < len(counts):
            counts[at if at > 0 else 0] += -1 if rows[i, 0] & _ENDS else 1
