"""Compiled loops that cut windows out of stretches laid end to end and write them into a batch.

All let go of Python's lock, so that several batches are made at a time by plain threads. A window is ``length`` cells
from ``first`` on: ``at`` is where cell 0 would lie among the stretches, and only cells ``[low, high)`` of it exist; the
others lie past an end of the chromosome. Reversed windows are read from their last cell to the first. Unsigned indices
say that none counts from the end: the check would keep a loop from being vectorised.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_compiled: Any = numba.njit(nogil=True, cache=True)
_vectorised: Any = numba.njit(nogil=True, cache=True, fastmath={"nsz"})

_AT_A_TIME = 4096
"""Cells of a window that are turned round at a time."""
_LANES, _CELLS_PER_LANE = 128, 2**15
"""Sums made side by side, and cells added to one."""


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
def one_hot(codes, at, low, high, reverse, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write windows of base codes as one-hot rows; reversed ones are complemented. An unknown base is all zeros.

    Args:
        codes: ``(cells,) uint8``.
        at, low, high: ``(n,)`` from :func:`locate`.
        reverse: ``(n,) bool``.
        out: ``(n, 4 * length) uint32`` to fill with the bits of float32.
    """
    one, zero = np.uint32(0x3F800000), np.uint32(0)
    length = out.shape[1] // 4
    for i in range(len(at)):
        begin, end = (length - high[i], length - low[i]) if reverse[i] else (low[i], high[i])
        out[i, : 4 * begin] = zero
        out[i, 4 * end :] = zero
        into, source = out[i, 4 * begin : 4 * end], codes[at[i] + low[i] : at[i] + high[i]]
        if reverse[i]:
            for j in range(end - begin):
                code = np.int32(source[np.uintp(end - begin - 1 - j)])
                for k in range(4):
                    into[np.uintp(4 * j + k)] = one if code == 3 - k else zero
        else:
            for j in range(end - begin):
                code = np.int32(source[j])
                for k in range(4):
                    into[np.uintp(4 * j + k)] = one if code == k else zero


@_compiled
def base_codes(codes, at, low, high, reverse, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write windows of base codes into ``(n, length) uint8``; see :func:`one_hot`."""
    length = out.shape[1]
    for i in range(len(at)):
        into = out[i]
        if reverse[i]:
            into[: length - high[i]] = 4
            into[length - low[i] :] = 4
            last = at[i] + length - 1
            for j in range(length - high[i], length - low[i]):
                code = codes[np.uintp(last - j)]
                into[j] = np.uint8(3) - code if code < 4 else code
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
    some = np.empty(max(_AT_A_TIME // tracks, 1) * tracks, cells.dtype)
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
                cell = source[np.uintp(size - 1 - j)]
                inside[j] = absent if (cell == missing or cell != cell) else np.float32(cell)
        else:
            # Turned round as cells, in the nearest cache, and then made numbers of: each loop is simple enough to be
            # vectorised.
            for first in range(0, size, len(some)):
                many = min(len(some), size - first)
                for k in range(tracks):
                    last = size - tracks - first + swap[k]
                    for j in range(many // tracks):
                        some[np.uintp(j * tracks + k)] = source[np.uintp(last - j * tracks)]
                here = inside[first : first + many]
                for j in range(many):
                    cell = some[j]
                    here[j] = absent if (cell == missing or cell != cell) else np.float32(cell)


SUM, MEAN, MAX = 0, 1, 2


@_compiled
def aggregates(cells, missing, at, low, high, reverse, swap, length, how, lanes, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write sums, means or maxima over the bins of windows of tracks; a whole window may be one bin.

    Positions without a value are left out; NaN where a bin has none. Positions past an end of the chromosome are 0.

    Args:
        cells, missing, at, low, high, reverse, swap: as in :func:`values`.
        length: cells per bin.
        how: :data:`SUM`, :data:`MEAN` or :data:`MAX`.
        lanes: ``(w,)`` of a type that holds sums of cells, from :func:`lanes_for`; what it holds is lost.
        out: ``(n, bins, tracks) float32`` to fill.
    """
    bins, tracks = out.shape[1], out.shape[2]
    flat_cells = cells.reshape(-1)
    totals, counts = np.zeros(tracks), np.zeros(tracks)
    for i in range(len(at)):
        for j in range(bins):
            first = max(low[i], j * length)
            last = max(min(high[i], (j + 1) * length), first)
            source = flat_cells[(at[i] + first) * tracks : (at[i] + last) * tracks]
            outside = length - (last - first)
            if how != MAX:
                if tracks == 1:
                    counts[0], totals[0] = _total_of_one(source, missing)
                elif len(source) <= len(lanes) or _has_gap(source, missing):
                    # Few cells are summed at once; more of them without a gap are worth setting up lanes.
                    _totals_with_gaps(source, missing, totals, counts)
                else:
                    _totals(source, lanes, totals)
                    counts[:] = last - first
            into = out[i, bins - 1 - j if reverse[i] else j]
            for k in range(tracks):
                column = swap[k] if reverse[i] else k
                if how == MAX:
                    known, value = _greatest(source[column:], missing, tracks)
                    value = max(value, 0.0) if outside else value
                else:
                    known, value = np.int64(counts[column]), totals[column]
                known += outside
                if known == 0:
                    into[k] = np.nan
                else:
                    into[k] = value / known if how == MEAN else value


def lanes_for(cells: np.ndarray) -> np.ndarray:
    """Numbers that :func:`aggregates` needs to work with ``(cells, tracks)``: some for each track, side by side."""
    tracks = cells.shape[1]
    return np.empty(max(_LANES // tracks, 1) * tracks, np.float64 if cells.dtype.kind == "f" else np.uint32)


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


@_compiled
def _has_gap(source, missing):  # type: ignore[no-untyped-def]  # pragma: no cover
    gap = False
    for j in range(len(source)):
        gap |= (source[j] == missing) or (source[j] != source[j])
    return gap


@_compiled
def _totals(source, lanes, totals):  # type: ignore[no-untyped-def]  # pragma: no cover
    tracks, wide = len(totals), len(lanes)
    totals[:] = 0
    # A lane of 32 bits holds the sum of so many cells of 16.
    for start in range(0, len(source), wide * _CELLS_PER_LANE):
        part = source[start : start + wide * _CELLS_PER_LANE]
        lanes[:] = 0
        whole = len(part) // wide * wide
        for first in range(0, whole, wide):
            row = part[first : first + wide]
            for j in range(wide):
                lanes[j] += row[j]
        rest = part[whole:]
        for j in range(len(rest)):
            lanes[j] += rest[j]
        for first in range(0, wide, tracks):
            for k in range(tracks):
                totals[k] += lanes[first + k]


@_compiled
def _totals_with_gaps(source, missing, totals, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
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
