"""BEDPE files against a count by hand and, on real data, by pandas."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError
from db_ingest.formats import bedpe
from db_ingest.formats.base import Channel
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

SIZES = {"chr1": 300, "chr2": 80}
NAMING = Naming(Genome(tuple(SIZES), tuple(SIZES.values())))
OPTIONS = {"count": "cut_sites", "shift": [0, 0]}


def write(path: Path, rows) -> Path:
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


@st.composite
def mates(draw) -> tuple:
    name = draw(st.sampled_from([*SIZES, "scaffold", "."]))
    if name == ".":
        return name, -1, -1
    start = draw(st.integers(0, SIZES.get(name, 500) - 1))
    return name, start, draw(st.integers(start + 1, SIZES.get(name, 500)))


@examples(60)
@given(
    st.lists(st.tuples(mates(), mates()), max_size=25),
    st.sampled_from([[0, 0], [4, -4]]),
    st.sampled_from(["cut_sites", "coverage"]),
    st.sampled_from([(), ("read", 60, "+", "-"), ("read", 60, "+", "-", "x")]),
)
def test_pairs_count_from_their_first_base_to_their_last(pairs, shift, count, further):
    pairs = [*pairs, (("chr2", 30, 40), ("chr2", 10, 20))]
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.bedpe", [(*first, *second, *further) for first, second in pairs])
        reader = bedpe.open_signal(path, NAMING, {"count": count, "shift": shift})
    expected = {name: np.zeros(size) for name, size in SIZES.items()}
    tally = {"unpaired": 0, "between_chromosomes": 0, "elsewhere": 0}
    for first, second in pairs:
        if "." in (first[0], second[0]):
            tally["unpaired"] += 1
        elif first[0] != second[0]:
            tally["between_chromosomes"] += 1
        elif first[0] not in SIZES:
            tally["elsewhere"] += 1
        else:
            begin, last = min(first[1], second[1]) + shift[0], max(first[2], second[2]) - 1 + shift[1]
            values = expected[first[0]]
            if count == "coverage":
                values[begin : max(begin, last + 1)] += 1
            else:
                for base in (begin, last):
                    if 0 <= base < len(values):
                        values[base] += 1
    for name, size in SIZES.items():
        np.testing.assert_array_equal(reader.read(name, 0, size), expected[name])
    assert tally.items() <= reader.summary.items()
    reader.close()


def test_three_columns_are_fragments(tmp_path):
    path = write(tmp_path / "a.bedpe", [("chr1", 3, 9), ("2", 0, 80), ("scaffold", 1, 2)])
    bedpe.check_signal(path, NAMING, OPTIONS)
    reader = bedpe.open_signal(path, NAMING, OPTIONS, [Channel("-"), Channel("+")])
    assert [np.flatnonzero(reader.read(name, 0, size, 0)).tolist() for name, size in SIZES.items()] == [[8], [79]]
    assert [np.flatnonzero(reader.read(name, 0, size, 1)).tolist() for name, size in SIZES.items()] == [[3], [0]]
    assert reader.summary == {"elsewhere": 1, "beyond_ends": 0}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t5", "2 column(s); expected chromosome, start and end of a fragment, or of both mates"),
        (
            "chr1\t5\t9\tA\t1",
            "5 columns; expected chromosome, start and end of a fragment, or of both mates: 3 columns",
        ),
        ("chr1\t5\t301", "chr1 5 301: the end lies past the chromosome's 300 bp"),
        ("chr1\t5\t9\tchr1\t50\t301", "chr1 50 301: the end lies past the chromosome's 300 bp"),
        ("chr1\t9\t5\tchr1\t50\t300", "chr1 9 5: the end must lie above the start"),
        ("chr1\t5\t9\tchr1\tx\t300", "start of the second mate (column 5) is 'x'; expected a whole number"),
        ("chr1\t-5\t9\tchr1\t6\t300", "chr1 -5 9: the start is below 0"),
    ],
)
def test_what_is_no_pair_is_refused_with_its_line(tmp_path, line, message):
    path = write(tmp_path / "a.bedpe", [line.split("\t")])
    for use in (bedpe.open_signal, bedpe.check_signal):
        with pytest.raises(InputError) as caught:
            use(path, NAMING, OPTIONS)
        assert str(caught.value).startswith(f"{path}:1: {message}")


def test_file_of_other_chromosomes_is_refused(tmp_path):
    path = write(tmp_path / "a.bedpe", [("scaffold", 5, 9, "scaffold", 20, 30), (".", -1, -1, "scaffold", 20, 30)])
    for use in (bedpe.open_signal, bedpe.check_signal):
        with pytest.raises(InputError, match="a.bedpe: no chromosome in common with the genome"):
            use(path, NAMING, OPTIONS)


@pytest.mark.real
def test_real_file_counts_as_pandas_counts(real_data):
    import pandas as pd

    genome = Genome.from_chrom_sizes(real_data / "sacCer3" / "sacCer3.chrom.sizes")
    path = real_data / "yeast_atac" / "yeast_500k_SRR1822137.bedpe.gz"
    table = pd.read_csv(path, sep="\t", header=None)
    cuts = bedpe.open_signal(path, Naming(genome), OPTIONS | {"shift": [4, -4]})
    covered = bedpe.open_signal(path, Naming(genome), OPTIONS | {"count": "coverage"})
    for name, here in table.groupby(0):
        size = genome.size(str(name))
        start, end = here[1].to_numpy(), here[2].to_numpy()
        expected = np.bincount(start + 4, minlength=size + 9)[:size]
        expected = expected + np.bincount(np.maximum(end - 5, 0), minlength=size)[:size]
        np.testing.assert_array_equal(cuts.read(str(name), 0, size), expected)
        changes = np.bincount(start, minlength=size + 1) - np.bincount(end, minlength=size + 1)
        np.testing.assert_array_equal(covered.read(str(name), 0, size), np.cumsum(changes)[:-1])
