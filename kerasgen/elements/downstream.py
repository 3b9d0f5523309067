"""Labels of genomic elements predicted from tracks and embeddings, beside baselines: what ``gen_downstream`` does."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError

if TYPE_CHECKING:
    from kerasgen.database import Database
    from kerasgen.elements.evaluation import Score
    from kerasgen.elements.features import FeatureSet, Spans
    from kerasgen.elements.folding import Folding
    from kerasgen.elements.learning import Predicted
    from kerasgen.elements.table import Elements

log = logging.getLogger("kerasgen")

CONSTANT = "constant"
_SIZES = ("length", "distance")


class Row(NamedTuple):
    """One model of the table.

    Args:
        model: ``constant``, ``length`` or ``distance``, ``PCA``..., or the name of a feature set.
        kind: ``baseline`` or ``features``.
        features: their number.
        trees: mean number of trees over folds.
        scores: measure -> score.
        over: measure -> difference from the PCA baseline and its interval, drawn together.
    """

    model: str
    kind: str
    features: int
    trees: float
    scores: dict[str, Score]
    over: dict[str, tuple[float, float, float]]


class DownstreamResult(NamedTuple):
    """What was found and written.

    Args:
        task: classification or regression.
        elements: their number.
        positives: elements of class 1; None in a regression.
        folding: how elements are divided, in words.
        rows: the table, baselines first.
        files: paths written.
    """

    task: str
    elements: int
    positives: int | None
    folding: str
    rows: list[Row]
    files: list[Path]


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
        labels: BED, BEDPE or table of elements; see :func:`kerasgen.elements.table.read_elements`.
        out_prefix: ``P`` of ``P.tsv`` (the table), ``P.json`` (all scores, folds and settings),
            ``P.predictions.tsv`` (every element), ``P.importance.tsv`` and ``P.png``.
        task: ``"classification"`` or ``"regression"``.
        label_column: column of the labels, by name or by number from 1.
        layout: ``"auto"``, ``"bed"`` or ``"bedpe"``.
        label_threshold: labels from here on are the positive class.
        label_transformation: ``"log"``, ``"log10"`` or ``"asinh"`` of labels of a regression.
        chroms: chromosomes whose elements are used.
        features: feature sets; see :func:`kerasgen.elements.features.feature_sets`.
        transformation: of bins before they are pooled, ``"arcsinh"`` or ``"None"``; of each set, or one of all.
        bin: bp a bin.
        pool: how a region's bins become one number: any of mean, max, min, std.
        flank: bp added at both sides of each element or anchor.
        parts: equal parts of each region that are pooled one by one, in the direction of the element.
        folds: their number.
        group_by: ``"auto"``, ``"chromosome"`` or ``"block"``; see :func:`kerasgen.elements.folding.fold_elements`.
        gap: with blocks, bp around what is held out that is not learnt from.
        pca_of: feature set whose components are the baseline (default: the first).
        pca_components: their number at most.
        rounds, patience, max_depth, learning_rate: see :class:`kerasgen.elements.learning.Trees`.
        draws: draws of blocks for the intervals.
        seed: of trees and draws.
        threads: tracks read at a time, and threads of XGBoost (default: all cores).
        title: heading of the plot.

    Raises:
        InputError: labels, feature sets or settings that do not fit; too few elements in a fold; no XGBoost.
    """
    from kerasgen.database import Database
    from kerasgen.elements import evaluation, plots
    from kerasgen.elements.features import check_pools, feature_sets, spans_of
    from kerasgen.elements.folding import fold_elements
    from kerasgen.elements.learning import Trees, boosted, check_learnable, constant
    from kerasgen.elements.table import read_elements

    _require_xgboost()
    many = threads or os.cpu_count() or 1
    trees = Trees(rounds, patience, max_depth, learning_rate, seed, many)
    trees.check()
    for name, value in {"parts": parts, "pca_components": pca_components, "draws": draws, "bin": bin}.items():
        if value < 1:
            raise InputError(f"--{name} {value}: expected 1 or more")
    pools = [word for words in pool for word in words.split(",")]
    with Database(tdb_array) as database:
        check_pools(pools)
        sets = feature_sets(database, features, transformation)
        _refuse_taken_names(sets)
        if pca_of is not None and pca_of not in [one.name for one in sets]:
            raise InputError(f"--pca_of {pca_of}: expected a feature set, {', '.join(one.name for one in sets)}")
        found = read_elements(
            labels, database.genome, task=task, label_column=label_column, layout=layout,
            label_threshold=label_threshold, label_transformation=label_transformation, chroms=chroms,
        )  # fmt: skip
        folding = fold_elements(found, task=task, folds=folds, grouping=group_by, gap=gap, flank=flank)
        check_learnable(found.label, folding, task)
        storage.require_writable(Path(out_prefix).parent)
        spans = spans_of(found, bin=bin, flank=flank, parts=parts)
        size, size_names = _size(found)
        matrices = _matrices(database, sets, spans, bin=bin, pools=pools, threads=many)

    predicted: dict[str, Predicted] = {}
    columns: dict[str, int] = {}

    def learn(name: str, values: np.ndarray, names: list[str], components: int | None = None) -> None:
        log.info("%s: %s features, %d folds", name, f"{values.shape[1]:,}", folds)
        columns[name] = values.shape[1] if components is None else components
        predicted[name] = boosted(values, names, found.label, folding, task=task, trees=trees, components=components)

    predicted[CONSTANT], columns[CONSTANT] = constant(found.label, folding), 0
    learn(_size_model(found), size, size_names)
    base = pca_of or sets[0].name
    components = min(pca_components, matrices[base][0].shape[1])
    pca = f"PCA {components} of {base}"
    learn(pca, *matrices[base], components)
    for name, (values, names) in matrices.items():
        # The distance of a pair is known whatever the tracks say.
        learn(name, *((np.hstack([values, size]), names + size_names) if found.are_pairs else (values, names)))

    weights = evaluation.draw_weights(folding, draws, seed)
    scores = {
        name: evaluation.scores(found.label, one.values, folding, task=task, weights=weights)
        for name, one in predicted.items()
    }
    rows = [
        Row(name, "features" if name in matrices else "baseline", columns[name],
            float(np.mean(one.rounds)) if one.rounds else 0.0, scores[name], _over(scores[name], scores[pca]))
        for name, one in predicted.items()
    ]  # fmt: skip
    settings = {
        "tdb_array": tdb_array, "labels": str(labels), "task": task, "label_column": label_column, "layout": layout,
        "label_threshold": label_threshold, "label_transformation": label_transformation,
        "chroms": list(chroms) if chroms else None,
        "features": {one.name: [f"{t.attribute}:{t.dataset}" for t in one.tracks] for one in sets},
        "transformation": [one.transformation for one in sets], "bin": bin, "pool": pools, "flank": flank,
        "parts": parts, "folds": folds, "group_by": folding.grouping, "gap": folding.gap, "trees": trees._asdict(),
        "draws": draws, "seed": seed,
    }  # fmt: skip
    result = DownstreamResult(
        task, len(found), int(found.label.sum()) if task == "classification" else None, _words(found, folding), rows, []
    )
    written = [
        _write(f"{out_prefix}.tsv", _table(result)),
        _write(f"{out_prefix}.json", json.dumps(_document(result, found, folding, predicted, settings), indent=1)),
        _write(f"{out_prefix}.predictions.tsv", _predictions(found, folding, predicted)),
        _write(f"{out_prefix}.importance.tsv", _importance(predicted)),
        plots.draw(Path(f"{out_prefix}.png"), title or Path(labels).name, result, found.label,
                   {name: one.values for name, one in predicted.items()}),
    ]  # fmt: skip
    return result._replace(files=written)


