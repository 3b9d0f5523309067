"""Counts from BAM files against loops over pysam, and damaged files."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pysam
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError, MissingFileError
from db_ingest.formats import bam
from db_ingest.formats.base import EVERYTHING, Channel
from db_ingest.inputs.bgzf import END_MARK
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}
GENOME = Genome(tuple(SIZES), tuple(SIZES.values()))
NAMING = Naming(GENOME)
HEADER = [*SIZES.items(), ("chrUn_1", 700)]
PLUS, MINUS = Channel("+"), Channel("-")
EVERY_READ = {"shift": [0, 0], "min_mapq": 0, "exclude_flags": 0, "include_flags": 0, "duplicates": "keep"}
FIVE_PRIME, COVERAGE = {"count": "5p", **EVERY_READ}, {"count": "coverage", **EVERY_READ}

UNMAPPED, REVERSE, SECONDARY, FAILED, DUPLICATE, SUPPLEMENTARY = 0x4, 0x10, 0x100, 0x200, 0x400, 0x800


def read(
    chromosome: str | None, start: int, cigar: str | None, flag: int = 0, mapq: int = 60, name: str = "r"
) -> pysam.AlignedSegment:
    segment = pysam.AlignedSegment(pysam.AlignmentHeader.from_references(*zip(*HEADER, strict=True)))
    segment.query_name, segment.flag = name, flag
    segment.reference_id = -1 if chromosome is None else [n for n, _ in HEADER].index(chromosome)
    segment.reference_start, segment.mapping_quality = start, mapq
    segment.cigarstring = cigar
    bases = 36 if cigar is None else segment.infer_query_length()
    if bases:
        segment.query_sequence = "ACGT" * (bases // 4) + "ACGT"[: bases % 4]
        segment.query_qualities = pysam.qualitystring_to_array("I" * bases)
    segment.set_tags([("NM", 3), ("XA", "some text"), ("ZB", "A"), ("ZF", 0.5), ("RG", "rep1")])
    return segment


def write(path: Path, reads: Iterable[pysam.AlignedSegment], header: Sequence[tuple[str, int]] = HEADER) -> Path:
    names, sizes = zip(*header, strict=True)
    with pysam.AlignmentFile(str(path), "wb", reference_names=names, reference_lengths=sizes) as file:
        for segment in reads:
            file.write(segment)
    return path


def block(content: bytes, extra: bytes = b"") -> bytes:
    """One BGZF block, with ``extra`` fields before the one of its size."""
    squeezer = zlib.compressobj(6, zlib.DEFLATED, -15)
    deflated = squeezer.compress(content) + squeezer.flush()
    size = 12 + len(extra) + 6 + len(deflated) + 8
    head = struct.pack("<4sIBBH", b"\x1f\x8b\x08\x04", 0, 0, 255, len(extra) + 6) + extra
    head += struct.pack("<2sHH", b"BC", 2, size - 1)
    return head + deflated + struct.pack("<II", zlib.crc32(content), len(content))


def blocks(path: Path, content: bytes, size: int = 0xFF00, extra: bytes = b"") -> Path:
    """Write ``content`` in blocks of ``size`` bytes, wherever its records begin."""
    pieces = [content[i : i + size] for i in range(0, len(content), size)]
    path.write_bytes(b"".join(block(piece, extra) for piece in pieces) + END_MARK)
    return path


def some_reads(n: int, seed: int = 0) -> list[pysam.AlignedSegment]:
    """Reads of all kinds, not sorted: each flag, quality and operation of a CIGAR occurs."""
    rng = np.random.default_rng(seed)
    reads = []
    for i in range(n):
        if rng.random() < 0.1:
            placed = rng.random() < 0.5
            reads.append(read("chr1" if placed else None, 7 if placed else -1, None, UNMAPPED | 0x49, 0))
            continue
        cigar = str(rng.choice(["30M", "2H5S10M2I6M3D9M1S", "8=1X9=", "5M40N12M", "3M2P4M", "1S1M", "7M1D1I2D7M4H"]))
        name, size = HEADER[rng.integers(len(HEADER))]
        flags = [1, 2, 8, REVERSE, 0x20, 0x40, 0x80, SECONDARY, FAILED, DUPLICATE, SUPPLEMENTARY]
        flag = sum(bit for bit in flags if rng.random() < 0.3)
        reads.append(read(name, int(rng.integers(size - 60)), cigar, flag, int(rng.integers(256)), f"read{i}"))
    return reads


def expected(path: Path, options: dict, channel: Channel = EVERYTHING) -> dict[str, np.ndarray]:
    """Counts by pysam, read by read and base by base, under the file's names."""
    without = options["exclude_flags"] | DUPLICATE
    without -= DUPLICATE if options["duplicates"] == "keep" else 0
    counts = {}
    with pysam.AlignmentFile(str(path), check_sq=False) as file:
        counts = {name: np.zeros(size, np.float32) for name, size in zip(file.references, file.lengths, strict=True)}
        for segment in file.fetch(until_eof=True):
            strand = "-" if segment.is_reverse else "+"
            if (
                segment.is_unmapped
                or segment.flag & without
                or segment.flag & options["include_flags"] != options["include_flags"]
                or segment.mapping_quality < options["min_mapq"]
                or channel.strand not in (None, strand)
            ):
                continue
            values = counts[segment.reference_name]
            if options["count"] == "coverage":
                for start, end in segment.get_blocks():
                    values[start:end] += 1
                continue
            end = segment.reference_end
            base = segment.reference_start + options["shift"][0] if strand == "+" else end - 1 + options["shift"][1]
            if 0 <= base < len(values):
                values[base] += 1
    return counts


