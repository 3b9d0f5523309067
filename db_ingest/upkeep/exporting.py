"""Write the files of :mod:`db_ingest.upkeep.export`, stretch by stretch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from isal import isal_zlib

from db_ingest import storage
from db_ingest.ahead import ahead
from db_ingest.errors import InputError, RunError
from db_ingest.formats import has_called_summits
from db_ingest.formats.bigwig_writer import BigWigWriter
from db_ingest.formats.text.writer import TextWriter, bedgraph_lines, fasta_lines
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout import members
from db_ingest.layout.catalogue import Track
from db_ingest.layout.genome import Genome
from db_ingest.layout.reader import Reader
from db_ingest.layout.summaries import to_counts
from db_ingest.progress import log, progress
from db_ingest.writing import workers

_STRETCH = 2**22
"""Cells read at a time, while those before are being written."""

_LINES = 2**18
"""Lines of a bedGraph laid out at a time."""

_LINE_BASES = 60


@dataclass(frozen=True)
class Job:
    """A file to write.

    Args:
        uri: the database.
        genome: its chromosomes.
        track: what to write; None: the sequence.
        out: the file.
        packed: whether to compress it.
        chroms: chromosomes to write; none named: all.
        skip_zeros: whether to leave out zeros.
        threads: number of threads that compress; 0: as many as there are cores.
    """

    uri: str
    genome: Genome
    track: Track | None
    out: str
    packed: bool
    chroms: tuple[str, ...]
    skip_zeros: bool
    threads: int

    @property
    def workers(self) -> int:
        """Threads that compress."""
        return workers.at_a_time(self.threads)

    @property
    def bin(self) -> int:
        """Bases a cell."""
        return 1 if self.track is None else self.track.bin

    def wants(self, chromosome: str) -> bool:
        """Whether a chromosome is to be written."""
        return not self.chroms or chromosome in self.chroms

    def chromosomes(self) -> list[str]:
        """Those to write of a signal: the ones that it covers, in the order of their names' bytes."""
        assert self.track is not None
        names = sorted((name for name in self.track.checksums if self.wants(name)), key=str.encode)
        if not names:
            raise InputError(f"{self.out}: {self.track.name} has no value on {', '.join(self.chroms)}")
        return names


@contextlib.contextmanager
def _replaced(job: Job) -> Iterator[Path]:
    try:
        with storage.replacing(job.out) as temporary:
            yield temporary
    except OSError as error:
        raise storage.explain(job.out, error) from error


class Runs(NamedTuple):
    """Stretches of equal values of one chromosome, ``(n,)`` each; bases without a value are in none."""

    chromosome: str
    starts: np.ndarray
    ends: np.ndarray
    values: np.ndarray


def write_bigwig(job: Job) -> str:
    """Write a signal as bigWig."""
    names = job.chromosomes()
    written = 0
    with _replaced(job) as temporary:
        sizes = {name: job.genome.size(name) for name in names}
        with BigWigWriter(temporary, sizes, job.workers) as writer:
            for runs in _runs(job, names):
                writer.add(*runs)
                written += len(runs.starts)
    return _said(job, f"{written:,} runs of values", len(names))


def write_bedgraph(job: Job) -> str:
    """Write a signal as bedGraph."""
    names = job.chromosomes()
    written = 0
    with _replaced(job) as temporary, TextWriter(temporary, job.packed, job.workers) as writer:
        for name, starts, ends, values in _runs(job, names):
            for first in range(0, len(starts), _LINES):
                here = slice(first, first + _LINES)
                writer.write(bedgraph_lines(name, starts[here], ends[here], values[here]))
            written += len(starts)
    return _said(job, f"{written:,} runs of values", len(names))


def write_fasta(job: Job) -> str:
    """Write the sequence as FASTA."""
    names = [name for name in job.genome.names if job.wants(name)]
    step = _STRETCH // _LINE_BASES * _LINE_BASES
    with _replaced(job) as temporary, TextWriter(temporary, job.packed, job.workers) as writer:
        for name, start, bases in _stretches(job, names, step):
            if start == 0:
                writer.write(b">%b\n" % name.encode())
            writer.write(fasta_lines(bases, _LINE_BASES))
    return _said(job, f"{sum(job.genome.size(name) for name in names):,} bases", len(names))


