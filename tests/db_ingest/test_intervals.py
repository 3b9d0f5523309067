"""Set operations on intervals against boolean arrays."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from db_ingest import intervals

AXIS = 120

pieces = st.lists(
    st.tuples(st.integers(0, AXIS - 1), st.integers(1, 30)).map(lambda p: (p[0], min(p[0] + p[1], AXIS))), max_size=12
)


def columns(items: list[tuple[int, int]]) -> intervals.Spans:
    table = np.array(items, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def flags(spans: intervals.Spans) -> np.ndarray:
    inside = np.zeros(AXIS, bool)
    for start, end in zip(*spans, strict=True):
        inside[start:end] = True
    return inside


@given(pieces)
def test_merge_covers_the_same_bases_sorted_and_disjoint(items):
    merged = intervals.merge(*columns(items))
    np.testing.assert_array_equal(flags(merged), flags(columns(items)))
    starts, ends = merged
    assert (ends > starts).all()
    assert (starts[1:] > ends[:-1]).all()
    assert starts.dtype == ends.dtype == np.int64


@given(pieces, st.integers(0, 20))
def test_merge_bridges_gaps_of_at_most_the_gap(items, gap):
    inside = flags(columns(items))
    covered = np.flatnonzero(inside)
    for left, right in itertools.pairwise(covered):
        if right - left - 1 <= gap:
            inside[left:right] = True
    np.testing.assert_array_equal(flags(intervals.merge(*columns(items), gap=gap)), inside)


@given(pieces, pieces)
def test_subtract_leaves_the_bases_of_a_outside_b(a, b):
    left, right = intervals.merge(*columns(a)), intervals.merge(*columns(b))
    result = intervals.subtract(left, right)
    np.testing.assert_array_equal(flags(result), flags(left) & ~flags(right))
    assert (result[1] > result[0]).all()
    assert (result[0][1:] >= result[1][:-1]).all()


@given(pieces, st.lists(st.integers(-20, AXIS + 20), max_size=20))
def test_contains_agrees_with_a_boolean_array(items, positions):
    spans = intervals.merge(*columns(items))
    inside = flags(spans)
    expected = [bool(inside[p]) if 0 <= p < AXIS else False for p in positions]
    assert intervals.contains(spans, np.array(positions, np.int64)).tolist() == expected


@given(pieces, pieces)
def test_overlaps_when_one_base_is_shared(items, others):
    spans = intervals.merge(*columns(items))
    inside = flags(spans)
    expected = [bool(inside[start:end].any()) for start, end in others]
    assert intervals.overlaps(spans, *columns(others)).tolist() == expected


@given(st.lists(st.booleans(), max_size=60))
def test_runs_are_the_stretches_of_true(values):
    array = np.array(values, bool)
    starts, ends = intervals.runs(array)
    rebuilt = np.zeros(len(array), bool)
    for start, end in zip(starts, ends, strict=True):
        assert start == 0 or not array[start - 1]
        assert end == len(array) or not array[end]
        rebuilt[start:end] = True
    np.testing.assert_array_equal(rebuilt, array)


def test_intervals_that_touch_become_one_and_a_gap_of_one_stays():
    starts, ends = intervals.merge(np.array([10, 0, 21]), np.array([20, 10, 30]))
    assert (starts.tolist(), ends.tolist()) == ([0, 21], [20, 30])
