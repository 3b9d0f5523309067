"""DeepLIFT's rescale rule on any Keras model, compiled, on TensorFlow and JAX.

A batch holds an example and its references. Every nonlinearity is given a gradient that is the ratio of the difference
in its output to the difference in its input between the example and a reference, so that one backward pass over
the references gives DeepLIFT's multipliers. The rows of the example serve all its references: ``1 + references`` rows
go through the model instead of two for each pair.

References:
    Shrikumar et al. 2017, ICML (DeepLIFT, the rescale rule); Lundberg and Lee 2017, NeurIPS (DeepSHAP: the mean over
    references). The sums agree with ``shap.DeepExplainer``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

log = logging.getLogger("kerasgen")

_SAME = 1e-6
"""Difference of inputs below which the rescale rule's ratio is the plain gradient, as in shap."""

_LINEAR = {"linear", None}
_NONLINEAR_LAYERS = (
    "Multiply", "Dot", "Maximum", "Minimum", "Softmax", "LayerNormalization", "GroupNormalization", "UnitNormalization",
    "MultiHeadAttention", "Attention", "AdditiveAttention", "LSTM", "GRU", "SimpleRNN", "Bidirectional",
    "MaxPooling1D", "MaxPooling2D", "GlobalMaxPooling1D",
)  # fmt: skip

Target = Callable[[Sequence[Any], Any], Any]
"""``(outputs of rows, weights of rows) -> (rows,)``: what is explained, linear in the outputs."""


class Attribution(NamedTuple):
    """Attributions of one batch of examples.

    Args:
        multipliers: ``(batch, references, length, 4) float32``.
        example, reference: ``(batch,)`` and ``(batch, references)``, the target's values.
    """

    multipliers: np.ndarray
    example: np.ndarray
    reference: np.ndarray


def counts_target(output: int, task: int | None) -> Target:
    """Log counts of one channel, or their sum over channels; where there are bins, their sum over bins.

    Of labels, the same of their logits.
    """

    def target(outputs: Sequence[Any], weights: Any) -> Any:
        found = outputs[output] if task is None else outputs[output][..., task : task + 1]
        return ops.sum(found, axis=tuple(range(1, len(found.shape))))

    return target


def profile_target(output: int) -> Target:
    """Mean-centred logits weighted by the example's softmax, summed over positions and the channels weighted.

    ``weights`` are ``(rows, length, tasks)``: the example's softmax, the same for the example and its references, 0 in
    the channels not explained. They are held fixed, so that what is explained is linear in the logits.
    """

    def target(outputs: Sequence[Any], weights: Any) -> Any:
        logits = outputs[output]
        centred = logits - ops.mean(logits, axis=1, keepdims=True)
        return ops.sum(centred * weights, axis=(1, 2))

    return target


def profile_weights(logits: np.ndarray, task: int | None) -> np.ndarray:
    """Softmax over positions of ``(batch, length, tasks)`` logits, 0 in all channels but ``task`` (None: keep all)."""
    from scipy.special import softmax

    weights = softmax(logits.astype(np.float64), axis=1).astype(np.float32)
    if task is not None:
        others = np.arange(weights.shape[-1]) != task
        weights[:, :, others] = 0
    return weights


class DeepLift:
    """Explains one model; the compiled function is kept for batches of one shape.

    Args:
        model: its first input is the sequence, ``(batch, length, 4)``; other inputs are held fixed.
        target: what is explained.
        references: references an example.

    Layers whose nonlinearity is not an elementwise activation get their plain gradient, which a warning names; how far
    that is from complete shows in :func:`completeness`.
    """

    def __init__(self, model: keras.Model, target: Target, references: int) -> None:
        self.model, self.target, self.references = model, target, references
        self._compiled: Any = None
        odd = sorted({type(layer).__name__ for layer in _flat_layers(model)} & set(_NONLINEAR_LAYERS))
        if odd:
            log.warning(
                "warning: %s have no rescale rule and get their plain gradient; see the completeness deltas",
                ", ".join(odd),
            )

    def __call__(
        self, sequence: np.ndarray, references: np.ndarray, others: Sequence[np.ndarray] = (), weights: Any = None
    ) -> Attribution:
        """Attribute the target to the sequence.

        Args:
            sequence: ``(batch, length, 4) float32``.
            references: ``(batch, references, length, 4) float32``.
            others: the model's other inputs, ``(batch, ...)``.
            weights: for the target, ``(batch, ...)``.
        """
        batch, count = references.shape[:2]
        rows = np.concatenate([sequence, references.reshape(batch * count, *references.shape[2:])])
        more = [np.concatenate([x, np.repeat(x, count, axis=0)]) for x in others]
        if weights is None:
            weights = np.zeros((batch, 1), np.float32)
        spread = np.concatenate([weights, np.repeat(weights, count, axis=0)])
        if self._compiled is None:
            self._compiled = self._compile(batch)
        multipliers, values = self._compiled(rows, more, spread)
        multipliers, values = np.asarray(multipliers), np.asarray(values)
        return Attribution(
            multipliers[batch:].reshape(references.shape), values[:batch], values[batch:].reshape(batch, count)
        )

    def _compile(self, batch: int) -> Callable[..., Any]:
        def forward(rows: Any, more: Sequence[Any], weights: Any) -> tuple[Any, Any]:
            inputs = [rows, *more] if more else rows
            with _rescaled(self.model, batch, self.references):
                outputs = self.model(inputs, training=False)
            outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            values = self.target(outputs, weights)
            return ops.sum(values[batch:]), values

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            @tf.function(jit_compile=True)
            def run(rows: Any, more: Any, weights: Any) -> tuple[Any, Any]:
                rows = tf.convert_to_tensor(rows)
                with tf.GradientTape() as tape:
                    tape.watch(rows)
                    total, values = forward(rows, more, weights)
                return tape.gradient(total, rows), values

            return run
        if keras.backend.backend() == "jax":
            import jax

            def gradient(rows: Any, more: Any, weights: Any) -> tuple[Any, Any]:
                (_, values), found = jax.value_and_grad(forward, has_aux=True)(rows, more, weights)
                return found, values

            return jax.jit(gradient)
        raise NotImplementedError(f"DeepLIFT runs on TensorFlow and JAX, not on {keras.backend.backend()}")


