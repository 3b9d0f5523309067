"""Bins of a database, with and without stored levels, and tracks measured on a grid, against NumPy and pyBigWig."""

from __future__ import annotations

import shutil

import numpy as np
import pyBigWig
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest import ingest
from db_ingest.errors import InputError
from db_ingest.writing.levels import levels
from kerasgen.database import Database
from kerasgen.loader.builder import BatchBuilder
from kerasgen.loader.sources import MemorySource
from kerasgen.regions.windows import Windows
from kerasgen.spec import Channels, DataSpec

SIZES = {"chr1": 3_001, "chr2": 1_500, "chrM": 40}
BIN = 20
REDUCE = {"mean": np.mean, "max": np.max, "sum": np.sum}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """Values of every base that the files below say, NaN where there is none."""
    rng = np.random.default_rng(2)
    signal = {name: rng.normal(size=size).astype(np.float32) for name, size in SIZES.items()}
    for values in signal.values():
        for start in rng.integers(0, len(values), 6):
            values[start : start + len(values) // 9] = np.nan
    counts = {name: rng.integers(0, 9, size).astype(np.float32) for name, size in SIZES.items()}
    grid = {name: rng.random(-(-SIZES[name] // BIN)).astype(np.float32) for name in ("chr1", "chrM")}
    grid["chr1"][10:14] = np.nan
    on_grid = {name: np.repeat(values, BIN)[: SIZES[name]] for name, values in grid.items()}
    on_grid["chr2"] = np.full(SIZES["chr2"], np.nan, np.float32)
    return {"signal": signal, "counts": counts, "grid": on_grid}


@pytest.fixture(scope="module")
def uris(bases: dict[str, dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The same database twice, the second with levels."""
    folder = tmp_path_factory.mktemp("binned")
    for attribute in ("signal", "counts"):
        with pyBigWig.open(str(folder / f"{attribute}.bw"), "w") as file:
            file.addHeader(list(SIZES.items()))
            for name, dense in bases[attribute].items():
                covered = np.flatnonzero(~np.isnan(dense))
                for run in np.split(covered, np.flatnonzero(np.diff(covered) > 1) + 1):
                    if len(run):
                        file.addEntries(name, int(run[0]), values=dense[run].astype(float).tolist(), span=1, step=1)
    np.savez(folder / "grid.npz", **{name: bases["grid"][name][::BIN] for name in ("chr1", "chrM")})
    (folder / "sizes").write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
    (folder / "peaks.bed").write_text("chr1\t100\t160\nchr2\t5\t9\n")
    (folder / "types.yaml").write_text(
        "signal: {type: bigwig, missing: nan}\ncounts: bigwig\npeaks: bed_no_summit\n"
        f"grid: {{type: npz, bin: {BIN}, missing: nan}}\n"
    )
    (folder / "samples.tsv").write_text(
        "dataset\tsignal\tcounts\tgrid\tpeaks\n"
        f"a\t{folder / 'signal.bw'}\t{folder / 'counts.bw'}\t{folder / 'grid.npz'}\t{folder / 'peaks.bed'}\n"
    )
    uri = str(folder / "db")
    ingest(
        uri,
        str(folder / "samples.tsv"),
        chrom_sizes=str(folder / "sizes"),
        attribute_config_file=str(folder / "types.yaml"),
    )
    binned = shutil.copytree(uri, folder / "binned")
    for aggregation in REDUCE:
        levels(str(binned), ["signal", "counts", "grid"], bins=[20, 100], aggregation=aggregation)
    return uri, str(binned)


def by_hand(values: np.ndarray, first: int, length: int, bin: int, aggregation: str) -> np.ndarray:
    """Bins of a chromosome from bin ``first`` on, one at a time; 0 past the ends."""
    found = np.zeros(length)
    for i in range(length):
        start = (first + i) * bin
        if 0 <= start < len(values):
            inside = values[start : start + bin].astype(np.float64)
            inside = inside[~np.isnan(inside)]
            found[i] = REDUCE[aggregation](inside) if len(inside) else np.nan
    return found


windows = st.lists(st.tuples(st.sampled_from(sorted(SIZES)), st.integers(-3, 3)), min_size=1, max_size=8)


@examples(60)
@given(
    places=windows,
    far=st.integers(0, 150),
    length=st.integers(1, 40),
    bin=st.one_of(st.sampled_from([1, 20, 100]), st.integers(2, 300)),
    aggregation=st.sampled_from(sorted(REDUCE)),
)
def test_bins_anywhere_are_the_same_with_and_without_levels(uris, bases, places, far, length, bin, aggregation):
    names = [name for name, _ in places]
    firsts = np.array([first + (far if i % 2 else 0) for i, (_, first) in enumerate(places)])
    attributes = ["signal", "counts", "grid"]
    for uri in uris:
        with Database(uri) as database:
            tracks = [database.track(attribute) for attribute in attributes]
            found = database.bins(tracks, names, firsts * bin, length, bin, aggregation)
        assert found.shape == (len(places), length, 3)
        assert found.dtype == np.float32
        for i, (name, first) in enumerate(zip(names, firsts, strict=True)):
            for j, attribute in enumerate(attributes):
                expected = by_hand(bases[attribute][name], first, length, bin, aggregation)
                np.testing.assert_allclose(found[i, :, j], expected, rtol=1e-6, atol=1e-6)


def test_stored_levels_are_read_and_not_the_bases(uris, monkeypatch):
    with Database(uris[1]) as database:
        read = database._reader.read
        members = []
        monkeypatch.setattr(
            database._reader, "read", lambda member, *rest: members.append(member) or read(member, *rest)
        )
        tracks = [database.track(attribute) for attribute in ("signal", "counts", "grid")]
        database.bins(tracks, ["chr1"], [0], 10, 100)
        assert members == ["signal/signal@100", "signal/counts@100", "signal/grid@100"]
        members.clear()
        database.bins([tracks[2]], ["chr1"], [0], 10, BIN, "max")
        database.bins([tracks[0]], ["chr1"], [0], 10, 30)
        assert members == [f"signal/grid@{BIN}", "signal/signal"]


def test_long_windows_are_computed_in_blocks(uris, bases, monkeypatch):
    monkeypatch.setattr("kerasgen.database._BLOCK", 64)
    with Database(uris[0]) as database:
        found = database.bins([database.track("signal")], ["chr1", "chr2", "chrM"], [-30, 0, 0], 110, 30)
    for i, (name, first) in enumerate([("chr1", -1), ("chr2", 0), ("chrM", 0)]):
        np.testing.assert_allclose(
            found[i, :, 0], by_hand(bases["signal"][name], first, 110, 30, "mean"), rtol=1e-6, atol=1e-6
        )


def test_masks_can_be_binned_too(uris):
    with Database(uris[0]) as database:
        found = database.bins([database.track("peaks")], ["chr1", "chrM"], [100, 0], 4, 20)[:, :, 0]
    np.testing.assert_array_equal(found, [[1, 1, 1, 0], [0, 0, 0, 0]])


def test_windows_off_the_grid_and_unknown_words_are_refused(uris):
    with Database(uris[0]) as database:
        track = database.track("signal")
        with pytest.raises(InputError, match="start 1,010: expected a multiple of 20 bp"):
            database.bins([track], ["chr1", "chr1"], [1_000, 1_010], 5, 20)
        with pytest.raises(InputError, match="aggregation 'median': expected one of mean, max, sum"):
            database.bins([track], ["chr1"], [0], 5, 20, "median")
        with pytest.raises(InputError, match="bin 0: expected 1 or more"):
            database.bins([track], ["chr1"], [0], 5, 0)


@examples(60)
@given(
    places=st.lists(st.tuples(st.sampled_from(sorted(SIZES)), st.integers(-700, 3_700)), min_size=1, max_size=12),
    length=st.integers(1, 900),
)
def test_each_base_of_a_grid_has_the_value_of_its_bin(uris, bases, places, length):
    names, starts = [name for name, _ in places], [start for _, start in places]
    with Database(uris[0]) as database:
        found = database.values([database.track("grid")], names, starts, length)
    for i, (name, start) in enumerate(places):
        padded = np.zeros(length, np.float32)
        low, high = max(start, 0), min(start + length, SIZES[name])
        if high > low:
            padded[low - start : high - start] = bases["grid"][name][low:high]
        np.testing.assert_array_equal(found[i, :, 0], padded)


class _Plan:
    """Stretches of the whole genome."""

    def __init__(self, database: Database) -> None:
        self._offsets, self._sizes = database.genome.offsets[:-1], database.genome.size_array()

    def cover(self, flank: int):
        return self._offsets, self._offsets + self._sizes


def test_batches_hold_a_grid_track_alike_from_memory_and_from_the_database(uris, bases):
    channels = Channels(("grid", "signal"), ("a", "a"), 50)
    windows = Windows(np.array([0, 2, 0]), np.array([217, 20, 2_990]), np.zeros(3, bool), np.zeros(3, bool))
    with Database(uris[0]) as database:
        builder = BatchBuilder(database, DataSpec((channels,), (channels,)))
        cached = MemorySource(database, builder.needs, _Plan(database)).store
        for store in (None, cached):
            (found,) = builder.outputs(windows, store)
            np.testing.assert_array_equal(found[0, :, 0], bases["grid"]["chr1"][167:267])
            np.testing.assert_array_equal(found[0, :, 1], bases["signal"]["chr1"][167:267])
        np.testing.assert_array_equal(builder.outputs(windows)[0], builder.outputs(windows, cached)[0])
