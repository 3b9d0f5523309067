"""Avocado: impute tracks of (cell type, assay) pairs that were not measured from those that were."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from db_ingest.errors import InputError
from db_ingest.progress import progress as show_progress
from kerasgen.track_models.avocado import checks, files
from kerasgen.track_models.avocado.context import Context
from kerasgen.track_models.avocado.member import BINS_AT_A_TIME, Member, Row
from kerasgen.track_models.avocado.sampling import Experiments
from kerasgen.track_models.avocado.scales import Scale, guess, likeness, measure
from kerasgen.track_models.avocado.settings import Settings, resolve
from kerasgen.track_models.binned import BinnedTracks, Pair, Stretch, from_arrays

log = logging.getLogger("kerasgen")

Data = Mapping[Pair, np.ndarray] | BinnedTracks
Callback = Callable[[int, Row], None]

_VALIDATION_PIECES = 16


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
        seed: of weights and batches: the same gives the same model on the same machine and backend.
        settings: of :class:`~kerasgen.track_models.avocado.settings.Settings`, such as ``n_layers``, ``n_nodes``,
            ``batch_size``; those not given are the preset's.

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
        checks.names("cell type", celltypes)
        checks.names("assay", assays)
        if n_models < 1:
            raise InputError(f"n_models {n_models}: expected at least 1")
        if n_genomic_positions is not None and n_genomic_positions < 1:
            raise InputError(f"n_genomic_positions {n_genomic_positions}: expected at least 1")
        self.preset = preset or "default"
        self.settings: Settings = resolve(self.preset, **settings)
        self.seed = seed
        self.history: list[Row] = []
        self.bin, self.transformation = 25, "arcsinh"
        self._celltypes, self._assays = list(celltypes), list(assays)
        self._experiments: list[Pair] = []
        self._positions = n_genomic_positions
        self._stretches: tuple[Stretch, ...] = ()
        self._floor = -np.inf
        self._scales: dict[Pair, Scale] = {}
        self._alike: dict[tuple[str, str], float] = {}
        self._tracks: BinnedTracks | None = None
        self._made_context: Context | None = None
        self._turns = 0
        try:
            self._members = [
                Member(self.settings, len(celltypes), len(assays), seed + number) for number in range(n_models)
            ]
        except ValueError as error:
            raise InputError(str(error)) from error

    @property
    def celltypes(self) -> list[str]:
        """Names of the cell types, in the order of their factors."""
        return list(self._celltypes)

    @property
    def assays(self) -> list[str]:
        """Names of the assays, in the order of their factors."""
        return list(self._assays)

    @property
    def experiments(self) -> list[Pair]:
        """(cell type, assay) pairs that the model was trained on."""
        return list(self._experiments)

    @property
    def n_models(self) -> int:
        """Models whose mean is the prediction."""
        return len(self._members)

    @property
    def n_genomic_positions(self) -> int | None:
        """Bins; None before the model is trained, if it was not said."""
        return self._positions

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """What the bins are; none before the model is trained."""
        return self._stretches

    @property
    def celltype_embedding(self) -> np.ndarray:
        """Factors of the cell types, ``(cell types, factors) float32``; of several models, the first one's."""
        return self._members[0].embedding("celltype")

    @property
    def assay_embedding(self) -> np.ndarray:
        """Factors of the assays, ``(assays, factors) float32``; of several models, the first one's."""
        return self._members[0].embedding("assay")

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
        self._require_fitted()
        genome = self._members[0].genome
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
    ) -> list[Row]:
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
        tracks = self._known(_binned(X_train))
        if not self._experiments:
            checks.learnable("cell type", self._celltypes, tracks.celltypes)
            checks.learnable("assay", self._assays, tracks.assays)
        valid = None if X_valid is None else self._known(_binned(X_valid))
        if valid is not None:
            checks.bins(valid, tracks.values.shape[1])
            checks.apart(valid, tracks)
        self._check_grid(tracks)
        self._take(tracks)
        self._tracks = tracks if self.settings.context else None
        self._made_context = None
        return self._learn(tracks, valid, "all", 0, n_epochs, epoch_size, sampling, patience, verbose, callbacks)

    def fit_celltypes(
        self, X: Data, n_epochs: int | None = None, epoch_size: int | None = None, **how: Any
    ) -> list[Row]:
        """Add cell types: only their factors are learned, all else stays.

        Args:
            X: tracks of new cell types and known assays.
            n_epochs, epoch_size, how: as of :meth:`fit`.

        Raises:
            InputError: a cell type that is known, an assay that isn't, or what :meth:`fit` refuses.
        """
        return self._add("celltype", X, n_epochs, epoch_size, **how)

    def fit_assays(self, X: Data, n_epochs: int | None = None, epoch_size: int | None = None, **how: Any) -> list[Row]:
        """Add assays: only their factors are learned, all else stays.

        Args:
            X: tracks of known cell types and new assays.
            n_epochs, epoch_size, how: as of :meth:`fit`.

        Raises:
            InputError: an assay that is known, a cell type that isn't, or what :meth:`fit` refuses.
        """
        return self._add("assay", X, n_epochs, epoch_size, **how)

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
        self._require_fitted()
        tracks = self._known(_binned(X))
        other = copy.copy(self)
        other._positions, other._stretches, other._experiments, other.history = None, (), [], []
        other._scales, other._alike = dict(self._scales), dict(self._alike)
        other._members = [member.grown("celltype", 0) for member in self._members]
        other._check_grid(tracks)
        other._take(tracks, anew=True)
        other._tracks = tracks if self.settings.context else None
        other._made_context = None
        other._learn(tracks, None, "genome", 0, n_epochs, epoch_size, sampling, None, verbose, callbacks)
        return other

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
        return self._each([(celltype, assay)], start, end)[:, 0].std(axis=0)

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
        return self._each(pairs, start, end).mean(axis=0)

    def save(self, name: str | Path, document: dict[str, Any] | None = None) -> None:
        """Write ``name.keras``, ``name.npz`` and ``name.json``, all or none; further models: ``name.model2.keras`` ….

        Args:
            name: prefix of the files.
            document: more to keep in the JSON.

        Raises:
            InputError: the model is not trained.
        """
        self._require_fitted()
        files.save(self, name, document or {})

    @classmethod
    def load(cls, name: str | Path) -> Avocado:
        """Open what :meth:`save` wrote.

        Raises:
            MissingFileError: a file is missing.
            InputError: one is not what was written, or they do not belong together.
        """
        return files.load(cls, name)

    def _learn(
        self,
        tracks: BinnedTracks,
        valid: BinnedTracks | None,
        learn: str,
        first_new: int,
        n_epochs: int | None,
        epoch_size: int | None,
        sampling: str | None,
        patience: int | None,
        verbose: bool,
        callbacks: Sequence[Callback],
    ) -> list[Row]:
        checks.training(sampling, n_epochs=n_epochs, epoch_size=epoch_size, patience=patience)
        settings, context = self.settings, self._context()
        steps = epoch_size or settings.epoch_size or -(-tracks.values.shape[1] // settings.batch_size)
        epochs = n_epochs or settings.n_epochs
        experiments = self._indexed(tracks)
        rows: list[Row] = []
        with show_progress("training", epochs * self.n_models, "epochs") as advance:
            for number, member in enumerate(self._members):

                def report(epoch: int, row: Row, number: int = number) -> None:
                    advance(1)
                    if verbose:
                        shown = "  ".join(f"{key} {row[key]:.4g}" for key in ("loss", "val_loss") if key in row)
                        model = f"model {number + 1}/{self.n_models}, " if self.n_models > 1 else ""
                        log.info("%sepoch %d/%d: %s", model, epoch + 1, epochs, shown)
                    for callback in callbacks:
                        callback(epoch, row)

                found = member.fit(
                    experiments, context, learn=learn, first_new=first_new, sampling=sampling or settings.sampling,
                    epochs=epochs, steps=steps, patience=patience or settings.patience, report=report,
                    validation=self._validation(member, valid), turn=self._turns,
                )  # fmt: skip
                rows = rows or found
        self._turns += 1
        self.history += rows
        return rows

    def _validation(self, member: Member, valid: BinnedTracks | None) -> Callable[[], float] | None:
        """What gives the mean squared error of one model over pieces spread over all bins."""
        if valid is None:
            return None
        bins = valid.values.shape[1]
        firsts = np.unique(np.linspace(0, max(bins - BINS_AT_A_TIME, 0), _VALIDATION_PIECES).astype(int))

        def error() -> float:
            total, count = 0.0, 0
            for first in firsts:
                observed = valid.values[:, first : first + BINS_AT_A_TIME]
                imputed = self._of_member(member, valid.pairs, int(first), int(first) + observed.shape[1])
                squares = (imputed - observed).astype(np.float64) ** 2
                total += float(np.nansum(squares))
                count += int((~np.isnan(squares)).sum())
            return total / max(count, 1)

        return error

    def _add(
        self,
        axis: str,
        X: Data,
        n_epochs: int | None,
        epoch_size: int | None,
        sampling: str | None = None,
        verbose: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> list[Row]:
        self._require_fitted()
        tracks = _binned(X)
        what, names = {"celltype": ("cell type", self._celltypes), "assay": ("assay", self._assays)}[axis]
        new = tracks.celltypes if axis == "celltype" else tracks.assays
        checks.new(what, new, names)
        before = self._state()
        first_new = len(names)
        names += new
        try:
            self._known(tracks)
            self._check_grid(tracks)
            self._members = [member.grown(axis, len(new)) for member in self._members]
            self._take(tracks)
            if self._tracks is not None:
                together = np.concatenate([self._tracks.values, tracks.values])
                self._tracks = replace(self._tracks, pairs=self._tracks.pairs + tracks.pairs, values=together)
            self._made_context = None
            return self._learn(tracks, None, axis, first_new, n_epochs, epoch_size, sampling, None, verbose, callbacks)
        except BaseException:
            self.__dict__.update(before)
            raise

    def _state(self) -> dict[str, Any]:
        """What an addition that fails leaves as it was."""
        names = ("_celltypes", "_assays", "_experiments", "history", "_scales", "_alike")
        return {**self.__dict__, **{name: copy.copy(self.__dict__[name]) for name in names}}

    def _known(self, tracks: BinnedTracks) -> BinnedTracks:
        """The tracks, all of known names and with a value."""
        checks.known("cell type", tracks.celltypes, self._celltypes)
        checks.known("assay", tracks.assays, self._assays)
        checks.values(tracks)
        return tracks

    def _check_grid(self, tracks: BinnedTracks) -> None:
        checks.bins(tracks, self._positions)
        checks.stretches(tracks, self._stretches)

    def _take(self, tracks: BinnedTracks, anew: bool = False) -> None:
        """Keep what is to be known of training tracks; the first ones fix the bins."""
        if not self._stretches or anew:
            self._stretches, self._positions = tracks.stretches, tracks.values.shape[1]
            self.bin, self.transformation = tracks.bin, tracks.transformation
            for member in self._members:
                member.start_genome(tracks.stretches)
        for pair, values in zip(tracks.pairs, tracks.values, strict=True):
            self._scales[pair] = measure(values)
        self._alike |= likeness(tracks.values, tracks.pairs)
        least = float(np.nanmin(tracks.values))
        self._floor = min(least, self._floor) if self._experiments else least
        self._experiments += [pair for pair in tracks.pairs if pair not in self._experiments]

    def _context(self) -> Context | None:
        """Of the tracks trained on; made at its first use."""
        if self._tracks is not None and self._made_context is None:
            values, celltypes, assays, scales = self._indexed(self._tracks)
            self._made_context = Context(
                values, celltypes, assays, len(self._celltypes), len(self._assays), self._stretches, scales=scales
            )
        return self._made_context

    def _indexed(self, tracks: BinnedTracks) -> Experiments:
        """Tracks as the model sees them: places of names, and what takes values to its units."""
        celltypes, assays = zip(*tracks.pairs, strict=True)
        scales = [self._scale(pair) for pair in tracks.pairs] if self.settings.scaled else None
        return Experiments(
            tracks.values,
            np.array([self._celltypes.index(name) for name in celltypes], np.int64),
            np.array([self._assays.index(name) for name in assays], np.int64),
            None if scales is None else np.array(scales, np.float32),
        )

    def _scale(self, pair: Pair) -> Scale:
        """Mean and spread of a track; guessed where it was not trained on."""
        return self._scales[pair] if pair in self._scales else guess(self._scales, *pair, self._alike)

    def _each(self, pairs: Sequence[Pair], start: int, end: int | None) -> np.ndarray:
        """Of each model, ``(models, pairs, bins) float32``."""
        self._require_fitted()
        assert self._positions is not None
        last = self._positions if end is None else end
        checks.request(pairs, self._celltypes, self._assays, start, last, self._positions)
        return np.stack([self._of_member(member, pairs, start, last) for member in self._members])

    def _of_member(self, member: Member, pairs: Sequence[Pair], start: int, end: int) -> np.ndarray:
        """Of one model, ``(pairs, bins) float32`` in units of the data."""
        index = [(self._celltypes.index(celltype), self._assays.index(assay)) for celltype, assay in pairs]
        out = np.empty((len(pairs), end - start), np.float32)
        for first, values in member.impute(index, start, end, self._context()):
            out[:, first - start : first - start + values.shape[1]] = values
        if self.settings.scaled:
            scales = np.array([self._scale(pair) for pair in pairs], np.float32).reshape(-1, 2)
            out *= scales[:, 1:]
            out += scales[:, :1]
        return np.maximum(out, np.float32(self._floor), out=out)

    def _require_fitted(self) -> None:
        if not self._stretches:
            raise InputError("the model is not trained; expected fit or load first")


def _binned(data: Data) -> BinnedTracks:
    return data if isinstance(data, BinnedTracks) else from_arrays(data)
