"""bigWig files against pyBigWig, and damaged ones."""

from __future__ import annotations

import struct

import numpy as np
import pyBigWig
import pytest

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats.bigwig import BigWig
from db_ingest.genome import Genome

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}
GENOME = Genome(tuple(SIZES), tuple(SIZES.values()))


def values_of(path, chromosome: str) -> np.ndarray:
    bigwig = BigWig(path)
    try:
        return bigwig.read(chromosome, 0, bigwig.chromosomes[chromosome])
    finally:
        bigwig.close()


def extremes(path) -> tuple[float, float]:
    bigwig = BigWig(path)
    bigwig.close()
    return bigwig.minimum, bigwig.maximum


def test_values_are_those_of_py_big_wig_and_zero_where_it_has_none(inputs):
    path = inputs.bigwig("a.bw")
    with pyBigWig.open(str(path)) as file:
        for name, size in SIZES.items():
            expected = np.array(file.values(name, 0, size))
            assert np.isnan(expected).any()
            found = values_of(path, name)
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, np.nan_to_num(expected).astype(np.float32))


def test_chromosome_named_in_the_header_without_entries_is_zero(inputs):
    path = inputs.bigwig("a.bw", {"chr1": inputs.signal(3_000)})
    assert (values_of(path, "chrM") == 0).all()


def test_stretch_within_a_chromosome_is_cut_at_its_ends(inputs):
    path = inputs.bigwig("a.bw", {"chr1": np.arange(1, 3_001, dtype=float)})
    bigwig = BigWig(path)
    assert bigwig.read("chr1", 2_990, 3_000).tolist() == list(range(2_991, 3_001))
    bigwig.close()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.25, 0.75], (0.25, 0.75)),
        ([-0.5, 0.25], (-0.5, 0.25)),
        ([-0.5, -0.25], (-0.5, 0.0)),
        ([-3, 0.75], (-3, 0.75)),
    ],
)
def test_extremes_keep_their_fractions(inputs, values, expected):
    assert extremes(inputs.bigwig("a.bw", {"chr1": np.array(values, float)})) == expected


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused(inputs, value):
    with pytest.raises(InputError, match=r"a\.bw: .*expected finite"):
        BigWig(inputs.bigwig("a.bw", {"chr1": np.array([1.0, value, 2.0])}))


def test_shared_chromosomes_come_in_the_order_of_the_genome(inputs):
    bigwig = BigWig(inputs.bigwig("a.bw", sizes={"chrM": 400, "chrX": 9, "chr1": 3_000}))
    assert bigwig.check_genome(GENOME) == ["chr1", "chrM"]
    bigwig.close()


def test_no_chromosome_in_common_names_both_sides(inputs):
    bigwig = BigWig(inputs.bigwig("a.bw", sizes={"1": 3_000, "2": 1_500}))
    with pytest.raises(InputError, match=r"a\.bw: no chromosome in common.*file has 1, 2, the genome chr1, chr2, chrM"):
        bigwig.check_genome(GENOME)
    bigwig.close()


@pytest.mark.parametrize(("size", "relation"), [(1_501, "longer"), (1_499, "shorter")])
def test_chromosome_of_another_size_is_another_assembly(inputs, size, relation):
    bigwig = BigWig(inputs.bigwig("a.bw", sizes={"chr1": 3_000, "chr2": size}))
    with pytest.raises(
        InputError, match=rf"a\.bw: chromosome chr2 has {size:,} bp, {relation} than the genome's 1,500"
    ):
        bigwig.check_genome(GENOME)
    bigwig.close()


@pytest.mark.parametrize("kept", [1, 3, 63, 64, 0.2, 0.5, 0.8, -5_000, -100, -4, -1])
def test_file_cut_anywhere_is_refused(inputs, kept):
    whole = inputs.bigwig("a.bw", {"chr1": inputs.signal(3_000)}).read_bytes()
    end = int(len(whole) * kept) if isinstance(kept, float) else kept
    path = inputs.folder / "cut.bw"
    path.write_bytes(whole[:end])
    with pytest.raises(InputError, match=r"cut\.bw: (truncated|no bigWig header|no index)"):
        BigWig(path)


def test_damaged_block_of_data_names_the_place(inputs):
    damaged = bytearray(inputs.bigwig("a.bw").read_bytes())
    index_at = struct.unpack("<Q", damaged[24:32])[0]
    for i in range(index_at - 40, index_at):
        damaged[i] ^= 0xFF
    path = inputs.folder / "damaged.bw"
    path.write_bytes(damaged)
    assert values_of(path, "chr1").any()
    with pytest.raises(InputError, match=r"damaged\.bw: chrM:0-400 cannot be read"):
        values_of(path, "chrM")


@pytest.mark.parametrize(
    ("content", "expects"),
    [
        (b"chr1\t0\t5\t1.0\n" * 20, "no bigWig header"),
        (struct.pack("<I", 0x8789F2EB) + bytes(500), "a bigBed file"),
        (b"", "empty file"),
    ],
    ids=["bedGraph", "bigBed", "empty"],
)
def test_other_file_is_refused(inputs, content, expects):
    path = inputs.folder / "other.bw"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"other\.bw: {expects}"):
        BigWig(path)


def test_missing_file_is_refused(inputs):
    with pytest.raises(MissingFileError, match=r"none\.bw"):
        BigWig(inputs.folder / "none.bw")
