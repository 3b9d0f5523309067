"""Scores of heads whose measures take all labels of a task as one vector: counts per bin, and labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerasgen.objectives import metrics
from kerasgen.objectives.heads import Head

Scores = dict[str, dict[str, float | None]]
"""Source -> measure -> value; None: it is not a number."""


def number(value: float | np.ndarray) -> float | None:
    """A finite number, or None."""
    return float(value) if np.isfinite(value) else None


def measured(names: tuple[str, ...], observed: np.ndarray, expected: np.ndarray) -> dict[str, float | None]:
    """Measures of two vectors by their names."""
    return {name: number(metrics.METRICS[name](observed, expected)) for name in names}


def head_scores(
    head: Head,
    labels: np.ndarray,
    outputs: np.ndarray,
    rng: np.random.Generator,
    replicates: Sequence[np.ndarray] | None = None,
) -> Scores:
    """Score one channel of a head, over all samples and bins whose label is known.

    Args:
        head: of the output.
        labels, outputs: ``(n,)`` or ``(n, bins)``.
        rng: of the shuffled baseline.
        replicates: the labels of two replicates, each as ``labels``.

    Returns:
        Of the ``model`` and the baselines ``mean`` (the mean label for all), ``shuffled`` (another sample's prediction)
        and ``replicate`` (one taken as the prediction of the other); empty if fewer than two labels are known.
    """
    known = _known(head, labels)
    if known.sum() < 2:
        return {}
    # In float32, the probability of a logit of 18 is 1.
    observed, expected = labels[known], head.expected(outputs.astype(np.float64))
    shuffled = expected[rng.permutation(len(expected))]
    sources = {
        "model": expected[known],
        "mean": np.full(len(observed), observed.mean(dtype=np.float64)),
        "shuffled": shuffled[known],
    }
    scores = {source: measured(head.metrics, observed, values) for source, values in sources.items()}
    if replicates is not None:
        both = _known(head, replicates[0]) & _known(head, replicates[1])
        if both.sum() >= 2:
            scores["replicate"] = measured(head.metrics, *(each[both] for each in replicates))
    return scores


def _known(head: Head, labels: np.ndarray) -> np.ndarray:
    return labels >= 0 if head.kind == "labels" else ~np.isnan(labels)
