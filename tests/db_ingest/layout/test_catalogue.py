"""The catalogue: what it says, and that a broken one is told apart from none."""

from __future__ import annotations

import dataclasses
import datetime
import json

import pytest

from db_ingest.errors import InputError, NoDatabaseError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue, Level, Provenance, Staged, Track
from db_ingest.layout.genome import Genome

GENOME = Genome(("chr1", "chr2"), (70_000, 5))
SOURCE = {"path": "/x.bed", "bytes": 3, "sha256": "00"}


def track(attribute: str = "peaks", dataset: str = "k562", row: int = 0, kind: str = "mask") -> Track:
    return Track(
        attribute=attribute,
        dataset=dataset,
        kind=kind,
        type="bed_no_summit",
        folder="mask" if kind == "mask" else "counts",
        row=row,
        source=SOURCE,
        options={},
        summary={"intervals": 1},
        checksums={"chr1": "0badcafe"},
        committed="2026-01-01T00:00:00+00:00",
    )


def staged(attribute: str = "peaks", dataset: str = "k562", row: int = 0) -> Staged:
    return Staged(attribute, dataset, "bed_no_summit", SOURCE, {}, row)


def test_saved_catalogue_loads_as_it_was(tmp_path):
    levels = (Level(25, "mean", 0, {"chr1": "12345678"}), Level(100, "max", 3, {}))
    signal = dataclasses.replace(track("coverage", row=4, kind="signal"), levels=levels, bin=5, stored_as="depth")
    catalogue = Catalogue(
        GENOME,
        tracks=[track(), track(dataset="hepg2", row=1), signal],
        staged=[staged("coverage", "hepg2", 5)],
        next_row={"peaks": 2, "coverage": 6},
    )
    catalogue.sequence = {"path": "/g.fa", "bytes": 9, "sha256": "11", "row": 0, "checksums": {"chr1": "00000000"}}
    catalogue.save(str(tmp_path))
    assert catalogues.load(str(tmp_path)) == catalogue


def test_document_holds_version_genome_and_tracks(tmp_path):
    Catalogue(GENOME, tracks=[track()], staged=[staged(row=1)], next_row={"peaks": 2}).save(str(tmp_path))
    document = json.loads((tmp_path / "catalogue.json").read_text())
    assert (document["format"], document["format_version"], document["commit"]) == ("kerasgen", 3, 1)
    assert document["genome"] == {
        "tile": 65_536,
        "chromosomes": [
            {"name": "chr1", "size": 70_000, "offset": 0},
            {"name": "chr2", "size": 5, "offset": 131_072},
        ],
    }
    assert document["tracks"] == [{**dataclasses.asdict(track()), "levels": []}]
    assert document["staged"] == [
        {"attribute": "peaks", "dataset": "k562", "type": "bed_no_summit", "source": SOURCE, "options": {}, "row": 1}
    ]
    assert document["next_row"] == {"peaks": 2}
    assert document["sequence"] is None


def test_every_save_is_the_next_commit(tmp_path):
    catalogue = Catalogue(GENOME)
    for commit in (1, 2, 3):
        catalogue.save(str(tmp_path))
        assert catalogues.load(str(tmp_path)).commit == commit


def test_rows_are_handed_out_once_for_each_attribute(tmp_path):
    catalogue = Catalogue(GENOME)
    assert [catalogue.take_row("a"), catalogue.take_row("b"), catalogue.take_row("a")] == [0, 0, 1]
    catalogue.save(str(tmp_path))
    assert catalogues.load(str(tmp_path)).take_row("a") == 2


def test_row_that_was_begun_with_the_same_file_and_settings_is_taken_up_again(tmp_path):
    catalogue = Catalogue(GENOME)
    first = catalogue.stage("peaks", "k562", Provenance("bed_no_summit", SOURCE, {"empty": "allow"}))
    other = catalogue.stage("peaks", "hepg2", Provenance("bed_no_summit", SOURCE, {}))
    catalogue.save(str(tmp_path))
    catalogue = catalogues.load(str(tmp_path))
    moved = {**SOURCE, "path": "/elsewhere.bed"}
    assert catalogue.stage("peaks", "k562", Provenance("bed_no_summit", moved, {"empty": "allow"})) == first
    assert catalogue.staged == [first, other]
    assert (first.row, other.row, catalogue.next_row) == (0, 1, {"peaks": 2})


