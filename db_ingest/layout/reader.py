"""The raw reader: positions of one row of one member, as they lie in the arrays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tiledb

from db_ingest import storage
from db_ingest.errors import RunError
from db_ingest.layout.cells import read_stretches
from db_ingest.layout.schema import INTERVAL_FIELDS
from db_ingest.layout.summaries import from_counts

_PAUSES = (0.0, 0.2, 1.0)
"""Seconds to wait before an array that could not be read is opened again."""


class _Opened(NamedTuple):
    """An open array, and the rows of it that tracks have, if that may be others than when the database was opened."""

    array: tiledb.Array
    rows: set[int] | None


class Reader:
    """Reads members of one database; arrays are opened once, at the first read, and can be read by threads.

    Args:
        uri: path or URI of the database.
        commit: number of the commit whose rows are read. Once the database has changed, rows that no track has any more
            are refused when their array is opened, for they may be gone, and what is gone would read as no value.
    """

    def __init__(self, uri: str, commit: int | None = None) -> None:
        self.uri = uri
        self._arrays: dict[str, _Opened] = {}
        self._commit = commit
        self._lock = threading.Lock()

    def _opened(self, member: str) -> _Opened:
        with self._lock:
            if member not in self._arrays:
                array = tiledb.open(storage.join(self.uri, member), ctx=storage.tiledb_ctx(self.uri))
                self._arrays[member] = _Opened(array, self._rows_left(member))
            return self._arrays[member]

    def _rows_left(self, member: str) -> set[int] | None:
        """Rows of a member that tracks have, if the database has changed; what has a row now had it before."""
        from db_ingest.layout import catalogue as catalogues

        if self._commit is None:
            return None
        catalogue = catalogues.load(self.uri)
        return None if catalogue.commit == self._commit else catalogue.rows().get(member, set())

    def read(self, member: str, row: int | None, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Values of several stretches of the position axis, laid end to end.

        Args:
            member: ``"sequence"``, ``"signal/<attribute>"``, ``"counts/<attribute>"`` or ``"mask/<attribute>"``.
            row: row of a track; None for the sequence.
            starts, ends: ``(n,)`` half-open positions, sorted and disjoint.

        Returns:
            ``(sum of lengths,)``: float32 of a signal or of counts, NaN where there is no value; else uint8.
        """
        flat = self.read_cells(member, row, starts, ends)
        if not member.startswith("counts/"):
            return flat
        values = np.empty(len(flat), np.float32)
        from_counts(flat, values)
        return values

    def read_cells(self, member: str, row: int | None, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The same as stored: counts as uint16, :data:`~db_ingest.layout.codes.COUNTS_MISSING` where there is none."""
        found: np.ndarray = self._retried(member, row, lambda array: read_stretches(array, row, starts, ends))
        return found

    def _retried(self, member: str, row: int | None, read: Callable[[tiledb.Array], Any]) -> Any:
        """Read an array, opened anew if that fails: a consolidation may have replaced its files."""
        for seconds in (*_PAUSES, None):
            opened = None
            try:
                opened = self._opened(member)
                if row is not None and opened.rows is not None and row not in opened.rows:
                    raise RunError(
                        f"{self.uri}: a track of {member} was dropped or replaced since it was opened; open it again"
                    )
                return read(opened.array)
            except (tiledb.TileDBError, OSError) as error:
                if seconds is None:
                    raise storage.explain(storage.join(self.uri, member), error) from error
                with self._lock:
                    # Not closed: other threads may be reading it.
                    if self._arrays.get(member) is opened:
                        self._arrays.pop(member, None)
                time.sleep(seconds)
        raise AssertionError

    def read_intervals(self, member: str, row: int) -> dict[str, np.ndarray]:
        """All intervals of a track, by position: ``start`` and the fields of the schema, ``(n,)`` each."""
        found = self._retried(member, row, lambda array: array.multi_index[row, :])
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
            for opened in self._arrays.values():
                opened.array.close()
            self._arrays.clear()
