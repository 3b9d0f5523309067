"""What a training would have left, had it been interrupted after a known number of batches."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import keras

    from kerasgen.training.state import Progress


@contextmanager
def leaving(prefix: str | Path, epoch: int, batch: int) -> Iterator[None]:
    """Copy to ``prefix`` what there is of a training in here when it has written its state after a batch of an epoch.

    Args:
        prefix: ``P`` of the copy. The training must write its state after each batch.
        epoch: the epoch, from 0.
        batch: batches of it that are done.
    """
    from kerasgen.training import state

    save = state.save

    def save_and_copy(written: str | Path, model: keras.Model, progress: Progress, run: dict) -> None:
        save(written, model, progress, run)
        if (progress.epoch, progress.batch) == (epoch, batch):
            shutil.copytree(f"{written}.state", f"{prefix}.state")
            shutil.copy(f"{written}.keras", f"{prefix}.keras")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(state, "save", save_and_copy)
        yield
