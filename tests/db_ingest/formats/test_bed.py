"""BED and narrowPeak files: what is read, and what is refused where."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats import bed
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

GENOME = Genome(("chr1", "chr2", "chr10"), (1_000, 500, 70), tile=64)


@st.composite
def peaks(draw) -> tuple:
    """One narrowPeak line on the genome."""
    name = draw(st.sampled_from(GENOME.names))
    start = draw(st.integers(0, GENOME.size(name) - 1))
    end = draw(st.integers(start + 1, GENOME.size(name)))
    label = draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8))
    strand = draw(st.sampled_from("+-."))
    score = draw(st.integers(0, 1000))
    values = draw(st.lists(st.floats(-1, 1e6, allow_nan=False), min_size=3, max_size=3))
    summit = draw(st.integers(-1, end - start - 1))
    return (name, start, end, label, score, strand, *values, summit)


def in_order(rows: list[tuple]) -> list[tuple]:
    return sorted(rows, key=lambda row: (GENOME.names.index(row[0]), row[1]))


@examples(60)
@given(st.lists(peaks(), min_size=1, max_size=20))
def test_narrow_peaks_written_and_read_are_the_same(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.narrowPeak"
        path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
        table = bed.read(path, GENOME)
    expected = in_order(rows)
    got = zip(
        [GENOME.names[i] for i in table.chromosome],
        table.start.tolist(),
        table.end.tolist(),
        table.name,
        table.score.tolist(),
        table.strand,
        table.signal_value.tolist(),
        table.p_value.tolist(),
        table.q_value.tolist(),
        table.summit.tolist(),
        strict=True,
    )
    # Floats may differ in the last bit: pandas' parser is not the one of repr.
    for row, wanted in zip(got, expected, strict=True):
        assert row[:4] + row[5:6] + row[9:] == wanted[:4] + wanted[5:6] + wanted[9:]
        assert row[4:5] + row[6:9] == pytest.approx(wanted[4:5] + wanted[6:9], rel=1e-12)
    centre = [row[1] + row[9] if row[9] >= 0 else (row[1] + row[2]) // 2 for row in expected]
    assert table.summit_or_centre.tolist() == centre


@examples(30)
@given(st.lists(peaks(), min_size=1, max_size=20))
def test_spans_are_the_union_on_the_position_axis(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.bed"
        path.write_text("".join("\t".join(map(str, row[:3])) + "\n" for row in rows))
        spans = bed.read(path, GENOME).spans(GENOME)
    expected, found = np.zeros((2, GENOME.length), bool)
    for name, start, end in (row[:3] for row in rows):
        expected[GENOME.offset(name) + start : GENOME.offset(name) + end] = True
    for start, end in zip(*spans, strict=True):
        found[start:end] = True
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["p.bed", "p.bed.gz"])
def test_comments_track_and_browser_lines_are_skipped_plain_and_gzipped(inputs, name):
    lines = ["browser position chr1:1-9", 'track name="x"', "#c", "", ("chr1", 5, 9), "# c", ("chr2", 0, 500)]
    table = bed.read(inputs.bed(name, lines), GENOME)
    assert table.start.tolist() == [5, 0]
    assert table.end.tolist() == [9, 500]


def test_missing_columns_are_dots_and_nan(inputs):
    table = bed.read(inputs.bed("p.bed", [("chr1", 5, 9)]), GENOME)
    assert (table.name[0], table.strand[0], table.summit[0]) == (".", ".", -1)
    assert np.isnan([table.score[0], table.signal_value[0], table.p_value[0], table.q_value[0]]).all()


def test_columns_may_be_separated_by_spaces_and_lines_end_in_crlf(inputs):
    table = bed.read(inputs.text("p.bed", "chr1 5  9 a\r\nchr1 1 3 b\r\n"), GENOME)
    assert table.start.tolist() == [1, 5]
    assert table.name.tolist() == ["b", "a"]


def test_intervals_on_other_chromosomes_are_left_out_and_counted(inputs):
    table = bed.read(inputs.bed("p.bed", [("chrUn", 5, 9_999_999), ("chr2", 3, 4), ("chrX", 1, 2)]), GENOME)
    assert (len(table), table.elsewhere) == (1, 2)
    assert GENOME.names[table.chromosome[0]] == "chr2"


def test_overlapping_and_equal_intervals_all_stay(inputs):
    rows = [("chr1", 5, 9, "a"), ("chr1", 5, 9, "b"), ("chr1", 0, 1000, "c")]
    table = bed.read(inputs.bed("p.bed", rows), GENOME)
    assert table.name.tolist() == ["c", "a", "b"]


def test_last_column_is_the_summit_of_any_table_when_asked(inputs):
    path = inputs.bed("p.bed", [("chr1", 5, 9, 3), ("chr1", 20, 30, -1)])
    assert bed.read(path, GENOME, summit="last_col").summit_or_centre.tolist() == [8, 25]
    assert bed.read(path, GENOME).summit.tolist() == [-1, -1]


def test_summit_of_a_narrow_peak_can_be_left_unread(inputs):
    path = inputs.bed("p.bed", [("chr1", 5, 9, "p", 0, ".", 1, 2, 3, 2)])
    assert bed.read(path, GENOME).summit.tolist() == [2]
    assert bed.read(path, GENOME, summit="none").summit.tolist() == [-1]


NARROW = ("p", 0, ".", 1, 2, 3)


@pytest.mark.parametrize(
    ("line", "expects"),
    [
        ("chr1\t9\t5", "chr1 9 5: the end must lie above the start"),
        ("chr1\t9\t9", "chr1 9 9: the end must lie above the start"),
        ("chr2\t9\t501", "chr2 9 501: the end lies past the chromosome's 500 bp"),
        ("chr2\t500\t501", "chr2 500 501: it lies past the chromosome's 500 bp"),
        ("chr1\t-1\t5", "chr1 -1 5: the start is below 0"),
        ("chr1\t1\tfive", "end (column 3) is 'five'; expected a whole number"),
        ("chr1\t1.5\t9", "start (column 2) is '1.5'; expected a whole number"),
        ("chr1\t1\t1e30", "end (column 3) is '1e30'; expected a whole number"),
        ("chr1\t1\tinf", "end (column 3) is 'inf'; expected a whole number"),
        ("chr1\t1", "fewer columns than the first line's 3"),
        ("chr1\t1\t5\textra", "more columns than the first line's 3"),
    ],
)
def test_line_that_is_no_interval_is_named(inputs, line, expects):
    path = inputs.bed("p.bed", ["# head", ("chr1", 1, 5), "track x", line, ("chr1", 5, 9)])
    with pytest.raises(InputError) as caught:
        bed.read(path, GENOME)
    assert str(caught.value).startswith(f"{path}:4: ")
    assert expects in str(caught.value)


@pytest.mark.parametrize(
    ("summit", "expects"),
    [(-2, "summit offset -2; expected -1"), (4, "summit offset 4 lies outside"), ("x", "(column 10) is 'x'")],
)
def test_summit_outside_the_peak_is_refused(inputs, summit, expects):
    path = inputs.bed("p.bed", [("chr1", 1, 5, *NARROW, 3), ("chr1", 5, 9, *NARROW, summit)])
    with pytest.raises(InputError) as caught:
        bed.read(path, GENOME)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert expects in str(caught.value)


def test_file_without_a_summit_column_is_refused_when_one_is_asked(inputs):
    path = inputs.bed("p.bed", [("chr1", 1, 5)])
    with pytest.raises(InputError, match=r"p\.bed:1: 3 columns; expected a summit"):
        bed.read(path, GENOME, summit="last_col")


def test_no_chromosome_in_common_names_both_sides(inputs):
    path = inputs.bed("p.bed", [("NC_1", 1, 5), ("NC_2", 1, 5)])
    with pytest.raises(
        InputError, match=r"p\.bed: no chromosome in common.*file has NC_1, NC_2, the genome chr1, chr2, chr10"
    ):
        bed.read(path, GENOME)


def test_chromosomes_go_by_their_aliases(inputs):
    path = inputs.bed("p.bed", [("1", 1, 5), ("01", 2, 6), ("NC_2", 3, 7), ("chr10", 4, 8)])
    table = bed.read(path, Naming(GENOME, {"NC_2": "chr2"}))
    assert table.chromosome.tolist() == [0, 0, 1, 2]
    assert table.start.tolist() == [1, 2, 3, 4]
    assert bed.read(path, GENOME).elsewhere == 1


@pytest.mark.parametrize("lines", [["track x"], ["# only", "", "browser y"], [" "]])
def test_file_without_intervals_is_refused(inputs, lines):
    with pytest.raises(InputError, match=r"p\.bed: no intervals"):
        bed.read(inputs.bed("p.bed", lines), GENOME)


def test_file_that_is_no_text_or_not_there_is_refused(inputs):
    with pytest.raises(MissingFileError):
        bed.read(inputs.folder / "none.bed", GENOME)
    with pytest.raises(InputError, match="empty file"):
        bed.read(inputs.text("e.bed", ""), GENOME)
    with pytest.raises(InputError, match="binary"):
        bed.read(inputs.bigwig("a.bw"), GENOME)
    with pytest.raises(InputError, match="2 column"):
        bed.read(inputs.text("t.bed", "hello world\n"), GENOME)


def test_damaged_gzip_is_refused(inputs):
    whole = inputs.bed("p.bed.gz", [("chr1", i, i + 5) for i in range(500)]).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for damaged in (whole[: len(whole) // 2], whole[:-4], bytes(flipped)):
        path = inputs.folder / "d.bed.gz"
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"d\.bed\.gz: broken or truncated gzip"):
            bed.read(path, GENOME)


def test_a_line_with_fewer_columns_than_the_first_is_refused_with_its_number(tmp_path):
    path = tmp_path / "short.bed"
    path.write_text("# a comment\nchr1\t0\t10\ta\t0\t+\nchr1\t20\t30\n")
    with pytest.raises(InputError, match=r"short.bed:3: fewer columns than the first line's 6"):
        bed.read(path, Genome(("chr1",), (100,)))


def test_a_score_that_is_no_number_is_refused_and_a_dot_is_missing(tmp_path):
    path = tmp_path / "score.bed"
    path.write_text("chr1\t0\t10\ta\t.\nchr1\t20\t30\tb\t7\n")
    assert np.isnan(bed.read(path, Genome(("chr1",), (100,))).score[0])
    path.write_text("chr1\t0\t10\ta\tx\n")
    with pytest.raises(InputError, match=r"score.bed:1: score \(column 5\) is 'x'; expected a number"):
        bed.read(path, Genome(("chr1",), (100,)))


@examples(60)
@given(
    rows=st.lists(peaks(), min_size=1, max_size=12),
    between=st.lists(
        st.sampled_from(["", "  ", "\t", "#c\t1\t2", "track name=x", "track", "browser hide all"]), max_size=12
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    separator=st.sampled_from(["\t", "  "]),
    at_end=st.sampled_from(["", "\t"]),
    last=st.booleans(),
)
def test_any_spelling_of_the_lines_reads_the_same(rows, between, end, separator, at_end, last):
    lines = []
    for i, row in enumerate(rows):
        lines += between[i : i + 1]
        lines.append(separator.join(map(str, row)) + at_end)
    lines += between[len(rows) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.narrowPeak"
        path.write_bytes((end.join(lines) + end * last).encode())
        table = bed.read(path, GENOME, layout="narrowpeak")
        broken = Path(folder) / "broken.narrowPeak"
        broken.write_bytes(end.join([*lines, separator.join(map(str, ("chr1", 7, 7, *rows[0][3:-1], -1)))]).encode())
        with pytest.raises(InputError, match=rf"broken\.narrowPeak:{len(lines) + 1}: "):
            bed.read(broken, GENOME)
    expected = in_order(rows)
    assert table.start.tolist() == [row[1] for row in expected]
    assert table.name.tolist() == [row[3] for row in expected]
    assert table.summit.tolist() == [row[9] for row in expected]


def test_names_that_begin_like_a_track_line_are_chromosomes(inputs):
    path = inputs.bed("p.bed", [("track1", 1, 5), ("browser_2", 2, 3), ("#x", 1, 2)])
    table = bed.read(path, Genome(("track1", "browser_2"), (9, 9)))
    assert table.end.tolist() == [5, 3]


def test_whole_numbers_in_exponent_notation_are_read(inputs):
    table = bed.read(inputs.bed("p.bed", [("chr1", "1e+02", "2.0e2", "a", "1e2"), ("chr1", 7, 8, "b", ".")]), GENOME)
    assert (table.start.tolist(), table.end.tolist()) == ([7, 100], [8, 200])
    np.testing.assert_array_equal(table.score, [np.nan, 100])


@pytest.mark.parametrize("colour", [["255,0,0", "0,0,0"], ["0", "255,0,0"]])
def test_nine_columns_with_a_colour_are_no_broad_peaks(inputs, colour):
    rows = [("chr1", 1, 5, "a", 0, "+", 1, 5, rgb) for rgb in colour]
    path = inputs.bed("p.bed", rows)
    assert np.isnan(bed.read(path, GENOME).signal_value).all()
    with pytest.raises(InputError, match=r"p\.bed:[12]: qValue \(column 9\) is '255,0,0'; expected a number"):
        bed.read(path, GENOME, layout="broadpeak")


def test_broad_peaks_have_values_and_no_summits(inputs):
    table = bed.read(inputs.bed("p.bed", [("chr1", 1, 5, "a", 0, "+", 1.5, 2, 3)]), GENOME, layout="broadpeak")
    assert (table.signal_value[0], table.p_value[0], table.q_value[0], table.summit[0]) == (1.5, 2, 3, -1)


@pytest.mark.parametrize(
    ("layout", "width", "expected"), [("narrowpeak", 9, 10), ("narrowpeak", 6, 10), ("broadpeak", 10, 9)]
)
def test_peaks_of_another_width_than_their_type_are_refused(inputs, layout, width, expected):
    path = inputs.bed("p.bed", ["track x", ("chr1", 1, 5, *NARROW, 3)[:width]])
    with pytest.raises(InputError, match=rf"p\.bed:2: {width} columns; expected the {expected} "):
        bed.read(path, GENOME, layout=layout)


def test_summits_at_the_edges_of_peaks_and_chromosomes_stay(inputs):
    rows = [("chr2", 0, 500, *NARROW, 0), ("chr2", 0, 500, *NARROW, 499), ("chr2", 0, 500, *NARROW, -1)]
    table = bed.read(inputs.bed("p.bed", rows), GENOME, layout="narrowpeak")
    assert table.summit_or_centre.tolist() == [0, 499, 250]


@pytest.mark.parametrize("text", ["", "\n\n", "track x\n#\n"])
@pytest.mark.parametrize("name", ["p.bed", "p.bed.gz"])
def test_file_without_intervals_is_an_empty_table_where_allowed(inputs, text, name):
    table = bed.read(inputs.text(name, text), GENOME, empty="allow")
    assert (len(table), table.elsewhere) == (0, 0)
    assert [len(part) for part in table.spans(GENOME)] == [0, 0]
    assert table.summit_or_centre.dtype == np.int64


def test_missing_file_is_no_empty_table(inputs):
    with pytest.raises(MissingFileError):
        bed.read(inputs.folder / "none.bed", GENOME, empty="allow")


def test_ends_past_the_chromosome_are_cut_where_asked(inputs):
    path = inputs.bed(
        "p.bed", [("chr2", 400, 501, *NARROW, 99), ("chrUn", 1, 9, *NARROW, 1), ("chr1", 1, 3, *NARROW, 1)]
    )
    table = bed.read(path, GENOME, past_end="clip")
    assert (table.end.tolist(), table.clipped, table.elsewhere) == ([3, 500], 1, 1)
    with pytest.raises(InputError, match=r"summit offset 100 lies outside"):
        bed.read(inputs.bed("q.bed", [("chr2", 400, 501, *NARROW, 100)]), GENOME, past_end="clip")
    with pytest.raises(InputError, match=r"chr2 500 501: it lies past the chromosome's 500 bp"):
        bed.read(inputs.bed("r.bed", [("chr2", 500, 501)]), GENOME, past_end="clip")


def test_nine_columns_are_read_without_their_values(inputs):
    rows = [("chr1", 1, 5, "a", 0, "+", 1.5, 2, "255,0,0")]
    table = bed.read(inputs.bed("p.bed", rows), GENOME, summit="none")
    assert (len(table), np.isnan(table.q_value[0])) == (1, True)
