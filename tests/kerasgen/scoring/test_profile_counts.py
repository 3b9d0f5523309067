"""Scores against scipy, and what they are compared with."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import pearsonr, spearmanr

from db_ingest.errors import InputError
from kerasgen.prediction.predict_tdb import predict_tdb
from kerasgen.scoring.profile_counts import score_bpnet


@pytest.fixture(scope="module")
def predictions(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return predict_tdb(f"{trained}.keras", str(tmp_path_factory.mktemp("scored") / "p")).path


def test_scores_equal_scipy(predictions: Path, tmp_path: Path) -> None:
    scores = score_bpnet(str(predictions), str(tmp_path / "s"), replicates=["rep1", "rep2"])
    with h5py.File(predictions) as file:
        lab, counts = file["lab_0"][:].astype(float), file["lab_1"][:].astype(float)
        pred, pcounts = softmax(file["pred_0"][:].astype(float), axis=1), file["pred_1"][:].astype(float)
    for task, result in enumerate(scores.tasks):
        model = result["counts"]["model"]
        assert model["pearson"] == pytest.approx(pearsonr(counts[:, task], pcounts[:, task])[0], rel=1e-5)
        assert model["spearman"] == pytest.approx(spearmanr(counts[:, task], pcounts[:, task])[0], rel=1e-5)
        assert model["mse"] == pytest.approx(((counts - pcounts)[:, task] ** 2).mean(), rel=1e-5)
        profile = result["profile"]["model"]
        r = [pearsonr(a, b)[0] for a, b in zip(lab[:, :, task], pred[:, :, task], strict=True)]
        jsd = [jensenshannon(a, b) for a, b in zip(lab[:, :, task], pred[:, :, task], strict=True)]
        flat = [jensenshannon(a, np.ones(len(a))) for a in lab[:, :, task]]
        assert profile["pearson"] == pytest.approx(np.median(r), rel=1e-5)
        assert profile["jsd"] == pytest.approx(np.median(jsd), rel=1e-5)
        assert profile["normalised_jsd"] == pytest.approx(np.median(1 - np.array(jsd) / flat), rel=1e-5)
        assert set(result["profile"]) == {"model", "mean_profile", "other_locus", "shuffled", "replicate"}
        assert abs(result["profile"]["shuffled"]["pearson"]) < 0.1
        assert result["profile"]["replicate"]["pearson"] > 0.4
        assert result["counts"]["replicate"]["pearson"] > 0.9
        assert result["counts"]["mean"]["pearson"] is None


def test_files_written_hold_the_scores(predictions: Path, tmp_path: Path) -> None:
    scores = score_bpnet(str(predictions), str(tmp_path / "s"), tasks=[1], title="a title")
    document = json.loads((tmp_path / "s.json").read_text())
    assert document["tasks"] == json.loads(json.dumps(scores.tasks))
    assert all(path.is_file() for path in scores.files)
    rows = (tmp_path / "s.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["task", "loci", "head", "measure", "source", "value"]
    loci = (tmp_path / "s.task_1.loci.tsv").read_text().splitlines()
    assert len(loci) == 31
    assert loci[0].startswith("chromosome\tcentre\tstrand\tobserved_log_count")


def test_loci_are_chosen_by_their_log_count(predictions: Path, tmp_path: Path) -> None:
    with h5py.File(predictions) as file:
        counts = file["lab_1"][:, 0]
    low, high = np.quantile(counts, [0.3, 0.9])
    scores = score_bpnet(
        str(predictions), str(tmp_path / "s"), tasks=[0], label_min_to_score=float(low), label_max_to_score=float(high)
    )
    assert scores.tasks[0]["n"] == ((counts >= low) & (counts <= high)).sum()


def test_perfect_predictions_score_perfectly(predictions: Path, tmp_path: Path) -> None:
    path = tmp_path / "perfect.predictions"
    path.write_bytes(predictions.read_bytes())
    with h5py.File(path, "r+") as file:
        file["pred_0"][:] = np.log(file["lab_0"][:] + 1e-6)
        file["pred_1"][:] = file["lab_1"][:]
    result = score_bpnet(str(path), str(tmp_path / "s")).tasks[0]
    assert result["counts"]["model"]["pearson"] == pytest.approx(1)
    assert result["profile"]["model"]["pearson"] == pytest.approx(1, abs=1e-3)
    assert result["profile"]["model"]["normalised_jsd"] > 0.98


def test_scoring_training_chromosomes_is_warned_of(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = predict_tdb(f"{trained}.keras", str(tmp_path / "p"), predict_chroms=["chr1", "chr3"]).path
    with caplog.at_level(logging.WARNING, "kerasgen"):
        score_bpnet(str(path), str(tmp_path / "s"))
    assert "scores there do not generalise" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": [2]}, "--tasks 2: the predictions have tasks 0 to 1"),
        ({"label_min_to_score": 99.0}, "task 0 has 0 loci within the bounds"),
        ({"replicates": ["rep1"]}, "expected two datasets"),
        ({"replicates": ["rep1", "nope"]}, "no dataset 'nope'"),
        ({"predictions": "/none"}, "/none: no such file"),
    ],
)
def test_bad_input_is_refused(predictions: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        score_bpnet(**{"predictions": str(predictions), "outf": str(tmp_path / "s"), **changes})


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(InputError, match="not a predictions file"):
        score_bpnet(str(tmp_path / "x"), str(tmp_path / "s"))
