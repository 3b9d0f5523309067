"""Arrays of seqdataloader's ``db_ingest``, made here as it makes them, converted: every base is compared."""

from __future__ import annotations

import os

import numpy as np
import pysam
import pytest
import tiledb
from handmade import FullAfter
from seqdataloader_writer import MISSING, SeqDataLoader, mask_of

from db_ingest import storage
from db_ingest.cli.gen_db import COMMANDS
from db_ingest.errors import InputError, RunError
from db_ingest.layout import arrays
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.reader import Reader
from db_ingest.upkeep.export import export
from db_ingest.upkeep.importing import import_array
from db_ingest.upkeep.verify import verify

SIZES = {"chr2": 1_500, "chr1": 3_000, "chrM": 400}
SIGNALS = {"fc_bigwig": np.float32, "count_bigwig_plus_5p": np.float32}
MASKS = {"idr_peak": np.int64, "ambig_peak": np.int64}


PEAKS = {
    "chr1": [(100, 200, 50), (300, 301, 0), (500, 600, 10), (550, 700, 100), (700, 800, 99), (2_999, 3_000, 0)],
    "chr2": [(0, 10, 0), (1_400, 1_500, None)],
    "chrM": [],
}
INTERVALS = [
    # What the cells still show: overlapping and touching peaks are one stretch, once for each of its summits.
    ("chr2", 0, 10, 0),
    ("chr2", 1_400, 1_500, -1),
    ("chr1", 100, 200, 50),
    ("chr1", 300, 301, 0),
    ("chr1", 500, 800, 10),
    ("chr1", 500, 800, 150),
    ("chr1", 500, 800, 299),
    ("chr1", 2_999, 3_000, 0),
]


@pytest.fixture
def source(inputs, tmp_path) -> SeqDataLoader:
    """Two tasks and an empty one; k562 has all attributes, hepg2 no peaks, none of chrM and no counts on chr2."""
    made = SeqDataLoader(tmp_path / "old", ["k562", "hepg2", "empty"], SIZES, {**SIGNALS, **MASKS})
    for name, size in SIZES.items():
        signal = inputs.rng.random(size).astype(np.float32)
        counts = inputs.rng.integers(0, 300, size)
        peaks = mask_of(size, PEAKS[name])
        ambig = mask_of(size, [(5, 20, None)])
        made.write(
            "k562",
            name,
            {"fc_bigwig": signal, "count_bigwig_plus_5p": counts, "idr_peak": peaks, "ambig_peak": ambig},
            chunk=700,
        )
        if name != "chrM":
            values = {"fc_bigwig": -signal, "count_bigwig_plus_5p": counts * 2}
            made.write("hepg2", name, values if name == "chr1" else {"fc_bigwig": -signal})
    return made


def stored(uri: str, attribute: str, dataset: str, chromosome: str) -> np.ndarray:
    catalogue = catalogues.load(uri)
    track = catalogue.track(attribute, dataset)
    reader = Reader(uri)
    start = np.array([catalogue.genome.offset(chromosome)])
    cells = reader.read(track.member, track.row, start, start + catalogue.genome.size(chromosome))
    reader.close()
    return cells


def expect_every_base(source: SeqDataLoader, uri: str) -> None:
    for (attribute, task, chromosome), values in source.values.items():
        if catalogues.load(uri).find(attribute, task) is None:
            assert np.isnan(values).all() if values.dtype.kind == "f" else (values == MISSING).all()
            continue
        found = stored(uri, attribute, task, chromosome)
        if values.dtype.kind == "f":
            np.testing.assert_array_equal(found, values)
        else:
            np.testing.assert_array_equal(found, np.where(values == MISSING, 255, values).astype(np.uint8))


@pytest.mark.parametrize("threads", [1, 3])
def test_every_base_is_the_one_that_seqdataloader_stored(source, uri, threads):
    lines = import_array(source.uri, uri, threads=threads)
    assert sorted(lines) == sorted(
        [
            *(f"imported k562 {name} as a signal" for name in SIGNALS),
            *(f"imported k562 {name} as a mask" for name in MASKS),
            *(f"imported hepg2 {name} as a signal" for name in SIGNALS),
            *(f"hepg2 {name}: no values, left out" for name in MASKS),
            *(f"empty {name}: no values, left out" for name in (*SIGNALS, *MASKS)),
        ]
    )
    catalogue = catalogues.load(uri)
    assert list(zip(catalogue.genome.names, catalogue.genome.sizes, strict=True)) == list(SIZES.items())
    assert catalogue.staged == []
    assert catalogue.sequence is None
    assert len(catalogue.tracks) == 6
    expect_every_base(source, uri)
    absent = {track.name: track.summary["absent_chromosomes"] for track in catalogue.tracks}
    assert absent["hepg2 fc_bigwig"] == ["chrM"]
    assert absent["hepg2 count_bigwig_plus_5p"] == ["chr2", "chrM"]
    assert absent["k562 idr_peak"] == []
    folders = {track.name: track.folder for track in catalogue.tracks}
    assert folders["k562 count_bigwig_plus_5p"] == "counts"
    assert folders["k562 fc_bigwig"] == "signal"
    found = verify(uri, sources=True)
    assert (found.damage, found.sources, found.checked) == ([], [], 6)