def found(path: Path, options: dict, channels: Sequence[Channel] = (EVERYTHING,), **more) -> list[dict]:
    reader = bam.open_signal(path, more.pop("naming", NAMING), options, channels, **more)
    try:
        sizes = {name: GENOME.size(name) for name in reader.chromosomes}
        return [{name: reader.read(name, 0, sizes[name], i).copy() for name in sizes} for i in range(len(channels))]
    finally:
        reader.close()


def assert_as_pysam(path: Path, options: dict, channels: Sequence[Channel] = (EVERYTHING,), **more) -> None:
    for channel, tracks in zip(channels, found(path, options, channels, **more), strict=True):
        by_pysam = expected(path, options, channel)
        assert set(tracks) == set(by_pysam) & set(SIZES)
        for name, values in tracks.items():
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, by_pysam[name])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("bam") / "mixed.bam", some_reads(3_000))


@pytest.mark.parametrize("channels", [(EVERYTHING,), (PLUS, MINUS), (MINUS,), (PLUS,), (EVERYTHING, MINUS, PLUS)])
@pytest.mark.parametrize("threads", [1, 2])
def test_five_prime_ends_and_coverage_are_those_of_pysam(mixed, channels, threads):
    assert_as_pysam(mixed, FIVE_PRIME, channels, threads=threads)
    assert_as_pysam(mixed, COVERAGE, channels, threads=threads)


@pytest.mark.parametrize("count", ["5p", "coverage"])
@pytest.mark.parametrize(
    "given",
    [
        {"min_mapq": 30},
        {"min_mapq": 255},
        {"exclude_flags": 0x704, "duplicates": "keep"},
        {"exclude_flags": 0x704, "duplicates": "drop"},
        {"exclude_flags": 0, "duplicates": "drop"},
        {"exclude_flags": SECONDARY | SUPPLEMENTARY},
        {"include_flags": 0x42},
        {"include_flags": DUPLICATE, "exclude_flags": DUPLICATE, "duplicates": "keep"},
        {"shift": [4, -5]},
    ],
    ids=str,
)
def test_quality_flags_and_shift_choose_the_reads_that_pysam_says(mixed, count, given):
    assert_as_pysam(mixed, {**FIVE_PRIME, "count": count, **given}, (PLUS, MINUS))


OPERATIONS = st.lists(st.tuples(st.sampled_from("MIDNSHP=X"), st.integers(1, 9)), min_size=1, max_size=12)


@examples(40)
@given(cigars=st.lists(st.tuples(OPERATIONS, st.booleans()), min_size=1, max_size=4))
def test_any_cigar_counts_as_pysam_counts_it(tmp_path, cigars):
    reads = [
        read("chr2", 100, "".join(f"{length}{kind}" for kind, length in cigar), REVERSE if reverse else 0)
        for cigar, reverse in cigars
    ]
    path = write(tmp_path / "a.bam", reads)
    assert_as_pysam(path, FIVE_PRIME, (PLUS, MINUS))
    assert_as_pysam(path, COVERAGE)


