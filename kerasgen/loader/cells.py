"""Cells of a database held in memory: stretches of the position axis, of the sequence and of sets of tracks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest import intervals
from db_ingest.layout.catalogue import Track
from db_ingest.layout.codes import COUNTS_MISSING, MASK_MISSING
from kerasgen.database import Database
from kerasgen.loader import mapped as kept

Tracks = tuple[Track, ...]
Cover = Callable[[int], intervals.Spans]
"""The stretches of the axis that windows of a flank touch."""

PIECE = 2**22
"""Positions of the axis that a thread reads at a time: a query costs a millisecond whatever it reads."""

_BYTE_MISSING = 255
_ROWS = 2**14
_FAR = 2**17


class CellKey(NamedTuple):
    """What a set of cells holds.

    Args:
        rows: member and row of each of its tracks; none for the sequence.
    """

    rows: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, tracks: Sequence[Track]) -> CellKey:
        """The key of a set of tracks."""
        return cls(tuple((track.member, track.row) for track in tracks))


@dataclass(frozen=True)
class CellSet:
    """A set of cells that batches are made of.

    Args:
        tracks: its tracks; none for the sequence.
        flank: of the widest window of them.
    """

    tracks: Tracks
    flank: int

    @property
    def dtype(self) -> np.dtype:
        """The smallest that holds the cells of all tracks exactly, one code left for no value."""
        if not self.tracks:
            return np.dtype(np.uint8)
        return np.result_type(*(_dtype(track) for track in self.tracks))

    @property
    def bytes_per_base(self) -> int:
        """Memory that one base of the genome takes."""
        return max(len(self.tracks), 1) * self.dtype.itemsize


Needs = Mapping[CellKey, CellSet]


def _dtype(track: Track) -> type:
    if track.kind == "mask":
        return np.uint8
    if track.folder == "counts":
        return np.uint8 if track.summary["maximum"] < _BYTE_MISSING else np.uint16
    return np.float32


def missing_code(dtype: np.dtype) -> np.generic:
    """The cell that says that there is no value."""
    return dtype.type({"u1": _BYTE_MISSING, "u2": COUNTS_MISSING, "f4": np.nan}[f"{dtype.kind}{dtype.itemsize}"])


class Located(NamedTuple):
    """Windows among the cells held: see :mod:`kerasgen.loader.kernels`."""

    at: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Cells:
    """Stretches of the sequence or of a set of tracks, laid end to end.

    Args:
        database: they come from.
        need: what they are of.
        spans: sorted disjoint stretches of the position axis.
        folder: where they are kept in a file, or are to be; None: they are in memory alone.

    Attributes:
        array: ``(cells,) uint8`` base codes, or ``(cells, tracks)`` of the need's data type.
        missing: the cell that says that there is no value.
        nbytes, bases: of the array; a base counts once per track.
        filled: whether it holds what it should.
    """

    def __init__(self, database: Database, need: CellSet, spans: intervals.Spans, folder: Path | None = None) -> None:
        self._genome = database.genome.offsets, database.genome.size_array()
        self._need = need
        self._spans = spans
        self._bases = np.concatenate([[0], np.cumsum(spans[1] - spans[0])])
        self._shape = (int(self._bases[-1]), len(need.tracks)) if need.tracks else (int(self._bases[-1]),)
        self.missing = missing_code(need.dtype)
        self.nbytes = math.prod(self._shape) * need.dtype.itemsize
        self.bases = math.prod(self._shape)
        self._file = None if folder is None else folder / kept.name_of(database, need.tracks, need.dtype, spans)
        self.filled = self._file is not None and kept.is_kept(self._file, self.nbytes)
        if self._file is None:
            self.array = np.empty(self._shape, need.dtype)
        elif self.filled:
            self.array = kept.mapped(self._file, self._shape, need.dtype)

    def locate(self, places: np.ndarray, centres: np.ndarray, flank: int) -> Located | None:
        """Where windows ``[centre - flank, centre + flank)`` lie; None if one of them is not held whole."""
        from kerasgen.loader import kernels

        found = Located(*(np.empty(len(centres), np.int64) for _ in range(3)))
        held = kernels.locate(centres, places, flank, *self._genome, self._spans[0], self._bases, *found)
        return found if held else None

    @contextmanager
    def being_filled(self) -> Iterator[None]:
        """While :meth:`readings` are run."""
        if self._file is not None:
            with kept.being_written(self._file, self._shape, self._need.dtype) as self.array:
                yield
            self.array = kept.mapped(self._file, self._shape, self._need.dtype)
        else:
            yield
        self.filled = True

    def readings(self, database: Database) -> Iterator[Callable[[], int]]:
        """Functions that read a piece each and give its bases."""
        for part in _pieces(self._spans):
            spans = self._spans[0][part], self._spans[1][part]
            here = self.array[self._bases[part.start] : self._bases[part.stop]]
            yield _reading(database, self._need.tracks, spans, here)


class CellStore:
    """All that windows need, in memory or in files mapped into it.

    Args:
        database: to read from.
        needs: what to hold.
        cover: which stretches, by flank.
        folder: of the files; None: in memory.
    """

    def __init__(self, database: Database, needs: Needs, cover: Cover, folder: Path | None = None) -> None:
        self.cells = {key: Cells(database, need, cover(need.flank), folder) for key, need in needs.items()}

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(cells.nbytes for cells in self.cells.values())

    @property
    def bases_to_read(self) -> int:
        """Bases that :meth:`fill` reads, once per track."""
        return sum(cells.bases for cells in self.cells.values() if not cells.filled)

    def fill(self, database: Database, threads: int = 1, advance: Callable[[int], None] | None = None) -> None:
        """Read all of it.

        Args:
            database: to read from.
            threads: pieces read at a time.
            advance: told of bases read, once per track.
        """
        advance = advance or (lambda bases: None)
        empty = [cells for cells in self.cells.values() if not cells.filled]
        with ExitStack() as filling:
            for cells in empty:
                filling.enter_context(cells.being_filled())
            jobs = [job for cells in empty for job in cells.readings(database)]
            if threads == 1 or len(jobs) < 2:
                for job in jobs:
                    advance(job())
                return
            executor = ThreadPoolExecutor(threads)
            try:
                for bases in executor.map(lambda job: job(), jobs):
                    advance(bases)
            finally:
                executor.shutdown(wait=True, cancel_futures=True)


Parts = list[tuple[slice, CellStore | None]]
"""Windows, by number, and the store that holds them; None: what they need is to be read."""


def size_of(needs: Needs, cover: Cover) -> tuple[int, int]:
    """Bytes that a store would hold, and bases it would read."""
    lengths = {need.flank: 0 for need in needs.values()}
    for flank in lengths:
        starts, ends = cover(flank)
        lengths[flank] = int((ends - starts).sum())
    held = sum(lengths[need.flank] * need.bytes_per_base for need in needs.values())
    return held, sum(lengths[need.flank] * max(len(need.tracks), 1) for need in needs.values())


def _reading(database: Database, tracks: Tracks, spans: intervals.Spans, into: np.ndarray) -> Callable[[], int]:
    def read() -> int:
        if not tracks:
            into[:] = database.read_cells(None, spans)
            return len(into)
        from kerasgen.loader import kernels

        columns = [database.read_cells(track, spans) for track in tracks]
        # All columns of a few rows at a time, while those are in the processor's cache.
        for first in range(0, len(into), _ROWS):
            for number, (track, cells) in enumerate(zip(tracks, columns, strict=True)):
                own = MASK_MISSING if track.kind == "mask" else missing_code(cells.dtype)
                rows = slice(first, first + _ROWS)
                kernels.lay(cells[rows], cells.dtype.type(own), into[rows, number], missing_code(into.dtype))
        return len(into) * len(tracks)

    return read


def _pieces(spans: intervals.Spans) -> Iterator[slice]:
    """Runs of stretches that are read in one go; what lies between two is read too, unless they are far apart."""
    if len(spans[0]):
        reach = np.cumsum(np.minimum(np.diff(spans[0]), (spans[1] - spans[0])[:-1] + _FAR))
        edges = (np.flatnonzero(np.diff(reach // PIECE, prepend=0)) + 1).tolist()
        yield from (slice(a, b) for a, b in zip([0, *edges], [*edges, len(spans[0])], strict=True))
