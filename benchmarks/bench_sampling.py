"""How long `gen_train` takes to decide where samples lie, and in how much memory.

Usage: bench_sampling.py [--megabases 100] [--folder FOLDER]
A chromosome with N, uneven GC content, peaks and signals is made and ingested; each case is then run in a fresh process
three times, the best of which is printed. The limit is reading the same bases and doing nothing with them.
"""

from __future__ import annotations

import argparse
import inspect
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from make_files import peak_summits, write_bigwig

DATABASE = {
    "bed_regions": None, "tdb_partition_attribute_for_upsample": "peak",
    "tdb_partition_datasets_for_upsample": ["a", "b"],
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "BED, random background": {},
    "BED, GC-matched background": {"background": "gc_matched"},
    "peaks of 2 datasets, by base, GC-matched": {**DATABASE, "background": "gc_matched"},
    "summits of 2 datasets, jitter, GC-matched": {
        **DATABASE, "background": "gc_matched", "tdb_partition_thresh_for_upsample": 2.0, "upsample_by": "peak",
        "jitter": 500,
    },
    "counts of 2 datasets at least 5, random": {
        **DATABASE, "tdb_partition_attribute_for_upsample": "count", "tdb_partition_thresh_for_upsample": 5.0,
    },
}  # fmt: skip
LIMITS: dict[str, list[tuple[str, str]]] = {
    "limit: read the sequence": [],
    "limit: read counts of 2 datasets": [("count", "a"), ("count", "b")],
}


def make(folder: Path, sizes: dict[str, int]) -> None:
    """Write the files and ingest them."""
    from db_ingest import ingest

    rng = np.random.default_rng(5)
    peaks: dict[str, list[str]] = {"a": [], "b": []}
    with (folder / "genome.fa").open("wb") as fasta:
        for name, size in sizes.items():
            summits = peak_summits(size, 0)
            content = np.convolve(rng.beta(12, 17, size // 1000 + 1), np.full(5, 0.2), "same")
            content[summits // 1000] = rng.beta(20, 14, len(summits))
            codes = np.empty(size, np.uint8)
            for start in range(0, size, 1_000_000):
                here = codes[start : start + 1_000_000]
                strong = rng.random(len(here)) < np.repeat(content[start // 1000 :][:1000], 1000)[: len(here)]
                here[:] = np.where(strong, rng.integers(1, 3, len(here)), 3 * rng.integers(0, 2, len(here)))
            codes[:10_000] = codes[size // 2 : size // 2 + size // 100] = 4
            fasta.write(b">" + name.encode() + b"\n" + np.frombuffer(b"ACGTN", np.uint8)[codes].tobytes() + b"\n")
            for lines in peaks.values():
                some = np.sort(rng.choice(summits[(summits > 3000) & (summits < size - 3000)], len(summits) // 2))
                for summit, half in zip(some.tolist(), rng.integers(100, 600, len(some)).tolist(), strict=True):
                    lines.append(f"{name}\t{summit - half}\t{summit + half}\t.\t0\t.\t1\t-1\t-1\t{half}\n")
    rows = ["dataset\tcount\tpeak\n"]
    for number, (dataset, lines) in enumerate(peaks.items()):
        write_bigwig(folder / f"{dataset}.bw", sizes, number)
        (folder / f"{dataset}.narrowPeak").write_text("".join(lines))
        rows.append(f"{dataset}\t{dataset}.bw\t{dataset}.narrowPeak\n")
    (folder / "samples.tsv").write_text("".join(rows))
    (folder / "types.tsv").write_text("count\tbigwig\npeak\tbed_summit_from_last_col\n")
    tables = (str(folder / "samples.tsv"), str(folder / "types.tsv"))
    ingest(str(folder / "db"), tables[0], attribute_config_file=tables[1], ref_fasta=str(folder / "genome.fa"))


def measure(folder: Path, changes: dict[str, Any]) -> dict[str, float]:
    """Seconds and peak MB of the plans of one case, and seconds of drawing an epoch."""
    from kerasgen import spec
    from kerasgen.database import Database
    from kerasgen.regions import plan as planning
    from kerasgen.settings import Data, Samples
    from kerasgen.training.train import train

    flags = {name: parameter.default for name, parameter in inspect.signature(train).parameters.items()}
    flags = {name: list(value) if isinstance(value, tuple) else value for name, value in flags.items()}
    flags |= {
        "bed_regions": str(folder / "a.narrowPeak"), "upsample_ratio_list_train": [0.5],
        "tdb_output_source_attribute": ["count"], "tdb_output_datasets": ["a"], **changes,
    }  # fmt: skip
    database = Database(str(folder / "db"))
    peak, process = 0, psutil.Process()

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.005)

    def seconds(train_on: str) -> tuple[float, float]:
        chosen = {**flags, "train_chroms": [train_on], "validation_chroms": ["chr3"]}
        began = time.perf_counter()
        described = spec.from_settings(database, Data.from_flat(chosen))
        training = planning.plan_training(database, described, Samples.from_flat(chosen))[1]
        planned = time.perf_counter()
        training.epoch(0)
        return planned - began, time.perf_counter() - planned

    # A small chromosome first: libraries and compiled code are loaded, arrays open.
    seconds("chr2")
    threading.Thread(target=watch, daemon=True).start()
    planned, drawn = seconds("chr1")
    return {"seconds": planned, "peak": peak / 1e6, "epoch": drawn}


def read(folder: Path, tracks: list[tuple[str, str]]) -> dict[str, float]:
    """Seconds to read a chromosome of some tracks, or of the sequence, as a plan reads them."""
    from kerasgen.database import Database
    from kerasgen.regions import threshold

    database = Database(str(folder / "db"))
    blocks = threshold.blocks(database.genome, (np.zeros(1, np.int64), np.array(database.genome.sizes[:1])))
    chosen = [database.track(*names) for names in tracks] or [None]
    for track in chosen:
        database.read(track, threshold.spans_of(blocks[-1]))
    began = time.perf_counter()
    threshold.streamed(lambda b: [len(database.read(t, threshold.spans_of(b))) for t in chosen], blocks, "read")
    return {"seconds": time.perf_counter() - began, "peak": psutil.Process().memory_info().rss / 1e6, "epoch": 0.0}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabases", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder if not given")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.case:
        done = (
            read(words.folder, LIMITS[words.case]) if words.case in LIMITS else measure(words.folder, CASES[words.case])
        )
        print(json.dumps(done))
        return
    folder = words.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "db").exists():
        make(folder, {"chr1": words.megabases * 1_000_000, "chr2": 2_000_000, "chr3": 2_000_000})
    print(f"| {words.megabases} Mb | s | Mb/s | peak MB | an epoch, s |\n|---|---|---|---|---|")
    for case in (*CASES, *LIMITS):
        command = [sys.executable, __file__, "--folder", str(folder), "--case", case]
        runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(3)]
        best = min(runs, key=lambda run: run["seconds"])
        print(
            f"| {case} | {best['seconds']:.2f} | {words.megabases / best['seconds']:.0f} | {best['peak']:.0f} "
            f"| {best['epoch']:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
