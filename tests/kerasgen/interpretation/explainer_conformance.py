"""What every explainer promises, on small models of which the answer is known.

A method is added to :data:`CASES` with what it needs; ``test_every_method_has_a_case`` fails for one that is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

import kerasgen
from kerasgen.sequence import one_hot

LENGTH = 24


class Case(NamedTuple):
    """A method under test.

    Args:
        complete: whether its contributions promise to add up to the difference in the target.
        has_references: whether they are compared with references.
        options: of :func:`kerasgen.attribute`.
    """

    complete: bool
    has_references: bool
    options: Mapping[str, Any] = MappingProxyType({})


CASES = {
    "deepshap": Case(complete=True, has_references=True, options={"n_references": 3}),
    "gradient_x_input": Case(complete=False, has_references=False),
    "ism": Case(complete=False, has_references=False),
}


def small_model() -> keras.Model:
    """Sequence and a control in, a profile and counts out; nonlinear."""
    keras.utils.set_random_seed(4)
    sequence, control = keras.Input((LENGTH, 4)), keras.Input((2,))
    h = layers.Conv1D(6, 5, activation="gelu")(sequence)
    h = layers.ReLU()(layers.Conv1D(5, 3)(h))
    pooled = layers.Concatenate()([layers.GlobalAveragePooling1D()(h), control])
    return keras.Model([sequence, control], [layers.Conv1D(2, 3)(h), layers.Dense(2)(pooled)])


def symmetric_model() -> keras.Model:
    """A model that gives a sequence and its reverse complement the same prediction."""
    keras.utils.set_random_seed(5)
    inner = keras.Sequential(
        [keras.Input((LENGTH, 4)), layers.Conv1D(6, 5, activation="relu"), layers.Flatten(), layers.Dense(1)]
    )
    sequence = keras.Input((LENGTH, 4))
    return keras.Model(sequence, layers.Add()([inner(sequence), inner(ops.flip(sequence, axis=(1, 2)))]))


def samples(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Sequences with unknown bases, and controls."""
    codes = rng.integers(0, 4, (count, LENGTH)).astype(np.uint8)
    codes[0, 3], codes[count - 1, 10:13] = 4, 4
    return [one_hot(codes), rng.random((count, 2)).astype(np.float32)]


def explain(method: str, model: keras.Model, X: Any, **more: Any) -> Any:
    """Attributions by a method, with the options of its case."""
    return kerasgen.attribute(model, X, method=method, **{**CASES[method].options, **more})


def linear_model() -> keras.Model:
    """A linear model, which every explainer explains exactly."""
    keras.utils.set_random_seed(6)
    return keras.Sequential([keras.Input((LENGTH, 4)), layers.Flatten(), layers.Dense(2)])
