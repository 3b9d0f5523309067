"""Background matched in GC content: close to its regions, any candidate as likely, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest import intervals
from db_ingest.layout.genome import Genome
from kerasgen.regions.composition import LEVELS, STRIDE, level_of
from kerasgen.regions.gc_matched import gc_matched

GENOME = Genome(("chrA", "chrB"), (4_000_000, 2_000_000))
CELLS = GENOME.length // STRIDE + 1
WHOLE = (GENOME.offsets[:-1], GENOME.offsets[:-1] + GENOME.size_array())


def candidates(seed: int, content: tuple[float, float] = (0.41, 0.06)) -> np.ndarray:
    """GC content of every cell, as of a genome."""
    return np.random.default_rng(seed).normal(*content, CELLS).clip(0, 1)


def drawn_cells(matched, key: tuple[int, ...], count: int) -> np.ndarray:
    windows = matched.draw(key, count)
    position = GENOME.offsets[windows.chromosome] + windows.centre
    assert (windows.centre < GENOME.size_array()[windows.chromosome]).all()
    assert (position % STRIDE == 0).all()
    return position // STRIDE


@examples(20)
@given(seed=st.integers(0, 1000), tolerance=st.sampled_from([0.005, 0.01, 0.02, 0.1, 1.0]), regions=st.integers(1, 800))
def test_each_window_is_as_close_to_its_region_as_the_tolerance(seed: int, tolerance: float, regions: int) -> None:
    content = candidates(seed)
    gc = np.random.default_rng(seed + 1).normal(0.55, 0.08, regions).clip(0, 1)
    matched, found = gc_matched(GENOME, WHOLE, level_of(content), gc, tolerance)
    near = np.abs(gc[:, None] - content[None, : GENOME.sizes[0] // STRIDE : 7]).min(axis=1)
    assert (near[~found] > tolerance - 2 / LEVELS).all()
    if not found.any():
        return
    # Of pairs that differ by at most d, the sorted values differ by at most d too.
    cells = drawn_cells(matched, (seed,), len(matched))
    assert np.abs(np.sort(content[cells]) - np.sort(gc[found])).max() <= tolerance
    # Where candidates abound, a window has its region's own level.
    if regions == 1 and abs(gc[0] - 0.41) < 0.1:
        assert abs(content[cells[0]] - gc[0]) < 1 / LEVELS


def test_distributions_of_gc_agree() -> None:
    content = candidates(3)
    gc = np.random.default_rng(4).normal(0.5, 0.05, 20_000).clip(0, 1)
    matched, found = gc_matched(GENOME, WHOLE, level_of(content), gc, 0.02)
    cells = drawn_cells(matched, (1,), len(matched))
    wanted = gc[found]
    grid = np.linspace(0, 1, 101)
    ours, theirs = (np.searchsorted(np.sort(v), grid) / len(v) for v in (content[cells], wanted))
    assert np.abs(ours - theirs).max() < 0.04
    assert abs(content[cells].mean() - wanted.mean()) < 0.004
    assert abs(content.mean() - wanted.mean()) > 0.08
    assert matched.mean_gc() == pytest.approx((wanted.mean(), content[cells].mean()), abs=0.002)


def test_any_candidate_of_a_level_is_as_likely() -> None:
    levels = np.zeros(CELLS, np.uint8)
    rng = np.random.default_rng(8)
    places = np.sort(rng.choice(4_000_000 // STRIDE, 200, replace=False))
    levels[places] = 90
    levels[places[:100] + 1] = np.where(levels[places[:100] + 1] == 0, 120, levels[places[:100] + 1])
    matched, found = gc_matched(GENOME, WHOLE, levels, np.full(6, 89.5 / LEVELS), 0.02)
    assert found.all()
    counts = np.bincount(drawn_cells(matched, (2,), 40_000), minlength=CELLS)
    assert counts.sum() == counts[places].sum()
    statistic = ((counts[places] - 200) ** 2 / 200).sum()
    assert abs(statistic - 200) < 5 * np.sqrt(400)


def test_neighbouring_levels_are_used_only_where_candidates_are_few() -> None:
    levels = np.zeros(CELLS, np.uint8)
    levels[:96], levels[100:196], levels[200:296], levels[300:396] = 100, 102, 104, 97
    many, _ = gc_matched(GENOME, WHOLE, levels.copy(), np.full(3, 99.5 / LEVELS), 0.02)
    assert set(levels[drawn_cells(many, (0,), 500)].tolist()) == {100}
    few, _ = gc_matched(GENOME, WHOLE, levels.copy(), np.full(4, 99.5 / LEVELS), 0.02)
    assert set(levels[drawn_cells(few, (0,), 500)].tolist()) == {100, 102}
    # 0.02 is four levels; two windows three levels apart differ by less.
    none, _ = gc_matched(GENOME, WHOLE, levels.copy(), np.full(200, 99.5 / LEVELS), 0.02)
    assert set(levels[drawn_cells(none, (0,), 500)].tolist()) == {97, 100, 102}


def test_candidates_outside_the_allowed_centres_are_never_drawn() -> None:
    spans = (np.array([640, 100_001]), np.array([641, 200_000]))
    matched, _ = gc_matched(GENOME, spans, level_of(candidates(5)), np.full(10, 0.402), 0.1)
    cells = drawn_cells(matched, (0,), 20_000)
    assert intervals.contains(spans, cells * STRIDE).all()
    assert matched.candidates == 1 + len(range(100_032, 200_000, STRIDE))
    assert len(np.unique(cells)) > 300
    cover = matched.cover(100)
    np.testing.assert_array_equal(cover, [[540, 99_901], [741, 200_100]])


def test_regions_without_a_match_are_named_and_left_out() -> None:
    levels = level_of(np.full(CELLS, 0.4))
    matched, found = gc_matched(GENOME, WHOLE, levels, np.array([0.4, 0.7, np.nan, 0.41]), 0.02)
    assert found.tolist() == [True, False, False, True]
    assert len(matched) == 2
    empty, found = gc_matched(GENOME, WHOLE, levels, np.array([0.7]), 0.02)
    assert len(empty) == 0
    assert not found.any()


def test_background_is_a_function_of_its_key() -> None:
    matched, _ = gc_matched(GENOME, WHOLE, level_of(candidates(5)), np.full(100, 0.45), 0.02)
    first, again, other = (drawn_cells(matched, key, 100) for key in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    # Regions are taken in rounds, so more windows begin with the same.
    np.testing.assert_array_equal(drawn_cells(matched, (1, 2), 250)[:100], first)
