"""Loaders that read every window anew, from files or from a store of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np
from loader import BATCH, INPUT, JITTER, OUTPUT, Batch, Stream, Windows, ahead, draws, finish, measure, one_each
from loader import chromosome as name_of

__all__ = ["figwig", "figwig_file", "genvarloader", "measure", "pyBigWig", "pybigtools", "slices"]

Make = Callable[[Windows], Batch]
Read = Callable[[Windows], tuple[np.ndarray, np.ndarray]]
"""Letters ``(n, 2114) uint8`` and values ``(n, tracks, 1000) float32`` of windows."""


class _Dataset:
    """What PyTorch's ``DataLoader`` asks for batches; files are opened by the process that reads them."""

    def __init__(self, opened: Callable[[], Make]) -> None:
        self._make = one_each(opened)

    def __getitem__(self, windows: Windows) -> Batch:
        return self._make(windows)


def _window_by_window(job: SimpleNamespace, opened: Callable[[], Make]) -> Callable[[], Stream]:
    """Batches in this process, in several threads of it or in several processes."""
    if job.workers == 1:
        return lambda: Stream(ahead(one_each(opened), draws(job), job.threads))
    from torch.utils.data import DataLoader

    def start() -> Stream:
        settings: dict[str, Any] = {"sampler": draws(job), "batch_size": None, "num_workers": job.workers}
        loader: Any = DataLoader(_Dataset(opened), **settings)  # type: ignore[arg-type]
        return Stream(tuple(part.numpy() for part in batch) for batch in loader)

    return start


def _in_calls(job: SimpleNamespace, read: Read) -> Stream:
    """Batches of what one call reads for one or several of them."""

    def make(windows: Windows) -> list[Batch]:
        (letters, values), reverse = read(windows), windows[1]
        parts = [slice(first, first + BATCH) for first in range(0, len(letters) - BATCH + 1, BATCH)]
        return [finish(letters[part], values[part], reverse[part]) for part in parts]

    return Stream(chain.from_iterable(ahead(make, draws(job, job.calls * BATCH), job.threads)))


def _letters(fasta: Any, name: str, centres: np.ndarray) -> np.ndarray:
    """Letters ``(n, 2114) uint8`` by pysam, twice as fast as pyfaidx."""
    half = INPUT // 2
    text = "".join([fasta.fetch(name, centre - half, centre + half) for centre in centres.tolist()])
    return np.frombuffer(bytearray(text, "ascii"), np.uint8).reshape(-1, INPUT)


