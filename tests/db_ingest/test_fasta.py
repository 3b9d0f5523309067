"""FASTA files against pysam, and damaged ones."""

from __future__ import annotations

import gzip
import os

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats import fasta
from db_ingest.genome import Genome

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}


@settings(deadline=None, derandomize=True, database=None)
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


def test_file_may_hold_more_chromosomes_than_are_wanted_but_not_fewer(inputs):
    path = inputs.fasta()
    fasta.check_genome(path, Genome(("chrM",), (400,)))
    with pytest.raises(InputError, match=r"genome\.fa: lacks chr9 of the chrom sizes; the FASTA has chr1, chr2, chrM"):
        fasta.check_genome(path, Genome(("chrM", "chr9"), (400, 5)))
    with pytest.raises(InputError, match=r"genome\.fa: chromosome chrM has 400 bp, the chrom sizes say 401"):
        fasta.check_genome(path, Genome(("chrM",), (401,)))


@pytest.mark.parametrize(
    ("text", "expects"),
    [
        ("chr1\t0\t9\n", "no sequence in it"),
        (">chr1\n", "no sequence in it"),
        ("@r\nACGT\n+\nIIII\n", "no sequence in it"),
        ("", "empty file"),
        (">a\nAC\n>b\n>c\nA\n", "'b' has no bases"),
        (">a\nAC\n>a\nAC\n", "'a' is there twice"),
    ],
    ids=["BED", "no bases", "FASTQ", "empty", "empty record", "twice"],
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


def test_missing_file_is_refused(inputs):
    with pytest.raises(MissingFileError, match=r"none\.fa"):
        fasta.genome(inputs.folder / "none.fa")
