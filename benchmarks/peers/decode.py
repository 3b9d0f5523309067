"""bigWig to float32 a base, 0 where the file holds none, and nothing kept: what each reader does at best."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from child import CHUNK, chunks

Work = Callable[[], Iterator[np.ndarray]]


def _all(job: SimpleNamespace, read: Callable[..., np.ndarray], step: int = CHUNK) -> Work:
    return lambda: (read(path, *place) for path in job.files for place in chunks(job.sizes, step))


def pyBigWig(job: SimpleNamespace) -> Work:
    import pyBigWig

    files = {path: pyBigWig.open(path) for path in job.files}
    return _all(job, lambda path, *place: np.nan_to_num(files[path].values(*place, numpy=True), copy=False))


def pybigtools(job: SimpleNamespace) -> Work:
    """Into an array of doubles used again and again, its fastest call, and from there to float32."""
    import pybigtools

    files = {path: pybigtools.open(path) for path in job.files}
    doubles, values = np.full(CHUNK, 1.0), np.ones(CHUNK, np.float32)

    def read(path: str, name: str, start: int, end: int) -> np.ndarray:
        files[path].values(name, start, end, fillna=0, arr=doubles[: end - start])
        np.copyto(values[: end - start], doubles[: end - start], casting="same_kind")
        return values[: end - start]

    return _all(job, read)


def figwig(job: SimpleNamespace) -> Work:
    """Windows of one width in a call, as many as make one chunk per thread, into an array used again and again."""
    from figwig import BigWigReader

    width = 2**16
    files = {path: BigWigReader(path) for path in job.files}
    values = np.ones((job.threads * CHUNK // width, width), np.float32)

    def read(path: str, name: str, start: int, end: int) -> np.ndarray:
        starts = np.arange(start, end, width)
        return files[path].read(name, starts, width, out=values[: len(starts)], n_jobs=job.threads)

    for path in job.files:
        read(path, next(iter(job.sizes)), 0, 1000)
    return _all(job, read, job.threads * CHUNK)


def copy(job: SimpleNamespace) -> Work:
    """The limit: as many values copied from memory to memory."""
    source, values = np.ones(CHUNK, np.float32), np.full(CHUNK, 2, np.float32)

    def read(_: str, name: str, start: int, end: int) -> np.ndarray:
        np.copyto(values[: end - start], source[: end - start])
        return values[: end - start]

    return _all(job, read)


def inflate(job: SimpleNamespace) -> Callable[[], Any]:
    """The limit of a core: the files' data blocks inflated with ISA-L, and nothing made of them."""
    from isal.isal_zlib import decompress

    blocks = []
    for path in job.files:
        with open(path, "rb") as file:
            data = file.read()
        blocks += [data[at : at + size] for at, size in _blocks(data)]

    def work() -> None:
        for block in blocks:
            decompress(block)

    return work


def _blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Offset and size of every data block, from the index (Kent et al. 2010, supplement)."""
    nodes = [struct.unpack_from("<Q", data, 24)[0] + 48]
    while nodes:
        at = nodes.pop()
        leaf, _, count = struct.unpack_from("<BBH", data, at)
        for i in range(count):
            if leaf:
                yield struct.unpack_from("<QQ", data, at + 4 + 32 * i + 16)
            else:
                nodes += struct.unpack_from("<Q", data, at + 4 + 24 * i + 16)


def ours(job: SimpleNamespace) -> Work:
    """Our reader; with two threads, each has the file open for itself."""
    from collections import deque
    from concurrent.futures import ThreadPoolExecutor
    from queue import SimpleQueue

    from db_ingest.formats import FORMATS
    from db_ingest.formats.base import EVERYTHING
    from db_ingest.inputs.naming import Naming
    from db_ingest.layout.genome import Genome

    naming = Naming(Genome(tuple(job.sizes), tuple(job.sizes.values())))
    kind = FORMATS["bigwig"]
    options = {name: option.default for name, option in kind.options.items()} | {"negative": "keep"}
    # As the writer's workers do, one keeps the file of its last chunk open. A reader's next result overwrites its last
    # one, so it is idle again only when the consumer has had that.
    idle: SimpleQueue = SimpleQueue()
    for _ in range(2 * job.threads):
        idle.put([None, None])

    def read(path: str, name: str, start: int, end: int) -> tuple[np.ndarray, list]:
        held = idle.get()
        if held[0] != path:
            if held[1] is not None:
                held[1].close()
            held[:] = [path, kind.load().open_signal(path, naming, options, (EVERYTHING,))]
        return held[1].read(name, start, end), held

    def work() -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(job.threads) as pool:
            ahead: deque = deque()
            places = [(path, *place) for path in job.files for place in chunks(job.sizes)]
            while ahead or places:
                while places and len(ahead) < 2 * job.threads - 1:
                    ahead.append(pool.submit(read, *places.pop(0)))
                values, held = ahead.popleft().result()
                yield values
                idle.put(held)

    _, held = read(job.files[0], next(iter(job.sizes)), 0, 1000)
    idle.put(held)
    return work