@pytest.mark.parametrize("count", ["5p", "coverage"])
def test_order_of_the_reads_does_not_matter_and_no_index_is_needed(tmp_path, mixed, count):
    pysam.sort("-o", str(tmp_path / "sorted.bam"), str(mixed))
    options = {**FIVE_PRIME, "count": count}
    assert not list(mixed.parent.glob("*.bai"))
    (shuffled,), (in_order,) = found(mixed, options), found(tmp_path / "sorted.bam", options)
    assert sum(values.sum() for values in shuffled.values()) > 1_000
    for name, values in shuffled.items():
        np.testing.assert_array_equal(values, in_order[name])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [1, 3, 50, 333, 20_000, 65_280])
def test_records_may_begin_and_end_in_any_block(tmp_path, mixed, size, threads):
    content = gzip.decompress(mixed.read_bytes())[: 40_000 if size < 50 else None]
    if size < 50:
        # Whole records alone.
        with pysam.AlignmentFile(str(mixed)) as file:
            reads = list(file)[:60]
        content = gzip.decompress(write(tmp_path / "few.bam", reads).read_bytes())
    path = blocks(tmp_path / "a.bam", content, size)
    assert_as_pysam(path, FIVE_PRIME, (PLUS, MINUS), threads=threads)
    assert_as_pysam(path, COVERAGE, threads=threads)


def test_blocks_may_have_further_fields_and_be_empty(tmp_path, mixed):
    content = gzip.decompress(mixed.read_bytes())
    path = tmp_path / "a.bam"
    extra = struct.pack("<2sH5s", b"XY", 5, b"other")
    path.write_bytes(
        block(content[:500], extra) + END_MARK + block(content[500:50_000]) + block(content[50_000:100_000], extra)
    )
    with path.open("ab") as file:
        file.write(blocks(tmp_path / "rest", content[100_000:]).read_bytes())
    # pysam reads blocks of the usual header alone.
    by_pysam = expected(mixed, COVERAGE)
    (tracks,) = found(path, COVERAGE)
    for name, values in tracks.items():
        np.testing.assert_array_equal(values, by_pysam[name])


def test_reads_longer_than_a_block(tmp_path):
    genome = Genome(("chr1",), (1_000_000,))
    header = pysam.AlignmentHeader.from_references(["chr1"], [1_000_000])
    reads = []
    for i in range(4):
        segment = pysam.AlignedSegment(header)
        segment.query_name, segment.flag, segment.mapping_quality = f"long{i}", i % 2 * REVERSE, 60
        segment.reference_id, segment.reference_start = 0, 1_000 + i
        segment.cigarstring = "100S150000M2000N149900M"
        segment.query_sequence = "ACGTT" * 60_000
        reads.append(segment)
    with pysam.AlignmentFile(str(tmp_path / "a.bam"), "wb", header=header) as file:
        for segment in reads:
            file.write(segment)
    for options in (FIVE_PRIME, COVERAGE):
        reader = bam.open_signal(tmp_path / "a.bam", Naming(genome), options, (EVERYTHING,), threads=2)
        np.testing.assert_array_equal(
            reader.read("chr1", 0, 1_000_000), expected(tmp_path / "a.bam", options)["chr1"], strict=True
        )
        reader.close()


def test_cigars_of_more_operations_than_their_field_holds(tmp_path):
    genome = Genome(("chr1",), (1_000_000,))
    header = pysam.AlignmentHeader.from_references(["chr1"], [1_000_000])
    with pysam.AlignmentFile(str(tmp_path / "a.bam"), "wb", header=header) as file:
        for flag in (0, REVERSE):
            segment = pysam.AlignedSegment(header)
            segment.query_name, segment.flag, segment.mapping_quality = "long", flag, 60
            segment.reference_id, segment.reference_start = 0, 500
            segment.cigartuples = [(0, 2), (1, 1), (0, 1), (2, 3)] * 20_000
            segment.query_sequence = "ACGT" * 20_000
            segment.set_tags([("ZZ", "before"), ("ZI", [1, 2, 300]), ("ZC", 7), ("ZS", 700), ("ZL", 70_000)])
            file.write(segment)
    for options in (FIVE_PRIME, COVERAGE):
        reader = bam.open_signal(tmp_path / "a.bam", Naming(genome), options, (EVERYTHING,))
        by_pysam = expected(tmp_path / "a.bam", options)["chr1"]
        assert by_pysam.sum() == (2 if options is FIVE_PRIME else 120_000)
        np.testing.assert_array_equal(reader.read("chr1", 0, 1_000_000), by_pysam)
        reader.close()


