"""What one batch holds: windows of the genome in, arrays for a model out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from kerasgen.database import Database
from kerasgen.loader.cells import CellKey, Cells, CellSet, CellStore, Located, Parts
from kerasgen.loader.order import cover
from kerasgen.regions.windows import Windows
from kerasgen.spec import Channels, DataSpec
from kerasgen.transforms import AGGREGATIONS, transform

log = logging.getLogger("kerasgen")

Arrays = tuple[np.ndarray, ...]
Find = Callable[[Channels], tuple[Cells, Located]]


class BatchBuilder:
    """Builds batches from a database, or from what a store holds of it.

    Args:
        database: where tracks and sequence lie.
        spec: inputs and outputs.
        codes: give the sequence as base codes instead of one-hot rows.

    Attributes:
        needs: what a store must hold for it.
    """

    def __init__(self, database: Database, spec: DataSpec, *, codes: bool = False) -> None:
        self.database = database
        self.spec = spec
        self.codes_only = codes
        self.needs: dict[CellKey, CellSet] = {}
        self._keys: dict[Channels, CellKey] = {}
        self._swaps: dict[Channels, np.ndarray] = {}
        for channels in (*spec.inputs, *spec.outputs):
            tracks = tuple(channels.tracks(database)) if not channels.is_sequence else ()
            key = self._keys[channels] = CellKey.of(tracks)
            known = self.needs.get(key)
            self.needs[key] = CellSet(tracks, max(channels.flank, known.flank if known else 0))

    def check_strands(self) -> None:
        """Raise :class:`InputError` unless every input and output can be reverse-complemented."""
        for channels in (*self.spec.inputs, *self.spec.outputs):
            self._swap(channels)

    def inputs(self, windows: Windows, store: CellStore | None = None) -> Arrays:
        """Input arrays, fresh, of each input's shape; NaN becomes 0.

        ``(batch, length, 4) float32`` for the sequence, or ``(batch, length) uint8`` codes; else float32.
        """
        find = self._finder(windows, store)
        return tuple(
            self._sequence(channels, windows, find)
            if channels.is_sequence
            else self._values(channels, windows, find, 0.0)
            for channels in self.spec.inputs
        )

    def outputs(self, windows: Windows, store: CellStore | None = None) -> Arrays:
        """Label arrays, fresh, float32, of each output's shape; NaN where a track has no value."""
        find = self._finder(windows, store)
        return tuple(self._values(channels, windows, find, np.nan) for channels in self.spec.outputs)

    def build(self, windows: Windows, parts: Parts) -> tuple[Arrays, Arrays]:
        """Inputs and outputs of the windows that parts name, each from the store that holds it."""
        found = []
        for part, store in parts:
            these = windows.take(part)
            found.append((self.inputs(these, store), self.outputs(these, store)))
        if len(found) == 1:
            return found[0]
        inputs, outputs = zip(*found, strict=True)
        return _joined(inputs), _joined(outputs)

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

    def _swap(self, channels: Channels) -> np.ndarray:
        if channels not in self._swaps and not channels.is_sequence:
            self._swaps[channels] = np.array(channels.swap(dict(self.spec.strand_map)), np.int64)
        return self._swaps.get(channels, np.zeros(0, np.int64))

    def _finder(self, windows: Windows, store: CellStore | None) -> Find:
        """Finds windows among cells, those of one kind and width once."""
        found: dict[tuple[CellKey, int], tuple[Cells, Located]] = {}

        def find(channels: Channels) -> tuple[Cells, Located]:
            key, flank = self._keys[channels], channels.flank
            if (key, flank) not in found:
                cells = (store or self._read(key, windows, flank)).cells[key]
                place = cells.locate(windows.chromosome, windows.centre, flank)
                if place is None:
                    cells = self._read(key, windows, flank).cells[key]
                    place = cells.locate(windows.chromosome, windows.centre, flank)
                assert place is not None
                found[key, flank] = cells, place
            return found[key, flank]

        return find

    def _read(self, key: CellKey, windows: Windows, flank: int) -> CellStore:
        need = {key: CellSet(self.needs[key].tracks, flank)}
        store = CellStore(self.database, need, lambda flank: cover(self.database.genome, windows, flank))
        store.fill(self.database)
        return store

    def _sequence(self, channels: Channels, windows: Windows, find: Find) -> np.ndarray:
        from kerasgen.loader import kernels

        cells, place = find(channels)
        shape = (len(windows.centre), channels.length)
        if self.codes_only:
            codes = np.empty(shape, np.uint8)
            kernels.base_codes(cells.array, *place, windows.reverse, codes)
            return codes
        rows = np.empty((*shape, 4), np.float32)
        kernels.one_hot(cells.array, *place, windows.reverse, rows.view(np.uint32).reshape(len(rows), -1))
        return rows

    def _values(self, channels: Channels, windows: Windows, find: Find, absent: float) -> np.ndarray:
        from kerasgen.loader import kernels

        cells, place = find(channels)
        count, tracks = len(windows.centre), channels.width
        swap = self._swap(channels) if windows.reverse.any() else np.arange(tracks)
        direct = channels.transformation is None
        if channels.is_per_base:
            values = np.empty((count, channels.length, tracks), np.float32)
            code = np.float32(absent if direct else np.nan)
            kernels.values(cells.array, cells.missing, *place, windows.reverse, swap, code, values)
        else:
            values = np.empty((count, *channels.shape), np.float32)
            kernels.aggregates(
                cells.array,
                cells.missing,
                *place,
                windows.reverse,
                swap,
                channels.bin or channels.length,
                getattr(kernels, AGGREGATIONS[str(channels.aggregation)]),
                kernels.lanes_for(cells.array),
                values.reshape(count, channels.positions or 1, tracks),
            )
            if channels.aggregation == "binary_max":
                values = np.where(np.isnan(values), np.nan, values > 0).astype(np.float32)
        if channels.transformation is not None:
            values = transform(values, channels.transformation, self.spec.pseudocount)
        if absent == 0.0 and not (direct and channels.is_per_base):
            np.nan_to_num(values, copy=False, nan=0.0)
        return values


def _joined(parts: tuple[Arrays, ...]) -> Arrays:
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def alone(arrays: Arrays) -> Any:
    """The array of a tuple of one, as a model of one input or output takes and gives it; else the tuple."""
    return arrays[0] if len(arrays) == 1 else arrays


def keep_accepted(
    builder: BatchBuilder,
    windows: Windows,
    batch_size: int,
    advance: Callable[[int], None] | None = None,
    parts: Callable[[int, int], Parts] | None = None,
) -> Windows:
    """The windows that pass the filters, in order; all of them where there is no filter."""
    if not builder.is_filtered:
        return windows
    flags = []
    for first in range(0, len(windows.centre), batch_size):
        last = min(first + batch_size, len(windows.centre))
        for part, store in parts(first, last) if parts is not None else [(slice(first, last), None)]:
            these = windows.take(part)
            flags.append(builder.accepted(these, builder.inputs(these, store), builder.outputs(these, store)))
        if advance is not None:
            advance(last - first)
    return windows.take(np.concatenate(flags))
