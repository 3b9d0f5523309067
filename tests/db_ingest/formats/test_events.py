"""Counts of events against NumPy's, over borders of stretches, in memory and on disk."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from db_ingest.errors import InputError
from db_ingest.formats.base import SignalReader
from db_ingest.formats.events import EventBatch, EventCounter, layers
from db_ingest.layout.genome import Genome

STRETCH = 1 << 24
GENOME = Genome(("chr1", "chr2", "chr3"), (STRETCH + 100, STRETCH, 1))
CHROMOSOMES, CHANNELS = 3, 2


def events(rng, n: int, length: int) -> tuple[np.ndarray, ...]:
    """Chromosome (-1 to 2), start, end and channel (-1 to 1), crowded at borders of stretches and ends."""
    chromosome = rng.integers(-1, CHROMOSOMES, n).astype(np.int32)
    sizes = np.where(chromosome < 0, 1_000, GENOME.size_array()[chromosome])
    start = (rng.random(n) * sizes).astype(np.int64)
    near = rng.integers(0, 2, n).astype(bool)
    border = rng.integers(0, 2, n) * STRETCH + rng.integers(-50, 50, n)
    start = np.where(near, np.clip(border, 0, sizes - 1), start)
    end = np.minimum(start + rng.integers(1, length, n), sizes)
    return chromosome, start, end, rng.integers(-1, CHANNELS, n).astype(np.int16)


def expected(found: tuple[np.ndarray, ...], place: int, channel: int, coverage: bool) -> np.ndarray:
    chromosome, start, end, channels = found
    here = (chromosome == place) & (channels == channel)
    size = GENOME.sizes[place]
    changes = np.bincount(start[here], minlength=size + 1)
    return np.cumsum(changes - np.bincount(end[here], minlength=size + 1))[:-1] if coverage else changes[:-1]


def batches(found: tuple[np.ndarray, ...], coverage: bool, step: int = 1_700):
    for i in range(0, len(found[0]), step):
        chromosome, start, end, channel = (array[i : i + step] for array in found)
        yield EventBatch(chromosome, start, end if coverage else None, channel)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [1 << 15, 1 << 28])
@pytest.mark.parametrize(("coverage", "length"), [(False, 2), (True, 40), (True, 2 * STRETCH)])
def test_counts_are_those_of_numpy_wherever_the_read_begins(rng, coverage, length, memory):
    found = events(rng, 20_000, length)
    summary = {}
    counter = EventCounter("a.bam", GENOME, batches(found, coverage), CHANNELS, None, summary, memory=memory)
    assert isinstance(counter, SignalReader)
    assert (counter.on_disk > 0) == (memory == 1 << 15)
    assert counter.chromosomes == GENOME.names
    assert summary == {"elsewhere": int((found[0] == -1).sum()), "beyond_ends": 0}
    for place, name in enumerate(GENOME.names):
        for channel in range(CHANNELS):
            dense = expected(found, place, channel, coverage)
            places = rng.integers(0, len(dense) + 1, (6, 2)).tolist()
            places += [
                [STRETCH - 3, STRETCH + 5],
                [STRETCH, STRETCH],
                [0, len(dense)],
                [STRETCH, STRETCH + 100],
            ]
            for start, end in map(sorted, places):
                if end <= len(dense):
                    values = counter.read(name, start, end, channel)
                    assert values.dtype == np.float32
                    assert values.shape == (end - start,)
                    assert (values == dense[start:end]).all()
    counter.close()


def test_without_channels_all_events_are_in_the_first():
    batch = EventBatch(np.zeros(3, np.int32), np.array([5, 5, 9]))
    counter = EventCounter("a", GENOME, [batch], 1, ("chr1",), {})
    assert counter.read("chr1", 4, 10).tolist() == [0, 2, 0, 0, 0, 1]
    assert counter.chromosomes == ("chr1",)


def test_no_events_read_as_zero():
    counter = EventCounter("a", GENOME, [], 1, None, {})
    assert (counter.read("chr2", 0, 100) == 0).all()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (EventBatch(np.array([1], np.int32), np.array([STRETCH])), "chr2:16,777,216 does not lie .* 0 to 16,777,215"),
        (EventBatch(np.array([0], np.int32), np.array([-1])), "chr1:-1 does not lie on the chromosome"),
        (
            EventBatch(np.array([1], np.int32), np.array([9]), np.array([STRETCH + 1])),
            "chr2:9-16,777,217 .* <= 16,777,216",
        ),
        (EventBatch(np.array([1], np.int32), np.array([9]), np.array([9])), "chr2:9-9 does not lie"),
        (EventBatch(np.array([1], np.int32), np.array([-1]), np.array([9])), "chr2:-1-9 does not lie"),
    ],
)
def test_event_off_its_chromosome_is_refused(batch, message):
    with pytest.raises(InputError, match=f"a.bam: {message}"):
        EventCounter("a.bam", GENOME, [batch], 1, None, {})


def test_bases_moved_off_the_chromosome_are_left_out_and_counted():
    starts = np.array([-4, -1, 0, 9, STRETCH - 1, STRETCH, STRETCH + 3])
    summary = {}
    counter = EventCounter("a", GENOME, [EventBatch(np.ones(7, np.int32), starts)], 1, None, summary, reach=4)
    assert summary["beyond_ends"] == 4
    assert counter.read("chr2", 0, STRETCH).sum() == 3
    for start in (-5, STRETCH + 4):
        with pytest.raises(InputError, match="does not lie"):
            EventCounter("a", GENOME, [EventBatch(np.ones(1, np.int32), np.array([start]))], 1, None, {}, reach=4)


def test_intervals_moved_over_an_end_keep_what_is_left():
    start, end = np.array([-4, -4, STRETCH - 2, 7]), np.array([3, 0, STRETCH + 4, 5])
    summary = {}
    counter = EventCounter("a", GENOME, [EventBatch(np.ones(4, np.int32), start, end)], 1, None, summary, reach=4)
    assert summary["beyond_ends"] == 2
    assert np.flatnonzero(counter.read("chr2", 0, STRETCH)).tolist() == [0, 1, 2, STRETCH - 2, STRETCH - 1]


def test_more_events_on_a_base_than_float32_counts_by_ones():
    n = (1 << 24) + 2
    batch = EventBatch(np.zeros(n, np.int32), np.full(n, 3))
    counter = EventCounter("a", GENOME, [batch], 1, None, {})
    assert counter.read("chr1", 3, 4).tolist() == [n]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0


def test_scratch_space_is_let_go_of_when_a_batch_is_bad(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = events(rng, 20_000, 9)
    closed = []

    def broken():
        try:
            yield from batches(found, True)
            yield EventBatch(np.zeros(1, np.int32), np.array([-1]), np.array([1]))
        finally:
            closed.append(True)

    before = open_files()
    with pytest.raises(InputError):
        EventCounter("a", GENOME, broken(), CHANNELS, None, {}, memory=1 << 15)
    assert closed
    assert open_files() == before
    assert os.listdir(tmp_path) == []


def test_scratch_space_is_let_go_of_without_close(rng):
    before = open_files()
    counter = EventCounter("a", GENOME, batches(events(rng, 20_000, 9), True), CHANNELS, None, {}, memory=1 << 15)
    assert counter.on_disk
    del counter
    gc.collect()
    assert open_files() == before


def test_layers_count_an_event_once_in_every_channel_that_takes_its_kind():
    tables = layers([[0, 1], [1], [], [2], [0]], 3)
    assert [table.tolist() for table in tables] == [[0, 0, 3], [4, 1, -1]]
