"""Tracks computed by a model rather than read from a file: written into an existing database, all in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from db_ingest.errors import InputError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue, Provenance, Track
from db_ingest.layout.genome import shorten_names
from db_ingest.layout.names import check_attribute, check_dataset
from db_ingest.writing.changing import changing

if TYPE_CHECKING:
    from db_ingest.writing.derived import DerivedTrack

TYPE = "computed"
"""Type of a track that was computed."""


@dataclass(frozen=True)
class Computed:
    """A signal to write.

    Args:
        attribute, dataset: its name.
        what: what it is, for people, e.g. ``"component 3 of the embedding of model.keras"``.
        sha256: changes when the values would.
        bin: bp per cell.
        chromosomes: those that it has values of.
        read: chromosome, first cell and the one after the last -> ``(cells,) float32``, NaN where there is no value.
            Called by several threads at once, and only by :func:`write_computed`.
    """

    attribute: str
    dataset: str
    what: str
    sha256: str
    bin: int
    chromosomes: tuple[str, ...]
    read: Callable[[str, int, int], np.ndarray]


def check_computed(tdb_array: str, signals: Sequence[Computed], *, overwrite: bool = False) -> bool:
    """Whether :func:`write_computed` would write anything; to be asked before the values are computed.

    Returns:
        False if all are there already, computed from the same.

    Raises:
        InputError: a name that cannot be one, an unknown chromosome, or a track that is there from another source
            where ``overwrite`` is not given.
    """
    return _is_new(catalogues.load(tdb_array), signals, overwrite)


def write_computed(
    tdb_array: str, signals: Sequence[Computed], *, overwrite: bool = False, threads: int = 0
) -> list[Track]:
    """Write computed signals into a database; they appear together, when all are whole.

    With ``overwrite``, other computed signals of their datasets go in the same step: they are of what is replaced. A
    writing that was interrupted goes on where it ended when it is started again with the same values.

    Args:
        tdb_array: path or URI of the database.
        signals: what to write.
        overwrite: replace tracks of these names that came from another source.
        threads: chunks of 2^24 cells worked on at a time; 0: as many as there are cores.

    Returns:
        The tracks written; none if all were there already. A signal without any value becomes no track.

    Raises:
        InputError: as :func:`check_computed`.
        RunError: another process is writing to the database, or the storage failed.
    """
    from db_ingest.writing.derived import write

    with changing(tdb_array) as (catalogue, save):
        if not _is_new(catalogue, signals, overwrite):
            return []
        names = {(signal.attribute, signal.dataset) for signal in signals}
        datasets = {signal.dataset for signal in signals}
        stale = [
            track
            for track in catalogue.tracks
            if track.type == TYPE and track.dataset in datasets and (track.attribute, track.dataset) not in names
        ]
        wanted = [_wanted(signal) for signal in signals]
        return [
            track
            for _, track in write(
                tdb_array, catalogue, save, wanted, threads, "write", instead_of=stale if overwrite else []
            )
            if track is not None
        ]


def _is_new(catalogue: Catalogue, signals: Sequence[Computed], overwrite: bool) -> bool:
    from db_ingest.writing.derived import refuse_or_skip

    for signal in signals:
        check_attribute(signal.attribute, "the name of a computed track")
        check_dataset(signal.dataset, "the name of a computed dataset")
        for name in signal.chromosomes:
            if name not in catalogue.genome:
                raise InputError(
                    f"no chromosome {name!r} in the genome; it has {shorten_names(catalogue.genome.names)}"
                )
    return any([refuse_or_skip(catalogue, _wanted(signal), overwrite) for signal in signals])


def _wanted(signal: Computed) -> DerivedTrack:
    from db_ingest.writing.derived import CellSource, DerivedTrack

    class Values(CellSource):
        chromosomes = signal.chromosomes

        def read(self, chromosome: str, start: int, end: int) -> np.ndarray:
            return signal.read(chromosome, start, end)

    return DerivedTrack(
        attribute=signal.attribute,
        dataset=signal.dataset,
        kind="signal",
        provenance=Provenance(TYPE, {"path": signal.what, "sha256": signal.sha256}, {}),
        origin=Values(),
        bin=signal.bin,
    )
