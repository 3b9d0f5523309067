"""Batches on their way to the training loop."""

from __future__ import annotations

import threading
import time

import keras
import numpy as np
import pytest

from db_ingest.errors import RunError
from kerasgen.loader.prefetch import Prefetcher, as_tf_dataset


class Numbers(keras.utils.PyDataset):
    """24 batches of 2 samples of their own number; the last of 1."""

    def __init__(self, *, fails_at: int | None = None, weights: bool = False) -> None:
        super().__init__(workers=4, max_queue_size=10)
        self.fails_at, self.weights = fails_at, weights
        self.made: list[int] = []

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple:
        if index == self.fails_at:
            raise RunError("no replacement within the bounds")
        # Later batches are sooner done.
        time.sleep(0.001 * (3 - index % 4))
        self.made.append(index)
        size = 1 if index == 23 else 2
        batch = (
            np.full((size, 1), index, np.float32),
            (np.full((size, 1), index, np.float32), np.ones(size, np.float64)),
        )
        return (*batch, np.ones(size, np.float32)) if self.weights else batch


class Seen(keras.callbacks.Callback):
    """Notes the mean label of each batch, from the running mean of a loss that is the label."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: list[int] = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        assert logs is not None
        self.labels.append(round(logs["loss"] * (len(self.labels) + 1) - sum(self.labels)))


def zero_model() -> keras.Model:
    x = keras.Input((1,))
    model = keras.Model(x, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(x))
    model.compile(keras.optimizers.SGD(0.0), loss="mae")
    return model


class FirstLabel(Numbers):
    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> tuple:
        inputs, labels = super().__getitem__(index)
        return inputs, labels[0]


@pytest.mark.backend
def test_an_epoch_is_trained_on_in_order_from_the_first_on() -> None:
    model, seen = zero_model(), Seen()
    for _ in range(2):
        with Prefetcher(FirstLabel()) as feed:
            seen.labels.clear()
            data = as_tf_dataset(feed) if keras.backend.backend() == "tensorflow" else feed
            model.fit(data, shuffle=False, verbose=0, callbacks=[seen])
        assert seen.labels == list(range(23))


def test_batches_come_in_order_also_when_begun_again() -> None:
    with Prefetcher(Numbers()) as feed:
        assert [feed[i][0][0, 0] for i in (0, 1, 0, 0, 1, 2, 20, 3, 4)] == [0, 1, 0, 0, 1, 2, 20, 3, 4]


def test_no_more_than_the_queue_is_made_ahead_and_nothing_after_the_end() -> None:
    batches = Numbers()
    with Prefetcher(batches) as feed:
        feed[0]
        time.sleep(0.2)
        assert max(batches.made) <= 9
    made = len(batches.made)
    time.sleep(0.05)
    assert len(batches.made) == made
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.backend
def test_what_a_batch_raises_is_kept_for_the_caller() -> None:
    with Prefetcher(FirstLabel(fails_at=7)) as feed:
        data = as_tf_dataset(feed) if keras.backend.backend() == "tensorflow" else feed
        with pytest.raises(Exception, match="no replacement within the bounds"):
            zero_model().fit(data, shuffle=False, verbose=0)
        assert isinstance(feed.error, RunError)


def test_a_short_batch_is_filled_up_with_samples_without_labels() -> None:
    batches = Numbers(weights=True)
    with Prefetcher(batches, size=2) as feed:
        whole = [feed[i] for i in range(24)]
        assert {len(array) for batch in whole for array in keras.tree.flatten(batch)} == {2}
        inputs, (labels, _), weights = whole[-1]
        np.testing.assert_array_equal(inputs, [[23], [23]])
        np.testing.assert_array_equal(labels, [[23], [np.nan]])
        np.testing.assert_array_equal(weights, [1, 0])
        assert feed.filling == 48 / 47


def test_a_dataset_of_tensorflow_holds_the_same_batches() -> None:
    batches = Numbers(weights=True)
    dataset = as_tf_dataset(batches)
    assert int(dataset.cardinality()) == 24
    assert dataset.options().autotune.enabled is False
    inputs, (labels, counts), weights = dataset.element_spec
    assert [tuple(s.shape) for s in (inputs, labels, counts, weights)] == [(None, 1), (None, 1), (None,), (None,)]
    assert counts.dtype.name == "float64"
    for index, batch in enumerate(dataset):
        for got, wanted in zip(keras.tree.flatten(batch), keras.tree.flatten(batches[index]), strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert as_tf_dataset(batches, signature=dataset.element_spec).element_spec == dataset.element_spec
