"""Write the embeddings of positions into a database, to HDF5 and to bigWig: what ``gen_embed`` does."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.progress import progress
from db_ingest.settings import Setting, require_new, takes_settings
from kerasgen import backend, bundle
from kerasgen.database import Database
from kerasgen.settings import TdbArray
from kerasgen.track_models.embedding_settings import EmbeddingOutput, PrincipalComponents

if TYPE_CHECKING:
    from db_ingest.layout.genome import Genome
    from db_ingest.writing.computed import Computed
    from kerasgen.track_models.positions import Positions

BINS_AT_ONCE = 2**20


class EmbeddingResult(NamedTuple):
    """What was written.

    Args:
        dataset: where it is in the database; None if nothing was written there.
        attributes: one per component.
        chromosomes: embedded.
        bins: number of bins of them.
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


@takes_settings
def embed(
    tdb_array: TdbArray,
    *,
    load_model_hdf5: Annotated[
        str | None,
        Setting(
            "P.keras of a trained Epi-LSTM or Avocado; its bundle lies beside it; of an ensemble, its first model "
            "embeds",
            group="files",
            metavar="P.keras",
        ),
    ] = None,
    components: PrincipalComponents,
    output: EmbeddingOutput,
) -> EmbeddingResult:
    """Embed every position of a database by a trained model, and write the embeddings where they are wanted.

    In the database each component is a signal of the dataset ``name``, with an attribute ``name_00``, ``name_01``, ...,
    in the model's bins; all appear in one step. Bins where no track has a value have no embedding (NaN).

    Raises:
        InputError: wrong flags or names, a track missing, or output that is there. Nothing has been written then.
    """
    if (load_model_hdf5 is None) == (components.pca is None):
        raise InputError("give one of --load_model_hdf5 and --pca")
    output.require_consistent()
    components.require_consistent()
    prefix = str(components.model_prefix or load_model_hdf5).removesuffix(".keras")
    name = output.name or Path(prefix).name
    database = Database(str(tdb_array))
    for chromosome in output.chroms or ():
        database.genome.index(chromosome)
    if components.pca is not None:
        _files(name, components.pca, output)
        _fit_components(tdb_array, prefix, components, overwrite=output.overwrite)
    trained = bundle.open_bundle(prefix)
    positions: Positions = trained.family.embed(trained, database)
    for flag, value, its in (
        ("bin", components.bin, positions.bin),
        ("transformation", components.transformation, trained.config.get("transformation")),
    ):
        if value is not None and value != its:
            raise InputError(f"--{flag} {value}: {trained.model_path} was trained with {its}; leave it out")
    embedding = _Embedding(
        database=database,
        positions=positions,
        trained=trained,
        chromosomes=_choose(database, positions, output.chroms),
        name=name,
        attributes=_check_names(name, positions.components),
    )
    return _write(embedding, _files(name, positions.components, output), output)


def _fit_components(tdb_array: str, prefix: str, components: PrincipalComponents, *, overwrite: bool) -> None:
    from kerasgen.track_models.epilstm.fit_pca import fit_pca

    flags = {name: value for name, value in components.flat().items() if value is not None}
    del flags["model_prefix"]
    fit_pca(tdb_array, prefix, flags.pop("pca"), **flags, overwrite=overwrite)


class _Embedding(NamedTuple):
    """What is to be embedded.

    Args:
        database: whose positions.
        positions: their embeddings.
        trained: the bundle that they come from.
        chromosomes: those to embed.
        name: name of the dataset.
        attributes: one per component.
    """

    database: Database
    positions: Positions
    trained: bundle.Bundle
    chromosomes: list[str]
    name: str
    attributes: list[str]


@dataclass(frozen=True)
class _Files:
    hdf5: Path | None
    bigwigs: list[Path]

    @property
    def paths(self) -> list[Path]:
        return [*([self.hdf5] if self.hdf5 else []), *self.bigwigs]


def _write(embedding: _Embedding, files: _Files, output: EmbeddingOutput) -> EmbeddingResult:
    from db_ingest.writing import computed

    database, positions, chromosomes = embedding.database, embedding.positions, embedding.chromosomes
    grid = database.genome.binned(positions.bin)
    bins = sum(grid.size(chromosome) for chromosome in chromosomes)
    dataset = embedding.name if output.in_database else None
    with tempfile.TemporaryDirectory(prefix="gen_embed.") as folder:
        scratch = _Scratch(Path(folder), positions.components, grid)
        signals = _signals(scratch, embedding)
        is_new = output.in_database and computed.check_computed(database.uri, signals, overwrite=output.overwrite)
        if not is_new and not files.paths:
            return EmbeddingResult(dataset, embedding.attributes, chromosomes, bins, 0, [], True)
        backend.load()
        positions.load()
        empty = scratch.fill(positions, chromosomes, bins)
        if empty == bins:
            raise InputError(f"{database.uri}: no track of the model has a value on {', '.join(chromosomes[:5])}")
        if files.hdf5:
            _write_hdf5(files.hdf5, scratch, embedding)
        for component, path in enumerate(files.bigwigs):
            _write_bigwig(path, scratch, database.genome, positions.bin, chromosomes, component)
        if is_new:
            computed.write_computed(database.uri, signals, overwrite=output.overwrite)
    return EmbeddingResult(dataset, embedding.attributes, chromosomes, bins, empty, files.paths, False)