def _require_xgboost() -> None:
    import importlib.util

    if importlib.util.find_spec("xgboost") is None:
        raise InputError("XGBoost is not installed; expected it from pip install 'kerasgen[downstream]'")


def _size_model(elements: Elements) -> str:
    return _SIZES[int(elements.are_pairs)]


def _size(elements: Elements) -> tuple[np.ndarray, list[str]]:
    """What is known of elements without any track: bp between the anchors' middles, and lengths in bp."""
    lengths = elements.end - elements.start
    if not elements.are_pairs:
        return lengths.astype(np.float32), ["length"]
    middle = (elements.start + elements.end) / 2
    columns = np.column_stack([np.abs(middle[:, 1] - middle[:, 0]), lengths])
    return columns.astype(np.float32), ["distance", "anchor1.length", "anchor2.length"]


def _matrices(
    database: Database, sets: Sequence[FeatureSet], spans: Spans, *, bin: int, pools: Sequence[str], threads: int
) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Features of each set; a track that several sets have is read once for each transformation."""
    from kerasgen.elements.features import pooled

    matrices: dict[str, tuple[np.ndarray, list[str]]] = {}
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


def _refuse_taken_names(sets: Sequence[FeatureSet]) -> None:
    for one in sets:
        if one.name in (CONSTANT, *_SIZES) or one.name.startswith("PCA "):
            raise InputError(f"--features {one.name}=...: a baseline has this name; expected another")


def _over(scores: dict[str, Score], base: dict[str, Score]) -> dict[str, tuple[float, float, float]]:
    from kerasgen.elements.evaluation import percentiles

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


def _write(path: str, text: str) -> Path:
    storage.replace_bytes(path, text.encode())
    return Path(path)


def _table(result: DownstreamResult) -> str:
    names = list(result.rows[0].scores)
    header = ["model", "kind", "features", "trees"]
    for name in names:
        header += [name, f"{name}_low", f"{name}_high", f"{name}_over_pca", f"{name}_over_pca_low",
                   f"{name}_over_pca_high"]  # fmt: skip
    lines = ["\t".join(header)]
    for row in result.rows:
        cells = [row.model, row.kind, str(row.features), f"{row.trees:.0f}"]
        for name in names:
            numbers = (row.scores[name].value, *row.scores[name].interval, *row.over[name])
            cells += [f"{number:.4f}" for number in numbers]
        lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"


def _document(
    result: DownstreamResult, elements: Elements, folding: Folding, predicted: dict[str, Predicted], settings: Any
) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    folds = [
        {
            "chromosomes": [elements.genome.names[place] for place in np.unique(elements.chromosome[rows])],
            "elements": int(rows.sum()),
            "positives": int(elements.label[rows].sum()) if result.positives is not None else None,
            "learnt_from": int(folding.all_but(fold).sum()),
            "stopped_by": int(folding.stopping(fold).sum()),
        }
        for fold in range(folding.count)
        for rows in [folding.tested(fold)]
    ]
    models = [
        {
            "model": row.model,
            "kind": row.kind,
            "features": row.features,
            "trees": list(predicted[row.model].rounds),
            "scores": {
                name: {
                    "value": number(score.value),
                    "interval": [number(bound) for bound in score.interval],
                    "folds": [number(value) for value in score.folds],
                    "over_pca": [number(value) for value in row.over[name]],
                }
                for name, score in row.scores.items()
            },
        }
        for row in result.rows
    ]
    return {
        "settings": settings,
        "elements": result.elements,
        "positives": result.positives,
        "base_rate": None if result.positives is None else result.positives / result.elements,
        "folding": result.folding,
        "folds": folds,
        "models": models,
    }


def _predictions(elements: Elements, folding: Folding, predicted: dict[str, Predicted]) -> str:
    names = elements.genome.names
    places = ["start1", "end1", "chrom2", "start2", "end2"] if elements.are_pairs else ["start", "end"]
    first = "chrom1" if elements.are_pairs else "chrom"
    lines = ["\t".join([first, *places, "name", "line", "label", "fold", *predicted])]
    values = np.column_stack([one.values for one in predicted.values()])
    for i in range(len(elements)):
        chromosome = names[elements.chromosome[i]]
        anchors = [f"{chromosome}\t{s}\t{e}" for s, e in zip(elements.start[i], elements.end[i], strict=True)]
        cells = [*anchors, str(elements.name[i]), str(elements.line[i]), f"{elements.label[i]:.6g}",
                 str(folding.fold[i] + 1), *(f"{value:.6g}" for value in values[i])]  # fmt: skip
        lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"


def _importance(predicted: dict[str, Predicted]) -> str:
    lines = ["model\tfeature\tshare_of_gain"]
    for model, one in predicted.items():
        ranked = sorted(one.importance.items(), key=lambda item: -item[1])
        lines += [f"{model}\t{feature}\t{share:.4f}" for feature, share in ranked]
    return "\n".join(lines) + "\n"
