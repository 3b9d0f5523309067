"""The cells of the dense members: what they hold, how TileDB keeps them, and reading them.

TileDB keeps minimum, maximum and sum of every tile of an attribute with one number per cell, and takes as long for that
as for all else that it does to write a tile. The catalogue holds these figures by chromosome; signals and counts are
stored as two halves per cell, of which TileDB keeps none.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from db_ingest.layout.codes import COUNTS_MISSING, MASK_MISSING, UNKNOWN_BASE
from db_ingest.layout.genome import CHUNK

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
    """Cells of sorted disjoint half-open stretches, end to end, as ``(sum of lengths,)``.

    TileDB decompresses a tile whole whatever is asked of it, so stretches in one tile or in neighbours are read as one;
    and it holds every tile that a query touches, so that a query goes no further than a chunk.
    """
    stored = np.empty(int((ends - starts).sum()), array.schema.attr("value").dtype)
    result = from_stored(stored)
    if not len(starts):
        return result
    tile = int(array.schema.domain.dim("position").tile)
    apart = starts[1:] // tile > (ends[:-1] - 1) // tile + 1
    cut = starts[1:] // CHUNK > starts[:-1] // CHUNK
    runs = np.concatenate([[0], np.flatnonzero(apart | cut) + 1, [len(starts)]])
    reach = np.cumsum(ends[runs[1:] - 1] - starts[runs[:-1]]) // CHUNK
    batches = np.concatenate([[0], np.flatnonzero(np.diff(reach)) + 1, [len(runs) - 1]])
    done = 0
    for begin, end in itertools.pairwise(batches.tolist()):
        first, last = runs[begin:end], runs[begin + 1 : end + 1] - 1
        if len(first) == 1:
            found = read(array, row, int(starts[first[0]]), int(ends[last[0]]))
        else:
            ranges = [slice(int(starts[i]), int(ends[j]) - 1) for i, j in zip(first, last, strict=True)]
            table = array.multi_index[ranges] if row is None else array.multi_index[row, ranges]
            found = from_stored(table["value"].reshape(-1))
        here = slice(runs[begin], runs[end])
        # Where each stretch lies in what was read.
        lengths = ends[last] - starts[first]
        shift = np.repeat(np.cumsum(lengths) - lengths - starts[first], last - first + 1)
        for at, stop in zip((starts[here] + shift).tolist(), (ends[here] + shift).tolist(), strict=True):
            result[done : done + stop - at] = found[at:stop]
            done += stop - at
    return result
