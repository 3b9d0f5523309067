"""DeepLIFT's rules by class of layer: what stands for the gradient of a nonlinearity while a model is explained.

A batch holds examples and, after them, the references of each. A rule gives the multipliers of one layer: numbers that,
times the differences of its inputs between example and reference, add up to the differences of its outputs times their
own multipliers. Where every layer keeps that, contributions add up to the difference in the prediction.

Example:
    >>> rules.register(MyActivationLayer, rules.elementwise)                                    # doctest: +SKIP
    >>> kerasgen.attribute(model, X, target="counts", rules={MyScaling: rules.linear})          # doctest: +SKIP

References:
    Shrikumar et al. 2017, ICML (the rescale rule). Max-pooling is that of ``shap.DeepExplainer``. Softmax is taken
    apart as ``exp(x - log(sum(exp(x))))``, to each step of which the rescale rule applies.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from architectures.layers import LogSumExp

_SAME = 1e-6
"""Difference of inputs below which the rescale rule's ratio is the plain gradient, as in shap."""

Function = Callable[..., Any]


class Rows(NamedTuple):
    """Rows of a batch: the examples, then the references of the first example, those of the second, and so on.

    Args:
        examples: number of examples.
        references: number of references per example.
    """

    examples: int
    references: int


class Pair(NamedTuple):
    """Tensors of the references, each beside those of its example.

    Args:
        x, x0: inputs of the example and of the reference, ``(examples * references, ...)``.
        y, y0: the outputs.
    """

    x: Any
    x0: Any
    y: Any
    y0: Any


Multiplier = Callable[[Function, Pair, Any], Any]
"""``(function, pair, multipliers of the outputs) -> multipliers of the inputs``."""

Rule = Callable[[Any, Rows], Mapping[str, Function]]
"""``(layer, rows) -> {attribute of the layer: function}``: what takes the attribute's place while it is explained."""


