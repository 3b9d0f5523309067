"""Pooled datasets: every base against NumPy, what is stored as counts, what is refused, resumed and left."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from handmade import FullAfter
from hypothesis import given
from hypothesis import strategies as st

from db_ingest import ingest, storage
from db_ingest.cli.gen_db import COMMANDS
from db_ingest.errors import InputError, RunError
from db_ingest.layout import arrays
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.genome import Genome
from db_ingest.layout.reader import Reader
from db_ingest.upkeep.edit import drop, rename
from db_ingest.upkeep.merge import merge
from db_ingest.upkeep.pooling import Pooled
from db_ingest.upkeep.verify import verify

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}
NAN = np.nan


def tree(folder: str | Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def values_of(uri: str, attribute: str, dataset: str) -> dict[str, np.ndarray]:
    """All cells of a track."""
    catalogue = catalogues.load(uri)
    track = catalogue.track(attribute, dataset)
    genome = catalogue.genome.binned(track.bin)
    reader = Reader(uri)
    found = {}
    for name in genome.names:
        start = np.array([genome.offset(name)])
        found[name] = reader.read(track.member, track.row, start, start + genome.size(name))
    reader.close()
    return found


def pool(tracks: list[dict[str, np.ndarray]], how: str) -> dict[str, np.ndarray]:
    """The same by NumPy; NaN where none has a value."""
    pooled = {}
    for name in tracks[0]:
        stacked = np.stack([track[name].astype(np.float64) for track in tracks])
        total, there = np.nansum(stacked, axis=0), (~np.isnan(stacked)).sum(axis=0)
        total = total / np.maximum(there, 1) if how == "mean" else total
        pooled[name] = np.where(there == 0, np.nan, total).astype(np.float32)
    return pooled


@pytest.fixture
def store(inputs, uri):
    """Ingests values: attribute -> dataset -> chromosome -> values."""

    def ingest_values(tracks: dict, types: dict[str, str] | None = None, **options) -> str:
        table: dict[str, dict] = {}
        for attribute, datasets in tracks.items():
            for dataset, values in datasets.items():
                sizes = {name: len(cells) for name, cells in values.items()}
                path = inputs.bigwig(f"{attribute}.{dataset}.bw", values, sizes=sizes)
                table.setdefault(dataset, {})[attribute] = path
        types = types or dict.fromkeys(tracks, "{type: bigwig, missing: nan}")
        text = "".join(f"{name}: {kind}\n" for name, kind in types.items())
        sizes = inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in SIZES.items()))
        config = str(inputs.text("types.yaml", text))
        ingest(uri, str(inputs.samples(table)), attribute_config_file=config, chrom_sizes=str(sizes), **options)
        return uri

    return ingest_values


@pytest.fixture
def database(inputs, store) -> str:
    """Two signals and counts of three replicates, with bases and chromosomes that not all of them cover."""

    def some(pick, *names):
        return {name: pick(SIZES[name]) for name in names}

    def real(size):
        return inputs.rng.choice([NAN, -1.5, 0.25, 1e6], size)

    def whole(size):
        return inputs.rng.choice([NAN, 0, 1, 7, 300], size)

    return store(
        {
            "real": {
                "r1": some(real, "chr1", "chr2"),
                "r2": some(real, "chr1"),
                "r3": some(real, "chr1", "chr2"),
            },
            "counts": {
                "r1": some(whole, "chr1", "chr2"),
                "r2": some(whole, "chr1"),
                "r3": some(whole, "chr1", "chr2"),
            },
        }
    )


@pytest.mark.parametrize("how", ["sum", "mean"])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_base_is_that_of_numpy(database, how, threads):
    lines = merge(database, ["real", "counts"], ["r1", "r2", "r3"], "pooled", how=how, threads=threads)
    assert lines == [f"wrote pooled {name}: {how} of r1, r2, r3" for name in ("real", "counts")]
    for attribute in ("real", "counts"):
        expected = pool([values_of(database, attribute, name) for name in ("r1", "r2", "r3")], how)
        found = values_of(database, attribute, "pooled")
        for name, size in SIZES.items():
            assert len(found[name]) == size
            np.testing.assert_array_equal(found[name], expected[name])
        track = catalogues.load(database).track(attribute, "pooled")
        assert track.summary["absent_chromosomes"] == ["chrM"]
        assert list(track.checksums) == ["chr1", "chr2"]
        every = np.concatenate(list(expected.values())).astype(np.float64)
        assert track.summary["sum"] == pytest.approx(np.nansum(every), rel=1e-12)
        assert track.summary["covered"] == np.count_nonzero(np.nan_to_num(every))
        assert track.summary["maximum"] == np.nanmax(every)
        assert track.folder == ("counts" if attribute == "counts" and how == "sum" else "signal")
    found = verify(database, sources=True)
    assert (found.damage, found.sources) == ([], [])


def test_pooled_track_is_what_its_inputs_are_and_inputs_of_two_kinds_are_refused(inputs, uri):
    values = {"chr1": np.ones(SIZES["chr1"])}
    table = {name: {"x": inputs.bigwig(f"{name}.bw", values)} for name in ("a", "b")}
    sizes = str(inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in SIZES.items())))

    def add(name, said):
        types = str(inputs.text("types.yaml", f"x: {{type: bigwig, {said}}}\n"))
        samples = str(inputs.samples({name: table[name]}))
        ingest(uri, samples, attribute_config_file=types, chrom_sizes=sizes, overwrite=True)

    add("a", "transform: arcsinh, unit: p")
    add("b", "unit: p")
    with pytest.raises(InputError, match="a x has transform arcsinh, b x has None; expected the same"):
        merge(uri, ["x"], ["a", "b"], "pooled", how="mean")
    add("b", "transform: arcsinh, unit: q")
    merge(uri, ["x"], ["a", "b"], "pooled", how="mean")
    assert catalogues.load(uri).track("x", "pooled").options == {"transform": "arcsinh"}


def test_several_chunks_and_stretches(inputs, uri, monkeypatch):
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", 65_536)
    monkeypatch.setattr("db_ingest.upkeep.pooling._STRETCH", 9_000)
    sizes = {"chr1": 140_000, "chr2": 70_001}
    table = {}
    for dataset in ("a", "b"):
        values = {name: np.where(inputs.rng.random(size) < 0.02, 2.5, NAN) for name, size in sizes.items()}
        table[dataset] = {"x": inputs.bigwig(f"{dataset}.bw", values, sizes=sizes)}
    given = str(inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in sizes.items())))
    types = str(inputs.types(x="bigwig"))
    ingest(uri, str(inputs.samples(table)), attribute_config_file=types, chrom_sizes=given)
    merge(uri, ["x"], ["a", "b"], "pooled", threads=2)
    expected = pool([values_of(uri, "x", name) for name in ("a", "b")], "sum")
    found = values_of(uri, "x", "pooled")
    for name in sizes:
        np.testing.assert_array_equal(found[name], expected[name])
    assert {5.0, 2.5, 0.0} == set(np.concatenate(list(found.values())))
    assert verify(uri, sources=True).damage == []


CELLS = st.lists(st.one_of(st.just(NAN), st.integers(0, 65_534).map(float)), min_size=6, max_size=6)


class Fake:
    """A reader of rows of values."""

    def __init__(self, rows: list[np.ndarray]) -> None:
        self.rows = rows

    def read(self, member, row, starts, ends):
        assert member == "signal/x"
        return self.rows[row][starts[0] : ends[0]].astype(np.float32)


@given(rows=st.lists(CELLS, min_size=1, max_size=5), how=st.sampled_from(["sum", "mean"]), stretch=st.integers(1, 7))
def test_pooling_is_that_of_numpy(monkeypatch, rows, how, stretch):
    monkeypatch.setattr("db_ingest.upkeep.pooling._STRETCH", stretch)
    genome = Genome(("c",), (6,))
    tracks = [
        catalogues.Track("x", str(i), "signal", "bigwig", "signal", i, {}, {}, {}, {"c": str(i)}, "")
        for i in range(len(rows))
    ]
    cells = [np.array(row) for row in rows]
    pooled = Pooled(Fake(cells), genome, tracks, how)
    expected = pool([{"c": row.astype(np.float32)} for row in cells], how)["c"]
    for start in range(6):
        np.testing.assert_array_equal(pooled.read("c", start, 6), expected[start:])


def test_sums_that_are_too_large_for_counts_become_a_signal(store):
    most = {"chr1": np.full(3_000, 5.0), "chrM": np.full(400, 3.0)}
    most["chr1"][2_999] = 65_534
    uri = store({"x": {name: most for name in ("a", "b")}, "y": {name: {"chr1": most["chr1"] % 9} for name in "ab"}})
    assert {track.folder for track in catalogues.load(uri).tracks} == {"counts"}
    merge(uri, ["x", "y"], ["a", "b"], "pooled")
    assert catalogues.load(uri).track("x", "pooled").folder == "signal"
    assert catalogues.load(uri).track("y", "pooled").folder == "counts"
    found = values_of(uri, "x", "pooled")
    assert found["chr1"][2_998:].tolist() == [10, 131_068]
    assert (found["chrM"] == 6).all()
    assert np.isnan(found["chr2"]).all()
    assert verify(uri, sources=True).damage == []


def test_tracks_on_a_grid_are_pooled_on_it(inputs, uri):
    table = {}
    for dataset in ("a", "b"):
        path = inputs.folder / f"{dataset}.npz"
        np.savez(path, **{name: inputs.rng.random(-(-size // 25)) for name, size in SIZES.items()})
        table[dataset] = {"x": path}
    config = str(inputs.text("types.yaml", "x: {type: npz, bin: 25}\nz: {type: bigwig}\n"))
    sizes = str(inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in SIZES.items())))
    ingest(uri, str(inputs.samples(table)), attribute_config_file=config, chrom_sizes=sizes)
    merge(uri, ["x"], ["a", "b"], "pooled", how="mean")
    track = catalogues.load(uri).track("x", "pooled")
    assert (track.bin, track.member) == (25, "signal/x@25")
    expected = pool([values_of(uri, "x", name) for name in ("a", "b")], "mean")
    for name, cells in values_of(uri, "x", "pooled").items():
        np.testing.assert_array_equal(cells, expected[name])
    assert verify(uri, sources=True).damage == []


# Again


def test_same_command_again_is_unchanged_whatever_the_order(database):
    merge(database, ["real"], ["r1", "r2"], "pooled")
    before = tree(database)
    assert merge(database, ["real"], ["r2", "r1"], "pooled") == ["pooled real: unchanged"]
    assert tree(database) == before
    source = catalogues.load(database).track("real", "pooled").source
    assert {key: source[key] for key in ("path", "datasets", "how")} == {
        "path": "merge",
        "datasets": ["r1", "r2"],
        "how": "sum",
    }
    lines = merge(database, ["counts", "real"], ["r1", "r2"], "pooled")
    assert lines == ["pooled real: unchanged", "wrote pooled counts: sum of r1, r2"]


def test_changed_inputs_are_refused_without_overwrite(database, inputs):
    merge(database, ["real"], ["r1", "r2"], "pooled")
    for change in ({"datasets": ["r1", "r3"]}, {"how": "mean"}):
        with pytest.raises(
            InputError, match="pooled real is in the database already, from another source.*--overwrite"
        ):
            merge(database, **{"attribute": ["real"], "datasets": ["r1", "r2"], "into": "pooled", **change})
    new = {name: np.ones(SIZES[name]) for name in ("chr1", "chrM")}
    path = inputs.bigwig("new.bw", new, sizes={name: len(cells) for name, cells in new.items()})
    config = str(inputs.text("types.yaml", "real: {type: bigwig, missing: nan}\n"))
    ingest(database, str(inputs.samples({"r2": {"real": path}})), attribute_config_file=config, overwrite=True)
    assert verify(database, sources=True).sources == ["pooled real: what it was pooled from (r1, r2) has changed since"]
    with pytest.raises(InputError, match="--overwrite replaces it"):
        merge(database, ["real"], ["r1", "r2"], "pooled")
    merge(database, ["real"], ["r1", "r2"], "pooled", overwrite=True)
    expected = pool([values_of(database, "real", name) for name in ("r1", "r2")], "sum")
    for name, cells in values_of(database, "real", "pooled").items():
        np.testing.assert_array_equal(cells, expected[name])
    assert catalogues.load(database).track("real", "pooled").row == 5
    assert verify(database, sources=True).sources == []


def test_pooled_track_follows_its_inputs_through_a_rename(database):
    merge(database, ["real"], ["r1", "r2"], "pooled")
    rename(database, "K562", dataset="r1")
    rename(database, "fc", attribute="real")
    assert catalogues.load(database).track("fc", "pooled").source["datasets"] == ["K562", "r2"]
    assert merge(database, ["fc"], ["K562", "r2"], "pooled") == ["pooled fc: unchanged"]
    found = verify(database, sources=True)
    assert (found.damage, found.sources) == ([], [])
    drop(database, attribute="fc", dataset="r2")
    assert verify(database, sources=True).sources == ["pooled fc: what it was pooled from (K562, r2) has changed since"]


def test_interrupted_merge_goes_on_where_it_ended(inputs, uri, monkeypatch):
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", 65_536)
    sizes = {"chr1": 300_000}
    table = {
        name: {"x": inputs.bigwig(f"{name}.bw", {"chr1": np.where(np.arange(300_000) % 31 == i, i + 0.5, NAN)}, sizes)}
        for i, name in enumerate("ab")
    }
    given = str(inputs.text("g.sizes", "chr1\t300000\n"))
    ingest(uri, str(inputs.samples(table)), attribute_config_file=str(inputs.types(x="bigwig")), chrom_sizes=given)
    full, rest = FullAfter(2), FullAfter(np.inf)
    with monkeypatch.context() as patch:
        patch.setattr(arrays, "put", full)
        with pytest.raises(RunError, match="disk full"):
            merge(uri, ["x"], ["a", "b"], "pooled", threads=1)
    assert catalogues.load(uri).find("x", "pooled") is None
    assert [row.row for row in catalogues.load(uri).staged] == [2]
    monkeypatch.setattr(arrays, "put", rest)
    merge(uri, ["x"], ["a", "b"], "pooled", threads=1)
    assert sorted(full.firsts + rest.firsts) == [i * 65_536 for i in range(5)]
    assert len(rest.firsts) == 3
    track = catalogues.load(uri).track("x", "pooled")
    assert track.row == 2
    assert catalogues.load(uri).staged == []
    expected = pool([values_of(uri, "x", name) for name in "ab"], "sum")
    np.testing.assert_array_equal(values_of(uri, "x", "pooled")["chr1"], expected["chr1"])
    assert verify(uri, sources=True).damage == []


def test_killed_merge_shows_no_half_a_track(database):
    code = (
        "import os, db_ingest.writing.derived as d\n"
        "from db_ingest.upkeep.merge import merge\n"
        "combine = d.combine\n"
        "calls = []\n"
        "def die(parts):\n"
        "    calls.append(1)\n"
        "    return combine(parts) if len(calls) < 2 else os._exit(9)\n"
        "d.combine = die\n"
        f"merge({database!r}, ['real', 'counts'], ['r1', 'r2'], 'pooled')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    catalogue = catalogues.load(database)
    assert catalogue.find("real", "pooled") is not None
    assert catalogue.find("counts", "pooled") is None
    assert merge(database, ["real", "counts"], ["r1", "r2"], "pooled") == [
        "pooled real: unchanged",
        "wrote pooled counts: sum of r1, r2",
    ]
    assert catalogues.load(database).staged == []
    assert verify(database, sources=True).damage == []


# Refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attribute": ["none"]}, "no attribute 'none' in the database; it has"),
        ({"datasets": ["r1", "r9"]}, "no dataset 'r9' in the database; it has"),
        ({"datasets": ["r1"]}, "--datasets r1: expected two or more, each once"),
        ({"datasets": ["r1", "r2", "r1"]}, "--datasets r1 r2 r1: expected two or more, each once"),
        ({"into": "r2"}, "--into r2: is one of the datasets to pool"),
        ({"into": "a,b"}, "--into 'a,b'; a name may"),
        ({"how": "max"}, "--how max: expected one of sum, mean"),
    ],
)
def test_nonsense_is_refused(database, change, message):
    before = tree(database)
    arguments = {"attribute": ["real"], "datasets": ["r1", "r2"], "into": "pooled", **change}
    with pytest.raises(InputError, match=message) as raised:
        merge(database, **arguments)
    assert "\n" not in str(raised.value)
    assert tree(database) == before


def test_masks_and_other_grids_are_refused(inputs, uri):
    table = {
        "a": {"peaks": inputs.bed("a.bed", [("chr1", 1, 5)]), "x": inputs.bigwig("a.bw")},
        "b": {"peaks": inputs.bed("b.bed", [("chr1", 1, 5)])},
    }
    sizes = str(inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in SIZES.items())))
    config = str(inputs.text("types.yaml", "peaks: {type: bed_no_summit}\nx: {type: bigwig}\n"))
    ingest(uri, str(inputs.samples(table)), attribute_config_file=config, chrom_sizes=sizes)
    with pytest.raises(InputError, match="attribute 'peaks' is a mask; only signals have a sum or a mean"):
        merge(uri, ["peaks"], ["a", "b"], "pooled")
    path = inputs.folder / "b.npz"
    np.savez(path, **{name: inputs.rng.random(-(-size // 25)) for name, size in SIZES.items()})
    config = str(inputs.text("types.yaml", "x: {type: npz, bin: 25}\n"))
    ingest(uri, str(inputs.samples({"b": {"x": path}})), attribute_config_file=config)
    with pytest.raises(InputError, match="a x has 1 bp per bin, b x has 25; expected the same"):
        merge(uri, ["x"], ["a", "b"], "pooled")


def test_dry_run_and_second_writer_change_nothing(database, capsys):
    before = tree(database)
    words = ["--tdb_array", database, "--attribute", "real", "--datasets", "r1", "r2", "--into", "pooled"]
    with storage.write_lock(database):
        assert COMMANDS["merge"].run([*words, "--dry_run"]) == 0
        assert capsys.readouterr().out == "would write pooled real: sum of r1, r2\n"
        assert COMMANDS["merge"].run(words) == 1
        assert "another process is writing" in capsys.readouterr().err
    assert tree(database) == before
    assert COMMANDS["merge"].run([*words, "--how", "mean"]) == 0
    assert capsys.readouterr().out == "wrote pooled real: mean of r1, r2\n"
    assert COMMANDS["merge"].run([*words, "--how", "mean"]) == 0
    assert capsys.readouterr().out == "pooled real: unchanged\n"
    assert os.path.exists(f"{database}/catalogue.json")


def test_inputs_without_any_value_give_no_track(store):
    nothing = {"chr1": np.full(3_000, NAN)}
    nothing["chr1"][0] = 1
    uri = store({"x": {"a": nothing, "b": nothing}})
    catalogue = catalogues.load(uri)
    for track in list(catalogue.tracks):
        catalogue.put(dataclasses.replace(track, checksums={}))
    catalogue.save(uri)
    assert merge(uri, ["x"], ["a", "b"], "pooled") == ["pooled x: no dataset has any value"]
    assert catalogues.load(uri).find("x", "pooled") is None
    assert catalogues.load(uri).staged == []
