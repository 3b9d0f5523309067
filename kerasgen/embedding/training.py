"""Train an Epi-LSTM on the tracks of a database, or fit principal components in its place; both are written as bundles.

The tracks of the chromosomes that are named lie in memory while they are trained on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError, RunError
from kerasgen import backend, bundle, folds
from kerasgen.binned import BinnedTracks, Stretch, from_database
from kerasgen.database import Database
from kerasgen.embedding.frames import Normalisation, Parts, by_chromosomes, by_stretches, lay, named
from kerasgen.training import TrainingResult

if TYPE_CHECKING:
    import keras

    from architectures.epilstm import Config

log = logging.getLogger("kerasgen")

FAMILY = "epilstm"

_CLIP = 1.0
"""Norm of all gradients together, at most."""


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
    epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    patience: int = 5,
    seed: int = 1234,
    overwrite: bool = False,
) -> TrainingResult:
    """Train an Epi-LSTM on all tracks of a database, bin by bin, and write it as a bundle.

    The training bins are laid in ``batch_size`` lanes that are read side by side, frame after frame, each lane's state
    carried on. The loss is the mean squared error of the values that there are, normalised track by track. Where
    nothing else is said in ``model_params``, training begins at the principal components of the training bins.

    Args:
        tdb_array: path or URI of the database.
        model_prefix: ``P`` of ``P.keras`` (best weights), ``P.json`` and ``P.log.csv``.
        architecture_spec: ``"epilstm"``.
        celltypes, assays, bin, transformation: which tracks and how they are read; see
            :func:`kerasgen.binned.from_database`.
        train_chroms, validation_chroms, test_chroms: chromosomes; where none is named, each chromosome is cut in three
            stretches with gaps: see :func:`kerasgen.embedding.frames.by_stretches`.
        model_params: settings of :class:`architectures.epilstm.Config`, ``name=value``.
        epochs: passes over the training bins at most; the learning rate falls to 0 at the last (a cosine).
        batch_size: lanes.
        learning_rate: of Adam, at the start.
        patience: end after so many epochs without a better validation loss.
        seed: of weights and of where frames begin.
        overwrite: replace an earlier bundle.

    Raises:
        InputError: wrong flags or names, a track without a value in the training bins, a bundle that is there.
        RunError: the loss is not a number.
    """
    flags = dict(locals())
    _check(flags)
    database = Database(str(tdb_array))
    split = _split(database, train_chroms, validation_chroms, test_chroms)
    backend.load()
    import keras

    from architectures import epilstm
    from kerasgen.params import settings

    params = settings(model_params, asdict(epilstm.Config()))
    tracks, parts = _read(database, flags, split)
    if params.setdefault("tracks", len(tracks.pairs)) != len(tracks.pairs):
        raise InputError(
            f"--model_params tracks={params['tracks']}: the database gives {len(tracks.pairs)}; leave it out"
        )
    try:
        config = epilstm.Config(**params)
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
    keras.utils.set_random_seed(seed)
    model = epilstm.build(config)
    normalisation = Normalisation.of(tracks, parts.train)
    fitting = _Fitting(model, config, normalisation, tracks, parts, flags)
    fitting.run(document(database, flags, config, model, normalisation, tracks, parts, split))
    return fitting.result()


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
    flags = {**locals(), "model_params": None, "pca": components}
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
    from kerasgen.embedding import pca
    from kerasgen.embedding.evaluation import r_squared

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

    run: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value for name, value in flags.items()}
    if not storage.is_remote(str(run["tdb_array"])):
        run["tdb_array"] = str(Path(run["tdb_array"]).resolve())
    return {
        "run": run,
        "architecture": {"name": run.get("architecture_spec", FAMILY), "config": asdict(config)},
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


class _Fitting:
    """A training from its first epoch to its last."""

    def __init__(
        self,
        model: keras.Model,
        config: Config,
        normalisation: Normalisation,
        tracks: BinnedTracks,
        parts: Parts,
        flags: dict[str, Any],
    ) -> None:
        import keras

        from kerasgen.embedding import pca
        from kerasgen.embedding.carrying import Carrying
        from kerasgen.losses import MaskedMSE

        self._model, self._config, self._flags = model, config, flags
        self._normalisation, self._tracks, self._parts = normalisation, tracks, parts
        self._values = normalisation.apply(tracks.values)
        if config.direct and config.units:
            start_from_components(model, pca.components(self._values, parts.train, config.bottleneck))
        self._carrying = Carrying(model, flags["batch_size"])
        self._optimizer = keras.optimizers.Adam(flags["learning_rate"], global_clipnorm=_CLIP)
        self._carrying.compile(self._optimizer, loss=MaskedMSE())
        self._rng = np.random.default_rng(flags["seed"])
        self.history: list[dict[str, float]] = []
        self.best, self.best_epoch = math.inf, 0
        self.stopped, self.seconds = "", 0.0

    def run(self, contents: dict[str, Any]) -> None:
        """Train; writes the bundle whenever the validation loss is the best so far."""
        from kerasgen.embedding.evaluation import r_squared
        from kerasgen.fitting import write_log

        prefix, epochs = self._flags["model_prefix"], self._flags["epochs"]
        validation = self._frames(self._parts.validation, 0)
        for epoch in range(epochs):
            began = time.perf_counter()
            row = self._epoch(epoch, validation)
            self.seconds += time.perf_counter() - began
            self.history.append(row)
            if row["val_loss"] < self.best:
                self.best, self.best_epoch = row["val_loss"], epoch
                bundle.write_model(prefix, self._model)
            best = self.history[self.best_epoch]
            bundle.write_config(prefix, {**contents, "best": best, "history": self.history})
            write_log(prefix, self.history)
            if epoch - self.best_epoch >= self._flags["patience"]:
                self.stopped = f"no better validation loss for {self._flags['patience']} epochs"
                break
        else:
            self.stopped = f"all {epochs} epochs done"
        best_model = bundle.load_model(bundle.path_of(prefix, "keras"))
        held = {"validation": self._parts.validation, "test": self._parts.test}
        explained = _known(
            {
                part: r_squared(best_model, self._normalisation, self._tracks, stretches)
                for part, stretches in held.items()
                if stretches
            }
        )
        log.info("variance explained: %s", ", ".join(f"{part} {share:.3f}" for part, share in explained.items()))
        bundle.write_config(prefix, {**contents, "best": best, "history": self.history, "r2": explained})

    def result(self) -> TrainingResult:
        """What the training made."""
        prefix = Path(self._flags["model_prefix"])
        return TrainingResult(prefix, self.best_epoch + 1, self.best, self.history, self.stopped, self.seconds)

    def _epoch(self, epoch: int, validation: Any) -> dict[str, float]:
        rate = self._flags["learning_rate"] * (1 + math.cos(math.pi * epoch / self._flags["epochs"])) / 2
        self._optimizer.learning_rate.assign(rate)
        began = time.perf_counter()
        training = self._frames(self._parts.train, int(self._rng.integers(self._config.frame)))
        fitted = self._carrying.fit(
            training, validation_data=validation, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0
        )
        row = {name: float(values[-1]) for name, values in fitted.history.items()}
        if not all(map(math.isfinite, row.values())):
            raise RunError(f"the loss of epoch {epoch + 1} is not a number; lower --learning_rate")
        log.info(
            "epoch %d/%d: loss %.4g  val_loss %.4g", epoch + 1, self._flags["epochs"], row["loss"], row["val_loss"]
        )
        return {
            "epoch": epoch + 1,
            **row,
            "learning_rate": rate,
            "seconds": round(time.perf_counter() - began, 2),
        }

    def _frames(self, stretches: Sequence[Stretch], skip: int) -> Any:
        from kerasgen.embedding.carrying import Frames

        config = self._config
        lanes = lay(stretches, self._tracks.stretches, self._flags["batch_size"], config.frame, skip)
        return Frames(self._values, lanes, config.frame, config.look_ahead, config.mask)


def _known(shares: dict[str, float]) -> dict[str, float]:
    """Those that are defined: JSON has no NaN."""
    return {part: share for part, share in shares.items() if not math.isnan(share)}


def _check(flags: dict[str, Any]) -> None:
    for name in ("epochs", "batch_size", "patience", "bin"):
        if flags[name] < 1:
            raise InputError(f"--{name} {flags[name]}: expected 1 or more")
    if flags["seed"] < 0 or flags["learning_rate"] <= 0:
        raise InputError(
            f"--seed {flags['seed']}, --learning_rate {flags['learning_rate']:g}: expected 0 or more, and above 0"
        )
    _check_free(flags["model_prefix"], flags["overwrite"])


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
    return folds.split(
        database.genome, train_chroms=train, validation_chroms=validation, test_chroms=test, validates=validates
    )


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
