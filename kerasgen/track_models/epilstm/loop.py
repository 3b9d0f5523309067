"""The epochs of an Epi-LSTM, of each model of an ensemble in turn; after each, all that is needed to go on is kept."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from architectures import epilstm
from db_ingest.errors import RunError
from kerasgen.objectives.masked import MaskedMSE
from kerasgen.track_models.binned import Stretch
from kerasgen.track_models.epilstm import pca
from kerasgen.track_models.epilstm.frames import lay
from kerasgen.track_models.epilstm.normalisation import Normalisation
from kerasgen.track_models.epilstm.record import SelectedTracks
from kerasgen.track_models.epilstm.stateful import Frames, StatefulModel
from kerasgen.track_models.settings import EpilstmTraining
from kerasgen.training import state
from kerasgen.training.loop import write_log
from kerasgen.training.state import EpochMetrics, Progress

log = logging.getLogger("kerasgen")

_CLIP = 1.0
"""Norm of all gradients together, at most."""


class EpilstmLoop:
    """A training from its first or a resumed epoch to its end.

    Args:
        config: that of the models.
        normalisation: that of the tracks.
        selected: the tracks, and which bins do what.
        training: how long and how fast.
        prefix: ``P``.
        seed: seed of the first model.
        run: what is kept with the state: flags and circumstances.

    Attributes:
        progress: where training is. Its history holds one row per epoch, for an ensemble one model after the other,
            each row with its ``model``, from 1.
    """

    def __init__(
        self,
        config: epilstm.Config,
        normalisation: Normalisation,
        selected: SelectedTracks,
        training: EpilstmTraining,
        prefix: str,
        seed: int,
        run: dict[str, Any],
    ) -> None:
        self._config, self._training, self._prefix, self._seed, self._run = config, training, prefix, seed, run
        self._chromosomes, self._bins = selected.tracks.stretches, selected.bins
        self._values = normalisation.apply(selected.tracks.values)
        self.progress = Progress()
        self._best: list[list[np.ndarray]] = []
        self._arrays: dict[str, np.ndarray] | None = None
        self._stateful: StatefulModel | None = None

    def go_on(self, progress: Progress, arrays: dict[str, np.ndarray]) -> None:
        """Take up a training where :func:`kerasgen.training.state.load` says that it was."""
        self.progress, self._arrays = progress, arrays
        self._best = [_numbered(arrays, f"best_{number}_") for number in range(progress.member + 1)]
        log.info("resuming after epoch %d%s", progress.epoch, self._of_model())

    def models(self) -> list[keras.Model]:
        """Train; the models of the ensemble, each with the weights of its best epoch.

        Raises:
            RunError: the loss is not a number.
        """
        for number in range(self.progress.member, self._training.n_models):
            if number > self.progress.member:
                self._arrays = None  # Of a model that is complete.
                self.progress = Progress(
                    history=self.progress.history, seconds=self.progress.seconds, member=number
                )  # fmt: skip
            self._train(number)
        # A training that was interrupted after its last state may lack a row.
        write_log(self._prefix, self.progress.history)
        return [self._with(weights) for weights in self._best]

    def rows(self, number: int) -> list[EpochMetrics]:
        """The epochs of one model, from 0."""
        history = self.progress.history
        return [row for row in history if row.get("model", 1) == number + 1]

    def best(self, number: int) -> EpochMetrics:
        """The epoch of one model, from 0, with the lowest validation loss; the first of equals."""
        return min(self.rows(number), key=lambda row: row["val_loss"])

    def ended(self, number: int) -> str:
        """Why the training of one model, from 0, is over; empty while it is not."""
        rows, patience, epochs = self.rows(number), self._training.patience, self._training.epochs
        if rows and len(rows) - self.best(number)["epoch"] >= patience:
            return f"no better validation loss for {patience} epochs"
        return f"all {epochs} epochs done" if len(rows) >= epochs else ""

    def _train(self, number: int) -> None:
        if self.ended(number):
            return
        seed = self._seed + number
        keras.utils.set_random_seed(seed)
        model = epilstm.build(self._config)
        if self._config.direct and self._config.units:
            directions = pca.components(self._values, self._bins.train, self._config.bottleneck)
            start_from_components(model, directions)
        stateful = self._stateful = self._compiled(model)
        if self._arrays is not None:
            state.restore(stateful, self._arrays)
            self._arrays = None
        validation = self._frames(self._bins.validation, 0)
        # Where frames begin in an epoch is a matter of seed and epoch, so that a resumed training has the same ones.
        rng = np.random.default_rng(seed)
        skips = [int(rng.integers(self._config.frame)) for _ in range(self._training.epochs)]
        while not self.ended(number):
            row = self._epoch(stateful, validation, skips[self.progress.epoch])
            self._keep(stateful, row)

    def _compiled(self, model: keras.Model) -> StatefulModel:
        """A model as it is trained, before its first step; the model trained before it lends it its compiled steps."""
        if self._stateful is not None:
            self._stateful.begin_as(model)
            return self._stateful
        stateful = StatefulModel(model, self._training.batch_size)
        stateful.compile(
            keras.optimizers.Adam(self._training.learning_rate, global_clipnorm=_CLIP), loss=MaskedMSE()
        )  # fmt: skip
        stateful.optimizer.build(stateful.trainable_variables)
        return stateful

    def _epoch(self, stateful: StatefulModel, validation: Frames, skip: int) -> EpochMetrics:
        epoch, epochs = self.progress.epoch, self._training.epochs
        rate = self._training.learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
        stateful.optimizer.learning_rate.assign(rate)
        began = time.perf_counter()
        fitted = stateful.fit(
            self._frames(self._bins.train, skip), validation_data=validation, initial_epoch=epoch, epochs=epoch + 1,
            shuffle=False, verbose=0,
        )  # fmt: skip
        row = {name: float(values[-1]) for name, values in fitted.history.items()}
        if not all(map(math.isfinite, row.values())):
            raise RunError(f"the loss of epoch {epoch + 1} is not a number; lower --learning_rate")
        log.info(
            "epoch %d/%d%s: loss %.4g  val_loss %.4g", epoch + 1, epochs, self._of_model(), row["loss"], row["val_loss"]
        )
        seconds = round(time.perf_counter() - began, 2)
        of_model = {"model": self.progress.member + 1} if self._training.n_models > 1 else {}
        return {**of_model, "epoch": epoch + 1, **row, "learning_rate": rate, "seconds": seconds}

    def _keep(self, stateful: StatefulModel, row: EpochMetrics) -> None:
        """Write the state after an epoch, in one step, and the log."""
        progress = self.progress
        progress.history.append(row)
        progress.seconds += row["seconds"]
        if row["val_loss"] < progress.best:
            progress.best, progress.best_epoch = row["val_loss"], progress.epoch
            weights = [np.array(keras.ops.convert_to_numpy(variable)) for variable in stateful.model.weights]
            self._best[progress.member :] = [weights]
        progress.epoch += 1
        best = {
            f"best_{number}_{place}": array
            for number, weights in enumerate(self._best)
            for place, array in enumerate(weights)
        }
        state.save(self._prefix, stateful, progress, self._run, best)
        write_log(self._prefix, progress.history)

    def _with(self, weights: Sequence[np.ndarray]) -> keras.Model:
        model = epilstm.build(self._config)
        model.set_weights(weights)
        return model

    def _frames(self, stretches: Sequence[Stretch], skip: int) -> Frames:
        config = self._config
        lanes = lay(stretches, self._chromosomes, self._training.batch_size, config.frame, skip)
        return Frames(self._values, lanes, config.frame, config.look_ahead, config.mask)

    def _of_model(self) -> str:
        number, several = self.progress.member + 1, self._training.n_models
        return f" of model {number} of {several}" if several > 1 else ""


def start_from_components(model: keras.Model, directions: np.ndarray) -> None:
    """Let the direct paths of a model begin as principal components.

    Args:
        model: an Epi-LSTM with direct paths.
        directions: ``(tracks, bottleneck) float32``.
    """
    code = model.get_layer("code_direct")
    kernel = np.zeros(code.kernel.shape, np.float32)
    kernel[: len(directions)] = directions
    code.set_weights([kernel])
    model.get_layer("reconstruction_direct").set_weights([directions.T])


def _numbered(arrays: dict[str, np.ndarray], beginning: str) -> list[np.ndarray]:
    """Arrays of a name and a number, in the order of the numbers."""
    count = sum(name.startswith(beginning) for name in arrays)
    return [arrays[f"{beginning}{number}"] for number in range(count)]
