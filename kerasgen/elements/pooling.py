"""Values of bins pooled over spans of them: the loop."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def accumulate(values, first, last, many, total, squares, low, high):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add the bins of each span to what is known of it; bins without a value are left out.

    Args:
        values: ``(bins,) float32``, NaN where there is none.
        first, last: ``(spans,) int64``, half-open; a span may begin before the bins or go on after them.
        many: ``(spans,) int64``, bins with a value.
        total, squares, low, high: ``(spans,) float64``: their sum, the sum of their squares, the least, the largest.
    """
    for i in range(len(first)):
        for value in values[max(first[i], 0) : max(min(last[i], len(values)), 0)]:
            if value == value:
                number = np.float64(value)
                many[i] += 1
                total[i] += number
                squares[i] += number * number
                low[i] = min(low[i], number)
                high[i] = max(high[i], number)
