"""DeepLIFT's rescale rule on any Keras model, compiled, on TensorFlow and JAX.

A batch holds an example and its references. Every nonlinearity is given a gradient that is the ratio of the difference
in its output to the difference in its input between the example and a reference, so that one backward pass over
the references gives DeepLIFT's multipliers. The rows of the example serve all its references: ``1 + references`` rows
go through the model instead of two for each pair.

References:
    Shrikumar et al. 2017, ICML (DeepLIFT, the rescale rule); Lundberg and Lee 2017, NeurIPS (DeepSHAP: the mean over
    references). The sums agree with ``shap.DeepExplainer``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from db_ingest.errors import InputError
from kerasgen.interpretation import operations
from kerasgen.interpretation.explainers import Attributions
from kerasgen.interpretation.gradients import gradient_of, values_of
from kerasgen.interpretation.rules import Rows, Rule, name_of, rule_of
from kerasgen.interpretation.targets import Target

log = logging.getLogger("kerasgen")


class Multipliers(NamedTuple):
    """DeepLIFT's multipliers of one batch of examples.

    Args:
        multipliers: ``(batch, references, length, 4) float32``.
        example, reference: ``(batch,)`` and ``(batch, references)``, the target's values.
    """

    multipliers: np.ndarray
    example: np.ndarray
    reference: np.ndarray


class DeepLift:
    """Explains one model; the compiled function is kept for batches of one shape.

    Args:
        model: its first input is the sequence, ``(batch, length, 4)``; other inputs are held fixed.
        target: what is explained.
        references: number of references per example.
        rules: rules by class of layer that go before those of :data:`kerasgen.interpretation.rules.RULES`.

    Layers without a rule get their plain gradient, which a warning names; how far that is from complete shows in
    :func:`completeness`.
    """

    def __init__(
        self,
        model: keras.Model,
        target: Target,
        references: int,
        rules: Mapping[type, Rule] | None = None,
    ) -> None:
        self.model, self.target, self.references = model, target, references
        self._compiled: Callable[..., Any] | None = None
        self._rules: list[tuple[Any, Rule]] = []
        unknown = []
        for layer in _reached(model):
            rule = rule_of(layer, rules) or operations.rule_of(layer)
            if rule is None:
                unknown.append(layer)
            else:
                self._rules.append((layer, rule))
        if unknown:
            log.warning(
                "warning: %s have no rescale rule and get their plain gradient; see the completeness deltas",
                ", ".join(_names(unknown)),
            )

    def __call__(
        self, sequence: np.ndarray, references: np.ndarray, others: Sequence[np.ndarray] = (), held: Any = None
    ) -> Multipliers:
        """Attribute the target to the sequence.

        Args:
            sequence: ``(batch, length, 4) float32``.
            references: ``(batch, references, length, 4) float32``.
            others: the model's other inputs, ``(batch, ...)``.
            held: what the target holds fixed, ``(batch, ...)``.
        """
        batch, count = references.shape[:2]
        rows = np.concatenate([sequence, references.reshape(batch * count, *references.shape[2:])])
        more = [np.concatenate([x, np.repeat(x, count, axis=0)]) for x in others]
        if held is None:
            held = np.zeros((batch, 1), np.float32)
        spread = np.concatenate([held, np.repeat(held, count, axis=0)])
        if self._compiled is None:
            self._compiled = self._compile(batch)
        multipliers, values = self._compiled(rows, more, spread)
        multipliers, values = np.asarray(multipliers), np.asarray(values)
        return Multipliers(
            multipliers[batch:].reshape(references.shape), values[:batch], values[batch:].reshape(batch, count)
        )

    def _compile(self, batch: int) -> Callable[..., Any]:
        def forward(rows: Any, more: Sequence[Any], held: Any) -> tuple[Any, Any]:
            with _replaced(self._rules, Rows(batch, self.references)):
                values = values_of(self.model, self.target, rows, more, held)
            return ops.sum(values[batch:]), values

        return gradient_of(forward)


class DeepShap:
    """DeepLIFT's contributions, their mean over references; what ``shap.DeepExplainer`` computes.

    Args:
        model: its first input is the sequence; other inputs are held fixed.
        target: what is explained.
        batch_size: examples per batch; ``batch_size * (1 + n_references)`` rows go through the model at a time.
        n_references: references per example.
        rules: rules by class of layer that go before those of :data:`kerasgen.interpretation.rules.RULES`.
    """

    complete = True
    references = "dinucleotide_shuffle"
    batch_size = 4
    one_size = True

    def __init__(
        self,
        model: keras.Model,
        target: Target,
        *,
        batch_size: int,
        n_references: int,
        rules: Mapping[type, Rule] | None = None,
    ) -> None:
        self.model, self.target, self.batch_size = model, target, batch_size
        self._lift = DeepLift(model, target, n_references, rules)

    def __call__(self, X: np.ndarray, others: Sequence[np.ndarray], references: np.ndarray | None) -> Attributions:
        """See :class:`kerasgen.interpretation.explainers.Explainer`."""
        assert references is not None
        lifted = self._lift(X, references, others, self.target.held_of(self.model, (X, *others)))
        scores = contributions(lifted, X, references)
        delta, difference = completeness(lifted, scores)
        attributions = X * scores.sum(axis=-1, keepdims=True)
        return Attributions(attributions, hypothetical(lifted, references), delta, difference)


def completeness(found: Multipliers, contributions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far contributions are from adding up.

    Args:
        found: multipliers of a batch.
        contributions: ``(batch, length, 4)``, mean over references of multiplier times difference from the reference.

    Returns:
        ``delta`` and ``difference``, ``(batch,)`` each: the sum of contributions minus the difference in the target
        between example and mean reference, and that difference.
    """
    difference = found.example.astype(np.float64) - found.reference.astype(np.float64).mean(axis=1)
    return contributions.astype(np.float64).sum(axis=(1, 2)) - difference, difference


