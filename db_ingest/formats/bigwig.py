"""Signal from bigWig files. Format: Kent et al. 2010, Bioinformatics 26:2204.

Blocks are inflated by ISA-L and laid into the result by a compiled loop, both without Python's lock.
"""

from __future__ import annotations

import mmap
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numba
import numpy as np

from db_ingest.errors import InputError
from db_ingest.formats.base import EVERYTHING, ByBase, Channel
from db_ingest.inputs.files import require_file
from db_ingest.inputs.naming import Naming
from db_ingest.layout.codes import MOST_COUNTS

_WHAT = "a bigWig file"
_BIGWIG, _BIGBED, _CHROMOSOMES, _INDEX = 0x888FFC26, 0x8789F2EB, 0x78CA8C91, 0x2468ACE0
_HEADER_BYTES, _SECTION_BYTES, _INDEX_HEADER_BYTES = 64, 24, 48
_BEDGRAPH, _VARIABLE_STEP, _FIXED_STEP = 1, 2, 3
_SAMPLED_BLOCKS = 64
_MOST_RESERVED = 1 << 20


def open_signal(
    path: str | Path, naming: Naming, options: Mapping[str, Any], channels: Sequence[Channel] = (EVERYTHING,)
) -> BigWig:
    """Open a bigWig as :mod:`db_ingest.formats.base` describes; it has one channel."""
    return BigWig(path, naming, options)


def read_sizes(path: str | Path) -> dict[str, int]:
    """Names and sizes in bp of the chromosomes that a bigWig's header has."""
    path = require_file(path, _WHAT)
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return {name: size for name, (_, size) in _read_layout(path, data).chromosomes.items()}


@dataclass(frozen=True)
class _BigWigLayout:
    order: str
    chromosomes: dict[str, tuple[int, int]]  # name -> number, size
    blocks: np.ndarray
    inflated_bytes: int
    extremes: tuple[float, float] | None


