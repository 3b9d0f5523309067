"""A network with factors of the genome: one model of an Avocado, and how both learn and impute."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import keras
import numpy as np

from architectures import avocado
from db_ingest.errors import RunError
from kerasgen.track_models.avocado.context import Context, columns
from kerasgen.track_models.avocado.genome import SPANS, GenomeFactors
from kerasgen.track_models.avocado.network import Imputer, Trainer
from kerasgen.track_models.avocado.sampling import Experiments, PositionBatch, batches
from kerasgen.track_models.avocado.settings import AvocadoSettings
from kerasgen.track_models.binned import Stretch
from kerasgen.training.state import EpochMetrics

log = logging.getLogger("kerasgen")

BINS_AT_A_TIME = 8000
EMBEDDINGS = {"celltype": "celltype_product/embeddings", "assay": "assay_product/embeddings"}


class FactorModel:
    """A network and the factors of the bins it was trained on.

    Args:
        settings: those of the model.
        n_celltypes, n_assays: rows of the factors.
        seed: seed of weights, factors and batches.
        network: one that exists; else a new one.
    """

    def __init__(
        self, settings: AvocadoSettings, n_celltypes: int, n_assays: int, seed: int, network: keras.Model | None = None
    ) -> None:
        self.settings, self.n_celltypes, self.n_assays, self.seed = settings, n_celltypes, n_assays, seed
        self.genome: GenomeFactors | None = None
        self._imputer: Imputer | None = None
        self._stale = False
        if network is None:
            keras.utils.set_random_seed(seed)
            network = avocado.build(_config(settings, n_celltypes, n_assays))
        self.network = network

    def start_genome(self, stretches: Sequence[Stretch], tables: list[np.ndarray] | None = None) -> None:
        """Give the model factors for bins: new ones, or those of ``tables``."""
        rng = np.random.default_rng([self.seed, 1])
        widths = self.settings.genome_factors if tables is None else (0, 0, 0)
        self.genome = GenomeFactors(stretches, widths, rng, self.settings.factor_decay)
        if tables is not None:
            self.genome.tables = tables

    def embedding(self, axis: str) -> np.ndarray:
        """Factors of all cell types or assays."""
        return np.array(keras.ops.convert_to_numpy(self._variable(EMBEDDINGS[axis])))

    def grown(self, axis: str, count: int) -> FactorModel:
        """A copy with new cell types or assays after the known ones, which keep their factors."""
        sizes = {"celltype": self.n_celltypes, "assay": self.n_assays}
        known = sizes[axis]
        sizes[axis] += count
        other = FactorModel(self.settings, sizes["celltype"], sizes["assay"], self.seed + 1000 * (known + 1))
        for mine, theirs in zip(self.network.variables, other.network.variables, strict=True):
            value = np.array(keras.ops.convert_to_numpy(mine))
            new = np.array(keras.ops.convert_to_numpy(theirs))[len(value) :] if value.ndim else value
            if mine.path == "context_product/kernel":
                new[:] = 0  # The frozen network has learned nothing of what new assays say.
            if value.shape != theirs.shape:
                value = np.concatenate([value, new])
            theirs.assign(value)
        other.genome, other.seed = self.genome, self.seed
        return other

    def fit(
        self,
        experiments: Experiments,
        context: Context | None,
        *,
        learn: str = "all",
        first_new: int = 0,
        sampling: str,
        epochs: int,
        steps: int,
        patience: int = 0,
        validation: Callable[[], float] | None = None,
        report: Callable[[int, EpochMetrics], None] = lambda epoch, row: None,
        turn: int = 0,
    ) -> list[EpochMetrics]:
        """Learn.

        Args:
            experiments: to learn from.
            context: averages of the tracks, for a model that takes them.
            learn: ``"all"``, ``"genome"`` (its factors alone), or ``"celltype"`` or ``"assay"`` (factors of new rows
                alone).
            first_new: the first new row.
            sampling, epochs, steps, patience: see :class:`kerasgen.track_models.avocado.settings.AvocadoSettings`.
            validation: the loss that decides when to stop, and which epoch's weights to keep.
            report: is told of each epoch.
            turn: how often the model was fitted before, so that batches differ.

        Returns:
            A row for each epoch: loss, val_loss, learning_rate.

        Raises:
            RunError: the loss is not a number.
        """
        assert self.genome is not None
        settings, moves_genome = self.settings, learn in ("all", "genome")
        trainer = self.trainer(learn, first_new)
        rng = np.random.default_rng([self.seed, 2, turn])
        source = batches(experiments, settings, sampling, epochs * steps, rng, context)
        history: list[EpochMetrics] = []
        best: tuple[float, int, Any] = (math.inf, 0, None)
        for epoch in range(epochs):
            rates = [self._rate(number / (epochs * steps)) for number in range(epoch * steps, (epoch + 1) * steps)]
            losses = [self.step(trainer, next(source), rate, moves_genome) for rate in rates]
            row = {"epoch": epoch + 1, "loss": float(np.mean([keras.ops.convert_to_numpy(loss) for loss in losses]))}
            if not math.isfinite(row["loss"]):
                raise RunError(f"the loss of epoch {epoch + 1} is not a number; lower the learning rate ({rates[0]:g})")
            if validation is not None:
                self._settle(trainer)
                row["val_loss"] = validation()
                if row["val_loss"] < best[0]:
                    best = (row["val_loss"], epoch, self._snapshot(moves_genome))
            history.append({**row, "learning_rate": rates[-1]})
            report(epoch, history[-1])
            if validation is not None and epoch - best[1] >= patience:
                break
        self._settle(trainer)
        if best[2] is not None:
            self._restore(best[2])
        self.genome.forget_moments()
        return history

    def _rate(self, done: float) -> float:
        """The learning rate when a share of all steps is done."""
        whole = self.settings.learning_rate
        return whole * (1 + math.cos(math.pi * done)) / 2 if self.settings.schedule == "cosine" else whole

    def trainer(self, learn: str = "all", first_new: int = 0) -> Trainer:
        """What steps the network; see :meth:`fit`."""
        rows = None
        if learn in EMBEDDINGS:
            place = EMBEDDINGS[learn]
            rows = {place: np.arange(self._variable(place).shape[0]) >= first_new}
        return Trainer(
            self.network,
            lambda path: learn == "all" or path == EMBEDDINGS.get(learn),
            rows,
            learn in ("all", "genome"),
            self.settings.weight_decay,
        )

    def step(self, trainer: Trainer, batch: PositionBatch, rate: float, moves_genome: bool = True) -> Any:
        """One step of training; the loss, on the device.

        Args:
            trainer: what :meth:`trainer` made.
            batch: positions and inputs.
            rate: the learning rate of the network.
            moves_genome: whether the genome's factors learn.
        """
        assert self.genome is not None
        settings, genome = self.settings, self.genome
        if not genome.width:
            return trainer(batch.inputs, None, rate)[0]
        if not moves_genome:
            return trainer(batch.inputs, genome.gather(batch.positions), rate)[0]
        ratio = (settings.genome_learning_rate or settings.learning_rate) / settings.learning_rate
        rows, factors = genome.begin_step(batch.positions, rate * ratio)
        loss, gradient = trainer(batch.inputs, factors, rate)
        genome.end_step(rows, keras.ops.convert_to_numpy(gradient))
        return loss

    def impute(
        self, pairs: Sequence[tuple[int, int]], start: int, end: int, context: Context | None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Values of tracks, block after block: the block's first bin, and ``(pairs, bins) float32``."""
        assert self.genome is not None
        if self._imputer is None:
            self._imputer = Imputer(self.network, self.settings.genome_factors)
        elif self._stale:
            self._imputer.take_weights(self.network)
        self._stale = False
        for first in range(start, end, BINS_AT_A_TIME):
            positions = np.arange(first, min(first + BINS_AT_A_TIME, end))
            part = self._genome_part(self._imputer, positions) if self.genome.width else None
            out = np.empty((len(pairs), len(positions)), np.float32)
            for row, (celltype, assay) in enumerate(pairs):
                seen = None
                if context is not None:
                    index = [np.full(len(positions), which, np.int64) for which in (celltype, assay)]
                    seen = context(positions, *index)
                out[row] = self._imputer(celltype, assay, part, seen)
            yield first, out

    def _settle(self, trainer: Trainer) -> None:
        """Bring the network and the genome's factors to where training is."""
        assert self.genome is not None
        trainer.store()
        self.genome.settle()
        self._stale = True

    def _snapshot(self, with_genome: bool) -> Any:
        assert self.genome is not None
        weights = [np.array(keras.ops.convert_to_numpy(variable)) for variable in self.network.variables]
        return weights, self.genome.copy_tables() if with_genome else None

    def _restore(self, snapshot: Any) -> None:
        assert self.genome is not None
        weights, tables = snapshot
        for variable, value in zip(self.network.variables, weights, strict=True):
            variable.assign(value)
        if tables is not None:
            self.genome.tables = tables
        self._stale = True

    def _genome_part(self, imputer: Imputer, positions: np.ndarray) -> Any:
        assert self.genome is not None
        tables, places = [], []
        for table, rows, span in zip(self.genome.tables, self.genome.rows(positions), SPANS, strict=True):
            # As many rows for every block: another shape would be compiled for anew.
            count = max(-(-len(positions) // span) + (span > 1), int(rows[-1] - rows[0]) + 1)
            tables.append(table[np.minimum(rows[0] + np.arange(count), len(table) - 1)])
            places.append((rows - rows[0]).astype(np.int32))
        return imputer.genome_part(tables, places)

    def _variable(self, path: str) -> Any:
        return next(variable for variable in self.network.variables if variable.path == path)


def _config(settings: AvocadoSettings, n_celltypes: int, n_assays: int) -> avocado.Config:
    shared = {field.name for field in fields(avocado.Config)} & {field.name for field in fields(AvocadoSettings)}
    return avocado.Config(
        n_celltypes=n_celltypes,
        n_assays=n_assays,
        n_genome_factors=sum(settings.genome_factors),
        n_context=columns(n_assays) if settings.context else 0,
        **{name: getattr(settings, name) for name in shared},
    )
