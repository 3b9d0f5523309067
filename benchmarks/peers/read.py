"""Reading back: the first track whole, or the ranges of its peaks in one request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
from child import CHUNK, chunks

TILE = 2**16

Work = Callable[[], Iterator[np.ndarray]]


class Wanted:
    """What is to be read: all of the track in chunks, or the merged ranges of its peaks.

    Attributes:
        name: the chromosome.
        whole: whether it is all of it.
        starts, ends: the stretches.
        windows: starts of windows of one ``width`` whose union the stretches are, for readers of one width alone.
    """

    def __init__(self, job: SimpleNamespace) -> None:
        self.name, size = next(iter(job.sizes.items()))
        self.whole = job.ranges is None
        self.threads = job.threads
        if self.whole:
            places = [place[1:] for place in chunks({self.name: size})]
            self.starts, self.ends = np.array(places).T
            self.windows, self.width = np.arange(0, size, TILE), TILE
        else:
            with np.load(job.ranges) as found:
                self.starts, self.ends, self.windows = found["starts"], found["ends"], found["windows"]
                self.width = int(found["width"])

    def stretches(self, read: Callable[[int, int], np.ndarray]) -> Work:
        """Work of ``read(start, end)`` on one stretch after the other."""
        places = list(zip(self.starts.tolist(), self.ends.tolist(), strict=True))
        return lambda: (read(start, end) for start, end in places)

    def many_windows(self, read: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Work:
        """Work of ``read(starts, out)`` on the windows: at once, or of a whole track one chunk per thread."""
        step = self.threads * CHUNK // TILE if self.whole else len(self.windows)
        values = np.empty((min(step, len(self.windows)), self.width), np.float32)
        parts = [self.windows[i : i + step] for i in range(0, len(self.windows), step)]
        return lambda: (read(starts, values[: len(starts)]) for starts in parts)


def pyBigWig(job: SimpleNamespace) -> Work:
    import pyBigWig

    wanted, file = Wanted(job), pyBigWig.open(job.files[0])
    return wanted.stretches(
        lambda start, end: np.nan_to_num(file.values(wanted.name, start, end, numpy=True), copy=False)
    )


def pybigtools(job: SimpleNamespace) -> Work:
    import pybigtools

    wanted, file = Wanted(job), pybigtools.open(job.files[0])
    doubles = np.empty(int((wanted.ends - wanted.starts).max()))

    def read(start: int, end: int) -> np.ndarray:
        return file.values(wanted.name, start, end, fillna=0, arr=doubles[: end - start]).astype(np.float32)

    return wanted.stretches(read)


def figwig(job: SimpleNamespace) -> Work:
    from figwig import BigWigReader

    wanted, file = Wanted(job), BigWigReader(job.files[0])
    return wanted.many_windows(
        lambda starts, out: file.read(wanted.name, starts, wanted.width, out=out, n_jobs=job.threads)
    )


def figwig_file(job: SimpleNamespace) -> Work:
    from figwig import FigWigReader

    wanted, file = Wanted(job), FigWigReader(job.target)
    settings = {"tracks": file.tracks[0]["name"], "dtype": np.float32, "n_jobs": job.threads}
    return wanted.many_windows(lambda starts, out: file.read(wanted.name, starts, wanted.width, out=out, **settings))


def zarr(job: SimpleNamespace) -> Work:
    import zarr

    wanted = Wanted(job)
    array = zarr.open_group(job.target, mode="r")[wanted.name]
    return wanted.stretches(lambda start, end: array[0, start:end])


def seqdataloader(job: SimpleNamespace) -> Work:
    import tiledb

    wanted = Wanted(job)
    array = tiledb.open(f"{job.target}/{wanted.name}")
    return wanted.stretches(lambda start, end: array[start:end, 0]["value"])


def genvarloader(job: SimpleNamespace) -> Work:
    """Its regions, which are those it was written with: the whole track alone."""
    import genvarloader as gvl
    from loguru import logger

    logger.remove()
    dataset = gvl.Dataset.open(job.target).with_tracks("signal").with_len("ragged")
    rows, step = dataset.shape[0], job.threads * CHUNK // TILE
    return lambda: (dataset[start : min(start + step, rows), 0].data for start in range(0, rows, step))


def ours(job: SimpleNamespace) -> Work:
    from db_ingest.layout import catalogue as catalogues
    from db_ingest.layout.reader import Reader

    wanted, uri = Wanted(job), job.uri or f"{job.target}/database"
    book = catalogues.load(uri)
    track = book.track("signal", "sample000")
    offset = book.genome.offset(wanted.name)
    reader = Reader(uri)

    def read(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        return reader.read(track.member, track.row, starts + offset, ends + offset)

    if wanted.whole:
        return wanted.stretches(lambda start, end: read(np.array([start]), np.array([end])))
    return lambda: iter([read(wanted.starts, wanted.ends)])
