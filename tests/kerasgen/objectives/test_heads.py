"""What outputs are: kinds, losses and units by channels; and that each loss learns what an independent fit finds."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, softmax
from scipy.stats import nbinom, poisson
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.metrics import log_loss

from db_ingest.errors import InputError
from kerasgen.objectives import heads
from kerasgen.spec import Channels, DataSpec


def channels(
    aggregation: str | None = None, transformation: str | None = None, bin: int | None = None, loss: str | None = None
) -> Channels:
    return Channels(
        ("a", "b"), ("x", "x"), 64, aggregation=aggregation, transformation=transformation, bin=bin, loss=loss
    )


PROFILE, LOG_COUNTS = channels(), channels("sum", "log")
POISSON = channels("sum", loss="poisson_nll")


@pytest.mark.parametrize(
    ("output", "shape", "kind", "name", "loss"),
    [
        (PROFILE, (128, 2), "profile", "profile", "multinomial_nll"),
        (LOG_COUNTS, (2,), "counts", "counts", "mse"),
        (POISSON, (2,), "counts", "counts", "poisson_nll"),
        (channels("average"), (2,), "values", "counts", "mse"),
        (channels("sum", bin=32), (4, 2), "binned", "binned", "poisson_nll"),
        (channels("average", "asinh", bin=32, loss="mse"), (4, 2), "binned", "binned", "mse"),
        (channels("binary_max"), (2,), "labels", "labels", "binary_crossentropy"),
        (channels("binary_max", loss="mse"), (2,), "values", "counts", "mse"),
        (channels("binary_max", "log"), (2,), "values", "counts", "mse"),
        (channels("binary_max", bin=8), (16, 2), "labels", "labels", "binary_crossentropy"),
    ],
)
def test_what_an_output_is_follows_from_its_channels(
    output: Channels, shape: tuple, kind: str, name: str, loss: str
) -> None:
    head = heads.of(output)
    assert output.shape == shape
    assert (head.kind, head.name, head.loss) == (kind, name, loss)
    assert head.targets
    assert head.metrics


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (channels(loss="mse"), "--loss mse: a profile output learns by multinomial_nll"),
        (channels("sum", loss="binary_crossentropy"), "a counts output learns by mse or poisson_nll or negative_bin"),
        (channels("binary_max", loss="poisson_nll"), "a labels output learns by binary_crossentropy or mse"),
        (channels("sum", "log", loss="poisson_nll"), "--tdb_output_transformation None in place of log, or --loss mse"),
        (channels("sum", "log", bin=32), "--loss poisson_nll: it is a likelihood of counts themselves"),
        (channels("sum", loss="best"), "--loss best: unknown"),
    ],
)
def test_losses_that_do_not_fit_an_output_are_refused(output: Channels, message: str) -> None:
    with pytest.raises(InputError, match=message):
        heads.of(output)


def test_a_number_after_the_name_sets_the_loss() -> None:
    loss = heads.of(channels("sum", loss="negative_binomial_nll=0.5")).make_loss()
    assert loss.get_config()["dispersion"] == 0.5
    assert heads.of(channels("sum", loss="negative_binomial_nll")).make_loss().get_config()["dispersion"] == 0.25


def test_outputs_are_turned_into_what_the_labels_are_expected_to_be(rng: np.random.Generator) -> None:
    outputs = rng.normal(size=(3, 5, 2))
    np.testing.assert_allclose(heads.of(PROFILE).expected(outputs), softmax(outputs, axis=1))
    np.testing.assert_allclose(heads.of(POISSON).expected(outputs[:, 0]), np.exp(outputs[:, 0]))
    np.testing.assert_allclose(heads.of(channels("binary_max")).expected(outputs[:, 0]), expit(outputs[:, 0]))
    np.testing.assert_array_equal(heads.of(LOG_COUNTS).expected(outputs[:, 0]), outputs[:, 0])


def test_total_counts_are_in_counts_whatever_the_loss() -> None:
    counts = np.array([[0.0, 9.0]])
    np.testing.assert_allclose(heads.of(LOG_COUNTS).total_counts(np.log(counts + 1), 1.0), counts)
    np.testing.assert_allclose(heads.of(POISSON).total_counts(np.log(counts + 1e-9), 1.0), counts, atol=1e-8)
    with pytest.raises(ValueError, match="predicts no total counts"):
        heads.of(PROFILE).total_counts(counts, 1.0)
    assert heads.profile_with_counts([PROFILE, POISSON]) == (0, 1)
    assert heads.profile_with_counts([PROFILE, channels("sum")]) is None
    assert heads.profile_with_counts([LOG_COUNTS]) is None


def test_places_are_found_by_name() -> None:
    outputs = [PROFILE, LOG_COUNTS, channels("binary_max")]
    assert [heads.place_of(outputs, name) for name in heads.NAMES] == [1, 0, None, 2]


def test_outputs_of_one_head_have_names_of_their_own() -> None:
    outputs = [channels("binary_max"), PROFILE, channels("binary_max", bin=4), LOG_COUNTS, channels("binary_max")]
    names = heads.names_of(outputs)
    assert names == ["labels", "profile", "labels_1", "counts", "labels_2"]
    assert heads.in_order(["sequence", *names[::-1]]) == ["counts", "profile", "labels", "labels_1", "labels_2"]
    assert [heads.name_of_kind(name) for name in names] == [head.name for head in heads.all_of(outputs)]
    assert not {heads.name_of_kind(name) for name in ("values", "labels_0", "labels_", "labels_1_1", "n")} - {None}


def test_a_spec_written_before_there_were_losses_means_what_it_meant() -> None:
    spec = DataSpec((PROFILE,), (PROFILE, LOG_COUNTS, channels("binary_max")))
    document = spec.to_json()
    assert DataSpec.from_json(document) == spec
    for side in ("inputs", "outputs"):
        for item in document[side]:
            del item["bin"], item["loss"]
    assert [head.loss for head in heads.all_of(DataSpec.from_json(document).outputs)] == [
        "multinomial_nll",
        "mse",
        "mse",
    ]


def fit(loss: keras.losses.Loss, x: np.ndarray, y: np.ndarray, steps: int = 500) -> np.ndarray:
    """Weights and intercept of a linear model trained by a loss."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(y.shape[-1])])
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, steps)), loss=loss)
    for _ in range(steps):
        model.train_on_batch(x, y)
    kernel, bias = (keras.ops.convert_to_numpy(weight) for weight in model.weights)
    return np.append(kernel[:, 0], bias[0])


