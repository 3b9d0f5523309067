"""Genome sequence from 2bit files. Format: https://genome.ucsc.edu/FAQ/FAQformat.html#format7."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError
from db_ingest.inputs.files import require_file
from db_ingest.layout.codes import UNKNOWN_BASE
from db_ingest.layout.genome import Genome

_WHAT = "a 2bit file"
_SIGNATURE = 0x1A412743
_BLOCK = 2**20

# A byte holds four bases, the first in its highest bits, T C A G = 0 1 2 3; here as the codes of the database.
_FOUR_CODES = np.array([3, 1, 0, 2], np.uint8)[np.arange(256)[:, None] >> [6, 4, 2, 0] & 3].view(np.uint32)[:, 0]


class _Record(NamedTuple):
    size: int
    packed_at: int
    unknown: tuple[np.ndarray, np.ndarray]


class TwoBit:
    """One open 2bit file; its parts are checked to be there. Threads may share it.

    Args:
        path: the file, of either byte order and of version 0 or 1 (offsets of 64 bits).

    Attributes:
        sizes: name -> size in bp, in the order of the file.

    Raises:
        InputError: not a 2bit file, cut short, or with broken or repeated records.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = require_file(path, _WHAT)
        with self.path.open("rb") as handle:
            self._bytes = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._records = self._read_index()
        except BaseException:
            self.close()
            raise
        self.sizes: dict[str, int] = {name: record.size for name, record in self._records.items()}

    def _read_index(self) -> dict[str, _Record]:
        self._order = "<" if self._bytes[:4] == struct.pack("<I", _SIGNATURE) else ">"
        if self._bytes[:4] != struct.pack(self._order + "I", _SIGNATURE):
            raise InputError(f"{self.path}: no 2bit header; expected {_WHAT}")
        version, count, _ = self._numbers(4, 3, "the header").tolist()
        if version > 1:
            raise InputError(f"{self.path}: 2bit version {version}; expected 0 or 1")
        if count == 0:
            raise InputError(f"{self.path}: no sequence in it; expected {_WHAT}")
        words, at = version + 1, 16
        records: dict[str, _Record] = {}
        for _ in range(count):
            length = self._bytes[at] if at < len(self._bytes) else 0
            name = self._bytes[at + 1 : at + 1 + length].decode("utf-8", errors="replace")
            offset = self._numbers(at + 1 + length, words, "the index")
            at += 1 + length + 4 * words
            if name in records:
                raise InputError(f"{self.path}: sequence {name!r} is there twice")
            place = int(offset[0]) if words == 1 else struct.unpack(self._order + "Q", self._bytes[at - 8 : at])[0]
            records[name] = self._read_record(name, place)
        return records

    def _read_record(self, name: str, at: int) -> _Record:
        what = f"the record of {name}"
        size, blocks = self._numbers(at, 2, what).tolist()
        starts = self._numbers(at + 8, blocks, what)
        lengths = self._numbers(at + 8 + 4 * blocks, blocks, what)
        at += 8 + 8 * blocks
        at += 8 + 8 * int(self._numbers(at, 1, what)[0])
        self._need(at + (size + 3) // 4, what)
        if size == 0:
            raise InputError(f"{self.path}: sequence {name!r} has no bases")
        if blocks and (starts + lengths).max() > size:
            raise InputError(f"{self.path}: a block of N lies past the {size:,} bp of {name}; the file is damaged")
        return _Record(size, at, (starts, starts + lengths))

    def _numbers(self, at: int, count: int, what: str) -> np.ndarray:
        self._need(at + 4 * count, what)
        return np.frombuffer(self._bytes, self._order + "u4", count, at).astype(np.int64)

    def _need(self, end: int, what: str) -> None:
        if end > len(self._bytes):
            raise InputError(f"{self.path}: truncated at {len(self._bytes):,} bytes, within {what}; expected {_WHAT}")

    def read(self, name: str, start: int, end: int) -> np.ndarray:
        """Bases ``[start, end)`` of a sequence as ``(end - start,) uint8``: A C G T = 0 1 2 3, N = 4."""
        _, at, (starts, ends) = self._records[name]
        first = start // 4
        packed = np.frombuffer(self._bytes, np.uint8, -(-end // 4) - first, at + first)
        fours = np.empty(len(packed), np.uint32)
        for low in range(0, len(packed), _BLOCK):
            np.take(_FOUR_CODES, packed[low : low + _BLOCK], out=fours[low : low + _BLOCK], mode="clip")
        codes = fours.view(np.uint8)[start - 4 * first : end - 4 * first]
        for i in np.flatnonzero((starts < end) & (ends > start)):
            codes[max(starts[i] - start, 0) : ends[i] - start] = UNKNOWN_BASE
        return codes

    def close(self) -> None:
        """Close the file."""
        self._bytes.close()


def is_twobit(path: Path) -> bool:
    """Whether a file begins as a 2bit file does."""
    with path.open("rb") as handle:
        return handle.read(4) in (struct.pack("<I", _SIGNATURE), struct.pack(">I", _SIGNATURE))


def genome(path: str | Path) -> Genome:
    """Names and sizes of a 2bit file's sequences."""
    file = TwoBit(path)
    file.close()
    return Genome(tuple(file.sizes), tuple(file.sizes.values()))


def read(path: str | Path, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, np.ndarray]]:
    """Yield ``(name, codes)`` of each sequence whose name is ``wanted``, ``codes`` as :meth:`TwoBit.read` has them."""
    file = TwoBit(path)
    try:
        for name, size in file.sizes.items():
            if wanted(name):
                yield name, file.read(name, 0, size)
    finally:
        file.close()
