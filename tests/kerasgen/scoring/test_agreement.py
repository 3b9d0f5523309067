"""Scores over all labels of a head as one vector."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss, mean_poisson_deviance, roc_auc_score

from kerasgen.objectives import heads
from kerasgen.scoring.agreement import head_scores
from kerasgen.spec import Channels

COUNTS = Channels(("a",), ("d",), 48, "sum", bin=32)
LOGARITHMS = Channels(("a",), ("d",), 48, "sum", "log", bin=32, loss="mse")
LABELS = Channels(("a",), ("d",), 48, "binary_max")


def test_one_confident_miss_is_a_number(rng: np.random.Generator) -> None:
    labels = np.repeat(np.float32([0, 1]), 500)
    logits = np.where(labels == 1, 6, -6).astype(np.float32)
    logits[0] = 18
    scores = head_scores(heads.of(LABELS), labels, logits, rng)
    assert scores["model"]["log_loss"] == pytest.approx(log_loss(labels, expit(logits.astype(float))), rel=1e-6)


def test_values_that_are_no_counts_have_no_deviance(rng: np.random.Generator) -> None:
    labels, outputs = rng.normal(size=(2, 20, 6))
    assert set(head_scores(heads.of(LOGARITHMS), labels, outputs, rng)["model"]) == {"pearson", "spearman", "mse"}


def test_replicates_stand_beside_the_model_where_both_are_known(rng: np.random.Generator) -> None:
    first, second = rng.poisson(3, (2, 20, 6)).astype(np.float32) + 1
    first[0], second[3, 2] = np.nan, np.nan
    scores = head_scores(heads.of(COUNTS), first, np.log(second), rng, (first, second))
    known = ~np.isnan(first) & ~np.isnan(second)
    wanted = mean_poisson_deviance(first[known], second[known])
    assert scores["replicate"]["poisson_deviance"] == pytest.approx(wanted, rel=1e-6)
    labels, other = (np.where(rng.random((2, 30)) < 0.1, -1, rng.integers(0, 2, (2, 30)))).astype(np.float32)
    both = (labels >= 0) & (other >= 0)
    found = head_scores(heads.of(LABELS), labels, other, rng, (labels, other))
    assert found["replicate"]["auroc"] == pytest.approx(roc_auc_score(labels[both], other[both]))
