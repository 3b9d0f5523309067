"""The yeast accessibility example from end to end, with a model small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import once
import pandas as pd
import pyBigWig
import pytest
import served

from kerasgen.database import Database

pytestmark = pytest.mark.real

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "yeast_atac"
SMALL = ("--epochs", "1", "--num_train", "64", "--num_valid", "32", "--model_params", "filters=4", "padding=same")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Path:
    def make(folder: Path) -> None:
        done = served.run(EXAMPLE / "run.sh", str(real_data), str(folder), *SMALL)
        assert done.returncode == 0, done.stderr

    return once.made(tmp_path_factory, "yeast_atac", make)


def test_cuts_are_those_of_the_shifted_bigwig(out: Path, real_data: Path) -> None:
    database = Database(str(out / "database"))
    track = database.track("cuts", "atac")
    with pyBigWig.open(str(real_data / "yeast_atac" / "atac_cutsites.bw")) as bigwig:
        expected = np.nan_to_num(bigwig.values("chrI", 0, 230_218, numpy=True))
    np.testing.assert_array_equal(database.windows(track, ["chrI"], [0], 230_218)[0].ravel(), expected)


def test_only_held_out_chromosomes_are_scored(out: Path) -> None:
    loci = {name: pd.read_csv(out / f"{name}.task_0.loci.tsv", sep="\t") for name in ("scores", "tiles.scores")}
    assert all(set(table["chromosome"]) == {"chrI", "chrII"} for table in loci.values())
    assert [len(table) for table in loci.values()] == [125, 2082]


def test_one_unstranded_task_and_a_report(out: Path) -> None:
    assert len(json.loads((out / "scores.json").read_text())["tasks"]) == 1
    assert "Yeast ATAC-seq" in (out / "report.html").read_text()