class BigWig(ByBase):
    """One open bigWig file. Not shared between threads: open one in each.

    Args:
        path: the file.
        naming: names of the database's genome.
        options: ``negative`` (``keep``, ``absolute``, or ``auto_minus``: absolute if no value is above 0 and one is
            below) and ``missing`` (``zero`` or ``nan``: what bases without a value hold).

    Attributes:
        chromosomes: names of the genome that the file's header has.
        counts: whether the values look like whole numbers from 0 to 65,534, by the file's summary and a sample.
        summary: ``absolute``, whether absolute values are given.

    Raises:
        InputError: not a bigWig, cut short, damaged, of another assembly, or with infinite values.
    """

    def __init__(self, path: str | Path, naming: Naming, options: Mapping[str, Any]) -> None:
        self.path = require_file(path, _WHAT)
        with self.path.open("rb") as handle:
            self._data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._layout = _read_layout(self.path, self._data)
            sizes = {name: size for name, (_, size) in self._layout.chromosomes.items()}
            self._names = naming.match(self.path, sizes)
            self._missing = np.float32(np.nan if options.get("missing") == "nan" else 0)
            self._absolute = options["negative"] == "absolute"
            if options["negative"] == "auto_minus":
                minimum, maximum = self._extremes()
                self._absolute = minimum < 0 >= maximum
            self.counts = self._look_like_counts()
        except BaseException:
            self._data.close()
            raise
        # Kept from read to read: fresh memory costs more than decoding.
        self._buffer = np.empty(0, np.float32)
        self.chromosomes = tuple(self._names)
        self.summary = {"absolute": self._absolute}

    def read(self, chromosome: str, start: int, end: int, channel: int = 0) -> np.ndarray:
        """Values of ``[start, end)`` as ``(end - start,) float32``, which the next call overwrites."""
        if len(self._buffer) < end - start:
            self._buffer = np.empty(end - start, np.float32)
        values = self._buffer[: end - start]
        values.fill(self._missing)
        number = self._layout.chromosomes[self._names[chromosome]][0]
        blocks = self._layout.blocks
        # Sorted by place; a block belongs to one chromosome.
        first = np.searchsorted(blocks["chromosome"], number)
        last = np.searchsorted(blocks["chromosome"], number, side="right")
        here = blocks[first:last]
        here = here[np.searchsorted(here["end"], start, side="right") : np.searchsorted(here["start"], end)]
        for block in here:
            kind, count, words = self._inflate(block, number)
            bad = _lay(words, words.view(np.float32), kind, count, start, values, self._absolute)
            if bad >= 0:
                raise InputError(
                    f"{self.path}: {chromosome}:{bad:,}: an infinite value; expected finite ones, or none at the base"
                )
        return values

    def close(self) -> None:
        """Close the file."""
        self._data.close()

    def _inflate(self, block: np.void, number: int) -> tuple[int, int, np.ndarray]:
        """Kind and number of items of a block, and its content as ``uint32``."""
        from isal import isal_zlib

        layout = self._layout
        at, length = int(block["offset"]), int(block["bytes"])
        raw = self._data[at : at + length]
        if layout.inflated_bytes:
            try:
                raw = isal_zlib.decompress(raw, bufsize=min(layout.inflated_bytes, _MOST_RESERVED))
            except (zlib.error, cast(type[Exception], isal_zlib.error)) as error:
                raise self._damaged(block, number, f" ({error})") from error
        if len(raw) < _SECTION_BYTES or len(raw) % 4:
            raise self._damaged(block, number, f" ({len(raw)} bytes)")
        found, kind, count = struct.unpack(layout.order + "I16xBxH", raw[:_SECTION_BYTES])
        words = np.frombuffer(raw, layout.order + "u4").astype(np.uint32, copy=False)
        item = {_BEDGRAPH: 3, _VARIABLE_STEP: 2, _FIXED_STEP: 1}.get(kind, 0)
        if not item or found != number or 6 + item * count > len(words):
            raise self._damaged(block, number, f"; expected {count} items of a known kind")
        return kind, count, words

    def _damaged(self, block: np.void, number: int, detail: str) -> InputError:
        place = f"{_name_of(self._layout, number)}:{block['start']:,}-{block['end']:,}"
        return InputError(f"{self.path}: {place}: damaged block at byte {block['offset']:,}{detail}")

    def _extremes(self) -> tuple[float, float]:
        """Smallest and largest value, by the file's summary or, in a file without one, by reading it."""
        if self._layout.extremes is not None:
            return self._layout.extremes
        found = [np.zeros(0, np.float32), *(self._values_of(block) for block in self._layout.blocks)]
        values = np.concatenate(found)
        values = values[~np.isnan(values)]
        return float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))

    def _values_of(self, block: np.void) -> np.ndarray:
        kind, count, words = self._inflate(block, int(block["chromosome"]))
        item = {_BEDGRAPH: 3, _VARIABLE_STEP: 2, _FIXED_STEP: 1}[kind]
        return words.view(np.float32)[6 : 6 + item * count][item - 1 :: item]

    def _look_like_counts(self) -> bool:
        if self._layout.extremes is not None:
            minimum, maximum = self._layout.extremes
            if maximum > MOST_COUNTS or minimum < -MOST_COUNTS or (minimum < 0 and not self._absolute):
                return False
        blocks = self._layout.blocks
        sample = np.unique(np.linspace(0, len(blocks) - 1, min(len(blocks), _SAMPLED_BLOCKS)).astype(int))
        for i in sample:
            values = self._values_of(blocks[i])
            values = np.abs(values) if self._absolute else values
            values = values[~np.isnan(values)]
            if not ((values == np.floor(values)) & (values >= 0) & (values <= MOST_COUNTS)).all():
                return False
        return True


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _lay(words, floats, kind, count, start, values, absolute):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Lay a block's items into ``values``, whose first base is ``start``; the place of a bad value, or -1."""
    size = values.shape[0]
    step, span = np.int64(words[3]), np.int64(words[4])
    at = np.int64(words[1])
    for i in range(count):
        if kind == 1:
            a, b, value = np.int64(words[6 + 3 * i]), np.int64(words[7 + 3 * i]), floats[8 + 3 * i]
        elif kind == 2:
            a, value = np.int64(words[6 + 2 * i]), floats[7 + 2 * i]
            b = a + span
        else:
            a, value = at + i * step, floats[6 + i]
            b = a + span
        a, b = max(a - start, np.int64(0)), min(b - start, size)
        if a >= b or value != value:
            continue
        if np.isinf(value):
            return a + start
        if absolute:
            value = abs(value)
        for j in range(a, b):
            values[j] = value
    return -1


def _name_of(layout: _BigWigLayout, number: int) -> str:
    return next(name for name, (found, _) in layout.chromosomes.items() if found == number)


