"""Bins of tracks as a recurrent model takes them: laid side by side in lanes, frame after frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kerasgen.track_models.binned import Stretch


@dataclass(frozen=True)
class Lanes:
    """Frames of stretches that are read side by side, each lane one stretch after another.

    Args:
        first: ``(steps, lanes) int64``, column of each frame's first bin; -1: the lane has no more.
        keep: ``(steps, lanes) float32``, 0 where a new section begins and the state is forgotten, else 1.
        low, high: ``(steps, lanes) int64``: columns of the section that the frame is of.
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
        skip: bins left out at the start of every section, below ``frame``, so that frames begin elsewhere each epoch.
    """
    total = sum(stretch.end - stretch.first for stretch in stretches)
    longest = max(1, -(-total // lanes))
    sections = []
    for stretch in stretches:
        limit = next(s.end for s in whole if s.first <= stretch.first < s.end)
        for low in range(stretch.first, stretch.end, longest):
            high = min(low + longest, stretch.end)
            sections.append((low + (skip if high - low > skip else 0), high, limit))
    filled: list[list[tuple[int, float, int, int, int]]] = [[] for _ in range(lanes)]
    for low, high, limit in sorted(sections, key=lambda section: section[0] - section[1]):
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
        frame, look_ahead, mask: those of the model.

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


def _at(values: np.ndarray, columns: np.ndarray, known: np.ndarray) -> np.ndarray:
    taken = values[np.where(known, columns, 0)]
    taken[~known] = np.nan
    return taken
