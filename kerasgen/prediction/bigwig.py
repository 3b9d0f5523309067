"""Windows of values as bigWigs; where windows overlap, their mean."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
"""Values held in memory at a time, so many for the sums over windows and so many for the windows that are read."""


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

    Each window is read once, a bounded number at a time, so memory does not grow with them. Windows that are not in the
    order of their places are put in order in a temporary file beside the first of the paths.

    Args:
        paths: files to write, one per track.
        genome: chromosomes of the header.
        chromosome: ``(n,) int`` places in the genome.
        start: ``(n,) int`` first base of each window; what lies past a chromosome's ends is cut off.
        length: bp of each window.
        read: gives windows that are consecutive by number; a base without a value is NaN.
        at_a_time: values in memory, counted once for the sums over windows and once for the windows that are read.
    """
    from db_ingest.formats.bigwig_writer import BigWigWriter

    sizes = dict(zip(genome.names, genome.sizes, strict=True))
    most = max(1, at_a_time // (length * len(paths)))
    threads = max(1, cores() // len(paths))
    with ExitStack() as stack:
        temporary = [stack.enter_context(storage.replacing(path)) for path in paths]
        writers = [stack.enter_context(BigWigWriter(path, sizes, threads)) for path in temporary]
        places = np.array([genome.index(name) for name in writers[0].chromosomes])
        order = np.lexsort((start, np.argsort(places)[chromosome]))
        read = stack.enter_context(_in_order(order, length, len(paths), read, most, Path(temporary[0]).parent))
        chromosome, start = chromosome[order], start[order]
        for name, place in zip(writers[0].chromosomes, places, strict=True):
            ranks = np.flatnonzero(chromosome == place)
            for origin, means in _means(ranks, start, length, len(paths), read, most):
                low, high = max(0, -origin), min(len(means), sizes[name] - origin)
                for writer, values in zip(writers, means[low:high].T, strict=True):
                    _add(writer, name, origin + low, values)


@contextmanager
def _in_order(order: np.ndarray, length: int, tracks: int, read: Read, most: int, folder: Path) -> Iterator[Read]:
    """A way to read windows by their rank, consecutive ranks at a time.

    Args:
        order: number of the window of each rank.
        length: bp of each window.
        tracks: values per base.
        read: gives windows by number.
        most: windows read at a time.
        folder: where the temporary file is, if there needs to be one.
    """
    count = len(order)
    if (order == np.arange(count)).all():
        yield read
        return
    ranks = np.argsort(order)
    with tempfile.TemporaryFile(dir=folder) as file:
        ordered: np.ndarray | None = None
        for first in range(0, count, most):
            last = min(first + most, count)
            values = read(first, last)
            if ordered is None:
                ordered = np.memmap(file, values.dtype, "w+", shape=(count, length, tracks))
            ordered[ranks[first:last]] = values
        assert ordered is not None
        in_order = ordered
        yield lambda first, last: in_order[first:last]


def _means(
    ranks: np.ndarray, start: np.ndarray, length: int, tracks: int, read: Read, most: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Means over windows of one chromosome, in order: stretches of bases as their first base and ``(bases, tracks)``.

    Args:
        ranks: of the chromosome's windows, consecutive.
        start: first base of each window, by its rank.
        length: bp of each window.
        tracks: values per base.
        read: gives windows by rank.
        most: windows read at a time.
    """
    at, total, number = 0, np.zeros((0, tracks)), np.zeros(0)
    for first in range(0, len(ranks), most):
        starts = start[ranks[first : first + most]]
        values = read(int(ranks[first]), int(ranks[first]) + len(starts))
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
        is_last = first + most >= len(ranks)
        done = len(number) if is_last else min(int(start[ranks[first + most]]) - at, len(number))
        yield at, total[:done] / number[:done, None]
        at, total, number = at + done, total[done:], number[done:]


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