def contributions(found: Multipliers, sequence: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Mean over references of multiplier times difference, ``(batch, length, 4)``; what shap.DeepExplainer returns."""
    return (found.multipliers * (sequence[:, None] - references)).mean(axis=1)


def hypothetical(found: Multipliers, references: np.ndarray) -> np.ndarray:
    """Contribution each base would make at each position, ``(batch, length, 4)``, mean over references.

    At the base that is there it equals the sum over bases of :func:`contributions`.
    """
    present = (found.multipliers * references).sum(axis=-1, keepdims=True)
    return (found.multipliers - present).mean(axis=1)


@contextmanager
def _replaced(rules: Iterable[tuple[Any, Rule]], rows: Rows) -> Iterator[None]:
    """Give every layer what its rule says while a function is traced; each gets back what it had, whatever fails."""
    with ExitStack() as stack:
        for layer, rule in rules:
            for name, function in rule(layer, rows).items():
                if not _is_settable(layer, name):
                    raise InputError(
                        f"rules: the rule of {type(layer).__name__} replaces its {name}, which cannot be set; "
                        "expected a rule that replaces its call"
                    )
                # What the class gives, as most layers' call, shows again once the layer's own is taken away.
                is_own = name in vars(layer) or isinstance(getattr(type(layer), name, None), property)
                before = getattr(layer, name)
                setattr(layer, name, function)
                if is_own:
                    stack.callback(setattr, layer, name, before)
                else:
                    stack.callback(delattr, layer, name)
        yield


def _is_settable(layer: Any, name: str) -> bool:
    attribute = getattr(type(layer), name, None)
    return not isinstance(attribute, property) or attribute.fset is not None


def _reached(model: keras.Model) -> list[Any]:
    """Layers and operations that the sequence reaches, those of models within the model too."""
    graph = _graph(model)
    if graph is None:
        return list(model._flatten_layers(include_self=False, recursive=True))
    tensors, found = {id(graph.inputs[0])}, {}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if any(id(tensor) in tensors for tensor in node.input_tensors):
                tensors.update(id(tensor) for tensor in node.output_tensors)
                found[id(node.operation)] = node.operation
    # A layer that is used in two places is one.
    return list({id(part): part for operation in found.values() for part in _parts(operation)}.values())


def _names(unknown: list[Any]) -> list[str]:
    """Names of layers without a rule, but of those within another."""
    within = {id(part) for layer in unknown for part in _parts(layer)[1:]}
    return sorted({name_of(layer) for layer in unknown if id(layer) not in within})


def _graph(operation: Any) -> Any:
    """The functional model that an operation is or holds, None for a layer and for a model with a call of its own."""
    operation = getattr(operation, "_functional", None) or operation
    return operation if hasattr(operation, "_nodes_by_depth") else None


def _parts(operation: Any) -> list[Any]:
    """The operation and the layers in it; of a functional model, its layers and operations alone."""
    graph = _graph(operation)
    if graph is not None:
        return [inner for part in graph.operations for inner in _parts(part)]
    if not isinstance(operation, keras.layers.Layer):
        return [operation]
    return [operation, *operation._flatten_layers(include_self=False, recursive=True)]
