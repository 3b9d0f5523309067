"""Compiled loops that cut windows out of stretches laid end to end and write them into a batch.

All let go of Python's lock, so that several batches are made at a time by plain threads. A window is ``length`` cells
from ``first`` on: ``at`` is where cell 0 would lie among the stretches, and only cells ``[low, high)`` of it exist; the
others lie past an end of the chromosome. Reversed windows are read from their last cell to the first.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_compiled: Any = numba.njit(nogil=True, cache=True)
_vectorised: Any = numba.njit(nogil=True, cache=True, fastmath={"nsz"})


@_compiled
def locate(centre, place, flank, offsets, sizes, starts, bases, at, low, high):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Find windows among stretches; False if one of them is not held.

    Args:
        centre, place: ``(n,) int64`` 0-based centres, and places of their chromosomes in the genome.
        flank: half a window.
        offsets, sizes: ``(chromosomes,) int64`` of the genome.
        starts: ``(stretches,) int64`` sorted positions on the axis where the stretches begin.
        bases: ``(stretches + 1,) int64`` cells before each stretch, and all of them.
        at, low, high: ``(n,) int64`` to fill.
    """
    whole = True
    for i in range(len(centre)):
        first = centre[i] - flank
        low[i] = min(max(-first, 0), 2 * flank)
        high[i] = max(min(sizes[place[i]] - first, 2 * flank), low[i])
        at[i] = 0
        if low[i] == high[i]:
            continue
        position = offsets[place[i]] + first
        inside = position + low[i]
        below, above = 0, len(starts)
        while below < above:
            middle = (below + above) // 2
            if starts[middle] <= inside:
                below = middle + 1
            else:
                above = middle
        stretch = below - 1
        at[i] = bases[stretch] + position - starts[stretch] if stretch >= 0 else 0
        whole &= stretch >= 0 and at[i] + high[i] <= bases[stretch + 1]
    return whole


