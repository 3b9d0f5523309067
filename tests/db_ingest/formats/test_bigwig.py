"""bigWig files against pyBigWig, and damaged ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import bigwig_writer
import numpy as np
import pyBigWig
import pytest
from bigwig_writer import BEDGRAPH, FIXED_STEP, VARIABLE_STEP, Section
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats import bigwig
from db_ingest.formats.base import SignalReader
from db_ingest.formats.bigwig import BigWig
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}
NAMING = Naming(Genome(tuple(SIZES), tuple(SIZES.values())))
OPTIONS = {"negative": "keep", "missing": "zero"}
SECTIONS = [
    Section("chr1", BEDGRAPH, [(5, 9, 1.5), (9, 10, -2.0), (700, 1_000, 0.25)]),
    Section("chr1", VARIABLE_STEP, [(1_000, 3.0), (1_010, 4.5), (1_499, 1e-30)], span=7),
    Section("chr1", FIXED_STEP, [(0.5,), (np.nan,), (2.5,), (1e30,)], start=2_000, step=20, span=15),
    Section("chr1", FIXED_STEP, [(float(v),) for v in range(40)], start=2_960),
    Section("chrM", BEDGRAPH, [(0, 400, 65_535.0)]),
]
LAYOUTS = {
    "as UCSC writes it": {},
    "not compressed": {"compressed": False},
    "without a summary": {"summary": False},
    "in one node": {"fanout": 256},
    "big-endian": {"order": ">"},
    "big-endian, not compressed, without a summary": {"order": ">", "compressed": False, "summary": False},
}


def opened(path: Path, **options: str) -> BigWig:
    return BigWig(path, NAMING, {**OPTIONS, **options})


def values_of(path: Path, chromosome: str, **options: str) -> np.ndarray:
    reader = opened(path, **options)
    try:
        return reader.read(chromosome, 0, SIZES[chromosome])
    finally:
        reader.close()


def py_big_wig(path: Path, chromosome: str) -> np.ndarray:
    """Values with NaN where there are none, as float32."""
    with pyBigWig.open(str(path)) as file:
        return np.array(file.values(chromosome, 0, file.chroms(chromosome)), np.float32)


# Values


def test_values_are_those_of_py_big_wig_and_zero_where_it_has_none(inputs):
    path = inputs.bigwig("a.bw")
    for name in SIZES:
        expected = py_big_wig(path, name)
        assert np.isnan(expected).any()
        found = values_of(path, name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.nan_to_num(expected))


def test_reader_keeps_the_promises_of_every_reader(inputs):
    reader = bigwig.open_signal(inputs.bigwig("a.bw"), NAMING, OPTIONS)
    assert isinstance(reader, SignalReader)
    assert (reader.chromosomes, reader.counts, dict(reader.summary)) == (tuple(SIZES), False, {"absolute": False})
    reader.close()


def test_missing_values_may_stay_missing(inputs):
    path = inputs.bigwig("a.bw")
    for name in SIZES:
        np.testing.assert_array_equal(values_of(path, name, missing="nan"), py_big_wig(path, name))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_kind_of_section_in_every_layout(tmp_path, layout):
    path = bigwig_writer.write(tmp_path / "a.bw", SIZES, SECTIONS, **layout)
    same = bigwig_writer.write(tmp_path / "little_endian.bw", SIZES, SECTIONS)
    for name in SIZES:
        expected = py_big_wig(same, name)
        np.testing.assert_array_equal(values_of(path, name, missing="nan"), expected)
        np.testing.assert_array_equal(values_of(path, name), np.nan_to_num(expected))
    by_hand = np.zeros(400, np.float32)
    by_hand[:] = 65_535
    np.testing.assert_array_equal(values_of(path, "chrM"), by_hand)


def test_sections_that_py_big_wig_writes(inputs):
    path = inputs.folder / "a.bw"
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(SIZES.items()))
        file.addEntries(["chr1", "chr1"], [0, 100], ends=[5, 130], values=[0.5, 1.5])
        file.addEntries("chr1", [500, 600, 635], values=[-2.0, 2.0, 9.0], span=20)
        file.addEntries("chr1", 900, values=[4.0, 3.0, 2.0], span=20, step=30)
        file.addEntries("chr2", list(range(0, 1_500, 3)), values=[float(i) for i in range(500)], span=2)
    for name in SIZES:
        np.testing.assert_array_equal(values_of(path, name), np.nan_to_num(py_big_wig(path, name)))


def test_stretches_that_cut_through_blocks_hold_the_same_values(inputs):
    rng = np.random.default_rng(2)
    path = inputs.bigwig("a.bw")
    whole = {name: values_of(path, name).copy() for name in SIZES}
    reader = opened(path)
    for _ in range(200):
        name = str(rng.choice(list(SIZES)))
        start, end = sorted(rng.integers(0, SIZES[name] + 1, 2).tolist())
        np.testing.assert_array_equal(reader.read(name, start, end), whole[name][start:end])
    reader.close()


def test_blocks_of_a_long_chromosome_are_all_found(tmp_path):
    naming = Naming(Genome(("big", "after"), (1_000_000, 50)))
    rng = np.random.default_rng(3)
    dense = {"big": rng.random(1_000_000).astype(np.float32), "after": rng.random(50).astype(np.float32)}
    path = tmp_path / "a.bw"
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader([("big", 1_000_000), ("after", 50)])
        for name, values in dense.items():
            file.addEntries(name, 0, values=values.astype(float).tolist(), span=1, step=1)
    reader = BigWig(path, naming, OPTIONS)
    np.testing.assert_array_equal(reader.read("big", 0, 1_000_000), dense["big"])
    np.testing.assert_array_equal(reader.read("big", 499_999, 500_001), dense["big"][499_999:500_001])
    np.testing.assert_array_equal(reader.read("after", 0, 50), dense["after"])
    reader.close()


def test_chromosome_named_in_the_header_without_entries_is_zero(inputs):
    path = inputs.bigwig("a.bw", {"chr1": inputs.signal(3_000)})
    assert (values_of(path, "chrM") == 0).all()
    assert np.isnan(values_of(path, "chrM", missing="nan")).all()


def test_file_without_any_entry_is_zero(tmp_path):
    path = bigwig_writer.write(tmp_path / "a.bw", SIZES, [])
    assert (values_of(path, "chr1") == 0).all()
    for summary in (True, False):
        path = bigwig_writer.write(tmp_path / "b.bw", SIZES, [], summary=summary)
        assert (values_of(path, "chr1", negative="auto_minus") == 0).all()


def test_stretch_within_a_chromosome_is_cut_at_its_ends(inputs):
    path = inputs.bigwig("a.bw", {"chr1": np.arange(1, 3_001, dtype=float)})
    reader = opened(path)
    assert reader.read("chr1", 2_990, 3_000).tolist() == list(range(2_991, 3_001))
    reader.close()


def test_blocks_within_the_reach_of_another_do_not_hide_it(tmp_path):
    items = [(0, 1_000, 1.0)], [(10, 20, 2.0)], [(500, 510, 3.0)], [(2_000, 2_001, 4.0)]
    sections = [Section("chr1", BEDGRAPH, part) for part in items]
    path = bigwig_writer.write(tmp_path / "a.bw", SIZES, sections, fanout=8)
    expected = np.nan_to_num(py_big_wig(path, "chr1"))
    assert expected[600:700].all()
    reader = opened(path)
    for start, end in [(0, 3_000), (600, 700), (15, 16), (505, 800), (999, 2_001)]:
        np.testing.assert_array_equal(reader.read("chr1", start, end), expected[start:end])
    reader.close()


@pytest.mark.parametrize("summary", [True, False])
def test_nan_entries_are_no_value(tmp_path, summary):
    items = [(0, 10, np.nan), (10, 20, -2.0), (20, 30, np.nan)]
    path = bigwig_writer.write(tmp_path / "a.bw", SIZES, [Section("chr1", BEDGRAPH, items)], summary=summary)
    expected = np.full(3_000, np.nan, np.float32)
    expected[10:20] = -2
    np.testing.assert_array_equal(values_of(path, "chr1", missing="nan"), expected)
    np.testing.assert_array_equal(values_of(path, "chr1"), np.nan_to_num(expected))
    np.testing.assert_array_equal(values_of(path, "chr1", negative="auto_minus"), np.abs(np.nan_to_num(expected)))


@pytest.mark.parametrize("summary", [True, False])
def test_file_of_nothing_but_nan_is_one_without_values(tmp_path, summary):
    path = bigwig_writer.write(
        tmp_path / "a.bw", SIZES, [Section("chr1", BEDGRAPH, [(0, 10, np.nan)])], summary=summary
    )
    assert (values_of(path, "chr1", negative="auto_minus") == 0).all()


def test_summary_that_is_nan_says_nothing(tmp_path):
    path = bigwig_writer.write(tmp_path / "a.bw", SIZES, [Section("chr1", BEDGRAPH, [(0, 10, -1.5)])])
    content = bytearray(path.read_bytes())
    at = struct.unpack("<Q", content[44:52])[0]
    content[at + 8 : at + 24] = struct.pack("<dd", np.nan, np.nan)
    path.write_bytes(content)
    assert values_of(path, "chr1", negative="auto_minus")[0] == 1.5


# Signs and counts


@pytest.mark.parametrize("summary", [True, False])
@pytest.mark.parametrize(
    ("values", "absolute"),
    [
        ([0.25, 0.75], False),
        ([-0.5, 0.25], False),
        ([-0.5, -0.25], True),
        ([-3, 0.75], False),
        ([-3, 0.0], True),
        ([0.0, 0.0], False),
    ],
)
def test_auto_minus_takes_absolute_values_only_where_none_is_above_zero(inputs, values, absolute, summary):
    if summary:
        path = inputs.bigwig("a.bw", {"chr1": np.array(values, float)})
    else:
        section = Section("chr1", FIXED_STEP, [(value,) for value in values])
        path = bigwig_writer.write(inputs.folder / "a.bw", SIZES, [section], summary=False)
    reader = opened(path, negative="auto_minus")
    assert reader.summary == {"absolute": absolute}
    assert reader.read("chr1", 0, 3).tolist() == [*(np.abs(values) if absolute else values), 0]
    reader.close()


def test_absolute_takes_the_sign_away_from_every_value(inputs):
    path = inputs.bigwig("a.bw", {"chr1": np.array([-1.5, 2.5, np.nan, -0.25])})
    assert values_of(path, "chr1", negative="absolute")[:5].tolist() == [1.5, 2.5, 0, 0.25, 0]
    assert values_of(path, "chr1")[:5].tolist() == [-1.5, 2.5, 0, -0.25, 0]


@pytest.mark.parametrize("layout", [{}, {"summary": False}, {"order": ">"}], ids=["summary", "none", "big-endian"])
@pytest.mark.parametrize(
    ("values", "negative", "counts"),
    [
        ([0, 1, 65_534], "keep", True),
        ([0, 1, np.nan], "keep", True),
        ([0, 1, 65_535], "keep", False),
        ([0, 1e30], "keep", False),
        ([0, 0.5], "keep", False),
        ([-3, -1], "keep", False),
        ([-3, -1], "absolute", True),
        ([-3, -1], "auto_minus", True),
        ([-3, 1], "auto_minus", False),
        ([-3, 1], "absolute", True),
        ([-65_535, 0], "absolute", False),
        ([-0.5, 0], "absolute", False),
    ],
)
def test_counts_are_whole_numbers_that_fit_16_bits(tmp_path, values, negative, counts, layout):
    section = Section("chr1", FIXED_STEP, [(float(value),) for value in values])
    reader = opened(bigwig_writer.write(tmp_path / "a.bw", SIZES, [section], **layout), negative=negative)
    assert reader.counts is counts
    reader.close()


# Refused


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused(inputs, value):
    with pytest.raises(InputError, match=r"a\.bw: .*expected finite"):
        opened(inputs.bigwig("a.bw", {"chr1": np.array([1.0, value, 2.0])}))


@pytest.mark.parametrize("kind", [BEDGRAPH, VARIABLE_STEP, FIXED_STEP])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_that_no_summary_tells_of_are_refused_with_their_place(tmp_path, kind, value):
    item = {BEDGRAPH: (1_234, 1_240, value), VARIABLE_STEP: (1_234, value), FIXED_STEP: (value,)}[kind]
    section = Section("chr1", kind, [item], start=1_234)
    path = bigwig_writer.write(tmp_path / "a.bw", SIZES, [section], summary=False)
    with pytest.raises(InputError, match=r"a\.bw: chr1:1,234: an infinite value; expected finite ones"):
        values_of(path, "chr1")
    reader = opened(path)
    with pytest.raises(InputError, match=r"a\.bw: chr1:1,234: "):
        reader.read("chr1", 1_000, 1_300)
    assert (reader.read("chr1", 0, 1_234) == 0).all()
    reader.close()


def test_shared_chromosomes_come_in_the_order_of_the_genome(inputs):
    reader = opened(inputs.bigwig("a.bw", sizes={"chrM": 400, "chrX": 9, "chr1": 3_000}))
    assert reader.chromosomes == ("chr1", "chrM")
    reader.close()


def test_chromosomes_are_found_under_other_names(inputs):
    path = inputs.bigwig("a.bw", sizes={"MT": 400, "1": 3_000})
    np.testing.assert_array_equal(values_of(path, "chr1"), np.nan_to_num(py_big_wig(path, "1")))
    np.testing.assert_array_equal(values_of(path, "chrM"), np.nan_to_num(py_big_wig(path, "MT")))


def test_no_chromosome_in_common_names_both_sides(inputs):
    path = inputs.bigwig("a.bw", sizes={"A": 3_000, "B": 1_500})
    with pytest.raises(InputError, match=r"a\.bw: no chromosome in common.*file has A, B, the genome chr1, chr2, chrM"):
        opened(path)


@pytest.mark.parametrize("size", [1_501, 1_499])
def test_chromosome_of_another_size_is_another_assembly(inputs, size):
    path = inputs.bigwig("a.bw", sizes={"chr1": 3_000, "chr2": size})
    with pytest.raises(
        InputError,
        match=rf"a\.bw: chromosome chr2 has {size:,} bp; the genome's chr2 has 1,500 bp; is it another assembly\?",
    ):
        opened(path)


CUTS = [1, 3, 4, 40, 63, 64, 65, 100, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99, -5_000, -100, -40, -8, -4, -1]


@pytest.mark.parametrize("kept", CUTS)
@pytest.mark.parametrize("writer", ["pyBigWig", "by hand", "big-endian"])
def test_file_cut_anywhere_is_refused(inputs, kept, writer):
    path = inputs.folder / "cut.bw"
    if writer == "pyBigWig":
        path = inputs.bigwig("cut.bw", {"chr1": inputs.signal(3_000)})
    else:
        sections = [Section("chr1", FIXED_STEP, [(float(v),) for v in inputs.rng.random(2_900)], start=9)]
        bigwig_writer.write(path, SIZES, sections, order="<" if writer == "by hand" else ">")
    whole = path.read_bytes()
    end = int(len(whole) * kept) if isinstance(kept, float) else kept
    path.write_bytes(whole[:end])
    with pytest.raises(InputError, match=r"cut\.bw: (truncated|no bigWig header|empty)"):
        opened(path)


def test_damaged_block_of_data_names_the_place(inputs):
    damaged = bytearray(inputs.bigwig("a.bw").read_bytes())
    index_at = struct.unpack("<Q", damaged[24:32])[0]
    for i in range(index_at - 40, index_at):
        damaged[i] ^= 0xFF
    path = inputs.folder / "damaged.bw"
    path.write_bytes(damaged)
    assert values_of(path, "chr1").any()
    with pytest.raises(InputError, match=r"damaged\.bw: chrM:\d+-\d+: damaged block at byte [\d,]+"):
        values_of(path, "chrM")


@pytest.mark.parametrize(
    ("at", "change"),
    [(0, struct.pack("<I", 1)), (20, b"\x09"), (20, b"\x00"), (22, struct.pack("<H", 4_000))],
    ids=["of another chromosome", "of an unknown kind", "of kind 0", "of more items than it holds"],
)
def test_block_that_is_not_what_the_index_says_names_the_place(tmp_path, at, change):
    path = bigwig_writer.write(tmp_path / "a.bw", SIZES, SECTIONS[:1], compressed=False)
    content = bytearray(path.read_bytes())
    index_at = struct.unpack("<Q", content[24:32])[0]
    block = index_at - 24 - 36
    content[block + at : block + at + len(change)] = change
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.bw: chr1:5-1,000: damaged block at byte {block:,}"):
        values_of(path, "chr1")


@examples(60)
@given(st.data())
def test_any_damaged_byte_is_refused_or_read_without_another_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged_anywhere.bw"
    layout = data.draw(st.sampled_from(list(LAYOUTS.values())))
    content = bytearray(bigwig_writer.write(path, SIZES, SECTIONS, **layout).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)

    def said(work: Callable[[], object]) -> str:
        """What is refused; any other error fails the test."""
        try:
            work()
        except InputError as error:
            return str(error)
        return f"{path}: "

    readers: list[BigWig] = []
    assert said(lambda: readers.append(opened(path, negative="auto_minus"))).startswith(f"{path}: ")
    for reader in readers:
        for name in reader.chromosomes:
            assert said(partial(reader.read, name, 0, SIZES[name])).startswith(f"{path}: ")
        reader.close()


@pytest.mark.parametrize("tree", ["chromosomes", "index"])
def test_tree_that_bites_its_tail_is_refused(tmp_path, tree):
    path = bigwig_writer.write(tmp_path / "a.bw", SIZES, SECTIONS, fanout=2)
    content = bytearray(path.read_bytes())
    if tree == "chromosomes":
        root = struct.unpack("<Q", content[8:16])[0] + 32
        first_child = root + 4 + len("chr1")
    else:
        root = struct.unpack("<Q", content[24:32])[0] + 48
        first_child = root + 4 + 16
    assert content[root] == 0
    content[first_child : first_child + 8] = struct.pack("<Q", root)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.bw: damaged chromosome list or index \(endless"):
        opened(path)


@pytest.mark.parametrize(
    ("content", "expects"),
    [
        (b"chr1\t0\t5\t1.0\n" * 20, "no bigWig header"),
        (struct.pack("<I", 0x8789F2EB) + bytes(500), "a bigBed file"),
        (struct.pack(">I", 0x8789F2EB) + bytes(500), "a bigBed file"),
        (b"", "empty file"),
    ],
    ids=["bedGraph", "bigBed", "big-endian bigBed", "empty"],
)
def test_other_file_is_refused(inputs, content, expects):
    path = inputs.folder / "other.bw"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"other\.bw: {expects}"):
        opened(path)


def test_missing_file_is_refused(inputs):
    with pytest.raises(MissingFileError, match=r"none\.bw"):
        opened(inputs.folder / "none.bw")


# Any signal


@st.composite
def sections(draw: st.DrawFn) -> list[Section]:
    """Sections of every kind that do not overlap, on any of the chromosomes."""
    value = st.floats(width=32, allow_infinity=False)
    found = []
    for name, size in SIZES.items():
        at = 0
        while draw(st.booleans()) and at < size - 60:
            kind = draw(st.sampled_from([BEDGRAPH, VARIABLE_STEP, FIXED_STEP]))
            at += draw(st.integers(0, size - 60 - at))
            span, gap, count = draw(st.integers(1, 5)), draw(st.integers(0, 5)), draw(st.integers(1, 6))
            starts = [at + i * (span + gap) for i in range(count)]
            values = [draw(value) for _ in starts]
            if kind == BEDGRAPH:
                items = [(s, s + span, v) for s, v in zip(starts, values, strict=True)]
            elif kind == VARIABLE_STEP:
                items = list(zip(starts, values, strict=True))
            else:
                items = [(v,) for v in values]
            found.append(Section(name, kind, items, at, span + gap, span))
            at = starts[-1] + span
    return found


@given(sections(), st.sampled_from(list(LAYOUTS.values())))
def test_any_signal_is_what_py_big_wig_says(tmp_path_factory, drawn, layout):
    folder = tmp_path_factory.getbasetemp()
    path = bigwig_writer.write(folder / "any.bw", SIZES, drawn, **layout)
    same = bigwig_writer.write(folder / "same.bw", SIZES, drawn)
    for name in SIZES:
        expected = np.full(SIZES[name], np.nan, np.float32)
        for section in drawn:
            if section.chromosome == name:
                for start, end, value in section.places():
                    expected[start:end] = value
        np.testing.assert_array_equal(py_big_wig(same, name), expected)
        np.testing.assert_array_equal(values_of(path, name, missing="nan"), expected)
        np.testing.assert_array_equal(values_of(path, name), np.nan_to_num(expected))
