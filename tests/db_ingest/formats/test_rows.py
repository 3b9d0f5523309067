"""Tables of text against Python's own splitting and parsing, and damaged ones."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pysam
import pytest
from chance import examples
from hypothesis import example, given
from hypothesis import strategies as st

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats.text.rows import HEAD, read_rows
from db_ingest.formats.text.words import ChromosomeNames
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

GENOME = Genome(("chr1", "chr2"), (1_000, 500))
QUICK = examples(25)


def read(path: Path, least: int = 3, **options) -> list[tuple[int, list[str]]]:
    """Lines and their fields."""
    found = []
    for rows in read_rows(path, "a table", least=least, most=50, expected="columns", **options):
        width = rows.first.shape[0]
        found += [(rows.line(i), [rows.field(i, j) for j in range(width)]) for i in range(len(rows))]
    return found


def save(folder: Path, content: bytes, packing: str) -> Path:
    path = folder / f"table.{packing}"
    if packing == "gzip":
        path.write_bytes(gzip.compress(content))
    elif packing == "members":
        half = len(content) // 2
        path.write_bytes(gzip.compress(content[:half]) + gzip.compress(content[half:]))
    elif packing == "bgzip":
        with pysam.BGZFile(str(path), "wb") as file:
            file.write(content)
    else:
        path.write_bytes(content)
    return path


FIELD = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x24F, exclude_characters="#\x7f\x85\xa0"), min_size=1, max_size=9
)
SKIPPED = st.sampled_from(
    ["", "  ", "\t", "# a comment\twith tab", "#", "track type=x", "track", "browser position chr1:1-2"]
)


@st.composite
def tables(draw) -> tuple[str, list[tuple[int, list[str]]]]:
    separator = draw(st.sampled_from(["\t", " ", "  \t "]))
    separator = separator if separator != "  \t " else "  "
    width = draw(st.integers(3, 6))
    field = FIELD if separator != "\t" else st.one_of(FIELD, st.just(""), st.just("two words"))
    first = FIELD.filter(lambda word: word not in ("track", "browser"))
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    lines, expected = [], []
    for number in range(1, draw(st.integers(1, 30)) + 1):
        if number > 1 and draw(st.integers(0, 4)) == 0:
            lines.append(draw(SKIPPED))
            continue
        fields = [draw(first), *draw(st.lists(field, min_size=width - 1, max_size=width - 1))]
        lines.append(separator.join(fields))
        expected.append((number, fields))
    last = draw(st.sampled_from(["", ending]))
    return ending.join(lines) + last, expected


@QUICK
@given(tables(), st.sampled_from(["plain", "gzip", "members", "bgzip"]), st.sampled_from([1 << 9, 1 << 11, 1 << 16]))
def test_fields_and_line_numbers_are_those_of_the_lines(table, packing, block):
    content, expected = table
    with tempfile.TemporaryDirectory() as folder:
        assert read(save(Path(folder), content.encode(), packing), block=block) == expected


def column(tmp: str, fields: list[str], kind: str) -> list:
    path = Path(tmp) / "column.tsv"
    path.write_text("".join(f"a\t{field}\tb\n" for field in fields))
    (rows,) = read_rows(path, "a table", least=3, most=3, expected="columns")
    return getattr(rows, kind)(1, "value").tolist()


@QUICK
@given(
    st.lists(
        st.integers(-(2**53), 2**53).map(lambda n: (n, f"{n}"))
        | st.sampled_from([(7, "+7"), (7, "007"), (100_000, "1e+05"), (12, "12.0"), (0, "-0")]),
        min_size=1,
    )
)
def test_whole_numbers_are_exact(pairs):
    with tempfile.TemporaryDirectory() as folder:
        assert column(folder, [field for _, field in pairs], "whole") == [number for number, _ in pairs]


DECIMALS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-", "+"]),
    st.from_regex(r"\A[0-9]{1,12}(\.[0-9]{0,12})?\Z"),
    st.sampled_from(["", "", "e", "E-", "e+"]),
    st.just(""),
).flatmap(
    lambda start: st.integers(0, 25).map(lambda power: f"{start}{power}") if start[-1] in "eE-+" else st.just(start)
)


@examples(40)
@given(
    st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr)
        | st.floats(-1e38, 1e38).map(repr)
        | DECIMALS
        | st.floats(-1e9, 1e9).map("{:.5f}".format),
        min_size=1,
        max_size=30,
    )
)
@example(
    ["18446744073709551616", "0.30456852791878173", "9007199254740993", "9007199254740993e22", "1e-320", ".5", "5."]
)
@example(["123456789012345678901234567890", "0.000000000000000000000000000001", "1" + "0" * 30, "0" * 30 + "1"])
def test_numbers_are_the_nearest_float64_as_python_reads_them(fields):
    with tempfile.TemporaryDirectory() as folder:
        np.testing.assert_array_equal(column(folder, fields, "number"), [float(field) for field in fields])


def test_numbers_between_two_float64_round_as_python_rounds(rng, tmp_path):
    # 17 to 19 digits: the quotients lie close to the middle of two float64 now and then.
    digits = rng.integers(2**53, 10**18, 20_000)
    fields = [f"{n}e{power}" for n, power in zip(digits, rng.integers(-22, 20, len(digits)), strict=True)]
    np.testing.assert_array_equal(column(str(tmp_path), fields, "number"), [float(field) for field in fields])


@pytest.mark.parametrize(
    "field", ["x", "", "1.5", "1e400", "0x10", "1_000", "--1", "+", "nan", "99999999999999999999", "1 2", "é"]
)
def test_what_is_no_whole_number_is_refused_with_its_line(tmp_path, field):
    path = tmp_path / "t.tsv"
    path.write_text(f"# header\n\na\t1\tc\nb\t{field}\tc\n")
    (rows,) = read_rows(path, "a table", least=3, most=3, expected="columns")
    with pytest.raises(InputError) as caught:
        rows.whole(1, "start")
    assert str(caught.value) == f"{path}:4: start (column 2) is {field!r}; expected a whole number"


@pytest.mark.parametrize(
    "field",
    ["nan", "NaN", "inf", "-Infinity", "1e39", "-3.5e38", "", "1e", "e5", "1.2.3", "1_0", ".", "0x1p3", "1e99999"],
)
def test_what_is_no_finite_number_is_refused_with_its_line(tmp_path, field):
    path = tmp_path / "t.tsv"
    path.write_text(f"a\t1\tc\nb\t{field}\tc\n")
    (rows,) = read_rows(path, "a table", least=3, most=3, expected="columns")
    with pytest.raises(InputError, match="t.tsv:2: value \\(column 2\\) is '.*'; expected a finite number$"):
        rows.number(1, "value")


def test_long_field_is_shortened_in_the_message(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(f"a\t{'x' * 1000}\tc\n")
    (rows,) = read_rows(path, "a table", least=3, most=3, expected="columns")
    with pytest.raises(InputError, match=f"is '{'x' * 40}…'; expected"):
        rows.whole(1, "start")


def test_strand_other_than_plus_and_minus_is_refused(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("a\t+\nb\t-\nc\t.\n")
    (rows,) = read_rows(path, "a table", least=2, most=2, expected="columns")
    with pytest.raises(InputError, match=r"t.tsv:3: strand \(column 2\) is '.'; expected \+ or -$"):
        rows.strand(1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("chr1\t1\n", "t:1: 2 column(s); expected columns"),
        ("#x\nchr1\t1\t2\nchr1\t1\t2\t3\n", "t:3: 4 column(s), more than the first row's 3"),
        ("chr1 1 2 3\n\nchr1 1 2\n", "t:3: 3 column(s), fewer than the first row's 4"),
        ("#x\n\n", "t: no lines of data in it; expected a table"),
        ("chr1\t1\0\t2\n", "t: binary content; expected a table"),
        ("", "t: empty file; expected a table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    path = tmp_path / "t"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{tmp_path}/{message}"


def test_absent_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="nowhere: no such file; expected a table"):
        read(tmp_path / "nowhere")


def test_line_longer_than_a_block_is_refused(tmp_path):
    path = tmp_path / "t"
    path.write_text("chr1\t1\t2\n" * 200 + "chr1\t1\t" + "2" * 2_000 + "\n")
    with pytest.raises(InputError, match=r"t:201: a line of more than 1,024 bytes; expected a table"):
        read(path, block=1 << 10)


@pytest.fixture
def lines() -> bytes:
    rng = np.random.default_rng(3)
    return b"".join(b"chr1\t%d\t%d\n" % tuple(pair) for pair in rng.integers(0, 10**9, (60_000, 2)))


def test_gzip_cut_short_is_refused_after_what_it_holds(tmp_path, lines):
    whole = gzip.compress(lines, 1)
    path = tmp_path / "t.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"t.gz: broken after line [123]\d,\d{3} \(.*end.*\); expected a table"):
        read(path)


def test_damaged_gzip_is_refused(tmp_path, lines):
    whole = bytearray(gzip.compress(lines, 1))
    whole[len(whole) // 2 :: 997] = b"\xff" * len(whole[len(whole) // 2 :: 997])
    path = tmp_path / "t.gz"
    path.write_bytes(whole)
    with pytest.raises(InputError, match="t.gz: broken after line"):
        read(path)


def test_gzip_with_a_wrong_checksum_is_refused(tmp_path, lines):
    whole = bytearray(gzip.compress(lines, 1))
    whole[-8] ^= 1
    path = tmp_path / "t.gz"
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"t.gz: broken after line \d+,\d{3} \(CRC"):
        read(path)


@pytest.mark.parametrize("where", ["between blocks", "within a block"])
def test_bgzip_cut_short_is_refused_at_once(tmp_path, lines, where):
    path = save(tmp_path, lines, "bgzip")
    whole = path.read_bytes()
    path.write_bytes(whole[:-28] if where == "between blocks" else whole[: len(whole) // 2])
    with pytest.raises(InputError, match="truncated at .* bytes; the end mark of .* is missing"):
        next(read_rows(path, "a table", least=3, most=3, expected="columns", head=True))


def test_head_is_the_first_mebibyte_of_whole_lines(tmp_path, lines):
    path = tmp_path / "t"
    path.write_bytes(lines)
    (rows,) = read_rows(path, "a table", least=3, most=3, expected="columns", head=True)
    assert not rows.is_last
    assert rows.text.tobytes() == lines[: lines.rfind(b"\n", 0, HEAD) + 1]


def test_small_file_is_its_own_head(tmp_path):
    path = tmp_path / "t"
    path.write_text("chr1\t1\t2")
    (rows,) = read_rows(path, "a table", least=3, most=3, expected="columns", head=True)
    assert rows.is_last
    assert len(rows) == 1


def test_long_header_alone_in_the_head_is_no_error(tmp_path):
    path = tmp_path / "t"
    path.write_text("# header\n" * 200_000 + "chr1\t1\t2\n")
    assert read(path, head=True) == []
    assert read(path) == [(200_001, ["chr1", "1", "2"])]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t-1\t5", "chr1 -1 5: the start is below 0"),
        ("chr1\t5\t5", "chr1 5 5: the end must lie above the start"),
        ("2\t499\t501", "2 499 501: the end lies past the chromosome's 500 bp"),
    ],
)
def test_what_is_no_interval_of_the_genome_is_refused(tmp_path, line, message):
    path = tmp_path / "t"
    path.write_text(f"chr1\t0\t1000\nchrUn\t0\t99999\n{line}\n")
    (rows,) = read_rows(path, "a table", least=3, most=3, expected="columns")
    with pytest.raises(InputError) as caught:
        rows.intervals(ChromosomeNames(Naming(GENOME)))
    assert str(caught.value) == f"{path}:3: {message}"


def test_chromosomes_are_found_by_the_names_of_the_file(tmp_path):
    path = tmp_path / "t"
    path.write_text("".join(f"{name}\t0\t1\n" for name in ("1", "chr2", "2_random", "1", "chr2")))
    names = ChromosomeNames(Naming(GENOME))
    (rows,) = read_rows(path, "a table", least=3, most=3, expected="columns")
    assert rows.intervals(names).place.tolist() == [0, 1, -1, 0, 1]
    assert names.match(path) == ("chr1", "chr2")
