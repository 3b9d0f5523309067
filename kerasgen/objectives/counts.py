"""Likelihoods of counts, per window or per bin; a count that is not known (NaN) adds nothing.

The model's output is the natural logarithm of the expected count, so that any number is a valid output, effects
multiply as they do in sequencing data, and the gradient is the plain difference of expected and observed counts. Terms
that depend on the labels alone are left out of a loss, as in every likelihood of this package.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.objectives.masked import MaskedLoss


@keras.saving.register_keras_serializable(package="kerasgen")
class PoissonNLL(MaskedLoss):
    """Negative log likelihood of counts under Poisson distributions: ``exp(z) - y z``, ``log(y!)`` left out.

    Shapes: counts ``y`` and outputs ``z``, the logarithms of the expected counts, ``(batch, channels)`` or ``(batch,
    bins, channels)``; the mean over the labels of a sample that are known and over the batch, in nats per label.
    """

    def __init__(self, name: str = "poisson_nll", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def each(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each count."""
        return ops.exp(y_pred) - y_true * y_pred


@keras.saving.register_keras_serializable(package="kerasgen")
class NegativeBinomialNLL(MaskedLoss):
    """Negative log likelihood of counts under negative binomials of one dispersion, whose variance is ``m + d m²``.

    ``(y + 1/d) log(1 + d exp(z)) - y z``; terms without ``z`` are left out. The dispersion ``d`` is a setting and is
    not learned: for any fixed ``d`` the expectation is estimated consistently, whatever the true variance is (a linear
    exponential family: Gourieroux, Monfort and Trognon 1984, Econometrica 52:681), and the model keeps one output per
    count. ``d`` decides how much windows with many counts weigh against those with few: as ``d`` falls to 0 the loss
    becomes :class:`PoissonNLL`.

    Shapes: counts ``y`` and outputs ``z``, the logarithms of the expected counts ``m``, ``(batch, channels)`` or
    ``(batch, bins, channels)``; the mean over the labels of a sample that are known and over the batch, in nats per
    label.

    Args:
        dispersion: ``d``; 0.25, the default, is a standard deviation of half the expectation beyond counting noise.
    """

    def __init__(self, dispersion: float = 0.25, name: str = "negative_binomial_nll", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if not dispersion > 0:
            raise ValueError(f"dispersion {dispersion}; expected a number above 0")
        self.dispersion = dispersion

    def each(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each count."""
        dispersion = ops.cast(self.dispersion, y_pred.dtype)
        # log(1 + d exp(z)), which softplus keeps finite and exact for any z.
        return (y_true + 1 / dispersion) * ops.softplus(y_pred + ops.log(dispersion)) - y_true * y_pred

    def get_config(self) -> dict[str, Any]:
        """What the loss is made from."""
        return {**super().get_config(), "dispersion": self.dispersion}
