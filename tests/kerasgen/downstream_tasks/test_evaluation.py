"""Measures and their intervals, compared with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from kerasgen.downstream_tasks.evaluation import draw_weights, scores
from kerasgen.downstream_tasks.folds import Folding


def folding(n: int, folds: int, blocks: int) -> Folding:
    block = np.arange(n) * blocks // n
    fold = block * folds // blocks
    return Folding(fold, "block", block, 0, (np.arange(n), np.arange(n) + 1))


def expanded(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.repeat(rows, weights)


@pytest.mark.parametrize("ties", [False, True])
def test_classification_equals_scikit_learn_on_the_drawn_elements(ties: bool) -> None:
    rng = np.random.default_rng(0)
    n, parts = 600, folding(600, 3, 30)
    labels = (rng.random(n) < 0.2).astype(float)
    predicted = labels + rng.normal(0, 1, n)
    predicted = np.round(predicted, 0 if ties else 12)
    weights = draw_weights(parts, 20, 1)
    found = scores(labels, predicted, parts, task="classification", weights=weights)
    functions = {"AP": sk.average_precision_score, "auROC": sk.roc_auc_score}
    for name, function in functions.items():
        of_folds = [function(labels[parts.fold == f], predicted[parts.fold == f]) for f in range(3)]
        np.testing.assert_allclose(found[name].folds, of_folds)
        np.testing.assert_allclose(found[name].value, np.mean(of_folds))
        for draw in range(20):
            values = []
            for f in range(3):
                rows = expanded(np.arange(n), weights[draw, parts.block] * (parts.fold == f))
                values.append(function(labels[rows], predicted[rows]))
            np.testing.assert_allclose(found[name].draws[draw], np.mean(values))


def test_regression_equals_scikit_learn_on_the_drawn_elements() -> None:
    rng = np.random.default_rng(0)
    n, parts = 600, folding(600, 3, 30)
    labels = rng.normal(5, 2, n)
    predicted = labels + rng.normal(0, 1, n)
    weights = draw_weights(parts, 20, 1)
    found = scores(labels, predicted, parts, task="regression", weights=weights)
    np.testing.assert_allclose(found["R2"].value, sk.r2_score(labels, predicted))
    for draw in range(20):
        rows = expanded(np.arange(n), weights[draw, parts.block])
        np.testing.assert_allclose(found["R2"].draws[draw], sk.r2_score(labels[rows], predicted[rows]))
        values = []
        for f in range(3):
            rows = expanded(np.arange(n), weights[draw, parts.block] * (parts.fold == f))
            values.append(np.corrcoef(labels[rows], predicted[rows])[0, 1])
        np.testing.assert_allclose(found["Pearson"].draws[draw], np.mean(values))


def test_a_constant_has_the_base_rate_and_no_correlation() -> None:
    parts = folding(90, 3, 9)
    labels = (np.arange(90) % 3 == 0).astype(float)
    # Another constant in each fold: were folds thrown together, it would seem to rank.
    predicted = 1.0 - parts.fold
    weights = draw_weights(parts, 10, 1)
    found = scores(labels, predicted, parts, task="classification", weights=weights)
    np.testing.assert_allclose([found["AP"].value, found["auROC"].value], [1 / 3, 0.5])
    assert np.isnan(scores(labels, predicted, parts, task="regression", weights=weights)["Pearson"].value)


def test_each_draw_has_as_many_blocks_of_a_fold_as_there_are() -> None:
    parts = folding(100, 4, 20)
    weights = draw_weights(parts, 50, 3)
    for fold in range(4):
        blocks = np.unique(parts.block[parts.fold == fold])
        assert (weights[:, blocks].sum(axis=1) == len(blocks)).all()
    assert weights.std() > 0
