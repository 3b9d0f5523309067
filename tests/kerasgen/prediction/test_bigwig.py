"""Windows written as bigWigs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from db_ingest.layout.genome import Genome
from kerasgen.prediction.bigwig import write_bigwigs

LENGTH = 80


class Windows:
    """Windows in memory that remember how many were asked for at most at a time."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.most, self.calls = values, 0, 0

    def __call__(self, first: int, last: int) -> np.ndarray:
        self.most, self.calls = max(self.most, last - first), self.calls + 1
        return self.values[first:last]


def mean_of(genome: Genome, chromosome: np.ndarray, start: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Mean over windows of each base of each chromosome, by hand; NaN where there is none."""
    means = []
    for place, size in enumerate(genome.sizes):
        total, number = np.zeros(size + 2 * LENGTH), np.zeros(size + 2 * LENGTH)
        for s, v in zip(start[chromosome == place], values[chromosome == place], strict=True):
            total[s + LENGTH : s + 2 * LENGTH] += v
            number[s + LENGTH : s + 2 * LENGTH] += 1
        with np.errstate(invalid="ignore"):
            means.append((total / number)[LENGTH:-LENGTH])
    return means


@pytest.mark.parametrize("at_a_time", [1, 3 * LENGTH, 7 * LENGTH, 2**23])
def test_overlapping_windows_are_averaged_and_ends_cut_off(
    tmp_path: Path, rng: np.random.Generator, at_a_time: int
) -> None:
    genome = Genome(("b", "a"), (1000, 300))
    chromosome = rng.integers(0, 2, 40)
    start = np.where(chromosome == 0, rng.integers(-60, 980, 40), rng.integers(-60, 280, 40))
    start[:6], chromosome[:6] = [250, 500, 10, 530, -20, -60], [1, 0, 0, 0, 0, 1]
    values = rng.random((40, LENGTH, 1))
    read = Windows(values)
    write_bigwigs([tmp_path / "x.bw"], genome, chromosome, start, LENGTH, read, at_a_time=at_a_time)
    with pyBigWig.open(str(tmp_path / "x.bw")) as file:
        means = mean_of(genome, chromosome, start, values[:, :, 0])
        for name, size, mean in zip(genome.names, genome.sizes, means, strict=True):
            np.testing.assert_allclose(file.values(name, 0, size, numpy=True), mean, rtol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == ["x.bw"]
    assert read.most <= max(1, at_a_time // LENGTH)
    assert read.calls == -(-40 // read.most), "each window is read once, whatever the order"


def test_what_is_read_at_a_time_does_not_grow_with_the_windows(tmp_path: Path, rng: np.random.Generator) -> None:
    """Windows in the order of their places are read once, any number of them in pieces of one size."""
    most = []
    for count in (50, 500):
        genome = Genome(("a",), (100 * count,))
        read = Windows(rng.random((count, LENGTH, 2)).astype(np.float32))
        paths = [tmp_path / "x.bw", tmp_path / "y.bw"]
        places = np.zeros(count, int), np.arange(count) * 30
        write_bigwigs(paths, genome, *places, LENGTH, read, at_a_time=10 * LENGTH * 2)
        most.append((read.most, read.calls))
        with pyBigWig.open(str(paths[1])) as file:
            wanted = mean_of(genome, *places, read.values[:, :, 1])[0]
            np.testing.assert_allclose(file.values("a", 0, 100 * count, numpy=True), wanted, rtol=1e-6)
    assert most == [(10, 5), (10, 50)]


def test_bases_without_a_value_are_left_out(tmp_path: Path) -> None:
    values = np.full((2, LENGTH, 1), np.nan)
    values[0, 10:20], values[1, :5] = 2.0, 3.0
    genome = Genome(("a",), (400,))
    write_bigwigs([tmp_path / "x.bw"], genome, np.zeros(2, int), np.array([0, 200]), LENGTH, lambda i, j: values[i:j])
    with pyBigWig.open(str(tmp_path / "x.bw")) as file:
        assert file.intervals("a") == ((10, 20, 2.0), (200, 205, 3.0))


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def read(first: int, last: int) -> np.ndarray:
        raise OSError("gone")

    genome = Genome(("a",), (400,))
    with pytest.raises(OSError, match="gone"):
        write_bigwigs([tmp_path / "x.bw", tmp_path / "y.bw"], genome, np.zeros(1, int), np.zeros(1, int), LENGTH, read)
    assert not list(tmp_path.iterdir())
