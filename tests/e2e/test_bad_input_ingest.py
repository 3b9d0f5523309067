"""``gen_ingest`` on files that are broken, missing or of another kind.

Each must end with exit status 2 and one line on standard error that names the file and the place, leave neither a
database nor a temporary file, and not touch a database that is there.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyBigWig
import pysam
import pytest
import tiledb
import yaml
from forked import Launcher
from plain import joined

from db_ingest.cli.gen_ingest import COMMAND
from db_ingest.formats import FORMATS
from db_ingest.layout import catalogue as catalogues

SIZES = {"chr1": 3_000, "chr2": 1_500}
PEAK = ("chr1", 100, 200, "p", 0, ".", 1, 2, 3, 50)


def write_fasta(path: Path) -> None:
    rng = np.random.default_rng(1)
    text = "".join(f">{name}\n{''.join(rng.choice(list('ACGT'), size))}\n" for name, size in SIZES.items())
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_bigwig(path: Path, sizes: dict[str, int], last: float = 0.5) -> None:
    rng = np.random.default_rng(2)
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(sizes.items()))
        for name, size in sizes.items():
            file.addEntries(name, 10, values=[*(float(v) for v in rng.random(size - 11) + 0.1), last], span=1, step=1)


def write_bed(path: Path, *rows: tuple) -> None:
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


class Experiment:
    """A sound experiment in a folder, to be broken in one place."""

    def __init__(self, folder: Path, dataset: str = "new") -> None:
        self.folder, self.dataset = folder, dataset
        folder.mkdir()
        self.bigwig, self.peaks, self.fasta = folder / "signal.bw", folder / "peaks.narrowPeak", folder / "genome.fa"
        self.table, self.types = folder / "samples.tsv", folder / "types.tsv"
        self.database = folder / "db"
        write_fasta(self.fasta)
        write_bigwig(self.bigwig, SIZES)
        write_bed(self.peaks, PEAK)
        self.types.write_text("signal\tbigwig\npeaks\tbed_summit_from_last_col\n")
        self.name_files()
        self.flags: dict[str, object] = {
            "tdb_array": self.database,
            "ref_fasta": self.fasta,
            "tiledb_metadata": self.table,
            "attribute_config_file": self.types,
        }

    def name_files(self) -> None:
        """Write the samples table."""
        self.table.write_text(f"dataset\tsignal\tpeaks\n{self.dataset}\t{self.bigwig}\t{self.peaks}\n")

    def add(self, kind: str, path: Path, **options: object) -> None:
        """Add a track of another type, ``extra``."""
        self.extra = path
        self.types = self.folder / "types.yaml"
        self.types.write_text(
            yaml.safe_dump(
                {"signal": "bigwig", "peaks": "bed_summit_from_last_col", "extra": {"type": kind, **options}}
            )
        )
        self.flags["attribute_config_file"] = self.types
        self.table.write_text(f"dataset\tsignal\tpeaks\textra\n{self.dataset}\t{self.bigwig}\t{self.peaks}\t{path}\n")

    def words(self) -> list[str]:
        return [f"--{name}={value}" for name, value in self.flags.items()]


@dataclass(frozen=True)
class Case:
    """How to break an experiment, and what the message must name besides; ``{x}`` is an attribute of it.

    What is ``late`` shows only when a file is read to its end, with the work under way.
    """

    spoil: Callable[[Experiment], object]
    expects: tuple[str, ...]
    late: bool = False


def cut(kept: int | float) -> Case:
    """Keep the first bytes of the bigWig, a share of them, or all but the last."""

    def spoil(it: Experiment) -> None:
        whole = it.bigwig.read_bytes()
        it.bigwig.write_bytes(whole[: int(len(whole) * kept) if isinstance(kept, float) else kept])

    return Case(spoil, ("{bigwig}: ",))


def overwritten(target: str, content: bytes, *expects: str) -> Case:
    return Case(lambda it: getattr(it, target).write_bytes(content), expects)


def peaks(*rows: tuple, expects: tuple[str, ...]) -> Case:
    return Case(lambda it: write_bed(it.peaks, *rows), expects)


def chromosomes(sizes: dict[str, int], *expects: str) -> Case:
    return Case(lambda it: write_bigwig(it.bigwig, sizes), expects)


def table(text: str, *expects: str) -> Case:
    return Case(
        lambda it: it.table.write_text(text.replace("BIGWIG", str(it.bigwig)).replace("BED", str(it.peaks))), expects
    )


def types(name: str, text: str, *expects: str) -> Case:
    def spoil(it: Experiment) -> None:
        it.types = it.folder / name
        it.types.write_text(text)
        it.flags["attribute_config_file"] = it.types

    return Case(spoil, ("{types}", *expects))


def gzipped(target: str, damage: Callable[[bytes], bytes]) -> Case:
    """Let the FASTA or the peaks be gzipped, and the gzip broken."""

    def spoil(it: Experiment) -> None:
        path = it.folder / f"{getattr(it, target).name}.gz"
        setattr(it, target, path)
        if target == "fasta":
            write_fasta(path)
            it.flags["ref_fasta"] = path
        else:
            write_bed(path, *[PEAK] * 400)
            it.name_files()
        path.write_bytes(damage(path.read_bytes()))

    return Case(spoil, (f"{{{target}}}: ",))


def extra(
    kind: str,
    name: str,
    write: bytes | str | Callable[[Path], object],
    *expects: str,
    late: bool = False,
    **options: object,
) -> Case:
    """A track of another type, of a file that is given or written by a function."""

    def spoil(it: Experiment) -> None:
        path = it.folder / name
        if callable(write):
            write(path)
        else:
            path.write_bytes(write if isinstance(write, bytes) else write.encode())
        it.add(kind, path, **NEEDED.get(kind, {}), **options)

    return Case(spoil, expects, late)


def groups(table: str, *expects: str, late: bool = False) -> Case:
    """A sound fragments file with a table of barcodes."""

    def spoil(it: Experiment) -> None:
        path = it.folder / "fragments.tsv"
        path.write_text(FRAGMENTS)
        it.groups = it.folder / "groups.tsv"
        it.groups.write_text(table)
        it.add("fragments", path, barcodes="groups.tsv")

    return Case(spoil, expects, late)


def zipped(text: str, damage: Callable[[bytes], bytes], blocks: bool = False) -> Callable[[Path], object]:
    """Write text gzipped, or in blocks (BGZF), and damage it."""

    def write(path: Path) -> None:
        if blocks:
            with pysam.BGZFile(str(path), "wb") as file:
                file.write(text.encode())
        else:
            path.write_bytes(gzip.compress(text.encode()))
        path.write_bytes(damage(path.read_bytes()))

    return write


def bam(
    damage: Callable[[bytes], bytes] = bytes, sizes: dict[str, int] = SIZES, starts: Sequence[int] = range(900, 0, -1)
) -> Callable[[Path], object]:
    """Write an unsorted BAM without an index, and damage it."""

    def write(path: Path) -> None:
        with pysam.AlignmentFile(
            str(path), "wb", reference_names=list(sizes), reference_lengths=list(sizes.values())
        ) as file:
            for start in starts:
                read = pysam.AlignedSegment(file.header)
                read.query_name, read.flag, read.mapping_quality = f"read{start * 7919 % 977}", start % 2 * 16, 60
                read.reference_id, read.reference_start, read.cigarstring = 0, start, "30M"
                file.write(read)
        path.write_bytes(damage(path.read_bytes()))

    return write


def arrays(**given: np.ndarray) -> Callable[[Path], object]:
    return lambda path: np.savez(path, **given)


NEEDED: dict[str, dict[str, object]] = {"npz": {"bin": 10}, "npy": {"bin": 10, "chromosome": "chr1"}}
FRAGMENTS = "chr1\t5\t90\tAAA-1\t2\nchr2\t7\t80\tCCC-1\t1\n"
LINES = {
    "bedgraph": "".join(f"chr1\t{i}\t{i + 1}\t{i % 7}.5\n" for i in range(2_000)),
    "fragments": "".join(f"chr1\t{i}\t{i + 40}\tAAA-{i % 5}\t1\n" for i in range(2_000)),
    "bedpe": "".join(f"chr1\t{i}\t{i + 40}\tchr1\t{i + 90}\t{i + 99}\n" for i in range(2_000)),
    "tagalign_5p": "".join(f"chr1\t{i}\t{i + 40}\tN\t1000\t+\n" for i in range(2_000)),
    "bed_no_summit": "".join(f"chr1\t{i}\t{i + 40}\n" for i in range(2_000)),
    "narrowPeak": "".join(f"chr1\t{i}\t{i + 40}\tp{i}\t0\t.\t1\t-1\t-1\t5\n" for i in range(2_000)),
    "broadPeak": "".join(f"chr1\t{i}\t{i + 40}\tp{i}\t0\t.\t1\t-1\t-1\n" for i in range(2_000)),
}
# More than is looked at before the work begins; what follows is wrong.
LONG = {
    "bedgraph": "".join(f"chr1\t{i % 2_900}\t{i % 2_900 + 1}\t0.000000000000001\n" for i in range(2_900))
    + ("# a comment that nobody reads, of some length\n" * 30_000),
    "fragments": FRAGMENTS * 30_000,
    "bedpe": "chr1\t5\t90\tchr1\t95\t99\n" * 60_000,
    "tagalign_5p": "chr1\t5\t90\tN\t1000\t+\n" * 60_000,
}


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 0xFF]) + content[len(content) // 2 + 1 :]


def flags(*expects: str, **changes: object) -> Case:
    def spoil(it: Experiment) -> None:
        it.flags.update({name: str(value).format_map(vars(it)) for name, value in changes.items() if value})
        for name in [name for name, value in changes.items() if not value]:
            del it.flags[name]

    return Case(spoil, expects)


CASES = {
    # Missing
    "missing FASTA": Case(lambda it: it.fasta.unlink(), ("{fasta}: no such file",)),
    "missing samples table": Case(lambda it: it.table.unlink(), ("{table}: no such file",)),
    "missing bigWig in a cell": Case(lambda it: it.bigwig.unlink(), ("{table}:2: ", "'signal'", "{bigwig}")),
    "missing peaks in a cell": Case(lambda it: it.peaks.unlink(), ("{table}:2: ", "'peaks'", "{peaks}")),
    "missing attribute config": Case(lambda it: it.types.unlink(), ("{types}: no such file",)),
    "missing chrom sizes": flags("{folder}/none.sizes: no such", chrom_sizes="{folder}/none.sizes"),
    # bigWig
    "bigWig cut to 1 byte": cut(1),
    "bigWig cut in its header": cut(40),
    "bigWig cut after its header": cut(64),
    "bigWig cut at a tenth": cut(0.1),
    "bigWig cut at a half": cut(0.5),
    "bigWig cut at nine tenths": cut(0.9),
    "bigWig without its last 100 bytes": cut(-100),
    "bigWig without its last byte": cut(-1),
    "bedGraph given as bigWig": overwritten("bigwig", b"chr1\t0\t5\t1.5\n" * 30, "{bigwig}: no bigWig header"),
    "bigBed given as bigWig": overwritten("bigwig", struct.pack("<I", 0x8789F2EB) + bytes(900), "{bigwig}: a bigBed"),
    "gzip given as bigWig": overwritten("bigwig", gzip.compress(bytes(900)), "{bigwig}: no bigWig header"),
    "empty bigWig": overwritten("bigwig", b"", "{bigwig}: empty file"),
    "longer chromosome in the bigWig": chromosomes(
        {"chr1": 3_000, "chr2": 1_501}, "{bigwig}: chromosome chr2 has 1,501 bp; the genome's chr2 has 1,500 bp"
    ),
    "shorter chromosome in the bigWig": chromosomes({"chr1": 2_999, "chr2": 1_500}, "{bigwig}: chromosome chr1"),
    "bigWig of other chromosome names": chromosomes(
        {"A": 3_000, "B": 1_500}, "{bigwig}: no chromosome in common", "file has A, B", "genome chr1, chr2"
    ),
    **{f"bigWig cut at {share:.0%}": cut(share) for share in (0.02, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.95, 0.99, 0.999)},
    "infinite value in the bigWig": Case(lambda it: write_bigwig(it.bigwig, SIZES, np.inf), ("{bigwig}: ", "finite")),
    # Any type
    **{f"empty file as {kind}": extra(kind, "nothing", b"", "{extra}: empty file; expected ") for kind in FORMATS},
    **{
        f"bigWig as {kind}": extra(kind, "a.bw", lambda path: write_bigwig(path, SIZES), "{extra}: ", "; expected ")
        for kind in FORMATS
        if kind != "bigwig"
    },
    **{
        f"folder as {kind}": extra(kind, "folder", Path.mkdir, "{table}:2: column 'extra': no such file {extra}")
        for kind in FORMATS
    },
    **{
        f"truncated gzip of {kind}": extra(kind, "a.gz", zipped(text, half), "{extra}: ", "expected ")
        for kind, text in LINES.items()
    },
    **{
        f"gzip of {kind} without its end": extra(kind, "a.gz", zipped(text, lambda data: data[:-6]), "{extra}: ")
        for kind, text in LINES.items()
    },
    **{
        f"damaged gzip of {kind}": extra(kind, "a.gz", zipped(text, flipped), "{extra}: ")
        for kind, text in LINES.items()
    },
    **{
        f"truncated BGZF of {kind}": extra(kind, "a.gz", zipped(text, lambda data: data[:-28], True), "{extra}: ")
        for kind, text in LINES.items()
    },
    **{
        f"fewer columns later on in {kind}": extra(kind, "a.txt", text + "chr1\t5\n", "{extra}:2001: ", "fewer ")
        for kind, text in LINES.items()
    },
    # bedGraph
    "bedGraph that overlaps": extra(
        "bedgraph", "a.bg", "chr1\t0\t10\t1\nchr1\t9\t20\t2\n", "{extra}:2: chr1 9 20: begins before base 10"
    ),
    "bedGraph that is not sorted": extra(
        "bedgraph", "a.bg", "chr1\t50\t60\t1\nchr1\t9\t20\t2\n", "{extra}:2: chr1 9 20: ", "sorted"
    ),
    "bedGraph that comes back to a chromosome": extra(
        "bedgraph", "a.bg", "chr1\t0\t1\t1\nchr2\t0\t1\t1\nchr1\t5\t6\t1\n", "{extra}:3: chr1 5 6: ", "in one piece"
    ),
    "bedGraph with a NaN": extra("bedgraph", "a.bg", "chr1\t0\t9\tnan\n", "{extra}:1: value (column 4) is 'nan'"),
    "bedGraph with an infinity": extra("bedgraph", "a.bg", "chr1\t0\t9\tinf\n", "{extra}:1: value (column 4) is 'inf'"),
    "bedGraph beyond float32": extra("bedgraph", "a.bg", "chr1\t0\t9\t1e39\n", "{extra}:1: value (column 4) is '1e39'"),
    "bedGraph past the end": extra(
        "bedgraph", "a.bg", "chr1\t2990\t3001\t1\n", "{extra}:1: chr1 2990 3001: the end lies past", "3,000 bp"
    ),
    "bedGraph of other chromosome names": extra(
        "bedgraph", "a.bg", "A\t0\t9\t1\n", "{extra}: no chromosome in common", "file has A, the genome chr1, chr2"
    ),
    "bedGraph that is wrong at its end": extra(
        "bedgraph", "a.bg", LONG["bedgraph"] + "chr1\t5\t6\t1\n", "{extra}:32901: chr1 5 6: begins before", late=True
    ),
    # BAM
    **{
        f"BAM cut at {share:.0%}": extra(
            "bam_5p", "a.bam", bam(lambda data, share=share: data[: int(len(data) * share)]), "{extra}: "
        )
        for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
    },
    "BAM without its end mark": extra("bam_coverage", "a.bam", bam(lambda data: data[:-28]), "{extra}: truncated"),
    "damaged BAM": extra("bam_5p", "a.bam", bam(flipped), "{extra}: the block at byte "),
    "BAM of another assembly": extra(
        "bam_5p",
        "a.bam",
        bam(sizes={"chr1": 3_001, "chr2": 1_500}),
        "{extra}: chromosome chr1 has 3,001 bp; the genome's chr1 has 3,000 bp",
    ),
    "BAM of other chromosome names": extra(
        "bam_5p_plus", "a.bam", bam(sizes={"A": 3_000}), "{extra}: no chromosome in common"
    ),
    "BAM with a read past the end": extra(
        "bam_coverage", "a.bam", bam(starts=[5, 2_980]), "{extra}: alignment 2 lies at chr1:2,980-3,010, past the end"
    ),
    "SAM given as BAM": extra("bam_5p", "a.bam", "@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:3000\n", "{extra}: SAM text"),
    "gzip given as BAM": extra("bam_5p", "a.bam", gzip.compress(b"chr1"), "{extra}: gzip without blocks"),
    "bgzipped text given as BAM": extra(
        "bam_5p", "a.bam", zipped("chr1", bytes, True), "{extra}: compressed, but no BAM"
    ),
    "CRAM given as BAM": extra("bam_5p", "a.bam", b"CRAM\3\0" + bytes(90), "{extra}: a CRAM file"),
    # Fragments and reads
    "fragments of 3 columns": extra(
        "fragments", "f.tsv", "chr1\t5\t9\n", "{extra}:1: 3 column(s); expected", "barcode"
    ),
    "fragments that start below 0": extra(
        "fragments", "f.tsv", FRAGMENTS + "chr1\t-1\t9\tAAA\t1\n", "{extra}:3: chr1 -1 9: the start is below 0"
    ),
    "fragments that end where they start": extra(
        "fragments", "f.tsv", FRAGMENTS + "chr1\t9\t9\tAAA\t1\n", "{extra}:3: chr1 9 9: the end must lie above"
    ),
    "fragments wrong at their end": extra(
        "fragments", "f.tsv", LONG["fragments"] + "chr1\t-5\t6\tA\t1\n", "{extra}:60001: chr1 -5 6: ", late=True
    ),
    "fragments of unknown barcodes": groups(
        "TTT-1\tT\n", "{extra}: none of its barcodes is in {groups}; expected some in common", late=True
    ),
    "table of barcodes of 3 columns": groups("AAA-1\tT\tx\n", "{groups}:1: 3 columns; expected barcode and group"),
    "table of barcodes with one twice": groups("AAA-1\tT\nAAA-1\tB\n", "{groups}:2: barcode AAA-1 is there twice"),
    "empty table of barcodes": groups("", "{groups}: empty file"),
    "missing table of barcodes": extra("fragments", "f.tsv", FRAGMENTS, "none.tsv: no such file", barcodes="none.tsv"),
    "bedpe of 5 columns": extra("bedpe", "a.bedpe", "chr1\t5\t9\tchr1\t7\n", "{extra}:1: 5 columns; expected"),
    "bedpe wrong at its end": extra(
        "bedpe", "a.bedpe", LONG["bedpe"] + "chr1\t5\t6\tchr1\tx\t9\n", "{extra}:60001: start of the second", late=True
    ),
    "tagAlign without strands": extra(
        "tagalign_5p", "a.tagAlign", "chr1\t5\t9\tN\t1000\t.\n", "{extra}:1: strand (column 6) is '.'; expected + or -"
    ),
    "tagAlign wrong at its end": extra(
        "tagalign_5p_minus",
        "a.tagAlign",
        LONG["tagalign_5p"] + "chr1\t5\t6\tN\t1\t*\n",
        "{extra}:60001: strand",
        late=True,
    ),
    # Arrays
    "array of another length": extra(
        "npz",
        "a.npz",
        arrays(chr1=np.ones(299)),
        "{extra}: array 'chr1' has 299 values; chr1 of 3,000 bp has 300 bins of 10",
    ),
    "array of two dimensions": extra("npz", "a.npz", arrays(chr1=np.ones((300, 1))), "{extra}: array 'chr1' has shape"),
    "array of text": extra("npz", "a.npz", arrays(chr1=np.array(["x"] * 300)), "{extra}: array 'chr1' has shape"),
    "array of objects": extra("npz", "a.npz", arrays(chr1=np.array([None] * 300)), "{extra}: array 'chr1' has shape"),
    "array with an infinity": extra(
        "npz",
        "a.npz",
        arrays(chr1=np.where(np.arange(300) == 7, np.inf, 0.0)),
        "{extra}: chr1:70-80: an infinite",
        late=True,
    ),
    "archive cut short": extra(
        "npz",
        "a.npz",
        lambda path: (arrays(chr1=np.ones(300))(path), path.write_bytes(half(path.read_bytes()))),
        "{extra}: cannot be read",
    ),
    "array of no chromosome": extra(
        "npz", "a.npz", arrays(values=np.ones(300)), "{extra}: an array of no chromosome's"
    ),
    "unknown key of an archive": extra(
        "npz", "a.npz", arrays(chr1=np.ones(300)), "{extra}: no array 'x'; the file has chr1", key="x"
    ),
    # Peaks
    "end below start": peaks(PEAK, ("chr1", 9, 5, *PEAK[3:]), expects=("{peaks}:2: chr1 9 5: ",)),
    "end at start": peaks(("chr1", 9, 9, *PEAK[3:]), expects=("{peaks}:1: chr1 9 9: ",)),
    "end past the chromosome": peaks(
        PEAK, PEAK, ("chr2", 9, 1_501, *PEAK[3:]), expects=("{peaks}:3: chr2 9 1501: ", "1,500 bp")
    ),
    "start below 0": peaks(("chr2", -1, 500, *PEAK[3:]), expects=("{peaks}:1: chr2 -1 500: ", "below 0")),
    "start that is no number": peaks(
        PEAK, ("chr1", "x", 9, *PEAK[3:]), expects=("{peaks}:2: start (column 2) is 'x'",)
    ),
    "end beyond all numbers": peaks(("chr1", 1, "9e99", *PEAK[3:]), expects=("{peaks}:1: end (column 3) is '9e99'",)),
    "value that is no number": peaks(
        PEAK, (*PEAK[:6], "high", 2, 3, 50), expects=("{peaks}:2: signalValue (column 7) is 'high'",)
    ),
    "value that is NaN": peaks(
        PEAK, (*PEAK[:6], "nan", 2, 3, 50), expects=("{peaks}:2: signalValue (column 7) is 'nan'",)
    ),
    "value that is infinite": peaks(
        PEAK, (*PEAK[:7], "inf", 3, 50), expects=("{peaks}:2: pValue (column 8) is 'inf'",)
    ),
    "broadPeak as narrowPeak": extra(
        "narrowPeak", "a.broadPeak", LINES["broadPeak"], "{extra}:1: 9 columns; expected the 10"
    ),
    "narrowPeak as broadPeak": extra("broadPeak", "a.np", LINES["narrowPeak"], "{extra}:1: 10 columns; expected the 9"),
    "summit below -1": peaks(PEAK, (*PEAK[:9], -2), expects=("{peaks}:2: chr1 100 200: summit offset -2",)),
    "summit past the peak": peaks(PEAK, (*PEAK[:9], 100), expects=("{peaks}:2: chr1 100 200: summit offset 100",)),
    "more columns further down": peaks(PEAK, PEAK, (*PEAK, "x"), expects=("{peaks}:3: more columns",)),
    "peaks of other chromosome names": peaks(
        ("A", *PEAK[1:]), ("X", *PEAK[1:]), expects=("{peaks}: no chromosome in common", "file has A, X", "chr1, chr2")
    ),
    "empty peaks": overwritten("peaks", b"", "{peaks}: empty file"),
    "peaks of comments only": overwritten("peaks", b"track name=x\n# c\nbrowser hide all\n\n", "{peaks}: no intervals"),
    "bigWig given as peaks": Case(lambda it: write_bigwig(it.peaks, SIZES), ("{peaks}: binary",)),
    # Tables
    "dataset named twice": table("dataset\tpeaks\na\tBED\nb\tBED\na\tBED\n", "{table}:4: dataset 'a'", "line 2"),
    "attribute in two columns": table(
        "dataset\tpeaks\tpeaks\na\tBED\tBED\n", "{table}:1: column 'peaks' is there twice"
    ),
    "attribute twice in YAML": types(
        "t.yaml", "signal: bigwig\npeaks: bed_no_summit\nsignal: bigwig\n", ":3: 'signal' is there twice"
    ),
    "attribute twice in a config of lines": types(
        "t.tsv", "signal\tbigwig\nsignal\tbigwig\n", ":2: attribute 'signal' is there twice"
    ),
    "cell of a file name that is too long": table(
        f"dataset\tpeaks\na\t{'x' * 300}\n", "{table}:2: column 'peaks': no such"
    ),
    "unknown attribute": table("dataset\tpeak\na\tBED\n", "{table}:1: unknown attribute 'peak'", "signal, peaks"),
    "table without header": table("a\tBED\n", "{table}:1: no column 'dataset'"),
    "unknown type": types("t.tsv", "signal\tbigwig\npeaks\tpeaks\n", "'peaks' has type 'peaks'", "bed_no_summit"),
    "unknown type in YAML": types("t.yaml", "signal: bigwig\npeaks: {type: bed}\n", "'peaks' has type 'bed'"),
    "unknown option in YAML": types("t.yaml", "signal: {type: bigwig, sign: x}\n", "'signal': unknown option 'sign'"),
    "unknown value in YAML": types("t.yaml", "signal: {type: bigwig, negative: x}\n", "'signal': negative is 'x'"),
    "broken YAML": types("t.yaml", "signal: [bigwig\n", "not YAML"),
    "both attribute configs": flags(
        "--attribute_config and --attribute_config_file", attribute_config="encode_pipeline"
    ),
    "neither attribute config": flags("--attribute_config and --attribute_config_file", attribute_config_file=None),
    "negative threads": flags("--threads -1: expected 0", threads=-1),
    # Genome
    "text given as FASTA": overwritten("fasta", b"no sequence here\n", "{fasta}: no sequence"),
    "FASTQ given as FASTA": overwritten("fasta", b"@chr1\nACGT\n+\nIIII\n", "{fasta}: no sequence"),
    "bigWig given as FASTA": Case(lambda it: write_bigwig(it.fasta, SIZES), ("{fasta}: ",)),
    "empty FASTA": overwritten("fasta", b"", "{fasta}: empty file"),
    "chromosome twice in the FASTA": overwritten("fasta", b">a\nAC\n>a\nAC\n", "{fasta}: sequence 'a' is there twice"),
    "broken chrom sizes": flags("{table}:1: expected a chromosome name and a length", chrom_sizes="{table}"),
    # Compression
    "truncated gzip of peaks": gzipped("peaks", half),
    "damaged gzip of peaks": gzipped("peaks", flipped),
    "truncated gzip of the FASTA": gzipped("fasta", half),
    "damaged gzip of the FASTA": gzipped("fasta", flipped),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file and folder below a folder, and what the files hold."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def check_message(text: str, case: Case, experiment: Experiment) -> None:
    assert text.startswith("gen_ingest: error: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    for expected in case.expects:
        assert expected.format_map(vars(experiment)) in text


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    log = logging.getLogger("kerasgen")
    before = (log.handlers, log.propagate, log.level)
    yield
    log.handlers, log.propagate = before[0], before[1]
    log.setLevel(before[2])


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return Experiment(tmp_path / "experiment")


@pytest.fixture(scope="module")
def good_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound database of the same genome."""
    made = Experiment(tmp_path_factory.mktemp("good") / "files", dataset="old")
    assert COMMAND.run(made.words()) == 0
    return made.database


