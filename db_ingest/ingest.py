"""Files in, database out: what ``gen_ingest`` does."""

from __future__ import annotations

import logging
import math
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest import catalogue as catalogues
from db_ingest import storage
from db_ingest.catalogue import Catalogue, Track
from db_ingest.errors import InputError
from db_ingest.genome import Genome, shorten_names
from db_ingest.progress import progress
from db_ingest.samples import Attribute, Cell, attributes_from, read_samples
from db_ingest.strands import is_minus

if TYPE_CHECKING:
    from db_ingest.formats.bed import BedTable
    from db_ingest.report import Report

log = logging.getLogger("kerasgen")

CHUNK = 2**24
"""Bases that one task reads and writes at a time: 64 MB of float32."""

_BASES_A_SECOND = 60e6
_SEQUENCE_BYTES_A_BASE = 0.30


@dataclass
class IngestResult:
    """What an ingest did.

    Args:
        uri: the database.
        written: tracks committed by this run.
        unchanged: tracks that were there already, from the same file and settings.
        report: the sanity report on the datasets named; None after a dry run.
        estimate: ``bases``, ``seconds``, ``memory_bytes`` and ``disk_bytes`` of the work.
    """

    uri: str
    written: list[Track] = field(default_factory=list)
    unchanged: list[Cell] = field(default_factory=list)
    report: Report | None = None
    estimate: dict[str, float] = field(default_factory=dict)


def ingest(
    tdb_array: str,
    tiledb_metadata: str | None = None,
    *,
    ref_fasta: str | None = None,
    chrom_sizes: str | None = None,
    attribute_config: str | None = None,
    attribute_config_file: str | None = None,
    overwrite: bool = False,
    threads: int = 0,
    dry_run: bool = False,
) -> IngestResult:
    """Write sequence, signals, masks and intervals into a database, new or living.

    All inputs are checked before anything is written. Every track becomes visible whole, when it is done; a track whose
    file and settings have not changed is left as it is.

    Args:
        tdb_array: local path of the database; made if there is none.
        tiledb_metadata: samples table: ``dataset`` and one column an attribute; a cell is a path or empty.
        ref_fasta: genome sequence to store; a database of tracks alone has none.
        chrom_sizes: names and sizes of the chromosomes to store, in order; taken from the FASTA when not given.
        attribute_config: a preset of attribute types: ``encode_pipeline``, ``encode_pipeline_with_controls`` or
            ``generic_bigwig``.
        attribute_config_file: attribute and type, tab separated, or YAML with options.
        overwrite: replace tracks whose file or settings have changed; refused otherwise.
        threads: chromosomes (or stretches of them) worked on at a time; 0 uses all cores.
        dry_run: check everything and estimate, but write nothing.

    Returns:
        What was written, the estimate and the sanity report.

    Raises:
        InputError: anything wrong with the inputs; nothing has been written then.
        RunError: another process is writing to the database.
    """
    flags = (tiledb_metadata, ref_fasta, chrom_sizes, attribute_config, attribute_config_file, overwrite)
    if dry_run:
        return _plan(tdb_array, *flags, threads).result
    with _locked_folder(tdb_array):
        plan = _plan(tdb_array, *flags, threads)
        if plan.todo or plan.new_sequence:
            try:
                _write(plan, ref_fasta)
            except BaseException:
                if plan.existing is None and not plan.result.written:
                    _clear(storage.local_path(tdb_array))
                raise

    from db_ingest import report

    datasets = list(dict.fromkeys(cell.dataset for cell in plan.cells))
    plan.result.report = report.check(str(tdb_array), catalogues.load(tdb_array), datasets)
    return plan.result


@contextmanager
def _locked_folder(uri: str) -> Iterator[None]:
    """Hold the writer's lock; take away what was made for it if no database came into being."""
    _existing(uri)
    folder = storage.local_path(uri)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with storage.write_lock(uri):
        try:
            yield
        except BaseException:
            # Under the lock still, so that it is ours that goes and not another writer's.
            if not catalogues.exists(uri):
                (folder / storage.LOCK_NAME).unlink(missing_ok=True)
                for path in made:
                    with suppress(OSError):
                        path.rmdir()
            raise


def _existing(uri: str) -> Catalogue | None:
    """The catalogue of a database that is there; None where one can be made."""
    folder = storage.local_path(uri)
    if catalogues.exists(uri):
        return catalogues.load(uri)
    # What a writer killed before its first commit leaves is no obstacle.
    left = (storage.LOCK_NAME, f".{catalogues.FILE_NAME}.")
    if folder.exists() and not (folder.is_dir() and all(path.name.startswith(left) for path in folder.iterdir())):
        raise InputError(f"{uri}: exists but holds no kerasgen database; name a new or an empty folder")
    return None


@dataclass
class _Plan:
    """An ingest that was checked: what there is, and what is to be written."""

    genome: Genome
    existing: Catalogue | None
    cells: list[Cell]
    todo: list[_Checked]
    new_sequence: bool
    threads: int
    result: IngestResult


