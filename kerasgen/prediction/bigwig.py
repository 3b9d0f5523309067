"""Windows of values as a bigWig; where windows overlap, their mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from db_ingest import storage
from db_ingest.layout.genome import Genome


def write_bigwig(
    path: str | Path, genome: Genome, chromosome: np.ndarray, start: np.ndarray, values: np.ndarray
) -> None:
    """Write windows as a bigWig file, whole or not at all.

    Args:
        path: file to write.
        genome: chromosomes of the header.
        chromosome: ``(n,) int`` places in the genome.
        start: ``(n,) int`` first base of each window; what lies past a chromosome's ends is cut off.
        values: ``(n, length)``, in the direction of the genome.
    """
    import pyBigWig

    length = values.shape[1]
    order = np.lexsort((start, chromosome))
    chromosome, start = chromosome[order], start[order]
    new = np.concatenate([[True], (chromosome[1:] != chromosome[:-1]) | (start[1:] > start[:-1] + length)])
    first = np.flatnonzero(new)
    with storage.replacing(path) as temporary:
        file = pyBigWig.open(str(temporary), "w")
        file.addHeader(list(zip(genome.names, genome.sizes, strict=True)))
        for begin, end in zip(first, np.append(first[1:], len(order)), strict=True):
            place, origin = int(chromosome[begin]), int(start[begin])
            width = int(start[end - 1]) - origin + length
            total, number = np.zeros(width), np.zeros(width)
            for i in range(begin, end):
                at = slice(int(start[i]) - origin, int(start[i]) - origin + length)
                total[at] += values[order[i]]
                number[at] += 1
            low, high = max(0, -origin), min(width, genome.sizes[place] - origin)
            if high > low:
                file.addEntries(
                    genome.names[place], origin + low, values=(total / number)[low:high].tolist(), span=1, step=1
                )
        file.close()
