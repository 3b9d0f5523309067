"""Signal from bedGraph files: chromosome, start, end, value. Format: UCSC Genome Browser, bedGraph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np

from db_ingest.formats.base import EVERYTHING, ByBase, Channel
from db_ingest.formats.spool import Spool
from db_ingest.formats.text.rows import Intervals, Rows, read_rows
from db_ingest.formats.text.tokens import GOOD
from db_ingest.formats.text.words import UNKNOWN, ChromosomeNames
from db_ingest.inputs.naming import Naming
from db_ingest.layout.codes import MOST_COUNTS

_WHAT = "a bedGraph file"
_EXPECTED = "chromosome, start, end and value"
_STRETCH_BITS = 20
_STRETCH = 1 << _STRETCH_BITS


def open_signal(
    path: str | Path, naming: Naming, options: Mapping[str, Any], channels: Sequence[Channel] = (EVERYTHING,)
) -> BedGraph:
    """Read a bedGraph as :mod:`db_ingest.formats.base` describes; it has one channel."""
    return BedGraph(Path(path), naming, options)


def check_signal(path: str | Path, naming: Naming, options: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` for what is wrong with a bedGraph's first rows, or with its end."""
    names = ChromosomeNames(naming)
    for rows, _, _ in _find(Path(path), names, head=True):
        names.match(path, whole=rows.is_last)


class BedGraph(ByBase):
    """Values of a bedGraph, which is sorted within each chromosome and has each chromosome in one piece.

    Args:
        path: the file.
        naming: names of the chromosomes of the database's genome.
        options: ``negative`` (``keep``, ``absolute``, or ``auto_minus``: absolute if no value is above 0 and one is
            below) and ``missing`` (``zero`` or ``nan``: what bases without a value hold).

    Attributes:
        chromosomes: names of the genome that the file has.
        counts: whether the values are whole numbers from 0 to 65,534.
        summary: ``absolute``, whether absolute values are given; ``minimum`` and ``maximum`` of the file as it stands;
            ``elsewhere``, intervals on chromosomes that the genome lacks.

    Raises:
        InputError: not a bedGraph, intervals out of order or overlapping, a value that is not finite, or no chromosome
            in common.
        RunError: the scratch folder is full.
    """

    def __init__(self, path: Path, naming: Naming, options: Mapping[str, Any]) -> None:
        self._genome = naming.genome
        sizes = self._genome.size_array()
        self._first = np.concatenate([[0], np.cumsum(-(-sizes >> _STRETCH_BITS))])
        self._missing = np.float32(np.nan if options["missing"] == "nan" else 0)
        self._buffer = np.empty(0, np.float32)
        self._spool = Spool(int(self._first[-1]), 3)
        try:
            names = ChromosomeNames(naming)
            minimum, maximum, whole, elsewhere = self._load(_find(path, names))
            self.chromosomes = names.match(path)
        except BaseException:
            self._spool.close()
            raise
        negative = options["negative"]
        self._absolute = negative == "absolute" or (negative == "auto_minus" and minimum < 0 >= maximum)
        largest = max(-minimum, maximum) if self._absolute else maximum
        self.counts = whole and largest <= MOST_COUNTS and (minimum >= 0 or self._absolute)
        self.summary = {"absolute": self._absolute, "minimum": minimum, "maximum": maximum, "elsewhere": elsewhere}

    @property
    def on_disk(self) -> int:
        """Bytes of scratch space in use on disk."""
        return self._spool.on_disk

    def read(self, chromosome: str, start: int, end: int, channel: int = 0) -> np.ndarray:
        """Values of ``[start, end)`` as ``(end - start,) float32``, good until the next call."""
        if len(self._buffer) < end - start:
            self._buffer = np.empty(end - start, np.float32)
        values = self._buffer[: end - start]
        values.fill(self._missing)
        if start == end:
            return values
        first = int(self._first[self._genome.index(chromosome)])
        for stretch in range(start >> _STRETCH_BITS, (end - 1 >> _STRETCH_BITS) + 1):
            for rows in self._spool.rows(first + stretch):
                _lay(rows, rows.view(np.float32), (stretch << _STRETCH_BITS) - start, values)
        return np.abs(values, out=values) if self._absolute else values

    def close(self) -> None:
        """Let go of memory and scratch space."""
        self._spool.close()

    def _load(self, found: Iterator[tuple[Rows, Intervals, np.ndarray]]) -> tuple[float, float, bool, int]:
        """Spool all intervals; smallest and largest value, whether all are whole, and intervals elsewhere."""
        minimum, maximum, whole, elsewhere = np.inf, -np.inf, True, 0
        for _, (_, place, start, end), values in found:
            minimum, maximum = min(minimum, float(values.min())), max(maximum, float(values.max()))
            whole = whole and bool((values == np.floor(values)).all())
            here = place != UNKNOWN
            elsewhere += len(here) - int(here.sum())
            pieces = int((((end - 1) >> _STRETCH_BITS) - (start >> _STRETCH_BITS) + 1)[here].sum())
            keys, rows = np.empty(pieces, np.uint32), np.empty((pieces, 3), np.uint32)
            _cut(place, start, end, values, self._first, keys, rows, rows.view(np.float32))
            self._spool.add(keys, rows)
        self._spool.finish()
        return minimum, maximum, whole, elsewhere


