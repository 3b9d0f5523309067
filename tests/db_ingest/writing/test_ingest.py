"""Files in, database out: every base against pyBigWig, pysam and a count by hand; what is refused, kept and left."""

from __future__ import annotations

import datetime
import errno
import hashlib
import importlib
import json
import os
import struct
import time
import zlib
from pathlib import Path

import bigwig_writer
import numpy as np
import pysam
import pytest
import tiledb
from bigwig_writer import FIXED_STEP, Section
from handmade import FullAfter
from plain import joined

from db_ingest import ingest, storage
from db_ingest.cli.gen_ingest import COMMAND
from db_ingest.errors import InputError, RunError
from db_ingest.layout import arrays
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.describe import info
from db_ingest.layout.reader import Reader
from db_ingest.upkeep.verify import verify
from db_ingest.writing.levels import levels

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}
PEAKS = [
    # Overlapping, touching and equal peaks, summits inside of others, at both ends of a chromosome.
    ("chr1", 100, 200, "a", 10, "+", 1.5, 2.5, 3.5, 50),
    ("chr1", 150, 260, "b", 20, "-", 2.5, 3.5, 4.5, 0),
    ("chr1", 260, 301, "c", 30, ".", 3.5, 4.5, 5.5, -1),
    ("chrM", 0, 400, "d", 40, "+", 4.5, 5.5, 6.5, 399),
    ("chr1", 150, 260, "b2", 50, "+", 5.5, 6.5, 7.5, 109),
    ("chr1", 2_999, 3_000, "e", 60, "-", 6.5, 7.5, 8.5, 0),
]


