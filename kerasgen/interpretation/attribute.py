"""Attribute a model's predictions to the bases of its sequence, on arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest.errors import InputError
from kerasgen.interpretation.explainers import Attributions, explainer_of, joined
from kerasgen.interpretation.references import Maker, check_references, made, maker_of
from kerasgen.interpretation.targets import Target, resolve
from kerasgen.prediction.predict import check_inputs, encoded
from kerasgen.sequence import codes_of, one_hot

if TYPE_CHECKING:
    import keras


def attribute(
    model: keras.Model,
    X: np.ndarray | Sequence[np.ndarray],
    *,
    target: str | Target | Callable[[Any], Any],
    task: int | None = None,
    method: str = "deepshap",
    references: np.ndarray | str | Maker | None = None,
    n_references: int = 20,
    batch_size: int | None = None,
    seed: int = 1234,
    hypothetical: bool = True,
    **options: Any,
) -> Attributions:
    """Return what each base of a sequence contributes to a model's prediction.

    The result for a sample depends on the sample and the seed alone, not on the samples beside it.

    Args:
        model: a functional or a built Sequential Keras model whose first input is the sequence, ``(length, 4)``.
        X: the sequences, ``(n, length, 4)`` one-hot (an unknown base is all zeros) or ``(n, length) uint8`` base codes;
            for a model of several inputs a list with the others too, which are held fixed; those that are one-hot
            sequence may also come as codes.
        target: what is explained: ``"counts"`` (an output of a number per channel, such as log counts) or
            ``"profile"`` (logits per base, mean-centred and weighted by the sample's softmax), ``"binned"`` or
            ``"labels"`` (values per bin, logits of labels, summed); a function of what the
            model returns that gives one number per sample; or a :class:`~kerasgen.interpretation.targets.Target`.
        task: channel of a target that is a name; None: the sum over channels.
        method: ``"deepshap"`` (DeepLIFT's rescale rule, the mean over references; option ``rules``, a mapping from
            layer classes to rules of :mod:`kerasgen.interpretation.rules`), ``"gradient_x_input"``, or ``"ism"``
            (every single substitution).
        references: ``"dinucleotide_shuffle"``, ``"zeros"``, ``"uniform"``; an array ``(n, references, length, 4)``,
            or ``(references, length, 4)`` for all samples; a function like those of
            :mod:`kerasgen.interpretation.references`; None: the method's own (dinucleotide shuffles for
            ``"deepshap"``, none for the others).
        n_references: references per sample that are made.
        batch_size: samples per batch: 4 by default for ``"deepshap"``, where each brings its references, else 64.
        seed: seed of the references.
        hypothetical: whether to return the contribution that each base would make.
        options: further settings of the method.

    Raises:
        InputError: arrays that do not fit the model, an unknown target, method, kind of references or option.

    Example:
        >>> found = kerasgen.attribute(bpnet, one_hot(codes), target="counts")                  # doctest: +SKIP
        >>> found.attributions.shape, found.observed.shape                                      # doctest: +SKIP
        ((8, 2114, 4), (8, 2114))
    """
    for name, value in (("n_references", n_references), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} {value}: expected 1 or more")
    sequence, others = check_sequence(model, X)
    given = None if references is None or isinstance(references, str) or callable(references) else references
    if given is not None:
        given = check_references(given, sequence)
        n_references = given.shape[1]
    explainer = explainer_of(
        method, model, resolve(model, target, task), batch_size=batch_size, n_references=n_references, **options
    )
    kind = explainer.references if references is None else references
    maker = maker_of(kind) if given is None and kind is not None else None  # type: ignore[arg-type]

    count, size = len(sequence), explainer.batch_size
    parts = []
    for first in range(0, count, size):
        here = np.arange(first, min(first + size, count))
        number = len(here)
        # The last batch is filled up with its first samples, so that one compiled function serves all.
        here = here[np.arange(size) % number] if explainer.one_size else here
        own = None if given is None else given[here]
        if maker is not None:
            own = made(maker, codes_of(sequence[here]), n_references, seed)
        batch = encoded(model, [sequence[here], *(x[here] for x in others)])
        scores = explainer(batch[0].astype(np.float32, copy=False), batch[1:], own).take(slice(number))
        parts.append(scores if hypothetical else scores._replace(hypothetical=None))
    return joined(parts)


def check_sequence(
    model: keras.Model, X: np.ndarray | Sequence[np.ndarray]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The one-hot sequence and the other inputs as they came; raises :class:`InputError` unless they fit the model."""
    sequence, *others = check_inputs(model, X)
    shape = model.inputs[0].shape
    if len(shape) != 3 or shape[2] != 4:
        raise InputError(f"model: its first input has shape {tuple(shape)}; expected one-hot sequence, (n, length, 4)")
    if len(sequence) == 0:
        raise InputError("X: no samples; expected 1 or more")
    if sequence.ndim == 2:
        return one_hot(sequence), tuple(others)
    sums = sequence.sum(axis=-1)
    if not (((sequence == 0) | (sequence == 1)).all() and (sums <= 1).all()):
        raise InputError("X: expected one-hot rows, or rows of zeros where a base is unknown")
    return sequence, tuple(others)