def _said(job: Job, what: str, chromosomes: int) -> str:
    return f"{job.out}: {what} on {chromosomes} chromosome{'s' * (chromosomes != 1)}"


def _stretches(job: Job, names: list[str], step: int) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield chromosome, first cell and cells, reading one ahead of what is taken.

    Raises:
        RunError: a chromosome's cells are not those that its checksum was taken of.
    """
    crc = 0
    track, genome = job.track, job.genome if job.bin == 1 else job.genome.binned(job.bin)
    member, row = (members.SEQUENCE, None) if track is None else (track.member, track.row)
    checksums = _checksums(job)
    places = [(name, start) for name in names for start in range(0, genome.size(name), step)]
    with (
        contextlib.closing(Reader(job.uri)) as reader,
        progress("export", sum(genome.size(name) for name in names), "bases" if job.bin == 1 else "bins") as advance,
    ):

        def read(place: tuple[str, int]) -> np.ndarray:
            name, start = place
            offset = genome.offset(name)
            end = min(start + step, genome.size(name))
            return reader.read(member, row, np.array([offset + start]), np.array([offset + end]))

        for (name, start), cells in zip(places, ahead(read, places), strict=True):
            yield name, start, cells
            advance(len(cells))
            crc = isal_zlib.crc32(_as_stored(cells, member), crc if start else 0)
            if start + len(cells) == genome.size(name) and f"{crc:08x}" != checksums.get(name):
                what = "the sequence" if track is None else track.name
                raise RunError(f"{job.uri}: {what}: {name} is damaged; nothing was written (gen_db verify says more)")


def _checksums(job: Job) -> dict[str, str]:
    if job.track is not None:
        return job.track.checksums
    found: dict[str, str] = (catalogues.load(job.uri).sequence or {})["checksums"]
    return found


def _as_stored(cells: np.ndarray, member: str) -> np.ndarray:
    """Cells as they lie in the array, of those that the reader gives."""
    if not member.startswith("counts/"):
        return cells
    counts = np.empty(len(cells), np.uint16)
    to_counts(cells, counts)
    return counts


def _runs(job: Job, names: list[str]) -> Iterator[Runs]:
    """Yield the runs of a signal; none is cut where a stretch ends."""
    genome = job.genome if job.bin == 1 else job.genome.binned(job.bin)
    first, held = 0, np.zeros(0, np.float32)
    has_missing = has_zeros = False
    for name, start, cells in _stretches(job, names, _STRETCH):
        bits = cells.view(np.uint32)
        starts = np.concatenate([[0], np.flatnonzero(bits[1:] != bits[:-1]) + 1])
        values, starts = cells[starts], start + starts
        if start and bits[0] == held.view(np.uint32)[0]:
            starts[0] = first
        elif start:
            values, starts = np.concatenate([held, values]), np.concatenate([[first], starts])
        ends = np.append(starts[1:], start + len(cells))
        if start + len(cells) < genome.size(name):
            # The last run may go on in the next stretch.
            first, held = int(starts[-1]), values[-1:]
            starts, ends, values = starts[:-1], ends[:-1], values[:-1]
        there = ~np.isnan(values)
        if job.skip_zeros:
            has_missing = has_missing or not there.all()
            has_zeros = has_zeros or bool((values == 0).any())
            there &= values != 0
        starts, ends = starts[there] * job.bin, np.minimum(ends[there] * job.bin, job.genome.size(name))
        yield Runs(name, starts, ends, values[there])
    if has_missing and has_zeros:
        log.warning(
            "warning: %s: zeros are left out, as are bases without a value; the file no longer tells which", job.out
        )


def write_bed(job: Job) -> str:
    """Write a mask's intervals as BED, with as many columns as hold something."""
    table = _table(job)
    width = 3 + max((i + 1 for i, key in enumerate(("name", "score", "strand")) if table.holds(key)), default=0)
    has_values = any(map(table.holds, ("signalValue", "pValue", "qValue")))
    has_summit = table.holds("summit") or has_called_summits(table.track.type)
    if has_values:
        if not all(map(table.filled, ("signalValue", "pValue", "qValue"))):
            raise InputError(f"{job.out}: some intervals of {table.track.name} have a signalValue and others have none")
        columns = (*_BED, *_VALUES, *(("summit",) if has_summit else ()))
    else:
        columns = (*_BED, "summit") if has_summit else _BED[:width]
    return _write_table(job, table, columns)


