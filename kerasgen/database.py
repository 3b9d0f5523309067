"""Open, describe and read a database: windows of sequence, signals and masks as arrays, one call a batch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from db_ingest import intervals
from db_ingest.errors import InputError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Track
from db_ingest.layout.codes import MASK_MISSING, UNKNOWN_BASE
from db_ingest.layout.describe import describe_catalogue
from db_ingest.layout.genome import Genome
from db_ingest.layout.members import SEQUENCE

if TYPE_CHECKING:
    from db_ingest.layout.reader import Reader

_BRIDGE = 4096
"""Gap in bp up to which two stretches are read as one: rereading a tile costs more than its unused bases."""
_BLOCK = 2**23
"""Bases read at a time where bins are computed from bases."""


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
                from db_ingest.layout.reader import Reader

                self._raw = Reader(self.uri, self.commit)
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

    @property
    def sequence_checksums(self) -> dict[str, str]:
        """Checksum of each chromosome's bases; empty where no sequence is stored."""
        return dict(self._catalogue.sequence["checksums"]) if self._catalogue.sequence is not None else {}

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
            4 for the sequence. Each base of a track measured on a grid has the value of its bin.
        """
        places = self._places(chromosomes)
        outside = UNKNOWN_BASE if track is None else 0
        return self._windows(track, places, np.asarray(starts, np.int64), length, outside)

    def _windows(
        self, track: Track | None, places: np.ndarray, starts: np.ndarray, length: int, outside: float
    ) -> np.ndarray:
        stretches = self.stretches(places, starts, length)
        return gather(self.read(track, stretches), stretches, self.genome, places, starts, length, outside)

    def bins(
        self,
        tracks: Sequence[Track],
        chromosomes: Sequence[str] | np.ndarray,
        starts: Any,
        length: int,
        bin: int,
        aggregation: str = "mean",
    ) -> np.ndarray:
        """Values of several tracks in bins, on the grid that begins at base 0 of each chromosome.

        Taken from the binned level of a track where it has one, else computed from its bases; the values are the same
        to float32. A bin's value is over the bases that exist and have one.

        Args:
            tracks: tracks of this database.
            chromosomes: ``(n,)`` names, or places in the genome.
            starts: ``(n,)`` bp, 0-based, multiples of ``bin``; a window may lie past either end.
            length: bins per window.
            bin: bp per bin.
            aggregation: ``"mean"``, ``"max"`` or ``"sum"``.

        Returns:
            ``(n, length, tracks) float32``: NaN where no base of a bin has a value, 0 for bins past the ends.

        Raises:
            InputError: a start that is not on the grid, or an unknown aggregation.
        """
        from db_ingest.writing.levels import AGGREGATIONS

        if aggregation not in AGGREGATIONS:
            raise InputError(f"aggregation {aggregation!r}: expected one of {', '.join(AGGREGATIONS)}")
        if bin < 1:
            raise InputError(f"bin {bin}: expected 1 or more bp")
        places, starts = self._places(chromosomes), np.asarray(starts, np.int64)
        if (starts % bin).any():
            start = int(starts[starts % bin != 0][0])
            raise InputError(f"start {start:,}: expected a multiple of {bin} bp, where a bin begins")
        values = np.empty((len(starts), length, len(tracks)), np.float32)
        for place, track in enumerate(tracks):
            self._bins(track, places, starts // bin, bin, aggregation, values[:, :, place])
        return values

    def _bins(
        self, track: Track, places: np.ndarray, firsts: np.ndarray, bin: int, aggregation: str, values: np.ndarray
    ) -> None:
        """Fill ``(n, length)`` with bins from ``firsts`` on."""
        from db_ingest.layout.bins import aggregate, grid

        length = values.shape[1]
        binned = grid(self.genome, bin)
        stored = _stored_bins(track, bin, aggregation)
        if stored is not None:
            stretches = _stretches(binned, places, firsts, length)
            values[:] = gather(self._reader.read(*stored, *stretches), stretches, binned, places, firsts, length, 0)
            return
        # A block at a time: bases take more memory than what becomes of them.
        wide = max(1, min(length, _BLOCK // bin))
        high = max(1, _BLOCK // (wide * bin))
        nothing = MASK_MISSING if track.kind == "mask" else np.nan
        sizes = binned.size_array()[places]
        for top in range(0, len(firsts), high):
            rows = slice(top, top + high)
            for left in range(0, length, wide):
                many = min(wide, length - left)
                first = firsts[rows] + left
                bases = as_values(track, self._windows(track, places[rows], first * bin, many * bin, nothing))
                found = aggregate(bases.reshape(-1), bin, aggregation).reshape(len(first), many)
                index = first[:, None] + np.arange(many)
                found[(index < 0) | (index >= sizes[rows, None])] = 0
                values[rows, left : left + many] = found

    def stretches(self, places: np.ndarray, starts: np.ndarray, length: int) -> intervals.Spans:
        """Sorted disjoint stretches of the position axis that cover windows, within their chromosomes."""
        return _stretches(self.genome, places, starts, length)

    def read(self, track: Track | None, spans: intervals.Spans) -> np.ndarray:
        """Values of sorted disjoint stretches of the position axis, end to end, ``(sum of lengths,)``."""
        if track is not None and track.bin > 1:
            from db_ingest.layout.bins import read_bases

            return read_bases(self._reader, self.genome, track, spans)
        member, row = (SEQUENCE, None) if track is None else (track.member, track.row)
        return self._reader.read(member, row, *spans)

    def read_cells(self, track: Track | None, spans: intervals.Spans) -> np.ndarray:
        """The same as stored: uint16 of counts, :data:`~db_ingest.layout.codes.COUNTS_MISSING` for no value."""
        if track is None or track.bin > 1 or track.folder != "counts":
            return self.read(track, spans)
        return self._reader.read_cells(track.member, track.row, *spans)

    def intervals(self, attribute: str, dataset: str | None = None) -> dict[str, np.ndarray]:
        """The intervals of a mask as they came, sorted by position.

        Returns:
            ``chromosome`` (names), ``start``, ``end``, ``summit`` (offset, -1: none), ``name``, ``score``, ``strand``,
            ``signalValue``, ``pValue``, ``qValue``; ``(n,)`` each.
        """
        track = self.track(attribute, dataset)
        if track.kind != "mask":
            raise InputError(f"{attribute!r} is a signal; only masks have intervals")
        table = self._reader.read_intervals(track.intervals, track.row)
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


def _stretches(genome: Genome, places: np.ndarray, starts: np.ndarray, length: int) -> intervals.Spans:
    sizes = genome.size_array()[places]
    first = np.clip(starts, 0, sizes)
    last = np.clip(starts + length, 0, sizes)
    solid = last > first
    offset = genome.offsets[places][solid]
    return intervals.merge(offset + first[solid], offset + last[solid], gap=_BRIDGE)


def _stored_bins(track: Track, bin: int, aggregation: str) -> tuple[str, int] | None:
    """Member and row of a track's values in bins, where they are stored."""
    for level in track.levels:
        if (level.bin, level.aggregation) == (bin, aggregation):
            return track.level_member(level), level.row
    # A track measured on this very grid; each base of a bin has its value.
    own = track.kind == "signal" and track.bin == bin and (bin == 1 or aggregation != "sum")
    return (track.member, track.row) if own else None


def gather(
    flat: np.ndarray,
    stretches: intervals.Spans,
    genome: Genome,
    places: np.ndarray,
    starts: np.ndarray,
    length: int,
    outside: float,
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