def test_intervals_are_made_from_the_cells(source, uri, tmp_path):
    import_array(source.uri, uri)
    catalogue = catalogues.load(uri)
    track = catalogue.track("idr_peak", "k562")
    reader = Reader(uri)
    table = reader.read_intervals(track.intervals, track.row)
    reader.close()
    found = []
    for start, end, summit in zip(table["start"], table["end"], table["summit"], strict=True):
        name = catalogue.genome.names[int(np.searchsorted(catalogue.genome.offsets, start, side="right")) - 1]
        offset = catalogue.genome.offset(name)
        found.append((name, int(start) - offset, int(end) - offset, int(summit)))
    assert sorted(found) == sorted(INTERVALS)
    assert set(table["name"]) == set(table["strand"]) == {"."}
    assert np.isnan(np.stack([table[key] for key in ("score", "signalValue", "pValue", "qValue")])).all()
    covered = sum((source.values["idr_peak", "k562", name] > 0).sum() for name in SIZES)
    assert track.summary == {
        "intervals": len(INTERVALS),
        "covered": covered,
        "without_summit": 1,
        "elsewhere": 0,
        "absent_chromosomes": [],
    }
    assert catalogue.track("ambig_peak", "k562").summary["without_summit"] == 0
    export(uri, str(tmp_path / "ambig.bed"), attribute="ambig_peak", dataset="k562")
    assert (tmp_path / "ambig.bed").read_text() == "chr1\t5\t20\nchr2\t5\t20\nchrM\t5\t20\n"
    export(uri, str(tmp_path / "idr.bed"), attribute="idr_peak", dataset="k562", chroms=["chrM", "chr2"])
    assert (tmp_path / "idr.bed").read_text() == "chr2\t0\t10\t.\t.\t.\t0\nchr2\t1400\t1500\t.\t.\t.\t-1\n"


def test_intervals_are_not_cut_where_chunks_are(inputs, uri, tmp_path, monkeypatch):
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", 65_536)
    sizes = {"chr1": 200_000, "chr2": 66_000}
    peaks = {"chr1": [(65_000, 140_000, 70_000), (150_000, 150_010, 5)], "chr2": [(0, 66_000, None)]}
    source = SeqDataLoader(tmp_path / "old", ["a"], sizes, {**SIGNALS, **MASKS})
    for name, size in sizes.items():
        signal = np.where(np.arange(size) % 11 == 0, np.arange(size) / 7, 0)
        counts = np.full(size, 3.0)
        if name == "chr1":
            counts[190_000] = 0.5
        source.write("a", name, {"idr_peak": mask_of(size, peaks[name]), "fc_bigwig": signal,
                                 "count_bigwig_plus_5p": counts}, chunk=30_000)  # fmt: skip
    import_array(source.uri, uri, threads=3)
    expect_every_base(source, uri)
    catalogue = catalogues.load(uri)
    assert catalogue.track("idr_peak", "a").summary["intervals"] == 3
    # Whole numbers up to the last chunk but one.
    assert catalogue.track("count_bigwig_plus_5p", "a").folder == "signal"
    assert verify(uri, sources=True).damage == []


def test_genome_sequence_is_stored_beside(source, inputs, uri):
    fasta = inputs.fasta(sizes={"chr1": 3_000, "chr2": 1_500, "chrM": 400, "chrX": 77})
    import_array(source.uri, uri, ref_fasta=str(fasta), attributes=["fc_bigwig"])
    catalogue = catalogues.load(uri)
    assert catalogue.genome.names == tuple(SIZES)
    assert catalogue.sequence["path"] == str(fasta)
    with pysam.FastaFile(str(fasta)) as expected, tiledb.open(f"{uri}/sequence") as found:
        offset = catalogue.genome.offset("chr2")
        bases = expected.fetch("chr2").upper()
        letters = np.array(list("ACGTN"))[found[offset : offset + 1_500]["value"]]
        assert "".join(letters) == "".join(base if base in "ACGT" else "N" for base in bases)
    expect_every_base(SeqDataLoaderPart(source, "fc_bigwig"), uri)
    assert verify(uri, sources=True).damage == []