@pytest.fixture
def made(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features, and the logarithm of the expectation that they give."""
    x = rng.normal(size=(400, 3)).astype(np.float32)
    return x, x @ np.array([0.5, -0.3, 0.2]) + 1.2


def with_unknown(y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels as a column of which some are unknown, and which are known."""
    known = rng.random(len(y)) < 0.8
    return np.where(known, y, np.nan)[:, None].astype(np.float32), known


@pytest.mark.backend
def test_poisson_head_learns_what_scikit_learn_finds(made, rng: np.random.Generator) -> None:
    x, log_mean = made
    y, known = with_unknown(poisson.rvs(np.exp(log_mean), random_state=1), rng)
    found = fit(heads.of(POISSON).make_loss(), x, y)
    reference = PoissonRegressor(alpha=0, tol=1e-8, max_iter=1000).fit(x[known], y[known, 0])
    np.testing.assert_allclose(found, [*reference.coef_, reference.intercept_], atol=2e-3)
    learnt = poisson.logpmf(y[known, 0], np.exp(x[known] @ found[:3] + found[3])).mean()
    assert learnt > poisson.logpmf(y[known, 0], np.nanmean(y)).mean() + 0.2


@pytest.mark.backend
def test_negative_binomial_head_learns_what_scipys_likelihood_says(made, rng: np.random.Generator) -> None:
    x, log_mean = made
    size, mean = 1 / 0.5, np.exp(log_mean)
    y, known = with_unknown(nbinom.rvs(size, size / (size + mean), random_state=1), rng)
    found = fit(heads.of(channels("sum", loss="negative_binomial_nll=0.5")).make_loss(), x, y)

    def cost(weights: np.ndarray) -> float:
        expected = np.exp(x[known] @ weights[:3] + weights[3])
        return -nbinom.logpmf(y[known, 0], size, size / (size + expected)).mean()

    np.testing.assert_allclose(found, minimize(cost, np.zeros(4), tol=1e-9).x, atol=3e-3)


@pytest.mark.backend
@pytest.mark.parametrize("loss", ["poisson_nll", "poisson_multinomial_nll=1"])
def test_binned_head_learns_what_scikit_learn_finds(loss: str, made, rng: np.random.Generator) -> None:
    x, log_mean = made
    y = poisson.rvs(np.exp(log_mean), random_state=1).astype(np.float32)
    found = fit(heads.of(channels("sum", bin=32, loss=loss)).make_loss(), x.reshape(100, 4, 3), y.reshape(100, 4, 1))
    reference = PoissonRegressor(alpha=0, tol=1e-8, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(found, [*reference.coef_, reference.intercept_], atol=2e-3)


@pytest.mark.backend
def test_label_head_learns_what_scikit_learn_finds(made, rng: np.random.Generator) -> None:
    x, log_odds = made
    y, known = with_unknown((rng.random(len(x)) < expit(2 * log_odds - 2)).astype(float), rng)
    found = fit(heads.of(channels("binary_max")).make_loss(), x, y)
    reference = LogisticRegression(C=1e9, tol=1e-9, max_iter=1000).fit(x[known], y[known, 0])
    np.testing.assert_allclose(found, [*reference.coef_[0], reference.intercept_[0]], atol=5e-3)
    assert log_loss(y[known, 0], expit(x[known] @ found[:3] + found[3])) < 0.62


@pytest.mark.backend
def test_squared_error_learns_what_scikit_learn_finds(made, rng: np.random.Generator) -> None:
    x, value = made
    y, known = with_unknown(value + rng.normal(size=len(x)), rng)
    found = fit(heads.of(LOG_COUNTS).make_loss(), x, y)
    reference = LinearRegression().fit(x[known], y[known, 0])
    np.testing.assert_allclose(found, [*reference.coef_, reference.intercept_], atol=2e-3)


@pytest.mark.backend
def test_profile_head_learns_the_shares_of_the_positions(rng: np.random.Generator) -> None:
    counts = rng.poisson(5 * rng.random(6), (200, 6)).astype(np.float32)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(6), keras.layers.Reshape((6, 1))])
    model.compile(keras.optimizers.Adam(0.05), loss=heads.of(PROFILE).make_loss())
    for _ in range(400):
        model.train_on_batch(np.zeros((200, 1), np.float32), counts[..., None])
    shares = softmax(keras.ops.convert_to_numpy(model(np.zeros((1, 1), np.float32)))[0, :, 0])
    np.testing.assert_allclose(shares, counts.sum(axis=0) / counts.sum(), atol=1e-3)
