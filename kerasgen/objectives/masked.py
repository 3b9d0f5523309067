"""Losses over the labels that there are: a label that is not known (NaN) adds nothing."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class MaskedLoss(keras.losses.Loss):
    """Mean of a loss over the labels of a sample that are known; 0 for a sample without any.

    A loss is this with its own :meth:`each`.

    Shapes: labels and outputs ``(batch, channels)`` or ``(batch, positions, channels)``; the loss is the mean over the
    batch.
    """

    def known(self, y_true: Any) -> Any:
        """Which labels are known, ``bool`` of the labels' shape."""
        return ops.logical_not(ops.isnan(y_true))

    def each(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each label, of the labels' shape; labels that are not known are 0 here."""
        raise NotImplementedError

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each sample, ``(batch,)``."""
        y_true = ops.cast(y_true, y_pred.dtype)
        known = self.known(y_true)
        nothing = ops.zeros_like(y_pred)
        # An output without a label is taken out before the loss, whose gradient might not be a number there.
        losses = self.each(ops.where(known, y_true, nothing), ops.where(known, y_pred, nothing))
        axes = tuple(range(1, len(y_pred.shape)))
        number = ops.sum(ops.cast(known, y_pred.dtype), axis=axes)
        return ops.sum(ops.where(known, losses, nothing), axis=axes) / ops.maximum(number, 1.0)


@keras.saving.register_keras_serializable(package="kerasgen")
class MaskedMSE(MaskedLoss):
    """Mean squared error over the channels that have a label (not NaN); 0 for a sample without any.

    Shapes: labels and predictions ``(batch, channels)`` or ``(batch, positions, channels)``; the mean over the batch.
    """

    def __init__(self, name: str = "masked_mse", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def each(self, y_true: Any, y_pred: Any) -> Any:
        """Squared errors."""
        return (y_true - y_pred) * (y_true - y_pred)
