"""Windows written as bigWigs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyBigWig

from db_ingest.layout.genome import Genome
from kerasgen.prediction.bigwig import write_bigwig


def test_overlapping_windows_are_averaged_and_ends_cut_off(tmp_path: Path, rng: np.random.Generator) -> None:
    genome = Genome(("a", "b"), (1000, 300))
    chromosome = np.array([1, 0, 0, 0, 0, 1])
    start = np.array([250, 500, 10, 530, -20, -90])
    values = rng.random((6, 80))
    write_bigwig(tmp_path / "x.bw", genome, chromosome, start, values)
    total, number = np.zeros((2, 2000)), np.zeros((2, 2000))
    for c, s, v in zip(chromosome, start, values, strict=True):
        total[c, s + 500 : s + 580] += v
        number[c, s + 500 : s + 580] += 1
    with np.errstate(invalid="ignore"):
        mean = (total / number)[:, 500:]
    with pyBigWig.open(str(tmp_path / "x.bw")) as file:
        for place, (name, size) in enumerate(zip(genome.names, genome.sizes, strict=True)):
            np.testing.assert_allclose(file.values(name, 0, size, numpy=True), mean[place, :size], rtol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == ["x.bw"]
