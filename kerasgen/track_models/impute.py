"""Impute tracks with a trained model, score and draw them: what ``gen_impute`` does."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.progress import progress
from kerasgen import bundle
from kerasgen.database import Database
from kerasgen.track_models.binned import Pair
from kerasgen.track_models.models import BINS_AT_ONCE, BinRange, TrackModel, parse_region

if TYPE_CHECKING:
    from kerasgen.track_models.avocado.whole_genome import GenomeAvocado
    from kerasgen.track_models.scorer import Scored

log = logging.getLogger("kerasgen")

_NAMING = "name --celltype or --assay, or give --all_tracks or, of an Avocado, --all_missing"

_VALUES_AT_ONCE = 2**27
"""Imputed values that are in memory together: half a gigabyte."""
_FILES_AT_ONCE = 64
_KEPT = ("run", "architecture", "held_out", "validated_on")
"""What the file of a model with added names keeps of the one that it was made from."""


class ImputationResult(NamedTuple):
    """What an imputation wrote.

    Args:
        bigwigs: files written.
        existing: files left as they were.
        clipped: file to bins whose value, arcsinh undone, was below 0 and was set to 0.
        scores: one for each imputed track that the database has, and each source.
        files: tables and plots.
        new_model: ``P`` of the model with added cell types or assays.
    """

    bigwigs: list[Path]
    existing: list[Path]
    clipped: dict[Path, int]
    scores: list[Scored]
    files: list[Path]
    new_model: str | None


def impute(
    model: str,
    *,
    tdb_array: str | None = None,
    celltype: Sequence[str] | None = None,
    assay: Sequence[str] | None = None,
    all_missing: bool = False,
    all_tracks: bool = False,
    chrom: Sequence[str] | None = None,
    start: int | None = None,
    end: int | None = None,
    region: str | None = None,
    out_dir: str = ".",
    keep_arcsinh: bool = False,
    std: bool = False,
    skip_existing: bool = False,
    overwrite: bool = False,
    add_celltypes: Sequence[str] | None = None,
    add_assays: Sequence[str] | None = None,
    new_model: str | None = None,
    add_epochs: int | None = None,
    scores: str | None = None,
    genes: str | None = None,
    enhancers: str | None = None,
    plot_region: str | None = None,
    plot_embeddings: str | None = None,
    projection: str = "pca",
    metadata: str | None = None,
    color_by: str | None = None,
) -> ImputationResult:
    """Impute tracks of cell types and assays as bigWigs, and if asked score and draw them, or add new ones first.

    An Avocado imputes any cell type in any assay that it knows. An Epi-LSTM gives back the tracks that it was trained
    on, from its codes, also where one of them has no value but others do; ``all_missing``, and all from
    ``add_celltypes`` on, are for an Avocado.

    Args:
        model: ``P`` of a model that ``gen_train`` wrote, of ``--architecture_spec avocado`` or ``epilstm``.
        tdb_array: where the database lies now, if it has moved.
        celltype, assay: each of these cell types in each of these assays; if one side is given, all of the other.
        all_missing: the pairs that the database has no track of; of ``celltype`` and ``assay``, if given.
        all_tracks: every pair that the model knows.
        chrom, start, end: where, bp; all chromosomes that the model knows when not given.
        region: ``CHROM:START-END`` instead.
        out_dir: folder of ``<celltype>.<assay>.bigwig``; bins of the model's size, a value each.
        keep_arcsinh: write the model's values; otherwise arcsinh is undone, and what is then below 0 is 0.
        std: of an ensemble, also write ``<celltype>.<assay>.std.bigwig``: the standard deviation between its models, of
            the model's values (after arcsinh).
        skip_existing: leave bigWigs as they are that are there already.
        overwrite: replace files that are there.
        add_celltypes, add_assays: datasets or attributes of the database that the model is to learn first; all else in
            it stays. Written as a model of its own, ``new_model``, which then imputes.
        add_epochs: to learn them in; otherwise as many as the model was trained in.
        scores: ``P`` of ``P.tsv`` and ``P.png``: scores of the imputed tracks that the database has, in the model's
            values, beside baselines from the tracks that the model was trained on.
        genes, enhancers: annotation for scores; see :func:`kerasgen.track_models.scores.annotated_bins`.
        plot_region: ``CHROM:START-END``: draw each imputed track there, as
            ``<celltype>.<assay>.<chrom>_<start>_<end>.png`` in ``out_dir``.
        plot_embeddings: PNG of projections of the model's cell types, assays and positions.
        projection: ``"pca"`` or ``"umap"``.
        metadata: table whose first column names cell types or assays, to colour those by its column ``color_by``.
        color_by: a column of ``metadata``; the second when not given.

    Raises:
        InputError: wrong flags, names, ranges or files; nothing has been written then.
    """
    from kerasgen.track_models import figures
    from kerasgen.track_models.plots import METHODS

    if projection not in METHODS:
        raise InputError(f"--projection {projection}: expected one of {', '.join(METHODS)}")
    if skip_existing and overwrite:
        raise InputError("give --skip_existing to leave files or --overwrite to replace them, not both")
    if color_by and not metadata:
        raise InputError("--color_by names a column of --metadata; give that too")
    if (genes or enhancers) and not scores:
        raise InputError("--genes and --enhancers are for --scores; give that too")
    labels = figures.read_metadata(metadata, color_by) if metadata else None
    if metadata and not plot_embeddings:
        raise InputError("--metadata colours --plot_embeddings; give that too")
    adding = _adding(add_celltypes, add_assays, new_model, add_epochs, overwrite)

    from kerasgen import backend
    from kerasgen.track_models.avocado.whole_genome import GenomeAvocado

    backend.load()
    trained = bundle.open_bundle(model)
    opened: TrackModel = trained.family.impute(trained, tdb_array)
    if not isinstance(opened, GenomeAvocado):
        _refuse_flags_of_avocado(
            opened, all_missing=all_missing, add_celltypes=add_celltypes, add_assays=add_assays, scores=scores,
            plot_region=plot_region, plot_embeddings=plot_embeddings,
        )  # fmt: skip
    needs_database = bool(adding or all_missing or scores or plot_region or plot_embeddings)
    database = _database(opened, tdb_array) if needs_database or tdb_array else None
    if adding:
        assert database is not None
        assert isinstance(opened, GenomeAvocado)
        opened = _add(opened, database, adding, str(new_model), add_epochs)
    pairs = _pairs(opened, database, celltype, assay, all_missing=all_missing, all_tracks=all_tracks)
    if not pairs and not adding and not plot_embeddings:
        if all_missing:
            raise InputError(f"{opened.prefix}: the database has a track of each of these pairs; none is missing")
        raise InputError(f"nothing to impute; {_NAMING}")
    _check_flags(opened, pairs, keep_arcsinh=keep_arcsinh, std=std, scores=scores, plot_region=plot_region)
    pieces = opened.pieces(list(chrom) if chrom else None, start, end, region)
    shown = opened.piece(*parse_region(plot_region)) if plot_region else None
    folder = Path(out_dir)
    todo, existing = _split_existing(folder, pairs, std=std, skip=skip_existing, overwrite=overwrite)
    further = [Path(f"{scores}.{ending}") for ending in ("tsv", "png")] if scores else []
    further += [Path(plot_embeddings)] if plot_embeddings else []
    further += [figures.browser_path(folder, pair, shown, opened.bin) for pair in todo] if shown else []
    for path in further:
        if path.exists() and not overwrite:
            raise InputError(f"{path}: exists; --overwrite replaces it")
        storage.require_writable(path.parent)

    result = ImputationResult([], existing, {}, [], [], new_model if adding else None)
    judge = None
    if scores and todo:
        from kerasgen.track_models.scorer import Judge

        assert database is not None
        assert isinstance(opened, GenomeAvocado)
        judge = Judge(opened, database, todo, pieces, genes=genes, enhancers=enhancers)
    _write_all(opened, todo, pieces, folder, result, keep_arcsinh=keep_arcsinh, std=std, judge=judge)
    if judge is not None and scores:
        result.files.extend(judge.write(scores))
        result.scores.extend(judge.scored)
    if shown is not None:
        assert database is not None
        assert isinstance(opened, GenomeAvocado)
        for pair in todo:
            result.files.append(figures.draw_region(folder, opened, database, pair, shown))
    if plot_embeddings:
        assert database is not None
        assert isinstance(opened, GenomeAvocado)
        result.files.append(figures.draw_model(Path(plot_embeddings), opened, database, projection, labels))
    return result


def _refuse_flags_of_avocado(opened: TrackModel, **flags: Any) -> None:
    for name, value in flags.items():
        if value:
            raise InputError(
                f"--{name} is for an Avocado; {opened.prefix} is an Epi-LSTM or components, which give back the tracks "
                "that they were made of"
            )


def _adding(
    celltypes: Sequence[str] | None,
    assays: Sequence[str] | None,
    new_model: str | None,
    epochs: int | None,
    overwrite: bool,
) -> list[tuple[str, list[str]]]:
    """What is to be added, axis by axis."""
    adding = [(axis, list(names)) for axis, names in (("celltypes", celltypes), ("assays", assays)) if names]
    if not adding:
        for name, value in (("new_model", new_model), ("add_epochs", epochs)):
            if value is not None:
                raise InputError(f"--{name} is for --add_celltypes or --add_assays; give one of them")
        return []
    if new_model is None:
        raise InputError(f"--add_{adding[0][0]}: say where the new model goes: --new_model P")
    path = Path(f"{new_model}.json")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists; --overwrite replaces it")
    storage.require_writable(path.parent)
    return adding


def _add(
    opened: GenomeAvocado, database: Database, adding: list[tuple[str, list[str]]], prefix: str, epochs: int | None
) -> GenomeAvocado:
    """Learn new cell types, then new assays, and write the model that knows them; of all chromosomes it knew."""
    from kerasgen.track_models.avocado.train import chromosome_models
    from kerasgen.track_models.avocado.whole_genome import GenomeAvocado
    from kerasgen.track_models.binned import from_database

    model = opened.main
    trained = {name: opened.document.get("run", {}).get(name) for name in ("epochs", "epoch_size", "sampling")}
    kept_out = {*opened.held_out, *opened.validated_on}
    for axis, names in adding:
        is_celltypes = axis == "celltypes"
        known = model.assays if is_celltypes else model.celltypes
        strange = {
            (track.dataset, track.attribute)
            for track in database.tracks
            if (track.attribute if is_celltypes else track.dataset) not in known
        }
        tracks = from_database(
            database,
            **{axis: names},
            bin=model.bin,
            chroms=[stretch.chromosome for stretch in model.stretches],
            transformation=model.transformation,
            leave_out=kept_out | strange,
        )
        for name in names:
            if name not in getattr(tracks, axis):
                raise InputError(f"--add_{axis} {name}: has no track of what the model knows ({', '.join(known[:12])})")
        fit = model.fit_celltypes if is_celltypes else model.fit_assays
        more = {name: trained[name] for name in ("epoch_size", "sampling")}
        fit(tracks, n_epochs=epochs or trained["epochs"], **more)
    further = [name for name in opened.chromosomes if name not in {s.chromosome for s in model.stretches}]
    kept = {key: opened.document[key] for key in _KEPT if key in opened.document}
    document: dict[str, Any] = {
        **kept,
        "chromosomes": opened.sizes,
        "database": {"uri": database.uri, "commit": database.commit},
        "made_from": {"model": opened.prefix, "added": dict(adding)},
        "chromosome_models": further,
    }
    for name, other in chromosome_models(model, database, further, model.experiments, **trained):
        other.save(f"{prefix}.{name}", {**document, "chromosome_models": []})
    model.save(prefix, document)
    return GenomeAvocado(prefix)


def _database(opened: TrackModel, tdb_array: str | None) -> Database:
    recorded = opened.document.get("database", {}).get("uri")
    if tdb_array is None and recorded is None:
        raise InputError(f"{opened.prefix}.json names no database; give --tdb_array")
    database = Database(tdb_array or recorded)
    sizes = database.genome.size_by_name
    for name in opened.chromosomes:
        if sizes.get(name) != opened.sizes[name]:
            raise InputError(
                f"{database.uri}: {name} has {sizes.get(name, 0):,} bp; the model was trained on {opened.sizes[name]:,}"
            )
    return database


def _pairs(
    opened: TrackModel,
    database: Database | None,
    celltype: Sequence[str] | None,
    assay: Sequence[str] | None,
    *,
    all_missing: bool,
    all_tracks: bool,
) -> list[Pair]:
    if all_tracks and (celltype or assay or all_missing):
        raise InputError("--all_tracks is every pair; give it without --celltype, --assay and --all_missing")
    wanted = opened.pairs(celltype, assay)
    if all_missing:
        assert database is not None
        there = {(track.dataset, track.attribute) for track in database.tracks}
        return [pair for pair in wanted if pair not in there]
    return wanted if celltype or assay or all_tracks else []


def _check_flags(
    opened: TrackModel,
    pairs: list[Pair],
    *,
    keep_arcsinh: bool,
    std: bool,
    scores: str | None,
    plot_region: str | None,
) -> None:
    if keep_arcsinh and opened.transformation != "arcsinh":
        raise InputError(f"--keep_arcsinh: {opened.prefix} was trained on values without arcsinh")
    if std and opened.n_models < 2:
        raise InputError(f"--std: {opened.prefix} is one model; expected one of gen_train --n_models 2 or more")
    for name, value in (("scores", scores), ("plot_region", plot_region)):
        if value is not None and not pairs:
            raise InputError(f"--{name} is of imputed tracks; {_NAMING}")


def bigwig_path(folder: Path, pair: Pair, ending: str = "bigwig") -> Path:
    """``<celltype>.<assay>.bigwig`` in a folder."""
    return folder / f"{pair[0]}.{pair[1]}.{ending}"


def _split_existing(
    folder: Path, pairs: list[Pair], *, std: bool, skip: bool, overwrite: bool
) -> tuple[list[Pair], list[Path]]:
    """Pairs to impute, and files that are left as they are."""
    storage.require_writable(folder)
    endings = ("bigwig", "std.bigwig") if std else ("bigwig",)
    todo, existing = [], []
    for pair in pairs:
        paths = [bigwig_path(folder, pair, ending) for ending in endings]
        there = [path for path in paths if path.exists()]
        if there and not (skip or overwrite):
            raise InputError(f"{there[0]}: exists; --overwrite replaces it, --skip_existing leaves it")
        if skip and len(there) == len(paths):
            existing += there
        else:
            todo.append(pair)
    return todo, existing


def _write_all(
    opened: TrackModel,
    pairs: list[Pair],
    pieces: list[BinRange],
    folder: Path,
    result: ImputationResult,
    *,
    keep_arcsinh: bool,
    std: bool,
    judge: Any,
) -> None:
    """Impute and write tracks, as many together as fit in memory: what they share is computed once."""
    kept = sum(piece.end - piece.first for piece in pieces) if judge is not None else 0
    together = max(1, min(_FILES_AT_ONCE, _VALUES_AT_ONCE // (BINS_AT_ONCE + kept)))
    undo = opened.transformation == "arcsinh" and not keep_arcsinh
    values = len(pairs) * sum(piece.end - piece.first for piece in pieces)
    with progress("imputing", values, "bins") as advance:
        for first in range(0, len(pairs), together):
            group = pairs[first : first + together]
            paths = [bigwig_path(folder, pair) for pair in group]
            spreads = [bigwig_path(folder, pair, "std.bigwig") for pair in group] if std else []
            negative = [0] * len(group)
            with contextlib.ExitStack() as stack:
                files = [stack.enter_context(_bigwig(path, opened.sizes)) for path in paths]
                deviations = [stack.enter_context(_bigwig(path, opened.sizes)) for path in spreads]
                for piece in _blocks(pieces):
                    if std:
                        found, deviation = opened.impute_with_std(group, piece)
                    else:
                        found = opened.impute(group, piece)
                    for place, pair in enumerate(group):
                        written = found[place]
                        if undo:
                            written = np.sinh(written.astype(np.float64)).astype(np.float32)
                            negative[place] += int((written < 0).sum())
                            written = np.maximum(written, 0)
                        _put(files[place], opened, piece, written)
                        if std:
                            _put(deviations[place], opened, piece, deviation[place])
                        if judge is not None:
                            judge.take(pair, piece, found[place])
                    advance(found.size)
            result.bigwigs.extend([*paths, *spreads])
            result.clipped.update({path: many for path, many in zip(paths, negative, strict=True) if many})
            if judge is not None:
                judge.score(group)


def _blocks(pieces: Sequence[BinRange]) -> Iterator[BinRange]:
    """BinRanges cut into such as are imputed in one go."""
    for piece in pieces:
        for first in range(piece.first, piece.end, BINS_AT_ONCE):
            yield BinRange(piece.chromosome, first, min(first + BINS_AT_ONCE, piece.end))


@contextlib.contextmanager
def _bigwig(path: Path, sizes: dict[str, int]) -> Iterator[Any]:
    """A bigWig to be filled, whole or not there at all."""
    import pyBigWig

    with storage.replacing(path) as temporary:
        file = pyBigWig.open(str(temporary), "w")
        try:
            file.addHeader(list(sizes.items()))
            yield file
        finally:
            file.close()


def _put(file: Any, opened: TrackModel, piece: BinRange, values: np.ndarray) -> None:
    """Write bins of a chromosome, in order; those without a value are left out."""
    bin, size = opened.bin, opened.sizes[piece.chromosome]
    there = np.flatnonzero(np.isfinite(values))
    for run in np.split(there, np.flatnonzero(np.diff(there) > 1) + 1):
        if not len(run):
            continue
        start = (piece.first + int(run[0])) * bin
        held = [float(value) for value in values[run]]
        # The last bin of a chromosome may be shorter, which bins of one span can not say.
        short = start + len(run) * bin > size
        if len(run) > short:
            file.addEntries(piece.chromosome, start, values=held[: len(held) - short], span=bin, step=bin)
        if short:
            file.addEntries([piece.chromosome], [start + (len(run) - 1) * bin], ends=[size], values=held[-1:])
