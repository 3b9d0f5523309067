"""What an ingest will do: all inputs checked against each other and against what the database holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from db_ingest import storage
from db_ingest.cores import cores
from db_ingest.errors import InputError
from db_ingest.formats import FORMATS
from db_ingest.formats.base import Channel
from db_ingest.inputs.fetch import Fetcher
from db_ingest.inputs.naming import Naming, read_alias_table
from db_ingest.inputs.strands import is_minus
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue, Provenance, Track
from db_ingest.layout.genome import CHUNK, Genome, shorten_names
from db_ingest.settings import Setting, Settings
from db_ingest.writing.samples import PRESETS, Attribute, Cell, attributes_from, read_samples
from db_ingest.writing.workers import BYTES_PER_BASE, at_a_time, default_threads

_BASES_PER_SECOND = 100e6
_SEQUENCE_BYTES_PER_BASE = 0.30
_WORKER_BYTES = 250e6
_SPOOL_BYTES = 512e6


@dataclass(frozen=True, kw_only=True)
class Request(Settings):
    """What the caller of an ingest asks for."""

    tdb_array: Annotated[
        str, Setting("path or s3:// URI of the database; made if there is none", metavar="URI", positional=True)
    ]
    tiledb_metadata: Annotated[
        str | None,
        Setting(
            "samples table, tab separated: 'dataset' and one column per attribute; a cell is a path, a URI or empty",
            metavar="TSV",
            positional=True,
        ),
    ] = None
    ref_fasta: Annotated[
        str | None,
        Setting(
            "genome sequence to store: FASTA (plain, gzip, bgzip) or 2bit; a database of tracks alone has none",
            metavar="FILE",
        ),
    ] = None
    chrom_sizes: Annotated[
        str | None,
        Setting(
            "chromosomes to store, in order, and their sizes: a table, or a BAM, bigWig or 2bit file to take them from "
            "(default: those of the sequence)",
            metavar="FILE",
        ),
    ] = None
    chrom_alias: Annotated[
        str | None,
        Setting(
            "table of chromosome names, the synonyms of one chromosome per line; UCSC, Ensembl and Roman names are "
            "understood without it",
            metavar="FILE",
        ),
    ] = None
    attribute_config: Annotated[str | None, Setting("preset of attribute types", choices=tuple(PRESETS))] = None
    attribute_config_file: Annotated[
        str | None,
        Setting(
            f"file of attributes and their types, tab separated, or YAML with options; types: {', '.join(FORMATS)}",
            metavar="FILE",
        ),
    ] = None
    overwrite: Annotated[bool, Setting("replace tracks whose file or settings have changed; refused without it")] = (
        False
    )
    workers: Annotated[
        int,
        Setting("number of processes that read and write", unit="processes", group="who does the work", least=1),
    ] = 1
    threads: Annotated[
        int,
        Setting(
            "number of threads per worker; 0 shares the cores among the workers",
            unit="threads",
            group="who does the work",
        ),
    ] = 0
    scheduler: Annotated[
        str | None,
        Setting(
            "address of a Dask scheduler, tcp://host:port, or 'local' for a cluster of --workers on this machine; its "
            "workers must reach the inputs and the database by the same names",
            metavar="ADDRESS",
            group="who does the work",
        ),
    ] = None
    cache_dir: Annotated[
        str | None,
        Setting(
            "folder where inputs from URIs are kept (default: $KERASGEN_CACHE or ~/.cache/kerasgen)", metavar="FOLDER"
        ),
    ] = None


@dataclass(frozen=True)
class CheckedTrack:
    """A track that a cell of the samples table becomes, whose file was opened and found sound.

    Args:
        attribute: what it measures, and how its file is read.
        dataset: the sample it belongs to.
        channel: what it takes of the file.
        path: the file, on this machine.
        source: path or URI as given, bytes and checksum, as the catalogue keeps them.
        settings: options that differ from their default, as the catalogue keeps them.
        options: all options, as readers take them.
        chromosomes: those of the genome that the file covers, where that is known before it is read.
        counts: whether its values look like counts.
        stamp: size and time of the file when it was checked.
    """

    attribute: Attribute
    dataset: str
    channel: Channel
    path: Path
    source: dict[str, Any]
    settings: dict[str, Any]
    options: dict[str, Any]
    chromosomes: tuple[str, ...]
    counts: bool
    stamp: tuple[int, int]

    @property
    def name(self) -> tuple[str, str]:
        """Attribute and dataset."""
        return self.attribute.name, self.dataset

    @property
    def provenance(self) -> Provenance:
        """What it is made from, as the catalogue keeps it."""
        return Provenance(self.attribute.type, self.source, self.settings)

    @property
    def read_with(self) -> tuple[Any, ...]:
        """Tracks with equal keys are taken from a file in one reading."""
        known = FORMATS[self.attribute.type]
        alone = self.name if known.splits or known.kind == "mask" else ()
        return (str(self.path), known.module, tuple(sorted((k, repr(v)) for k, v in self.options.items())), alone)


@dataclass(frozen=True)
class Reference:
    """A FASTA or 2bit file to store."""

    path: Path
    source: dict[str, Any]


@dataclass(frozen=True)
class IngestPlan:
    """An ingest that was checked.

    Args:
        uri: the database.
        genome: its chromosomes.
        existing: the catalogue it has, or None.
        datasets: those named in the samples table.
        todo: tracks to write.
        unchanged: tracks that are in the database already, from the same file and settings.
        sequence: sequence to write, or None.
        aliases: further names of chromosomes.
        workers, threads, scheduler: who does the work; see :mod:`db_ingest.writing.workers`.
        estimate: ``bases``, ``seconds``, ``memory_bytes`` and ``disk_bytes`` of the work.
        resumed: attribute -> rows that an interrupted writer had begun.
    """

    uri: str
    genome: Genome
    existing: Catalogue | None
    datasets: list[str]
    todo: list[CheckedTrack]
    unchanged: list[CheckedTrack]
    sequence: Reference | None
    aliases: Mapping[str, str]
    workers: int
    threads: int
    scheduler: str | None
    estimate: dict[str, float]
    resumed: Mapping[str, frozenset[int]] = field(default_factory=dict)


def make_plan(request: Request) -> IngestPlan:
    """Check all inputs against each other and against what the database holds."""
    from db_ingest.formats import sequence as sequences

    at_a_time(request.threads)
    fetcher = Fetcher(request.cache_dir)
    existing = existing_catalogue(request.tdb_array)
    # A worker elsewhere has another working folder.
    reference = fetcher.local(request.ref_fasta).absolute() if request.ref_fasta else None
    genome = _genome(existing, reference, fetcher.local(request.chrom_sizes) if request.chrom_sizes else None)
    aliases = read_alias_table(fetcher.local(request.chrom_alias), genome) if request.chrom_alias else {}
    naming = Naming(genome, aliases)
    if reference is not None:
        sequences.check_sequence(reference, naming)
    cells = _cells(request)
    if not cells and reference is None:
        raise InputError("nothing to ingest; give --ref_fasta, --tiledb_metadata or both")
    # Checksums and checks wait for the disk more than they compute.
    with ThreadPoolExecutor(min(4, cores())) as pool:
        found = list(pool.map(lambda cell: _check(cell, naming, fetcher), cells))
    checked = [item for items in found for item in items]
    _refuse_twins(checked)
    todo = [item for item in checked if _is_new(item, existing, request.overwrite)]
    new_sequence = _new_sequence(existing, reference, request.ref_fasta, naming)
    resumed: dict[str, frozenset[int]] = {}
    for staged in existing.staged if existing else []:
        resumed[staged.attribute] = resumed.get(staged.attribute, frozenset()) | {staged.row}
    uri = request.tdb_array
    return IngestPlan(
        uri=uri if storage.is_remote(uri) else str(storage.local_path(uri).absolute()),
        genome=genome,
        existing=existing,
        datasets=list(dict.fromkeys(item.dataset for item in checked)),
        todo=todo,
        unchanged=[item for item in checked if item not in todo],
        sequence=new_sequence,
        aliases=aliases,
        workers=request.workers,
        threads=request.threads,
        scheduler=request.scheduler,
        estimate=_estimate(genome, todo, new_sequence is not None, request),
        resumed=resumed,
    )


def existing_catalogue(uri: str) -> Catalogue | None:
    """The catalogue of a database that is there; None where one can be made."""
    if catalogues.exists(uri):
        return catalogues.load(uri)
    # What a writer killed before its first commit leaves is no obstacle.
    left = (storage.LOCK_NAME, f".{catalogues.FILE_NAME}.")
    if any(not name.startswith(left) for name in storage.names(uri)):
        raise InputError(f"{uri}: exists but holds no kerasgen database; name a new or an empty folder")
    return None


def _genome(existing: Catalogue | None, reference: Path | None, chrom_sizes: Path | None) -> Genome:
    from db_ingest.formats import sequence as sequences
    from db_ingest.formats.sizes import read_sizes

    genome = read_sizes(chrom_sizes) if chrom_sizes else None
    if existing is not None:
        # The order is the database's own.
        if genome is not None and genome.size_by_name != existing.genome.size_by_name:
            raise InputError(
                f"{chrom_sizes}: another genome than the database's; it has {shorten_names(genome.names)} "
                f"({genome.bases:,} bp), the database {shorten_names(existing.genome.names)} "
                f"({existing.genome.bases:,} bp)"
            )
        return existing.genome
    if genome is None and reference is not None:
        genome = sequences.genome_of(reference)
    if genome is None:
        raise InputError("a new database needs its genome; give --ref_fasta or --chrom_sizes")
    return genome


def _cells(request: Request) -> list[Cell]:
    if request.tiledb_metadata is None:
        if request.attribute_config or request.attribute_config_file:
            raise InputError("--attribute_config describes the columns of --tiledb_metadata; give that too")
        return []
    types = attributes_from(request.attribute_config, request.attribute_config_file)
    return read_samples(request.tiledb_metadata, types)


def _check(cell: Cell, naming: Naming, fetcher: Fetcher) -> list[CheckedTrack]:
    """The tracks that a file becomes: one, or with a table of barcodes one per group."""
    from db_ingest.inputs.files import describe_source

    attribute, known = cell.attribute, FORMATS[cell.attribute.type]
    path = fetcher.local(cell.path).absolute()
    stamp = stamp_of(path)

    # Options: what the catalogue keeps, and all that the reader takes.
    settings = dict(attribute.options)
    options = known.all_options(settings)
    groups: Sequence[str | None] = [None]
    if options.get("barcodes"):
        groups = _read_groups(fetcher, settings, options)
    if (synonyms := _synonyms(naming)) is not None:
        settings["chrom_alias_sha256"] = synonyms
    if options.get("negative") == "auto":
        options["negative"] = "auto_minus" if is_minus(attribute.name) else "keep"

    # The file: whether it is what it should be, as far as moments tell.
    chromosomes, counts = naming.genome.names, False
    if known.kind == "mask":
        known.load().open_intervals(path, naming, options)
    elif known.splits:
        reader = known.load().open_signal(path, naming, options, (Channel(),))
        chromosomes, counts = reader.chromosomes, reader.counts
        reader.close()
    else:
        known.load().check_signal(path, naming, options)

    source = {**describe_source(path), "path": fetcher.source(cell.path)}
    return [
        CheckedTrack(
            attribute=attribute,
            dataset=cell.dataset if group is None else f"{cell.dataset}.{group}",
            channel=Channel(known.strand, group),
            path=path,
            source=source if group is None else {**source, "group": group},
            settings=settings,
            options=options,
            chromosomes=chromosomes,
            counts=counts,
            stamp=stamp,
        )
        for group in groups
    ]


def _read_groups(fetcher: Fetcher, settings: dict[str, Any], options: dict[str, Any]) -> list[str | None]:
    """Groups of a table of barcodes, whose place and checksum are entered into the settings and options."""
    from db_ingest.formats.fragments import read_groups
    from db_ingest.inputs.files import describe_source

    table = fetcher.local(options["barcodes"]).absolute()
    settings["barcodes"] = fetcher.source(options["barcodes"])
    groups: list[str | None] = list(dict.fromkeys(read_groups(table).values()))
    for group in groups:
        if "," in str(group):
            raise InputError(f"{table}: group {group!r}; the name of a dataset may hold no comma")
    options["barcodes"] = str(table)
    settings["barcodes_sha256"] = describe_source(table)["sha256"]
    return groups


def stamp_of(path: Path) -> tuple[int, int]:
    """Size and time of a file, which change when it does."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _synonyms(naming: Naming) -> str | None:
    """Checksum of what the table of synonyms adds to the names that are understood anyway; None: nothing."""
    plain = Naming(naming.genome)
    added = sorted((name, to) for name, to in naming.aliases.items() if plain.find(name) != to)
    return hashlib.sha256(repr(added).encode()).hexdigest() if added else None


