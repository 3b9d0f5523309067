"""Labels of genomic elements predicted from tracks and embeddings, beside baselines: what ``gen_downstream`` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError

if TYPE_CHECKING:
    from kerasgen.database import Database
    from kerasgen.downstream_tasks.elements import Elements
    from kerasgen.downstream_tasks.evaluation import Score
    from kerasgen.downstream_tasks.features import FeatureSet, Spans
    from kerasgen.downstream_tasks.folds import Folding
    from kerasgen.downstream_tasks.results import DownstreamResult, Row
    from kerasgen.downstream_tasks.trees import Predicted, Trees

log = logging.getLogger("kerasgen")

_CONSTANT, _LENGTH, _DISTANCE = "constant", "length", "distance"

Matrix = tuple[np.ndarray, list[str]]
"""``(elements, features) float32`` and the features' names."""


def downstream(
    tdb_array: str,
    labels: str,
    out_prefix: str,
    *,
    task: str = "classification",
    label_column: str | None = None,
    layout: str = "auto",
    label_threshold: float | None = None,
    label_transformation: str | None = None,
    chroms: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    transformation: Sequence[str] = ("None",),
    bin: int = 25,
    pool: Sequence[str] = ("mean", "max"),
    flank: int = 0,
    parts: int = 1,
    folds: int = 5,
    group_by: str = "auto",
    gap: int = 10_000,
    pca_of: str | None = None,
    pca_components: int = 10,
    rounds: int = 5000,
    patience: int = 20,
    max_depth: int = 4,
    learning_rate: float = 0.05,
    draws: int = 1000,
    seed: int = 1234,
    threads: int | None = None,
    title: str = "",
) -> DownstreamResult:
    """Predict labels of genomic elements from tracks and embeddings, beside baselines.

    Each feature set is pooled over the elements (of a pair: both anchors and the region between, and the distance) and
    given to gradient-boosted trees. Elements are predicted fold by fold by models that learnt from other chromosomes,
    or from blocks further away than a gap. In the same table: a constant, the length (of a pair: the distance and the
    anchors' lengths) alone, and principal components of a feature set. Intervals are of 95%, by drawing blocks of
    neighbouring elements; they say what other elements might give, not what other training data might.

    Args:
        tdb_array: the database.
        labels: BED, BEDPE or table of elements; see :func:`kerasgen.downstream_tasks.elements.read_elements`.
        out_prefix: ``P`` of ``P.scores.tsv`` (the table), ``P.scores.json`` (all scores, folds and settings),
            ``P.predictions.tsv`` (every element), ``P.importance.tsv`` and ``P.png``.
        task: ``"classification"`` or ``"regression"``.
        label_column: column of the labels, by name or by number from 1.
        layout: ``"auto"``, ``"bed"`` or ``"bedpe"``.
        label_threshold: labels from here on are the positive class.
        label_transformation: ``"log"``, ``"log10"`` or ``"asinh"`` of labels of a regression.
        chroms: chromosomes whose elements are used.
        features: feature sets; see :func:`kerasgen.downstream_tasks.features.feature_sets`.
        transformation: of bins before they are pooled, ``"arcsinh"`` or ``"None"``; of each set, or one of all.
        bin: bp a bin.
        pool: how a region's bins become one number: any of mean, max, min, std.
        flank: bp added at both sides of each element or anchor.
        parts: equal parts of each region that are pooled one by one, in the direction of the element.
        folds: their number.
        group_by: ``"auto"``, ``"chromosome"`` or ``"block"``; see :func:`.fold_elements`.
        gap: with blocks, bp around what is held out that is not learnt from.
        pca_of: feature set whose components are the baseline (default: the first).
        pca_components: their number at most.
        rounds, patience, max_depth, learning_rate: see :class:`kerasgen.downstream_tasks.trees.Trees`.
        draws: draws of blocks for the intervals.
        seed: of trees and draws.
        threads: tracks read at a time, and threads of XGBoost (default: all cores).
        title: heading of the plot.

    Raises:
        InputError: labels, feature sets or settings that do not fit; too few elements in a fold; no XGBoost.
    """
    from db_ingest.cores import cores
    from kerasgen.database import Database
    from kerasgen.downstream_tasks import results
    from kerasgen.downstream_tasks.elements import read_elements
    from kerasgen.downstream_tasks.features import check_pools, feature_sets, spans_of
    from kerasgen.downstream_tasks.folds import fold_elements
    from kerasgen.downstream_tasks.trees import Trees, check_learnable

    _require_xgboost()
    pools = [word for words in pool for word in words.split(",")]
    check_pools(pools)
    many = threads or cores()
    trees = Trees(rounds, patience, max_depth, learning_rate, seed, many)
    trees.check()
    for name, value in {"parts": parts, "pca_components": pca_components, "draws": draws, "bin": bin}.items():
        if value < 1:
            raise InputError(f"--{name} {value}: expected 1 or more")
    files = results.files(out_prefix, labels)
    with Database(tdb_array) as database:
        sets = feature_sets(database, features, transformation)
        _check_names(sets, pca_of)
        elements = read_elements(
            labels, database.genome, task=task, label_column=label_column, layout=layout,
            label_threshold=label_threshold, label_transformation=label_transformation, chroms=chroms,
        )  # fmt: skip
        folding = fold_elements(elements, task=task, folds=folds, grouping=group_by, gap=gap, flank=flank)
        check_learnable(elements.label, folding, task)
        storage.require_writable(Path(out_prefix).parent)
        spans = spans_of(elements, bin=bin, flank=flank, parts=parts)
        matrices = _matrices(database, sets, spans, bin=bin, pools=pools, threads=many)
    predicted, columns, pca = _predict(
        elements, folding, matrices, task=task, trees=trees, base=pca_of or sets[0].name, components=pca_components
    )
    result = results.DownstreamResult(
        task=task,
        elements=len(elements),
        positives=int(elements.label.sum()) if task == "classification" else None,
        folding=_words(elements, folding),
        rows=_rows(elements, folding, predicted, columns, pca, set(matrices), task=task, draws=draws, seed=seed),
        files=files,
    )
    settings = {
        "tdb_array": tdb_array, "labels": str(labels), "task": task, "label_column": label_column, "layout": layout,
        "label_threshold": label_threshold, "label_transformation": label_transformation,
        "chroms": list(chroms) if chroms else None,
        "features": {one.name: [f"{t.attribute}:{t.dataset}" for t in one.tracks] for one in sets},
        "transformation": [one.transformation for one in sets], "bin": bin, "pool": pools, "flank": flank,
        "parts": parts, "folds": folds, "group_by": folding.grouping, "gap": folding.gap, "trees": trees._asdict(),
        "draws": draws, "seed": seed,
    }  # fmt: skip
    results.write(
        result, title=title or Path(labels).name, elements=elements, folding=folding, predicted=predicted,
        settings=settings,
    )  # fmt: skip
    return result


