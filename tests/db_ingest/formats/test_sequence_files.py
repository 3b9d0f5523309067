"""Sequence of a genome from FASTA and 2bit files, by the names of the database."""

from __future__ import annotations

import numpy as np
import pysam
import pytest
from twobit_writer import encode

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats import sequence
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}
GENOME = Genome(tuple(SIZES), tuple(SIZES.values()))


@pytest.fixture(params=["g.fa", "g.fa.gz", "g.2bit"])
def write(request, inputs):
    """Write sequences of given sizes; returns the path and the bases that pysam finds in the FASTA file."""

    def written(sizes=SIZES):
        plain = inputs.fasta("plain.fa", sizes)
        with pysam.FastaFile(str(plain)) as file:
            bases = {name: file.fetch(name) for name in file.references}
        if request.param == "g.2bit":
            path = inputs.folder / request.param
            path.write_bytes(encode({name: letters.replace("R", "N") for name, letters in bases.items()}))
        else:
            path = inputs.text(request.param, plain.read_text())
        return path, bases

    return written


def codes_of(bases: str) -> np.ndarray:
    letters = np.frombuffer(bases.upper().encode(), np.uint8)
    return np.select([letters == ord(b) for b in "ACGT"], [0, 1, 2, 3], 4)


def test_genome_is_the_names_and_sizes_of_the_file(write):
    assert sequence.genome_of(write()[0]) == GENOME


def test_chromosomes_come_by_the_names_of_the_genome_and_strangers_are_skipped(write):
    path, bases = write({"MT": 400, "chrUn": 77, "1": 3_000, "chr2": 1_500})
    naming = Naming(GENOME)
    sequence.check_sequence(path, naming)
    found = list(sequence.chromosomes(path, naming))
    assert [name for name, _ in found] == ["chrM", "chr1", "chr2"]
    for (_, codes), given in zip(found, ("MT", "1", "chr2"), strict=True):
        assert codes.dtype == np.uint8
        np.testing.assert_array_equal(codes, codes_of(bases[given]))


def test_absent_chromosome_is_refused(write):
    path, _ = write({"chr1": 3_000})
    for use in (sequence.check_sequence, lambda *both: list(sequence.chromosomes(*both))):
        with pytest.raises(InputError, match=r"lacks chr2, chrM, which the chrom sizes or its index name"):
            use(path, Naming(GENOME))


def test_chromosome_of_another_size_is_refused(write):
    path, _ = write({**SIZES, "chr2": 1_501})
    with pytest.raises(InputError, match=r"chromosome chr2 has 1,501 bp; the genome's chr2 has 1,500 bp"):
        sequence.check_sequence(path, Naming(GENOME))
    with pytest.raises(InputError, match=r"chromosome chr2 has 1,501 bp; expected 1,500"):
        list(sequence.chromosomes(path, Naming(GENOME)))


def test_chromosome_under_two_names_is_refused(write):
    path, _ = write({**SIZES, "2": 1_500})
    with pytest.raises(InputError, match=r"chr2 and 2 both mean the genome's chr2"):
        sequence.check_sequence(path, Naming(GENOME))
    with pytest.raises(InputError, match=r"sequence '2' is there twice"):
        list(sequence.chromosomes(path, Naming(GENOME)))


def test_file_that_is_neither_is_refused(inputs):
    with pytest.raises(InputError, match=r"x\.2bit: no sequence in it"):
        sequence.genome_of(inputs.text("x.2bit", "chr1\t5\n"))
    with pytest.raises(MissingFileError, match=r"none\.2bit: no such file; expected a FASTA or 2bit file"):
        sequence.genome_of(inputs.folder / "none.2bit")
