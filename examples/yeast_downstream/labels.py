"""Elements of yeast and their labels: RNA and TSS activity of genes, cohesin peaks beside matched regions.

Usage: labels.py DATA OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyBigWig

DOWNSTREAM = 500
"""bp of a gene, from its TSS on, whose RNA counts."""
AROUND = 150
"""bp at either side of a TSS whose STRIPE-seq reads count."""
MATCHED = 3
"""Matched regions a peak."""


def read_bed(path: Path) -> list[list[str]]:
    """Rows of a BED file whose chromosomes are called I to XVI, renamed to chrI to chrXVI."""
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [[f"chr{row[0]}", *row[1:]] for row in rows if row[0] != "Mito"]


def sizes_of(path: Path) -> dict[str, int]:
    """Chromosome sizes."""
    return {name: int(size) for name, size in (line.split()[:2] for line in path.read_text().splitlines())}


def write_genes(data: Path, out: Path) -> None:
    """A table of TSSs: RNA downstream where it was measured, STRIPE-seq reads around."""
    sizes = sizes_of(data / "sacCer3" / "sacCer3.chrom.sizes")
    rna = {"+": "fwd", "-": "rev"}
    stripe = {"+": "plus", "-": "minus"}
    coverage = {s: pyBigWig.open(str(data / "yeast_binned_tracks" / f"RNA.{name}.bw")) for s, name in rna.items()}
    reads = {
        s: pyBigWig.open(str(data / "yeast_stripeseq" / f"S288C_WT_pooled.{name}.bw")) for s, name in stripe.items()
    }
    lines = {"rna": ["chrom\tstart\tend\tname\tstrand\trna"], "tss": ["chrom\tstart\tend\tname\tstrand\ttss"]}
    seen = set()
    for chromosome, start, _, name, _, strand in read_bed(data / "yeast_binned_tracks" / "TSSs.bed"):
        at = int(start)
        if (chromosome, at, strand) in seen or not DOWNSTREAM <= at < sizes[chromosome] - DOWNSTREAM:
            continue
        seen.add((chromosome, at, strand))
        place = f"{chromosome}\t{at}\t{at + 1}\t{name}\t{strand}"
        short = chromosome[3:]
        if short in coverage[strand].chroms():
            low, high = (at, at + DOWNSTREAM) if strand == "+" else (at + 1 - DOWNSTREAM, at + 1)
            lines["rna"].append(f"{place}\t{coverage[strand].stats(short, low, high, exact=True)[0] or 0:.4f}")
        count = np.nansum(reads[strand].values(chromosome, at - AROUND, at + AROUND, numpy=True))
        lines["tss"].append(f"{place}\t{count:.0f}")
    for name, rows in lines.items():
        (out / f"labels.{name}.tsv").write_text("\n".join(rows) + "\n")


def write_cohesin(data: Path, out: Path) -> None:
    """Scc1 peaks where tracks were measured, and as long regions of the same chromosomes that touch none."""
    rng = np.random.default_rng(0)
    sizes = sizes_of(data / "sacCer3" / "sacCer3.chrom.sizes")
    peaks: dict[str, list[tuple[int, int]]] = {"chrII": [], "chrIV": [], "chrXVI": []}
    for chromosome, start, end, *_ in read_bed(data / "yeast_binned_tracks" / "Scc1-peaks.narrowPeak"):
        if chromosome in peaks:
            peaks[chromosome].append((int(start), int(end)))
    lines = ["chrom\tstart\tend\tlabel"]
    for chromosome, found in peaks.items():
        taken = np.zeros(sizes[chromosome], bool)
        for start, end in found:
            lines.append(f"{chromosome}\t{start}\t{end}\t1")
            taken[start:end] = True
        for start, end in found:
            for _ in range(MATCHED):
                length = end - start
                free = [at for at in rng.integers(0, len(taken) - length, 500) if not taken[at : at + length].any()]
                if free:
                    taken[free[0] : free[0] + length] = True
                    lines.append(f"{chromosome}\t{free[0]}\t{free[0] + length}\t0")
    (out / "labels.cohesin.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    write_genes(Path(sys.argv[1]), folder)
    write_cohesin(Path(sys.argv[1]), folder)
