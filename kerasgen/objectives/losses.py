"""Losses of profile and count heads; a task without data (NaN) adds nothing."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasgen")
class MultinomialNLL(keras.losses.Loss):
    """Negative log likelihood of each task's counts under a multinomial over positions, summed over tasks.

    ``-sum_l y[l] * log_softmax(logits)[l]``, the multinomial coefficient left out: it depends on the labels alone.
    A task without counts adds 0, one with a NaN label is left out.

    Shapes: labels and logits ``(batch, length, tasks)``; the loss is the mean over the batch, in nats a sample.

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


@keras.saving.register_keras_serializable(package="kerasgen")
class MaskedMSE(keras.losses.Loss):
    """Mean squared error over the tasks that have a label (not NaN); 0 for a sample without any.

    Shapes: labels and predictions ``(batch, tasks)`` or ``(batch, length, tasks)``; the mean over the batch.
    """

    def __init__(self, name: str = "masked_mse", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each sample, ``(batch,)``."""
        y_true = ops.cast(y_true, y_pred.dtype)
        known = ops.logical_not(ops.isnan(y_true))
        error = ops.where(known, y_true, y_pred) - y_pred
        axes = tuple(range(1, len(y_pred.shape)))
        number = ops.sum(ops.cast(known, y_pred.dtype), axis=axes)
        return ops.sum(error * error, axis=axes) / ops.maximum(number, 1.0)
