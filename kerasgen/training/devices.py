"""What a model runs on: devices, how they share a batch, and in which precision they compute."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import keras

from db_ingest.errors import InputError

log = logging.getLogger("kerasgen")


def accelerators() -> list[str]:
    """Names of the GPUs and TPUs that the backend in use sees."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return [device.name for kind in ("GPU", "TPU") for device in tf.config.list_physical_devices(kind)]
    if keras.backend.backend() == "jax":
        import jax

        return [f"{device.device_kind} {device.id}" for device in jax.devices() if device.platform != "cpu"]
    return []


def report() -> None:
    """Log the backend and the devices; warn where only the CPU is there."""
    found = accelerators()
    backend = f"Keras {keras.__version__} on {keras.backend.backend()}"
    if found:
        log.info("%s, %d accelerator(s): %s", backend, len(found), ", ".join(found))
    else:
        log.warning("%s, no GPU found: running on %d CPU core(s)", backend, os.cpu_count() or 1)


def choose(number: int) -> list[str]:
    """The first so many devices, by their names on the backend: GPUs, or else CPU devices (there is mostly one).

    Raises:
        InputError: there are fewer.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found = [device.name for device in tf.config.list_logical_devices("GPU")]
        found = found or [device.name for device in tf.config.list_logical_devices("CPU")]
    else:
        found = list(keras.distribution.list_devices())
    if len(found) < number:
        gpus = len(accelerators())
        raise InputError(f"--num_gpus {number}: Keras on {keras.backend.backend()} sees {gpus} GPU(s)")
    return found[:number]


@contextmanager
def data_parallel(names: Sequence[str]) -> Iterator[None]:
    """Build, compile and train a model in here: each device takes an equal part of every batch. One device: as ever."""
    if len(names) == 1:
        scope: Any = nullcontext()
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        scope = tf.distribute.MirroredStrategy(list(names)).scope()
    else:
        scope = keras.distribution.DataParallel(devices=list(names)).scope()
    with scope:
        yield


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Build a model in here that computes in this precision; its weights are float32 in either."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def placing() -> Callable[[Any], Any] | None:
    """What puts a batch on the devices ahead of its use, from any thread; None on TensorFlow, where ``tf.data`` does.

    Call it where the model is built: Keras keeps its distribution by thread.
    """
    if keras.backend.backend() != "jax":
        return None
    import jax

    distribution = keras.distribution.distribution()

    def place(array: Any) -> Any:
        if distribution is None:
            return jax.device_put(array)
        return jax.device_put(array, distribution.get_data_layout(array.shape).backend_layout)

    return lambda batch: keras.tree.map_structure(place, batch)
