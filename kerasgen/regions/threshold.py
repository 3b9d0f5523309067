"""Stretches of the genome where tracks reach a threshold, computed as intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from db_ingest import intervals
from db_ingest.layout.catalogue import Track
from db_ingest.layout.codes import MASK_MISSING
from db_ingest.layout.genome import Genome
from db_ingest.progress import progress
from kerasgen.database import Database

Block = tuple[int, int]
Result = TypeVar("Result")
_BLOCK = 2**23
"""Positions read at a time: large reads are the fast ones."""
_THREADS = 2
"""Blocks in work at a time: TileDB reads one with all cores while another is computed on."""


def partition(
    database: Database,
    attribute: str,
    datasets: Sequence[str],
    threshold: float,
    chromosomes: Sequence[str],
) -> intervals.Spans:
    """Stretches where an attribute of any of ``datasets`` reaches ``threshold``.

    Signals are read once in blocks, by several threads; so are masks, but where their threshold is at most 1 the
    intervals that they were made of say the same and are read instead. Memory is that of a few blocks and the result.

    Args:
        database: holds the attribute, a mask or a signal.
        datasets: a base counts when any of them reaches the threshold there; where there is no value (NaN, a mask's
            255) none does.
        threshold: e.g. 1 for anywhere in a peak, 2 for summits only.
        chromosomes: those to look at.

    Returns:
        Sorted disjoint stretches of the position axis.

    Raises:
        InputError: a dataset without the attribute.
    """
    from kerasgen.regions.windows import chromosome_spans

    tracks = [database.track(attribute, dataset) for dataset in datasets]
    whole = chromosome_spans(database.genome, chromosomes)
    inside = [track for track in tracks if track.kind == "mask" and 0 < threshold <= 1]
    found = [_intervals(database, track, whole) for track in inside]
    scanned = [track for track in tracks if track not in inside]
    if scanned:

        def reached(block: Block) -> intervals.Spans:
            flags = np.zeros(block[1] - block[0], bool)
            for track in scanned:
                flags |= _reached(track, database.read(track, spans_of(block)), threshold)
            begin, end = intervals.runs(flags)
            return begin + block[0], end + block[0]

        found += streamed(reached, blocks(database.genome, whole), f"{attribute} at least {threshold:g}", len(scanned))
    return joined(found)


def blocks(genome: Genome, spans: intervals.Spans) -> list[Block]:
    """Sorted disjoint stretches of the position axis in pieces to be read at a time."""
    return [
        (first, min(first + _BLOCK, end))
        for start, end in zip(*(side.tolist() for side in spans), strict=True)
        for first in range(start, end, _BLOCK)
    ]


def streamed(work: Callable[[Block], Result], pieces: Sequence[Block], what: str, each: int = 1) -> list[Result]:
    """Work on blocks by several threads, in order, with a progress bar; ``each`` counts the tracks read of a block."""
    bases = sum(end - start for start, end in pieces) * each
    with ThreadPoolExecutor(_THREADS) as pool, progress(what, bases, "b") as advance:
        results = []
        for (start, end), result in zip(pieces, pool.map(work, pieces), strict=True):
            results.append(result)
            advance((end - start) * each)
    return results


def joined(parts: Sequence[intervals.Spans]) -> intervals.Spans:
    """The union of stretches from several blocks or tracks."""
    return intervals.merge(np.concatenate([starts for starts, _ in parts]), np.concatenate([ends for _, ends in parts]))


def spans_of(block: Block) -> intervals.Spans:
    """One stretch as :meth:`Database.read` takes it."""
    return np.array([block[0]]), np.array([block[1]])


def _reached(track: Track, values: np.ndarray, threshold: float) -> np.ndarray:
    if track.kind == "signal":
        return values >= threshold
    least = math.ceil(threshold)
    if least >= MASK_MISSING:
        return np.zeros(len(values), bool)
    return (values >= max(least, 0)) & (values != MASK_MISSING)


def _intervals(database: Database, track: Track, whole: intervals.Spans) -> intervals.Spans:
    """Bases inside the intervals of a mask, within some chromosomes."""
    table = database.intervals(track.attribute, track.dataset)
    names, which = np.unique(table["chromosome"], return_inverse=True)
    offset = np.array([database.genome.offset(str(name)) for name in names], np.int64)[which]
    spans = intervals.merge(offset + table["start"], offset + table["end"])
    here = intervals.contains(whole, spans[0])
    return spans[0][here], spans[1][here]
