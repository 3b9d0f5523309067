"""Consolidation: what no track needs goes, what tracks hold stays, whatever happens in between."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from handmade import CHUNK, GENOME, Database, fragments, rows
from hypothesis import given
from hypothesis import strategies as st
from killed import kill_at_steps

from db_ingest import storage
from db_ingest.errors import NoDatabaseError, RunError
from db_ingest.layout.catalogue import Staged
from db_ingest.upkeep import consolidate as module
from db_ingest.upkeep.consolidate import consolidate
from db_ingest.upkeep.verify import verify


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch):
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", CHUNK)
    monkeypatch.setattr(module, "_SECONDS_TO_LIST", {"local": 0, "remote": 0})


@pytest.fixture
def place(tmp_path) -> str:
    return str(tmp_path / "db")


@pytest.fixture
def made(place) -> Database:
    """Two signals in two datasets, one of them replaced, a mask, a level, a sequence, and what is left of others."""
    db = Database(place)
    db.catalogue.take_row("sequence")
    db.write_row("sequence", 0)
    row = db.catalogue.take_row("sequence")
    db.catalogue.sequence = {
        "path": "",
        "bytes": 0,
        "sha256": "",
        "row": row,
        "checksums": db.write_row("sequence", row)[1],
    }
    for dataset in "ab":
        db.add("cuts", dataset)
        db.add("signal", dataset, "signal", levels=(5,))
        db.add("peaks", dataset, "mask")
    db.add("cuts", "a")
    db.add("peaks", "b", "mask")
    db.add("gone", "a", "signal", levels=(5,))
    db.catalogue.tracks = [track for track in db.catalogue.tracks if track.attribute != "gone"]
    db.catalogue.staged.append(Staged("cuts", "c", "bigwig", {}, {}, db.catalogue.take_row("cuts")))
    db.write_row("counts/cuts", 3, chunks=2)
    db.write_row("counts/cuts", db.catalogue.take_row("cuts"), chunks=2)
    db.save()
    return db


def test_rows_that_nothing_names_go_and_the_others_stay(made, place):
    result = consolidate(place)
    made.check()
    assert rows(place, "counts/cuts") == {1, 2, 3}
    assert rows(place, "signal/signal") == {0, 2}
    assert rows(place, "signal/signal@5") == {1, 3}
    assert rows(place, "mask/peaks") == rows(place, "intervals/peaks") == {0, 2}
    assert rows(place, "sequence") == {1}
    assert storage.names(f"{place}/signal") == ["signal", "signal@5"]
    stored = storage.files(place)
    assert not [name for name in stored if "/__fragments/__1_1_" in name and name.startswith(("counts", "sequence"))]
    assert result.bytes_after == sum(stored.values()) < result.bytes_before
    assert result.fragments_after == sum(len(fragments(place, m)) for m in ["sequence", *members(place)])
    assert any(line.startswith("signal/gone: no track uses it; removed") for line in result.lines)


def members(place: str) -> list[str]:
    return [
        f"{folder}/{name}"
        for folder in ("signal", "counts", "mask", "intervals")
        for name in storage.names(f"{place}/{folder}")
    ]


def test_one_file_lists_the_fragments_and_one_holds_their_footers(place):
    db = Database(place)
    for i in range(12):
        db.add("cuts", f"d{i}")
    db.add("alone", "d0")
    db.save()
    consolidate(place)
    db.check()
    assert len(fragments(place, "counts/cuts")) == 12 * 4
    for folder in ("__commits", "__fragment_meta"):
        assert len(storage.names(f"{place}/counts/cuts/{folder}")) == 1
    # What comes later counts beside the list, and what goes later counts no more although a list names it.
    db.add("cuts", "d3")
    db.add("cuts", "more")
    db.save()
    db.check()
    consolidate(place)
    db.check()
    assert rows(place, "counts/cuts") == {*range(12), 12, 13} - {3}
    assert len(storage.names(f"{place}/counts/cuts/__fragments")) == 13 * 4
    db.catalogue.tracks = [track for track in db.catalogue.tracks if track.dataset == "more"]
    db.save()
    consolidate(place)
    db.check()
    assert len(storage.names(f"{place}/counts/cuts/__fragments")) == 4
    assert storage.names(f"{place}/counts") == ["cuts"]
    assert verify(place).damage == []


def test_again_there_is_nothing_to_do(made, place):
    consolidate(place)
    before = storage.files(place)
    again = consolidate(place)
    assert again.lines == []
    assert again.bytes_before == again.bytes_after
    assert storage.files(place) == before


def test_dry_run_says_what_would_be_done_and_does_nothing(made, place):
    before = storage.files(place)
    would = consolidate(place, dry_run=True)
    assert storage.files(place) == before
    done = consolidate(place)
    assert [line.replace("would be ", "") for line in would.lines] == done.lines
    assert would.bytes_before == done.bytes_before
    assert would.fragments_after == done.fragments_after


def test_many_small_fragments_of_a_row_are_merged(made, place, monkeypatch):
    monkeypatch.setattr(module, "MANY", 3)
    consolidate(place)
    made.check()
    whole = [(row, 0, GENOME.length - 1) for row in (1, 2)]
    # The interrupted row stays as its writer knows it.
    assert fragments(place, "counts/cuts") == [*whole, (3, 0, 63), (3, 64, 127)]
    assert fragments(place, "signal/signal") == [(row, 0, GENOME.length - 1) for row in (0, 2)]
    assert fragments(place, "sequence") == [(1, 0, GENOME.length - 1)]
    assert len(storage.names(f"{place}/signal/signal/__fragments")) == 2
    assert consolidate(place).lines == []
    made.add("cuts", "e")
    made.save()
    consolidate(place)
    made.check()
    assert fragments(place, "counts/cuts")[-1] == (5, 0, GENOME.length - 1)


def test_merging_stops_at_a_number_of_bytes(made, place, monkeypatch):
    monkeypatch.setattr(module, "MANY", 3)
    monkeypatch.setattr(module, "MERGED_BYTES", 2 * CHUNK * 4)
    consolidate(place)
    made.check()
    assert fragments(place, "signal/signal") == [(r, *ends) for r in (0, 2) for ends in ((0, 127), (128, 223))]
    assert consolidate(place).lines == []


def test_large_fragments_are_left_alone(made, place, monkeypatch):
    monkeypatch.setattr(module, "MANY", 3)
    monkeypatch.setattr(module, "SMALL_BYTES", 10)
    consolidate(place)
    assert len(fragments(place, "signal/signal")) == 8


def test_in_s3_as_on_disk(s3):
    db = Database(s3.uri("some", "db"))
    db.add("cuts", "a")
    db.add("cuts", "a")
    db.add("peaks", "a", "mask")
    db.add("gone", "a")
    db.catalogue.tracks.pop()
    db.save()
    before = storage.files(db.uri)
    would = consolidate(db.uri, dry_run=True)
    assert storage.files(db.uri) == before
    result = consolidate(db.uri)
    db.check()
    assert rows(db.uri, "counts/cuts") == {1}
    assert storage.names(storage.join(db.uri, "counts")) == ["cuts"]
    for folder in ("__commits", "__fragment_meta"):
        assert len(storage.names(f"{db.uri}/counts/cuts/{folder}")) == 1
    assert len(storage.names(f"{db.uri}/counts/cuts/__fragments")) == 4
    assert len(would.lines) == len(result.lines) > 0
    assert result.bytes_after == storage.size(db.uri) < result.bytes_before
    assert consolidate(db.uri).lines == []


def test_what_killed_writers_leave_is_removed(made, place):
    uri, db = place, Path(place)
    unfinished = db / "counts" / "cuts" / "__fragments" / "__2_2_0123456789abcdef0123456789abcdef_22"
    unfinished.mkdir()
    (unfinished / "a0.tdb").write_bytes(b"half")
    (db / "counts" / "cuts" / "__fragments" / "__3_3_0123456789abcdef0123456789abcdef_22").mkdir()
    shutil.copytree(db / "counts" / "cuts", db / "counts" / ".cuts.new")
    (db / ".catalogue.json.abc").write_bytes(b"{")
    (db / "notes").mkdir()
    (db / "notes" / "mine.txt").write_text("stays")
    (db / "signal" / "mine").mkdir()
    result = consolidate(uri)
    made.check()
    assert not unfinished.exists()
    assert sorted(path.name for path in db.iterdir() if path.name.startswith(".")) == [".lock"]
    assert not (db / "counts" / ".cuts.new").exists()
    assert (db / "notes" / "mine.txt").exists()
    assert (db / "signal" / "mine").exists()
    assert "counts/cuts: 2 fragment(s) that a killed writer left; removed, 0.0 MB" in result.lines
    assert consolidate(uri).lines == []


def test_another_writer_keeps_it_out(made, place):
    with storage.write_lock(place), pytest.raises(RunError, match="another process is writing"):
        consolidate(place)
    consolidate(place, dry_run=True)


def test_no_database_is_an_error_and_nothing_is_made(tmp_path):
    with pytest.raises(NoDatabaseError, match="no kerasgen database"):
        consolidate(str(tmp_path / "none"))
    assert not (tmp_path / "none" / "catalogue.json").exists()


def test_fragments_of_several_rows_are_refused(made, place):
    name = "__1_2_0123456789abcdef0123456789abcdef_22"
    storage.replace_bytes(f"{place}/counts/cuts/__commits/{name}.wrt", b"")
    with pytest.raises(RunError, match=f"{name}: a fragment that kerasgen did not write"):
        consolidate(place)


KILLED = """
import tiledb
import db_ingest.layout.genome
from db_ingest.layout import arrays
from db_ingest.upkeep import consolidate as module
db_ingest.layout.genome.CHUNK = 64
module._SECONDS_TO_LIST = {"local": 0, "remote": 0}
module.MANY = 3
work = module.consolidate

