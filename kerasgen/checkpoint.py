"""``P.state/``: all that an interrupted training needs to go on exactly where it was."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError

if TYPE_CHECKING:
    import keras

_FILE = "checkpoint.npz"


@dataclass
class Progress:
    """Where a training is; plain data.

    Args:
        epoch: the epoch under way, from 0.
        batch: batches of it that are done.
        history: one row of metrics an epoch done.
        best: lowest validation loss so far.
        best_epoch: epoch that reached it; -1 before the first.
        lr_wait: epochs since the learning rate fell or the loss improved.
        seconds: time spent in training so far.
        stopped: why training is over; empty while it is not.
    """

    epoch: int = 0
    batch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = float("inf")
    best_epoch: int = -1
    lr_wait: int = 0
    seconds: float = 0.0
    stopped: str = ""


def save(prefix: str | Path, model: keras.Model, progress: Progress, run: dict[str, Any]) -> None:
    """Write weights, optimizer, random states, running metrics, progress and the run's flags, in one step."""
    arrays = {f"v{i}": np.asarray(variable) for i, variable in enumerate(_variables(model))}
    arrays |= {f"m{i}": np.asarray(variable) for i, variable in enumerate(model.metrics_variables)}
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
    if not path.is_file():
        raise InputError(f"{path}: no such file; there is no training to resume. Leave out --resume to begin one")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        document = json.loads(arrays.pop("text").tobytes())
        return Progress(**document["progress"]), document["run"], arrays
    except (ValueError, KeyError, OSError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a training state ({error})") from error


def discard(prefix: str | Path) -> None:
    """Remove the state of an earlier run."""
    _path(prefix).unlink(missing_ok=True)


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
    return Path(f"{prefix}.state") / _FILE


def _variables(model: keras.Model) -> list[Any]:
    metrics = {id(variable) for variable in model.metrics_variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    return own + list(model.optimizer.variables)