def completeness(attribution: Attribution, contributions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far contributions are from adding up.

    Args:
        attribution: of a batch.
        contributions: ``(batch, length, 4)``, mean over references of multiplier times difference from the reference.

    Returns:
        ``delta`` and ``difference``, ``(batch,)`` each: the sum of contributions minus the difference in the target
        between example and mean reference, and that difference.
    """
    difference = attribution.example.astype(np.float64) - attribution.reference.astype(np.float64).mean(axis=1)
    return contributions.astype(np.float64).sum(axis=(1, 2)) - difference, difference


def contributions(attribution: Attribution, sequence: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Mean over references of multiplier times difference, ``(batch, length, 4)``; what shap.DeepExplainer returns."""
    return (attribution.multipliers * (sequence[:, None] - references)).mean(axis=1)


def hypothetical(attribution: Attribution, references: np.ndarray) -> np.ndarray:
    """Contribution each base would make at each position, ``(batch, length, 4)``, mean over references.

    At the base that is there it equals the sum over bases of :func:`contributions`.
    """
    present = (attribution.multipliers * references).sum(axis=-1, keepdims=True)
    return (attribution.multipliers - present).mean(axis=1)


@contextmanager
def _rescaled(model: keras.Model, batch: int, references: int) -> Iterator[None]:
    """Give every elementwise activation of the model the rescale gradient while a function is traced."""
    changed = []
    try:
        for layer in _flat_layers(model):
            for name in ("activation", "recurrent_activation"):
                function = getattr(layer, name, None)
                if callable(function) and getattr(function, "__name__", "") not in (*_LINEAR, "softmax"):
                    changed.append((layer, name, function))
                    setattr(layer, name, _rescale(function, batch, references))
            if type(layer).__name__ in ("ReLU", "LeakyReLU", "ELU", "PReLU") and type(layer).__module__.startswith(
                "keras"
            ):
                changed.append((layer, "call", layer.call))
                layer.call = _rescale(layer.call, batch, references)
        yield
    finally:
        for layer, name, function in changed:
            if name == "call":
                del layer.call
            else:
                setattr(layer, name, function)


def _rescale(function: Callable[[Any], Any], batch: int, references: int) -> Callable[[Any], Any]:
    def spread(x: Any) -> Any:
        return ops.repeat(x, references, axis=0)

    @ops.custom_gradient
    def rescaled(x: Any) -> Any:
        y = function(x)

        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            # Of a nonlinearity that is elementwise, the slope between example and reference is the multiplier.
            delta_x = spread(x[:batch]) - x[batch:]
            delta_y = spread(y[:batch]) - y[batch:]
            far = ops.abs(delta_x) > _SAME
            slope = ops.where(
                far, delta_y / ops.where(far, delta_x, ops.ones_like(delta_x)), _local_slope(function, x[batch:])
            )
            return ops.concatenate([ops.zeros_like(x[:batch]), upstream[batch:] * slope], axis=0)

        return y, gradient

    return rescaled


def _local_slope(function: Callable[[Any], Any], x: Any) -> Any:
    """Derivative of an elementwise function at ``x``."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x)
    import jax

    return jax.vjp(function, x)[1](ops.ones_like(x))[0]


def _flat_layers(model: keras.Model) -> list[Any]:
    return [layer for layer in model._flatten_layers(include_self=False, recursive=True)]