@pytest.mark.parametrize(
    ("type", "source", "options"),
    [
        ("narrowPeak", SOURCE, {}),
        ("bed_no_summit", {**SOURCE, "sha256": "01"}, {}),
        ("bed_no_summit", SOURCE, {"empty": "allow"}),
    ],
    ids=["type", "file", "settings"],
)
def test_row_that_was_begun_with_something_else_is_never_taken_up(type, source, options):
    catalogue = Catalogue(GENOME)
    catalogue.stage("peaks", "k562", Provenance("bed_no_summit", SOURCE, {}))
    fresh = catalogue.stage("peaks", "k562", Provenance(type, source, options))
    assert fresh.row == 1
    assert catalogue.staged == [fresh]
    assert catalogue.next_row == {"peaks": 2}


def test_track_that_is_put_is_no_longer_staged():
    catalogue = Catalogue(GENOME, staged=[staged(), staged(dataset="hepg2", row=1), staged("other")])
    catalogue.put(track())
    assert catalogue.staged == [staged(dataset="hepg2", row=1), staged("other")]
    catalogue.unstage("other", "k562")
    assert catalogue.staged == [staged(dataset="hepg2", row=1)]


def test_track_names_the_arrays_that_hold_it():
    level = Level(25, "mean", 0, {})
    signal = dataclasses.replace(track("depth", kind="signal"), levels=(level,))
    assert (signal.member, signal.level_member(level)) == ("counts/depth", "signal/depth@25")
    assert (track().member, track().intervals) == ("mask/peaks", "intervals/peaks")
    assert dataclasses.replace(signal, folder="signal", bin=10).member == "signal/depth@10"
    renamed = dataclasses.replace(signal, attribute="coverage", stored_as="depth")
    assert (renamed.name, renamed.member, renamed.level_member(level)) == (
        "k562 coverage",
        "counts/depth",
        "signal/depth@25",
    )
    assert dataclasses.replace(track("summits"), stored_as="peaks").intervals == "intervals/peaks"


def test_put_replaces_the_track_of_the_same_attribute_and_dataset_in_place():
    catalogue = Catalogue(GENOME, tracks=[track(), track(dataset="hepg2")])
    catalogue.put(track(row=7))
    catalogue.put(track(attribute="other", row=1))
    assert [(t.attribute, t.dataset, t.row) for t in catalogue.tracks] == [
        ("peaks", "k562", 7),
        ("peaks", "hepg2", 0),
        ("other", "k562", 1),
    ]
    assert catalogue.attributes == ["peaks", "other"]
    assert catalogue.datasets == ["k562", "hepg2"]


def test_unknown_track_lists_the_names_there_are():
    catalogue = Catalogue(GENOME, tracks=[track(), track("other", "hepg2")])
    with pytest.raises(InputError, match=r"no attribute 'x'.*peaks, other"):
        catalogue.track("x", "k562")
    with pytest.raises(InputError, match=r"no dataset 'y'.*k562, hepg2"):
        catalogue.track("peaks", "y")
    with pytest.raises(InputError, match=r"'hepg2' has no 'peaks'.*k562"):
        catalogue.track("peaks", "hepg2")
    assert catalogue.track("peaks", "k562") == track()


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
        lambda text: text.replace('"offset": 0', '"offset": 65536'),
        lambda text: text.replace('"staged"', '"begun"'),
        lambda text: text.replace('"size": 5', '"size": "5"'),
    ],
    ids=["cut", "empty", "list", "null", "other format", "field", "no genome", "offset", "no staged", "size"],
)
def test_broken_catalogue_is_said_to_be_none(tmp_path, damage):
    Catalogue(GENOME, tracks=[track()]).save(str(tmp_path))
    path = tmp_path / "catalogue.json"
    whole = path.read_text()
    assert damage(whole) != whole
    path.write_text(damage(whole))
    with pytest.raises(NoDatabaseError) as caught:
        catalogues.load(str(tmp_path))
    assert str(path) in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("version", [1, 2, 4])
def test_other_format_version_is_refused_and_named(tmp_path, version):
    Catalogue(GENOME).save(str(tmp_path))
    path = tmp_path / "catalogue.json"
    path.write_text(path.read_text().replace('"format_version": 3', f'"format_version": {version}'))
    with pytest.raises(NoDatabaseError, match=f"format version {version}; this release reads version 3"):
        catalogues.load(str(tmp_path))


def test_catalogue_that_cannot_be_json_leaves_the_old_one(tmp_path):
    catalogue = Catalogue(GENOME, tracks=[track()])
    catalogue.save(str(tmp_path))
    before = (tmp_path / "catalogue.json").read_bytes()
    catalogue.put(dataclasses.replace(track(), summary={"sum": float("nan")}))
    with pytest.raises(ValueError, match="JSON"):
        catalogue.save(str(tmp_path))
    assert (tmp_path / "catalogue.json").read_bytes() == before


def test_committed_times_are_utc():
    assert datetime.datetime.fromisoformat(catalogues.now()).utcoffset() == datetime.timedelta(0)
