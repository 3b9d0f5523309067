"""The arrays of a database, as its writers handle them: made, written chunk by chunk, and looked through."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np
import tiledb

from db_ingest import storage
from db_ingest.ahead import OrderedPool
from db_ingest.layout import members, schema
from db_ingest.layout.cells import CELLS, folder_of, read, to_stored
from db_ingest.layout.genome import Genome, Piece
from db_ingest.layout.summaries import Part, summarise

_local = threading.local()


def create(uri: str, member: str, genome: Genome) -> None:
    """Make a member's array unless it is there; one that is there under its name is whole."""
    place = storage.join(uri, member)
    if not storage.exists(place):
        # The parts of a schema are made in TileDB's default context, and there is to be none but ours.
        with tiledb.scope_ctx(storage.tiledb_ctx(uri)):
            made = schema.schema_for(member, genome)
        storage.create_array(place, made)


def put(uri: str, member: str, row: int, first: int, cells: np.ndarray) -> None:
    """Write ``cells`` at position ``first`` of a row of a member as one fragment.

    Where it was written before, the cells must be the same: which of two fragments of one time counts is not defined.
    """
    ctx = storage.tiledb_ctx(uri, upload_bytes=cells.nbytes)
    with tiledb.open(storage.join(uri, member), "w", timestamp=row + 1, ctx=ctx) as array:
        stretch = slice(first, first + len(cells))
        if member == members.SEQUENCE:
            array[stretch] = to_stored(cells)
        else:
            array[row, stretch] = to_stored(cells)


def put_intervals(uri: str, member: str, row: int, starts: np.ndarray, fields: Mapping[str, np.ndarray]) -> None:
    """Write the intervals of a row of a member as one fragment: their first positions, and the fields of the schema."""
    if not len(starts):
        return
    # Text takes 4 bytes per character at most; beside it lies an offset of 8 bytes per interval.
    text = (4 * sum(map(len, values.tolist())) for values in fields.values() if values.dtype.kind in "OU")
    ctx = storage.tiledb_ctx(uri, upload_bytes=max(8 * len(starts), *text))
    with tiledb.open(storage.join(uri, member), "w", timestamp=row + 1, ctx=ctx) as array:
        array[np.full(len(starts), row, np.uint64), starts.astype(np.uint64)] = dict(fields)


def chunks_done(uri: str, member: str, row: int, genome: Genome) -> frozenset[int]:
    """Chunks of a row that are stored whole."""
    place = storage.join(uri, member)
    if not storage.exists(place):
        return frozenset()
    fragments = tiledb.array_fragments(place, ctx=storage.tiledb_ctx(uri))
    chunks = {genome.chunk(index): index for index in range(genome.chunk_count)}
    found = set()
    for stamp, domain in zip(fragments.timestamp_range, fragments.nonempty_domain, strict=True):
        first, last = (int(place) for place in domain[-1])
        if tuple(stamp) == (row + 1, row + 1) and (first, last + 1) in chunks:
            found.add(chunks[first, last + 1])
    return frozenset(found)


def row_stored(uri: str, member: str, row: int) -> bool:
    """Whether a row of a member has any fragment."""
    place = storage.join(uri, member)
    if not storage.exists(place):
        return False
    # All fragments of a row are of its time; those of others are not looked into.
    with tiledb.open(place, timestamp=(row + 1, row + 1), ctx=storage.tiledb_ctx(uri)) as array:
        return array.nonempty_domain() is not None


def stored_parts(uri: str, member: str, row: int, first: int, last: int, pieces: Sequence[Piece]) -> list[Part]:
    """Summaries of stretches that are stored, of positions ``[first, last)`` of a row."""
    with tiledb.open(storage.join(uri, member), ctx=storage.tiledb_ctx(uri)) as array:
        cells = read(array, None if member == members.SEQUENCE else row, first, last)
    return [summarise(p.chromosome, p.start, cells[p.at : p.at + p.end - p.start], folder_of(member)) for p in pieces]


class ChunkWriter:
    """Writes chunks of one row, one behind another or in threads of its own while the next is being built.

    Args:
        uri, member, row: database, array and row to write to.
        threads: chunks written at a time beside the one being built; 1 writes in the caller's thread.
    """

    def __init__(self, uri: str, member: str, row: int, *, threads: int = 1) -> None:
        self._place = (uri, member, row)
        self._writing: OrderedPool[np.ndarray] | None = OrderedPool(threads) if threads > 1 else None
        self._most = threads
        self._dtype, self._fill = CELLS[folder_of(member)]

    def cells(self, length: int) -> np.ndarray:
        """Memory to build a chunk in, filled with the missing value; what an earlier chunk used, where it is free."""
        memory = None
        if self._writing is None:
            memory = buffer(self._dtype, length)
        elif len(self._writing) >= self._most:
            memory = self._writing.take()
        cells = np.empty(length, self._dtype) if memory is None or len(memory) < length else memory[:length]
        cells.fill(self._fill)
        return cells

    def put(self, first: int, cells: np.ndarray) -> None:
        """Write ``cells`` at position ``first``; they are no more the caller's."""
        if self._writing is None:
            put(*self._place, first, cells)
        else:
            self._writing.submit(self._put, first, cells)

    def _put(self, first: int, cells: np.ndarray) -> np.ndarray:
        put(*self._place, first, cells)
        return cells

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writing is None:
            return
        with self._writing as writing:
            while kind is None and len(writing):
                writing.take()


def buffer(dtype: type, length: int) -> np.ndarray:
    """Memory of this thread's to build a chunk in: fresh memory costs more than what is done with it."""
    buffers: dict[type, np.ndarray] = _local.__dict__.setdefault("buffers", {})
    if dtype not in buffers or len(buffers[dtype]) < length:
        buffers[dtype] = np.empty(length, dtype)
    return buffers[dtype][:length]
