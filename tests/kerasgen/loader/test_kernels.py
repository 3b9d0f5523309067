"""The compiled loops of the loader against plain Python, cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_aggregations import PLAIN

from kerasgen import sequence
from kerasgen.loader import kernels
from kerasgen.loader.cells import missing_code

OFFSETS, SIZES = np.array([0, 128]), np.array([100, 60])
SPANS = np.array([3, 50, 130]), np.array([40, 100, 188])
BASES = np.concatenate([[0], np.cumsum(SPANS[1] - SPANS[0])])
HELD = int(BASES[-1])
MANY = settings(max_examples=2 * settings.default.max_examples)


def flat_place(place: int, base: int) -> int | None:
    """Where a base lies among the stretches; None past an end of the chromosome."""
    if not 0 <= base < SIZES[place]:
        return None
    position = OFFSETS[place] + base
    (stretch,) = (i for i in range(3) if SPANS[0][i] <= position < SPANS[1][i])
    return int(BASES[stretch] + position - SPANS[0][stretch])


def is_held(place: int, centre: int, flank: int) -> bool:
    first, last = max(centre - flank, 0), min(centre + flank, int(SIZES[place]))
    if first >= last:
        return True
    inside = (OFFSETS[place] + first >= SPANS[0]) & (OFFSETS[place] + last <= SPANS[1])
    return bool(inside.any())


@st.composite
def windows(draw):
    """Places, centres and flank of windows that are held."""
    flank = draw(st.integers(1, 25))
    count = draw(st.integers(1, 5))
    either = st.tuples(st.integers(0, 1), st.integers(-40, 140)).filter(lambda pair: is_held(*pair, flank))
    pairs = draw(st.lists(either, min_size=count, max_size=count))
    reverse = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    places, centres = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    return places, centres, flank, np.array(reverse)


def located(places, centres, flank):
    found = tuple(np.empty(len(centres), np.int64) for _ in range(3))
    held = kernels.locate(centres, places, flank, OFFSETS, SIZES, SPANS[0], BASES, *found)
    return held, found


@MANY
@given(st.integers(0, 1), st.integers(-40, 140), st.integers(1, 60))
def test_windows_that_are_not_held_are_told(place, centre, flank):
    held, _ = located(np.array([place]), np.array([centre]), flank)
    assert held == is_held(place, centre, flank)


@MANY
@given(windows(), st.integers(0, 2**32 - 1))
def test_sequence_is_that_of_the_bases(chosen, seed):
    places, centres, flank, reverse = chosen
    codes = np.random.default_rng(seed).integers(0, 5, HELD).astype(np.uint8)
    _, found = located(places, centres, flank)
    rows = np.full((len(centres), 2 * flank, 4), 9, np.float32)
    kernels.one_hot(codes, *found, reverse, rows.view(np.uint32).reshape(len(centres), -1))
    read = np.full((len(centres), 2 * flank), 9, np.uint8)
    kernels.base_codes(codes, *found, reverse, read)
    for i, (place, centre) in enumerate(zip(places, centres, strict=True)):
        at = [flat_place(place, base) for base in range(centre - flank, centre + flank)]
        plain = np.array([4 if a is None else codes[a] for a in at], np.uint8)
        plain = sequence.reverse_complement(plain) if reverse[i] else plain
        np.testing.assert_array_equal(read[i], plain)
        np.testing.assert_array_equal(rows[i], sequence.one_hot(plain))


@st.composite
def stores(draw):
    """Cells of a store, the same as float32 with NaN, and a swap of its tracks."""
    dtype = np.dtype(draw(st.sampled_from([np.uint8, np.uint16, np.float32])))
    tracks = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.integers(0, 200, (HELD, tracks)).astype(np.float32)
    if dtype.kind == "f":
        values = (values * rng.choice([-1.37, 0.01, 1e4], values.shape)).astype(np.float32)
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = np.nan
    absent = np.isnan(values)
    cells = np.where(absent, 0, values).astype(dtype)
    cells[absent] = missing_code(dtype)
    return cells, values, np.array(draw(st.permutations(range(tracks))), np.int64)


def plain_values(values, swap, places, centres, flank, reverse):
    found = np.zeros((len(centres), 2 * flank, values.shape[1]), np.float32)
    for i, (place, centre) in enumerate(zip(places, centres, strict=True)):
        for j, base in enumerate(range(centre - flank, centre + flank)):
            at = flat_place(place, base)
            if at is not None:
                found[i, j] = values[at]
        if reverse[i]:
            found[i] = found[i, ::-1][:, swap]
    return found


@MANY
@given(windows(), stores(), st.sampled_from([0.0, np.nan]))
def test_values_are_those_of_the_cells(chosen, store, absent):
    (places, centres, flank, reverse), (cells, values, swap) = chosen, store
    _, found = located(places, centres, flank)
    out = np.full((len(centres), 2 * flank, cells.shape[1]), 7, np.float32)
    kernels.values(cells, missing_code(cells.dtype), *found, reverse, swap, np.float32(absent), out)
    plain = plain_values(values, swap, places, centres, flank, reverse)
    np.testing.assert_array_equal(out, plain if math.isnan(absent) else np.nan_to_num(plain))


@MANY
@given(windows(), stores(), st.sampled_from(["sum", "average", "max"]))
def test_aggregates_are_those_of_the_values(chosen, store, how):
    (places, centres, flank, reverse), (cells, values, swap) = chosen, store
    _, found = located(places, centres, flank)
    out = np.full((len(centres), cells.shape[1]), 7, np.float32)
    number = {"sum": kernels.SUM, "average": kernels.MEAN, "max": kernels.MAX}[how]
    lanes = kernels.lanes_for(cells)
    kernels.aggregates(cells, missing_code(cells.dtype), *found, reverse, swap, 2 * flank, number, lanes, out[:, None])
    plain = plain_values(values, swap, places, centres, flank, reverse)
    np.testing.assert_allclose(out, PLAIN[how](plain), rtol=2e-5, atol=1e-4 * np.nanmax(np.abs(plain), initial=0))


@MANY
@given(windows(), stores(), st.sampled_from(["sum", "average", "max"]), st.data())
def test_bins_are_aggregates_of_their_own_values(chosen, store, how, data):
    (places, centres, flank, reverse), (cells, values, swap) = chosen, store
    _, found = located(places, centres, flank)
    length = data.draw(st.sampled_from([size for size in range(1, 2 * flank + 1) if 2 * flank % size == 0]))
    out = np.full((len(centres), 2 * flank // length, cells.shape[1]), 7, np.float32)
    number = {"sum": kernels.SUM, "average": kernels.MEAN, "max": kernels.MAX}[how]
    lanes = kernels.lanes_for(cells)
    kernels.aggregates(cells, missing_code(cells.dtype), *found, reverse, swap, length, number, lanes, out)
    plain = plain_values(values, swap, places, centres, flank, reverse)
    for j in range(out.shape[1]):
        np.testing.assert_allclose(
            out[:, j],
            PLAIN[how](plain[:, j * length : (j + 1) * length]),
            rtol=2e-5,
            atol=1e-4 * np.nanmax(np.abs(plain), initial=0),
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("tracks", [1, 2, 7, 16, 200])
def test_windows_longer_than_what_is_handled_at_a_time(dtype, tracks):
    length = {1: 40_000, 2: 2_200_000}.get(tracks, 4_100)
    most = {np.uint8: 254, np.uint16: 65_534, np.float32: 1e6}[dtype]
    cells = np.random.default_rng(tracks).integers(most - 9, most, (length + 20, tracks)).astype(dtype)
    found = np.array([3, 20]), np.array([0, 11]), np.array([length, length])
    reverse, swap = np.array([True, True]), np.random.default_rng(1).permutation(tracks)
    plain = np.zeros((2, length, tracks), np.float32)
    plain[0], plain[1, 11:] = cells[3 : length + 3], cells[31 : length + 20]
    plain = plain[:, ::-1][..., swap]
    out = np.empty((2, length, tracks), np.float32)
    missing = missing_code(np.dtype(dtype))
    kernels.values(cells, missing, *found, reverse, swap, np.float32(np.nan), out)
    np.testing.assert_array_equal(out, plain)
    sums = np.empty((2, tracks), np.float32)
    kernels.aggregates(
        cells, missing, *found, reverse, swap, length, kernels.SUM, kernels.lanes_for(cells), sums[:, None]
    )
    np.testing.assert_array_equal(sums, plain.sum(axis=1, dtype=np.float64).astype(np.float32))


@pytest.mark.parametrize(("dtype", "own"), [(np.uint8, 255), (np.uint16, 65_535)])
def test_cells_are_laid_with_the_code_of_the_store(dtype, own):
    cells = np.array([0, 3, own, 7], dtype)
    for wider in (np.uint8, np.uint16, np.float32):
        column = np.zeros((4, 2), wider)
        kernels.lay(cells, dtype(own), column[:, 1], missing_code(np.dtype(wider)))
        expected = np.array([0, 3, missing_code(np.dtype(wider)), 7]).astype(wider)
        np.testing.assert_array_equal(column[:, 1], expected)
        assert not column[:, 0].any()
