"""Train an Epi-LSTM on the tracks of a database, or fit principal components in its place; both are written as bundles.

The tracks of the chromosomes that are named lie in memory while they are trained on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from kerasgen import backend, bundle
from kerasgen.database import Database
from kerasgen.regions import folds
from kerasgen.settings import Folds
from kerasgen.track_models.avocado.files import network_path, remove_further
from kerasgen.track_models.binned import BinnedTracks, from_database
from kerasgen.track_models.epilstm.frames import Normalisation, Parts, by_chromosomes, by_stretches, named
from kerasgen.training import params
from kerasgen.training import state as checkpoint
from kerasgen.training.train import TrainingResult

if TYPE_CHECKING:
    import keras

    from architectures.epilstm import Config
    from kerasgen.track_models.epilstm.loop import Fitting

log = logging.getLogger("kerasgen")

FAMILY = "epilstm"

_MAY_CHANGE = {"resume", "overwrite", "patience", "model_prefix"}
"""What need not be as it was when training is resumed."""


def train_epilstm(
    tdb_array: str,
    model_prefix: str,
    *,
    architecture_spec: str = FAMILY,
    celltypes: Sequence[str] | None = None,
    assays: Sequence[str] | None = None,
    bin: int = 25,
    transformation: str = "arcsinh",
    train_chroms: Sequence[str] | None = None,
    validation_chroms: Sequence[str] | None = None,
    test_chroms: Sequence[str] | None = None,
    model_params: Sequence[str] | None = None,
    n_models: int = 1,
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    patience: int = 5,
    seed: int = 1234,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainingResult:
    """Train an Epi-LSTM on all tracks of a database, bin by bin, and write it as a bundle.

    The training bins are laid in ``batch_size`` lanes that are read side by side, frame after frame, each lane's state
    carried on. The loss is the mean squared error of the values that there are, normalised track by track. Where
    nothing else is said in ``model_params``, training begins at the principal components of the training bins.

    The bundle is written when training is complete. Until then ``P.state/`` holds, after each epoch, what ``resume``
    needs to end with the same models as an uninterrupted training.

    Args:
        tdb_array: path or URI of the database.
        model_prefix: ``P`` of ``P.keras`` (best weights), ``P.json`` and ``P.log.csv``; of an ensemble also
            ``P.model2.keras`` and so on.
        architecture_spec: ``"epilstm"``.
        celltypes, assays, bin, transformation: which tracks and how they are read; see
            :func:`kerasgen.track_models.binned.from_database`.
        train_chroms, validation_chroms, test_chroms: chromosomes; where none is named, each chromosome is cut in three
            stretches with gaps: see :func:`kerasgen.track_models.epilstm.frames.by_stretches`.
        model_params: settings of :class:`architectures.epilstm.Config`, ``name=value``.
        n_models: models of an ensemble, of the seeds ``seed``, ``seed + 1`` and so on. The mean of their
            reconstructions, and their spread, are what it gives; codes are those of the first.
        epochs: passes over the training bins at most; the learning rate falls to 0 at the last (a cosine).
        batch_size: lanes.
        learning_rate: of Adam, at the start.
        patience: end after so many epochs without a better validation loss.
        seed: of weights and of where frames begin.
        resume: go on with an interrupted training. All flags but ``patience``, and the database, must be as they were.
        overwrite: replace an earlier bundle, and begin an interrupted training anew.

    Returns:
        Of an ensemble, epochs and losses of its first model.

    Raises:
        InputError: wrong flags or names, a track without a value in the training bins, a bundle that is there, nothing
            to resume or another training.
        RunError: the loss is not a number, or training was interrupted and can be resumed.
    """
    flags = _plain(locals())
    _check(flags)
    database = Database(str(flags["tdb_array"]))
    conditions = checkpoint.circumstances(database.commit, params.files(model_params or ()))
    state = None
    if checkpoint.resuming(model_prefix, resume=resume, overwrite=overwrite):
        state = checkpoint.load(model_prefix)
        checkpoint.require_same(state[1], flags, conditions, _MAY_CHANGE)
    split = _split(database, train_chroms, validation_chroms, test_chroms)
    backend.load()
    from architectures import epilstm
    from kerasgen.track_models.epilstm.loop import Fitting

    chosen = params.settings(model_params, asdict(epilstm.Config()))
    tracks, parts = _read(database, flags, split)
    if chosen.setdefault("tracks", len(tracks.pairs)) != len(tracks.pairs):
        raise InputError(
            f"--model_params tracks={chosen['tracks']}: the database gives {len(tracks.pairs)}; leave it out"
        )
    try:
        config = epilstm.Config(**chosen)
    except ValueError as error:
        raise InputError(f"--model_params: {error}") from error
    if not any(np.isfinite(tracks.values[:, s.first : s.end]).any() for s in parts.validation):
        raise InputError(f"{database.uri}: no track has a value in the validation bins; expected some to choose by")
    storage.require_writable(Path(model_prefix).parent)
    if config.bottleneck >= config.tracks:
        log.warning(
            "a bottleneck of %d compresses nothing of %d tracks; give fewer, such as --model_params bottleneck=%d",
            config.bottleneck, config.tracks, max(1, config.tracks // 4),
        )  # fmt: skip
    normalisation = Normalisation.of(tracks, parts.train)
    fitting = Fitting(config, normalisation, tracks, parts, flags, {**flags, **conditions})
    if state is None:
        checkpoint.discard(model_prefix)
    else:
        fitting.go_on(state[0], state[2])
    with checkpoint.resumable(model_prefix):
        models = fitting.models()
        contents = document(database, flags, config, models[0], normalisation, tracks, parts, split)
        _write(model_prefix, models, contents, fitting, explained(models, normalisation, tracks, parts))
    checkpoint.discard(model_prefix)
    best, seconds = fitting.best(0), fitting.progress.seconds
    stopped = fitting.ended(0) or "no better validation loss for an earlier --patience"
    return TrainingResult(Path(model_prefix), int(best["epoch"]), best["val_loss"], fitting.rows(0), stopped, seconds)


def explained(
    models: Sequence[keras.Model], normalisation: Normalisation, tracks: BinnedTracks, parts: Parts
) -> dict[str, Any]:
    """Shares of the variance of validation and test bins that models explain, as ``P.json`` holds them.

    Returns:
        ``r2``, of the mean of their reconstructions, and of several models ``r2_models``, a list of those of each.
    """
    from kerasgen.track_models.epilstm.evaluation import r_squared_of_mean

    of_mean: dict[str, float] = {}
    of_each: list[dict[str, float]] = [{} for _ in models]
    for part, stretches in (("validation", parts.validation), ("test", parts.test)):
        if stretches:
            of_mean[part], each = r_squared_of_mean(models, normalisation, tracks, stretches)
            for shares, share in zip(of_each, each, strict=True):
                shares[part] = share
    of_mean, of_each = _known(of_mean), [_known(shares) for shares in of_each]
    log.info("variance explained: %s", _listed(of_mean))
    if len(models) == 1:
        return {"r2": of_mean}
    for number, shares in enumerate(of_each):
        log.info("variance explained by model %d alone: %s", number + 1, _listed(shares))
    return {"r2": of_mean, "r2_models": of_each}


def _listed(shares: dict[str, float]) -> str:
    return ", ".join(f"{part} {share:.3f}" for part, share in shares.items())


def _write(
    prefix: str, models: Sequence[keras.Model], contents: dict[str, Any], fitting: Fitting, shares: dict[str, Any]
) -> None:
    """Write the bundle; its files appear when all could be written, ``P.json`` last."""
    document = {
        **contents, "n_models": len(models), "best": fitting.best(0), "history": fitting.progress.history, **shares
    }  # fmt: skip
    with ExitStack() as writing:
        # The last one entered is the first to be renamed.
        about = writing.enter_context(storage.replacing(bundle.path_of(prefix, "json")))
        for number, model in enumerate(models):
            model.save(writing.enter_context(storage.replacing(network_path(prefix, number))))
        about.write_text(bundle.as_json(document))
        # What an earlier training wrote is opened no more once a part of it is replaced.
        bundle.path_of(prefix, "json").unlink(missing_ok=True)
    remove_further(prefix, len(models))


def fit_pca(
    tdb_array: str,
    model_prefix: str,
    components: int,
    *,
    celltypes: Sequence[str] | None = None,
    assays: Sequence[str] | None = None,
    bin: int = 25,
    transformation: str = "arcsinh",
    train_chroms: Sequence[str] | None = None,
    validation_chroms: Sequence[str] | None = None,
    test_chroms: Sequence[str] | None = None,
    overwrite: bool = False,
) -> float:
    """Fit principal components of a database's tracks and write them as a bundle: a linear Epi-LSTM without units.

    All bins but those held out for testing are used. The parameters are those of :func:`train_epilstm`.

    Args:
        components: how many.

    Returns:
        Share of the variance of the test bins that they explain, of the others' where none is held out.

    Raises:
        InputError: more components than tracks, or as :func:`train_epilstm`.
    """
    flags = _plain({**locals(), "model_params": None, "pca": components})
    del flags["components"]
    if components < 1:
        raise InputError(f"--pca {components}: expected 1 or more")
    _check_free(model_prefix, overwrite)
    database = Database(str(tdb_array))
    split = _split(database, train_chroms, validation_chroms, test_chroms, validates=False)
    backend.load()
    tracks, parts = _read(database, flags, split)
    if components > len(tracks.pairs):
        raise InputError(f"--pca {components}: {len(tracks.pairs)} tracks have no more components")
    from architectures import epilstm
    from kerasgen.track_models.epilstm import pca
    from kerasgen.track_models.epilstm.evaluation import r_squared

    storage.require_writable(Path(model_prefix).parent)
    fitted = (*parts.train, *parts.validation)
    normalisation = Normalisation.of(tracks, fitted)
    config = epilstm.Config(tracks=len(tracks.pairs), bottleneck=components, units=0, look_ahead=0)
    model = epilstm.build(config)
    directions = pca.components(normalisation.apply(tracks.values), fitted, components)
    model.get_layer("code").set_weights([directions, np.zeros(components, np.float32)])
    model.get_layer("reconstruction").set_weights([directions.T, np.zeros(len(tracks.pairs), np.float32)])
    explained = r_squared(model, normalisation, tracks, parts.test or fitted)
    contents = document(database, flags, config, model, normalisation, tracks, parts, split)
    bundle.write_model(model_prefix, model)
    bundle.write_config(model_prefix, {**contents, "r2": _known({"test" if parts.test else "train": explained})})
    return explained


def document(
    database: Database,
    flags: dict[str, Any],
    config: Config,
    model: keras.Model,
    normalisation: Normalisation,
    tracks: BinnedTracks,
    parts: Parts,
    split: folds.Split | None,
) -> dict[str, Any]:
    """Contents of ``P.json`` that do not depend on how training goes."""
    import keras

    return {
        "run": flags,
        "architecture": {"name": flags.get("architecture_spec", FAMILY), "config": asdict(config)},
        "tracks": named(tracks.pairs),
        "bin": tracks.bin,
        "transformation": tracks.transformation,
        "normalisation": normalisation.to_json(),
        "split": asdict(split) if split else {"train": [], "validation": [], "test": []},
        "stretches": parts.to_json(tracks.bin),
        "parameters": int(model.count_params()),
        "backend": keras.backend.backend(),
        "versions": bundle.versions(),
        "database": {"uri": database.uri, "commit": database.commit},
    }


def _known(shares: dict[str, float]) -> dict[str, float]:
    """Those that are defined: JSON has no NaN."""
    return {part: share for part, share in shares.items() if not math.isnan(share)}


def _plain(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Flags as JSON gives them back, the database by its absolute path."""
    plain: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value for name, value in flags.items()}
    if not storage.is_remote(str(plain["tdb_array"])):
        plain["tdb_array"] = str(Path(plain["tdb_array"]).resolve())
    return plain


