"""Avocado: impute tracks of (cell type, assay) pairs that were not measured from those that were."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from db_ingest.errors import InputError
from db_ingest.progress import progress as show_progress
from kerasgen.bundle import Bundle
from kerasgen.track_models.avocado import checks, files
from kerasgen.track_models.avocado.factor_model import BINS_AT_A_TIME, FactorModel
from kerasgen.track_models.avocado.settings import AvocadoSettings, resolve
from kerasgen.track_models.avocado.state import AvocadoState
from kerasgen.track_models.binned import BinnedTracks, Pair, Stretch, from_arrays
from kerasgen.training.state import EpochMetrics

log = logging.getLogger("kerasgen")

Data = Mapping[Pair, np.ndarray] | BinnedTracks
Callback = Callable[[int, EpochMetrics], None]

_VALIDATION_PARTS = 16


class _Schedule(NamedTuple):
    """How long and in which order to train; None for what the settings say."""

    n_epochs: int | None = None
    epoch_size: int | None = None
    sampling: str | None = None
    patience: int | None = None
    verbose: bool = True
    callbacks: Sequence[Callback] = ()


class Avocado:
    """A model of the values of tracks in bins, from factors of cell type, assay and place.

    The preset ``"published"`` is the published model. The preset ``"default"`` has smaller factors and also sees the
    other tracks around the bin: it predicts by how much a track differs from the mean of the assay in the other cell
    types. It keeps the tracks it was trained on, with which it imputes.

    Args:
        celltypes: names.
        assays: names.
        preset: ``"default"`` or ``"published"``; None for ``"default"``.
        n_genomic_positions: bins; None for as many as the first training data have.
        n_models: models trained from different seeds; their mean is the prediction.
        seed: seed of weights and batches; the same gives the same model on the same machine and backend.
        settings: fields of :class:`~kerasgen.track_models.avocado.settings.AvocadoSettings`, such as ``n_layers``,
            ``n_nodes``, ``batch_size``; those not given are the preset's.

    Attributes:
        state: what it is made from and has learned.

    Raises:
        InputError: no names, one given twice, an unknown preset or setting.

    Example:
        >>> model = Avocado(celltypes, assays, n_layers=1, n_nodes=64)            # doctest: +SKIP
        >>> history = model.fit({("E003", "H3K4me3"): track}, n_epochs=10)        # doctest: +SKIP
        >>> model.predict("E017", "H3K4me3")                                      # doctest: +SKIP

    References:
        Schreiber et al. 2020, Genome Biology 21:81.
    """

    def __init__(
        self,
        celltypes: Sequence[str],
        assays: Sequence[str],
        *,
        preset: str | None = None,
        n_genomic_positions: int | None = None,
        n_models: int = 1,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        self.state = AvocadoState.untrained(
            celltypes, assays, preset or "default", resolve(preset or "default", **settings), n_models=n_models,
            seed=seed, positions=n_genomic_positions,
        )  # fmt: skip

    @classmethod
    def from_state(cls, state: AvocadoState) -> Avocado:
        """The model of a state, which it holds and trains on."""
        model = cls.__new__(cls)
        model.state = state
        return model

    @property
    def preset(self) -> str:
        """Name of the set of settings that it began with."""
        return self.state.preset

    @property
    def settings(self) -> AvocadoSettings:
        """Settings of each of its models."""
        return self.state.settings

    @property
    def seed(self) -> int:
        """Seed of the first of its models."""
        return self.state.seed

    @property
    def bin(self) -> int:
        """Bp per bin."""
        return self.state.bin

    @property
    def transformation(self) -> str:
        """What the values that it was trained on have been through."""
        return self.state.transformation

    @property
    def history(self) -> list[EpochMetrics]:
        """Metrics of each epoch of the first of its models."""
        return self.state.history

    @property
    def celltypes(self) -> list[str]:
        """Names of the cell types, in the order of their factors."""
        return list(self.state.celltypes)

    @property
    def assays(self) -> list[str]:
        """Names of the assays, in the order of their factors."""
        return list(self.state.assays)

    @property
    def experiments(self) -> list[Pair]:
        """(cell type, assay) pairs that the model was trained on."""
        return list(self.state.experiments)

    @property
    def n_models(self) -> int:
        """Models whose mean is the prediction."""
        return len(self.state.models)

    @property
    def n_genomic_positions(self) -> int | None:
        """Bins; None before the model is trained, if it was not said."""
        return self.state.positions

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """What the bins are; none before the model is trained."""
        return self.state.stretches

    @property
    def celltype_embedding(self) -> np.ndarray:
        """Factors of the cell types, ``(cell types, factors) float32``; of several models, the first one's."""
        return self.state.models[0].embedding("celltype")

    @property
    def assay_embedding(self) -> np.ndarray:
        """Factors of the assays, ``(assays, factors) float32``; of several models, the first one's."""
        return self.state.models[0].embedding("assay")

    @property
    def genome_embedding(self) -> np.ndarray:
        """Factors of the bins, ``(bins, factors) float32``; of several models, the first one's.

        Those of 25 bp come first, then those of 250 bp and of 5 kbp, each repeated for the bins that share them.

        Raises:
            InputError: the model is not trained.
        """
        return self.factors(0, self.n_genomic_positions or 0)

    def factors(self, start: int, end: int) -> np.ndarray:
        """Rows ``[start, end)`` of :attr:`genome_embedding`, where all of them would take too much memory."""
        self._require_trained()
        genome = self.state.models[0].genome
        assert genome is not None
        return genome.gather(np.arange(start, end))

    def fit(
        self,
        X_train: Data,
        X_valid: Data | None = None,
        n_epochs: int | None = None,
        epoch_size: int | None = None,
        sampling: str | None = None,
        *,
        patience: int | None = None,
        verbose: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> list[EpochMetrics]:
        """Train on tracks; a model that was trained before goes on from where it is.

        Args:
            X_train: (cell type, assay) to ``(bins,)`` values, or :class:`.BinnedTracks`. NaN is a value that
                is missing: it is never trained on.
            X_valid: tracks to choose the best epoch by; they are not among those trained on.
            n_epochs, epoch_size, sampling, patience: instead of the settings'.
            verbose: whether epochs are logged.
            callbacks: called with the epoch, from 0, and its row of the history.

        Returns:
            For each epoch epoch, loss, val_loss (with ``X_valid``) and learning_rate, of the first model.

        Raises:
            InputError: unknown names, a cell type or assay without a track at the first training, a track without any
                value, as many bins as the model does not have, a validation track that is trained on.
            RunError: the loss is not a number.
        """
        tracks = _binned(X_train)
        self.state.check_names(tracks)
        if not self.state.experiments:
            checks.learnable("cell type", self.celltypes, tracks.celltypes)
            checks.learnable("assay", self.assays, tracks.assays)
        valid = None if X_valid is None else _binned(X_valid)
        if valid is not None:
            self.state.check_names(valid)
            checks.bins(valid, tracks.values.shape[1])
            checks.apart(valid, tracks)
        self.state.check_bins(tracks)
        self.state = self.state.with_tracks(tracks).with_context(tracks)
        return _learn(
            self.state, tracks, _Schedule(n_epochs, epoch_size, sampling, patience, verbose, callbacks), valid=valid
        )

    def fit_celltypes(
        self, X: Data, n_epochs: int | None = None, epoch_size: int | None = None, **how: Any
    ) -> list[EpochMetrics]:
        """Add cell types: only their factors are learned, all else stays; if that fails, the model is as it was.

        Args:
            X: tracks of new cell types and known assays.
            n_epochs, epoch_size, how: as of :meth:`fit`.

        Raises:
            InputError: a cell type that is known, an assay that isn't, or what :meth:`fit` refuses.
        """
        return self._add("celltype", X, _Schedule(n_epochs, epoch_size, **how))

    def fit_assays(
        self, X: Data, n_epochs: int | None = None, epoch_size: int | None = None, **how: Any
    ) -> list[EpochMetrics]:
        """Add assays: only their factors are learned, all else stays; if that fails, the model is as it was.

        Args:
            X: tracks of known cell types and new assays.
            n_epochs, epoch_size, how: as of :meth:`fit`.

        Raises:
            InputError: an assay that is known, a cell type that isn't, or what :meth:`fit` refuses.
        """
        return self._add("assay", X, _Schedule(n_epochs, epoch_size, **how))

    def fit_genome(
        self,
        X: Data,
        n_epochs: int | None = None,
        epoch_size: int | None = None,
        sampling: str | None = None,
        *,
        verbose: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> Avocado:
        """Learn the factors of other bins, such as another chromosome's; network, cell types and assays stay.

        Args:
            X: tracks of those bins, of known cell types and assays.
            n_epochs, epoch_size, sampling, verbose, callbacks: as of :meth:`fit`.

        Returns:
            A model of those bins; this one stays as it is.

        Raises:
            InputError: this model is not trained, unknown names, or a track without any value.
        """
        self._require_trained()
        tracks = _binned(X)
        self.state.check_names(tracks)
        state = self.state.without_bins()
        state.check_bins(tracks)
        state = state.with_tracks(tracks).with_context(tracks)
        _learn(state, tracks, _Schedule(n_epochs, epoch_size, sampling, None, verbose, callbacks), learn="genome")
        return Avocado.from_state(state)

    def predict(self, celltype: str, assay: str, start: int = 0, end: int | None = None) -> np.ndarray:
        """Impute a track.

        Args:
            celltype, assay: names the model knows.
            start, end: bins, half-open; None for the last.

        Returns:
            ``(bins,) float32``, in the units of the training data and never below their least value.

        Raises:
            InputError: an unknown name, a range that is not within the bins, a model that is not trained.
        """
        return self.impute([(celltype, assay)], start, end)[0]

    def predict_std(self, celltype: str, assay: str, start: int = 0, end: int | None = None) -> np.ndarray:
        """Standard deviation between the models, ``(bins,) float32``; else as :meth:`predict`.

        Raises:
            InputError: as :meth:`predict`, or there is one model only.
        """
        if self.n_models < 2:
            raise InputError("one model has no standard deviation; expected one trained with n_models of at least 2")
        return self.impute_each([(celltype, assay)], start, end)[:, 0].std(axis=0)

    def impute(self, pairs: Sequence[Pair], start: int = 0, end: int | None = None) -> np.ndarray:
        """Impute many tracks; what they share is computed once.

        Args:
            pairs: (cell type, assay).
            start, end: bins, half-open; None for the last.

        Returns:
            ``(pairs, bins) float32``.

        Raises:
            InputError: as :meth:`predict`.
        """
        return self.impute_each(pairs, start, end).mean(axis=0)

    def impute_each(self, pairs: Sequence[Pair], start: int = 0, end: int | None = None) -> np.ndarray:
        """What each of the models alone imputes, ``(models, pairs, bins) float32``; else as :meth:`impute`."""
        self._require_trained()
        state, positions = self.state, self.state.positions or 0
        last = positions if end is None else end
        checks.request(pairs, state.celltypes, state.assays, start, last, positions)
        return np.stack([state.impute(model, pairs, start, last) for model in state.models])

    def save(self, name: str | Path, document: dict[str, Any] | None = None) -> None:
        """Write ``name.keras``, ``name.npz`` and ``name.json``, all or none; further models: ``name.model2.keras`` ….

        Args:
            name: prefix of the files.
            document: more to keep in the JSON.

        Raises:
            InputError: the model is not trained.
        """
        self._require_trained()
        files.save(self.state, name, document or {})

    @classmethod
    def load(cls, name: str | Path) -> Avocado:
        """Open what :meth:`save` wrote.

        Raises:
            MissingFileError: a file is missing.
            InputError: one is not what was written, or they do not belong together.
        """
        return cls.from_state(files.load(name))

    def _add(self, axis: str, X: Data, schedule: _Schedule) -> list[EpochMetrics]:
        self._require_trained()
        tracks, state = _binned(X), self.state
        if axis == "celltype":
            new, first_new = tracks.celltypes, len(state.celltypes)
            checks.new("cell type", new, state.celltypes)
            checks.known("assay", tracks.assays, state.assays)
        else:
            new, first_new = tracks.assays, len(state.assays)
            checks.new("assay", new, state.assays)
            checks.known("cell type", tracks.celltypes, state.celltypes)
        checks.values(tracks)
        state.check_bins(tracks)
        grown = state.with_names(axis, new).with_tracks(tracks).with_more_context(tracks)
        history = _learn(grown, tracks, schedule, learn=axis, first_new=first_new)
        self.state = grown
        return history

    def _require_trained(self) -> None:
        if not self.state.is_trained:
            raise InputError("the model is not trained; expected fit or load first")


def open_model(trained: Bundle) -> Avocado:
    """Open the model of a bundle."""
    return Avocado.load(trained.prefix)


def _learn(
    state: AvocadoState,
    tracks: BinnedTracks,
    schedule: _Schedule,
    *,
    valid: BinnedTracks | None = None,
    learn: str = "all",
    first_new: int = 0,
) -> list[EpochMetrics]:
    """Train the models of a state, one after the other; see :meth:`.FactorModel.fit` for what is learned.

    Returns:
        Metrics of each epoch of the first model.
    """
    checks.training(
        schedule.sampling, n_epochs=schedule.n_epochs, epoch_size=schedule.epoch_size, patience=schedule.patience
    )
    settings, n_models = state.settings, len(state.models)
    steps = schedule.epoch_size or settings.epoch_size or -(-tracks.values.shape[1] // settings.batch_size)
    epochs = schedule.n_epochs or settings.n_epochs
    experiments = state.indexed(tracks)
    history: list[EpochMetrics] = []
    with show_progress("training", epochs * n_models, "epochs") as advance:
        for number, model in enumerate(state.models):

            def report(epoch: int, metrics: EpochMetrics, number: int = number) -> None:
                advance(1)
                if schedule.verbose:
                    shown = "  ".join(f"{key} {metrics[key]:.4g}" for key in ("loss", "val_loss") if key in metrics)
                    which = f"model {number + 1}/{n_models}, " if n_models > 1 else ""
                    log.info("%sepoch %d/%d: %s", which, epoch + 1, epochs, shown)
                for callback in schedule.callbacks:
                    callback(epoch, metrics)

            of_model = model.fit(
                experiments, state.context, learn=learn, first_new=first_new,
                sampling=schedule.sampling or settings.sampling, epochs=epochs, steps=steps,
                patience=schedule.patience or settings.patience, report=report,
                validation=_validation(state, model, valid), turn=state.trainings,
            )  # fmt: skip
            history = history or of_model
    state.trainings += 1
    state.history += history
    return history


def _validation(state: AvocadoState, model: FactorModel, valid: BinnedTracks | None) -> Callable[[], float] | None:
    """What gives the mean squared error of one model over parts spread over all bins."""
    if valid is None:
        return None
    bins = valid.values.shape[1]
    firsts = np.unique(np.linspace(0, max(bins - BINS_AT_A_TIME, 0), _VALIDATION_PARTS).astype(int))

    def error() -> float:
        total, count = 0.0, 0
        for first in firsts:
            observed = valid.values[:, first : first + BINS_AT_A_TIME]
            imputed = state.impute(model, valid.pairs, int(first), int(first) + observed.shape[1])
            squares = (imputed - observed).astype(np.float64) ** 2
            total += float(np.nansum(squares))
            count += int((~np.isnan(squares)).sum())
        return total / max(count, 1)

    return error


def _binned(data: Data) -> BinnedTracks:
    return data if isinstance(data, BinnedTracks) else from_arrays(data)
