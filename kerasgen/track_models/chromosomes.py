"""What a training with one model per chromosome has learned: ``P.state/``, until all of it is published at once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db_ingest import storage
from db_ingest.errors import InputError
from kerasgen import bundle
from kerasgen.training import state
from kerasgen.training.state import EpochMetrics

FILE = state.LEARNED
_MODEL = "model"
_MAY_CHANGE = {"resume", "overwrite", "model_prefix"}


@dataclass
class ChromosomeState:
    """Models that wait in ``P.state/`` for those of the other chromosomes, and a list of them.

    Args:
        final: ``P``.
        run: flags and circumstances of the training.
        rows: epochs in which the network was learned; none while it is not.
        chromosomes: further chromosomes that are learned.
        earlier: seconds spent before this process.
    """

    final: str
    run: dict[str, Any]
    rows: list[EpochMetrics] = field(default_factory=list)
    chromosomes: list[str] = field(default_factory=list)
    earlier: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, flags: Mapping[str, Any], circumstances: Mapping[str, Any]) -> ChromosomeState:
        """What there is to go on from with ``--resume``; nothing without it.

        Args:
            flags: those of the training, ``model_prefix``, ``resume`` and ``overwrite`` among them.
            circumstances: see :func:`kerasgen.training.state.circumstances`.

        Raises:
            InputError: nothing to resume, another training, or something that would be replaced silently.
        """
        prefix, run = str(flags["model_prefix"]), {**flags, **circumstances}
        if not state.resuming(prefix, resume=flags["resume"], overwrite=flags["overwrite"], state=FILE):
            return cls(prefix, run)
        path = bundle.path_of(prefix, "state") / FILE
        state.require_state(prefix, path)
        try:
            stored = json.loads(path.read_text())
            resumed = cls(prefix, run, stored["rows"], stored["chromosomes"], stored["seconds"])
            before = dict(stored["run"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a training state ({error})") from error
        state.require_same(before, flags, circumstances, _MAY_CHANGE)
        return resumed

    @property
    def prefix(self) -> str:
        """Prefix of the models while they wait; with ``.<chromosome>``, that of a further chromosome's."""
        return str(self._folder / _MODEL)

    @property
    def seconds(self) -> float:
        """Time spent by this process, and before it up to what it has taken over."""
        return self.earlier + time.monotonic() - self._began

    def begin(self) -> None:
        """Remove what another training left."""
        state.discard(self.final)

    def add_network(self, rows: list[EpochMetrics]) -> None:
        """Note that the model of the training chromosomes is saved at :attr:`prefix`."""
        self.rows = rows
        self._note()

    def add_chromosome(self, name: str) -> None:
        """Note that the model of a further chromosome is saved."""
        self.chromosomes.append(name)
        self._note()

    def publish(self) -> None:
        """Move all models to where they belong, ``P.json`` last; an interrupted move is ended by the next one."""
        # What an earlier training wrote is opened no more once a part of it is replaced.
        if (self._folder / f"{_MODEL}.json").exists():  # Else an interrupted move had come to its end.
            bundle.path_of(self.final, "json").unlink(missing_ok=True)
        waiting = [path for path in self._folder.iterdir() if path.name.startswith(f"{_MODEL}.")]
        for path in sorted(waiting, key=lambda path: (path.name == f"{_MODEL}.json", path.name)):
            os.replace(path, f"{self.final}{path.name.removeprefix(_MODEL)}")
        state.discard(self.final)

    @property
    def _folder(self) -> Path:
        return bundle.path_of(self.final, "state")

    def _note(self) -> None:
        document = {"run": self.run, "rows": self.rows, "chromosomes": self.chromosomes, "seconds": self.seconds}
        storage.replace_bytes(self._folder / FILE, json.dumps(document, indent=1).encode())
