"""The conformance suite of architectures: what every family must do, whatever it is.

All families of the registry pass it, and authors of a family in a file of their own (``--architecture_from_file``) can
run it on theirs, with nothing but Keras.

Example:
    >>> import architectures
    >>> from architectures import testing
    >>> family = architectures.from_file("mine.py")
    >>> model = testing.check(family, testing.Case([(2114, 4)], [(1000, 2), (2,)]), folder="/tmp")

A check that fails raises AssertionError, which says what was expected. Backends are tried one per process:
``KERAS_BACKEND=jax pytest`` and ``KERAS_BACKEND=tensorflow pytest``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np

from architectures.layers import make_metrics

Explain = Callable[[keras.Model, Sequence[np.ndarray], np.ndarray], Sequence[tuple[np.ndarray, np.ndarray]]]
"""``(model, inputs, references) -> [(sums, differences), ...]``: for each output, the sum of the contributions of each
example's sequence (the first input), ``(batch,)``, and what they should add up to: the output's target for the example
minus its mean for the references ``(batch, references, length, 4)``."""

_STEPS = 16
_BFLOAT16 = 2.0**-8
"""Relative rounding of bfloat16."""


@dataclass(frozen=True)
class Case:
    """One model of a family to try.

    Args:
        inputs, outputs: shapes of one sample, as ``Config.from_data`` takes them; outputs may be
            :class:`architectures.heads.OutputShape`.
        params: other settings of the family.
        bfloat16: whether training may compute in bfloat16 (``--precision``); its outputs must then still be float32.
    """

    inputs: Sequence[tuple[int, ...]]
    outputs: Sequence[tuple[int, ...]]
    params: Mapping[str, Any] = field(default_factory=dict)
    bfloat16: bool = True


def check(family: ModuleType, case: Case, folder: str | Path, *, explain: Explain | None = None) -> keras.Model:
    """Run every check on one model of a family.

    Args:
        family: module with ``Config`` and ``build``, from :func:`architectures.get` or :func:`architectures.from_file`.
        case: the model.
        folder: where ``model.keras`` is written.
        explain: an explainer; given, its contributions must add up.

    Returns:
        The model, trained for a few steps.
    """
    model = check_shapes(family, case)
    check_seed(family, case)
    if case.bfloat16:
        check_precision(family, case)
    if explain is not None:
        check_completeness(model, explain)
    check_training(model)
    check_serialisation(model, folder)
    return model


def check_shapes(family: ModuleType, case: Case) -> keras.Model:
    """The model has the inputs and outputs of the data, its config can be written out, and its outputs are numbers."""
    config = family.Config.from_data(list(case.inputs), list(case.outputs), **case.params)
    _require(config == family.Config(**vars(config)), "Config(**vars(config)) is not the same config")
    model = _build(family, case)
    for side, tensors, wanted in (("input", model.inputs, case.inputs), ("output", model.outputs, case.outputs)):
        found = [tuple(tensor.shape[1:]) for tensor in tensors]
        _require(found == [tuple(shape) for shape in wanted], f"{side} shapes {found}; expected {list(wanted)}")
    for name, output in zip(model.output_names, call(model, inputs_of(model)), strict=True):
        _require(bool(np.isfinite(output).all()), f"output {name} of a new model is not finite")
    return model


def check_seed(family: ModuleType, case: Case) -> None:
    """The same seed builds the same model."""
    models = [_build(family, case) for _ in range(2)]
    data = inputs_of(models[0])
    for a, b in zip(call(models[0], data), call(models[1], data), strict=True):
        np.testing.assert_array_equal(a, b, "two models of one seed differ")


def check_training(model: keras.Model) -> None:
    """A few steps lower the loss, and every weight stays a number."""
    model.compile("adam", loss=["mse"] * len(model.outputs))
    data = inputs_of(model)
    labels = [np.ones((len(data[0]), *tensor.shape[1:]), np.float32) for tensor in model.outputs]
    # Made before the first step, or TensorFlow would trace the step twice.
    model.optimizer.build(model.trainable_variables)
    make_metrics(model)
    losses = [float(np.ravel(model.train_on_batch(_one(data), _one(labels)))[0]) for _ in range(_STEPS)]
    # Means of a few, for dropout makes single ones jump.
    before, after = np.mean(losses[:4]), np.mean(losses[-4:])
    _require(bool(after < before), f"{_STEPS} steps of training changed the loss from {before:.4g} to {after:.4g}")
    weights = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    _require(all(np.isfinite(weight).all() for weight in weights), "a weight is not finite after training")


def check_serialisation(model: keras.Model, folder: str | Path) -> None:
    """The model is the same made from its own config, and saved and loaded with ``safe_mode``."""
    data = inputs_of(model)
    wanted = call(model, data)
    made = type(model).from_config(model.get_config())
    made.set_weights(model.get_weights())
    path = Path(folder) / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path, compile=False, safe_mode=True)
    for how, other in (("made from its config", made), ("loaded from its file", loaded)):
        names = [weight.path for weight in other.weights]
        _require(names == [weight.path for weight in model.weights], f"the model {how} has other weights: {names}")
        for a, b in zip(wanted, call(other, data), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6, err_msg=f"outputs of the model {how}")


def check_precision(family: ModuleType, case: Case) -> None:
    """A model that computes in bfloat16 has float32 outputs, close to those of the model in float32."""
    plain = _build(family, case)
    with _policy("mixed_bfloat16"):
        mixed = _build(family, case)
    mixed.set_weights(plain.get_weights())
    data = inputs_of(plain)
    for tensor, a, b in zip(mixed.outputs, call(plain, data), call(mixed, data), strict=True):
        _require(tensor.dtype == "float32", f"output {tensor.name} is {tensor.dtype} under mixed_bfloat16")
        near = 32 * _BFLOAT16 * max(float(np.abs(a).max()), 1e-3)
        np.testing.assert_allclose(a, b, atol=near, err_msg=f"output {tensor.name} in bfloat16")


def check_completeness(model: keras.Model, explain: Explain, references: int = 3) -> None:
    """Contributions of the sequence add up to the difference that they explain.

    Args:
        model: its first input is the sequence.
        explain: see :data:`Explain`.
        references: references per example.
    """
    data = inputs_of(model)
    shuffled = np.random.default_rng(1).permuted(np.repeat(data[0][:, None], references, axis=1), axis=2)
    shuffled = np.eye(4, dtype=np.float32)[shuffled.argmax(axis=-1)]
    for name, (sums, differences) in zip(model.output_names, explain(model, data, shuffled), strict=True):
        np.testing.assert_allclose(
            sums, differences, rtol=1e-3, atol=1e-5, err_msg=f"contributions to output {name} do not add up"
        )


def inputs_of(model: keras.Model, batch: int = 2) -> list[np.ndarray]:
    """Made-up inputs: one-hot bases where an input looks like a sequence, 0 for indices, numbers of 0 to 1 else."""
    rng = np.random.default_rng(0)
    made = []
    for tensor in model.inputs:
        shape = (batch, *tensor.shape[1:])
        if len(shape) == 3 and shape[2] == 4:
            made.append(np.eye(4, dtype=np.float32)[rng.integers(0, 4, shape[:2])])
        elif "int" in tensor.dtype:
            made.append(np.zeros(shape, tensor.dtype))
        else:
            made.append(rng.random(shape).astype(np.float32))
    return made


def call(model: keras.Model, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs of a model, each an array."""
    outputs = model(_one(inputs), training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [keras.ops.convert_to_numpy(keras.ops.cast(output, "float32")) for output in outputs]


def _build(family: ModuleType, case: Case) -> keras.Model:
    keras.utils.set_random_seed(1)
    return family.build(family.Config.from_data(list(case.inputs), list(case.outputs), **case.params))


@contextmanager
def _policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _one(arrays: Sequence[np.ndarray]) -> Any:
    """The array of a sequence of one, as Keras expects; else a tuple."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
