"""Tile extent and filters of a signal member: disk, write and read rates side by side, on one real or made track.

Usage: bench_layout.py [FILE.bigwig [CHROMOSOME]]
Without a file, a sparse track of counts is made. The limit printed is a copy of the same bytes in memory.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tiledb

BASES = 20_000_000
WINDOWS, WINDOW = 4000, 2000


def load(argv: list[str]) -> np.ndarray:
    if not argv:
        rng = np.random.default_rng(0)
        values = np.zeros(BASES, np.float32)
        at = rng.integers(0, BASES, BASES // 50)
        np.add.at(values, at, rng.geometric(0.4, len(at)).astype(np.float32))
        return values
    import pyBigWig

    with pyBigWig.open(argv[0]) as file:
        name = argv[1] if len(argv) > 1 else max(file.chroms(), key=file.chroms().get)
        values = np.nan_to_num(file.values(name, 0, file.chroms(name), numpy=True)).astype(np.float32)
    return np.tile(values, max(BASES // len(values), 1))


def measure(values: np.ndarray, tile: int, filters: list, folder: Path) -> tuple[float, float, float, float]:
    """MB on disk; Mb/s written, read whole, and read in scattered windows."""
    length = -(-len(values) // tile) * tile
    row = tiledb.Dim("row", domain=(0, 2**31 - 1), tile=1, dtype=np.uint64)
    position = tiledb.Dim("position", domain=(0, length - 1), tile=tile, dtype=np.uint64)
    attribute = tiledb.Attr(name="value", dtype=np.float32, fill=np.nan, filters=tiledb.FilterList(filters))
    uri = str(folder / "array")
    shutil.rmtree(uri, ignore_errors=True)
    tiledb.Array.create(uri, tiledb.ArraySchema(domain=tiledb.Domain(row, position), attrs=[attribute]))
    rates = []
    began = time.perf_counter()
    with tiledb.open(uri, "w", timestamp=1) as array:
        array[0, : len(values)] = values
    rates.append(len(values) / (time.perf_counter() - began) / 1e6)
    with tiledb.open(uri) as array:
        array[0, :1000]
        best = 0.0
        for _ in range(3):
            began = time.perf_counter()
            found = array[0, : len(values)]["value"]
            best = max(best, len(values) / (time.perf_counter() - began) / 1e6)
        assert np.array_equal(found.reshape(-1), values)
        rates.append(best)
        starts = np.sort(np.random.default_rng(1).choice(len(values) // WINDOW, WINDOWS, replace=False)) * WINDOW
        began = time.perf_counter()
        array.multi_index[0, [slice(int(s), int(s) + WINDOW - 1) for s in starts]]
        rates.append(WINDOWS * WINDOW / (time.perf_counter() - began) / 1e6)
    size = sum(path.stat().st_size for path in Path(uri).rglob("*") if path.is_file()) / 1e6
    return size, rates[0], rates[1], rates[2]


def main() -> None:
    values = load(sys.argv[1:])
    target, copied = np.empty_like(values), 0.0
    for _ in range(3):
        began = time.perf_counter()
        np.copyto(target, values)
        copied = max(copied, len(values) / (time.perf_counter() - began) / 1e6)
    print(f"{len(values) / 1e6:.1f} Mb; copy in memory {copied:,.0f} Mb/s")
    print("| tile | filters | MB | write Mb/s | read Mb/s | windows Mb/s |\n|---|---|---|---|---|---|")
    choices = {
        "zstd 3": [tiledb.ZstdFilter(level=3)],
        "zstd 5": [tiledb.ZstdFilter(level=5)],
        "byte shuffle, zstd 3": [tiledb.ByteShuffleFilter(), tiledb.ZstdFilter(level=3)],
        "lz4": [tiledb.LZ4Filter()],
        "gzip 6 (seqdataloader's)": [tiledb.GzipFilter(level=6)],
    }
    with tempfile.TemporaryDirectory() as folder:
        for tile in (10_000, 16_384, 32_768, 65_536, 131_072):
            for name, filters in choices.items():
                size, write, read, windows = measure(values, tile, filters, Path(folder))
                print(f"| {tile:,} | {name} | {size:.2f} | {write:.0f} | {read:.0f} | {windows:.0f} |", flush=True)


if __name__ == "__main__":
    main()
