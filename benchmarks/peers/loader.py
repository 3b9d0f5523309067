"""Batches for training: what every loader gives, how it is timed, and how what it gave is checked.

A method is a function of a job that imports what it needs and returns the work to be timed: a function that opens,
reads ahead or builds whatever comes first and returns a :class:`Stream`, which never ends. A batch is 64 windows: the
one-hot sequence of 2,114 bp, the values of every track over the 1,000 bp in the middle, and the logarithm of 1 + the
sum of each track over these, all float32. Windows lie around peaks, up to 500 bp off, anew each epoch; half of them are
reverse-complemented, the two strands of a pair swapped.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import psutil

INPUT, OUTPUT, JITTER, BATCH = 2114, 1000, 500, 64
MARGIN = INPUT // 2 + JITTER
"""Bases that a peak needs on both sides; no loader has to know what lies past a chromosome's end."""

LEAST_PEAKS = 5 * BATCH

_WARM = 16
_CHECKED, _EACH = (0, 13, 26, 39), 8
_LETTERS = np.frombuffer(b"ACGTN", np.uint8)
_COMPLEMENT = np.full(256, ord("N"), np.uint8)
_COMPLEMENT[np.frombuffer(b"ACGT", np.uint8)] = np.frombuffer(b"TGCA", np.uint8)
_CODES = np.zeros((256, 4), np.float32)
_CODES[np.frombuffer(b"ACGT", np.uint8)] = np.eye(4)
# NumPy takes one item of 16 bytes several times as fast as a row of four.
_ENCODED = _CODES.view(np.complex128).reshape(-1)

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
Windows = tuple[np.ndarray, np.ndarray]
"""Centres ``(n,) int64`` and whether each is reverse-complemented ``(n,) bool``."""


class Stream(NamedTuple):
    """What a loader gives.

    Args:
        batches: sequence, profile and log counts, without end. Channels come last, or before positions as in PyTorch.
        order: which of the job's tracks each channel of the profile holds; None: as they came.
    """

    batches: Iterator[Batch]
    order: list[int] | None = None


def chromosome(job: SimpleNamespace) -> str:
    """The name of the chromosome."""
    return str(next(iter(job.sizes)))


def peaks(job: SimpleNamespace) -> np.ndarray:
    """Centres of the peaks, ``(n,) int64``, sorted."""
    return np.load(job.peaks)


def partners(tracks: int) -> list[int]:
    """For each track the one whose values it holds in a reverse complement: plus and minus in turn, or one track."""
    return [0] if tracks == 1 else [track ^ 1 for track in range(tracks)]