def tree(folder: str | Path) -> dict[str, bytes]:
    """Every file below a folder and what it holds."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def tracks_of(uri: str) -> list[tuple[str, str, int]]:
    return [(t.attribute, t.dataset, t.row) for t in catalogues.load(uri).tracks]


def damaged_late(path: Path) -> Path:
    """Spoil the last block of data of a bigWig: its structure is sound, its reading fails."""
    content = bytearray(path.read_bytes())
    index_at = struct.unpack("<Q", content[24:32])[0]
    for i in range(index_at - 40, index_at):
        content[i] ^= 0xFF
    path.write_bytes(content)
    return path


@pytest.fixture
def one_signal(inputs):
    """Arguments that make a database of sequence and one track, and its bigWig."""
    path = inputs.bigwig("a.bw")
    return path, {
        "tiledb_metadata": str(inputs.samples({"k562": {"signal": path}})),
        "attribute_config_file": str(inputs.types(signal="bigwig")),
        "ref_fasta": str(inputs.fasta()),
        "threads": 2,
    }


# What is stored


def test_every_base_of_the_sequence_is_the_one_of_pysam(inputs, uri, stored):
    path = inputs.fasta()
    ingest(uri, ref_fasta=str(path))
    with pysam.FastaFile(str(path)) as expected:
        for name in SIZES:
            text = np.array(list("ACGTN"))[stored(uri).sequence(name)]
            letters = [base if base in "ACGT" else "N" for base in expected.fetch(name).upper()]
            assert "".join(text) == "".join(letters)


def test_every_base_of_every_signal_is_the_one_of_py_big_wig(inputs, uri, stored, read_bigwig):
    paths = {
        (attribute, dataset): inputs.bigwig(f"{attribute}.{dataset}.bw", scale=scale)
        for scale, (attribute, dataset) in enumerate([("x", "k562"), ("y", "k562"), ("x", "hepg2")], 1)
    }
    table = {d: {a: paths[a, d] for a in "xy" if (a, d) in paths} for d in ("k562", "hepg2")}
    ingest(
        uri,
        str(inputs.samples(table)),
        ref_fasta=str(inputs.fasta()),
        attribute_config_file=str(inputs.types(x="bigwig", y="bigwig")),
    )
    for (attribute, dataset), path in paths.items():
        for name in SIZES:
            found = stored(uri).values(attribute, dataset, name)
            np.testing.assert_array_equal(found, read_bigwig(path, name).astype(np.float32))


def test_chromosome_not_in_the_header_is_nan_and_one_without_entries_is_zero(inputs, uri, stored, read_bigwig):
    path = inputs.bigwig("a.bw", {"chr1": inputs.signal(3_000)}, sizes={"chr1": 3_000, "chrM": 400})
    result = ingest(
        uri,
        str(inputs.samples({"k562": {"signal": path}})),
        ref_fasta=str(inputs.fasta()),
        attribute_config_file=str(inputs.types(signal="bigwig")),
    )
    catalogue = stored(uri)
    np.testing.assert_array_equal(catalogue.values("signal", "k562", "chr1"), read_bigwig(path, "chr1"))
    assert np.isnan(catalogue.values("signal", "k562", "chr2")).all()
    assert (catalogue.values("signal", "k562", "chrM") == 0).all()
    assert catalogue.track("signal", "k562")["summary"]["absent_chromosomes"] == ["chr2"]
    assert any("chr2" in line and "hold no value" in line for line in result.report.warnings)


def test_chromosomes_of_several_tiles_and_chunks_are_whole(inputs, uri, stored, read_bigwig, monkeypatch):
    monkeypatch.setattr(importlib.import_module("db_ingest.layout.genome"), "CHUNK", 65_536)
    sizes = {"big": 65_536 * 3 + 17, "exact": 65_536, "small": 5}
    # One value in 17 keeps the file small; ends of tiles are covered.
    values = {name: np.where(np.arange(size) % 17 == 0, np.arange(size) + 1.0, np.nan) for name, size in sizes.items()}
    values["big"][65_530:65_542] = 9
    path = inputs.bigwig("a.bw", values, sizes=sizes)
    ingest(
        uri,
        str(inputs.samples({"k562": {"signal": path}})),
        chrom_sizes=str(inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in sizes.items()))),
        attribute_config_file=str(inputs.types(signal="bigwig")),
        threads=3,
    )
    catalogue = stored(uri)
    for name in sizes:
        np.testing.assert_array_equal(catalogue.values("signal", "k562", name), read_bigwig(path, name))
    assert catalogue.document["sequence"] is None
    assert not os.path.exists(f"{uri}/sequence")


def test_chromosomes_never_share_a_tile_and_padding_holds_nothing(one_signal, uri, stored):
    ingest(uri, **one_signal[1])
    catalogue = stored(uri)
    tile = catalogue.document["genome"]["tile"]
    used = [range(offset // tile, (offset + size - 1) // tile + 1) for offset, size in catalogue.places.values()]
    assert all(offset % tile == 0 for offset, _ in catalogue.places.values())
    assert len(set().union(*used)) == sum(map(len, used))
    with tiledb.open(f"{uri}/signal/signal") as array, tiledb.open(f"{uri}/sequence") as sequence:
        assert array.schema.domain.dim("position").tile == sequence.schema.domain.dim("position").tile == tile
        offset, size = catalogue.places["chr1"]
        assert np.isnan(joined(array[0, offset + size : offset + tile]["value"])).all()
        assert (sequence[offset + size : offset + tile]["value"] == 4).all()


def expected_mask(kind: str, chromosome: str) -> np.ndarray:
    mask = np.zeros(SIZES[chromosome], np.uint8)
    here = [peak for peak in PEAKS if peak[0] == chromosome]
    for _, start, end, *_ in here:
        mask[start:end] = 1
    for _, start, end, *_, summit in here:
        centre = (start + end) // 2
        if kind == "bed_summit_from_peak_center":
            mask[centre] = 2
        elif kind == "bed_summit_from_last_col":
            mask[start + summit if summit >= 0 else centre] = 2
    return mask


@pytest.mark.parametrize("kind", ["bed_no_summit", "bed_summit_from_peak_center", "bed_summit_from_last_col"])
@pytest.mark.parametrize("name", ["p.narrowPeak", "p.narrowPeak.gz"])
def test_mask_is_one_inside_two_at_the_summit_and_zero_outside(inputs, uri, stored, kind, name):
    path = inputs.bed(name, ["browser hide all", "track name=x", "# c", *PEAKS])
    ingest(
        uri,
        str(inputs.samples({"k562": {"peaks": path}})),
        ref_fasta=str(inputs.fasta()),
        attribute_config_file=str(inputs.types(peaks=kind)),
    )
    for chromosome in SIZES:
        np.testing.assert_array_equal(stored(uri).values("peaks", "k562", chromosome), expected_mask(kind, chromosome))
    summary = stored(uri).track("peaks", "k562")["summary"]
    assert summary["covered"] == sum(int((expected_mask(kind, name) > 0).sum()) for name in SIZES)
    assert summary["intervals"] == len(PEAKS)
    assert summary["without_summit"] == (1 if kind == "bed_summit_from_last_col" else 0)


def test_row_without_a_track_reads_255_in_a_mask_and_nan_in_a_signal(inputs, one_signal, uri, stored):
    arguments = one_signal[1]
    ingest(uri, **arguments)
    peaks = inputs.bed("p.bed", PEAKS)
    arguments["attribute_config_file"] = str(inputs.types(peaks="bed_no_summit"))
    arguments["tiledb_metadata"] = str(inputs.samples({"k562": {"peaks": peaks}}))
    ingest(uri, **arguments)
    with tiledb.open(f"{uri}/mask/peaks") as mask, tiledb.open(f"{uri}/signal/signal") as values:
        assert (mask[1, 0:100]["value"] == 255).all()
        assert np.isnan(joined(values[1, 0:100]["value"])).all()


@pytest.mark.parametrize("name", ["p.narrowPeak", "p.narrowPeak.gz"])
def test_intervals_are_stored_as_they_came(inputs, uri, stored, name):
    path = inputs.bed(name, ["track x", *PEAKS, ("chrUn", 1, 5, "gone", 0, ".", 1, 1, 1, -1)])
    result = ingest(
        uri,
        str(inputs.samples({"k562": {"peaks": path}})),
        ref_fasta=str(inputs.fasta()),
        attribute_config_file=str(inputs.types(peaks="bed_no_summit")),
    )
    catalogue = stored(uri)
    assert catalogue.intervals("peaks", "k562") == sorted(PEAKS)
    assert catalogue.track("peaks", "k562")["summary"]["elsewhere"] == 1
    assert any("1 on chromosomes the genome lacks" in line for line in result.report.lines)


def test_reader_gives_intervals_in_order_and_ranges_end_to_end(inputs, one_signal, uri, read_bigwig):
    path, arguments = one_signal
    peaks = inputs.bed("p.bed", [*PEAKS, ("chr2", 5, 9, "naïve", 0, ".", 0, 0, 0, -1)])
    arguments["tiledb_metadata"] = str(inputs.samples({"k562": {"signal": path, "peaks": peaks}}))
    arguments["attribute_config_file"] = str(inputs.types(signal="bigwig", peaks="bed_no_summit"))
    ingest(uri, **arguments)
    genome = catalogues.load(uri).genome
    reader = Reader(uri)
    table = reader.read_intervals("intervals/peaks", 0)
    assert (np.diff(table["start"]) >= 0).all()
    assert "naïve" in table["name"]
    assert (table["end"] - table["start"]).tolist() == [100, 110, 110, 41, 1, 4, 400]
    starts = np.array([10, 500, genome.offset("chr2") + 7])
    found = reader.read("signal/signal", 0, starts, starts + 30)
    first, second = read_bigwig(path, "chr1"), read_bigwig(path, "chr2")
    np.testing.assert_array_equal(found, np.concatenate([first[10:40], first[500:530], second[7:37]]))
    assert len(reader.read("signal/signal", 0, starts[:0], starts[:0])) == 0
    reader.close()


def test_whole_numbers_lie_in_counts_and_others_in_signal_under_rows_of_one_count(inputs, uri, stored, read_bigwig):
    values = np.full(3_000, np.nan)
    values[10:400] = np.arange(390) % 7
    values[500] = 65_534
    whole = inputs.bigwig("whole.bw", {"chr1": values}, sizes={"chr1": 3_000, "chr2": 1_500})
    parted = inputs.bigwig("parted.bw", {"chr1": values + 0.5})
    large = inputs.bigwig("large.bw", {"chr1": values + 1})
    table = inputs.samples({name: {"x": path} for name, path in (("w", whole), ("p", parted), ("l", large))})
    sizes = str(inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in SIZES.items())))
    ingest(uri, str(table), chrom_sizes=sizes, attribute_config_file=str(inputs.types(x="bigwig")))
    catalogue = stored(uri)
    assert [(t["folder"], t["row"]) for t in catalogue.document["tracks"] if t["dataset"] == "w"] == [("counts", 0)]
    assert {(t["folder"], t["row"]) for t in catalogue.document["tracks"]} == {
        ("counts", 0),
        ("signal", 1),
        ("signal", 2),
    }
    assert catalogue.cells("x", "w", "chr1").dtype == np.uint16
    assert (catalogue.cells("x", "w", "chrM") == 65_535).all()
    for name, path in (("w", whole), ("p", parted), ("l", large)):
        np.testing.assert_array_equal(catalogue.values("x", name, "chr1"), read_bigwig(path, "chr1"))
    reader = Reader(uri)
    read = reader.read(
        "counts/x", 0, np.array([0, catalogue.places["chrM"][0]]), np.array([20, catalogue.places["chrM"][0] + 2])
    )
    np.testing.assert_array_equal(read, [*np.nan_to_num(values[:20]), np.nan, np.nan])
    assert read.dtype == np.float32
    reader.close()


@pytest.mark.parametrize("odd", [0.5, -1.0, 65_535.0, 1e30])
def test_values_that_turn_out_not_to_be_counts_are_kept_as_they_are(inputs, uri, stored, read_bigwig, monkeypatch, odd):
    monkeypatch.setattr(importlib.import_module("db_ingest.layout.genome"), "CHUNK", 65_536)
    size = 4 * 65_536
    # Many blocks, of which a reader looks at some when it opens the file; the odd value is in none of those.
    sections = [Section("big", FIXED_STEP, [(float(v % 9),) for v in range(50)], start=i * 1_000) for i in range(250)]
    sections[230] = Section("big", FIXED_STEP, [(1.0,), (odd,)], start=230_000)
    path = bigwig_writer.write(inputs.folder / "a.bw", {"big": size}, sections, summary=False, fanout=64)
    ingest(
        uri,
        str(inputs.samples({"k562": {"signal": path}})),
        chrom_sizes=str(inputs.text("g.sizes", f"big\t{size}\n")),
        attribute_config_file=str(inputs.types(signal="bigwig")),
        threads=2,
    )
    assert os.path.isdir(f"{uri}/counts/signal"), "the reader is meant to be taken in"
    catalogue = stored(uri)
    assert catalogue.track("signal", "k562")["folder"] == "signal"
    np.testing.assert_array_equal(
        catalogue.values("signal", "k562", "big"), read_bigwig(path, "big").astype(np.float32)
    )
    assert catalogue.track("signal", "k562")["checksums"] == {
        "big": f"{zlib.crc32(catalogue.cells('signal', 'k562', 'big').tobytes()):08x}"
    }


def test_one_file_may_be_read_in_several_ways_at_once(inputs, uri, stored, monkeypatch):
    monkeypatch.setattr(importlib.import_module("db_ingest.layout.genome"), "CHUNK", 65_536)
    size = 3 * 65_536
    values = np.full(size, np.nan)
    values[::1_000] = -1.5
    values[1::1_000] = 2.5
    path = inputs.bigwig("a.bw", {"big": values}, sizes={"big": size})
    types = "kept: {type: bigwig, negative: keep}\nabsolute: {type: bigwig, negative: absolute}\n"
    types += "gaps: {type: bigwig, negative: keep, missing: nan}\n"
    ingest(
        uri,
        str(inputs.samples({"k562": {"kept": path, "absolute": path, "gaps": path}})),
        chrom_sizes=str(inputs.text("g.sizes", f"big\t{size}\n")),
        attribute_config_file=str(inputs.text("t.yaml", types)),
        threads=1,
    )
    catalogue = stored(uri)
    np.testing.assert_array_equal(catalogue.values("kept", "k562", "big"), np.nan_to_num(values))
    np.testing.assert_array_equal(catalogue.values("absolute", "k562", "big"), np.abs(np.nan_to_num(values)))
    np.testing.assert_array_equal(catalogue.values("gaps", "k562", "big"), values)


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"workers": 2}, {"workers": 2, "scheduler": "local"}], ids=["processes", "Dask"])
def test_other_processes_write_the_same(inputs, uri, stored, read_bigwig, how):
    if "scheduler" in how:
        pytest.importorskip("distributed")
    fraction, whole = inputs.bigwig("a.bw"), inputs.bigwig("b.bw", {"chr1": np.arange(3_000.0)})
    peaks, fasta = inputs.bed("p.narrowPeak", PEAKS), inputs.fasta()
    rows = {"k562": {"x": fraction, "peaks": peaks}, "hepg2": {"x": whole}}
    arguments = {
        "tiledb_metadata": str(inputs.samples(rows)),
        "attribute_config_file": str(inputs.types(x="bigwig", peaks="narrowPeak")),
        "ref_fasta": str(fasta),
    }
    ingest(uri, **arguments)
    ingest(f"{uri}2", **arguments, **how)
    here, there = stored(uri), stored(f"{uri}2")
    for track in here.document["tracks"]:
        same = there.track(track["attribute"], track["dataset"])
        assert {**same, "committed": 0} == {**track, "committed": 0}
    for name in SIZES:
        np.testing.assert_array_equal(there.values("x", "k562", name), read_bigwig(fraction, name).astype(np.float32))
        np.testing.assert_array_equal(there.sequence(name), here.sequence(name))
    assert there.document["sequence"] == here.document["sequence"]


def test_names_that_nobody_would_guess_come_from_a_table(inputs, uri, stored, read_bigwig):
    path = inputs.bigwig("a.bw", sizes={"one": 3_000, "chr2": 1_500})
    arguments = {
        "tiledb_metadata": str(inputs.samples({"k562": {"signal": path}})),
        "attribute_config_file": str(inputs.types(signal="bigwig")),
        "ref_fasta": str(inputs.fasta()),
    }
    ingest(uri, **arguments, chrom_alias=str(inputs.text("alias.txt", "chr1\tone\n")))
    np.testing.assert_array_equal(stored(uri).values("signal", "k562", "chr1"), read_bigwig(path, "one"))


def test_file_without_peaks_is_a_mask_of_nothing_where_that_is_allowed(inputs, one_signal, uri, stored):
    path, arguments = one_signal
    empty = inputs.text("none.narrowPeak", "")
    arguments["tiledb_metadata"] = str(inputs.samples({"k562": {"signal": path, "peaks": empty}}))
    types = "signal: bigwig\npeaks: {type: narrowPeak, empty: allow}\n"
    arguments["attribute_config_file"] = str(inputs.text("t.yaml", types))
    result = ingest(uri, **arguments)
    for name in SIZES:
        assert (stored(uri).values("peaks", "k562", name) == 0).all()
    assert "k562 peaks: 0 intervals over 0.00% of bases" in result.report.lines
    assert result.report.shares == {}


# Signs


@pytest.mark.parametrize("scale", [-5.0, -0.3])
def test_negative_minus_strand_is_stored_as_absolute_values_and_said_so(
    inputs, uri, stored, read_bigwig, scale, capsys
):
    plus, minus = inputs.bigwig("p.bw"), inputs.bigwig("m.bw", scale=scale)
    assert read_bigwig(minus, "chr1").min() < 0
    table = inputs.samples({"k562": {"count_bigwig_plus_5p": plus, "count_bigwig_minus_5p": minus}})
    words = ["--tdb_array", uri, "--tiledb_metadata", str(table), "--attribute_config", "encode_pipeline"]
    assert COMMAND.run([*words, "--ref_fasta", str(inputs.fasta())]) == 0
    for name in SIZES:
        found = stored(uri).values("count_bigwig_minus_5p", "k562", name)
        np.testing.assert_array_equal(found, np.abs(read_bigwig(minus, name)))
        np.testing.assert_array_equal(stored(uri).values("count_bigwig_plus_5p", "k562", name), read_bigwig(plus, name))
    for attribute, absolute in (("count_bigwig_minus_5p", True), ("count_bigwig_plus_5p", False)):
        track = stored(uri).track(attribute, "k562")
        assert (track["options"], track["summary"]["absolute"]) == ({}, absolute)
    said = capsys.readouterr()
    assert "k562 count_bigwig_minus_5p" in said.out
    assert "absolute values taken" in said.out
    assert "warning: k562 count_bigwig_minus_5p: absolute values taken" in said.err


@pytest.mark.parametrize(
    ("attribute", "negative", "values", "expected"),
    [
        ("s_minus", "keep", [-2.5, -0.5], [-2.5, -0.5]),
        ("s_minus", "auto", [-2.5, 0.5], [-2.5, 0.5]),
        ("s_minus", "auto", [2.5, 0.5], [2.5, 0.5]),
        ("s_plus", "auto", [-2.5, -0.5], [-2.5, -0.5]),
        ("log_fold", "auto", [-2.5, -0.5], [-2.5, -0.5]),
        ("log_fold", "absolute", [-2.5, 0.5], [2.5, 0.5]),
    ],
)
def test_negative_values_are_kept_unless_a_minus_strand_has_no_other(
    inputs, uri, stored, attribute, negative, values, expected
):
    path = inputs.bigwig("a.bw", {"chr1": np.array(values)})
    ingest(
        uri,
        str(inputs.samples({"k562": {attribute: path}})),
        ref_fasta=str(inputs.fasta()),
        attribute_config_file=str(inputs.text("t.yaml", f"{attribute}: {{type: bigwig, negative: {negative}}}\n")),
    )
    assert stored(uri).values(attribute, "k562", "chr1")[:3].tolist() == [*expected, 0]


# A living database


def test_added_dataset_leaves_the_rows_there_were(inputs, one_signal, uri, stored, read_bigwig):
    first, arguments = one_signal
    ingest(uri, **arguments)
    before = tree(f"{uri}/signal/signal/__fragments")
    second = inputs.bigwig("b.bw")
    arguments["tiledb_metadata"] = str(inputs.samples({"hepg2": {"signal": second}}))
    result = ingest(uri, **arguments)
    assert [t.dataset for t in result.written] == ["hepg2"]
    assert tracks_of(uri) == [("signal", "k562", 0), ("signal", "hepg2", 1)]
    after = tree(f"{uri}/signal/signal/__fragments")
    assert {name: after[name] for name in before} == before
    for name in SIZES:
        np.testing.assert_array_equal(stored(uri).values("signal", "k562", name), read_bigwig(first, name))
        np.testing.assert_array_equal(stored(uri).values("signal", "hepg2", name), read_bigwig(second, name))


def test_unchanged_input_is_skipped_and_the_database_stays_as_it_is(inputs, one_signal, uri):
    path, arguments = one_signal
    ingest(uri, **arguments)
    before = tree(uri)
    moved = path.rename(inputs.folder / "moved.bw")
    arguments["tiledb_metadata"] = str(inputs.samples({"k562": {"signal": moved}}))
    result = ingest(uri, **arguments)
    assert result.written == []
    assert [item.name for item in result.unchanged] == [("signal", "k562")]
    assert result.report.lines
    assert tree(uri) == before


def test_changed_input_is_refused_without_overwrite_and_replaced_with_it(inputs, one_signal, uri, stored, read_bigwig):
    path, arguments = one_signal
    ingest(uri, **arguments)
    old = read_bigwig(path, "chr1")
    before = tree(uri)
    inputs.bigwig("a.bw")
    with pytest.raises(InputError, match=rf"{path}: k562 signal is in the database already.*--overwrite"):
        ingest(uri, **arguments)
    assert tree(uri) == before

    start, end = np.array([0]), np.array([SIZES["chr1"]])
    opened = Reader(uri)
    np.testing.assert_array_equal(opened.read("signal/signal", 0, start, end), old)
    assert len(ingest(uri, overwrite=True, **arguments).written) == 1
    np.testing.assert_array_equal(opened.read("signal/signal", 0, start, end), old)
    opened.close()
    assert tracks_of(uri) == [("signal", "k562", 1)]
    assert (read_bigwig(path, "chr1") != old).any()
    for name in SIZES:
        np.testing.assert_array_equal(stored(uri).values("signal", "k562", name), read_bigwig(path, name))


def test_changed_settings_count_as_a_change(inputs, one_signal, uri, stored):
    arguments = one_signal[1]
    ingest(uri, **arguments)
    arguments["attribute_config_file"] = str(inputs.text("t.yaml", "signal: {type: bigwig, negative: absolute}\n"))
    with pytest.raises(InputError, match="another file or other settings"):
        ingest(uri, **arguments)
    ingest(uri, overwrite=True, **arguments)
    assert stored(uri).track("signal", "k562")["options"] == {"negative": "absolute"}
    assert stored(uri).track("signal", "k562")["summary"]["absolute"] is True
    assert len(ingest(uri, **arguments).unchanged) == 1


def test_what_values_are_is_recorded_shown_and_counts_as_a_setting(inputs, one_signal, uri, stored):
    _, flags = one_signal

    def again(said, **more):
        types = inputs.text("t.yaml", f"signal: {{type: bigwig{said}}}\n")
        return ingest(uri, flags["tiledb_metadata"], attribute_config_file=str(types), **more)

    ingest(uri, **flags)
    assert (catalogues.load(uri).tracks[0].transform, catalogues.load(uri).tracks[0].unit) == ("None", "")
    assert "(" not in info(uri).split("signal")[1].split("\n")[0]
    assert again(", transform: None").unchanged
    with pytest.raises(InputError, match="transform was the default, now arcsinh; unit was the default, now -log10 p"):
        again(", transform: arcsinh, unit: -log10 p")
    again(", transform: arcsinh, unit: -log10 p", overwrite=True)
    (track,) = stored(uri).document["tracks"]
    assert track["options"] == {"transform": "arcsinh", "unit": "-log10 p"}
    assert "float32 (-log10 p, arcsinh)" in info(uri)
    assert verify(uri, sources=True).damage == []


def test_levels_asked_for_at_the_ingest_are_those_of_gen_db(inputs, one_signal, uri, tmp_path):
    _, flags = one_signal
    result = ingest(uri, **flags, levels=[25, 100])
    assert [(track.attribute, level.bin, level.aggregation) for track, level in result.levels] == [
        ("signal", 25, "mean"),
        ("signal", 100, "mean"),
    ]
    other = str(tmp_path / "other")
    ingest(other, **flags)
    levels(other, ["signal"], bins=[25, 100])
    assert catalogues.load(uri).tracks[0].levels == catalogues.load(other).tracks[0].levels
    # A run that broke off between the track and its levels is finished by the same command; what is there stays.
    assert ingest(uri, **flags, levels=[25, 100]).levels == []
    assert [level.bin for _, level in ingest(uri, **flags, levels=[50]).levels] == [50]
    assert verify(uri).damage == []


def test_levels_that_no_grid_fits_are_refused_before_anything_is_written(inputs, uri):
    np.save(inputs.folder / "a.npy", np.ones(60))
    table = inputs.samples({"k562": {"grid": inputs.folder / "a.npy"}})
    flags = {
        "chrom_sizes": str(inputs.text("sizes", "pilot\t1500\n")),
        "attribute_config_file": str(inputs.text("t.yaml", "grid: {type: npy, bin: 25, chromosome: pilot}\n")),
    }
    for bins, expects in (
        ([30], "--levels 30: k562 grid was measured in bins of 25 bp"),
        ([1], "--levels 1: expected"),
    ):
        with pytest.raises(InputError, match=expects):
            ingest(uri, str(table), **flags, levels=bins)
        assert not Path(uri).exists()
    assert ingest(uri, str(table), **flags, levels=[25]).levels == []


def test_attribute_cannot_be_a_signal_here_and_a_mask_there(inputs, one_signal, uri):
    path, arguments = one_signal
    arguments["tiledb_metadata"] = str(inputs.samples({"k562": {"signal": path}, "hepg2": {"signal": path}}))
    ingest(uri, **arguments)
    before = tree(uri)
    peaks = inputs.bed("p.bed", PEAKS)
    arguments["attribute_config_file"] = str(inputs.types(signal="bed_no_summit"))
    for dataset in ("k562", "new"):
        arguments["tiledb_metadata"] = str(inputs.samples({dataset: {"signal": peaks}}))
        with pytest.raises(InputError, match=r"p\.bed: attribute 'signal' is a signal in the database"):
            ingest(uri, overwrite=True, **arguments)
    assert tree(uri) == before


def test_genome_and_sequence_of_a_database_never_change(inputs, one_signal, uri):
    arguments = one_signal[1]
    ingest(uri, **arguments)
    before = tree(uri)
    arguments["ref_fasta"] = str(inputs.fasta("other.fa"))
    with pytest.raises(InputError, match=r"other\.fa: differs from the sequence"):
        ingest(uri, overwrite=True, **arguments)
    arguments["ref_fasta"] = str(inputs.fasta("longer.fa", {**SIZES, "chr2": 1_501}))
    with pytest.raises(InputError, match=r"longer\.fa: chromosome chr2 has 1,501 bp; the genome's chr2 has 1,500 bp"):
        ingest(uri, overwrite=True, **arguments)
    assert tree(uri) == before


def test_sequence_can_be_added_to_a_database_of_tracks_alone(inputs, one_signal, uri, stored):
    arguments = one_signal[1]
    fasta = arguments.pop("ref_fasta")
    sizes = str(inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in SIZES.items())))
    ingest(uri, chrom_sizes=sizes, **arguments)
    assert stored(uri).document["sequence"] is None
    ingest(uri, ref_fasta=fasta)
    assert stored(uri).document["sequence"]["path"] == fasta
    assert set(stored(uri).sequence("chr2").tolist()) == {0, 1, 2, 3, 4}


def test_chrom_sizes_choose_and_order_the_chromosomes_of_a_fasta(inputs, uri, stored):
    path = inputs.fasta()
    ingest(uri, ref_fasta=str(path), chrom_sizes=str(inputs.text("g.sizes", "chrM\t400\nchr1\t3000\n")))
    catalogue = stored(uri)
    assert list(catalogue.places) == ["chrM", "chr1"]
    with pysam.FastaFile(str(path)) as expected:
        bases = expected.fetch("chr1").upper()
    np.testing.assert_array_equal(catalogue.sequence("chr1"), [("ACGT".find(b) if b in "ACGT" else 4) for b in bases])


def test_catalogue_says_where_each_track_came_from(inputs, one_signal, uri, stored, read_bigwig):
    path, arguments = one_signal
    peaks = inputs.bed("p.narrowPeak", PEAKS)
    arguments["tiledb_metadata"] = str(inputs.samples({"k562": {"signal": path, "peaks": peaks}}))
    arguments["attribute_config_file"] = str(inputs.types(signal="bigwig", peaks="bed_summit_from_last_col"))
    ingest(uri, **arguments)
    catalogue = stored(uri)
    assert [(c["name"], c["size"]) for c in catalogue.document["genome"]["chromosomes"]] == list(SIZES.items())
    assert catalogue.document["next_row"] == {"sequence": 1, "signal": 1, "peaks": 1}
    for track, source in ((catalogue.track("signal", "k562"), path), (catalogue.track("peaks", "k562"), peaks)):
        content = source.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert track["source"] == {"path": str(source), "bytes": len(content), "sha256": digest}
        assert datetime.datetime.fromisoformat(track["committed"]).tzinfo is datetime.UTC
    assert catalogue.track("peaks", "k562")["type"] == "bed_summit_from_last_col"
    values = np.concatenate([read_bigwig(path, name) for name in SIZES]).astype(np.float64)
    summary = catalogue.track("signal", "k562")["summary"]
    assert summary["sum"] == pytest.approx(values.sum(), rel=1e-12)
    assert summary["covered"] == (values != 0).sum()
    assert (summary["minimum"], summary["maximum"]) == (values.min(), values.max())


# Nothing written, or nothing left


def test_dry_run_writes_nothing_and_says_what_lies_ahead(one_signal, uri, tmp_path, capsys):
    arguments = one_signal[1]
    before = tree(tmp_path)
    result = ingest(uri, dry_run=True, **arguments)
    assert result.report is None
    assert result.estimate["bases"] == 2 * sum(SIZES.values())
    assert tree(tmp_path) == before
    assert not os.path.exists(uri)
    words = [f"--{name}={value}" for name, value in arguments.items()]
    assert COMMAND.run(["--tdb_array", uri, "--dry_run", *words]) == 0
    assert "Nothing was written" in capsys.readouterr().out
    assert not os.path.exists(uri)
    ingest(uri, **arguments)
    before = tree(uri)
    assert ingest(uri, dry_run=True, overwrite=True, **arguments).written == []
    assert tree(uri) == before


def test_second_writer_is_refused_and_harms_nothing(inputs, one_signal, uri, capsys):
    arguments = one_signal[1]
    ingest(uri, **arguments)
    before = tree(uri)
    arguments["tiledb_metadata"] = str(inputs.samples({"hepg2": {"signal": inputs.bigwig("b.bw")}}))
    with storage.write_lock(uri):
        with pytest.raises(RunError, match="another process is writing"):
            ingest(uri, **arguments)
        words = [f"--{name}={value}" for name, value in arguments.items()]
        assert COMMAND.run(["--tdb_array", uri, *words]) == 1
        assert tree(uri) == before
    assert capsys.readouterr().err.count("\n") == 1
    ingest(uri, **arguments)
    assert len(tracks_of(uri)) == 2


def test_group_whose_name_could_not_be_a_datasets_is_refused(inputs, uri):
    fragments = inputs.bed("f.tsv", [("chr1", 5, 9, "AAA", 1)])
    inputs.text("groups.tsv", "AAA\tT,B\n")
    arguments = {
        "chrom_sizes": str(inputs.text("g.sizes", "chr1\t3000\n")),
        "attribute_config_file": str(inputs.text("t.yaml", "cuts: {type: fragments, barcodes: groups.tsv}\n")),
    }
    with pytest.raises(InputError, match=r"groups\.tsv: group 'T,B'; .*no comma"):
        ingest(uri, str(inputs.samples({"pbmc": {"cuts": fragments}})), **arguments)


def test_second_writer_of_a_database_in_the_making_takes_nothing_away(one_signal, uri):
    with storage.write_lock(uri):
        before = os.listdir(uri)
        with pytest.raises(RunError):
            ingest(uri, **one_signal[1])
        assert os.listdir(uri) == before
    ingest(uri, **one_signal[1])
    assert tracks_of(uri) == [("signal", "k562", 0)]


@pytest.mark.parametrize("folder", ["none", "empty"])
def test_failure_while_writing_leaves_no_new_database(one_signal, uri, folder):
    path, arguments = one_signal
    damaged_late(path)
    if folder == "empty":
        os.mkdir(uri)
    with pytest.raises(InputError, match=rf"{path}: chrM:\d+-\d+: damaged block"):
        ingest(uri, **arguments)
    assert not os.path.exists(uri) if folder == "none" else os.listdir(uri) == []


def test_failure_while_writing_keeps_the_finished_tracks_and_shows_no_half(
    inputs, one_signal, uri, stored, read_bigwig
):
    first, arguments = one_signal
    ingest(uri, **arguments)
    good, bad = inputs.bigwig("b.bw"), damaged_late(inputs.bigwig("c.bw"))
    arguments["tiledb_metadata"] = str(inputs.samples({"good": {"signal": good}, "bad": {"signal": bad}}))
    with pytest.raises(InputError, match=r"c\.bw"):
        ingest(uri, **arguments)
    assert tracks_of(uri) == [("signal", "k562", 0), ("signal", "good", 1)]
    inputs.bigwig("c.bw")
    result = ingest(uri, **arguments)
    assert [t.dataset for t in result.written] == ["bad"]
    # A row that was begun is never given out again.
    assert tracks_of(uri)[-1] == ("signal", "bad", 3)
    for dataset, path in (("k562", first), ("good", good), ("bad", bad)):
        for name in SIZES:
            np.testing.assert_array_equal(stored(uri).values("signal", dataset, name), read_bigwig(path, name))


def test_fasta_that_lacks_a_chromosome_of_its_index_leaves_no_database(inputs, uri):
    path = inputs.fasta(sizes={"chr1": 3_000})
    inputs.text("genome.fa.fai", "chr1\t3000\t6\t60\t61\nchr2\t1500\t3100\t60\t61\n")
    with pytest.raises(InputError, match=r"genome\.fa: lacks chr2"):
        ingest(uri, ref_fasta=str(path))
    assert not os.path.exists(uri)


def test_nothing_to_ingest_is_an_input_error(inputs, uri):
    sizes = str(inputs.text("g.sizes", "chr1\t5\n"))
    with pytest.raises(InputError, match="nothing to ingest"):
        ingest(uri, chrom_sizes=sizes)
    with pytest.raises(InputError, match="needs its genome"):
        ingest(uri)
    with pytest.raises(InputError, match="give that too"):
        ingest(uri, chrom_sizes=sizes, attribute_config="encode_pipeline")
    assert not os.path.exists(uri)


def test_unknown_kind_of_store_is_refused_as_a_place_to_write(inputs):
    with pytest.raises(InputError, match=r"ftp://bucket/db.*: unknown kind of location; expected a local path or s3:"):
        ingest("ftp://bucket/db", ref_fasta=str(inputs.fasta()))


def test_folders_made_for_a_database_that_failed_are_taken_away_and_others_stay(inputs, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError):
        ingest(str(tmp_path / "mine" / "deep" / "er" / "db"), ref_fasta=str(inputs.folder / "none.fa"))
    assert os.listdir(tmp_path / "mine") == []


# Broken off


@pytest.fixture
def all_kinds(inputs, monkeypatch):
    """Arguments that make a database of a track of each kind and a sequence, all of several chunks."""
    monkeypatch.setattr(importlib.import_module("db_ingest.layout.genome"), "CHUNK", 65_536)
    sizes = {"small": 500, "big": 2 * 65_536 + 17, "last": 70_000}
    values = {name: np.where(np.arange(size) % 17 == 0, np.arange(size) % 90, np.nan) for name, size in sizes.items()}
    halves = {name: dense + 0.5 for name, dense in values.items()}
    bins = {name: inputs.rng.random(-(-size // 10)).astype(np.float32) for name, size in sizes.items()}
    np.savez(inputs.folder / "grid.npz", **bins)
    spans = [(n, int(s), int(s) + 30) for n, size in sizes.items() for s in inputs.rng.integers(0, size - 30, 50)]
    files = {
        "whole": inputs.bigwig("whole.bw", values, sizes=sizes),
        "halves": inputs.bigwig("halves.bw", halves, sizes=sizes),
        "graph": inputs.bed(
            "a.bedGraph", [(n, i, i + 1, i / 4) for n, size in sizes.items() for i in range(0, size, 997)]
        ),
        "cuts": inputs.bed("f.tsv", [(*span, "AAA", 1) for span in spans]),
        "grid": inputs.folder / "grid.npz",
        "peaks": inputs.bed("p.bed", spans),
    }
    types = {"whole": "bigwig", "halves": "bigwig", "graph": "bedgraph", "cuts": "fragments", "peaks": "bed_no_summit"}
    config = "".join(f"{name}: {kind}\n" for name, kind in types.items()) + "grid: {type: npz, bin: 10}\n"
    return {
        "tiledb_metadata": str(inputs.samples({"k562": files})),
        "attribute_config_file": str(inputs.text("t.yaml", config)),
        "ref_fasta": str(inputs.fasta(sizes=dict(reversed(sizes.items())))),
        "chrom_sizes": str(inputs.text("g.sizes", "".join(f"{n}\t{s}\n" for n, s in sizes.items()))),
        "threads": 1,
    }


def kept(uri: str, stored) -> dict[str, tuple]:
    """What must be the same however often the work broke off."""
    catalogue = stored(uri)
    found = {
        t["attribute"]: (t["folder"], t["bin"], t["row"], t["summary"], t["checksums"])
        for t in catalogue.document["tracks"]
    }
    assert catalogue.document["staged"] == []
    return {
        **found,
        "sequence": (catalogue.document["sequence"]["checksums"],),
        "peaks at": (repr(catalogue.intervals("peaks", "k562")),),
    }


@pytest.mark.slow
def test_work_that_broke_off_at_any_chunk_goes_on_there_and_does_nothing_twice(all_kinds, uri, stored, monkeypatch):
    counted = FullAfter(np.inf)
    monkeypatch.setattr(arrays, "put", counted)
    ingest(uri, **all_kinds)
    whole = kept(uri, stored)
    assert set(whole) == {"whole", "halves", "graph", "cuts", "grid", "peaks", "sequence", "peaks at"}
    assert len(counted.firsts) >= 6 * 4
    for chunks in range(0, len(counted.firsts), 5):
        again = f"{uri}{chunks}"
        monkeypatch.setattr(arrays, "put", FullAfter(chunks))
        with pytest.raises(RunError, match="disk full"):
            ingest(again, **all_kinds)
        finished = {t["attribute"]: t["checksums"] for t in stored(again).document["tracks"]}
        assert all(whole[name][-1] == checksums for name, checksums in finished.items())
        rest = FullAfter(np.inf)
        monkeypatch.setattr(arrays, "put", rest)
        result = ingest(again, **all_kinds)
        assert len(rest.firsts) == len(counted.firsts) - chunks
        assert len(result.written) == 6 - len(finished)
        assert kept(again, stored) == whole


@pytest.mark.slow
def test_every_cell_of_a_run_that_broke_off_again_and_again_is_right(all_kinds, uri, stored, read_bigwig, monkeypatch):
    for _ in range(100):
        monkeypatch.setattr(arrays, "put", FullAfter(1))
        try:
            ingest(uri, **all_kinds)
        except RunError:
            continue
        break
    catalogue, folder = stored(uri), Path(all_kinds["ref_fasta"]).parent
    with pysam.FastaFile(all_kinds["ref_fasta"]) as expected:
        for name in catalogue.places:
            codes = [("ACGT".find(b) if b in "ACGT" else 4) for b in expected.fetch(name).upper()]
            np.testing.assert_array_equal(catalogue.sequence(name), codes)
            for attribute in ("whole", "halves"):
                truth = read_bigwig(folder / f"{attribute}.bw", name)
                np.testing.assert_array_equal(catalogue.values(attribute, "k562", name), truth)
    with np.load(folder / "grid.npz") as grid:
        for name in catalogue.places:
            np.testing.assert_array_equal(catalogue.values("grid", "k562", name), grid[name])


@pytest.mark.slow
def test_commit_that_failed_is_made_by_the_next_run_out_of_what_is_stored(all_kinds, uri, stored, monkeypatch):
    ingest(uri, **all_kinds)
    whole, replace = kept(uri, stored), storage.replace_bytes
    saves = stored(uri).document["commit"]
    assert saves == 1 + 6 + 1
    for last in range(saves):
        again = f"{uri}{last}"
        done = []

        def save(*what, last=last, done=done):
            done.append(what)
            if len(done) > last:
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(*what)

        monkeypatch.setattr(storage, "replace_bytes", save)
        with pytest.raises(RunError, match=f"{again}: disk full"):
            ingest(again, **all_kinds)
        monkeypatch.setattr(storage, "replace_bytes", replace)
        rest = FullAfter(np.inf)
        monkeypatch.setattr(arrays, "put", rest)
        result = ingest(again, **all_kinds)
        assert len(result.written) == min(6, saves - last)
        # The last track failed with all its chunks stored.
        assert len(rest.firsts) == 0 or last < saves - 1
        assert kept(again, stored) == whole


def test_changed_file_is_not_put_together_with_what_is_left_of_the_old_one(
    one_signal, inputs, uri, stored, read_bigwig, monkeypatch
):
    path, arguments = one_signal
    arguments["tiledb_metadata"] = str(
        inputs.samples({"a": {"signal": inputs.bigwig("b.bw")}, "k562": {"signal": path}})
    )
    arguments["threads"] = 1
    monkeypatch.setattr(arrays, "put", FullAfter(2))
    with pytest.raises(RunError):
        ingest(uri, **arguments)
    monkeypatch.undo()
    assert [(t["dataset"], t["row"]) for t in stored(uri).document["staged"]] == [("k562", 1)]
    inputs.bigwig("a.bw")
    ingest(uri, **arguments)
    assert tracks_of(uri) == [("signal", "a", 0), ("signal", "k562", 2)]
    for name in SIZES:
        np.testing.assert_array_equal(stored(uri).values("signal", "k562", name), read_bigwig(path, name))


# Killed


@pytest.mark.slow
@pytest.mark.parametrize("seen", ["", ".lock", "catalogue.json", "sequence", "signal/signal/__fragments", "mask/peaks"])
def test_killed_ingest_leaves_a_readable_catalogue_or_none_and_the_next_run_completes(
    inputs, one_signal, uri, stored, read_bigwig, launcher, seen
):
    path, arguments = one_signal
    peaks = inputs.bed("p.narrowPeak", PEAKS)
    rows = {f"d{i}": {"signal": path, "peaks": peaks} for i in range(3)}
    arguments["tiledb_metadata"] = str(inputs.samples(rows))
    arguments["attribute_config_file"] = str(inputs.types(signal="bigwig", peaks="bed_summit_from_last_col"))
    words = ["--tdb_array", uri, *(f"--{name}={value}" for name, value in arguments.items())]
    process = launcher.start(["gen_ingest", *words])
    while process.poll() is None and not os.path.exists(os.path.join(uri, seen)):
        time.sleep(0.0005)
    process.kill()
    process.communicate()
    if os.path.exists(f"{uri}/catalogue.json"):
        done = {(t["attribute"], t["dataset"]) for t in json.loads(Path(uri, "catalogue.json").read_text())["tracks"]}
        assert done <= {(attribute, dataset) for dataset in rows for attribute in ("signal", "peaks")}
        assert {(t.attribute, t.dataset) for t in catalogues.load(uri).tracks} == done
    assert COMMAND.run(words) == 0
    for dataset in rows:
        for name in SIZES:
            np.testing.assert_array_equal(stored(uri).values("signal", dataset, name), read_bigwig(path, name))
            expected = expected_mask("bed_summit_from_last_col", name)
            np.testing.assert_array_equal(stored(uri).values("peaks", dataset, name), expected)
    assert stored(uri).document["sequence"] is not None
