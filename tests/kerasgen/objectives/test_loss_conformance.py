"""What every loss of the heads' table must do, against SciPy and scikit-learn, on the backend in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import multinomial, nbinom, poisson
from sklearn.metrics import log_loss, mean_squared_error

from db_ingest.errors import InputError
from kerasgen.objectives import heads

pytestmark = pytest.mark.backend

Terms = Callable[[np.ndarray, np.ndarray], np.ndarray]


def multinomial_terms(counts: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Per sample and channel, the coefficient left out."""
    result = np.zeros((len(counts), counts.shape[2]))
    for i, t in np.ndindex(result.shape):
        share = np.exp(outputs[i, :, t] - outputs[i, :, t].max())
        k = counts[i, :, t]
        coefficient = gammaln(k.sum() + 1) - gammaln(k + 1).sum()
        result[i, t] = coefficient - multinomial.logpmf(k, k.sum(), share / share.sum())
    return result


def poisson_terms(counts: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return -poisson.logpmf(counts, np.exp(outputs)) - gammaln(counts + 1)


def negative_binomial_terms(dispersion: float) -> Terms:
    def terms(counts: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        size, mean = 1 / dispersion, np.exp(outputs)
        found = -nbinom.logpmf(counts, size, size / (size + mean))
        of_labels_alone = gammaln(counts + size) - gammaln(size) - gammaln(counts + 1) + counts * np.log(dispersion)
        return found + of_labels_alone

    return terms


def poisson_multinomial_terms(total_weight: float) -> Terms:
    def terms(counts: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        total = poisson_terms(counts.sum(axis=1), np.log(np.exp(outputs).sum(axis=1)))
        return (total_weight * total + multinomial_terms(counts, outputs)) / counts.shape[1]

    return terms


def crossentropy_terms(labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda y, z: log_loss([y], [1 / (1 + np.exp(-z))], labels=[0, 1]))(labels, outputs)


def square_terms(labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda y, p: mean_squared_error([y], [p]))(labels, outputs)


class Case(NamedTuple):
    """How to try a loss.

    Args:
        word: of ``--loss``.
        terms: what is masked as one, in double precision: ``(batch, channels)`` where a channel is, else one per label.
        shapes: of one sample.
        most: the labels are counts with a mean of this; 1: they are 0 or 1.
        sums: terms are summed over channels; else their mean is taken.
    """

    word: str
    terms: Terms
    shapes: tuple[tuple[int, ...], ...] = ((3,), (7, 3), (1, 1))
    most: float = 20.0
    sums: bool = False

    def data(self, shape: tuple[int, ...], batch: int = 5) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(3)
        if self.most == 1:
            labels = rng.integers(0, 2, (batch, *shape))
        else:
            labels = rng.poisson(self.most * rng.random((batch, *shape)))
        return labels.astype(np.float32), rng.normal(1, 1, (batch, *shape)).astype(np.float32)

    def expected(self, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Loss of each sample, from the labels that are known."""
        found = self.terms(np.nan_to_num(labels).astype(np.float64), outputs.astype(np.float64))
        known = ~np.isnan(labels) if found.shape == labels.shape else ~np.isnan(labels).any(axis=1)
        axes = tuple(range(1, found.ndim))
        total = np.where(known, found, 0).sum(axis=axes)
        return total if self.sums else total / np.maximum(known.sum(axis=axes), 1)


POSITIONS = ((7, 3), (1, 1), (40, 1))
CASES = [
    Case("multinomial_nll", multinomial_terms, POSITIONS, sums=True),
    Case("mse", square_terms),
    Case("poisson_nll", poisson_terms),
    Case("negative_binomial_nll", negative_binomial_terms(0.25)),
    Case("negative_binomial_nll=1.5", negative_binomial_terms(1.5)),
    Case("poisson_multinomial_nll", poisson_multinomial_terms(0.2), POSITIONS),
    Case("poisson_multinomial_nll=1", poisson_multinomial_terms(1.0), POSITIONS),
    Case("binary_crossentropy", crossentropy_terms, most=1),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.word)


def make(case: Case, **changes: Any) -> keras.losses.Loss:
    return heads.make_loss(*heads.read_loss(case.word), **changes)


def per_sample(case: Case, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(make(case, reduction=None)(labels, outputs))


def gradient(loss: keras.losses.Loss, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda z: loss(labels, z))(outputs))
    import tensorflow as tf

    z = tf.convert_to_tensor(outputs)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = loss(labels, z)
    return tape.gradient(value, z).numpy()


def test_every_loss_has_a_case() -> None:
    assert {case.word.partition("=")[0] for case in CASES} == set(heads.LOSSES)


@every_case
def test_loss_equals_the_reference(case: Case) -> None:
    for shape in case.shapes:
        labels, outputs = case.data(shape)
        np.testing.assert_allclose(per_sample(case, labels, outputs), case.expected(labels, outputs), rtol=2e-5)
        mean = float(make(case)(labels, outputs))
        assert mean == pytest.approx(case.expected(labels, outputs).mean(), rel=2e-5)


@every_case
def test_gradient_is_that_of_the_reference(case: Case) -> None:
    labels, outputs = case.data(case.shapes[0])
    found = gradient(make(case), labels, outputs)
    step = 1e-4
    for place in list(np.ndindex(outputs.shape))[::4]:
        ends = []
        for sign in (1, -1):
            moved = outputs.astype(np.float64)
            moved[place] += sign * step
            ends.append(case.expected(labels, moved).mean())
        slope = (ends[0] - ends[1]) / (2 * step)
        assert found[place] == pytest.approx(slope, rel=1e-3, abs=1e-4)


@every_case
def test_unknown_labels_add_nothing(case: Case) -> None:
    for shape in case.shapes:
        labels, outputs = case.data(shape)
        labels[np.random.default_rng(1).random(labels.shape) < 0.3] = np.nan
        labels[0] = np.nan
        np.testing.assert_allclose(per_sample(case, labels, outputs), case.expected(labels, outputs), rtol=2e-5)
        slopes = gradient(make(case), labels, outputs)
        assert np.isfinite(slopes).all()
        assert not slopes[np.isnan(labels)].any()


@every_case
def test_a_batch_without_labels_has_no_loss_and_a_gradient_of_zero(case: Case) -> None:
    for shape in case.shapes:
        labels, outputs = case.data(shape)
        labels[:] = np.nan
        # Not even where the outputs are far too large.
        for scale in (1, 1e4):
            assert float(make(case)(labels, outputs * scale)) == 0
            np.testing.assert_array_equal(gradient(make(case), labels, outputs * scale), 0)


@every_case
def test_labels_of_zero_are_labels(case: Case) -> None:
    for shape in case.shapes:
        labels, outputs = case.data(shape)
        labels[:] = 0
        np.testing.assert_allclose(
            per_sample(case, labels, outputs), case.expected(labels, outputs), rtol=2e-5, atol=1e-6
        )
        assert np.isfinite(gradient(make(case), labels, outputs)).all()


@every_case
def test_large_outputs_have_a_finite_loss_and_gradient(case: Case) -> None:
    labels, outputs = case.data(case.shapes[0])
    for size in (-60, 60):
        large = np.full_like(outputs, size)
        assert np.isfinite(float(make(case)(labels, large)))
        assert np.isfinite(gradient(make(case), labels, large)).all()


@every_case
def test_a_sample_has_the_same_loss_in_any_batch(case: Case) -> None:
    labels, outputs = case.data(case.shapes[0], batch=9)
    labels[2, ..., 0] = np.nan
    whole, order = per_sample(case, labels, outputs), np.random.default_rng(0).permutation(9)
    np.testing.assert_allclose(per_sample(case, labels[order], outputs[order]), whole[order], rtol=1e-6)
    np.testing.assert_allclose(per_sample(case, labels[4:5], outputs[4:5]), whole[4:5], rtol=1e-6)


@every_case
def test_single_precision_is_enough_for_deep_sequencing(case: Case) -> None:
    deep = case._replace(most=case.most if case.most == 1 else 1e5)
    labels, outputs = deep.data(case.shapes[0])
    outputs += 0 if case.most == 1 else 9
    np.testing.assert_allclose(per_sample(deep, labels, outputs), deep.expected(labels, outputs), rtol=1e-4)


@every_case
def test_loss_survives_saving(case: Case) -> None:
    loss = make(case)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


def test_registered_names_are_those_of_saved_files() -> None:
    heads.register_losses()
    for name in ("MultinomialNLL", "MaskedMSE"):
        assert keras.saving.get_registered_object(f"kerasgen>{name}").__name__ == name


def test_ambiguous_labels_of_kerasac_are_left_out() -> None:
    case = CASES[-1]
    labels, outputs = case.data((3,))
    labels[1, 2] = -1
    unknown = np.where(labels < 0, np.nan, labels)
    np.testing.assert_allclose(per_sample(case, labels, outputs), case.expected(unknown, outputs), rtol=2e-5)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("huber", "--loss huber: unknown; expected None or one of multinomial_nll, mse"),
        ("negative_binomial_nll=0", "expected a number above 0"),
        ("negative_binomial_nll=much", "expected a number above 0"),
        ("mse=2", "with one of negative_binomial_nll .dispersion."),
    ],
)
def test_words_that_name_no_loss_are_refused(word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        heads.read_loss(word)
