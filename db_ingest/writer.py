"""Write tracks into a database: each a fresh row, made visible by the catalogue when it is whole."""

from __future__ import annotations

import math
import shutil
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest import catalogue as catalogues
from db_ingest import codes, storage
from db_ingest import plan as plans
from db_ingest.catalogue import Catalogue, Track
from db_ingest.errors import InputError
from db_ingest.genome import Genome, shorten_names
from db_ingest.plan import Checked, Plan, read_bed
from db_ingest.progress import progress

if TYPE_CHECKING:
    from db_ingest.formats.bed import BedTable


def write(plan: Plan) -> Iterator[Track]:
    """Write what a plan says; yields each track once it is committed. The caller holds the writer's lock."""
    from db_ingest import schema
    from db_ingest.formats.files import describe_source

    uri, genome = plan.uri, plan.genome
    book = plan.existing or Catalogue(genome)
    attributes = [item.cell.attribute for item in plan.todo]
    names = [schema.SEQUENCE] if plan.sequence else []
    for attribute in attributes:
        names.append(f"{attribute.kind}/{attribute.name}")
        if attribute.kind == "mask":
            names.append(schema.intervals(attribute.name))
    # Rows are handed out for good before the first byte is written, so that no later run meets half a row; and
    # a folder with arrays in it always has a catalogue, so that the run after a killed one knows it for a database.
    rows = [book.take_row(f"{attribute.kind}/{attribute.name}") for attribute in attributes]
    sequence_row = book.take_row(schema.SEQUENCE) if plan.sequence else 0
    book.save(uri)
    for name in dict.fromkeys(names):
        _create(uri, name, genome)

    total = int(plan.estimate["bases"])
    with progress("ingest", total, "bases") as advance, ThreadPoolExecutor(plan.threads) as pool:
        if plan.sequence:
            _write_sequence(plan, plan.sequence, sequence_row, pool, advance)
            book.sequence = describe_source(plan.sequence)
            book.save(uri)
        for item, row in zip(plan.todo, rows, strict=True):
            write = _write_signal if item.cell.attribute.kind == "signal" else _write_mask
            summary = write(uri, genome, item, row, pool, advance)
            track = Track(
                attribute=item.cell.attribute.name,
                dataset=item.cell.dataset,
                kind=item.cell.attribute.kind,
                type=item.cell.attribute.type,
                row=row,
                source=item.source,
                options=item.options,
                summary=summary,
                committed=catalogues.now(),
            )
            book.put(track)
            book.save(uri)
            yield track


