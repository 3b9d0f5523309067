"""Set operations on half-open intervals of one axis, as sorted ``(n,) int64`` starts and ends."""

from __future__ import annotations

import numpy as np

Spans = tuple[np.ndarray, np.ndarray]


def merge(starts: np.ndarray, ends: np.ndarray, gap: int = 0) -> Spans:
    """Union of intervals in any order; neighbours at most ``gap`` bp apart become one.

    Args:
        starts, ends: ``(n,)`` integers, half-open.
        gap: largest distance in bp that is bridged; 0 joins intervals that overlap or touch.

    Returns:
        Sorted disjoint ``(starts, ends)``.
    """
    if len(starts) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(starts, kind="stable")
    starts = np.asarray(starts, np.int64)[order]
    reach = np.maximum.accumulate(np.asarray(ends, np.int64)[order])
    first = np.concatenate([[True], starts[1:] > reach[:-1] + gap])
    last = np.concatenate([first[1:], [True]])
    return starts[first], reach[last]


def union(a: Spans, b: Spans) -> Spans:
    """Union of two sets of intervals, in any order."""
    return merge(np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]]))


def subtract(a: Spans, b: Spans) -> Spans:
    """The parts of sorted disjoint ``a`` outside sorted disjoint ``b``."""
    if len(a[0]) == 0 or len(b[0]) == 0:
        return a
    # Walk both as +1/-1 events: keep stretches inside a and outside b.
    points = np.concatenate([a[0], a[1], b[0], b[1]])
    inside_a = np.repeat([1, -1, 0, 0], [len(a[0]), len(a[1]), len(b[0]), len(b[1])])
    inside_b = np.repeat([0, 0, 1, -1], [len(a[0]), len(a[1]), len(b[0]), len(b[1])])
    order = np.argsort(points, kind="stable")
    points = points[order]
    keep = (np.cumsum(inside_a[order]) > 0) & (np.cumsum(inside_b[order]) == 0)
    starts, ends = points[:-1][keep[:-1]], points[1:][keep[:-1]]
    solid = ends > starts
    return merge(starts[solid], ends[solid])


def contains(spans: Spans, positions: np.ndarray) -> np.ndarray:
    """Whether each of ``(n,)`` positions lies in the sorted disjoint ``spans``; ``(n,) bool``."""
    place = np.searchsorted(spans[0], positions, side="right") - 1
    found = place >= 0
    inside = np.zeros(len(positions), bool)
    inside[found] = positions[found] < spans[1][place[found]]
    return inside


def overlaps(spans: Spans, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Whether each interval shares a base with the sorted disjoint ``spans``; ``(n,) bool``."""
    if len(spans[0]) == 0:
        return np.zeros(len(starts), bool)
    place = np.searchsorted(spans[1], starts, side="right")
    hit = place < len(spans[0])
    result = np.zeros(len(starts), bool)
    result[hit] = spans[0][place[hit]] < ends[hit]
    return result


def runs(flags: np.ndarray) -> Spans:
    """Starts and ends of the stretches of True in ``(n,) bool``."""
    edges = np.flatnonzero(flags[1:] != flags[:-1]) + 1
    first = [0] if len(flags) and flags[0] else []
    last = [len(flags)] if len(flags) and flags[-1] else []
    edges = np.concatenate([first, edges, last]).astype(np.int64)
    return edges[::2], edges[1::2]
