"""Copies: the rows that the catalogue names, whole or not visible, going on where an interrupted one ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from handmade import CHUNK, Database, fragments, rows
from killed import kill_at_steps

from db_ingest import storage
from db_ingest.errors import InputError, NoDatabaseError, RunError
from db_ingest.layout.catalogue import Staged, load
from db_ingest.upkeep import copying as module
from db_ingest.upkeep.consolidate import consolidate
from db_ingest.upkeep.copying import copy
from db_ingest.upkeep.verify import verify


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch):
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", CHUNK)
    monkeypatch.setattr("db_ingest.upkeep.consolidate._SECONDS_TO_LIST", {"local": 0, "remote": 0})


def fill(db: Database) -> Database:
    """Signals of two datasets, one replaced, a mask, levels, a sequence, and a row in the making."""
    row = db.catalogue.take_row("sequence")
    db.catalogue.sequence = {
        "path": "",
        "bytes": 0,
        "sha256": "",
        "row": row,
        "checksums": db.write_row("sequence", row)[1],
    }
    for dataset in "ab":
        db.add("cuts", dataset, levels=(5,))
    db.add("peaks", "a", "mask")
    db.add("cuts", "a", levels=(5,))
    db.add("gone", "a")
    db.catalogue.tracks.pop()
    db.catalogue.staged.append(Staged("cuts", "c", "bigwig", {}, {}, db.catalogue.take_row("cuts")))
    db.write_row("counts/cuts", db.catalogue.staged[0].row, chunks=2)
    db.save()
    return db


@pytest.fixture
def db(tmp_path) -> Database:
    return fill(Database(str(tmp_path / "db")))


@pytest.fixture
def to(tmp_path) -> str:
    return str(tmp_path / "copy")


def test_copy_holds_what_the_catalogue_names_and_no_more(db, to):
    result = copy(db.uri, to)
    db.check(to)
    assert verify(to).damage == []
    original, copied = load(db.uri), load(to)
    assert copied.tracks == original.tracks
    assert copied.commit == original.commit
    assert copied.next_row == original.next_row
    assert copied.staged == []
    assert rows(to, "counts/cuts") == {2, 4}
    assert storage.names(to) == [".lock", "catalogue.json", "counts", "intervals", "mask", "sequence", "signal"]
    assert storage.names(f"{to}/counts") == ["cuts"]
    files = storage.files(to)
    stored = {name: size for name, size in files.items() if "/__fragments/" in name or "/__schema/" in name}
    assert result.bytes == result.copied == sum(stored.values())
    assert consolidate(to).lines == []


def test_tracks_can_be_added_to_a_copy(db, to):
    copy(db.uri, to)
    db.uri = to
    db.add("cuts", "c")
    db.save()
    db.check()
    consolidate(to)
    db.check()


@pytest.mark.parametrize("consolidated", [False, True])
def test_some_tracks_are_copied_with_their_rows_alone(db, to, consolidated):
    if consolidated:
        consolidate(db.uri)
    result = copy(db.uri, to, attributes=["cuts"], datasets=["b"])
    db.check(to)
    assert result.tracks == ["b cuts"]
    assert [track.name for track in load(to).tracks] == ["b cuts"]
    assert rows(to, "counts/cuts") == {2}
    assert len(storage.names(f"{to}/counts/cuts/__fragments")) == 4
    assert storage.names(to) == [".lock", "catalogue.json", "counts", "sequence", "signal"]
    other = copy(db.uri, f"{to}2", datasets=["a"])
    assert other.tracks == ["a cuts", "a peaks"]
    db.check(f"{to}2")


def test_dry_run_makes_nothing(db, to):
    would = copy(db.uri, to, dry_run=True)
    assert not Path(to).exists()
    assert copy(db.uri, to) == would


def test_unknown_names_and_places_are_refused(db, to, tmp_path):
    with pytest.raises(InputError, match="no attribute 'nope' in the database; it has cuts, peaks"):
        copy(db.uri, to, attributes=["nope"])
    with pytest.raises(InputError, match="no dataset 'nope' in the database; it has a, b"):
        copy(db.uri, to, datasets=["nope"])
    with pytest.raises(InputError, match="none of the datasets named has 'peaks'"):
        copy(db.uri, to, datasets=["b"], attributes=["peaks"])
    with pytest.raises(NoDatabaseError):
        copy(str(tmp_path / "none"), to)
    assert not Path(to).exists()
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("")
    with pytest.raises(InputError, match=f"{full}: is not empty"):
        copy(db.uri, str(full))
    assert [path.name for path in full.iterdir()] == ["mine"]
    with pytest.raises(InputError, match="holds a database already"):
        copy(db.uri, db.uri)
    with pytest.raises(InputError, match="lies in the database itself"):
        copy(db.uri, f"{db.uri}/copy")


def test_part_of_a_copy_of_another_database_is_refused(db, to):
    storage.replace_bytes(f"{to}/{module.MARK}", json.dumps({"copy_of": "/data/other"}).encode())
    with pytest.raises(InputError, match="holds part of a copy of /data/other"):
        copy(db.uri, to)


KILLED = """
import db_ingest.upkeep.consolidate, db_ingest.upkeep.copying

