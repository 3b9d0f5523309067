"""The model that is trained: codes in, float32 out, waiting measured."""

from __future__ import annotations

import time
from pathlib import Path

import keras
import numpy as np
import pytest

import architectures
from kerasgen import sequence
from kerasgen.bundle import load_model
from kerasgen.loader.prefetch import Prefetcher, as_tf_dataset
from kerasgen.training import devices
from kerasgen.training.timed_model import on_device

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


class Slow(keras.utils.PyDataset):
    def __init__(self, seconds: float) -> None:
        super().__init__(workers=1)
        self.seconds = seconds

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        time.sleep(self.seconds)
        return np.zeros((2, 20), np.uint8), np.zeros((2, 4), np.float32)


class SlowStep(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        time.sleep(0.05)


@pytest.mark.parametrize(("batch", "step"), [(0.05, 0), (0, 0.05)])
def test_waiting_is_measured_where_it_is(batch: float, step: float) -> None:
    x = keras.Input((20, 4))
    model = keras.Model(x, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling1D()(x)))
    trained = on_device(model, [True], model.output_names)
    trained.compile("sgd", loss="mse")
    for _ in range(2):
        began, before = time.perf_counter(), trained.waited
        with Prefetcher(Slow(batch)) as feed:
            data = as_tf_dataset(feed) if keras.backend.backend() == "tensorflow" else feed
            trained.fit(data, shuffle=False, verbose=0, callbacks=[SlowStep()] if step else [])
        seconds, waited = time.perf_counter() - began, trained.waited - before
    if batch:
        # TensorFlow asks for some before the training does.
        assert 5 * batch < waited < seconds
    else:
        assert waited < 0.3 * seconds
