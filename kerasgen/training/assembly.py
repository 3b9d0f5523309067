"""From the flags about a model to one that can be trained: its family, its settings, its losses."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np

from architectures.heads import OutputShape
from architectures.layers import make_metrics
from db_ingest.errors import InputError
from kerasgen.loader.builder import BatchBuilder, keep_accepted
from kerasgen.loader.sources import EpochSource
from kerasgen.objectives import heads
from kerasgen.regions.windows import WindowPlan
from kerasgen.settings import Losses, Model
from kerasgen.spec import DataSpec
from kerasgen.training import devices
from kerasgen.training.params import read_params, typed
from kerasgen.training.timed_model import TimedModel, on_device

log = logging.getLogger("kerasgen")

LOSS_WEIGHTS = ("counts_loss_weight", "profile_loss_weight")
_WEIGHT_SAMPLES = 10_000


@dataclass
class TrainableModel:
    """A model as it is trained and as it is saved.

    Args:
        trained: takes batches as they come from the host, and is compiled.
        inner: the architecture's model inside of it.
        plain: the architecture's model in float32, which bundles hold; the inner one where that is float32.
    """

    trained: TimedModel
    inner: keras.Model
    plain: keras.Model

    def to_save(self) -> keras.Model:
        """The plain model with the weights reached."""
        if self.plain is not self.inner:
            self.plain.set_weights(self.inner.get_weights())
        return self.plain


def assemble(
    build: Callable[[], keras.Model], spec: DataSpec, *, precision: str, device_one_hot: bool
) -> TrainableModel:
    """Build a model for training on the devices.

    Args:
        build: makes the architecture's model, uncompiled.
        spec: inputs and outputs; the model's shapes must be theirs.
        precision: ``float32`` or ``bfloat16``.
        device_one_hot: sequence comes as base codes.

    Raises:
        InputError: the model is made for other shapes.
    """
    plain = inner = build()
    for side, tensors, channels in (("input", plain.inputs, spec.inputs), ("output", plain.outputs, spec.outputs)):
        got, wanted = [tuple(t.shape[1:]) for t in tensors], [c.shape for c in channels]
        if got != wanted:
            raise InputError(f"the architecture's {side} shapes are {got}; the --tdb_{side} flags give {wanted}")
    with devices.precision(precision):
        if precision != "float32":
            inner = build()
            inner.set_weights(plain.get_weights())
        coded = [device_one_hot and channels.is_sequence for channels in spec.inputs]
        trained = on_device(inner, coded, plain.output_names)
    return TrainableModel(trained, inner, plain)


def family(chosen: Model) -> tuple[ModuleType, dict[str, Any]]:
    """The module of a model's family, and what a bundle says of it."""
    import architectures

    name, file = chosen.architecture_spec, chosen.architecture_from_file
    try:
        if file is not None:
            return architectures.from_file(file), {"file": str(Path(file).resolve())}
        return architectures.get(name), {"name": name}
    except ValueError as error:
        raise InputError(f"--architecture_{'from_file' if file else 'spec'}: {error}") from error


def configure(module: ModuleType, spec: DataSpec, params: Sequence[str] | None, losses: Losses) -> tuple[Any, Losses]:
    """The architecture's config, and the losses, whose weights a params file of kerasAC's may hold too."""
    known = {f.name: f for f in fields(module.Config)}
    chosen: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    for name, (text, place) in read_params(params or ()).items():
        if name in LOSS_WEIGHTS:
            weights[name] = typed(place, name, text, getattr(Losses(), name))
            continue
        if name not in known:
            raise InputError(f"{place}: unknown parameter {name!r}; known are {', '.join([*known, *LOSS_WEIGHTS])}")
        chosen[name] = typed(place, name, text, getattr(known[name], "default", None))
    inputs = [channels.shape for channels in spec.inputs]
    outputs = [OutputShape(head.channels.shape, head.kind, head.channels.bin) for head in heads.all_of(spec.outputs)]
    try:
        return module.Config.from_data(inputs, outputs, **chosen), replace(losses, **weights)
    except (ValueError, TypeError) as error:
        raise InputError(f"the architecture cannot be built: {error}") from error


def resolve_weights(
    builder: BatchBuilder, plan: WindowPlan, source: EpochSource, spec: DataSpec, losses: Losses
) -> list[float]:
    """One weight per output.

    ``auto`` is 1 for a likelihood, and for a squared error beside a profile a tenth of the median total count of a
    training window (kerasAC's formula).
    """
    try:
        counts = None if losses.counts_loss_weight == "auto" else float(losses.counts_loss_weight)
    except ValueError as error:
        raise InputError(f"--counts_loss_weight, --profile_loss_weight: {error}; expected numbers or auto") from error
    found = heads.all_of(spec.outputs)
    place = heads.place_of(spec.outputs, "profile")
    automatic = 1.0
    if counts is None and place is not None and any(h.is_weighed_by_counts for h in found):
        windows = source.epoch(plan, 0)[0]
        windows = windows.take(np.flatnonzero(~windows.background)[:_WEIGHT_SAMPLES])
        with contextlib.closing(source.hold(windows)) as held:
            windows = keep_accepted(builder, windows, 256, parts=held.parts)
        if len(windows.centre) == 0:
            raise InputError("no training sample lies within the minima and maxima of --tdb_input and --tdb_output")
        totals = []
        with contextlib.closing(source.hold(windows)) as held:
            for first in range(0, len(windows.centre), 256):
                for part, store in held.parts(first, min(first + 256, len(windows.centre))):
                    labels = builder.outputs(windows.take(part), store)[place]
                    totals.append(np.nansum(labels, axis=(1, 2)))
        automatic = max(float(np.median(np.concatenate(totals))) / 10, 1e-3)
        log.info("counts loss weight: %.3g", automatic)
    weights_of = {"profile_loss_weight": losses.profile_loss_weight, "counts_loss_weight": counts}
    chosen = [weights_of[head.weight_name] for head in found]
    return [
        (automatic if head.is_weighed_by_counts else 1.0) if weight is None else weight
        for head, weight in zip(found, chosen, strict=True)
    ]


def compile_model(
    model: keras.Model,
    spec: DataSpec,
    loss_weights: list[float],
    learning_rate: float,
    jit_compile: str,
    *,
    makes_metrics: bool,
) -> None:
    """Give a model its losses and an optimizer whose variables exist, so that a state can be put back into them.

    Args:
        model: the model.
        spec: what its outputs are.
        loss_weights: one per output.
        learning_rate: that of the first step.
        jit_compile: whether steps are compiled with XLA: ``true``, ``false`` or ``auto``.
        makes_metrics: whether the running mean of each output's loss exists at once, too. Else it comes into being in
            the first step, which TensorFlow then traces twice. Only on one device can it be made ahead.
    """
    losses = [head.make_loss() for head in heads.all_of(spec.outputs)]
    model.compile(
        keras.optimizers.Adam(learning_rate),
        loss=losses,
        loss_weights=loss_weights,
        jit_compile={"true": True, "false": False}.get(jit_compile, jit_compile),
    )
    model.optimizer.build(model.trainable_variables)
    if makes_metrics:
        make_metrics(model)
