"""Train a model from a database: what ``gen_train`` does."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.cores import cores
from db_ingest.errors import InputError
from kerasgen import backend, bundle, families
from kerasgen import spec as specs
from kerasgen.database import Database
from kerasgen.loader.builder import BatchBuilder
from kerasgen.regions.folds import Split
from kerasgen.regions.plan import plan_training
from kerasgen.regions.windows import Plan
from kerasgen.spec import DataSpec
from kerasgen.training import params
from kerasgen.training import state as checkpoint

if TYPE_CHECKING:
    from kerasgen.loader.sources import Source

log = logging.getLogger("kerasgen")

LR_SCHEDULES = ("plateau", "cosine", "constant")
JIT_COMPILE = ("auto", "true", "false")
PRECISIONS = ("float32", "bfloat16")
_PATHS = ("tdb_array", "bed_regions", "background_bed", "blacklist", "architecture_from_file")
_MAY_CHANGE = {
    "resume", "overwrite", "epochs", "patience", "threads", "max_queue_size", "state_every", "cache_gb", "cache_dir",
    "device_one_hot",
}  # fmt: skip

_State = tuple[checkpoint.Progress, dict[str, Any], dict[str, np.ndarray]]


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
    cache_dir: str | None = None,
    device_one_hot: bool = True,
    num_gpus: int = 1,
    precision: str = "float32",
    jit_compile: str = "auto",
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
    if architecture_from_file is None:
        families.require_windows(architecture_spec)
    flags = {name: list(value) if isinstance(value, tuple) else value for name, value in locals().items()}
    flags.update(absolute_paths(flags))
    database = Database(str(flags["tdb_array"]))
    state = _state(flags, _circumstances(database, flags))
    spec = specs.from_flags(database, flags)
    if revcomp or bed_regions_stranded:
        BatchBuilder(database, spec).check_strands()
    plans = plan_training(database, spec, flags)
    _check(flags)
    storage.require_writable(Path(model_prefix).parent)
    from kerasgen.loader.sources import require_local_folder

    require_local_folder(cache_dir)

    backend.load()
    from kerasgen.training import devices

    names = devices.choose(num_gpus)
    with devices.data_parallel(names):
        return _train(database, spec, plans, flags, names, state)


def _train(
    database: Database,
    spec: DataSpec,
    plans: tuple[Split, Plan, Plan],
    flags: dict[str, Any],
    device_names: list[str],
    state: _State | None,
) -> TrainingResult:
    import keras

    from kerasgen.loader.dataset import BatchGenerator
    from kerasgen.training import assembly, devices
    from kerasgen.training.loop import Fitting

    split, training, validation = plans
    prefix, batch_size, threads = flags["model_prefix"], flags["batch_size"], flags["threads"]
    if len(training) < batch_size and len(training) % len(device_names):
        raise InputError(f"{len(training)} training samples do not divide among --num_gpus {len(device_names)}")
    module, origin = assembly.family(flags["architecture_spec"], flags["architecture_from_file"])
    loss_weights = {name: flags[name] for name in assembly.LOSS_WEIGHTS}
    config, loss_weights = assembly.configure(module, spec, flags["model_params"], loss_weights)
    keras.utils.set_random_seed(flags["seed"])
    assembled = assembly.assemble(
        lambda: module.build(config), spec, precision=flags["precision"], device_one_hot=flags["device_one_hot"]
    )
    devices.report()
    log.info("%s training samples an epoch, %s validation samples", f"{len(training):,}", f"{len(validation):,}")
    log.info("held out for testing: %s", ", ".join(split.test) or "nothing")
    builder = BatchBuilder(database, spec, codes=flags["device_one_hot"])
    source, held = _sources(builder, training, validation, flags, state)
    weights = assembly.resolve_weights(builder, training, source, spec, loss_weights)
    assembly.compile_model(assembled.trained, spec, weights, flags["learning_rate"], flags["jit_compile"])

    def batches(epoch: int, first_batch: int) -> BatchGenerator:
        return BatchGenerator(
            builder, training, batch_size, source=source, epoch=epoch, first_batch=first_batch, threads=threads,
            max_queue_size=flags["max_queue_size"],
        )  # fmt: skip

    fitting = Fitting(
        assembly=assembled,
        prefix=prefix,
        batches=batches,
        validation=BatchGenerator(builder, validation, batch_size, source=held, threads=threads, filtered=True),
        document={
            "run": flags,
            "data_spec": spec.to_json(),
            "split": asdict(split),
            "architecture": {**origin, "config": asdict(config)},
            "loss_weights": weights,
            "parameters": int(assembled.plain.count_params()),
            "backend": keras.backend.backend(),
            "devices": device_names,
            "versions": bundle.versions(),
            "database": {"uri": database.uri, "commit": database.commit},
        },
        run={**flags, **_circumstances(database, flags), "order": source.order.as_plain()},
        epochs=flags["epochs"],
        patience=flags["patience"],
        patience_lr=flags["patience_lr"],
        learning_rate=flags["learning_rate"],
        lr_schedule=flags["lr_schedule"],
        state_every=flags["state_every"],
        num_gpus=len(device_names),
        advice=_advice(flags, in_memory=source.nbytes > 0),
        callbacks=[keras.callbacks.TensorBoard(flags["tensorboard_logdir"])] if flags["tensorboard"] else [],
    )
    if state is None:
        checkpoint.discard(prefix)
    else:
        fitting.progress, _, fitting.arrays = state
        checkpoint.restore(assembled.trained, fitting.arrays)
        log.info("resuming in epoch %d after %d batches", fitting.progress.epoch + 1, fitting.progress.batch)
    fitting.run_epochs()
    progress = fitting.progress
    return TrainingResult(
        Path(prefix), progress.best_epoch + 1, progress.best, progress.history, progress.stopped, progress.seconds
    )


def _sources(
    builder: BatchBuilder, training: Plan, validation: Plan, flags: Mapping[str, Any], state: _State | None
) -> tuple[Source, Source]:
    """What holds the cells of training and validation; a resumed training keeps the order of its windows."""
    from kerasgen.loader.order import Order
    from kerasgen.loader.sources import choose

    order = None if state is None else Order(**state[1]["order"])
    held = {name: flags[name] for name in ("threads", "cache_dir")}
    held |= {"database": builder.database, "needs": builder.needs}
    cache_gb = flags["cache_gb"]
    source = choose(**held, plan=training, cache_gb=cache_gb, order=order, what="training batches")
    left = None if cache_gb is None else max(cache_gb - source.nbytes / 1e9, 0.0)
    return source, choose(**held, plan=validation, cache_gb=left, what="validation batches")


def _check(flags: Mapping[str, Any]) -> None:
    least = dict.fromkeys(
        ("batch_size", "epochs", "patience", "patience_lr", "threads", "max_queue_size", "num_gpus"), 1
    )
    least["state_every"] = 0
    for name, number in least.items():
        if flags[name] < number:
            raise InputError(f"--{name} {flags[name]}: expected {number} or more")
    if flags["seed"] < 0 or flags["learning_rate"] <= 0:
        raise InputError(
            f"--seed {flags['seed']}, --learning_rate {flags['learning_rate']:g}: expected 0 or more, and above 0"
        )
    for name, words in (("lr_schedule", LR_SCHEDULES), ("precision", PRECISIONS), ("jit_compile", JIT_COMPILE)):
        if flags[name] not in words:
            raise InputError(f"--{name} {flags[name]}: expected one of {', '.join(words)}")
    if flags["batch_size"] % flags["num_gpus"]:
        raise InputError(
            f"--batch_size {flags['batch_size']} does not divide among --num_gpus {flags['num_gpus']}; "
            f"expected a multiple of {flags['num_gpus']}"
        )
    if flags["jit_compile"] == "true" and flags["num_gpus"] > 1 and _backend() == "tensorflow":
        raise InputError("--jit_compile true: TensorFlow does so on one device only; leave it out with --num_gpus")


def _advice(flags: Mapping[str, Any], *, in_memory: bool) -> str:
    """What to do against waiting for batches, with the machine and the flags there are."""
    advice, available = [], cores()
    if not in_memory:
        advice.append("raise --cache_gb, so that batches come from memory, or give --cache_dir on a local disk")
    if flags["threads"] < available:
        advice.append(f"raise --threads (now {flags['threads']}, of {available} cores)")
    if not flags["device_one_hot"]:
        advice.append("let the device encode the sequence (--device_one_hot)")
    if flags["max_queue_size"] < flags["threads"]:
        advice.append("raise --max_queue_size to --threads or more")
    return "; ".join(advice) or "it takes more or faster cores, or longer epochs (each waits for its first batch)"


def absolute_paths(flags: Mapping[str, Any]) -> dict[str, str]:
    """The flags that name local files, as absolute paths, so that a bundle serves from any folder."""
    given = {name: flags[name] for name in _PATHS if flags.get(name)}
    return {name: path if storage.is_remote(path) else str(Path(path).resolve()) for name, path in given.items()}


def _circumstances(database: Database, flags: dict[str, Any]) -> dict[str, Any]:
    """What else a resumed training must find as it was: the data and the backend."""
    files = [flags[name] for name in _PATHS[1:] if flags[name]]
    files += params.files(flags["model_params"] or ())
    return checkpoint.circumstances(database.commit, files)


def _backend() -> str:
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def _state(flags: dict[str, Any], circumstances: dict[str, Any]) -> _State | None:
    """The state to resume from; refuses to resume another run or to overwrite one silently."""
    if not checkpoint.resuming(flags):
        return None
    state = checkpoint.load(flags["model_prefix"])
    may_change = _MAY_CHANGE - ({"epochs"} if flags["lr_schedule"] == "cosine" else set())
    checkpoint.require_same(state[1], flags, circumstances, may_change)
    return state
