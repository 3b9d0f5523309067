"""What one batch holds: windows of the genome in, arrays for a model out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from db_ingest import intervals
from db_ingest.catalogue import Track
from db_ingest.codes import UNKNOWN_BASE
from kerasgen import sequence
from kerasgen.database import Database, as_values, gather
from kerasgen.regions import Plan, Windows
from kerasgen.signal import transform
from kerasgen.spec import Channels, DataSpec

log = logging.getLogger("kerasgen")

Arrays = tuple[np.ndarray, ...]
_SHARE_OF_MEMORY = 0.5


class BatchBuilder:
    """Builds batches from a database, or from a copy in memory of the stretches a plan can touch.

    Args:
        database: where tracks and sequence lie.
        spec: inputs and outputs.
        codes: give the sequence as base codes; else one-hot.
    """

    def __init__(self, database: Database, spec: DataSpec, *, codes: bool = False) -> None:
        self.database = database
        self.spec = spec
        self._sequence = np.asarray if codes else sequence.one_hot
        self._swaps: dict[Channels, list[int]] = {}
        self._memory: dict[tuple[str, int] | None, np.ndarray] = {}
        self._spans: intervals.Spans | None = None

    def check_strands(self) -> None:
        """Raise :class:`InputError` unless every input and output can be reverse-complemented."""
        for channels in (*self.spec.inputs, *self.spec.outputs):
            self._swap(channels)

    def load(self, plan: Plan, budget_gb: float | None = None) -> float:
        """Copy into memory all that the plan's windows can touch, if the budget allows it.

        Args:
            plan: whose windows will be built.
            budget_gb: GB allowed; None takes half of the free memory; 0 never copies.

        Returns:
            GB copied; with 0 every batch is read from the database.
        """
        tracks: dict[tuple[str, int] | None, Track | None] = {
            (track.member, track.row): track
            for channels in (*self.spec.inputs, *self.spec.outputs)
            for track in channels.tracks(self.database)
            if not channels.is_sequence
        }
        if any(channels.is_sequence for channels in self.spec.inputs):
            tracks[None] = None
        spans = plan.cover(max(self.spec.widest_input, self.spec.widest_output))
        bases = int((spans[1] - spans[0]).sum())
        needed = sum(bases * (4 if track is not None and track.kind == "signal" else 1) for track in tracks.values())
        budget = _free_memory() * _SHARE_OF_MEMORY if budget_gb is None else budget_gb * 1e9
        if needed > budget:
            log.info(
                "batches are read from the database: %.2f GB for memory, %.2f GB allowed", needed / 1e9, budget / 1e9
            )
            return 0.0
        self._spans = spans
        self._memory = {key: self.database.read(track, spans) for key, track in tracks.items()}
        log.info("batches come from memory: %.2f GB, %.1f Mb of the genome", needed / 1e9, bases / 1e6)
        return needed / 1e9

    def inputs(self, windows: Windows) -> Arrays:
        """Input arrays, float32: ``(batch, length, 4)`` for the sequence, else of each input's shape; NaN becomes 0.

        With ``codes`` the sequence is ``(batch, length) uint8``.
        """
        result = []
        for channels in self.spec.inputs:
            if channels.is_sequence:
                result.append(self._sequence(self.codes(windows, channels.flank)))
            else:
                result.append(np.nan_to_num(self._values(channels, windows), copy=False, nan=0.0))
        return tuple(result)

    def outputs(self, windows: Windows) -> Arrays:
        """Label arrays, float32, of each output's shape; NaN where a track has no value."""
        return tuple(self._values(channels, windows) for channels in self.spec.outputs)

    def codes(self, windows: Windows, flank: int) -> np.ndarray:
        """Base codes ``(batch, 2 * flank) uint8``, reverse-complemented where the window says so."""
        codes = self._raw(None, windows, flank)
        codes[windows.reverse] = sequence.reverse_complement(codes[windows.reverse])
        return codes

    def accepted(self, windows: Windows, inputs: Arrays, outputs: Arrays) -> np.ndarray:
        """Which samples lie within every minimum and maximum; ``(batch,) bool``. NaN is never outside."""
        keep = np.ones(len(windows.centre), bool)
        pairs = zip((*self.spec.inputs, *self.spec.outputs), (*inputs, *outputs), strict=True)
        for channels, values in pairs:
            axes = tuple(range(1, values.ndim))
            if channels.minimum is not None:
                keep &= ~(values < channels.minimum).any(axis=axes)
            if channels.maximum is not None:
                keep &= ~(values > channels.maximum).any(axis=axes)
        return keep

    @property
    def is_filtered(self) -> bool:
        """Whether any input or output has a minimum or maximum."""
        return any(channels.is_filtered for channels in (*self.spec.inputs, *self.spec.outputs))

    def _swap(self, channels: Channels) -> list[int]:
        if channels not in self._swaps and not channels.is_sequence:
            self._swaps[channels] = channels.swap(dict(self.spec.strand_map))
        return self._swaps.get(channels, [])

    def _values(self, channels: Channels, windows: Windows) -> np.ndarray:
        tracks = channels.tracks(self.database)
        values = np.empty((len(windows.centre), channels.length, len(tracks)), np.float32)
        for place, track in enumerate(tracks):
            values[:, :, place] = as_values(track, self._raw(track, windows, channels.flank))
        if windows.reverse.any():
            values[windows.reverse] = values[windows.reverse][:, ::-1][:, :, self._swap(channels)]
        return transform(values, channels.aggregation, channels.transformation, self.spec.pseudocount)

    def _raw(self, track: Track | None, windows: Windows, flank: int) -> np.ndarray:
        starts = windows.centre - flank
        if self._spans is None:
            return self.database.windows(track, windows.chromosome, starts, 2 * flank)
        flat = self._memory[None if track is None else (track.member, track.row)]
        outside = UNKNOWN_BASE if track is None else 0
        return gather(flat, self._spans, self.database.genome, windows.chromosome, starts, 2 * flank, outside)


def alone(arrays: Arrays) -> Any:
    """The array of a tuple of one, as a model of one input or output takes and gives it; else the tuple."""
    return arrays[0] if len(arrays) == 1 else arrays


def keep_accepted(
    builder: BatchBuilder, windows: Windows, batch_size: int, advance: Callable[[int], None] | None = None
) -> Windows:
    """The windows that pass the filters, in order; all of them where there is no filter."""
    if not builder.is_filtered:
        return windows
    flags = []
    for first in range(0, len(windows.centre), batch_size):
        part = windows.take(slice(first, first + batch_size))
        flags.append(builder.accepted(part, builder.inputs(part), builder.outputs(part)))
        if advance is not None:
            advance(len(part.centre))
    return windows.take(np.concatenate(flags))


def _free_memory() -> float:
    import psutil

    return float(psutil.virtual_memory().available)
