"""Counts of 5' ends from tagAlign files. Format: BED of six columns, ENCODE; a line is a read, with its strand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from db_ingest.formats.base import EVERYTHING, Channel
from db_ingest.formats.events import EventBatch, EventCounter, layers
from db_ingest.formats.text.rows import Intervals, Rows, read_rows
from db_ingest.formats.text.words import UNKNOWN, ChromosomeNames
from db_ingest.inputs.naming import Naming

_WHAT = "a tagAlign file"
_EXPECTED = "chromosome, start, end, name, score and strand"
_STRANDS = ("+", "-")


def open_signal(
    path: str | Path, naming: Naming, options: Mapping[str, Any], channels: Sequence[Channel] = (EVERYTHING,)
) -> EventCounter:
    """Count the 5' ends of a tagAlign, sorted or not: base ``start`` of a plus and ``end - 1`` of a minus strand's.

    Args:
        path: the file.
        naming: names of the chromosomes of the database's genome.
        options: ``shift``, bp added to the position of either strand's ends. ENCODE's ATAC-seq pipeline has moved them
            already.
        channels: one strand, or both.

    Raises:
        InputError: a line that is no read on the genome, or no chromosome in common.
    """
    names = ChromosomeNames(naming)
    summary: dict[str, Any] = {}
    tally = {"elsewhere": 0}
    shift = options["shift"]
    takes = [[i for i, strand in enumerate(_STRANDS) if channel.strand in (None, strand)] for channel in channels]
    batches = _batches(Path(path), names, np.array(shift), layers(takes, len(_STRANDS)), tally)
    reach = max(abs(bp) for bp in shift)
    counter = EventCounter(path, naming.genome, batches, len(channels), None, summary, reach=reach)
    summary.update(tally)
    try:
        names.match(path)
    except BaseException:
        counter.close()
        raise
    return counter


def check_signal(path: str | Path, naming: Naming, options: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` for what is wrong with a tagAlign's first rows, or with its end."""
    names = ChromosomeNames(naming)
    for rows, _, _ in _find(Path(path), names, head=True):
        names.match(path, whole=rows.is_last)


def _find(path: Path, names: ChromosomeNames, head: bool = False) -> Iterator[tuple[Rows, Intervals, np.ndarray]]:
    for rows in read_rows(path, _WHAT, least=6, most=6, expected=_EXPECTED, head=head):
        yield rows, rows.intervals(names), rows.strand(5)


def _batches(
    path: Path, names: ChromosomeNames, shift: np.ndarray, tables: list[np.ndarray], tally: dict[str, int]
) -> Iterator[EventBatch]:
    for _, (_, place, start, end), strand in _find(path, names):
        tally["elsewhere"] += int((place == UNKNOWN).sum())
        base = np.where(strand == 0, start, end - 1) + shift[strand]
        for table in tables:
            yield EventBatch(place, base, None, table[strand])
