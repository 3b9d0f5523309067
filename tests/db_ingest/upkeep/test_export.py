"""Database in, files out: pyBigWig, pysam and plain text read back what was stored, and so does an ingest."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pyBigWig
import pysam
import pytest
from chance import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from db_ingest import ingest
from db_ingest.cli.gen_db import COMMANDS
from db_ingest.errors import InputError, RunError
from db_ingest.formats.bigwig_writer import BigWigWriter
from db_ingest.formats.text.writer import bedgraph_lines
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.reader import Reader
from db_ingest.upkeep.export import export

SIZES = {"chr1": 900, "chr10": 300, "chr2": 500, "chrM": 40}
PEAK = ("chr1", 100, 200, "a", 10, "+", 1.5, 2.5, 3.5, 50)
PEAKS = [
    PEAK,
    ("chr1", 100, 180, "b", 20.5, "-", 1e-30, -1, 0.1, 0),
    ("chr10", 0, 300, "a b", 0, ".", 3.5, 4.5, 5.5, -1),
    ("chr2", 0, 1, "é", 1000, ".", 2, 3, 4, 0),
    ("chr2", 499, 500, ".", 0, ".", 2, 3, 4, -1),
]


def store(uri: str, inputs, path: Path, type: str, sizes: dict[str, int] = SIZES) -> catalogues.Track:
    """Ingest one file as the track ``x`` of ``a``; ``type`` may have options after it."""
    config = inputs.text("types.yaml", f"x: {{type: {type}}}\n")
    given = inputs.text("g.sizes", "".join(f"{name}\t{size}\n" for name, size in sizes.items()))
    table = inputs.samples({"a": {"x": path}})
    ingest(uri, str(table), chrom_sizes=str(given), attribute_config_file=str(config))
    return catalogues.load(uri).track("x", "a")


def stored(uri: str, chromosome: str) -> np.ndarray:
    catalogue = catalogues.load(uri)
    track = catalogue.track("x", "a")
    offset, size = catalogue.genome.offset(chromosome), catalogue.genome.size(chromosome)
    reader = Reader(uri)
    cells = reader.read(track.member, track.row, np.array([offset]), np.array([offset + size]))
    reader.close()
    return cells


def export_x(uri: str, out: Path, **options) -> Path:
    export(uri, str(out), attribute="x", dataset="a", **options)
    return out


@pytest.fixture
def signal(inputs, uri):
    """A database of one signal with zeros, bases without a value, and a chromosome that it does not cover."""
    values = {name: inputs.rng.choice([0, 0, 1.5, -2, 1e-7, np.nan], SIZES[name]) for name in ("chr1", "chr10", "chrM")}
    values["chr1"][100:700] = 0
    path = inputs.bigwig("x.bw", values, sizes={name: SIZES[name] for name in values})
    store(uri, inputs, path, "bigwig, missing: nan")
    return uri


# Signals


@pytest.mark.parametrize("ending", [".bw", ".bigWig", ".bigwig"])
def test_every_base_of_a_bigwig_is_the_one_stored(signal, tmp_path, ending):
    out = export_x(signal, tmp_path / f"out{ending}")
    with pyBigWig.open(str(out)) as file:
        assert file.chroms() == {name: SIZES[name] for name in ("chr1", "chr10", "chrM")}
        for name, size in file.chroms().items():
            np.testing.assert_array_equal(file.values(name, 0, size, numpy=True), stored(signal, name))
        (run,) = [run for run in file.intervals("chr1") if run[1] - run[0] > 500]
        assert run[2] == 0


@pytest.mark.parametrize("ending", [".bedGraph", ".bedgraph", ".bedGraph.gz", ".bedgraph.bgz"])
def test_every_base_of_a_bedgraph_is_the_one_stored(signal, tmp_path, ending):
    out = export_x(signal, tmp_path / f"out{ending}")
    text = gzip.decompress(out.read_bytes()) if ending.endswith("gz") else out.read_bytes()
    found = {name: np.full(SIZES[name], np.nan, np.float32) for name in ("chr1", "chr10", "chrM")}
    lines = [line.split("\t") for line in text.decode().splitlines()]
    for chromosome, start, end, value in lines:
        assert np.isnan(found[chromosome][int(start) : int(end)]).all()
        found[chromosome][int(start) : int(end)] = np.float32(value)
    for name, values in found.items():
        np.testing.assert_array_equal(values, stored(signal, name))
    assert [name for name, _ in itertools.groupby(line[0] for line in lines)] == ["chr1", "chr10", "chrM"]
    # Runs are as long as they can be.
    for (name, _, end, value), (after, start, _, next_value) in itertools.pairwise(lines):
        assert (name, end, value) != (after, start, next_value)


VALUES = st.one_of(
    st.just(float("nan")),
    st.integers(0, 70_000).map(float),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.just(-0.0),
)


SHORT = {"chr1": 90, "chr10": 30, "chr2": 50, "chrM": 4}


@examples(6)
@given(
    runs=st.lists(st.tuples(st.sampled_from(list(SHORT)), st.integers(1, 9), VALUES), min_size=1, max_size=60),
    ending=st.sampled_from([".bw", ".bedGraph", ".bedGraph.gz"]),
    stretch=st.sampled_from([1, 7, 64, 2**22]),
)
def test_export_and_ingest_give_the_same_cells(inputs, tmp_path, runs, ending, stretch):
    assume(any(not np.isnan(value) for _, _, value in runs))
    folder = tmp_path / str(len(os.listdir(tmp_path)))
    names = dict.fromkeys(name for name, _, _ in runs)
    values = {name: np.full(SHORT[name], np.nan) for name in names}
    at = dict.fromkeys(names, 0)
    for name, length, value in runs:
        values[name][at[name] : at[name] + length] = value
        at[name] += length
    original = folder / "x.bw"
    folder.mkdir()
    with pyBigWig.open(str(original), "w") as file:
        file.addHeader([(name, size) for name, size in SHORT.items() if name in names])
        for name in SHORT:
            here = np.flatnonzero(~np.isnan(values.get(name, np.zeros(0))))
            if len(here):
                file.addEntries(name, here.tolist(), values=values[name][here].tolist(), span=1)
    track = store(str(folder / "db"), inputs, original, "bigwig, missing: nan", SHORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("db_ingest.upkeep.exporting._STRETCH", stretch)
        out = export_x(str(folder / "db"), folder / f"out{ending}")
    type = "bigwig" if ending == ".bw" else "bedgraph"
    covers = {name for name in names if not np.isnan(values[name]).all()}
    if ending != ".bw" and covers != set(names):
        return  # a bedGraph cannot name a chromosome that it has no line of
    again = store(str(folder / "again"), inputs, out, f"{type}, missing: nan, negative: keep", SHORT)
    assert again.checksums == track.checksums
    assert again.folder == track.folder
    assert again.summary["sum"] == track.summary["sum"]


def test_export_with_and_without_zeros_gives_the_same_cells_where_missing_is_zero(inputs, uri, tmp_path):
    values = {name: inputs.rng.choice([0, 3.5, np.nan], size) for name, size in SIZES.items()}
    values["chr2"][:] = np.nan
    track = store(uri, inputs, inputs.bigwig("x.bw", values, sizes=SIZES), "bigwig")
    sizes = {}
    for skip in (False, True):
        for ending, type in ((".bw", "bigwig"), (".bedGraph", "bedgraph")):
            out = export_x(uri, tmp_path / f"out{skip}{ending}", skip_zeros=skip)
            sizes[skip, ending] = out.stat().st_size
            if skip and ending == ".bedGraph":
                continue  # nothing is left of chr2
            again = store(str(tmp_path / f"again{skip}{ending}"), inputs, out, type)
            assert again.checksums == track.checksums
    with pyBigWig.open(str(tmp_path / "outTrue.bw")) as file:
        assert file.intervals("chr2") is None
        assert {value for _, _, value in file.intervals("chr1")} == {3.5}
    assert sizes[True, ".bw"] < sizes[False, ".bw"]


def test_zeros_that_can_no_longer_be_told_from_no_value_are_warned_of(signal, tmp_path, capsys):
    words = ["--tdb_array", signal, "--attribute", "x", "--dataset", "a", "--out", str(tmp_path / "out.bw")]
    assert COMMANDS["export"].run(words) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{tmp_path}/out.bw: ")
    assert said.out.endswith(" runs of values on 3 chromosomes\n")
    assert said.err == ""
    assert COMMANDS["export"].run([*words, "--skip_zeros"]) == 0
    assert capsys.readouterr().err.startswith("warning: ")


def test_chosen_chromosomes_alone(signal, tmp_path):
    out = export_x(signal, tmp_path / "out.bw", chroms=["chr2", "chr10"])
    with pyBigWig.open(str(out)) as file:
        assert file.chroms() == {"chr10": 300}
    with pytest.raises(InputError, match="a x has no value on chr2"):
        export_x(signal, out, chroms=["chr2"])
    with pytest.raises(InputError, match="no chromosome 'chrZ' in the genome"):
        export_x(signal, out, chroms=["chrZ"])
    with pyBigWig.open(str(out)) as file:
        assert file.chroms() == {"chr10": 300}


def test_track_on_a_grid_is_written_base_by_base(inputs, uri, tmp_path):
    arrays = {name: inputs.rng.integers(0, 3, -(-size // 35)).astype(float) for name, size in SIZES.items()}
    path = inputs.folder / "x.npz"
    np.savez(path, **arrays)
    store(uri, inputs, path, "npz, bin: 35")
    with pyBigWig.open(str(export_x(uri, tmp_path / "out.bw"))) as file:
        for name, size in SIZES.items():
            np.testing.assert_array_equal(file.values(name, 0, size, numpy=True), arrays[name].repeat(35)[:size])


@pytest.mark.parametrize("name", ["x.bw", "x.bedGraph"])
def test_damaged_signal_is_not_written_and_the_old_file_stays(signal, uri, tmp_path, name):
    out = export_x(uri, tmp_path / name)
    before = out.read_bytes()
    catalogue = catalogues.load(uri)
    (track,) = catalogue.tracks
    catalogue.tracks[0] = dataclasses.replace(track, checksums={**track.checksums, "chr10": "00000000"})
    catalogue.save(uri)
    with pytest.raises(RunError, match="a x: chr10 is damaged; nothing was written"):
        export_x(uri, out)
    assert out.read_bytes() == before


def test_memory_does_not_grow_with_the_chromosome(inputs, uri, tmp_path, monkeypatch):
    monkeypatch.setattr("db_ingest.upkeep.exporting._STRETCH", 2**16)
    sizes = {"chr1": 8_000_000}
    with BigWigWriter(inputs.folder / "x.bw", sizes) as writer:
        starts = np.arange(0, 8_000_000, 200)
        writer.add("chr1", starts, starts + 100, np.arange(len(starts)) / 3)
    store(uri, inputs, inputs.folder / "x.bw", "bigwig", sizes)
    export_x(uri, tmp_path / "first.bw")
    tracemalloc.start()
    export_x(uri, tmp_path / "out.bw")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000


# The writer of bigWig


@examples(6)
@given(
    runs=st.lists(
        st.tuples(st.integers(0, 5_000), st.integers(1, 5_000), st.floats(-1e6, 1e6, width=32)), min_size=1, max_size=40
    ),
    cut=st.integers(0, 40),
)
def test_zoom_levels_and_summary_are_those_of_the_runs(tmp_path, runs, cut):
    table = np.array([(gap, length) for gap, length, _ in runs])
    ends = np.cumsum(table.sum(axis=1))
    starts, values = ends - table[:, 1], np.array([value for _, _, value in runs], np.float32)
    size = int(ends[-1]) + 3
    dense = np.full(size, np.nan)
    for start, end, value in zip(starts, ends, values, strict=True):
        dense[start:end] = value
    path = tmp_path / "x.bw"
    with BigWigWriter(path, {"b": size, "a": 5}, threads=2) as writer:
        assert writer.chromosomes == ("a", "b")
        writer.add("b", starts[:cut], ends[:cut], values[:cut])
        writer.add("b", starts[cut:], ends[cut:], values[cut:])
    there = dense[~np.isnan(dense)]
    with pyBigWig.open(str(path)) as file:
        assert file.chroms() == {"a": 5, "b": size}
        assert file.intervals("a") is None
        np.testing.assert_array_equal(file.values("b", 0, size, numpy=True), dense)
        header = file.header()
        assert header["nBasesCovered"] == len(there)
        assert header["minVal"] == int(there.min())
        assert header["maxVal"] == int(there.max())
        assert header["sumData"] == pytest.approx(there.sum(), abs=1)
        for kind, expected in (("min", there.min()), ("max", there.max())):
            assert file.stats("b", 0, size, type=kind, exact=False) == [pytest.approx(expected)]
        assert file.stats("b", 0, size, type="coverage", exact=False) == [pytest.approx(len(there) / size)]
        assert file.stats("b", 0, size, exact=True) == [pytest.approx(there.mean(), rel=1e-5, abs=1e-3)]


def test_zoom_records_are_sums_by_hand(tmp_path):
    pybigtools = pytest.importorskip("pybigtools")
    rng = np.random.default_rng(1)
    size = 20_000
    dense = np.where(rng.random(size) < 0.5, rng.random(size), np.nan)
    dense[2_048:4_096] = np.nan
    here = np.flatnonzero(~np.isnan(dense))
    with BigWigWriter(tmp_path / "x.bw", {"chr1": size}) as writer:
        writer.add("chr1", here, here + 1, dense[here])
    file = pybigtools.open(str(tmp_path / "x.bw"))
    for reduction in (1_024, 4_096, 16_384):
        found = list(file.zoom_records(reduction, "chr1"))
        bins = [dense[start : start + reduction] for start in range(0, size, reduction)]
        expected = [(i, bin[~np.isnan(bin)]) for i, bin in enumerate(bins) if not np.isnan(bin).all()]
        assert [start for start, _, _ in found] == [i * reduction for i, _ in expected]
        assert [end for _, end, _ in found] == [min((i + 1) * reduction, size) for i, _ in expected]
        for (_, _, record), (_, values) in zip(found, expected, strict=True):
            assert record["bases_covered"] == len(values)
            assert record["sum"] == pytest.approx(values.sum(), rel=1e-5)
            assert record["sum_squares"] == pytest.approx((values**2).sum(), rel=1e-5)
            assert record["min_val"] == pytest.approx(values.min())


def test_zoom_levels_that_save_nothing_are_left_out(tmp_path):
    starts = np.arange(0, 9_990_000, 3_000)
    with BigWigWriter(tmp_path / "x.bw", {"chr1": 10_000_000}) as writer:
        writer.add("chr1", starts, starts + 2_000, np.ones(len(starts)))
    with pyBigWig.open(str(tmp_path / "x.bw")) as file:
        # 1,024 and 4,096 bp would take a record or nearly one a run.
        assert file.header()["nLevels"] == 5
        assert file.header()["nBasesCovered"] == 2_000 * len(starts)
        assert file.stats("chr1", type="coverage", exact=False) == [pytest.approx(2 / 3, rel=1e-3)]


def test_many_contigs_and_many_blocks_are_found_again(tmp_path):
    sizes = {f"contig{i}": 500 + i for i in range(700)} | {"long": 1_200_000}
    starts = np.arange(0, 1_199_000, 4)
    with BigWigWriter(tmp_path / "x.bw", sizes, threads=2) as writer:
        for name in writer.chromosomes:
            if name == "long":
                writer.add(name, starts, starts + 3, np.arange(len(starts)))
            elif sizes[name] % 2:
                writer.add(name, np.array([5]), np.array([sizes[name]]), np.array([sizes[name]]))
    with pyBigWig.open(str(tmp_path / "x.bw")) as file:
        assert file.chroms() == sizes
        for name, size in sizes.items():
            if name != "long":
                assert file.intervals(name) == (((5, size, float(size)),) if size % 2 else None)
        found = np.array(file.intervals("long"))
        np.testing.assert_array_equal(found[:, 0], starts)
        np.testing.assert_array_equal(found[:, 2], np.arange(len(starts)))
        assert file.intervals("long", 800_001, 800_005) == (
            (800_000, 800_003, 200_000.0),
            (800_004, 800_007, 200_001.0),
        )


def test_writer_refuses_what_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="at most 4,294,967,295"):
        BigWigWriter(tmp_path / "x.bw", {"chr1": 2**32})
    one = np.array([1.0])
    with BigWigWriter(tmp_path / "x.bw", {"chr1": 100}) as writer:
        writer.add("chr1", np.array([50]), np.array([60]), one)
        for start, end in (([55], [70]), ([90], [101]), ([70], [70]), ([70, 65], [80, 66]), ([70, 75], [80, 85])):
            with pytest.raises(ValueError, match=r"chr1:\d+-\d+: runs out of order or past the chromosome's end"):
                writer.add("chr1", np.array(start), np.array(end), one.repeat(len(start)))
    with pyBigWig.open(str(tmp_path / "x.bw")) as file:
        assert file.intervals("chr1") == ((50, 60, 1.0),)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_bedgraph_values_are_written_with_all_their_digits(values):
    starts = np.arange(len(values)) * 10**9
    text = bedgraph_lines("chr1", starts, starts + 7, np.array(values, np.float32)).decode()
    rows = [line.split("\t") for line in text.splitlines()]
    assert [row[:3] for row in rows] == [["chr1", str(start), str(start + 7)] for start in starts.tolist()]
    found = np.array([float(row[3]) for row in rows], np.float32)
    np.testing.assert_array_equal(found.view(np.uint32), np.array(values, np.float32).view(np.uint32))


# Masks


@pytest.mark.parametrize(
    ("type", "columns", "ending"),
    [
        ("narrowPeak", 10, ".narrowPeak"),
        ("narrowPeak", 10, ".narrowPeak.gz"),
        ("narrowPeak", 10, ".bed"),
        ("broadPeak", 9, ".broadPeak"),
        ("broadPeak", 9, ".bed.gz"),
        ("bed_no_summit", 3, ".bed"),
        ("bed_no_summit", 4, ".bed"),
        ("bed_no_summit", 5, ".bed"),
        ("bed_summit_from_peak_center", 6, ".bed"),
        ("bed_summit_from_last_col", 10, ".bed"),
    ],
)
def test_intervals_come_out_as_they_went_in(inputs, uri, tmp_path, type, columns, ending):
    peaks = [row[:columns] for row in PEAKS]
    track = store(uri, inputs, inputs.bed("x.bed", peaks), type)
    out = export_x(uri, tmp_path / f"out{ending}")
    text = gzip.decompress(out.read_bytes()) if ending.endswith(".gz") else out.read_bytes()
    found = [tuple(line.split("\t")) for line in text.decode().splitlines()]
    assert sorted(found) == sorted(tuple(map(str, row)) for row in peaks)
    assert [row[0] for row in found] == ["chr1", "chr1", "chr10", "chr2", "chr2"]
    again = store(str(tmp_path / "again"), inputs, out, type)
    assert (again.checksums, again.summary) == (track.checksums, track.summary)


def test_summit_behind_fewer_columns_is_the_last_one(inputs, uri, tmp_path):
    peaks = inputs.bed("x.bed", [("chr1", 5, 50, "p", 3, "+", 7), ("chr1", 60, 70, "q", 4, "-", -1)])
    track = store(uri, inputs, peaks, "bed_summit_from_last_col")
    out = export_x(uri, tmp_path / "out.bed")
    assert out.read_text() == peaks.read_text()
    again = store(str(tmp_path / "again"), inputs, out, "bed_summit_from_last_col")
    assert again.checksums == track.checksums


def test_intervals_that_a_format_cannot_hold_are_refused(inputs, uri, tmp_path):
    store(uri, inputs, inputs.bed("x.bed", [row[:6] for row in PEAKS]), "bed_no_summit")
    for ending in (".narrowPeak", ".broadPeak"):
        with pytest.raises(InputError, match=rf"out{ending}: a x has intervals without a signalValue; use \.bed"):
            export_x(uri, tmp_path / f"out{ending}")
    other = str(tmp_path / "other")
    store(other, inputs, inputs.bed("y.bed", PEAKS), "narrowPeak")
    with pytest.raises(InputError, match=r"a x has summits, for which broadPeak has no column; use \.narrowPeak"):
        export_x(other, tmp_path / "out.broadPeak")
    assert export_x(other, tmp_path / "out.bed", chroms=["chr2"]).read_text().count("\n") == 2
    assert sorted(os.listdir(tmp_path)) == ["db", "inputs", "other", "out.bed"]


def test_mask_without_intervals_is_an_empty_file(inputs, uri, tmp_path):
    store(uri, inputs, inputs.text("x.bed", ""), "bed_no_summit, empty: allow")
    assert export_x(uri, tmp_path / "out.bed").read_bytes() == b""


# The sequence


@pytest.mark.parametrize("ending", [".fa", ".fasta", ".fa.gz", ".fasta.bgz"])
@pytest.mark.parametrize("stretch", [130, 2**22])
def test_every_base_of_a_fasta_is_the_one_of_pysam(inputs, uri, tmp_path, monkeypatch, ending, stretch):
    monkeypatch.setattr("db_ingest.upkeep.exporting._STRETCH", stretch)
    original = inputs.fasta(sizes=SIZES)
    ingest(uri, ref_fasta=str(original))
    out = tmp_path / f"out{ending}"
    export(uri, str(out))
    lines = (gzip.decompress(out.read_bytes()) if ending.endswith("gz") else out.read_bytes()).decode().splitlines()
    assert max(map(len, lines)) == 60
    with pysam.FastaFile(str(original)) as expected, pysam.FastaFile(str(out)) as found:
        assert found.references == list(SIZES)
        for name in SIZES:
            assert found.fetch(name) == "".join(b if b in "ACGT" else "N" for b in expected.fetch(name).upper())
    again = str(tmp_path / "again")
    ingest(again, ref_fasta=str(out))
    checksums = [catalogues.load(place).sequence["checksums"] for place in (uri, again)]
    assert checksums[0] == checksums[1]
    export(uri, str(out), chroms=["chr2", "chrM"])
    assert out.exists()


def test_compressed_text_is_whole_blocked_gzip(inputs, uri, tmp_path):
    sizes = {"chr1": 200_000}
    ingest(uri, ref_fasta=str(inputs.fasta(sizes=sizes)))
    export(uri, str(tmp_path / "out.fa.gz"), threads=2)
    with pysam.BGZFile(str(tmp_path / "out.fa.gz")) as file:
        packed = file.read()
    export(uri, str(tmp_path / "out.fa"))
    assert packed == (tmp_path / "out.fa").read_bytes()


# What is refused


def test_what_a_kind_cannot_be_written_as_is_refused(signal, tmp_path):
    before = os.listdir(tmp_path)
    with pytest.raises(InputError, match=r"out\.bed: a signal is written as \.bw, \.bigWig, \.bedGraph, bedGraph also"):
        export_x(signal, tmp_path / "out.bed")
    with pytest.raises(InputError, match="a signal is written as"):
        export_x(signal, tmp_path / "out.bw.gz")
    with pytest.raises(InputError, match="holds no sequence"):
        export(signal, str(tmp_path / "out.fa"))
    with pytest.raises(InputError, match="give --attribute as well"):
        export(signal, str(tmp_path / "out.fa"), dataset="a")
    with pytest.raises(InputError, match="no attribute 'y' in the database; it has x"):
        export(signal, str(tmp_path / "out.bw"), attribute="y", dataset="a")
    with pytest.raises(InputError, match="expected a file on this machine"):
        export(signal, "s3://bucket/out.bw", attribute="x")
    assert os.listdir(tmp_path) == before


def test_failure_leaves_the_file_there_was(signal, tmp_path, monkeypatch):
    out = tmp_path / "out.bw"
    out.write_bytes(b"before")
    with monkeypatch.context() as patch:
        patch.setattr("db_ingest.upkeep.exporting.BigWigWriter.add", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export_x(signal, out)
    assert out.read_bytes() == b"before"
    assert sorted(os.listdir(tmp_path)) == ["db", "inputs", "out.bw"]
    export_x(signal, out)
    with pyBigWig.open(str(out)) as file:
        assert file.isBigWig()
