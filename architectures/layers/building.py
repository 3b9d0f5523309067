"""What the builders of all models share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


def alone(tensors: list[Any]) -> Any:
    """The tensor of a list of one, so that a model of one input takes an array and not a list; else the list."""
    return tensors[0] if len(tensors) == 1 else tensors


def make_metrics(model: keras.Model) -> None:
    """Have the running mean of each output's loss exist; else the first step makes it, and TensorFlow traces it twice.

    Args:
        model: compiled.
    """
    outputs = alone([keras.ops.zeros((1, *output.shape[1:])) for output in model.outputs])
    model.compute_loss(y=outputs, y_pred=outputs)
    model.reset_metrics()


@contextmanager
def full_precision() -> Iterator[None]:
    """Build the layers of the heads here: under a mixed policy they compute in the type of their weights, float32.

    The 8 significant bits of bfloat16 serve a trunk; they are too few for logits and log counts.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(before.variable_dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
