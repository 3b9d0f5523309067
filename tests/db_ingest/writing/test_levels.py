"""Binned levels against bins taken by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiledb
from chance import examples
from handmade import CHUNK, GENOME, Database, rows
from hypothesis import given
from hypothesis import strategies as st
from plain import joined

from db_ingest import storage
from db_ingest.errors import InputError, RunError
from db_ingest.layout import arrays
from db_ingest.layout.bins import aggregate
from db_ingest.layout.catalogue import Staged, load
from db_ingest.upkeep.consolidate import consolidate
from db_ingest.upkeep.verify import verify
from db_ingest.writing.levels import levels

BINS = [2, 5, 7, 64, 100, 1000]


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch):
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", CHUNK)
    monkeypatch.setattr("db_ingest.upkeep.consolidate._SECONDS_TO_LIST", {"local": 0, "remote": 0})
    monkeypatch.setattr("db_ingest.writing.level_writer._BASES_AT_ONCE", 40)


def by_hand(bases: np.ndarray, bin: int, aggregation: str) -> np.ndarray:
    """Bins of a chromosome, one at a time, in float64."""
    reduce = {"mean": np.mean, "max": np.max, "sum": np.sum}[aggregation]
    found = []
    for start in range(0, len(bases), bin):
        values = bases[start : start + bin].astype(np.float64)
        values = values[~np.isnan(values)]
        found.append(reduce(values) if len(values) else np.nan)
    return np.array(found)


def stored_level(uri: str, attribute: str, dataset: str, bin: int, aggregation: str) -> dict[str, np.ndarray]:
    """Bins by chromosome, as plain TileDB reads them; all else must be empty."""
    document = json.loads(Path(uri, "catalogue.json").read_text())
    (track,) = (t for t in document["tracks"] if (t["attribute"], t["dataset"]) == (attribute, dataset))
    (level,) = (x for x in track["levels"] if (x["bin"], x["aggregation"]) == (bin, aggregation))
    genome = GENOME.binned(bin)
    with tiledb.open(f"{uri}/signal/{attribute}@{bin}") as array:
        cells = joined(array[level["row"], :]["value"])
    found = {}
    for name in GENOME.names:
        offset = genome.offset(name)
        found[name] = cells[offset : offset + genome.size(name)].copy()
        cells[offset : offset + genome.size(name)] = np.nan
    assert np.isnan(cells).all()
    return found


@pytest.fixture
def values() -> dict[str, np.ndarray]:
    """Values with stretches that have none; chr2 was not measured."""
    random = np.random.default_rng(3)
    made = {name: random.normal(size=GENOME.size(name)).astype(np.float32) for name in ("chr1", "chr3")}
    made["chr1"][20:61] = np.nan
    made["chr1"][90] = np.nan
    made["chr3"][:] = np.where(random.random(40) < 0.5, np.nan, made["chr3"])
    return made


@pytest.fixture
def db(tmp_path, values) -> Database:
    made = Database(str(tmp_path / "db"))
    made.add("signal", "a", "signal", values=values)
    made.add("signal", "b", "signal")
    made.add("cuts", "a")
    made.add("peaks", "a", "mask")
    made.save()
    return made


@pytest.mark.parametrize("aggregation", ["mean", "max", "sum"])
def test_levels_are_bins_over_the_bases_that_have_a_value(db, values, aggregation):
    result = levels(db.uri, ["signal"], bins=BINS, aggregation=aggregation, datasets=["a"])
    assert [(track.name, level.bin) for track, level in result.written] == [("a signal", bin) for bin in BINS]
    for bin in BINS:
        found = stored_level(db.uri, "signal", "a", bin, aggregation)
        for name in ("chr1", "chr3"):
            np.testing.assert_allclose(found[name], by_hand(values[name], bin, aggregation), rtol=1e-6)
        assert np.isnan(found["chr2"]).all()
    db.check()
    assert verify(db.uri).damage == []
    assert set(load(db.uri).tracks[0].levels[0].checksums) == {"chr1", "chr3"}


def test_counts_without_a_value_are_left_out(db):
    counts = {name: np.arange(GENOME.size(name), dtype=np.uint16) for name in GENOME.names}
    counts["chr1"][30:60] = 65_535
    db.add("cuts", "b", values=counts)
    db.save()
    levels(db.uri, ["cuts"], bins=[20], datasets=["b"])
    found = stored_level(db.uri, "cuts", "b", 20, "mean")
    real = np.where(counts["chr1"] == 65_535, np.nan, counts["chr1"])
    np.testing.assert_allclose(found["chr1"], by_hand(real, 20, "mean"), rtol=1e-6)
    assert np.isnan(found["chr1"][2])


@examples(60)
@given(data=st.data(), bin=st.integers(1, 40), aggregation=st.sampled_from(["mean", "max", "sum"]))
def test_bins_of_any_values(data, bin, aggregation):
    value = st.one_of(st.just(np.nan), st.floats(-(2.0**100), 2.0**100, width=32))
    bases = np.array(data.draw(st.lists(value, max_size=120)), np.float32)
    expected = by_hand(bases, bin, aggregation).astype(np.float32) if len(bases) else np.zeros(0, np.float32)
    scale = np.abs(np.nan_to_num(bases)).max(initial=0)
    np.testing.assert_allclose(aggregate(bases, bin, aggregation), expected, rtol=1e-6, atol=1e-9 * float(scale))


def test_sums_are_made_in_float64():
    bases = np.full(10_000_001, 1, np.float32)
    bases[0] = 2**24
    assert aggregate(bases, len(bases), "sum")[0] == np.float32(2**24 + 10_000_000)
    assert aggregate(bases, len(bases), "mean")[0] == np.float32((2**24 + 10_000_000) / len(bases))


@pytest.mark.parametrize("aggregation", ["mean", "max", "sum"])
def test_track_on_a_grid_counts_as_its_bases(db, aggregation):
    grid = GENOME.binned(4)
    cells = {name: np.arange(1, grid.size(name) + 1, dtype=np.float32) for name in ("chr1", "chr2")}
    cells["chr1"][3:6] = np.nan
    db.add("grid", "a", "signal", bin=4, values=cells)
    db.save()
    levels(db.uri, ["grid"], bins=[8, 20], aggregation=aggregation)
    for bin in (8, 20):
        found = stored_level(db.uri, "grid", "a", bin, aggregation)
        for name in cells:
            bases = np.repeat(cells[name], 4)[: GENOME.size(name)]
            np.testing.assert_allclose(found[name], by_hand(bases, bin, aggregation), rtol=1e-6)
        assert np.isnan(found["chr3"]).all()
    own = levels(db.uri, ["grid"], bins=[4], aggregation=aggregation)
    if aggregation == "sum":
        found = stored_level(db.uri, "grid", "a", 4, "sum")
        # The last bin of chr2 has three bases, that of chr1 two.
        np.testing.assert_allclose(found["chr2"], [3])
        np.testing.assert_allclose(found["chr1"], cells["chr1"] * np.r_[np.full(37, 4), 2])
    else:
        assert own.written == []
        assert own.unchanged[0][1] == 4
    db.check()


def test_grid_takes_multiples_of_its_bin_alone(db):
    db.add("grid", "a", "signal", bin=4)
    db.save()
    with pytest.raises(InputError, match="--bins 10: a grid was measured in bins of 4 bp; expected a multiple"):
        levels(db.uri, ["grid"], bins=[10])


def test_level_that_is_there_stays(db):
    first = levels(db.uri, ["signal"], bins=[5, 7])
    again = levels(db.uri, ["signal"], bins=[5, 7, 10])
    assert [(track.name, level.bin) for track, level in again.written] == [("a signal", 10), ("b signal", 10)]
    assert [(track.name, bin) for track, bin in again.unchanged] == [
        (name, bin) for name in ("a signal", "b signal") for bin in (5, 7)
    ]
    other = levels(db.uri, ["signal"], bins=[5], aggregation="max", datasets=["b"])
    assert len(other.written) == 1
    track = load(db.uri).track("signal", "b")
    assert [(level.bin, level.aggregation) for level in track.levels] == [
        (5, "mean"), (5, "max"), (7, "mean"), (10, "mean")
    ]  # fmt: skip
    taken = [level.row for t in load(db.uri).tracks for level in t.levels]
    assert len(set(taken)) == len(taken) == 7
    assert load(db.uri).track("signal", "b").levels[0].row == first.written[2][1].row
    fresh = levels(db.uri, ["signal"], bins=[5], overwrite=True)
    assert not {level.row for _, level in fresh.written} & set(taken)
    assert len(load(db.uri).track("signal", "b").levels) == 4
    consolidate(db.uri)
    assert verify(db.uri).damage == []
    assert len(rows(db.uri, "signal/signal@5")) == 3


def test_track_that_was_replaced_has_no_levels_until_they_are_made_again(db):
    levels(db.uri, ["cuts"], bins=[5])
    db.catalogue = load(db.uri)
    db.add("cuts", "a")
    db.save()
    assert load(db.uri).track("cuts", "a").levels == ()
    assert len(levels(db.uri, ["cuts"], bins=[5]).written) == 1
    bases = db.cells["counts/cuts", 2][: GENOME.size("chr1")].astype(float)
    np.testing.assert_allclose(
        stored_level(db.uri, "cuts", "a", 5, "mean")["chr1"], by_hand(bases, 5, "mean"), rtol=1e-6
    )


def test_dry_run_writes_nothing(db):
    before = storage.files(db.uri)
    would = levels(db.uri, ["signal"], bins=[5], dry_run=True)
    assert [(track.name, level.bin) for track, level in would.written] == [("a signal", 5), ("b signal", 5)]
    assert storage.files(db.uri) == before


def test_interrupted_run_leaves_whole_tracks_and_goes_on(db, monkeypatch):
    db.catalogue.staged.append(Staged("signal", "b", "bigwig", {}, {}, db.catalogue.take_row("signal")))
    db.save()
    put, puts = arrays.put, []

    def fail(*arguments):
        puts.append(arguments)
        if len(puts) == 2:
            raise OSError(28, "No space left on device")
        put(*arguments)

    monkeypatch.setattr(arrays, "put", fail)
    with pytest.raises(RunError, match=f"{db.uri}.*disk full"):
        levels(db.uri, ["signal"], bins=[5])
    monkeypatch.setattr(arrays, "put", put)
    a, b = load(db.uri).tracks[:2]
    assert [level.bin for level in a.levels] == [5]
    assert b.levels == ()
    again = levels(db.uri, ["signal"], bins=[5])
    assert [track.name for track, _ in again.written] == ["b signal"]
    assert again.written[0][1].row > a.levels[0].row + 1
    assert [staged.dataset for staged in load(db.uri).staged] == ["b"]
    assert verify(db.uri).damage == []
    consolidate(db.uri)
    assert rows(db.uri, "signal/signal@5") == {level.row for t in load(db.uri).tracks for level in t.levels}


@pytest.mark.parametrize(
    ("attributes", "options", "message"),
    [
        (["nope"], {"bins": [5]}, "no attribute 'nope'"),
        (["signal"], {"bins": [5], "datasets": ["nope"]}, "no dataset 'nope'"),
        (["cuts"], {"bins": [5], "datasets": ["b"]}, "none of the datasets named has 'cuts'"),
        (["peaks"], {"bins": [5]}, "a peaks is a mask; expected signals"),
        (["signal"], {"bins": [1]}, "--bins 1: expected bp per bin, from 2 to 1,000,000"),
        (["signal"], {"bins": []}, "--bins: expected one or more"),
        (["signal"], {"bins": [5], "aggregation": "median"}, "--aggregation median: expected one of mean, max, sum"),
    ],
)
def test_what_cannot_be_binned_is_said(db, attributes, options, message):
    before = storage.files(db.uri)
    with pytest.raises(InputError, match=message):
        levels(db.uri, attributes, **options)
    assert {name: size for name, size in storage.files(db.uri).items() if name != ".lock"} == before


def test_another_writer_keeps_it_out(db):
    with storage.write_lock(db.uri), pytest.raises(RunError, match="another process is writing"):
        levels(db.uri, ["signal"], bins=[5])
