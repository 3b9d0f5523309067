"""From batches to the training loop: made ahead by threads, in order, and placed on the devices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any

import keras
import numpy as np

from db_ingest.ahead import LookAhead

_PLACED = 2
"""Batches placed on the devices: the one in use and the next; more would take memory from the model."""


class Prefetcher(keras.utils.PyDataset):
    """Batches of a ``PyDataset``, made ahead of their use by its ``workers`` threads, ``max_queue_size`` at most.

    It takes the place of Keras' own queue, which loses its order where an epoch is begun, given up and begun again, as
    Keras does to learn shapes: on JAX, the first epoch of a process then repeats some batches and leaves out others.

    Args:
        batches: ``batches[i]`` is ``(inputs, outputs)`` or ``(inputs, outputs, weights)``, new arrays; from any thread.
        place: puts a batch on the devices, one ahead of its use; called by a thread of its own.
        size: fill up a batch of fewer samples to so many, with samples that have no label (NaN), weight 0 and thus no
            loss. Then all batches have one shape, and devices share each equally.

    Attributes:
        error: what a batch raised; TensorFlow passes on only its text.
    """

    def __init__(
        self, batches: keras.utils.PyDataset, *, place: Callable[[Any], Any] | None = None, size: int = 0
    ) -> None:
        # One worker: Keras then asks for the batches itself, one by one.
        super().__init__(workers=1, use_multiprocessing=False)
        self.batches = batches
        self.error: BaseException | None = None
        self._size = size
        self._samples: dict[int, tuple[int, int]] = {}
        count, depth, threads = len(batches), max(batches.max_queue_size, 1), max(batches.workers, 1)
        self._placed: LookAhead[Any] | None = None
        if place is not None:
            # The batch that is being placed is one of those in the queue.
            depth = max(depth - 1, 1)
            self._placed = LookAhead(lambda index: place(self._made.take(index)), count, depth=_PLACED, name="batches")
        self._made = LookAhead(self._make, count, depth=depth, threads=threads, name="batches")

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        """The batch, and the making of those that follow is begun."""
        return (self._placed or self._made).take(index)

    def begin(self) -> None:
        """Begin to make the first batches, before the first is asked for."""
        (self._placed or self._made).begin()

    def peek(self) -> Any:
        """The first batch, not placed, which remains to be had; not to be written to."""
        return self._made.see(0)

    def close(self) -> None:
        """End the threads; what they are making is thrown away."""
        # First those that the placing thread may wait for.
        self._made.close()
        if self._placed is not None:
            self._placed.close()
        if hasattr(self.batches, "close"):
            self.batches.close()

    @property
    def filling(self) -> float:
        """Samples so far, with those filled up, for each one without: what a mean loss must be multiplied by."""
        real, all_of_them = (sum(counts) for counts in zip(*self._samples.values(), strict=True))
        return all_of_them / real

    def _make(self, index: int) -> Any:
        try:
            batch = self.batches[index]
            samples = len(keras.tree.flatten(batch)[0])
            if samples < self._size:
                batch = _fill_up(batch, self._size - samples)
            self._samples[index] = samples, max(samples, self._size)
            return batch
        except BaseException as error:
            self.error = error
            raise


def _fill_up(batch: Any, more: int) -> Any:
    def repeat(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array, np.repeat(array[-1:], more, axis=0)])

    def extend(value: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda array: np.concatenate([array, np.full((more, *array.shape[1:]), value, array.dtype)])

    ways = (repeat, extend(np.nan), extend(0))
    return tuple(keras.tree.map_structure(way, part) for way, part in zip(ways, batch, strict=False))


def as_tf_dataset(batches: keras.utils.PyDataset, *, signature: Any = None, prefetch: int = 2) -> Any:
    """The batches of a ``PyDataset`` as a ``tf.data.Dataset`` of known length and shapes.

    Args:
        batches: the batches of one epoch; they are made by its ``workers`` threads, ``max_queue_size`` ahead.
        signature: the ``element_spec`` of another such dataset, where the first batch is not to be waited for.
        prefetch: batches kept ready as tensors.

    Example:
        >>> model.fit(kerasgen.as_tf_dataset(generator))                                        # doctest: +SKIP
    """
    import tensorflow as tf

    given = batches if isinstance(batches, Prefetcher) else None

    def epoch() -> Iterator[Any]:
        # Threads of our own end with the epoch.
        with Prefetcher(batches) if given is None else contextlib.nullcontext(given) as prefetcher:
            for index in range(len(prefetcher)):
                try:
                    yield prefetcher[index]
                except CancelledError:
                    return

    if signature is None:
        first = batches[0] if given is None else given.peek()
        signature = keras.tree.map_structure(lambda a: tf.TensorSpec((None, *a.shape[1:]), a.dtype), first)
    dataset = tf.data.Dataset.from_generator(epoch, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(prefetch)
    # There is nothing to tune, and its thread holds up the end of an epoch, asleep for as long as the epoch took.
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
