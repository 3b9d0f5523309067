"""Transformations, and the plain aggregations that kernels are compared with, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from plain_aggregations import PLAIN

from kerasgen.transforms import AGGREGATIONS, TRANSFORMATIONS, transform


@pytest.fixture
def values(rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(2.0, (5, 30, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("sum", np.sum), ("average", np.mean), ("max", np.max), ("binary_max", lambda v, axis: v.max(axis=axis) > 0)],
)
def test_aggregation_equals_numpy(values: np.ndarray, name: str, reference) -> None:
    values[0] = 0
    np.testing.assert_allclose(PLAIN[name](values), reference(values, axis=1), rtol=1e-6)


@pytest.mark.parametrize(("name", "reference"), [("sum", np.nansum), ("average", np.nanmean), ("max", np.nanmax)])
def test_aggregation_leaves_out_positions_without_a_value(values: np.ndarray, name: str, reference) -> None:
    values[1, :7] = np.nan
    np.testing.assert_allclose(PLAIN[name](values), reference(values, axis=1), rtol=1e-6)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_a_window_without_any_value_stays_unknown(values: np.ndarray, name: str) -> None:
    values[2, :, 1] = np.nan
    result = PLAIN[name](values)
    assert np.isnan(result[2, 1])
    assert np.isnan(result).sum() == 1


def test_transformations_add_the_pseudocount_before_a_logarithm(values: np.ndarray) -> None:
    np.testing.assert_allclose(transform(values, "log", 0.5), np.log(values + 0.5), rtol=1e-6)
    np.testing.assert_allclose(transform(values, "log10", 2.0), np.log10(values + 2.0), rtol=1e-6)
    np.testing.assert_allclose(transform(values, "asinh", 1.0), np.arcsinh(values), rtol=1e-6)
    np.testing.assert_allclose(transform(PLAIN["sum"](values), "log", 1.0), np.log(values.sum(axis=1) + 1.0), rtol=1e-6)


def test_counts_to_logit_is_the_log_odds_of_each_share(values: np.ndarray) -> None:
    result = transform(values, "counts_to_logit", 1e-6)
    share = values / values.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(1 / (1 + np.exp(-result)), share, atol=1e-5)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_results_are_float32(values: np.ndarray, name: str) -> None:
    assert transform(values, name, 1.0).dtype == np.float32
