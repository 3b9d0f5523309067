"""The arrays that seqdataloader's ``db_ingest`` writes, https://github.com/kundajelab/seqdataloader (since April 2020).

One dense array, ``genome_coordinate`` by ``task``, with a TileDB attribute for each kind of track. Chromosomes lie end
to end. The names of tasks and chromosomes, sizes and offsets are in its metadata.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numba
import numpy as np
import tiledb

from db_ingest import intervals, storage
from db_ingest.errors import InputError
from db_ingest.layout import codes, members, schema
from db_ingest.layout.genome import Genome, Piece
from db_ingest.writing.derived import CellSource

_WHAT = "an array of seqdataloader's db_ingest"


class SeqdataloaderArray:
    """One array of seqdataloader's, open for reading by several threads; see :func:`open_array`.

    Attributes:
        genome: its chromosomes, in order.
        sizes: chromosome -> bp.
        tasks: task -> its place.
        attributes: TileDB attribute -> its data type.
        source: ``path``, ``bytes`` and ``sha256``, which changes with every write to the array.
    """

    def __init__(self, uri: str, array: tiledb.Array) -> None:
        self.uri, self._array = uri, array
        schema = array.schema
        if schema.sparse or schema.domain.ndim != 2:
            raise InputError(f"{uri}: not a dense array of two dimensions; expected {_WHAT}")
        self.attributes = {schema.attr(i).name: schema.attr(i).dtype for i in range(schema.nattr)}
        for name, dtype in self.attributes.items():
            if dtype.kind not in "fi":
                raise InputError(f"{uri}: attribute {name!r} holds {dtype}; expected signed integers or floats")
        self.tasks = {str(self._meta(f"task_{i}")): i for i in range(self._number("num_tasks"))}
        places = range(self._number("num_chroms"))
        names = [str(self._meta(f"chrom_{i}")) for i in places]
        self.sizes = {name: self._number(f"size_{i}") for i, name in enumerate(names)}
        self._offsets = {name: self._number(f"offset_{i}") for i, name in enumerate(names)}
        self.genome = Genome(tuple(names), tuple(self.sizes.values()))
        self._first_task = int(schema.domain.dim(1).domain[0])
        last = int(schema.domain.dim(0).domain[1])
        for name, offset in self._offsets.items():
            if offset + self.sizes[name] > last + 1:
                raise InputError(f"{uri}: {name} ends at {offset + self.sizes[name]:,}, past the array's {last + 1:,}")
        self.source = _describe(uri, array)

    def _meta(self, key: str) -> Any:
        if key not in self._array.meta:
            raise InputError(f"{self.uri}: has no metadata {key!r}; expected {_WHAT}")
        return self._array.meta[key]

    def _number(self, key: str) -> int:
        value = self._meta(key)
        try:
            return int(value)
        except (TypeError, ValueError):
            raise InputError(f"{self.uri}: metadata {key!r} is {value!r}; expected a whole number") from None

    def kind(self, attribute: str) -> str:
        """``"signal"`` or ``"mask"``."""
        return "signal" if self.attributes[attribute].kind == "f" else "mask"

    def read(self, attribute: str, task: str, chromosome: str, start: int, end: int) -> np.ndarray:
        """Cells ``[start, end)`` of a chromosome, ``(end - start,)`` as they are stored."""
        first, column = self._offsets[chromosome] + start, self._first_task + self.tasks[task]
        # By columns TileDB copies a tile at once, by rows cell by cell.
        found = self._array.query(attrs=[attribute], order="F")[first : first + end - start, column]
        cells = found if isinstance(found, np.ndarray) else found[attribute]
        return cells.reshape(-1)


@contextlib.contextmanager
def open_array(uri: str) -> Iterator[SeqdataloaderArray]:
    """Open an array of seqdataloader's; raises :class:`InputError` for anything else."""
    context = storage.tiledb_ctx(uri)
    if tiledb.object_type(uri, ctx=context) != "array":
        raise InputError(f"{uri}: no TileDB array; expected {_WHAT}")
    try:
        array = tiledb.open(uri, ctx=context)
    except tiledb.TileDBError as error:
        raise storage.explain(uri, error) from error
    with array:
        yield SeqdataloaderArray(uri, array)


def _describe(uri: str, array: tiledb.Array) -> dict[str, Any]:
    """What the catalogue keeps of the array; fragments are never changed and have names of their own."""
    context = storage.tiledb_ctx(uri)
    fragments = tiledb.array_fragments(uri, ctx=context)
    names = sorted(place.rstrip("/").rpartition("/")[2] for place in fragments.uri)
    digest = hashlib.sha256("\n".join([*names, *(f"{k}={array.meta[k]}" for k in sorted(array.meta.keys()))]).encode())
    return {"path": uri, "bytes": storage.size(uri), "sha256": digest.hexdigest()}


