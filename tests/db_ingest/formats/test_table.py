"""Tables that are held whole: named columns, comments, and where the lines lie in the genome."""

from __future__ import annotations

import numpy as np
import pytest

from db_ingest.errors import InputError
from db_ingest.formats import bed
from db_ingest.formats.text.table import TextTable, read_table
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

GENOME = Genome(("chr1", "chr2", "chrIV"), (1000, 500, 90))


def read(path, **options) -> TextTable:
    table = read_table(path, "a table", **options)
    assert table is not None
    return table


@pytest.mark.parametrize("separator", ["\t", "  "])
def test_columns_have_the_names_of_the_header(inputs, separator):
    lines = [("#a", "comment"), ("chrom", "start", "end", "label"), ("chr1", 1, 9, 0.5), ("chr2", 2, 8, 1)]
    path = inputs.text("t.tsv", "".join(separator.join(map(str, line)) + "\n" for line in lines))
    table = read(path, header=True)
    assert (table.header, table.comment.split(), table.width) == (
        ["chrom", "start", "end", "label"],
        ["a", "comment"],
        4,
    )
    assert table.lines.tolist() == [3, 4]
    assert (table.text(0).tolist(), table.whole(1, "start").tolist()) == (["chr1", "chr2"], [1, 2])
    np.testing.assert_array_equal(table.number(3, "label"), [0.5, 1])


def test_a_header_in_a_comment_is_the_comment_and_no_header(inputs):
    path = inputs.text("t.tsv", "#first\n# chrom\tstart\tend\nchr1\t1\t9\n#last\nchr2\t1\t9\n")
    table = read(path, header=True)
    assert (table.header, table.comment, table.lines.tolist()) == (None, "chrom\tstart\tend", [3, 5])


def test_a_row_that_is_not_as_wide_as_the_header_is_refused(inputs):
    path = inputs.text("t.tsv", "chrom\tstart\tend\tlabel\nchr1\t1\t9\n")
    with pytest.raises(InputError, match=r"t\.tsv:2: fewer columns than the first line's 4"):
        read(path, header=True)


def test_a_header_alone_holds_no_rows(inputs):
    path = inputs.text("t.tsv", "chrom\tstart\tend\n")
    with pytest.raises(InputError, match=r"t\.tsv: no intervals"):
        read(path, header=True)
    assert read_table(path, "a table", header=True, empty="allow") is None


def test_any_columns_may_hold_intervals_by_any_name_of_their_chromosome(inputs):
    path = inputs.bed("pairs.bedpe", [("1", 5, 9, "iv", 10, 20), ("chr2", 3, 4, "IV", 80, 90), ("x", 1, 2, "2", 7, 8)])
    table, naming = read(path), Naming(GENOME)
    first, second = bed.place(table, naming), bed.place(table, naming, (3, 4, 5))
    assert (first.chromosome.tolist(), first.start.tolist()) == ([0, 1, -1], [5, 3, 1])
    assert (second.chromosome.tolist(), second.end.tolist()) == ([2, 2, 1], [20, 90, 8])
    assert first.in_order(GENOME).tolist() == [0, 1]
    assert second.in_order(GENOME).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("row", "expects"),
    [
        (("chr2", 3, 501), "chr2 3 501: the end lies past the chromosome's 500 bp"),
        (("II", 3, "x"), r"end \(column 6\) is 'x'; expected a whole number"),
    ],
)
def test_a_line_that_is_no_interval_is_named_in_any_columns(inputs, row, expects):
    path = inputs.bed("pairs.bedpe", ["# head", ("chr1", 5, 9, "chr1", 1, 2), ("chr1", 5, 9, *row)])
    with pytest.raises(InputError, match=rf"pairs\.bedpe:3: {expects}"):
        bed.place(read(path), Naming(GENOME), (3, 4, 5))
