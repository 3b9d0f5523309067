"""Where samples are centred: regions of a BED file, peaks of the database, background; and the plan of an epoch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from db_ingest import intervals
from db_ingest.errors import InputError
from db_ingest.genome import Genome
from kerasgen.database import Database, as_values

log = logging.getLogger("kerasgen")

_SCAN = 2**24
CENTRES = ("summit", "center", "random", "edges")


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


class Source(Protocol):
    """Something windows can be drawn from."""

    def __len__(self) -> int:
        """Windows an epoch takes from it when nothing else is said."""

    def draw(self, key: tuple[int, ...], count: int) -> Windows:
        """Draw windows; ``key`` holds the seed, the epoch and the purpose."""

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
        rng = np.random.default_rng((*key, 0))
        rounds = [np.arange(len(self))] * (count // len(self))
        rounds.append(rng.permutation(len(self))[: count % len(self)])
        index = np.concatenate(rounds)
        turn = np.repeat(np.arange(len(rounds)), [len(part) for part in rounds])
        place = self.chromosome[index], self.low[index], self.high[index], self.copy[index], turn
        centre = self.low[index] + (uniform(key, *place) * (self.high - self.low + 1)[index]).astype(np.int64)
        return Windows(self.chromosome[index], centre, self.reverse[index], np.zeros(count, bool))

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
class Bases:
    """Stretches every base of which is equally likely to be a centre.

    Args:
        genome: their chromosomes.
        spans: sorted disjoint stretches of the position axis.
        background: whether windows drawn are flagged as background.
        around: what background keeps away from; the stretches themselves if None.
    """

    genome: Genome
    spans: intervals.Spans
    background: bool = False
    around: intervals.Spans | None = None

    @property
    def regions(self) -> intervals.Spans:
        """What background keeps away from."""
        return self.spans if self.around is None else self.around

    def __len__(self) -> int:
        return len(self.spans[0])

    def draw(self, key: tuple[int, ...], count: int) -> Windows:
        """``count`` centres, uniform over bases."""
        ends = np.cumsum(self.spans[1] - self.spans[0])
        base = np.random.default_rng(key).integers(0, ends[-1], count)
        stretch = np.searchsorted(ends, base, side="right")
        position = self.spans[1][stretch] - (ends[stretch] - base)
        place = np.searchsorted(self.genome.offsets, position, side="right") - 1
        flags = np.zeros(count, bool)
        return Windows(place, position - self.genome.offsets[place], flags, np.full(count, self.background))

    def cover(self, flank: int) -> intervals.Spans:
        """Stretches of the position axis that windows of this flank can touch."""
        return widen(self.genome, self.spans, flank)


@dataclass(frozen=True)
class Plan:
    """Which windows an epoch holds, and in which order: a function of the seed and the epoch.

    Args:
        positives: peaks or BED regions.
        background: None, or where the rest is drawn from.
        positive_share: share of the samples that come from ``positives``.
        count: samples an epoch; None takes every positive once.
        revcomp: read a random half as the reverse complement.
        oriented: regions carry their strand; background gets a random one.
        seed: of all draws.
        fixed: every epoch is the same and in the order of the regions (validation, prediction).
    """

    positives: Source
    background: Bases | None = None
    positive_share: float = 1.0
    count: int | None = None
    revcomp: bool = False
    oriented: bool = False
    seed: int = 1234
    fixed: bool = False

    @property
    def sizes(self) -> tuple[int, int]:
        """Positives and background samples an epoch."""
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
            windows += self._turn(self.background.draw(self.key(epoch, 2), background), self.key(epoch, 3))
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
            # Of all that could be drawn, as many as are wanted: else a whole round would begin with the first regions.
            drawn = source.draw(self.key(epoch, 5 + number, batch, attempt), max(len(source), len(places)))
            chosen = np.random.default_rng(self.key(epoch, 7 + number, batch, attempt)).permutation(len(drawn.centre))
            drawn = self._turn(drawn.take(chosen[: len(places)]), self.key(epoch, 9 + number, batch, attempt))
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


def touching(genome: Genome, spans: intervals.Spans, flank: int) -> intervals.Spans:
    """Centres whose window ``[centre - flank, centre + flank)`` holds a base of the stretches."""
    return widen(genome, (spans[0] + 1, spans[1]), flank)


def widen(genome: Genome, spans: intervals.Spans, flank: int) -> intervals.Spans:
    """Stretches of the position axis lengthened by ``flank`` on both sides, within their chromosomes."""
    place = np.searchsorted(genome.offsets, spans[1] - 1, side="right") - 1
    lower, upper = genome.offsets[place], genome.offsets[place] + genome.size_array()[place]
    return intervals.merge(np.maximum(spans[0] - flank, lower), np.minimum(spans[1] + flank, upper))


def chromosome_spans(genome: Genome, chromosomes: Sequence[str]) -> intervals.Spans:
    """Whole chromosomes as stretches of the position axis."""
    places = np.array(sorted(genome.index(name) for name in chromosomes), np.int64)
    return genome.offsets[places], genome.offsets[places] + genome.size_array()[places]


def from_bed(
    path: str,
    genome: Genome,
    chromosomes: Sequence[str],
    *,
    center: str = "summit",
    draws: int = 1,
    jitter: int = 0,
    stranded: bool = False,
) -> Loci:
    """Regions of a BED or narrowPeak file on some chromosomes.

    Args:
        path: the file, plain or gzipped.
        genome: what intervals must fit into.
        chromosomes: those to take.
        center: ``summit`` (of narrowPeak; the centre where none was called), ``center``, ``edges`` (two regions, one at
            each end) or ``random`` (anywhere in the region, anew each epoch).
        draws: with ``random``, how many centres a region gets.
        jitter: a centre moves up to this many bp either way, anew each epoch.
        stranded: regions on the minus strand are read as the reverse complement.

    Raises:
        InputError: a broken file, or no region on the chromosomes.
    """
    from db_ingest.formats import bed

    if center not in CENTRES:
        raise InputError(f"--bed_regions_center {center}: expected one of {', '.join(CENTRES)}")
    table = bed.read(path, genome)
    wanted = np.isin(table.chromosome, [genome.index(name) for name in chromosomes])
    if not wanted.any():
        raise InputError(f"{path}: no region on {', '.join(chromosomes[:8])}")
    if stranded and not np.isin(table.strand[wanted], ("+", "-")).all():
        raise InputError(f"{path}: --bed_regions_stranded needs + or - in column 6 of every region")
    chromosome, start, end = table.chromosome[wanted], table.start[wanted], table.end[wanted]
    copy = np.zeros(len(start), np.int64)
    offset = genome.offsets[chromosome]
    spans = intervals.merge(offset + start, offset + end)
    reverse = (table.strand[wanted] == "-") & stranded
    if center == "random":
        low, high = np.repeat(start, draws), np.repeat(end - 1, draws)
        chromosome, reverse = np.repeat(chromosome, draws), np.repeat(reverse, draws)
        copy = np.tile(np.arange(draws), len(start))
    elif center == "edges":
        low = high = np.column_stack([start, end - 1]).reshape(-1)
        chromosome, reverse, copy = np.repeat(chromosome, 2), np.repeat(reverse, 2), np.repeat(copy, 2)
    else:
        if center == "summit":
            low = high = table.summit_or_centre[wanted]
            absent = int((table.summit[wanted] < 0).sum())
            if absent:
                log.info("%s: %s regions without a summit; their centre is used", path, f"{absent:,}")
        else:
            low = high = (start + end) // 2
    last = genome.size_array()[chromosome] - 1
    low, high = np.clip(low - jitter, 0, last), np.clip(high + jitter, 0, last)
    return Loci(genome, chromosome, low, high, reverse, copy, spans)


def partition(
    database: Database,
    attribute: str,
    datasets: Sequence[str],
    threshold: float,
    chromosomes: Sequence[str],
) -> intervals.Spans:
    """Stretches where an attribute of any of ``datasets`` reaches ``threshold``, read in blocks.

    Args:
        database: holds the attribute, a mask or a signal.
        datasets: a base counts when any of them reaches the threshold there.
        threshold: e.g. 1 for anywhere in a peak, 2 for summits only.
        chromosomes: those to look at.

    Returns:
        Sorted disjoint stretches of the position axis.
    """
    tracks = [database.track(attribute, dataset) for dataset in datasets]
    starts, ends = [], []
    for name in chromosomes:
        offset = database.genome.offset(name)
        for first, last in database.genome.chunks(name, _SCAN):
            reached = np.zeros(last - first, bool)
            span = (np.array([offset + first]), np.array([offset + last]))
            for track in tracks:
                reached |= as_values(track, database.read(track, span)) >= threshold
            begin, end = intervals.runs(reached)
            starts.append(begin + offset + first)
            ends.append(end + offset + first)
    return intervals.merge(np.concatenate(starts), np.concatenate(ends))
