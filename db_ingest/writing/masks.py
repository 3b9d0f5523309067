"""Masks: intervals rasterised on the position axis, beside the intervals as they came."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from db_ingest.formats import FORMATS
from db_ingest.formats.bed import BedTable
from db_ingest.inputs.naming import Naming
from db_ingest.layout import arrays, codes, members
from db_ingest.layout.genome import Genome
from db_ingest.layout.summaries import Part, summarise
from db_ingest.writing.task import Task, TaskResult


class RasterisedMask:
    """A file's intervals as cells of a mask: 1 inside, 2 at summits where the type has them, 0 outside.

    Args:
        genome: the database's.
        summits: what the type takes for the summit of an interval: ``"called"``, ``"centre"`` or ``"none"``.
        table: the intervals.
    """

    def __init__(self, genome: Genome, summits: str, table: BedTable) -> None:
        self._genome = genome
        self._starts, self._ends = table.spans(genome)
        self._summits = np.zeros(0, np.int64)
        offset = genome.offsets[table.chromosome]
        if summits == "called":
            self._summits = np.sort(offset + table.summit_or_centre)
        elif summits == "centre":
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


def interval_fields(genome: Genome, table: BedTable) -> dict[str, np.ndarray]:
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


def write_mask(task: Task, advance: Callable[[int], None]) -> TaskResult:
    """Write a mask and the intervals behind it."""
    genome, (output,) = task.genome, task.outputs
    table = FORMATS[task.type].load().open_intervals(task.path, Naming(genome, task.aliases), task.options)
    mask = RasterisedMask(genome, task.options["summits"], table)
    member = members.member("mask", output.attribute)
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
                stretch[:] = mask.read(piece.chromosome, piece.start, piece.end)
                parts.append(summarise(piece.chromosome, piece.start, stretch, "mask"))
            arrays.put(task.uri, member, output.row, first, cells)
        advance(sum(piece.end - piece.start for piece in pieces))
    # A task can run twice where workers are lost, and intervals, unlike cells, would then be stored twice.
    listed = members.intervals(output.attribute)
    if not arrays.row_stored(task.uri, listed, output.row):
        fields = interval_fields(genome, table)
        arrays.put_intervals(task.uri, listed, output.row, fields.pop("start"), fields)
    summary = {
        "intervals": len(table),
        "without_summit": int((table.summit < 0).sum()) if task.options["summits"] == "called" else 0,
        "elsewhere": table.elsewhere,
        "clipped": table.clipped,
    }
    return TaskResult("mask", parts, genome.names, summary)
