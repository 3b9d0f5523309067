"""Loci of yeast transcription start sites, from a database, as narrowPeak.

The summits of all replicates' start regions, kept where the pooled track holds at least MIN_COUNTS counts of their own
strand within REACH bp, strongest first, none within APART bp of a stronger one on its strand.
"""

import sys
from pathlib import Path

import numpy as np

import kerasgen

MIN_COUNTS, REACH, APART = 15, 100, 125
LEFT_OUT = ("chrM",)


def find_loci(database: kerasgen.Database) -> list[tuple[str, int, str, int]]:
    """Chromosome, position, strand and counts of each locus."""
    summits = set()
    for replicate in ("WT_1", "WT_2", "WT_3"):
        table = database.intervals("tsr", replicate)
        position = table["start"] + table["summit"]
        summits |= set(zip(table["chromosome"].tolist(), position.tolist(), table["strand"].tolist(), strict=True))
    names, positions, strands = (list(column) for column in zip(*sorted(summits), strict=True))
    tracks = [database.track("plus", "WT_pooled"), database.track("minus", "WT_pooled")]
    counts = database.values(tracks, names, np.array(positions) - REACH, 2 * REACH + 1).sum(axis=1)
    own = counts[np.arange(len(names)), [int(strand == "-") for strand in strands]].astype(int)
    loci: list[tuple[str, int, str, int]] = []
    taken: dict[tuple[str, str], list[int]] = {}
    for i in np.argsort(-own, kind="stable"):
        if own[i] < MIN_COUNTS or names[i] in LEFT_OUT:
            continue
        near = taken.setdefault((names[i], strands[i]), [])
        if all(abs(positions[i] - other) > APART for other in near):
            near.append(positions[i])
            loci.append((names[i], positions[i], strands[i], int(own[i])))
    return sorted(loci, key=lambda locus: (database.genome.index(locus[0]), locus[1]))


if __name__ == "__main__":
    uri, target = sys.argv[1:]
    found = find_loci(kerasgen.Database(uri))
    lines = [
        f"{c}\t{p}\t{p + 1}\tlocus_{i}\t{min(n, 1000)}\t{s}\t{n}\t-1\t-1\t0\n" for i, (c, p, s, n) in enumerate(found)
    ]
    Path(target).write_text("".join(lines))
    sys.stdout.write(f"{target}: {len(found):,} loci\n")
