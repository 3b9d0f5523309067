"""Compiled loops over rows of genome factors, and over the tracks around a bin.

All let go of Python's lock. Positions come sorted, so that those that share a row of a coarser table follow each other.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_compiled: Any = numba.njit(nogil=True, cache=True)

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
RUN = 64
"""Bins whose sums begin anew: few enough that a float32 holds them to five digits of a bin."""
_FADED = 160  # Idle steps after which less than a float32's last digit of the momentum is left.


@_compiled
def catch_up(rows, table, first, second, last, step, rates):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Bring rows to where Adam on the whole table would have them before this step.

    A row without a gradient goes on moving by its momentum, and its moments fade. What many such steps add up to is one
    factor for the whole row, but for Adam's epsilon, which is taken not to grow against the fading second moment.

    Args:
        rows: ``(n,)`` sorted rows.
        table, first, second: ``(rows, factors) float32`` factors and moments.
        last: ``(rows,) int64`` the step that each row stands after; 0 for one that had no gradient yet.
        step: number of the step to come, from 1.
        rates: ``(step,) float64`` or more: the learning rate of each step that was taken, by its number.
    """
    before, known = -1, -1
    total, fade_1, fade_2 = 0.0, 1.0, 1.0
    for i in range(len(rows)):
        row = rows[i]
        if row == before:
            continue
        before = row
        if last[row] == 0 or last[row] >= step - 1:
            continue
        if last[row] != known:
            known = last[row]
            idle = step - 1 - known
            total, fade_1, fade_2 = _movement(known, idle, rates), BETA_1**idle, BETA_2**idle
        for k in range(table.shape[1]):
            table[row, k] -= total * first[row, k] / (np.sqrt(second[row, k]) + EPSILON)
            first[row, k] *= fade_1
            second[row, k] *= fade_2
        last[row] = step - 1


@_compiled
def _movement(last, idle, rates):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What ``idle`` steps of Adam without a gradient after step ``last`` add up to, in units of momentum / spread."""
    left_1, left_2, fade = BETA_1**last, BETA_2**last, BETA_1 / np.sqrt(BETA_2)
    total, power = 0.0, 1.0
    for number in range(min(idle, _FADED)):
        power *= fade
        left_1 *= BETA_1
        left_2 *= BETA_2
        total += rates[last + 1 + number] * power * np.sqrt(1 - left_2) / (1 - left_1)
    return total


@_compiled
def gather(rows, table, out, column):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write rows of a table into columns of a batch, from ``column`` on."""
    for i in range(len(rows)):
        for k in range(table.shape[1]):
            out[i, column + k] = table[rows[i], k]


@_compiled
def adam_rows(rows, gradient, column, table, first, second, last, step, rate, decay):  # type: ignore[no-untyped-def]  # pragma: no cover
    """One step of Adam on the rows that a batch touched; the gradients of a row's samples add up.

    Args:
        rows: ``(n,)`` sorted rows, one per sample.
        gradient: ``(n, columns) float32``; this table's begin at ``column``.
        table, first, second, last: as in :func:`catch_up`.
        step: number of this step, from 1.
        rate: the learning rate.
        decay: each touched factor shrinks by ``rate * decay`` of itself.
    """
    factors = table.shape[1]
    summed = np.zeros(factors, np.float32)
    correction = np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
    shrink = np.float32(1 - rate * decay)
    begin = 0
    while begin < len(rows):
        row, end = rows[begin], begin
        summed[:] = 0
        while end < len(rows) and rows[end] == row:
            for k in range(factors):
                summed[k] += gradient[end, column + k]
            end += 1
        for k in range(factors):
            g = summed[k]
            m = BETA_1 * first[row, k] + (1 - BETA_1) * g
            v = BETA_2 * second[row, k] + (1 - BETA_2) * g * g
            first[row, k], second[row, k] = m, v
            table[row, k] = shrink * table[row, k] - rate * correction * m / (np.sqrt(v) + EPSILON)
        last[row] = step
        begin = end


