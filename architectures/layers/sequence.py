"""Layers that take the sequence."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasgen")
class OneHot(keras.layers.Layer):
    """One-hot sequence from base codes: A C G T = 0 1 2 3, anything else is all zeros.

    Shapes: ``(batch, length) uint8`` in, ``(batch, length, 4)`` of the layer's compute dtype out.
    """

    def call(self, inputs: Any) -> Any:
        """Apply the layer."""
        return ops.one_hot(inputs, 4, dtype=self.compute_dtype)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Shape and type of the output."""
        return keras.KerasTensor((*inputs.shape, 4), dtype=self.compute_dtype)