def look(event, arguments):
    changing = event in ("os.remove", "os.rename") or (event == "open" and arguments[1] not in (None, "r", "rb"))
    if changing and place and place in str(arguments[0]):
        step()

def work(place):
    db_ingest.upkeep.copying.copy({uri!r}, place)

sys.addaudithook(look)
"""


@pytest.mark.slow
def test_killed_copy_is_not_visible_and_goes_on_where_it_ended(db, tmp_path):
    places = [str(tmp_path / f"killed{i}") for i in range(6)]
    assert kill_at_steps(KILLED.format(uri=db.uri), str(tmp_path / "whole"), places) > 40
    there = []
    for to in places:
        if not (Path(to) / "catalogue.json").exists():
            with pytest.raises(NoDatabaseError):
                load(to)
            result = copy(db.uri, to)
            there.append(result.copied < result.bytes)
            assert not (Path(to) / module.MARK).exists()
        db.check(to)
        assert verify(to).damage == []
    assert any(there)


def test_source_that_changed_since_it_was_cut_off_is_copied_as_it_is_now(db, to, monkeypatch):
    monkeypatch.setattr(module, "_finish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        copy(db.uri, to)
    monkeypatch.undo()
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", CHUNK)
    monkeypatch.setattr("db_ingest.upkeep.consolidate._SECONDS_TO_LIST", {"local": 0, "remote": 0})
    monkeypatch.setattr("db_ingest.upkeep.consolidate.MANY", 3)
    db.catalogue.tracks = [track for track in db.catalogue.tracks if track.kind == "signal"]
    db.add("cuts", "b")
    db.save()
    consolidate(db.uri)
    copy(db.uri, to)
    db.check(to)
    in_the_making = db.catalogue.staged[0].row
    assert fragments(to, "counts/cuts") == [f for f in fragments(db.uri, "counts/cuts") if f[0] != in_the_making]
    assert storage.names(to) == [".lock", "catalogue.json", "counts", "sequence", "signal"]
    assert len(storage.names(f"{to}/counts/cuts/__fragments")) == len(fragments(to, "counts/cuts"))


def test_consolidated_while_it_was_copied_is_said(db, to, monkeypatch):
    listed = module._arrays

    def then_gone(*arguments):
        found = listed(*arguments)
        shutil.rmtree(next(Path(db.uri).glob("counts/cuts/__fragments/__5_5_*")))
        return found

    monkeypatch.setattr(module, "_arrays", then_gone)
    with pytest.raises(RunError, match="consolidated while it was copied"):
        copy(db.uri, to)
    assert not (Path(to) / "catalogue.json").exists()


@pytest.mark.parametrize("remote", [(True, False), (False, True)])
def test_between_disk_and_s3(s3, tmp_path, remote):
    source, to = (s3.uri("x", name) if far else str(tmp_path / name) for far, name in zip(remote, "ab", strict=True))
    db = Database(source)
    db.add("cuts", "a")
    db.add("cuts", "b")
    db.save()
    copy(source, to, datasets=["b"])
    db.check(to)
    assert rows(to, "counts/cuts") == {1}
    assert storage.names(to)[-2:] == ["catalogue.json", "counts"]
