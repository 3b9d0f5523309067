"""Agreement of predicted and observed profiles and counts, in NumPy."""

from __future__ import annotations

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
