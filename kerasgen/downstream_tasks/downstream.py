"""Labels of genomic elements predicted from tracks and embeddings, beside baselines: what ``gen_downstream`` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.settings import Setting, takes_settings
from kerasgen.downstream_tasks.settings import (
    BaselineSettings,
    FeatureSettings,
    FoldSettings,
    LabelSettings,
    TreeSettings,
)
from kerasgen.settings import Seed, TdbArray, Title

if TYPE_CHECKING:
    from kerasgen.database import Database
    from kerasgen.downstream_tasks.elements import Elements
    from kerasgen.downstream_tasks.evaluation import Score
    from kerasgen.downstream_tasks.features import FeatureSet, PoolingRegions
    from kerasgen.downstream_tasks.folds import Folding
    from kerasgen.downstream_tasks.results import DownstreamResult, ModelRow
    from kerasgen.downstream_tasks.trees import Predicted

log = logging.getLogger("kerasgen")

_CONSTANT, _LENGTH, _DISTANCE = "constant", "length", "distance"

Matrix = tuple[np.ndarray, list[str]]
"""``(elements, features) float32`` and the features' names."""


class _Problem(NamedTuple):
    """What is to be predicted, and from what.

    Args:
        elements: with their labels.
        folding: their folds.
        matrices: feature set -> features.
        task: ``"classification"`` or ``"regression"``.
        base: feature set whose principal components are the baseline.
    """

    elements: Elements
    folding: Folding
    matrices: dict[str, Matrix]
    task: str
    base: str


class _Predictions(NamedTuple):
    """Predictions of every model, baselines first.

    Args:
        predicted: model -> predictions.
        columns: model -> number of features.
        pca: the model of principal components.
    """

    predicted: dict[str, Predicted]
    columns: dict[str, int]
    pca: str


@takes_settings
def downstream(
    tdb_array: TdbArray,
    labels: Annotated[
        str,
        Setting(
            "BED, BEDPE or tab-separated file with named columns, plain or gzipped: elements, or pairs of them, and "
            "their labels",
            group="elements and labels",
            metavar="FILE",
        ),
    ],
    out_prefix: Annotated[
        str,
        Setting(
            "P of P.scores.tsv (the table), P.scores.json (all scores, folds and settings), P.predictions.tsv (every "
            "element), P.importance.tsv and P.png",
            metavar="P",
        ),
    ],
    *,
    labelled: LabelSettings,
    chosen: FeatureSettings,
    folded: FoldSettings,
    baseline: BaselineSettings,
    trees: TreeSettings,
    seed: Seed = 1234,
    threads: Annotated[
        int | None,
        Setting(
            "number of tracks read at a time, and of threads of XGBoost (default: all cores)", unit="threads", least=1
        ),
    ] = None,
    title: Title = "",
) -> DownstreamResult:
    """Predict labels of genomic elements from tracks and embeddings, beside baselines.

    Each feature set is pooled over the elements (of a pair: both anchors and the region between, and the distance) and
    given to gradient-boosted trees. Elements are predicted fold by fold by models that learnt from other chromosomes,
    or from blocks further away than a gap. In the same table: a constant, the length (of a pair: the distance and the
    anchors' lengths) alone, and principal components of a feature set. Intervals are of 95%, by drawing blocks of
    neighbouring elements; they say what other elements might give, not what other training data might.

    Raises:
        InputError: labels, feature sets or settings that do not fit; too few elements in a fold; no XGBoost.
    """
    from db_ingest.cores import cores
    from kerasgen.database import Database
    from kerasgen.downstream_tasks import plots, results
    from kerasgen.downstream_tasks.elements import read_elements
    from kerasgen.downstream_tasks.features import check_pools, feature_sets, regions_of
    from kerasgen.downstream_tasks.folds import fold_elements
    from kerasgen.downstream_tasks.trees import check_learnable

    _require_xgboost()
    pools = [word for words in chosen.pool for word in words.split(",")]
    check_pools(pools)
    threads = threads or cores()
    trees.require_consistent()
    task = labelled.task
    files = results.files(out_prefix, labels)
    with Database(tdb_array) as database:
        sets = feature_sets(database, chosen.features, chosen.transformation)
        _check_names(sets, baseline.pca_of)
        elements = read_elements(labels, database.genome, labelled)
        folding = fold_elements(
            elements, task=task, folds=folded.folds, grouping=folded.group_by, gap=folded.gap, flank=chosen.flank
        )
        check_learnable(elements.label, folding, task)
        storage.require_writable(Path(out_prefix).parent)
        regions = regions_of(elements, bin=chosen.bin, flank=chosen.flank, parts=chosen.parts)
        matrices = _matrices(database, sets, regions, bin=chosen.bin, pools=pools, threads=threads)
    problem = _Problem(elements, folding, matrices, task, baseline.pca_of or sets[0].name)
    predictions = _predict(problem, trees, baseline.pca_components, seed=seed, threads=threads)
    result = results.DownstreamResult(
        task=task,
        elements=len(elements),
        positives=int(elements.label.sum()) if task == "classification" else None,
        folding=_words(elements, folding),
        rows=_rows(problem, predictions, draws=baseline.draws, seed=seed),
        files=files,
    )
    settings = {
        "tdb_array": tdb_array,
        "labels": str(labels),
        **labelled.flat(),
        **chosen.flat(),
        "features": {each.name: [f"{t.attribute}:{t.dataset}" for t in each.tracks] for each in sets},
        "transformation": [each.transformation for each in sets],
        "pool": pools,
        "folds": folded.folds,
        "group_by": folding.grouping,
        "gap": folding.gap,
        "trees": {**trees.flat(), "seed": seed, "threads": threads},
        "draws": baseline.draws,
        "seed": seed,
    }
    results.write(result, elements=elements, folding=folding, predicted=predictions.predicted, settings=settings)
    values = {name: each.values for name, each in predictions.predicted.items()}
    plots.draw(files[-1], title or Path(labels).name, result, elements.label, values)
    return result


