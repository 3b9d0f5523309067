"""Aggregations over positions in plain NumPy: what the loader's kernels are compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _over_known(reduce: Callable[..., np.ndarray], nothing: float) -> Callable[[np.ndarray], np.ndarray]:
    def run(values: np.ndarray) -> np.ndarray:
        missing = np.isnan(values)
        result = reduce(np.where(missing, nothing, values).astype(np.float64), axis=1, missing=missing)
        return np.where(missing.all(axis=1), np.nan, result).astype(np.float32)

    return run


def _mean(values: np.ndarray, axis: int, missing: np.ndarray) -> np.ndarray:
    return values.sum(axis=axis) / np.maximum((~missing).sum(axis=axis), 1)


PLAIN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sum": _over_known(lambda values, axis, missing: values.sum(axis=axis), 0.0),
    "average": _over_known(_mean, 0.0),
    "max": _over_known(lambda values, axis, missing: values.max(axis=axis), -np.inf),
    "binary_max": _over_known(lambda values, axis, missing: values.max(axis=axis) > 0, -np.inf),
}
"""``(batch, length, channels)`` -> ``(batch, channels)``. Positions without a value (NaN) are left out; where a whole
window has none the result is NaN."""
