"""A recurrent model in training: it carries its states from one frame to the next."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from architectures.layers import alone
from kerasgen.track_models.epilstm.frames import Lanes, take


class StatefulModel(keras.Model):
    """Holds the states of a model's lanes between calls.

    Takes a frame and ``(lanes, 1)`` what of the states to keep (0: a new section begins), gives the reconstruction.

    Args:
        model: what :func:`architectures.epilstm.build` made.
        lanes: frames in a batch.
    """

    def __init__(self, model: keras.Model, lanes: int) -> None:
        super().__init__(name="stateful")
        self.model = model
        self.carried = [
            self.add_weight(
                shape=(lanes, *tensor.shape[1:]), initializer="zeros", trainable=False, name=f"carried_{number}"
            )
            for number, tensor in enumerate(model.inputs[1:])
        ]

    def begin_as(self, model: keras.Model) -> None:
        """Take weights and random states of a model built like this one; forget what was learned and carried."""
        for variable, value in zip(self.model.variables, model.variables, strict=True):
            variable.assign(ops.convert_to_tensor(value))
        for variable in (*self.optimizer.variables, *self.carried):
            variable.assign(ops.zeros(variable.shape, variable.dtype))

    def call(self, inputs: Any) -> Any:
        """Reconstruct a frame and keep the states after it; no gradient runs back into the frame before."""
        frame, keep = inputs
        states = [
            ops.convert_to_tensor(state) * ops.reshape(keep, (-1,) + (1,) * (len(state.shape) - 1))
            for state in self.carried
        ]
        reconstruction, _, *after = self.model(alone([frame, *states]))
        for state, value in zip(self.carried, after, strict=True):
            state.assign(ops.stop_gradient(value))
        return reconstruction


class Frames(keras.utils.PyDataset):
    """The frames of lanes, in order.

    Args:
        values: ``(bins, tracks) float32``, normalised, NaN where there is no value.
        lanes: where the frames are.
        frame, look_ahead, mask: those of the model.
    """

    def __init__(self, values: np.ndarray, lanes: Lanes, frame: int, look_ahead: int, mask: bool) -> None:
        super().__init__()
        self._values, self._lanes, self._sizes = values, lanes, (frame, look_ahead, mask)

    def __len__(self) -> int:
        return len(self._lanes)

    def __getitem__(self, step: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        inputs, keep, targets = take(self._values, self._lanes, step, *self._sizes)
        return (inputs, keep), targets