def _read_layout(path: Path, data: mmap.mmap) -> _BigWigLayout:
    """Header, chromosomes, places of the blocks and summary; raises unless all of it is there and makes sense."""
    size = len(data)
    head = data[:_HEADER_BYTES]
    order = "<" if head[:4] == struct.pack("<I", _BIGWIG) else ">"
    if head[:4] != struct.pack(order + "I", _BIGWIG):
        is_bigbed = head[:4] in (struct.pack("<I", _BIGBED), struct.pack(">I", _BIGBED))
        kind = "a bigBed file" if is_bigbed else "no bigWig header"
        raise InputError(f"{path}: {kind}; expected {_WHAT}")
    if size < _HEADER_BYTES:
        raise InputError(f"{path}: truncated at {size:,} bytes, within the header; expected {_WHAT}")
    fields = struct.unpack(order + "HHQQQHHQQIQ", head[4:])
    version, chromosomes_at, index_at = fields[0], fields[2], fields[4]
    summary_at, inflated_bytes = fields[8], fields[9]
    if index_at + _INDEX_HEADER_BYTES > size:
        raise InputError(f"{path}: truncated at {size:,} bytes, before its index at byte {index_at:,}")
    # Writers since version 3 repeat the magic number as the last four bytes.
    if version >= 3 and data[size - 4 :] != head[:4]:
        raise InputError(f"{path}: truncated at {size:,} bytes; the end mark of a bigWig is missing")
    try:
        chromosomes = _read_chromosomes(data, order, chromosomes_at)
        # libBigWig writes no index where there are no values.
        blocks = _read_index(data, order, index_at) if index_at else np.zeros(0, _leaf("="))
        extremes = _read_extremes(data, order, summary_at) if summary_at else None
    except (struct.error, ValueError, OverflowError) as error:
        raise InputError(f"{path}: damaged chromosome list or index ({error})") from error
    numbers = [number for number, _ in chromosomes.values()]
    ends = blocks["offset"] + blocks["bytes"]
    if not np.isin(blocks["chromosome"], numbers).all() or (len(ends) and int(ends.max()) > size):
        raise InputError(f"{path}: the index points outside the file or to unknown chromosomes; the file is damaged")
    if extremes is not None and not np.isfinite(extremes).all():
        raise InputError(f"{path}: values from {extremes[0]:g} to {extremes[1]:g}; expected finite values")
    return _BigWigLayout(order, chromosomes, blocks, inflated_bytes, extremes)


def _read_chromosomes(data: mmap.mmap, order: str, at: int) -> dict[str, tuple[int, int]]:
    magic, _, key_bytes = struct.unpack_from(order + "III", data, at)
    if magic != _CHROMOSOMES:
        raise ValueError(f"no chromosome list at byte {at:,}")
    found: dict[str, tuple[int, int]] = {}
    nodes, seen = [at + 32], set[int]()
    while nodes:
        node = nodes.pop()
        if node in seen:
            raise ValueError("endless chromosome list")
        seen.add(node)
        is_leaf, count = struct.unpack_from(order + "BxH", data, node)
        for i in range(count):
            place = node + 4 + i * (key_bytes + 8)
            if not is_leaf:
                nodes.append(struct.unpack_from(order + "Q", data, place + key_bytes)[0])
                continue
            name = data[place : place + key_bytes].rstrip(b"\0").decode()
            found[name] = struct.unpack_from(order + "II", data, place + key_bytes)
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def _read_index(data: mmap.mmap, order: str, at: int) -> np.ndarray:
    """Place on the genome and in the file of each block, by place."""
    if struct.unpack_from(order + "I", data, at)[0] != _INDEX:
        raise ValueError(f"no index at byte {at:,}")
    leaf = _leaf(order)
    branch = np.dtype(leaf.descr[:-1])
    leaves, nodes, seen = [], [at + _INDEX_HEADER_BYTES], set[int]()
    while nodes:
        node = nodes.pop()
        if node in seen:
            raise ValueError("endless index")
        seen.add(node)
        is_leaf, count = struct.unpack_from(order + "BxH", data, node)
        kind = leaf if is_leaf else branch
        # A copy: the file cannot be closed while an array looks into it.
        items = np.frombuffer(data[node + 4 : node + 4 + count * kind.itemsize], kind, count)
        if is_leaf:
            leaves.append(items.astype(_leaf("=")))
        else:
            nodes.extend(int(child) for child in items["offset"])
    found = np.concatenate(leaves) if leaves else np.zeros(0, _leaf("="))
    if (found["chromosome"] != found["last"]).any():
        raise ValueError("a block of two chromosomes")
    found = found[np.lexsort((found["start"], found["chromosome"]))]
    # Where blocks overlap, an end may lie before that of an earlier block; the search by place needs them in order.
    ends = np.maximum.accumulate(found["chromosome"].astype(np.int64) << 32 | found["end"])
    found["end"] = ends & 0xFFFFFFFF
    return found


def _leaf(order: str) -> np.dtype:
    """A block as the index has it: its place on the genome and in the file."""
    uint, long = order + "u4", order + "u8"
    return np.dtype(
        [("chromosome", uint), ("start", uint), ("last", uint), ("end", uint), ("offset", long), ("bytes", long)]
    )


def _read_extremes(data: mmap.mmap, order: str, at: int) -> tuple[float, float] | None:
    minimum, maximum = struct.unpack_from(order + "dd", data, at + 8)
    if minimum != minimum or maximum != maximum:
        return None
    # libBigWig starts its maximum at the smallest positive double and leaves it there if no value is above 0.
    return minimum, 0.0 if maximum == sys.float_info.min else maximum
