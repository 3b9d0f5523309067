"""Write bigWig files. Format: Kent et al. 2010, Bioinformatics 26:2204, and its supplement.

Blocks are compressed by libdeflate, in threads: smaller than zlib makes them at its default, ten times as fast.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numba
import numpy as np
from deflate import zlib_compress

from db_ingest.errors import InputError

_BIGWIG, _CHROMOSOMES, _INDEX = 0x888FFC26, 0x78CA8C91, 0x2468ACE0
_VERSION, _BEDGRAPH = 4, 1
_HEADER = struct.Struct("<IHHQQQHHQQIQ")
_ZOOM = struct.Struct("<IIQQ")
_SUMMARY = struct.Struct("<Qdddd")
_SECTION = struct.Struct("<IIIIIBBH")
_TREE = struct.Struct("<IIIIQQ")
_INDEX_HEADER = struct.Struct("<IIQIIIIQII")
_ITEMS, _NODE = 1024, 256
"""Items in a block, and places in a node of a tree, at most."""

_LEVEL = 6
_FIRST_ZOOM, _ZOOM_STEP, _MOST_ZOOMS = 1024, 4, 10
_WORTH = 0.5
"""A zoom level of more records than this times the runs is left out: the runs are as quick to read."""

_LARGEST = 2**32 - 1

_PLACE = [("chromosome", "<u4"), ("start", "<u4"), ("last", "<u4"), ("end", "<u4")]
_BLOCK = np.dtype([*_PLACE, ("child", "<u8"), ("bytes", "<u8")])
_BRANCH = np.dtype([*_PLACE, ("child", "<u8")])
_RECORD = np.dtype(
    [("chromosome", "<u4"), ("start", "<u4"), ("end", "<u4"), ("count", "<u4")]
    + [(name, "<f4") for name in ("minimum", "maximum", "sum", "squares")]
)
_Place = tuple[int, int, int]


class BigWigWriter:
    """Writes one bigWig, run by run, with zoom levels for browsers; a context manager.

    Args:
        path: the file; it is whole when the block has ended without an error.
        sizes: chromosome -> bp, all that the header is to name.
        threads: number of threads that compress.

    Attributes:
        chromosomes: in the order in which they are to be added: that of their bytes, which readers search by.

    Raises:
        InputError: a chromosome longer than the format can hold.
    """

    def __init__(self, path: str | Path, sizes: Mapping[str, int], threads: int = 1) -> None:
        for name, size in sizes.items():
            if size > _LARGEST:
                raise InputError(f"{path}: {name} has {size:,} bp; a bigWig holds at most {_LARGEST:,}")
        self.chromosomes = tuple(sorted(sizes, key=str.encode))
        self._numbers = {name: number for number, name in enumerate(self.chromosomes)}
        self._sizes = [sizes[name] for name in self.chromosomes]
        reductions = [_FIRST_ZOOM * _ZOOM_STEP**level for level in range(_MOST_ZOOMS)]
        self._reductions = [r for r in reductions if r < max(self._sizes, default=0)] or reductions[:1]
        self._zooms: list[tuple[list[_Place], list[bytearray]]] = [([], []) for _ in self._reductions]
        self._records = [0] * len(self._reductions)
        self._runs = 0
        self._places: list[_Place] = []
        self._lengths: list[int] = []
        self._bins: _Bins | None = None
        self._end = (-1, 0)
        self._total = np.zeros(3)
        self._extremes = np.array([np.inf, -np.inf])
        self._path, self._threads = path, threads

    def __enter__(self) -> BigWigWriter:
        self._file: BinaryIO = open(self._path, "wb")
        self._pool = ThreadPoolExecutor(self._threads)
        # Room for what is known at the end.
        self._file.write(bytes(_HEADER.size + len(self._reductions) * _ZOOM.size + _SUMMARY.size))
        self._tree_at = self._file.tell()
        self._write_chromosomes()
        self._data_at = self._file.tell()
        self._file.write(bytes(8))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._file.close()

    def add(self, chromosome: str, starts: np.ndarray, ends: np.ndarray, values: np.ndarray) -> None:
        """Add runs of a chromosome, ``(n,)`` each, sorted and disjoint; values become float32.

        Raises:
            ValueError: runs out of order, overlapping, or past the chromosome's end.
        """
        if not len(starts):
            return
        number = self._numbers[chromosome]
        ordered = (starts < ends).all() and (starts[1:] >= ends[:-1]).all()
        if not ordered or starts[0] < 0 or (number, int(starts[0])) < self._end or ends[-1] > self._sizes[number]:
            raise ValueError(f"{chromosome}:{starts[0]}-{ends[-1]}: runs out of order or past the chromosome's end")
        self._end = number, int(ends[-1])
        self._runs += len(starts)
        rows = np.empty((len(starts), 3), np.uint32)
        rows[:, 0], rows[:, 1], rows.view(np.float32)[:, 2] = starts, ends, values
        if self._bins is None or self._bins.number != number:
            self._close_bins()
            self._bins = _Bins(number, self._sizes[number])
        _tally(rows, rows.view(np.float32), _FIRST_ZOOM, *self._bins.arrays)

        def pack(first: int) -> bytearray:
            part = rows[first : first + _ITEMS]
            head = _SECTION.pack(number, part[0, 0], part[-1, 1], 0, 0, _BEDGRAPH, 0, len(part))
            return zlib_compress(head + part.tobytes(), _LEVEL)

        firsts = range(0, len(rows), _ITEMS)
        for first, block in zip(firsts, self._pool.map(pack, firsts), strict=True):
            last = min(first + _ITEMS, len(rows)) - 1
            self._places.append((number, int(rows[first, 0]), int(rows[last, 1])))
            self._lengths.append(self._file.write(block))

    def _close_bins(self) -> None:
        """Turn the bins of a chromosome that is done into the records of its zoom levels."""
        if self._bins is None:
            return
        bins, self._bins = self._bins, None
        count, minimum, maximum, total, squares = bins.arrays
        covered = count > 0
        if covered.any():
            self._total += [count.sum(), total.sum(), squares.sum()]
            self._extremes[0] = min(self._extremes[0], minimum[covered].min())
            self._extremes[1] = max(self._extremes[1], maximum[covered].max())
        for level, reduction in enumerate(self._reductions):
            if level:
                bins = bins.coarser()
            records = bins.records(reduction)
            self._records[level] += len(records)
            parts = [records[first : first + _ITEMS] for first in range(0, len(records), _ITEMS)]
            places, blocks = self._zooms[level]
            places += [(bins.number, int(part["start"][0]), int(part["end"][-1])) for part in parts]
            blocks += self._pool.map(lambda part: zlib_compress(part.tobytes(), _LEVEL), parts)

    def _finish(self) -> None:
        self._close_bins()
        file = self._file
        index_at = file.tell()
        self._write_index(self._places, self._lengths, self._data_at + 8)
        zooms = []
        for reduction, records, (places, blocks) in zip(self._reductions, self._records, self._zooms, strict=True):
            if records > self._runs * _WORTH:
                continue
            data_at = file.tell()
            file.write(struct.pack("<I", len(blocks)))
            lengths = [file.write(block) for block in blocks]
            zooms.append(_ZOOM.pack(reduction, 0, data_at, file.tell()))
            self._write_index(places, lengths, data_at + 4)
        file.write(struct.pack("<I", _BIGWIG))
        file.seek(self._data_at)
        file.write(struct.pack("<Q", len(self._lengths)))
        file.seek(0)
        summary_at = _HEADER.size + len(self._reductions) * _ZOOM.size
        most_bytes = max(_SECTION.size + 12 * _ITEMS, _RECORD.itemsize * _ITEMS)
        offsets = self._tree_at, self._data_at, index_at
        file.write(_HEADER.pack(_BIGWIG, _VERSION, len(zooms), *offsets, 0, 0, 0, summary_at, most_bytes, 0))
        file.write(b"".join(zooms))
        file.seek(summary_at)
        count, total, squares = self._total
        minimum, maximum = self._extremes if count else (0, 0)
        file.write(_SUMMARY.pack(int(count), minimum, maximum, total, squares))

    def _write_chromosomes(self) -> None:
        names = [name.encode() for name in self.chromosomes]
        longest = max(map(len, names))
        leaf = np.dtype([("key", f"S{longest}"), ("number", "<u4"), ("size", "<u4")])
        branch = np.dtype([("key", f"S{longest}"), ("child", "<u8")])
        items = np.array(list(zip(names, range(len(names)), self._sizes, strict=True)), leaf)
        self._file.write(_TREE.pack(_CHROMOSOMES, min(_NODE, len(items)), longest, 8, len(items), 0))

        def above(nodes: list[np.ndarray]) -> np.ndarray:
            return np.array([(node["key"][0], 0) for node in nodes], branch)

        _write_tree(self._file, items, above)

    def _write_index(self, places: list[_Place], lengths: list[int], at: int) -> None:
        items = np.zeros(len(places), _BLOCK)
        if places:
            items["chromosome"], items["start"], items["end"] = np.array(places, np.uint32).T
            items["last"] = items["chromosome"]
            items["bytes"] = lengths
            items["child"] = at + np.cumsum([0, *lengths[:-1]], dtype=np.int64)
        first, last = (items[0], items[-1]) if places else (np.zeros(1, _BLOCK)[0],) * 2
        bounds = first["chromosome"], first["start"], last["last"], last["end"]
        end = self._file.tell()
        self._file.write(_INDEX_HEADER.pack(_INDEX, _NODE, len(items), *map(int, bounds), end, _ITEMS, 0))

        def above(nodes: list[np.ndarray]) -> np.ndarray:
            ends = [(n["chromosome"][0], n["start"][0], n["last"][-1], n["end"][-1], 0) for n in nodes]
            return np.array(ends, _BRANCH)

        _write_tree(self._file, items, above)


def _write_tree(file: BinaryIO, leaves: np.ndarray, above: Callable[[list[np.ndarray]], np.ndarray]) -> None:
    """Write a tree of nodes, from its root to its leaves; ``above`` makes the items that stand for nodes."""
    levels = [_nodes(leaves)]
    while len(levels[0]) > 1:
        levels.insert(0, _nodes(above(levels[0])))
    at = file.tell()
    for nodes, below in zip(levels, [*levels[1:], []], strict=True):
        at += sum(4 + node.nbytes for node in nodes)
        child = at
        for i, node in enumerate(nodes):
            for place, under in enumerate(below[i * _NODE : (i + 1) * _NODE]):
                node["child"][place] = child
                child += 4 + under.nbytes
            file.write(struct.pack("<BBH", not below, 0, len(node)) + node.tobytes())


def _nodes(items: np.ndarray) -> list[np.ndarray]:
    return [items[first : first + _NODE] for first in range(0, len(items), _NODE)] or [items]


class _Bins:
    """What the runs of a chromosome come to in bins of the first zoom level, or of a coarser one."""

    def __init__(self, number: int, size: int, arrays: tuple[np.ndarray, ...] | None = None) -> None:
        self.number, self._size = number, size
        if arrays is None:
            bins = -(-size // _FIRST_ZOOM)
            ends = np.full(bins, np.inf, np.float32), np.full(bins, -np.inf, np.float32)
            arrays = (np.zeros(bins, np.int64), *ends, np.zeros(bins), np.zeros(bins))
        self.arrays: tuple[np.ndarray, ...] = arrays

    def coarser(self) -> _Bins:
        """Merge bins in groups of ``_ZOOM_STEP``."""
        firsts = np.arange(0, len(self.arrays[0]), _ZOOM_STEP)
        ways: tuple[np.ufunc, ...] = (np.add, np.minimum, np.maximum, np.add, np.add)
        pooled = tuple(way.reduceat(array, firsts) for way, array in zip(ways, self.arrays, strict=True))
        return _Bins(self.number, self._size, pooled)

    def records(self, reduction: int) -> np.ndarray:
        """Records of the bins that runs cover."""
        covered = np.flatnonzero(self.arrays[0])
        found = np.zeros(len(covered), _RECORD)
        found["chromosome"] = self.number
        found["start"] = covered * reduction
        found["end"] = np.minimum((covered + 1) * reduction, self._size)
        for name, array in zip(("count", "minimum", "maximum", "sum", "squares"), self.arrays, strict=True):
            found[name] = array[covered]
        return found


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _tally(  # type: ignore[no-untyped-def]  # pragma: no cover
    rows, floats, reduction, count, minimum, maximum, total, squares
):
    """Add runs (start, end, value) to the bins that they lie in."""
    for i in range(len(rows)):
        at, end, value = np.int64(rows[i, 0]), np.int64(rows[i, 1]), floats[i, 2]
        wide = np.float64(value)
        while at < end:
            bin = at // reduction
            to = min(end, (bin + 1) * reduction)
            count[bin] += to - at
            minimum[bin] = min(minimum[bin], value)
            maximum[bin] = max(maximum[bin], value)
            total[bin] += wide * (to - at)
            squares[bin] += wide * wide * (to - at)
            at = to
