"""Cells kept in files of a folder and mapped into memory: laid out once, there for every later run that needs the same.

A file is nothing but the cells; its name is a checksum of what they are. The system keeps in memory what is in use, and
takes that memory back when it is needed elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from db_ingest import intervals, storage
from db_ingest.errors import RunError
from db_ingest.layout.catalogue import Track
from kerasgen.database import Database

_LAYOUT = 1
"""To be raised when the same name would have to mean other bytes."""


def name_of(database: Database, tracks: tuple[Track, ...], dtype: np.dtype, spans: intervals.Spans) -> str:
    """Name of the file of some cells: equal where the same stretches hold the same values."""
    genome = database.genome
    what: dict[str, Any] = {
        "layout": _LAYOUT,
        "genome": [genome.names, genome.sizes, [int(offset) for offset in genome.offsets]],
        "dtype": dtype.str,
        "tracks": [[track.kind, track.folder, track.bin, track.checksums] for track in tracks],
        "sequence": None if tracks else database.sequence_checksums,
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
    for edges in spans:
        digest.update(np.ascontiguousarray(edges, np.int64).tobytes())
    return f"{digest.hexdigest()[:32]}.cells"


def is_kept(path: Path, nbytes: int) -> bool:
    """Whether the file is there; it is written whole or not at all."""
    return path.is_file() and path.stat().st_size == nbytes


def mapped(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The cells of a file."""
    if not np.prod(shape):
        return np.empty(shape, dtype)
    # Copy on write: to compiled loops, an array that may be written to is the same as one in memory.
    array = np.memmap(path, dtype, "c", shape=shape)
    array._mmap.madvise(mmap.MADV_WILLNEED)  # type: ignore[attr-defined]
    return np.asarray(array)


@contextmanager
def being_written(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
    """Cells to fill, which are kept on success.

    Raises:
        RunError: there is no room for them.
    """
    nbytes = int(np.prod(shape)) * dtype.itemsize
    with storage.replacing(path) as temporary:
        if not nbytes:
            yield np.empty(shape, dtype)
            return
        try:
            with temporary.open("r+b") as file:
                # A disk that is full is told of now; later, the system would end the process. macOS cannot tell.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, nbytes)
                else:
                    file.truncate(nbytes)
        except OSError as error:
            raise RunError(f"{path.parent}: no room for {nbytes / 1e9:.2f} GB of cells ({error.strerror})") from error
        array = np.memmap(temporary, dtype, "r+", shape=shape)
        yield np.asarray(array)
        array.flush()
