"""Heads that families share: what stands between a trunk and an output.

A trunk is ``(batch, positions, filters)``; a head makes one output of it. Every head is linear in what it pools from
the trunk, and its output is on the scale that its losses expect: logits of a profile and of labels, logarithms of
counts per window and per bin. Build heads under :func:`architectures.layers.full_precision`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import layers

from architectures.layers import LogSumExp, log

KINDS = ("profile", "counts", "binned", "labels", "values")


class OutputShape(tuple[int, ...]):
    """Shape of one sample of an output, which also says what the output is; else a tuple like any other.

    Args:
        shape: ``(positions, channels)`` or ``(channels,)``.
        kind: one of :data:`KINDS`; by default a profile where there are positions, else counts.
        bin: bp per position of outputs that have bins.
    """

    kind: str
    bin: int

    def __new__(cls, shape: Iterable[int], kind: str | None = None, bin: int | None = None) -> OutputShape:
        """Make the tuple; raises ValueError for a kind that there is not."""
        made = super().__new__(cls, shape)
        known = shape if isinstance(shape, OutputShape) else None
        usual = known.kind if known else "profile" if len(made) == 2 else "counts"
        made.kind = kind or usual
        made.bin = bin or (known.bin if known else 1)
        if made.kind not in KINDS:
            raise ValueError(f"kind {made.kind!r} of an output; expected one of {', '.join(KINDS)}")
        return made


def cropped(x: Any, length: int, name: str) -> Any:
    """The middle ``length`` positions of ``(batch, positions, channels)``."""
    surplus = x.shape[1] - length
    if surplus < 0:
        raise ValueError(f"{x.shape[1]} positions of the trunk do not cover the {length} of the output {name!r}")
    return layers.Cropping1D((surplus // 2, surplus - surplus // 2), name=name)(x)


def at_positions(x: Any, channels: int, length: int, *, kernel_size: int, padding: str, name: str, last: str) -> Any:
    """A wide convolution of the trunk, named ``name``, cropped to the output window by a layer named ``last``.

    Returns:
        ``(batch, length, channels)``.
    """
    x = layers.Conv1D(channels, kernel_size, padding=padding, name=name)(x)
    return cropped(x, length, last)


def profile(
    x: Any, channels: int, length: int, *, control: Any = None, kernel_size: int = 75, padding: str = "valid"
) -> Any:
    """Logits of counts at each base: ``profile_predictions (batch, length, channels)``.

    Args:
        x: trunk with one position per base.
        channels, length: of the output.
        control: ``(batch, length, channels)`` of a control experiment, or None.
        kernel_size, padding: of the convolution.
    """
    last = "profile_predictions" if control is None else "profile_crop"
    x = at_positions(x, channels, length, kernel_size=kernel_size, padding=padding, name="profile_conv", last=last)
    if control is None:
        return x
    x = layers.Concatenate(name="profile_with_control")([x, control])
    return layers.Conv1D(channels, 1, name="profile_predictions")(x)


def counts(x: Any, channels: int, name: str = "logcount_predictions", *, dropout: float = 0.0) -> Any:
    """Logarithms of counts per window, from the mean of the trunk: ``(batch, channels)``.

    Args:
        x: trunk.
        channels: of the output.
        name: of the last layer.
        dropout: share of pooled channels dropped.
    """
    return _dense(layers.GlobalAveragePooling1D(name="pool")(x), channels, name, dropout, "counts_dropout")


def counts_from_rates(x: Any, name: str) -> Any:
    """The logarithm of the mean of exponentials over positions: ``(batch, channels)``."""
    # Elementwise activations around the mean, so that DeepLIFT's rescale rule applies to each.
    rates = layers.Activation("exponential", name="rates")(x)
    return layers.Activation(log, name=name)(layers.GlobalAveragePooling1D(name="mean_rate")(rates))


def counts_with_control(x: Any, control: Any, channels: int, *, pooling: str = "logsumexp") -> Any:
    """Log counts in view of those of a control experiment: ``logcount_predictions (batch, channels)``.

    Args:
        x: ``(batch, channels)`` log counts.
        control: ``(batch, controls)`` log counts of the control.
        channels: of the output.
        pooling: ``logsumexp`` takes the control's total, ``none`` each of its channels.
    """
    if pooling == "logsumexp":
        control = LogSumExp(name="control_total")(control)
    x = layers.Concatenate(name="counts_with_control")([x, control])
    return layers.Dense(channels, name="logcount_predictions")(x)


def binned(
    x: Any, channels: int, bins: int, *, pool_size: int, dropout: float = 0.0, name: str = "binned_predictions"
) -> Any:
    """Logarithms of counts per bin, or logits of labels per bin: ``(batch, bins, channels)``.

    Args:
        x: trunk, whose middle ``bins * pool_size`` positions the bins cover.
        channels, bins: of the output.
        pool_size: positions of the trunk per bin.
        dropout: share of pooled channels dropped, whole along the bins.
        name: of the last layer.
    """
    x = layers.AveragePooling1D(pool_size, name="binned_pool")(cropped(x, bins * pool_size, "binned_crop"))
    if dropout:
        x = layers.SpatialDropout1D(dropout, name="binned_dropout")(x)
    return layers.Conv1D(channels, 1, name=name)(x)


def classification(x: Any, channels: int, *, dropout: float = 0.0, name: str = "label_predictions") -> Any:
    """Logits of labels per window, from the mean of the trunk: ``(batch, channels)``.

    Args:
        x: trunk.
        channels: of the output.
        dropout: share of pooled channels dropped.
        name: of the last layer.
    """
    return _dense(layers.GlobalAveragePooling1D(name="label_pool")(x), channels, name, dropout, "label_dropout")


def _dense(x: keras.KerasTensor, channels: int, name: str, dropout: float, dropout_name: str) -> Any:
    if dropout:
        x = layers.Dropout(dropout, name=dropout_name)(x)
    return layers.Dense(channels, name=name)(x)
