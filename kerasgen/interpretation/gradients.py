"""Gradients of a model's prediction by its sequence, compiled, on TensorFlow and JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasgen.interpretation.explainers import Attributions
from kerasgen.interpretation.targets import Target, check_values
from kerasgen.prediction.predict import outputs_of

Forward = Callable[[Any, Sequence[Any], Any], tuple[Any, Any]]
"""``(rows, other inputs, held) -> (sum to differentiate, values of the rows)``."""


def gradient_of(forward: Forward) -> Callable[..., tuple[Any, Any]]:
    """Compile a function to one that gives the gradient of its sum by the rows, and the values of the rows."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Without AutoGraph, which rewrites errors to many lines.
        @tf.function(jit_compile=True, autograph=False)
        def run(rows: Any, more: Any, held: Any) -> tuple[Any, Any]:
            rows = tf.convert_to_tensor(rows)
            with tf.GradientTape() as tape:
                tape.watch(rows)
                total, values = forward(rows, more, held)
            return tape.gradient(total, rows), values

        # Every model and target has a function of its own, which TensorFlow takes for one traced again and again.
        run._omit_frequent_tracing_warning = True
        return run
    if keras.backend.backend() == "jax":
        import jax

        def gradient(rows: Any, more: Any, held: Any) -> tuple[Any, Any]:
            (_, values), found = jax.value_and_grad(forward, has_aux=True)(rows, more, held)
            return found, values

        return jax.jit(gradient)
    raise NotImplementedError(f"gradients are taken on TensorFlow and JAX, not on {keras.backend.backend()}")


def values_of(model: keras.Model, target: Target, rows: Any, more: Sequence[Any], held: Any) -> Any:
    """The target's values of rows, from tensors: ``(rows,)``."""
    outputs = keras.tree.flatten(model([rows, *more] if more else rows, training=False))
    return check_values(target.value(outputs, held))


class GradientTimesInput:
    """The gradient at the sequence times the sequence: exact for a linear model, first order for any other.

    ``difference`` is the prediction minus that of a sequence of zeros, or minus the mean prediction of references; with
    references, a hypothetical score is the gradient less its mean over them, as if the model were linear.

    Args:
        model: its first input is the sequence; other inputs are held fixed.
        target: what is explained.
        batch_size: examples per batch.
        n_references: references per example, where there are any.
    """

    complete = False
    references = None
    batch_size = 64
    one_size = True

    def __init__(self, model: keras.Model, target: Target, *, batch_size: int, n_references: int) -> None:
        self.model, self.target, self.batch_size = model, target, batch_size

        def forward(rows: Any, more: Sequence[Any], held: Any) -> tuple[Any, Any]:
            values = values_of(model, target, rows, more, held)
            return ops.sum(values), values

        self._gradient = gradient_of(forward)

    def __call__(self, X: np.ndarray, others: Sequence[np.ndarray], references: np.ndarray | None) -> Attributions:
        """See :class:`kerasgen.interpretation.explainers.Explainer`."""
        held = self.target.held_of(self.model, (X, *others))
        gradient, values = (np.asarray(a) for a in self._gradient(X, list(others), _or_nothing(held, len(X))))
        baseline = np.zeros_like(X)[:, None] if references is None else references
        hypothetical = gradient - (gradient * baseline.mean(axis=1)).sum(axis=-1, keepdims=True)
        attributions = hypothetical * X
        count = baseline.shape[1]
        outputs = outputs_of(
            self.model,
            (baseline.reshape(-1, *X.shape[1:]), *(np.repeat(x, count, axis=0) for x in others)),
            self.batch_size,
        )
        base = self.target.of(outputs, None if held is None else np.repeat(held, count, axis=0))
        difference = values.astype(np.float64) - base.reshape(len(X), count).mean(axis=1)
        delta = attributions.astype(np.float64).sum(axis=(1, 2)) - difference
        return Attributions(attributions, hypothetical, delta, difference)


def _or_nothing(held: np.ndarray | None, rows: int) -> np.ndarray:
    """Something to hold where a target holds nothing, for one signature of the compiled function."""
    return np.zeros((rows, 1), np.float32) if held is None else held
