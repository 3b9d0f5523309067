"""Dropping and renaming: the catalogue changes, no array does, and who had it open goes on reading."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from db_ingest import ingest, storage
from db_ingest.cli.gen_db import COMMANDS
from db_ingest.errors import InputError, NoDatabaseError, RunError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Provenance
from db_ingest.layout.names import check_attribute, check_dataset
from db_ingest.upkeep.edit import drop, rename
from db_ingest.upkeep.verify import verify

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}
PEAKS = [("chr1", 100, 200, "a", 10, "+"), ("chrM", 0, 400, "d", 40, "+")]


def tree(folder: str | Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def tracks(uri: str) -> dict[tuple[str, str], catalogues.Track]:
    return {(track.attribute, track.dataset): track for track in catalogues.load(uri).tracks}


def expect_only_the_catalogue_changed(before: dict[str, bytes], uri: str) -> None:
    after = tree(uri)
    assert {name for name in after if after[name] != before.get(name)} == {"catalogue.json"}
    assert before.keys() == after.keys()
    commits = [json.loads(state["catalogue.json"])["commit"] for state in (before, after)]
    assert commits[1] == commits[0] + 1


class Files:
    """What there is to ingest."""

    def __init__(self, inputs) -> None:
        self.inputs = inputs
        self.paths = {
            dataset: {
                "plus": inputs.bigwig(f"{dataset}.plus.bw", scale=scale),
                "minus": inputs.bigwig(f"{dataset}.minus.bw", scale=-scale),
                "peaks": inputs.bed(f"{dataset}.bed", PEAKS),
            }
            for scale, dataset in enumerate(("r1", "r2"), 1)
        }
        self.types = str(inputs.types(plus="bigwig", minus="bigwig", peaks="bed_no_summit", new="bigwig"))
        self.sizes = str(inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in SIZES.items())))

    def ingest(self, uri: str, table: dict | None = None, **options):
        samples = str(self.inputs.samples(table or self.paths))
        return ingest(uri, samples, attribute_config_file=self.types, chrom_sizes=self.sizes, **options)


@pytest.fixture
def files(inputs) -> Files:
    return Files(inputs)


@pytest.fixture
def database(files, uri) -> str:
    files.ingest(uri)
    return uri


# Drop


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ({"attribute": "plus", "dataset": "r1"}, 5),
        ({"attribute": "peaks"}, 4),
        ({"dataset": "r2"}, 3),
    ],
)
def test_drop_takes_out_what_is_named_and_nothing_else(database, names, left):
    before = tree(database)
    old = tracks(database)
    lines = drop(database, **names)
    chosen = {name for name, track in old.items() if all(getattr(track, key) == value for key, value in names.items())}
    assert len(lines) == len(chosen) == 6 - left
    assert all(line.startswith("dropped r") for line in lines)
    assert tracks(database) == {name: track for name, track in old.items() if name not in chosen}
    expect_only_the_catalogue_changed(before, database)
    assert verify(database).checked == left


def test_dropped_track_can_be_read_by_who_has_it_open_and_ingested_again(database, files):
    from kerasgen.database import Database

    with Database(database) as opened:
        values = opened.windows(opened.track("plus", "r1"), ["chr1"], [0], 100)
        assert drop(database, dataset="r1") == [
            "dropped r1 " + name + f": row {row} of {folder}/{name}"
            for name, row, folder in ((t.attribute, t.row, t.folder) for t in opened.tracks if t.dataset == "r1")
        ]
        np.testing.assert_array_equal(opened.windows(opened.track("plus", "r1"), ["chr1"], [0], 100), values)
    written = files.ingest(database).written
    assert {track.name for track in written} == {"r1 plus", "r1 minus", "r1 peaks"}
    assert {track.row for track in written} == {2}
    assert verify(database, sources=True).damage == []


def test_dry_run_of_drop_and_rename_changes_nothing(database, capsys):
    before = tree(database)
    with storage.write_lock(database):
        words = ["--tdb_array", database, "--dry_run"]
        assert COMMANDS["drop"].run([*words, "--attribute", "plus", "--dataset", "r1"]) == 0
        assert COMMANDS["rename"].run([*words, "--dataset", "r1", "--to", "rep1"]) == 0
    row = tracks(database)["plus", "r1"].row
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"would drop r1 plus: row {row} of signal/plus"
    assert sorted(said[1:]) == [f"would rename r1 {name} to rep1 {name}" for name in ("minus", "peaks", "plus")]
    assert tree(database) == before


def test_interrupted_rows_are_forgotten(database, files):
    catalogue = catalogues.load(database)
    source = {"path": "x", "bytes": 1, "sha256": "0"}
    for dataset in ("r1", "r3"):
        catalogue.stage("plus", dataset, Provenance("bigwig", source, {}))
    catalogue.stage("new", "r3", Provenance("bigwig", source, {}))
    catalogue.save(database)
    assert drop(database, staged=True, attribute="new", dry_run=True) == ["would drop r3 new: interrupted row 0"]
    assert drop(database, staged=True, attribute="plus", dataset="r1") == ["dropped r1 plus: interrupted row 2"]
    assert len(tracks(database)) == 6
    with pytest.raises(InputError, match="no interrupted rows of that name; there are r3 plus, r3 new"):
        drop(database, staged=True, dataset="r1")
    assert len(drop(database, staged=True)) == 2
    before = tree(database)
    assert drop(database, staged=True) == []
    assert tree(database) == before
    with pytest.raises(InputError, match="there are none"):
        drop(database, staged=True, dataset="r1")
    # Their rows are not given out again.
    table = {"r3": {"plus": files.paths["r1"]["plus"]}}
    assert [track.row for track in files.ingest(database, table).written] == [4]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "nothing to drop; give --attribute, --dataset, both, or --staged"),
        ({"attribute": "pluss"}, "no attribute 'pluss' in the database; it has "),
        ({"dataset": "r3"}, "no dataset 'r3' in the database; it has "),
        ({"attribute": "plus", "dataset": "r3"}, "no dataset 'r3' in the database; it has "),
    ],
)
def test_drop_refuses_names_that_are_not_there(database, names, message):
    before = tree(database)
    with pytest.raises(InputError, match=message) as raised:
        drop(database, **names)
    assert "\n" not in str(raised.value)
    assert tree(database) == before


# Rename


def test_renamed_dataset_is_the_same_tracks(database):
    before, old = tree(database), tracks(database)
    assert len(rename(database, "K562 rep 1", dataset="r1")) == 3
    expect_only_the_catalogue_changed(before, database)
    new = tracks(database)
    assert new.keys() == {(a, "K562 rep 1" if d == "r1" else d) for a, d in old}
    assert {t.member for t in new.values()} == {t.member for t in old.values()}
    assert verify(database, sources=True).damage == []


def test_renamed_attribute_keeps_its_arrays_and_everything_in_it(database, files):
    from kerasgen.database import Database

    old = Database(database)
    values = old.windows(old.track("plus", "r2"), ["chr2"], [10], 100)
    before = tree(database)
    assert sorted(rename(database, "count_plus", attribute="plus")) == [
        "renamed r1 plus to r1 count_plus",
        "renamed r2 plus to r2 count_plus",
    ]
    rename(database, "idr", attribute="peaks")
    assert {name for name in tree(database) if name not in before} == set()
    assert not os.path.exists(f"{database}/signal/count_plus")
    track = tracks(database)["count_plus", "r2"]
    assert (track.stored_as, track.member) == ("plus", "signal/plus")
    assert tracks(database)["idr", "r1"].intervals == "intervals/peaks"
    with Database(database) as new:
        np.testing.assert_array_equal(new.windows(new.track("count_plus", "r2"), ["chr2"], [10], 100), values)
    np.testing.assert_array_equal(old.windows(old.track("plus", "r2"), ["chr1"], [10], 100).shape, (1, 100))
    old.close()
    found = verify(database, sources=True)
    assert (found.damage, found.sources) == ([], [])


def test_old_and_new_name_can_both_be_ingested_after_a_rename(database, files, read_bigwig, tmp_path):
    from kerasgen.database import Database

    rename(database, "count_plus", attribute="plus")
    types = str(files.inputs.types(plus="bigwig", count_plus="bigwig"))
    paths = {name: files.inputs.bigwig(f"{name}.bw") for name in ("again", "more", "other")}
    table = {"r1": {"plus": paths["again"]}, "r3": {"count_plus": paths["more"], "plus": paths["other"]}}
    ingest(database, str(files.inputs.samples(table)), attribute_config_file=types)
    expected = {
        ("plus", "r1"): paths["again"],
        ("plus", "r3"): paths["other"],
        ("count_plus", "r1"): files.paths["r1"]["plus"],
        ("count_plus", "r2"): files.paths["r2"]["plus"],
        ("count_plus", "r3"): paths["more"],
    }
    with Database(database) as opened:
        for (attribute, dataset), path in expected.items():
            for name, size in SIZES.items():
                values = opened.windows(opened.track(attribute, dataset), [name], [0], size)[0]
                np.testing.assert_array_equal(values, read_bigwig(path, name).astype(np.float32))
    rows = [(track.member, track.row) for track in catalogues.load(database).tracks]
    assert len(set(rows)) == len(rows)
    assert verify(database, sources=True).damage == []


def test_renaming_there_and_back_gives_the_catalogue_there_was(database):
    before = catalogues.load(database).to_json()
    rename(database, "x", attribute="minus")
    rename(database, "y", attribute="x")
    assert tracks(database)["y", "r1"].stored_as == "minus"
    rename(database, "minus", attribute="y")
    rename(database, "z", dataset="r2")
    rename(database, "r2", dataset="z")
    after = catalogues.load(database).to_json()
    assert after.pop("commit") == before.pop("commit") + 5
    assert after == before


@pytest.mark.parametrize(
    ("names", "to", "message"),
    [
        ({"attribute": "plus"}, "minus", "--to minus: another attribute of the database has that name"),
        ({"dataset": "r1"}, "r2", "--to r2: another dataset of the database has that name"),
        ({"dataset": "r1"}, "r1", "--to r1: another dataset of the database has that name"),
        ({"attribute": "x"}, "y", "no attribute 'x' in the database; it has "),
        ({"dataset": "x"}, "y", "no dataset 'x' in the database; it has "),
        ({"attribute": "plus"}, "a/b", "--to 'a/b'; expected letters, digits and"),
        ({"attribute": "plus"}, "../x", "--to '../x'; expected letters, digits and"),
        ({"dataset": "r1"}, "a,b", "--to 'a,b'; a name may hold no comma"),
        ({"dataset": "r1"}, "None", "--to 'None'; a name may hold no comma"),
        ({}, "y", "give one of --attribute and --dataset"),
        ({"attribute": "plus", "dataset": "r1"}, "y", "give one of --attribute and --dataset"),
    ],
)
def test_rename_refuses_what_makes_no_sense(database, names, to, message):
    before = tree(database)
    with pytest.raises(InputError, match=message) as raised:
        rename(database, to, **names)
    assert "\n" not in str(raised.value)
    assert tree(database) == before


# Both


def test_second_writer_is_refused(database):
    before = tree(database)
    with storage.write_lock(database):
        with pytest.raises(RunError, match="another process is writing"):
            drop(database, dataset="r1")
        with pytest.raises(RunError, match="another process is writing"):
            rename(database, "r3", dataset="r1")
    assert tree(database) == before


def test_no_database_is_made_by_mistake(tmp_path):
    for change in (lambda uri: drop(uri, dataset="a"), lambda uri: rename(uri, "b", dataset="a")):
        with pytest.raises(NoDatabaseError):
            change(str(tmp_path / "nowhere"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a", "_x", "H3K4me3.rep-1", "9+"])
def test_names_of_attributes(name):
    assert check_attribute(name, "--to") == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "a b", "a@5", "a/b", "é", "a\n"])
def test_names_that_no_attribute_may_have(name):
    with pytest.raises(InputError, match="--to"):
        check_attribute(name, "--to")


@pytest.mark.parametrize("name", ["", " ", "None", "a,b", "a\tb", " a", "a\n"])
def test_names_that_no_dataset_may_have(name):
    with pytest.raises(InputError, match="--to"):
        check_dataset(name, "--to")
    assert check_dataset("K562 rep/1 é", "--to") == "K562 rep/1 é"