def test_skip_after_a_clip_of_the_whole_read_is_no_long_cigar_without_its_tag(tmp_path):
    path = write(tmp_path / "a.bam", [read("chr1", 10, "8S20N"), read("chr1", 10, "8S20N", REVERSE)])
    assert_as_pysam(path, COVERAGE)
    assert_as_pysam(path, FIVE_PRIME, (PLUS, MINUS))


def test_summary_says_what_was_left_out(tmp_path):
    reads = [
        read("chr1", 0, "10M"),
        read("chr1", 1, "10M", DUPLICATE),
        read("chr1", 2, "10M", mapq=3),
        read("chr1", 3, None),
        read("chrUn_1", 4, "10M"),
        read(None, -1, None, UNMAPPED),
        read("chr1", 5, None, UNMAPPED),
        read("chr1", 2_990, "10M", REVERSE),
    ]
    options = {**FIVE_PRIME, "min_mapq": 10, "duplicates": "drop", "shift": [-1, 1]}
    reader = bam.open_signal(write(tmp_path / "a.bam", reads), NAMING, options, (PLUS, MINUS))
    assert reader.summary == {
        "alignments": 8,
        "counted": 2,
        "filtered": 4,
        "elsewhere": 1,
        "without_cigar": 1,
        "beyond_ends": 2,
    }
    assert not reader.read("chr1", 0, 3_000, 0).any()
    assert not reader.read("chr1", 0, 3_000, 1).any()
    reader.close()


def test_header_alone_is_zero_everywhere(tmp_path):
    (tracks,) = found(write(tmp_path / "a.bam", []), COVERAGE)
    assert list(tracks) == list(SIZES)
    assert not any(values.any() for values in tracks.values())


def test_chromosomes_go_by_the_genomes_names_and_order(tmp_path):
    header = [("MT", 400), ("2", 1_500), ("extra", 9)]
    segment = read("chr2", 7, "20M")
    path = write(tmp_path / "a.bam", [segment], header)
    with pysam.AlignmentFile(str(path)) as file:
        assert next(file).reference_name == "2"
    (tracks,) = found(path, COVERAGE)
    assert list(tracks) == ["chr2", "chrM"]
    assert tracks["chr2"].nonzero()[0].tolist() == list(range(7, 27))


def test_user_names_a_chromosome(tmp_path):
    path = write(tmp_path / "a.bam", [read("chrUn_1", 7, "20M")], [("a", 9), ("b", 9), ("c", 9), ("second", 1_500)])
    (tracks,) = found(path, FIVE_PRIME, naming=Naming(GENOME, {"second": "chr2"}))
    assert tracks["chr2"].nonzero()[0].tolist() == [7]


def test_part_of_a_chromosome_is_that_part_of_the_whole(mixed):
    reader = bam.open_signal(mixed, NAMING, COVERAGE, (EVERYTHING,))
    np.testing.assert_array_equal(reader.read("chr1", 1_000, 1_700), expected(mixed, COVERAGE)["chr1"][1_000:1_700])
    reader.close()


