"""Open, describe and read a database: windows of sequence, signals and masks as arrays, one call a batch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest import catalogue as catalogues
from db_ingest import intervals
from db_ingest.catalogue import Track
from db_ingest.codes import MASK_MISSING, UNKNOWN_BASE
from db_ingest.describe import describe_catalogue
from db_ingest.errors import InputError
from db_ingest.genome import Genome

if TYPE_CHECKING:
    from db_ingest.reader import Reader

SEQUENCE = "sequence"
_BRIDGE = 4096
"""Gap in bp up to which two stretches are read as one: rereading a tile costs more than its unused bases."""


class Database:
    """A database open for reading, at the commit it had when it was opened.

    Args:
        uri: local path or ``s3://`` URI.

    Attributes:
        genome: chromosomes, in order, and where each lies on the position axis.
        commit: number of the catalogue's last change.

    Example:
        >>> db = Database("db")                                                        # doctest: +SKIP
        >>> db.sequence(["chrI"], [-2], 6)                                             # doctest: +SKIP
        array([[4, 4, 1, 1, 0, 1]], dtype=uint8)
    """

    def __init__(self, uri: str) -> None:
        self.uri = str(uri)
        self._catalogue = catalogues.load(self.uri)
        self.genome: Genome = self._catalogue.genome
        self.commit: int = self._catalogue.commit
        self._raw: Reader | None = None
        self._lock = threading.Lock()

    @property
    def _reader(self) -> Reader:
        with self._lock:
            if self._raw is None:
                from db_ingest.reader import Reader

                self._raw = Reader(self.uri)
            return self._raw

    @property
    def attributes(self) -> list[str]:
        """Names of the attributes that any dataset has."""
        return self._catalogue.attributes

    @property
    def datasets(self) -> list[str]:
        """Names of the datasets."""
        return self._catalogue.datasets

    @property
    def tracks(self) -> list[Track]:
        """The committed tracks."""
        return list(self._catalogue.tracks)

    @property
    def has_sequence(self) -> bool:
        """Whether the genome's sequence is stored."""
        return self._catalogue.sequence is not None

    def describe(self) -> dict[str, Any]:
        """Everything the catalogue says, as plain data."""
        return describe_catalogue(self.uri, self._catalogue)

    def track(self, attribute: str, dataset: str | None = None) -> Track:
        """The track of an attribute and a dataset; the dataset may be left out where only one has the attribute.

        Raises:
            InputError: with the names the database has.
        """
        if dataset is None:
            having = [t.dataset for t in self.tracks if t.attribute == attribute] or self.datasets[:1]
            if len(having) > 1:
                raise InputError(f"{len(having)} datasets have {attribute!r}; name one of {', '.join(having[:12])}")
            dataset = having[0] if having else ""
        return self._catalogue.track(attribute, dataset)

    def sequence(self, chromosomes: Sequence[str] | np.ndarray, starts: Any, length: int) -> np.ndarray:
        """Base codes of windows.

        Args:
            chromosomes: ``(n,)`` names, or places in the genome.
            starts: ``(n,)`` 0-based; a window may lie past either end.
            length: bp.

        Returns:
            ``(n, length) uint8``: A C G T = 0 1 2 3, anything else and all past the ends 4.
        """
        if not self.has_sequence:
            raise InputError(f"{self.uri}: holds no sequence; ingest one with gen_ingest --ref_fasta")
        return self.windows(None, chromosomes, starts, length)

    def values(
        self, tracks: Sequence[Track], chromosomes: Sequence[str] | np.ndarray, starts: Any, length: int
    ) -> np.ndarray:
        """Values of windows of several tracks, ``(n, length, tracks) float32``; NaN where there is none.

        See :meth:`windows`.
        """
        return np.stack(
            [as_values(track, self.windows(track, chromosomes, starts, length)) for track in tracks], axis=-1
        )

    def windows(
        self, track: Track | None, chromosomes: Sequence[str] | np.ndarray, starts: Any, length: int
    ) -> np.ndarray:
        """Windows of one track (None: the sequence), read in as few stretches as they merge into.

        Args:
            track: a track of this database.
            chromosomes: ``(n,)`` names, or places in the genome.
            starts: ``(n,)`` 0-based; a window may lie past either end.
            length: bp.

        Returns:
            ``(n, length)``: float32 of a signal (NaN: no value), uint8 of a mask or the sequence; past the ends 0, or
            4 for the sequence.
        """
        places = self._places(chromosomes)
        starts = np.asarray(starts, np.int64)
        stretches = self.stretches(places, starts, length)
        member, row = (SEQUENCE, None) if track is None else (track.member, track.row)
        flat = self._reader.read(member, row, *stretches)
        return gather(flat, stretches, self.genome, places, starts, length, UNKNOWN_BASE if track is None else 0)

    def stretches(self, places: np.ndarray, starts: np.ndarray, length: int) -> intervals.Spans:
        """Sorted disjoint stretches of the position axis that cover windows, within their chromosomes."""
        sizes = self.genome.size_array()[places]
        first = np.clip(starts, 0, sizes)
        last = np.clip(starts + length, 0, sizes)
        solid = last > first
        offset = self.genome.offsets[places][solid]
        return intervals.merge(offset + first[solid], offset + last[solid], gap=_BRIDGE)

    def read(self, track: Track | None, spans: intervals.Spans) -> np.ndarray:
        """Values of sorted disjoint stretches of the position axis, end to end, ``(sum of lengths,)``."""
        member, row = (SEQUENCE, None) if track is None else (track.member, track.row)
        return self._reader.read(member, row, *spans)

    def intervals(self, attribute: str, dataset: str | None = None) -> dict[str, np.ndarray]:
        """The intervals of a mask as they came, sorted by position.

        Returns:
            ``chromosome`` (names), ``start``, ``end``, ``summit`` (offset, -1: none), ``name``, ``score``, ``strand``,
            ``signalValue``, ``pValue``, ``qValue``; ``(n,)`` each.
        """
        track = self.track(attribute, dataset)
        if track.kind != "mask":
            raise InputError(f"{attribute!r} is a signal; only masks have intervals")
        table = self._reader.read_intervals(f"intervals/{attribute}", track.row)
        place = np.searchsorted(self.genome.offsets, table["start"], side="right") - 1
        offset = self.genome.offsets[place]
        table["start"] = table["start"] - offset
        table["end"] = table["end"] - offset
        return {"chromosome": np.array(self.genome.names)[place], **table}

    def _places(self, chromosomes: Sequence[str] | np.ndarray) -> np.ndarray:
        names = np.asarray(chromosomes)
        if names.dtype.kind in "iu":
            return names.astype(np.int64)
        return np.array([self.genome.index(str(name)) for name in names], np.int64)

    def close(self) -> None:
        """Close the arrays; the next read opens them again."""
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({self.uri!r}, commit {self.commit}, {len(self._catalogue.tracks)} tracks)"


