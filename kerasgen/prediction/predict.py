"""Predict with a model on arrays: a model and its inputs in, its outputs out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest.errors import InputError
from kerasgen.sequence import one_hot

if TYPE_CHECKING:
    import keras

Arrays = tuple[np.ndarray, ...]


def predict(model: keras.Model, X: np.ndarray | Sequence[np.ndarray], *, batch_size: int = 64) -> Any:
    """Return a model's outputs for arrays of inputs.

    The last batch is filled up to ``batch_size``, so that the model is compiled once. It runs in inference mode; its
    weights and the states of its stateful layers are afterwards what they were, even if a batch fails.

    Args:
        model: a functional or a built Sequential Keras model with one input or several.
        X: an array, or one array per input in the order of the model's, ``(n, ...)`` each. An input of one-hot
            sequence, ``(length, 4)``, may also come as ``(n, length) uint8`` base codes: A C G T = 0 1 2 3, anything
            else unknown. Batches of them are encoded one at a time, which takes a sixteenth of the memory.
        batch_size: number of samples per batch.

    Returns:
        The output, ``(n, ...)``, or one array per output in a tuple where the model has several.

    Raises:
        InputError: arrays that do not fit the model's inputs or each other; a model that does not say what its inputs
            are, as a subclass of ``keras.Model`` with a ``call`` of its own.

    Example:
        >>> profile, logcounts = kerasgen.predict(bpnet, one_hot(codes))                        # doctest: +SKIP
    """
    outputs = outputs_of(model, X, batch_size)
    return outputs[0] if len(outputs) == 1 else outputs


def outputs_of(model: keras.Model, X: np.ndarray | Sequence[np.ndarray], batch_size: int) -> Arrays:
    """Like :func:`predict`, but a tuple of one array where the model has one output."""
    if batch_size < 1:
        raise InputError(f"batch_size {batch_size}: expected 1 or more")
    inputs = check_inputs(model, X)
    count = len(inputs[0])
    if count == 0:
        return tuple(np.empty((0, *output.shape[1:]), output.dtype) for output in model.outputs)
    results: list[np.ndarray] = []
    with _states_kept(model):
        for first in range(0, count, batch_size):
            number = min(batch_size, count - first)
            parts = encoded(model, [x[first : first + number] for x in inputs])
            batch = tuple(_filled(part, batch_size) for part in parts)
            found = [np.asarray(output)[:number] for output in _run(model, batch)]
            if count <= batch_size:
                return tuple(found)
            if not results:
                results = [np.empty((count, *output.shape[1:]), output.dtype) for output in found]
            for result, output in zip(results, found, strict=True):
                result[first : first + number] = output
    return tuple(results)


def check_inputs(model: keras.Model, X: np.ndarray | Sequence[np.ndarray]) -> Arrays:
    """The arrays of a model's inputs; raises :class:`InputError` unless they fit the model and each other."""
    inputs = tuple(np.asarray(x) for x in X) if isinstance(X, (list, tuple)) else (np.asarray(X),)
    shapes = [tuple(tensor.shape) for tensor in _inputs_of(model)]
    if len(inputs) != len(shapes):
        raise InputError(f"X: {len(inputs)} arrays; the model has {len(shapes)} inputs")
    for i, (x, shape) in enumerate(zip(inputs, shapes, strict=True)):
        name = f"X[{i}]" if len(inputs) > 1 else "X"
        if not _fits(x.shape, shape) and not _is_codes(x, shape):
            wanted = ", ".join("any" if size is None else str(size) for size in shape[1:])
            raise InputError(f"{name}: an array of shape {x.shape}; the model's input expects (samples, {wanted})")
        if len(x) != len(inputs[0]):
            raise InputError(f"{name}: {len(x)} samples; X[0] has {len(inputs[0])}")
        if x.dtype.kind not in "biuf":
            raise InputError(f"{name}: an array of {x.dtype}; expected numbers")
    return inputs


def _inputs_of(model: keras.Model) -> Sequence[Any]:
    """The model's symbolic inputs; raises :class:`InputError` where it has none to say what it takes."""
    try:
        inputs = model.inputs
    except AttributeError:
        inputs = None
    if not inputs:
        raise InputError(
            f"model: {type(model).__name__} {getattr(model, 'name', '')!r} does not say which inputs it takes; "
            "expected a functional model, as keras.Model(inputs, model(inputs)) makes one, or a built Sequential one"
        )
    return list(inputs)


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (None, size) for size, wanted in zip(shape[1:], expected[1:], strict=True)
    )


def _is_codes(x: np.ndarray, expected: Sequence[int | None]) -> bool:
    """Whether an array is of base codes and what is expected is one-hot."""
    return x.dtype == np.uint8 and len(expected) == 3 and expected[2] == 4 and _fits((*x.shape, 4), expected)


def encoded(model: keras.Model, inputs: Sequence[np.ndarray]) -> Arrays:
    """Inputs as the model takes them: base codes of every input that expects it as one-hot, all in its dtype."""
    return tuple(
        one_hot(x) if _is_codes(x, tensor.shape) else x.astype(tensor.dtype, copy=False)
        for x, tensor in zip(inputs, model.inputs, strict=True)
    )


def _filled(x: np.ndarray, batch_size: int) -> np.ndarray:
    if len(x) == batch_size:
        return x
    return np.concatenate([x, np.zeros((batch_size - len(x), *x.shape[1:]), x.dtype)])


def _run(model: keras.Model, batch: Arrays) -> list[Any]:
    from keras import tree

    return list(tree.flatten(model.predict_on_batch(batch[0] if len(batch) == 1 else batch)))


@contextmanager
def _states_kept(model: keras.Model) -> Iterator[None]:
    """Give the stateful layers of a model the states back that they had."""
    from keras import tree

    layers = model._flatten_layers(include_self=False, recursive=True)
    stateful = [layer for layer in layers if getattr(layer, "stateful", False)]
    variables = tree.flatten([getattr(layer, "states", None) or [] for layer in stateful])
    values = [np.array(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