class _Scratch:
    """Embeddings on disk, each component of a chromosome in one piece, so that memory stays small.

    Args:
        folder: where to.
        components: numbers per bin.
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
                on_disk = np.memmap(self._folder / str(number), np.float32, "w+", shape=shape)
                for first, codes in positions.blocks(chromosome):
                    on_disk[:, first : first + len(codes)] = codes.T
                    empty += int(np.isnan(codes[:, 0]).sum())
                    advance(len(codes))
                self._open[chromosome] = on_disk
        return empty

    def read(self, component: int, chromosome: str, start: int, end: int) -> np.ndarray:
        """One component of bins of a chromosome."""
        return np.asarray(self._open[chromosome][component, start:end])

    def blocks(self, chromosome: str) -> Iterator[tuple[int, np.ndarray]]:
        """First bin and ``(components, bins)`` of one stretch after another."""
        for first in range(0, self._grid.size(chromosome), BINS_AT_ONCE):
            yield first, np.asarray(self._open[chromosome][:, first : first + BINS_AT_ONCE])


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


def _files(name: str, components: int, output: EmbeddingOutput) -> _Files:
    """The files to write; refuses those that exist, unless they are to be replaced."""
    attributes = _check_names(name, components)
    bigwigs = [Path(f"{output.bigwig_prefix}.{attribute}.bw") for attribute in attributes]
    files = _Files(Path(output.hdf5) if output.hdf5 else None, bigwigs if output.bigwig_prefix else [])
    for path in files.paths:
        require_new(path, overwrite=output.overwrite)
        storage.require_writable(path.parent)
    return files


def _signals(scratch: _Scratch, embedding: _Embedding) -> list[Computed]:
    from db_ingest.writing.computed import Computed

    digest = embedding.positions.digest(embedding.chromosomes)
    signals = []
    for component, attribute in enumerate(embedding.attributes):

        def read(chromosome: str, start: int, end: int, component: int = component) -> np.ndarray:
            return scratch.read(component, chromosome, start, end)

        signals.append(
            Computed(
                attribute=attribute,
                dataset=embedding.name,
                what=f"embedding of model {embedding.trained.model_path.resolve()}",
                sha256=hashlib.sha256(f"{digest} {component}".encode()).hexdigest(),
                bin=embedding.positions.bin,
                chromosomes=tuple(embedding.chromosomes),
                read=read,
            )
        )
    return signals


def _write_hdf5(path: Path, scratch: _Scratch, embedding: _Embedding) -> None:
    import h5py

    database, positions = embedding.database, embedding.positions
    grid = database.genome.binned(positions.bin)
    with storage.replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["model"] = str(embedding.trained.model_path.resolve())
        file.attrs["database"], file.attrs["database_commit"] = database.uri, database.commit
        file.attrs["bin"], file.attrs["kerasgen"] = positions.bin, bundle.versions().get("kerasgen", "")
        file.attrs["components"] = embedding.attributes
        for chromosome in embedding.chromosomes:
            shape = (grid.size(chromosome), positions.components)
            chunks = (min(2**14, shape[0]), shape[1])
            codes = file.create_dataset(chromosome, shape, np.float32, chunks=chunks, compression="lzf", shuffle=True)
            for first, values in scratch.blocks(chromosome):
                codes[first : first + values.shape[1]] = values.T


def _write_bigwig(
    path: Path, scratch: _Scratch, genome: Genome, bin: int, chromosomes: Sequence[str], component: int
) -> None:
    from db_ingest.formats.bigwig_writer import BigWigWriter
    from db_ingest.writing import workers

    sizes = {chromosome: genome.size(chromosome) for chromosome in chromosomes}
    with storage.replacing(path) as temporary, contextlib.ExitStack() as stack:
        writer = stack.enter_context(BigWigWriter(temporary, sizes, workers.at_a_time(0)))
        for chromosome in writer.chromosomes:
            bins = -(-sizes[chromosome] // bin)
            for first in range(0, bins, BINS_AT_ONCE):
                values = scratch.read(component, chromosome, first, min(first + BINS_AT_ONCE, bins))
                known = np.flatnonzero(~np.isnan(values))
                starts = (first + known) * bin
                writer.add(chromosome, starts, np.minimum(starts + bin, sizes[chromosome]), values[known])
