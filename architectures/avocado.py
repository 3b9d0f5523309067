"""Avocado: values of genomic tracks from factors of the cell type, the assay and the place in the genome.

The factors of the genome are an input: they are far too many to lie on the device, and
``kerasgen.track_models.avocado`` keeps and learns them on the host. All else is here: factors of cell types and assays,
and the network.

References:
    Schreiber et al. 2020, Genome Biology 21:81 (the model; its defaults are this module's), 21:82 (ENCODE).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from architectures.layers import FactorProduct, alone, full_precision


@dataclass(frozen=True)
class Config:
    """What an Avocado is built from; the defaults are the published ones.

    Args:
        n_celltypes: number of cell types.
        n_assays: number of assays.
        n_celltype_factors: number of factors per cell type.
        n_assay_factors: number of factors per assay.
        n_genome_factors: number of factors per place in the genome, of all resolutions (25 + 40 + 45); 0 for none.
        n_context: number of further inputs, from other tracks at the place; 0 for none.
        n_layers: number of dense layers.
        n_nodes: number of units per dense layer.
        genome_dropout: share of the genome factors that training sets to 0.
        dropout: share of each dense layer's units that training sets to 0.
        residual: whether the network's output is added to the first of the further inputs.
    """

    n_celltypes: int
    n_assays: int
    n_celltype_factors: int = 32
    n_assay_factors: int = 256
    n_genome_factors: int = 110
    n_context: int = 0
    n_layers: int = 2
    n_nodes: int = 2048
    genome_dropout: float = 0.0
    dropout: float = 0.0
    residual: bool = False

    def __post_init__(self) -> None:
        for name in ("n_celltypes", "n_assays", "n_celltype_factors", "n_assay_factors", "n_layers", "n_nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 1")
        for name in ("n_genome_factors", "n_context"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 0")
        if not self.n_genome_factors and not self.n_context:
            raise ValueError("n_genome_factors and n_context are both 0: an output would not depend on the place")
        for name in ("genome_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected 0 to less than 1")
        if self.residual and not self.n_context:
            raise ValueError("residual needs further inputs (n_context) whose first it is added to")

    @property
    def n_inputs(self) -> int:
        """Inputs of the first dense layer."""
        return self.n_celltype_factors + self.n_assay_factors + self.n_genome_factors + self.n_context

    @classmethod
    def from_data(cls, inputs: Sequence[tuple[int, ...]], outputs: Sequence[tuple[int, ...]], **params: Any) -> Config:
        """Derive the numbers of inputs from the shapes of one sample.

        Args:
            inputs: ``(1,)`` index of the cell type, ``(1,)`` of the assay, ``(factors,)`` of the genome, perhaps
                ``(values,)`` of other tracks.
            outputs: ``(1,)``.
            params: all other settings; the numbers of cell types and assays are among them.

        Raises:
            ValueError: shapes an Avocado does not have.
        """
        if not 3 <= len(inputs) <= 4 or list(inputs[:2]) != [(1,), (1,)] or any(len(shape) != 1 for shape in inputs):
            raise ValueError(
                f"inputs of shapes {list(inputs)}: expected (1,) and (1,), the indices of cell type and assay, then "
                "the genome's factors and perhaps values of other tracks"
            )
        if list(outputs) != [(1,)]:
            raise ValueError(f"outputs of shapes {list(outputs)}: an Avocado has one value, (1,)")
        return cls(n_genome_factors=inputs[2][0], n_context=inputs[3][0] if len(inputs) == 4 else 0, **params)


def build(config: Config) -> keras.Model:
    """Build an uncompiled Avocado.

    Inputs, in order: ``celltype (batch, 1)`` and ``assay (batch, 1)`` indices, those configured of ``genome
    (batch, n_genome_factors)`` and ``context (batch, n_context)``. Output: ``y_pred (batch, 1)``.

    The first dense layer is the sum of one product for each input, which is the same as one product of all of them
    laid side by side; its kernels begin as that one's would.
    """
    # Glorot's bound for the kernel of the whole layer.
    limit = (6 / (config.n_inputs + config.n_nodes)) ** 0.5
    uniform = keras.initializers.RandomUniform
    celltype, assay = (keras.Input((1,), dtype="int32", name=name) for name in ("celltype", "assay"))
    inputs = [celltype, assay]
    parts = [
        FactorProduct(config.n_celltypes, config.n_celltype_factors, config.n_nodes, limit, name="celltype_product")(
            celltype
        ),
        FactorProduct(config.n_assays, config.n_assay_factors, config.n_nodes, limit, name="assay_product")(assay),
    ]
    if config.n_genome_factors:
        genome = keras.Input((config.n_genome_factors,), name="genome")
        inputs.append(genome)
        share = config.genome_dropout
        kept = layers.Dropout(share, name="genome_dropout")(genome) if share else genome
        parts.append(layers.Dense(config.n_nodes, kernel_initializer=uniform(-limit, limit), name="dense_0")(kept))
    if config.n_context:
        context = keras.Input((config.n_context,), name="context")
        inputs.append(context)
        parts.append(
            layers.Dense(
                config.n_nodes,
                kernel_initializer=uniform(-limit, limit),
                use_bias=not config.n_genome_factors,
                name="context_product",
            )(context)
        )
    x = layers.Activation("relu", name="relu_0")(layers.Add(name="sum_0")(parts))
    for number in range(1, config.n_layers):
        x = layers.Dense(config.n_nodes, activation="relu", name=f"dense_{number}")(_thinned(x, config, number - 1))
    x = _thinned(x, config, config.n_layers - 1)
    with full_precision():
        if config.residual:
            change = layers.Dense(1, kernel_initializer="zeros", name="change")(x)
            output = layers.Add(name="y_pred")([change, context[:, :1]])
        else:
            output = layers.Dense(1, name="y_pred")(x)
    return keras.Model(inputs, alone([output]), name="avocado")


def _thinned(x: Any, config: Config, number: int) -> Any:
    return layers.Dropout(config.dropout, name=f"dropout_{number}")(x) if config.dropout else x
