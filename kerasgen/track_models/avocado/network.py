"""The part of an Avocado that lies on the device: one compiled step of training, and one of imputing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasgen.track_models.avocado.genome import SPANS
from kerasgen.track_models.avocado.kernels import BETA_1, BETA_2, EPSILON

Weights = list[Any]


class Trainer:
    """Adam on some of a network's weights, one compiled step per batch.

    The step also returns the gradient of the genome's factors, which the host applies. Close it, or leave its ``with``
    block, to have the weights in the model.

    Args:
        model: what :func:`architectures.avocado.build` made.
        trained: which weights learn; the others stay as they are.
        rows: for weights of which only some rows learn, ``(rows,) bool`` by the weight's path.
        genome: whether the gradient of the genome's factors is wanted.
        weight_decay: each weight that learns shrinks by the learning rate times this of itself.
    """

    def __init__(
        self,
        model: keras.Model,
        trained: Callable[[str], bool],
        rows: dict[str, np.ndarray] | None = None,
        genome: bool = True,
        weight_decay: float = 0.0,
    ) -> None:
        self.model = model
        variables = model.trainable_variables
        places = tuple(place for place, variable in enumerate(variables) if trained(variable.path))
        masks = [None if rows is None else rows.get(variable.path) for variable in variables]
        self._weights = [ops.convert_to_tensor(variable.value) for variable in variables]
        self._more = [ops.convert_to_tensor(variable.value) for variable in model.non_trainable_variables]
        zeros = [ops.zeros_like(self._weights[place]) for place in places]
        self._moments = (zeros, list(zeros))
        self._count = 0
        self._step = _step_of(
            _Structure(model),
            places,
            tuple(None if mask is None else tuple(mask.tolist()) for mask in masks),
            genome and _has_genome(model),
            weight_decay,
        )

    def __call__(self, batch: Sequence[np.ndarray], factors: np.ndarray | None, rate: float) -> tuple[Any, Any]:
        """Take one step.

        Args:
            batch: indices ``(n, 1) int32`` of cell types and assays, perhaps context ``(n, columns)``, values ``(n,)``
                and weights ``(n,)``, all float32.
            factors: those of the genome, ``(n, factors) float32``; None for a model without.
            rate: the learning rate.

        Returns:
            The loss, on the device, and the gradient of the factors, or None.
        """
        self._count += 1
        inputs = [ops.convert_to_tensor(array) for array in batch]
        genome = ops.zeros((1, 1)) if factors is None else ops.convert_to_tensor(factors)
        scalars = [ops.convert_to_tensor(np.float32(number)) for number in (rate, self._count)]
        self._weights, self._moments, self._more, loss, gradient = self._step(
            self._weights, self._moments, self._more, inputs, genome, *scalars
        )
        return loss, gradient

    def store(self) -> None:
        """Write the weights into the model."""
        for variable, value in zip(self.model.trainable_variables, self._weights, strict=True):
            variable.assign(value)
        for variable, value in zip(self.model.non_trainable_variables, self._more, strict=True):
            variable.assign(value)


class _Structure:
    """A network apart from its weights; equal to that of any other network that is built alike.

    Args:
        model: one of these networks.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model, self._text = model, model.to_json()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Structure) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@functools.lru_cache(maxsize=8)
def _step_of(
    structure: _Structure,
    places: tuple[int, ...],
    masks: tuple[tuple[bool, ...] | None, ...],
    genome: bool,
    weight_decay: float,
) -> Callable[..., Any]:
    """One compiled step of training; models of an ensemble, and of several chromosomes, share it.

    Args:
        structure: the network.
        places: which of its trainable weights learn.
        masks: for each trainable weight, which of its rows learn; None for all.
        genome, weight_decay: see :class:`Trainer`.
    """
    model = structure.model
    width, has_genome = len(model.inputs), _has_genome(model)

    def loss_of(learning: Weights, factors: Any, weights: Weights, more: Weights, batch: Sequence[Any]) -> Any:
        whole = list(weights)
        for place, weight in zip(places, learning, strict=True):
            whole[place] = weight
        inputs = [*batch[:2], *([factors] if has_genome else []), *batch[2:-2]]
        assert len(inputs) == width
        predicted, after = model.stateless_call(whole, more, inputs, training=True)
        observed, counted = batch[-2:]
        errors = counted * ops.square(observed - predicted[:, 0])
        return ops.sum(errors) / ops.maximum(ops.sum(counted), 1.0), after

    gradient = _gradient(loss_of, genome)

    def step(
        weights: Weights, moments: Any, more: Weights, batch: Sequence[Any], factors: Any, rate: Any, count: Any
    ) -> Any:
        learning = [weights[place] for place in places]
        (loss, after), (of_weights, of_factors) = gradient(learning, factors, weights, more, batch)
        correction = rate * ops.sqrt(1 - ops.power(BETA_2, count)) / (1 - ops.power(BETA_1, count))
        first, second, whole = [], [], list(weights)
        for i, place in enumerate(places):
            g = of_weights[i]
            shrink = 1 - rate * weight_decay
            mask = masks[place]
            if mask is not None:
                learned = ops.convert_to_tensor(np.array(mask, np.float32)[:, None])
                g, shrink = g * learned, 1 - rate * weight_decay * learned
            first.append(BETA_1 * moments[0][i] + (1 - BETA_1) * g)
            second.append(BETA_2 * moments[1][i] + (1 - BETA_2) * ops.square(g))
            change = correction * first[-1] / (ops.sqrt(second[-1]) + EPSILON)
            whole[place] = shrink * learning[i] - change if weight_decay else learning[i] - change
        return whole, (first, second), after, loss, of_factors

    # Each size of batch has a step of its own: what one gives must not depend on the sizes that came before.
    return _compile(step, by_shape=True)