def test_experiment_that_is_not_broken_is_ingested(experiment, good_database):
    assert COMMAND.run(experiment.words()) == 0
    assert (experiment.database / "catalogue.json").is_file()


@every_case
def test_bad_input_ends_with_2_in_one_line_and_leaves_nothing(case, experiment, tmp_path, capfd):
    case.spoil(experiment)
    if case.late:
        # Other tracks would be finished, and stay.
        experiment.table.write_text(f"dataset\textra\nnew\t{experiment.extra}\n")
    before = content_of(tmp_path)
    assert COMMAND.run(experiment.words()) == 2
    said = capfd.readouterr()
    check_message(said.err, case, experiment)
    assert said.out == ""
    assert not experiment.database.exists()
    assert content_of(tmp_path) == before


@every_case
def test_bad_input_leaves_a_database_that_is_there_byte_for_byte(case, experiment, good_database, capfd):
    case.spoil(experiment)
    experiment.flags["tdb_array"] = good_database
    before = content_of(good_database)
    tracks = catalogues.load(str(good_database)).tracks
    assert COMMAND.run([*experiment.words(), "--overwrite"]) == 2
    check_message(capfd.readouterr().err, case, experiment)
    if case.late:
        kept = catalogues.load(str(good_database)).tracks
        assert [track for track in kept if track.dataset == "old"] == [t for t in tracks if t.dataset == "old"]
        assert not [track for track in kept if track.attribute == "extra"]
    else:
        assert content_of(good_database) == before