def look(event, arguments):
    there = place and arguments and place in str(arguments[0])
    changing = event in ("os.rename", "os.mkdir", "os.symlink")
    writing = event == "open" and arguments[1] not in (None, "r", "rb")
    # What is removed inside a folder is named by its last part alone.
    if event in ("os.remove", "os.rmdir") or (there and (changing or writing)):
        step()

def between(function):
    def call(*arguments, **options):
        step()
        function(*arguments, **options)
        step()
    return call

arrays.put = between(arrays.put)
tiledb.consolidate = between(tiledb.consolidate)
sys.addaudithook(look)
"""


@pytest.mark.slow
def test_killed_at_any_moment_the_database_is_right(tmp_path):
    db = Database(str(tmp_path / "db"))
    for dataset in "abc":
        db.add("cuts", dataset)
        db.add("peaks", dataset, "mask")
    db.add("cuts", "b")
    db.add("gone", "a")
    db.catalogue.tracks = db.catalogue.tracks[:-1]
    db.save()

    places = [str(tmp_path / name) for name in ("whole", *(f"killed{i}" for i in range(5)))]
    for place in places:
        shutil.copytree(db.uri, place)
    assert kill_at_steps(KILLED, places[0], places[1:]) > 40
    wanted = sorted(fragments(places[0], "counts/cuts"))
    for uri in places[1:]:
        db.check(uri)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "MANY", 3)
            consolidate(uri)
        db.check(uri)
        assert fragments(uri, "counts/cuts") == wanted
        assert sorted(storage.names(uri)) == [".lock", "catalogue.json", "counts", "intervals", "mask"]
        assert len(storage.names(f"{uri}/counts/cuts/__fragments")) == len(wanted) == 3


stored = st.builds(
    lambda row, first, length, size: module.Stored("", row, first, first + length - 1, size),
    st.integers(0, 2),
    st.integers(0, 8).map(lambda i: i * 10),
    st.integers(1, 3).map(lambda i: i * 10),
    st.sampled_from([1, 10**9]),
)


@given(found=st.lists(stored, max_size=20))
def test_merges_are_side_by_side_small_and_bounded(found):
    ordered = sorted(
        (f._replace(name=str(i)) for i, f in enumerate(found)), key=lambda f: (f.row, f.first, -f.last, f.name)
    )
    gone = module.covered(ordered)
    for fragment in ordered:
        holders = [
            o for o in ordered if o.row == fragment.row and o.first <= fragment.first and o.last >= fragment.last
        ]
        if fragment.name in gone:
            assert [o for o in holders if o.name not in gone]
        else:
            assert all(o.name in gone or o is fragment for o in holders)
    kept = [f for f in ordered if f.name not in gone]
    cell = module.MERGED_BYTES // 40
    merges = module.plan_merges(kept, cell)
    for merge in merges:
        inside = [f for f in kept if f.row == merge.row and merge.first <= f.first and f.last < merge.last]
        assert len(inside) == merge.fragments >= 2
        assert all(f.bytes <= module.SMALL_BYTES for f in inside)
        assert sum(f.last + 1 - f.first for f in inside) == merge.last - merge.first <= 40