def _predict(problem: _Problem, trees: TreeSettings, components: int, *, seed: int, threads: int) -> _Predictions:
    """Predict by every model; of a feature set, at most so many components are the baseline."""
    from kerasgen.downstream_tasks.trees import boosted, constant

    elements, folding, matrices = problem.elements, problem.folding, problem.matrices
    predicted = {_CONSTANT: constant(elements.label, folding)}
    columns = {_CONSTANT: 0}

    def learn(name: str, matrix: Matrix, components: int | None = None, kept: int = 0) -> None:
        values, names = matrix
        columns[name] = values.shape[1] if components is None else components + kept
        log.info("%s: %s features, %d folds", name, f"{columns[name]:,}", folding.count)
        predicted[name] = boosted(
            values, names, elements.label, folding, task=problem.task, trees=trees, seed=seed, threads=threads,
            components=components, kept=kept,
        )  # fmt: skip

    size = _size(elements)
    learn(_DISTANCE if elements.are_pairs else _LENGTH, size)
    fewest = min(int(folding.learning(fold).sum()) for fold in range(folding.count))
    components = min(components, matrices[problem.base][0].shape[1], fewest)
    kept = 0
    if elements.are_pairs:
        # The distance of a pair is known whatever the tracks say.
        kept = len(size[1])
        matrices = {name: (np.hstack([values, size[0]]), names + size[1]) for name, (values, names) in matrices.items()}
    pca = f"PCA {components} of {problem.base}"
    learn(pca, matrices[problem.base], components, kept)
    for name, matrix in matrices.items():
        learn(name, matrix)
    return _Predictions(predicted, columns, pca)


