"""Tables of text, plain, gzipped or bgzipped, a block of lines at a time: for files of any size."""

from __future__ import annotations

import io
import itertools
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn, cast

import numpy as np
from isal import igzip, isal_zlib

from db_ingest.ahead import OrderedPool
from db_ingest.errors import InputError
from db_ingest.formats.text import tokens
from db_ingest.formats.text.words import UNKNOWN, ChromosomeNames
from db_ingest.inputs import bgzf
from db_ingest.inputs.files import require_file
from db_ingest.layout.genome import Genome

BLOCK = 8 << 20
"""Bytes of text worked on at a time; also the longest line."""

HEAD = 1 << 20
"""Bytes of text that a quick check reads."""

_NEWLINE, _DOT = 10, 46
_PIECE = 1 << 18
_GZIP = b"\x1f\x8b"
_BROKEN: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error, cast(type[Exception], isal_zlib.error))
_DATA = re.compile(rb"^(?!#|(?:track|browser)\s|\s*$).+", re.MULTILINE)
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


class Intervals(NamedTuple):
    """Intervals of some rows.

    Args:
        name: ``(n,) int32`` number of each one's chromosome name in the file.
        place: ``(n,) int32`` place of its chromosome in the genome; -1: the genome lacks it.
        start, end: ``(n,) int64``, half-open, bp.
    """

    name: np.ndarray
    place: np.ndarray
    start: np.ndarray
    end: np.ndarray


