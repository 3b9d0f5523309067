"""2bit files against py2bit and by hand, and damaged ones."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import py2bit
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st
from twobit_writer import encode

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats import twobit
from db_ingest.layout.genome import Genome

SEQUENCES = {"chr1": "NNACGTNtgcaNNNNACG", "chr2": "A", "chrM": "GATTACA" * 9, "chrN": "NNN"}


def codes_of(bases: str) -> list[int]:
    return ["ACGT".find(base) if base in "ACGT" else 4 for base in bases.upper()]


@examples(50)
@given(
    sequences=st.dictionaries(
        st.text("abcXYZ019._", min_size=1, max_size=9),
        st.text("ACGTNacgtn", min_size=1, max_size=60),
        min_size=1,
        max_size=4,
    ),
    order=st.sampled_from("<>"),
    version=st.sampled_from([0, 1]),
    data=st.data(),
)
def test_every_stretch_of_every_sequence_is_read(sequences, order, version, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g.2bit"
        path.write_bytes(encode(sequences, order, version))
        file = twobit.TwoBit(path)
        assert file.sizes == {name: len(bases) for name, bases in sequences.items()}
        for name, bases in sequences.items():
            start = data.draw(st.integers(0, len(bases) - 1))
            end = data.draw(st.integers(start, len(bases)))
            codes = file.read(name, start, end)
            assert codes.dtype == np.uint8
            assert codes.tolist() == codes_of(bases)[start:end]
        file.close()
        if (order, version) == ("<", 0):
            theirs = py2bit.open(str(path))
            assert theirs.chroms() == file.sizes
            for name, codes in twobit.read(path):
                assert codes.tolist() == codes_of(theirs.sequence(name))
            theirs.close()


@pytest.mark.slow
def test_long_sequence_is_the_one_of_py2bit(tmp_path):
    rng = np.random.default_rng(3)
    size = 4 * twobit._BLOCK + 4_321
    bases = rng.choice(list("ACGT"), size)
    for start in rng.integers(0, size, 40):
        bases[start : start + 300] = "N"
    path = tmp_path / "g.2bit"
    path.write_bytes(encode({"chr1": "".join(bases)}))
    ((name, codes),) = twobit.read(path)
    theirs = py2bit.open(str(path))
    letters = np.frombuffer(theirs.sequence(name).encode(), np.uint8)
    theirs.close()
    np.testing.assert_array_equal(codes, np.select([letters == ord(b) for b in "ACGT"], [0, 1, 2, 3], 4))


def test_genome_is_the_names_and_sizes_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "g.2bit"
    path.write_bytes(encode(SEQUENCES))
    assert twobit.genome(path) == Genome(tuple(SEQUENCES), tuple(map(len, SEQUENCES.values())))


def test_only_wanted_sequences_are_read(tmp_path):
    path = tmp_path / "g.2bit"
    path.write_bytes(encode(SEQUENCES))
    assert [name for name, _ in twobit.read(path, lambda name: name != "chr1")] == ["chr2", "chrM", "chrN"]


@pytest.mark.parametrize("version", [0, 1])
def test_file_cut_anywhere_is_refused(tmp_path, version):
    whole = encode(SEQUENCES, version=version)
    path = tmp_path / "cut.2bit"
    for kept in range(1, len(whole)):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"cut\.2bit: (truncated at \d+ bytes, within|no 2bit header)"):
            twobit.TwoBit(path)


def test_damaged_bytes_are_read_or_refused_but_never_crash(tmp_path):
    whole = encode(SEQUENCES)
    path = tmp_path / "damaged.2bit"
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            found = dict(twobit.read(path))
        except InputError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
        else:
            assert len(found) == len(SEQUENCES)


@pytest.mark.parametrize(
    ("content", "expects"),
    [
        (b"", "empty file"),
        (b">chr1\nACGT\n", "no 2bit header"),
        (struct.pack("<4I", 0x1A412743, 2, 1, 0), "2bit version 2; expected 0 or 1"),
        (struct.pack("<4I", 0x1A412743, 0, 0, 0), "no sequence in it"),
        (encode({"a": "", "b": "A"}), "sequence 'a' has no bases"),
        (encode({"a": "AC", "b": "A"}).replace(b"\1b", b"\1a"), "sequence 'a' is there twice"),
        (
            encode({"a": "NNAC"}).replace(struct.pack("<3I", 1, 0, 2), struct.pack("<3I", 1, 0, 5)),
            "a block of N lies past the 4 bp of a",
        ),
    ],
    ids=["empty", "FASTA", "version", "no sequence", "no bases", "twice", "block"],
)
def test_file_that_is_no_genome_is_refused(tmp_path, content, expects):
    path = tmp_path / "x.2bit"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.2bit: {expects}"):
        twobit.TwoBit(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r"none\.2bit"):
        twobit.TwoBit(tmp_path / "none.2bit")