def _rows(problem: _Problem, predictions: _Predictions, *, draws: int, seed: int) -> list[ModelRow]:
    from kerasgen.downstream_tasks import evaluation
    from kerasgen.downstream_tasks.results import ModelRow

    weights = evaluation.draw_weights(problem.folding, draws, seed)
    scores = {
        name: evaluation.scores(
            problem.elements.label, each.values, problem.folding, task=problem.task, weights=weights
        )
        for name, each in predictions.predicted.items()
    }
    return [
        ModelRow(
            model=name,
            kind="features" if name in problem.matrices else "baseline",
            features=predictions.columns[name],
            trees=float(np.mean(each.rounds)) if each.rounds else 0.0,
            scores=scores[name],
            over=_over(scores[name], scores[predictions.pca]),
        )
        for name, each in predictions.predicted.items()
    ]


def _require_xgboost() -> None:
    import importlib.util

    if importlib.util.find_spec("xgboost") is None:
        raise InputError("XGBoost is not installed; expected it from pip install 'kerasgen[downstream]'")


def _size(elements: Elements) -> Matrix:
    """What is known of elements without any track: bp between the anchors' middles, and lengths in bp."""
    lengths = elements.end - elements.start
    if not elements.are_pairs:
        return lengths.astype(np.float32), ["length"]
    middle = (elements.start + elements.end) / 2
    columns = np.column_stack([np.abs(middle[:, 1] - middle[:, 0]), lengths])
    return columns.astype(np.float32), ["distance", "anchor1.length", "anchor2.length"]


def _matrices(
    database: Database,
    sets: Sequence[FeatureSet],
    regions: PoolingRegions,
    *,
    bin: int,
    pools: Sequence[str],
    threads: int,
) -> dict[str, Matrix]:
    """Features of each set; a track that several sets have is read once for each transformation."""
    from kerasgen.downstream_tasks.features import pooled

    matrices: dict[str, Matrix] = {}
    for kind in dict.fromkeys(each.transformation for each in sets):
        alike = [each for each in sets if each.transformation == kind]
        tracks = list({(t.attribute, t.dataset): t for each in alike for t in each.tracks}.values())
        values, names = pooled(database, tracks, regions, bin=bin, pools=pools, transformation=kind, threads=threads)
        width = len(names) // len(tracks)
        first = {(t.attribute, t.dataset): i * width for i, t in enumerate(tracks)}
        for each in alike:
            columns = [first[t.attribute, t.dataset] + i for t in each.tracks for i in range(width)]
            matrices[each.name] = values[:, columns], [names[i] for i in columns]
    for name, (values, _) in matrices.items():
        without = int(np.isnan(values).all(axis=1).sum())
        if without == len(values):
            raise InputError(f"--features {name}: no element has a value in its tracks; expected some to")
        if without:
            log.warning("warning: %s: %s of %s elements have no value", name, f"{without:,}", f"{len(values):,}")
    return {each.name: matrices[each.name] for each in sets}


def _check_names(sets: Sequence[FeatureSet], pca_of: str | None) -> None:
    for each in sets:
        if each.name in (_CONSTANT, _LENGTH, _DISTANCE) or each.name.startswith("PCA "):
            raise InputError(f"--features {each.name}=...: a baseline has this name; expected another")
    if pca_of is not None and pca_of not in [each.name for each in sets]:
        raise InputError(f"--pca_of {pca_of}: expected a feature set, {', '.join(each.name for each in sets)}")


def _over(scores: dict[str, Score], base: dict[str, Score]) -> dict[str, tuple[float, float, float]]:
    from kerasgen.downstream_tasks.evaluation import percentiles

    return {
        name: (score.value - base[name].value, *percentiles(score.draws - base[name].draws))
        for name, score in scores.items()
    }


def _words(elements: Elements, folding: Folding) -> str:
    chromosomes = len(np.unique(elements.chromosome))
    if folding.grouping == "chromosome":
        how = f"{folding.count} folds of whole chromosomes ({chromosomes})"
    else:
        how = f"{folding.count} folds of neighbouring elements on {chromosomes} chromosome(s), {folding.gap:,} bp apart"
    return f"{how}; intervals from draws of {int(folding.block.max()) + 1} blocks"
