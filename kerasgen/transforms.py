"""What happens to values on the way into a batch: aggregation over positions, then a transformation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

AGGREGATIONS = {"sum": "SUM", "average": "MEAN", "max": "MAX", "binary_max": "MAX"}
"""Aggregations over the positions of a window or bin, by the words of the command line; each is the constant of
:mod:`kerasgen.loader.kernels` that computes it (``binary_max`` is whether the maximum is above 0). Positions without a
value (NaN) are left out; where none has a value the result is NaN."""

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


def transform(values: np.ndarray, transformation: str, pseudocount: float) -> np.ndarray:
    """Transform values element by element.

    Args:
        values: ``(batch, positions, channels)`` or ``(batch, channels) float32``; NaN where there is no value.
        transformation: a name of :data:`TRANSFORMATIONS`.
        pseudocount: added before a logarithm.

    Returns:
        The same shape, float32.
    """
    return TRANSFORMATIONS[transformation](values, pseudocount).astype(np.float32, copy=False)