class Rows:
    """Rows of a table that follow on one another. Good until the next ones are asked for.

    Args:
        path: the file, for messages.
        text: ``(n,) uint8``, the lines.
        first, last: ``(columns, rows) int32`` borders of the fields in it.
        columns: columns that every row of the file has, those not kept in ``first`` and ``last`` included.
        lines_before: lines of the file before ``text``.
        is_last: whether they reach the end of the file.
    """

    def __init__(
        self,
        path: Path,
        text: np.ndarray,
        first: np.ndarray,
        last: np.ndarray,
        columns: int,
        lines_before: int,
        is_last: bool,
    ) -> None:
        self.path, self.text, self.columns, self.is_last = path, text, columns, is_last
        self.first, self.last = first, last
        self._lines_before = lines_before

    def __len__(self) -> int:
        return self.first.shape[1]

    def line(self, row: int) -> int:
        """Line of the file, from 1, that a row stands in."""
        return self._lines_before + tokens.count_lines(self.text[: self.first[0, row]]) + 1

    def field(self, row: int, column: int) -> str:
        """Text of a field."""
        field = self.text[self.first[column, row] : self.last[column, row]]
        return field.tobytes().decode("utf-8", errors="replace")

    def refuse(self, row: int, message: str) -> NoReturn:
        """Raise :class:`InputError` that names the file and the row's line."""
        raise InputError(f"{self.path}:{self.line(row)}: {message}")

    def refuse_field(self, row: int, column: int, what: str, expected: str) -> NoReturn:
        """Raise :class:`InputError` that names file, line and field."""
        self.refuse(row, f"{what} (column {column + 1}) is {self._shown(row, column)}; expected {expected}")

    def whole(self, column: int, what: str) -> np.ndarray:
        """Whole numbers of a column, ``(rows,) int64``; raises :class:`InputError` for anything else."""
        values, failed = np.empty(len(self), np.int64), np.empty(len(self), np.int64)
        failures = tokens.whole_numbers(self.text, self.first[column], self.last[column], values, failed)
        for row in failed[:failures].tolist():
            # Some programs write 100000 as 1e+05.
            value = _number(self.field(row, column))
            if not value.is_integer() or abs(value) > 2**53:
                self.refuse_field(row, column, what, "a whole number")
            values[row] = int(value)
        return values

    def number(self, column: int, what: str) -> np.ndarray:
        """Numbers of a column, ``(rows,) float64``, finite also as float32; raises :class:`InputError` otherwise."""
        values, failed = np.empty(len(self), np.float64), np.empty(len(self), np.int64)
        failures = tokens.numbers(self.text, self.first[column], self.last[column], values, failed)
        for row in failed[:failures].tolist():
            value = _number(self.field(row, column))
            if math.isnan(value) or abs(value) > tokens.LARGEST:
                self.refuse_field(row, column, what, "a finite number")
            values[row] = value
        return values

    def strand(self, column: int) -> np.ndarray:
        """Strands of a column, ``(rows,) int8``, 0 for ``+`` and 1 for ``-``; raises :class:`InputError` otherwise."""
        values = np.empty(len(self), np.int8)
        bad = tokens.strands(self.text, self.first[column], self.last[column], values)
        if bad != tokens.GOOD:
            self.refuse_field(bad, column, "strand", "+ or -")
        return values

    def is_dot(self, column: int) -> np.ndarray:
        """Whether each field of a column is a dot, which stands for none; ``(rows,) bool``."""
        first = self.first[column]
        return (self.last[column] - first == 1) & (self.text[first] == _DOT)

    def names(self, column: int, names: ChromosomeNames) -> np.ndarray:
        """Number that ``names`` gives each field of a column, ``(rows,) int32``."""
        return names.number(self.text, self.first[column], self.last[column])

    def intervals(self, names: ChromosomeNames) -> Intervals:
        """Chromosome, start and end from the first three columns.

        Raises:
            InputError: not an interval of its chromosome.
        """
        name, start, end = self.names(0, names), self.whole(1, "start"), self.whole(2, "end")
        found = Intervals(name, names.places(name), start, end)
        self.check(found, names.genome)
        return found

    def check(self, found: Intervals, genome: Genome) -> None:
        """Raise :class:`InputError` at the first row that is not an interval of its chromosome."""
        _, place, start, end = found
        sizes = np.where(place == UNKNOWN, np.iinfo(np.int64).max, genome.size_array()[place])
        bad = (start < 0) | (end <= start) | (end > sizes)
        if bad.any():
            row = int(np.argmax(bad))
            where = f"{self.field(row, 0)} {start[row]} {end[row]}"
            if start[row] < 0:
                self.refuse(row, f"{where}: the start is below 0")
            if end[row] <= start[row]:
                self.refuse(row, f"{where}: the end must lie above the start")
            self.refuse(row, f"{where}: the end lies past the chromosome's {sizes[row]:,} bp")

    def _shown(self, row: int, column: int) -> str:
        field = self.field(row, column)
        return repr(field if len(field) <= 40 else f"{field[:40]}…")


def read_rows(
    path: str | Path,
    what: str,
    *,
    least: int,
    most: int,
    expected: str,
    head: bool = False,
    block: int | None = None,
) -> Iterator[Rows]:
    """Yield the rows of a table, a block at a time.

    Columns lie between tabs, or between stretches of spaces where the first row has no tab. Blank lines and those that
    start with ``#``, ``track`` or ``browser`` are skipped.

    Args:
        path: the file, plain, gzipped or bgzipped.
        what: what it ought to be, for messages.
        least: columns that it must have.
        most: columns to keep of those that it has.
        expected: what the ``least`` columns are, for messages.
        head: read the first :data:`HEAD` bytes of text alone.
        block: bytes of text worked on at a time, also those of the longest line; None: :data:`BLOCK`.

    Raises:
        InputError: no such file, no table of text, broken compression, rows of unlike width, no rows.
    """
    path = require_file(path, what)
    if bgzf.is_bgzf(path):
        # Cut between two blocks, it would inflate without complaint.
        bgzf.require_end(path, f"bgzipped text of {what}")
    columns, by_tab = 0, True
    for lines in _blocks(path, what, HEAD if head else block or BLOCK, head):
        if not columns:
            row = _DATA.search(lines.text.data)
            if row is None and lines.is_last:
                raise InputError(f"{path}: no lines of data in it; expected {what}")
            if row is None:
                continue
            by_tab = b"\t" in row[0]
            columns = len(row[0].split(b"\t" if by_tab else None))
            if columns < least:
                line = lines.lines_before + tokens.count_lines(lines.text[: row.start()]) + 1
                raise InputError(f"{path}:{line}: {columns} column(s); expected {expected}")
        rows = _find_rows(path, lines, by_tab, columns, most)
        if len(rows):
            yield rows


