"""The table of a comparison, and the files it is written to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError

if TYPE_CHECKING:
    from kerasgen.downstream_tasks.elements import Elements
    from kerasgen.downstream_tasks.evaluation import Score
    from kerasgen.downstream_tasks.folds import Folding
    from kerasgen.downstream_tasks.trees import Predicted

_FILES = ("scores.tsv", "scores.json", "predictions.tsv", "importance.tsv", "png")


class ModelRow(NamedTuple):
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
    rows: list[ModelRow]
    files: list[Path]


def files(out_prefix: str, labels: str) -> list[Path]:
    """The files that a run writes.

    Raises:
        InputError: one of them is the file of labels.
    """
    paths = [Path(f"{out_prefix}.{kind}") for kind in _FILES]
    for path in paths:
        if path.resolve() == Path(labels).resolve():
            raise InputError(f"--out_prefix {out_prefix}: {path} holds the labels; expected another prefix")
    return paths


def write(
    result: DownstreamResult,
    *,
    elements: Elements,
    folding: Folding,
    predicted: dict[str, Predicted],
    settings: dict[str, Any],
) -> None:
    """Write a result's files but the plot, each whole or not at all.

    Args:
        result: the table, and the paths of :func:`files`.
        elements: with their labels.
        folding: their folds.
        predicted: model -> predictions.
        settings: all that was chosen, as plain data.
    """
    scores, document, predictions, importance, _ = result.files
    storage.replace_bytes(scores, _table(result).encode())
    described = _document(result, elements, folding, predicted, settings)
    storage.replace_bytes(document, json.dumps(described, indent=1).encode())
    storage.replace_bytes(predictions, _predictions(elements, folding, predicted).encode())
    storage.replace_bytes(importance, _importance(predicted).encode())


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
    values = np.column_stack([each.values for each in predicted.values()])
    for i in range(len(elements)):
        chromosome = names[elements.chromosome[i]]
        anchors = [f"{chromosome}\t{s}\t{e}" for s, e in zip(elements.start[i], elements.end[i], strict=True)]
        cells = [*anchors, str(elements.name[i]), str(elements.line[i]), f"{elements.label[i]:.6g}",
                 str(folding.fold[i] + 1), *(f"{value:.6g}" for value in values[i])]  # fmt: skip
        lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"


def _importance(predicted: dict[str, Predicted]) -> str:
    lines = ["model\tfeature\tshare_of_gain"]
    for model, each in predicted.items():
        ranked = sorted(each.importance.items(), key=lambda item: -item[1])
        lines += [f"{model}\t{feature}\t{share:.4f}" for feature, share in ranked]
    return "\n".join(lines) + "\n"
