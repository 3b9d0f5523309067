"""Train an autoencoder of a database's tracks: what ``gen_train --architecture_spec epilstm`` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.settings import Setting, absolute_path, takes_settings
from kerasgen import backend, bundle
from kerasgen.database import Database
from kerasgen.settings import Overwrite, Seed, TdbArray
from kerasgen.track_models.ensemble import network_path, remove_further
from kerasgen.track_models.epilstm import record
from kerasgen.track_models.epilstm.normalisation import Normalisation
from kerasgen.track_models.settings import GAP_BINS, ChromosomeParts, EpilstmTraining, TrackModelPrefix, TrackSelection
from kerasgen.training import params, state
from kerasgen.training.train import TrainingResult

if TYPE_CHECKING:
    import keras

    from architectures.epilstm import Config
    from kerasgen.track_models.epilstm.loop import EpilstmLoop

log = logging.getLogger("kerasgen")

_MAY_CHANGE = {"resume", "overwrite", "patience", "model_prefix"}
"""What need not be as it was when training is resumed."""


@takes_settings
def train_epilstm(
    tdb_array: TdbArray,
    model_prefix: TrackModelPrefix,
    *,
    architecture_spec: Annotated[str, Setting("model family: epilstm", choices=(record.FAMILY,), group="model")] = (
        record.FAMILY
    ),
    selection: TrackSelection,
    parts: ChromosomeParts,
    training: EpilstmTraining,
    seed: Seed = 1234,
    overwrite: Overwrite = False,
) -> TrainingResult:
    """Train an Epi-LSTM on all tracks of a database, bin by bin, and write it as a bundle.

    The training bins are laid in ``batch_size`` lanes that are read side by side, frame after frame, each lane's state
    carried on. The loss is the mean squared error of the values that there are, normalised track by track. Where
    nothing else is said in ``model_params``, training begins at the principal components of the training bins. An
    ensemble has the seeds ``seed``, ``seed + 1`` and so on.

    The bundle, ``P.keras`` (best weights; of an ensemble also ``P.model2.keras`` and so on), ``P.json`` and
    ``P.log.csv``, is written when training is complete. Until then ``P.state/`` holds, after each epoch, what
    ``resume`` needs to end with the same models as an uninterrupted training.

    Returns:
        Epochs and losses; for an ensemble, those of its first model.

    Raises:
        InputError: wrong flags or names, a track without a value in the training bins, a bundle that is there, nothing
            to resume or another training.
        RunError: the loss is not a number, or training was interrupted and can be resumed.
    """
    tdb_array = absolute_path(str(tdb_array))
    run: dict[str, Any] = {
        "tdb_array": tdb_array, "model_prefix": model_prefix, "architecture_spec": architecture_spec,
        **selection.flat(), **parts.flat(), **training.flat(), "seed": seed, "overwrite": overwrite,
    }  # fmt: skip
    database = Database(tdb_array)
    circumstances = state.circumstances(database.commit, params.files(training.model_params or ()))
    resumed = None
    if state.resuming(model_prefix, resume=training.resume, overwrite=overwrite):
        resumed = state.load(model_prefix)
        state.require_same(resumed[1], run, circumstances, _MAY_CHANGE, added={"gap_bins": GAP_BINS})
    record.split_chromosomes(database, parts)
    backend.load()
    from kerasgen.track_models.epilstm.loop import EpilstmLoop

    selected = record.select_tracks(database, selection, parts)
    config = _config(training, len(selected.tracks.pairs))
    _require_validation(database, selected)
    storage.require_writable(Path(model_prefix).parent)
    normalisation = Normalisation.of(selected.tracks, selected.bins.train)
    loop = EpilstmLoop(config, normalisation, selected, training, model_prefix, seed, {**run, **circumstances})
    if resumed is None:
        state.discard(model_prefix)
    else:
        loop.go_on(resumed[0], resumed[2])
    with state.resumable(model_prefix):
        models = loop.models()
        contents = record.document(database, run, config, models[0], normalisation, selected)
        _write(model_prefix, models, {**contents, **record.explained(models, normalisation, selected)}, loop)
    state.discard(model_prefix)
    best, seconds = loop.best(0), loop.progress.seconds
    stopped = loop.ended(0) or "no better validation loss for an earlier --patience"
    return TrainingResult(Path(model_prefix), int(best["epoch"]), best["val_loss"], loop.rows(0), stopped, seconds)


def _config(training: EpilstmTraining, tracks: int) -> Config:
    """The config of the models for so many tracks."""
    from architectures import epilstm

    chosen = params.settings(training.model_params, asdict(epilstm.Config()))
    if chosen.setdefault("tracks", tracks) != tracks:
        raise InputError(f"--model_params tracks={chosen['tracks']}: the database gives {tracks}; leave it out")
    try:
        config = epilstm.Config(**chosen)
    except ValueError as error:
        raise InputError(f"--model_params: {error}") from error
    if config.bottleneck >= tracks:
        log.warning(
            "a bottleneck of %d compresses nothing of %d tracks; give fewer, such as --model_params bottleneck=%d",
            config.bottleneck, tracks, max(1, tracks // 4),
        )  # fmt: skip
    return config


def _require_validation(database: Database, selected: record.SelectedTracks) -> None:
    values = selected.tracks.values
    if not any(np.isfinite(values[:, s.first : s.end]).any() for s in selected.bins.validation):
        raise InputError(f"{database.uri}: no track has a value in the validation bins; expected some to choose by")


def _write(prefix: str, models: Sequence[keras.Model], contents: dict[str, Any], loop: EpilstmLoop) -> None:
    """Write the bundle; its files appear when all could be written, ``P.json`` last."""
    document = {**contents, "n_models": len(models), "best": loop.best(0), "history": loop.progress.history}
    with ExitStack() as writing:
        # The last one entered is the first to be renamed.
        about = writing.enter_context(storage.replacing(bundle.path_of(prefix, "json")))
        for number, model in enumerate(models):
            model.save(writing.enter_context(storage.replacing(network_path(prefix, number))))
        about.write_text(bundle.as_json(document))
        # What an earlier training wrote is opened no more once a part of it is replaced.
        bundle.path_of(prefix, "json").unlink(missing_ok=True)
    remove_further(prefix, len(models))
