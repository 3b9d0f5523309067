"""Write a track's signal once more in bins, chunk by chunk, all bins that begin together in one reading."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import tiledb

from db_ingest import storage
from db_ingest.ahead import ahead
from db_ingest.cores import cores
from db_ingest.errors import KerasgenError
from db_ingest.layout import arrays
from db_ingest.layout.bins import aggregate, grid, read_bases
from db_ingest.layout.catalogue import Level, Track
from db_ingest.layout.genome import Genome
from db_ingest.layout.reader import Reader
from db_ingest.layout.summaries import Part, combine, summarise

_BASES_AT_ONCE = 2**22
_FOLDER = "signal"


def write_levels(
    uri: str, genome: Genome, track: Track, fresh: Sequence[Level], advance: Callable[[int], None]
) -> list[Level]:
    """Write levels of a track to their rows; returns them with their checksums.

    Args:
        uri: the database.
        genome: its chromosomes.
        track: a signal.
        fresh: what to write; their bins are multiples of the track's.
        advance: called with the number of bases done, in each of :func:`passes`.
    """
    reader = Reader(uri)
    try:
        return [
            level
            for together in passes(fresh)
            for level in _write_together(uri, reader, genome, track, together, advance)
        ]
    except KerasgenError:
        raise
    except (tiledb.TileDBError, OSError) as error:
        raise storage.explain(uri, error) from error
    finally:
        reader.close()


def passes(fresh: Sequence[Level]) -> list[list[Level]]:
    """Levels by the reading that they are made in: their bins begin together often enough."""
    found: list[list[Level]] = []
    for level in fresh:
        for together in found:
            if math.lcm(level.bin, *(other.bin for other in together)) <= _BASES_AT_ONCE:
                together.append(level)
                break
        else:
            found.append([level])
    return found


def _write_together(
    uri: str,
    reader: Reader,
    genome: Genome,
    track: Track,
    together: Sequence[Level],
    advance: Callable[[int], None],
) -> list[Level]:
    filling = [_Filling(uri, genome, track, level) for level in together]
    period = math.lcm(*(level.bin for level in together))
    step = max(1, _BASES_AT_ONCE // period) * period

    def compute(stretch: tuple[str, int, int]) -> list[np.ndarray]:
        chromosome, start, end = stretch
        offset = genome.offset(chromosome)
        values = read_bases(reader, genome, track, (np.array([offset + start]), np.array([offset + end])))
        return [aggregate(values, level.bin, level.aggregation) for level in together]

    stretches = [
        (name, start, min(start + step, genome.size(name)))
        for name in genome.names
        if name in track.checksums
        for start in range(0, genome.size(name), step)
    ]
    threads = cores()
    computed = ahead(compute, stretches, threads=threads, depth=2 * threads)
    for (name, start, end), found in zip(stretches, computed, strict=True):
        for level, values in zip(filling, found, strict=True):
            level.add(name, start, values)
        advance(end - start)
    return [level.finish() for level in filling]


class _Filling:
    """A level on its way: bins come in order, and go out chunk by chunk."""

    def __init__(self, uri: str, genome: Genome, track: Track, level: Level) -> None:
        self._uri, self._track, self._level = uri, track, level
        self._genome = grid(genome, level.bin)
        self._member = track.level_member(level)
        arrays.create(uri, self._member, genome)
        first, last = self._genome.chunk(0)
        self._cells = np.empty(last - first, np.float32)
        self._chunk: int | None = None
        self._parts: list[Part] = []

    def add(self, chromosome: str, start: int, values: np.ndarray) -> None:
        """Take the bins of a chromosome from base ``start`` on."""
        position = self._genome.offset(chromosome) + start // self._level.bin
        while len(values):
            chunk = self._genome.chunk_of(position)
            if chunk != self._chunk:
                self._put()
                self._chunk = chunk
                self._cells.fill(np.nan)
            first, last = self._genome.chunk(chunk)
            count = min(len(values), last - position)
            self._cells[position - first : position - first + count] = values[:count]
            values, position = values[count:], position + count

    def finish(self) -> Level:
        """Write what is left; returns the level with its checksums."""
        self._put()
        return replace(self._level, checksums=combine(self._parts)[1])

    def _put(self) -> None:
        if self._chunk is None:
            return
        first, last = self._genome.chunk(self._chunk)
        for piece in self._genome.pieces(first, last):
            if piece.chromosome in self._track.checksums:
                stretch = self._cells[piece.at : piece.at + piece.end - piece.start]
                self._parts.append(summarise(piece.chromosome, piece.start, stretch, _FOLDER))
        arrays.put(self._uri, self._member, self._level.row, first, self._cells[: last - first])
