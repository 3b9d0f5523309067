"""Pooling tracks over elements for gen_downstream: seconds and memory, beside what reading alone takes.

Usage: bench_downstream.py [--tracks 300] [--elements 20000] [--megabases 40] [--threads 1] [--folder DIR]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from db_ingest import ingest
from kerasgen.database import Database
from kerasgen.downstream_tasks.elements import Elements
from kerasgen.downstream_tasks.features import feature_sets, pooled, regions_of

BIN = 25
CHROMOSOMES = 4


def make_database(folder: Path, tracks: int, megabases: int) -> str:
    """A database of tracks on a grid: mostly zeros, some bins with a value, as of arcsinh of -log10 p."""
    bins = megabases * 1_000_000 // BIN // CHROMOSOMES
    names = [f"chr{i + 1}" for i in range(CHROMOSOMES)]
    (folder / "sizes").write_text("".join(f"{name}\t{bins * BIN}\n" for name in names))
    assays = [f"assay{i:02d}" for i in range(min(10, tracks))]
    rng = np.random.default_rng(0)
    rows = ["\t".join(["dataset", *assays])]
    made = 0
    while made < tracks:
        cells = [f"cell{len(rows):02d}"]
        for _ in assays:
            if made < tracks:
                path = folder / f"{made}.npz"
                values = {name: rng.gamma(0.3, 1, bins).astype(np.float32) for name in names}
                np.savez(path, **{name: np.where(v > 0.2, v, 0).round(3) for name, v in values.items()})
                made += 1
            cells.append(str(path) if made <= tracks else "")
        rows.append("\t".join(cells))
    (folder / "samples.tsv").write_text("\n".join(rows) + "\n")
    (folder / "types.yaml").write_text("".join(f"{assay}: {{type: npz, bin: {BIN}}}\n" for assay in assays))
    ingest(
        str(folder / "db"), str(folder / "samples.tsv"), chrom_sizes=str(folder / "sizes"),
        attribute_config_file=str(folder / "types.yaml"),
    )  # fmt: skip
    for path in folder.glob("*.npz"):
        path.unlink()
    return str(folder / "db")


def place(database: Database, count: int, length: int, pairs: bool) -> Elements:
    """Elements anywhere, or pairs of them up to 200 kb apart."""
    rng = np.random.default_rng(1)
    chromosome = rng.integers(0, CHROMOSOMES, count)
    start = rng.integers(0, database.genome.sizes[0] - 210_000, (count, 1))
    if pairs:
        start = np.column_stack([start, start + rng.integers(5000, 200_000, (count, 1))])
    return Elements(
        database.genome, np.full(count, ".", object), chromosome, start, start + length, np.zeros(count, bool),
        np.zeros(count), np.arange(count),
    )  # fmt: skip


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(database: Database, elements: Elements, threads: int, what: str) -> None:
    """Print seconds of pooling, of reading every bin once, and of one NumPy mean an element and track."""
    tracks = feature_sets(database, ["all=*"])[0].tracks
    spans = regions_of(elements, bin=BIN, flank=0, parts=1)
    pooled(database, tracks[:1], spans, bin=BIN)
    before = peak()
    began = time.perf_counter()
    values, _ = pooled(database, tracks, spans, bin=BIN, pools=["mean", "max"], threads=threads)
    ours = time.perf_counter() - began
    memory = peak() - before

    bins = -(-database.genome.sizes[0] // BIN)
    places = np.arange(CHROMOSOMES)
    began = time.perf_counter()
    for track in tracks:
        whole = database.bins([track], places, np.zeros(CHROMOSOMES, int), bins, BIN)
    reading = time.perf_counter() - began

    few = slice(0, 2000)
    track = whole[:, :, 0]
    began = time.perf_counter()
    loop = [
        [
            f(track[c, a:b]) if b > a else np.nan
            for a, b in zip(first, last, strict=True)
            for f in (np.nanmean, np.nanmax)
        ]
        for c, first, last in zip(
            spans.chromosome[few], spans.first[few].tolist(), spans.last[few].tolist(), strict=True
        )
    ]
    numpy = (time.perf_counter() - began) * len(elements) / 2000 * len(tracks)
    assert np.allclose(values[few, -len(loop[0]) :], loop, atol=1e-4, equal_nan=True)
    pooled_bins = int((spans.last - spans.first).sum()) * len(tracks)
    print(
        f"{what}: {len(elements):,} elements, {len(tracks)} tracks, {pooled_bins / 1e9:.2f} G bins: "
        f"ours {ours:.1f} s; reading every bin {reading:.1f} s (ratio {ours / reading:.2f}); NumPy, an element at a "
        f"time, without reading {numpy:.0f} s ({numpy / ours:.0f} times ours); memory grew by {memory:.0f} MB, "
        f"features {values.nbytes / 2**20:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=300)
    parser.add_argument("--elements", type=int, default=20_000)
    parser.add_argument("--megabases", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        Database(make_database(Path(folder), options.tracks, options.megabases)) as database,
    ):
        measure(database, place(database, options.elements, 2000, False), options.threads, "regions of 2 kb")
        measure(database, place(database, options.elements, 1000, True), options.threads, "pairs")


if __name__ == "__main__":
    main()
