"""What every input format must do: a small case of each attribute type, its truth by other means than our readers.

A new type is in when it has a :class:`Case` here; ``test_format_conformance.py`` puts each through the same checks.
"""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pysam

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}
SHORT = {"chr1": "1", "chr2": "2", "chrM": "MT", "chrUn": "Un"}
BIN = 10


@dataclass(frozen=True)
class Truth:
    """What a file means.

    Args:
        values: float32 of a signal (NaN: no value), uint8 of a mask, for each chromosome of the genome in the file.
        intervals: those behind a mask, as ``Stored.intervals`` gives them.
    """

    values: dict[str, np.ndarray]
    intervals: list[tuple[Any, ...]] | None = None


Sizes = Mapping[str, int]
Names = Mapping[str, str]
Write = Callable[[Path, Sizes, Names, np.random.Generator], Truth]


@dataclass(frozen=True)
class Case:
    """A small file of one type.

    Args:
        write: write a file of the chromosomes in ``sizes``, and of one that the genome lacks where the format lets it,
            under the names in ``names``, at random; gives its truth.
        name: of the file.
        folder: where the track lies.
        absent: what bases of a chromosome that the file has not hold.
        options: settings without which the type cannot be used, as YAML gives them.
        renamed: settings that change when the file's names do.
        bin: bp per cell.
        tells: what a message says of a chromosome of 1,600 bp where the genome's has 1,500, commas left out; formats
            without a header know the place of the first interval that lies past the end alone.
    """

    write: Write
    name: str
    folder: str
    absent: float
    options: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, Any] = field(default_factory=dict)
    bin: int = 1
    tells: str = r"chr2 \d+ \d+: .*past the chromosome's 1500 bp"


def _zeros(sizes: Sizes) -> dict[str, np.ndarray]:
    return {name: np.zeros(size, np.float32) for name, size in sizes.items()}


