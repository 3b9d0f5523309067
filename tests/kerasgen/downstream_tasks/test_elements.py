"""Elements and their labels from files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from db_ingest.errors import InputError
from db_ingest.layout.genome import Genome
from kerasgen.downstream_tasks.elements import Elements, read_elements
from kerasgen.downstream_tasks.settings import LabelSettings

GENOME = Genome(("chrI", "chrII"), (1000, 500))


def read(path: Path, text: str, **flags: object) -> Elements:
    path.write_text(text)
    return read_elements(path, GENOME, LabelSettings(**{"task": "regression", **flags}))  # type: ignore[arg-type]


def test_a_table_with_named_columns_in_any_order(tmp_path: Path) -> None:
    text = "gene\tstrand\tend\tlabel\tchrom\tstart\nG1\t+\t20\t1.5\tchrI\t10\nG2\t-\t90\t-2e1\tII\t80\n"
    found = read(tmp_path / "e.tsv", text)
    assert found.chromosome.tolist() == [0, 1]
    assert found.start.tolist() == [[10], [80]]
    assert found.end.tolist() == [[20], [90]]
    assert found.reverse.tolist() == [False, True]
    assert found.label.tolist() == [1.5, -20]
    assert found.line.tolist() == [2, 3]
    assert not found.are_pairs


def test_bed_by_column_number_gzipped_with_comments_and_spaces(tmp_path: Path) -> None:
    path = tmp_path / "e.bed.gz"
    path.write_bytes(gzip.compress(b"# made by hand\ntrack name=x\nchrI 10 20 a 0 -\n\nchrII 0 500 b 1 +\n"))
    found = read_elements(path, GENOME, LabelSettings(task="classification", label_column="5"))
    assert found.label.tolist() == [0, 1]
    assert found.name.tolist() == ["a", "b"]
    assert found.reverse.tolist() == [True, False]
    assert found.line.tolist() == [3, 5]


def test_a_header_after_a_hash(tmp_path: Path) -> None:
    found = read(tmp_path / "e.bed", "#chrom\tstart\tend\trna\nchrI\t1\t2\t3\nchrI\t4\t5\t6\n", label_column="rna")
    assert found.label.tolist() == [3, 6]


def test_pairs_by_header_and_by_name_of_the_file(tmp_path: Path) -> None:
    rows = "chrI\t10\t20\tchrI\t500\t600\tp1\t1\nchrI\t700\t720\tchrI\t30\t40\tp2\t0\n"
    header = "chrom1\tstart1\tend1\tchrom2\tstart2\tend2\tname\tlabel\n"
    named = read(tmp_path / "pairs.tsv", header + rows, task="classification")
    plain = read(tmp_path / "x.bedpe", rows, task="classification", label_column="8")
    for found in (named, plain):
        assert found.are_pairs
        assert found.start.tolist() == [[10, 500], [700, 30]]
        assert found.end.tolist() == [[20, 600], [720, 40]]
        assert found.label.tolist() == [1, 0]
        low, high = found.extent(15)
        assert low.tolist() == [0, 15]
        assert high.tolist() == [615, 735]


def test_threshold_and_transformation(tmp_path: Path) -> None:
    text = "chrom\tstart\tend\tlabel\nchrI\t0\t1\t0.4\nchrI\t1\t2\t0.5\nchrI\t2\t3\t9\n"
    assert read(tmp_path / "e", text, task="classification", label_threshold=0.5).label.tolist() == [0, 1, 1]
    np.testing.assert_allclose(read(tmp_path / "e", text, label_transformation="log").label, np.log([1.4, 1.5, 10]))
    np.testing.assert_allclose(read(tmp_path / "e", text, label_transformation="log10").label[2], 1)


def test_only_elements_of_some_chromosomes(tmp_path: Path) -> None:
    text = "chrom\tstart\tend\tlabel\nchrI\t0\t1\t1\nchrII\t1\t2\t2\nchrZ\t1\t2\t2\nchrII\t5\t6\t7\n"
    assert read(tmp_path / "e", text, chroms=["chrII"]).label.tolist() == [2, 7]


HEAD = "chrom\tstart\tend\tlabel\n"
GOOD = "chrI\t0\t5\t1\nchrI\t9\t12\t0\n"


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (HEAD + GOOD + "chrI\t5\t1001\t1\n", {}, ":4: chrI 5 1001: the end lies past the chromosome's 1,000 bp"),
        (HEAD + GOOD + "chrI\t-5\t10\t1\n", {}, ":4: chrI -5 10: the start is below 0"),
        (HEAD + GOOD + "chrI\t10\t10\t1\n", {}, ":4: chrI 10 10: the end must lie above the start"),
        (HEAD + GOOD + "chr9\t1\t10\t1\n", {}, ":4: chromosome 'chr9'; the genome has chrI, chrII"),
        (HEAD + GOOD + "chrI\tx\t10\t1\n", {}, ":4: start (column 2) is 'x'; expected a whole number"),
        (HEAD + GOOD + "chrI\t1\t10\n", {}, ":4: fewer columns than the first line's 4"),
        (HEAD + GOOD + "chrI\t1\t10\tNA\n", {}, ":4: label (label) is 'NA'; expected a number"),
        (HEAD + GOOD + "chrI\t1\t10\tnan\n", {}, ":4: label (label) is 'nan'; expected a number"),
        (HEAD + GOOD + "chrI\t1\t10\tinf\n", {}, ":4: label (label) is 'inf'; expected a number"),
        (HEAD + GOOD + "chrI\t0\t5\t0\n", {}, ":4: chrI:0-5 stands in line 2 too; expected each element once"),
        (HEAD + GOOD + "chrI\t1\t10\t2\n", {"task": "classification"}, ":4: label (label) is 2; a classification"),
        (HEAD + GOOD.replace("0\n", "1\n"), {"task": "classification"}, "all 2 labels (label) are 1; expected both"),
        (HEAD + "chrI\t1\t9\t3\nchrI\t2\t9\t3\n", {}, "all 2 labels (label) are 3; expected labels that differ"),
        (HEAD + GOOD, {"label_column": "rna"}, "the columns chrom, start, end, label; expected --label_column"),
        (HEAD + GOOD, {"label_column": "9"}, "expected --label_column to be one of them"),
        (GOOD, {}, "4 columns without names; expected --label_column"),
        (GOOD, {"label_column": "2"}, "has coordinates there"),
        (HEAD + GOOD, {"layout": "bedpe"}, "expected chromosome1, start1, end1"),
        (HEAD, {}, "no intervals in it; expected a BED, BEDPE"),
        ("", {}, "empty file"),
        (HEAD + GOOD, {"chroms": ["chrII"]}, "no element on chrII"),
        (HEAD + GOOD, {"chroms": ["chrQ"]}, "--chroms chrQ: not in the genome"),
        (HEAD + GOOD, {"label_threshold": 1.0}, "--label_threshold"),
        (HEAD + "chrI\t1\t9\t-1\nchrI\t2\t9\t3\n", {"label_transformation": "log"}, ":2: label -1; log is of the"),
        (HEAD + GOOD, {"task": "ranking"}, "--task ranking: expected one of classification, regression"),
    ],
)  # fmt: skip
def test_bad_files_and_flags_are_refused(tmp_path: Path, text: str, flags: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path / "e.tsv", text, **flags)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("chrI\t1\t9\tchrII\t1\t9\tp\t1\n", ":2: anchors on chrI and chrII; expected both on one chromosome"),
        ("chrI\t50\t60\tchrI\t1\t9\tp\t1\n", ":2: chrI:50-60 chrI:1-9 stands in line 1 too"),
        ("chrI\t1\t9\tchrI\t90\t1009\tp\t1\n", ":2: chrI 90 1009: the end lies past"),
    ],
)
def test_bad_pairs_are_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path / "e.bedpe", "chrI\t1\t9\tchrI\t50\t60\tp\t0\n" + row, task="classification", label_column="8")
    assert message in str(error.value)