class SeqDataLoaderPart:
    """What one attribute of an array holds."""

    def __init__(self, whole: SeqDataLoader, attribute: str, task: str | None = None) -> None:
        self.values = {k: v for k, v in whole.values.items() if k[0] == attribute and task in (None, k[1])}


def test_existing_database_of_other_names_and_order_takes_the_tracks(source, inputs, uri):
    from db_ingest import ingest

    sizes = {"1": 3_000, "2": 1_500, "3": 99, "MT": 400}
    ingest(uri, ref_fasta=str(inputs.fasta(sizes=sizes)))
    import_array(source.uri, uri, datasets=["k562"])
    catalogue = catalogues.load(uri)
    assert catalogue.genome.names == tuple(sizes)
    for attribute in (*SIGNALS, *MASKS):
        track = catalogue.track(attribute, "k562")
        assert track.summary["absent_chromosomes"] == ["3"]
        for theirs, ours in (("chr1", "1"), ("chr2", "2"), ("chrM", "MT")):
            expected = source.values[attribute, "k562", theirs]
            np.testing.assert_array_equal(stored(uri, attribute, "k562", ours), expected.astype(np.float64))
    assert catalogue.datasets == ["k562"]
    assert verify(uri, sources=True).damage == []


def test_database_of_another_genome_is_refused(source, inputs, uri):
    from db_ingest import ingest

    ingest(uri, ref_fasta=str(inputs.fasta(sizes={**SIZES, "chr1": 3_001})))
    with pytest.raises(InputError, match=rf"{source.uri}: chromosome chr1 has 3,000 bp; the genome's chr1 has 3,001"):
        import_array(source.uri, uri)
    assert catalogues.load(uri).tracks == []


# Again


def test_import_again_is_unchanged_and_more_tasks_are_added(source, uri):
    import_array(source.uri, uri, attributes=["fc_bigwig"], datasets=["k562"])
    commit = catalogues.load(uri).commit
    assert import_array(source.uri, uri, attributes=["fc_bigwig"], datasets=["k562"]) == ["k562 fc_bigwig: unchanged"]
    assert catalogues.load(uri).commit == commit
    lines = import_array(source.uri, uri, attributes=["fc_bigwig"], datasets=["k562", "hepg2"])
    assert lines == ["k562 fc_bigwig: unchanged", "imported hepg2 fc_bigwig as a signal"]


def test_array_that_has_changed_is_refused_without_overwrite(source, uri):
    import_array(source.uri, uri, attributes=["fc_bigwig"], datasets=["hepg2"])
    source.write("hepg2", "chrM", {"fc_bigwig": np.full(400, 2.5)})
    assert verify(uri, sources=True).sources == [f"hepg2 fc_bigwig: source {source.uri} has changed since"]
    with pytest.raises(InputError, match="hepg2 fc_bigwig is in the database already, from another source"):
        import_array(source.uri, uri, attributes=["fc_bigwig"], datasets=["hepg2"])
    import_array(source.uri, uri, attributes=["fc_bigwig"], datasets=["hepg2"], overwrite=True)
    assert catalogues.load(uri).track("fc_bigwig", "hepg2").row == 1
    expect_every_base(SeqDataLoaderPart(source, "fc_bigwig", "hepg2"), uri)


def test_interrupted_import_goes_on_where_it_ended(uri, tmp_path, monkeypatch):
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", 65_536)
    sizes = {"chr1": 200_000}
    source = SeqDataLoader(tmp_path / "old", ["a"], sizes, {"idr_peak": np.int64})
    source.write("a", "chr1", {"idr_peak": mask_of(200_000, [(60_000, 70_000, 1), (131_000, 140_000, 5_000)])})
    with monkeypatch.context() as patch:
        patch.setattr(arrays, "put", FullAfter(2))
        with pytest.raises(RunError, match="disk full"):
            import_array(source.uri, uri, threads=1)
    assert catalogues.load(uri).tracks == []
    import_array(source.uri, uri, threads=1)
    expect_every_base(source, uri)
    track = catalogues.load(uri).track("idr_peak", "a")
    assert (track.row, track.summary["intervals"], track.summary["covered"]) == (0, 2, 19_000)
    assert verify(uri, sources=True).damage == []


def test_first_difference_from_the_array_is_named(source, uri):
    import_array(source.uri, uri, attributes=["idr_peak"])
    with tiledb.open(f"{uri}/mask/idr_peak", "w", timestamp=99) as array:
        position = catalogues.load(uri).genome.offset("chr1") + 150
        array[0, position : position + 1] = np.array([1], np.uint8)
    found = verify(uri, sources=True)
    assert found.damage[1] == f"k562 idr_peak: chr1:150: the source has 2, stored is 1 ({source.uri})"


# Refused