def pyBigWig(job: SimpleNamespace) -> Callable[[], Stream]:
    """With pysam."""
    import pyBigWig
    import pysam

    def opened() -> Make:
        name, fasta = name_of(job), pysam.FastaFile(job.fasta)
        files = [pyBigWig.open(path) for path in job.files]

        def make(windows: Windows) -> Batch:
            values = np.empty((len(windows[0]), len(files), OUTPUT), np.float32)
            for row, centre in enumerate(windows[0].tolist()):
                for track, file in enumerate(files):
                    values[row, track] = file.values(name, centre - OUTPUT // 2, centre + OUTPUT // 2, numpy=True)
            return finish(_letters(fasta, name, windows[0]), np.nan_to_num(values, copy=False), windows[1])

        return make

    return _window_by_window(job, opened)


def pybigtools(job: SimpleNamespace) -> Callable[[], Stream]:
    """With pyfaidx."""
    import pybigtools
    import pyfaidx

    def opened() -> Make:
        name, fasta = name_of(job), pyfaidx.Fasta(job.fasta, as_raw=True)
        files, doubles = [pybigtools.open(path) for path in job.files], np.empty(OUTPUT)

        def make(windows: Windows) -> Batch:
            record, half = fasta[name], INPUT // 2
            text = "".join([record[centre - half : centre + half] for centre in windows[0].tolist()])
            letters = np.frombuffer(bytearray(text, "ascii"), np.uint8).reshape(-1, INPUT)
            values = np.empty((len(windows[0]), len(files), OUTPUT), np.float32)
            for row, centre in enumerate(windows[0].tolist()):
                for track, file in enumerate(files):
                    file.values(name, centre - OUTPUT // 2, centre + OUTPUT // 2, fillna=0, arr=doubles)
                    values[row, track] = doubles
            return finish(letters, values, windows[1])

        return make

    return _window_by_window(job, opened)


def figwig(job: SimpleNamespace) -> Callable[[], Stream]:
    """On the bigWig files, with pysam."""
    import figwig
    import pysam

    def start() -> Stream:
        name, files = name_of(job), [figwig.BigWigReader(path) for path in job.files]
        letters = one_each(lambda: _fetcher(pysam.FastaFile(job.fasta), name))

        def read(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
            values = figwig.read_bigwig(files, name, windows[0] - OUTPUT // 2, OUTPUT, n_jobs=1)
            return letters(windows[0]), values

        return _in_calls(job, read)

    return start


def figwig_file(job: SimpleNamespace) -> Callable[[], Stream]:
    """On its own file, with pysam."""
    import figwig
    import pysam

    def start() -> Stream:
        name, file = name_of(job), figwig.FigWigReader(job.target)
        letters = one_each(lambda: _fetcher(pysam.FastaFile(job.fasta), name))

        def read(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
            values: Any = file.read(name, windows[0] - OUTPUT // 2, OUTPUT, dtype=np.float32, n_jobs=1)
            return letters(windows[0]), values

        return _in_calls(job, read)

    return start


def _fetcher(fasta: Any, name: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda centres: _letters(fasta, name, centres)


def genvarloader(job: SimpleNamespace) -> Callable[[], Stream]:
    """Its dataset of these very peaks, which jitters by itself; indices and the reverse complement are ours."""
    import os

    os.environ["GVL_NUM_THREADS"] = str(job.threads)
    import genvarloader as gvl
    from loguru import logger

    logger.remove()

    def start() -> Stream:
        names = [f"track{i:03d}" for i in range(len(job.files))]
        dataset = gvl.Dataset.open(f"{job.target}", reference=job.fasta, jitter=JITTER, rng=1)
        dataset = dataset.with_len(INPUT).with_seqs("reference").with_tracks(names)
        middle = slice(INPUT // 2 - OUTPUT // 2, INPUT // 2 + OUTPUT // 2)

        def indices() -> Iterator[Windows]:
            rng, rows, step = np.random.default_rng(1), dataset.shape[0], job.calls * BATCH
            while True:
                order, reverse = rng.permutation(rows), rng.random(rows) < 0.5
                for first in range(0, rows - min(step, rows) + 1, step):
                    yield order[first : first + step], reverse[first : first + step]

        def make(windows: Windows) -> list[Batch]:
            rows, reverse = windows
            letters, values = dataset[rows, 0]
            letters = letters.reshape(-1, INPUT).view(np.uint8)
            # What it calls (batch, tracks, length) lies as (tracks, batch, length) in 0.43.
            values = values.reshape(len(names), -1, INPUT)[:, :, middle].swapaxes(0, 1)
            parts = [slice(first, first + BATCH) for first in range(0, len(letters) - BATCH + 1, BATCH)]
            return [finish(letters[part], values[part], reverse[part]) for part in parts]

        return Stream(chain.from_iterable(map(make, indices())))

    return start


def slices(job: SimpleNamespace) -> Callable[[], Stream]:
    """KerasAC's pattern on our database: one slice of an array a window and track, the sequence by pysam."""
    import pysam
    from ours_loader import tracks_of, uri

    from db_ingest.layout import catalogue
    from db_ingest.layout.reader import Reader

    reader = Reader(uri(job))

    def opened() -> Make:
        book, name, fasta = catalogue.load(uri(job)), name_of(job), pysam.FastaFile(job.fasta)
        tracks = [book.track(*names) for names in tracks_of(job)]
        offset = book.genome.offset(name) - OUTPUT // 2

        def make(windows: Windows) -> Batch:
            values = np.empty((len(windows[0]), len(tracks), OUTPUT), np.float32)
            for row, centre in enumerate(windows[0]):
                start, end = np.array([offset + centre]), np.array([offset + centre + OUTPUT])
                for place, track in enumerate(tracks):
                    values[row, place] = reader.read(track.member, track.row, start, end)
            return finish(_letters(fasta, name, windows[0]), values, windows[1])

        return make

    return _window_by_window(job, opened)
