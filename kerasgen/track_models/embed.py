"""Write the embeddings of positions into a database, to HDF5 and to bigWig: what ``gen_embed`` does."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.progress import progress
from kerasgen import backend, bundle
from kerasgen.database import Database

if TYPE_CHECKING:
    from db_ingest.layout.genome import Genome
    from db_ingest.writing.computed import Computed
    from kerasgen.track_models.positions import Positions

_RUNS = 2**20


class EmbeddingResult(NamedTuple):
    """What was written.

    Args:
        dataset: of the database; None if nothing was written there.
        attributes: one a component.
        chromosomes: embedded.
        bins: of them.
        empty: bins without an embedding, since no track has a value there.
        files: HDF5 and bigWigs.
        unchanged: whether all was in the database already; nothing was computed then.
    """

    dataset: str | None
    attributes: list[str]
    chromosomes: list[str]
    bins: int
    empty: int
    files: list[Path]
    unchanged: bool


def embed(
    tdb_array: str,
    *,
    load_model_hdf5: str | None = None,
    pca: int | None = None,
    model_prefix: str | None = None,
    celltypes: Sequence[str] | None = None,
    assays: Sequence[str] | None = None,
    bin: int | None = None,
    transformation: str | None = None,
    train_chroms: Sequence[str] | None = None,
    validation_chroms: Sequence[str] | None = None,
    test_chroms: Sequence[str] | None = None,
    name: str | None = None,
    chroms: Sequence[str] | None = None,
    in_database: bool = True,
    hdf5: str | None = None,
    bigwig_prefix: str | None = None,
    overwrite: bool = False,
) -> EmbeddingResult:
    """Embed every position of a database by a trained model, and write the embeddings where they are wanted.

    In the database each component is a signal of the dataset ``name``, with an attribute ``name_00``, ``name_01``, ...,
    in the model's bins; all appear in one step. Bins where no track has a value have no embedding (NaN).

    Args:
        tdb_array: path or URI of the database; it holds the tracks that the model was trained on.
        load_model_hdf5: ``P.keras`` of a model that embeds positions.
        pca: fit so many principal components instead, on all bins not held out for testing, and embed by them.
        model_prefix: ``P`` of the bundle that ``pca`` writes.
        celltypes, assays, train_chroms, validation_chroms, test_chroms: of ``pca``; see
            :func:`kerasgen.track_models.epilstm.train.train_epilstm`.
        bin, transformation: likewise (25 bp and arcsinh if not given); checked against a model's.
        name: of the dataset and the attributes (default: the name of the model's file).
        chroms: chromosomes (default: all that any of the tracks has values on).
        in_database: write into the database.
        hdf5: file to write: a dataset ``(bins, components) float32`` a chromosome.
        bigwig_prefix: write ``<bigwig_prefix>.<attribute>.bw`` of each component.
        overwrite: replace an embedding of the same name, files, and the bundle of ``pca``.

    Raises:
        InputError: wrong flags or names, a track missing, or output that is there. Nothing has been written then.
    """
    if (load_model_hdf5 is None) == (pca is None):
        raise InputError("give one of --load_model_hdf5 and --pca")
    if not (in_database or hdf5 or bigwig_prefix):
        raise InputError("--no-in_database: nothing to write; give --hdf5 or --bigwig_prefix")
    if pca is None:
        of_pca = {"model_prefix": model_prefix, "celltypes": celltypes, "assays": assays, "train_chroms": train_chroms}
        of_pca |= {"validation_chroms": validation_chroms, "test_chroms": test_chroms}
        for flag, value in of_pca.items():
            if value is not None:
                raise InputError(f"--{flag} goes with --pca; a trained model's bundle says it")
    elif model_prefix is None:
        raise InputError("--pca needs --model_prefix, where its bundle is written")
    prefix = str(model_prefix or load_model_hdf5).removesuffix(".keras")
    name = name or Path(prefix).name
    database = Database(str(tdb_array))
    for chromosome in chroms or ():
        database.genome.index(chromosome)
    if pca is not None:
        _check_names(name, pca)
        _check_files(_files(name, pca, hdf5, bigwig_prefix), overwrite)
        from kerasgen.track_models.epilstm.train import fit_pca

        fit_pca(
            str(tdb_array), prefix, pca, celltypes=celltypes, assays=assays, bin=bin or 25,
            transformation=transformation or "arcsinh", train_chroms=train_chroms,
            validation_chroms=validation_chroms, test_chroms=test_chroms, overwrite=overwrite,
        )  # fmt: skip
    found = bundle.open_bundle(prefix)
    positions: Positions = found.family.embed(found, database)
    for flag, given, its in (
        ("bin", bin, positions.bin), ("transformation", transformation, found.config.get("transformation"))
    ):  # fmt: skip
        if given is not None and given != its:
            raise InputError(f"--{flag} {given}: {found.model_path} was trained with {its}; leave it out")
    chromosomes = _choose(database, positions, chroms)
    attributes = _check_names(name, positions.components)
    files = _files(name, positions.components, hdf5, bigwig_prefix)
    _check_files(files, overwrite)
    return _embed(database, positions, found, chromosomes, name, attributes, files, in_database, overwrite)


@dataclass(frozen=True)
class _Files:
    hdf5: Path | None
    bigwigs: list[Path]

    @property
    def paths(self) -> list[Path]:
        return [*([self.hdf5] if self.hdf5 else []), *self.bigwigs]


def _embed(
    database: Database,
    positions: Positions,
    found: bundle.Bundle,
    chromosomes: list[str],
    name: str,
    attributes: list[str],
    files: _Files,
    in_database: bool,
    overwrite: bool,
) -> EmbeddingResult:
    from db_ingest.writing import computed

    grid = database.genome.binned(positions.bin)
    bins = sum(grid.size(chromosome) for chromosome in chromosomes)
    with tempfile.TemporaryDirectory(prefix="gen_embed.") as folder:
        scratch = _Scratch(Path(folder), positions.components, grid)
        signals = _signals(scratch, positions, found, chromosomes, name, attributes)
        is_new = in_database and computed.check_computed(database.uri, signals, overwrite=overwrite)
        dataset = name if in_database else None
        if not is_new and not files.paths:
            return EmbeddingResult(dataset, attributes, chromosomes, bins, 0, [], True)
        backend.load()
        positions.load()
        empty = scratch.fill(positions, chromosomes, bins)
        if empty == bins:
            raise InputError(f"{database.uri}: no track of the model has a value on {', '.join(chromosomes[:5])}")
        if files.hdf5:
            _write_hdf5(files.hdf5, scratch, chromosomes, attributes, positions, found, database)
        for component, path in enumerate(files.bigwigs):
            _write_bigwig(path, scratch, database.genome, positions.bin, chromosomes, component)
        if is_new:
            computed.write_computed(database.uri, signals, overwrite=overwrite)
    return EmbeddingResult(dataset, attributes, chromosomes, bins, empty, files.paths, False)


class _Scratch:
    """Embeddings on disk, each component of a chromosome in one piece, so that memory stays small.

    Args:
        folder: where to.
        components: numbers a bin.
        grid: the genome in bins.
    """

    def __init__(self, folder: Path, components: int, grid: Genome) -> None:
        self._folder, self._components, self._grid = folder, components, grid
        self._open: dict[str, np.ndarray] = {}

    def fill(self, positions: Positions, chromosomes: Sequence[str], bins: int) -> int:
        """Compute the embeddings of chromosomes; returns how many bins have none."""
        empty = 0
        with progress("embed", bins, "bins") as advance:
            for number, chromosome in enumerate(chromosomes):
                shape = (self._components, self._grid.size(chromosome))
                held = np.memmap(self._folder / str(number), np.float32, "w+", shape=shape)
                for first, codes in positions.blocks(chromosome):
                    held[:, first : first + len(codes)] = codes.T
                    empty += int(np.isnan(codes[:, 0]).sum())
                    advance(len(codes))
                self._open[chromosome] = held
        return empty

    def read(self, component: int, chromosome: str, start: int, end: int) -> np.ndarray:
        """One component of bins of a chromosome."""
        return np.asarray(self._open[chromosome][component, start:end])

    def blocks(self, chromosome: str) -> Iterator[tuple[int, np.ndarray]]:
        """First bin and ``(components, bins)`` of one stretch after another."""
        for first in range(0, self._grid.size(chromosome), _RUNS):
            yield first, np.asarray(self._open[chromosome][:, first : first + _RUNS])


def _choose(database: Database, positions: Positions, chroms: Sequence[str] | None) -> list[str]:
    wanted = [name for name in database.genome.names if name in (chroms or positions.chromosomes)]
    without = [name for name in wanted if name not in positions.chromosomes]
    if without or not wanted:
        raise InputError(
            f"{database.uri}: no track of the model has a value on {', '.join(without) or 'any chromosome'}"
        )
    return wanted


def _check_names(name: str, components: int) -> list[str]:
    """The attributes of the components; refuses a name that none can have."""
    from db_ingest.layout.names import check_attribute, check_dataset

    check_attribute(check_dataset(name, "--name"), "--name")
    digits = max(2, len(str(components - 1)))
    return [f"{name}_{component:0{digits}d}" for component in range(components)]


def _files(name: str, components: int, hdf5: str | None, bigwig_prefix: str | None) -> _Files:
    bigwigs = [Path(f"{bigwig_prefix}.{attribute}.bw") for attribute in _check_names(name, components)]
    return _Files(Path(hdf5) if hdf5 else None, bigwigs if bigwig_prefix else [])


def _check_files(files: _Files, overwrite: bool) -> None:
    for path in files.paths:
        if path.exists() and not overwrite:
            raise InputError(f"{path}: exists; --overwrite replaces it")
        storage.require_writable(path.parent)


def _signals(
    scratch: _Scratch,
    positions: Positions,
    found: bundle.Bundle,
    chromosomes: Sequence[str],
    name: str,
    attributes: Sequence[str],
) -> list[Computed]:
    from db_ingest.writing.computed import Computed

    digest = positions.digest(chromosomes)
    signals = []
    for component, attribute in enumerate(attributes):

        def read(chromosome: str, start: int, end: int, component: int = component) -> np.ndarray:
            return scratch.read(component, chromosome, start, end)

        signals.append(
            Computed(
                attribute=attribute,
                dataset=name,
                what=f"embedding of model {found.model_path.resolve()}",
                sha256=hashlib.sha256(f"{digest} {component}".encode()).hexdigest(),
                bin=positions.bin,
                chromosomes=tuple(chromosomes),
                read=read,
            )
        )
    return signals


def _write_hdf5(
    path: Path,
    scratch: _Scratch,
    chromosomes: Sequence[str],
    attributes: Sequence[str],
    positions: Positions,
    found: bundle.Bundle,
    database: Database,
) -> None:
    import h5py

    grid = database.genome.binned(positions.bin)
    with storage.replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["model"] = str(found.model_path.resolve())
        file.attrs["database"], file.attrs["database_commit"] = database.uri, database.commit
        file.attrs["bin"], file.attrs["kerasgen"] = positions.bin, bundle.versions().get("kerasgen", "")
        file.attrs["components"] = list(attributes)
        for chromosome in chromosomes:
            shape = (grid.size(chromosome), positions.components)
            chunks = (min(2**14, shape[0]), shape[1])
            held = file.create_dataset(chromosome, shape, np.float32, chunks=chunks, compression="lzf", shuffle=True)
            for first, values in scratch.blocks(chromosome):
                held[first : first + values.shape[1]] = values.T


def _write_bigwig(
    path: Path, scratch: _Scratch, genome: Genome, bin: int, chromosomes: Sequence[str], component: int
) -> None:
    from db_ingest.formats.bigwig_writer import BigWigWriter
    from db_ingest.writing import workers

    sizes = {chromosome: genome.size(chromosome) for chromosome in chromosomes}
    with storage.replacing(path) as temporary, contextlib.ExitStack() as stack:
        writer = stack.enter_context(BigWigWriter(temporary, sizes, workers.at_a_time(0)))
        for chromosome in writer.chromosomes:
            many = -(-sizes[chromosome] // bin)
            for first in range(0, many, _RUNS):
                values = scratch.read(component, chromosome, first, min(first + _RUNS, many))
                starts = (first + np.arange(len(values))) * bin
                there = ~np.isnan(values)
                ends = np.minimum(starts + bin, sizes[chromosome])
                writer.add(chromosome, starts[there], ends[there], values[there])
