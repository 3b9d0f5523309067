"""How well labels are predicted, fold by fold, with intervals by drawing blocks of neighbours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kerasgen.downstream_tasks.folds import Folding

METRICS = {"classification": ("AP", "auROC"), "regression": ("R2", "Pearson")}
"""Measures of each task; the first is that of the plot's first panel."""

_AT_A_TIME = 2**22


class Score(NamedTuple):
    """A measure of one model.

    Args:
        value: mean over folds, weighted by their elements (R2: over all elements); NaN where it is not defined.
        folds: ``(folds,)``, of each.
        draws: ``(draws,)``, of the draws of blocks.
    """

    value: float
    folds: np.ndarray
    draws: np.ndarray

    @property
    def interval(self) -> tuple[float, float]:
        """2.5th and 97.5th percentile of the draws."""
        return percentiles(self.draws)


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """2.5th and 97.5th percentile of those that are defined."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def draw_weights(folding: Folding, draws: int, seed: int) -> np.ndarray:
    """How often each block is drawn: within a fold, as count blocks as it has, with replacement.

    Returns:
        ``(draws, blocks) int64``.
    """
    rng = np.random.default_rng(seed)
    weights = np.zeros((draws, int(folding.block.max()) + 1), np.int64)
    for fold in range(folding.count):
        blocks = np.unique(folding.block[folding.tested(fold)])
        weights[:, blocks] = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=draws)
    return weights


def scores(
    labels: np.ndarray, predicted: np.ndarray, folding: Folding, *, task: str, weights: np.ndarray
) -> dict[str, Score]:
    """Measures of predictions.

    AP (average precision, the step-wise area under the precision-recall curve), auROC and Pearson are computed in each
    fold and averaged: models of different folds need not agree on a scale. R2 is 1 minus the sum of squared errors of
    all elements over that about the mean label.

    Args:
        labels: ``(n,)``.
        predicted: ``(n,)``.
        folding: the folds.
        task: which measures.
        weights: what :func:`draw_weights` gave.

    Returns:
        By the names of :data:`METRICS`.
    """
    once = np.ones((1, weights.shape[1]), np.int64)
    measured: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {name: ([], []) for name in METRICS[task]}
    sizes = np.array([folding.tested(fold).sum() for fold in range(folding.count)])
    for fold in range(folding.count):
        rows = folding.tested(fold)
        measure = _Ranked if task == "classification" else _Paired
        of_fold = measure(labels[rows], predicted[rows], folding.block[rows])
        for name, (single, drawn) in measured.items():
            single.append(of_fold(name, once))
            drawn.append(of_fold(name, weights))
    result = {}
    for name, (single, drawn) in measured.items():
        folds = np.concatenate(single)
        result[name] = Score(_mean(folds[:, None], sizes)[0], folds, _mean(np.stack(drawn), sizes))
    if task == "regression":
        result["R2"] = result["R2"]._replace(
            value=float(_r2(labels, predicted, folding.block, once)[0]),
            draws=_r2(labels, predicted, folding.block, weights),
        )
    return result


def _mean(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Mean over folds, ``(folds, draws)`` to ``(draws,)``, of those where the measure is defined."""
    known = np.isfinite(values)
    weight = known * sizes[:, None]
    total = weight.sum(axis=0)
    return np.where(total > 0, (np.where(known, values, 0) * weight).sum(axis=0) / np.maximum(total, 1), np.nan)


class _Ranked:
    """Average precision and area under the ROC curve of one fold, for elements drawn any number of times."""

    def __init__(self, labels: np.ndarray, predicted: np.ndarray, block: np.ndarray) -> None:
        order = np.argsort(-predicted, kind="stable")
        self._positive, self._block = labels[order] == 1, block[order]
        ranked = predicted[order]
        # Elements with the same prediction come at the same threshold.
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))

    def __call__(self, name: str, weights: np.ndarray) -> np.ndarray:
        step = max(1, _AT_A_TIME // len(self._positive))
        measure = self._average_precision if name == "AP" else self._auroc
        return np.concatenate([measure(weights[i : i + step]) for i in range(0, len(weights), step)])

    def _counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positives and negatives down to each threshold, ``(draws, thresholds)``."""
        drawn = weights[:, self._block].astype(np.float64)
        positive = np.cumsum(drawn * self._positive, axis=1)[:, self._last]
        negative = np.cumsum(drawn * ~self._positive, axis=1)[:, self._last]
        return positive, negative

    def _average_precision(self, weights: np.ndarray) -> np.ndarray:
        positive, negative = self._counts(weights)
        new = np.diff(positive, axis=1, prepend=0)
        area = (new * positive / np.maximum(positive + negative, 1)).sum(axis=1)
        total = positive[:, -1]
        return np.where(total > 0, area / np.maximum(total, 1), np.nan)

    def _auroc(self, weights: np.ndarray) -> np.ndarray:
        positive, negative = self._counts(weights)
        above = np.concatenate([np.zeros((len(weights), 1)), positive[:, :-1]], axis=1)
        area = (np.diff(negative, axis=1, prepend=0) * (above + positive) / 2).sum(axis=1)
        pairs = positive[:, -1] * negative[:, -1]
        return np.where(pairs > 0, area / np.maximum(pairs, 1), np.nan)


class _Paired:
    """R2 and Pearson correlation of one fold, for elements drawn any number of times."""

    def __init__(self, labels: np.ndarray, predicted: np.ndarray, block: np.ndarray) -> None:
        self._labels, self._predicted, self._block = labels, predicted, block

    def __call__(self, name: str, weights: np.ndarray) -> np.ndarray:
        measure = _r2 if name == "R2" else _pearson
        return measure(self._labels, self._predicted, self._block, weights)


def _by_block(block: np.ndarray, blocks: int, *columns: np.ndarray) -> np.ndarray:
    """Sums of each block, ``(blocks, columns)``: all that a draw needs to know of its elements."""
    return np.column_stack([np.bincount(block, column, minlength=blocks) for column in columns])


def _r2(labels: np.ndarray, predicted: np.ndarray, block: np.ndarray, weights: np.ndarray) -> np.ndarray:
    centred = labels - labels.mean()
    sums = weights @ _by_block(block, weights.shape[1], np.ones(len(labels)), centred, centred**2,
                               (labels - predicted) ** 2)  # fmt: skip
    count, total, squares, error = sums.T
    spread = squares - total**2 / np.maximum(count, 1)
    return np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1), np.nan)


def _pearson(labels: np.ndarray, predicted: np.ndarray, block: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if (predicted == predicted[0]).all():
        return np.full(len(weights), np.nan)
    a, b = labels - labels.mean(), predicted - predicted.mean()
    sums = weights @ _by_block(block, weights.shape[1], np.ones(len(a)), a, b, a * a, b * b, a * b)
    count, sa, sb, saa, sbb, sab = sums.T
    count = np.maximum(count, 1)
    scale = (saa - sa**2 / count) * (sbb - sb**2 / count)
    return np.where(scale > 0, (sab - sa * sb / count) / np.sqrt(np.where(scale > 0, scale, 1)), np.nan)
