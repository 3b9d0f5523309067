"""Predictions of a model on arrays."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from keras import layers

import kerasgen
from db_ingest.errors import InputError
from kerasgen.sequence import one_hot

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Sequence and a control in, a profile and counts out."""
    keras.utils.set_random_seed(1)
    sequence, control = keras.Input((30, 4)), keras.Input((2,))
    h = layers.Conv1D(5, 7, activation="relu")(sequence)
    pooled = layers.Concatenate()([layers.GlobalAveragePooling1D()(h), control])
    return keras.Model([sequence, control], [layers.Conv1D(2, 1)(h), layers.Dense(3)(pooled)])


def inputs(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, 5, (count, 30)).astype(np.uint8), rng.random((count, 2)).astype(np.float32)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 64])
def test_outputs_are_the_models_whatever_the_batch_size(
    model: keras.Model, rng: np.random.Generator, batch_size: int
) -> None:
    codes, control = inputs(rng, 7)
    wanted = [keras.ops.convert_to_numpy(output) for output in model([one_hot(codes), control])]
    found = kerasgen.predict(model, [one_hot(codes), control], batch_size=batch_size)
    assert isinstance(found, tuple)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for a, b in zip(kerasgen.predict(model, [codes, control], batch_size=batch_size), found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_output_is_an_array_and_no_sample_gives_none(rng: np.random.Generator) -> None:
    one = keras.Sequential([keras.Input((30, 4)), layers.Flatten(), layers.Dense(2)])
    codes = inputs(rng, 3)[0]
    assert kerasgen.predict(one, codes).shape == (3, 2)
    assert kerasgen.predict(one, codes[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda codes, control: codes, r"X: 1 arrays; the model has 2 inputs"),
        (
            lambda codes, control: [codes[:, :29], control],
            r"X\[0\]: an array of shape \(6, 29\); .* \(samples, 30, 4\)",
        ),
        (lambda codes, control: [one_hot(codes), control[:, :1]], r"X\[1\]: an array of shape \(6, 1\)"),
        (lambda codes, control: [codes, control[:5]], r"X\[1\]: 5 samples; X\[0\] has 6"),
        (lambda codes, control: [codes, control.astype(str)], r"X\[1\]: an array of <U\d+; expected numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_line(
    model: keras.Model, rng: np.random.Generator, change, message: str
) -> None:
    with pytest.raises(InputError, match=message) as raised:
        kerasgen.predict(model, change(*inputs(rng, 6)))
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="batch_size 0: expected 1 or more"):
        kerasgen.predict(model, list(inputs(rng, 6)), batch_size=0)


class Subclassed(keras.Model):
    """A model that says nothing of its inputs."""

    def call(self, inputs):
        return keras.ops.sum(inputs, axis=(1, 2))


@pytest.mark.parametrize("make", [Subclassed, lambda: keras.Sequential([layers.Flatten(), layers.Dense(1)])])
def test_a_model_that_does_not_say_its_inputs_is_refused_in_one_line(rng: np.random.Generator, make) -> None:
    codes = inputs(rng, 2)[0]
    unclear = make()
    for work in (kerasgen.predict, functools.partial(kerasgen.attribute, target="counts")):
        with pytest.raises(InputError, match="does not say which inputs it takes; expected a functional") as raised:
            work(unclear, one_hot(codes))
        assert "\n" not in str(raised.value)
    sequence = keras.Input((30, 4))
    known = kerasgen.predict(keras.Model(sequence, Subclassed()(sequence)), codes)
    np.testing.assert_array_equal(known, (codes < 4).sum(axis=1))


def test_a_model_keeps_its_states(rng: np.random.Generator) -> None:
    keras.utils.set_random_seed(2)
    recurrent = keras.Sequential(
        [keras.Input(batch_shape=(4, 6, 4)), layers.LSTM(3, stateful=True), layers.Dropout(0.5)]
    )
    codes = inputs(rng, 4)[0][:, :6]
    first = kerasgen.predict(recurrent, codes, batch_size=4)
    np.testing.assert_array_equal(kerasgen.predict(recurrent, codes, batch_size=4), first)
    before = [np.array(variable) for variable in recurrent.variables]
    with pytest.raises(Exception, match=r".+"):
        kerasgen.predict(recurrent, codes, batch_size=3)
    for variable, value in zip(recurrent.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)
