"""Where samples are centred: regions with a range of centres, peaks, stretches of bases; and the plan of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from db_ingest import intervals
from db_ingest.layout.genome import Genome

_TYPICAL_BASES = 2**16


class Windows(NamedTuple):
    """Where samples lie.

    Args:
        chromosome: ``(n,) int64`` place in the genome.
        centre: ``(n,) int64``; a window is ``[centre - flank, centre + flank)``.
        reverse: ``(n,) bool``, read as the reverse complement.
        background: ``(n,) bool``, drawn from the background.
    """

    chromosome: np.ndarray
    centre: np.ndarray
    reverse: np.ndarray
    background: np.ndarray

    def take(self, index: np.ndarray | slice) -> Windows:
        """The chosen windows."""
        return Windows(*(part[index] for part in self))

    def __add__(self, other: Windows) -> Windows:  # type: ignore[override]
        return Windows(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


class WindowSource(Protocol):
    """Something windows can be drawn from."""

    def __len__(self) -> int:
        """Windows an epoch takes from it when nothing else is said."""

    def draw(self, key: tuple[int, ...], count: int) -> Windows:
        """Draw windows, none flagged as background; ``key`` holds the seed, the epoch and the purpose."""

    def cover(self, flank: int) -> intervals.Spans:
        """Stretches of the position axis that windows of this flank can touch."""


def uniform(key: Sequence[int], *columns: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) that are a function of a key and of each row alone, whatever rows stand beside it.

    Args:
        key: seed, epoch and purpose.
        columns: ``(n,)`` integers that tell rows apart.

    Returns:
        ``(n,) float64``, by the finalizer of SplitMix64 (Steele et al. 2014, OOPSLA).
    """
    state = np.full(len(columns[0]), np.random.SeedSequence(list(key)).generate_state(1, np.uint64)[0], np.uint64)
    for column in columns:
        state = state + np.uint64(0x9E3779B97F4A7C15) + column.astype(np.uint64)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)) * 2.0**-53


