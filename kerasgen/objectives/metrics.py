"""Agreement of what a model expects with what was observed, in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def pearson(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    """Pearson correlation along an axis; NaN where either is constant."""
    a = np.asarray(a, np.float64) - np.mean(a, axis=axis, keepdims=True, dtype=np.float64)
    b = np.asarray(b, np.float64) - np.mean(b, axis=axis, keepdims=True, dtype=np.float64)
    scale = np.sqrt((a * a).sum(axis=axis) * (b * b).sum(axis=axis))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, (a * b).sum(axis=axis) / scale, np.nan)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman rank correlation of two vectors; ties share their mean rank."""
    from scipy.stats import rankdata

    return float(pearson(rankdata(a), rankdata(b)))


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon distance (the square root of the divergence, natural logarithm) along the last axis.

    Args:
        p, q: ``(..., length)`` non-negative; each is scaled to sum 1. NaN where either sums to 0.
    """
    from scipy.special import rel_entr

    with np.errstate(invalid="ignore", divide="ignore"):
        p = p / p.sum(axis=-1, keepdims=True, dtype=np.float64)
        q = q / q.sum(axis=-1, keepdims=True, dtype=np.float64)
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=-1) / 2
    return np.sqrt(np.maximum(divergence, 0))


def multinomial_nll(counts: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Negative log probability of counts under a multinomial, its coefficient included, along the last axis.

    Args:
        counts: ``(..., length)``.
        logits: ``(..., length)``, not normalised.
    """
    from scipy.special import gammaln, log_softmax

    counts = np.asarray(counts, np.float64)
    coefficient = gammaln(counts.sum(axis=-1) + 1) - gammaln(counts + 1).sum(axis=-1)
    return -coefficient - (counts * log_softmax(np.asarray(logits, np.float64), axis=-1)).sum(axis=-1)


def normalised_jensen_shannon(counts: np.ndarray, profile: np.ndarray) -> np.ndarray:
    """1 - JSD / JSD of a flat profile along the last axis: 1 is perfect, 0 no better than flat.

    Args:
        counts, profile: as in :func:`jensen_shannon`.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - jensen_shannon(counts, profile) / jensen_shannon(counts, np.full(profile.shape[-1], 1.0))


def mse(labels: np.ndarray, expected: np.ndarray) -> float:
    """Mean squared error of two vectors."""
    return float(np.mean((labels.astype(np.float64) - expected) ** 2))


def poisson_deviance(labels: np.ndarray, expected: np.ndarray) -> float:
    """Mean Poisson deviance of counts, twice the log likelihood that is lost; 0 is perfect.

    Args:
        labels: ``(n,)`` counts.
        expected: ``(n,)``, above 0 where the count is.
    """
    from scipy.special import xlogy

    labels, expected = np.asarray(labels, np.float64), np.asarray(expected, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = xlogy(labels, labels / expected) - labels + expected
    return float(2 * np.mean(np.where((labels == 0) & (expected == 0), 0.0, lost)))


def auroc(labels: np.ndarray, expected: np.ndarray) -> float:
    """Area under the receiver operating characteristic of 0/1 labels; NaN where all are equal."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, expected)) if len(np.unique(labels)) == 2 else float("nan")


def auprc(labels: np.ndarray, expected: np.ndarray) -> float:
    """Area under the precision-recall curve (average precision) of 0/1 labels; NaN where no label is 1."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, expected)) if np.any(labels) else float("nan")


def log_loss(labels: np.ndarray, expected: np.ndarray) -> float:
    """Mean cross-entropy of 0/1 labels and probabilities, in nats.

    Probabilities are kept at 2.2e-16 from 0 and from 1, as scikit-learn does, so that a miss costs 36 at most.
    """
    from scipy.special import xlog1py, xlogy

    labels, expected = np.asarray(labels, np.float64), np.asarray(expected, np.float64)
    smallest = np.finfo(np.float64).eps
    expected = np.clip(expected, smallest, 1 - smallest)
    return float(-np.mean(xlogy(labels, expected) + xlog1py(1 - labels, -expected)))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "pearson": pearson,
    "spearman": spearman,
    "mse": mse,
    "poisson_deviance": poisson_deviance,
    "jsd": jensen_shannon,
    "normalised_jsd": normalised_jensen_shannon,
    "mnll": multinomial_nll,
    "auroc": auroc,
    "auprc": auprc,
    "log_loss": log_loss,
}
"""Measures by name, of what was observed and what was expected of it (``mnll``: its logits).

Those of profiles are along the last axis, one number per profile; the others take vectors."""
