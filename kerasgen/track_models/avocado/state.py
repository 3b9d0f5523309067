"""What an Avocado is made from and has learned: all that its files hold."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from db_ingest.errors import InputError
from kerasgen.track_models.avocado import checks
from kerasgen.track_models.avocado.context import Context
from kerasgen.track_models.avocado.factor_model import FactorModel
from kerasgen.track_models.avocado.sampling import Experiments
from kerasgen.track_models.avocado.scales import Scale, guess, likeness, measure
from kerasgen.track_models.avocado.settings import AvocadoSettings
from kerasgen.track_models.binned import BinnedTracks, Pair, Stretch
from kerasgen.training.state import EpochMetrics


@dataclass
class AvocadoState:
    """An Avocado's settings, its models, and what it knows of the tracks that it was trained on.

    The methods that give another state leave this one as it is, but for the models that both hold.

    Args:
        preset: name of the set of settings that it began with.
        settings: those of all its models.
        seed: seed of the first model; the next one has ``seed + 1``, and so on.
        celltypes, assays: names, in the order of their factors.
        models: those whose mean it imputes.
        positions: number of bins; None before it is trained, if it was not said.
        bin: bp per bin.
        transformation: what the values that it was trained on have been through.
        stretches: what the bins are; none before it is trained.
        experiments: tracks that it was trained on.
        scales: mean and standard deviation of each of these.
        alike: how alike two assays look, -1 to 1.
        least: the lowest value that it was trained on, which is the lowest that it imputes.
        context_tracks: the tracks that it looks at when it imputes; None for a model without context.
        trainings: number of times that it was trained, so that batches differ.
        history: metrics of each epoch of the first model.
    """

    preset: str
    settings: AvocadoSettings
    seed: int
    celltypes: tuple[str, ...]
    assays: tuple[str, ...]
    models: tuple[FactorModel, ...]
    positions: int | None = None
    bin: int = 25
    transformation: str = "arcsinh"
    stretches: tuple[Stretch, ...] = ()
    experiments: tuple[Pair, ...] = ()
    scales: dict[Pair, Scale] = field(default_factory=dict)
    alike: dict[tuple[str, str], float] = field(default_factory=dict)
    least: float = -np.inf
    context_tracks: BinnedTracks | None = None
    trainings: int = 0
    history: list[EpochMetrics] = field(default_factory=list)

    @classmethod
    def untrained(
        cls,
        celltypes: Sequence[str],
        assays: Sequence[str],
        preset: str,
        settings: AvocadoSettings,
        *,
        n_models: int = 1,
        seed: int = 0,
        positions: int | None = None,
    ) -> AvocadoState:
        """A state with new models.

        Raises:
            InputError: no names, one given twice, or a number below 1.
        """
        checks.names("cell type", celltypes)
        checks.names("assay", assays)
        if n_models < 1:
            raise InputError(f"n_models {n_models}: expected at least 1")
        if positions is not None and positions < 1:
            raise InputError(f"n_genomic_positions {positions}: expected at least 1")
        try:
            models = [FactorModel(settings, len(celltypes), len(assays), seed + number) for number in range(n_models)]
        except ValueError as error:
            raise InputError(str(error)) from error
        return cls(preset, settings, seed, tuple(celltypes), tuple(assays), tuple(models), positions)

    @property
    def is_trained(self) -> bool:
        """Whether it has bins to impute."""
        return bool(self.stretches)

    @functools.cached_property
    def context(self) -> Context | None:
        """Averages around each bin of the tracks that it looks at; made at its first use."""
        if self.context_tracks is None:
            return None
        tracks = self.indexed(self.context_tracks)
        return Context(
            tracks.values, tracks.celltypes, tracks.assays, len(self.celltypes), len(self.assays), self.stretches,
            scales=tracks.scales,
        )  # fmt: skip

    def check_names(self, tracks: BinnedTracks) -> None:
        """Raise :class:`InputError` for tracks of unknown names, or without a value."""
        checks.known("cell type", tracks.celltypes, self.celltypes)
        checks.known("assay", tracks.assays, self.assays)
        checks.values(tracks)

    def check_bins(self, tracks: BinnedTracks) -> None:
        """Raise :class:`InputError` for tracks of other bins."""
        checks.bins(tracks, self.positions)
        checks.stretches(tracks, self.stretches)

    def with_tracks(self, tracks: BinnedTracks) -> AvocadoState:
        """The same with tracks to be trained on noted; the first ones fix the bins, for which factors are drawn."""
        if not self.is_trained:
            for model in self.models:
                model.start_genome(tracks.stretches)
        lowest = float(np.nanmin(tracks.values))
        new = [pair for pair in tracks.pairs if pair not in self.experiments]
        measured = {pair: measure(values) for pair, values in zip(tracks.pairs, tracks.values, strict=True)}
        return self._changed(
            stretches=self.stretches or tracks.stretches,
            positions=self.positions if self.is_trained else tracks.values.shape[1],
            bin=self.bin if self.is_trained else tracks.bin,
            transformation=self.transformation if self.is_trained else tracks.transformation,
            scales={**self.scales, **measured},
            alike=self.alike | likeness(tracks.values, tracks.pairs),
            least=min(lowest, self.least) if self.experiments else lowest,
            experiments=(*self.experiments, *new),
        )

    def with_context(self, tracks: BinnedTracks) -> AvocadoState:
        """The same with tracks to look at when it imputes, if its settings say that it does."""
        return self._changed(context_tracks=tracks if self.settings.context else None)

    def with_more_context(self, tracks: BinnedTracks) -> AvocadoState:
        """The same with further tracks to look at beside those there are, of the same bins."""
        if self.context_tracks is None:
            return self
        known = self.context_tracks
        values = np.concatenate([known.values, tracks.values])
        return self._changed(context_tracks=dataclasses.replace(known, pairs=known.pairs + tracks.pairs, values=values))

    def with_names(self, axis: str, names: Sequence[str]) -> AvocadoState:
        """The same with new cell types or assays, whose factors are new ones, and with copies of the models.

        Args:
            axis: ``"celltype"`` or ``"assay"``.
            names: the new ones; none for a copy alone.
        """
        models = tuple(model.grown(axis, len(names)) for model in self.models)
        if axis == "celltype":
            return self._changed(models=models, celltypes=(*self.celltypes, *names))
        return self._changed(models=models, assays=(*self.assays, *names))

    def without_bins(self) -> AvocadoState:
        """A copy that knows no bins and no tracks yet, to learn those of another chromosome."""
        return self.with_names("celltype", ())._changed(
            positions=None, stretches=(), experiments=(), history=[], context_tracks=None
        )

    def indexed(self, tracks: BinnedTracks) -> Experiments:
        """Tracks as the models see them: places of names, and what takes values to the models' units."""
        celltypes, assays = zip(*tracks.pairs, strict=True)
        scales = [self.scale(pair) for pair in tracks.pairs] if self.settings.scaled else None
        return Experiments(
            tracks.values,
            np.array([self.celltypes.index(name) for name in celltypes], np.int64),
            np.array([self.assays.index(name) for name in assays], np.int64),
            None if scales is None else np.array(scales, np.float32),
        )

    def scale(self, pair: Pair) -> Scale:
        """Mean and standard deviation of a track; guessed where it was not trained on."""
        return self.scales[pair] if pair in self.scales else guess(self.scales, *pair, self.alike)

    def impute(self, model: FactorModel, pairs: Sequence[Pair], start: int, end: int) -> np.ndarray:
        """Values that one of the models gives to tracks, ``(pairs, bins) float32`` in units of the data."""
        index = [(self.celltypes.index(celltype), self.assays.index(assay)) for celltype, assay in pairs]
        out = np.empty((len(pairs), end - start), np.float32)
        for first, values in model.impute(index, start, end, self.context):
            out[:, first - start : first - start + values.shape[1]] = values
        if self.settings.scaled:
            scales = np.array([self.scale(pair) for pair in pairs], np.float32).reshape(-1, 2)
            out *= scales[:, 1:]
            out += scales[:, :1]
        return np.maximum(out, np.float32(self.least), out=out)

    def _changed(self, **changes: Any) -> AvocadoState:
        return dataclasses.replace(self, **{"history": list(self.history), **changes})
