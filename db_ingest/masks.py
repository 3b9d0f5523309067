"""Masks: intervals laid on the position axis, beside the intervals as they came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tiledb

from db_ingest import arrays, codes, intervals, schema, storage
from db_ingest.formats import bed
from db_ingest.naming import Naming
from db_ingest.summaries import Part, summarise
from db_ingest.tasks import Output, Task, Written

_LAST_COLUMN = ("bed_summit_from_last_col", "narrowPeak")
_CENTRE = "bed_summit_from_peak_center"
_LAYOUTS = {"narrowPeak": "narrowpeak", "broadPeak": "broadpeak"}


def read_mask(path: str | Path, naming: Naming, type: str, options: Mapping[str, Any]) -> bed.BedTable:
    """Read a file of a mask; the last column is a summit where the type says so."""
    summit = "last_col" if type == "bed_summit_from_last_col" else "auto"
    layout = _LAYOUTS.get(type, "bed")
    return bed.read(path, naming, layout=layout, summit=summit, empty=options["empty"], past_end=options["past_end"])


def write_mask(task: Task, advance: Callable[[int], None]) -> Written:
    """Write a mask and the intervals behind it."""
    genome, (output,) = task.genome, task.outputs
    table = read_mask(task.path, Naming(genome, task.aliases), task.type, task.options)
    offset = genome.offsets[table.chromosome]
    starts, ends = intervals.merge(offset + table.start, offset + table.end)
    summits = np.zeros(0, np.int64)
    if task.type in _LAST_COLUMN:
        summits = np.sort(offset + table.summit_or_centre)
    elif task.type == _CENTRE:
        summits = np.sort(offset + (table.start + table.end) // 2)
    member = schema.member("mask", output.attribute)
    arrays.create(task.uri, member, genome)
    arrays.create(task.uri, schema.intervals(output.attribute), genome)
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
                cells[piece.at : piece.at + piece.end - piece.start] = codes.MASK_OUTSIDE
            here = slice(np.searchsorted(ends, first, side="right"), np.searchsorted(starts, last))
            for start, end in zip(starts[here].tolist(), ends[here].tolist(), strict=True):
                cells[max(start - first, 0) : min(end, last) - first] = codes.MASK_INSIDE
            cells[summits[np.searchsorted(summits, first) : np.searchsorted(summits, last)] - first] = codes.MASK_SUMMIT
            for piece in pieces:
                stretch = cells[piece.at : piece.at + piece.end - piece.start]
                parts.append(summarise(piece.chromosome, piece.start, stretch, "mask"))
            arrays.put(task.uri, member, output.row, first, cells)
        advance(sum(piece.end - piece.start for piece in pieces))
    if not output.intervals_done:
        _put_intervals(task, output, table)
    summary = {
        "intervals": len(table),
        "without_summit": int((table.summit < 0).sum()) if task.type in _LAST_COLUMN else 0,
        "elsewhere": table.elsewhere,
        "clipped": table.clipped,
    }
    return Written("mask", parts, genome.names, summary)


def _put_intervals(task: Task, output: Output, table: bed.BedTable) -> None:
    from db_ingest import schema

    offset = task.genome.offsets[table.chromosome]
    values = {
        "end": (offset + table.end).astype(np.uint64),
        "name": table.name.astype("U"),
        "score": table.score,
        "strand": table.strand.astype("U"),
        "signalValue": table.signal_value,
        "pValue": table.p_value,
        "qValue": table.q_value,
        "summit": table.summit.astype(np.int64),
    }
    if not len(table):
        return
    place = storage.join(task.uri, schema.intervals(output.attribute))
    with tiledb.open(place, "w", timestamp=output.row + 1, ctx=storage.tiledb_ctx(task.uri)) as array:
        array[np.full(len(table), output.row, np.uint64), (offset + table.start).astype(np.uint64)] = values
