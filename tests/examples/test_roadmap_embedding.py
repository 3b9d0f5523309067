"""The Roadmap embedding example from end to end, with one quick training."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import served

from kerasgen.database import Database

pytestmark = [pytest.mark.real, pytest.mark.slow]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "roadmap_embedding"


def test_one_epoch_is_better_than_components_and_is_written(tmp_path: Path, real_data: Path) -> None:
    flags = ("--sizes", "12", "--seeds", "0", "--epochs", "1", "--units", "16")
    done = served.run(EXAMPLE / "run.sh", str(real_data), str(tmp_path), *flags)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "table.tsv").open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert float(row["PCA"]) == pytest.approx(0.841, abs=0.001)
    assert float(row["seed 0"]) > float(row["PCA"])
    assert (tmp_path / "table.png").stat().st_size > 5_000
    with Database(str(tmp_path / "database")) as database:
        tracks = [database.track(f"{name}_11", name) for name in ("epilstm", "pca")]
        values = database.bins(tracks, ["pilot"], [0], 1000, 25)
    assert np.isfinite(values).all()
