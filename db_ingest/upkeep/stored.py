"""Whether what is stored is what the catalogue says was written."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import tiledb

from db_ingest import intervals, storage
from db_ingest.errors import KerasgenError
from db_ingest.layout import members
from db_ingest.layout.catalogue import Catalogue, Track
from db_ingest.layout.cells import read
from db_ingest.layout.genome import Genome
from db_ingest.layout.reader import Reader
from db_ingest.layout.summaries import Part, combine, summarise
from db_ingest.progress import progress
from db_ingest.writing import workers
from db_ingest.writing.derived import has_value

_SAME_SUM = 1e-9
_NOT_OURS = (storage.DeniedError, storage.UnreachableError, storage.ServerError)
"""Reading fails, but not for what is stored."""


@dataclass(frozen=True)
class Damage:
    """A difference between what is stored and what should be.

    Args:
        name: name of the track, the level or the sequence.
        what: where, what was found, what was expected.
        track: the track it belongs to; None: the sequence.
        readable: whether all of it could be read.
    """

    name: str
    what: str
    track: Track | None = None
    readable: bool = True


@dataclass(frozen=True)
class _Target:
    """A row to check: that of a track, of a level or of the sequence."""

    name: str
    track: Track | None
    folder: str
    member: str
    row: int | None
    genome: Genome
    checksums: Mapping[str, str]


def check_stored(
    uri: str, catalogue: Catalogue, tracks: Sequence[Track], with_sequence: bool, threads: int
) -> tuple[list[Damage], int]:
    """Compare tracks, their levels and the sequence with the checksums and sums of the catalogue.

    Returns:
        Differences, in the order of the tracks, and how many rows were read.
    """
    targets = list(_targets(catalogue, tracks, with_sequence))
    cells = _CheckedCells(uri)
    reader = Reader(uri)
    damage: list[Damage] = []
    try:
        with (
            progress("verify", sum(target.genome.bases for target in targets), "bases") as advance,
            ThreadPoolExecutor(workers.at_a_time(threads)) as executor,
        ):
            waiting = [(target, _submit(executor, cells, target, advance)) for target in targets]
            tables = {track.name: executor.submit(_check_intervals, reader, track) for track in _masks(tracks)}
            for target, futures in waiting:
                damage += _judge(target, [future.result() for future in futures])
            for track in _masks(tracks):
                damage += tables[track.name].result()
    finally:
        cells.close()
        reader.close()
    return damage, len(targets)


def _masks(tracks: Sequence[Track]) -> list[Track]:
    return [track for track in tracks if track.kind == "mask"]


def _targets(catalogue: Catalogue, tracks: Sequence[Track], with_sequence: bool) -> Iterator[_Target]:
    if with_sequence and catalogue.sequence is not None:
        name = members.SEQUENCE
        yield _Target(
            name=name,
            track=None,
            folder=name,
            member=name,
            row=None,
            genome=catalogue.genome,
            checksums=catalogue.sequence["checksums"],
        )
    for track in tracks:
        genome = catalogue.genome.binned(track.bin) if track.bin > 1 else catalogue.genome
        yield _Target(
            name=track.name,
            track=track,
            folder=track.folder,
            member=track.member,
            row=track.row,
            genome=genome,
            checksums=track.checksums,
        )
        for level in track.levels:
            yield _Target(
                name=f"{track.name}@{level.bin} {level.aggregation}",
                track=track,
                folder="signal",
                member=track.level_member(level),
                row=level.row,
                genome=catalogue.genome.binned(level.bin),
                checksums=level.checksums,
            )


class _CheckedCells:
    """Reads cells as they are stored; an array is opened once and read by all threads."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._arrays: dict[str, tiledb.Array] = {}
        self._lock = threading.Lock()

    def read(self, member: str, row: int | None, first: int, last: int) -> np.ndarray:
        """Cells of positions ``[first, last)``; raises what :func:`db_ingest.storage.explain` makes of an error."""
        place = storage.join(self._uri, member)
        try:
            with self._lock:
                if member not in self._arrays:
                    self._arrays[member] = self._open(place)
                array = self._arrays[member]
            try:
                return read(array, row, first, last)
            except (tiledb.TileDBError, OSError):
                # A consolidation may have replaced its files since it was opened, or the credentials have changed.
                with self._open(place) as again:
                    return read(again, row, first, last)
        except (tiledb.TileDBError, OSError) as error:
            raise storage.explain(place, error) from error

    def close(self) -> None:
        for array in self._arrays.values():
            array.close()

    def _open(self, place: str) -> tiledb.Array:
        return tiledb.open(place, ctx=storage.tiledb_ctx(self._uri))


