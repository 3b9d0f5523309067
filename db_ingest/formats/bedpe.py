"""Cut sites or coverage of the fragments of a BEDPE file. Formats: bedtools (pairs of reads), MACS (fragments).

A file of three columns lists fragments: chromosome, start, end. One of six or more lists pairs, the chromosome, start
and end of either mate; the fragment goes from the first base of the two to the last. What is counted is as in
:mod:`db_ingest.formats.fragments`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from db_ingest.formats.base import EVERYTHING, Channel
from db_ingest.formats.events import EventCounter
from db_ingest.formats.fragments import check_fragments, count_fragments
from db_ingest.formats.text.rows import Intervals, Rows, read_rows
from db_ingest.formats.text.words import UNKNOWN, ChromosomeNames
from db_ingest.inputs.naming import Naming

_WHAT = "a BEDPE file"
_EXPECTED = "chromosome, start and end of a fragment, or of both mates"


def open_signal(
    path: str | Path, naming: Naming, options: Mapping[str, Any], channels: Sequence[Channel] = (EVERYTHING,)
) -> EventCounter:
    """Count the fragments of a file, sorted or not.

    Args:
        path: the file.
        naming: names of the chromosomes of the database's genome.
        options: ``count``, ``cut_sites`` or ``coverage``; ``shift`` of the start and the end, bp.
        channels: of a strand: ``+`` has the cuts at starts, ``-`` those at ends.

    Returns:
        a reader with, in the summary of a file of pairs, ``unpaired``, lines that lack a mate (its chromosome is ``.``
        or its start -1), and ``between_chromosomes``, pairs on two chromosomes; both are left out.

    Raises:
        InputError: a line that is no fragment of the genome, or no chromosome in common.
    """
    return count_fragments(Path(path), naming, options, channels, _find)


def check_signal(path: str | Path, naming: Naming, options: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` for what is wrong with a BEDPE's first rows, or with its end."""
    check_fragments(Path(path), naming, _find)


def _find(path: Path, names: ChromosomeNames, summary: dict[str, Any], head: bool) -> Iterator[tuple[Rows, Intervals]]:
    for rows in read_rows(path, _WHAT, least=3, most=6, expected=_EXPECTED, head=head):
        if rows.columns in (4, 5):
            rows.refuse(0, f"{rows.columns} columns; expected {_EXPECTED}: 3 columns, or 6 and more")
        yield rows, rows.intervals(names) if rows.columns == 3 else _pairs(rows, names, summary)


def _pairs(rows: Rows, names: ChromosomeNames, summary: dict[str, Any]) -> Intervals:
    name, other = rows.names(0, names), rows.names(3, names)
    start, end = rows.whole(1, "start"), rows.whole(2, "end")
    other_start, other_end = rows.whole(4, "start of the second mate"), rows.whole(5, "end of the second mate")
    unpaired = rows.is_dot(0) | rows.is_dot(3) | (start == -1) | (other_start == -1)
    apart = ~unpaired & (name != other)
    summary["unpaired"] = summary.get("unpaired", 0) + int(unpaired.sum())
    summary["between_chromosomes"] = summary.get("between_chromosomes", 0) + int(apart.sum())
    kept = ~(unpaired | apart)
    place = np.where(kept, names.places(name), UNKNOWN)
    for first, last in ((start, end), (other_start, other_end)):
        rows.check(Intervals(name, place, np.where(kept, first, 0), np.where(kept, last, 1)), names.genome)
    start, end = np.minimum(start, other_start), np.maximum(end, other_end)
    return Intervals(name[kept], place[kept], start[kept], end[kept])
