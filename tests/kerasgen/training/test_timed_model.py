"""The model that is trained: codes in, float32 out, waiting measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import architectures
from kerasgen import sequence
from kerasgen.bundle import load_model
from kerasgen.loader.prefetch import Prefetcher, as_tf_dataset
from kerasgen.training import devices, timed_model
from kerasgen.training.timed_model import TimedModel, on_device

pytestmark = pytest.mark.backend

BPNET = architectures.get("bpnet")
CONFIG = BPNET.Config(
    input_length=120, output_length=60, filters=8, n_dil_layers=2, conv1_kernel_size=9, profile_kernel_size=11,
    control_profiles=2, control_counts=2,
)  # fmt: skip


def arrays(outputs: list) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(output) for output in outputs]


@pytest.fixture
def codes(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 5, (3, 120)).astype(np.uint8)


@pytest.fixture
def controls(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.random((3, 60, 2)).astype(np.float32), 5 + rng.random((3, 2)).astype(np.float32)]


def test_base_codes_give_what_one_hot_gives(codes: np.ndarray, controls: list[np.ndarray], tmp_path: Path) -> None:
    model = BPNET.build(CONFIG)
    trained = on_device(model, [True, False, False], model.output_names)
    assert trained.output_names == ["profile_predictions", "logcount_predictions"]
    assert all(a is b for a, b in zip(trained.weights, model.weights, strict=True))
    wanted = arrays(model([sequence.one_hot(codes), *controls]))
    for got, array in zip(arrays(trained([codes, *controls])), wanted, strict=True):
        np.testing.assert_allclose(got, array, rtol=1e-6, atol=1e-6)
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    for got, array in zip(arrays(again([sequence.one_hot(codes), *controls])), wanted, strict=True):
        np.testing.assert_allclose(got, array, rtol=1e-6, atol=1e-6)


def test_heads_compute_in_float32_under_bfloat16(codes: np.ndarray, controls: list[np.ndarray]) -> None:
    with devices.precision("bfloat16"):
        model = BPNET.build(CONFIG)
        trained = on_device(model, [True, False, False], model.output_names)
    types = {layer.name: layer.compute_dtype for layer in model.layers}
    assert {types[name] for name in ("conv_1", "dilated_1", "sum_2")} == {"bfloat16"}
    assert {types[name] for name in ("profile_conv", "profile_predictions", "counts", "control_total")} == {"float32"}
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    # Log counts of the control would lose all but 8 bits.
    counts = arrays(trained([codes, *controls]))[1]
    moved = arrays(trained([codes, controls[0], controls[1] + np.float32(0.001)]))[1]
    assert (counts != moved).all()
    assert counts.dtype == np.float32


class Zeros(keras.utils.PyDataset):
    def __init__(self) -> None:
        super().__init__(workers=1)

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((2, 20), np.uint8), np.zeros((2, 4), np.float32)


def small_model() -> TimedModel:
    x = keras.Input((20, 4))
    model = keras.Model(x, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling1D()(x)))
    trained = on_device(model, [True], model.output_names)
    trained.compile("sgd", loss="mse")
    return trained


@pytest.mark.parametrize(("batch", "step"), [(3, 0), (0, 5), (3, 5)])
def test_waiting_for_batches_is_measured_and_steps_are_not(
    batch: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def pass_by(seconds: float) -> None:
        nonlocal now
        now += seconds

    def one_step(*arguments: Any) -> list[Any]:
        *state, iterator = arguments
        pass_by(step)
        return [*state, next(iterator)]

    def batches() -> Iterator[str]:
        for name in "abc":
            pass_by(batch)
            yield name

    def make_train_function(model: keras.Model, force: bool = False) -> None:
        # As Keras does: a function that is there stays, unless a new one is demanded.
        if force or model.train_function is None:
            model.train_function = one_step

    monkeypatch.setattr(keras.Model, "make_train_function", make_train_function)
    monkeypatch.setattr(timed_model, "perf_counter", lambda: now)
    trained = small_model()
    for given, epochs in ((False, 1), (False, 2), (True, 3)):
        trained.make_train_function(force=given)
        steps = batches()
        assert [trained.train_function("state", steps) for _ in "abc"] == [["state", name] for name in "abc"]
        assert trained.waited == 3 * batch * epochs


def test_training_waits_less_than_it_takes() -> None:
    trained = small_model()
    for _ in range(2):
        began, before = time.perf_counter(), trained.waited
        with Prefetcher(Zeros()) as feed:
            data = as_tf_dataset(feed) if keras.backend.backend() == "tensorflow" else feed
            trained.fit(data, shuffle=False, verbose=0)
        assert 0 < trained.waited - before < time.perf_counter() - began
