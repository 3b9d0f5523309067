"""The loop of epochs, one ``fit`` each: learning rate, early stopping, checkpoints, and the wait for data."""

from __future__ import annotations

import csv
import io
import logging
import math
import signal as signals
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from db_ingest import storage
from db_ingest.errors import RunError
from db_ingest.progress import progress as show_progress
from kerasgen import bundle
from kerasgen.loader.dataset import BatchGenerator
from kerasgen.loader.prefetch import Prefetcher, as_tf_dataset
from kerasgen.settings import Optimisation
from kerasgen.training import devices
from kerasgen.training import state as checkpoint
from kerasgen.training.assembly import TrainableModel
from kerasgen.training.state import Progress

log = logging.getLogger("kerasgen")

LR_FACTOR, LR_MINIMUM = 0.4, 1e-8
_WAIT_WARNING = 0.10


@dataclass
class TrainingLoop:
    """A training from its first or a resumed epoch to its end.

    Args:
        assembly: the model, compiled, its optimizer built.
        prefix: of the bundle.
        batches: ``(epoch, first_batch)`` -> the epoch's batches.
        validation: the fixed validation batches; a short one is filled up to the size of the others.
        document: contents of ``P.json``; the best metrics are added.
        run: settings kept with the state.
        optimisation: how long and how fast the model learns.
        state_every: batches between two states; 0: states at epoch ends only.
        num_gpus: devices that share each batch.
        advice: what to do if training waits for data.
        callbacks: further Keras callbacks.
        progress: where it is.
        arrays: of a state to go on from; used for the first epoch.
        compiled: whether this process has done a step.
    """

    assembly: TrainableModel
    prefix: str
    batches: Callable[[int, int], BatchGenerator]
    validation: BatchGenerator
    document: dict[str, Any]
    run: dict[str, Any]
    optimisation: Optimisation
    state_every: int
    num_gpus: int
    advice: str
    callbacks: list[keras.callbacks.Callback]
    progress: Progress = field(default_factory=Progress)
    arrays: dict[str, np.ndarray] | None = None
    compiled: bool = False
    _warned: bool = False
    _signature: Any = None
    _next: Prefetcher | None = None

    @property
    def model(self) -> keras.Model:
        """The model that is trained."""
        return self.assembly.trained

    def run_epochs(self) -> None:
        """Train until early stopping or the last epoch.

        Raises:
            RunError: told to stop by a signal (the state is written first), or the loss is not a number.
        """
        progress = self.progress
        if progress.epoch < self.optimisation.epochs and progress.stopped == _all_done(progress.epoch):
            progress.stopped = ""
        if self.arrays is not None and progress.batch and self.num_gpus > 1:
            # On several devices, running metrics come into being with the first batch; only then can they be restored.
            with self._validation_batches() as batches:
                self.model.test_on_batch(*batches[0])
        with _stop_signal() as stop, self._closing_next():
            while not progress.stopped:
                if self.optimisation.lr_schedule == "cosine":
                    turn = math.pi * progress.epoch / self.optimisation.epochs
                    self._set_learning_rate(self.optimisation.learning_rate * (1 + math.cos(turn)) / 2)
                elif progress.epoch == 0:
                    self._set_learning_rate(self.optimisation.learning_rate)
                self._finish_epoch(self._run_epoch(stop))
                if stop.is_set() and not progress.stopped:
                    raise RunError(f"stopped after epoch {progress.epoch}; the same command with --resume goes on")

    def _run_epoch(self, stop: threading.Event) -> dict[str, float]:
        progress = self.progress
        prefetcher, self._next = self._next or self._training_batches(progress.epoch, progress.batch), None
        samples = len(prefetcher) * prefetcher.batches.batch_size
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        began = time.perf_counter()
        title = f"epoch {progress.epoch + 1}/{self.optimisation.epochs}"
        with (
            show_progress(title, samples, "samples") as advance,
            prefetcher as training,
            self._validation_batches() as validation,
        ):
            watch = _LoopCallback(self, training, validation, advance, stop)
            try:
                history = self.model.fit(
                    self._for_fit(training),
                    validation_data=self._for_fit(validation),
                    initial_epoch=progress.epoch,
                    epochs=progress.epoch + 1,
                    shuffle=False,
                    verbose=0,
                    callbacks=[watch, *self.callbacks],
                )
            except Exception as error:
                # TensorFlow turns what a batch raises into an error of its own.
                raise (training.error or validation.error or error) from None
        self.arrays = None
        progress.seconds += time.perf_counter() - began
        return {
            "epoch": progress.epoch + 1,
            **{name: float(values[-1]) for name, values in history.history.items()},
            "learning_rate": rate,
            "seconds": round(time.perf_counter() - began, 2),
            "samples_per_second": round(watch.samples / max(watch.seconds, 1e-9), 1),
            "data_wait": round(watch.waited / max(watch.seconds, 1e-9), 4),
        }

    def begin_next_epoch(self) -> None:
        """Have the next epoch's first batches made while the model is validated."""
        if self.progress.epoch + 1 < self.optimisation.epochs:
            self._next = self._training_batches(self.progress.epoch + 1, 0)
            self._next.begin()

    @contextmanager
    def _closing_next(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._next is not None:
                self._next.close()

    def _training_batches(self, epoch: int, first_batch: int) -> Prefetcher:
        return Prefetcher(self.batches(epoch, first_batch), place=devices.placing())

    def _validation_batches(self) -> Prefetcher:
        size = -(-self.validation.batch_size // self.num_gpus) * self.num_gpus
        return Prefetcher(self.validation, place=devices.placing(), size=size)

    def _for_fit(self, batches: Prefetcher) -> Any:
        if keras.backend.backend() != "tensorflow":
            return batches
        dataset = as_tf_dataset(batches, signature=self._signature)
        self._signature = dataset.element_spec
        return dataset

    def _finish_epoch(self, row: dict[str, float]) -> None:
        progress = self.progress
        loss = row["val_loss"]
        if not math.isfinite(row["loss"]) or not math.isfinite(loss):
            raise RunError(
                f"the loss of epoch {progress.epoch + 1} is not a number (loss {row['loss']}, val_loss {loss}); "
                "lower --learning_rate, or look for extreme labels"
            )
        progress.history.append(row)
        improved = loss < progress.best
        if improved:
            progress.best, progress.best_epoch, progress.lr_wait = loss, progress.epoch, 0
            bundle.write_model(self.prefix, self.assembly.to_save())
        else:
            progress.lr_wait += 1
            if self.optimisation.lr_schedule == "plateau" and progress.lr_wait >= self.optimisation.patience_lr:
                self._set_learning_rate(max(row["learning_rate"] * LR_FACTOR, LR_MINIMUM))
                progress.lr_wait = 0
        shown = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k.endswith("loss"))
        log.info(
            "epoch %d/%d: %s  %s samples/s, %.0f%% waiting for data%s",
            row["epoch"], self.optimisation.epochs, shown, f"{row['samples_per_second']:,.0f}", 100 * row["data_wait"],
            ", best so far" if improved else "",
        )  # fmt: skip
        if row["data_wait"] > _WAIT_WARNING and not self._warned:
            self._warned = True
            log.warning("training waits for data %.0f%% of the time; %s", 100 * row["data_wait"], self.advice)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        if progress.epoch - 1 - progress.best_epoch >= self.optimisation.patience:
            progress.stopped = f"no better validation loss for {self.optimisation.patience} epochs"
        elif progress.epoch >= self.optimisation.epochs:
            progress.stopped = _all_done(progress.epoch)
        write_log(self.prefix, progress.history)
        best = progress.history[progress.best_epoch]
        bundle.write_config(self.prefix, {**self.document, "best": best, "history": progress.history})
        self.save_state()

    def save_state(self) -> None:
        """Write ``P.state/``."""
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        checkpoint.save(self.prefix, self.model, self.progress, self.run)

    def _set_learning_rate(self, rate: float) -> None:
        self.model.optimizer.learning_rate.assign(rate)


class _LoopCallback(keras.callbacks.Callback):
    """Counts batches, measures waiting, writes the state now and then, and stops between batches when told to.

    Attributes:
        seconds, waited, samples: time of the training steps, the part of it waited for batches, and their samples. A
            process' first step is left out where there are others: it compiles the model.
    """

    def __init__(
        self,
        fitting: TrainingLoop,
        training: Prefetcher,
        validation: Prefetcher,
        advance: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        super().__init__()
        self.fitting, self.training, self.validation = fitting, training, validation
        self.advance, self.stop, self.size = advance, stop, training.batches.batch_size
        self.seconds = self.waited = 0.0
        self.samples = 0
        self._began = self._waited = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.fitting.arrays is not None and self.fitting.progress.batch:
            checkpoint.restore_metrics(self.model, self.fitting.arrays)
        self._start_clock()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        over = batch + 1 >= len(self.training)
        if self.fitting.compiled or over:
            self.seconds += time.perf_counter() - self._began
            self.waited += self.model.waited - self._waited
            self.samples += self.size
        self.fitting.compiled = True
        self.advance(self.size)
        progress = self.fitting.progress
        progress.batch += 1
        # After its last batch an epoch is finished, validation included, before anything is saved or stopped.
        if over:
            # What this epoch held in memory makes room for the next one's.
            self.training.close()
            self.fitting.begin_next_epoch()
        else:
            if self.stop.is_set():
                self.fitting.save_state()
                raise RunError(
                    f"stopped in epoch {progress.epoch + 1} after {progress.batch} batches; "
                    "the same command with --resume goes on"
                )
            if self.fitting.state_every and progress.batch % self.fitting.state_every == 0:
                self.fitting.save_state()
        self._start_clock()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Take what the last validation batch was filled up with out of the means, for all callbacks that follow."""
        assert logs is not None
        penalty = float(sum(keras.ops.convert_to_numpy(loss) for loss in self.model.losses))
        for name in [name for name in logs if name.startswith("val_")]:
            added = penalty if name == "val_loss" else 0.0
            logs[name] = (logs[name] - added) * self.validation.filling + added

    def _start_clock(self) -> None:
        self._began, self._waited = time.perf_counter(), self.model.waited


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM and the first Ctrl-C set; only the main thread can listen."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signals.signal(number, handle) for number in (signals.SIGTERM, signals.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signals.signal(number, handler)


def _all_done(epochs: int) -> str:
    return f"all {epochs} epochs done"


def write_log(prefix: str | Path, history: list[dict[str, float]]) -> None:
    """Write ``P.log.csv``: one row per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    storage.replace_bytes(bundle.path_of(prefix, "log.csv"), text.getvalue().encode())
