"""Write text files, plain or compressed, and the lines of bedGraph and FASTA that are too many for a loop in Python."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numba
import numpy as np

from db_ingest.inputs.bgzf import END_MARK

_BLOCK = 65_280
_LEVEL = 3
_HEAD = struct.Struct("<4sIBBHBBHH")
_TAIL = struct.Struct("<II")
_MOST_DIGITS = 20
_LETTERS = np.frombuffer(b"ACGTN", np.uint8)
_EXACT = 2**24
"""Whole numbers up to here are written as such; float32 holds each of them."""


class TextWriter:
    """Writes bytes to a file; if its name ends in .gz or .bgz as blocked gzip (BGZF), which is gzip to all readers.

    Args:
        path: the file.
        packed: whether to compress.
        threads: number of threads that compress.
    """

    def __init__(self, path: str | Path, packed: bool, threads: int = 1) -> None:
        self._path, self._packed, self._threads = path, packed, threads
        self._rest = b""

    def __enter__(self) -> TextWriter:
        self._file = open(self._path, "wb")
        self._pool = ThreadPoolExecutor(self._threads)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None and self._packed:
                self._file.write(_pack(self._rest) if self._rest else b"")
                self._file.write(END_MARK)
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._file.close()

    def write(self, data: bytes) -> None:
        """Write bytes."""
        if not self._packed:
            self._file.write(data)
            return
        data = self._rest + data
        whole = len(data) // _BLOCK * _BLOCK
        self._rest = data[whole:]
        blocks = (data[first : first + _BLOCK] for first in range(0, whole, _BLOCK))
        for packed in self._pool.map(_pack, blocks):
            self._file.write(packed)


def _pack(data: bytes) -> bytes:
    """A block of BGZF."""
    from isal import isal_zlib

    deflated = isal_zlib.compress(data, _LEVEL, wbits=-15)
    size = _HEAD.size + len(deflated) + _TAIL.size
    head = _HEAD.pack(b"\x1f\x8b\x08\x04", 0, 0, 255, 6, ord("B"), ord("C"), 2, size - 1)
    return head + deflated + _TAIL.pack(isal_zlib.crc32(data), len(data))


def bedgraph_lines(chromosome: str, starts: np.ndarray, ends: np.ndarray, values: np.ndarray) -> bytes:
    """Lines of a bedGraph.

    Args:
        chromosome: name of the chromosome of all lines.
        starts, ends: ``(n,)`` bp.
        values: ``(n,) float32``; written with as many digits as tell them apart from any other.
    """
    import pandas as pd

    which, bits = pd.factorize(np.ascontiguousarray(values, np.float32).view(np.uint32))
    texts = [b"\t%b\n" % text for text in _texts(bits.view(np.float32))]
    places = np.cumsum([0, *map(len, texts)])
    text = np.frombuffer(b"".join(texts), np.uint8)
    prefix = np.frombuffer(f"{chromosome}\t".encode(), np.uint8)
    longest = len(prefix) + 2 * _MOST_DIGITS + 1 + int(np.diff(places).max(initial=0))
    lines = np.empty(longest * len(starts), np.uint8)
    length = _lay_lines(prefix, starts.astype(np.int64), ends.astype(np.int64), which, text, places, lines)
    return lines[:length].tobytes()


def _texts(values: np.ndarray) -> Iterator[bytes]:
    whole = (np.abs(values) <= _EXACT) & (values == np.floor(values)) & ~(np.signbit(values) & (values == 0))
    for value, is_whole in zip(values, whole.tolist(), strict=True):
        yield b"%d" % int(value) if is_whole else str(value).encode()


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _lay_lines(prefix, starts, ends, which, text, places, lines):  # type: ignore[no-untyped-def]  # pragma: no cover
    at = 0
    for i in range(len(starts)):
        for j in range(len(prefix)):
            lines[at] = prefix[j]
            at += 1
        at = _lay_number(starts[i], lines, at)
        lines[at] = 9
        at = _lay_number(ends[i], lines, at + 1)
        for j in range(places[which[i]], places[which[i] + 1]):
            lines[at] = text[j]
            at += 1
    return at


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _lay_number(number, lines, at):  # type: ignore[no-untyped-def]  # pragma: no cover
    digits = 1
    rest = number // 10
    while rest > 0:
        digits += 1
        rest //= 10
    for place in range(at + digits - 1, at - 1, -1):
        lines[place] = 48 + number % 10
        number //= 10
    return at + digits


def fasta_lines(bases: np.ndarray, width: int) -> bytes:
    """Base codes ``(n,) uint8`` as letters in lines of ``width``; only the last may be shorter."""
    letters = _LETTERS[bases]
    whole = len(letters) // width * width
    lines = np.full((whole // width, width + 1), ord("\n"), np.uint8)
    lines[:, :width] = letters[:whole].reshape(-1, width)
    rest = letters[whole:].tobytes()
    return lines.tobytes() + (rest + b"\n" if rest else b"")