@pytest.mark.parametrize(
    "name",
    [
        "missing FASTA",
        "bigWig without its last 100 bytes",
        "end past the chromosome",
        "unknown option in YAML",
        "truncated gzip of the FASTA",
    ],
)
def test_bad_input_to_the_console_script(name, experiment, tmp_path):
    case = CASES[name]
    case.spoil(experiment)
    before = content_of(tmp_path)
    script = Path(sys.executable).parent / "gen_ingest"
    done = subprocess.run([script, *experiment.words()], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    check_message(done.stderr, case, experiment)
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("name", ["bigWig cut at a half", "start below 0", "truncated gzip of the FASTA"])
def test_dry_run_refuses_the_same(name, experiment, tmp_path, capfd):
    case = CASES[name]
    case.spoil(experiment)
    before = content_of(tmp_path)
    assert COMMAND.run([*experiment.words(), "--dry_run"]) == 2
    check_message(capfd.readouterr().err, case, experiment)
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("kind", ["folder", "file", "other catalogue"])
def test_path_that_holds_something_else_is_refused_and_kept(kind, experiment, tmp_path, capfd):
    place = experiment.database
    if kind == "file":
        place.write_text("precious")
    else:
        place.mkdir()
        (place / ("catalogue.json" if kind == "other catalogue" else "thesis.txt")).write_text("precious")
    before = content_of(tmp_path)
    assert COMMAND.run(experiment.words()) == 2
    check_message(capfd.readouterr().err, Case(print, ("{database}",)), experiment)
    assert content_of(tmp_path) == before


def test_unknown_preset_is_refused_by_the_parser(experiment, capfd):
    del experiment.flags["attribute_config_file"]
    with pytest.raises(SystemExit) as caught:
        COMMAND.run([*experiment.words(), "--attribute_config", "encode"])
    assert caught.value.code == 2
    check_message(capfd.readouterr().err, Case(print, ("'encode'", "encode_pipeline")), experiment)
    assert not os.path.exists(experiment.database)


def test_summit_of_minus_one_is_accepted_as_the_centre_and_counted(experiment, capfd):
    write_bed(experiment.peaks, PEAK, (*PEAK[:9], -1), ("chr2", 10, 21, *PEAK[3:9], -1))
    assert COMMAND.run(experiment.words()) == 0
    assert "3 intervals" in (said := capfd.readouterr().out)
    assert "2 without a summit (their centre is used)" in said


# What is odd but sound


def cells(database: Path, attribute: str, dataset: str, chromosome: str = "chr1") -> np.ndarray:
    """A track on a chromosome, as float64, by TileDB alone."""
    document = json.loads((database / "catalogue.json").read_text())
    track = next(t for t in document["tracks"] if (t["attribute"], t["dataset"]) == (attribute, dataset))
    place = next(c for c in document["genome"]["chromosomes"] if c["name"] == chromosome)
    with tiledb.open(str(database / track["folder"] / attribute)) as array:
        found = joined(array[track["row"], place["offset"] : place["offset"] + place["size"]]["value"])
    return found.astype(np.float64)


def bigwig_values(path: Path, chromosome: str = "chr1") -> np.ndarray:
    with pyBigWig.open(str(path)) as file:
        return np.nan_to_num(file.values(chromosome, 0, file.chroms(chromosome), numpy=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\t\t\n"),
        lambda text: text.replace("\t", " \t "),
        lambda text: text.rstrip("\n"),
        lambda text: f"# made by hand\n\n{text}\n\n",
        lambda text: "\ufeff" + text.replace("\n", "\t\r\n"),
    ],
    ids=["Windows", "byte order mark", "trailing tabs", "spaces", "no last line end", "comments", "Excel"],
)
def test_samples_table_from_any_spreadsheet_is_read(change, experiment, capfd):
    experiment.table.write_bytes(change(experiment.table.read_text()).encode())
    assert COMMAND.run(experiment.words()) == 0
    assert capfd.readouterr().out.endswith("2 track(s) written, 0 unchanged\n")
    np.testing.assert_array_equal(cells(experiment.database, "signal", "new"), bigwig_values(experiment.bigwig))


def test_paths_with_spaces_and_letters_of_any_kind(tmp_path, capfd):
    experiment = Experiment(tmp_path / "Zürich 猫 100% {x} 'quoted'")
    experiment.bigwig = experiment.bigwig.rename(experiment.folder / "sig nal ü.bw")
    experiment.name_files()
    assert COMMAND.run(experiment.words()) == 0
    assert str(experiment.database) in capfd.readouterr().out
    np.testing.assert_array_equal(cells(experiment.database, "signal", "new"), bigwig_values(experiment.bigwig))
    experiment.bigwig.write_bytes(b"no bigWig")
    assert COMMAND.run([*experiment.words(), "--overwrite"]) == 2
    check_message(capfd.readouterr().err, Case(print, ("{bigwig}: no bigWig header",)), experiment)


def test_bam_without_an_index_and_unsorted_is_counted(experiment):
    path = experiment.folder / "unsorted.bam"
    bam()(path)
    experiment.add("bam_5p", path)
    assert COMMAND.run(experiment.words()) == 0
    expected = np.zeros(3_000)
    with pysam.AlignmentFile(str(path), check_sq=False) as file:
        starts = [read.reference_start for read in file.fetch(until_eof=True)]
        assert starts != sorted(starts)
        for read in pysam.AlignmentFile(str(path), check_sq=False).fetch(until_eof=True):
            expected[read.reference_end - 1 if read.is_reverse else read.reference_start] += 1
    np.testing.assert_array_equal(cells(experiment.database, "extra", "new"), expected)


@pytest.mark.parametrize("kind", [kind for kind, known in FORMATS.items() if "empty" in known.options])
@pytest.mark.parametrize("content", [b"", b"# nothing\n"], ids=["0 bytes", "a comment"])
def test_empty_peaks_are_a_mask_of_nothing_where_that_is_allowed(kind, content, experiment, capfd):
    path = experiment.folder / "none.bed"
    path.write_bytes(content)
    experiment.add(kind, path, empty="allow")
    assert COMMAND.run(experiment.words()) == 0
    assert "new extra: 0 intervals over 0.00% of bases" in capfd.readouterr().out
    assert (cells(experiment.database, "extra", "new") == 0).all()


# A full disk

ALONE = ["unshare", "--user", "--map-root-user", "--mount"]


def can_mount() -> bool:
    """Whether a process may mount a file system that nobody else sees."""
    try:
        words = [*ALONE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def alone() -> Iterator[Launcher]:
    """Starts commands whose disks nobody else sees."""
    launcher = Launcher(*ALONE)
    yield launcher
    launcher.close()


@pytest.mark.skipif(not can_mount(), reason="this user may not mount a small disk")
@pytest.mark.parametrize(
    ("size", "finished", "workers"),
    [
        ("size=4k", 0, 1),
        ("size=60k", 0, 1),
        ("size=1200k", 0, 2),
        ("size=3500k", 1, 1),
        ("size=3500k", 1, 2),
        ("size=100m,nr_inodes=12", 0, 1),
        ("size=100m,nr_inodes=25", 0, 1),
    ],
)
def test_full_disk_is_one_line_and_the_same_run_goes_on_where_there_is_room(size, finished, workers, alone, tmp_path):
    rng = np.random.default_rng(4)
    (tmp_path / "genome.sizes").write_text("chr1\t400000\n")
    (tmp_path / "types.tsv").write_text("signal\tbigwig\n")
    paths = {f"d{i}": tmp_path / f"d{i}.bw" for i in range(4)}
    for path in paths.values():
        with pyBigWig.open(str(path), "w") as file:
            file.addHeader([("chr1", 400_000)])
            file.addEntries("chr1", 0, values=rng.random(400_000).tolist(), span=1, step=1)
    table = "".join(f"{name}\t{path}\n" for name, path in paths.items())
    (tmp_path / "samples.tsv").write_text(f"dataset\tsignal\n{table}")
    place, copy = tmp_path / "small", tmp_path / "copy"
    place.mkdir()
    command = [
        str(Path(sys.executable).parent / "gen_ingest"),
        f"--tdb_array={place}/db",
        f"--tiledb_metadata={tmp_path}/samples.tsv",
        f"--attribute_config_file={tmp_path}/types.tsv",
        f"--chrom_sizes={tmp_path}/genome.sizes",
        f"--workers={workers}",
        "--threads=1",
    ]
    assert alone.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)]).returncode == 0
    first = alone.run(command)
    catalogue = alone.run(["cat", f"{place}/db/catalogue.json"])
    kept = len(json.loads(catalogue.stdout)["tracks"]) if catalogue.returncode == 0 else 0
    assert alone.run(["mount", "-o", "remount,size=200m,nr_inodes=100k", str(place)]).returncode == 0
    second = alone.run(command)
    assert alone.run(["cp", "-r", f"{place}/db", str(copy)]).returncode == 0
    assert alone.run(["umount", str(place)]).returncode == 0
    assert (first.returncode, first.stdout) == (1, "")
    assert first.stderr.count("\n") == 1
    assert first.stderr.startswith(f"gen_ingest: error: {place}/db")
    assert "disk full" in first.stderr
    assert finished <= kept < 4
    assert second.returncode == 0, second.stderr
    assert f"{4 - kept} track(s) written, {kept} unchanged" in second.stdout
    for name, path in paths.items():
        np.testing.assert_array_equal(cells(copy, "signal", name), bigwig_values(path))
