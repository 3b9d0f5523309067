"""Several devices, precisions and compilers: the same training, and the same bundle for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasgen import checkpoint
from kerasgen.bundle import open_bundle

ROOT = Path(__file__).resolve().parents[2]


def on_two_devices(trainings: list[dict], folder: Path) -> None:
    (folder / "trainings.json").write_text(json.dumps(trainings))
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("two_devices.py")), str(folder / "trainings.json")],
        check=True,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": str(ROOT)},
    )


def losses(prefix: Path) -> np.ndarray:
    rows = open_bundle(prefix).config["history"]
    return np.array([[row[name] for name in row if name.endswith("loss")] for row in rows])


def state(prefix: Path) -> list[np.ndarray]:
    arrays = checkpoint.load(prefix)[2]
    return [arrays[name] for name in sorted(arrays)]


@pytest.mark.slow
@pytest.mark.backend
def test_two_devices_train_as_one_does_and_resume_exactly(train_flags: dict, tmp_path: Path) -> None:
    # 27 validation samples in batches of 8: the last, of 3, does not divide.
    flags = {**train_flags, "epochs": 3, "num_valid": 27}
    prefixes = {name: str(tmp_path / name) for name in ("one", "two", "cut")}
    on_two_devices(
        [
            {**flags, "model_prefix": prefixes["one"]},
            {**flags, "model_prefix": prefixes["two"], "num_gpus": 2},
            {**flags, "model_prefix": prefixes["cut"], "num_gpus": 2, "stop_after": 7},
            {**flags, "model_prefix": prefixes["cut"], "num_gpus": 2, "resume": True},
        ],
        tmp_path,
    )
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4)
    np.testing.assert_allclose(losses(tmp_path / "cut"), losses(tmp_path / "two"), rtol=1e-6)
    for a, b in zip(state(tmp_path / "cut"), state(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert len(open_bundle(tmp_path / "two").config["devices"]) == 2
    assert open_bundle(tmp_path / "two").load_model().count_params() > 0
