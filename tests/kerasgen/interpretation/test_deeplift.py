"""DeepLIFT multipliers: completeness on both backends, and equality with shap on TensorFlow."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import architectures
from kerasgen.interpretation import deeplift
from kerasgen.interpretation.explain_tdb import references_of
from kerasgen.interpretation.targets import Target, counts, profile, profile_weights
from kerasgen.regions.windows import Windows
from kerasgen.sequence import one_hot

pytestmark = pytest.mark.backend


def example(rng: np.random.Generator, count: int, length: int, references: int) -> tuple[np.ndarray, np.ndarray]:
    codes = rng.integers(0, 4, (count, length)).astype(np.uint8)
    windows = Windows(np.zeros(count, int), np.arange(count), np.zeros(count, bool), np.zeros(count, bool))
    return one_hot(codes), references_of(codes, windows, references, 1)


def bpnet(**options) -> keras.Model:
    keras.utils.set_random_seed(3)
    family = architectures.get("bpnet")
    config = family.Config(
        input_length=200, output_length=60, filters=12, n_dil_layers=3, conv1_kernel_size=11,
        profile_kernel_size=15, **options,
    )  # fmt: skip
    return family.build(config)


def as_arrays(outputs) -> list[np.ndarray]:
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [keras.ops.convert_to_numpy(output) for output in outputs]


def check_complete(model: keras.Model, target: Target, x, refs, others=(), held=None) -> None:
    found = deeplift.DeepLift(model, target, refs.shape[1])(x, refs, others, held)
    scores = deeplift.contributions(found, x, refs)
    delta, difference = deeplift.completeness(found, scores)
    assert (np.abs(delta) <= 1e-3 * np.abs(difference) + 1e-5).all()
    # At the base that is there, a hypothetical score is the observed one.
    hypothetical = deeplift.hypothetical(found, refs)
    np.testing.assert_allclose((hypothetical * x).sum(axis=-1), scores.sum(axis=-1), atol=1e-5)


@pytest.mark.parametrize("pooling", ["average", "rates", "bins"])
def test_contributions_to_counts_add_up(rng: np.random.Generator, pooling: str) -> None:
    x, refs = example(rng, 2, 200, 5)
    check_complete(bpnet(counts_pooling=pooling), counts(1, 0), x, refs)


def test_contributions_to_all_counts_and_to_a_profile_add_up(rng: np.random.Generator) -> None:
    model = bpnet()
    x, refs = example(rng, 2, 200, 5)
    logits = as_arrays(model(x))[0]
    check_complete(model, counts(1, None), x, refs)
    check_complete(model, profile(0, 1), x, refs, held=profile_weights(logits, 1))


def test_controls_are_held_fixed(rng: np.random.Generator) -> None:
    model = bpnet(control_profiles=2, control_counts=2)
    x, refs = example(rng, 2, 200, 4)
    controls = [rng.random((2, 60, 2)).astype(np.float32), rng.random((2, 2)).astype(np.float32)]
    check_complete(model, counts(1, 0), x, refs, controls)


@pytest.mark.parametrize("activation", ["relu", "gelu", "softplus", "sigmoid", "tanh", "exponential", "elu"])
def test_any_elementwise_activation_is_complete(rng: np.random.Generator, activation: str) -> None:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((40, 4))
    h = layers.Conv1D(6, 5, activation=activation)(inputs)
    h = layers.Conv1D(5, 3)(h)
    h = layers.Activation(activation)(h)
    h = layers.ReLU()(layers.Dense(4)(layers.Flatten()(h)))
    model = keras.Model(inputs, layers.Dense(1)(h))
    x, refs = example(rng, 2, 40, 3)
    check_complete(model, counts(0, 0), x, refs)


def test_the_model_is_left_as_it_was(rng: np.random.Generator) -> None:
    model = bpnet()
    x, refs = example(rng, 1, 200, 2)
    before, layer = as_arrays(model(x)), model.get_layer("relu_1").activation
    deeplift.DeepLift(model, counts(1, 0), 2)(x, refs)
    assert model.get_layer("relu_1").activation is layer
    for a, b in zip(before, as_arrays(model(x)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_without_a_rule_are_named(rng: np.random.Generator, caplog: pytest.LogCaptureFixture) -> None:
    inputs = keras.Input((20, 4))
    h = layers.Conv1D(3, 3)(inputs)
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(layers.Multiply()([h, h]))))
    deeplift.DeepLift(model, counts(0, 0), 2)
    assert "Multiply have no rescale rule" in caplog.text


def test_references_depend_on_seed_and_place_alone() -> None:
    codes = np.random.default_rng(0).integers(0, 4, (3, 90)).astype(np.uint8)
    windows = Windows(np.array([0, 0, 1]), np.array([5, 9, 5]), np.zeros(3, bool), np.zeros(3, bool))
    together = references_of(codes, windows, 4, 1)
    np.testing.assert_array_equal(together[1:2], references_of(codes[1:2], windows.take(slice(1, 2)), 4, 1))
    assert (references_of(codes, windows, 4, 2) != together).any()


def shap_reference(model: keras.Model, x: np.ndarray, refs: np.ndarray) -> np.ndarray:
    """Contributions of one example from shap.DeepExplainer, ``(length, 4)``."""
    import shap
    from shap.explainers._deep import deep_tf

    for name in ("BatchToSpaceND", "SpaceToBatchND", "StridedSlice"):
        deep_tf.op_handlers.setdefault(name, deep_tf.passthrough)
    explainer = shap.DeepExplainer((model.inputs, model.outputs[0]), refs)
    return np.asarray(explainer.shap_values(x[None], check_additivity=False)).reshape(x.shape)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="shap explains TensorFlow models")
@pytest.mark.parametrize("head", ["counts", "profile"])
def test_contributions_equal_those_of_shap(rng: np.random.Generator, head: str, trained) -> None:
    from kerasgen.bundle import open_bundle

    model = open_bundle(trained).load_model()
    x, refs = example(rng, 3, model.inputs[0].shape[1], 6)
    logits = as_arrays(model(x))[0]
    if head == "counts":
        target, weights = counts(1, 1), None
    else:
        target, weights = profile(0), profile_weights(logits, 0)
    found = deeplift.DeepLift(model, target, 6)(x, refs, held=weights)
    ours = deeplift.contributions(found, x, refs)
    for i in range(len(x)):
        if head == "counts":
            last = layers.Dense(1, use_bias=False)
            scalar = keras.Model(model.inputs, last(model.outputs[1]))
            last.set_weights([np.array([[0.0], [1.0]], np.float32)])
        else:
            # The sum of mean-centred logits times fixed weights is one dense layer.
            kernel = weights[i] - weights[i].mean(axis=0, keepdims=True)
            last = layers.Dense(1, use_bias=False)
            scalar = keras.Model(model.inputs, last(layers.Flatten()(model.outputs[0])))
            last.set_weights([kernel.reshape(-1, 1)])
        theirs = shap_reference(scalar, x[i], refs[i])
        np.testing.assert_allclose(ours[i], theirs, atol=1e-5 * np.abs(theirs).max())
