"""Train a model from a database: what ``gen_train`` does."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from kerasgen import backend, bundle, checkpoint
from kerasgen import spec as specs
from kerasgen.batches import BatchBuilder, keep_accepted
from kerasgen.database import Database
from kerasgen.planning import plan_training
from kerasgen.regions import Plan
from kerasgen.spec import DataSpec

if TYPE_CHECKING:
    import keras

    from kerasgen.loading.sources import Source

log = logging.getLogger("kerasgen")

LR_SCHEDULES = ("plateau", "cosine", "constant")
_WEIGHT_SAMPLES = 10_000
_LOSS_WEIGHTS = ("counts_loss_weight", "profile_loss_weight")
_PATHS = ("tdb_array", "bed_regions", "background_bed", "blacklist", "architecture_from_file")
_MAY_CHANGE = {"resume", "overwrite", "epochs", "patience", "threads", "max_queue_size", "state_every", "cache_gb"}


class TrainingResult(NamedTuple):
    """What a training made.

    Args:
        prefix: of the model bundle.
        best_epoch: epoch whose weights ``P.keras`` holds, from 1.
        best_loss: its validation loss.
        history: one row of metrics an epoch.
        stopped: why training ended.
        seconds: time spent in finished epochs; of an interrupted one, the part since it was resumed.
    """

    prefix: Path
    best_epoch: int
    best_loss: float
    history: list[dict[str, float]]
    stopped: str
    seconds: float


def train(
    tdb_array: str,
    model_prefix: str,
    *,
    tdb_input_source_attribute: Sequence[str] = ("seq",),
    tdb_input_datasets: Sequence[str | None] | None = None,
    tdb_input_flank: Sequence[int] = (1057,),
    tdb_input_aggregation: Sequence[str | None] | None = None,
    tdb_input_transformation: Sequence[str | None] | None = None,
    tdb_input_min: Sequence[float | None] | None = None,
    tdb_input_max: Sequence[float | None] | None = None,
    tdb_output_source_attribute: Sequence[str],
    tdb_output_datasets: Sequence[str | None] | None = None,
    tdb_output_flank: Sequence[int] = (500,),
    tdb_output_aggregation: Sequence[str | None] | None = None,
    tdb_output_transformation: Sequence[str | None] | None = None,
    tdb_output_min: Sequence[float | None] | None = None,
    tdb_output_max: Sequence[float | None] | None = None,
    tdb_transformation_pseudocount: float = 1.0,
    num_inputs: int | None = None,
    num_outputs: int | None = None,
    num_tasks: int | None = None,
    strand_map: Sequence[str] | None = None,
    bed_regions: str | None = None,
    bed_regions_center: str = "summit",
    bed_regions_jitter: int = 1,
    bed_regions_stranded: bool = False,
    jitter: int = 0,
    tdb_partition_attribute_for_upsample: str | None = None,
    tdb_partition_thresh_for_upsample: float = 1.0,
    tdb_partition_datasets_for_upsample: Sequence[str] | None = None,
    upsample_by: str | None = None,
    upsample_ratio_list_train: Sequence[float] = (1.0,),
    upsample_ratio_list_eval: Sequence[float] = (1.0,),
    background: str = "random",
    background_bed: str | None = None,
    gc_tolerance: float = 0.02,
    max_n_fraction: float = 0.1,
    tdb_ambig_attribute: str | None = None,
    ambiguous: str = "center",
    blacklist: str | None = None,
    num_train: int | None = None,
    num_valid: int | None = None,
    fold: int | None = None,
    genome: str | None = None,
    train_chroms: Sequence[str] | None = None,
    validation_chroms: Sequence[str] | None = None,
    test_chroms: Sequence[str] | None = None,
    architecture_spec: str = "bpnet",
    architecture_from_file: str | None = None,
    model_params: Sequence[str] | None = None,
    counts_loss_weight: str = "auto",
    profile_loss_weight: float = 1.0,
    batch_size: int = 64,
    epochs: int = 40,
    learning_rate: float = 1e-3,
    lr_schedule: str = "plateau",
    patience: int = 3,
    patience_lr: int = 2,
    revcomp: bool = False,
    seed: int = 1234,
    threads: int = 2,
    max_queue_size: int = 10,
    cache_gb: float | None = None,
    tensorboard: bool = False,
    tensorboard_logdir: str = "logs",
    state_every: int = 200,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainingResult:
    """Train a model on windows of a database and write it as a bundle.

    Writes ``P.keras`` (best weights), ``P.json`` (everything that was decided), ``P.log.csv`` (a row an epoch) and
    ``P.state/`` (to resume from). The parameters are the flags of ``gen_train``; its ``--help`` explains each.

    Raises:
        InputError: wrong flags, names or files; nothing has been written then.
        RunError: training was told to stop, or its loss is not a number; what was done can be resumed.
    """
    flags = {name: list(value) if isinstance(value, tuple) else value for name, value in locals().items()}
    flags.update(absolute_paths(flags))
    database = Database(str(flags["tdb_array"]))
    state = _state(flags, _circumstances(database, flags))
    spec = specs.from_flags(database, flags)
    builder = BatchBuilder(database, spec)
    if revcomp or bed_regions_stranded:
        builder.check_strands()
    split, training, validation = plan_training(database, spec, flags)
    for name, least in (("batch_size", 1), ("epochs", 1), ("patience", 1), ("patience_lr", 1), ("state_every", 0)):
        if int(flags[name]) < least:  # type: ignore[arg-type]
            raise InputError(f"--{name} {flags[name]}: expected {least} or more")
    if seed < 0 or learning_rate <= 0:
        raise InputError(f"--seed {seed}, --learning_rate {learning_rate:g}: expected 0 or more, and above 0")
    if lr_schedule not in LR_SCHEDULES:
        raise InputError(f"--lr_schedule {lr_schedule}: expected one of {', '.join(LR_SCHEDULES)}")

    storage.require_writable(Path(model_prefix).parent)

    backend.load()
    import keras

    from kerasgen import devices
    from kerasgen.fitting import Fitting
    from kerasgen.generators import BatchGenerator
    from kerasgen.loading.sources import choose

    module, origin = _architecture(architecture_spec, architecture_from_file)
    config, weights = _config(module, spec, model_params, {name: flags[name] for name in _LOSS_WEIGHTS})
    keras.utils.set_random_seed(seed)
    model = _build(module, config, spec)
    devices.report()
    log.info("%s training samples an epoch, %s validation samples", f"{len(training):,}", f"{len(validation):,}")
    log.info("held out for testing: %s", ", ".join(split.test) or "nothing")
    source = choose(database, builder.needs, training, cache_gb=cache_gb, threads=threads, what="training batches")
    left = None if cache_gb is None else cache_gb - source.nbytes / 1e9
    held = choose(database, builder.needs, validation, cache_gb=left, threads=threads, what="validation batches")
    loss_weights = _resolve_weights(builder, training, source, spec, weights)
    _compile(model, spec, loss_weights, learning_rate)

    def batches(epoch: int, first_batch: int) -> BatchGenerator:
        return BatchGenerator(
            builder, training, batch_size, source=source, epoch=epoch, first_batch=first_batch, threads=threads,
            max_queue_size=max_queue_size,
        )  # fmt: skip

    fitting = Fitting(
        model=model,
        prefix=model_prefix,
        batches=batches,
        validation=BatchGenerator(builder, validation, batch_size, source=held, threads=threads, filtered=True),
        document={
            "run": flags,
            "data_spec": spec.to_json(),
            "split": asdict(split),
            "architecture": {**origin, "config": asdict(config)},
            "loss_weights": loss_weights,
            "parameters": int(model.count_params()),
            "backend": keras.backend.backend(),
            "versions": bundle.versions(),
            "database": {"uri": database.uri, "commit": database.commit},
        },
        run={**flags, **_circumstances(database, flags)},
        epochs=epochs,
        patience=patience,
        patience_lr=patience_lr,
        learning_rate=learning_rate,
        lr_schedule=lr_schedule,
        state_every=state_every,
        callbacks=[keras.callbacks.TensorBoard(tensorboard_logdir)] if tensorboard else [],
    )
    if state is None:
        checkpoint.discard(model_prefix)
    else:
        fitting.progress, _, fitting.arrays = state
        checkpoint.restore(model, fitting.arrays)
        log.info("resuming in epoch %d after %d batches", fitting.progress.epoch + 1, fitting.progress.batch)
    fitting.run_epochs()
    progress = fitting.progress
    return TrainingResult(
        Path(model_prefix),
        progress.best_epoch + 1,
        progress.best,
        progress.history,
        progress.stopped,
        progress.seconds,
    )


def absolute_paths(flags: Mapping[str, Any]) -> dict[str, str]:
    """The flags that name local files, as absolute paths, so that a bundle serves from any folder."""
    given = {name: flags[name] for name in _PATHS if flags.get(name)}
    return {name: path if storage.is_remote(path) else str(Path(path).resolve()) for name, path in given.items()}


def _circumstances(database: Database, flags: dict[str, Any]) -> dict[str, Any]:
    """What else a resumed training must find as it was: the data and the backend."""
    files = [flags[name] for name in _PATHS[1:] if flags[name]]
    files += [word for word in flags["model_params"] or () if "=" not in word]
    sums = {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in files if Path(name).is_file()}
    return {
        "database commit": database.commit,
        "contents of files": sums,
        "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "tensorflow"),
    }


def _state(
    flags: dict[str, Any], circumstances: dict[str, Any]
) -> tuple[checkpoint.Progress, dict[str, Any], dict[str, np.ndarray]] | None:
    """The state to resume from; refuses to resume another run or to overwrite one silently."""
    prefix = flags["model_prefix"]
    if flags["resume"] and flags["overwrite"]:
        raise InputError("give --resume to go on or --overwrite to begin anew, not both")
    if flags["resume"]:
        state = checkpoint.load(prefix)
        may_change = _MAY_CHANGE - ({"epochs"} if flags["lr_schedule"] == "cosine" else set())
        for name, value in {**flags, **circumstances}.items():
            if name not in may_change and value != state[1].get(name):
                label = f"--{name}" if name in flags else name
                raise InputError(
                    f"--resume: {label} was {state[1].get(name)!r} when this training began and is now {value!r}; "
                    "resume with all as it was, or --overwrite to begin anew"
                )
        return state
    for path in (bundle.path_of(prefix, "keras"), bundle.path_of(prefix, "state")):
        if path.exists() and not flags["overwrite"]:
            raise InputError(f"{path}: exists; --resume goes on with its training, --overwrite begins anew")
    return None


def _architecture(name: str, file: str | None) -> tuple[ModuleType, dict[str, Any]]:
    import architectures

    try:
        if file is not None:
            return architectures.from_file(file), {"file": str(Path(file).resolve())}
        return architectures.get(name), {"name": name}
    except ValueError as error:
        raise InputError(f"--architecture_{'from_file' if file else 'spec'}: {error}") from error


def _config(
    module: ModuleType, spec: DataSpec, params: Sequence[str] | None, weights: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The architecture's config, and the loss weights, which a params file of kerasAC's may hold too."""
    known = {f.name: f for f in fields(module.Config)}
    chosen: dict[str, Any] = {}
    for name, (text, place) in _read_params(params or ()).items():
        if name in weights:
            weights[name] = text
            continue
        if name not in known:
            raise InputError(f"{place}: unknown parameter {name!r}; known are {', '.join([*known, *weights])}")
        chosen[name] = _typed(place, name, text, getattr(known[name], "default", None))
    inputs, outputs = ([channels.shape for channels in side] for side in (spec.inputs, spec.outputs))
    try:
        return module.Config.from_data(inputs, outputs, **chosen), weights
    except (ValueError, TypeError) as error:
        raise InputError(f"the architecture cannot be built: {error}") from error


