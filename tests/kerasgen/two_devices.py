"""What tests run on two CPU devices, in a process of its own: devices cannot be added once a backend runs.

It prints the samples that each device gets of an epoch of 3 batches of 8. Then come the trainings of a JSON list of
flags, one after another; those with ``leaves`` leave a copy on their way, see :func:`interrupted.leaving`.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from interrupted import leaving


def add_device() -> None:
    if os.environ["KERAS_BACKEND"] == "jax":
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
        return
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def run_trainings(path: str) -> None:
    from kerasgen.training.train import train

    for flags in json.loads(Path(path).read_text()):
        leaves = flags.pop("leaves", None)
        with leaving(*leaves) if leaves else nullcontext():
            train(**flags)


def print_shards() -> None:
    import keras
    import numpy as np

    from kerasgen.loader.prefetch import Prefetcher, as_tf_dataset
    from kerasgen.training import devices

    class Numbers(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return np.arange(8) + 8 * index, np.zeros(8, np.float32)

    seen: list[list[int]] = [[], []]
    with devices.data_parallel(devices.choose(2)):
        feed = Prefetcher(Numbers(workers=2), place=devices.placing())
        if keras.backend.backend() == "jax":
            for inputs, _ in feed:
                for shard in inputs.addressable_shards:
                    seen[shard.device.id] += np.asarray(shard.data).tolist()
        else:
            import tensorflow as tf

            strategy = tf.distribute.get_strategy()
            for inputs, _ in strategy.experimental_distribute_dataset(as_tf_dataset(feed)):
                for device, part in enumerate(strategy.experimental_local_results(inputs)):
                    seen[device] += part.numpy().tolist()
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    add_device()
    print_shards()
    run_trainings(sys.argv[1])
