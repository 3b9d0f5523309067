"""Cut sites or coverage of fragments, as single-cell ATAC-seq lists them. Format: 10x Genomics, ``fragments.tsv.gz``.

The first base that was read from either end of a fragment is a cut site: base ``start + shift[0]`` on the plus strand
and base ``end - 1 + shift[1]`` on the minus strand. For fragments of aligned reads, as they come, ``shift: [4, -4]``
puts both cuts of one insertion of Tn5 on the same base; 10x Genomics has moved the ends already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from db_ingest.errors import InputError
from db_ingest.formats.base import EVERYTHING, Channel
from db_ingest.formats.events import EventBatch, EventCounter, layers
from db_ingest.formats.text.rows import Intervals, Rows, read_rows
from db_ingest.formats.text.words import UNKNOWN, ChromosomeNames, Words
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import shorten_names

_WHAT = "a fragments file"
_GROUPS = "a table of barcodes and their groups"
_PLUS, _MINUS = "+", "-"

Find = Callable[[Path, ChromosomeNames, dict[str, Any], bool], Iterator[tuple[Rows, Intervals]]]
"""Yields rows of a file and their fragments, given names, a summary to fill, and whether the first rows are enough."""


def open_signal(
    path: str | Path, naming: Naming, options: Mapping[str, Any], channels: Sequence[Channel] = (EVERYTHING,)
) -> EventCounter:
    """Count the fragments of a file, sorted or not, each once whatever its number of reads says.

    Args:
        path: the file.
        naming: names of the chromosomes of the database's genome.
        options: ``count``, ``cut_sites`` or ``coverage``; ``shift`` of the start and the end, bp; ``barcodes``, None
            or a table as of :func:`read_groups`.
        channels: of a strand (``+`` has the cuts at starts, ``-`` those at ends), a group of barcodes, or both.

    Returns:
        a reader with ``unknown_barcodes`` in its summary if there is a table: the fragments, of any chromosome, whose
        barcode it lacks. They count in channels without a group.

    Raises:
        InputError: a line that is no fragment of the genome, no chromosome or no barcode in common, an unknown group.
    """
    path = Path(path)
    grouping = _Grouping(options["barcodes"], channels)
    return count_fragments(path, naming, options, channels, _find, grouping)


def check_signal(path: str | Path, naming: Naming, options: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` for what is wrong with a fragments file's first rows, or with its end."""
    path = Path(path)
    if options["barcodes"] is not None:
        read_groups(options["barcodes"])
    check_fragments(path, naming, _find)


def read_groups(path: str | Path) -> dict[str, str]:
    """Read a table of two columns, barcode and group; ``{barcode: group}``.

    Raises:
        InputError: no such table, a row of more columns, or a barcode that is there twice.
    """
    path = Path(path)
    groups: dict[str, str] = {}
    for rows in read_rows(path, _GROUPS, least=2, most=2, expected="barcode and group"):
        if rows.columns != 2:
            rows.refuse(0, f"{rows.columns} columns; expected barcode and group")
        for i in range(len(rows)):
            barcode, group = rows.field(i, 0), rows.field(i, 1)
            if not barcode or not group:
                rows.refuse(i, f"no {'group' if barcode else 'barcode'}; expected barcode and group")
            if barcode in groups:
                rows.refuse(i, f"barcode {barcode} is there twice")
            groups[barcode] = group
    return groups


def count_fragments(
    path: Path,
    naming: Naming,
    options: Mapping[str, Any],
    channels: Sequence[Channel],
    find: Find,
    grouping: _Grouping | None = None,
) -> EventCounter:
    """Count cut sites or coverage of fragments from any kind of file.

    Args:
        path: the file.
        naming: names of the chromosomes of the database's genome.
        options: ``count`` and ``shift``.
        channels: tracks wanted.
        find: finds the fragments.
        grouping: which group each one's barcode is of; None: there are no groups.
    """
    names = ChromosomeNames(naming)
    grouping = grouping or _Grouping(None, channels)
    summary: dict[str, Any] = {}
    found = _tally(find(path, names, summary, False), tally := {"elsewhere": 0})
    batches = _batches(found, options, channels, grouping)
    reach = max(abs(bp) for bp in options["shift"])
    counter = EventCounter(path, naming.genome, batches, len(channels), None, summary, reach=reach)
    summary.update(tally)
    try:
        names.match(path)
        grouping.finish(path, summary)
    except BaseException:
        counter.close()
        raise
    return counter