def _plan(
    uri: str,
    metadata: str | None,
    ref_fasta: str | None,
    chrom_sizes: str | None,
    preset: str | None,
    config_file: str | None,
    overwrite: bool,
    threads: int,
) -> _Plan:
    """Check all inputs against each other and against what the database holds."""
    if threads < 0:
        raise InputError(f"--threads {threads}: expected 0 (all cores) or more")
    existing = _existing(uri)
    genome = _genome(existing, ref_fasta, chrom_sizes)
    cells = _cells(metadata, preset, config_file)
    if not cells and ref_fasta is None:
        raise InputError("nothing to ingest; give --ref_fasta, --tiledb_metadata or both")
    checked = [_check(cell, genome) for cell in cells]
    new_sequence = _new_sequence(existing, ref_fasta)
    todo = [item for item in checked if _is_new(item, existing, overwrite)]
    threads = threads or _cores()
    result = IngestResult(
        uri=str(uri),
        unchanged=[item.cell for item in checked if item not in todo],
        estimate=_estimate(genome, todo, new_sequence, threads),
    )
    return _Plan(genome, existing, cells, todo, new_sequence, threads, result)


@dataclass(frozen=True)
class _Checked:
    """A cell whose file was opened and found sound."""

    cell: Cell
    source: dict[str, Any]
    options: dict[str, Any]
    chromosomes: tuple[str, ...]


def _cores() -> int:
    import psutil

    return len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count() or 1


def _genome(existing: Catalogue | None, ref_fasta: str | None, chrom_sizes: str | None) -> Genome:
    from db_ingest.formats import fasta

    given = Genome.from_chrom_sizes(chrom_sizes) if chrom_sizes else None
    if given is None and ref_fasta is not None:
        given = fasta.genome(ref_fasta)
    elif given is not None and ref_fasta is not None:
        fasta.check_genome(ref_fasta, given)
    if existing is None:
        if given is None:
            raise InputError("a new database needs its genome; give --ref_fasta or --chrom_sizes")
        return given
    if given is not None and (given.names, given.sizes) != (existing.genome.names, existing.genome.sizes):
        place = chrom_sizes or ref_fasta
        raise InputError(
            f"{place}: another genome than the database's; it has {shorten_names(given.names)} "
            f"({given.bases:,} bp), the database {shorten_names(existing.genome.names)} ({existing.genome.bases:,} bp)"
        )
    return existing.genome


def _cells(metadata: str | None, preset: str | None, config_file: str | None) -> list[Cell]:
    if metadata is None:
        if preset or config_file:
            raise InputError("--attribute_config describes the columns of --tiledb_metadata; give that too")
        return []
    return read_samples(metadata, attributes_from(preset, config_file))


def _check(cell: Cell, genome: Genome) -> _Checked:
    from db_ingest.formats.bigwig import BigWig
    from db_ingest.formats.files import describe_source

    attribute = cell.attribute
    if attribute.type == "bigwig":
        bigwig = BigWig(cell.path)
        try:
            chromosomes = bigwig.check_genome(genome)
            options = {"absolute": _takes_absolute(attribute, bigwig.minimum, bigwig.maximum)}
        finally:
            bigwig.close()
    else:
        _read_bed(cell, genome)
        chromosomes, options = list(genome.names), {}
    return _Checked(cell, describe_source(cell.path), options, tuple(chromosomes))


def _takes_absolute(attribute: Attribute, minimum: float, maximum: float) -> bool:
    choice = attribute.options.get("negative", "auto")
    return choice == "absolute" or (choice == "auto" and is_minus(attribute.name) and minimum < 0 >= maximum)


def _read_bed(cell: Cell, genome: Genome) -> BedTable:
    from db_ingest.formats import bed

    summit = "last_col" if cell.attribute.type == "bed_summit_from_last_col" else "auto"
    return bed.read(cell.path, genome, summit=summit)


def _new_sequence(existing: Catalogue | None, ref_fasta: str | None) -> bool:
    from db_ingest.formats.files import describe_source

    if ref_fasta is None:
        return False
    if existing is None or existing.sequence is None:
        return True
    if describe_source(ref_fasta)["sha256"] != existing.sequence["sha256"]:
        raise InputError(
            f"{ref_fasta}: differs from the sequence in the database ({existing.sequence['path']}), "
            "which every track was laid on; make a new database"
        )
    return False


def _is_new(item: _Checked, existing: Catalogue | None, overwrite: bool) -> bool:
    cell = item.cell
    if existing is None:
        return True
    old = existing.find(cell.attribute.name, cell.dataset)
    kinds = {t.kind for t in existing.tracks if t.attribute == cell.attribute.name and t is not old}
    if kinds - {cell.attribute.kind}:
        raise InputError(
            f"{cell.path}: attribute {cell.attribute.name!r} is a {kinds.pop()} in the database, "
            f"type {cell.attribute.type} would make it a {cell.attribute.kind}"
        )
    if old is None:
        return True
    same = (old.source["sha256"], old.type, old.options) == (item.source["sha256"], cell.attribute.type, item.options)
    if not same and not overwrite:
        raise InputError(
            f"{cell.path}: {cell.dataset} {cell.attribute.name} is in the database already, from another file or "
            f"other settings ({old.source['path']}); --overwrite replaces it"
        )
    return not same


