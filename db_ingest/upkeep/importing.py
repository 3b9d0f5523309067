"""Databases of seqdataloader's ``db_ingest`` made into databases of ours."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from db_ingest import storage
from db_ingest.errors import InputError, RunError
from db_ingest.inputs.naming import Naming
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue, Provenance, Track
from db_ingest.layout.genome import Genome, shorten_names
from db_ingest.layout.names import check_attribute, check_dataset
from db_ingest.settings import DryRun, NewTdbArray, Setting, Threads, takes_settings
from db_ingest.writing.changing import changing

if TYPE_CHECKING:
    from db_ingest.upkeep.seqdataloader import SeqdataloaderArray, SignalColumn
    from db_ingest.writing.derived import DerivedTrack

TYPE = "seqdataloader"
"""Type of a track that came from an array of seqdataloader's."""


@takes_settings
def import_array(
    source_array: Annotated[
        str, Setting("array that seqdataloader's db_ingest wrote, path or s3:// URI", metavar="URI")
    ],
    tdb_array: NewTdbArray,
    *,
    ref_fasta: Annotated[str | None, Setting("genome sequence to store: FASTA or 2bit", metavar="FILE")] = None,
    attributes: Annotated[Sequence[str] | None, Setting("attributes to take (default: all)", metavar="NAME")] = None,
    datasets: Annotated[Sequence[str] | None, Setting("tasks to take (default: all)", metavar="NAME")] = None,
    overwrite: Annotated[bool, Setting("replace tracks that are there from another source")] = False,
    threads: Threads = 0,
    dry_run: DryRun = False,
) -> list[str]:
    """Convert an array of seqdataloader's ``db_ingest`` into a new database, or into one of the same genome.

    Its tasks become datasets, its float attributes signals and its integer attributes masks. A task without any value
    of an attribute, which seqdataloader stores as NaN or as the lowest integer, becomes no track, and a chromosome
    without any holds none. Names of chromosomes are matched as those of files are.

    Intervals of masks are what the cells still show: stretches of ones and twos, one interval for each two in them, its
    summit. Peaks that touch or overlap cannot be told apart: such a stretch becomes one interval, or one per summit,
    each over the whole of it. Names, scores and strands are lost.

    An import that was interrupted goes on where it ended when it is started again; tracks that were imported from the
    same array are left as they are.

    Returns:
        A line for each pair of task and attribute.

    Raises:
        InputError: no such array, unknown names, a genome unlike the database's, or cells that are no mask's.
        RunError: another process is writing to the database, or the storage failed.
    """
    from db_ingest.upkeep.seqdataloader import open_array
    from db_ingest.writing.derived import refuse_or_skip, write
    from db_ingest.writing.plan import existing_catalogue

    existing = existing_catalogue(tdb_array)
    with open_array(source_array) as array:
        genome = existing.genome if existing else array.genome
        for chosen, known, what in ((attributes, array.attributes, "attribute"), (datasets, array.tasks, "task")):
            for name in chosen or ():
                if name not in known:
                    raise InputError(f"{source_array}: has no {what} {name!r}; it has {shorten_names(list(known), 12)}")
        chromosomes = Naming(genome, takes_aliases=False).match(source_array, array.sizes)
        _store_sequence(tdb_array, array.genome, ref_fasta, dry_run)
        with _opened(tdb_array, genome, dry_run) as (catalogue, save):
            wanted = [
                _wanted(array, genome, chromosomes, attribute, task)
                for attribute in attributes or array.attributes
                for task in datasets or array.tasks
            ]
            todo = [item for item in wanted if refuse_or_skip(catalogue, item, overwrite)]
            lines = [f"{item.dataset} {item.attribute}: unchanged" for item in wanted if item not in todo]
            if dry_run:
                return lines + [f"would import {item.dataset} {item.attribute} as a {item.kind}" for item in todo]
            for item, track in write(tdb_array, catalogue, save, todo, threads, "import") if todo else ():
                name = f"{item.dataset} {item.attribute}"
                lines.append(f"imported {name} as a {item.kind}" if track else f"{name}: no values, left out")
    return lines


def _store_sequence(uri: str, genome: Genome, ref_fasta: str | None, dry_run: bool) -> None:
    if ref_fasta is None:
        return
    from db_ingest.writing.ingest import ingest

    with tempfile.TemporaryDirectory() as folder:
        sizes = Path(folder) / "chrom.sizes"
        sizes.write_text("".join(f"{n}\t{s}\n" for n, s in genome.size_by_name.items()))
        is_new = not catalogues.exists(uri)
        ingest(uri, ref_fasta=ref_fasta, chrom_sizes=str(sizes) if is_new else None, dry_run=dry_run)


@contextlib.contextmanager
def _opened(uri: str, genome: Genome, dry_run: bool) -> Iterator[tuple[Catalogue, Callable[[], None]]]:
    """The database to import into, made if there is none; see :func:`db_ingest.writing.changing.changing`."""
    if catalogues.exists(uri):
        with changing(uri, dry_run=dry_run) as opened:
            yield opened
        return
    catalogue = Catalogue(genome)
    if dry_run:
        yield catalogue, lambda: None
        return
    with storage.write_lock(uri, keep=lambda: catalogues.exists(uri)) as lock:
        if catalogues.exists(uri):
            raise RunError(f"{uri}: another process has just made this database; run again")

        def save() -> None:
            lock.check()
            catalogue.save(uri)

        try:
            yield catalogue, save
        except InputError:
            # The same run would fail again; of a new database nothing is left.
            if not catalogue.tracks:
                storage.remove_contents(uri, keep=(storage.LOCK_NAME,))
            raise


@contextlib.contextmanager
def open_column(genome: Genome, track: Track) -> Iterator[SignalColumn | None]:
    """What an imported track came from; None if the array has changed since.

    Raises:
        InputError: there is no such array any more.
    """
    from db_ingest.upkeep.seqdataloader import open_array

    with open_array(track.source["path"]) as array:
        if array.source["sha256"] != track.source["sha256"]:
            yield None
            return
        chromosomes = Naming(genome, takes_aliases=False).match(array.uri, array.sizes)
        yield _column(array, genome, chromosomes, track.source["attribute"], track.source["task"])


def _wanted(
    array: SeqdataloaderArray, genome: Genome, chromosomes: dict[str, str], attribute: str, task: str
) -> DerivedTrack:
    from db_ingest.writing.derived import DerivedTrack

    check_attribute(attribute, f"{array.uri}: attribute")
    check_dataset(task, f"{array.uri}: task")
    source = {**array.source, "attribute": attribute, "task": task}
    origin = _column(array, genome, chromosomes, attribute, task)
    return DerivedTrack(attribute, task, array.kind(attribute), Provenance(TYPE, source, {}), origin)


def _column(
    array: SeqdataloaderArray, genome: Genome, chromosomes: dict[str, str], attribute: str, task: str
) -> SignalColumn:
    from db_ingest.upkeep.seqdataloader import MaskColumn, SignalColumn

    column = MaskColumn if array.kind(attribute) == "mask" else SignalColumn
    return column(array, genome, chromosomes, attribute, task)