def draws(job: SimpleNamespace, many: int = BATCH) -> Iterator[Windows]:
    """Windows of all peaks, shuffled and jittered anew each epoch, ``many`` at a time; its last few are left out."""
    centres, rng = peaks(job), np.random.default_rng(1)
    while True:
        windows = rng.permutation(centres) + rng.integers(-JITTER, JITTER + 1, len(centres))
        reverse = rng.random(len(centres)) < 0.5
        step = min(many, max(len(centres) // BATCH * BATCH, 1))
        for start in range(0, len(centres) - step + 1, step):
            yield windows[start : start + step], reverse[start : start + step]


def ahead(make: Callable[[Any], Any], items: Iterable[Any], threads: int) -> Iterator[Any]:
    """``make`` of every item in order, by so many threads that work ahead, or as they are asked for by the only one."""
    if threads == 1:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()


def one_each(opened: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """What ``opened`` gives, opened anew by each thread: few readers of files can be used by several."""
    own = threading.local()

    def call(*given: Any) -> Any:
        if not hasattr(own, "made"):
            own.made = opened()
        return own.made(*given)

    return call


def finish(letters: np.ndarray, values: np.ndarray, reverse: np.ndarray) -> Batch:
    """A batch of what was read, by the fastest ways that NumPy was found to have.

    Args:
        letters: ``(n, 2114) uint8``, may be changed.
        values: ``(n, tracks, 1000) float32``, may be changed.
        reverse: ``(n,) bool``.
    """
    letters[reverse] = _COMPLEMENT[letters[reverse][:, ::-1]]
    values[reverse] = values[reverse][:, partners(values.shape[1]), ::-1]
    sequence = np.take(_ENCODED, letters).view(np.float32).reshape(*letters.shape, 4)
    return sequence, np.array(values.swapaxes(1, 2), order="C"), np.log1p(values.sum(axis=2))


def measure(start: Callable[[], Stream], job: SimpleNamespace) -> dict[str, Any]:
    """What getting ready took, and an epoch of batches; or, if asked for that, whether the arrays are right."""
    from child import peak_bytes

    if job.check:
        return {"wrong": _wrong(start(), job), "peak": 0}
    began, used = time.perf_counter(), _cpu_seconds()
    batches = start().batches
    batch: tuple[np.ndarray, ...] = next(batches)
    found: dict[str, Any] = {"start_up": [time.perf_counter() - began], "start_up_cpu": [_cpu_seconds() - used]}
    for _ in range(_WARM if job.most else 0):
        batch = next(batches)
    windows, epoch, elapsed = 0, len(peaks(job)) // BATCH * BATCH, 0.0
    began, used = time.perf_counter(), _cpu_seconds()
    # An epoch at least, for what comes in blocks comes unevenly; but no longer than there is time for.
    while elapsed < job.most and (elapsed < job.least or windows < epoch):
        batch = next(batches)
        windows += len(batch[0])
        elapsed = time.perf_counter() - began
    if windows:
        found["seconds"] = [elapsed / windows * job.windows]
        found["cpu"] = [(_cpu_seconds() - used) / windows * job.windows]
    return {**found, "timed": windows, "batch_bytes": sum(part.nbytes for part in batch), "peak": peak_bytes()}


def _cpu_seconds() -> float:
    """Seconds of processor of this process, and of those it has started, running or done."""
    process = psutil.Process()
    times = [process.cpu_times(), *(child.cpu_times() for child in process.children(recursive=True))]
    return sum(part.user + part.system + part.children_user + part.children_system for part in times)


def _wrong(stream: Stream, job: SimpleNamespace) -> str:
    """What is wrong with some windows of some batches, by pysam and pyBigWig; nothing if they are right.

    Each window is looked up in the chromosome by its own sequence: a loader need not say what it drew.
    """
    import pyBigWig
    import pysam

    taken = [next(stream.batches) for _ in range(_CHECKED[-1] + 1)]
    for before, after in pairwise(taken):
        if any(np.shares_memory(one, other) for one in before for other in after):
            return "two batches share memory"
    with pysam.FastaFile(job.fasta) as file:
        whole = file.fetch(chromosome(job)).upper().encode()
    files = [pyBigWig.open(path) for path in job.files]
    centres, offsets, turned = peaks(job), [], []
    for number in _CHECKED:
        sequence, profile, counts = (np.asarray(part) for part in taken[number])
        sequence, profile = _channels_last(sequence, INPUT), _channels_last(profile, OUTPUT)
        if stream.order is not None:
            profile, counts = (part[..., np.argsort(stream.order)] for part in (profile, counts))
        tracks = len(job.files)
        shapes = (BATCH, INPUT, 4), (BATCH, OUTPUT, tracks), (BATCH, tracks)
        for part, shape in zip((sequence, profile, counts), shapes, strict=True):
            if part.shape != shape or part.dtype != np.float32:
                return f"{part.dtype} of shape {part.shape}, expected float32 of {shape}"
        if not np.isin(sequence, (0, 1)).all():
            return "a sequence that is not one-hot"
        # Spread over the batch.
        for row in range(0, BATCH, BATCH // _EACH):
            letters = _LETTERS[np.where(sequence[row].any(axis=1), sequence[row].argmax(axis=1), 4)]
            start, reverse = whole.find(letters.tobytes()), False
            if start < 0:
                start, reverse = whole.find(_COMPLEMENT[letters[::-1]].tobytes()), True
            if start < 0:
                return "a sequence that the chromosome does not hold"
            centre = start + INPUT // 2
            offsets.append(centre - centres[np.abs(centres - centre).argmin()])
            turned.append(reverse)
            place = chromosome(job), centre - OUTPUT // 2, centre + OUTPUT // 2
            truth = np.column_stack([np.nan_to_num(file.values(*place, numpy=True)) for file in files])
            if reverse:
                truth = truth[::-1, partners(tracks)]
            if not np.array_equal(profile[row], truth.astype(np.float32)):
                return f"the values at {centre:,}{' reversed' if reverse else ''}"
            if not np.allclose(counts[row], np.log1p(truth.sum(axis=0)), rtol=1e-5):
                return f"the counts at {centre:,}"
    # The nearest peak is that of the window only where peaks lie far apart.
    reach = min(JITTER, float(np.median(np.diff(centres))) / 2)
    if np.abs(offsets).max() > JITTER or np.std(offsets) < reach / 4:
        return f"windows {min(offsets)} to {max(offsets)} bp off a peak"
    if not 0.1 < np.mean(turned) < 0.9:
        return f"{sum(turned)} of {len(turned)} windows reverse-complemented"
    return ""


def _channels_last(array: np.ndarray, length: int) -> np.ndarray:
    return np.swapaxes(array, 1, 2) if array.shape[1] != length else array