def write_narrowpeak(job: Job) -> str:
    """Write a mask's intervals as narrowPeak."""
    return _write_peaks(job, _table(job), (*_BED, *_VALUES, "summit"))


def write_broadpeak(job: Job) -> str:
    """Write a mask's intervals as broadPeak."""
    table = _table(job)
    if table.holds("summit"):
        raise InputError(
            f"{job.out}: {table.track.name} has summits, for which broadPeak has no column; use .narrowPeak"
        )
    return _write_peaks(job, table, (*_BED, *_VALUES))


_BED = ("chromosome", "start", "end", "name", "score", "strand")
_VALUES = ("signalValue", "pValue", "qValue")


def _write_peaks(job: Job, table: _IntervalTable, columns: tuple[str, ...]) -> str:
    for key in _VALUES:
        if not table.filled(key):
            raise InputError(f"{job.out}: {table.track.name} has intervals without a {key}; use .bed")
    return _write_table(job, table, columns)


@dataclass(frozen=True)
class _IntervalTable:
    """Intervals of a mask, sorted by chromosome and start."""

    track: Track
    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.columns["start"])

    def holds(self, key: str) -> bool:
        """Whether any interval has something in a column."""
        column = self.columns[key]
        if key == "summit":
            return bool((column >= 0).any())
        return bool((~np.isnan(column)).any() if column.dtype.kind == "f" else (column != ".").any())

    def filled(self, key: str) -> bool:
        """Whether all intervals have a number in a column."""
        return not bool(np.isnan(self.columns[key]).any())


def _table(job: Job) -> _IntervalTable:
    assert job.track is not None
    with contextlib.closing(Reader(job.uri)) as reader:
        found = reader.read_intervals(job.track.intervals, job.track.row)
    place = np.searchsorted(job.genome.offsets, found["start"], side="right") - 1
    offset = job.genome.offsets[place]
    names = np.array(job.genome.names)
    rank = np.empty(len(names), np.int64)
    rank[sorted(range(len(names)), key=lambda i: job.genome.names[i].encode())] = np.arange(len(names))
    found = {"chromosome": names[place], **found, "start": found["start"] - offset, "end": found["end"] - offset}
    order = np.lexsort((found["end"], found["start"], rank[place]))
    order = order[[job.wants(name) for name in found["chromosome"][order]]] if job.chroms else order
    return _IntervalTable(job.track, {key: column[order] for key, column in found.items()})


def _write_table(job: Job, table: _IntervalTable, columns: tuple[str, ...]) -> str:
    texts = [map(_number, c.tolist()) if c.dtype.kind == "f" else map(str, c.tolist()) for c in _picked(table, columns)]
    with _replaced(job) as temporary, TextWriter(temporary, job.packed, job.workers) as writer:
        lines = list(map("\t".join, zip(*texts, strict=True)))
        writer.write("".join(f"{line}\n" for line in lines).encode())
    return _said(job, f"{len(table):,} intervals", len(set(table.columns["chromosome"].tolist())))


def _picked(table: _IntervalTable, columns: tuple[str, ...]) -> list[np.ndarray]:
    return [table.columns[key] for key in columns]


def _number(value: float) -> str:
    """A number with as many digits as tell it from any other; a point where there is none."""
    if value != value:
        return "."
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


WRITERS: dict[str, Callable[[Job], str]] = {
    "bigwig": write_bigwig,
    "bedgraph": write_bedgraph,
    "bed": write_bed,
    "narrowpeak": write_narrowpeak,
    "broadpeak": write_broadpeak,
    "fasta": write_fasta,
}
"""What writes each format of :data:`db_ingest.upkeep.export.FORMATS`."""