def _estimate(genome: Genome, todo: list[_Checked], sequence: bool, threads: int) -> dict[str, float]:
    """Work ahead, from the rates of ``benchmarks/bench_layout.py``: a signal takes about its bigWig's bytes."""
    bases = sum(genome.size(name) for item in todo for name in item.chromosomes) + (genome.bases if sequence else 0)
    disk = sum(item.source["bytes"] for item in todo) + (genome.bases * _SEQUENCE_BYTES_A_BASE if sequence else 0)
    chunk = min(CHUNK, max(genome.sizes))
    return {
        "bases": bases,
        "seconds": bases / _BASES_A_SECOND,
        "memory_bytes": threads * chunk * 16 + max(genome.sizes) * (6 if sequence else 1) + 300e6,
        "disk_bytes": disk,
    }


def _clear(folder: Path) -> None:
    for child in folder.iterdir():
        if child.is_dir():
            shutil.rmtree(child, ignore_errors=True)
        elif child.name != storage.LOCK_NAME:
            child.unlink(missing_ok=True)


def _write(plan: _Plan, ref_fasta: str | None) -> None:
    from db_ingest import schema
    from db_ingest.formats.files import describe_source

    uri, genome, result = plan.result.uri, plan.genome, plan.result
    book = plan.existing or Catalogue(genome)
    attributes = [item.cell.attribute for item in plan.todo]
    names = [schema.SEQUENCE] if plan.new_sequence else []
    for attribute in attributes:
        names.append(f"{attribute.kind}/{attribute.name}")
        if attribute.kind == "mask":
            names.append(schema.intervals(attribute.name))
    # Rows are handed out for good before the first byte is written, so that no later run meets half a row; and
    # a folder with arrays in it always has a catalogue, so that the run after a killed one knows it for a database.
    rows = [book.take_row(f"{attribute.kind}/{attribute.name}") for attribute in attributes]
    sequence_row = book.take_row(schema.SEQUENCE) if plan.new_sequence else 0
    book.save(uri)
    for name in dict.fromkeys(names):
        _create(uri, name, genome)

    total = int(result.estimate["bases"])
    with progress("ingest", total, "bases") as advance, ThreadPoolExecutor(plan.threads) as pool:
        if plan.new_sequence and ref_fasta is not None:
            _write_sequence(uri, genome, ref_fasta, sequence_row, advance)
            book.sequence = describe_source(ref_fasta)
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
            result.written.append(track)


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


def _write_sequence(uri: str, genome: Genome, ref_fasta: str, row: int, advance: Any) -> None:
    import tiledb

    from db_ingest import schema
    from db_ingest.formats import fasta

    absent = set(genome.names)
    for name, codes in fasta.read(ref_fasta):
        if name not in genome:
            continue
        if name not in absent:
            raise InputError(f"{ref_fasta}: sequence {name!r} is there twice")
        absent.discard(name)
        if len(codes) != genome.size(name):
            raise InputError(f"{ref_fasta}: chromosome {name} has {len(codes):,} bp; expected {genome.size(name):,}")
        start = genome.offset(name)
        with tiledb.open(storage.join(uri, schema.SEQUENCE), "w", timestamp=row + 1) as array:
            array[start : start + len(codes)] = codes
        advance(len(codes))
    if absent:
        raise InputError(f"{ref_fasta}: lacks {shorten_names(sorted(absent))}, which its index or the chrom sizes name")


def _write_signal(
    uri: str, genome: Genome, item: _Checked, row: int, pool: ThreadPoolExecutor, advance: Any
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
        chunks = [(name, s, e) for name in item.chromosomes for s, e in genome.chunks(name, CHUNK)]
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
    uri: str, genome: Genome, item: _Checked, row: int, pool: ThreadPoolExecutor, advance: Any
) -> dict[str, Any]:
    from db_ingest import intervals, schema

    table = _read_bed(item.cell, genome)
    kind = item.cell.attribute.type
    summits = (table.start + table.end) // 2 if kind == "bed_summit_from_peak_center" else table.summit_or_centre
    member = schema.mask(item.cell.attribute.name)

    def work(name: str) -> int:
        here = table.chromosome == genome.index(name)
        values = np.full(genome.size(name), schema.MASK_OUTSIDE, np.uint8)
        for start, end in zip(*intervals.merge(table.start[here], table.end[here]), strict=True):
            values[start:end] = schema.MASK_INSIDE
        covered = int(np.count_nonzero(values))
        if kind != "bed_no_summit":
            values[summits[here]] = schema.MASK_SUMMIT
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
