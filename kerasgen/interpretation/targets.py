"""What of a model's prediction is explained: one number per sample, from the model's outputs.

Example:
    >>> kerasgen.attribute(model, X, target=targets.counts(1, task=0))                          # doctest: +SKIP
    >>> kerasgen.attribute(model, X, target=lambda outputs: outputs[1][:, 0] - outputs[1][:, 1])  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest.errors import InputError
from kerasgen.prediction.predict import Arrays, outputs_of

if TYPE_CHECKING:
    import keras


class Channel(NamedTuple):
    """The part of a model's outputs that a target reads.

    Args:
        output: place of the output among the model's.
        task: channel; None: all of them.
        dimensions: number of dimensions that the output must have, the batch's included; None: any.
    """

    output: int
    task: int | None
    dimensions: int | None = None

    def check(self, shapes: Sequence[tuple[int | None, ...]]) -> None:
        """Raise :class:`InputError` unless a model with outputs of such shapes has it."""
        if not -len(shapes) <= self.output < len(shapes):
            raise InputError(f"target: output {self.output}; the model has outputs 0 to {len(shapes) - 1}")
        shape = shapes[self.output]
        if self.dimensions not in (None, len(shape)):
            raise InputError(f"target: output {self.output} has shape {shape}; expected {self.dimensions} dimensions")
        width = shape[-1]
        if self.task is not None and width is not None and not 0 <= self.task < width:
            raise InputError(f"task {self.task}: output {self.output} has channels 0 to {width - 1}")


class Target(NamedTuple):
    """One number per sample.

    Args:
        value: ``(outputs of rows, held of rows) -> (rows,)``, from tensors and in operations of ``keras.ops``.
        held: what is computed from the outputs of each example and held fixed for its references and mutants,
            ``outputs -> (batch, ...) float32``; None: nothing.
        channel: what it reads, where that can be checked against a model; None: not known.
    """

    value: Callable[[Sequence[Any], Any], Any]
    held: Callable[[Arrays], np.ndarray] | None = None
    channel: Channel | None = None

    def held_of(self, model: keras.Model, inputs: Arrays) -> np.ndarray | None:
        """What is held fixed for a batch of examples."""
        return None if self.held is None else self.held(outputs_of(model, inputs, len(inputs[0])))

    def of(self, outputs: Arrays, held: np.ndarray | None) -> np.ndarray:
        """The number of each sample, ``(rows,) float64``, from arrays of outputs."""
        from keras import ops

        tensors = [ops.convert_to_tensor(output) for output in outputs]
        values = self.value(tensors, None if held is None else ops.convert_to_tensor(held))
        return np.asarray(ops.convert_to_numpy(check_values(values, len(outputs[0]))), np.float64)


def counts(output: int, task: int | None = None) -> Target:
    """Log counts, logits of labels or other numbers of one channel, or their sum over channels; the sum over bins.

    Args:
        output: place of the output among the model's, ``(batch, tasks)`` or ``(batch, bins, tasks)``.
        task: channel; None: the sum over channels.
    """

    def value(outputs: Sequence[Any], held: Any) -> Any:
        from keras import ops

        numbers = outputs[output] if task is None else outputs[output][..., task : task + 1]
        return ops.sum(numbers, axis=tuple(range(1, len(numbers.shape))))

    return Target(value, channel=Channel(output, task))


def profile(output: int, task: int | None = None) -> Target:
    """Mean-centred logits weighted by the example's softmax, summed over positions and the channels weighted.

    The weights are held at the example's own prediction, so that what is explained is linear in the logits.

    Args:
        output: place of the output among the model's, ``(batch, length, tasks)`` logits.
        task: channel; None: all of them.
    """

    def value(outputs: Sequence[Any], held: Any) -> Any:
        from keras import ops

        logits = outputs[output]
        centred = logits - ops.mean(logits, axis=1, keepdims=True)
        return ops.sum(centred * held, axis=(1, 2))

    return Target(value, lambda outputs: profile_weights(outputs[output], task), Channel(output, task, dimensions=3))


TARGETS: dict[str, Callable[[int, int | None], Target]] = {
    "counts": counts,
    "profile": profile,
    "binned": counts,
    "labels": counts,
}
"""Targets by the names that heads call them: the place of an output and a channel (None: all of them) in, the target
out; see :attr:`kerasgen.objectives.heads.Head.targets`."""

_DIMENSIONS = {"counts": (2,), "profile": (3,), "binned": (3,), "labels": (2, 3)}


def profile_weights(logits: np.ndarray, task: int | None) -> np.ndarray:
    """Softmax over positions of ``(batch, length, tasks)`` logits, 0 in all channels but ``task`` (None: keep all)."""
    from scipy.special import softmax

    weights = softmax(logits.astype(np.float64), axis=1).astype(np.float32)
    if task is not None:
        others = np.arange(weights.shape[-1]) != task
        weights[:, :, others] = 0
    return weights


def resolve(model: keras.Model, target: str | Target | Callable[[Any], Any], task: int | None) -> Target:
    """The target that a user names or gives.

    Args:
        model: the model to explain.
        target: a name of :data:`TARGETS` where the model has one output of that shape; a :class:`Target`; or a
            function of what the model returns (an output, or a list of several) that gives ``(rows,)``.
        task: channel of a target that is named; None: the sum over channels.

    Raises:
        InputError: an unknown name, or one that fits no output of the model or several; an output or a channel that
            the model lacks.
    """
    shapes = [tuple(output.shape) for output in model.outputs]
    if isinstance(target, str):
        target, task = _named(shapes, target, task), None
    if task is not None:
        raise InputError(f"task {task}: expected only with a target that is a name")
    if isinstance(target, Target):
        if target.channel is not None:
            target.channel.check(shapes)
        return target
    if not callable(target):
        raise InputError(f"target {target!r}: expected one of {', '.join(TARGETS)}, a Target or a function of outputs")
    function = target
    return Target(lambda outputs, held: function(outputs[0] if len(outputs) == 1 else outputs))


def _named(shapes: Sequence[tuple[int | None, ...]], name: str, task: int | None) -> Target:
    if name not in TARGETS:
        raise InputError(f"target {name!r}: expected one of {', '.join(TARGETS)}, a Target or a function of outputs")
    places = [i for i, shape in enumerate(shapes) if len(shape) in _DIMENSIONS[name]]
    if len(places) != 1:
        raise InputError(
            f"target {name!r}: {len(places)} of the model's outputs {', '.join(map(str, shapes))} have "
            f"{' or '.join(map(str, _DIMENSIONS[name]))} dimensions; expected one, or a target of one output, as "
            f"targets.{TARGETS[name].__name__}(0)"
        )
    return TARGETS[name](places[0], task)


def check_values(values: Any, rows: int | None = None) -> Any:
    """The values of a target; raises :class:`InputError` unless there is one per row."""
    shape = tuple(values.shape)
    if len(shape) != 1 or (rows is not None and shape[0] != rows):
        raise InputError(f"target: gives an array of shape {shape}; expected one number per sample, (samples,)")
    return values