def _predict(
    elements: Elements,
    folding: Folding,
    matrices: dict[str, Matrix],
    *,
    task: str,
    trees: Trees,
    base: str,
    components: int,
) -> tuple[dict[str, Predicted], dict[str, int], str]:
    """Predictions of every model, baselines first, the number of features of each, and which is the PCA."""
    from kerasgen.downstream_tasks.trees import boosted, constant

    predicted = {_CONSTANT: constant(elements.label, folding)}
    columns = {_CONSTANT: 0}

    def learn(name: str, matrix: Matrix, components: int | None = None, kept: int = 0) -> None:
        values, names = matrix
        columns[name] = values.shape[1] if components is None else components + kept
        log.info("%s: %s features, %d folds", name, f"{columns[name]:,}", folding.count)
        predicted[name] = boosted(
            values, names, elements.label, folding, task=task, trees=trees, components=components, kept=kept
        )

    size = _size(elements)
    learn(_DISTANCE if elements.are_pairs else _LENGTH, size)
    fewest = min(int(folding.learning(fold).sum()) for fold in range(folding.count))
    components = min(components, matrices[base][0].shape[1], fewest)
    kept = 0
    if elements.are_pairs:
        # The distance of a pair is known whatever the tracks say.
        kept = len(size[1])
        matrices = {name: (np.hstack([one[0], size[0]]), one[1] + size[1]) for name, one in matrices.items()}
    pca = f"PCA {components} of {base}"
    learn(pca, matrices[base], components, kept)
    for name, matrix in matrices.items():
        learn(name, matrix)
    return predicted, columns, pca


def _rows(
    elements: Elements,
    folding: Folding,
    predicted: dict[str, Predicted],
    columns: dict[str, int],
    pca: str,
    sets: set[str],
    *,
    task: str,
    draws: int,
    seed: int,
) -> list[Row]:
    from kerasgen.downstream_tasks import evaluation
    from kerasgen.downstream_tasks.results import Row

    weights = evaluation.draw_weights(folding, draws, seed)
    scores = {
        name: evaluation.scores(elements.label, one.values, folding, task=task, weights=weights)
        for name, one in predicted.items()
    }
    return [
        Row(
            model=name,
            kind="features" if name in sets else "baseline",
            features=columns[name],
            trees=float(np.mean(one.rounds)) if one.rounds else 0.0,
            scores=scores[name],
            over=_over(scores[name], scores[pca]),
        )
        for name, one in predicted.items()
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
    database: Database, sets: Sequence[FeatureSet], spans: Spans, *, bin: int, pools: Sequence[str], threads: int
) -> dict[str, Matrix]:
    """Features of each set; a track that several sets have is read once for each transformation."""
    from kerasgen.downstream_tasks.features import pooled

    matrices: dict[str, Matrix] = {}
    for kind in dict.fromkeys(one.transformation for one in sets):
        alike = [one for one in sets if one.transformation == kind]
        tracks = list({(t.attribute, t.dataset): t for one in alike for t in one.tracks}.values())
        values, names = pooled(database, tracks, spans, bin=bin, pools=pools, transformation=kind, threads=threads)
        width = len(names) // len(tracks)
        first = {(t.attribute, t.dataset): i * width for i, t in enumerate(tracks)}
        for one in alike:
            at = [first[t.attribute, t.dataset] + i for t in one.tracks for i in range(width)]
            matrices[one.name] = values[:, at], [names[i] for i in at]
    for name, (values, _) in matrices.items():
        without = int(np.isnan(values).all(axis=1).sum())
        if without == len(values):
            raise InputError(f"--features {name}: no element has a value in its tracks; expected some to")
        if without:
            log.warning("warning: %s: %s of %s elements have no value", name, f"{without:,}", f"{len(values):,}")
    return {one.name: matrices[one.name] for one in sets}


def _check_names(sets: Sequence[FeatureSet], pca_of: str | None) -> None:
    for one in sets:
        if one.name in (_CONSTANT, _LENGTH, _DISTANCE) or one.name.startswith("PCA "):
            raise InputError(f"--features {one.name}=...: a baseline has this name; expected another")
    if pca_of is not None and pca_of not in [one.name for one in sets]:
        raise InputError(f"--pca_of {pca_of}: expected a feature set, {', '.join(one.name for one in sets)}")


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
