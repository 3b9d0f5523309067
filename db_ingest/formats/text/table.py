"""Tables of text that are held whole: the lines of BED, narrowPeak, BEDPE, GTF and of tables with named columns.

Files of any size, such as bedGraph, are read block by block by :mod:`db_ingest.formats.text.rows` instead.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from db_ingest import intervals
from db_ingest.errors import InputError
from db_ingest.inputs.files import read_text
from db_ingest.inputs.naming import Naming

_NO_DATA = re.compile(rb"#|(?:track|browser)(?=\s)|[ \t]*\n")
_MAY_BE_NO_DATA = np.frombuffer(b"#tb \t\n", np.uint8)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


class Chromosomes(NamedTuple):
    """The column of a table that names chromosomes.

    Args:
        names: each name that the file has, once.
        which: ``(n,) int64`` place in ``names`` of the name of each line.
        place: ``(n,) int64`` place in the genome of the chromosome that the name means; -1: the genome lacks it.
    """

    names: list[str]
    which: np.ndarray
    place: np.ndarray

    def name(self, row: int) -> str:
        """The chromosome of a row, by the name that the file gives it."""
        return self.names[self.which[row]]


class TextTable:
    """The columns of a table, all lines of one width.

    Columns of a type are parsed as such at once; where that fails, for an error or a number in another spelling such
    as 1e+05, all are read as text, and each is converted when it is asked for. Columns are numbered from 0.

    Attributes:
        path: the file, for messages.
        lines: ``(n,) int64`` number of each row's line in the file, from 1.
        width: number of columns.
        header: names of the columns, where the first line that is no comment has them; otherwise None.
        comment: the last line of comment before the rows, without its ``#``; empty where there is none.
    """

    def __init__(
        self, path: str | Path, data: bytes, lines: np.ndarray, width: int, header: list[str] | None, comment: str
    ) -> None:
        self.path, self.lines, self.width, self.header, self.comment = path, lines, width, header, comment
        self._data = data
        self._columns: Any = None
        self._missing: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.lines)

    def parse(self, types: Mapping[int, Any], missing: frozenset[int] = frozenset()) -> None:
        """Parse columns as types, by their number; in those of ``missing``, a dot stands for no number."""
        known = {column: type for column, type in types.items() if column < self.width}
        self._missing = missing
        try:
            with np.errstate(invalid="ignore"):
                self._columns = self._parsed(known, {c: ["."] for c in missing if known.get(c) is np.float64})
        except (ValueError, OverflowError):
            self._columns = self._parsed(dict.fromkeys(known, object), {})

    def text(self, column: int) -> np.ndarray:
        """A column as ``(n,)`` strings, ``"."`` throughout where the table is not as wide."""
        if column not in self._read():
            return np.full(len(self), ".", object)
        values = self._columns[column].to_numpy()
        return values if values.dtype == object else values.astype(str).astype(object)

    def whole(self, column: int, what: str) -> np.ndarray:
        """A column as ``(n,) int64``; raises :class:`InputError` at the first field that is no whole number."""
        values = self._numeric(column)
        if values.dtype == np.int64:
            return values
        bad = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) > 2**53)
        self._require(~bad, column, what, "a whole number")
        return values.astype(np.int64)

    def number(self, column: int, what: str) -> np.ndarray:
        """A column as ``(n,) float64``, NaN throughout where the table is not as wide.

        Raises:
            InputError: at the first field that is no finite number, unless the column may have ``missing`` ones.
        """
        if column not in self._read():
            return np.full(len(self), np.nan)
        values = self._numeric(column).astype(np.float64)
        bad = ~np.isfinite(values)
        if column in self._missing and bad.any():
            bad &= ~self._columns[column].isin([".", "nan", np.nan]).to_numpy()
        self._require(~bad, column, what, "a number")
        return values

    def has_commas(self, column: int) -> bool:
        """Whether any field of a column has a comma in it."""
        values = self._read()[column]
        return values.dtype == object and bool(values.str.contains(",", regex=False).any())

    def chromosomes(self, naming: Naming, column: int = 0) -> Chromosomes:
        """The chromosomes that a column names; raises :class:`InputError` where the genome has none of them."""
        import pandas as pd

        which, found = pd.factorize(self._read()[column].to_numpy())
        names = list(found)
        known = [naming.find(name) for name in names]
        if all(name is None for name in known):
            naming.match(self.path, names)
        place = np.array([-1 if name is None else naming.genome.index(name) for name in known])
        return Chromosomes(names, which, place[which])

    def refuse(self, row: int, message: str) -> NoReturn:
        """Raise :class:`InputError` that names the file and the row's line."""
        raise InputError(f"{self.path}:{self.lines[row]}: {message}")

    def _require(self, good: np.ndarray, column: int, what: str, expected: str) -> None:
        if not good.all():
            row = int(np.argmin(good))
            field = str(self._columns[column].iloc[row])
            self.refuse(row, f"{what} (column {column + 1}) is {field!r}; expected {expected}")

    def _numeric(self, column: int) -> np.ndarray:
        import pandas as pd

        values = self._read()[column]
        if values.dtype == object:
            return pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
        return values.to_numpy()

    def _read(self) -> Any:
        if self._columns is None:
            self.parse(dict.fromkeys(range(self.width), object))
        return self._columns

    def _parsed(self, types: Mapping[int, Any], missing: Mapping[int, list[str]]) -> Any:
        import pandas as pd

        return pd.read_csv(
            io.BytesIO(self._data),
            sep="\t",
            header=None,
            names=list(range(self.width)),
            usecols=list(types),
            dtype=dict(types),
            na_values=dict(missing),
            keep_default_na=False,
            skip_blank_lines=False,
            quoting=3,
            engine="c",
            low_memory=False,
        )