# What is refused.


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BAM of three blocks."""
    folder = tmp_path_factory.mktemp("small")
    content = gzip.decompress(write(folder / "whole.bam", some_reads(12, seed=3)).read_bytes())
    return blocks(folder / "small.bam", content, len(content) // 2 - 40)


def both_ways(path: Path, options: dict, **more) -> str:
    """What opening a file and checking it say."""
    said = []
    for act in (lambda: bam.check_signal(path, NAMING, options), lambda: found(path, options, **more)):
        with pytest.raises(InputError) as caught:
            act()
        said.append(str(caught.value))
        assert "\n" not in said[-1]
        assert path.name in said[-1]
    assert said[0] == said[1]
    return said[0]


def test_file_cut_anywhere_is_refused(tmp_path, small):
    whole = small.read_bytes()
    path = tmp_path / "cut.bam"
    for kept in range(len(whole)):
        path.write_bytes(whole[:kept])
        said = both_ways(path, FIVE_PRIME)
        assert "truncated" in said or kept < 18, (kept, said)


@pytest.mark.parametrize("threads", [1, 2])
def test_file_cut_between_or_within_blocks_with_an_end_mark_is_refused(tmp_path, small, threads):
    whole = small.read_bytes()
    starts = [i for i in range(len(whole)) if whole[i:].startswith(b"\x1f\x8b\x08\x04")]
    path = tmp_path / "cut.bam"
    for kept in (*starts[1:-1], *(start + 40 for start in starts[:-1])):
        path.write_bytes(whole[:kept] + END_MARK)
        said = both_ways(path, FIVE_PRIME, threads=threads)
        expects = "ends within alignment|ends within its header" if kept in starts else "the block at byte"
        assert any(words in said for words in expects.split("|")), (kept, said)


def test_content_cut_anywhere_but_between_records_is_refused(tmp_path, small):
    content = gzip.decompress(small.read_bytes())
    ends = record_ends(content)
    for kept in range(1, len(content)):
        path = blocks(tmp_path / "cut.bam", content[:kept])
        if kept in ends:
            assert_as_pysam(path, FIVE_PRIME)
        else:
            said = both_ways(path, COVERAGE)
            assert "cut short" in said or kept < 4, (kept, said)


def record_ends(content: bytes) -> list[int]:
    """Where records of an inflated BAM end, the header being one."""
    at = 8 + struct.unpack_from("<i", content, 4)[0]
    (references,) = struct.unpack_from("<i", content, at)
    at += 4
    for _ in range(references):
        at += 8 + struct.unpack_from("<i", content, at)[0]
    ends = [at]
    while at < len(content):
        at += 4 + struct.unpack_from("<i", content, at)[0]
        ends.append(at)
    return ends


@pytest.mark.parametrize("threads", [1, 2])
def test_byte_changed_anywhere_is_noticed_or_changes_nothing(tmp_path, small, threads):
    whole = small.read_bytes()
    (untouched,) = found(small, COVERAGE)
    path = tmp_path / "damaged.bam"
    unnoticed = set()
    starts = [i for i in range(len(whole)) if whole[i:].startswith(b"\x1f\x8b\x08\x04")]
    for i in range(0, len(whole), threads):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :])
        try:
            (tracks,) = found(path, COVERAGE, threads=threads)
        except InputError as error:
            assert "damaged.bam" in str(error)  # noqa: PT017
            continue
        unnoticed.add(i - max(start for start in starts if start <= i))
        for name, values in tracks.items():
            np.testing.assert_array_equal(values, untouched[name])
    assert unnoticed <= set(range(4, 10)), "time, compression and system of a block's gzip header"


def test_damaged_block_names_its_place(tmp_path, small):
    damaged = bytearray(small.read_bytes())
    second = damaged.index(b"\x1f\x8b\x08\x04", 10)
    damaged[second + 60] ^= 0xFF
    path = tmp_path / "damaged.bam"
    path.write_bytes(damaged)
    assert f"the block at byte {second:,} " in both_ways(path, FIVE_PRIME)


@pytest.mark.parametrize(
    ("at", "value", "expects"),
    [
        (0, -5, "alignment 1 is damaged"),
        (0, 10, "alignment 1 is damaged"),
        (0, 1 << 30, "alignment 1 is damaged"),
        (4, 99, "alignment 1 is damaged"),
        (4, -2, "alignment 1 is damaged"),
        (8, -2, "alignment 1 is damaged"),
        (8, 2_999, r"alignment 1 lies at chr1:2,999-3,009, past the end of the chromosome; expected .* below 3,000"),
        (20, -1, "alignment 1 is damaged"),
        (20, 1 << 20, "alignment 1 is damaged"),
        (16, 0x0000FFFF, "alignment 1 is damaged"),
    ],
)
def test_record_that_cannot_be_is_refused(tmp_path, at, value, expects):
    content = bytearray(gzip.decompress(write(tmp_path / "a.bam", [read("chr1", 5, "10M")] * 3).read_bytes()))
    struct.pack_into("<i", content, record_ends(bytes(content))[0] + at, value)
    path = blocks(tmp_path / "damaged.bam", bytes(content))
    for options in (FIVE_PRIME, COVERAGE):
        with pytest.raises(InputError, match=rf"damaged\.bam: {expects}"):
            found(path, options)
    with pytest.raises(InputError, match=rf"damaged\.bam: {expects}"):
        bam.check_signal(path, NAMING, FIVE_PRIME)


@examples(60)
@given(data=st.data())
def test_records_of_any_bytes_are_refused_or_read(tmp_path, small, data):
    content = bytearray(gzip.decompress(small.read_bytes()))
    begin = record_ends(bytes(content))[0]
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(begin, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = blocks(tmp_path / "damaged.bam", bytes(content))
    for options in (FIVE_PRIME, COVERAGE):
        try:
            found(path, options)
        except InputError as error:
            assert "damaged.bam" in str(error)  # noqa: PT017


def test_reads_past_the_end_that_are_left_out_do_no_harm(tmp_path):
    reads = [read("chr1", 2_995, "10M", UNMAPPED), read("chr1", 2_995, "10M", mapq=0), read("chrUn_1", 699, "10M")]
    (tracks,) = found(write(tmp_path / "a.bam", reads), {**FIVE_PRIME, "min_mapq": 1})
    assert not tracks["chr1"].any()


def test_another_assembly_is_refused_with_both_sizes(tmp_path):
    path = write(tmp_path / "a.bam", [], [("chr1", 3_000), ("chr2", 1_501)])
    said = both_ways(path, FIVE_PRIME)
    assert "1,501" in said
    assert "1,500" in said


def test_no_chromosome_in_common_is_refused(tmp_path):
    assert "no chromosome in common" in both_ways(write(tmp_path / "a.bam", [], [("x", 5)]), FIVE_PRIME)


def test_unaligned_reads_are_refused(tmp_path):
    path = blocks(tmp_path / "a.bam", b"BAM\1" + bytes(8))
    assert "no chromosomes in its header" in both_ways(path, FIVE_PRIME)


def test_chromosome_twice_in_the_header_is_refused(tmp_path, small):
    content = gzip.decompress(small.read_bytes()).replace(b"chr2\0", b"chr1\0")
    assert "chromosome chr1 twice" in both_ways(blocks(tmp_path / "a.bam", content), FIVE_PRIME)


def test_negative_length_in_the_header_is_refused(tmp_path):
    path = blocks(tmp_path / "a.bam", b"BAM\1" + struct.pack("<i", -1) + bytes(100))
    assert "a length of -1 in its header" in both_ways(path, FIVE_PRIME)


def sam_text(folder: Path) -> bytes:
    with pysam.AlignmentFile(str(folder / "a.sam"), "w", reference_names=["chr1"], reference_lengths=[3_000]) as file:
        file.write(read("chr1", 5, "10M"))
    return (folder / "a.sam").read_bytes()


@pytest.mark.parametrize(
    ("make", "expects"),
    [
        (lambda folder: b"", "empty file; expected a BAM file"),
        (sam_text, "SAM text; expected a BAM file"),
        (lambda folder: b"CRAM\3\0" + bytes(60), "a CRAM file; expected a BAM file"),
        (lambda folder: gzip.compress(sam_text(folder)), "gzip without blocks; expected a BAM file"),
        (lambda folder: block(sam_text(folder)) + END_MARK, "compressed, but no BAM header; expected a BAM file"),
        (lambda folder: END_MARK, "ends within its header"),
        (lambda folder: b"chr1\t0\t5\n", "no BAM header; expected a BAM file"),
        (lambda folder: b"\x89PNG" + bytes(900), "no BAM header; expected a BAM file"),
        (lambda folder: b"\x1f\x8b\x08\x04" + bytes(90), "gzip without blocks; expected a BAM file"),
    ],
    ids=["empty", "sam", "cram", "gzip", "bgzip", "end mark alone", "bed", "png", "no size"],
)
def test_other_file_is_refused(tmp_path, make, expects):
    path = tmp_path / "other.bam"
    path.write_bytes(make(tmp_path))
    assert f"other.bam: {expects}" in both_ways(path, FIVE_PRIME)


def test_no_file_is_refused(tmp_path):
    for path in (tmp_path / "none.bam", tmp_path):
        with pytest.raises(MissingFileError, match="expected a BAM file"):
            bam.open_signal(path, NAMING, FIVE_PRIME, (EVERYTHING,))


@pytest.mark.parametrize(
    ("given", "expects"),
    [
        ({"include_flags": 0x440, "duplicates": "drop"}, "flag 0x400, which duplicates: drop leaves out"),
        ({"include_flags": 0x3, "exclude_flags": 0x6}, "flag 0x2, which exclude_flags leaves out"),
    ],
)
def test_flags_that_no_read_can_have_are_refused(small, given, expects):
    assert expects in both_ways(small, {**FIVE_PRIME, **given})


def test_check_reads_the_start_alone(tmp_path):
    good = gzip.decompress(write(tmp_path / "a.bam", some_reads(10_000)).read_bytes())
    path = blocks(tmp_path / "late.bam", good + struct.pack("<i", -7) + bytes(40))
    assert len(good) > 1_200_000
    bam.check_signal(path, NAMING, COVERAGE)
    with pytest.raises(InputError, match=r"alignment 10,001 is damaged"):
        found(path, COVERAGE)
