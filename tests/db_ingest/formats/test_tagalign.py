"""tagAligns against a count by hand and, on real data, by pandas."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError
from db_ingest.formats import tagalign
from db_ingest.formats.base import Channel
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

SIZES = {"chr1": 300, "chr2": 80}
NAMING = Naming(Genome(tuple(SIZES), tuple(SIZES.values())))
OPTIONS = {"shift": [0, 0]}
CHANNELS = [Channel(), Channel("+"), Channel("-")]


def write(path: Path, rows) -> Path:
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@st.composite
def reads(draw) -> tuple:
    name = draw(st.sampled_from([*SIZES, "scaffold"]))
    start = draw(st.integers(0, SIZES.get(name, 500) - 1))
    end = draw(st.integers(start + 1, SIZES.get(name, 500)))
    return name, start, end, "N", 1000, draw(st.sampled_from("+-"))


@examples(40)
@given(st.lists(reads(), max_size=25), st.sampled_from([[0, 0], [4, -4], [-3, 9]]))
def test_five_prime_ends_are_those_of_a_count_by_hand(rows, shift):
    rows = [*rows, ("chr2", 10, 20, "N", 0, "-")]
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.tagAlign.gz", rows)
        reader = tagalign.open_signal(path, NAMING, {"shift": shift}, CHANNELS)
    beyond = 0
    for i, channel in enumerate(CHANNELS):
        expected = {name: np.zeros(size) for name, size in SIZES.items()}
        for name, start, end, _, _, strand in rows:
            base = start + shift[0] if strand == "+" else end - 1 + shift[1]
            if name in SIZES and channel.strand in (None, strand):
                if 0 <= base < SIZES[name]:
                    expected[name][base] += 1
                else:
                    beyond += 1
        for name, size in SIZES.items():
            np.testing.assert_array_equal(reader.read(name, 0, size, i), expected[name])
    assert reader.summary == {"elsewhere": sum(row[0] == "scaffold" for row in rows), "beyond_ends": beyond}
    assert reader.chromosomes == tuple(SIZES)
    reader.close()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t5\t9\tN\t0", ":1: 5 column(s); expected chromosome, start, end, name, score and strand"),
        ("chr1\t5\t9\tN\t0\t.", ":1: strand (column 6) is '.'; expected + or -"),
        ("chr1\t9\t5\tN\t0\t+", ":1: chr1 9 5: the end must lie above the start"),
        ("chr1\t5\t301\tN\t0\t+", ":1: chr1 5 301: the end lies past the chromosome's 300 bp"),
    ],
)
def test_what_is_no_read_is_refused_with_its_line(tmp_path, line, message):
    path = write(tmp_path / "a.tagAlign", [line.split("\t")])
    for use in (tagalign.open_signal, tagalign.check_signal):
        with pytest.raises(InputError) as caught:
            use(path, NAMING, OPTIONS)
        assert str(caught.value) == f"{path}{message}"


def test_file_of_other_chromosomes_is_refused(tmp_path):
    path = write(tmp_path / "a.tagAlign", [("scaffold", 5, 9, "N", 0, "+")])
    for use in (tagalign.open_signal, tagalign.check_signal):
        with pytest.raises(InputError, match="a.tagAlign: no chromosome in common with the genome"):
            use(path, NAMING, OPTIONS)


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "bam2ta.pe.subsample.ENCFF341MYG.subsampled.400.trim.merged.nodup.5K.tn5.tagAlign.gz",
        "bam2ta.se.disable_tn5_shift.ENCFF439VSY.subsampled.400.trim.merged.nodup.tagAlign.gz",
    ],
)
def test_real_file_counts_as_pandas_counts(real_data, name):
    import pandas as pd

    path = real_data / "encode_atac_formats" / name
    table = pd.read_csv(path, sep="\t", header=None)
    assert set(table[0]) == {"chr19"}
    size = 64_444_167
    naming = Naming(Genome(("chr19",), (size,)))
    tagalign.check_signal(path, naming, OPTIONS)
    reader = tagalign.open_signal(path, naming, OPTIONS, CHANNELS)
    minus = np.bincount(table[2][table[5] == "-"] - 1, minlength=size)
    plus = np.bincount(table[1][table[5] == "+"], minlength=size)
    for i, expected in enumerate((plus + minus, plus, minus)):
        assert (reader.read("chr19", 0, size, i) == expected).all()
