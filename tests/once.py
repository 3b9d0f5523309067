"""What the processes of one test run make together: the first that needs a thing makes it, the others find it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

_FOLDER = "made_once"


def made(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that ``make`` fills, once per run; for reading alone.

    Args:
        factory: names the folder of this process.
        name: of the folder.
        make: given the folder, which is empty; if it fails, the next process that needs the folder tries again.
    """
    folder = _shared(factory) / name
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.with_suffix(".done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            folder.with_suffix(".done").touch()
    return folder


def remove(factory: pytest.TempPathFactory) -> None:
    """Remove all that was made, if this process is the last that has a folder."""
    shared = _shared(factory)
    if not list(shared.parent.glob("popen-*")):
        shutil.rmtree(shared, ignore_errors=True)


def _shared(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / _FOLDER
