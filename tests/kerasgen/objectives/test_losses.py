"""Losses against scipy and NumPy, on the backend in use."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import multinomial

from kerasgen.objectives.masked import MaskedMSE
from kerasgen.objectives.profile import MultinomialNLL

pytestmark = pytest.mark.backend


@pytest.fixture
def profiles(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    counts = rng.poisson(1.5, (4, 50, 3)).astype(np.float32)
    return counts, rng.normal(size=(4, 50, 3)).astype(np.float32)


def reference(counts: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Per sample and task, without the coefficient, from scipy's multinomial."""
    result = np.zeros((len(counts), counts.shape[2]))
    for i in range(len(counts)):
        for t in range(counts.shape[2]):
            p = np.exp(logits[i, :, t].astype(np.float64))
            k = counts[i, :, t].astype(np.float64)
            coefficient = gammaln(k.sum() + 1) - gammaln(k + 1).sum()
            result[i, t] = coefficient - multinomial.logpmf(k, k.sum(), p / p.sum())
    return result


def test_multinomial_nll_equals_scipy(profiles) -> None:
    counts, logits = profiles
    wanted = reference(counts, logits).sum(axis=1).mean()
    assert float(MultinomialNLL()(counts, logits)) == pytest.approx(wanted, rel=1e-5)


def test_a_task_without_counts_or_with_unknown_ones_adds_nothing(profiles) -> None:
    counts, logits = profiles
    counts[0, :, 1] = 0
    counts[1, 4:9, 2] = np.nan
    per_task = reference(np.nan_to_num(counts), logits)
    per_task[1, 2] = per_task[0, 1] = 0
    found = keras.ops.convert_to_numpy(MultinomialNLL(reduction=None)(counts, logits))
    np.testing.assert_allclose(found, per_task.sum(axis=1), rtol=1e-5)


def test_masked_mse_is_over_the_labels_there_are(rng: np.random.Generator) -> None:
    label, predicted = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)
    assert float(MaskedMSE()(label, predicted)) == pytest.approx(((label - predicted) ** 2).mean(), rel=1e-5)
    label[0, 1] = label[2] = np.nan
    wanted = [np.nanmean((a - b) ** 2) if not np.isnan(a).all() else 0.0 for a, b in zip(label, predicted, strict=True)]
    found = keras.ops.convert_to_numpy(MaskedMSE(reduction=None)(label, predicted))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("loss", [MultinomialNLL(), MaskedMSE()])
def test_losses_are_registered(loss: keras.losses.Loss) -> None:
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
