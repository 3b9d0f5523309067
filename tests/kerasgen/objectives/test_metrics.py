"""Measures of agreement against scipy."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import multinomial, pearsonr, spearmanr

from kerasgen.objectives import metrics


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
