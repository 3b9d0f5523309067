"""Epi-LSTM: shapes of all its kinds, its cell by hand, and codes that see no further than they may."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import architectures
from architectures.testing import call

pytestmark = pytest.mark.backend

EPILSTM = architectures.get("epilstm")
SMALL = {"tracks": 5, "bottleneck": 3, "units": 4, "frame": 7, "look_ahead": 2}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"look_ahead": 0},
        {"mask": True},
        {"direct": False},
        {"units": 0, "look_ahead": 0},
        {"code": "state", "units": 3, "direct": False, "cell": "softsign", "look_ahead": 0},
        {"bottleneck": 9},
    ],
)
def test_config_follows_from_its_own_shapes(params: dict) -> None:
    config = EPILSTM.Config(**{**SMALL, **params})
    settings = {name: params[name] for name in ("direct", "cell", "code") if name in params}
    assert EPILSTM.Config.from_data(config.inputs, config.outputs, **settings) == config


def test_defaults_take_frames_of_100_bins_to_24_numbers() -> None:
    config = EPILSTM.Config()
    assert config.outputs[:2] == [(100, 1030), (100, 24)]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"bottleneck": 0}, "bottleneck 0; expected 1 or more"),
        ({"cell": "relu"}, "expected one of tanh, softsign"),
        ({"code": "hidden"}, "expected one of projected, state"),
        ({"code": "state"}, "expected direct=false and units=24"),
        ({"units": 0}, "look_ahead=0"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(params: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EPILSTM.Config(**params)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [([(7, 5)], [(7, 5)]), ([(9, 5), (4,)], [(7, 5), (7, 3), (4,)]), ([(7, 6)], [(7, 5), (7, 3)])],
)
def test_shapes_that_an_epilstm_does_not_have_are_refused(inputs: list, outputs: list) -> None:
    with pytest.raises(ValueError, match="an Epi-LSTM|units=0"):
        EPILSTM.Config.from_data(inputs, outputs)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softsign(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.abs(x))


def test_published_cell_is_the_softsign_recurrence(rng: np.random.Generator) -> None:
    config = EPILSTM.Config(
        tracks=4, bottleneck=3, units=3, frame=5, look_ahead=0, cell="softsign", code="state", direct=False
    )
    model = EPILSTM.build(config)
    frame = rng.normal(size=(2, 5, 4)).astype(np.float32)
    h, c = rng.normal(size=(2, 2, 3)).astype(np.float32)
    kernel, recurrent, bias = (keras.ops.convert_to_numpy(w) for w in model.get_layer("code_lstm").weights)
    others = [np.zeros((2, 3), np.float32)] * 2
    code = call(model, [frame, h, c, *others])[1]
    for step in range(5):
        # Keras' order of the gates: input, forget, candidate, output.
        i, f, g, o = np.split(frame[:, step] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * softsign(g)
        h = sigmoid(o) * softsign(c)
        np.testing.assert_allclose(code[:, step], h, atol=1e-5)


def random_model(**params: object) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = EPILSTM.build(EPILSTM.Config(**{**SMALL, **params}))
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


def test_two_frames_with_the_state_carried_are_one_long_frame(rng: np.random.Generator) -> None:
    short, long = random_model(), random_model(frame=14)
    long.set_weights(short.get_weights())
    bins = rng.normal(size=(3, 16, 5)).astype(np.float32)
    zeros = [np.zeros((3, *shape), np.float32) for shape in EPILSTM.Config(**SMALL).states]
    whole = call(long, [bins, *zeros])
    first = call(short, [bins[:, :9], *zeros])
    second = call(short, [bins[:, 7:], *first[2:]])
    for place in (0, 1):
        np.testing.assert_allclose(np.concatenate([first[place], second[place]], 1), whole[place], atol=1e-5)
    for a, b in zip(second[2:], whole[2:], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_code_sees_look_ahead_bins_further_and_its_reconstruction_as_many_codes(rng: np.random.Generator) -> None:
    model = random_model()
    data = [rng.normal(size=(1, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    before = call(model, data)
    data[0][:, 5] += 1
    after = call(model, data)
    changed = np.abs(after[1] - before[1]).max(axis=(0, 2)) > 1e-6
    assert changed.tolist() == [False] * 3 + [True] * 4
    # The reconstruction at step j is of bin j - 2 and sees codes up to bin j.
    changed = np.abs(after[0] - before[0]).max(axis=(0, 2)) > 1e-6
    assert changed.tolist() == [False] * 3 + [True] * 4


def test_the_encoder_alone_gives_the_same_codes(rng: np.random.Generator) -> None:
    model = random_model()
    data = [rng.normal(size=(2, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    whole, part = call(model, data), call(EPILSTM.encoder(model), data[:3])
    for a, b in zip(part, whole[1:4], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
