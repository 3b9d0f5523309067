"""Cells, tile extent and filters of a signal member: disk, CPU and rates side by side, on bigWigs of each kind.

Usage: bench_layout.py [--bases MB] [FILE.bigwig ...]
Without files, tracks of counts and of p-values are made. The limit printed is a copy of the same bytes in memory.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyBigWig
import tiledb
from make_files import write_bigwig

CHUNK = 2**24
RANGES, RANGE = 5_000, 2_114
TILES = (16_384, 65_536, 262_144)
HALVES = {2: np.dtype("u1,u1"), 4: np.dtype("<u2,<u2")}
CONFIG = {"sm.mem.malloc_trim": "false", "sm.compute_concurrency_level": "2", "sm.io_concurrency_level": "2"}
FILTERS = {
    "zstd 1": [tiledb.ZstdFilter(level=1)],
    "zstd 3": [tiledb.ZstdFilter(level=3)],
    "lz4": [tiledb.LZ4Filter()],
    "bit shuffle, zstd 1": [tiledb.BitShuffleFilter(), tiledb.ZstdFilter(level=1)],
    "gzip 6 (seqdataloader's)": [tiledb.GzipFilter(level=6)],
}


def load(path: Path) -> np.ndarray:
    """The longest chromosome of a bigWig, uncovered bases as 0."""
    with pyBigWig.open(str(path)) as file:
        name = max(file.chroms(), key=file.chroms().get)
        parts = [
            np.nan_to_num(file.values(name, start, min(start + CHUNK, file.chroms(name)), numpy=True))
            for start in range(0, file.chroms(name), CHUNK)
        ]
    return np.concatenate(parts).astype(np.float32)


def measure(values: np.ndarray, halves: bool, tile: int, filters: list, folder: Path) -> list[float]:
    """MB on disk; Mb/s and CPU ns a base written; Mb/s of reading all of it, and of 5,000 ranges in one call."""
    length = (len(values) // tile + 1) * tile
    stored = values.view(HALVES[values.itemsize]) if halves else values
    ctx = tiledb.Ctx(tiledb.Config(CONFIG))
    row = tiledb.Dim("row", domain=(0, 2**31 - 1), tile=1, dtype=np.uint64)
    position = tiledb.Dim("position", domain=(0, length - 1), tile=tile, dtype=np.uint64)
    attribute = tiledb.Attr(name="value", dtype=stored.dtype, filters=tiledb.FilterList(filters))
    uri = str(folder / "array")
    shutil.rmtree(uri, ignore_errors=True)
    tiledb.Array.create(uri, tiledb.ArraySchema(domain=tiledb.Domain(row, position), attrs=[attribute]))
    before, began = os.times(), time.perf_counter()
    for start in range(0, len(values), CHUNK):
        with tiledb.open(uri, "w", timestamp=1, ctx=ctx) as array:
            array[0, start : min(start + CHUNK, len(values))] = stored[start : start + CHUNK]
    written, after = len(values) / (time.perf_counter() - began) / 1e6, os.times()
    cpu = (after.user + after.system - before.user - before.system) / len(values) * 1e9
    starts = np.sort(np.random.default_rng(1).choice(len(values) // RANGE, min(RANGES, len(values) // RANGE), False))
    ranges = [slice(int(s) * RANGE, int(s) * RANGE + RANGE - 1) for s in starts]
    whole = scattered = 0.0
    for _ in range(3):
        with tiledb.open(uri, ctx=ctx) as array:
            began = time.perf_counter()
            found = array[0, : len(values)]["value"]
            whole = max(whole, len(values) / (time.perf_counter() - began) / 1e6)
            began = time.perf_counter()
            array.multi_index[0, ranges]
            scattered = max(scattered, len(ranges) * RANGE / (time.perf_counter() - began) / 1e6)
        assert np.array_equal(found.reshape(-1).view(values.dtype), values)
    size = sum(path.stat().st_size for path in Path(uri).rglob("*") if path.is_file()) / 1e6
    return [size, written, cpu, whole, scattered]


def table(path: Path, folder: Path) -> None:
    """Print the table of one file."""
    values = load(path)
    target = np.empty_like(values)
    began = time.perf_counter()
    np.copyto(target, values)
    copied = len(values) / (time.perf_counter() - began) / 1e6
    print(f"\n{path.name}: {len(values) / 1e6:.0f} Mb, {path.stat().st_size / 1e6:.1f} MB; ", end="")
    print(f"copy in memory {copied:,.0f} Mb/s\n")
    print("| cells | tile | filters | MB | write Mb/s | CPU ns a base | read Mb/s | 5,000 ranges Mb/s |")
    print("|---|---|---|---|---|---|---|---|")
    integral = bool((values == np.floor(values)).all() and values.min() >= 0 and values.max() < 65_535)
    for cells in (values.astype(np.uint16), values) if integral else (values,):
        for halves, tile, (name, filters) in itertools.product((False, True), TILES, FILTERS.items()):
            size, write, cpu, whole, scattered = measure(cells, halves, tile, filters, folder)
            kind = f"{cells.dtype}{' in halves' if halves else ''}"
            row = f"{kind} | {tile:,} | {name} | {size:.2f} | {write:.0f} | {cpu:.1f}"
            print(f"| {row} | {whole:.0f} | {scattered:.0f} |", flush=True)


def main() -> None:
    """Print one table per file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.bigwig")
    parser.add_argument("--bases", type=float, default=50, help="Mb of the tracks that are made")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = words.files
        if not files:
            for kind in ("counts", "pvalue"):
                files.append(folder / f"{kind}.bw")
                write_bigwig(files[-1], {"chr1": int(words.bases * 1e6)}, 1, kind)
        for path in files:
            table(path, folder)


if __name__ == "__main__":
    main()
