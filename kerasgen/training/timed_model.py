"""The model that is trained: an architecture's model behind what only the device needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import keras
from keras import layers

from architectures.layers import OneHot, alone


class TimedModel(keras.Model):
    """A Keras model that measures how long its training waits for batches.

    Attributes:
        waited: seconds that training steps waited for their batch, since the model was made.
    """

    train_function: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waited = 0.0
        self._timed: Callable[..., Any] | None = None

    def make_train_function(self, force: bool = False) -> Any:
        """Make Keras' function of one step, and have it wait for its batch under a clock."""
        super().make_train_function(force)
        step: Callable[..., Any] = self.train_function
        if step is self._timed:
            return

        def timed(*arguments: Any) -> Any:
            *state, iterator = arguments
            began = perf_counter()
            batch = next(iterator)
            self.waited += perf_counter() - began
            return step(*state, iter((batch,)))

        self._timed = self.train_function = timed


def on_device(model: keras.Model, coded: Sequence[bool], names: Sequence[str]) -> TimedModel:
    """Put a model behind one-hot layers and its outputs in float32. The weights are the very same.

    Args:
        model: of an architecture.
        coded: for each input, whether it comes as ``(batch, length) uint8`` base codes, and not as the model takes it.
        names: of the outputs; losses are named after them.
    """
    inputs, given = [], []
    for number, (tensor, is_coded) in enumerate(zip(model.inputs, coded, strict=True)):
        if is_coded:
            inputs.append(keras.Input(tensor.shape[1:-1], dtype="uint8", name=f"codes_{number}"))
            given.append(OneHot(name=f"one_hot_{number}")(inputs[-1]))
        else:
            inputs.append(keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=f"input_{number}"))
            given.append(inputs[-1])
    outputs = model(alone(given))
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    named = [
        layers.Activation("linear", dtype="float32", name=name if name != model.name else f"{name}_output")(output)
        for name, output in zip(names, outputs, strict=True)
    ]
    return TimedModel(alone(inputs), alone(named), name="training")