def _read_params(words: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Parameters as ``name=value`` words or files of two columns: name -> text and where it stands."""
    result = {}
    for word in words:
        if "=" in word:
            name, _, text = word.partition("=")
            result[name] = (text, f"--model_params {word}")
            continue
        path = Path(word)
        if not path.is_file():
            raise InputError(f"--model_params {word}: neither name=value nor a file of names and values")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            parts = line.split()
            if not parts or line.startswith("#"):
                continue
            if len(parts) != 2:
                raise InputError(f"{path}:{number}: expected a name and a value, got {line.strip()[:60]!r}")
            result[parts[0]] = (parts[1], f"{path}:{number}")
    return result


def _typed(place: str, name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise InputError(f"{place}: {name} is {text!r}; expected true or false")
        return text.lower() == "true"
    if isinstance(default, (int, float)):
        try:
            return type(default)(text)
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise InputError(f"{place}: {name} is {text!r}; expected {kind}") from None
    return text


def _build(module: ModuleType, config: Any, spec: DataSpec) -> keras.Model:
    model = module.build(config)
    for side, tensors, channels in (("input", model.inputs, spec.inputs), ("output", model.outputs, spec.outputs)):
        got, wanted = [tuple(t.shape[1:]) for t in tensors], [c.shape for c in channels]
        if got != wanted:
            raise InputError(f"the architecture's {side} shapes are {got}; the --tdb_{side} flags give {wanted}")
    return model


def _resolve_weights(
    builder: BatchBuilder, plan: Plan, source: Source, spec: DataSpec, weights: dict[str, Any]
) -> list[float]:
    """One weight an output; ``auto`` is a tenth of the median total count of a training window (kerasAC's formula)."""
    try:
        profile = float(weights["profile_loss_weight"])
        counts = None if weights["counts_loss_weight"] == "auto" else float(weights["counts_loss_weight"])
    except ValueError as error:
        raise InputError(f"--counts_loss_weight, --profile_loss_weight: {error}; expected numbers or auto") from error
    is_profile = [channels.aggregation is None for channels in spec.outputs]
    if counts is None and any(is_profile) and not all(is_profile):
        windows = source.epoch(plan, 0)[0]
        windows = windows.take(np.flatnonzero(~windows.background)[:_WEIGHT_SAMPLES])
        windows = keep_accepted(builder, windows, 256, parts=source.hold(windows).parts)
        if len(windows.centre) == 0:
            raise InputError("no training sample lies within the minima and maxima of --tdb_input and --tdb_output")
        totals, held = [], source.hold(windows)
        for first in range(0, len(windows.centre), 256):
            for part, store in held.parts(first, min(first + 256, len(windows.centre))):
                labels = builder.outputs(windows.take(part), store)[is_profile.index(True)]
                totals.append(np.nansum(labels, axis=(1, 2)))
        counts = max(float(np.median(np.concatenate(totals))) / 10, 1e-3)
        log.info("counts loss weight: %.3g", counts)
    return [profile if flag else (1.0 if counts is None else counts) for flag in is_profile]


def _compile(model: keras.Model, spec: DataSpec, loss_weights: list[float], learning_rate: float) -> None:
    import keras

    from kerasgen.losses import MaskedMSE, MultinomialNLL

    losses = [MultinomialNLL() if channels.aggregation is None else MaskedMSE() for channels in spec.outputs]
    model.compile(keras.optimizers.Adam(learning_rate), loss=losses, loss_weights=loss_weights)
    model.optimizer.build(model.trainable_variables)
