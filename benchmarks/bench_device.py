"""Ways of bringing batches to a BPNet in training: sequence as base codes or one-hot, our feed or Keras' own queue.

Usage: [KERAS_BACKEND=jax] bench_device.py [FILTERS [LAYERS [BATCH [STEPS [bfloat16]]]]]
Prints the time of a step, the CPU time of all threads in it, and the share of it waited for the batch: best and median
of rounds in which the ways take turns. Batches are gathered from memory by two threads, as training does it. The limit
is one batch, already made, over and over.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import architectures
from kerasgen.loader.prefetch import Prefetcher, as_tf_dataset
from kerasgen.objectives.masked import MaskedMSE
from kerasgen.objectives.profile import MultinomialNLL
from kerasgen.sequence import one_hot
from kerasgen.training import devices
from kerasgen.training.timed_model import TimedModel, on_device

BASES, LENGTH, OUT, ROUNDS = 20_000_000, 2114, 1000, 5
BPNET = architectures.get("bpnet")


class Gathered(keras.utils.PyDataset):
    """Batches of random windows of a random genome with counts."""

    def __init__(self, batch: int, steps: int, *, codes: bool, fixed: bool = False) -> None:
        super().__init__(workers=2, max_queue_size=10)
        rng = np.random.default_rng(0)
        self.genome = rng.integers(0, 5, BASES).astype(np.uint8)
        self.counts = rng.poisson(0.1, BASES).astype(np.float32)
        self.batch, self.steps, self.codes, self.fixed = batch, steps, codes, fixed
        self.kept = self.make(0) if fixed else None

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple:
        return self.kept or self.make(index)

    def make(self, index: int) -> tuple:
        """Gather a batch."""
        starts = np.random.default_rng(index).integers(0, BASES - LENGTH, self.batch)[:, None]
        codes = self.genome[starts + np.arange(LENGTH)]
        profile = np.stack([self.counts[starts + 557 + np.arange(OUT)]] * 2, axis=2)
        return codes if self.codes else one_hot(codes), (profile, np.log1p(profile.sum(axis=1)))


def trained(filters: int, dilated: int, *, codes: bool, precision: str = "float32") -> TimedModel:
    with devices.precision(precision):
        model = BPNET.build(BPNET.Config(filters=filters, n_dil_layers=dilated))
        result = on_device(model, [codes], model.output_names)
    result.compile("adam", loss=[MultinomialNLL(), MaskedMSE()], loss_weights=[1, 10])
    return result


class Clock(keras.callbacks.Callback):
    """Takes the time from the second step on."""

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Start."""
        if batch == 1:
            self.began, self.cpu, self.waited = time.perf_counter(), time.process_time(), self.model.waited

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Stop."""
        self.ended, self.cpu_ended = time.perf_counter(), time.process_time()


def round_of(model: TimedModel, batches: Gathered, feed: bool) -> tuple[float, float, float]:
    clock = Clock()
    data = Prefetcher(batches, place=devices.placing()) if feed else batches
    shown = as_tf_dataset(data) if feed and keras.backend.backend() == "tensorflow" else data
    model.fit(shown, shuffle=False, verbose=0, callbacks=[clock])
    if feed:
        data.close()
    seconds = clock.ended - clock.began
    steps = len(batches) - 1
    return 1e3 * seconds / steps, 1e3 * (clock.cpu_ended - clock.cpu) / steps, (model.waited - clock.waited) / seconds


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "bfloat16"]
    given = [int(word) for word in words]
    filters, dilated, batch, steps = (given + [64, 8, 64, 20][len(given) :])[:4]
    ways = {
        "one-hot, Keras' queue": (False, False, "float32", False),
        "one-hot, our feed": (False, True, "float32", False),
        "codes, Keras' queue": (True, False, "float32", False),
        "codes, our feed": (True, True, "float32", False),
        "codes, our feed, bfloat16": (True, True, "bfloat16", False),
        "limit: one batch, ready": (True, True, "float32", True),
    }
    if "bfloat16" not in sys.argv:
        del ways["codes, our feed, bfloat16"]
    runs = {}
    for name, (codes, feed, precision, fixed) in ways.items():
        model = trained(filters, dilated, codes=codes, precision=precision)
        batches = Gathered(batch, steps, codes=codes, fixed=fixed)
        round_of(model, Gathered(batch, 3, codes=codes, fixed=fixed), feed)
        runs[name] = (model, batches, feed, [])
    for _ in range(ROUNDS):
        for model, batches, feed, times in runs.values():
            times.append(round_of(model, batches, feed))
    found = ", ".join(devices.accelerators()) or f"{os.cpu_count()} CPU cores"
    print(
        f"{keras.backend.backend()} on {found}; BPNet of {filters} filters and {dilated} dilated layers, "
        f"batches of {batch}"
    )
    print(
        "| way | ms a step, best | median | CPU ms, best | median | waiting, best | median |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name, (*_, times) in runs.items():
        steps_ms, cpu_ms, waits = zip(*times, strict=True)
        print(
            f"| {name} | {min(steps_ms):.1f} | {statistics.median(steps_ms):.1f} "
            f"| {min(cpu_ms):.1f} | {statistics.median(cpu_ms):.1f} "
            f"| {min(waits):.1%} | {statistics.median(waits):.1%} |"
        )
    codes, took = runs["codes, our feed"][1].make(0)[0], []
    for _ in range(50):
        began = time.perf_counter()
        one_hot(codes)
        took.append(1e3 * (time.perf_counter() - began))
    print(f"\nencoding a batch on the host: {statistics.median(took):.2f} ms")


if __name__ == "__main__":
    main()
