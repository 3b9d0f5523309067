"""Background whose GC content is that of the regions."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from db_ingest import intervals
from db_ingest.layout.genome import Genome
from kerasgen.regions.composition import LEVELS, STRIDE, level_of
from kerasgen.regions.windows import Windows, at_positions, rounds, uniform, widen

_ENOUGH = 32
"""Candidates wanted for each region; as they lie 64 bp apart, so many of them are about one window of 2 kb."""
_CELLS = 2048
"""Cells of levels that are counted together; a draw looks through as many."""


@dataclass(frozen=True)
class GcMatched:
    """Windows whose GC content is close to that of regions, as many for each region as for any other.

    A window is drawn from all candidates of its region's level of GC content, any as likely; and where these are fewer
    than 32 for each region of the level, from neighbouring levels on both sides too, as far as the tolerance allows.

    Args:
        genome: their chromosomes.
        spans: stretches of centres that hold the candidates, on the position axis.
        levels: ``(cells,) uint8`` level of each candidate; see :class:`kerasgen.regions.composition.Composition`.
        ranks: ``(cells / 2048 + 1, LEVELS + 2) int32``: candidates in all blocks of cells before, of all levels below.
        region: ``(n,) int64`` level of each region that has a candidate within the tolerance.
        reach: ``(LEVELS + 1,) int64`` levels on each side that a region of a level draws from.
    """

    genome: Genome
    spans: intervals.Spans
    levels: np.ndarray
    ranks: np.ndarray
    region: np.ndarray
    reach: np.ndarray

    def __len__(self) -> int:
        return len(self.region)

    def draw(self, key: tuple[int, ...], count: int) -> Windows:
        """``count`` windows, the regions that they are matched to taken in rounds."""
        index, turn = rounds(key, len(self), count)
        level = self.region[index]
        low, high = np.maximum(level - self.reach[level], 1), np.minimum(level + self.reach[level], LEVELS) + 1
        total = self.ranks[-1, high] - self.ranks[-1, low]
        wanted = (uniform(key, index, turn) * total).astype(np.int64)
        cells = np.empty(count, np.int64)
        _pick(self.levels, self.ranks, low, high, wanted, cells)
        return at_positions(self.genome, cells * STRIDE)

    def cover(self, flank: int) -> intervals.Spans:
        """Stretches of the position axis that windows of this flank can touch."""
        return widen(self.genome, self.spans, flank)

    @property
    def candidates(self) -> int:
        """Number of windows to choose from, of any GC content."""
        return int(self.ranks[-1, -1])

    def mean_gc(self) -> tuple[float, float]:
        """Mean GC content of the regions, and what is expected of windows drawn; exact to a level, 0.005."""
        middle = (np.arange(LEVELS + 2) - 0.5) / LEVELS
        many = np.diff(self.ranks[-1], append=self.ranks[-1, -1])
        level = np.unique(self.region)
        expected = np.zeros(LEVELS + 2)
        for one in level:
            near = slice(max(one - self.reach[one], 1), min(one + self.reach[one], LEVELS) + 1)
            expected[one] = np.average(middle[near], weights=many[near])
        return float(middle[self.region].mean()), float(expected[self.region].mean())


def gc_matched(
    genome: Genome, spans: intervals.Spans, levels: np.ndarray, gc: np.ndarray, tolerance: float
) -> tuple[GcMatched, np.ndarray]:
    """Background matched to regions.

    Args:
        genome: its chromosomes.
        spans: sorted disjoint stretches of allowed centres on the position axis.
        levels: of all candidates in ``spans``, of others too; those outside are set to 0 in place.
        gc: ``(n,)`` GC content of the regions' windows.
        tolerance: largest difference of GC content between a window drawn and its region, at least ``1 / LEVELS``.

    Returns:
        The background, and which regions have a candidate within the tolerance, ``(n,) bool``; with none of them the
        background is empty and cannot be drawn from.
    """
    outside = intervals.subtract((np.zeros(1, np.int64), np.array([len(levels) * STRIDE])), spans)
    _clear(levels, -(-outside[0] // STRIDE), (outside[1] - 1) // STRIDE + 1)
    ranks = np.zeros((-(-len(levels) // _CELLS) + 1, LEVELS + 2), np.int32)
    _tally(levels, ranks)
    np.cumsum(ranks, axis=0, out=ranks)
    np.cumsum(ranks, axis=1, out=ranks)

    level = level_of(gc).astype(np.int64)
    enough = np.bincount(level, minlength=LEVELS + 1) * _ENOUGH
    reach = np.zeros(LEVELS + 1, np.int64)
    total = np.zeros(LEVELS + 1, np.int64)
    each = np.arange(LEVELS + 1)
    # A level is 1 / LEVELS wide, so that two windows d levels apart differ by less than d + 1 of them.
    for far in range(int(tolerance * LEVELS + 1e-9)):
        growing = (total < enough) | (far == 0)
        low, high = np.maximum(each - far, 1), np.minimum(each + far, LEVELS) + 1
        reach[growing] = far
        total[growing] = (ranks[-1, high] - ranks[-1, low])[growing]
    matched = (level > 0) & (total[level] > 0)
    return GcMatched(genome, spans, levels, ranks, level[matched], reach), matched


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _clear(levels, starts, ends):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Set stretches of cells to 0, writing only where they are not, so that untouched pages stay so."""
    for i in range(len(starts)):
        for cell in range(starts[i], ends[i]):
            if levels[cell]:
                levels[cell] = 0


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _tally(levels, ranks):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Count each level in each block, one row and one column late; level 0 is nobody's."""
    for cell in range(len(levels)):
        level = levels[cell]
        if level:
            ranks[cell // _CELLS + 1, level + 1] += 1


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _pick(levels, ranks, low, high, wanted, cells):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Find the cell of each wanted rank among the cells of levels ``low`` to below ``high``."""
    for i in range(len(wanted)):
        a, b, rank = low[i], high[i], wanted[i]
        first, last = 0, len(ranks) - 1
        while last - first > 1:
            middle = (first + last) // 2
            if ranks[middle, b] - ranks[middle, a] <= rank:
                first = middle
            else:
                last = middle
        rank -= ranks[first, b] - ranks[first, a]
        cell = first * _CELLS
        while True:
            if a <= levels[cell] < b:
                if rank == 0:
                    break
                rank -= 1
            cell += 1
        cells[i] = cell
