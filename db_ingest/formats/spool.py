"""Rows of numbers sorted into many compartments, in memory up to a limit, beyond it in one scratch file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numba
import numpy as np

from db_ingest.errors import RunError

MEMORY = 512 << 20
"""Bytes a spool holds in memory unless told otherwise."""

_ROWS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class _Run:
    """Rows sorted by key, ``[first[i]:first[i + 1]]`` being those of ``keys[i]``; None: they lie in the file."""

    keys: np.ndarray
    first: np.ndarray
    rows: np.ndarray | None
    at: int = 0


class Spool:
    """Takes rows in any order and gives back those of one compartment, in the order in which they came.

    Args:
        compartments: number of compartments.
        width: ``uint32`` numbers in a row.
        memory: bytes to hold at most, the index aside; what is more goes to a file in :func:`tempfile.gettempdir`
            that has no name and so is gone with the process, whatever ends it.

    Raises:
        RunError: the scratch folder is full.
    """

    def __init__(self, compartments: int, width: int, memory: int = MEMORY) -> None:
        self._file: IO[bytes] | None = None
        row = 4 * width
        capacity = max(1 << 10, min(1 << 23, memory // 4 // (4 + 2 * row)))
        self._compartments, self._width = compartments, width
        self._room = memory - capacity * (4 + 2 * row)
        self._keys = np.empty(capacity, np.uint32)
        self._rows = np.empty((capacity, width), np.uint32)
        self._filled = self._held = self._written = 0
        self._runs: list[_Run] = []

    def __del__(self) -> None:
        self.close()

    @property
    def on_disk(self) -> int:
        """Bytes in the scratch file."""
        return self._written

    def add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Take rows.

        Args:
            keys: ``(n,)`` compartment of each.
            rows: ``(n, width) uint32``.
        """
        begin = 0
        while begin < len(keys):
            end = min(len(keys), begin + len(self._keys) - self._filled)
            filled = self._filled + end - begin
            self._keys[self._filled : filled] = keys[begin:end]
            self._rows[self._filled : filled] = rows[begin:end]
            self._filled, begin = filled, end
            if filled == len(self._keys):
                self._sort()

    def finish(self) -> None:
        """Say that all rows have come."""
        self._sort()
        self._keys, self._rows = self._keys[:0].copy(), self._rows[:0].copy()

    def rows(self, key: int) -> Iterator[np.ndarray]:
        """Yield the rows of a compartment, ``(some, width) uint32`` at a time."""
        for run in self._runs:
            i = int(np.searchsorted(run.keys, key))
            if i == len(run.keys) or run.keys[i] != key:
                continue
            first, last = int(run.first[i]), int(run.first[i + 1])
            for begin in range(first, last, _ROWS_AT_ONCE):
                end = min(last, begin + _ROWS_AT_ONCE)
                yield self._read(run, begin, end) if run.rows is None else run.rows[begin:end]

    def close(self) -> None:
        """Let go of memory and of the file."""
        self._runs = []
        if self._file is not None:
            self._file.close()

    def _sort(self) -> None:
        if not self._filled:
            return
        counts = np.bincount(self._keys[: self._filled], minlength=self._compartments)
        place = np.zeros(self._compartments + 1, np.int64)
        np.cumsum(counts, out=place[1:])
        keys = np.flatnonzero(counts)
        first = np.append(place[keys], self._filled).astype(np.uint32)
        rows = np.empty((self._filled, self._width), np.uint32)
        _scatter(self._keys[: self._filled], self._rows, place, rows)
        self._runs.append(_Run(keys.astype(np.uint32), first, rows))
        self._held += rows.nbytes
        self._filled = 0
        if self._held > self._room:
            self._spill()

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="kerasgen-")  # noqa: SIM115
            for i, run in enumerate(self._runs):
                if run.rows is not None:
                    self._file.write(run.rows.data)
                    self._runs[i] = _Run(run.keys, run.first, None, self._written)
                    self._written += run.rows.nbytes
            self._file.flush()
        except OSError as error:
            raise RunError(
                f"{tempfile.gettempdir()}: cannot hold {self._written + self._held >> 20:,} MB of scratch data "
                f"({error.strerror}); let TMPDIR name a folder with more room"
            ) from error
        self._held = 0

    def _read(self, run: _Run, begin: int, end: int) -> np.ndarray:
        assert self._file is not None
        rows = np.empty((end - begin, self._width), np.uint32)
        left = rows.data.cast("B")
        at = run.at + begin * 4 * self._width
        while left:
            got = os.preadv(self._file.fileno(), [left], at)
            if not got:
                raise RunError(f"{tempfile.gettempdir()}: the scratch file was cut short at byte {at:,}")
            left, at = left[got:], at + got
        return rows


@numba.njit(nogil=True, cache=True)
def _scatter(keys: np.ndarray, rows: np.ndarray, place: np.ndarray, result: np.ndarray) -> None:
    for i in range(len(keys)):
        to = place[keys[i]]
        place[keys[i]] = to + 1
        for j in range(result.shape[1]):
            result[to, j] = rows[i, j]
