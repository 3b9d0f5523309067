"""Every family of the registry passes the conformance suite that users are given, on the backend in use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import architectures
import kerasgen
from architectures import testing
from architectures.heads import OutputShape
from architectures.testing import Case
from kerasgen.interpretation import targets

pytestmark = pytest.mark.backend

BPNET = {"filters": 8, "n_dil_layers": 2, "conv1_kernel_size": 9, "profile_kernel_size": 11}
AVOCADO = {"n_celltypes": 5, "n_assays": 4, "n_celltype_factors": 3, "n_assay_factors": 6, "n_nodes": 16}
EPILSTM = {"tracks": 5, "bottleneck": 3, "units": 4, "frame": 7, "look_ahead": 2}


def bpnet(inputs: list, outputs: list, **params: Any) -> Case:
    return Case(inputs, outputs, {**BPNET, **params})


def avocado(*context: int, **params: Any) -> Case:
    return Case([(1,), (1,), (11,), *((n,) for n in context)], [(1,)], {**AVOCADO, **params})


def epilstm(**params: Any) -> Case:
    config = architectures.get("epilstm").Config(**{**EPILSTM, **params})
    settings = {name: params[name] for name in ("direct", "cell", "code") if name in params}
    # It is trained in float32 alone.
    return Case(config.inputs, config.outputs, settings, bfloat16=False)


CASES = {
    "bpnet": [
        bpnet([(121, 4)], [(60, 1), (1,)]),
        bpnet([(120, 4)], [(60, 6), (6,)]),
        bpnet([(120, 4), (60, 2), (2,)], [(60, 2), (1,)]),
        bpnet([(120, 4), (2,)], [(60, 2), (2,)], control_counts_pooling="none"),
        bpnet([(120, 4)], [(60, 2)]),
        bpnet([(120, 4)], [(3,)]),
        bpnet([(100, 4)], [(100, 2), (2,)], padding="same"),
        bpnet([(150, 4)], [(60, 2), (2,)], counts_pooling="bins", counts_bin=30, trunk_length=110),
        bpnet(
            [(160, 4)],
            [(60, 2), (2,)],
            counts_pooling="rates",
            dropout=0.2,
            counts_dropout=0.3,
            dilated_kernel_size=5,
        ),
        bpnet([(120, 4)], [OutputShape((6, 2), "binned", 16)]),
        bpnet([(120, 4)], [OutputShape((3,), "labels")], counts_dropout=0.2),
        bpnet([(120, 4)], [OutputShape((6, 2), "labels", 10)], counts_dropout=0.2),
        bpnet(
            [(120, 4), (60, 2)],
            [(60, 2), (2,), OutputShape((60, 2), "binned", 1), OutputShape((2,), "labels")],
        ),
    ],
    "avocado": [
        avocado(),
        avocado(n_layers=1, dropout=0.05),
        avocado(n_layers=3, genome_dropout=0.1),
        avocado(7),
        avocado(7, residual=True, n_nodes=128),
    ],
    "epilstm": [
        epilstm(),
        epilstm(look_ahead=0, mask=True),
        epilstm(direct=False, bottleneck=9),
        epilstm(units=0, look_ahead=0),
        epilstm(code="state", units=3, direct=False, cell="softsign", look_ahead=0),
    ],
}
"""What each family of the registry is tried on."""

EVERY = [(name, number) for name in architectures.ARCHITECTURES for number in range(len(CASES.get(name, [])) or 1)]


def explain(model: keras.Model, inputs: Sequence[np.ndarray], references: np.ndarray) -> list[Any]:
    """DeepLIFT of kerasgen, of all outputs in turn."""
    found = []
    for place, output in enumerate(model.outputs):
        target = (targets.profile if output.name.startswith("profile") else targets.counts)(place)
        attributions = kerasgen.attribute(model, list(inputs), target=target, references=references)
        found.append((attributions.delta + attributions.difference, attributions.difference))
    return found


@pytest.mark.parametrize(("name", "number"), EVERY)
def test_family_conforms(name: str, number: int, tmp_path: Path) -> None:
    assert name in CASES, f"the family {name} has no case"
    case = CASES[name][number]
    of_sequence = len(case.inputs[0]) == 2 and case.inputs[0][1] == 4
    testing.check(architectures.get(name), case, tmp_path, explain=explain if of_sequence else None)


BROKEN = """
from dataclasses import dataclass
import keras

@dataclass(frozen=True)
class Config:
    length: int
    channels: int
    fault: str = ""

    @classmethod
    def from_data(cls, inputs, outputs, **params):
        return cls(inputs[0][0], outputs[0][-1], **params)

def build(config):
    sequence = keras.Input((config.length, 4), name="sequence")
    x = keras.layers.Conv1D(3, 5, padding="same", activation="relu")(sequence)
    x = keras.layers.GlobalAveragePooling1D()(x)
    if config.fault == "product":
        x = keras.layers.Multiply()([x, x])
    dtype = None if config.fault == "precision" else "float32"
    y = keras.layers.Dense(config.channels + (config.fault == "shape"), dtype=dtype,
                           trainable=config.fault != "training")(x)
    if config.fault == "training":
        y = keras.layers.Rescaling(0.0, dtype="float32")(y)
    return keras.Model(sequence, y)
"""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("", None),
        ("shape", "output shapes .*3.*expected"),
        ("precision", "is bfloat16 under mixed_bfloat16"),
        ("training", "steps of training changed the loss"),
        ("product", "do not add up"),
    ],
)
def test_suite_tells_a_users_own_family_what_is_wrong(fault: str, message: str | None, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BROKEN)
    family, case = architectures.from_file(path), Case([(40, 4)], [(2,)], {"fault": fault})
    if message is None:
        testing.check(family, case, tmp_path, explain=explain)
        return
    with pytest.raises(AssertionError, match=message):
        testing.check(family, case, tmp_path, explain=explain)
