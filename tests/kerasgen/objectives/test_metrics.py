"""Measures of agreement against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import multinomial, pearsonr, spearmanr
from sklearn.metrics import (
    average_precision_score,
    log_loss,
    mean_poisson_deviance,
    mean_squared_error,
    roc_auc_score,
)

from kerasgen.objectives import heads, metrics


def test_correlations_equal_scipy(rng: np.random.Generator) -> None:
    a, b = rng.poisson(3, (2, 6, 80)).astype(np.float32)
    np.testing.assert_allclose(
        metrics.pearson(a, b), [pearsonr(x, y)[0] for x, y in zip(a.astype(float), b, strict=True)], rtol=1e-6
    )
    assert np.isclose(metrics.spearman(a[0], b[0]), spearmanr(a[0], b[0])[0])
    assert np.isnan(metrics.pearson(np.ones(5), np.arange(5)))


def test_jensen_shannon_equals_scipy(rng: np.random.Generator) -> None:
    p, q = rng.poisson(1, (2, 6, 40)).astype(np.float64)
    wanted = [jensenshannon(x, y) for x, y in zip(p, q, strict=True)]
    np.testing.assert_allclose(metrics.jensen_shannon(p, q), wanted, rtol=1e-6)
    assert np.isnan(metrics.jensen_shannon(np.zeros(4), np.ones(4)))
    assert metrics.jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0])) == np.sqrt(np.log(2))


def test_multinomial_nll_equals_scipy(rng: np.random.Generator) -> None:
    counts, logits = rng.poisson(2, (5, 30)), rng.normal(size=(5, 30))
    probabilities = softmax(logits, axis=-1)
    wanted = [-multinomial.logpmf(k, k.sum(), p) for k, p in zip(counts, probabilities, strict=True)]
    np.testing.assert_allclose(metrics.multinomial_nll(counts, logits), wanted, rtol=1e-8)


def test_every_measure_of_a_head_is_in_the_table_and_every_one_of_the_table_is_tried() -> None:
    assert {name for kind in heads.KINDS.values() for name in kind.metrics} <= set(metrics.METRICS)
    assert set(PERFECT) == set(metrics.METRICS)


def test_vectors_are_measured_as_scikit_learn_does(rng: np.random.Generator) -> None:
    counts, expected = rng.poisson(2, 50).astype(np.float32), rng.gamma(2, 1, 50)
    labels, probabilities = rng.integers(0, 2, 50), rng.random(50)
    for name, reference, pair in (
        ("mse", mean_squared_error, (counts, expected)),
        ("poisson_deviance", mean_poisson_deviance, (counts, expected)),
        ("auroc", roc_auc_score, (labels, probabilities)),
        ("auprc", average_precision_score, (labels, probabilities)),
        ("log_loss", log_loss, (labels, probabilities)),
        ("log_loss", log_loss, (labels, np.round(probabilities))),
    ):
        assert metrics.METRICS[name](*pair) == pytest.approx(reference(*pair), rel=1e-6)


PERFECT = {
    "pearson": 1, "spearman": 1, "mse": 0, "poisson_deviance": 0, "jsd": 0, "normalised_jsd": 1, "auroc": 1, "auprc": 1,
    "log_loss": 0, "mnll": -np.log(4 / 9),
}  # fmt: skip
"""Of the prediction that is right."""


@pytest.mark.parametrize("name", metrics.METRICS)
def test_a_measure_knows_a_perfect_prediction_and_the_order_of_samples_is_nothing_to_it(
    name: str, rng: np.random.Generator
) -> None:
    measure = metrics.METRICS[name]
    observed = np.array([0, 1, 0, 0, 1, 1, 0], np.float32) if PERFECT[name] in (0, 1) else np.array([1, 2.0])
    # A profile of 1 and 2 counts has these logits; the likelihood of the counts then is 3 * 1/3 * (2/3)^2.
    right = np.log(observed) if name == "mnll" else observed
    assert measure(observed, right) == pytest.approx(PERFECT[name], abs=1e-9)
    order = rng.permutation(len(observed))
    wrong = right + 0.3 * rng.random(len(observed))
    wrong = wrong / wrong.max() if name in ("log_loss",) else wrong
    assert measure(observed[order], wrong[order]) == pytest.approx(measure(observed, wrong), rel=1e-9)


def test_measures_of_labels_that_are_all_alike_are_not_numbers() -> None:
    for name in ("auroc", "auprc"):
        assert np.isnan(metrics.METRICS[name](np.zeros(4), np.arange(4)))
