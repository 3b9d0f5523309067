"""Every explainer keeps what explainers promise."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from explainer_conformance import CASES, LENGTH, explain, linear_model, samples, small_model, symmetric_model

import kerasgen
from db_ingest.errors import InputError
from kerasgen.interpretation import targets
from kerasgen.interpretation.explainers import METHODS
from kerasgen.sequence import codes_of

pytestmark = pytest.mark.backend
every_method = pytest.mark.parametrize("method", list(METHODS))
TARGETS = {"counts": "counts", "profile": "profile", "own": lambda outputs: outputs[1][:, 0] - outputs[0][:, 2, 1]}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small_model()


def test_every_method_has_a_case() -> None:
    assert set(CASES) == set(METHODS)


@every_method
@pytest.mark.parametrize("target", list(TARGETS))
def test_contributions_add_up_where_that_is_promised(
    model: keras.Model, rng: np.random.Generator, method: str, target: str
) -> None:
    X = samples(rng, 3)
    X[0] = X[0][:, :, ::-1] * 0 + np.eye(4, dtype=np.float32)[rng.integers(0, 4, (3, LENGTH))]
    found = explain(method, model, X, target=TARGETS[target])
    assert found.attributions.shape == found.hypothetical.shape == X[0].shape
    np.testing.assert_allclose(found.hypothetical * X[0], found.attributions, atol=1e-5)
    np.testing.assert_array_equal(found.observed, found.attributions.sum(axis=-1))
    if CASES[method].complete:
        tolerance = 1e-3 * np.abs(found.difference) + 1e-5
        assert (np.abs(found.delta) <= tolerance).all()
        assert (np.abs(found.observed.sum(axis=1) - found.difference) <= tolerance).all()


@every_method
def test_a_linear_model_is_explained_exactly(rng: np.random.Generator, method: str) -> None:
    """Contributions of two bases at a place differ by the difference of their weights."""
    model = linear_model()
    X = samples(rng, 2)[0]
    weights = np.array(model.layers[-1].kernel)[:, 1].reshape(LENGTH, 4)
    found = explain(method, model, X, target="counts", task=1)
    differences = found.hypothetical - found.hypothetical[:, :, :1]
    np.testing.assert_allclose(differences, np.broadcast_to(weights - weights[:, :1], X.shape), atol=1e-5)


@every_method
def test_the_reverse_complement_is_explained_in_reverse(rng: np.random.Generator, method: str) -> None:
    model = symmetric_model()
    X = samples(rng, 3)[0]
    more, turned = {}, {}
    if CASES[method].has_references:
        references = np.eye(4, dtype=np.float32)[rng.integers(0, 4, (3, 5, LENGTH))]
        more, turned = {"references": references}, {"references": references[..., ::-1, ::-1]}
    forward = explain(method, model, X, target="counts", **more)
    back = explain(method, model, X[:, ::-1, ::-1], target="counts", **turned)
    np.testing.assert_allclose(back.attributions[:, ::-1, ::-1], forward.attributions, atol=1e-5)
    np.testing.assert_allclose(back.hypothetical[:, ::-1, ::-1], forward.hypothetical, atol=1e-5)


@every_method
def test_unknown_bases_get_nothing(model: keras.Model, rng: np.random.Generator, method: str) -> None:
    X = samples(rng, 3)
    found = explain(method, model, X, target="counts", task=1)
    unknown = ~X[0].any(axis=-1)
    assert unknown.any()
    assert (found.attributions[unknown] == 0).all()
    assert (found.attributions[~unknown] != 0).any()
    assert (found.attributions[X[0] == 0] == 0).all()


@every_method
def test_batch_size_order_and_encoding_change_nothing(
    model: keras.Model, rng: np.random.Generator, method: str
) -> None:
    X = samples(rng, 5)
    wanted = explain(method, model, X, target="profile")
    order = np.array([3, 0, 4, 2, 1])
    other = [codes_of(X[0][order]), X[1][order]]
    found = explain(method, model, other, target="profile", batch_size=2)
    np.testing.assert_allclose(found.attributions, wanted.attributions[order], atol=1e-5)
    np.testing.assert_allclose(found.hypothetical, wanted.hypothetical[order], atol=1e-5)
    assert explain(method, model, X, target="profile", batch_size=2, hypothetical=False).hypothetical is None


@every_method
def test_any_input_of_sequence_may_come_as_codes(rng: np.random.Generator, method: str) -> None:
    keras.utils.set_random_seed(7)
    inputs = [keras.Input((LENGTH, 4)), keras.Input((10, 4))]
    flat = keras.layers.Concatenate()([keras.layers.Flatten()(each) for each in inputs])
    two = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(3, activation="gelu")(flat)))
    X = samples(rng, 2)[0]
    codes = codes_of(X)
    wanted = explain(method, two, [X, X[:, :10]], target="counts", batch_size=2)
    found = explain(method, two, [codes, codes[:, :10]], target="counts", batch_size=2)
    np.testing.assert_allclose(found.attributions, wanted.attributions, atol=1e-6)


@every_method
def test_the_model_is_left_as_it_was_even_by_an_error(
    model: keras.Model, rng: np.random.Generator, method: str
) -> None:
    X = samples(rng, 2)
    before = [layer.__dict__.copy() for layer in model.layers]
    outputs = kerasgen.predict(model, X)

    def fails(outputs: list) -> None:
        raise RuntimeError("on purpose")

    explain(method, model, X, target="counts")
    with pytest.raises(RuntimeError, match="on purpose"):
        explain(method, model, X, target=fails)
    for layer, own in zip(model.layers, before, strict=True):
        assert layer.__dict__.get("call") is own.get("call")
        assert getattr(layer, "activation", None) is own.get("activation")
    for a, b in zip(kerasgen.predict(model, X), outputs, strict=True):
        np.testing.assert_array_equal(a, b)


@every_method
def test_a_target_without_a_number_per_sample_is_refused(
    model: keras.Model, rng: np.random.Generator, method: str
) -> None:
    with pytest.raises(InputError, match="expected one number per sample"):
        explain(method, model, samples(rng, 2), target=lambda outputs: outputs[1])


def test_mutagenesis_is_the_prediction_of_every_substitution(model: keras.Model, rng: np.random.Generator) -> None:
    X = samples(rng, 1)
    found = kerasgen.attribute(model, X, target=targets.counts(1, task=0), method="ism", batch_size=7)
    mutant = X[0].copy()
    mutant[0, 5] = [0, 0, 1, 0]
    other = X[0].copy()
    other[0, 5] = [1, 0, 0, 0]
    counts = [kerasgen.predict(model, [x, X[1]])[1][0, 0] for x in (mutant, other)]
    assert found.hypothetical[0, 5, 2] - found.hypothetical[0, 5, 0] == pytest.approx(counts[0] - counts[1], abs=1e-5)
    np.testing.assert_allclose(found.hypothetical.sum(axis=-1), 0, atol=1e-5)
    assert found.delta is None


def test_gradients_are_taken_against_references_where_they_are_asked_for(rng: np.random.Generator) -> None:
    X = samples(rng, 2)[0]
    found = kerasgen.attribute(linear_model(), X, target="counts", method="gradient_x_input", references="uniform")
    known = X.any(axis=(-1))
    np.testing.assert_allclose(found.hypothetical.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(found.delta, (found.observed * known).sum(axis=1) - found.difference, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "depth"}, "target 'depth': expected one of counts, profile"),
        ({"target": 3}, "target 3: expected one of counts, profile"),
        ({"task": 2}, r"task 2: output 1 has channels 0 to 1"),
        ({"target": targets.counts(1, task=2)}, "task 2: output 1 has channels 0 to 1"),
        ({"target": targets.counts(1, task=-1)}, "task -1: output 1 has channels 0 to 1"),
        ({"target": targets.profile(0, task=5)}, "task 5: output 0 has channels 0 to 1"),
        ({"target": targets.counts(5)}, "target: output 5; the model has outputs 0 to 1"),
        ({"target": targets.profile(1)}, r"target: output 1 has shape \(None, 2\); expected 3 dimensions"),
        ({"target": targets.counts(1), "task": 0}, "task 0: expected only with a target that is a name"),
        ({"method": "lime"}, "method 'lime': expected one of deepshap, gradient_x_input, ism"),
        ({"rules": {}, "method": "ism"}, "rules: method ism has no such option; it has none"),
        ({"references": "shuffled"}, "references 'shuffled': expected one of dinucleotide_shuffle, zeros, uniform"),
        ({"references": np.zeros((3, LENGTH))}, r"references: an array of shape \(3, 24\); expected \(2, references"),
        (
            {"references": lambda codes, count, seeds: np.zeros((len(codes), 3, LENGTH, 4))},
            r"references: the function gives an array of shape \(4, 3, 24, 4\); expected \(4, 20, 24, 4\)",
        ),
        ({"n_references": 0}, "n_references 0: expected 1 or more"),
        ({"batch_size": 0}, "batch_size 0: expected 1 or more"),
        ({"X": [np.full((2, LENGTH, 4), 0.25), np.zeros((2, 2))]}, "X: expected one-hot rows"),
        ({"X": [np.zeros((0, LENGTH, 4)), np.zeros((0, 2))]}, "X: no samples"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    model: keras.Model, rng: np.random.Generator, changes: dict, message: str
) -> None:
    given = {"X": samples(rng, 2), "target": "counts", **changes}
    with pytest.raises(InputError, match=message) as raised:
        kerasgen.attribute(model, **given)
    assert "\n" not in str(raised.value)


def test_a_named_target_is_refused_where_several_outputs_fit(rng: np.random.Generator) -> None:
    sequence = keras.Input((LENGTH, 4))
    h = keras.layers.Flatten()(sequence)
    two = keras.Model(sequence, [keras.layers.Dense(1)(h), keras.layers.Dense(2)(h)])
    with pytest.raises(InputError, match=r"target 'counts': 2 of the model's outputs .* targets.counts\(0\)"):
        kerasgen.attribute(two, samples(rng, 2)[0], target="counts")
    one = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(InputError, match="its first input has shape"):
        kerasgen.attribute(one, np.zeros((2, 3)), target="counts")
