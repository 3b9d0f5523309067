"""Several devices, precisions and compilers: the same training, and the same bundle for all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from interrupted import leaving

from db_ingest.errors import InputError
from kerasgen.bundle import open_bundle
from kerasgen.training import state as checkpoint
from kerasgen.training.train import train

ROOT = Path(__file__).resolve().parents[3]


def on_two_devices(trainings: str) -> str:
    return subprocess.run(
        [sys.executable, str(Path(__file__).parents[1] / "two_devices.py"), trainings],
        check=True,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def losses(prefix: Path) -> np.ndarray:
    rows = open_bundle(prefix).config["history"]
    return np.array([[row[name] for name in row if name.endswith("loss")] for row in rows])


def state(prefix: Path) -> list[np.ndarray]:
    arrays = checkpoint.load(prefix)[2]
    return [arrays[name] for name in sorted(arrays)]


@pytest.mark.slow
@pytest.mark.backend
def test_two_devices_share_an_epoch_train_as_one_does_and_resume_exactly(train_flags: dict, tmp_path: Path) -> None:
    # 27 validation samples in batches of 28, which does not divide either.
    flags = {
        **train_flags,
        "epochs": 2,
        "num_valid": 27,
        "batch_size": 28,
        "num_train": 84,
        "learning_rate": 0.01,
        "state_every": 1,
    }
    prefixes = {name: str(tmp_path / name) for name in ("one", "two", "cut")}
    trainings = [
        {**flags, "model_prefix": prefixes["one"]},
        {**flags, "model_prefix": prefixes["two"], "num_gpus": 2, "leaves": [prefixes["cut"], 1, 2]},
        {**flags, "model_prefix": prefixes["cut"], "num_gpus": 2, "resume": True},
    ]
    (tmp_path / "trainings.json").write_text(json.dumps(trainings))
    first, second = json.loads(on_two_devices(str(tmp_path / "trainings.json")))
    assert len(first) == len(second) == 12
    assert sorted(first + second) == list(range(24))
    # Each batch is shared, not each epoch.
    assert sorted(first[:4] + second[:4]) == list(range(8))
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4)
    np.testing.assert_allclose(losses(tmp_path / "cut"), losses(tmp_path / "two"), rtol=1e-6)
    for a, b in zip(state(tmp_path / "cut"), state(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert len(open_bundle(tmp_path / "two").config["devices"]) == 2
    assert open_bundle(tmp_path / "two").load_model().count_params() > 0


def test_more_devices_than_there_are_are_refused(train_flags: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--num_gpus 3: Keras on \w+ sees 0 GPU\(s\)"):
        train(model_prefix=str(tmp_path / "m"), **{**train_flags, "batch_size": 9}, num_gpus=3)
    with pytest.raises(InputError, match="--batch_size 8 does not divide among --num_gpus 3; expected a multiple of 3"):
        train(model_prefix=str(tmp_path / "m"), **train_flags, num_gpus=3)
    with pytest.raises(InputError, match="--jit_compile true: TensorFlow does so on one device only"):
        train(model_prefix=str(tmp_path / "m"), **train_flags, num_gpus=2, jit_compile="true")


@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.parametrize(
    "options", [{"device_one_hot": False, "jit_compile": "true"}, {"device_one_hot": True, "precision": "bfloat16"}]
)
def test_a_training_resumes_exactly_with_any_option(train_flags: dict, tmp_path: Path, options: dict) -> None:
    flags = {**train_flags, "model_params": [*train_flags["model_params"], "dropout=0.2"], "state_every": 1, **options}
    with leaving(tmp_path / "cut", epoch=1, batch=1):
        train(model_prefix=str(tmp_path / "whole"), **flags)
    assert len(losses(tmp_path / "whole")) == 2
    train(model_prefix=str(tmp_path / "cut"), resume=True, **flags)
    np.testing.assert_allclose(losses(tmp_path / "cut"), losses(tmp_path / "whole"), rtol=1e-6)
    for a, b in zip(state(tmp_path / "cut"), state(tmp_path / "whole"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.backend
def test_base_codes_and_one_hot_train_the_same_model(trained: Path, train_flags: dict, tmp_path: Path) -> None:
    assert open_bundle(trained).config["run"]["device_one_hot"]
    train(model_prefix=str(tmp_path / "one_hot"), device_one_hot=False, **train_flags)
    np.testing.assert_allclose(losses(trained), losses(tmp_path / "one_hot"), rtol=1e-5)
    model = open_bundle(trained).load_model()
    assert model.input_shape == (None, 200, 4)
    assert [layer.name for layer in model.layers] == [
        layer.name for layer in open_bundle(tmp_path / "one_hot").load_model().layers
    ]


@pytest.mark.backend
def test_bfloat16_trains_a_float32_bundle(trained: Path, train_flags: dict, tmp_path: Path) -> None:
    assert open_bundle(trained).config["run"]["precision"] == "float32"
    train(model_prefix=str(tmp_path / "bfloat16"), precision="bfloat16", **train_flags)
    exact, rough = losses(trained), losses(tmp_path / "bfloat16")
    np.testing.assert_allclose(rough, exact, rtol=0.02)
    assert (rough != exact).any()
    found = open_bundle(tmp_path / "bfloat16")
    assert found.config["run"]["precision"] == "bfloat16"
    assert {layer.compute_dtype for layer in found.load_model().layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_options_that_change_results_must_stay_on_resuming(trained: Path, train_flags: dict, tmp_path: Path) -> None:
    prefix = str(shutil.copytree(trained.parent, tmp_path / "moved") / trained.name)
    for option, value in (("precision", "bfloat16"), ("jit_compile", "false")):
        with pytest.raises(InputError, match=f"--resume: --{option} was"):
            train(model_prefix=prefix, resume=True, **{**train_flags, option: value})
    more = {**train_flags, "epochs": 3, "device_one_hot": False}
    assert len(train(model_prefix=prefix, resume=True, **more).history) == 3
