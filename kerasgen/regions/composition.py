"""What windows of the genome are made of: their GC content and their share of N, counted while the sequence streams."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from db_ingest import intervals
from db_ingest.layout.codes import UNKNOWN_BASE
from db_ingest.layout.genome import Genome
from kerasgen.database import Database
from kerasgen.regions.threshold import Block, blocks, joined, spans_of, streamed
from kerasgen.settings import GC_LEVELS

STRIDE = 64
"""Distance of the centres whose GC content is kept, bp."""
LEVELS = GC_LEVELS
"""GC content is kept as the level ``1 + floor(GC * LEVELS)``, the last for GC of 1 too."""
_ONES = np.uint64(0x0101010101010101)


class Composition(NamedTuple):
    """What a scan of the sequence found.

    Args:
        unknown: stretches of N, sorted and disjoint, on the position axis.
        gc: ``(n,) float64`` GC content of the windows asked for, G and C among the known bases; NaN without any.
        levels: ``(positions // STRIDE + 1,) uint8`` GC content as a level, 0 where there is none; cell i is the window
            centred at position ``i * STRIDE``. Empty if not asked for.
    """

    unknown: intervals.Spans
    gc: np.ndarray
    levels: np.ndarray


def scan(
    database: Database,
    stretches: intervals.Spans,
    flank: int,
    *,
    centres: np.ndarray | None = None,
    levels: bool = False,
) -> Composition:
    """Stream the sequence once and count exactly.

    Args:
        database: has a sequence.
        stretches: what to look at, sorted and disjoint, on the position axis, each within a chromosome.
        flank: a window is ``[centre - flank, centre + flank)``, as much of it as lies on its chromosome.
        centres: ``(n,)`` positions within the stretches whose windows' GC content is wanted.
        levels: whether the levels of every ``STRIDE``-th centre are wanted; a chromosome of b bases takes b / 64 bytes.
    """
    genome = database.genome
    wanted = np.zeros(0, np.int64) if centres is None else centres
    order = np.argsort(wanted, kind="stable")
    ordered = wanted[order]
    gc = np.full(len(ordered), np.nan)
    # Pages that are never written to take no memory.
    cells = np.zeros(genome.length // STRIDE + 1 if levels else 0, np.uint8)

    def count(block: Block) -> intervals.Spans:
        first, last = block
        place = int(np.searchsorted(genome.offsets, first, side="right")) - 1
        low = int(genome.offsets[place])
        high = low + genome.sizes[place]
        begin, end = max(first - flank, low), min(last + flank, high)
        codes = database.read(None, spans_of((begin, end)))
        words = _words(codes)
        tally = np.empty((2, len(words) + 1), np.int32)
        _count(words, tally)
        asked = slice(*np.searchsorted(ordered, [first, last]))
        _contents(words, tally, ordered[asked] - begin, flank, end - begin, gc[asked])
        if levels:
            here = slice(-(-first // STRIDE), -(-last // STRIDE))
            _levels(words, tally, here.start * STRIDE - begin, flank, end - begin, cells[here])
        if tally[1, -1] == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        starts, ends = intervals.runs(codes[first - begin : last - begin] == UNKNOWN_BASE)
        return starts + first, ends + first

    found = streamed(count, blocks(genome, stretches), "sequence")
    result = np.empty_like(gc)
    result[order] = gc
    return Composition(joined(found), result, cells)


def level_of(gc: np.ndarray) -> np.ndarray:
    """The level of GC contents, ``(n,) uint8``; 0 for NaN."""
    return np.where(np.isnan(gc), 0, 1 + np.minimum(np.nan_to_num(gc) * LEVELS, LEVELS - 1)).astype(np.uint8)


def crowded(
    genome: Genome, chromosomes: np.ndarray, unknown: intervals.Spans, flank: int, most: float
) -> intervals.Spans:
    """Centres whose window has too many N; bases past a chromosome's ends are N.

    Args:
        genome: its chromosomes.
        chromosomes: ``(k,)`` places in the genome, sorted.
        unknown: stretches of N on them.
        flank: a window is ``[centre - flank, centre + flank)``.
        most: the largest share of N that is not too many.

    Returns:
        Sorted disjoint stretches of the position axis.
    """
    # Chromosomes further apart, so that each has room for what lies past its ends.
    shift = np.arange(len(chromosomes)) * 4 * flank + 2 * flank
    start = genome.offsets[chromosomes] + shift
    end = start + genome.size_array()[chromosomes]
    within = shift[np.searchsorted(genome.offsets[chromosomes], unknown[0], side="right") - 1]
    starts, ends = intervals.merge(
        np.concatenate([unknown[0] + within, start - 2 * flank, end]),
        np.concatenate([unknown[1] + within, start, end + 2 * flank]),
    )
    before = np.concatenate([[0], np.cumsum(ends - starts)])

    def unknown_below(position: np.ndarray) -> np.ndarray:
        place = np.searchsorted(starts, position, side="right") - 1
        safe = np.maximum(place, 0)
        inside = np.clip(position - starts[safe], 0, (ends - starts)[safe])
        return np.where(place < 0, 0, before[safe] + inside)

    # How many N a window has is linear between these centres, and rises or falls by one per base or not at all.
    bends = np.unique(np.concatenate([starts - flank, starts + flank, ends - flank, ends + flank]))
    many = unknown_below(bends + flank) - unknown_below(bends - flank)
    allowed = int(most * 2 * flank + 1e-6)
    slope = np.sign(np.diff(many))
    over = many[:-1] - allowed
    first = bends[:-1] + np.where(slope > 0, np.maximum(1 - over, 0), 0)
    last = np.where(slope < 0, np.minimum(bends[1:], bends[:-1] + over), bends[1:])
    solid = (last > first) & ((slope > 0) | (over > 0))
    found = intervals.merge(first[solid], last[solid])
    # Only centres on a chromosome, and these where the axis has them.
    found = intervals.subtract(found, intervals.subtract(found, (start, end)))
    back = shift[np.searchsorted(start, found[0], side="right") - 1]
    return found[0] - back, found[1] - back


def _words(codes: np.ndarray) -> np.ndarray:
    """Base codes, eight in each little-endian word, filled up with A."""
    padded = np.zeros(-(-len(codes) // 8) * 8, np.uint8)
    padded[: len(codes)] = codes
    return padded.view("<u8")


@numba.njit(nogil=True, cache=True, inline="always")  # type: ignore[untyped-decorator]
def _strong(word):  # type: ignore[no-untyped-def]  # pragma: no cover
    """A one in each byte that is C or G: the codes 1 and 2 alone have two low bits that differ."""
    return (word ^ (word >> np.uint64(1))) & _ONES


@numba.njit(nogil=True, cache=True, inline="always")  # type: ignore[untyped-decorator]
def _unknown(word):  # type: ignore[no-untyped-def]  # pragma: no cover
    return (word >> np.uint64(2)) & _ONES


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _count(words, tally):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Numbers of G and C, and of N, in all words before each, ``(2, words + 1) int32``."""
    tally[0, 0] = tally[1, 0] = 0
    for i in range(len(words)):
        tally[0, i + 1] = tally[0, i] + np.int32((_strong(words[i]) * _ONES) >> np.uint64(56))
        tally[1, i + 1] = tally[1, i] + np.int32((_unknown(words[i]) * _ONES) >> np.uint64(56))


@numba.njit(nogil=True, cache=True, inline="always")  # type: ignore[untyped-decorator]
def _before(words, tally, base):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Numbers of G and C, and of N, before a base."""
    word = base >> 3
    strong, unknown = np.int64(tally[0, word]), np.int64(tally[1, word])
    if base & 7:
        below = (np.uint64(1) << np.uint64(8 * (base & 7))) - np.uint64(1)
        strong += np.int64(((_strong(words[word]) & below) * _ONES) >> np.uint64(56))
        unknown += np.int64(((_unknown(words[word]) & below) * _ONES) >> np.uint64(56))
    return strong, unknown


@numba.njit(nogil=True, cache=True, inline="always")  # type: ignore[untyped-decorator]
def _content(words, tally, centre, flank, size):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Numbers of G and C, and of known bases, in a window of what was read."""
    low, high = max(centre - flank, 0), min(centre + flank, size)
    to, unknown_to = _before(words, tally, high)
    below, unknown_below = _before(words, tally, low)
    return to - below, high - low - (unknown_to - unknown_below)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _contents(words, tally, centres, flank, size, gc):  # type: ignore[no-untyped-def]  # pragma: no cover
    for i in range(len(centres)):
        strong, known = _content(words, tally, centres[i], flank, size)
        if known > 0:
            gc[i] = strong / known


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _levels(words, tally, first, flank, size, levels):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Levels of the windows at every 64th centre from ``first``."""
    for i in range(len(levels)):
        strong, known = _content(words, tally, first + i * STRIDE, flank, size)
        if known > 0:
            levels[i] = 1 + min(int(strong / known * LEVELS), LEVELS - 1)
