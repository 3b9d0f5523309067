"""Where samples are centred, and the plan of an epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_ingest import intervals
from db_ingest.errors import InputError
from db_ingest.layout.genome import Genome
from kerasgen.regions import bed as bed_regions
from kerasgen.regions import windows as regions
from kerasgen.regions.windows import Bases, Loci, Peaks, WindowPlan

GENOME = Genome(("chrA", "chrB"), (100_000, 50_000))


@pytest.fixture
def bed(tmp_path: Path) -> str:
    path = tmp_path / "peaks.narrowPeak"
    path.write_text(
        "track name=x\n"
        "chrA\t1000\t1300\ta\t0\t+\t1\t-1\t-1\t40\n"
        "chrA\t2000\t2101\tb\t0\t-\t1\t-1\t-1\t-1\n"
        "chrB\t10\t20\tc\t0\t-\t1\t-1\t-1\t3\n"
    )
    return str(path)


def test_centres_are_summits_middles_edges_or_anywhere(bed: str) -> None:
    def draw(**options):
        loci = bed_regions.from_bed(bed, GENOME, ["chrA"], **options)
        return loci.draw((0,), len(loci)).centre

    assert draw(center="summit").tolist() == [1040, 2050]
    assert draw(center="center").tolist() == [1150, 2050]
    assert draw(center="edges").tolist() == [1000, 1299, 2000, 2100]
    anywhere = draw(center="random", draws=500)
    assert len(anywhere) == 1000
    assert anywhere[:500].min() >= 1000
    assert anywhere[:500].max() <= 1299
    assert len(np.unique(anywhere[:500])) > 150


def test_jitter_stays_within_its_bounds_and_the_chromosome(bed: str) -> None:
    loci = bed_regions.from_bed(bed, GENOME, ["chrA", "chrB"], jitter=50)
    draws = np.array([loci.draw((i,), 3).centre for i in range(900)])
    assert draws.min(axis=0).tolist() == [990, 2000, 0]
    assert draws.max(axis=0).tolist() == [1090, 2100, 63]


def test_stranded_regions_are_turned_by_column_six(bed: str, tmp_path: Path) -> None:
    loci = bed_regions.from_bed(bed, GENOME, ["chrA", "chrB"], stranded=True)
    assert loci.reverse.tolist() == [False, True, True]
    plain = tmp_path / "plain.bed"
    plain.write_text("chrA\t5\t10\n")
    with pytest.raises(InputError, match="needs \\+ or - in column 6"):
        bed_regions.from_bed(str(plain), GENOME, ["chrA"], stranded=True)


def test_chromosomes_without_regions_are_refused(bed: str) -> None:
    genome = Genome(("chrA", "chrB", "chrC"), (100_000, 50_000, 10))
    with pytest.raises(InputError, match="no region on chrC"):
        bed_regions.from_bed(bed, genome, ["chrC"])


def test_bases_are_drawn_uniformly() -> None:
    spans = (np.array([100, 1000, 131_100]), np.array([200, 1400, 131_600]))
    windows = Bases(GENOME, spans).draw((1,), 100_000)
    position = GENOME.offsets[windows.chromosome] + windows.centre
    assert intervals.contains(spans, position).all()
    share = [np.mean((position >= s) & (position < e)) for s, e in zip(*spans, strict=True)]
    np.testing.assert_allclose(share, [0.1, 0.4, 0.5], atol=0.01)


def plan(**options) -> WindowPlan:
    count = 200
    loci = Loci(
        GENOME, np.zeros(count, np.int64), np.arange(count) * 300 + 500, np.arange(count) * 300 + 600,
        np.zeros(count, bool), np.zeros(count, np.int64), (np.array([500]), np.array([60_600])),
    )  # fmt: skip
    background = Bases(GENOME, (np.array([131_072 + 500]), np.array([131_072 + 40_000])))
    return WindowPlan(loci, background, **{"positive_share": 0.8, "seed": 3, **options})


def test_an_epoch_is_a_function_of_seed_and_epoch() -> None:
    for first, second, equal in (
        (plan().epoch(4), plan().epoch(4), True),
        (plan().epoch(4), plan().epoch(5), False),
        (plan().epoch(4), plan(seed=4).epoch(4), False),
    ):
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)) == equal


def test_the_share_of_background_is_as_asked_and_order_is_mixed() -> None:
    windows = plan().epoch(0)
    assert len(windows.centre) == len(plan()) == 250
    assert windows.background.sum() == 50
    assert (windows.chromosome[windows.background] == 1).all()
    assert 0 < windows.background[:100].sum() < 50
    sized = plan(count=1000).epoch(0)
    assert len(sized.centre) == 1000
    assert sized.background.sum() == 200


def test_what_a_region_holds_does_not_depend_on_how_many_are_taken() -> None:
    whole, part = plan(positive_share=1.0).epoch(2), plan(positive_share=1.0, count=80).epoch(2)
    assert set(part.centre.tolist()) <= set(whole.centre.tolist())


def test_more_samples_than_regions_take_every_region_again() -> None:
    centres = plan(positive_share=1.0, count=400).epoch(0).centre
    region = (centres - 500) // 300
    assert np.bincount(region, minlength=200).tolist() == [2] * 200


def test_a_region_taken_again_is_centred_elsewhere() -> None:
    centres = plan(positive_share=1.0, count=600).epoch(0).centre
    assert len(np.unique(centres)) > 580


def test_what_a_region_holds_does_not_depend_on_its_neighbours() -> None:
    whole = plan(positive_share=1.0, fixed=True)
    loci = whole.positives
    flags = np.arange(len(loci)) % 3 > 0
    part = WindowPlan(loci.keep(flags), seed=whole.seed, fixed=True)
    np.testing.assert_array_equal(part.epoch(0).centre, whole.epoch(0).centre[flags])
    turned = plan(positive_share=1.0, fixed=True, revcomp=True)
    some = WindowPlan(loci.keep(flags), seed=whole.seed, fixed=True, revcomp=True)
    np.testing.assert_array_equal(some.epoch(0).reverse, turned.epoch(0).reverse[flags])


def test_hashed_draws_are_uniform_and_independent() -> None:
    places = np.arange(50_000)
    draws = regions.uniform((1, 2), places)
    counts = np.histogram(draws, bins=50, range=(0, 1))[0]
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.02
    assert abs(np.corrcoef(draws, regions.uniform((1, 3), places))[0, 1]) < 0.02


def test_chromosomes_never_touch_on_the_axis() -> None:
    genome = Genome(("a", "b"), (131_072, 70_000))
    starts, ends = regions.chromosome_spans(genome, ["a", "b"])
    merged = intervals.merge(starts, ends)
    assert len(merged[0]) == 2
    wide = regions.widen(genome, merged, 100)
    np.testing.assert_array_equal(wide[0], starts)
    np.testing.assert_array_equal(wide[1], ends)


def test_a_fixed_plan_is_the_same_every_epoch_and_in_order() -> None:
    fixed = plan(fixed=True, positive_share=1.0)
    np.testing.assert_array_equal(fixed.epoch(0).centre, fixed.epoch(7).centre)
    assert (np.diff(fixed.epoch(0).centre) > 0).all()


def test_half_of_the_windows_are_reverse_complemented() -> None:
    turned = plan(count=20_000, revcomp=True).epoch(0).reverse
    assert abs(turned.mean() - 0.5) < 0.02
    assert not plan().epoch(0).reverse.any()


def test_oriented_plans_turn_only_background() -> None:
    windows = plan(count=5000, oriented=True).epoch(0)
    assert abs(windows.reverse[windows.background].mean() - 0.5) < 0.05


def test_redrawn_windows_keep_their_kind() -> None:
    both = plan()
    windows = both.epoch(0)
    other = both.redraw(windows, 0, 3, 0)
    np.testing.assert_array_equal(other.background, windows.background)
    assert (other.chromosome == windows.chromosome).all()
    assert not np.array_equal(other.centre, windows.centre)
    again = both.redraw(windows, 0, 3, 0)
    np.testing.assert_array_equal(other.centre, again.centre)
    assert not np.array_equal(other.centre, both.redraw(windows, 0, 3, 1).centre)


def test_cover_holds_every_window() -> None:
    both = plan(count=3000)
    spans = both.cover(700)
    windows = both.epoch(1)
    sizes = GENOME.size_array()[windows.chromosome]
    low = GENOME.offsets[windows.chromosome] + np.clip(windows.centre - 700, 0, sizes)
    high = GENOME.offsets[windows.chromosome] + np.clip(windows.centre + 700, 0, sizes)
    place = np.searchsorted(spans[0], low, side="right") - 1
    assert (high <= spans[1][place]).all()


ranges = st.lists(st.tuples(st.integers(0, 90), st.integers(1, 30)), min_size=1, max_size=6)


@given(peaks=ranges, holes=ranges, seed=st.integers(0, 99))
def test_a_peak_is_drawn_from_all_its_centres_outside_what_is_excluded(peaks: list, holes: list, seed: int) -> None:
    excluded = intervals.merge(np.array([a for a, _ in holes]), np.array([a + n for a, n in holes]))
    starts, ends = np.array([a for a, _ in peaks]), np.array([a + n for a, n in peaks])
    left = [set(range(a, a + n)) - {p for h, m in holes for p in range(h, h + m)} for a, n in peaks]
    left = [centres for centres in left if centres]
    found = Peaks.within(GENOME, (starts, ends), excluded, (starts, ends))
    assert len(found) == len(left)
    if not left:
        return
    rounds = 40 * max(len(centres) for centres in left)
    drawn = found.draw((seed,), rounds * len(left)).centre.reshape(rounds, len(left))
    for column, centres in zip(drawn.T, left, strict=True):
        assert set(column.tolist()) == centres
    for middle, centres in zip(found.typical(()).centre.tolist(), left, strict=True):
        assert middle == sorted(centres)[len(centres) // 2]


def three_peaks() -> Peaks:
    """Peaks of 100, 1,000 and 400 + 100 centres, on two chromosomes."""
    starts, ends = np.array([500, 2000, 131_072]), np.array([600, 3000, 131_572 + 100])
    return Peaks.within(GENOME, (starts, ends), (np.array([131_472]), np.array([131_572])), (starts, ends))


def test_each_peak_and_within_it_each_base_is_as_likely() -> None:
    windows = three_peaks().draw((4,), 30_000)
    position = GENOME.offsets[windows.chromosome] + windows.centre
    for low, high, hole in ((500, 600, 600), (2000, 3000, 3000), (131_072, 131_672, 131_472)):
        here = position[(position >= low) & (position < high)]
        assert len(here) == 10_000
        counts = np.bincount(here - low, minlength=high - low)
        possible = np.flatnonzero((np.arange(low, high) < hole) | (np.arange(low, high) >= hole + 100))
        assert counts.sum() == counts[possible].sum()
        expected = 10_000 / len(possible)
        # Chi-square of uniform counts has mean k - 1 and variance 2 (k - 1).
        statistic = ((counts[possible] - expected) ** 2 / expected).sum()
        assert abs(statistic - len(possible)) < 5 * np.sqrt(2 * len(possible))


def test_a_peak_is_centred_by_its_own_place_alone() -> None:
    whole = three_peaks()
    starts, ends = np.array([2000, 9000]), np.array([3000, 9500])
    other = Peaks.within(GENOME, (starts, ends), (np.zeros(0, np.int64), np.zeros(0, np.int64)), (starts, ends))
    assert whole.draw((1, 2), 3).centre[1] == other.draw((1, 2), 2).centre[0]


def test_few_windows_of_many_regions_are_a_random_part() -> None:
    whole = plan(positive_share=1.0)
    seen = np.zeros(200)
    for epoch in range(300):
        drawn = whole.redraw(whole.epoch(0).take(slice(0, 10)), epoch, 0, 0)
        region = (drawn.centre - 500) // 300
        assert len(set(region.tolist())) == 10
        seen[region] += 1
    assert seen.min() > 0
    assert abs(((seen - 15) ** 2 / 15).sum() - 200) < 5 * np.sqrt(400)