def as_values(track: Track, raw: np.ndarray) -> np.ndarray:
    """Raw cells of a track as float32, NaN where a mask says that there is no such track."""
    if track.kind == "signal":
        return raw.astype(np.float32, copy=False)
    return np.where(raw == MASK_MISSING, np.nan, raw).astype(np.float32)


def gather(
    flat: np.ndarray,
    stretches: intervals.Spans,
    genome: Genome,
    places: np.ndarray,
    starts: np.ndarray,
    length: int,
    outside: int,
) -> np.ndarray:
    """Cut windows out of stretches read end to end.

    Args:
        flat: ``(sum of stretch lengths,)`` values.
        stretches: the sorted disjoint stretches of the position axis that ``flat`` holds.
        places, starts, length: the windows, each on one chromosome, perhaps past its ends.
        outside: value past the ends of a chromosome.

    Returns:
        ``(n, length)`` of the dtype of ``flat``.
    """
    sizes = genome.size_array()[places]
    inside_from = np.clip(-starts, 0, length)
    inside_to = np.clip(sizes - starts, 0, length)
    base = np.concatenate([[0], np.cumsum(stretches[1] - stretches[0])])
    whole = (inside_from == 0) & (inside_to == length)
    position = genome.offsets[places] + starts
    result = np.full((len(starts), length), outside, flat.dtype)
    if len(stretches[0]) == 0:
        return result
    stretch = np.searchsorted(stretches[0], position + np.minimum(inside_from, inside_to), side="right") - 1
    at = base[stretch] + position - stretches[0][stretch]
    if whole.any():
        result[whole] = flat[at[whole, None] + np.arange(length)]
    for i in np.flatnonzero(~whole & (inside_to > inside_from)):
        result[i, inside_from[i] : inside_to[i]] = flat[at[i] + inside_from[i] : at[i] + inside_to[i]]
    return result
