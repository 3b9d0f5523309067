"""Real BAM files, base for base against pysam."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pysam
import pytest

from db_ingest.formats import bam
from db_ingest.formats.base import Channel
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

pytestmark = pytest.mark.real

FILES = {
    "yeast paired": "yeast_stripeseq/S288C.bam",
    "human paired": "encode_atac_formats/filter.pe.no_multimapping.ENCFF341MYG.subsampled.400.trim.merged.nodup.bam",
    "mouse single": "encode_atac_formats/filter.se.no_multimapping.ENCFF439VSY.subsampled.400.trim.merged.nodup.bam",
}


@pytest.fixture(scope="module", params=FILES, ids=list(FILES))
def alignments(request: pytest.FixtureRequest, real_data: Path) -> tuple[Path, Genome, list[pysam.AlignedSegment]]:
    path = real_data / FILES[request.param]
    with pysam.AlignmentFile(str(path)) as file:
        return path, Genome(tuple(file.references), tuple(file.lengths)), list(file.fetch(until_eof=True))


Intervals = list[tuple[str, int, int]]


def assert_counts(reader: bam.EventCounter, genome: Genome, channel: int, expected: Intervals) -> None:
    """Compare every base of every chromosome with the number of intervals that cover it."""
    assert reader.chromosomes == genome.names
    of_name: dict[str, Intervals] = {name: [] for name in genome.names}
    for interval in expected:
        of_name[interval[0]].append(interval)
    for name, intervals in of_name.items():
        values = np.zeros(genome.size(name), np.float32)
        for _, start, end in intervals:
            values[start:end] += 1
        assert np.array_equal(reader.read(name, 0, len(values), channel), values), name


@pytest.mark.parametrize("threads", [1, 2])
def test_five_prime_ends_of_real_reads_are_those_of_pysam(alignments, threads):
    path, genome, reads = alignments
    options = {"count": "5p", "shift": [4, -5], "min_mapq": 10, "exclude_flags": 0xB04, "include_flags": 0}
    options["duplicates"] = "drop"
    bam.check_signal(path, Naming(genome), options)
    reader = bam.open_signal(path, Naming(genome), options, (Channel("+"), Channel("-")), threads=threads)
    kept = [r for r in reads if not r.flag & 0xF04 and r.mapping_quality >= 10]
    assert reader.summary["alignments"] == len(reads)
    assert reader.summary["counted"] == len(kept) > 5_000
    plus = [(r.reference_name, r.reference_start + 4, r.reference_start + 5) for r in kept if not r.is_reverse]
    minus = [(r.reference_name, r.reference_end - 6, r.reference_end - 5) for r in kept if r.is_reverse]
    assert_counts(reader, genome, 0, plus)
    assert_counts(reader, genome, 1, minus)
    reader.close()


def test_coverage_of_real_reads_is_that_of_pysam(alignments):
    path, genome, reads = alignments
    options = {"count": "coverage", "min_mapq": 0, "exclude_flags": 0x704, "include_flags": 0, "duplicates": "keep"}
    reader = bam.open_signal(path, Naming(genome), options, (Channel(),))
    kept = [r for r in reads if not r.flag & 0x304]
    assert_counts(reader, genome, 0, [(r.reference_name, start, end) for r in kept for start, end in r.get_blocks()])
    reader.close()