def _check(flags: dict[str, Any]) -> None:
    for name in ("epochs", "batch_size", "patience", "bin", "n_models"):
        if flags[name] < 1:
            raise InputError(f"--{name} {flags[name]}: expected 1 or more")
    if flags["seed"] < 0 or flags["learning_rate"] <= 0:
        raise InputError(
            f"--seed {flags['seed']}, --learning_rate {flags['learning_rate']:g}: expected 0 or more, and above 0"
        )


def _check_free(prefix: str, overwrite: bool) -> None:
    path = bundle.path_of(prefix, "keras")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists; --overwrite replaces it")


def _split(
    database: Database,
    train: Sequence[str] | None,
    validation: Sequence[str] | None,
    test: Sequence[str] | None,
    *,
    validates: bool = True,
) -> folds.Split | None:
    """The chromosomes of each part; None where none is named."""
    if not (train or validation or test):
        return None
    if validates and not validation:
        raise InputError("--validation_chroms: expected some to choose the best epoch by, beside the chromosomes named")
    given = Folds(train_chroms=train, validation_chroms=validation, test_chroms=test)
    return folds.split(database.genome, given, validates=validates)


def _read(database: Database, flags: dict[str, Any], split: folds.Split | None) -> tuple[BinnedTracks, Parts]:
    """The tracks that are trained and tested on, and which bins do what."""
    wanted = None if split is None else {*split.train, *split.validation, *split.test}
    chroms = None if wanted is None else [name for name in database.genome.names if name in wanted]
    tracks = from_database(
        database,
        celltypes=flags["celltypes"],
        assays=flags["assays"],
        bin=flags["bin"],
        chroms=chroms,
        transformation=flags["transformation"],
    )
    if split is None:
        return tracks, by_stretches(tracks)
    return tracks, by_chromosomes(tracks, split.train, split.validation, split.test)
