"""BPNet: every kind of head and control, and the numbers of a released model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import architectures
from architectures.testing import call

pytestmark = pytest.mark.backend

BPNET = architectures.get("bpnet")
SMALL = {"filters": 8, "n_dil_layers": 2, "conv1_kernel_size": 9, "profile_kernel_size": 11}


def test_defaults_are_the_published_ones() -> None:
    model = BPNET.build(BPNET.Config())
    assert model.output_shape == [(None, 1000, 2), (None, 2)]
    assert BPNET.Config().profile_positions == 1000
    assert sum(1 for layer in model.layers if layer.name.startswith("dilated_")) == 8


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"input_length": 1500}, "leaves 386 of the 1000 bp"),
        ({"padding": "full"}, "padding 'full'"),
        ({"conv1_kernel_size": 20}, "odd number"),
        ({"num_tasks": 0, "num_counts": 0}, "needs a profile head"),
        ({"counts_pooling": "max"}, "counts_pooling 'max'"),
        ({"trunk_length": 3000}, "trunk_length 3000; expected 0 to the input's 2114"),
        ({"num_tasks": 0, "input_length": 100}, "too short"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(params: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BPNET.Config(**params)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([(120, 3)], [(60, 1)]),
        ([(120, 4), (2,), (60, 2)], [(60, 1)]),
        ([(120, 4)], [(1,), (60, 1)]),
        ([(120, 4), (50, 2)], [(60, 1)]),
        ([(120, 4)], [(60, 1), (60, 1)]),
    ],
)
def test_data_that_bpnet_does_not_take_is_refused(inputs: list, outputs: list) -> None:
    with pytest.raises(ValueError, match=r"BPNet|control profile"):
        BPNET.Config.from_data(inputs, outputs, **SMALL)


def test_names_are_listed_and_a_file_serves_as_well(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown architecture 'nope'; known are bpnet"):
        architectures.get("nope")
    path = tmp_path / "mine.py"
    path.write_text("from architectures.bpnet import Config, build\n")
    assert architectures.from_file(path).Config is BPNET.Config
    path.write_text("def build(config): ...\n")
    with pytest.raises(ValueError, match="defines no Config"):
        architectures.from_file(path)
    path.write_text("import nothing_of_this_name\n")
    with pytest.raises(ValueError, match="cannot be run"):
        architectures.from_file(path)


@pytest.mark.real
def test_a_released_model_is_reproduced(real_data: Path) -> None:
    weights = np.load(real_data / "trained_bpnet" / "weights.npz")
    reference = np.load(real_data / "trained_bpnet" / "reference_io.npz")
    model = BPNET.build(BPNET.Config(num_counts=1, control_profiles=2, control_counts=2))
    names = [
        "conv_1", *(f"dilated_{i}" for i in range(1, 9)), "profile_conv", "counts", "profile_predictions",
        "logcount_predictions",
    ]  # fmt: skip
    for i, name in enumerate(names):
        model.get_layer(name).set_weights([weights[f"{i}_kernel"], weights[f"{i}_bias"]])
    inputs = [reference[f"in_{name}"] for name in ("sequence", "profile_bias_input_0", "counts_bias_input_0")]
    profile, counts = call(model, inputs)
    np.testing.assert_allclose(profile, reference["out_profile_predictions"], atol=1e-4)
    np.testing.assert_allclose(counts, reference["out_logcounts_predictions"], atol=1e-4)
