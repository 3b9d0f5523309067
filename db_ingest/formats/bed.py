"""Intervals from BED and narrowPeak files, plain or gzipped."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from db_ingest import intervals
from db_ingest.errors import InputError
from db_ingest.formats.files import read_text
from db_ingest.genome import Genome, shorten_names

_WHAT = "a BED or narrowPeak file"
NO_SUMMIT = -1


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


def read(path: str | Path, genome: Genome, *, summit: str = "auto") -> BedTable:
    """Read a BED or narrowPeak file.

    Lines that are empty or start with ``#``, ``track`` or ``browser`` are skipped. Columns 4 to 6 are name, score and
    strand; in narrowPeak and broadPeak (10 and 9 columns), 7 to 9 are signalValue, pValue and qValue.

    Args:
        path: the file, plain or gzipped.
        genome: chromosomes that intervals must fit into.
        summit: ``"last_col"`` takes the last column as the summit's offset from the start (-1: none was called);
            ``"auto"`` does so for narrowPeak (10 columns); ``"none"`` never.

    Raises:
        InputError: with the file and the line, for anything that is not an interval of the genome; also where the
            file holds no interval or none on a chromosome of the genome.
    """
    import pandas as pd

    text = read_text(path, _WHAT)
    kept = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith(("#", "track", "browser"))
    ]
    if not kept:
        raise InputError(f"{path}: no intervals in it; expected {_WHAT}")
    numbers = np.array([number for number, _ in kept])
    separator = "\t" if "\t" in kept[0][1] else r"\s+"
    widths = [len(line.split("\t" if separator == "\t" else None)) for _, line in kept]
    width = widths[0]
    if width < 3:
        raise InputError(f"{path}:{numbers[0]}: {width} column(s); expected at least chromosome, start and end")
    odd = next((place for place, found in enumerate(widths) if found != width), None)
    if odd is not None:
        more = "more" if widths[odd] > width else "fewer"
        raise InputError(f"{path}:{numbers[odd]}: {more} columns than the first line's {width}")
    try:
        table = pd.read_csv(
            io.StringIO("\n".join(line for _, line in kept)),
            sep=separator,
            header=None,
            names=list(range(width)),
            index_col=False,
            dtype=str,
            keep_default_na=False,
            quoting=3,
            engine="c",
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not a table of {width} columns ({error})") from error

    def column(place: int, what: str, whole: bool = False, missing: bool = False) -> np.ndarray:
        values = pd.to_numeric(table[place], errors="coerce").to_numpy(np.float64)
        bad = ~np.isfinite(values)
        if missing:
            bad &= (table[place] != "nan").to_numpy()
        if whole:
            bad |= (values != np.floor(values)) | (np.abs(values) > 2**53)
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            kind = "a whole number" if whole else "a number"
            raise InputError(
                f"{path}:{numbers[first]}: {what} (column {place + 1}) is {table[place].iloc[first]!r}; expected {kind}"
            )
        return values.astype(np.int64) if whole else values

    start, end = column(1, "start", whole=True), column(2, "end", whole=True)
    if summit not in ("auto", "last_col", "none"):
        raise InputError(f"summit={summit!r}; expected auto, last_col or none")
    takes_summit = summit == "last_col" or (summit == "auto" and width == 10)
    if takes_summit and width < 4:
        raise InputError(f"{path}:{numbers[0]}: {width} columns; expected a summit offset in a column after the end")
    offset = column(width - 1, "summit offset", whole=True) if takes_summit else np.full(len(table), NO_SUMMIT)
    # Nine columns are broadPeak, or BED9, whose last column is a colour such as 255,0,0.
    is_bed9 = width == 9 and table[8].str.contains(",", regex=False).any()
    is_peak = width in (9, 10) and not is_bed9 and summit != "none"
    missing = np.full(len(table), np.nan)
    score = missing
    if width > 4:
        table[4] = table[4].where(table[4] != ".", "nan")
        score = column(4, "score", missing=True)
    chromosomes = table[0].to_numpy(object)
    place = np.array([genome.names.index(c) if c in genome else -1 for c in pd.unique(table[0])])
    chromosome = place[pd.factorize(table[0])[0]]
    known = chromosome >= 0
    if not known.any():
        raise InputError(
            f"{path}: no chromosome in common with the genome; "
            f"the file has {shorten_names(list(dict.fromkeys(chromosomes)))}, the genome {shorten_names(genome.names)}"
        )

    def refuse(bad: np.ndarray, expectation: Callable[[int], str]) -> None:
        if bad.any():
            i = int(np.flatnonzero(bad)[0])
            raise InputError(f"{path}:{numbers[i]}: {chromosomes[i]} {start[i]} {end[i]}: {expectation(i)}")

    sizes = genome.size_array()[np.where(known, chromosome, 0)]
    refuse(start < 0, lambda i: "the start is below 0")
    refuse(end <= start, lambda i: "the end must lie above the start")
    refuse(known & (end > sizes), lambda i: f"the end lies past the chromosome's {sizes[i]:,} bp")
    refuse(offset < NO_SUMMIT, lambda i: f"summit offset {offset[i]}; expected -1 (none called) or above")
    refuse(offset >= end - start, lambda i: f"summit offset {offset[i]} lies outside the interval")

    def text_column(i: int) -> np.ndarray:
        return table[i].to_numpy(object) if width > i else np.full(len(table), ".", object)

    order = np.lexsort((start, chromosome))
    order = order[known[order]]
    return BedTable(
        chromosome=chromosome[order],
        start=start[order],
        end=end[order],
        summit=offset[order],
        name=text_column(3)[order],
        strand=_strands(text_column(5))[order],
        score=score[order],
        signal_value=(column(6, "signalValue") if is_peak else missing)[order],
        p_value=(column(7, "pValue") if is_peak else missing)[order],
        q_value=(column(8, "qValue") if is_peak else missing)[order],
        elsewhere=int((~known).sum()),
    )


def _strands(column: np.ndarray) -> np.ndarray:
    return np.where((column == "+") | (column == "-"), column, ".").astype(object)
