"""Values in bins: the grid starts at base 0 of each chromosome; the last bin is over the bases that exist.

A bin without a value in any base (NaN) has none. Otherwise its mean, maximum or sum is over the bases that have one,
added up in float64.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numba
import numpy as np

from db_ingest import intervals
from db_ingest.layout.genome import Genome

if TYPE_CHECKING:
    from db_ingest.layout.catalogue import Track
    from db_ingest.layout.reader import Reader


@functools.lru_cache(64)
def grid(genome: Genome, bin_size: int) -> Genome:
    """A genome in bins; see :meth:`Genome.binned`."""
    return genome if bin_size == 1 else genome.binned(bin_size)


def aggregate(values: np.ndarray, bin_size: int, aggregation: str) -> np.ndarray:
    """Values of bins.

    Args:
        values: ``(bases,) float32`` from the start of a bin, NaN where there is none.
        bin_size: bp per bin; the last may have fewer.
        aggregation: one of :data:`db_ingest.writing.levels.AGGREGATIONS`.

    Returns:
        ``(bins,) float32``.
    """
    result = np.empty(-(-len(values) // bin_size), np.float32)
    if aggregation == "max":
        _maxima(values, bin_size, result)
    else:
        _sums(values, bin_size, aggregation == "mean", result)
    return result


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _sums(values, bin_size, mean, result):  # type: ignore[no-untyped-def]  # pragma: no cover
    for i in range(len(result)):
        total, count = 0.0, 0
        for value in values[i * bin_size : (i + 1) * bin_size]:
            if value == value:
                total += value
                count += 1
        if count == 0:
            result[i] = np.nan
        else:
            result[i] = total / count if mean else total


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _maxima(values, bin_size, result):  # type: ignore[no-untyped-def]  # pragma: no cover
    for i in range(len(result)):
        best = np.float32(np.nan)
        for value in values[i * bin_size : (i + 1) * bin_size]:
            if not value <= best and value == value:
                best = value
        result[i] = best


def read_bases(reader: Reader, genome: Genome, track: Track, spans: intervals.Spans) -> np.ndarray:
    """Cells of a track, one per base; each base of a track measured on a grid has the value of its bin.

    Args:
        reader: reads the database.
        genome: its chromosomes.
        track: one of its tracks.
        spans: sorted disjoint stretches of the position axis.

    Returns:
        ``(sum of lengths,)`` as :meth:`Reader.read` gives them; NaN between chromosomes.
    """
    if track.bin == 1:
        return reader.read(track.member, track.row, *spans)
    binned, bin = grid(genome, track.bin), track.bin
    at = np.concatenate([[0], np.cumsum(spans[1] - spans[0])])
    pieces = [
        (int(at[i]) + piece.at, piece.start, piece.end, binned.offset(piece.chromosome))
        for i, (first, last) in enumerate(zip(*spans, strict=True))
        for piece in genome.pieces(int(first), int(last))
    ]
    values = np.full(int(at[-1]), np.nan, np.float32)
    if not pieces:
        return values
    lows = np.array([offset + start // bin for _, start, _, offset in pieces], np.int64)
    highs = np.array([offset - (-end // bin) for _, _, end, offset in pieces], np.int64)
    stretches = intervals.merge(lows, highs)
    flat = reader.read(track.member, track.row, *stretches)
    which = np.searchsorted(stretches[0], lows, side="right") - 1
    begins = np.concatenate([[0], np.cumsum(stretches[1] - stretches[0])])[which] + lows - stretches[0][which]
    for (place, start, end, _), begin, count in zip(pieces, begins, highs - lows, strict=True):
        skip = start % bin
        values[place : place + end - start] = np.repeat(flat[begin : begin + count], bin)[skip : skip + end - start]
    return values
