"""Windows of values as bigWigs; where windows overlap, their mean."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from db_ingest import storage
from db_ingest.cores import cores
from db_ingest.layout.genome import Genome

if TYPE_CHECKING:
    from db_ingest.formats.bigwig_writer import BigWigWriter

Read = Callable[[int, int], np.ndarray]
"""``(first, last) -> (last - first, length, tracks)``: values of windows by their number, in genome direction."""

VALUES_AT_A_TIME = 2**23
"""Values held in memory at a time, so many for the windows that are laid and so many for those that are read."""


def write_bigwigs(
    paths: Sequence[str | Path],
    genome: Genome,
    chromosome: np.ndarray,
    start: np.ndarray,
    length: int,
    read: Read,
    *,
    at_a_time: int = VALUES_AT_A_TIME,
) -> None:
    """Write windows as bigWig files of one track each, all of them or none.

    Windows are taken in the order of their places, a bounded number at a time, so memory does not grow with them.

    Args:
        paths: files to write, one per track.
        genome: chromosomes of the header.
        chromosome: ``(n,) int`` places in the genome.
        start: ``(n,) int`` first base of each window; what lies past a chromosome's ends is cut off.
        length: bp of each window.
        read: gives windows that are consecutive by number; a base without a value is NaN.
        at_a_time: values in memory, counted once for those that are laid and once for those that are read.
    """
    from db_ingest.formats.bigwig_writer import BigWigWriter

    sizes = dict(zip(genome.names, genome.sizes, strict=True))
    most = max(1, at_a_time // (length * len(paths)))
    threads = max(1, cores() // len(paths))
    with ExitStack() as stack:
        temporary = [stack.enter_context(storage.replacing(path)) for path in paths]
        writers = [stack.enter_context(BigWigWriter(path, sizes, threads)) for path in temporary]
        for name in writers[0].chromosomes:
            place = genome.index(name)
            here = np.flatnonzero(chromosome == place)
            here = here[np.argsort(start[here], kind="stable")]
            for origin, means in _means(here, start, length, len(paths), read, most):
                low, high = max(0, -origin), min(len(means), sizes[name] - origin)
                for writer, values in zip(writers, means[low:high].T, strict=True):
                    _add(writer, name, origin + low, values)


def _means(
    order: np.ndarray, start: np.ndarray, length: int, tracks: int, read: Read, most: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Means over windows of one chromosome, in order: stretches of bases as their first base and ``(bases, tracks)``.

    Args:
        order: numbers of the chromosome's windows by place.
        start: first base of each window, by its number.
        length: bp of each window.
        tracks: values per base.
        read: gives windows.
        most: windows read at a time.
    """
    at, total, number = 0, np.zeros((0, tracks)), np.zeros(0)
    for first in range(0, len(order), most):
        values = _read_some(order[first : first + most], read, most)
        starts = start[order[first : first + most]]
        edges = [0, *(np.flatnonzero(np.diff(starts) > length) + 1), len(starts)]
        for begin, end in itertools.pairwise(edges):
            if begin > 0:
                yield at, total / number[:, None]
                total, number = total[:0], number[:0]
            if not len(number):
                at = int(starts[begin])
            more = int(starts[end - 1]) + length - at - len(number)
            total, number = np.concatenate([total, np.zeros((more, tracks))]), np.concatenate([number, np.zeros(more)])
            for i in range(begin, end):
                where = slice(int(starts[i]) - at, int(starts[i]) - at + length)
                total[where] += values[i]
                number[where] += 1
        # What lies before the next window is done; the rest, at most a window, begins where that does.
        is_last = first + most >= len(order)
        done = len(number) if is_last else min(int(start[order[first + most]]) - at, len(number))
        yield at, total[:done] / number[:done, None]
        at, total, number = at + done, total[done:], number[done:]


def _read_some(wanted: np.ndarray, read: Read, most: int) -> np.ndarray:
    """Values of windows by number, in the order asked for, read as runs of consecutive windows."""
    order = np.argsort(wanted)
    numbers = wanted[order]
    found: np.ndarray | None = None
    at = 0
    while at < len(numbers):
        first = int(numbers[at])
        stop = int(np.searchsorted(numbers, first + most))
        block = read(first, int(numbers[stop - 1]) + 1)
        if found is None:
            found = np.empty((len(wanted), *block.shape[1:]), block.dtype)
        found[order[at:stop]] = block[numbers[at:stop] - first]
        at = stop
    assert found is not None
    return found


def _add(writer: BigWigWriter, chromosome: str, origin: int, values: np.ndarray) -> None:
    """Add the bases of a stretch that have a value, equal neighbours as one run."""
    values = values.astype(np.float32)
    has_value = ~np.isnan(values)
    is_first = has_value.copy()
    is_first[1:] &= (values[1:] != values[:-1]) | ~has_value[:-1]
    is_last = has_value.copy()
    is_last[:-1] &= is_first[1:] | ~has_value[1:]
    firsts, lasts = np.flatnonzero(is_first), np.flatnonzero(is_last)
    writer.add(chromosome, origin + firsts, origin + lasts + 1, values[firsts])