def _create(uri: str, member: str, genome: Genome) -> None:
    import tiledb

    from db_ingest import schema

    place = Path(storage.join(uri, member))
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        # Renamed when whole: a killed run must not leave half an array under the name.
        fresh = place.with_name(f".{place.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        tiledb.Array.create(str(fresh), schema.schema_for(member, genome))
        fresh.rename(place)


def _put(uri: str, member: str, row: int, start: int, values: np.ndarray) -> None:
    import tiledb

    with tiledb.open(storage.join(uri, member), "w", timestamp=row + 1) as array:
        array[row, start : start + len(values)] = values


def _write_sequence(plan: Plan, ref_fasta: str, row: int, pool: ThreadPoolExecutor, advance: Any) -> None:
    import tiledb

    from db_ingest import schema
    from db_ingest.formats import fasta

    genome = plan.genome

    def work(start: int, bases: np.ndarray) -> None:
        with tiledb.open(storage.join(plan.uri, schema.SEQUENCE), "w", timestamp=row + 1) as array:
            array[start : start + len(bases)] = bases
        advance(len(bases))

    absent = set(genome.names)
    ahead: deque[Future[None]] = deque()
    for name, bases in fasta.read(ref_fasta):
        if name not in genome:
            continue
        if name not in absent:
            raise InputError(f"{ref_fasta}: sequence {name!r} is there twice")
        absent.discard(name)
        if len(bases) != genome.size(name):
            raise InputError(f"{ref_fasta}: chromosome {name} has {len(bases):,} bp; expected {genome.size(name):,}")
        # As many chromosomes in memory as are written at a time.
        if len(ahead) >= plan.threads:
            ahead.popleft().result()
        ahead.append(pool.submit(work, genome.offset(name), bases))
    for written in ahead:
        written.result()
    if absent:
        raise InputError(f"{ref_fasta}: lacks {shorten_names(sorted(absent))}, which its index or the chrom sizes name")


def _write_signal(
    uri: str, genome: Genome, item: Checked, row: int, pool: ThreadPoolExecutor, advance: Any
) -> dict[str, Any]:
    from db_ingest import schema
    from db_ingest.formats.bigwig import BigWig

    member = schema.signal(item.cell.attribute.name)
    absolute = item.options["absolute"]
    local = threading.local()
    opened: list[BigWig] = []

    def work(name: str, start: int, end: int) -> tuple[float, int, float, float]:
        if not hasattr(local, "file"):
            local.file = BigWig(item.cell.path)
            opened.append(local.file)
        values = local.file.read(name, start, end)
        if absolute:
            values = np.abs(values)
        _put(uri, member, row, genome.offset(name) + start, values)
        advance(end - start)
        return (
            float(values.sum(dtype=np.float64)),
            int(np.count_nonzero(values)),
            float(values.min()),
            float(values.max()),
        )

    try:
        chunks = [(name, s, e) for name in item.chromosomes for s, e in genome.chunks(name, plans.CHUNK)]
        parts = _run(pool, work, chunks)
    finally:
        for file in opened:
            file.close()
    return {
        "sum": math.fsum(part[0] for part in parts),
        "covered": sum(part[1] for part in parts),
        "minimum": min(part[2] for part in parts),
        "maximum": max(part[3] for part in parts),
        "absolute": absolute,
        "absent_chromosomes": [name for name in genome.names if name not in item.chromosomes],
    }


def _write_mask(
    uri: str, genome: Genome, item: Checked, row: int, pool: ThreadPoolExecutor, advance: Any
) -> dict[str, Any]:
    from db_ingest import intervals, schema

    table = read_bed(item.cell, genome)
    kind = item.cell.attribute.type
    summits = (table.start + table.end) // 2 if kind == "bed_summit_from_peak_center" else table.summit_or_centre
    member = schema.mask(item.cell.attribute.name)

    def work(name: str) -> int:
        here = table.chromosome == genome.index(name)
        values = np.full(genome.size(name), codes.MASK_OUTSIDE, np.uint8)
        for start, end in zip(*intervals.merge(table.start[here], table.end[here]), strict=True):
            values[start:end] = codes.MASK_INSIDE
        covered = int(np.count_nonzero(values))
        if kind != "bed_no_summit":
            values[summits[here]] = codes.MASK_SUMMIT
        _put(uri, member, row, genome.offset(name), values)
        advance(len(values))
        return covered

    covered = _run(pool, work, [(name,) for name in genome.names])
    _put_intervals(uri, genome, item.cell.attribute.name, row, table)
    return {
        "intervals": len(table),
        "covered": sum(covered),
        "without_summit": int((table.summit < 0).sum()) if kind == "bed_summit_from_last_col" else 0,
        "elsewhere": table.elsewhere,
        "absent_chromosomes": [],
    }


def _put_intervals(uri: str, genome: Genome, attribute: str, row: int, table: BedTable) -> None:
    import tiledb

    from db_ingest import schema

    offset = genome.offsets[table.chromosome]
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
    with tiledb.open(storage.join(uri, schema.intervals(attribute)), "w", timestamp=row + 1) as array:
        array[np.full(len(table), row, np.uint64), (offset + table.start).astype(np.uint64)] = values


def _run(pool: ThreadPoolExecutor, work: Any, arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run ``work`` on each tuple of arguments; the first failure cancels what has not begun."""
    futures = [pool.submit(work, *args) for args in arguments]
    try:
        for future in as_completed(futures):
            future.result()
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return [future.result() for future in futures]
