"""Fragments against a count by NumPy and, on real data, against the cut sites that were published with them."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError
from db_ingest.formats import fragments
from db_ingest.formats.base import Channel
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

SIZES = {"chr1": 300, "chr2": 80}
GENOME = Genome(tuple(SIZES), tuple(SIZES.values()))
NAMING = Naming(GENOME)
OPTIONS = {"count": "cut_sites", "shift": [0, 0], "barcodes": None}
BARCODES = {"AAA-1": "T cell", "CCC-1": "B", "GGG-1": "T cell", "ACA-1": "none asked for"}


def write(path: Path, rows) -> Path:
    text = "# id=x\n# other\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def counted(rows, name: str, options, channel: Channel) -> np.ndarray:
    size = SIZES[name]
    values = np.zeros(size)
    for chromosome, start, end, barcode in (row[:4] for row in rows):
        if chromosome != name or (channel.group is not None and BARCODES.get(barcode) != channel.group):
            continue
        first, last = start + options["shift"][0], end - 1 + options["shift"][1]
        if options["count"] == "coverage":
            values[max(first, 0) : max(last + 1, 0)] += 1
            continue
        for base, strand in ((first, "+"), (last, "-")):
            if channel.strand in (None, strand) and 0 <= base < size:
                values[base] += 1
    return values


@st.composite
def rows(draw) -> tuple:
    name = draw(st.sampled_from([*SIZES, "scaffold"]))
    size = SIZES.get(name, 500)
    start = draw(st.integers(0, size - 1))
    return (
        name,
        start,
        draw(st.integers(start + 1, size)),
        draw(st.sampled_from([*BARCODES, "TTT-1"])),
        draw(st.integers(1, 9)),
    )


CHANNELS = st.builds(Channel, st.sampled_from([None, "+", "-"]), st.sampled_from([None, "T cell", "B"]))


@examples(60)
@given(
    st.lists(rows(), min_size=1, max_size=25),
    st.lists(CHANNELS, min_size=1, max_size=6),
    st.sampled_from([[0, 0], [4, -4], [4, -5], [-30, 30]]),
    st.sampled_from(["cut_sites", "coverage"]),
)
def test_counts_are_those_of_a_count_by_hand(found, channels, shift, count):
    found = [*found, ("chr1", 10, 20, "AAA-1", 1)]
    if count == "coverage":
        channels = [Channel(None, channel.group) for channel in channels]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "groups.tsv"
        table.write_text("".join(f"{barcode}\t{group}\n" for barcode, group in BARCODES.items()))
        options = {"count": count, "shift": shift, "barcodes": str(table)}
        reader = fragments.open_signal(write(Path(folder) / "f.tsv.gz", found), NAMING, options, channels)
    assert reader.chromosomes == GENOME.names
    for i, channel in enumerate(channels):
        for name, size in SIZES.items():
            np.testing.assert_array_equal(reader.read(name, 0, size, i), counted(found, name, options, channel))
    assert reader.summary["elsewhere"] == sum(row[0] == "scaffold" for row in found)
    assert reader.summary["unknown_barcodes"] == sum(row[3] == "TTT-1" for row in found)
    reader.close()


def test_read_counts_are_no_weights_and_may_be_absent(tmp_path):
    for extra in ([7], []):
        reader = fragments.open_signal(write(tmp_path / "f.tsv", [("chr1", 3, 6, "A", *extra)]), NAMING, OPTIONS)
        assert np.flatnonzero(reader.read("chr1", 0, 300)).tolist() == [3, 5]
        assert reader.read("chr1", 0, 300).sum() == 2
        assert "unknown_barcodes" not in reader.summary


def test_cuts_moved_off_the_chromosome_are_counted(tmp_path):
    path = write(tmp_path / "f.tsv", [("chr1", 0, 300, "A"), ("chr1", 3, 290, "A")])
    reader = fragments.open_signal(path, NAMING, OPTIONS | {"shift": [-2, 2]})
    assert reader.summary["beyond_ends"] == 2
    assert np.flatnonzero(reader.read("chr1", 0, 300)).tolist() == [1, 291]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t5\t9", "3 column(s); expected chromosome, start, end and barcode"),
        ("chr1\t-5\t9\tA", "chr1 -5 9: the start is below 0"),
        ("chr1\t9\t9\tA", "chr1 9 9: the end must lie above the start"),
        ("chr1\t5\t301\tA", "chr1 5 301: the end lies past the chromosome's 300 bp"),
        ("chr1\t5\t9.5\tA", "end (column 3) is '9.5'; expected a whole number"),
    ],
)
def test_what_is_no_fragment_is_refused_with_its_line(tmp_path, line, message):
    path = write(tmp_path / "f.tsv", [line.split("\t")])
    for use in (fragments.open_signal, fragments.check_signal):
        with pytest.raises(InputError) as caught:
            use(path, NAMING, OPTIONS)
        assert str(caught.value) == f"{path}:3: {message}"


def test_file_of_other_chromosomes_is_refused(tmp_path):
    path = write(tmp_path / "f.tsv", [("scaffold", 5, 9, "A")])
    for use in (fragments.open_signal, fragments.check_signal):
        with pytest.raises(InputError, match="f.tsv: no chromosome in common with the genome; the file has scaffold"):
            use(path, NAMING, OPTIONS)


def test_strand_of_coverage_is_refused(tmp_path):
    path = write(tmp_path / "f.tsv", [("chr1", 5, 9, "A")])
    with pytest.raises(InputError, match="coverage by fragments has no strand"):
        fragments.open_signal(path, NAMING, OPTIONS | {"count": "coverage"}, [Channel("+")])


def test_table_without_a_barcode_of_the_file_is_refused(tmp_path):
    path, table = write(tmp_path / "f.tsv", [("chr1", 5, 9, "A")]), tmp_path / "g.tsv"
    table.write_text("A-1\tB\n")
    with pytest.raises(InputError, match=r"f.tsv: none of its barcodes is in .*g.tsv; expected some in common"):
        fragments.open_signal(path, NAMING, OPTIONS | {"barcodes": str(table)})


def test_group_that_the_table_lacks_is_refused(tmp_path):
    path, table = write(tmp_path / "f.tsv", [("chr1", 5, 9, "A")]), tmp_path / "g.tsv"
    table.write_text("A\tB\nC\tD\n")
    with pytest.raises(InputError, match=r"g.tsv: no barcode of group 'b'; the groups are B, D$"):
        fragments.open_signal(path, NAMING, OPTIONS | {"barcodes": str(table)}, [Channel(group="b")])
    with pytest.raises(InputError, match="group 'B': expected a table of barcodes"):
        fragments.open_signal(path, NAMING, OPTIONS, [Channel(group="B")])


def test_groups_are_read_in_their_order(tmp_path):
    table = tmp_path / "g.tsv.gz"
    table.write_bytes(gzip.compress(b"# barcode\tgroup\nC-1\tCD4 T\n\nA-1\tB\r\n"))
    assert list(fragments.read_groups(table).items()) == [("C-1", "CD4 T"), ("A-1", "B")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("A\tB\nC\n", "2: 1 column(s), fewer than the first row's 2"),
        ("A\n", "1: 1 column(s); expected barcode and group"),
        ("A\tB\tC\n", "1: 3 columns; expected barcode and group"),
        ("A\tB\nC\tD\nA\tB\n", "3: barcode A is there twice"),
        ("A\tB\nC\t\n", "2: no group; expected barcode and group"),
    ],
)
def test_table_that_is_not_barcode_and_group_is_refused(tmp_path, content, message):
    table = tmp_path / "g.tsv"
    table.write_text(content)
    with pytest.raises(InputError) as caught:
        fragments.check_signal(
            write(tmp_path / "f.tsv", [("chr1", 5, 9, "A")]), NAMING, OPTIONS | {"barcodes": str(table)}
        )
    assert str(caught.value) == f"{table}:{message}"


@pytest.mark.real
def test_cut_sites_of_a_real_experiment_are_the_published_ones(real_data):
    naming = Naming(Genome.from_chrom_sizes(real_data / "sacCer3" / "sacCer3.chrom.sizes"))
    folder = real_data / "yeast_atac"
    path = folder / "yeast_500k_SRR1822137.frag.gz"
    fragments.check_signal(path, naming, OPTIONS)
    channels = [Channel(), Channel("+"), Channel("-")]
    reader = fragments.open_signal(path, naming, OPTIONS | {"shift": [4, -4]}, channels)
    for i, name in enumerate(("atac_cutsites.bw", "atac_cutsites_plus4.bw", "atac_cutsites_minus4.bw")):
        with pyBigWig.open(str(folder / name)) as file:
            for chromosome, size in file.chroms().items():
                expected = np.nan_to_num(file.values(chromosome, 0, size, numpy=True))
                np.testing.assert_array_equal(reader.read(chromosome, 0, size, i), expected)