def _refuse_twins(checked: Sequence[CheckedTrack]) -> None:
    seen: dict[tuple[str, str], CheckedTrack] = {}
    for item in checked:
        other = seen.setdefault(item.name, item)
        if other is not item:
            raise InputError(
                f"{item.path}: dataset {item.dataset!r} of {item.attribute.name!r} comes from {other.path} as well"
            )


def _same_bases(reference: Path, naming: Naming, sequence: Mapping[str, Any]) -> bool:
    """Whether another file holds the bases that are stored."""
    from isal import isal_zlib

    from db_ingest.formats import sequence as sequences

    return all(
        sequence["checksums"].get(name) == f"{isal_zlib.crc32(bases):08x}"
        for name, bases in sequences.chromosomes(reference, naming)
    )


def _new_sequence(
    existing: Catalogue | None, reference: Path | None, given: str | None, naming: Naming
) -> Reference | None:
    from db_ingest.inputs.files import describe_source

    if reference is None or given is None:
        return None
    source = {**describe_source(reference), "path": Fetcher.source(given)}
    if existing is None or existing.sequence is None:
        return Reference(reference, source)
    if source["sha256"] != existing.sequence["sha256"] and not _same_bases(reference, naming, existing.sequence):
        raise InputError(
            f"{given}: differs from the sequence in the database ({existing.sequence['path']}), "
            "which every track was laid on; make a new database"
        )
    return None


