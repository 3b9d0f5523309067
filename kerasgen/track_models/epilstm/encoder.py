"""Codes of bins by a trained model: many stretches side by side, each bin's code the same however it is read.

Chromosomes are cut every :data:`LANE_FRAMES` frames, and the model begins :data:`WARM_UP_FRAMES` frames earlier, so
that its state has forgotten where it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kerasgen.track_models.epilstm.frames import frame_inputs
from kerasgen.track_models.epilstm.normalisation import Normalisation

LANE_FRAMES = 20
WARM_UP_FRAMES = 2

MOST_LANES = 512
MOST_VALUES = 2**26
"""Values of tracks read at a time."""

Read = Callable[[int, int], np.ndarray]
"""First bin and the one after the last of a chromosome -> ``(tracks, bins) float32``, NaN where there is no value."""


class Encoder:
    """Runs a model along chromosomes.

    Args:
        model: what :func:`architectures.epilstm.build` made.
        normalisation: that of its tracks.
        longest: bins of the longest chromosome to come; decides how many stretches are read side by side.
        reconstruct: whether to give reconstructions instead of codes.
        lane_frames: frames of a stretch.
        warm_up_frames: frames that the model begins earlier.
        most_lanes: stretches read side by side, at most.
    """

    def __init__(
        self,
        model: keras.Model,
        normalisation: Normalisation,
        longest: int,
        *,
        reconstruct: bool = False,
        lane_frames: int = LANE_FRAMES,
        warm_up_frames: int = WARM_UP_FRAMES,
        most_lanes: int = MOST_LANES,
    ) -> None:
        from architectures.epilstm import encoder

        self.frame = model.outputs[0].shape[1]
        tracks = model.outputs[0].shape[2]
        self._look_ahead = model.inputs[0].shape[1] - self.frame
        self._mask = model.inputs[0].shape[2] == 2 * tracks
        self._normalisation, self._reconstruct = normalisation, reconstruct
        self._model = model if reconstruct else encoder(model)
        self.width = tracks if reconstruct else model.outputs[1].shape[2]
        # A reconstruction comes look_ahead bins late.
        self._delay = self._look_ahead if reconstruct else 0
        recurrent = len(model.inputs) > 1
        self._warm_up = warm_up_frames if recurrent else 0
        self._lane_frames, self._lane = lane_frames, lane_frames * self.frame
        wanted = -(-longest // self._lane)
        most = max(1, min(most_lanes, MOST_VALUES // (self._lane * tracks)))
        self._lanes = -(-wanted // -(-wanted // most))

    def run(self, read: Read, bins: int, start: int = 0, end: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Codes, or reconstructions in normalised units, of a chromosome.

        Args:
            read: gives its bins.
            bins: how many it has.
            start, end: the bins wanted, half-open; None for the last.

        Yields:
            First bin, and ``(bins, width) float32`` of a stretch; NaN in bins where no track has a value.
        """
        wide, stop = self._lanes * self._lane, bins if end is None else end
        for first in range(start // self._lane * self._lane, stop, wide):
            low, high = max(start - first, 0), min(stop - first, wide)
            results, known = self._block(read, first, bins)
            values = results[low:high]
            values[~known[low:high]] = np.nan
            yield first + low, values

    def _block(self, read: Read, first: int, bins: int) -> tuple[np.ndarray, np.ndarray]:
        """Results of as many lanes as are run side by side, and which of their bins have any value."""
        before = self._warm_up * self.frame
        flush = -(-self._delay // self.frame)
        steps = self._warm_up + self._lane_frames + flush
        after = flush * self.frame + self._look_ahead
        low, high = first - before, first + self._lanes * self._lane + after
        padded = np.full((high - low, self._normalisation.mean.size), np.nan, np.float32)
        begin, end = max(low, 0), min(high, bins)
        padded[begin - low : end - low] = self._normalisation.apply(read(begin, end))
        missing = np.isnan(padded[before : before + self._lanes * self._lane])
        known = np.asarray(~missing.all(axis=1))
        inputs = frame_inputs(padded, self._mask)
        length = steps * self.frame
        results = np.empty((self._lanes, length, self.width), np.float32)
        states = [np.zeros((self._lanes, *tensor.shape[1:]), np.float32) for tensor in self._model.inputs[1:]]
        for step in range(steps):
            here = slice(step * self.frame, (step + 1) * self.frame)
            if step == self._warm_up and first == 0:
                # Nothing lies before a chromosome.
                states = [_with_first_zero(state) for state in states]
            results[:, here], states = self._step(self._frames(inputs, step), states)
        at = before + self._delay
        return results[:, at : at + self._lane].reshape(-1, self.width), known

    def _frames(self, inputs: np.ndarray, step: int) -> np.ndarray:
        rows = self.frame + self._look_ahead
        row, cell = inputs.strides
        shape, strides = (self._lanes, rows, inputs.shape[1]), (self._lane * row, row, cell)
        view = np.lib.stride_tricks.as_strided(inputs[step * self.frame :], shape, strides, writeable=False)
        return np.ascontiguousarray(view)

    def _step(self, frames: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        outputs: Any = self._model.predict_on_batch([frames, *states] if states else frames)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        if self._reconstruct:
            return outputs[0], list(outputs[2:])
        return outputs[0], list(outputs[1:])


def _with_first_zero(state: np.ndarray) -> np.ndarray:
    kept = np.array(state)
    kept[0] = 0
    return kept
