"""Loss of label heads; a label that is ambiguous (NaN or below 0) adds nothing."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.objectives.masked import MaskedLoss


@keras.saving.register_keras_serializable(package="kerasgen")
class MaskedBinaryCrossentropy(MaskedLoss):
    """Binary cross-entropy of the labels that are known: ``log(1 + exp(z)) - y z``.

    Labels are 0 and 1, or shares between. NaN is a label that is not known; so is a number below 0, as -1 marks
    ambiguous labels in files of kerasAC.

    Shapes: labels ``y`` and logits ``z``, the logarithms of the odds, ``(batch, channels)`` or ``(batch, bins,
    channels)``; the mean over the labels of a sample that are known and over the batch, in nats per label.
    """

    def __init__(self, name: str = "masked_binary_crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def known(self, y_true: Any) -> Any:
        """Which labels are known; a comparison with NaN is false."""
        return ops.greater_equal(y_true, 0)

    def each(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each label."""
        return ops.softplus(y_pred) - y_true * y_pred
