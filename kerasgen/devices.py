"""What a model will run on."""

from __future__ import annotations

import logging
import os

import keras

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