def _find(path: Path, names: ChromosomeNames, head: bool = False) -> Iterator[tuple[Rows, Intervals, np.ndarray]]:
    """Yield rows, their intervals and values ``(rows,) float32``; raises unless they are in order."""
    last = np.array([UNKNOWN, 0])
    closed = np.zeros(0, np.bool_)
    for rows in read_rows(path, _WHAT, least=4, most=4, expected=_EXPECTED, head=head):
        intervals = rows.intervals(names)
        name, _, start, end = intervals
        closed = np.append(closed, np.zeros(len(names) - len(closed), np.bool_))
        before = last.copy()
        bad = _find_disorder(name, start, end, last, closed)
        if bad != GOOD:
            where = f"{rows.field(bad, 0)} {start[bad]} {end[bad]}"
            if name[bad] != (name[bad - 1] if bad else before[0]):
                rows.refuse(bad, f"{where}: the chromosome was left before; expected each in one piece")
            previous = end[bad - 1] if bad else before[1]
            rows.refuse(
                bad,
                f"{where}: begins before base {previous}, where the interval before it ends; "
                f"expected intervals sorted by start that do not overlap",
            )
        yield rows, intervals, rows.number(3, "value").astype(np.float32)


@numba.njit(nogil=True, cache=True)
def _find_disorder(name: np.ndarray, start: np.ndarray, end: np.ndarray, last: np.ndarray, closed: np.ndarray) -> int:
    """First interval out of order; ``last`` is the name and end of the one before, ``closed`` the names left behind."""
    for i in range(len(name)):
        if name[i] != last[0]:
            if closed[name[i]]:
                return i
            if last[0] != UNKNOWN:
                closed[last[0]] = True
        elif start[i] < last[1]:
            return i
        last[0], last[1] = name[i], end[i]
    return GOOD


@numba.njit(nogil=True, cache=True)
def _cut(
    place: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    values: np.ndarray,
    first: np.ndarray,
    keys: np.ndarray,
    rows: np.ndarray,
    floats: np.ndarray,
) -> None:
    """Cut intervals at the borders of stretches; a row is start and end within the stretch, and the value."""
    filled = 0
    for i in range(len(place)):
        if place[i] == UNKNOWN:
            continue
        at = start[i]
        while at < end[i]:
            stretch = at >> _STRETCH_BITS
            border = (stretch + 1) << _STRETCH_BITS
            to = border if border < end[i] else end[i]
            keys[filled] = first[place[i]] + stretch
            rows[filled, 0] = at & (_STRETCH - 1)
            rows[filled, 1] = to - (stretch << _STRETCH_BITS)
            floats[filled, 2] = values[i]
            filled += 1
            at = to


@numba.njit(nogil=True, cache=True)
def _lay(rows: np.ndarray, floats: np.ndarray, shift: int, values: np.ndarray) -> None:
    for i in range(len(rows)):
        begin = np.int64(rows[i, 0]) + shift
        end = np.int64(rows[i, 1]) + shift
        for j in range(begin if begin > 0 else 0, end if end < len(values) else len(values)):
            values[j] = floats[i, 2]
