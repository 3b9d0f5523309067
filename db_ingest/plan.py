"""What an ingest will do: all inputs checked against each other and against what the database holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db_ingest import catalogue as catalogues
from db_ingest import storage
from db_ingest.catalogue import Catalogue
from db_ingest.errors import InputError
from db_ingest.genome import Genome, shorten_names
from db_ingest.samples import Attribute, Cell, attributes_from, read_samples
from db_ingest.strands import is_minus

if TYPE_CHECKING:
    from db_ingest.formats.bed import BedTable

CHUNK = 2**24
"""Bases that one task reads and writes at a time: 64 MB of float32."""

_BASES_A_SECOND = 60e6
_SEQUENCE_BYTES_A_BASE = 0.30


@dataclass(frozen=True)
class Checked:
    """A cell whose file was opened and found sound.

    Args:
        cell: the file, its attribute and dataset.
        source: path, bytes and checksum, as the catalogue keeps them.
        options: settings that change values.
        chromosomes: those of the genome that the file covers.
    """

    cell: Cell
    source: dict[str, Any]
    options: dict[str, Any]
    chromosomes: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """An ingest that was checked.

    Args:
        uri: the database.
        genome: its chromosomes.
        existing: the catalogue it has, or None.
        cells: all files named.
        todo: files to write.
        unchanged: files that are in the database already.
        sequence: FASTA to write, or None.
        threads: stretches worked on at a time.
        estimate: ``bases``, ``seconds``, ``memory_bytes`` and ``disk_bytes`` of the work.
    """

    uri: str
    genome: Genome
    existing: Catalogue | None
    cells: list[Cell]
    todo: list[Checked]
    unchanged: list[Cell]
    sequence: str | None
    threads: int
    estimate: dict[str, float]


def make_plan(
    uri: str,
    metadata: str | None,
    ref_fasta: str | None,
    chrom_sizes: str | None,
    preset: str | None,
    config_file: str | None,
    overwrite: bool,
    threads: int,
) -> Plan:
    """Check all inputs against each other and against what the database holds."""
    if threads < 0:
        raise InputError(f"--threads {threads}: expected 0 (all cores) or more")
    existing = existing_catalogue(uri)
    genome = _genome(existing, ref_fasta, chrom_sizes)
    cells = _cells(metadata, preset, config_file)
    if not cells and ref_fasta is None:
        raise InputError("nothing to ingest; give --ref_fasta, --tiledb_metadata or both")
    checked = [_check(cell, genome) for cell in cells]
    new_sequence = _new_sequence(existing, ref_fasta)
    todo = [item for item in checked if _is_new(item, existing, overwrite)]
    threads = threads or _cores()
    return Plan(
        uri=str(uri),
        genome=genome,
        existing=existing,
        cells=cells,
        todo=todo,
        unchanged=[item.cell for item in checked if item not in todo],
        sequence=ref_fasta if new_sequence else None,
        threads=threads,
        estimate=_estimate(genome, todo, new_sequence, threads),
    )


def existing_catalogue(uri: str) -> Catalogue | None:
    """The catalogue of a database that is there; None where one can be made."""
    folder = storage.local_path(uri)
    if catalogues.exists(uri):
        return catalogues.load(uri)
    # What a writer killed before its first commit leaves is no obstacle.
    left = (storage.LOCK_NAME, f".{catalogues.FILE_NAME}.")
    if folder.exists() and not (folder.is_dir() and all(path.name.startswith(left) for path in folder.iterdir())):
        raise InputError(f"{uri}: exists but holds no kerasgen database; name a new or an empty folder")
    return None


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


def _check(cell: Cell, genome: Genome) -> Checked:
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
        read_bed(cell, genome)
        chromosomes, options = list(genome.names), {}
    return Checked(cell, describe_source(cell.path), options, tuple(chromosomes))


def _takes_absolute(attribute: Attribute, minimum: float, maximum: float) -> bool:
    choice = attribute.options.get("negative", "auto")
    return choice == "absolute" or (choice == "auto" and is_minus(attribute.name) and minimum < 0 >= maximum)


def read_bed(cell: Cell, genome: Genome) -> BedTable:
    """Read the file of a mask; the last column is a summit where the type says so."""
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


def _is_new(item: Checked, existing: Catalogue | None, overwrite: bool) -> bool:
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


def _estimate(genome: Genome, todo: list[Checked], sequence: bool, threads: int) -> dict[str, float]:
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
