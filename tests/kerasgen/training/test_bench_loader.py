"""gen_bench_loader: what it measures, in memory and through a buffer, and its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from db_ingest.errors import InputError
from kerasgen.cli.gen_bench_loader import COMMAND
from kerasgen.training.bench_loader import bench_loader

PAIR = "count_bigwig_plus_5p,count_bigwig_minus_5p"


def flags(database, simulated: Path) -> dict:
    return {
        "tdb_array": database.uri, "tdb_input_flank": [100], "tdb_output_flank": [40],
        "tdb_output_source_attribute": [PAIR, PAIR], "tdb_output_datasets": ["pooled"],
        "tdb_output_aggregation": [None, "sum"], "tdb_output_transformation": [None, "log"],
        "bed_regions": str(simulated / "peaks.narrowPeak"), "validation_chroms": ["chr2"], "test_chroms": ["chr3"],
        "batch_size": 8, "revcomp": True, "seconds": 0.05,
    }  # fmt: skip


def test_in_memory_batches_stand_beside_copies(database, simulated) -> None:
    found = bench_loader(**flags(database, simulated), device_one_hot=False)
    # 200 bp one-hot, 80 bp of two strands, two totals: float32.
    assert found.batch_mb == pytest.approx(8 * (200 * 4 + 80 * 2 + 2) * 4 / 1e6)
    assert found.held_gb > 0
    assert [(rate.what, rate.threads) for rate in found.rates] == [
        ("batches", 1), ("batches", 2), ("limit: copies of a batch", 1), ("limit: copies of a batch", 2),
    ]  # fmt: skip
    assert all(rate.windows > 0 and rate.megabytes > 0 for rate in found.rates)


def test_through_a_buffer_the_reading_is_a_limit(database, simulated) -> None:
    found = bench_loader(**flags(database, simulated), cache_gb=5e-6, threads=1)
    assert found.held_gb == 0
    assert [rate.what for rate in found.rates] == [
        "batches", "limit: copies of a batch", "limit: the same blocks, only read",
    ]  # fmt: skip
    assert found.batch_mb == pytest.approx(8 * (200 + (80 * 2 + 2) * 4) / 1e6)


def test_report_ends_with_what_limits(database, simulated, capsys) -> None:
    words = [
        "--tdb_array", database.uri, "--tdb_output_source_attribute", PAIR, "--tdb_output_datasets", "pooled",
        "--tdb_input_flank", "100", "--tdb_output_flank", "40", "--validation_chroms", "chr2", "--test_chroms", "chr3",
        "--bed_regions", str(simulated / "peaks.narrowPeak"), "--seconds", "0.05", "--quiet",
    ]  # fmt: skip
    assert COMMAND.run(words) == 0
    out = capsys.readouterr().out
    assert "30 samples per epoch" in out
    assert out.splitlines()[-1].startswith("what limits it: ")


def test_bad_flags_are_refused(database, simulated) -> None:
    with pytest.raises(InputError, match="--seconds 0: expected more than 0"):
        bench_loader(**{**flags(database, simulated), "seconds": 0})
    with pytest.raises(InputError, match="--bed_regions"):
        bench_loader(**{**flags(database, simulated), "bed_regions": None})
    with pytest.raises(TypeError, match="'epochs' is not a parameter"):
        bench_loader(**flags(database, simulated), epochs=3)
