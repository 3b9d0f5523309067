"""Genome sequence from FASTA, plain or gzipped (BGZF too)."""

from __future__ import annotations

import string
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
from isal import igzip, isal_zlib

from db_ingest.errors import InputError
from db_ingest.inputs import bgzf
from db_ingest.inputs.files import require_file
from db_ingest.layout.codes import UNKNOWN_BASE
from db_ingest.layout.genome import Genome

_WHAT = "a FASTA file"
_BLOCK = 2**22
_NO_BASE = 255
_BROKEN: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error, cast(type[Exception], isal_zlib.error))
_SPACE = string.whitespace.encode()

_CODES = np.full(256, UNKNOWN_BASE, np.uint8)
for _code, _base in enumerate(b"ACGT"):
    _CODES[_base] = _CODES[_base + 32] = _code

# In a file, letters and the signs of gaps and stops are bases; anything else is damage.
_FILE_CODES = np.full(256, _NO_BASE, np.uint8)
for _base in string.ascii_letters.encode() + b"*-.":
    _FILE_CODES[_base] = _CODES[_base]
_TABLE = _FILE_CODES.tobytes()


def encode(sequence: str | bytes) -> np.ndarray:
    """Bases as ``(length,) uint8``: A C G T = 0 1 2 3 in either case, anything else 4."""
    data = sequence.encode("ascii", errors="replace") if isinstance(sequence, str) else sequence
    return _CODES[np.frombuffer(data, np.uint8)]


def check(path: str | Path) -> Path:
    """Return the path of a file that begins like FASTA; raises :class:`InputError` otherwise."""
    path = require_file(path, _WHAT)
    with _open(path) as handle:
        head = handle.read(_BLOCK).lstrip()
    if not head.startswith(b">"):
        raise InputError(f"{path}: no sequence in it; expected {_WHAT} (lines of '>name' followed by bases)")
    return path


def genome(path: str | Path) -> Genome:
    """Names and sizes of a FASTA file's sequences, from its ``.fai`` index where there is a newer one."""
    path = check(path)
    index = Path(f"{path}.fai")
    if index.is_file() and index.stat().st_mtime >= path.stat().st_mtime:
        return Genome.from_chrom_sizes(index)
    sizes: dict[str, int] = {}
    for name, codes in read(path):
        if name in sizes:
            raise InputError(f"{path}: sequence {name!r} is there twice")
        if len(codes) == 0:
            raise InputError(f"{path}: sequence {name!r} has no bases")
        sizes[name] = len(codes)
    return Genome(tuple(sizes), tuple(sizes.values()))


def read(path: str | Path, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, np.ndarray]]:
    """Yield ``(name, codes)`` of each sequence whose name is ``wanted``, one in memory at a time.

    ``codes`` are ``(size,) uint8`` as of :func:`encode`. The name is the header's first word.

    Raises:
        InputError: no FASTA, broken or truncated gzip, or something else than letters among the bases.
    """
    path = check(path)
    with _open(path) as handle:
        name, taken, codes = "", False, bytearray()
        for is_header, text in _parts(handle):
            if is_header:
                if taken:
                    yield name, np.frombuffer(codes, np.uint8)
                name = (text[1:].split() or [b""])[0].decode("utf-8", errors="replace")
                if not name:
                    raise InputError(f"{path}: a sequence without a name; expected lines of '>name' followed by bases")
                taken, codes = wanted(name), bytearray()
            elif taken:
                piece = text.translate(_TABLE, _SPACE)
                odd = piece.find(_NO_BASE)
                if odd >= 0:
                    raise InputError(f"{path}: base {len(codes) + odd + 1:,} of {name} is no letter; expected {_WHAT}")
                codes += piece
        if taken:
            yield name, np.frombuffer(codes, np.uint8)


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb", buffering=0) as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if not packed:
                yield plain
                return
            if bgzf.is_bgzf(path):
                # Cut between two blocks, it would inflate without complaint.
                bgzf.require_end(path, "bgzipped FASTA")
            yield cast(IO[bytes], igzip.IGzipFile(fileobj=plain))  # type: ignore[no-untyped-call]
    except _BROKEN as error:
        raise InputError(f"{path}: broken or truncated gzip ({error}); expected {_WHAT}") from error


def _parts(handle: IO[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Yield ``(is_header, text)``: each header line whole, and what lies between them in pieces."""
    header, in_header, at_line_start = b"", False, True
    while block := handle.read(_BLOCK):
        at = 0
        while at < len(block):
            in_header = in_header or (at_line_start and block.startswith(b">", at))
            end = block.find(b"\n", at) + 1 if in_header else _next_header(block, at + 1)
            end = end or len(block)
            text, at = block[at:end], end
            at_line_start = text.endswith(b"\n")
            if not in_header:
                yield False, text
                continue
            header += text
            if at_line_start:
                yield True, header
                header, in_header = b"", False
    if in_header:
        yield True, header


def _next_header(block: bytes, start: int) -> int:
    """Place of the next ``>`` that begins a line, 0 if there is none."""
    at = block.find(b">", start)
    while at > 0 and not block.startswith(b"\n", at - 1):
        at = block.find(b">", at + 1)
    return max(at, 0)
