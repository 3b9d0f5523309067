"""Models with heads of every kind, from the database to predictions, scores, bigWigs and attributions."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyBigWig
import pytest
from sklearn.metrics import mean_poisson_deviance, roc_auc_score

from db_ingest.errors import InputError
from kerasgen.bundle import open_bundle
from kerasgen.database import Database
from kerasgen.interpretation.explain_tdb import shap
from kerasgen.prediction.predict_tdb import predict_tdb
from kerasgen.reports.page import report
from kerasgen.scoring.profile_counts import score_bpnet
from kerasgen.training.loop import TrainingLoop
from kerasgen.training.train import train

PLUS, MINUS = "count_bigwig_plus_5p", "count_bigwig_minus_5p"
STRANDS = f"{PLUS},{MINUS}"
BIN = 20


@pytest.fixture(scope="module")
def flags(train_flags: dict) -> dict[str, Any]:
    """A profile, Poisson counts, counts per bin, and whether a window touches a peak."""
    return {
        **train_flags,
        "tdb_output_source_attribute": [STRANDS, STRANDS, STRANDS, "idr_peak"],
        "tdb_output_aggregation": [None, "sum", "sum", "binary_max"],
        "tdb_output_transformation": [None],
        "tdb_output_bin": [None, None, BIN, None],
        "loss": [None, "negative_binomial_nll=0.5", None, None],
        "upsample_ratio_list_train": [0.5],
        "upsample_ratio_list_eval": [0.5],
        "num_train": 400,
        "epochs": 6,
        "patience": 6,
        "learning_rate": 5e-3,
        "lr_schedule": "constant",
    }


@pytest.fixture(scope="module")
def trained_heads(flags: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("heads") / "model"
    train(model_prefix=str(prefix), **flags)
    return prefix


@pytest.fixture(scope="module")
def everywhere(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Peaks of chr3 and as many places between them."""
    path = tmp_path_factory.mktemp("regions") / "regions.bed"
    rows = [line.split("\t") for line in (simulated / "peaks.narrowPeak").read_text().splitlines()]
    middles = sorted((int(row[1]) + int(row[2])) // 2 for row in rows if row[0] == "chr3")
    between = [(a + b) // 2 for a, b in itertools.pairwise(middles) if b - a > 600]
    path.write_text("".join(f"chr3\t{m - 5}\t{m + 5}\n" for m in sorted(middles + between)))
    return str(path)


@pytest.fixture(scope="module")
def predicted_heads(trained_heads: Path, everywhere: str) -> Path:
    out = str(trained_heads.parent / "p")
    result = predict_tdb(
        f"{trained_heads}.keras", out, bed_regions=everywhere, bed_regions_center="center", bigwig_prefix=out
    )
    assert len(result.bigwigs) == 4
    return result.path


@pytest.mark.backend
def test_every_kind_of_head_has_its_labels_and_learns(
    predicted_heads: Path, trained_heads: Path, database: Database
) -> None:
    with h5py.File(predicted_heads) as file:
        coords = file["coords"][:].astype(str)
        labels = [file[f"lab_{i}"][:] for i in range(4)]
    centre = coords[:, 1].astype(int)
    tracks = [database.track(attribute, "pooled") for attribute in (PLUS, MINUS)]
    values = database.values(tracks, coords[:, 0], centre - 40, 80)
    peaks = database.values([database.track("idr_peak", "pooled")], coords[:, 0], centre - 40, 80)
    np.testing.assert_array_equal(labels[0], values)
    np.testing.assert_array_equal(labels[1], values.sum(axis=1))
    np.testing.assert_array_equal(labels[2], values.reshape(-1, 80 // BIN, BIN, 2).sum(axis=2))
    np.testing.assert_array_equal(labels[3], (peaks > 0).any(axis=1))
    history = open_bundle(trained_heads).config["history"]
    for name in ("profile", "logcount", "binned", "label"):
        assert history[-1][f"{name}_predictions_loss"] < history[0][f"{name}_predictions_loss"]


def test_a_bundle_keeps_the_heads(trained_heads: Path) -> None:
    found = open_bundle(trained_heads)
    assert [output.bin for output in found.spec.outputs] == [None, None, BIN, None]
    assert found.spec.outputs[1].loss == "negative_binomial_nll=0.5"
    assert found.config["loss_weights"] == [1.0, 1.0, 1.0, 1.0]
    assert found.load_model().output_names == [
        "profile_predictions", "logcount_predictions", "binned_predictions", "label_predictions",
    ]  # fmt: skip


def test_scores_and_the_report_hold_every_head(predicted_heads: Path, trained_heads: Path, tmp_path: Path) -> None:
    scores = score_bpnet(str(predicted_heads), str(tmp_path / "s"))
    first = scores.tasks[0]
    assert set(first) == {"task", "name", "n", "counts", "profile", "binned", "labels"}
    assert "labels" not in scores.tasks[1]
    with h5py.File(predicted_heads) as file:
        known, logits = file["lab_3"][:, 0], file["pred_3"][:, 0]
        counts, logarithm = file["lab_1"][:, 0], file["pred_1"][:, 0]
        bins, rates = file["lab_2"][..., 0], file["pred_2"][..., 0]
    assert first["labels"]["model"]["auroc"] == pytest.approx(roc_auc_score(known, logits))
    expected = np.corrcoef(np.log(counts + 1), np.log(np.exp(logarithm) + 1))[0, 1]
    assert first["counts"]["model"]["pearson"] == pytest.approx(expected, rel=1e-4)
    wanted = mean_poisson_deviance(bins.ravel(), np.exp(rates.ravel().astype(float)))
    assert first["binned"]["model"]["poisson_deviance"] == pytest.approx(wanted, rel=1e-4)
    assert any(row.split("\t")[2] == "labels" for row in (tmp_path / "s.tsv").read_text().splitlines())
    assert json.loads((tmp_path / "s.json").read_text())["tasks"]
    page = report(str(trained_heads), str(tmp_path / "r.html"), scores=str(tmp_path / "s.json"))
    assert "labels, area under the ROC curve" in page.path.read_text()


def test_bigwigs_share_out_the_counts_of_their_likelihood(predicted_heads: Path) -> None:
    with h5py.File(predicted_heads) as file:
        coords, logarithm = file["coords"][:].astype(str), file["pred_1"][:]
    centre = int(coords[0, 1])
    with pyBigWig.open(str(predicted_heads).replace(".predictions", ".task_0.predicted.bw")) as bigwig:
        found = bigwig.values("chr3", centre - 40, centre + 40, numpy=True)
    assert found.sum() == pytest.approx(np.exp(logarithm[0, 0]), rel=1e-3)


def test_bins_and_labels_can_be_explained(trained_heads: Path, everywhere: str, tmp_path: Path) -> None:
    for head in ("binned", "labels"):
        result = shap(
            f"{trained_heads}.keras", str(tmp_path / head), bed_regions=everywhere, head=head, num_refs_per_seq=3,
            max_regions=4,
        )  # fmt: skip
        assert set(result.completeness) == {head}
        assert result.completeness[head] <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": ["mse", None, None, None]}, "--loss mse: a profile output learns by multinomial_nll"),
        ({"loss": ["mse", None]}, "--loss: 2 values; expected 1 or 4"),
        ({"tdb_output_bin": [None, None, 30, None]}, "--tdb_output_bin 30: expected a divisor of the window, 80 bp"),
        ({"tdb_output_bin": [20, None, None, None]}, "--tdb_output_bin 20: expected --tdb_output_aggregation sum"),
        ({"tdb_output_transformation": [None, "log", None, None]}, "expected --tdb_output_transformation None"),
    ],
)
def test_losses_and_bins_that_make_no_sense_are_refused_before_anything_is_written(
    flags: dict, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(model_prefix=str(tmp_path / "model"), **{**flags, **changes})
    assert not list(tmp_path.iterdir())


def test_a_training_of_labels_from_before_losses_had_names_goes_on_by_squared_error(
    flags: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = str(tmp_path / "model")
    labels = {
        **flags,
        "tdb_output_source_attribute": ["idr_peak"],
        "tdb_output_aggregation": ["binary_max"],
        "tdb_output_bin": None,
        "num_train": 32,
    }
    with monkeypatch.context() as patched:
        # A training that writes its state and goes no further.
        patched.setattr(TrainingLoop, "run_epochs", TrainingLoop.save_state)
        train(model_prefix=prefix, **{**labels, "loss": ["mse"], "epochs": 1})
    path = Path(f"{prefix}.state") / "checkpoint.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    document = json.loads(arrays["text"].tobytes())
    del document["run"]["loss"]
    arrays["text"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"--resume: --loss was \['mse'\] when this training began and is now None"):
        train(model_prefix=prefix, resume=True, **{**labels, "loss": None, "epochs": 2})
    assert len(train(model_prefix=prefix, resume=True, **{**labels, "loss": ["mse"], "epochs": 2}).history) == 2
