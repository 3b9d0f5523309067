"""The raw reader: positions of one row of one member, as they lie in the arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tiledb

from db_ingest import storage
from db_ingest.schema import INTERVAL_FIELDS
from db_ingest.summaries import from_counts


class Reader:
    """Reads members of one database; arrays are opened once, at the first read, and can be read by threads.

    Args:
        uri: path or URI of the database.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._arrays: dict[str, tiledb.Array] = {}
        self._lock = threading.Lock()

    def _array(self, member: str) -> tiledb.Array:
        with self._lock:
            if member not in self._arrays:
                place = storage.join(self.uri, member)
                try:
                    self._arrays[member] = tiledb.open(place, ctx=storage.tiledb_ctx(self.uri))
                except tiledb.TileDBError as error:
                    raise storage.explain(place, error) from error
            return self._arrays[member]

    def read(self, member: str, row: int | None, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Values of several stretches of the position axis, laid end to end.

        Args:
            member: ``"sequence"``, ``"signal/<attribute>"``, ``"counts/<attribute>"`` or ``"mask/<attribute>"``.
            row: row of a track; None for the sequence.
            starts, ends: ``(n,)`` half-open positions, sorted and disjoint.

        Returns:
            ``(sum of lengths,)``: float32 of a signal or of counts, NaN where there is no value; else uint8.
        """
        flat = self._retried(member, lambda array: _read(array, row, starts, ends))
        if not member.startswith("counts/"):
            return flat
        values = np.empty(len(flat), np.float32)
        from_counts(flat, values)
        return values

    def _retried(self, member: str, read: Callable[[tiledb.Array], Any]) -> Any:
        """Read an array; once more, opened anew, if that fails: a consolidation may have replaced its files."""
        try:
            return read(self._array(member))
        except (tiledb.TileDBError, OSError):
            with self._lock:
                array = self._arrays.pop(member, None)
            if array is not None:
                array.close()
        try:
            return read(self._array(member))
        except (tiledb.TileDBError, OSError) as error:
            raise storage.explain(storage.join(self.uri, member), error) from error

    def read_intervals(self, member: str, row: int) -> dict[str, np.ndarray]:
        """All intervals of a track, by position: ``start`` and the fields of the schema, ``(n,)`` each."""
        found = self._retried(member, lambda array: array.multi_index[row, :])
        order = np.argsort(found["start"], kind="stable")
        table = {"start": found["start"][order].astype(np.int64)}
        for name, dtype in INTERVAL_FIELDS.items():
            values = found[name][order]
            table[name] = values.astype(str) if dtype.kind == "O" else values
        table["end"] = table["end"].astype(np.int64)
        return table

    def close(self) -> None:
        """Close every open array."""
        with self._lock:
            for array in self._arrays.values():
                array.close()
            self._arrays.clear()


def _read(array: tiledb.Array, row: int | None, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    if len(starts) == 1:
        stretch = slice(int(starts[0]), int(ends[0]))
        found = array[stretch] if row is None else array[row, stretch]
        return found if isinstance(found, np.ndarray) else found["value"]
    ranges = [slice(int(s), int(e) - 1) for s, e in zip(starts, ends, strict=True)]
    if not ranges:
        return np.zeros(0, array.schema.attr("value").dtype)
    table = array.multi_index[ranges] if row is None else array.multi_index[row, ranges]
    return table["value"].reshape(-1)
