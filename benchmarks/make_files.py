"""Make bigWig files like those of real experiments and sequences at random, quickly and always the same.

Usage: make_files.py FILE.bw MEGABASES [counts | coverage | pvalue [SEED]]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

KINDS = ("counts", "coverage", "pvalue")
PEAK_EVERY = 5_000
"""Mean distance between peaks in bp; 20,000 in 100 Mb."""

_LINE = 60
_LETTERS = np.frombuffer(b"A" * 75 + b"C" * 52 + b"G" * 53 + b"T" * 75, np.uint8)
_STRETCH = 8_000_000
_NEIGHBOURHOOD = 10_000
_ENTRIES = 1_000_000
_FRAGMENT = 210
_READS = {"counts": (0.05, 130.0), "coverage": (0.025, 65.0), "pvalue": (0.025, 65.0)}
"""Of a kind: reads per base of background, and of a peak."""


def peak_summits(size: int, seed: int) -> np.ndarray:
    """Summits of the peaks of a chromosome, sorted: ``(n,) int64``; all kinds and tracks of one seed share them."""
    rng = np.random.default_rng([seed, size])
    return np.sort(rng.integers(0, size, max(size // PEAK_EVERY, 1)))


def write_bigwig(path: str | Path, sizes: Mapping[str, int], seed: int = 0, kind: str = "counts") -> Path:
    """Write a bigWig of one track.

    Args:
        path: where to.
        sizes: chromosome name -> length in bp.
        seed: of the draws; peaks lie at the same places for every seed, their heights and the background differ.
        kind: ``counts``, 5' ends of reads per base: whole numbers, most 0, overdispersed; ``coverage``, how many
            fragments lie over a base: runs of whole numbers; ``pvalue``, as MACS2 writes: runs of real numbers with
            five decimals.

    Returns:
        The path.
    """
    import pyBigWig

    with pyBigWig.open(str(path), "w") as file:
        # pyBigWig begins its zoom levels at 4 bp, which makes a file of single bases three times as large as a
        # genome browser's tool would: they are left out, nobody here reads them.
        file.addHeader(list(sizes.items()), maxZooms=0)
        for name, size in sizes.items():
            for start, end, value in _runs(size, seed, kind):
                for i in range(0, len(start), _ENTRIES):
                    part = slice(i, i + _ENTRIES)
                    names = np.full(len(start[part]), name)
                    file.addEntries(names, start[part], ends=end[part], values=value[part].astype(np.float64))
    return Path(path)


def write_fasta(path: str | Path, sizes: Mapping[str, int], seed: int = 0) -> Path:
    """Write chromosomes of letters drawn at random, 41 of 100 G or C as in human, and the file's index."""
    import pysam

    rng = np.random.default_rng(seed)
    with open(path, "wb") as file:
        for name, size in sizes.items():
            letters = _LETTERS[rng.integers(0, len(_LETTERS), size, np.uint8)]
            file.write(b">" + name.encode() + b"\n")
            lines = np.full((-(-size // _LINE), _LINE + 1), ord("\n"), np.uint8)
            whole = size // _LINE
            lines[:whole, :-1] = letters[: whole * _LINE].reshape(whole, _LINE)
            lines[whole:, : size % _LINE] = letters[whole * _LINE :]
            file.write(lines.reshape(-1)[: size + len(lines)].tobytes())
    pysam.faidx(str(path))
    return Path(path)


def _runs(size: int, seed: int, kind: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Starts, ends and values of the runs that are not 0, a stretch of the chromosome at a time."""
    rng = np.random.default_rng([seed, size, KINDS.index(kind)])
    background, height = _READS[kind]
    # Copy number, mappability, open and closed domains: the background of neighbourhoods differs.
    local = rng.gamma(2.0, background / 2.0, size // _NEIGHBOURHOOD + 1)
    summits = peak_summits(size, 0)
    heights = rng.lognormal(np.log(height) - 0.5, 1.0, len(summits))
    for start in range(0, size, _STRETCH):
        end = min(start + _STRETCH, size)
        values = _stretch(rng, start, end, local, summits, heights, kind)
        edges = np.flatnonzero(np.diff(values)) + 1
        starts = np.concatenate([[0], edges])
        ends = np.concatenate([edges, [len(values)]])
        kept = values[starts] != 0
        yield (starts[kept] + start).astype(np.int64), (ends[kept] + start).astype(np.int64), values[starts[kept]]


def _stretch(
    rng: np.random.Generator,
    start: int,
    end: int,
    local: np.ndarray,
    summits: np.ndarray,
    heights: np.ndarray,
    kind: str,
) -> np.ndarray:
    here = (summits >= start) & (summits < end)
    parts = local[start // _NEIGHBOURHOOD : (end - 1) // _NEIGHBOURHOOD + 1]
    reads = rng.poisson(parts * _NEIGHBOURHOOD)
    offsets = np.repeat(np.arange(len(parts)) * _NEIGHBOURHOOD, reads)
    scattered = offsets + rng.integers(0, _NEIGHBOURHOOD, len(offsets))
    many = rng.poisson(heights[here])
    in_peaks = np.repeat(summits[here] - start, many) + rng.normal(0, 90, many.sum()).astype(np.int64)
    at = np.concatenate([scattered, in_peaks])
    length = end - start
    at = at[(at >= 0) & (at < length)]
    if kind == "counts":
        # Amplification and the enzyme's taste: one place is hit more often than chance has it.
        return np.bincount(at, rng.geometric(0.8, len(at)), minlength=length).astype(np.float32)
    fragments = rng.gamma(9.0, (_FRAGMENT - 30) / 9.0, len(at)).astype(np.int64) + 30
    change = np.bincount(at, minlength=length + 1) - np.bincount(
        np.minimum(at + fragments, length), minlength=length + 1
    )
    pileup = np.cumsum(change[:length]).astype(np.float64)
    if kind == "coverage":
        return pileup.astype(np.float32)
    edges = np.union1d(np.flatnonzero(np.diff(pileup)) + 1, np.arange(0, length, _NEIGHBOURHOOD))
    values = _log_p(pileup[edges], parts[edges // _NEIGHBOURHOOD] * _FRAGMENT + 0.3)
    return np.repeat(values, np.diff(np.append(edges, length)))


def _log_p(pileup: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Minus the decadic logarithm of the chance of as many fragments or more, to five decimals, as MACS2 has it."""
    from scipy.special import gammainc

    chance = np.where(pileup > 0, gammainc(np.maximum(pileup, 1), expected), 1.0)
    far = (pileup * np.log(np.maximum(pileup, 1) / expected) - pileup + expected) / np.log(10)
    exact = -np.log10(np.maximum(chance, 1e-300))
    return np.round(np.where(chance > 1e-300, exact, far), 5).astype(np.float32)


def main() -> None:
    path, megabases = sys.argv[1], int(sys.argv[2])
    kind = sys.argv[3] if len(sys.argv) > 3 else KINDS[0]
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    written = write_bigwig(path, {"chr1": megabases * 1_000_000}, seed, kind)
    print(f"{written}: {written.stat().st_size / 1e6:.1f} MB, {megabases} Mb, {kind}")


if __name__ == "__main__":
    main()
