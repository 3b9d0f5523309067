"""Intervals from BED, narrowPeak and broadPeak files. Formats: https://genome.ucsc.edu/FAQ/FAQformat.html."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from db_ingest import intervals
from db_ingest.errors import InputError
from db_ingest.formats.text.table import TextTable, read_table
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

_WHAT = "a BED or narrowPeak file"
NO_SUMMIT = -1

_SUMMITS = ("auto", "last_col", "none")
_LAYOUTS = {"bed": None, "narrowpeak": 10, "broadpeak": 9}
_SCORE = 4
_VALUES = (("signal_value", 6, "signalValue"), ("p_value", 7, "pValue"), ("q_value", 8, "qValue"))


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


def open_intervals(path: str | Path, naming: Naming, options: Mapping[str, Any]) -> BedTable:
    """Read a file of an attribute type; see :mod:`db_ingest.formats.base`."""
    return read(
        path,
        naming,
        layout=options["layout"],
        summit=options["summit_column"],
        empty=options["empty"],
        past_end=options["past_end"],
    )


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
        names: the genome whose chromosomes the intervals must fit into, where no table of further names can be had; or
            a naming of it.
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
    naming = names if isinstance(names, Naming) else Naming(names, takes_aliases=False)
    table = read_table(path, _WHAT, width=_LAYOUTS[layout], empty=empty)
    if table is None:
        return _empty_table()
    width = table.width
    takes_summit = summit == "last_col" or (summit == "auto" and width == 10)
    if takes_summit and width < 4:
        table.refuse(0, f"{width} columns; expected a summit offset in a column after the end")
    has_values = width in (9, 10) and summit != "none"
    table.parse(_types(width, takes_summit, has_values), missing=frozenset([_SCORE]))
    placed = place(table, naming, past_end=past_end)
    offset = table.whole(width - 1, "summit offset") if takes_summit else np.full(len(table), NO_SUMMIT)
    _require_summits(table, placed, offset)
    # Nine columns are broadPeak, or BED9, whose last column is a colour such as 255,0,0.
    has_values = has_values and not (layout == "bed" and width == 9 and table.has_commas(8))
    score = table.number(_SCORE, "score")
    values = {
        field: table.number(column, what) if has_values else np.full(len(table), np.nan)
        for field, column, what in _VALUES
    }
    order = placed.in_order(naming.genome)
    return BedTable(
        chromosome=placed.chromosome[order],
        start=placed.start[order],
        end=placed.end[order],
        summit=offset[order],
        name=table.text(3)[order],
        strand=_strands(table.text(5))[order],
        score=score[order],
        **{field: column[order] for field, column in values.items()},
        elsewhere=int((placed.chromosome < 0).sum()),
        clipped=placed.clipped,
    )


class Placed(NamedTuple):
    """Where the lines of a table lie in a genome.

    Args:
        chromosome: ``(n,) int64`` place of each one's chromosome in the genome; -1: the genome lacks it.
        start, end: ``(n,) int64`` within the chromosome, half-open, bp.
        clipped: intervals whose end was moved to their chromosome's.
    """

    chromosome: np.ndarray
    start: np.ndarray
    end: np.ndarray
    clipped: int

    def in_order(self, genome: Genome) -> np.ndarray:
        """Rows on chromosomes of the genome, by chromosome, then start, then line; ``(m,) int64``."""
        # Most files are sorted already, which a stable sort is fast on.
        order = np.argsort(self.chromosome * (int(genome.size_array().max()) + 1) + self.start, kind="stable")
        return order[self.chromosome[order] >= 0]


def place(
    table: TextTable, naming: Naming, columns: tuple[int, int, int] = (0, 1, 2), *, past_end: str = "refuse"
) -> Placed:
    """The intervals of a table, whatever their chromosomes are called in the file.

    Args:
        table: whose lines they are.
        naming: of the genome whose chromosomes the intervals must fit into.
        columns: those of the chromosome, the start and the end, from 0.
        past_end: see :func:`read`.

    Raises:
        InputError: with the file and the line, for anything that is not an interval of the genome; also where none is
            on a chromosome of the genome.
    """
    start, end = table.whole(columns[1], "start"), table.whole(columns[2], "end")
    chromosomes = table.chromosomes(naming, columns[0])
    known = chromosomes.place >= 0
    sizes = naming.genome.size_array()[np.where(known, chromosomes.place, 0)]

    def require(good: np.ndarray, expectation: Callable[[int], str]) -> None:
        if not good.all():
            row = int(np.argmin(good))
            table.refuse(row, f"{chromosomes.name(row)} {start[row]} {end[row]}: {expectation(row)}")

    require(start >= 0, lambda row: "the start is below 0")
    require(end > start, lambda row: "the end must lie above the start")
    over = known & (end > sizes)
    require(~known | (start < sizes), lambda row: f"it lies past the chromosome's {sizes[row]:,} bp")
    if past_end == "clip":
        end = np.where(over, sizes, end)
    require(
        ~known | (end <= sizes),
        lambda row: (
            f"the end lies past the chromosome's {sizes[row]:,} bp; an attribute with past_end: clip cuts it there"
        ),
    )
    return Placed(chromosomes.place, start, end, int(over.sum()))


def _require_summits(table: TextTable, placed: Placed, offset: np.ndarray) -> None:
    """Raise :class:`InputError` at the first summit that does not lie in its interval."""
    for bad, fault in (
        (offset < NO_SUMMIT, "; expected -1 (none called) or above"),
        (offset >= placed.end - placed.start, " lies outside the interval"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            chromosome = table.text(0)[row]
            interval = f"{chromosome} {placed.start[row]} {placed.end[row]}"
            table.refuse(row, f"{interval}: summit offset {offset[row]}{fault}")


def _empty_table() -> BedTable:
    whole, text, number = np.zeros(0, np.int64), np.zeros(0, object), np.zeros(0)
    return BedTable(
        chromosome=whole,
        start=whole,
        end=whole,
        summit=whole,
        name=text,
        strand=text,
        score=number,
        signal_value=number,
        p_value=number,
        q_value=number,
        elsewhere=0,
        clipped=0,
    )


def _types(width: int, takes_summit: bool, has_values: bool) -> dict[int, Any]:
    """Type of each column that is read, by its number."""
    types: dict[int, Any] = {0: object, 1: np.int64, 2: np.int64, 3: object, _SCORE: np.float64, 5: object}
    if has_values:
        types |= {column: np.float64 for _, column, _ in _VALUES}
    if takes_summit:
        types[width - 1] = np.int64
    return types


def _strands(column: np.ndarray) -> np.ndarray:
    return np.where((column == "+") | (column == "-"), column, ".").astype(object)