def _is_new(item: CheckedTrack, existing: Catalogue | None, overwrite: bool) -> bool:
    if existing is None:
        return True
    old = existing.find(*item.name)
    kinds = {t.kind for t in existing.tracks if t.attribute == item.attribute.name and t is not old}
    if kinds - {item.attribute.kind}:
        raise InputError(
            f"{item.path}: attribute {item.attribute.name!r} is a {kinds.pop()} in the database, "
            f"type {item.attribute.type} would make it a {item.attribute.kind}"
        )
    if old is None:
        return True
    same = old.provenance.gives_the_same(item.provenance)
    if not same and not overwrite:
        raise InputError(
            f"{item.path}: {item.dataset} {item.attribute.name} is in the database already, from another file or "
            f"other settings ({_difference(old, item)}); --overwrite replaces it"
        )
    return not same


def _difference(old: Track, item: CheckedTrack) -> str:
    if old.type != item.attribute.type:
        return f"type {old.type}, now {item.attribute.type}"
    if old.source["sha256"] != item.source["sha256"]:
        same = old.source["path"] == item.source["path"]
        return "the file has changed" if same else f"it came from {old.source['path']}, of other contents"
    names = sorted(set(old.options) | set(item.settings))
    differences = [
        f"{name} was {old.options.get(name, 'the default')}, now {item.settings.get(name, 'the default')}"
        for name in names
        if old.options.get(name) != item.settings.get(name)
    ]
    return "; ".join(differences)


def _estimate(genome: Genome, todo: list[CheckedTrack], sequence: bool, request: Request) -> dict[str, float]:
    """Work ahead, from the rates of ``benchmarks/bench_ingest.py``: a signal takes at most its file's bytes."""
    bases = sum(genome.size(name) for item in todo for name in item.chromosomes) + (genome.bases if sequence else 0)
    disk = sum(item.source["bytes"] for item in todo) + (genome.bases * _SEQUENCE_BYTES_PER_BASE if sequence else 0)
    threads = request.threads or default_threads(request.workers)
    slots = threads if request.workers == 1 else request.workers
    read_whole = {item.path for item in todo if not FORMATS[item.attribute.type].splits}
    memory = request.workers * _WORKER_BYTES + slots * min(CHUNK, genome.length) * BYTES_PER_BASE
    return {
        "bases": bases,
        "seconds": bases / _BASES_PER_SECOND,
        "memory_bytes": memory
        + sum(sorted((min(path.stat().st_size, _SPOOL_BYTES) for path in read_whole), reverse=True)[:slots])
        + (max(genome.sizes) * 3 if sequence else 0),
        "disk_bytes": disk,
    }
