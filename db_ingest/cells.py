"""The cells of the dense members: what they hold, how TileDB keeps them, and reading them.

TileDB keeps minimum, maximum and sum of every tile of an attribute with one number a cell, and takes as long for that
as for all else that it does to write a tile. The catalogue holds these figures by chromosome; signals and counts are
stored as two halves a cell, of which TileDB keeps none.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from db_ingest.codes import COUNTS_MISSING, MASK_MISSING, UNKNOWN_BASE
from db_ingest.genome import CHUNK

if TYPE_CHECKING:
    import tiledb

CELLS: dict[str, tuple[type, float]] = {
    "signal": (np.float32, np.nan),
    "counts": (np.uint16, COUNTS_MISSING),
    "mask": (np.uint8, MASK_MISSING),
    "sequence": (np.uint8, UNKNOWN_BASE),
}
"""Data type and fill value of the dense members' cells, by the folder they lie in."""

_HALVES: dict[np.dtype, np.dtype] = {np.dtype(np.float32): np.dtype("<u2,<u2"), np.dtype(np.uint16): np.dtype("u1,u1")}
_WHOLE: dict[np.dtype, np.dtype] = {halves: whole for whole, halves in _HALVES.items()}


def folder_of(member: str) -> str:
    """The folder that a member lies in, by its name."""
    return member.partition("/")[0]


def stored_type(folder: str) -> np.dtype:
    """Data type of the attribute of the members in a folder."""
    dtype = np.dtype(CELLS[folder][0])
    return _HALVES.get(dtype, dtype)


def to_stored(cells: np.ndarray) -> np.ndarray:
    """A view of ``(n,)`` cells as TileDB is to store them."""
    return cells.view(_HALVES.get(cells.dtype, cells.dtype))


def from_stored(found: np.ndarray) -> np.ndarray:
    """A view of ``(n,)`` cells that TileDB gave as what they are."""
    whole: np.dtype = _WHOLE.get(found.dtype, found.dtype)
    return found.view(whole)


def read(array: tiledb.Array, row: int | None, first: int, last: int) -> np.ndarray:
    """Cells ``[first, last)`` of a row of an open member (None: of the sequence) as ``(last - first,)``."""
    found = array[first:last] if row is None else array[row, first:last]
    return from_stored(found if isinstance(found, np.ndarray) else found["value"])


def read_stretches(array: tiledb.Array, row: int | None, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Cells of several half-open stretches, sorted and disjoint, end to end, as ``(sum of lengths,)``."""
    if len(starts) == 1:
        return read(array, row, int(starts[0]), int(ends[0]))
    ranges = [slice(start, end - 1) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    result = np.empty(int((ends - starts).sum()), array.schema.attr("value").dtype)
    done = 0
    # Not all at once: TileDB holds every tile that a query touches.
    cuts = [0, *(np.flatnonzero(np.diff(starts // CHUNK)) + 1).tolist(), len(ranges)]
    for first, last in itertools.pairwise(cuts):
        batch = ranges[first:last]
        if batch:
            found = (array.multi_index[batch] if row is None else array.multi_index[row, batch])["value"].reshape(-1)
            result[done : done + len(found)] = found
            done += len(found)
    return from_stored(result)
