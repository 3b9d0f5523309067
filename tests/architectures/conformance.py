"""What every architecture must do, whatever it is."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np


def inputs_of(model: keras.Model, batch: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((batch, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]


def call(model: keras.Model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [keras.ops.convert_to_numpy(output) for output in outputs]


def check_architecture(
    family: ModuleType, params: dict[str, Any], inputs: list[tuple], outputs: list[tuple], folder: Path
) -> keras.Model:
    """Shapes follow the data; the model is finite, trains, saves in safe mode and loads with the same outputs."""
    config = family.Config.from_data(inputs, outputs, **params)
    assert config == family.Config(**vars(config))
    keras.utils.set_random_seed(1)
    model = family.build(config)
    assert [tuple(t.shape[1:]) for t in model.inputs] == inputs
    assert [tuple(t.shape[1:]) for t in model.outputs] == outputs
    data = inputs_of(model)
    before = call(model, data)
    assert all(np.isfinite(output).all() for output in before)

    model.compile("adam", loss=["mse"] * len(outputs))
    labels = tuple(np.ones((2, *shape), np.float32) for shape in outputs)
    losses = [
        float(model.train_on_batch(data if len(data) > 1 else data[0], labels if len(labels) > 1 else labels[0]))
        if len(outputs) == 1
        else float(model.train_on_batch(data if len(data) > 1 else data[0], labels)[0])
        for _ in range(8)
    ]
    assert losses[-1] < losses[0]

    path = folder / "model.keras"
    model.save(path)
    again = keras.models.load_model(path, compile=False, safe_mode=True)
    for a, b in zip(call(model, data), call(again, data), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)

    keras.utils.set_random_seed(1)
    for a, b in zip(before, call(family.build(config), data), strict=True):
        np.testing.assert_array_equal(a, b)
    return model
