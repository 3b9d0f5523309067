"""What every reader needs of a file: that it is there, its checksum, its text."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import Any

from db_ingest.errors import InputError, MissingFileError
from db_ingest.inputs import bgzf


def require_file(path: str | Path, what: str) -> Path:
    """Return the path of an existing, readable, non-empty file.

    Raises:
        MissingFileError: there is no such file, or it is a folder.
        InputError: it is empty or may not be read.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; expected {what}")
    try:
        with path.open("rb") as handle:
            if not handle.read(1):
                raise InputError(f"{path}: empty file; expected {what}")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {what}") from error
    return path


def describe_source(path: str | Path) -> dict[str, Any]:
    """Path, size in bytes and SHA-256 of a file, as the catalogue keeps them."""
    path = Path(path)
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"path": str(path.resolve()), "bytes": path.stat().st_size, "sha256": digest}


def read_text(path: str | Path, what: str) -> str:
    """Text of a plain or gzipped file; raises :class:`InputError` for broken compression or binary content."""
    path = require_file(path, what)
    if bgzf.is_bgzf(path):
        # Cut between two blocks, it would inflate without complaint.
        bgzf.require_end(path, f"bgzipped text of {what}")
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(f"{path}: broken or truncated gzip ({error}); expected {what}") from error
    if b"\x00" in data[:4096]:
        raise InputError(f"{path}: binary content; expected {what}")
    return data.decode("utf-8", errors="replace")