def _write_lines(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write tab-separated rows; ``.bgz`` in the name makes it BGZF, ``.gz`` plain gzip."""
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()
    if ".bgz" in path.name:
        with pysam.BGZFile(str(path), "wb") as file:
            file.write(text)
    else:
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def _spans(rng: np.random.Generator, sizes: Sizes, count: int, longest: int = 80) -> list[tuple[str, int, int]]:
    """Intervals in no order, among them the first and last bases of each chromosome."""
    found = [(name, *edge) for name, size in sizes.items() for edge in ((0, 7), (size - 5, size), (size - 1, size))]
    for _ in range(count):
        name = str(rng.choice(list(sizes)))
        start = int(rng.integers(0, sizes[name] - 1))
        found.append((name, start, int(rng.integers(start + 1, min(start + longest, sizes[name]) + 1))))
    return [found[i] for i in rng.permutation(len(found))]


# Signals


def _bigwig(path: Path, sizes: Sizes, names: Names, rng: np.random.Generator) -> Truth:
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader([(names[name], size) for name, size in sizes.items()] + [(names["chrUn"], 50)])
        for name, size in sizes.items():
            starts = np.sort(rng.choice(size - 8, 40, replace=False))
            starts = starts[np.append(np.diff(starts) > 8, True)]
            ends = [*(starts[:-1] + rng.integers(1, 9, len(starts) - 1)), size]
            values = (rng.random(len(starts)) * 4 - 1).round(3)
            file.addEntries(
                [names[name]] * len(starts), starts.tolist(), ends=[int(e) for e in ends], values=values.tolist()
            )
    with pyBigWig.open(str(path)) as file:
        return Truth({n: np.array(file.values(names[n], 0, size), np.float32) for n, size in sizes.items()})


def _bedgraph(path: Path, sizes: Sizes, names: Names, rng: np.random.Generator) -> Truth:
    truth = {name: np.full(size, np.nan, np.float32) for name, size in sizes.items()}
    rows: list[tuple[object, ...]] = [("track type=bedGraph",), (names["chrUn"], 5, 9, 1.5)]
    for name, size in sizes.items():
        cuts = np.unique([0, 3, size - 4, size, *rng.integers(0, size, 60)])
        for start, end in itertools.pairwise(cuts):
            if rng.random() < 0.7 or end == size:
                value = round(float(rng.random() * 9 - 3), 4)
                rows.append((names[name], start, end, value))
                truth[name][start:end] = value
    _write_lines(path, rows)
    return Truth(truth)


def _bam(count: str, strands: str) -> Write:
    def write(path: Path, sizes: Sizes, names: Names, rng: np.random.Generator) -> Truth:
        header = {**{names[name]: size for name, size in sizes.items()}, names["chrUn"]: 700}
        flags = [0, 0, 0, 16, 16, 16, 4, 256, 512, 1024, 1040, 2048, 2064]
        with pysam.AlignmentFile(
            str(path), "wb", reference_names=list(header), reference_lengths=list(header.values())
        ) as file:
            for name, start, end in [*_spans(rng, sizes, 300), ("chrUn", 3, 30)]:
                read = pysam.AlignedSegment(file.header)
                read.query_name, read.flag, read.mapping_quality = "r", int(rng.choice(flags)), 60
                read.reference_id, read.reference_start = list(header).index(names[name]), start
                length = end - start
                left = length // 3
                gap = ["D", "N"][int(rng.integers(2))] if left > 2 and rng.random() < 0.5 else ""
                read.cigarstring = f"2S{left}M1{gap}{length - left - 1}M" if gap else f"{length}M"
                file.write(read)
        truth = _zeros(sizes)
        back = {given: name for name, given in names.items()}
        with pysam.AlignmentFile(str(path), check_sq=False) as file:
            for read in file.fetch(until_eof=True):
                strand = "-" if read.is_reverse else "+"
                skipped = read.is_unmapped or read.is_secondary or read.is_qcfail or read.is_duplicate
                skipped |= strand not in strands or (count == "5p" and read.is_supplementary)
                if skipped or back[read.reference_name] == "chrUn":
                    continue
                here = truth[back[read.reference_name]]
                if count == "coverage":
                    for start, end in read.get_blocks():
                        here[start:end] += 1
                else:
                    here[read.reference_end - 1 if read.is_reverse else read.reference_start] += 1
        return Truth(truth)

    return write


def _fragments(path: Path, sizes: Sizes, names: Names, rng: np.random.Generator) -> Truth:
    truth, rows = _zeros(sizes), [("# a comment",), (names["chrUn"], 1, 50, "AAA-1", 2)]
    for name, start, end in _spans(rng, sizes, 200):
        rows.append((names[name], start, end, str(rng.choice(["AAA-1", "CCC-1", "GGG-1"])), int(rng.integers(1, 9))))
        truth[name][start] += 1
        truth[name][end - 1] += 1
    _write_lines(path, rows)
    return Truth(truth)


def _bedpe(path: Path, sizes: Sizes, names: Names, rng: np.random.Generator) -> Truth:
    truth, rows = _zeros(sizes), []
    for name, start, end in _spans(rng, sizes, 200):
        middle = (start + end) // 2
        mates = [(start, max(middle, start + 1)), (min(middle, end - 1), end)]
        first, second = mates if rng.random() < 0.5 else mates[::-1]
        rows.append((names[name], *first, names[name], *second, "p", 9, "+", "-"))
        truth[name][start] += 1
        truth[name][end - 1] += 1
    rows.insert(3, (names["chrUn"], 1, 5, names["chrUn"], 20, 25, "p", 9, "+", "-"))
    rows.insert(5, (".", -1, -1, names["chr1"], 20, 25, "p", 9, ".", "-"))
    _write_lines(path, rows)
    return Truth(truth)


def _tagalign(strands: str) -> Write:
    def write(path: Path, sizes: Sizes, names: Names, rng: np.random.Generator) -> Truth:
        truth, rows = _zeros(sizes), [(names["chrUn"], 1, 50, "N", 1000, "+")]
        for name, start, end in _spans(rng, sizes, 200):
            strand = "+-"[int(rng.integers(2))]
            rows.append((names[name], start, end, "N", 1000, strand))
            if strand in strands:
                truth[name][start if strand == "+" else end - 1] += 1
        _write_lines(path, rows)
        return Truth(truth)

    return write


def _bins(sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {}
    for name, size in sizes.items():
        found[name] = rng.random(-(-size // BIN)).astype(np.float32)
        found[name][rng.integers(0, size // BIN, 9)] = np.nan
    return found


def _npz(path: Path, sizes: Sizes, names: Names, rng: np.random.Generator) -> Truth:
    values = _bins(sizes, rng)
    np.savez(path, **{names[name]: array for name, array in values.items()}, **{names["chrUn"]: np.ones(9)})
    return Truth(values)


def _npy(path: Path, sizes: Sizes, names: Names, rng: np.random.Generator) -> Truth:
    """A file of one array has one chromosome: chr2, or the one that there is."""
    name = "chr2" if "chr2" in sizes else next(iter(sizes))
    values = _bins({name: sizes[name]}, rng)
    np.save(path, values[name])
    return Truth(values)


# Masks


def _peaks(columns: int, summits: str) -> Write:
    """BED of 3 to 10 columns; ``summits`` is ``none``, ``centre`` or ``last column``."""

    def write(path: Path, sizes: Sizes, names: Names, rng: np.random.Generator) -> Truth:
        truth = {name: np.zeros(size, np.uint8) for name, size in sizes.items()}
        rows: list[tuple[object, ...]] = [("track name=peaks",)]
        kept, at = [], []
        for i, (name, start, end) in enumerate(_spans(rng, sizes, 30)):
            offset = int(rng.integers(-1, end - start))
            whole = (f"peak{i}", i, "+-."[i % 3], i + 0.5, i + 0.25, i + 0.125)
            given = (
                *whole[: columns - 3 - (summits == "last column")],
                *([offset] if summits == "last column" else []),
            )
            rows.append((names[name], start, end, *given))
            truth[name][start:end] = 1
            missing = (".", np.nan, ".", np.nan, np.nan, np.nan)
            taken = min(columns - 3, 3) if columns < 9 else 6
            told = offset if summits == "last column" else -1
            kept.append((name, start, end, *whole[:taken], *missing[taken:], told))
            if summits != "none":
                at.append((name, start + offset if told >= 0 else (start + end) // 2))
        for name, base in at:
            truth[name][base] = 2
        rows.insert(2, (names["chrUn"], 1, 5, *rows[1][3:]))
        if summits == "last column":
            rows[2] = (*rows[2][:-1], 0)
        _write_lines(path, rows)
        return Truth(truth, sorted(kept))

    return write


_SIZED = "chr2 has 1600 bp; the genome's chr2 has 1500 bp"
_SIGNAL = {"folder": "signal", "absent": np.nan}
_LISTED = {"folder": "counts", "absent": 0.0}
_ALIGNED = {"folder": "counts", "absent": np.nan, "tells": _SIZED}
_GRID = {
    "folder": "signal",
    "absent": np.nan,
    "bin": BIN,
    "tells": r"160 values; chr2 of 1500 bp has 150 bins of 10 bp",
}
_MASK = {"folder": "mask", "absent": 0}

CASES: dict[str, Case] = {
    "bigwig": Case(_bigwig, "a.bw", tells=_SIZED, **_SIGNAL),
    "bedgraph": Case(_bedgraph, "a.bedGraph.gz", **_SIGNAL),
    "bam_5p": Case(_bam("5p", "+-"), "a.bam", **_ALIGNED),
    "bam_5p_plus": Case(_bam("5p", "+"), "a.bam", **_ALIGNED),
    "bam_5p_minus": Case(_bam("5p", "-"), "a.bam", **_ALIGNED),
    "bam_coverage": Case(_bam("coverage", "+-"), "a.bam", **_ALIGNED),
    "fragments": Case(_fragments, "fragments.tsv.bgz", **_LISTED),
    "bedpe": Case(_bedpe, "a.bedpe.gz", **_LISTED),
    "tagalign_5p": Case(_tagalign("+-"), "a.tagAlign.gz", **_LISTED),
    "tagalign_5p_plus": Case(_tagalign("+"), "a.tagAlign", **_LISTED),
    "tagalign_5p_minus": Case(_tagalign("-"), "a.tagAlign.bgz", **_LISTED),
    "npz": Case(_npz, "a.npz", options={"bin": BIN}, **_GRID),
    "npy": Case(_npy, "a.npy", options={"bin": BIN, "chromosome": "chr2"}, renamed={"chromosome": "2"}, **_GRID),
    "bed_no_summit": Case(_peaks(3, "none"), "a.bed", **_MASK),
    "bed_summit_from_peak_center": Case(_peaks(6, "centre"), "a.bed.gz", **_MASK),
    "bed_summit_from_last_col": Case(_peaks(7, "last column"), "a.bed", **_MASK),
    "narrowPeak": Case(_peaks(10, "last column"), "a.narrowPeak.gz", **_MASK),
    "broadPeak": Case(_peaks(9, "none"), "a.broadPeak", **_MASK),
}
