"""Rules of what a functional model computes without a layer, as ``keras.ops.exp(x)`` in place of ``Activation``."""

from __future__ import annotations

from typing import Any

import keras

from kerasgen.interpretation import rules

_LINEAR = frozenset(
    (
        "Add", "Subtract", "Negative", "Average", "Cast", "Identity", "Reshape", "Transpose", "Moveaxis",
        "Swapaxes", "Squeeze", "ExpandDims", "Flip", "GetItem", "Slice", "Split", "Concatenate", "Stack", "Pad",
        "Repeat", "Tile", "Roll", "BroadcastTo", "Take", "Sum", "Mean", "Conv", "DepthwiseConv", "SeparableConv",
        "ConvTranspose", "AveragePool", "StopGradient", "Ravel", "Copy", "Cumsum",
    )
)  # fmt: skip
_PRODUCTS = frozenset(
    (
        "Multiply", "Matmul", "Einsum", "Dot", "Tensordot",
    )
)  # fmt: skip
"""Linear where one of the factors is a constant."""

_QUOTIENTS = frozenset(("Divide", "TrueDivide"))
"""Linear where what they divide by is a constant."""

_ELEMENTWISE = frozenset(
    (
        "Exp", "Exp2", "Expm1", "Log", "Log2", "Log10", "Log1p", "Sqrt", "Rsqrt", "Square", "Abs", "Absolute",
        "Reciprocal", "Sin", "Cos", "Tanh", "Sinh", "Cosh", "Arctan", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu",
        "Celu", "Gelu", "Silu", "Softplus", "Softsign", "SoftShrink", "HardShrink", "TanhShrink", "Sigmoid",
        "LogSigmoid", "HardSigmoid", "HardSilu", "HardTanh", "SquarePlus", "SparsePlus", "Erf", "Clip", "Threshold",
    )
)  # fmt: skip


def rule_of(operation: Any) -> rules.Rule | None:
    """The rule of an operation of Keras that is no layer, None where none is known."""
    if isinstance(operation, keras.layers.Layer) or not type(operation).__module__.startswith("keras."):
        return None
    name, tensors = type(operation).__name__, _tensors(operation)
    if name in _LINEAR:
        return rules.linear
    if name in _PRODUCTS and tensors == 1:
        return rules.linear
    if name in _QUOTIENTS and not _has_tensor_after_the_first(operation):
        return rules.linear
    if name in _ELEMENTWISE and tensors == 1:
        return rules.elementwise
    if name == "MaxPool":
        return rules.max_pooled
    if name in ("Softmax", "LogSoftmax"):
        multiplier = rules.softmax if name == "Softmax" else rules.log_softmax
        return lambda layer, rows: {"call": rules.replaced(layer.call, rows, multiplier(layer.axis))}
    if name == "Logsumexp":
        return lambda layer, rows: {
            "call": rules.replaced(layer.call, rows, rules.log_sum_exp(layer.axis, layer.keepdims))
        }
    return None


def _has_tensor_after_the_first(operation: Any) -> bool:
    """Whether any call of the operation takes more than its first argument from the graph."""
    return any(
        isinstance(leaf, keras.KerasTensor)
        for node in operation._inbound_nodes
        for leaf in keras.tree.flatten([node.arguments.args[1:], node.arguments.kwargs])
    )


def _tensors(operation: Any) -> int:
    """Most tensors that a call of the operation takes."""
    return max((len(node.input_tensors) for node in operation._inbound_nodes), default=1)