class SignalColumn(CellSource):
    """A float attribute of a task.

    Args:
        array: the array.
        genome: the database's chromosomes.
        chromosomes: the genome's name -> the array's.
        attribute, task: which cells.
    """

    counts = True

    def __init__(
        self, array: SeqdataloaderArray, genome: Genome, chromosomes: Mapping[str, str], attribute: str, task: str
    ) -> None:
        self._array, self._genome, self._names = array, genome, chromosomes
        self._attribute, self._task = attribute, task
        self.chromosomes = tuple(chromosomes)

    def read(self, chromosome: str, start: int, end: int) -> np.ndarray:
        """Values of ``[start, end)``, NaN where there is none."""
        return self._cells(chromosome, start, end)

    def _cells(self, chromosome: str, start: int, end: int) -> np.ndarray:
        return self._array.read(self._attribute, self._task, self._names[chromosome], start, end)

    def _place(self, chromosome: str, base: int) -> str:
        return f"{self._array.uri}: {self._task} {self._attribute}: {self._names[chromosome]}:{base:,}"


class MaskColumn(SignalColumn):
    """An integer attribute of a task: 0, 1 in a peak, 2 at its summit, the lowest integer where there is no value."""

    def __init__(
        self, array: SeqdataloaderArray, genome: Genome, chromosomes: Mapping[str, str], attribute: str, task: str
    ) -> None:
        super().__init__(array, genome, chromosomes, attribute, task)
        self._missing = np.iinfo(array.attributes[attribute]).min
        self._spans: list[intervals.Spans] = []
        self._summits: list[np.ndarray] = []

    def read(self, chromosome: str, start: int, end: int) -> np.ndarray:
        """Codes of ``[start, end)`` as of a mask."""
        cells = self._cells(chromosome, start, end)
        values = np.empty(len(cells), np.uint8)
        at = _to_codes(cells, self._missing, values)
        if at >= 0:
            raise InputError(f"{self._place(chromosome, start + at)} is {cells[at]}; expected 0, 1 or 2 of a mask")
        return values

    def see(self, pieces: Sequence[Piece], cells: np.ndarray) -> None:
        """Note where intervals and summits lie."""
        for piece in pieces:
            stretch = cells[piece.at : piece.at + piece.end - piece.start]
            first = self._genome.offset(piece.chromosome) + piece.start
            inside = (stretch == codes.MASK_INSIDE) | (stretch == codes.MASK_SUMMIT)
            edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
            edges = np.concatenate([[0] * bool(inside[0]), edges, [len(inside)] * bool(inside[-1])]).astype(np.int64)
            self._spans.append((first + edges[::2], first + edges[1::2]))
            self._summits.append(first + np.flatnonzero(stretch == codes.MASK_SUMMIT))

    def finish(self, uri: str, row: int) -> dict[str, Any]:
        """Store the intervals."""
        from db_ingest.layout import arrays

        # Stretches that chunks had cut in two touch, and no others do.
        starts = np.concatenate([starts for starts, _ in self._spans])
        starts, ends = intervals.merge(starts, np.concatenate([ends for _, ends in self._spans]))
        summits = np.sort(np.concatenate(self._summits))
        within = np.searchsorted(starts, summits, side="right") - 1
        bare = np.setdiff1d(np.arange(len(starts)), within)
        of = np.concatenate([within, bare])
        table = {
            "start": starts[of],
            "end": ends[of],
            "summit": np.concatenate([summits - starts[within], np.full(len(bare), -1, np.int64)]),
        }
        member = members.intervals(self._attribute)
        arrays.create(uri, member, self._genome)
        if not arrays.row_stored(uri, member, row):
            arrays.put_intervals(uri, member, row, table["start"], _interval_fields(table))
        return {
            "intervals": len(of),
            "covered": int((ends - starts).sum()),
            "without_summit": len(bare) if len(summits) else 0,
            "elsewhere": 0,
        }


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _to_codes(cells, missing, values):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write 0, 1, 2 and the missing integer as codes of a mask; the place of anything else, or -1."""
    for i in range(len(cells)):
        cell = cells[i]
        if cell == missing:
            values[i] = codes.MASK_MISSING
        elif codes.MASK_OUTSIDE <= cell <= codes.MASK_SUMMIT:
            values[i] = cell
        else:
            return i
    return -1


def _interval_fields(table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fields of the schema of intervals, those that the array has not as what stands for none."""
    count = len(table["start"])
    values: dict[str, np.ndarray] = {}
    for name, dtype in schema.INTERVAL_FIELDS.items():
        if name in table:
            values[name] = table[name].astype(dtype)
        else:
            values[name] = np.full(count, ".", "U1") if dtype.kind == "O" else np.full(count, np.nan)
    return values
