"""Totals and means of what is a logarithm."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasgen")
def log(x: Any) -> Any:
    """Natural logarithm, as an activation."""
    return ops.log(x)


@keras.saving.register_keras_serializable(package="kerasgen")
class LogSumExp(keras.layers.Layer):
    """Log of the sum of exponentials over the last axis: the log of total counts from the log counts of each strand.

    Shapes: ``(batch, channels)`` in, ``(batch, 1)`` out.
    """

    def call(self, inputs: Any) -> Any:
        """Apply the layer."""
        return ops.logsumexp(inputs, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output."""
        return (*input_shape[:-1], 1)
