"""Files in, database out: what ``gen_ingest`` does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from db_ingest import catalogue as catalogues
from db_ingest import storage
from db_ingest.catalogue import Track
from db_ingest.plan import Plan, existing_catalogue, make_plan
from db_ingest.samples import Cell

if TYPE_CHECKING:
    from db_ingest.report import Report


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
        return _result(make_plan(tdb_array, *flags, threads))
    with _locked_folder(tdb_array):
        plan = make_plan(tdb_array, *flags, threads)
        result = _result(plan)
        if plan.todo or plan.sequence:
            from db_ingest.writer import write

            try:
                for track in write(plan):
                    result.written.append(track)
            except BaseException:
                if plan.existing is None and not result.written:
                    _clear(storage.local_path(tdb_array))
                raise

    from db_ingest import report

    datasets = list(dict.fromkeys(cell.dataset for cell in plan.cells))
    result.report = report.check(str(tdb_array), catalogues.load(tdb_array), datasets)
    return result


def _result(plan: Plan) -> IngestResult:
    return IngestResult(uri=plan.uri, unchanged=plan.unchanged, estimate=plan.estimate)


@contextmanager
def _locked_folder(uri: str) -> Iterator[None]:
    """Hold the writer's lock; take away what was made for it if no database came into being."""
    existing_catalogue(uri)
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


def _clear(folder: Path) -> None:
    for child in folder.iterdir():
        if child.is_dir():
            shutil.rmtree(child, ignore_errors=True)
        elif child.name != storage.LOCK_NAME:
            child.unlink(missing_ok=True)
