"""bedGraph files against pyBigWig's reading of the same intervals, and damaged ones."""

from __future__ import annotations

import gzip
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError
from db_ingest.formats import bedgraph, spool
from db_ingest.formats.base import SignalReader
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

STRETCH = 1 << 20
SIZES = {"chr1": 3 * STRETCH + 10, "chr2": STRETCH, "chr3": 50}
NAMING = Naming(Genome(tuple(SIZES), tuple(SIZES.values())))
OPTIONS = {"negative": "keep", "missing": "nan"}


def write(path: Path, rows, separator: str = "\t") -> Path:
    text = "".join(separator.join(map(str, row)) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def bigwig(path: Path, rows) -> dict[str, np.ndarray]:
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(SIZES.items()))
        for name in SIZES:
            here = [row for row in rows if row[0] == name]
            if here:
                starts, ends, values = zip(*[row[1:] for row in here], strict=True)
                file.addEntries([name] * len(here), list(starts), ends=list(ends), values=[float(v) for v in values])
    with pyBigWig.open(str(path)) as file:
        return {name: file.values(name, 0, size, numpy=True) for name, size in SIZES.items()}


@st.composite
def tracks(draw) -> list[tuple[str, int, int, float]]:
    rows = []
    for name in draw(st.permutations(list(SIZES))):
        size = SIZES[name]
        place = st.integers(0, size) | st.sampled_from(range(0, size, STRETCH)) | st.just(size)
        borders = sorted(draw(st.sets(place, min_size=2, max_size=12)))
        for start, end in pairwise(borders):
            if draw(st.booleans()):
                rows.append((name, start, end, draw(st.floats(-1e6, 1e6, width=32))))
    return rows or [("chr3", 0, 50, 1.5)]


@examples(10)
@given(tracks(), st.data())
def test_values_are_those_of_a_bigwig_of_the_same_intervals(rows, data):
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.bg", rows, data.draw(st.sampled_from(["\t", " "])))
        reader = bedgraph.open_signal(path, NAMING, OPTIONS)
        expected = bigwig(Path(folder) / "a.bw", rows)
    assert isinstance(reader, SignalReader)
    assert reader.chromosomes == tuple(name for name in SIZES if any(row[0] == name for row in rows))
    for name in reader.chromosomes:
        start, end = sorted(data.draw(st.tuples(st.integers(0, SIZES[name]), st.integers(0, SIZES[name]))))
        for begin, stop in ((0, SIZES[name]), (start, end)):
            values = reader.read(name, begin, stop)
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, expected[name][begin:stop])
    assert reader.summary["minimum"] == min(row[3] for row in rows)
    assert reader.summary["maximum"] == max(row[3] for row in rows)
    reader.close()