def replaced(function: Function, rows: Rows, multiplier: Multiplier) -> Function:
    """A function of one tensor with the same values and a multiplier in place of its gradient."""

    def spread(x: Any) -> Any:
        return ops.repeat(x[: rows.examples], rows.references, axis=0)

    @ops.custom_gradient
    def result(x: Any) -> Any:
        y = function(x)

        def gradient(*args: Any, upstream: Any = None, variables: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            pair = Pair(spread(x), x[rows.examples :], spread(y), y[rows.examples :])
            multipliers = multiplier(function, pair, upstream[rows.examples :])
            multipliers = ops.concatenate([ops.zeros_like(x[: rows.examples]), multipliers], axis=0)
            # TensorFlow asks for the gradients of variables that the function reads; nobody uses them.
            return multipliers if variables is None else (multipliers, [None] * len(variables))

        return y, gradient

    return result


def rescale(function: Function, pair: Pair, upstream: Any) -> Any:
    """Multipliers of an elementwise function: its slope between example and reference."""
    delta = pair.x - pair.x0
    far = ops.abs(delta) > _SAME
    slope = ops.where(
        far,
        (pair.y - pair.y0) / ops.where(far, delta, ops.ones_like(delta)),
        _vjp(function, pair.x0, ops.ones_like(pair.x0)),
    )
    return upstream * slope


def max_pooling(function: Function, pair: Pair, upstream: Any) -> Any:
    """Multipliers of a maximum: the larger one of example and reference takes the whole difference at its place."""
    difference = pair.y - pair.y0
    nothing = ops.zeros_like(difference)
    share = _vjp(function, pair.x, ops.where(difference > 0, upstream * difference, nothing)) + _vjp(
        function, pair.x0, ops.where(difference < 0, upstream * difference, nothing)
    )
    delta = pair.x - pair.x0
    differs = delta != 0
    # Where neither the input nor the maximum differs, the limit is the plain gradient.
    plain = _vjp(function, pair.x0, ops.where(difference == 0, upstream, nothing))
    return ops.where(differs, share / ops.where(differs, delta, ops.ones_like(delta)), plain)


def log_sum_exp(axis: Any, keepdims: bool) -> Multiplier:
    """The rule of ``log(sum(exp(x)))`` over an axis, by the rescale rule of each of its steps."""

    def multiplier(function: Function, pair: Pair, upstream: Any) -> Any:
        upstream = upstream if keepdims else ops.expand_dims(upstream, axis)
        return upstream * _weights_of_sum(pair, axis)

    return multiplier


def log_softmax(axis: Any = -1) -> Multiplier:
    """The rule of ``x - log(sum(exp(x)))``."""

    def multiplier(function: Function, pair: Pair, upstream: Any) -> Any:
        return upstream - _weights_of_sum(pair, axis) * ops.sum(upstream, axis=axis, keepdims=True)

    return multiplier


def softmax(axis: Any = -1) -> Multiplier:
    """The rule of ``exp(x - log(sum(exp(x))))``: multipliers stay bounded, whatever the logits."""

    def multiplier(function: Function, pair: Pair, upstream: Any) -> Any:
        logs = [x - ops.logsumexp(x, axis=axis, keepdims=True) for x in (pair.x, pair.x0)]
        return log_softmax(axis)(function, pair, upstream * ops.exp(_log_mean(*logs)))

    return multiplier


def _weights_of_sum(pair: Pair, axis: Any) -> Any:
    """Slope of ``log(sum(exp(x)))`` by each term: ratio of the logarithmic means of the term and of the sum."""
    totals = [ops.logsumexp(x, axis=axis, keepdims=True) for x in (pair.x, pair.x0)]
    return ops.exp(_log_mean(pair.x, pair.x0) - _log_mean(*totals))


def _log_mean(a: Any, b: Any) -> Any:
    """Logarithm of the logarithmic mean of ``exp(a)`` and ``exp(b)``: the slope of ``exp`` between ``a`` and ``b``."""
    delta = ops.abs(a - b)
    far = delta > _SAME
    safe = ops.where(far, delta, ops.ones_like(delta))
    return ops.maximum(a, b) + ops.where(far, ops.log(-ops.expm1(-safe) / safe), -delta / 2)


def linear(layer: Any, rows: Rows) -> Mapping[str, Function]:
    """The rule of a layer that is linear in what varies: its gradient is exact."""
    return {}


def elementwise(layer: Any, rows: Rows) -> Mapping[str, Function]:
    """The rule of a layer that maps each number by itself, by the rescale rule."""
    return {"call": replaced(layer.call, rows, rescale)}


def max_pooled(layer: Any, rows: Rows) -> Mapping[str, Function]:
    """The rule of a layer that takes maxima."""
    return {"call": replaced(layer.call, rows, max_pooling)}


def activations(layer: Any, rows: Rows) -> Mapping[str, Function]:
    """The rule of a layer that is linear but for its activations: the rule of each of these."""
    replacements = {}
    for name in ("activation", "recurrent_activation"):
        function = getattr(layer, name, None)
        # An activation that is a layer has its own rule.
        if callable(function) and function not in _IDENTITIES and not isinstance(function, layers.Layer):
            multiplier = _multiplier_of(function)
            if multiplier is not None:
                replacements[name] = replaced(function, rows, multiplier)
    return replacements


def _multiplier_of(function: Function) -> Multiplier | None:
    if function in ACTIVATIONS:
        return ACTIVATIONS[function]
    return rescale if _is_elementwise(function) else None


@functools.cache
def _is_elementwise(function: Function) -> bool:
    """Whether each number of an activation's output is a function of its own number alone, tried on a few."""
    if getattr(function, "__module__", "").startswith("keras."):
        return True
    x = np.random.default_rng(0).uniform(0.1, 0.9, (2, 4, 4)).astype(np.float32)
    changed = x.copy()
    changed[1, 2, 3] += 0.5
    try:
        before, after = (ops.convert_to_numpy(function(ops.convert_to_tensor(a))) for a in (x, changed))
    except (TypeError, ValueError):
        return False
    return before.shape == x.shape and bool(((before == after) | (changed != x)).all())


def _softmax_layer(layer: Any, rows: Rows) -> Mapping[str, Function]:
    plain = layer.call

    def call(inputs: Any, mask: Any = None) -> Any:
        function = plain if mask is None else lambda x: plain(x, mask=mask)
        return replaced(function, rows, softmax(layer.axis))(inputs)

    return {"call": call}


def _log_sum_exp_layer(layer: Any, rows: Rows) -> Mapping[str, Function]:
    return {"call": replaced(layer.call, rows, log_sum_exp(-1, True))}


def _adaptive(kind: str) -> list[type]:
    """Keras' adaptive poolings, which it has from 3.13 on."""
    names = [f"Adaptive{kind}Pooling{dimensions}D" for dimensions in (1, 2, 3)]
    return [getattr(layers, name) for name in names if hasattr(layers, name)]


_IDENTITIES = (keras.activations.linear, None)

ACTIVATIONS: dict[Function, Multiplier | None] = {
    keras.activations.softmax: softmax(),
    keras.activations.log_softmax: log_softmax(),
    ops.softmax: softmax(),
    ops.log_softmax: log_softmax(),
    keras.activations.glu: None,
    keras.activations.sparsemax: None,
}
"""Multipliers of the activations that mix numbers, None where no rule is known; all others are elementwise."""

RULES: dict[type, Rule] = {
    LogSumExp: _log_sum_exp_layer,
    layers.Softmax: _softmax_layer,
    **dict.fromkeys((layers.ReLU, layers.LeakyReLU, layers.ELU, layers.PReLU), elementwise),
    **dict.fromkeys(
        (
            layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D,
            layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D,
            *_adaptive("Max"),
        ),
        max_pooled,
    ),
    **dict.fromkeys(
        (
            layers.Activation, layers.Dense, layers.EinsumDense,
            layers.Conv1D, layers.Conv2D, layers.Conv3D,
            layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose,
            layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.SeparableConv1D, layers.SeparableConv2D,
        ),
        activations,
    ),
    **dict.fromkeys(
        (
            layers.InputLayer, layers.Identity,
            layers.Add, layers.Subtract, layers.Average, layers.Concatenate,
            layers.Flatten, layers.Reshape, layers.Permute, layers.RepeatVector,
            layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D,
            layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D,
            *_adaptive("Average"),
            # What it gives each step to has a rule of its own.
            layers.TimeDistributed,
            layers.Cropping1D, layers.Cropping2D, layers.Cropping3D,
            layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D,
            layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D,
            layers.BatchNormalization, layers.Normalization, layers.Rescaling,
            layers.Dropout, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise,
            layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D,
            layers.ActivityRegularization,
        ),
        linear,
    ),
}  # fmt: skip
"""Rule by class of layer; a class derived from one has its rule unless it has a ``call`` of its own."""


def register(layer: type, rule: Rule) -> None:
    """Give a class of layers a rule, for all models explained from now on; one that it had gives way."""
    RULES[layer] = rule


def rule_of(layer: Any, more: Mapping[type, Rule] | None = None) -> Rule | None:
    """The rule of a layer, None where none is known.

    Args:
        layer: a Keras layer, or an operation on its own in a functional model.
        more: rules by class that go before those of :data:`RULES`.
    """
    for known in (more or {}, RULES):
        for kind in type(layer).__mro__:
            if kind in known and _calls_like(type(layer), kind):
                rule = known[kind]
                return None if rule is activations and _has_unknown_activation(layer) else rule
    return None


def name_of(layer: Any) -> str:
    """What to call a layer without a rule: its class, and its activation where that is to blame."""
    name = type(layer).__name__
    known = any(kind in RULES and _calls_like(type(layer), kind) for kind in type(layer).__mro__)
    if not known:
        return name
    return f"{name} ({getattr(layer.activation, '__name__', layer.activation)})"


def _calls_like(kind: type, base: type) -> bool:
    return kind is base or getattr(kind, "call", None) is getattr(base, "call", None)


def _has_unknown_activation(layer: Any) -> bool:
    function = getattr(layer, "activation", None)
    return callable(function) and not isinstance(function, layers.Layer) and _multiplier_of(function) is None


def _vjp(function: Function, x: Any, upstream: Any) -> Any:
    """Gradient of a function at ``x`` from the gradient at its output."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x, output_gradients=upstream)
    import jax

    return jax.vjp(function, x)[1](upstream)[0]
