"""What a module of a file format promises: the whole contract, for signals and for intervals.

A module of a signal has

    open_signal(path, naming, options, channels) -> SignalReader
    check_signal(path, naming, options) -> None            unless its files are read in parts

and a module of intervals has

    open_intervals(path, naming, options) -> BedTable      see :class:`db_ingest.formats.bed.BedTable`

where ``path`` is a local file, ``naming`` a :class:`~db_ingest.inputs.naming.Naming` of the database's genome,
``options`` every option of the type by name, defaults and what the type itself stands for filled in, and ``channels``
the tracks wanted, mostly :data:`EVERYTHING` alone. All raise :class:`~db_ingest.errors.InputError` that names file,
place and expectation.

A module whose files are read from one end to the other does so in ``open_signal``; what the file holds wrong anywhere
is then found there. Its ``check_signal`` finds what can be found in moments: no such format, cut short, another
assembly.
"""

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

    Attributes:
        chromosomes: names, of the genome and in its order, that the file covers; all others hold no value.
        counts: whether the values are, or look like, whole numbers from 0 to 65,534.
        summary: what people should hear of the file, by name: numbers and booleans, e.g. ``elsewhere`` (records on
            chromosomes the genome lacks), ``absolute`` (absolute values taken).
        bin: bp that the file has one value for; 1 unless it was measured on a grid.
    """

    chromosomes: tuple[str, ...]
    counts: bool
    summary: Mapping[str, Any]
    bin: int

    def read(self, chromosome: str, start: int, end: int, channel: int = 0) -> np.ndarray:
        """Values of ``[start, end)`` of a covered chromosome of the genome as ``(end - start,) float32``.

        A base of a grid has the value of its bin; bases without a value hold ``options["missing"]``: 0, or NaN.
        ``channel`` counts the channels opened. The next call may overwrite what this one returned.
        """

    def read_bins(self, chromosome: str, first: int, last: int, channel: int = 0) -> np.ndarray:
        """Values of bins ``[first, last)``, each of ``bin`` bp from base 0 on, as ``(last - first,) float32``."""

    def close(self) -> None:
        """Close the file and let go of scratch space."""


class ByBase:
    """For readers of files that have values by base: their bins are bases."""

    bin: int = 1

    def read_bins(self: SignalReader, chromosome: str, first: int, last: int, channel: int = 0) -> np.ndarray:
        """See :class:`SignalReader`."""
        return self.read(chromosome, first, last, channel)
