"""Impute tracks with a trained model, score and draw them: what ``gen_impute`` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.settings import Setting, require_new, takes_settings
from kerasgen import bundle
from kerasgen.database import Database
from kerasgen.track_models import adding
from kerasgen.track_models.bigwigs import split_existing, write_bigwigs
from kerasgen.track_models.binned import Pair
from kerasgen.track_models.imputation_settings import (
    AddedNames,
    ImputationPlots,
    ImputationScoring,
    ImputedBins,
    ImputedFiles,
    ImputedTracks,
)
from kerasgen.track_models.metadata import read_metadata
from kerasgen.track_models.models import BinRange, TrackModel, parse_region

if TYPE_CHECKING:
    from kerasgen.track_models.avocado.whole_genome import GenomeAvocado
    from kerasgen.track_models.metadata import Metadata
    from kerasgen.track_models.scorer import ImputationScorer, TrackScores

_NAMING = "name --celltype or --assay, or give --all_tracks or, of an Avocado, --all_missing"


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
    scores: list[TrackScores]
    files: list[Path]
    new_model: str | None


class _Measured(NamedTuple):
    """An Avocado beside the database that it was trained on."""

    model: GenomeAvocado
    database: Database


@takes_settings
def impute(
    model: Annotated[str, Setting("P of a trained Avocado or Epi-LSTM, or its P.keras", group="files", metavar="P")],
    *,
    tdb_array: Annotated[
        str | None, Setting("path or s3:// URI of the database, if it has moved", group="database", metavar="URI")
    ] = None,
    tracks: ImputedTracks,
    bins: ImputedBins,
    output: ImputedFiles,
    added: AddedNames,
    scoring: ImputationScoring,
    plots: ImputationPlots,
) -> ImputationResult:
    """Impute tracks of cell types and assays as bigWigs, and if asked score and draw them, or add new ones first.

    An Avocado imputes any cell type in any assay that it knows. An Epi-LSTM gives back the tracks that it was trained
    on, from its codes, also where one of them has no value but others do; ``all_missing``, and all from
    ``add_celltypes`` on, are for an Avocado.

    Raises:
        InputError: wrong flags, names, ranges or files; nothing has been written then.
    """
    for settings in (output, added, scoring, plots):
        settings.require_consistent()
    metadata = read_metadata(plots.metadata, plots.color_by) if plots.metadata else None
    if added.axes:
        adding.require_free(added, overwrite=output.overwrite)

    from kerasgen import backend

    backend.load()
    trained = bundle.open_bundle(model)
    opened: TrackModel = trained.family.impute(trained, tdb_array)
    measured = _measured(opened, tdb_array, {
        "all_missing": tracks.all_missing, "add_celltypes": added.add_celltypes, "add_assays": added.add_assays,
        "scores": scoring.scores, "plot_region": plots.plot_region, "plot_embeddings": plots.plot_embeddings,
    })  # fmt: skip
    if measured is not None and added.axes:
        measured = measured._replace(model=adding.learn(measured.model, measured.database, added))
        opened = measured.model
    pairs = _pairs(opened, measured, tracks)
    if not pairs and not added.axes and not plots.plot_embeddings:
        if tracks.all_missing:
            raise InputError(f"{opened.prefix}: the database has a track of each of these pairs; none is missing")
        raise InputError(f"nothing to impute; {_NAMING}")
    _check_model(opened, pairs, output, scoring, plots)
    ranges = opened.ranges(list(bins.chrom) if bins.chrom else None, bins.start, bins.end, bins.region)
    region = opened.range_of(*parse_region(plots.plot_region)) if plots.plot_region else None
    folder = Path(output.out_dir)
    to_impute, existing = split_existing(
        folder, pairs, std=output.std, skip=output.skip_existing, overwrite=output.overwrite
    )
    _require_free(_further_files(to_impute, opened, region, folder, scoring, plots), overwrite=output.overwrite)

    scorer = _scorer(measured, to_impute, ranges, scoring)
    written = write_bigwigs(
        opened, to_impute, ranges, folder, keep_arcsinh=output.keep_arcsinh, std=output.std, scorer=scorer
    )
    files = scorer.write(str(scoring.scores)) if scorer is not None else []
    if measured is not None:
        files += _draw(measured, to_impute, region, folder, plots, metadata)
    return ImputationResult(
        bigwigs=written.paths,
        existing=existing,
        clipped=written.clipped,
        scores=scorer.scores if scorer is not None else [],
        files=files,
        new_model=added.new_model if added.axes else None,
    )


def _measured(opened: TrackModel, tdb_array: str | None, asked: Mapping[str, Any]) -> _Measured | None:
    """The model beside its database, where flags that are for an Avocado need both; None for another model.

    Args:
        opened: the model.
        tdb_array: where the database lies now, if it was said.
        asked: the flags that are for an Avocado, and their values.

    Raises:
        InputError: such a flag for another model, or a database of another genome.
    """
    from kerasgen.track_models.avocado.whole_genome import GenomeAvocado

    given = [name for name, value in asked.items() if value]
    if isinstance(opened, GenomeAvocado):
        return _Measured(opened, _database(opened, tdb_array)) if given or tdb_array else None
    if given:
        raise InputError(
            f"--{given[0]} is for an Avocado; {opened.prefix} is an Epi-LSTM or components, which give back the tracks "
            "that they were made of"
        )
    return None


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


def _pairs(opened: TrackModel, measured: _Measured | None, tracks: ImputedTracks) -> list[Pair]:
    """The tracks that are asked for."""
    named = tracks.celltype or tracks.assay
    if tracks.all_tracks and (named or tracks.all_missing):
        raise InputError("--all_tracks is every pair; give it without --celltype, --assay and --all_missing")
    wanted = opened.pairs(tracks.celltype, tracks.assay)
    if tracks.all_missing and measured is not None:
        present = {(track.dataset, track.attribute) for track in measured.database.tracks}
        return [pair for pair in wanted if pair not in present]
    return wanted if named or tracks.all_tracks else []


def _check_model(
    opened: TrackModel, pairs: list[Pair], output: ImputedFiles, scoring: ImputationScoring, plots: ImputationPlots
) -> None:
    """Refuse what the model cannot give, and what is asked of no track."""
    if output.keep_arcsinh and opened.transformation != "arcsinh":
        raise InputError(f"--keep_arcsinh: {opened.prefix} was trained on values without arcsinh")
    if output.std and opened.n_models < 2:
        raise InputError(f"--std: {opened.prefix} is one model; expected one of gen_train --n_models 2 or more")
    for name, value in (("scores", scoring.scores), ("plot_region", plots.plot_region)):
        if value is not None and not pairs:
            raise InputError(f"--{name} needs tracks that are imputed; {_NAMING}")


def _further_files(
    pairs: list[Pair],
    opened: TrackModel,
    region: BinRange | None,
    folder: Path,
    scoring: ImputationScoring,
    plots: ImputationPlots,
) -> list[Path]:
    """The files beside bigWigs that will be written."""
    from kerasgen.track_models.plots import browser_path

    files = [Path(f"{scoring.scores}.{ending}") for ending in ("tsv", "png")] if scoring.scores else []
    files += [Path(plots.plot_embeddings)] if plots.plot_embeddings else []
    return files + ([browser_path(folder, pair, region, opened.bin) for pair in pairs] if region else [])


def _require_free(files: list[Path], *, overwrite: bool) -> None:
    for path in files:
        require_new(path, overwrite=overwrite)
        storage.require_writable(path.parent)


def _scorer(
    measured: _Measured | None, pairs: list[Pair], ranges: list[BinRange], scoring: ImputationScoring
) -> ImputationScorer | None:
    from kerasgen.track_models.scorer import ImputationScorer

    if measured is None or not scoring.scores or not pairs:
        return None
    return ImputationScorer(*measured, pairs, ranges, genes=scoring.genes, enhancers=scoring.enhancers)


def _draw(
    measured: _Measured,
    pairs: list[Pair],
    region: BinRange | None,
    folder: Path,
    plots: ImputationPlots,
    metadata: Metadata | None,
) -> list[Path]:
    """Draw a region of each track, and the embeddings of the model, where they are asked for."""
    from kerasgen.track_models.plots import draw_model, draw_region

    files = [draw_region(folder, *measured, pair, region) for pair in pairs] if region is not None else []
    if plots.plot_embeddings:
        files.append(draw_model(Path(plots.plot_embeddings), *measured, plots.projection, metadata))
    return files