def _has_genome(model: keras.Model) -> bool:
    return any(tensor.name == "genome" for tensor in model.inputs)


class Imputer:
    """Values of many tracks over neighbouring bins.

    What a bin's tracks share, the genome's part of the first layer, is computed once for all of them; of it, what
    neighbouring bins share once for each row of factors.

    Args:
        model: what :func:`architectures.avocado.build` made.
        widths: factors of each resolution of the genome.
    """

    def __init__(self, model: keras.Model, widths: Sequence[int]) -> None:
        self.take_weights(model)
        shapes = tuple((path, tuple(weight.shape)) for path, weight in self._weights.items())
        self._genome, self._rest = _parts_of(tuple(widths), shapes)

    def take_weights(self, model: keras.Model) -> None:
        """Go on with the weights that a model has now."""
        self._weights = {variable.path: ops.convert_to_tensor(variable.value) for variable in model.variables}

    def genome_part(self, tables: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> Any:
        """The genome's part of the first layer, ``(n, nodes)`` on the device.

        Args:
            tables: the rows of factors that the bins use, one array per resolution.
            rows: ``(n,) int32`` for each resolution, where a bin's row is.
        """
        tensors = ([ops.convert_to_tensor(array) for array in arrays] for arrays in (tables, rows))
        return self._genome(self._weights, *tensors)

    def __call__(self, celltype: int, assay: int, part: Any, context: np.ndarray | None) -> np.ndarray:
        """Values of one track, ``(n,) float32``.

        Args:
            celltype, assay: indices.
            part: what :meth:`genome_part` gave; None for a model without factors of the genome.
            context: ``(n, columns)``; None for a model without.
        """
        index = [ops.convert_to_tensor(np.int32(number)) for number in (celltype, assay)]
        parts = [ops.convert_to_tensor(array) for array in (part, context) if array is not None]
        return ops.convert_to_numpy(self._rest(self._weights, *index, parts))


@functools.lru_cache(maxsize=8)
def _parts_of(
    widths: tuple[int, ...], shapes: tuple[tuple[str, tuple[int, ...]], ...]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two compiled parts of imputing, which all networks whose weights have these shapes share."""

    def genome_part(weights: dict[str, Any], tables: Sequence[Any], rows: Sequence[Any]) -> Any:
        total, column = weights["dense_0/bias"], 0
        for span, width, table, row in zip(SPANS, widths, tables, rows, strict=True):
            if width:
                product = ops.matmul(table, weights["dense_0/kernel"][column : column + width])
                total = total + (product if span == 1 else ops.take(product, row, axis=0))
            column += width
        return total

    return _compile(genome_part), _compile(_rest_of_it)


def _rest_of_it(weights: dict[str, Any], celltype: Any, assay: Any, parts: Sequence[Any]) -> Any:
    x = 0.0
    for name, index in (("celltype_product", celltype), ("assay_product", assay)):
        factors = ops.take(weights[f"{name}/embeddings"], index, axis=0)
        x = x + ops.matmul(factors[None], weights[f"{name}/kernel"])
    if "dense_0/kernel" in weights:
        x = x + parts[0]
    if "context_product/kernel" in weights:
        x = x + ops.matmul(parts[-1], weights["context_product/kernel"]) + weights.get("context_product/bias", 0.0)
    x = ops.relu(x)
    number = 1
    while f"dense_{number}/kernel" in weights:
        x = ops.relu(ops.matmul(x, weights[f"dense_{number}/kernel"]) + weights[f"dense_{number}/bias"])
        number += 1
    last = "change" if "change/kernel" in weights else "y_pred"
    value = ops.matmul(x, weights[f"{last}/kernel"])[:, 0] + weights[f"{last}/bias"]
    return value + parts[-1][:, 0] if last == "change" else value


def _compile(function: Callable[..., Any], by_shape: bool = False) -> Callable[..., Any]:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, reduce_retracing=not by_shape, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def _gradient(loss_of: Callable[..., Any], genome: bool) -> Callable[..., Any]:
    """A function of the same arguments that returns ``((loss, rest), (of the weights, of the factors or None))``."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def with_tape(learning: Weights, factors: Any, *rest: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(learning)
                if genome:
                    tape.watch(factors)
                loss, after = loss_of(learning, factors, *rest)
            wanted = [*learning, factors] if genome else learning
            gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, wanted, unconnected_gradients="zero")]
            return (loss, after), (gradients[: len(learning)], gradients[-1] if genome else None)

        return with_tape
    import jax

    both = jax.value_and_grad(loss_of, argnums=(0, 1) if genome else 0, has_aux=True)

    def with_jax(*arguments: Any) -> Any:
        loss_and_rest, gradients = both(*arguments)
        return loss_and_rest, gradients if genome else (gradients, None)

    return with_jax
