"""Avocado's network: its inputs, its published size, and the first layer in parts."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import architectures
from architectures.testing import call

pytestmark = pytest.mark.backend

AVOCADO = architectures.get("avocado")
SMALL = {"n_celltypes": 5, "n_assays": 4, "n_celltype_factors": 3, "n_assay_factors": 6, "n_nodes": 16}


def test_defaults_are_the_published_ones() -> None:
    model = AVOCADO.build(AVOCADO.Config(n_celltypes=127, n_assays=24))
    dense = 398 * 2048 + 2048 + 2048 * 2048 + 2048 + 2048 + 1
    assert model.count_params() == dense + 127 * 32 + 24 * 256


@pytest.mark.parametrize("most_one_hot", [256, 1])
def test_the_first_layer_in_parts_is_one_dense_layer_of_all(most_one_hot: int, monkeypatch) -> None:
    from architectures.layers import FactorProduct

    monkeypatch.setattr(FactorProduct, "MOST_ONE_HOT", most_one_hot)
    model = AVOCADO.build(AVOCADO.Config(**SMALL, n_genome_factors=7, n_layers=1))
    weights = {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.variables}

    indices = [keras.Input((1,), dtype="int32") for _ in range(2)]
    genome = keras.Input((7,))
    embedded = [
        keras.layers.Flatten()(keras.layers.Embedding(rows, factors)(index))
        for rows, factors, index in zip((5, 4), (3, 6), indices, strict=True)
    ]
    x = keras.layers.Dense(16, activation="relu")(keras.layers.Concatenate()([*embedded, genome]))
    plain = keras.Model([*indices, genome], keras.layers.Dense(1)(x))
    kernels = [weights[f"{name}/kernel"] for name in ("celltype_product", "assay_product", "dense_0")]
    plain.set_weights(
        [
            *(weights[f"{name}/embeddings"] for name in ("celltype_product", "assay_product")),
            np.concatenate(kernels),
            *(weights[name] for name in ("dense_0/bias", "y_pred/kernel", "y_pred/bias")),
        ]
    )
    rng = np.random.default_rng(0)
    data = [rng.integers(0, 5, (9, 1)), rng.integers(0, 4, (9, 1)), rng.random((9, 7)).astype(np.float32)]
    data[:2] = [index.astype(np.int32) for index in data[:2]]
    np.testing.assert_allclose(call(model, data)[0], call(plain, data)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_nodes": 0}, "n_nodes 0: expected at least 1"),
        ({"n_genome_factors": -1}, "n_genome_factors -1"),
        ({"n_genome_factors": 0}, "would not depend on the place"),
        ({"dropout": 1.0}, "^dropout 1.0"),
        ({"genome_dropout": -0.1}, "genome_dropout -0.1"),
        ({"residual": True}, "residual needs further inputs"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(params: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AVOCADO.Config(**{**SMALL, **params})


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([(1,), (1,)], [(1,)]),
        ([(1,), (2,), (11,)], [(1,)]),
        ([(1,), (1,), (11, 2)], [(1,)]),
        ([(1,), (1,), (11,)], [(2,)]),
    ],
)
def test_data_that_avocado_does_not_take_is_refused(inputs: list, outputs: list) -> None:
    with pytest.raises(ValueError, match="shapes"):
        AVOCADO.Config.from_data(inputs, outputs, **SMALL)