@dataclass(frozen=True)
class _Chunk:
    """What a chunk holds: summaries of the chromosomes that have checksums, those that should hold nothing and do."""

    parts: Sequence[Part] = ()
    filled: Sequence[str] = ()
    unreadable: Mapping[str, str] | None = None


def _submit(
    executor: ThreadPoolExecutor, cells: _CheckedCells, target: _Target, advance: Callable[[int], None]
) -> list[Future[_Chunk]]:
    def look(index: int) -> _Chunk:
        first, last = target.genome.chunk(index)
        pieces = target.genome.pieces(first, last)
        try:
            found = cells.read(target.member, target.row, first, last)
        except _NOT_OURS:
            raise
        except KerasgenError as error:
            return _Chunk(unreadable=dict.fromkeys((piece.chromosome for piece in pieces), str(error)))
        parts, filled = [], []
        for piece in pieces:
            stretch = found[piece.at : piece.at + piece.end - piece.start]
            if piece.chromosome in target.checksums:
                parts.append(summarise(piece.chromosome, piece.start, stretch, target.folder))
            elif has_value(stretch, target.folder):
                filled.append(piece.chromosome)
        advance(sum(piece.end - piece.start for piece in pieces))
        return _Chunk(parts, filled)

    return [executor.submit(look, index) for index in range(target.genome.chunk_count)]


def _judge(target: _Target, chunks: Sequence[_Chunk]) -> Iterator[Damage]:
    """Yield what is wrong with a row."""

    def damage(what: str, readable: bool = True) -> Damage:
        return Damage(target.name, what, target.track, readable)

    unreadable: dict[str, str] = {}
    for chunk in chunks:
        unreadable = {**(chunk.unreadable or {}), **unreadable}
    if set(unreadable) == set(target.genome.names) and len(set(unreadable.values())) == 1:
        yield damage(f"cannot be read ({next(iter(unreadable.values()))})", readable=False)
        return
    filled = {name for chunk in chunks for name in chunk.filled}
    summary, checksums = combine(part for chunk in chunks for part in chunk.parts)
    sound = True
    for name in target.genome.names:
        expected = target.checksums.get(name)
        if name in unreadable:
            sound = False
            yield damage(f"{name}: cannot be read ({unreadable[name]})", readable=False)
        elif name in filled:
            yield damage(f"{name}: holds values; by the catalogue it has none")
        elif expected is not None and checksums[name] != expected:
            sound = False
            yield damage(f"{name}: CRC-32 of what is stored is {checksums[name]}; the catalogue has {expected}")
    track = target.track
    if sound and track is not None and track.kind == "signal" and target.name == track.name:
        for key in ("sum", "covered"):
            recorded, found = track.summary[key], summary[key]
            if not math.isclose(recorded, found, rel_tol=_SAME_SUM, abs_tol=_SAME_SUM):
                yield damage(f"{key} of what is stored is {found:,.9g}; the catalogue has {recorded:,.9g}")


def _check_intervals(reader: Reader, track: Track) -> list[Damage]:
    try:
        table = reader.read_intervals(track.intervals, track.row)
    except _NOT_OURS:
        raise
    except KerasgenError as error:
        return [Damage(track.name, f"intervals cannot be read ({error})", track, readable=False)]
    starts, ends = intervals.merge(table["start"], table["end"])
    found = {"intervals": len(table["start"]), "covered": int((ends - starts).sum())}
    what = {"intervals": "intervals are stored", "covered": "bases lie in the intervals stored"}
    return [
        Damage(track.name, f"{found[key]:,} {what[key]}; the catalogue has {track.summary[key]:,}", track)
        for key in what
        if found[key] != track.summary[key]
    ]
