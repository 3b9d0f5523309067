"""GC content and N of windows against a count of each base."""

from __future__ import annotations

import numpy as np
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st
from small_database import SIZES, Small

from db_ingest import intervals
from db_ingest.layout.genome import Genome
from kerasgen.regions import composition, threshold
from kerasgen.regions import windows as regions
from kerasgen.regions.composition import LEVELS, STRIDE, crowded, level_of, scan

FLANKS = st.sampled_from([1, 7, 64, 65, 500, 1057])


def window(codes: np.ndarray, centre: int, flank: int) -> np.ndarray:
    return codes[max(centre - flank, 0) : centre + flank]


def gc_of(codes: np.ndarray) -> float:
    known = (codes < 4).sum()
    return float(np.isin(codes, (1, 2)).sum() / known) if known else np.nan


def gc_of_each(codes: np.ndarray, centres: np.ndarray, flank: int) -> np.ndarray:
    """What :func:`gc_of` gives of the window at each centre, by sums from the chromosome's begin on."""
    low, high = np.maximum(centres - flank, 0), np.minimum(centres + flank, len(codes))
    gc, known = (np.concatenate([[0], np.cumsum(yes)]) for yes in (np.isin(codes, (1, 2)), codes < 4))
    with np.errstate(invalid="ignore"):
        return (gc[high] - gc[low]) / (known[high] - known[low])


@pytest.mark.slow
@examples(25)
@given(
    flank=FLANKS,
    names=st.sets(st.sampled_from(sorted(SIZES)), min_size=1),
    block=st.sampled_from([9_001, 65_536, 2**23]),
    seed=st.integers(0, 99),
)
def test_a_scan_counts_every_base_exactly(small: Small, flank: int, names: set, block: int, seed: int) -> None:
    genome = small.database.genome
    rng = np.random.default_rng(seed)
    chosen = [(name, int(rng.integers(0, SIZES[name]))) for name in sorted(names) for _ in range(20)]
    chosen += [(name, at) for name in sorted(names) for at in (0, SIZES[name] - 1)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threshold, "_BLOCK", block)
        found = scan(
            small.database, regions.chromosome_spans(genome, sorted(names)), flank,
            centres=np.array([genome.offset(name) + at for name, at in chosen]), levels=True,
        )  # fmt: skip
    wanted = [gc_of(window(small.codes[name], at, flank)) for name, at in chosen]
    np.testing.assert_allclose(found.gc, wanted, rtol=1e-12)
    unknown = np.zeros(genome.length, bool)
    for name in names:
        unknown[genome.offset(name) :][: SIZES[name]] = small.codes[name] == 4
    for one, other in zip(found.unknown, intervals.runs(unknown), strict=True):
        np.testing.assert_array_equal(one, other)
    levels = np.zeros(genome.length // STRIDE + 1, np.uint8)
    for name in names:
        at = np.arange(0, SIZES[name], STRIDE)
        levels[(genome.offset(name) + at) // STRIDE] = level_of(gc_of_each(small.codes[name], at, flank))
    np.testing.assert_array_equal(found.levels, levels)


def test_stretches_are_looked_at_and_nothing_else(small: Small) -> None:
    genome = small.database.genome
    spans = (np.array([2_000, 98_000]), np.array([90_000, 100_000]))
    found = scan(small.database, spans, 100)
    np.testing.assert_array_equal(found.unknown, [[2_000, 99_000], [3_000, 100_000]])
    assert len(found.levels) == len(found.gc) == 0
    assert genome.offset("chr1") == 0


def test_levels_are_half_a_percent_wide() -> None:
    content = np.array([0.0, 0.00499, 0.005, 0.5, 0.9951, 1.0, np.nan])
    assert level_of(content).tolist() == [1, 1, 2, 101, 200, 200, 0]
    assert LEVELS == 200


runs_of_n = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 80)), max_size=8)


@examples(200)
@given(runs=runs_of_n, flank=st.integers(1, 60), most=st.sampled_from([0.0, 0.05, 0.1, 0.5, 0.99, 1.0]))
def test_windows_with_too_many_n_are_found_without_a_look_at_each(runs: list, flank: int, most: float) -> None:
    genome = Genome(("a", "b", "c", "d"), (150, 3, 200, 64), tile=8)
    chromosomes = np.array([0, 1, 3])
    is_n = np.zeros(genome.length, bool)
    for start, length in runs:
        is_n[start : start + length] = True
    solid = np.zeros(genome.length, bool)
    for place in chromosomes:
        solid[genome.offsets[place] : genome.offsets[place] + genome.sizes[place]] = True
    found = crowded(genome, chromosomes, intervals.runs(is_n & solid), flank, most)
    wanted = np.zeros(genome.length, bool)
    for place in chromosomes:
        offset, size = int(genome.offsets[place]), genome.sizes[place]
        padded = np.concatenate([np.ones(flank, bool), is_n[offset : offset + size], np.ones(flank, bool)])
        for centre in range(size):
            wanted[offset + centre] = padded[centre : centre + 2 * flank].sum() > most * 2 * flank + 1e-9
    for one, other in zip(found, intervals.runs(wanted), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_code_is_counted_for_what_it_is() -> None:
    for code in range(5):
        words = composition._words(np.full(13, code, np.uint8))
        tally = np.empty((2, len(words) + 1), np.int32)
        composition._count(words, tally)
        gc = np.full(1, np.nan)
        composition._contents(words, tally, np.array([6]), 6, 13, gc)
        np.testing.assert_array_equal(gc, [[0, 1, 1, 0, np.nan][code]])
        assert tally[1, -1] == (13 if code == 4 else 0)
