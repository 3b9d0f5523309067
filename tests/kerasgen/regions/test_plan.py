"""Plans of training and validation: what is drawn, from where, how often, and what is refused."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st
from small_database import RICH, SIZES, Small

from db_ingest.errors import InputError
from kerasgen import spec as specs
from kerasgen.regions import plan as planning
from kerasgen.regions.windows import WindowPlan, Windows
from kerasgen.settings import Data, Regions, Samples
from kerasgen.training.train import train

NAMES = list(SIZES)
INPUT, OUTPUT = 300, 100
PEAKS = {"bed_regions": None, "tdb_partition_attribute_for_upsample": "peak"}
HALF = {"upsample_ratio_list_train": [0.5], "upsample_ratio_list_eval": [0.5]}


def flags_of(small: Small, **changes: Any) -> dict[str, Any]:
    flags = {name: parameter.default for name, parameter in inspect.signature(train).parameters.items()}
    flags |= {
        "tdb_output_source_attribute": ["signal"], "tdb_output_datasets": ["a"], "tdb_output_flank": [OUTPUT],
        "tdb_input_flank": [INPUT], "bed_regions": str(small.folder / "a.narrowPeak"), "validation_chroms": ["chr2"],
        "train_chroms": ["chr1"],
    }  # fmt: skip
    return {name: list(v) if isinstance(v, tuple) else v for name, v in {**flags, **changes}.items()}


def plans(small: Small, **changes: Any) -> tuple[WindowPlan, WindowPlan]:
    flags = flags_of(small, **changes)
    spec = specs.from_settings(small.database, Data.from_flat(flags))
    return planning.plan_training(small.database, spec, Samples.from_flat(flags))[1:]


def gc_of(small: Small, windows: Windows) -> np.ndarray:
    """GC content of input windows, from the bases that were written to the FASTA file."""
    found = []
    for place, centre in zip(windows.chromosome.tolist(), windows.centre.tolist(), strict=True):
        codes = small.codes[NAMES[place]][max(centre - INPUT, 0) : centre + INPUT]
        found.append(np.isin(codes, (1, 2)).sum() / (codes < 4).sum())
    return np.array(found)


def marked(places: list, name: str) -> np.ndarray:
    """Bases of a chromosome inside intervals ``(chromosome, start, end, ...)``."""
    flags = np.zeros(SIZES[name], bool)
    for chromosome, start, end, *_ in places:
        if chromosome == name:
            flags[start:end] = True
    return flags


def touched(flags: np.ndarray, centres: np.ndarray, flank: int) -> np.ndarray:
    """Whether windows hold a flagged base."""
    before = np.concatenate([[0], np.cumsum(flags)])
    return before[np.clip(centres + flank, 0, len(flags))] > before[np.clip(centres - flank, 0, len(flags))]


def share_of_n(small: Small, windows: Windows) -> np.ndarray:
    found = []
    for place, centre in zip(windows.chromosome.tolist(), windows.centre.tolist(), strict=True):
        padded = np.pad(small.codes[NAMES[place]], INPUT, constant_values=4)
        found.append((padded[centre : centre + 2 * INPUT] == 4).mean())
    return np.array(found)


def uniform_enough(counts: np.ndarray) -> bool:
    """Whether counts are those of equally likely things: chi-square within five of its standard deviations."""
    expected = counts.mean()
    return abs(((counts - expected) ** 2 / expected).sum() - len(counts)) < 5 * np.sqrt(2 * len(counts))


WAYS: list[dict[str, Any]] = [
    {},
    {"bed_regions_center": "random", "bed_regions_jitter": 3},
    {"bed_regions_center": "edges"},
    {"bed_regions_center": "random", "upsample_by": "base"},
    {**PEAKS},
    {**PEAKS, "upsample_by": "peak", "jitter": 700},
    {**PEAKS, "upsample_by": "peak", "jitter": 90, "tdb_partition_thresh_for_upsample": 2},
    {**PEAKS, "tdb_partition_attribute_for_upsample": "signal", "tdb_partition_thresh_for_upsample": 3,
     "tdb_partition_datasets_for_upsample": ["a", "b"]},
    {"jitter": 700},
]  # fmt: skip


@examples(25)
@given(
    way=st.sampled_from(WAYS),
    background=st.sampled_from(["random", "gc_matched", "bed"]),
    ambiguous=st.sampled_from([None, "center", "window"]),
    blacklisted=st.booleans(),
    split=st.permutations(["chr1", "chr2", "chr3"]),
    share=st.sampled_from([0.3, 0.5, 1.0]),
    seed=st.integers(0, 50),
)
def test_whatever_the_flags_every_window_lies_where_it_may(
    small: Small, tmp_path_factory: pytest.TempPathFactory, way: dict, background: str, ambiguous: str | None,
    blacklisted: bool, split: list, share: float, seed: int,
) -> None:  # fmt: skip
    folder = tmp_path_factory.getbasetemp()
    negatives, blacklist = folder / "negatives.bed", folder / "blacklist.bed"
    negatives.write_text("".join(f"{n}\t{s}\t{s + 2}\n" for n in SIZES for s in range(0, SIZES[n] - 2, 130)))
    black = [(name, start, start + 200) for name in SIZES for start in range(5_000, SIZES[name], 21_000)]
    blacklist.write_text("".join(f"{n}\t{s}\t{min(e, SIZES[n])}\n" for n, s, e in black))
    changes = {**way, "train_chroms": split[:1], "validation_chroms": split[1:2], "test_chroms": split[2:]}
    changes |= {"upsample_ratio_list_train": [share], "upsample_ratio_list_eval": [0.5], "seed": seed}
    changes |= {"background": background, "background_bed": str(negatives) if background == "bed" else None}
    changes |= {"blacklist": str(blacklist)} if blacklisted else {}
    changes |= {"tdb_ambig_attribute": "ambiguous", "ambiguous": ambiguous} if ambiguous else {}
    for part, plan in zip(split, plans(small, **changes), strict=False):
        positives, drawn = plan.sizes
        for epoch in range(2):
            windows = plan.epoch(epoch)
            assert len(windows.centre) == len(plan) == positives + drawn
            redrawn = plan.redraw(windows, epoch, 1, 0)
            for some in (windows, redrawn):
                # No window of another part, jitter and redrawn ones included, nor one centred off its chromosome.
                assert {NAMES[place] for place in some.chromosome.tolist()} == {part}
                assert some.centre.min() >= 0
                assert some.centre.max() < SIZES[part]
                assert some.background.sum() == drawn
                assert share_of_n(small, some).max() <= 0.1
                peaks = marked(small.peaks["a"], part)
                if changes.get("tdb_partition_attribute_for_upsample") != "signal":
                    assert not touched(peaks, some.centre[some.background], OUTPUT).any()
                if blacklisted:
                    assert not touched(marked(black, part), some.centre, OUTPUT).any()
                if ambiguous:
                    doubtful = marked(small.ambiguous, part)
                    assert not doubtful[some.centre].any()
                    assert not touched(doubtful, some.centre[some.background], OUTPUT).any()
                if ambiguous == "window":
                    assert not touched(doubtful, some.centre, OUTPUT).any()


def test_the_share_of_upsampled_windows_is_as_asked(small: Small) -> None:
    for share in (0.1, 0.25, 0.5, 0.9):
        for way in (PEAKS, {}):
            training, _ = plans(small, **way, upsample_ratio_list_train=[share], num_train=4000)
            windows = training.epoch(0)
            peaks = marked(small.peaks["a"], "chr1")
            assert peaks[windows.centre].sum() == (~windows.background).sum() == round(4000 * share)


@pytest.mark.parametrize("way", [PEAKS, {"bed_regions_center": "random", "upsample_by": "base"}])
def test_by_base_every_base_of_a_peak_is_as_likely(small: Small, way: dict) -> None:
    training, _ = plans(small, **way, num_train=400_000)
    counts = np.bincount(training.epoch(0).centre, minlength=SIZES["chr1"])
    # The peaks that lie in N are left out.
    possible = marked(small.peaks["a"], "chr1")
    padded = np.concatenate([[0], np.cumsum(np.pad(small.codes["chr1"] == 4, INPUT, constant_values=True))])
    possible &= (padded[2 * INPUT :][: SIZES["chr1"]] - padded[: SIZES["chr1"]]) <= 0.1 * 2 * INPUT
    assert counts.sum() == counts[possible].sum()
    assert uniform_enough(counts[possible])


@pytest.mark.parametrize("way", [PEAKS, {"bed_regions_center": "random"}])
def test_by_peak_every_peak_is_as_likely_and_each_of_its_bases(small: Small, way: dict) -> None:
    training, _ = plans(small, **way, upsample_by="peak", max_n_fraction=1.0)
    peaks = [peak for peak in small.peaks["a"] if peak[0] == "chr1"]
    assert len(training) == len(peaks)
    starts = np.array([start for _, start, _, _ in peaks])
    centres = np.concatenate([training.epoch(epoch).centre for epoch in range(3000)])
    which = np.searchsorted(starts, centres, side="right") - 1
    assert np.bincount(which).tolist() == [3000] * len(peaks)
    widths = np.array([end - start for _, start, end, _ in peaks])
    for peak in (int(np.argmin(widths)), int(np.argmax(widths))):
        assert uniform_enough(np.bincount(centres[which == peak] - starts[peak], minlength=widths[peak]))


def test_summits_of_the_database_are_jittered_as_those_of_a_file(small: Small) -> None:
    ways = ({**PEAKS, "tdb_partition_thresh_for_upsample": 2.0, "upsample_by": "peak"}, {})
    drawn = [plans(small, **way, jitter=250, max_n_fraction=1.0)[0] for way in ways]
    summits = np.array([summit for name, _, _, summit in small.peaks["a"] if name == "chr1"])
    for plan in drawn:
        moved = np.concatenate([np.sort(plan.epoch(epoch).centre) for epoch in range(400)]) - np.tile(summits, 400)
        assert (moved.min(), moved.max()) == (-250, 250)
        assert uniform_enough(np.bincount(moved + 250, minlength=501))


def test_gc_content_of_background_is_that_of_the_regions(small: Small) -> None:
    for way in ({}, PEAKS, {**PEAKS, "upsample_by": "peak", "tdb_partition_thresh_for_upsample": 2.0}):
        gc = {}
        for kind in ("random", "gc_matched"):
            training, _ = plans(small, **way, **HALF, background=kind, gc_tolerance=0.05)
            windows = training.epoch(0)
            gc[kind] = gc_of(small, windows.take(windows.background))
            gc["regions"] = gc_of(small, windows.take(~windows.background))
        assert len(gc["random"]) == len(gc["regions"])
        assert abs(gc["random"].mean() - gc["regions"].mean()) > 0.03
        if way == PEAKS:
            # Both are draws.
            assert abs(gc["gc_matched"].mean() - gc["regions"].mean()) < 0.02
        else:
            assert np.abs(np.sort(gc["gc_matched"]) - np.sort(gc["regions"])).max() < 0.05


def test_background_of_a_file_is_its_summits_that_touch_nothing(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "negatives.bed"
    rows = [("chr1", 6000 + 900 * i, 6000 + 900 * i + 11) for i in range(300)] + [("chr2", 100, 200)]
    path.write_text("".join(f"{n}\t{s}\t{e}\n" for n, s, e in rows))
    training, _ = plans(small, upsample_ratio_list_train=[0.2], background="bed", background_bed=str(path))
    middles = np.array([s + 5 for n, s, _ in rows if n == "chr1"])
    windows = Windows(np.zeros(300, int), middles, np.zeros(300, bool), np.zeros(300, bool))
    free = ~touched(marked(small.peaks["a"], "chr1"), middles, OUTPUT) & (share_of_n(small, windows) <= 0.1)
    found = training.epoch(0)
    assert 0 < free.sum() < 300
    assert set(found.centre[found.background].tolist()) == set(middles[free].tolist())


def test_validation_windows_are_fixed_and_training_windows_are_not(small: Small) -> None:
    for way in WAYS:
        for background in ("random", "gc_matched"):
            training, validation = plans(small, **way, **HALF, background=background)
            for first, second in zip(validation.epoch(0), validation.epoch(9), strict=True):
                np.testing.assert_array_equal(first, second)
            assert not np.array_equal(training.epoch(0).centre, training.epoch(9).centre)


def test_epochs_are_a_function_of_the_seed(small: Small) -> None:
    for background in ("random", "gc_matched"):
        some = {**PEAKS, **HALF, "background": background}
        first, again, other = (plans(small, **some, seed=seed)[0].epoch(3) for seed in (1, 1, 2))
        for one, two in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, two)
        assert not np.array_equal(first.centre, other.centre)


def test_windows_with_n_are_kept_if_asked_for(small: Small) -> None:
    every = [peak for peak in small.peaks["a"] if peak[0] == "chr1"]
    kept, strict = (plans(small, max_n_fraction=most)[0] for most in (1.0, 0.0))
    assert len(kept) == len(every)
    windows = kept.epoch(0)
    assert len(strict) == (share_of_n(small, windows) == 0).sum() < len(every)


def test_a_plan_tells_what_it_is_made_of(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kerasgen"):
        plans(small, **HALF, background="gc_matched", tdb_ambig_attribute="ambiguous", ambiguous="window")
    every = sum(name == "chr1" for name, *_ in small.peaks["a"])
    lines = [line for line in caplog.text.splitlines() if "training" in line]
    assert f"of {every} regions; left out: " in lines[0]
    assert " ambiguous, " in lines[0]
    assert " with more than 10% N" in lines[0]
    assert "matched in GC content within 0.02 from 5,199 candidates (mean GC 0.53" in lines[1]
    caplog.clear()
    with caplog.at_level(logging.INFO, "kerasgen"):
        plans(small, **PEAKS, **HALF)
    assert "bases in 89 stretches; left out: " in caplog.text
    assert "training background: 86 samples per epoch, random among " in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"upsample_by": "summit"}, "--upsample_by summit: expected one of base, peak"),
        ({"background": "shuffled"}, "--background shuffled: expected one of random, gc_matched, bed"),
        ({"ambiguous": "none"}, "--ambiguous none: expected one of center, window"),
        ({"bed_regions_center": "middle"}, "--bed_regions_center middle: expected one of summit, center"),
        ({"upsample_by": "base"}, "--upsample_by base takes any base .* --bed_regions_center summit .* random"),
        ({"upsample_by": "base", "bed_regions_center": "random", "jitter": 5}, "--jitter goes with --upsample_by peak"),
        ({"upsample_by": "base", "bed_regions_center": "random", "bed_regions_jitter": 5}, "--bed_regions_jitter goes"),
        ({**PEAKS, "jitter": 5}, "--jitter goes with --upsample_by peak"),
        ({**PEAKS, "bed_regions_center": "edges"}, "--bed_regions_center goes with --bed_regions"),
        ({**PEAKS, "bed_regions_stranded": True}, "--bed_regions_stranded goes with --bed_regions"),
        ({"tdb_partition_datasets_for_upsample": ["a"]}, "--tdb_partition_datasets_for_upsample goes with --tdb_part"),
        ({**PEAKS, "tdb_partition_datasets_for_upsample": ["z"]}, "no dataset 'z'"),
        ({**PEAKS, "tdb_partition_thresh_for_upsample": 3.0}, "peak: nowhere at least 3 on chr1"),
        ({"ambiguous": "window"}, "--ambiguous window .* --tdb_ambig_attribute reaches; give both"),
        ({"tdb_ambig_attribute": "nope"}, "no attribute 'nope'"),
        ({"background": "bed", **HALF}, "--background bed and --background_bed FILE go together"),
        ({"background_bed": "x.bed", **HALF}, "--background bed and --background_bed FILE go together"),
        ({"background": "gc_matched"}, "gc_matched: no background is drawn; expected a share below 1 in --upsample_r"),
        ({"gc_tolerance": 0.001}, "--gc_tolerance 0.001: expected a share from 0.005 to 1"),
        ({"max_n_fraction": -0.5}, "--max_n_fraction -0.5: expected a share from 0 to 1"),
        ({"max_n_fraction": 10.0}, "--max_n_fraction 10: expected a share from 0 to 1"),
        ({"num_valid": 0}, "--num_valid 0: expected 1 or more"),
        ({"upsample_ratio_list_eval": [1.5]}, "--upsample_ratio_list_eval 1.5"),
        ({"train_chroms": ["tiny"], **PEAKS}, "peak: nowhere at least 1 on tiny"),
    ],
)
def test_flags_that_make_no_sense_are_refused(small: Small, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plans(small, **changes)


def test_parts_without_regions_or_background_are_refused(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "all.bed"
    path.write_text("".join(f"{name}\t0\t{size}\n" for name, size in SIZES.items()))
    with pytest.raises(InputError, match="no region is left on chr1; left out: 89 blacklisted"):
        plans(small, blacklist=str(path))
    with pytest.raises(InputError, match="--tdb_partition_attribute_for_upsample peak: no region is left on chr1"):
        plans(small, **PEAKS, blacklist=str(path))
    with pytest.raises(InputError, match="no background is left on chr1; left out: 400,000 bases touching a region"):
        plans(small, bed_regions=str(path), **HALF)
    with pytest.raises(
        InputError, match="--background_bed .*all.bed: none is left on chr1; left out: 1 touching a region"
    ):
        plans(small, bed_regions=str(path), **HALF, background="bed", background_bed=str(path))


def test_regions_without_background_of_their_gc_content_are_refused(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "rich.bed"
    path.write_text(f"chr1\t{RICH - 400}\t{RICH + 400}\nchr2\t70000\t70010\n")
    with pytest.raises(InputError, match="--gc_tolerance 0.02: no region on chr1 has background so close"):
        plans(small, bed_regions=str(path), **HALF, background="gc_matched", gc_tolerance=0.02)


def test_a_database_without_sequence_has_no_gc_content(small: Small, tmp_path: Path) -> None:
    from db_ingest import ingest
    from kerasgen.database import Database

    (tmp_path / "sizes").write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
    ingest(str(tmp_path / "db"), str(small.folder / "samples.tsv"), chrom_sizes=str(tmp_path / "sizes"),
           attribute_config_file=str(small.folder / "types.tsv"))  # fmt: skip
    with Database(str(tmp_path / "db")) as database:
        flags = flags_of(small, **HALF, tdb_input_source_attribute=["signal"], tdb_input_datasets=["a"])
        spec = specs.from_settings(database, Data.from_flat(flags))
        training = planning.plan_training(database, spec, Samples.from_flat(flags))[1]
        assert len(training) == 2 * sum(name == "chr1" for name, *_ in small.peaks["a"])
        with pytest.raises(InputError, match="gc_matched: .* holds no sequence; ingest one with gen_ingest"):
            planning.plan_training(database, spec, Samples.from_flat({**flags, "background": "gc_matched"}))


def test_prediction_takes_every_region_whatever_training_drew(small: Small) -> None:
    flags = flags_of(small, **HALF, bed_regions_center="center", background="gc_matched")
    spec = specs.from_settings(small.database, Data.from_flat(flags))
    windows = planning.plan_prediction(small.database, spec, Regions.from_flat(flags), ["chr1"], seed=1).epoch(0)
    wanted = sorted((start + end) // 2 for name, start, end, _ in small.peaks["a"] if name == "chr1")
    assert windows.centre.tolist() == wanted
    flags = flags_of(small, **PEAKS, upsample_by="peak", jitter=0)
    windows = planning.plan_prediction(small.database, spec, Regions.from_flat(flags), ["chr1"], seed=1).epoch(0)
    assert windows.centre.tolist() == wanted
    with pytest.raises(InputError, match="--jitter goes with --bed_regions"):
        planning.plan_prediction(small.database, spec, Regions.from_flat({**flags, "jitter": 3}), ["chr1"], seed=1)
