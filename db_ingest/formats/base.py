"""What every reader of a signal promises: values by place, in the names of the database's genome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True)
class Channel:
    """One track of a file that holds several.

    Args:
        strand: ``"+"`` or ``"-"`` to take that strand alone; None takes both.
        group: group of barcodes to take alone; None takes all.
    """

    strand: str | None = None
    group: str | None = None


EVERYTHING = Channel()


@runtime_checkable
class SignalReader(Protocol):
    """One open file of values. Not shared between threads: open one in each.

    Every format module has ``open_signal(path, naming, options, channels) -> SignalReader``:
    ``path`` a local file, ``naming`` a :class:`~db_ingest.inputs.naming.Naming` of the database's genome, ``options``
    every option of the type by name, defaults filled in, and ``channels`` the tracks wanted, mostly
    :data:`EVERYTHING` alone.
    It raises :class:`~db_ingest.errors.InputError` that names file, place and expectation.

    A module whose files are read from one end to the other does so in ``open_signal``; what the file holds wrong
    anywhere is then found there. It also has ``check_signal(path, naming, options) -> None``, which finds what can be
    found in moments: no such format, cut short, another assembly.

    Attributes:
        chromosomes: names, of the genome and in its order, that the file covers; all others hold no value.
        counts: whether the values are, or look like, whole numbers from 0 to 65,534.
        summary: what people should hear of the file, by name: numbers and booleans, e.g. ``elsewhere`` (records on
            chromosomes the genome lacks), ``absolute`` (absolute values taken).
    """

    chromosomes: tuple[str, ...]
    counts: bool
    summary: Mapping[str, Any]

    def read(self, chromosome: str, start: int, end: int, channel: int = 0) -> np.ndarray:
        """Values of ``[start, end)`` of a covered chromosome of the genome as ``(end - start,) float32``.

        Bases without a value hold ``options["missing"]``: 0, or NaN. ``channel`` counts the channels opened. The next
        call may overwrite what this one returned.
        """

    def close(self) -> None:
        """Close the file and let go of scratch space."""
