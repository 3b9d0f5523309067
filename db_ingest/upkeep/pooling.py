"""Sum and mean of signals, base by base."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from db_ingest.layout.catalogue import Track
from db_ingest.layout.genome import Genome
from db_ingest.layout.reader import Reader
from db_ingest.writing.derived import CellSource

_STRETCH = 2**20
"""Positions pooled at a time; with their sums in float64 they stay in the processor's cache or close to it."""


class Pooled(CellSource):
    """The sum or the mean over the tracks that have a value, NaN where none has one.

    Args:
        reader: reads the database.
        genome: its chromosomes.
        tracks: signals on one grid.
        how: ``"sum"`` or ``"mean"``.
    """

    def __init__(self, reader: Reader, genome: Genome, tracks: Sequence[Track], how: str) -> None:
        self._genome = genome.binned(tracks[0].bin) if tracks[0].bin > 1 else genome
        # Sums of floating-point numbers depend on their order: it must not be the caller's.
        self._tracks = sorted(tracks, key=lambda track: sorted(track.checksums.items()))
        self._reader = reader
        self._mean = how == "mean"
        named = {name for track in tracks for name in track.checksums}
        self.chromosomes = tuple(name for name in genome.names if name in named)
        self.counts = not self._mean and all(track.folder == "counts" for track in tracks)

    def read(self, chromosome: str, start: int, end: int) -> np.ndarray:
        """Pooled values of ``[start, end)``, in bins if the tracks are, as ``(end - start,) float32``."""
        offset = self._genome.offset(chromosome)
        result = np.empty(end - start, np.float32)
        tracks = [track for track in self._tracks if chromosome in track.checksums]
        for first in range(start, end, _STRETCH):
            last = min(first + _STRETCH, end)
            total, there = np.zeros(last - first), np.zeros(last - first, np.int32)
            place = np.array([offset + first]), np.array([offset + last])
            for track in tracks:
                _add(self._reader.read(track.member, track.row, *place), total, there)
            _settle(total, there, self._mean, result[first - start : last - start])
        return result


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _add(values, total, there):  # type: ignore[no-untyped-def]  # pragma: no cover
    for i in range(len(values)):
        value = values[i]
        if value == value:
            total[i] += value
            there[i] += 1


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _settle(total, there, mean, values):  # type: ignore[no-untyped-def]  # pragma: no cover
    for i in range(len(values)):
        if there[i] == 0:
            values[i] = np.nan
        else:
            values[i] = np.float32(total[i] / there[i] if mean else total[i])
