"""What an explainer is, and the table of those there are."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from db_ingest.errors import InputError

if TYPE_CHECKING:
    import keras

    from kerasgen.interpretation.targets import Target

METHODS = {
    "deepshap": "kerasgen.interpretation.deeplift:DeepShap",
    "gradient_x_input": "kerasgen.interpretation.gradients:GradientTimesInput",
    "ism": "kerasgen.interpretation.ism:Mutagenesis",
}
"""Explainers by name, as ``module:class``."""


class Attributions(NamedTuple):
    """What each base contributed to a prediction.

    Args:
        attributions: ``(n, length, 4) float32``, the contribution of the base that is there, 0 at the other three; an
            unknown base gets 0.
        hypothetical: ``(n, length, 4) float32``, the contribution that each base would make; None if not asked for.
        delta: ``(n,) float64``, sum of contributions minus ``difference``; None where the method has no reference.
            Where the method is complete, those of unknown bases are in the sum, before they are set to 0: they are part
            of what adds up to the difference.
        difference: ``(n,) float64``, the target minus its mean over references; None where the method has none.
    """

    attributions: np.ndarray
    hypothetical: np.ndarray | None
    delta: np.ndarray | None
    difference: np.ndarray | None

    @property
    def observed(self) -> np.ndarray:
        """``(n, length) float32``, the contribution of the base that is there."""
        return self.attributions.sum(axis=-1)

    def take(self, index: slice) -> Attributions:
        """The chosen samples."""
        hypothetical, delta, difference = (None if part is None else part[index] for part in self[1:])
        return Attributions(self.attributions[index], hypothetical, delta, difference)


def joined(parts: Sequence[Attributions]) -> Attributions:
    """Attributions of batches, one after the other."""
    first, *columns = zip(*parts, strict=True)
    hypothetical, delta, difference = (None if column[0] is None else np.concatenate(column) for column in columns)
    return Attributions(np.concatenate(first), hypothetical, delta, difference)


class Explainer(Protocol):
    """Explains a target of a model, batch by batch; made as ``(model, target, *, batch_size, n_references, …)``.

    Attributes:
        complete: whether contributions add up to the difference in the target.
        references: kind of references it needs, a name of :data:`kerasgen.interpretation.references.MAKERS`; None:
            it goes without.
        batch_size: samples per batch where nothing else is said.
        one_size: whether all batches must be of one size, for it is compiled for that.
    """

    complete: bool
    references: str | None
    batch_size: int
    one_size: bool

    def __call__(self, X: np.ndarray, others: Sequence[np.ndarray], references: np.ndarray | None) -> Attributions:
        """Explain one batch.

        Args:
            X: ``(batch, length, 4) float32`` one-hot; an unknown base is all zeros.
            others: the model's other inputs, ``(batch, ...)``, which are held fixed.
            references: ``(batch, references, length, 4) float32``, or None.
        """


def explainer_of(
    method: str, model: keras.Model, target: Target, *, batch_size: int | None, n_references: int, **options: Any
) -> Explainer:
    """The explainer of a name, made for a model and a target; its compiled functions are kept from batch to batch.

    Raises:
        InputError: an unknown method or option.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r}: expected one of {', '.join(METHODS)}")
    module, _, name = METHODS[method].partition(":")
    make = getattr(importlib.import_module(module), name)
    known = [*inspect.signature(make).parameters][4:]
    for option in options:
        if option not in known:
            raise InputError(f"{option}: method {method} has no such option; it has {', '.join(known) or 'none'}")
    size = make.batch_size if batch_size is None else batch_size
    explainer: Explainer = make(model, target, batch_size=size, n_references=n_references, **options)
    return explainer
