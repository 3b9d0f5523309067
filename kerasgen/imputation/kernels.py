"""Compiled loops over rows of genome factors, and over the tracks around a bin.

All let go of Python's lock. Positions come sorted, so that those that share a row of a coarser table follow each other.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_compiled: Any = numba.njit(nogil=True, cache=True)

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


@_compiled
def catch_up(rows, table, first, second, last, step, rate):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Bring rows to where Adam on the whole table would have them before this step.

    A row without a gradient goes on moving by its momentum, and its moments fade. What many such steps add up to is one
    factor for the whole row, but for Adam's epsilon, which is taken not to grow against the fading second moment.

    Args:
        rows: ``(n,)`` sorted rows.
        table, first, second: ``(rows, factors) float32`` factors and moments.
        last: ``(rows,) int64`` the step that each row stands after; 0 for one that had no gradient yet.
        step: number of the step to come, from 1.
        rate: the learning rate.
    """
    fade = BETA_1 / np.sqrt(BETA_2)
    before = -1
    for i in range(len(rows)):
        row = rows[i]
        if row == before:
            continue
        before = row
        idle = step - 1 - last[row]
        if last[row] == 0 or idle <= 0:
            continue
        total, power = 0.0, 1.0
        for j in range(1, min(idle, 300) + 1):
            power *= fade
            at = last[row] + j
            total += power * np.sqrt(1 - BETA_2**at) / (1 - BETA_1**at)
        fade_1, fade_2 = BETA_1**idle, BETA_2**idle
        for k in range(table.shape[1]):
            table[row, k] -= rate * total * first[row, k] / (np.sqrt(second[row, k]) + EPSILON)
            first[row, k] *= fade_1
            second[row, k] *= fade_2
        last[row] = step - 1


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
        rows: ``(n,)`` sorted rows, one a sample.
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
def prefix_sums(values, sums, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Sums of the bins before each, and numbers of those with a value.

    Args:
        values: ``(bins,) float32``, NaN where there is none.
        sums: ``(bins + 1,) float64`` to fill.
        counts: ``(bins + 1,) int32`` to fill.
    """
    total, count = 0.0, 0
    sums[0], counts[0] = 0, 0
    for i in range(len(values)):
        if not np.isnan(values[i]):
            total += values[i]
            count += 1
        sums[i + 1], counts[i + 1] = total, count


@_compiled
def context(positions, low, high, celltype, assay, kept, windows, sums, counts, celltypes, assays, n_assays, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What the other tracks say of a track's bin: see :class:`kerasgen.imputation.context.Context` for the columns.

    Args:
        positions: ``(n,) int64`` bins.
        low, high: ``(n,) int64`` where the bins' stretch begins and ends.
        celltype, assay: ``(n,)`` of the track asked for; it is left out.
        kept: ``(n, tracks) bool``, False for a track to do without; of no row if all are used.
        windows: ``(windows,) int64`` bins to each side.
        sums, counts: ``(bins + 1, tracks)`` of :func:`prefix_sums`.
        celltypes, assays: ``(tracks,)`` of the tracks.
        n_assays: assays that the model knows.
        out: ``(n, columns) float32`` to fill.
    """
    tracks, scales = sums.shape[1], len(windows)
    total, number = np.empty(n_assays), np.empty(n_assays)
    own, has = np.empty(n_assays), np.empty(n_assays, np.bool_)
    slots = 4 * scales
    for i in range(len(positions)):
        position = positions[i]
        for k in range(scales):
            begin = max(position - windows[k], low[i])
            end = min(position + windows[k] + 1, high[i])
            total[:], number[:], own[:], has[:] = 0, 0, 0, False
            least, most, squares = np.inf, -np.inf, 0.0
            for t in range(tracks):
                count = counts[end, t] - counts[begin, t]
                if count == 0 or (len(kept) > 0 and not kept[i, t]):
                    continue
                value = (sums[end, t] - sums[begin, t]) / count
                b = assays[t]
                if celltypes[t] == celltype[i]:
                    if b != assay[i]:
                        own[b], has[b] = value, True
                    continue
                total[b] += value
                number[b] += 1
                if b == assay[i]:
                    least, most = min(least, value), max(most, value)
                    squares += value * value
            a = assay[i]
            mean = total[a] / number[a] if number[a] else 0.0
            out[i, 4 * k] = mean
            out[i, 4 * k + 1] = least if number[a] else 0.0
            out[i, 4 * k + 2] = most if number[a] else 0.0
            out[i, 4 * k + 3] = np.sqrt(max(squares / number[a] - mean * mean, 0.0)) if number[a] else 0.0
            for b in range(n_assays):
                at = slots + b * (2 * scales + 1)
                mean = total[b] / number[b] if number[b] else own[b]
                out[i, at + 2 * k] = mean
                out[i, at + 2 * k + 1] = own[b] - mean if has[b] else 0.0
                if k == 0:
                    out[i, at + 2 * scales] = has[b]
