"""FASTA files against pysam, and damaged ones."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import numpy as np
import pysam
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats import fasta
from db_ingest.layout.genome import Genome

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}


@given(st.text(st.characters(max_codepoint=126), max_size=50))
def test_encode_gives_acgt_in_either_case_and_four_for_the_rest(text):
    expected = ["ACGT".find(letter.upper()) if letter.upper() in "ACGT" else 4 for letter in text]
    assert fasta.encode(text).tolist() == expected
    assert fasta.encode(text.encode()).tolist() == expected


@pytest.mark.parametrize("name", ["g.fa", "g.fa.gz"])
def test_every_base_is_the_one_of_pysam(inputs, name):
    path = inputs.fasta(name)
    plain = inputs.folder / "plain.fa"
    plain.write_bytes(gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes())
    with pysam.FastaFile(str(plain)) as expected:
        found = dict(fasta.read(path))
        assert list(found) == list(expected.references)
        for chromosome, codes in found.items():
            letters = np.frombuffer(expected.fetch(chromosome).upper().encode(), np.uint8)
            np.testing.assert_array_equal(codes, np.select([letters == ord(b) for b in "ACGT"], [0, 1, 2, 3], 4))


def test_genome_is_the_names_and_sizes_of_the_records(inputs):
    assert fasta.genome(inputs.fasta()) == Genome(tuple(SIZES), tuple(SIZES.values()))
    assert fasta.genome(inputs.fasta("z.fa.gz")) == Genome(tuple(SIZES), tuple(SIZES.values()))


def test_newer_index_is_believed_and_an_older_one_not(inputs):
    path = inputs.fasta()
    index = inputs.text("genome.fa.fai", "chrZ\t7\t6\t60\t61\n")
    assert fasta.genome(path).names == ("chrZ",)
    os.utime(index, (1, 1))
    assert fasta.genome(path).names == tuple(SIZES)


@pytest.mark.parametrize(
    ("text", "expects"),
    [
        ("chr1\t0\t9\n", "no sequence in it"),
        (">chr1\n", "'chr1' has no bases"),
        (">\nACGT\n", "a sequence without a name"),
        (">a b\nAC\nA1\n", "base 4 of a is no letter"),
        (">a\nAC\x00\n", "base 3 of a is no letter"),
        ("\n \n", "no sequence in it"),
        ("@r\nACGT\n+\nIIII\n", "no sequence in it"),
        ("", "empty file"),
        (">a\nAC\n>b\n>c\nA\n", "'b' has no bases"),
        (">a\nAC\n>a\nAC\n", "'a' is there twice"),
    ],
    ids=["BED", "no bases", "no name", "digit", "NUL", "blank", "FASTQ", "empty", "empty record", "twice"],
)
def test_file_that_is_no_genome_is_refused(inputs, text, expects):
    path = inputs.text("x.fa", text)
    with pytest.raises(InputError, match=rf"x\.fa: .*{expects}"):
        fasta.genome(path)


def test_damaged_gzip_is_refused_without_a_word_from_htslib(inputs, capfd):
    whole = inputs.fasta("g.fa.gz", {"chr1": 200_000}).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for damaged in (whole[:200], whole[: len(whole) // 2], whole[:-10], bytes(flipped)):
        path = inputs.folder / "d.fa.gz"
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"d\.fa\.gz: "):
            fasta.genome(path)
    assert capfd.readouterr().err == ""


def test_bgzipped_file_cut_between_blocks_is_refused(inputs):
    plain = inputs.fasta("plain.fa", {"chr1": 200_000})
    path = inputs.folder / "g.fa.gz"
    pysam.tabix_compress(str(plain), str(path))
    ((name, codes),) = fasta.read(path)
    assert (name, len(codes)) == ("chr1", 200_000)
    whole = path.read_bytes()
    first_block = int.from_bytes(whole[16:18], "little") + 1
    path.write_bytes(whole[:first_block])
    with pytest.raises(InputError, match=r"g\.fa\.gz: truncated at .* the end mark of bgzipped FASTA is missing"):
        dict(fasta.read(path))


@examples(60)
@given(
    sequences=st.lists(st.text("ACGTNacgtnRy*-.", max_size=40), min_size=1, max_size=4),
    width=st.integers(1, 50),
    end=st.sampled_from(["\n", "\r\n"]),
    comment=st.sampled_from(["", " a >b", "\tx"]),
    first=st.sampled_from(["", "\n"]),
    last=st.booleans(),
    block=st.integers(2, 30),
)
def test_any_layout_of_lines_reads_the_same(sequences, width, end, comment, first, last, block):
    text = first
    for i, bases in enumerate(sequences):
        lines = [bases[at : at + width] for at in range(0, len(bases), width)]
        text += end.join([f">s{i}{comment}", *lines]) + end * (last or i + 1 < len(sequences))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "x.fa"
        path.write_bytes(text.encode())
        patch.setattr(fasta, "_BLOCK", block)
        found = list(fasta.read(path))
        assert [name for name, _ in fasta.read(path, lambda name: name != "s0")] == [name for name, _ in found][1:]
    assert [name for name, _ in found] == [f"s{i}" for i in range(len(sequences))]
    for (_, codes), bases in zip(found, sequences, strict=True):
        assert codes.tolist() == ["ACGT".find(b) if b in "ACGT" else 4 for b in bases.upper()]


def test_missing_file_is_refused(inputs):
    with pytest.raises(MissingFileError, match=r"none\.fa"):
        fasta.genome(inputs.folder / "none.fa")
