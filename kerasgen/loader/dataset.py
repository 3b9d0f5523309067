"""Batches of one epoch as a ``keras.utils.PyDataset``."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np

from db_ingest.errors import InputError, RunError
from kerasgen.loader.builder import Arrays, BatchBuilder, alone, keep_accepted
from kerasgen.loader.order import Order
from kerasgen.loader.sources import BlockSource, EpochSource
from kerasgen.regions.windows import WindowPlan, Windows

_ATTEMPTS = 50


class BatchGenerator(keras.utils.PyDataset):
    """The batches of one epoch of a plan, from any batch on.

    What a sample holds is a function of (seed, epoch, region), and the order of samples one of (seed, epoch, plan,
    order of the source), whatever threads and backend. Samples outside the spec's minima and maxima are replaced by
    other draws of their kind, so a batch keeps its size.

    Args:
        builder: makes the arrays.
        plan: which windows.
        batch_size: number of samples per batch, over all shards. A plan that is not fixed drops an epoch's last,
            smaller batch.
        source: what holds the cells, and the order; None reads each batch from the database.
        epoch: number of the epoch, from 0.
        first_batch: batches of the epoch to leave out, for resuming.
        threads: batches prepared at a time, ahead of the training.
        max_queue_size: batches kept ready.
        filtered: leave out samples outside the minima and maxima for good, as fits a fixed plan.
        shard: number of this part and how many parts each batch is cut into.

    Raises:
        InputError: a batch that cannot be cut evenly.
        RunError: while drawing, where the filters leave nothing to replace a sample with.
    """

    def __init__(
        self,
        builder: BatchBuilder,
        plan: WindowPlan,
        batch_size: int,
        *,
        source: EpochSource | None = None,
        epoch: int = 0,
        first_batch: int = 0,
        threads: int = 2,
        max_queue_size: int = 10,
        filtered: bool = False,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(workers=max(threads, 1), use_multiprocessing=False, max_queue_size=max_queue_size)
        if batch_size % shard[1]:
            raise InputError(f"--batch_size {batch_size}: expected a multiple of the {shard[1]} devices")
        self.builder = builder
        self.plan = plan
        self.batch_size = min(batch_size, max(len(plan), 1))
        self.number = epoch
        self.first_batch = first_batch
        self.shard = shard
        source = source or BlockSource(builder.database, builder.needs, Order(), batch_size)
        self.windows, self._held = source.epoch(plan, epoch)
        if filtered and builder.is_filtered:
            with contextlib.closing(self._held) as held:
                self.windows = keep_accepted(builder, self.windows, self.batch_size, parts=held.parts)
            if len(self.windows.centre) == 0:
                raise InputError(
                    "no validation sample lies within the minima and maxima of --tdb_input and --tdb_output"
                )
            self._held = source.hold(self.windows)

    def __len__(self) -> int:
        samples = len(self.windows.centre)
        whole = samples // self.batch_size if not self.plan.fixed else -(-samples // self.batch_size)
        return max(whole - self.first_batch, 0)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Inputs and labels of a batch, fresh arrays: a tuple where there are several."""
        batch = index + self.first_batch
        first = batch * self.batch_size
        count = min(self.batch_size, len(self.windows.centre) - first)
        number, of = self.shard
        first, last = first + number * count // of, first + (number + 1) * count // of
        windows = self.windows.take(slice(first, last))
        inputs, outputs = self.builder.build(self.windows, self._held.parts(first, last))
        if self.builder.is_filtered and not self.plan.fixed:
            self._replace_rejected(windows, inputs, outputs, batch)
        return alone(inputs), alone(outputs)

    def close(self) -> None:
        """Let go of what was read ahead."""
        self._held.close()

    def _replace_rejected(self, windows: Windows, inputs: Arrays, outputs: Arrays, batch: int) -> None:
        rejected = np.flatnonzero(~self.builder.accepted(windows, inputs, outputs))
        for attempt in range(_ATTEMPTS):
            if len(rejected) == 0:
                return
            other = self.plan.redraw(windows.take(rejected), self.number, batch, attempt)
            new_inputs, new_outputs = self.builder.inputs(other), self.builder.outputs(other)
            good = self.builder.accepted(other, new_inputs, new_outputs)
            for target, new in zip((*inputs, *outputs), (*new_inputs, *new_outputs), strict=True):
                target[rejected[good]] = new[good]
            rejected = rejected[~good]
        if len(rejected):
            raise RunError(
                f"{len(rejected)} of {self.batch_size} samples of a batch found no replacement within "
                "--tdb_input_min/max and --tdb_output_min/max; widen the bounds"
            )
