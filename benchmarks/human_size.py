"""One human-size track from file to database and back: each command's time and peak memory, then a comparison.

Usage: human_size.py [--kind counts|coverage|pvalue] [--folder FOLDER]
A chromosome of chr1's length (hg38, 248,956,422 bp) is made, ingested, verified against its file, exported, and the
exported bigWig compared with the first one by pyBigWig, base for base.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyBigWig
from make_files import KINDS, write_bigwig

CHR1 = 248_956_422
STEP = 2**24


def run(words: list[str]) -> tuple[float, float]:
    """Seconds and peak MB of a command and all its children; raises if it fails."""
    began, peak = time.perf_counter(), 0
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                tree = [watched, *watched.children(recursive=True)]
                peak = max(peak, sum(each.memory_info().rss for each in tree))
            except psutil.Error:
                pass
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{words[0]} ended with {process.returncode}")
    return time.perf_counter() - began, peak / 1e6


def same(a: Path, b: Path) -> int:
    """Bases compared; raises at the first difference."""
    with pyBigWig.open(str(a)) as one, pyBigWig.open(str(b)) as other:
        for start in range(0, CHR1, STEP):
            end = min(start + STEP, CHR1)
            values = [np.nan_to_num(file.values("chr1", start, end, numpy=True)) for file in (one, other)]
            if not np.array_equal(*values):
                raise SystemExit(f"chr1:{start + int(np.flatnonzero(values[0] != values[1])[0]):,}: {a} and {b} differ")
    return CHR1


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, default="counts")
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder if not given")
    words = parser.parse_args()
    folder = words.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    bigwig, database, back = folder / f"{words.kind}.bw", folder / "database", folder / "back.bw"
    if not bigwig.exists():
        write_bigwig(bigwig, {"chr1": CHR1}, 1, words.kind)
    shutil.rmtree(database, ignore_errors=True)
    (folder / "sizes").write_text(f"chr1\t{CHR1}\n")
    (folder / "samples.tsv").write_text(f"dataset\tsignal\nsample\t{bigwig}\n")
    (folder / "types.tsv").write_text("signal\tbigwig\n")
    scripts = Path(sys.executable).parent
    tables = ["--tiledb_metadata", str(folder / "samples.tsv"), "--attribute_config_file", str(folder / "types.tsv")]
    steps = {
        "gen_ingest": [f"{scripts}/gen_ingest", "--chrom_sizes", str(folder / "sizes"), *tables],
        "gen_ingest, again: unchanged": [f"{scripts}/gen_ingest", *tables],
        "gen_db verify --sources": [f"{scripts}/gen_db", "verify", "--sources"],
        "gen_db export": [
            *(f"{scripts}/gen_db", "export", "--attribute", "signal", "--dataset", "sample"),
            *("--out", str(back), "--skip_zeros"),
        ],
    }
    print(f"{words.kind}: {bigwig.stat().st_size / 1e6:.1f} MB, {os.cpu_count()} cores\n")
    print("| command | s | Mb/s | peak MB |\n|---|---|---|---|")
    for name, command in steps.items():
        seconds, peak = run([*command, "--tdb_array", str(database), "--quiet"])
        print(f"| `{name}` | {seconds:.1f} | {CHR1 / seconds / 1e6:.0f} | {peak:.0f} |", flush=True)
    size = sum(path.stat().st_size for path in database.rglob("*") if path.is_file())
    print(f"\ndatabase {size / 1e6:.1f} MB; {same(bigwig, back):,} bases equal by pyBigWig")
    if words.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