def test_what_is_no_such_array_is_refused(tmp_path, uri, inputs):
    with pytest.raises(InputError, match=f"{tmp_path}/none: no TileDB array; expected an array of seqdataloader"):
        import_array(str(tmp_path / "none"), uri)
    one = tiledb.Domain(tiledb.Dim("x", domain=(0, 9), dtype=np.uint32))
    two = tiledb.Domain(
        tiledb.Dim("x", domain=(0, 9), dtype=np.uint32), tiledb.Dim("t", domain=(0, 0), dtype=np.uint32)
    )
    whole, text = tiledb.Attr("a", dtype=np.int64), tiledb.Attr("a", dtype=np.uint8)
    for name, schema, message in (
        ("flat", tiledb.ArraySchema(one, [whole]), "not a dense array of two dimensions"),
        ("sparse", tiledb.ArraySchema(two, [whole], sparse=True), "not a dense array of two dimensions"),
        ("bytes", tiledb.ArraySchema(two, [text]), "attribute 'a' holds uint8; expected signed integers or floats"),
        ("bare", tiledb.ArraySchema(two, [whole]), "has no metadata 'num_tasks'; expected an array of"),
    ):
        place = str(tmp_path / name)
        tiledb.Array.create(place, schema)
        with pytest.raises(InputError, match=f"{place}: {message}") as raised:
            import_array(place, uri)
        assert "\n" not in str(raised.value)
    assert not os.path.exists(uri)


def test_chromosome_past_the_end_of_the_array_is_refused(source, uri):
    with tiledb.open(source.uri, "w") as array:
        array.meta["size_2"] = 4_000
    with pytest.raises(InputError, match="chrM ends at 8,500, past the array's 4,901"):
        import_array(source.uri, uri)
    with tiledb.open(source.uri, "w") as array:
        array.meta["size_2"] = "many"
    with pytest.raises(InputError, match="metadata 'size_2' is 'many'; expected a whole number"):
        import_array(source.uri, uri)


def test_cells_that_are_no_mask_are_refused_with_their_place(source, uri):
    bad = mask_of(3_000, [])
    bad[[7, 1234]] = [1, 3]
    source.write("k562", "chr1", {"idr_peak": bad})
    with pytest.raises(InputError, match=f"{source.uri}: k562 idr_peak: chr1:1,234 is 3; expected 0, 1 or 2 of a mask"):
        import_array(source.uri, uri, attributes=["idr_peak"])
    assert not os.path.exists(uri)
    with pytest.raises(InputError, match="chr1:1,234 is 3"):
        import_array(source.uri, uri, attributes=["fc_bigwig", "idr_peak"])
    assert {track.name for track in catalogues.load(uri).tracks} >= {"k562 fc_bigwig", "hepg2 fc_bigwig"}
    assert {track.attribute for track in catalogues.load(uri).tracks} == {"fc_bigwig"}
    assert verify(uri).damage == []


def test_unknown_names_are_refused(source, uri):
    with pytest.raises(
        InputError, match=rf"{source.uri}: has no attribute 'x'; it has fc_bigwig, count_bigwig_plus_5p"
    ):
        import_array(source.uri, uri, attributes=["x"])
    with pytest.raises(InputError, match=rf"{source.uri}: has no task 'x'; it has k562, hepg2, empty"):
        import_array(source.uri, uri, datasets=["x"])
    assert not os.path.exists(uri)


def test_mask_does_not_become_a_signal_of_the_same_name(source, inputs, uri):
    from db_ingest import ingest

    path = inputs.bigwig("x.bw", sizes=SIZES)
    table = str(inputs.samples({"a": {"idr_peak": path}}))
    sizes = str(inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in SIZES.items())))
    ingest(uri, table, attribute_config_file=str(inputs.types(idr_peak="bigwig")), chrom_sizes=sizes)
    with pytest.raises(InputError, match="attribute 'idr_peak' is a signal in the database; this is a mask"):
        import_array(source.uri, uri)


def test_dry_run_changes_nothing_and_the_command_does_as_the_function(source, uri, capsys):
    words = ["--source_array", source.uri, "--tdb_array", uri]
    assert COMMANDS["import"].run([*words, "--dry_run"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "would import k562 fc_bigwig as a signal",
        "would import hepg2 fc_bigwig as a signal",
    ]
    assert not os.path.exists(uri)
    assert COMMANDS["import"].run([*words, "--attributes", "ambig_peak", "--datasets", "k562"]) == 0
    assert capsys.readouterr().out == "imported k562 ambig_peak as a mask\n"
    with storage.write_lock(uri):
        assert COMMANDS["import"].run(words) == 1
        assert "another process is writing" in capsys.readouterr().err
        assert COMMANDS["import"].run([*words, "--dry_run"]) == 0
    assert len(catalogues.load(uri).tracks) == 1
