"""Loss of profile heads; a channel without data (NaN) adds nothing."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasgen")
class MultinomialNLL(keras.losses.Loss):
    """Negative log likelihood of each channel's counts under a multinomial over positions, summed over channels.

    ``-sum_l y[l] * log_softmax(logits)[l]``, the multinomial coefficient left out: it depends on the labels alone.
    A channel without counts adds 0, one with a NaN label is left out.

    Shapes: labels and logits ``(batch, length, channels)``; the loss is the mean over the batch, in nats per sample.

    Reference: Avsec et al. 2021, Nature Genetics 53:354 (BPNet).
    """

    def __init__(self, name: str = "multinomial_nll", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each sample, ``(batch,)``."""
        y_true = ops.cast(y_true, y_pred.dtype)
        known = ops.logical_not(ops.any(ops.isnan(y_true), axis=1, keepdims=True))
        counts = ops.where(known, y_true, ops.zeros_like(y_true))
        return -ops.sum(counts * ops.log_softmax(y_pred, axis=1), axis=(1, 2))
