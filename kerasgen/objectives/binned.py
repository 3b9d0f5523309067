"""Likelihood of counts in bins as a total and its shares; a channel with a bin that is not known (NaN) adds nothing."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasgen")
class PoissonMultinomialNLL(keras.losses.Loss):
    """Poisson likelihood of the counts of all bins, taken apart into that of their total and that of their shares.

    Independent Poisson counts are a Poisson total shared out by a multinomial. Weighing the total down lets a model
    attend to where counts lie more than to how many there are. ``w (M - Y z_M) - sum_b y[b] log_softmax(z)[b]``, where
    ``z_M`` is the logarithm of ``M = sum_b exp(z[b])`` and ``Y = sum_b y[b]``, divided by the number of bins; with
    ``w`` = 1 it is the mean of :class:`kerasgen.objectives.counts.PoissonNLL` over the bins.

    Shapes: counts ``y`` and outputs ``z``, the logarithms of the expected counts, ``(batch, bins, channels)``; the mean
    over the channels of a sample that are known and over the batch, in nats per bin.

    Args:
        total_weight: ``w``; 0.2, the default, is the reference's.

    Reference: Linder et al. 2025, Nature Genetics 57:949 (Borzoi).
    """

    def __init__(self, total_weight: float = 0.2, name: str = "poisson_multinomial_nll", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.total_weight = total_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each sample, ``(batch,)``."""
        y_true = ops.cast(y_true, y_pred.dtype)
        known = ops.logical_not(ops.any(ops.isnan(y_true), axis=1, keepdims=True))
        counts = ops.where(known, y_true, ops.zeros_like(y_true))
        outputs = ops.where(known, y_pred, ops.zeros_like(y_pred))
        log_total = ops.logsumexp(outputs, axis=1)
        total = ops.exp(log_total) - ops.sum(counts, axis=1) * log_total
        shares = -ops.sum(counts * ops.log_softmax(outputs, axis=1), axis=1)
        there = ops.cast(known[:, 0], y_pred.dtype)
        losses = there * (self.total_weight * total + shares) / y_pred.shape[1]
        return ops.sum(losses, axis=1) / ops.maximum(ops.sum(there, axis=1), 1.0)

    def get_config(self) -> dict[str, Any]:
        """What the loss is made from."""
        return {**super().get_config(), "total_weight": self.total_weight}
