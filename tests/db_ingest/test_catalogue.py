"""The catalogue: what it says, and that a broken one is told apart from none."""

from __future__ import annotations

import dataclasses
import datetime
import json

import pytest

from db_ingest import catalogue as catalogues
from db_ingest.catalogue import Catalogue, Track
from db_ingest.errors import InputError, NoDatabaseError
from db_ingest.genome import Genome

GENOME = Genome(("chr1", "chr2"), (70_000, 5))


def track(attribute: str = "peaks", dataset: str = "k562", row: int = 0, kind: str = "mask") -> Track:
    return Track(
        attribute=attribute,
        dataset=dataset,
        kind=kind,
        type="bed_no_summit",
        row=row,
        source={"path": "/x.bed", "bytes": 3, "sha256": "00"},
        options={},
        summary={"intervals": 1},
        committed="2026-01-01T00:00:00+00:00",
    )


def test_saved_catalogue_loads_as_it_was(tmp_path):
    book = Catalogue(GENOME, tracks=[track(), track(dataset="hepg2", row=1)], next_row={"mask/peaks": 2})
    book.sequence = {"path": "/g.fa", "bytes": 9, "sha256": "11"}
    book.save(str(tmp_path))
    assert catalogues.load(str(tmp_path)) == book


def test_document_holds_version_genome_and_tracks(tmp_path):
    Catalogue(GENOME, tracks=[track()]).save(str(tmp_path))
    document = json.loads((tmp_path / "catalogue.json").read_text())
    assert (document["format"], document["format_version"], document["commit"]) == ("kerasgen", 1, 1)
    assert document["genome"] == {
        "tile": 65_536,
        "chromosomes": [
            {"name": "chr1", "size": 70_000, "offset": 0},
            {"name": "chr2", "size": 5, "offset": 131_072},
        ],
    }
    assert document["tracks"] == [dataclasses.asdict(track())]
    assert document["sequence"] is None


def test_every_save_is_the_next_commit(tmp_path):
    book = Catalogue(GENOME)
    for commit in (1, 2, 3):
        book.save(str(tmp_path))
        assert catalogues.load(str(tmp_path)).commit == commit


def test_rows_are_handed_out_once_for_each_member(tmp_path):
    book = Catalogue(GENOME)
    assert [book.take_row("mask/a"), book.take_row("mask/b"), book.take_row("mask/a")] == [0, 0, 1]
    book.save(str(tmp_path))
    assert catalogues.load(str(tmp_path)).take_row("mask/a") == 2


def test_put_replaces_the_track_of_the_same_attribute_and_dataset_in_place():
    book = Catalogue(GENOME, tracks=[track(), track(dataset="hepg2")])
    book.put(track(row=7))
    book.put(track(attribute="other", row=1))
    assert [(t.attribute, t.dataset, t.row) for t in book.tracks] == [
        ("peaks", "k562", 7),
        ("peaks", "hepg2", 0),
        ("other", "k562", 1),
    ]
    assert book.attributes == ["peaks", "other"]
    assert book.datasets == ["k562", "hepg2"]


def test_unknown_track_lists_the_names_there_are():
    book = Catalogue(GENOME, tracks=[track(), track("other", "hepg2")])
    with pytest.raises(InputError, match=r"no attribute 'x'.*peaks, other"):
        book.track("x", "k562")
    with pytest.raises(InputError, match=r"no dataset 'y'.*k562, hepg2"):
        book.track("peaks", "y")
    with pytest.raises(InputError, match=r"'hepg2' has no 'peaks'.*k562"):
        book.track("peaks", "hepg2")
    assert book.track("peaks", "k562") == track()


def test_folder_without_catalogue_is_no_database(tmp_path):
    with pytest.raises(NoDatabaseError, match=r"no kerasgen database here.*catalogue\.json") as caught:
        catalogues.load(str(tmp_path))
    assert isinstance(caught.value, FileNotFoundError)
    assert not catalogues.exists(str(tmp_path))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace('"kerasgen"', '"zarr"'),
        lambda text: text.replace('"row": 0', '"line": 0'),
        lambda text: text.replace('"genome"', '"organism"'),
    ],
    ids=["cut", "empty", "list", "null", "other format", "other field", "no genome"],
)
def test_broken_catalogue_is_said_to_be_none(tmp_path, damage):
    Catalogue(GENOME, tracks=[track()]).save(str(tmp_path))
    path = tmp_path / "catalogue.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(NoDatabaseError) as caught:
        catalogues.load(str(tmp_path))
    assert str(path) in str(caught.value)
    assert caught.value.exit_status == 2


def test_newer_format_version_is_refused_and_named(tmp_path):
    Catalogue(GENOME).save(str(tmp_path))
    path = tmp_path / "catalogue.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(NoDatabaseError, match="format version 2; this release reads version 1"):
        catalogues.load(str(tmp_path))


def test_catalogue_that_cannot_be_json_leaves_the_old_one(tmp_path):
    book = Catalogue(GENOME, tracks=[track()])
    book.save(str(tmp_path))
    before = (tmp_path / "catalogue.json").read_bytes()
    book.put(dataclasses.replace(track(), summary={"sum": float("nan")}))
    with pytest.raises(ValueError, match="JSON"):
        book.save(str(tmp_path))
    assert (tmp_path / "catalogue.json").read_bytes() == before


def test_committed_times_are_utc():
    assert datetime.datetime.fromisoformat(catalogues.now()).utcoffset() == datetime.timedelta(0)
