"""Train a model from a database: what ``gen_train`` does."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.cores import cores
from db_ingest.errors import InputError
from db_ingest.settings import absolute_path, takes_settings
from kerasgen import backend, bundle, families
from kerasgen import spec as specs
from kerasgen.database import Database
from kerasgen.loader.builder import BatchBuilder
from kerasgen.objectives import heads
from kerasgen.regions.folds import Split
from kerasgen.regions.plan import plan_training
from kerasgen.regions.windows import WindowPlan
from kerasgen.settings import ModelPrefix, TdbArray, Training
from kerasgen.spec import DataSpec
from kerasgen.training import params
from kerasgen.training import state as checkpoint

if TYPE_CHECKING:
    from kerasgen.loader.sources import EpochSource

log = logging.getLogger("kerasgen")

_State = tuple[checkpoint.Progress, dict[str, Any], dict[str, np.ndarray]]


class TrainingResult(NamedTuple):
    """What a training made.

    Args:
        prefix: of the model bundle.
        best_epoch: epoch whose weights ``P.keras`` holds, from 1.
        best_loss: its validation loss.
        history: one row of metrics per epoch.
        stopped: why training ended.
        seconds: time spent in finished epochs; of an interrupted one, the part since it was resumed.
    """

    prefix: Path
    best_epoch: int
    best_loss: float
    history: list[dict[str, float]]
    stopped: str
    seconds: float


@takes_settings
def train(tdb_array: TdbArray, model_prefix: ModelPrefix, *, settings: Training) -> TrainingResult:
    """Train a model on windows of a database and write it as a bundle.

    Writes ``P.keras`` (best weights), ``P.json`` (everything that was decided), ``P.log.csv`` (one row per epoch) and
    ``P.state/`` (to resume from).

    Raises:
        InputError: wrong settings, names or files; nothing has been written then.
        RunError: training was told to stop, or its loss is not a number; what was done can be resumed.
    """
    if settings.model.architecture_from_file is None:
        families.require_windows(settings.model.architecture_spec)
    tdb_array, settings = absolute_path(tdb_array), settings.absolute()
    database = Database(tdb_array)
    record = {"tdb_array": tdb_array, "model_prefix": model_prefix, **settings.flat()}
    circumstances = checkpoint.circumstances(
        database.commit, [*settings.paths(), *params.files(settings.model.model_params or ())]
    )
    state = _state(model_prefix, settings, record, circumstances)
    spec = specs.from_settings(database, settings.data).with_losses(settings.losses.loss)
    # A loss that does not fit its output is refused here.
    heads.all_of(spec.outputs)
    if settings.samples.sampling.revcomp or settings.samples.regions.bed_regions_stranded:
        BatchBuilder(database, spec).check_strands()
    plans = plan_training(database, spec, settings.samples)
    _check_devices(settings)
    storage.require_writable(Path(model_prefix).parent)
    from kerasgen.loader.sources import require_local_folder

    require_local_folder(settings.loading.cache_dir)

    backend.load()
    from kerasgen.training import devices

    names = devices.choose(settings.devices.num_gpus)
    with devices.data_parallel(names):
        return _train(_TrainingRun(database, spec, *plans, model_prefix, settings, names), record, circumstances, state)


class _TrainingRun(NamedTuple):
    """A training whose settings were found sound."""

    database: Database
    spec: DataSpec
    split: Split
    training: WindowPlan
    validation: WindowPlan
    prefix: str
    settings: Training
    device_names: list[str]


def _train(
    work: _TrainingRun, record: dict[str, Any], circumstances: dict[str, Any], state: _State | None
) -> TrainingResult:
    import keras

    from kerasgen.loader.dataset import BatchGenerator
    from kerasgen.training import assembly, devices
    from kerasgen.training.loop import TrainingLoop

    database, spec, settings, device_names = work.database, work.spec, work.settings, work.device_names
    loading, optimisation, running = settings.loading, settings.optimisation, settings.running
    if len(work.training) < loading.batch_size and len(work.training) % len(device_names):
        raise InputError(f"{len(work.training)} training samples do not divide among --num_gpus {len(device_names)}")
    module, origin = assembly.family(settings.model)
    config, losses = assembly.configure(module, spec, settings.model.model_params, settings.losses)
    keras.utils.set_random_seed(settings.samples.seed)
    assembled = assembly.assemble(
        lambda: module.build(config),
        spec,
        precision=settings.devices.precision,
        device_one_hot=loading.device_one_hot,
    )
    devices.report()
    log.info(
        "%s training samples per epoch, %s validation samples", f"{len(work.training):,}", f"{len(work.validation):,}"
    )
    log.info("held out for testing: %s", ", ".join(work.split.test) or "nothing")
    builder = BatchBuilder(database, spec, codes=loading.device_one_hot)
    source, held = _sources(builder, work, state)
    weights = assembly.resolve_weights(builder, work.training, source, spec, losses)
    assembly.compile_model(
        assembled.trained,
        spec,
        weights,
        optimisation.learning_rate,
        settings.devices.jit_compile,
        makes_metrics=len(device_names) == 1,
    )

    def batches(epoch: int, first_batch: int) -> BatchGenerator:
        return BatchGenerator(
            builder,
            work.training,
            loading.batch_size,
            source=source,
            epoch=epoch,
            first_batch=first_batch,
            threads=loading.threads,
            max_queue_size=running.max_queue_size,
        )

    loop = TrainingLoop(
        assembly=assembled,
        prefix=work.prefix,
        batches=batches,
        validation=BatchGenerator(
            builder, work.validation, loading.batch_size, source=held, threads=loading.threads, filtered=True
        ),
        document=_document(work, record, {**origin, "config": asdict(config)}, weights, assembled.plain.count_params()),
        run={**record, **circumstances, "order": source.order.as_plain()},
        optimisation=optimisation,
        state_every=running.state_every,
        num_gpus=len(device_names),
        advice=_advice(settings, in_memory=source.nbytes > 0),
        callbacks=[keras.callbacks.TensorBoard(running.tensorboard_logdir)] if running.tensorboard else [],
    )
    if state is None:
        checkpoint.discard(work.prefix)
    else:
        loop.progress, _, loop.arrays = state
        checkpoint.restore(assembled.trained, loop.arrays)
        log.info("resuming in epoch %d after %d batches", loop.progress.epoch + 1, loop.progress.batch)
    loop.run_epochs()
    progress = loop.progress
    return TrainingResult(
        Path(work.prefix), progress.best_epoch + 1, progress.best, progress.history, progress.stopped, progress.seconds
    )


def _document(
    work: _TrainingRun, record: dict[str, Any], architecture: dict[str, Any], weights: list[float], parameters: int
) -> dict[str, Any]:
    """What ``P.json`` says of a training from its first epoch on."""
    import keras

    return {
        "run": record,
        "data_spec": work.spec.to_json(),
        "split": asdict(work.split),
        "architecture": architecture,
        "loss_weights": weights,
        "parameters": int(parameters),
        "backend": keras.backend.backend(),
        "devices": work.device_names,
        "versions": bundle.versions(),
        "database": {"uri": work.database.uri, "commit": work.database.commit},
    }


def _sources(builder: BatchBuilder, work: _TrainingRun, state: _State | None) -> tuple[EpochSource, EpochSource]:
    """What holds the cells of training and validation; a resumed training keeps the order of its windows."""
    from kerasgen.loader.order import Order
    from kerasgen.loader.sources import choose

    order = None if state is None else Order(**state[1]["order"])
    loading = work.settings.loading

    def hold(plan: WindowPlan, what: str, cache_gb: float | None, order: Order | None = None) -> EpochSource:
        return choose(
            builder.database,
            builder.needs,
            plan,
            cache_gb=cache_gb,
            cache_dir=loading.cache_dir,
            threads=loading.threads,
            order=order,
            what=what,
        )

    source = hold(work.training, "training batches", loading.cache_gb, order)
    left = None if loading.cache_gb is None else max(loading.cache_gb - source.nbytes / 1e9, 0.0)
    return source, hold(work.validation, "validation batches", left)


def _check_devices(settings: Training) -> None:
    batch_size, devices = settings.loading.batch_size, settings.devices
    if batch_size % devices.num_gpus:
        raise InputError(
            f"--batch_size {batch_size} does not divide among --num_gpus {devices.num_gpus}; "
            f"expected a multiple of {devices.num_gpus}"
        )
    if devices.jit_compile == "true" and devices.num_gpus > 1 and _backend() == "tensorflow":
        raise InputError("--jit_compile true: TensorFlow does so on one device only; leave it out with --num_gpus")


def _advice(settings: Training, *, in_memory: bool) -> str:
    """What to do against waiting for batches, with the machine and the settings there are."""
    advice, available, loading = [], cores(), settings.loading
    if not in_memory:
        advice.append("raise --cache_gb, so that batches come from memory, or give --cache_dir on a local disk")
    if loading.threads < available:
        advice.append(f"raise --threads (now {loading.threads}, of {available} cores)")
    if not loading.device_one_hot:
        advice.append("let the device encode the sequence (--device_one_hot)")
    if settings.running.max_queue_size < loading.threads:
        advice.append("raise --max_queue_size to --threads or more")
    return "; ".join(advice) or "it takes more or faster cores, or longer epochs (each waits for its first batch)"


def _backend() -> str:
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def _state(prefix: str, settings: Training, record: dict[str, Any], circumstances: dict[str, Any]) -> _State | None:
    """The state to resume from; refuses to resume another run or to overwrite one silently."""
    if not checkpoint.resuming(prefix, resume=settings.running.resume, overwrite=settings.running.overwrite):
        return None
    state = checkpoint.load(prefix)
    may_change = {name for name, parameter in settings.parameters().items() if parameter.setting.may_change}
    # Files that were moved, or are named from another folder, are the same training.
    may_change.add("model_prefix")
    # The schedule ends at the last epoch, so that another number of epochs is another training.
    may_change -= {"epochs"} if settings.optimisation.lr_schedule == "cosine" else set()
    checkpoint.require_same(state[1], record, circumstances, may_change, added={"loss": _loss_before_losses(settings)})
    return state


def _loss_before_losses(settings: Training) -> list[str | None] | None:
    """``--loss`` that says what a training did before there was this flag: labels were learned by squared error."""
    aggregations = settings.data.outputs.aggregation or ()
    if "binary_max" not in aggregations:
        return None
    return ["mse" if aggregation == "binary_max" else None for aggregation in aggregations]
