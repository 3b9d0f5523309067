"""A small database with N, uneven GC content, ambiguous stretches and a chromosome that one signal lacks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyBigWig

from db_ingest import ingest
from kerasgen.database import Database

SIZES = {"chr1": 400_000, "chr2": 150_000, "chr3": 90_000, "tiny": 130}
RICH = 300_000
"""The middle of 800 bp on chr1 that are nearly all G and C."""
LETTERS = np.frombuffer(b"ACGTN", np.uint8)


@dataclass
class Small:
    """The database, and what it was made from.

    Args:
        database: open.
        codes: chromosome -> ``(bases,) uint8`` base codes.
        peaks: dataset -> chromosome, start, end and summit of each peak.
        ambiguous: chromosome, start and end.
        folder: holds ``a.narrowPeak`` and ``b.narrowPeak`` among others.
    """

    database: Database
    codes: dict[str, np.ndarray]
    peaks: dict[str, list[tuple[str, int, int, int]]]
    ambiguous: list[tuple[str, int, int]]
    folder: Path


def make(folder: Path) -> Small:
    """Write the files and ingest them."""
    rng = np.random.default_rng(11)
    codes: dict[str, np.ndarray] = {}
    peaks: dict[str, list[tuple[str, int, int, int]]] = {"a": [], "b": []}
    ambiguous = []
    for name, size in SIZES.items():
        content = np.repeat(rng.uniform(0.3, 0.6, size // 500 + 1), 500)[:size]
        centres = np.arange(1500, size - 1500, 3000) + rng.integers(-600, 600, len(range(1500, size - 1500, 3000)))
        for number, centre in enumerate(centres.tolist()):
            half = int(rng.integers(40, 400))
            # Peaks are rich in G and C, as those of accessible chromatin are.
            content[centre - half : centre + half] = rng.uniform(0.45, 0.7)
            place = (name, centre - half, centre + half, centre + int(rng.integers(-30, 30)))
            for dataset in ("a", "b") if number % 3 == 0 else ("a",) if number % 3 == 1 else ("b",):
                peaks[dataset].append(place)
            if number % 7 == 0:
                ambiguous.append((name, centre + half - 10, centre + half + 60))
        if name == "chr1":
            content[RICH - 400 : RICH + 400] = 0.95
        strong = rng.random(size) < content
        codes[name] = np.where(strong, rng.integers(1, 3, size), 3 * rng.integers(0, 2, size)).astype(np.uint8)
    for name, start, end in (("chr1", 0, 3000), ("chr1", 99_000, 104_500), ("chr1", 200_000, 200_040),
                             ("chr2", 60_000, 61_000), ("chr3", 88_000, 90_000)):  # fmt: skip
        codes[name][start:end] = 4
    (folder / "genome.fa").write_bytes(
        b"".join(b">%s\n%s\n" % (n.encode(), LETTERS[c].tobytes()) for n, c in codes.items())
    )
    for dataset, chosen in peaks.items():
        lines = [f"{n}\t{s}\t{e}\t.\t0\t.\t1\t-1\t-1\t{m - s}\n" for n, s, e, m in chosen]
        (folder / f"{dataset}.narrowPeak").write_text("".join(lines))
        with pyBigWig.open(str(folder / f"{dataset}.bw"), "w") as file:
            sizes = {n: s for n, s in SIZES.items() if (dataset, n) != ("b", "chr2")}
            file.addHeader(list(sizes.items()))
            for name, size in sizes.items():
                rate = np.full(size, 0.02)
                for n, start, end, _ in chosen:
                    if n == name:
                        rate[start:end] = 0.8
                values = rng.poisson(rate)
                at = np.flatnonzero(values)
                if len(at):
                    file.addEntries([name] * len(at), at.tolist(), ends=(at + 1).tolist(),
                                    values=values[at].astype(float).tolist())  # fmt: skip
    (folder / "ambiguous.bed").write_text("".join(f"{n}\t{s}\t{e}\n" for n, s, e in ambiguous))
    (folder / "samples.tsv").write_text(
        "dataset\tpeak\tambiguous\tsignal\na\ta.narrowPeak\tambiguous.bed\ta.bw\nb\tb.narrowPeak\tambiguous.bed\tb.bw\n"
    )
    (folder / "types.tsv").write_text("peak\tbed_summit_from_last_col\nambiguous\tbed_no_summit\nsignal\tbigwig\n")
    ingest(
        str(folder / "db"), str(folder / "samples.tsv"), ref_fasta=str(folder / "genome.fa"),
        attribute_config_file=str(folder / "types.tsv"),
    )  # fmt: skip
    return Small(Database(str(folder / "db")), codes, peaks, ambiguous, folder)
