"""Trainings on one and on two CPU devices, in a process of their own: devices cannot be added once a backend runs.

Arguments: a JSON file of ``[flags, ...]`` of trainings, one after another; a flag ``stop_after`` ends one after so many
batches, as a signal would.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class _AfterCalls(threading.Event):
    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def is_set(self) -> bool:
        self.calls -= 1
        return self.calls < 0


def main() -> None:
    if os.environ["KERAS_BACKEND"] == "jax":
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    else:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

    from db_ingest.errors import RunError
    from kerasgen import fitting
    from kerasgen.training import train

    listen = fitting._stop_signal
    for flags in json.loads(Path(sys.argv[1]).read_text()):
        batches = flags.pop("stop_after", None)

        @contextmanager
        def stop_signal(batches: int = batches) -> Iterator[threading.Event]:
            yield _AfterCalls(batches - 1)

        fitting._stop_signal = listen if batches is None else stop_signal
        if batches is None:
            train(**flags)
        else:
            with pytest.raises(RunError, match="stopped in epoch"):
                train(**flags)


if __name__ == "__main__":
    main()