def check_fragments(path: Path, naming: Naming, find: Find) -> None:
    """Look at the first fragments of any kind of file."""
    names = ChromosomeNames(naming)
    for rows, _ in find(path, names, {}, True):
        names.match(path, whole=rows.is_last)


def _find(path: Path, names: ChromosomeNames, summary: dict[str, Any], head: bool) -> Iterator[tuple[Rows, Intervals]]:
    expected = "chromosome, start, end and barcode"
    for rows in read_rows(path, _WHAT, least=4, most=4, expected=expected, head=head):
        yield rows, rows.intervals(names)


def _tally(found: Iterator[tuple[Rows, Intervals]], tally: dict[str, int]) -> Iterator[tuple[Rows, Intervals]]:
    """Count fragments on other chromosomes; each has several events."""
    for rows, intervals in found:
        tally["elsewhere"] += int((intervals.place == UNKNOWN).sum())
        yield rows, intervals


class _Grouping:
    """Which kind a barcode is of: ``i + 1`` in the group ``names[i]`` that was asked for, 0 in none of them."""

    def __init__(self, table: str | None, channels: Sequence[Channel]) -> None:
        self.names = list(dict.fromkeys(c.group for c in channels if c.group is not None))
        self.table = table
        self.unknown = self.known = 0
        if table is None:
            if self.names:
                raise InputError(f"group {self.names[0]!r}: expected a table of barcodes to say what is in it")
            return
        groups = read_groups(table)
        known = list(dict.fromkeys(groups.values()))
        absent = [name for name in self.names if name not in known]
        if absent:
            has = shorten_names(known)
            raise InputError(f"{table}: no barcode of group {absent[0]!r}; the groups are {has}")
        self._words = Words(barcode.encode() for barcode in groups)
        kinds = {name: i + 1 for i, name in enumerate(self.names)}
        # The last one is for barcodes that the table lacks.
        self._kind = np.array([*(kinds.get(group, 0) for group in groups.values()), 0], np.int16)

    @property
    def kinds(self) -> int:
        """How many kinds of barcode there are: those of each group asked for, and all others."""
        return len(self.names) + 1

    def takes(self, channels: Sequence[Channel], strand: str) -> list[Iterable[int]]:
        """Kinds of barcode whose cuts on a strand each channel takes."""
        all_kinds = range(self.kinds)
        groups = [all_kinds if c.group is None else [self.names.index(c.group) + 1] for c in channels]
        return [group if c.strand in (None, strand) else [] for c, group in zip(channels, groups, strict=True)]

    def kind_of(self, rows: Rows, fragments: int) -> np.ndarray:
        """Kind of each fragment's barcode, ``(fragments,) int16``."""
        if self.table is None:
            return np.zeros(fragments, np.int16)
        numbers = self._words.number(rows.text, rows.first[3], rows.last[3])
        unknown = int((numbers == UNKNOWN).sum())
        self.unknown += unknown
        self.known += len(rows) - unknown
        return self._kind[numbers]

    def finish(self, path: Path, summary: dict[str, Any]) -> None:
        """Tell what was found; raises :class:`InputError` if the table has no barcode of the file."""
        if self.table is None:
            return
        summary["unknown_barcodes"] = self.unknown
        if not self.known:
            raise InputError(f"{path}: none of its barcodes is in {self.table}; expected some in common")


def _batches(
    found: Iterator[tuple[Rows, Intervals]],
    options: Mapping[str, Any],
    channels: Sequence[Channel],
    grouping: _Grouping,
) -> Iterator[EventBatch]:
    coverage = options["count"] == "coverage"
    if coverage and any(channel.strand for channel in channels):
        raise InputError("coverage by fragments has no strand; expected count: cut_sites for one strand")
    at_start, at_end = (layers(grouping.takes(channels, strand), grouping.kinds) for strand in (_PLUS, _MINUS))
    plus, minus = options["shift"]
    for rows, (_, place, start, end) in found:
        kind = grouping.kind_of(rows, len(start))
        for table in at_start:
            yield EventBatch(place, start + plus, end + minus if coverage else None, table[kind])
        for table in () if coverage else at_end:
            yield EventBatch(place, end - 1 + minus, None, table[kind])
