"""Layers of learned factors."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


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
