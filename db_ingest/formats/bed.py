"""Intervals from BED, narrowPeak and broadPeak files. Formats: https://genome.ucsc.edu/FAQ/FAQformat.html."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from db_ingest import intervals
from db_ingest.errors import InputError
from db_ingest.inputs.files import read_text
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

_WHAT = "a BED or narrowPeak file"
NO_SUMMIT = -1

_SUMMITS = ("auto", "last_col", "none")
_LAYOUTS = {"bed": None, "narrowpeak": 10, "broadpeak": 9}
_NO_INTERVAL = re.compile(rb"#|(?:track|browser)(?=\s)|[ \t]*\n")
_SCORE = 4
_MAY_BE_NONE = np.frombuffer(b"#tb \t\n", np.uint8)


@dataclass
class BedTable:
    """Intervals of one file, those on chromosomes of the genome, sorted by place.

    Args:
        chromosome: ``(n,) int64`` place of each one's chromosome in the genome.
        start, end: ``(n,) int64`` within the chromosome, half-open, bp.
        summit: ``(n,) int64`` offset from ``start`` in bp, -1 where none was called.
        name, strand: ``(n,)`` strings; ``"."`` where the file has none.
        score, signal_value, p_value, q_value: ``(n,) float64``; NaN where the file has none.
        elsewhere: intervals left out because the genome lacks their chromosome.
        clipped: intervals whose end was moved to their chromosome's.
    """

    chromosome: np.ndarray
    start: np.ndarray
    end: np.ndarray
    summit: np.ndarray
    name: np.ndarray
    strand: np.ndarray
    score: np.ndarray
    signal_value: np.ndarray
    p_value: np.ndarray
    q_value: np.ndarray
    elsewhere: int
    clipped: int

    def __len__(self) -> int:
        return len(self.start)

    @property
    def summit_or_centre(self) -> np.ndarray:
        """Position of each one's summit, its centre where none was called; ``(n,) int64``."""
        return np.where(self.summit >= 0, self.start + self.summit, (self.start + self.end) // 2)

    def spans(self, genome: Genome) -> intervals.Spans:
        """Union of the intervals on the position axis."""
        offset = genome.offsets[self.chromosome]
        return intervals.merge(offset + self.start, offset + self.end)


def read(
    path: str | Path,
    names: Naming | Genome,
    *,
    layout: str = "bed",
    summit: str = "auto",
    empty: str = "refuse",
    past_end: str = "refuse",
) -> BedTable:
    """Read a BED, narrowPeak or broadPeak file, plain or gzipped.

    Lines that are empty or start with ``#``, ``track`` or ``browser`` are skipped. Columns 4 to 6 are name, score and
    strand; in narrowPeak and broadPeak (10 and 9 columns), 7 to 9 are signalValue, pValue and qValue.

    Args:
        path: the file.
        names: the genome whose chromosomes the intervals must fit into, or a naming of it.
        layout: ``"narrowpeak"`` and ``"broadpeak"`` refuse all but 10 and 9 columns, ``"bed"`` takes any.
        summit: ``"last_col"`` takes the last column as the summit's offset from the start (-1: none was called);
            ``"auto"`` does so for 10 columns; ``"none"`` reads neither summits nor columns 7 to 9.
        empty: ``"allow"`` takes a file without intervals, even of 0 bytes, for what it is; ``"refuse"`` doesn't.
        past_end: ``"clip"`` cuts intervals that begin on their chromosome and end past it, as peak callers that extend
            reads write; ``"refuse"`` takes them for those of another assembly.

    Raises:
        InputError: with the file and the line, for anything that is not an interval of the genome; also where the
            file holds no interval or none on a chromosome of the genome.
    """
    if summit not in _SUMMITS or layout not in _LAYOUTS:
        raise InputError(f"summit={summit!r}, layout={layout!r}; expected one of {_SUMMITS} and of {tuple(_LAYOUTS)}")
    naming = names if isinstance(names, Naming) else Naming(names)
    if empty == "allow" and Path(path).is_file() and Path(path).stat().st_size == 0:
        return _empty_table()
    data, numbers = _lines(read_text(path, _WHAT))
    if len(numbers) == 0:
        if empty == "allow":
            return _empty_table()
        raise InputError(f"{path}: no intervals in it; expected {_WHAT}")
    data, width = _tab_separated(path, data, numbers, _LAYOUTS[layout])
    takes_summit = summit == "last_col" or (summit == "auto" and width == 10)
    if takes_summit and width < 4:
        raise InputError(f"{path}:{numbers[0]}: {width} columns; expected a summit offset in a column after the end")
    has_values = width in (9, 10) and summit != "none"
    table = _Table(path, data, numbers, width, _kinds(width, takes_summit, has_values))
    start, end = table.whole(1, "start"), table.whole(2, "end")
    offset = table.whole(width - 1, "summit offset") if takes_summit else np.full(len(start), NO_SUMMIT)
    # Nine columns are broadPeak, or BED9, whose last column is a colour such as 255,0,0.
    has_values &= not (layout == "bed" and width == 9 and table.has_commas(8))
    given, which = table.chromosomes()
    found = [naming.find(name) for name in given]
    if all(name is None for name in found):
        naming.match(path, given)
    place = np.array([-1 if name is None else naming.genome.index(name) for name in found])
    chromosome = place[which]
    known = chromosome >= 0

    def refuse(bad: np.ndarray, expectation: Callable[[int], str]) -> None:
        if bad.any():
            i = int(np.argmax(bad))
            raise InputError(f"{path}:{numbers[i]}: {given[which[i]]} {start[i]} {end[i]}: {expectation(i)}")

    sizes = naming.genome.size_array()[np.where(known, chromosome, 0)]
    refuse(start < 0, lambda i: "the start is below 0")
    refuse(end <= start, lambda i: "the end must lie above the start")
    over = known & (end > sizes)
    refuse(known & (start >= sizes), lambda i: f"it lies past the chromosome's {sizes[i]:,} bp")
    if past_end == "clip":
        end = np.where(over, sizes, end)
    refuse(
        known & (end > sizes),
        lambda i: f"the end lies past the chromosome's {sizes[i]:,} bp; an attribute with past_end: clip cuts it there",
    )
    refuse(offset < NO_SUMMIT, lambda i: f"summit offset {offset[i]}; expected -1 (none called) or above")
    refuse(offset >= end - start, lambda i: f"summit offset {offset[i]} lies outside the interval")

    # By chromosome, then start, then line; most files are sorted already, which a stable sort is fast on.
    order = np.argsort(chromosome * (int(naming.genome.size_array().max()) + 1) + start, kind="stable")
    order = order[known[order]]
    return BedTable(
        chromosome=chromosome[order],
        start=start[order],
        end=end[order],
        summit=offset[order],
        name=table.text(3)[order],
        strand=_strands(table.text(5))[order],
        score=table.number(_SCORE, "score", missing=True)[order],
        signal_value=table.number(6, "signalValue", there=has_values)[order],
        p_value=table.number(7, "pValue", there=has_values)[order],
        q_value=table.number(8, "qValue", there=has_values)[order],
        elsewhere=int((~known).sum()),
        clipped=int(over.sum()),
    )


def _empty_table() -> BedTable:
    whole, text, number = np.zeros(0, np.int64), np.zeros(0, object), np.zeros(0)
    return BedTable(whole, whole, whole, whole, text, text, number, number, number, number, 0, 0)


def _lines(text: str) -> tuple[bytes, np.ndarray]:
    """The lines that hold intervals, and the number of each in the file."""
    data = text.encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not data.endswith(b"\n"):
        data += b"\n"
    buffer = np.frombuffer(data, np.uint8)
    starts = np.concatenate([[0], np.flatnonzero(buffer == ord("\n")) + 1])
    keep = np.ones(len(starts) - 1, bool)
    for i in np.flatnonzero(np.isin(buffer[starts[:-1]], _MAY_BE_NONE)):
        keep[i] = not _NO_INTERVAL.match(data, starts[i])
    if not keep.all():
        data = b"".join(data[starts[a] : starts[b]] for a, b in zip(*intervals.runs(keep), strict=True))
    return data, np.flatnonzero(keep) + 1


def _tab_separated(path: str | Path, data: bytes, numbers: np.ndarray, expected: int | None) -> tuple[bytes, int]:
    """Tab-separated lines, as many columns in each, and how many."""
    if b"\t" not in data[: data.index(b"\n")].rstrip():
        data = b"".join(b"\t".join(line.split()) + b"\n" for line in data.splitlines())
    buffer = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(buffer == ord("\n"))
    widths = 1 + np.diff(np.searchsorted(np.flatnonzero(buffer == ord("\t")), ends), prepend=0)
    if (buffer[ends - 1] == ord("\t")).all():
        data, widths = data.replace(b"\t\n", b"\n"), widths - 1
    width = int(widths[0])
    if width < 3:
        raise InputError(f"{path}:{numbers[0]}: {width} column(s); expected at least chromosome, start and end")
    if expected is not None and width != expected:
        raise InputError(f"{path}:{numbers[0]}: {width} columns; expected the {expected} of this type of peaks")
    odd = widths != width
    if odd.any():
        first = int(np.argmax(odd))
        more = "more" if widths[first] > width else "fewer"
        raise InputError(f"{path}:{numbers[first]}: {more} columns than the first line's {width}")
    return data, width


def _kinds(width: int, takes_summit: bool, has_values: bool) -> dict[int, Any]:
    """Type of each column that is read, by its place."""
    kinds: dict[int, Any] = {0: object, 1: np.int64, 2: np.int64, 3: object, _SCORE: np.float64, 5: object}
    if has_values:
        kinds |= {6: np.float64, 7: np.float64, 8: np.float64}
    if takes_summit:
        kinds[width - 1] = np.int64
    return {place: kind for place, kind in kinds.items() if place < width}


class _Table:
    """The columns of tab-separated lines.

    They are parsed as numbers at once; where that fails, for an error or a number in another spelling such as 1e+05,
    they are read as text, and each is converted when asked for.
    """

    def __init__(
        self, path: str | Path, data: bytes, numbers: np.ndarray, width: int, kinds: Mapping[int, Any]
    ) -> None:
        import pandas as pd

        def parse(kinds: Mapping[int, Any], missing: Mapping[int, list[str]]) -> pd.DataFrame:
            return pd.read_csv(
                io.BytesIO(data),
                sep="\t",
                header=None,
                names=list(range(width)),
                usecols=list(kinds),
                dtype=dict(kinds),
                na_values=dict(missing),
                keep_default_na=False,
                skip_blank_lines=False,
                quoting=3,
                engine="c",
                low_memory=False,
            )

        self._path, self._numbers = path, numbers
        try:
            with np.errstate(invalid="ignore"):
                self._columns = parse(kinds, {_SCORE: ["."]} if kinds.get(_SCORE) is np.float64 else {})
        except (ValueError, OverflowError):
            self._columns = parse(dict.fromkeys(kinds, object), {})

    def chromosomes(self) -> tuple[list[str], np.ndarray]:
        """Names in the file, and which of them each line has."""
        import pandas as pd

        which, names = pd.factorize(self._columns[0].to_numpy())
        return list(names), which

    def has_commas(self, place: int) -> bool:
        """Whether any line has a comma in a column."""
        column = self._columns[place]
        return column.dtype == object and bool(column.str.contains(",", regex=False).any())

    def text(self, place: int) -> np.ndarray:
        """A column as strings, ``"."`` throughout where the file has none."""
        if place not in self._columns:
            return np.full(len(self._columns), ".", object)
        values = self._columns[place].to_numpy()
        return values if values.dtype == object else values.astype(str).astype(object)

    def whole(self, place: int, what: str) -> np.ndarray:
        """A column as ``int64``."""
        values = self._numeric(place)
        if values.dtype == np.int64:
            return values
        bad = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) > 2**53)
        self._refuse(bad, place, f"{what} (column {place + 1})", "a whole number")
        return values.astype(np.int64)

    def number(self, place: int, what: str, *, there: bool = True, missing: bool = False) -> np.ndarray:
        """A column as ``float64``; NaN throughout unless it is ``there``, and for ``.`` if that may be ``missing``."""
        if not there or place not in self._columns:
            return np.full(len(self._columns), np.nan)
        values = self._numeric(place).astype(np.float64)
        bad = ~np.isfinite(values)
        if missing and bad.any():
            bad &= ~self._columns[place].isin([".", "nan", np.nan]).to_numpy()
        self._refuse(bad, place, f"{what} (column {place + 1})", "a number")
        return values

    def _numeric(self, place: int) -> np.ndarray:
        import pandas as pd

        column = self._columns[place]
        if column.dtype == object:
            return pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
        return column.to_numpy()

    def _refuse(self, bad: np.ndarray, place: int, what: str, expected: str) -> None:
        if bad.any():
            i = int(np.argmax(bad))
            raise InputError(
                f"{self._path}:{self._numbers[i]}: {what} is {str(self._columns[place].iloc[i])!r}; expected {expected}"
            )


def _strands(column: np.ndarray) -> np.ndarray:
    return np.where((column == "+") | (column == "-"), column, ".").astype(object)
