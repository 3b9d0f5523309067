"""Rules by class of layer: contributions add up, equal those of shap, and nothing gets a plain gradient in silence."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers, ops

import architectures.layers
import kerasgen
from db_ingest.errors import InputError
from kerasgen.interpretation import deeplift, rules, targets
from kerasgen.sequence import one_hot

pytestmark = pytest.mark.backend
LENGTH = 24


@keras.saving.register_keras_serializable(package="tests")
def softmax_over_positions(x):
    return ops.softmax(x, axis=1)


@keras.saving.register_keras_serializable(package="tests")
class Squared(layers.Layer):
    """A nonlinearity of one's own, which the table does not know."""

    def call(self, inputs):
        return ops.square(inputs)


def example(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two sequences and three references of each, which share a stretch of bases."""
    codes = rng.integers(0, 4, (2, 4, LENGTH)).astype(np.uint8)
    codes[:, :, :9] = codes[:, :1, :9]
    return one_hot(codes[:, 0]), one_hot(codes[:, 1:])


def model_of(head: Callable) -> keras.Model:
    """A convolution, what is under test, and a dense layer over all of it."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((LENGTH, 4))
    h = head(layers.Conv1D(6, 5, kernel_initializer=keras.initializers.RandomNormal(stddev=0.7))(inputs))
    h = layers.Flatten()(h) if len(h.shape) > 2 else h
    return keras.Model(inputs, layers.Dense(1)(h))


def with_all_linear_layers(h):
    """Layers that work in any number of dimensions, and leave completeness as it is."""
    for layer in (
        layers.Identity(), layers.Dropout(0.5), layers.AlphaDropout(0.5), layers.GaussianDropout(0.5),
        layers.GaussianNoise(0.5), layers.ActivityRegularization(), layers.Permute((2, 1)),
        layers.BatchNormalization(moving_variance_initializer=keras.initializers.Constant(2.0)),
        layers.Normalization(mean=0.3, variance=2.0), layers.Rescaling(2.0, 0.1), layers.Flatten(),
        layers.RepeatVector(3), layers.ReLU(),
    ):  # fmt: skip
        h = layer(h)
    half = layers.Rescaling(0.5)(h)
    return layers.Concatenate()([layers.Add()([h, half]), layers.Subtract()([h, half]), layers.Average()([h, half])])


def with_all_layers_of(dimensions: int, h):
    """Convolutions of so many dimensions, each before a nonlinearity, and what goes with them."""

    def layer(name: str, *arguments, **more):
        return getattr(layers, f"{name}{dimensions}D")(*arguments, **more)

    h = layers.Reshape({1: (20, 6), 2: (20, 6, 1), 3: (5, 4, 6, 1)}[dimensions])(h)
    h = layer("Conv", 3, 2, activation="relu")(layer("SpatialDropout", 0.5)(layer("ZeroPadding", 1)(h)))
    h = layer("Conv", 2, 2, padding="same", activation="tanh")(layer("UpSampling", 2)(h))
    h = layer("AveragePooling", 2)(layer("Cropping", 1)(h))
    if dimensions < 3:
        h = layer("SeparableConv", 4, 2, activation="relu")(layer("DepthwiseConv", 2, activation="gelu")(h))
    h = getattr(layers, f"Conv{dimensions}DTranspose")(4, 2, activation="relu")(h)
    pooled = [
        layer("GlobalAveragePooling")(h),
        layer("GlobalMaxPooling")(h),
        layers.Flatten()(layer("MaxPooling", 2)(h)),
    ]
    for kind in ("AdaptiveAveragePooling", "AdaptiveMaxPooling"):
        if hasattr(layers, f"{kind}{dimensions}D"):
            pooled.append(layers.Flatten()(layer(kind, 2)(h)))
    return layers.Concatenate()(pooled)


HEADS: dict[str, Callable] = {
    "linear layers": with_all_linear_layers,
    "layers of 1 dimension": functools.partial(with_all_layers_of, 1),
    "layers of 2 dimensions": functools.partial(with_all_layers_of, 2),
    "layers of 3 dimensions": functools.partial(with_all_layers_of, 3),
    "EinsumDense": lambda h: layers.EinsumDense("abc,cd->abd", (20, 4), activation="relu")(h),
    "TimeDistributed": lambda h: layers.TimeDistributed(layers.Dense(4, activation="relu"))(h),
    "ELU": lambda h: layers.ELU()(h),
    "operations as activations": lambda h: layers.Activation(ops.log_softmax)(
        layers.Dense(5, activation=ops.softmax)(h)
    ),
    "activation softmax": lambda h: layers.Dense(5, activation="softmax")(h),
    "activation log_softmax": lambda h: layers.Activation("log_softmax")(h),
    "Softmax": lambda h: layers.Softmax()(layers.Rescaling(8.0)(h)),
    "Softmax over positions": lambda h: layers.Softmax(axis=1)(layers.Rescaling(8.0)(h)),
    "softmax of large logits": lambda h: layers.Activation("softmax")(layers.Rescaling(40.0)(h)),
    "softmax after ReLU": lambda h: layers.Softmax()(layers.ReLU()(h)),
    "MaxPooling1D": lambda h: layers.MaxPooling1D(4)(h),
    "MaxPooling1D that overlaps": lambda h: layers.MaxPooling1D(5, strides=2, padding="same")(layers.ReLU()(h)),
    "MaxPooling2D": lambda h: layers.MaxPooling2D(2)(layers.Reshape((20, 6, 1))(h)),
    "GlobalMaxPooling1D": lambda h: layers.GlobalMaxPooling1D()(h),
    "LogSumExp": lambda h: architectures.layers.LogSumExp()(layers.Flatten()(h)),
    "PReLU": lambda h: layers.PReLU(alpha_initializer=keras.initializers.Constant(0.3))(h),
    "LeakyReLU": lambda h: layers.LeakyReLU()(h),
    "a layer as activation": lambda h: layers.Dense(5, activation=layers.LeakyReLU(0.3))(h),
    "a model in the model": lambda h: keras.Sequential([layers.Dense(4, activation="softmax"), layers.ReLU()])(h),
    "operations": lambda h: ops.sum(ops.exp(0.3 * h), axis=1) / 2 - ops.log(1 + ops.sum(ops.square(h), axis=(1,))),
    "operations of softmax": lambda h: ops.softmax(h, axis=1) + ops.logsumexp(h, axis=1, keepdims=True),
    "operation of max pooling": lambda h: ops.max_pool(ops.relu(h), 3, strides=3),
}


def test_every_rule_has_a_head() -> None:
    parts = [part for head in HEADS.values() for part in model_of(head)._flatten_layers()]
    assert not set(rules.RULES) - {type(part) for part in parts}
    known = {function for function, multiplier in rules.ACTIVATIONS.items() if multiplier is not None}
    assert not known - {getattr(part, "activation", None) for part in parts}


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What we warned of, TensorFlow aside."""
    return [record.getMessage() for record in caplog.records if record.name == "kerasgen"]


def explained(model: keras.Model, x: np.ndarray, references: np.ndarray, **more) -> tuple[np.ndarray, np.ndarray]:
    """Contributions, and how far they are from adding up relative to the tolerance."""
    found = deeplift.DeepLift(model, targets.counts(0), references.shape[1], **more)(x, references)
    scores = deeplift.contributions(found, x, references)
    delta, difference = deeplift.completeness(found, scores)
    assert (np.abs(difference) > 1e-4).any()
    return scores, np.abs(delta) / (1e-3 * np.abs(difference) + 1e-5)


@pytest.mark.parametrize("head", list(HEADS))
def test_contributions_add_up_without_a_warning(
    rng: np.random.Generator, caplog: pytest.LogCaptureFixture, head: str
) -> None:
    scores, shares = explained(model_of(HEADS[head]), *example(rng))
    assert (shares <= 1).all()
    assert np.isfinite(scores).all()
    assert not warned(caplog)


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (lambda h: Squared()(h), "Squared"),
        (lambda h: layers.Activation(softmax_over_positions)(h), r"Activation (softmax_over_positions)"),
        (lambda h: layers.Dense(4, activation="sparsemax")(h), "Dense (sparsemax)"),
        (lambda h: layers.LayerNormalization()(h), "LayerNormalization"),
        (lambda h: layers.Multiply()([h, h]), "Multiply"),
        (lambda h: ops.multiply(h, h), "Multiply"),
        (lambda h: ops.cumprod(h, axis=1), "Cumprod"),
        (lambda h: 1 / ops.exp(h), "TrueDivide"),
        (lambda h: layers.TimeDistributed(layers.Dense(4, activation="sparsemax"))(h), "Dense (sparsemax)"),
        (lambda h: layers.LSTM(3)(h), "LSTM"),
    ],
)
def test_what_has_no_rule_is_named(
    rng: np.random.Generator, caplog: pytest.LogCaptureFixture, head: Callable, named: str
) -> None:
    deeplift.DeepLift(model_of(head), targets.counts(0), 2)
    assert f"{named} have no rescale rule and get their plain gradient" in caplog.text


def test_recurrent_layers_get_their_plain_gradient_and_an_error_leaves_the_model_as_it_was(
    rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    x, references = example(rng)
    model = keras.Sequential(
        [
            keras.Input((LENGTH, 4)),
            layers.Conv1D(5, 9, strides=4, activation="relu"),
            layers.ReLU(),
            layers.Bidirectional(layers.GRU(3, return_sequences=True)),
            layers.LSTM(3),
            layers.Dense(1, activation="softplus"),
        ]
    )
    before = [(vars(layer).get("call"), getattr(layer, "activation", None)) for layer in model.layers]
    with pytest.raises(InputError, match="the rule of LSTM replaces its activation, which cannot be set"):
        explained(model, x, references, rules={layers.LSTM: rules.activations})
    assert [(vars(layer).get("call"), getattr(layer, "activation", None)) for layer in model.layers] == before
    caplog.clear()
    scores, _ = explained(model, x, references)
    assert np.isfinite(scores).all()
    assert (scores != 0).any()
    assert warned(caplog) == [
        "warning: Bidirectional, LSTM have no rescale rule and get their plain gradient; see the completeness deltas"
    ]
    assert [(vars(layer).get("call"), getattr(layer, "activation", None)) for layer in model.layers] == before


def test_layers_that_the_sequence_does_not_reach_need_no_rule(caplog: pytest.LogCaptureFixture) -> None:
    sequence, control = keras.Input((LENGTH, 4)), keras.Input((3,))
    h = layers.Concatenate()([layers.Flatten()(sequence), Squared()(control)])
    deeplift.DeepLift(keras.Model([sequence, control], layers.Dense(1)(h)), targets.counts(0), 2)
    assert not warned(caplog)


def test_a_rule_can_be_handed_in_or_registered(
    rng: np.random.Generator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(lambda h: Squared()(h))
    x, references = example(rng)
    assert (explained(model, x, references)[1] > 1).any()
    caplog.clear()
    scores, shares = explained(model, x, references, rules={Squared: rules.elementwise})
    assert (shares <= 1).all()
    found = kerasgen.attribute(
        model, x, target="counts", references=references, rules={Squared: rules.elementwise}, batch_size=1
    )
    np.testing.assert_allclose(found.observed, scores.sum(axis=-1), atol=1e-5)
    monkeypatch.setattr(rules, "RULES", dict(rules.RULES))
    rules.register(Squared, rules.elementwise)
    np.testing.assert_array_equal(explained(model, x, references)[0], scores)
    assert not warned(caplog)


def test_a_subclass_has_its_base_rule_unless_it_computes_something_else() -> None:
    class Wide(layers.Conv1D):
        pass

    class Odd(layers.Conv1D):
        def call(self, inputs):
            return ops.square(super().call(inputs))

    assert rules.rule_of(Wide(3, 3)) is rules.activations
    assert rules.rule_of(Odd(3, 3)) is None


SHAP_HEADS: dict[str, tuple[Callable, Callable]] = {
    "MaxPooling1D": (HEADS["MaxPooling1D"],) * 2,
    "MaxPooling2D": (HEADS["MaxPooling2D"],) * 2,
    "softmax": (
        lambda h: layers.Activation("softmax")(h),
        lambda h: ops.exp(h - ops.log(ops.sum(ops.exp(h), axis=-1, keepdims=True))),
    ),
    "sigmoid": (lambda h: layers.Activation("sigmoid")(h),) * 2,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="shap explains TensorFlow models")
@pytest.mark.parametrize("head", list(SHAP_HEADS))
def test_contributions_equal_those_of_shap(rng: np.random.Generator, head: str) -> None:
    """Ours of a layer beside shap's: of softmax, that of the same steps written out."""
    import shap
    from shap.explainers._deep import deep_tf

    for name in ("BatchToSpaceND", "SpaceToBatchND", "StridedSlice", "Squeeze", "ExpandDims"):
        deep_tf.op_handlers.setdefault(name, deep_tf.passthrough)
    deep_tf.op_handlers.setdefault("Log", deep_tf.nonlinearity_1d(0))
    x, references = example(rng)
    ours, theirs = (model_of(part) for part in SHAP_HEADS[head])
    theirs.set_weights(ours.get_weights())
    scores = explained(ours, x, references)[0]
    for i in range(len(x)):
        explainer = shap.DeepExplainer((theirs.inputs, theirs.outputs[0]), references[i])
        wanted = np.asarray(explainer.shap_values(x[i][None], check_additivity=False)).reshape(x[i].shape)
        np.testing.assert_allclose(scores[i], wanted, atol=2e-5 * np.abs(wanted).max())
