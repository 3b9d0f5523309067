"""Mean and spread of each track, and a guess at those of a track that was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kerasgen.track_models.binned import Pair

Scale = tuple[float, float]
"""Mean and standard deviation of a track's bins."""

_PART, _TOGETHER, _NOISE = 1.0, 0.5, 0.1
"""Variances of what a cell type has of its own, and likewise an assay; of what it has in assays that look alike; of
what a track has of its own."""

_FULL = 2.0  # Noise alone keeps the same assay in two cell types at a correlation of about a half.


def measure(values: np.ndarray) -> Scale:
    """Mean and standard deviation of one track, ``(bins,)``; NaN is left out."""
    known = values[~np.isnan(values)].astype(np.float64)
    return float(known.mean()), float(known.std()) or 1.0


def likeness(values: np.ndarray, pairs: Sequence[Pair]) -> dict[tuple[str, str], float]:
    """How alike two assays are: their tracks' correlation, mean over the cell types that have both.

    Args:
        values: ``(tracks, bins)``; at most ``100,000`` bins, evenly spread, are looked at.
        pairs: cell type and assay of each track.

    Returns:
        (assay, assay) to -1 to 1; those that no cell type has both of are left out.
    """
    few = values[:, :: max(1, values.shape[1] // 100_000)].astype(np.float64)
    few = few - np.nanmean(few, axis=1, keepdims=True)
    few = np.nan_to_num(few / np.maximum(np.nanstd(few, axis=1, keepdims=True), 1e-9))
    correlations: dict[tuple[str, str], list[float]] = {}
    for i, (celltype, assay) in enumerate(pairs):
        for j, (other, another) in enumerate(pairs):
            if celltype == other and assay != another:
                correlations.setdefault((assay, another), []).append(float((few[i] * few[j]).mean()))
    return {key: float(np.mean(each)) for key, each in correlations.items()}


def guess(
    scales: Mapping[Pair, Scale], celltype: str, assay: str, alike: Mapping[tuple[str, str], float] | None = None
) -> Scale:
    """Guess mean and spread of a track that was not measured, from its cell type's and its assay's other tracks.

    The logarithm of the spread is taken as a sum of a cell type's part, an assay's part and a part of the cell type
    that assays share as far as they look alike, all normal around the mean of the tracks there are (kriging); so is the
    mean, in units of the spread.

    Args:
        scales: those of the tracks there are, with at least one of the cell type and one of the assay.
        celltype, assay: the track wanted.
        alike: what :func:`likeness` gave.
    """

    def covariance(one: Pair, other: Pair) -> float:
        same = one[0] == other[0]
        likeness = _FULL * (alike or {}).get((one[1], other[1]), 0.0)
        shared = 1.0 if one[1] == other[1] else min(max(likeness, 0.0), 1.0)
        return _PART * same + _PART * (one[1] == other[1]) + _TOGETHER * same * shared

    wanted, pairs = (celltype, assay), list(scales)
    between = np.array([[covariance(one, other) for other in pairs] for one in pairs]) + _NOISE * np.eye(len(pairs))
    known = np.array([(mean / spread, np.log(spread)) for mean, spread in scales.values()])
    centre = known.mean(axis=0)
    weights = np.linalg.solve(between, np.array([covariance(wanted, pair) for pair in pairs]))
    ratio, log_spread = centre + weights @ (known - centre)
    spread = float(np.exp(log_spread))
    return float(ratio * spread), spread
