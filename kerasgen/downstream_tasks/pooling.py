"""Values of bins pooled over regions: the loop."""

from __future__ import annotations

import numba
import numpy as np

RUN = 64
"""Bins that are pooled once for all spans that hold them all."""


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _pool(values, begin, end):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Number, sum and sum of squares of the bins with a value, the least of them and the largest."""
    count, total, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
    for i in range(begin, end):
        value = np.float64(values[i])
        if value == value:
            count += 1
            total += value
            squares += value * value
            low = min(low, value)
            high = max(high, value)
    return count, total, squares, low, high


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def accumulate(values, first, last, count, total, squares, low, high):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add the bins of each span to what is known of it; bins without a value are left out.

    Long spans overlap: whole runs of bins are pooled once, so that a span takes time for its ends and its runs.

    Args:
        values: ``(bins,) float32``, NaN where there is none.
        first, last: ``(spans,) int64``, half-open; a span may begin before the bins or go on after them.
        count: ``(spans,) int64``, bins with a value.
        total, squares, low, high: ``(spans,) float64``: their sum, the sum of their squares, the least, the largest.
    """
    runs = len(values) // RUN
    run_count, run_total, run_squares = np.empty(runs, np.int64), np.empty(runs), np.empty(runs)
    run_low, run_high = np.empty(runs), np.empty(runs)
    for i in range(runs):
        pooled = _pool(values, i * RUN, (i + 1) * RUN)
        run_count[i], run_total[i], run_squares[i], run_low[i], run_high[i] = pooled
    for i in range(len(first)):
        begin, end = max(first[i], 0), min(last[i], len(values))
        if begin >= end:
            continue
        # The runs that lie within, and what is left of the span before and after them.
        low_run = (begin + RUN - 1) // RUN
        high_run = max(end // RUN, low_run)
        border = min(low_run * RUN, end)
        n, t, s, least, most = _pool(values, begin, border)
        for run in range(low_run, high_run):
            n += run_count[run]
            t += run_total[run]
            s += run_squares[run]
            least = min(least, run_low[run])
            most = max(most, run_high[run])
        after = _pool(values, max(high_run * RUN, border), end)
        count[i] += n + after[0]
        total[i] += t + after[1]
        squares[i] += s + after[2]
        low[i] = min(low[i], least, after[3])
        high[i] = max(high[i], most, after[4])
