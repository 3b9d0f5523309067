"""Layers that Keras lacks, registered so that saved models load with ``safe_mode``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops


def alone(tensors: list[Any]) -> Any:
    """The tensor of a list of one, so that a model of one input takes an array and not a list; else the list."""
    return tensors[0] if len(tensors) == 1 else tensors


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


@keras.saving.register_keras_serializable(package="kerasgen")
def log(x: Any) -> Any:
    """Natural logarithm, as an activation."""
    return ops.log(x)


@keras.saving.register_keras_serializable(package="kerasgen")
class LogSumExp(keras.layers.Layer):
    """Log of the sum of exponentials over the last axis: the log of total counts from log counts a strand.

    Shapes: ``(batch, channels)`` in, ``(batch, 1)`` out.
    """

    def call(self, inputs: Any) -> Any:
        """Apply the layer."""
        return ops.logsumexp(inputs, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output."""
        return (*input_shape[:-1], 1)


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


@keras.saving.register_keras_serializable(package="kerasgen")
class FactorProduct(keras.layers.Layer):
    """Factors of one thing of a few, times their part of a dense layer's kernel.

    The product is taken once for each thing instead of once for each sample.

    Shapes: ``(batch, 1)`` indices in, ``(batch, units)`` out.

    Args:
        count: things.
        factors: of each.
        units: of the dense layer.
        limit: the kernel begins uniform within ± this.
    """

    MOST_ONE_HOT = 256

    def __init__(self, count: int, factors: int, units: int, limit: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count, self.factors, self.units, self.limit = count, factors, units, limit

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Make the weights."""
        uniform = keras.initializers.RandomUniform
        self.embeddings = self.add_weight(
            (self.count, self.factors), initializer=uniform(-0.05, 0.05), name="embeddings"
        )
        self.kernel = self.add_weight(
            (self.factors, self.units), initializer=uniform(-self.limit, self.limit), name="kernel"
        )

    def table(self) -> Any:
        """The products of all things, ``(count, units)``."""
        return ops.matmul(self.embeddings, self.kernel)

    def call(self, inputs: Any) -> Any:
        """Apply the layer."""
        index = ops.cast(inputs[:, 0], "int32")
        if self.count <= self.MOST_ONE_HOT:
            # The gradient of a product with few rows is a product; that of taking rows is a scattered sum, far slower.
            return ops.matmul(ops.one_hot(index, self.count, dtype=self.compute_dtype), self.table())
        return ops.take(self.table(), index, axis=0)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output."""
        return (input_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        """What the layer is made from."""
        made = {"count": self.count, "factors": self.factors, "units": self.units, "limit": self.limit}
        return {**super().get_config(), **made}
