"""Bins of tracks as a recurrent model takes them: normalised, cut into parts, laid side by side in frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from db_ingest.errors import InputError
from kerasgen.track_models.binned import BinnedTracks, Pair, Stretch

TRAIN, VALIDATION = 0.72, 0.08
"""Shares of each chromosome that train and validate where none is named; the rest tests."""

GAP_BINS = 400
"""Bins left out between two parts of one chromosome: neighbours are much alike."""

_BLOCK = 2**18


@dataclass(frozen=True)
class Normalisation:
    """What brings each track to mean 0 and standard deviation 1 in the training bins.

    Args:
        mean, scale: ``(tracks,) float64``; the scale of a track that does not vary is 1.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, tracks: BinnedTracks, stretches: Iterable[Stretch]) -> Normalisation:
        """Take mean and standard deviation over the bins of some stretches that have a value.

        Raises:
            InputError: a track has no value there.
        """
        columns = [(stretch.first, stretch.end) for stretch in stretches]
        mean, scale = np.zeros(len(tracks.pairs)), np.ones(len(tracks.pairs))
        for row, pair in enumerate(tracks.pairs):
            values = np.concatenate([tracks.values[row, first:end] for first, end in columns]).astype(np.float64)
            values = values[~np.isnan(values)]
            if not len(values):
                raise InputError(f"{pair[0]}/{pair[1]}: no value in any training bin; leave this track out")
            mean[row], deviation = values.mean(), values.std()
            if deviation > 0:
                scale[row] = deviation
        return cls(mean, scale)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Normalisation:
        """The same as :meth:`to_json` gave it."""
        return cls(np.array(document["mean"], float), np.array(document["scale"], float))

    def to_json(self) -> dict[str, Any]:
        """As plain data, for a bundle."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Normalised values, a bin a row.

        Args:
            values: ``(tracks, bins) float32``; NaN where there is no value.

        Returns:
            ``(bins, tracks) float32``, NaN likewise.
        """
        result = np.empty(values.shape[::-1], np.float32)
        mean, factor = self.mean.astype(np.float32), (1 / self.scale).astype(np.float32)
        for first in range(0, len(result), _BLOCK):
            some = slice(first, first + _BLOCK)
            np.subtract(values[:, some].T, mean, out=result[some])
            result[some] *= factor
        return result

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Values ``(tracks, bins) float32`` of normalised ones ``(bins, tracks)``."""
        return (values * self.scale + self.mean).astype(np.float32).T


@dataclass(frozen=True)
class Parts:
    """Which bins train, validate and test."""

    train: tuple[Stretch, ...]
    validation: tuple[Stretch, ...]
    test: tuple[Stretch, ...]

    def to_json(self, bin: int) -> dict[str, Any]:
        """Chromosome, first base and the base after the last of each stretch (that of the last bin's end)."""
        return {
            part: [[s.chromosome, s.start, s.start + (s.end - s.first) * bin] for s in getattr(self, part)]
            for part in ("train", "validation", "test")
        }


def by_stretches(tracks: BinnedTracks) -> Parts:
    """Cut every chromosome in three, its first bins to train, then some to validate, the last to test, with gaps.

    Raises:
        InputError: a chromosome is too short for its parts to have a bin each.
    """
    cut: tuple[list[Stretch], ...] = ([], [], [])
    for stretch in tracks.stretches:
        bins = stretch.end - stretch.first
        one, two = round(bins * TRAIN), round(bins * (TRAIN + VALIDATION))
        edges = ((0, one - GAP_BINS), (one, two - GAP_BINS), (two, bins))
        if any(high <= low for low, high in edges):
            raise InputError(
                f"{stretch.chromosome}: {bins:,} bins; too few to train, validate and test on, with gaps of "
                f"{GAP_BINS}. Expected longer chromosomes, or --train_chroms, --validation_chroms and --test_chroms"
            )
        for part, (low, high) in zip(cut, edges, strict=True):
            start = stretch.start + low * tracks.bin
            part.append(Stretch(stretch.chromosome, start, stretch.first + low, stretch.first + high))
    return Parts(*map(tuple, cut))


def by_chromosomes(tracks: BinnedTracks, train: Sequence[str], validation: Sequence[str], test: Sequence[str]) -> Parts:
    """The whole of some chromosomes to train, of others to validate and to test."""
    return Parts(*(tuple(s for s in tracks.stretches if s.chromosome in part) for part in (train, validation, test)))


@dataclass(frozen=True)
class Lanes:
    """Frames of stretches that are read side by side, each lane one stretch after another.

    Args:
        first: ``(steps, lanes) int64``, column of each frame's first bin; -1: the lane has no more.
        keep: ``(steps, lanes) float32``, 0 where a new piece begins and the state is forgotten, else 1.
        low, high: ``(steps, lanes) int64``: columns of the piece that the frame is of.
        limit: ``(steps, lanes) int64``: the column where its chromosome ends.
    """

    first: np.ndarray
    keep: np.ndarray
    low: np.ndarray
    high: np.ndarray
    limit: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def lay(stretches: Sequence[Stretch], whole: Sequence[Stretch], lanes: int, frame: int, skip: int = 0) -> Lanes:
    """Lay stretches in lanes of about the same length.

    Args:
        stretches: what to read.
        whole: the chromosomes that they are of.
        lanes: read at a time.
        frame: bins of a frame.
        skip: bins left out at the start of every piece, below ``frame``, so that frames begin elsewhere each epoch.
    """
    total = sum(stretch.end - stretch.first for stretch in stretches)
    longest = max(1, -(-total // lanes))
    pieces = []
    for stretch in stretches:
        limit = next(s.end for s in whole if s.first <= stretch.first < s.end)
        for low in range(stretch.first, stretch.end, longest):
            high = min(low + longest, stretch.end)
            pieces.append((low + (skip if high - low > skip else 0), high, limit))
    filled: list[list[tuple[int, float, int, int, int]]] = [[] for _ in range(lanes)]
    for low, high, limit in sorted(pieces, key=lambda piece: piece[0] - piece[1]):
        lane = min(filled, key=len)
        lane += [(first, float(first > low), low, high, limit) for first in range(low, high, frame)]
    steps = max(map(len, filled))
    table = np.array([lane + [(-1, 0.0, 0, 0, 0)] * (steps - len(lane)) for lane in filled])
    first, keep, low, high, limit = table.transpose(2, 1, 0)
    return Lanes(
        first.astype(np.int64), keep.astype(np.float32), low.astype(np.int64), high.astype(np.int64),
        limit.astype(np.int64),
    )  # fmt: skip


def frame_inputs(values: np.ndarray, mask: bool) -> np.ndarray:
    """Normalised values with the missing ones at their mean, 0, and with ``mask`` a 1 for each that is there.

    Args:
        values: ``(..., tracks) float32``; NaN where there is no value.
        mask: whether to append the mask, ``(..., 2 x tracks)``.
    """
    known = ~np.isnan(values)
    filled = np.where(known, values, np.float32(0))
    return np.concatenate([filled, known.astype(np.float32)], axis=-1) if mask else filled


def take(
    values: np.ndarray, lanes: Lanes, step: int, frame: int, look_ahead: int, mask: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One frame of every lane.

    Args:
        values: ``(bins, tracks) float32``, normalised, NaN where there is no value.
        lanes: from :func:`lay`.
        step: which frame.
        frame, look_ahead, mask: of the model.

    Returns:
        Inputs ``(lanes, frame + look_ahead, channels)``, what of the state is kept ``(lanes, 1)``, and what is to be
        reconstructed ``(lanes, frame, tracks)``: the bins ``look_ahead`` earlier, NaN where nothing is.
    """
    first, limit = lanes.first[step][:, None], lanes.limit[step][:, None]
    seen = first + np.arange(frame + look_ahead)
    inputs = frame_inputs(_at(values, seen, (first >= 0) & (seen < limit)), mask)
    wanted = first - look_ahead + np.arange(frame)
    low, high = lanes.low[step][:, None], lanes.high[step][:, None]
    targets = _at(values, wanted, (first >= 0) & (wanted >= low) & (wanted < high))
    return inputs, lanes.keep[step][:, None], targets


def _at(values: np.ndarray, columns: np.ndarray, there: np.ndarray) -> np.ndarray:
    found = values[np.where(there, columns, 0)]
    found[~there] = np.nan
    return found


def named(pairs: Sequence[Pair]) -> list[list[str]]:
    """Tracks as plain data."""
    return [list(pair) for pair in pairs]
