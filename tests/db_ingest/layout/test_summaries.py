"""Summaries against NumPy, checksums against zlib, and that parts add up to wholes."""

from __future__ import annotations

import itertools
import math
import random
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from db_ingest.layout.codes import COUNTS_MISSING, MOST_COUNTS
from db_ingest.layout.summaries import Part, combine, combine_crc32, from_counts, summarise, to_counts

lengths = st.one_of(st.integers(1, 40), st.sampled_from([4_095, 4_096, 4_097, 8_192, 10_000]))
edges = st.sampled_from([0.0, -0.0, 1.0, 65_534.0, 65_535.0, 65_536.0, -1.0, 0.5, 2.0**31, -(2.0**31), 1e30, 1e-40])
any_float = st.one_of(edges, st.floats(width=32, allow_infinity=False), st.just(math.nan))
signals = lengths.flatmap(lambda n: arrays.arrays(np.float32, n, elements=any_float, fill=edges))
counts = lengths.flatmap(
    lambda n: arrays.arrays(
        np.uint16, n, elements=st.one_of(st.sampled_from([0, 1, MOST_COUNTS, COUNTS_MISSING]), st.integers(0, 65_535))
    )
)
codes = lengths.flatmap(lambda n: arrays.arrays(np.uint8, n, elements=st.integers(0, 4)))


def check(part: Part, cells: np.ndarray, values: np.ndarray) -> None:
    known = values[~np.isnan(values)].astype(np.float64)
    assert (part.chromosome, part.start, part.bytes) == ("chr1", 7, cells.nbytes)
    assert part.crc == zlib.crc32(cells.astype(cells.dtype.newbyteorder("<")).tobytes())
    assert part.total == pytest.approx(math.fsum(known), rel=1e-12, abs=1e-12 * float(np.abs(known).sum()))
    assert part.covered == np.count_nonzero(known)
    assert part.minimum == (known.min() if len(known) else math.inf)
    assert part.maximum == (known.max() if len(known) else -math.inf)


@given(signals)
def test_signal_is_summarised_as_numpy_would(cells):
    check(summarise("chr1", 7, cells, "signal"), cells, cells)


@given(counts)
def test_counts_are_summarised_as_numpy_would(cells):
    check(summarise("chr1", 7, cells, "counts"), cells, np.where(cells == COUNTS_MISSING, np.nan, cells))


@given(codes, st.sampled_from(["mask", "sequence"]))
def test_codes_have_a_checksum_and_a_coverage(cells, folder):
    part = summarise("chr1", 7, cells, folder)
    assert (part.crc, part.covered) == (zlib.crc32(cells.tobytes()), np.count_nonzero(cells))
    assert (part.total, part.minimum, part.maximum) == (0, math.inf, -math.inf)


def test_most_counts_of_a_long_chromosome_do_not_overflow():
    cells = np.full(5_000_000, MOST_COUNTS, np.uint16)
    part = summarise("chr1", 0, cells, "counts")
    assert (part.total, part.covered, part.minimum, part.maximum) == (5e6 * MOST_COUNTS, 5e6, MOST_COUNTS, MOST_COUNTS)


def test_stretch_of_a_buffer_is_summarised_where_it_lies():
    whole = np.arange(100, dtype=np.float32)
    part = summarise("chr1", 0, whole[10:20], "signal")
    assert (part.total, part.crc) == (145.0, zlib.crc32(whole[10:20].tobytes()))


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_checksums_combine_as_if_the_bytes_lay_end_to_end(first, second):
    assert combine_crc32(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


@given(signals, st.lists(st.integers(0, 10_000), max_size=6), st.randoms())
def test_parts_in_any_order_add_up_to_the_whole(cells, cuts, order: random.Random):
    bounds = sorted({0, len(cells), *(cut for cut in cuts if cut < len(cells))})
    parts = [summarise("chr1", a, cells[a:b], "signal") for a, b in itertools.pairwise(bounds)]
    parts.append(summarise("chr2", 0, cells[:1], "signal"))
    order.shuffle(parts)
    summary, checksums = combine(parts)
    whole = np.append(cells, cells[:1]).astype(np.float64)
    known = whole[~np.isnan(whole)]
    assert checksums == {
        "chr1": f"{zlib.crc32(cells.tobytes()):08x}",
        "chr2": f"{zlib.crc32(cells[:1].tobytes()):08x}",
    }
    assert summary == {
        "sum": pytest.approx(math.fsum(known), rel=1e-12, abs=1e-12 * float(np.abs(known).sum())),
        "covered": np.count_nonzero(known),
        "minimum": known.min() if len(known) else 0,
        "maximum": known.max() if len(known) else 0,
    }


def test_nothing_adds_up_to_nothing():
    assert combine([]) == ({"sum": 0.0, "covered": 0, "minimum": 0.0, "maximum": 0.0}, {})


@given(signals)
def test_counts_hold_exactly_the_whole_numbers_that_fit(values):
    cells, back = np.empty(len(values), np.uint16), np.empty(len(values), np.float32)
    known = values[~np.isnan(values)]
    fits = bool(((known >= 0) & (known <= MOST_COUNTS) & (known == np.floor(known))).all())
    assert to_counts(values, cells) is fits
    if fits:
        from_counts(cells, back)
        np.testing.assert_array_equal(back, values)
        assert ((cells == COUNTS_MISSING) == np.isnan(values)).all()


@pytest.mark.parametrize(
    "bad", [0.5, -1, 65_535, 65_536, 2.0**16 + 3, 2.0**31, -(2.0**31), 2.0**32, 1e30, -1e30, 1e-45]
)
@pytest.mark.parametrize("at", [0, 4_095, 4_096, 9_999])
def test_one_value_that_is_no_count_is_found_wherever_it_is(bad, at):
    values = np.arange(10_000, dtype=np.float32)
    values[5] = np.nan
    cells = np.empty(10_000, np.uint16)
    assert to_counts(values, cells) is True
    values[at] = bad
    assert to_counts(values, cells) is False


def test_every_count_comes_back():
    values = np.append(np.arange(MOST_COUNTS + 1, dtype=np.float32), np.nan)
    cells, back = np.empty(len(values), np.uint16), np.empty(len(values), np.float32)
    assert to_counts(values, cells) is True
    from_counts(cells, back)
    np.testing.assert_array_equal(back, values)
