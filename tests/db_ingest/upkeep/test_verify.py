"""A database read again: every kind of damage is found and named, and nothing else is."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
import tiledb
from plain import joined

from db_ingest import ingest
from db_ingest.cli.gen_db import COMMANDS
from db_ingest.errors import InputError, NoDatabaseError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout import members, schema
from db_ingest.layout.catalogue import Level
from db_ingest.layout.cells import CELLS, folder_of, to_stored
from db_ingest.upkeep.edit import drop, rename
from db_ingest.upkeep.verify import verify

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}
PEAKS = [
    ("chr1", 100, 200, "a", 10, "+", 1.5, 2.5, 3.5, 50),
    ("chr1", 150, 260, "b", 20, "-", 2.5, 3.5, 4.5, 0),
    ("chr1", 150, 260, "a2", 20, "-", 2.5, 3.5, 4.5, 9),
    ("chrM", 0, 400, "d", 40, "+", 4.5, 5.5, 6.5, 399),
]


TYPES = """
signal: bigwig
minus: bigwig
counts: {type: bigwig, missing: nan}
graph: bedgraph
grid: {type: npz, bin: 50}
peaks: narrowPeak
centres: bed_summit_from_peak_center
"""


@dataclass
class Experiment:
    """Files of a small experiment, by attribute, and the database of them."""

    files: dict[str, Path]
    fasta: Path
    database: str


def build(inputs, uri: str) -> Experiment:
    counts = {name: inputs.rng.integers(0, 9, size).astype(float) for name, size in SIZES.items()}
    counts["chr1"][10:400] = np.nan
    grid = inputs.folder / "grid.npz"
    np.savez(grid, **{name: inputs.rng.random(-(-size // 50)) for name, size in SIZES.items()})
    files = {
        "signal": inputs.bigwig("signal.bw", {name: inputs.signal(SIZES[name]) for name in ("chr1", "chr2")}),
        "minus": inputs.bigwig("minus.bw", {"chr1": -inputs.signal(3_000)}, sizes={"chr1": 3_000}),
        "counts": inputs.bigwig("counts.bw", counts),
        "graph": inputs.bed("graph.bedGraph", [("chr1", 5, 90, 0.25), ("chr1", 90, 120, -3), ("chr2", 0, 1500, 7.5)]),
        "grid": grid,
        "peaks": inputs.bed("peaks.narrowPeak", PEAKS),
        "centres": inputs.bed("centres.bed", [line[:3] for line in PEAKS]),
    }
    fasta = inputs.fasta()
    table = inputs.samples({"k562": files, "hepg2": {"signal": files["signal"]}})
    ingest(uri, str(table), ref_fasta=str(fasta), attribute_config_file=str(inputs.text("types.yaml", TYPES)))
    return Experiment(files, fasta, uri)


_built: list[Experiment] = []


@pytest.fixture
def experiment(inputs, tmp_path) -> Experiment:
    """Built once; no test changes it."""
    if not _built:
        _built.append(build(inputs, str(tmp_path / "experiment")))
    return _built[0]


@pytest.fixture
def database(experiment, uri) -> str:
    """A copy of the database, to change."""
    shutil.copytree(experiment.database, uri)
    return uri


def overwrite(uri: str, member: str, row: int | None, position: int, value: float) -> None:
    """Change one cell behind the back of the catalogue."""
    with tiledb.open(f"{uri}/{member}", "w", timestamp=1_000_000) as array:
        cells = to_stored(np.array([value], CELLS[folder_of(member)][0]))
        if row is None:
            array[position : position + 1] = cells
        else:
            array[row, position : position + 1] = cells


def add_level(uri: str) -> Level:
    """Give a signal a level of 25 bp by hand."""
    catalogue = catalogues.load(uri)
    genome = catalogue.genome.binned(25)
    track = catalogue.track("signal", "k562")
    name = members.member("signal", "signal", 25)
    tiledb.Array.create(f"{uri}/{name}", schema.schema_for(name, catalogue.genome))
    cells = np.arange(genome.size("chr1"), dtype=np.float32)
    with tiledb.open(f"{uri}/{name}", "w", timestamp=6) as array:
        array[5, 0 : len(cells)] = to_stored(cells)
    level = Level(bin=25, aggregation="mean", row=5, checksums={"chr1": f"{zlib.crc32(cells.tobytes()):08x}"})
    catalogue.put(dataclasses.replace(track, levels=(level,)))
    catalogue.save(uri)
    return level


def run(*words: str) -> int:
    return COMMANDS["verify"].run(["--tdb_array", *words])


def test_checksums_are_those_of_zlib(database):
    catalogue = catalogues.load(database)
    for track in catalogue.tracks:
        genome = catalogue.genome.binned(track.bin)
        with tiledb.open(f"{database}/{track.member}") as array:
            for name, expected in track.checksums.items():
                offset = genome.offset(name)
                cells = joined(array[track.row, offset : offset + genome.size(name)]["value"])
                assert f"{zlib.crc32(cells.tobytes()):08x}" == expected
    assert {track.folder for track in catalogue.tracks} == {"signal", "counts", "mask"}


@pytest.mark.parametrize("threads", [1, 4])
def test_sound_database_has_no_damage(database, monkeypatch, threads):
    add_level(database)
    found = verify(database, sources=True, threads=threads)
    assert (found.damage, found.sources, found.damaged) == ([], [], [])
    assert found.checked == 10


def test_sound_database_of_many_chunks(inputs, uri, monkeypatch):
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", 65_536)
    sizes = {"chr1": 150_000, "chr2": 70_000}
    values = {name: np.where(np.arange(size) % 7 == 0, np.arange(size) / 3, np.nan) for name, size in sizes.items()}
    table = inputs.samples({"a": {"x": inputs.bigwig("x.bw", values, sizes=sizes)}})
    ingest(
        uri, str(table), ref_fasta=str(inputs.fasta(sizes=sizes)), attribute_config_file=str(inputs.types(x="bigwig"))
    )
    assert verify(uri, sources=True).damage == []
    overwrite(uri, "signal/x", 0, 140_000, 5)
    assert [line.partition(": CRC")[0] for line in verify(uri).damage] == ["a x: chr1"]
    found = verify(uri, sources=True)
    assert found.damage[1].startswith("a x: chr1:140,000: the source has 46666.668, stored is 5 (")


def test_command_says_what_is_sound(database, capsys):
    assert run(database) == 0
    assert capsys.readouterr().out == "9 checked, no damage\n"
    assert run(database, "--attributes", "peaks", "signal", "--datasets", "k562") == 0
    assert capsys.readouterr().out == "2 checked, no damage\n"


@pytest.mark.parametrize(
    ("name", "member", "chromosome", "value"),
    [
        ("k562 signal", "signal/signal", "chr2", 99),
        ("k562 counts", "counts/counts", "chrM", 99),
        ("k562 peaks", "mask/peaks", "chr1", 2),
        ("k562 grid", "signal/grid@50", "chr2", -1),
        ("k562 signal@25 mean", "signal/signal@25", "chr1", -1),
        ("sequence", "sequence", "chr2", 9),
    ],
)
def test_one_wrong_cell_is_named(database, capsys, name, member, chromosome, value):
    level = add_level(database)
    catalogue = catalogues.load(database)
    bin = members.bin_of(member)
    if member == "sequence":
        row = None
    else:
        row = level.row if bin == 25 else catalogue.track(member.partition("/")[2].partition("@")[0], "k562").row
    overwrite(database, member, row, catalogue.genome.binned(bin).offset(chromosome) + 7, value)
    found = verify(database)
    assert found.damaged == [name]
    assert len(found.damage) == 1
    assert found.damage[0].startswith(f"{name}: {chromosome}: CRC-32 of what is stored is ")
    assert run(database) == 1
    said = capsys.readouterr()
    assert said.out == f"{found.damage[0]}\n"
    assert said.err == f"gen_db verify: error: 1 of {found.checked} is damaged ({name})\n"


def test_other_tracks_are_not_looked_at(database):
    overwrite(database, "signal/signal", catalogues.load(database).track("signal", "k562").row, 3, 77)
    assert verify(database, datasets=["hepg2"]).damage == []
    assert verify(database, attributes=["counts", "peaks"]).damage == []
    assert verify(database, attributes=["signal"]).damaged == ["k562 signal"]


def test_value_where_none_should_be_is_damage(inputs, database):
    track = catalogues.load(database).track("minus", "k562")
    assert list(track.checksums) == ["chr1"]
    overwrite(database, track.member, track.row, catalogues.load(database).genome.offset("chrM") + 2, 0)
    assert verify(database).damage == ["k562 minus: chrM: holds values; by the catalogue it has none"]


@pytest.mark.parametrize(("key", "text"), [("sum", "sum of what is stored"), ("covered", "covered of what is stored")])
def test_wrong_sums_in_the_catalogue_are_damage(database, key, text):
    place = Path(database, "catalogue.json")
    document = json.loads(place.read_text())
    (entry,) = (t for t in document["tracks"] if (t["dataset"], t["attribute"]) == ("k562", "signal"))
    entry["summary"][key] += 1
    place.write_text(json.dumps(document))
    (line,) = verify(database).damage
    assert line.startswith(f"k562 signal: {text} is ")


def test_lost_intervals_are_damage(database):
    catalogue = catalogues.load(database)
    row = catalogue.track("peaks", "k562").row
    with tiledb.open(f"{database}/intervals/peaks", "w", timestamp=row + 1) as array:
        extra = {"end": np.array([950], np.uint64), "name": np.array(["x"]), "strand": np.array(["."])}
        extra |= {key: np.array([1.0]) for key in ("score", "signalValue", "pValue", "qValue")}
        array[np.array([row], np.uint64), np.array([900], np.uint64)] = {**extra, "summit": np.array([-1])}
    found = verify(database)
    assert found.damage == [
        "k562 peaks: 5 intervals are stored; the catalogue has 4",
        "k562 peaks: 610 bases lie in the intervals stored; the catalogue has 560",
    ]
    assert found.damaged == ["k562 peaks"]


def damage_fragment(uri: str, member: str, row: int) -> None:
    """Cut the data of the fragments of a row short."""
    for fragment in Path(uri, member, "__fragments").iterdir():
        if fragment.name.startswith(f"__{row + 1}_"):
            data = fragment / "a0.tdb"
            data.write_bytes(data.read_bytes()[:-8])


def test_unreadable_data_is_damage_and_the_rest_is_still_read(database, capsys):
    catalogue = catalogues.load(database)
    damage_fragment(database, "counts/counts", catalogue.track("counts", "k562").row)
    os.rename(f"{database}/mask/centres", f"{database}/gone")
    overwrite(database, "signal/signal", catalogue.track("signal", "hepg2").row, 3, 77)
    found = verify(database, sources=True)
    assert sorted(found.damaged) == ["hepg2 signal", "k562 centres", "k562 counts"]
    assert sum("cannot be read" in line for line in found.damage) == 2
    assert not any("\n" in line for line in found.damage)
    assert run(database) == 1
    said = capsys.readouterr()
    assert said.out.count("\n") == 3
    assert re.fullmatch(r"gen_db verify: error: 3 of 9 are damaged \(.*\)\n", said.err)


def test_track_replaced_or_dropped_meanwhile_is_not_damaged(database, monkeypatch):
    from db_ingest.upkeep import stored

    check = stored.check_stored

    def check_while_another_drops(uri, *arguments):
        overwrite(uri, "signal/signal", catalogues.load(uri).track("signal", "k562").row, 3, 77)
        result = check(uri, *arguments)
        drop(uri, attribute="signal", dataset="k562")
        return result

    monkeypatch.setattr(stored, "check_stored", check_while_another_drops)
    assert verify(database).damage == []


# Sources


@pytest.mark.parametrize(
    ("attribute", "member", "position", "value", "line"),
    [
        (
            "signal",
            "signal/signal",
            2_000,
            99,
            r"k562 signal: chr1:2,000: the source has \S+, stored is 99 \(.*signal.bw\)",
        ),
        (
            "counts",
            "counts/counts",
            12,
            3,
            r"k562 counts: chr1:12: the source has no value, stored is 3 \(.*counts.bw\)",
        ),
        ("minus", "signal/minus", 7, 5, r"k562 minus: chr1:7: the source has \S+, stored is 5 \(.*minus.bw\)"),
        ("graph", "signal/graph", 100, 0, r"k562 graph: chr1:100: the source has -3, stored is 0 \(.*graph.bedGraph\)"),
        ("grid", "signal/grid@50", 3, 5, r"k562 grid: chr1:150: the source has \S+, stored is 5 \(.*grid.npz\)"),
        ("peaks", "mask/peaks", 150, 1, r"k562 peaks: chr1:150: the source has 2, stored is 1 \(.*narrowPeak\)"),
        ("centres", "mask/centres", 0, 1, r"k562 centres: chr1:0: the source has 0, stored is 1 \(.*centres.bed\)"),
    ],
)
def test_first_difference_from_the_source_is_named(database, attribute, member, position, value, line):
    overwrite(database, member, catalogues.load(database).track(attribute, "k562").row, position, value)
    found = verify(database, sources=True, attributes=[attribute], datasets=["k562"])
    assert len(found.damage) == 2
    assert re.fullmatch(line, found.damage[1])
    assert found.sources == []


def test_difference_from_the_fasta_is_named(database, experiment):
    fasta = experiment.fasta
    base = "".join(fasta.read_text().split(">chr2 some description\n")[1].split())[7].upper()
    overwrite(database, "sequence", None, catalogues.load(database).genome.offset("chr2") + 7, "ACGT".index("C"))
    expected = base if base in "ACGT" else "N"
    found = verify(database, sources=True)
    if expected == "C":
        assert found.damage == []
    else:
        assert found.damage[1] == f"sequence: chr2:7: the source has {expected}, stored is C ({fasta})"


def test_difference_in_an_interval_is_named(database, experiment):
    row = catalogues.load(database).track("peaks", "k562").row
    array = f"{database}/intervals/peaks"
    with tiledb.open(array) as old:
        found = {key: values for key, values in old.multi_index[row, :].items() if key not in ("row", "start")}
        starts = old.multi_index[row, :]["start"]
    found["score"][np.argmax(starts)] = 41
    tiledb.Array.delete_fragments(array, row + 1, row + 1)
    with tiledb.open(array, "w", timestamp=row + 1) as new:
        values = {key: values.astype("U") if values.dtype == object else values for key, values in found.items()}
        new[np.full(len(starts), row, np.uint64), starts] = values
    assert verify(database).damage == []
    assert verify(database, sources=True).damage == [
        f"k562 peaks: interval at chrM:0: score is 40.0 in the source, stored is 41.0 ({experiment.files['peaks']})"
    ]


def test_missing_and_changed_sources_are_said_and_are_no_damage(inputs, uri, capsys):
    built = build(inputs, uri)
    files, fasta = built.files, built.fasta
    files["counts"].unlink()
    inputs.bigwig("signal.bw")
    fasta.write_text(fasta.read_text().replace("A", "C"))
    assert run(uri, "--sources") == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert f"sequence: source {fasta} has changed since" in lines
    assert f"k562 signal: source {files['signal']} has changed since" in lines
    assert f"hepg2 signal: source {files['signal']} has changed since" in lines
    assert any(line.startswith(f"k562 counts: source {files['counts']} is not there (") for line in lines)
    assert lines[-1] == "9 checked, no damage"
    assert len(lines) == 5


def test_sources_of_renamed_tracks_are_read_as_they_were(database):
    rename(database, "plus", attribute="minus")
    rename(database, "renamed", dataset="k562")
    track = catalogues.load(database).track("plus", "renamed")
    assert track.summary["absolute"]
    assert track.stored_as == "minus"
    found = verify(database, sources=True)
    assert (found.damage, found.sources) == ([], [])


@pytest.fixture
def fragments(inputs, uri) -> str:
    """Fragments of two groups of barcodes, and reads of both strands, each from one file."""
    barcodes = inputs.text("groups.tsv", "AA\tT\nCC\tB\n")
    rows = [("chr1", 10 * i, 10 * i + 50, "AACC"[i % 2 * 2 :][:2], 1) for i in range(200)]
    reads = [("chr2", 7 * i, 7 * i + 36, "N", 1000, "+-"[i % 2]) for i in range(150)]
    tags = inputs.bed("reads.tagAlign", reads)
    table = {
        "sc": {"cuts": inputs.bed("fragments.tsv", rows)},
        "bulk": {"plus": tags, "minus": tags},
    }
    text = f"cuts: {{type: fragments, barcodes: {barcodes}}}\nplus: tagalign_5p_plus\nminus: tagalign_5p_minus\n"
    config = str(inputs.text("types.yaml", text))
    ingest(uri, str(inputs.samples(table)), ref_fasta=str(inputs.fasta()), attribute_config_file=config)
    return uri


def test_tracks_of_one_file_are_compared_in_one_reading(fragments):
    found = verify(fragments, sources=True, datasets=["bulk"])
    assert (found.damage, found.sources, found.checked) == ([], [], 2)
    row = catalogues.load(fragments).track("minus", "bulk").row
    overwrite(fragments, "counts/minus", row, catalogues.load(fragments).genome.offset("chr2") + 7 + 35, 9)
    found = verify(fragments, sources=True, datasets=["bulk"])
    assert found.damaged == ["bulk minus"]
    assert found.damage[1].startswith("bulk minus: chr2:42: the source has 1, stored is 9 (")


def test_groups_of_barcodes_are_compared_where_they_were_recorded(fragments, inputs):
    catalogue = catalogues.load(fragments)
    for group in "TB":
        track = catalogue.track("cuts", f"sc.{group}")
        source = {key: value for key, value in track.source.items() if key != "group"}
        catalogue.put(dataclasses.replace(track, source=source))
    catalogue.save(fragments)
    found = verify(fragments, sources=True, datasets=["sc.T", "sc.B"])
    assert found.damage == []
    assert sorted(found.sources) == [
        f"sc.{group} cuts: not compared with its source: which group of barcodes it is was not recorded"
        for group in "BT"
    ]
    for group in "TB":
        track = catalogue.track("cuts", f"sc.{group}")
        catalogue.put(dataclasses.replace(track, dataset=group, source={**track.source, "group": group}))
        drop_entry = [t for t in catalogue.tracks if t.dataset == f"sc.{group}"]
        catalogue.tracks = [t for t in catalogue.tracks if t not in drop_entry]
    catalogue.save(fragments)
    found = verify(fragments, sources=True, datasets=["T", "B"])
    assert (found.damage, found.sources, found.checked) == ([], [], 2)
    overwrite(fragments, "counts/cuts", catalogue.track("cuts", "B").row, 10, 9)
    assert verify(fragments, sources=True, datasets=["T", "B"]).damage[1].startswith("B cuts: chr1:10: the source has ")
    (inputs.folder / "groups.tsv").write_text("AA\tB\nCC\tT\n")
    found = verify(fragments, sources=True, datasets=["T", "B"])
    place = inputs.folder / "groups.tsv"
    assert sorted(found.sources) == [f"{group} cuts: source {place} has changed since" for group in "BT"]


def test_alias_table_of_the_ingest_is_taken(inputs, uri):
    path = inputs.folder / "odd.bw"
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader([("one", 3_000), ("chr2", 1_500)])
        file.addEntries("one", [3, 8], values=[1.5, 2.5], span=2)
    alias = str(inputs.text("alias.txt", "chr1\tone\n"))
    types = str(inputs.types(x="bigwig"))
    ingest(uri, str(inputs.samples({"a": {"x": path}})), ref_fasta=str(inputs.fasta()), chrom_alias=alias,
           attribute_config_file=types)  # fmt: skip
    assert verify(uri, sources=True, chrom_alias=alias).damage == []
    assert verify(uri, sources=True).damage == [
        f"a x: chr1: is stored, but its source {path} does not cover it"
    ]  # fmt: skip


def test_unknown_names_are_refused(database, tmp_path):
    with pytest.raises(InputError, match="no attribute .none. in the database; it has "):
        verify(database, attributes=["none"])
    with pytest.raises(InputError, match="no dataset .none. in the database; it has "):
        verify(database, datasets=["k562", "none"])
    with pytest.raises(NoDatabaseError):
        verify(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
