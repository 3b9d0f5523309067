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
from kerasgen.track_models.binned import BinnedTracks, Stretch
from kerasgen.track_models.epilstm import pca
from kerasgen.track_models.epilstm.frames import Normalisation, Parts, lay
from kerasgen.track_models.epilstm.stateful import Carrying, Frames
from kerasgen.training import state as checkpoint
from kerasgen.training.loop import write_log
from kerasgen.training.state import Progress

log = logging.getLogger("kerasgen")

_CLIP = 1.0
"""Norm of all gradients together, at most."""

Row = dict[str, float]


class Fitting:
    """A training from its first or a resumed epoch to its end.

    Args:
        config: of the models.
        normalisation: of the tracks.
        tracks: all of them, the bins of ``parts``.
        parts: which bins do what.
        flags: of :func:`kerasgen.track_models.epilstm.train.train_epilstm`.
        run: what is kept with the state: flags and circumstances.

    Attributes:
        progress: where training is. Its history holds an epoch a row, of an ensemble one model after the other, each
            row with its ``model``, from 1.
    """

    def __init__(
        self,
        config: epilstm.Config,
        normalisation: Normalisation,
        tracks: BinnedTracks,
        parts: Parts,
        flags: dict[str, Any],
        run: dict[str, Any],
    ) -> None:
        self._config, self._tracks, self._parts = config, tracks, parts
        self._flags, self._run = flags, run
        self._values = normalisation.apply(tracks.values)
        self.progress = Progress()
        self._best: list[list[np.ndarray]] = []
        self._arrays: dict[str, np.ndarray] | None = None

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
        for number in range(self.progress.member, self._flags["n_models"]):
            if number > self.progress.member:
                self._arrays = None  # Of a model that is complete.
                self.progress = Progress(
                    history=self.progress.history, seconds=self.progress.seconds, member=number
                )  # fmt: skip
            self._train(number)
        # A training that was interrupted after its last state may lack a row.
        write_log(self._flags["model_prefix"], self.progress.history)
        return [self._with(weights) for weights in self._best]

    def rows(self, number: int) -> list[Row]:
        """The epochs of one model, from 0."""
        history = self.progress.history
        return [row for row in history if row.get("model", 1) == number + 1]

    def best(self, number: int) -> Row:
        """The epoch of one model, from 0, with the lowest validation loss; the first of equals."""
        return min(self.rows(number), key=lambda row: row["val_loss"])

    def ended(self, number: int) -> str:
        """Why the training of one model, from 0, is over; empty while it is not."""
        rows, patience, epochs = self.rows(number), self._flags["patience"], self._flags["epochs"]
        if rows and len(rows) - self.best(number)["epoch"] >= patience:
            return f"no better validation loss for {patience} epochs"
        return f"all {epochs} epochs done" if len(rows) >= epochs else ""

    def _train(self, number: int) -> None:
        if self.ended(number):
            return
        seed = self._flags["seed"] + number
        keras.utils.set_random_seed(seed)
        model = epilstm.build(self._config)
        if self._config.direct and self._config.units:
            directions = pca.components(self._values, self._parts.train, self._config.bottleneck)
            start_from_components(model, directions)
        carrying = Carrying(model, self._flags["batch_size"])
        carrying.compile(
            keras.optimizers.Adam(self._flags["learning_rate"], global_clipnorm=_CLIP), loss=MaskedMSE()
        )  # fmt: skip
        carrying.optimizer.build(carrying.trainable_variables)
        if self._arrays is not None:
            checkpoint.restore(carrying, self._arrays)
            self._arrays = None
        validation = self._frames(self._parts.validation, 0)
        # Where frames begin in an epoch is a matter of seed and epoch, so that a resumed training has the same ones.
        rng = np.random.default_rng(seed)
        skips = [int(rng.integers(self._config.frame)) for _ in range(self._flags["epochs"])]
        while not self.ended(number):
            row = self._epoch(carrying, validation, skips[self.progress.epoch])
            self._keep(carrying, row)

    def _epoch(self, carrying: Carrying, validation: Frames, skip: int) -> Row:
        epoch, epochs = self.progress.epoch, self._flags["epochs"]
        rate = self._flags["learning_rate"] * (1 + math.cos(math.pi * epoch / epochs)) / 2
        carrying.optimizer.learning_rate.assign(rate)
        began = time.perf_counter()
        fitted = carrying.fit(
            self._frames(self._parts.train, skip), validation_data=validation, initial_epoch=epoch, epochs=epoch + 1,
            shuffle=False, verbose=0,
        )  # fmt: skip
        row = {name: float(values[-1]) for name, values in fitted.history.items()}
        if not all(map(math.isfinite, row.values())):
            raise RunError(f"the loss of epoch {epoch + 1} is not a number; lower --learning_rate")
        log.info(
            "epoch %d/%d%s: loss %.4g  val_loss %.4g", epoch + 1, epochs, self._of_model(), row["loss"], row["val_loss"]
        )
        seconds = round(time.perf_counter() - began, 2)
        of_model = {"model": self.progress.member + 1} if self._flags["n_models"] > 1 else {}
        return {**of_model, "epoch": epoch + 1, **row, "learning_rate": rate, "seconds": seconds}

    def _keep(self, carrying: Carrying, row: Row) -> None:
        """Write the state after an epoch, in one step, and the log."""
        progress = self.progress
        progress.history.append(row)
        progress.seconds += row["seconds"]
        if row["val_loss"] < progress.best:
            progress.best, progress.best_epoch = row["val_loss"], progress.epoch
            weights = [np.array(keras.ops.convert_to_numpy(variable)) for variable in carrying.model.weights]
            self._best[progress.member :] = [weights]
        progress.epoch += 1
        best = {
            f"best_{number}_{place}": array
            for number, weights in enumerate(self._best)
            for place, array in enumerate(weights)
        }
        checkpoint.save(self._flags["model_prefix"], carrying, progress, self._run, best)
        write_log(self._flags["model_prefix"], progress.history)

    def _with(self, weights: Sequence[np.ndarray]) -> keras.Model:
        model = epilstm.build(self._config)
        model.set_weights(weights)
        return model

    def _frames(self, stretches: Sequence[Stretch], skip: int) -> Frames:
        config = self._config
        lanes = lay(stretches, self._tracks.stretches, self._flags["batch_size"], config.frame, skip)
        return Frames(self._values, lanes, config.frame, config.look_ahead, config.mask)

    def _of_model(self) -> str:
        number, several = self.progress.member + 1, self._flags["n_models"]
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
    many = sum(name.startswith(beginning) for name in arrays)
    return [arrays[f"{beginning}{place}"] for place in range(many)]
