"""``P.state/``: all that an interrupted training needs to go on exactly where it was."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError, RunError
from db_ingest.settings import require_new
from kerasgen import bundle

if TYPE_CHECKING:
    import keras

_FILE = "checkpoint.npz"
LEARNED = "learned.json"
"""The state of a training of one model per chromosome; see :mod:`kerasgen.track_models.chromosomes`."""

EpochMetrics = dict[str, float]
"""Metrics of one epoch by name, as a row of ``P.log.csv`` holds them."""


@dataclass
class Progress:
    """Where a training is; plain data.

    Args:
        epoch: the epoch under way, from 0.
        batch: batches of it that are done.
        history: one row of metrics per finished epoch.
        best: lowest validation loss so far.
        best_epoch: epoch that reached it; -1 before the first.
        lr_wait: epochs since the learning rate fell or the loss improved.
        seconds: time spent in training so far.
        stopped: why training is over; empty while it is not.
        member: of an ensemble, the model under way, from 0.
    """

    epoch: int = 0
    batch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = float("inf")
    best_epoch: int = -1
    lr_wait: int = 0
    seconds: float = 0.0
    stopped: str = ""
    member: int = 0


def resuming(prefix: str, *, resume: bool, overwrite: bool, state: str = _FILE) -> bool:
    """Whether to go on with a training; what is there is not replaced silently.

    Args:
        prefix: ``P`` of the bundle.
        resume, overwrite: whether ``--resume`` and ``--overwrite`` were given.
        state: the file of ``P.state/`` to resume from; without it the folder is a leftover.

    Raises:
        InputError: ``--resume`` with ``--overwrite``, or neither where there is a model or a training to resume.
    """
    if resume and overwrite:
        raise InputError("give --resume to go on or --overwrite to begin anew, not both")
    if resume:
        return True
    ways = dict.fromkeys((_FILE, LEARNED), "of another kind of training; --overwrite begins anew")
    ways[state] = "--resume goes on with its training, --overwrite begins anew"
    for path, way in (
        *((bundle.path_of(prefix, "state") / name, way) for name, way in ways.items()),
        (bundle.path_of(prefix, "keras"), "--overwrite replaces it"),
    ):
        require_new(path, overwrite=overwrite, way=way)
    return False


def circumstances(commit: int, files: Iterable[str]) -> dict[str, Any]:
    """What else than its flags a resumed training must find as it was: data, files and backend.

    Args:
        commit: of the database.
        files: that flags name; those that are none are passed over.
    """
    sums = {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in files if Path(name).is_file()}
    return {
        "database commit": commit,
        "contents of files": sums,
        "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "tensorflow"),
    }


def require_same(
    run: Mapping[str, Any],
    flags: Mapping[str, Any],
    others: Mapping[str, Any],
    may_change: Collection[str],
    added: Mapping[str, Any] | None = None,
) -> None:
    """Refuse to resume another training.

    Args:
        run: flags and circumstances when it began.
        flags, others: flags and circumstances now.
        may_change: names of those that need not be the same.
        added: flags that releases before did not have, and what a training that began with one of those did.

    Raises:
        InputError: one is not as it was.
    """
    run = {**(added or {}), **run}
    for name, value in {**flags, **others}.items():
        if name not in may_change and value != run.get(name):
            label = f"--{name}" if name in flags else name
            raise InputError(
                f"--resume: {label} was {run.get(name)!r} when this training began and is now {value!r}; "
                "resume with all as it was, or --overwrite to begin anew"
            )


def save(
    prefix: str | Path,
    model: keras.Model,
    progress: Progress,
    run: dict[str, Any],
    more: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write weights, optimizer, random states, running metrics, progress and the run's flags, in one step.

    Args:
        prefix: ``P`` of ``P.state/``.
        model: compiled, its optimizer built.
        progress: where training is.
        run: its flags and circumstances.
        more: further arrays to keep; their names begin neither with ``v`` nor with ``m``.
    """
    arrays = {f"v{i}": np.asarray(variable) for i, variable in enumerate(_variables(model))}
    arrays |= {f"m{i}": np.asarray(variable) for i, variable in enumerate(model.metrics_variables)}
    arrays |= more or {}
    text = json.dumps({"progress": asdict(progress), "run": run})
    buffer = io.BytesIO()
    np.savez(buffer, text=np.frombuffer(text.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    storage.replace_bytes(_path(prefix), buffer.getvalue())


def load(prefix: str | Path) -> tuple[Progress, dict[str, Any], dict[str, np.ndarray]]:
    """Read a state: progress, the flags of the run, and the arrays for :func:`restore`.

    Raises:
        InputError: there is no state, or it is broken.
    """
    path = _path(prefix)
    require_state(prefix, path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        document = json.loads(arrays.pop("text").tobytes())
        return Progress(**document["progress"]), document["run"], arrays
    except (ValueError, KeyError, OSError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a training state ({error})") from error


@contextmanager
def resumable(prefix: str | Path, state: str = _FILE) -> Iterator[None]:
    """Say of a training that is interrupted, by Ctrl-C or SIGTERM, how to go on, if there is something to go on from.

    Raises:
        RunError: in place of KeyboardInterrupt.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if (bundle.path_of(prefix, "state") / state).is_file():
            raise RunError("interrupted; the same command with --resume goes on") from stop
        raise


def require_state(prefix: str | Path, path: Path) -> None:
    """Raise :class:`InputError` unless ``path``, the state of a training of models at ``prefix``, is there."""
    if path.is_file():
        return
    if bundle.path_of(prefix, "json").exists():
        raise InputError(f"{path}: no such file; no training of {prefix} is left to resume. --overwrite begins anew")
    raise InputError(f"{path}: no such file; there is no training to resume. Leave out --resume to begin one")


def discard(prefix: str | Path) -> None:
    """Remove ``P.state/``: an earlier run's, or that of a training that is complete."""
    folder = bundle.path_of(prefix, "state")
    if folder.exists():
        shutil.rmtree(folder)


def restore(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Put weights, optimizer and random states back; the model must be compiled and its optimizer built."""
    variables = _variables(model)
    stored = [arrays[f"v{i}"] for i in range(sum(name.startswith("v") for name in arrays))]
    if [tuple(v.shape) for v in variables] != [a.shape for a in stored]:
        raise InputError("the training state is of another model; was the architecture changed?")
    for variable, value in zip(variables, stored, strict=True):
        variable.assign(value)


def restore_metrics(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Put the running metrics of the epoch under way back."""
    for i, variable in enumerate(model.metrics_variables):
        variable.assign(arrays[f"m{i}"])


def _path(prefix: str | Path) -> Path:
    return bundle.path_of(prefix, "state") / _FILE


def _variables(model: keras.Model) -> list[Any]:
    metrics = {id(variable) for variable in model.metrics_variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    return own + list(model.optimizer.variables)
