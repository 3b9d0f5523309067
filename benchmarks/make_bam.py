"""Write a BAM of paired 50-bp reads, sorted, as an aligner would: for benchmarks that need a large one.

python benchmarks/make_bam.py reads.bam --alignments 5_000_000 --chromosomes 4 --size 50_000_000
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

READ = 50
_SORTED_AT_ONCE = 1 << 18
_BLOCK = 0xFF00
_CIGARS = {
    "50M": [(50, 0)],
    "4S46M": [(4, 4), (46, 0)],
    "20M2D30M": [(20, 0), (2, 2), (30, 0)],
    "25M1I24M": [(25, 0), (1, 1), (24, 0)],
}
_SHARES = [0.94, 0.03, 0.015, 0.015]


def write_bam(path: str | Path, alignments: int, sizes: Mapping[str, int], seed: int = 0) -> None:
    """Write ``alignments`` mapped alignments (and 1% unmapped ones at the end), mates 40 to 400 bp apart.

    Reads carry a name, sequence with 1% of mismatches, qualities in four bins and the tags NM, AS and RG; 5% have an
    insertion, a deletion or a soft clip, 10% are marked as duplicates, 8% have a mapping quality below 30. Places
    pile up in peaks of some hundred bp that hold half of the reads.
    """
    import pysam

    rng = np.random.default_rng(seed)
    names, lengths = list(sizes), np.array(list(sizes.values()), dtype=np.int64)
    text = "@HD\tVN:1.6\tSO:coordinate\n" + "".join(f"@SQ\tSN:{n}\tLN:{s}\n" for n, s in sizes.items())
    text += "@RG\tID:rep1\tSM:rep1\n"
    header = struct.pack("<4si", b"BAM\1", len(text)) + text.encode() + struct.pack("<i", len(names))
    for name, size in sizes.items():
        header += struct.pack("<i", len(name) + 1) + name.encode() + struct.pack("<bi", 0, size)
    share = np.floor(alignments * lengths / lengths.sum() / 2).astype(int) * 2
    share[0] += alignments - share.sum()
    with pysam.BGZFile(str(path), "wb") as file:
        file.write(header)
        file.flush()
        for place, (size, count) in enumerate(zip(lengths, share, strict=True)):
            bases = rng.integers(0, 4, size, dtype=np.uint8)
            for start, mate, minus in _places(rng, int(size), int(count)):
                _write(file, *_records(rng, place, bases, start, mate, minus))
        unmapped = np.full(alignments // 100, -1, dtype=np.int64)
        _write(file, *_records(rng, -1, None, unmapped, unmapped, np.zeros(len(unmapped), dtype=bool)))


def _places(rng: np.random.Generator, size: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Starts, the mates' starts and strands of one chromosome's reads, by start, some at a time."""
    pairs = count // 2 + count % 2
    peaks = rng.integers(1_000, size - 2_000, max(1, size // 50_000))
    left = rng.integers(0, size - 600, pairs)
    near = rng.random(pairs) < 0.5
    left[near] = np.clip(rng.choice(peaks, near.sum()) + rng.normal(0, 150, near.sum()).astype(int), 0, size - 600)
    right = left + rng.integers(0, 350, pairs)
    start, mate = np.concatenate([left, right]), np.concatenate([right, left])
    minus = np.concatenate([np.zeros(pairs, dtype=bool), np.ones(pairs, dtype=bool)])
    order = np.argsort(start, kind="stable")[:count]
    for i in range(0, count, _SORTED_AT_ONCE):
        some = order[i : i + _SORTED_AT_ONCE]
        yield start[some], mate[some], minus[some]


def _records(
    rng: np.random.Generator,
    place: int,
    bases: np.ndarray | None,
    start: np.ndarray,
    mate: np.ndarray,
    minus: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Records as one run of bytes, and where each begins."""
    n = len(start)
    mapped = bases is not None
    kinds = rng.choice(len(_CIGARS), n, p=_SHARES) if mapped else np.full(n, -1)
    sizes = {k: _record_type(len(c)).itemsize for k, c in enumerate(_CIGARS.values())} | {-1: _record_type(0).itemsize}
    begins = np.concatenate([[0], np.cumsum([sizes[kind] for kind in kinds.tolist()])]).astype(np.int64)
    out = np.empty(begins[-1], dtype=np.uint8)
    for kind in np.unique(kinds):
        which = np.flatnonzero(kinds == kind)
        cigar = list(_CIGARS.values())[kind] if kind >= 0 else []
        record = np.zeros(len(which), dtype=_record_type(len(cigar)))
        record["size"] = record.dtype.itemsize - 4
        record["ref"] = record["next_ref"] = place
        record["pos"], record["next_pos"] = start[which], mate[which]
        record["l_name"] = record["name"].dtype.itemsize + 1
        record["mapq"] = np.where(rng.random(len(which)) < 0.08, rng.integers(0, 30, len(which)), 60) if mapped else 0
        record["bin"] = 4681 + (record["pos"] >> 14)
        record["n_cigar"], record["l_seq"] = len(cigar), READ
        first = rng.random(len(which)) < 0.5
        flag = np.where(minus[which], np.where(first, 0x53, 0x93), np.where(first, 0x63, 0xA3))
        record["flag"] = flag + 0x400 * (rng.random(len(which)) < 0.1) if mapped else 0x4D
        record["tlen"] = np.where(minus[which], -1, 1) * (abs(mate - start)[which] + READ) if mapped else 0
        record["name"] = _names(rng, len(which))
        if cigar:
            record["cigar"] = [length << 4 | operation for length, operation in cigar]
        record["seq"] = _sequence(rng, bases, start[which])
        record["qual"] = _qualities(rng, len(which))
        record["tags"] = np.frombuffer(b"NMC\0ASC\x2dRGZrep1\0", dtype=np.uint8)
        record["tags"][:, 3] = rng.integers(0, 3, len(which))
        size = record.dtype.itemsize
        out[begins[which, None] + np.arange(size)] = record.view(np.uint8).reshape(len(which), size)
    return out, begins


def _record_type(operations: int) -> np.dtype:
    return np.dtype(
        [
            ("size", "<i4"),
            ("ref", "<i4"),
            ("pos", "<i4"),
            ("l_name", "u1"),
            ("mapq", "u1"),
            ("bin", "<u2"),
            ("n_cigar", "<u2"),
            ("flag", "<u2"),
            ("l_seq", "<i4"),
            ("next_ref", "<i4"),
            ("next_pos", "<i4"),
            ("tlen", "<i4"),
            ("name", "S39"),
            ("nul", "u1"),
            ("cigar", "<u4", (operations,)),
            ("seq", "u1", (READ // 2,)),
            ("qual", "u1", (READ,)),
            ("tags", "u1", (16,)),
        ]
    )


def _names(rng: np.random.Generator, n: int) -> np.ndarray:
    tile, x, y = rng.integers(1101, 1179, n), rng.integers(1_000, 32_000, n), rng.integers(1_000, 37_000, n)
    names = [f"A00500:117:HKJ2YDSX3:2:{a}:{b:05d}:{c:05d}" for a, b, c in zip(tile, x, y, strict=True)]
    return np.array(names, dtype="S39")


def _sequence(rng: np.random.Generator, bases: np.ndarray | None, start: np.ndarray) -> np.ndarray:
    n = len(start)
    if bases is None:
        codes = rng.integers(0, 4, (n, READ), dtype=np.uint8)
    else:
        codes = bases[start[:, None] + np.arange(READ)]
        wrong = rng.random((n, READ), dtype=np.float32) < 0.01
        codes[wrong] = rng.integers(0, 4, wrong.sum())
    nibbles = (1 << codes).astype(np.uint8)
    return nibbles[:, 0::2] << 4 | nibbles[:, 1::2]


def _qualities(rng: np.random.Generator, n: int) -> np.ndarray:
    bins = np.array([37, 25, 11, 2], dtype=np.uint8)
    return bins[np.searchsorted([0.88, 0.95, 0.985], rng.random((n, READ), dtype=np.float32))]


def _write(file: object, data: np.ndarray, begins: np.ndarray) -> None:
    """Write records so that none lies in two blocks, as htslib does."""
    i = 0
    while i < len(begins) - 1:
        j = int(np.searchsorted(begins, begins[i] + _BLOCK, side="right")) - 1
        file.write(data[begins[i] : begins[j]].tobytes())
        file.flush()
        i = j


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path")
    parser.add_argument("--alignments", type=int, default=5_000_000)
    parser.add_argument("--chromosomes", type=int, default=4)
    parser.add_argument("--size", type=int, default=50_000_000, help="bp of each chromosome")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sizes = {f"chr{i + 1}": args.size for i in range(args.chromosomes)}
    write_bam(args.path, args.alignments, sizes, args.seed)


if __name__ == "__main__":
    main()