def rounds(key: tuple[int, ...], many: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Take ``count`` of ``many`` things: each once, a random part of them, or several rounds of all.

    Returns:
        Which of them, and in which round, ``(count,) int64`` each.
    """
    whole, rest = divmod(count, many)
    part = np.random.default_rng((*key, 0)).choice(many, rest, replace=False)
    return np.concatenate([*[np.arange(many)] * whole, part]), np.repeat(np.arange(whole + 1), [many] * whole + [rest])


def at_positions(genome: Genome, position: np.ndarray) -> Windows:
    """Windows centred at ``(n,)`` positions of the axis, read forward."""
    place = np.searchsorted(genome.offsets, position, side="right") - 1
    return Windows(place, position - genome.offsets[place], np.zeros(len(place), bool), np.zeros(len(place), bool))


@dataclass(frozen=True)
class Loci:
    """Regions with a range of centres each: a fixed centre with jitter, or anywhere in a peak.

    Args:
        genome: their chromosomes.
        chromosome: ``(n,) int64`` places in the genome.
        low, high: ``(n,) int64`` first and last possible centre.
        reverse: ``(n,) bool``, read as the reverse complement.
        copy: ``(n,) int64``, tells centres of one region apart.
        regions: union of the regions themselves, on the position axis; background keeps away from it.
    """

    genome: Genome
    chromosome: np.ndarray
    low: np.ndarray
    high: np.ndarray
    reverse: np.ndarray
    copy: np.ndarray
    regions: intervals.Spans

    def __len__(self) -> int:
        return len(self.low)

    def draw(self, key: tuple[int, ...], count: int) -> Windows:
        """``count`` windows: each region once, a random part of them, or several rounds of all.

        Where a region's window is centred is a function of the key, the region and the round.
        """
        index, turn = rounds(key, len(self), count)
        place = self.chromosome[index], self.low[index], self.high[index], self.copy[index], turn
        centre = self.low[index] + (uniform(key, *place) * (self.high - self.low + 1)[index]).astype(np.int64)
        return Windows(self.chromosome[index], centre, self.reverse[index], np.zeros(count, bool))

    def typical(self, key: tuple[int, ...]) -> Windows:
        """Each region at the middle of its range."""
        return Windows(self.chromosome, (self.low + self.high) // 2, self.reverse, np.zeros(len(self), bool))

    def touches(self, centres: intervals.Spans) -> np.ndarray:
        """Which regions have a possible centre in stretches of the position axis, ``(n,) bool``."""
        offset = self.genome.offsets[self.chromosome]
        return intervals.overlaps(centres, offset + self.low, offset + self.high + 1)

    def cover(self, flank: int) -> intervals.Spans:
        """Stretches of the position axis that windows of this flank can touch."""
        sizes = self.genome.size_array()[self.chromosome]
        offset = self.genome.offsets[self.chromosome]
        start = np.clip(self.low - flank, 0, sizes)
        end = np.clip(self.high + flank, 0, sizes)
        return intervals.merge(offset + start, offset + end)

    def keep(self, flags: np.ndarray) -> Loci:
        """The regions flagged; background still keeps away from all."""
        return replace(
            self,
            chromosome=self.chromosome[flags],
            low=self.low[flags],
            high=self.high[flags],
            reverse=self.reverse[flags],
            copy=self.copy[flags],
        )


@dataclass(frozen=True)
class Peaks:
    """Peaks of which each is as likely as any other, and within it each of the centres it may have.

    Args:
        genome: their chromosomes.
        pieces: ``(m,)`` starts and ends on the position axis of stretches of centres, those of a peak in order.
        first: ``(n + 1,) int64`` place of each peak's first stretch, and their number.
        regions: union of the peaks themselves; background keeps away from it.
    """

    genome: Genome
    pieces: intervals.Spans
    first: np.ndarray
    regions: intervals.Spans

    @classmethod
    def within(
        cls, genome: Genome, ranges: intervals.Spans, excluded: intervals.Spans, regions: intervals.Spans
    ) -> Peaks:
        """Peaks from the range of centres of each, ``(n,)``; those with no centre outside ``excluded`` are left out."""
        edge = np.array([np.iinfo(np.int64).max])
        gaps = np.concatenate([[0], excluded[1]]), np.concatenate([excluded[0], edge])
        begin = np.searchsorted(gaps[1], ranges[0], side="right")
        many = np.searchsorted(gaps[0], ranges[1], side="left") - begin
        peak = np.repeat(np.arange(len(many)), many)
        gap = np.arange(len(peak)) - np.repeat(np.cumsum(many) - many - begin, many)
        pieces = np.maximum(gaps[0][gap], ranges[0][peak]), np.minimum(gaps[1][gap], ranges[1][peak])
        return cls(genome, pieces, np.concatenate([[0], np.cumsum(many[many > 0])]), regions)

    def __len__(self) -> int:
        return len(self.first) - 1

    @cached_property
    def _ends(self) -> np.ndarray:
        """Of all centres laid end to end, where each stretch ends."""
        return np.cumsum(self.pieces[1] - self.pieces[0])

    def _at(self, peak: np.ndarray, share: np.ndarray | float) -> Windows:
        """Windows at a share of the way through the centres of peaks."""
        begins = np.concatenate([[0], self._ends])[self.first]
        place = begins[peak] + (share * np.diff(begins)[peak]).astype(np.int64)
        return at_positions(self.genome, _position(self.pieces, self._ends, place))

    def draw(self, key: tuple[int, ...], count: int) -> Windows:
        """``count`` windows: each peak once, a random part of them, or several rounds of all.

        Where a peak's window is centred is a function of the key, the peak and the round.
        """
        index, turn = rounds(key, len(self), count)
        return self._at(index, uniform(key, self.pieces[0][self.first[index]], turn))

    def typical(self, key: tuple[int, ...]) -> Windows:
        """Each peak at the middle of its centres."""
        return self._at(np.arange(len(self)), 0.5)

    def cover(self, flank: int) -> intervals.Spans:
        """Stretches of the position axis that windows of this flank can touch."""
        return widen(self.genome, self.pieces, flank)


@dataclass(frozen=True)
class Bases:
    """Stretches every base of which is equally likely to be a centre.

    Args:
        genome: their chromosomes.
        spans: sorted disjoint stretches of the position axis.
        around: what background keeps away from; the stretches themselves if None.
    """

    genome: Genome
    spans: intervals.Spans
    around: intervals.Spans | None = None

    @property
    def regions(self) -> intervals.Spans:
        """What background keeps away from."""
        return self.spans if self.around is None else self.around

    def __len__(self) -> int:
        return len(self.spans[0])

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.spans[1] - self.spans[0])

    def draw(self, key: tuple[int, ...], count: int) -> Windows:
        """``count`` centres, uniform over bases."""
        place = np.random.default_rng(key).integers(0, self._ends[-1], count)
        return at_positions(self.genome, _position(self.spans, self._ends, place))

    def typical(self, key: tuple[int, ...]) -> Windows:
        """Bases drawn."""
        return self.draw(key, _TYPICAL_BASES)

    def cover(self, flank: int) -> intervals.Spans:
        """Stretches of the position axis that windows of this flank can touch."""
        return widen(self.genome, self.spans, flank)


def _position(spans: intervals.Spans, ends: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Positions on the axis of places in stretches laid end to end, which end at ``ends``."""
    stretch = np.searchsorted(ends, place, side="right")
    return spans[1][stretch] - (ends[stretch] - place)


@dataclass(frozen=True)
class WindowPlan:
    """Which windows an epoch holds, and in which order: a function of the seed and the epoch.

    Args:
        positives: peaks or BED regions.
        background: None, or where the rest is drawn from.
        positive_share: share of the samples that come from ``positives``.
        count: samples per epoch; None takes every positive once.
        revcomp: read a random half as the reverse complement.
        oriented: regions carry their strand; background gets a random one.
        seed: of all draws.
        fixed: every epoch is the same and in the order of the regions (validation, prediction).
    """

    positives: WindowSource
    background: WindowSource | None = None
    positive_share: float = 1.0
    count: int | None = None
    revcomp: bool = False
    oriented: bool = False
    seed: int = 1234
    fixed: bool = False

    @property
    def sizes(self) -> tuple[int, int]:
        """Positives and background samples per epoch."""
        if self.count is not None:
            positives = round(self.count * self.positive_share) if self.background is not None else self.count
            return positives, self.count - positives
        positives = len(self.positives)
        if self.background is None:
            return positives, 0
        return positives, round(positives * (1 - self.positive_share) / self.positive_share)

    def __len__(self) -> int:
        return sum(self.sizes)

    def key(self, epoch: int, *stream: int) -> tuple[int, ...]:
        """Seed of the random numbers of one epoch and purpose."""
        return (self.seed, 0 if self.fixed else epoch, *stream)

    def epoch(self, epoch: int) -> Windows:
        """All windows of an epoch, in order."""
        positives, background = self.sizes
        windows = self._turn(self.positives.draw(self.key(epoch, 0), positives), self.key(epoch, 1))
        if background and self.background is not None:
            drawn = _flagged(self.background.draw(self.key(epoch, 2), background))
            windows += self._turn(drawn, self.key(epoch, 3))
        if self.fixed:
            return windows
        return windows.take(np.random.default_rng(self.key(epoch, 4)).permutation(len(windows.centre)))

    def redraw(self, windows: Windows, epoch: int, batch: int, attempt: int) -> Windows:
        """Other windows of the same kinds, in place of ``windows``; ``attempt`` counts from 0."""
        result = Windows(*(part.copy() for part in windows))
        for number, source in enumerate((self.positives, self.background)):
            places = np.flatnonzero(windows.background if number else ~windows.background)
            if source is None or len(places) == 0:
                continue
            drawn = source.draw(self.key(epoch, 5 + number, batch, attempt), len(places))
            drawn = self._turn(_flagged(drawn) if number else drawn, self.key(epoch, 9 + number, batch, attempt))
            for target, part in zip(result, drawn, strict=True):
                target[places] = part
        return result

    def _turn(self, windows: Windows, key: tuple[int, ...]) -> Windows:
        """Decide which windows are read as the reverse complement."""
        if self.revcomp or (self.oriented and windows.background.any()):
            copies = np.arange(len(windows.centre)) if windows.background.any() else np.zeros(len(windows.centre), int)
            coin = uniform(key, windows.chromosome, windows.centre, copies) < 0.5
            return windows._replace(reverse=windows.reverse ^ coin)
        return windows

    def cover(self, flank: int) -> intervals.Spans:
        """Stretches of the position axis that windows of this flank can touch."""
        spans = self.positives.cover(flank)
        if self.background is None or self.sizes[1] == 0:
            return spans
        return intervals.union(spans, self.background.cover(flank))


def _flagged(windows: Windows) -> Windows:
    return windows._replace(background=np.ones(len(windows.centre), bool))


def touching(genome: Genome, spans: intervals.Spans, flank: int) -> intervals.Spans:
    """Centres whose window ``[centre - flank, centre + flank)`` holds a base of the stretches."""
    return widen(genome, (spans[0] + 1, spans[1]), flank)


def lengthened(genome: Genome, spans: intervals.Spans, flank: int) -> intervals.Spans:
    """Stretches of the position axis, each lengthened by ``flank`` on both sides within its chromosome."""
    place = np.searchsorted(genome.offsets, spans[1] - 1, side="right") - 1
    lower, upper = genome.offsets[place], genome.offsets[place] + genome.size_array()[place]
    return np.maximum(spans[0] - flank, lower), np.minimum(spans[1] + flank, upper)


def widen(genome: Genome, spans: intervals.Spans, flank: int) -> intervals.Spans:
    """The union of stretches of the position axis lengthened by ``flank``, within their chromosomes."""
    return intervals.merge(*lengthened(genome, spans, flank))


def chromosome_spans(genome: Genome, chromosomes: Sequence[str]) -> intervals.Spans:
    """Whole chromosomes as stretches of the position axis."""
    places = np.array(sorted(genome.index(name) for name in chromosomes), np.int64)
    return genome.offsets[places], genome.offsets[places] + genome.size_array()[places]
