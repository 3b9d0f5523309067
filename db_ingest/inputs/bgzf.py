"""Blocked gzip (BGZF), which BAM is written in, inflated block by block. Format: SAM/BAM specification, section 4.1."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from pathlib import Path

from deflate import DeflateError, deflate_decompress
from isal.isal_zlib import crc32

from db_ingest.ahead import ahead
from db_ingest.errors import InputError

END_MARK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that every BGZF file ends in."""

_MAGIC = b"\x1f\x8b\x08\x04"
_USUAL = struct.Struct("<4s6xHccHH")
_TRAILER = struct.Struct("<II")
_LARGEST = 1 << 16
_READ_AT_ONCE = 1 << 20

_Block = tuple[int, int, int]


def is_bgzf(path: str | Path) -> bool:
    """Whether a file starts as blocked gzip does."""
    with Path(path).open("rb") as handle:
        head = handle.read(_LARGEST)
    try:
        return _header(head, 0) is not None
    except ValueError:
        return False


def require_end(path: str | Path, what: str) -> None:
    """Raise :class:`InputError` unless the file ends in the empty block, which one that was cut short lacks."""
    size = os.path.getsize(path)
    with Path(path).open("rb") as handle:
        handle.seek(max(0, size - len(END_MARK)))
        if handle.read() != END_MARK:
            raise InputError(f"{path}: truncated at {size:,} bytes; the end mark of {what} is missing")


def inflate(path: str | Path, what: str, threads: int = 1) -> Generator[bytearray, None, None]:
    """Yield the content of each block, at most 64 KiB, in the file's order.

    Blocks are inflated by ``threads`` threads, some MB ahead of what is taken; with one thread, only when taken. Their
    checksums are verified.

    Args:
        path: the file.
        what: what it should be, for messages.
        threads: number of threads that inflate.

    Raises:
        InputError: a block is damaged or cut short, with the byte that it begins at.
    """
    pieces = _pieces(Path(path), what)
    if threads == 1:
        yield from chain.from_iterable(map(_inflate_lazily, pieces))
        return
    for blocks in ahead(_inflate_all, pieces, threads=threads, depth=2 * threads, name="bgzf"):
        yield from blocks


class _BlockRun:
    """Whole blocks read at once: ``blocks`` holds the start, the start of the deflated part and the end of each."""

    def __init__(self, data: memoryview, blocks: list[_Block], complain: Callable[[int, str], InputError]) -> None:
        self.data, self.blocks, self.complain = data, blocks, complain


def _inflate_lazily(piece: _BlockRun) -> Iterator[bytearray]:
    data = piece.data
    for start, deflated, end in piece.blocks:
        checksum, size = _TRAILER.unpack_from(data, end - 8)
        if size > _LARGEST:
            raise piece.complain(start, f"claims to hold {size:,} bytes")
        try:
            content = deflate_decompress(data[deflated : end - 8], _LARGEST)
        except DeflateError:
            raise piece.complain(start, "cannot be inflated") from None
        if len(content) != size or crc32(content) != checksum:
            raise piece.complain(start, "fails its checksum")
        yield content


def _inflate_all(piece: _BlockRun) -> list[bytearray]:
    return list(_inflate_lazily(piece))


def _pieces(path: Path, what: str) -> Iterator[_BlockRun]:
    """Read the file from one end to the other, some 60 blocks at once."""
    size = os.path.getsize(path)
    offset = 0
    with path.open("rb") as handle:
        while offset < size:
            handle.seek(offset)
            data = handle.read(_READ_AT_ONCE)

            def complain(start: int, how: str, offset: int = offset) -> InputError:
                return InputError(f"{path}: the block at byte {offset + start:,} {how}; expected {what}")

            blocks: list[_Block] = []
            start = 0
            while start < len(data):
                try:
                    header = _header(data, start)
                except ValueError as error:
                    raise complain(start, f"is damaged ({error})") from None
                if header is None or header[1] > len(data):
                    break
                blocks.append((start, *header))
                start = header[1]
            if not blocks:
                raise InputError(f"{path}: truncated at {size:,} bytes, within the block at byte {offset:,}")
            yield _BlockRun(memoryview(data), blocks, complain)
            offset += start


def _header(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the deflated part of a block begins and where the block ends; None if its header is cut off.

    Raises:
        ValueError: it is no block; what is wrong.
    """
    if len(data) - start < _USUAL.size:
        if not _MAGIC.startswith(data[start : start + 4]):
            raise ValueError("no BGZF header")
        return None
    magic, extra, first, second, length, size = _USUAL.unpack_from(data, start)
    if magic != _MAGIC:
        raise ValueError("no BGZF header")
    deflated = start + 12 + extra
    if (extra, first, second, length) != (6, b"B", b"C", 2):
        if deflated > len(data):
            return None
        size = _block_size(data[start + 12 : deflated])
    end = start + size + 1
    if end < deflated + 8:
        raise ValueError(f"a size of {size + 1} bytes")
    return deflated, end


def _block_size(fields: bytes) -> int:
    at = 0
    while at + 4 <= len(fields):
        name, length = struct.unpack_from("<2sH", fields, at)
        if name == b"BC" and length == 2 and at + 6 <= len(fields):
            return int(struct.unpack_from("<H", fields, at + 4)[0])
        at += 4 + length
    raise ValueError("gzip without a block size")
