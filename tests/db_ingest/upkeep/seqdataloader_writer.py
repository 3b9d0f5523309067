"""Writes arrays as seqdataloader's ``db_ingest`` does, by what its source says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tiledb

MISSING = np.iinfo(np.int64).min


class SeqDataLoader:
    """Writes the array that seqdataloader's ``db_ingest`` would, and keeps what it wrote.

    One dense array of two uint32 dimensions, tiles of 10,000 x 1, gzip, an attribute a track; a fragment for each
    dataset, chromosome and chunk; what is not in its table of samples is not written.
    """

    def __init__(self, uri: Path, tasks: list[str], sizes: dict[str, int], types: dict[str, type]) -> None:
        self.uri, self.tasks, self.sizes = str(uri), tasks, sizes
        self.types = types
        total = sum(sizes.values())
        gzip = tiledb.FilterList([tiledb.GzipFilter()])
        domain = tiledb.Domain(
            tiledb.Dim("genome_coordinate", domain=(0, total), tile=min(10_000, total), dtype=np.uint32),
            tiledb.Dim("task", domain=(0, len(tasks) - 1), tile=1, dtype=np.uint32),
        )
        attributes = [tiledb.Attr(name, dtype=dtype, filters=gzip) for name, dtype in self.types.items()]
        schema = tiledb.ArraySchema(domain, attributes, cell_order="row-major", tile_order="row-major")
        tiledb.Array.create(self.uri, schema)
        self.offsets = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
        with tiledb.open(self.uri, "w") as array:
            array.meta["num_tasks"], array.meta["num_chroms"] = len(tasks), len(sizes)
            for i, task in enumerate(tasks):
                array.meta[f"task_{i}"] = task
            for i, (name, size) in enumerate(sizes.items()):
                array.meta[f"chrom_{i}"], array.meta[f"size_{i}"] = name, size
                array.meta[f"offset_{i}"] = self.offsets[name]
        self.values: dict[tuple[str, str, str], np.ndarray] = {}

    def write(self, task: str, chromosome: str, values: dict[str, np.ndarray], chunk: int = 30_000_000) -> None:
        """Write attributes of a task on a chromosome; NaN, or the lowest integer, in those that are not given."""
        place = self.tasks.index(task)
        for start in range(0, self.sizes[chromosome], chunk):
            cells = {}
            for name, dtype in self.types.items():
                missing = MISSING if dtype is np.int64 else np.nan
                full = values.get(name, np.full(self.sizes[chromosome], missing)).astype(dtype)
                self.values[name, task, chromosome] = full
                cells[name] = full[start : start + chunk]
            first = self.offsets[chromosome] + start
            with tiledb.open(self.uri, "w") as array:
                array[first : first + len(cells[name]), place : place + 1] = cells


def mask_of(size: int, peaks: list[tuple[int, int, int | None]]) -> np.ndarray:
    cells = np.zeros(size, np.int64)
    for start, end, _ in peaks:
        cells[start:end] = 1
    for start, _, summit in peaks:
        if summit is not None:
            cells[start + summit] = 2
    return cells
