"""What happens to values on the way into a batch: aggregation over positions, then a transformation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _nan_reduce(reduce: Callable[..., np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    def run(values: np.ndarray) -> np.ndarray:
        missing = np.isnan(values)
        if not missing.any():
            return reduce(values, axis=1)
        nothing = missing.all(axis=1)
        neutral = -np.inf if reduce is np.max else 0.0
        filled = np.where(missing, neutral, values)
        result = reduce(filled, axis=1)
        if reduce is np.mean:
            result = filled.sum(axis=1) / np.maximum((~missing).sum(axis=1), 1)
        return np.where(nothing, np.nan, result).astype(values.dtype)

    return run


def _sum(values: np.ndarray, axis: int) -> np.ndarray:
    return values.sum(axis=axis, dtype=np.float64).astype(np.float32)


_sum_or_nan = _nan_reduce(_sum)
_max_or_nan = _nan_reduce(np.max)
_mean_or_nan = _nan_reduce(np.mean)

AGGREGATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sum": _sum_or_nan,
    "average": _mean_or_nan,
    "max": _max_or_nan,
    "binary_max": lambda values: np.where(np.isnan(m := _max_or_nan(values)), np.nan, m > 0).astype(np.float32),
}
"""``(batch, length, channels)`` -> ``(batch, channels)``. Positions without a value (NaN) are left out; where a whole
window has none the result is NaN."""

TRANSFORMATIONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "log": lambda values, pseudocount: np.log(values + pseudocount),
    "log10": lambda values, pseudocount: np.log10(values + pseudocount),
    "asinh": lambda values, pseudocount: np.arcsinh(values),
    "counts_to_logit": lambda values, pseudocount: _counts_to_logit(values, pseudocount),
}
"""Element by element; the second argument is the pseudocount added before a logarithm."""


def _counts_to_logit(values: np.ndarray, pseudocount: float) -> np.ndarray:
    """Log odds of each position's share of the window's counts, the pseudocount added to both sides."""
    total = np.nansum(values, axis=1, keepdims=True)
    return np.log((values + pseudocount) / (total - values + pseudocount))


def transform(
    values: np.ndarray, aggregation: str | None, transformation: str | None, pseudocount: float
) -> np.ndarray:
    """Aggregate over positions, then transform.

    Args:
        values: ``(batch, length, channels) float32``; NaN where there is no value.
        aggregation: a name of :data:`AGGREGATIONS`, or None to keep positions.
        transformation: a name of :data:`TRANSFORMATIONS`, or None.
        pseudocount: added before a logarithm.

    Returns:
        ``(batch, length, channels)`` or, aggregated, ``(batch, channels)``; float32.
    """
    if aggregation is not None:
        values = AGGREGATIONS[aggregation](values)
    if transformation is not None:
        values = TRANSFORMATIONS[transformation](values, pseudocount)
    return values.astype(np.float32, copy=False)