@_compiled
def prefix_sums(values, offset, spread, runs, sums, counted, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Sums of the bins before each, and numbers of those with a value; in two parts, which takes less memory.

    Args:
        values: ``(bins,) float32``, NaN where there is none.
        offset, spread: ``(value - offset) / spread`` is summed up.
        runs: ``(bins // RUN + 1,) float64`` to fill: the sum of all bins before a run of bins.
        sums: ``(bins + 1,) float32`` to fill: the sum of the bins before a bin in its run.
        counted, counts: the same of numbers of bins, ``int32`` and ``uint8``.
    """
    total, count = 0.0, 0
    total_before, count_before = 0.0, 0
    for i in range(len(values) + 1):
        if i % RUN == 0:
            total_before, count_before = total_before + total, count_before + count
            runs[i // RUN], counted[i // RUN] = total_before, count_before
            total, count = 0.0, 0
        sums[i], counts[i] = total, count
        if i < len(values) and not np.isnan(values[i]):
            total += (values[i] - offset) / spread
            count += 1


@_compiled
def _between(runs, sums, begin, end, row):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Sum of bins ``[begin, end)`` of a track, or number of those with a value."""
    within = np.float64(sums[end, row]) - np.float64(sums[begin, row])
    return within + (runs[end // RUN, row] - runs[begin // RUN, row])


@_compiled
def context(positions, low, high, celltype, assay, kept, windows, runs, sums, counted, counts, rows, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What the other tracks say about one bin of a track; :class:`.Context` has the columns.

    Args:
        positions: ``(n,) int64`` bins.
        low, high: ``(n,) int64`` where the bins' stretch begins and ends.
        celltype, assay: ``(n,)`` of the track asked for; it is left out.
        kept: ``(n, tracks) bool``, False for a track to do without; of no row if all are used.
        windows: ``(windows,) int64`` bins to each side.
        runs, sums, counted, counts: tables of :func:`prefix_sums`, one column per track.
        rows: ``(cell types, assays) int64`` where a track is in ``sums``, -1 for none.
        out: ``(n, columns) float32`` to fill.
    """
    scales, (celltypes, assays) = len(windows), rows.shape
    values, at_bin = np.empty((celltypes, assays)), np.empty(celltypes)
    distance = np.empty(celltypes)
    slots = 6 * scales
    for i in range(len(positions)):
        position, c, a = positions[i], celltype[i], assay[i]
        for k in range(scales):
            begin = max(position - windows[k], low[i])
            end = min(position + windows[k] + 1, high[i])
            for d in range(celltypes):
                for b in range(assays):
                    row = rows[d, b]
                    values[d, b] = np.nan
                    if row < 0 or (d == c and b == a) or (len(kept) > 0 and not kept[i, row]):
                        continue
                    count = _between(counted, counts, begin, end, row)
                    if count:
                        values[d, b] = _between(runs, sums, begin, end, row) / count
                if k == 0:
                    at_bin[d] = values[d, a]
            for b in range(assays):
                total, number, least, most, squares = 0.0, 0, np.inf, -np.inf, 0.0
                for d in range(celltypes):
                    value = values[d, b]
                    if d == c or np.isnan(value):
                        continue
                    total += value
                    number += 1
                    least, most, squares = min(least, value), max(most, value), squares + value * value
                own = values[c, b]
                has = not np.isnan(own)
                mean = total / number if number else (own if has else 0.0)
                at = slots + b * (2 * scales + 1)
                out[i, at + 2 * k] = mean
                out[i, at + 2 * k + 1] = own - mean if has else 0.0
                if k == 0:
                    out[i, at + 2 * scales] = has
                if b == a:
                    at = 6 * k
                    out[i, at] = mean
                    out[i, at + 1] = least if number else 0.0
                    out[i, at + 2] = most if number else 0.0
                    out[i, at + 3] = np.sqrt(max(squares / number - mean * mean, 0.0)) if number else 0.0
            _distances(values, c, a, distance)
            out[i, 6 * k + 4] = _nearest(values[:, a], distance, out[i, 6 * k])
            out[i, 6 * k + 5] = _nearest(at_bin, distance, out[i, 0])


@_compiled
def _distances(values, c, a, distance):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Mean square by which each cell type's other assays differ from those of ``c``; infinite where none is shared."""
    for d in range(len(values)):
        total, number = 0.0, 0
        if d != c:
            for b in range(values.shape[1]):
                difference = values[d, b] - values[c, b]
                if b != a and not np.isnan(difference):
                    total += difference * difference
                    number += 1
        distance[d] = total / number if number else np.inf


@_compiled
def _nearest(values, distance, otherwise):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Mean of values, those of near cell types counting more; the scale is the mean distance."""
    scale, number = 0.0, 0
    for d in range(len(values)):
        if not np.isnan(values[d]) and distance[d] < np.inf:
            scale += distance[d]
            number += 1
    if number == 0:
        return otherwise
    scale = max(scale / number, 1e-9)
    total, weights = 0.0, 0.0
    for d in range(len(values)):
        if not np.isnan(values[d]) and distance[d] < np.inf:
            weight = np.exp(-2 * distance[d] / scale)
            total += weight * values[d]
            weights += weight
    return total / max(weights, 1e-300)
