"""Batches of an epoch."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from db_ingest.errors import InputError, RunError
from kerasgen import spec as specs
from kerasgen.database import Database
from kerasgen.loader.builder import BatchBuilder
from kerasgen.loader.dataset import BatchGenerator
from kerasgen.loader.order import Order
from kerasgen.loader.sources import BlockSource, EpochSource, MemorySource, choose, require_local_folder
from kerasgen.regions import plan as planning
from kerasgen.regions.windows import WindowPlan
from kerasgen.settings import Data, Samples

DEFAULTS = {
    "bed_regions": None, "bed_regions_center": "summit", "bed_regions_jitter": 1, "bed_regions_stranded": False,
    "jitter": 0, "tdb_partition_attribute_for_upsample": None, "tdb_partition_thresh_for_upsample": 1.0,
    "tdb_partition_datasets_for_upsample": None, "tdb_ambig_attribute": None, "blacklist": None,
    "upsample_by": None, "background": "random", "background_bed": None, "gc_tolerance": 0.02, "max_n_fraction": 0.1,
    "ambiguous": "center",
    "upsample_ratio_list_train": [1.0], "upsample_ratio_list_eval": [1.0], "num_train": None, "num_valid": None,
    "fold": None, "genome": None, "train_chroms": None, "validation_chroms": ["chr2"], "test_chroms": ["chr3"],
    "revcomp": False, "seed": 1, "strand_map": None, "tdb_transformation_pseudocount": 1.0,
    "tdb_input_source_attribute": ["seq"], "tdb_input_flank": [100], "tdb_input_datasets": None,
    "tdb_input_aggregation": None, "tdb_input_transformation": None, "tdb_input_min": None, "tdb_input_max": None,
    "tdb_output_source_attribute": ["count_bigwig_plus_5p,count_bigwig_minus_5p"] * 2,
    "tdb_output_flank": [40], "tdb_output_datasets": ["pooled"], "tdb_output_aggregation": [None, "sum"],
    "tdb_output_transformation": [None, "log"], "tdb_output_min": None, "tdb_output_max": None,
}  # fmt: skip


@pytest.fixture
def flags(simulated: Path) -> dict:
    return {**DEFAULTS, "bed_regions": str(simulated / "peaks.narrowPeak")}


MADE: list[BatchGenerator] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


def make(database: Database, flags: dict, part: int = 1, **options) -> BatchGenerator:
    """Batches that are closed at the end of the test."""
    spec = specs.from_settings(database, Data.from_flat(flags))
    plan = planning.plan_training(database, spec, Samples.from_flat(flags))[part]
    MADE.append(BatchGenerator(BatchBuilder(database, spec), plan, options.pop("batch_size", 8), **options))
    return MADE[-1]


def equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip((a[0], *a[1]), (b[0], *b[1]), strict=True))


def test_batches_are_a_function_of_seed_epoch_and_index(database: Database, flags: dict) -> None:
    flags |= {"jitter": 30, "revcomp": True, "upsample_ratio_list_train": [0.7]}
    first, again = make(database, flags, epoch=3), make(database, flags, epoch=3)
    assert len(first) == 5
    assert all(equal(first[i], again[i]) for i in (4, 0, 2))
    assert not equal(first[0], make(database, flags, epoch=4)[0])
    assert not equal(first[0], make(database, {**flags, "seed": 2}, epoch=3)[0])


def test_a_resumed_epoch_goes_on_where_it_was(database: Database, flags: dict) -> None:
    whole, rest = make(database, flags), make(database, flags, first_batch=1)
    assert len(rest) == len(whole) - 1
    assert equal(whole[1], rest[0])


def sources(database: Database, plan: WindowPlan, needs: dict, order: Order) -> list[EpochSource]:
    """All of the plan in memory, and in groups of blocks."""
    return [MemorySource(database, needs, plan, order, threads=2), BlockSource(database, needs, order, 7)]


@pytest.mark.parametrize("order", [Order(), Order(1024, 3), Order(65_536, 1)], ids=str)
@pytest.mark.parametrize("part", [1, 2])
def test_memory_and_blocks_give_the_same_batches(database: Database, flags: dict, order: Order, part: int) -> None:
    flags |= {"jitter": 30, "upsample_ratio_list_train": [0.6], "bed_regions_center": "center"}
    plain = make(database, flags, part)
    for source in sources(database, plain.plan, plain.builder.needs, order):
        batches, again = (make(database, flags, part, source=source) for _ in range(2))
        assert len(batches) == len(plain)
        if order.block is None or part == 2:
            assert all(equal(plain[i], batches[i]) for i in range(len(plain)))
        # Several threads may ask for batches a little out of order.
        for i in (1, 0, *range(2, len(plain))):
            assert equal(again[i], batches[i])
        batches.close()
        again.close()
        samples = [tuple(w) for w in zip(*make(database, flags, part, source=source).windows, strict=True)]
        assert sorted(samples) == sorted(zip(*plain.windows, strict=True))


def test_the_windows_of_a_block_come_together(database: Database, flags: dict) -> None:
    flags |= {"jitter": 30}
    windows = make(database, flags).plan.epoch(0)
    arranged, edges = Order(4096, 2).arrange(database.genome, make(database, flags).plan, 0)
    block = arranged.centre // 4096
    groups = [set(block[a:b].tolist()) for a, b in itertools.pairwise(edges)]
    assert len(groups) > 2
    assert all(len(group) == 2 for group in groups[:-1])
    assert sum(len(group) for group in groups) == len(np.unique(windows.centre // 4096))
    other, _ = Order(4096, 2).arrange(database.genome, make(database, flags).plan, 1)
    assert (arranged.centre // 4096 != other.centre // 4096).any()


def test_shards_are_disjoint_and_make_up_each_batch(database: Database, flags: dict) -> None:
    whole = make(database, flags)
    parts = [make(database, flags, shard=(number, 4)) for number in range(4)]
    for i in range(len(whole)):
        pieces = [batches[i] for batches in parts]
        assert [len(piece[0]) for piece in pieces] == [2, 2, 2, 2]
        joined = np.concatenate([piece[0] for piece in pieces])
        np.testing.assert_array_equal(joined, whole[i][0])
    with pytest.raises(InputError, match="--batch_size 8: expected a multiple of the 3 devices"):
        make(database, flags, shard=(0, 3))


def test_what_does_not_fit_comes_through_a_buffer(database: Database, flags: dict) -> None:
    made = make(database, flags)
    needs, plan = made.builder.needs, made.plan
    assert isinstance(choose(database, needs, plan, cache_gb=1), MemorySource)
    source = choose(database, needs, plan, cache_gb=5e-6)
    assert isinstance(source, BlockSource)
    assert source.order == Order(65_536, 1)
    kept = choose(database, needs, plan, cache_gb=1, order=source.order)
    few, many = (make(database, flags, source=s) for s in (source, kept))
    assert all(equal(few[i], many[i]) for i in range(len(few)))
    few.close()


def test_cells_are_kept_in_files_and_found_again(
    database: Database, flags: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags |= {"jitter": 20, "revcomp": True}
    made = make(database, flags)
    needs, plan = made.builder.needs, made.plan
    expected = [made[i] for i in range(len(made))]

    def from_files() -> list:
        source = choose(database, needs, plan, cache_gb=0, cache_dir=str(tmp_path))
        batches = make(database, flags, source=source)
        return [batches[i] for i in range(len(batches))]

    assert all(map(equal, from_files(), expected))
    files = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert len(files) == 2
    assert sum(files.values()) == MemorySource(database, needs, plan).nbytes
    with monkeypatch.context() as patch:
        patch.setattr(database, "read_cells", None)
        assert all(map(equal, from_files(), expected))
    wider = make(database, {**flags, "jitter": 25}).plan
    choose(database, needs, wider, cache_dir=str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 4


def test_what_could_not_be_read_is_not_kept(
    database: Database, flags: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(database, flags)

    def broken(*_: object) -> None:
        raise RunError("the disk is gone")

    monkeypatch.setattr(database, "read_cells", broken)
    with pytest.raises(RunError, match="the disk is gone"):
        choose(database, made.builder.needs, made.plan, cache_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_folder_without_room_is_told_of(database: Database, flags: dict, tmp_path: Path, monkeypatch) -> None:
    made = make(database, flags)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RunError, match=f"{tmp_path}: no room for 0.00 GB of cells \\(No space left"):
        choose(database, made.builder.needs, made.plan, cache_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_files_are_kept_on_a_local_disk(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--cache_dir s3://lab/cells: expected a folder on this machine's own disk"):
        require_local_folder("s3://lab/cells")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"{tmp_path}/file"):
        require_local_folder(str(tmp_path / "file"))


def test_an_error_while_reading_ahead_is_that_of_the_batch(database: Database, flags: dict, monkeypatch) -> None:
    made = make(database, flags)
    source = BlockSource(database, made.builder.needs, Order(1024, 1), 7)
    batches = make(database, flags, source=source)

    def broken(*_: object) -> None:
        raise RunError("the disk is gone")

    monkeypatch.setattr(database, "read_cells", broken)
    with pytest.raises(RunError, match="the disk is gone"):
        batches[0]
    batches.close()


def test_training_never_sees_a_held_out_chromosome(database: Database, flags: dict) -> None:
    flags |= {"jitter": 2000, "upsample_ratio_list_train": [0.5]}
    for part, allowed in ((1, {0}), (2, {1})):
        for epoch in range(3):
            assert set(make(database, flags, part, epoch=epoch).windows.chromosome.tolist()) == allowed


def test_validation_is_fixed_and_keeps_its_last_batch(database: Database, flags: dict) -> None:
    flags |= {"jitter": 30}
    held = make(database, flags, part=2)
    assert sum(len(held[i][0]) for i in range(len(held))) == 30
    assert len(held) == 4
    assert equal(held[1], make(database, flags, part=2, epoch=5)[1])


def test_upsampling_draws_from_peaks_and_the_rest_from_elsewhere(database: Database, flags: dict) -> None:
    flags |= {"bed_regions": None, "tdb_partition_attribute_for_upsample": "idr_peak", "num_train": 2000,
              "upsample_ratio_list_train": [0.8]}  # fmt: skip
    windows = make(database, flags).windows
    mask = database.windows(database.track("idr_peak", "pooled"), ["chr1"], [0], 60_000)[0]
    in_peak = mask[windows.centre] > 0
    assert in_peak.sum() == 1600
    np.testing.assert_array_equal(in_peak, ~windows.background)
    # A window of background touches no peak.
    for centre in windows.centre[windows.background]:
        assert not mask[centre - 40 : centre + 40].any()


def test_background_of_a_bed_file_touches_no_region(database: Database, flags: dict) -> None:
    windows = make(database, {**flags, "upsample_ratio_list_train": [0.3]}).windows
    mask = database.windows(database.track("idr_peak", "pooled"), ["chr1"], [0], 60_000)[0]
    assert windows.background.sum() == 70
    for centre in windows.centre[windows.background]:
        assert not mask[centre - 40 : centre + 40].any()


def test_filters_keep_the_batch_size_and_hold_in_every_batch(database: Database, flags: dict) -> None:
    flags |= {"jitter": 60, "tdb_output_min": [None, 2.5], "tdb_output_max": [None, 5.5]}
    batches = make(database, flags)
    unfiltered = make(database, {**flags, "tdb_output_min": None, "tdb_output_max": None})
    replaced = 0
    for i in range(len(batches)):
        inputs, (profile, counts) = batches[i]
        assert len(inputs) == len(profile) == len(counts) == 8
        assert ((counts >= 2.5) & (counts <= 5.5)).all()
        np.testing.assert_allclose(np.log(profile.sum(axis=1) + 1), counts, rtol=1e-5)
        replaced += (unfiltered[i][1][1] != counts).any(axis=1).sum()
        assert equal(batches[i], make(database, flags)[i])
    assert replaced > 0


def test_filters_that_leave_nothing_are_refused(database: Database, flags: dict) -> None:
    flags |= {"tdb_output_min": [None, 50.0]}
    with pytest.raises(RunError, match="widen the bounds"):
        make(database, flags)[0]
    with pytest.raises(InputError, match="no validation sample"):
        make(database, flags, part=2, filtered=True)


def test_a_blacklist_is_never_touched_by_an_output_window(database: Database, flags: dict, tmp_path: Path) -> None:
    path = tmp_path / "black.bed"
    path.write_text("chr1\t0\t20000\nchr1\t30000\t30500\n")
    flags |= {"jitter": 30, "blacklist": str(path), "upsample_ratio_list_train": [0.5]}
    windows = make(database, flags).windows
    for low, high in ((0, 20_000), (30_000, 30_500)):
        assert not ((windows.centre - 40 < high) & (windows.centre + 40 > low)).any()


def test_ambiguous_bases_are_no_centres(database: Database, flags: dict) -> None:
    flags |= {"bed_regions": None, "tdb_partition_attribute_for_upsample": "count_bigwig_plus_5p",
              "tdb_partition_thresh_for_upsample": 3, "tdb_ambig_attribute": "idr_peak", "num_train": 100}  # fmt: skip
    with pytest.raises(InputError, match="nowhere at least 3"):
        make(database, {**flags, "tdb_partition_thresh_for_upsample": 300})
    windows = make(database, {**flags, "tdb_partition_thresh_for_upsample": 1}).windows
    mask = database.windows(database.track("idr_peak", "pooled"), ["chr1"], [0], 60_000)[0]
    assert (mask[windows.centre] == 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bed_regions": None}, "give one of --bed_regions and --tdb_partition"),
        ({"bed_regions_jitter": 5}, "--jitter moves centres"),
        ({"revcomp": True, "bed_regions_stranded": True}, "give one"),
        ({"upsample_ratio_list_train": [0.0]}, "--upsample_ratio_list_train 0.0"),
        ({"upsample_ratio_list_train": [0.5, 0.5]}, "expected one share"),
        ({"num_train": 0}, "--num_train 0"),
        ({"train_chroms": ["chr1"], "validation_chroms": ["chrX"]}, "chrX: not in the genome"),
    ],
)
def test_region_flags_that_make_no_sense_are_refused(
    database: Database, flags: dict, changes: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(database, {**flags, **changes})