def read_table(
    path: str | Path,
    what: str,
    *,
    least: int = 3,
    columns: str = "chromosome, start and end",
    width: int | None = None,
    header: bool = False,
    empty: str = "refuse",
) -> TextTable | None:
    """Read a table, plain, gzipped or bgzipped.

    Columns lie between tabs, or between stretches of spaces where the first line has no tab. Lines that are blank or
    start with ``#``, ``track`` or ``browser`` are skipped.

    Args:
        path: the file.
        what: what it ought to be, for messages.
        least: number of columns that it must have.
        columns: what these are, for messages.
        width: number of columns that it must have exactly; None: any.
        header: take the first line for names of the columns where its second field is no number.
        empty: ``"allow"`` returns None for a file without rows, even of 0 bytes; ``"refuse"`` doesn't.

    Raises:
        InputError: no such file, no text, broken compression, no rows, a line that is not as wide as the first.
    """
    if empty == "allow" and Path(path).is_file() and Path(path).stat().st_size == 0:
        return None
    data, lines, comment = _data_lines(read_text(path, what))
    names = None
    if header and len(lines):
        first, _, rest = data.partition(b"\n")
        fields = [field.strip() for field in (first.split(b"\t") if b"\t" in first.rstrip() else first.split())]
        if len(fields) > 1 and not _NUMBER.fullmatch(fields[1].decode()):
            names = [field.decode(errors="replace") for field in fields]
            if len(lines) > 1:
                _separated(path, data, lines, least, columns, width)
            data, lines = rest, lines[1:]
    if len(lines) == 0:
        if empty == "allow":
            return None
        raise InputError(f"{path}: no intervals in it; expected {what}")
    data, found = _separated(path, data, lines, least, columns, width)
    return TextTable(
        path=path,
        data=data,
        lines=lines,
        width=found,
        header=names,
        comment=comment,
    )


def _data_lines(text: str) -> tuple[bytes, np.ndarray, str]:
    """The lines that hold data, the number of each in the file, and the last comment before them."""
    data = text.encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not data.endswith(b"\n"):
        data += b"\n"
    buffer = np.frombuffer(data, np.uint8)
    starts = np.concatenate([[0], np.flatnonzero(buffer == ord("\n")) + 1])
    keep = np.ones(len(starts) - 1, bool)
    for i in np.flatnonzero(np.isin(buffer[starts[:-1]], _MAY_BE_NO_DATA)):
        keep[i] = not _NO_DATA.match(data, starts[i])
    comment = ""
    if not keep.all():
        before = np.arange(int(np.argmax(keep)) if keep.any() else 0)
        comments = before[buffer[starts[before]] == ord("#")]
        if len(comments):
            comment = data[starts[comments[-1]] : starts[comments[-1] + 1]].decode().lstrip("#").strip()
        data = b"".join(data[starts[a] : starts[b]] for a, b in zip(*intervals.runs(keep), strict=True))
    return data, np.flatnonzero(keep) + 1, comment


def _separated(
    path: str | Path, data: bytes, lines: np.ndarray, least: int, columns: str, expected: int | None
) -> tuple[bytes, int]:
    """Tab-separated lines, as many columns in each, and how many."""
    if b"\t" not in data[: data.index(b"\n")].rstrip():
        data = b"".join(b"\t".join(line.split()) + b"\n" for line in data.splitlines())
    buffer = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(buffer == ord("\n"))
    widths = 1 + np.diff(np.searchsorted(np.flatnonzero(buffer == ord("\t")), ends), prepend=0)
    if (buffer[ends - 1] == ord("\t")).all():
        data, widths = data.replace(b"\t\n", b"\n"), widths - 1
    width = int(widths[0])
    if width < least:
        raise InputError(f"{path}:{lines[0]}: {width} column(s); expected at least {columns}")
    if expected is not None and width != expected:
        raise InputError(f"{path}:{lines[0]}: {width} columns; expected the {expected} of this type of peaks")
    odd = widths != width
    if odd.any():
        first = int(np.argmax(odd))
        more = "more" if widths[first] > width else "fewer"
        raise InputError(f"{path}:{lines[first]}: {more} columns than the first line's {width}")
    return data, width