class _Block(NamedTuple):
    text: np.ndarray
    lines_before: int
    is_last: bool


def _blocks(path: Path, what: str, size: int, head: bool) -> Iterator[_Block]:
    """Yield blocks of whole lines, each read while the one before it is worked on; for ``head`` the first alone."""
    buffers = bytearray(size + 1), bytearray(size + 1)
    lines = 0
    with _open(path) as stream, OrderedPool[tuple[int, Exception | None]]() as reading:
        reading.submit(_fill, stream, buffers[0], 0)
        for turn in itertools.count():
            buffer, other = buffers[turn % 2], buffers[(turn + 1) % 2]
            filled, error = reading.take()
            if turn == 0 and b"\0" in buffer[: min(filled, 4096)]:
                raise InputError(f"{path}: binary content; expected {what}")
            if error is not None:
                # Before what was inflated is looked at: that may be garbage.
                lines += tokens.count_lines(np.frombuffer(buffer, np.uint8, filled))
                raise InputError(f"{path}: broken after line {lines:,} ({error}); expected {what}") from error
            is_last = filled < size
            if is_last and filled and buffer[filled - 1] != _NEWLINE:
                buffer[filled] = _NEWLINE
                filled += 1
            cut = buffer.rfind(b"\n", 0, filled) + 1
            if not is_last:
                if not cut:
                    raise InputError(f"{path}:{lines + 1}: a line of more than {size:,} bytes; expected {what}")
                if not head:
                    other[: filled - cut] = buffer[cut:filled]
                    reading.submit(_fill, stream, other, filled - cut)
            text = np.frombuffer(buffer, np.uint8, cut)
            yield _Block(text, lines, is_last)
            if is_last or head:
                return
            lines += tokens.count_lines(text)


def _open(path: Path) -> io.BufferedIOBase | io.RawIOBase:
    with path.open("rb") as handle:
        is_gzip = handle.read(2) == _GZIP
    if is_gzip:
        return igzip.IGzipFile(path)  # type: ignore[no-untyped-call]
    return path.open("rb", buffering=0)


def _fill(stream: io.BufferedIOBase | io.RawIOBase, buffer: bytearray, filled: int) -> tuple[int, Exception | None]:
    """Read until the buffer is full; returns the bytes in it, less than its size at the end of the file or an error."""
    size = len(buffer) - 1
    with memoryview(buffer) as view:
        try:
            while filled < size:
                # What is read before an error is lost with it, so read little at a time.
                got = stream.readinto(view[filled : min(size, filled + _PIECE)])
                if not got:
                    break
                filled += got
        except _BROKEN as error:
            return filled, error
    return filled, None


def _find_rows(path: Path, block: _Block, by_tab: bool, columns: int, most: int) -> Rows:
    text = block.text
    first = np.empty((min(columns, most), tokens.count_lines(text)), np.int32)
    last = np.empty_like(first)
    found, bad, width = tokens.find_fields(text, by_tab, columns, first, last)
    if bad != tokens.GOOD:
        relation = "more" if width > columns else "fewer"
        rows = Rows(
            path=path,
            text=text,
            first=first,
            last=last,
            columns=columns,
            lines_before=block.lines_before,
            is_last=block.is_last,
        )
        rows.refuse(bad, f"{width} column(s), {relation} than the first row's {columns}")
    return Rows(
        path=path,
        text=text,
        first=first[:, :found],
        last=last[:, :found],
        columns=columns,
        lines_before=block.lines_before,
        is_last=block.is_last,
    )


def _number(field: str) -> float:
    return float(field) if _DECIMAL.fullmatch(field) else math.nan