def test_large_file_goes_through_scratch_space(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(spool.Spool.__init__, "__defaults__", (1 << 16,))
    borders = np.sort(rng.choice(SIZES["chr1"], 20_000, replace=False))
    values = np.round(rng.normal(size=19_999), 4)
    rows = [("chr1", *row) for row in zip(borders[:-1].tolist(), borders[1:].tolist(), values.tolist(), strict=True)]
    reader = bedgraph.open_signal(write(tmp_path / "a.bg.gz", rows), NAMING, OPTIONS)
    assert reader.on_disk > 0
    expected = bigwig(tmp_path / "a.bw", rows)["chr1"]
    for start in range(0, SIZES["chr1"], 1_000_003):
        end = min(start + 1_000_003, SIZES["chr1"])
        np.testing.assert_array_equal(reader.read("chr1", start, end), expected[start:end])
    reader.close()


def read(tmp_path: Path, rows, **options) -> bedgraph.BedGraph:
    return bedgraph.open_signal(write(tmp_path / "a.bg", rows), NAMING, OPTIONS | options)


def test_bases_without_a_value_are_zero_or_nan(tmp_path):
    rows = [("3", 1, 3, 2), ("scaffold", 5, 9, -7)]
    nan = read(tmp_path, rows)
    assert nan.chromosomes == ("chr3",)
    assert nan.summary == {"absolute": False, "minimum": -7, "maximum": 2, "elsewhere": 1}
    np.testing.assert_array_equal(nan.read("chr3", 0, 5), [np.nan, 2, 2, np.nan, np.nan])
    assert read(tmp_path, rows, missing="zero").read("chr3", 0, 5).tolist() == [0, 2, 2, 0, 0]
    assert nan.read("chr3", 3, 3).shape == (0,)


@pytest.mark.parametrize(
    ("values", "negative", "expected"),
    [
        ((-2, -1), "keep", (-2, -1)),
        ((-2, -1), "absolute", (2, 1)),
        ((-2, -1), "auto_minus", (2, 1)),
        ((-2, 0), "auto_minus", (2, 0)),
        ((-2, 1), "auto_minus", (-2, 1)),
        ((-2, 1), "absolute", (2, 1)),
        ((0, 0), "auto_minus", (0, 0)),
        ((2, 1), "auto_minus", (2, 1)),
    ],
)
def test_negative_values_of_a_minus_strand_are_made_positive(tmp_path, values, negative, expected):
    reader = read(tmp_path, [("chr3", 0, 1, values[0]), ("chr3", 1, 2, values[1])], negative=negative)
    assert tuple(reader.read("chr3", 0, 2)) == expected
    assert reader.summary["absolute"] == (negative == "absolute" or values != expected)
    assert (reader.summary["minimum"], reader.summary["maximum"]) == (min(values), max(values))
    assert reader.counts == (min(expected) >= 0)


@pytest.mark.parametrize(("value", "counts"), [(65_534, True), (65_535, False), (1.5, False), (-1, False), (0, True)])
def test_whole_numbers_that_16_bits_hold_are_counts(tmp_path, value, counts):
    assert read(tmp_path, [("chr3", 0, 1, 3), ("chr3", 1, 2, value)]).counts is counts


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["chr1 5 9 1", "chr1 8 12 1"], "a.bg:2: chr1 8 12: begins before base 9, where the interval before it ends"),
        (["chr1 5 9 1", "chr1 1 3 1"], "a.bg:2: chr1 1 3: begins before base 9"),
        (["chr1 5 9 1", "chr2 1 3 1", "#", "chr1 9 10 1"], "a.bg:4: chr1 9 10: the chromosome was left before"),
        (["x 5 9 1", "chr2 1 3 1", "x 9 10 1"], "a.bg:3: x 9 10: the chromosome was left before"),
        (["chr1 5 9 1", "1 9 10 1"], "a.bg: chr1 and 1 both mean the genome's chr1"),
        (["chr1 5 5 1"], "a.bg:1: chr1 5 5: the end must lie above the start"),
        (["chr1 -1 5 1"], "a.bg:1: chr1 -1 5: the start is below 0"),
        (["chr3 49 51 1"], "a.bg:1: chr3 49 51: the end lies past the chromosome's 50 bp"),
        (["chr3 0 1 1", "chr3 1 2 nan"], "a.bg:2: value (column 4) is 'nan'; expected a finite number"),
        (["chr3 0 1 -inf"], "a.bg:1: value (column 4) is '-inf'; expected a finite number"),
        (["chr3 0 1"], "a.bg:1: 3 column(s); expected chromosome, start, end and value"),
        (["scaffold 0 1 1"], "a.bg: no chromosome in common with the genome; the file has scaffold"),
        (["track type=bedGraph"], "a.bg: no lines of data in it; expected a bedGraph file"),
    ],
)
def test_what_is_no_bedgraph_is_refused_with_its_line(tmp_path, rows, message):
    with pytest.raises(InputError) as caught:
        read(tmp_path, [row.split() for row in rows])
    assert message in str(caught.value)
    with pytest.raises(InputError) as caught:
        bedgraph.check_signal(tmp_path / "a.bg", NAMING, OPTIONS)
    assert message in str(caught.value)


def test_order_is_checked_across_blocks(tmp_path, monkeypatch):
    from db_ingest.formats.text import rows

    monkeypatch.setattr(rows, "BLOCK", 64)
    rows = [("chr1", i, i + 1, 1) for i in range(40)]
    assert read(tmp_path, rows).read("chr1", 0, 40).sum() == 40
    for bad, message in ((("chr1", 39, 41, 1), "a.bg:41: chr1 39 41: begins before base 40"),):
        with pytest.raises(InputError, match=message):
            read(tmp_path, [*rows, bad])
    with pytest.raises(InputError, match="a.bg:81: chr1 50 51: the chromosome was left before"):
        read(tmp_path, [*rows, *(("chr2", *row[1:]) for row in rows), ("chr1", 50, 51, 1)])


def test_check_of_a_long_file_does_not_mind_that_it_begins_elsewhere(tmp_path):
    rows = [("scaffold", i, i + 1, 1) for i in range(100_000)]
    bedgraph.check_signal(write(tmp_path / "a.bg", [*rows, ("chr1", 0, 1, 1)]), NAMING, OPTIONS)
    bedgraph.check_signal(write(tmp_path / "b.bg", rows), NAMING, OPTIONS)
    with pytest.raises(InputError, match="b.bg: no chromosome in common"):
        bedgraph.open_signal(tmp_path / "b.bg", NAMING, OPTIONS)