@_compiled
def one_hot(codes, at, low, high, reverse, rows, complement, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write windows of base codes as one-hot rows.

    Args:
        codes: ``(cells,) uint8``.
        at, low, high: ``(n,)`` from :func:`locate`.
        reverse: ``(n,) bool``.
        rows, complement: ``(5,) complex128``: 16 bytes for each code, and for its complement.
        out: ``(n, length) complex128`` to fill.
    """
    length = out.shape[1]
    for i in range(len(at)):
        into = out[i]
        if reverse[i]:
            into[: length - high[i]] = rows[4]
            into[length - low[i] :] = rows[4]
            last = at[i] + length - 1
            for j in range(length - high[i], length - low[i]):
                into[j] = complement[codes[last - j]]
        else:
            into[: low[i]] = rows[4]
            into[high[i] :] = rows[4]
            first = at[i]
            for j in range(low[i], high[i]):
                into[j] = rows[codes[first + j]]


@_compiled
def base_codes(codes, at, low, high, reverse, complement, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write windows of base codes into ``(n, length) uint8``; ``complement`` is ``(5,) uint8``. See :func:`one_hot`."""
    length = out.shape[1]
    for i in range(len(at)):
        into = out[i]
        if reverse[i]:
            into[: length - high[i]] = 4
            into[length - low[i] :] = 4
            last = at[i] + length - 1
            for j in range(length - high[i], length - low[i]):
                into[j] = complement[codes[last - j]]
        else:
            into[: low[i]] = 4
            into[high[i] :] = 4
            into[low[i] : high[i]] = codes[at[i] + low[i] : at[i] + high[i]]


@_vectorised
def values(cells, missing, at, low, high, reverse, swap, absent, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write windows of tracks as float32.

    Args:
        cells: ``(cells, tracks)`` uint8, uint16 or float32.
        missing: the cell that says that there is no value, in integral cells; in float32 it is NaN.
        at, low, high: ``(n,)`` from :func:`locate`.
        reverse: ``(n,) bool``.
        swap: ``(tracks,) int64``: whose values a track's channel holds in a reversed window.
        absent: float32 to write where there is no value.
        out: ``(n, length, tracks) float32`` to fill; 0 past the ends of a chromosome.
    """
    length, tracks = out.shape[1], out.shape[2]
    # Then a reversed window is the window from its last number to its first.
    mirrored = True
    for k in range(tracks):
        mirrored &= swap[k] == tracks - 1 - k
    flat_cells = cells.reshape(-1)
    for i in range(len(at)):
        into = out[i].reshape(-1)
        if reverse[i]:
            begin, end = (length - high[i]) * tracks, (length - low[i]) * tracks
        else:
            begin, end = low[i] * tracks, high[i] * tracks
        into[:begin] = 0
        into[end:] = 0
        source = flat_cells[(at[i] + low[i]) * tracks : (at[i] + high[i]) * tracks]
        inside, size = into[begin:end], end - begin
        if not reverse[i]:
            for j in range(size):
                cell = source[j]
                inside[j] = absent if (cell == missing or cell != cell) else np.float32(cell)
        elif mirrored:
            for j in range(size):
                cell = source[size - 1 - j]
                inside[j] = absent if (cell == missing or cell != cell) else np.float32(cell)
        else:
            for first in range(0, size, tracks):
                row = source[size - tracks - first : size - first]
                for k in range(tracks):
                    cell = row[swap[k]]
                    inside[first + k] = absent if (cell == missing or cell != cell) else np.float32(cell)


SUM, MEAN, MAX = 0, 1, 2


@_compiled
def aggregates(cells, missing, at, low, high, reverse, swap, length, how, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write sums, means or maxima over windows of tracks.

    Positions without a value are left out; NaN where a window has none. Positions past an end of the chromosome are 0.

    Args:
        cells, missing, at, low, high, reverse, swap: as in :func:`values`.
        length: cells a window.
        how: :data:`SUM`, :data:`MEAN` or :data:`MAX`.
        out: ``(n, tracks) float32`` to fill.
    """
    tracks = out.shape[1]
    flat_cells = cells.reshape(-1)
    totals, counts = np.zeros(tracks), np.zeros(tracks)
    for i in range(len(at)):
        source = flat_cells[(at[i] + low[i]) * tracks : (at[i] + high[i]) * tracks]
        outside = length - (high[i] - low[i])
        if tracks > 2 and how != MAX:
            _totals(source, missing, totals, counts)
        for k in range(tracks):
            column = swap[k] if reverse[i] else k
            if how == MAX:
                known, value = _greatest(source[column:], missing, tracks)
                value = max(value, 0.0) if outside else value
            elif tracks == 1:
                known, value = _total_of_one(source, missing)
            elif tracks == 2:
                known, value = _total_of_two(source, missing, column)
            else:
                known, value = np.int64(counts[column]), totals[column]
            known += outside
            if known == 0:
                out[i, k] = np.nan
            else:
                out[i, k] = value / known if how == MEAN else value


# Sums of integral cells are exact in double precision whatever their order.
_reordered: Any = numba.njit(nogil=True, cache=True, fastmath={"reassoc", "nsz"}, inline="never")


@_reordered
def _total_of_one(source, missing):  # type: ignore[no-untyped-def]  # pragma: no cover
    known, total = np.int64(0), 0.0
    for j in range(len(source)):
        cell = source[j]
        there = not (cell == missing or cell != cell)
        known += there
        total += np.float64(cell) if there else 0.0
    return known, total


@_reordered
def _total_of_two(source, missing, column):  # type: ignore[no-untyped-def]  # pragma: no cover
    known, total = np.int64(0), 0.0
    for j in range(len(source) // 2):
        cell = source[2 * j + column]
        there = not (cell == missing or cell != cell)
        known += there
        total += np.float64(cell) if there else 0.0
    return known, total


@_reordered
def _totals(source, missing, totals, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    tracks = len(totals)
    totals[:] = 0
    counts[:] = 0
    for first in range(0, len(source), tracks):
        row = source[first : first + tracks]
        for k in range(tracks):
            cell = row[k]
            there = not (cell == missing or cell != cell)
            counts[k] += 1.0 if there else 0.0
            totals[k] += np.float64(cell) if there else 0.0


@_compiled
def _greatest(source, missing, step):  # type: ignore[no-untyped-def]  # pragma: no cover
    known, most = np.int64(0), -np.inf
    for j in range(0, len(source), step):
        cell = source[j]
        if not (cell == missing or cell != cell):
            known += 1
            most = max(most, np.float64(cell))
    return known, most


@_compiled
def lay(cells, missing, column, absent):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Copy ``(n,)`` cells into a column of a store, with its own code where there is no value."""
    for i in range(len(cells)):
        column[i] = absent if cells[i] == missing else cells[i]
