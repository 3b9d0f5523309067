"""Tracks in bins as one matrix: what the models of tracks alone are trained on, from a database or from arrays.

A track is a (cell type, assay) pair: in a database a dataset and an attribute. Some pairs have a track, others don't.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError
from db_ingest.layout.catalogue import Track
from db_ingest.progress import progress as show_progress
from db_ingest.writing import computed
from kerasgen.database import Database

Pair = tuple[str, str]
"""(cell type, assay)."""

TRANSFORMATIONS = ("arcsinh", "None")
_BINS_AT_A_TIME = 2**20


class Stretch(NamedTuple):
    """Neighbouring bins of one chromosome.

    Attributes:
        chromosome: its name.
        start: bp of its first bin's first base.
        first, end: columns of the matrix, half-open.
    """

    chromosome: str
    start: int
    first: int
    end: int


@dataclass(frozen=True)
class BinnedTracks:
    """Values of tracks in bins.

    Args:
        pairs: the tracks, in the order of the rows.
        values: ``(tracks, bins) float32``; NaN where there is no value.
        bin: bp per bin.
        stretches: what the bins are, in order; together all columns.
        transformation: ``"arcsinh"`` or ``"None"``: what has been done to the measured values, wherever it was done.
    """

    pairs: tuple[Pair, ...]
    values: np.ndarray
    bin: int
    stretches: tuple[Stretch, ...]
    transformation: str

    @property
    def celltypes(self) -> list[str]:
        """Cell types that have a track, in order of appearance."""
        return list(dict.fromkeys(celltype for celltype, _ in self.pairs))

    @property
    def assays(self) -> list[str]:
        """Assays that have a track, in order of appearance."""
        return list(dict.fromkeys(assay for _, assay in self.pairs))

    def track(self, celltype: str, assay: str) -> np.ndarray:
        """Values of one track, ``(bins,) float32``, a view.

        Raises:
            InputError: there is no such track.
        """
        if (celltype, assay) not in self.pairs:
            raise InputError(f"no track of {celltype} and {assay}; expected one of {_list(self.pairs)}")
        return self.values[self.pairs.index((celltype, assay))]

    def subset(self, pairs: Sequence[Pair]) -> BinnedTracks:
        """Some of the tracks, in the order given."""
        rows = [self.pairs.index(pair) for pair in pairs]
        return replace(self, pairs=tuple(pairs), values=self.values[rows])

    def without(self, pairs: Sequence[Pair]) -> BinnedTracks:
        """All tracks but these."""
        return self.subset([pair for pair in self.pairs if pair not in set(pairs)])


def from_arrays(
    arrays: Mapping[Pair, np.ndarray], bin: int = 25, chromosome: str = "pilot", transformation: str = "arcsinh"
) -> BinnedTracks:
    """Tracks that are in memory already.

    Args:
        arrays: (cell type, assay) to ``(bins,)`` values, NaN where there is none; all of one length.
        bin: bp per bin.
        chromosome: a name for the stretch that the bins are.
        transformation: what has been done to the measured values.

    Raises:
        InputError: no array, a key that is no pair of names, arrays of different or no length or more dimensions.
    """
    if not arrays:
        raise InputError("no tracks: expected a dictionary of (cell type, assay) to an array of bins")
    rows = {}
    for pair, array in arrays.items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(name, str) for name in pair)):
            raise InputError(f"{pair!r}: expected a key (cell type, assay)")
        values = np.asarray(array)
        if values.ndim != 1 or not len(values) or values.dtype.kind not in "fiu":
            raise InputError(f"{_name(pair)}: an array {values.shape} of {values.dtype}; expected numbers, one per bin")
        rows[pair] = values
    first = next(iter(rows))
    for pair, values in rows.items():
        if len(values) != len(rows[first]):
            raise InputError(
                f"{_name(pair)}: {len(values):,} bins; expected {len(rows[first]):,}, as many as {_name(first)} has"
            )
    matrix = np.stack([values.astype(np.float32, copy=False) for values in rows.values()])
    return BinnedTracks(tuple(rows), matrix, bin, (Stretch(chromosome, 0, 0, matrix.shape[1]),), transformation)


def from_database(
    database: Database,
    *,
    celltypes: Sequence[str] | None = None,
    assays: Sequence[str] | None = None,
    bin: int = 25,
    chroms: Sequence[str] | None = None,
    transformation: str = "arcsinh",
    leave_out: Collection[Pair] = (),
) -> BinnedTracks:
    """Read tracks of a database in bins.

    A transformation that a track went through before it was ingested (the catalogue records it) is not applied again.

    Args:
        database: an open one; it needs no sequence.
        celltypes: datasets (default: all that have one of the assays).
        assays: attributes (default: all signals).
        bin: bp per bin; of a track on another grid, each base has the value of its bin.
        chroms: chromosomes (default: all).
        transformation: ``"arcsinh"``, of the mean of a bin's bases, or ``"None"``.
        leave_out: tracks not to read; those that the database lacks don't matter.

    Returns:
        The tracks there are among these datasets and attributes, whole chromosomes.

    Raises:
        InputError: unknown dataset, attribute or chromosome, a dataset or attribute without a track, a mask, or a
            track whose own transformation is another.
    """
    if bin < 1:
        raise InputError(f"bin {bin}: expected 1 or more bp")
    if transformation not in TRANSFORMATIONS:
        raise InputError(f"transformation {transformation!r}: expected one of {', '.join(TRANSFORMATIONS)}")
    tracks = [t for t in select(database, celltypes, assays) if (t.dataset, t.attribute) not in leave_out]
    if not tracks:
        raise InputError(f"{database.uri}: no track is left of those asked for")
    stretches, first = [], 0
    for name in chroms or database.genome.names:
        size = database.genome.sizes[database.genome.index(name)]
        bins = -(-size // bin)
        stretches.append(Stretch(name, 0, first, first + bins))
        first += bins
    values = np.empty((len(tracks), first), np.float32)
    with show_progress("reading tracks", values.size, "bins") as advance:
        for row, track in enumerate(tracks):
            for name, _, begin, end in stretches:
                for low in range(begin, end, _BINS_AT_A_TIME):
                    high = min(low + _BINS_AT_A_TIME, end)
                    piece = database.bins([track], [name], [(low - begin) * bin], high - low, bin)[0, :, 0]
                    values[row, low:high] = transformed(database.uri, track, piece, transformation)
                    advance(high - low)
    return BinnedTracks(
        tuple((track.dataset, track.attribute) for track in tracks), values, bin, tuple(stretches), transformation
    )


def select(database: Database, celltypes: Sequence[str] | None, assays: Sequence[str] | None) -> list[Track]:
    """The signals of these datasets and attributes, cell type by cell type; see :func:`from_database`.

    What a model computed, an embedding say, is no measurement: it is taken only where it is named.
    """
    for what, names, known in (("cell type", celltypes, database.datasets), ("assay", assays, database.attributes)):
        for name in names or ():
            if name not in known:
                raise InputError(f"{database.uri}: no {what} {name!r}; expected one of {', '.join(known[:12])}")
            if list(names or ()).count(name) > 1:
                raise InputError(f"{what} {name!r} is named twice")
    named = {*(celltypes or ()), *(assays or ())}
    signals = [
        track
        for track in database.tracks
        if track.kind == "signal" and (track.type != computed.TYPE or named & {track.dataset, track.attribute})
    ]
    if assays:
        masks = [t.attribute for t in database.tracks if t.kind == "mask" and t.attribute in assays]
        if masks:
            raise InputError(f"{database.uri}: {masks[0]!r} is a mask; expected signals")
    by_pair = {(track.dataset, track.attribute): track for track in signals}
    order = [(c, a) for c in celltypes or database.datasets for a in assays or database.attributes]
    chosen = [by_pair[pair] for pair in order if pair in by_pair]
    for what, names, having in (
        ("cell type", celltypes, {track.dataset for track in chosen}),
        ("assay", assays, {track.attribute for track in chosen}),
    ):
        without = [name for name in names or () if name not in having]
        if without:
            raise InputError(f"{database.uri}: {what} {without[0]!r} has no track among those asked for")
    if not chosen:
        raise InputError(f"{database.uri}: holds no signals")
    return chosen


def signals_by_pair(database: Database) -> dict[Pair, Track]:
    """The signals of a database by cell type and assay."""
    return {(track.dataset, track.attribute): track for track in database.tracks if track.kind == "signal"}


def transformed(uri: str, track: Track, values: np.ndarray, transformation: str) -> np.ndarray:
    """Values of a track as a transformation leaves them, which is not applied where they have been through it.

    Raises:
        InputError: they have been through another.
    """
    before = stored_transformation(track)
    if before not in ("None", transformation):
        raise InputError(
            f"{uri}: {track.dataset}/{track.attribute} was ingested with transform {before}; "
            f"it cannot be read as {transformation}"
        )
    return np.arcsinh(values) if before != transformation else values


def stored_transformation(track: Track) -> str:
    """What a track's values went through before they were ingested: a name of :data:`TRANSFORMATIONS`."""
    return track.transform


def _name(pair: Pair) -> str:
    return f"{pair[0]}/{pair[1]}"


def _list(pairs: Sequence[Pair]) -> str:
    return ", ".join(map(_name, pairs[:12])) + (", ..." if len(pairs) > 12 else "")
