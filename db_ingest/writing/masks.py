"""Masks: intervals laid on the position axis, beside the intervals as they came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tiledb

from db_ingest import storage
from db_ingest.formats import bed
from db_ingest.inputs.naming import Naming
from db_ingest.layout import arrays, codes, schema
from db_ingest.layout.genome import Genome
from db_ingest.layout.summaries import Part, summarise
from db_ingest.writing.tasks import Output, Task, Written

_LAST_COLUMN = ("bed_summit_from_last_col", "narrowPeak")
_CENTRE = "bed_summit_from_peak_center"
_LAYOUTS = {"narrowPeak": "narrowpeak", "broadPeak": "broadpeak"}


def read_mask(path: str | Path, naming: Naming, type: str, options: Mapping[str, Any]) -> bed.BedTable:
    """Read a file of a mask; the last column is a summit where the type says so."""
    summit = "last_col" if type == "bed_summit_from_last_col" else "auto"
    layout = _LAYOUTS.get(type, "bed")
    return bed.read(path, naming, layout=layout, summit=summit, empty=options["empty"], past_end=options["past_end"])


class Laid:
    """A file's intervals as cells of a mask: 1 inside, 2 at summits where the type has them, 0 outside.

    Args:
        genome: the database's.
        type: the attribute's type.
        table: the intervals.
    """

    def __init__(self, genome: Genome, type: str, table: bed.BedTable) -> None:
        self._genome = genome
        self._starts, self._ends = table.spans(genome)
        self._summits = np.zeros(0, np.int64)
        offset = genome.offsets[table.chromosome]
        if type in _LAST_COLUMN:
            self._summits = np.sort(offset + table.summit_or_centre)
        elif type == _CENTRE:
            self._summits = np.sort(offset + (table.start + table.end) // 2)

    def read(self, chromosome: str, start: int, end: int) -> np.ndarray:
        """Cells of ``[start, end)`` of a chromosome, ``(end - start,) uint8``."""
        first, last = (self._genome.offset(chromosome) + base for base in (start, end))
        cells = np.full(end - start, codes.MASK_OUTSIDE, np.uint8)
        here = slice(np.searchsorted(self._ends, first, side="right"), np.searchsorted(self._starts, last))
        for a, b in zip(self._starts[here].tolist(), self._ends[here].tolist(), strict=True):
            cells[max(a - first, 0) : b - first] = codes.MASK_INSIDE
        summits = self._summits[np.searchsorted(self._summits, first) : np.searchsorted(self._summits, last)]
        cells[summits - first] = codes.MASK_SUMMIT
        return cells


def interval_fields(genome: Genome, table: bed.BedTable) -> dict[str, np.ndarray]:
    """Intervals as they are stored: ``start`` and the fields of the schema, ``(n,)`` each."""
    offset = genome.offsets[table.chromosome]
    return {
        "start": (offset + table.start).astype(np.uint64),
        "end": (offset + table.end).astype(np.uint64),
        "name": table.name.astype("U"),
        "score": table.score,
        "strand": table.strand.astype("U"),
        "signalValue": table.signal_value,
        "pValue": table.p_value,
        "qValue": table.q_value,
        "summit": table.summit.astype(np.int64),
    }


def write_mask(task: Task, advance: Callable[[int], None]) -> Written:
    """Write a mask and the intervals behind it."""
    genome, (output,) = task.genome, task.outputs
    table = read_mask(task.path, Naming(genome, task.aliases), task.type, task.options)
    laid = Laid(genome, task.type, table)
    member = schema.member("mask", output.attribute)
    parts: list[Part] = []
    for index in range(genome.chunk_count):
        first, last = genome.chunk(index)
        pieces = genome.pieces(first, last)
        if index in output.done.get("mask", ()):
            parts += arrays.stored_parts(task.uri, member, output.row, first, last, pieces)
        else:
            cells = arrays.buffer(np.uint8, last - first)
            cells.fill(codes.MASK_MISSING)
            for piece in pieces:
                stretch = cells[piece.at : piece.at + piece.end - piece.start]
                stretch[:] = laid.read(piece.chromosome, piece.start, piece.end)
                parts.append(summarise(piece.chromosome, piece.start, stretch, "mask"))
            arrays.put(task.uri, member, output.row, first, cells)
        advance(sum(piece.end - piece.start for piece in pieces))
    # Asked once more: a task can run twice where workers are lost, and intervals, unlike cells, would be there twice.
    if output.row not in arrays.rows_stored(task.uri, schema.intervals(output.attribute)):
        _put_intervals(task, output, table)
    summary = {
        "intervals": len(table),
        "without_summit": int((table.summit < 0).sum()) if task.type in _LAST_COLUMN else 0,
        "elsewhere": table.elsewhere,
        "clipped": table.clipped,
    }
    return Written("mask", parts, genome.names, summary)


def _put_intervals(task: Task, output: Output, table: bed.BedTable) -> None:
    if not len(table):
        return
    values = interval_fields(task.genome, table)
    rows, starts = np.full(len(table), output.row, np.uint64), values.pop("start")
    place = storage.join(task.uri, schema.intervals(output.attribute))
    with tiledb.open(place, "w", timestamp=output.row + 1, ctx=storage.tiledb_ctx(task.uri)) as array:
        array[rows, starts] = values
