"""Avocado: seconds of a training step and of imputing, beside plain Keras and beside the bare matrix products.

Usage: bench_imputation.py [--steps N] [--rounds N] [--only demo|published|impute]

Training: ours with the published preset, and the scheme of avocado-epigenome in plain Keras 3 (``peers/
avocado_keras.py``), on the same made tracks, at the demo size and at the published one, taking turns; the best round
counts. The limit is the matrix products of a step alone, forward and backward, all in one compiled function on ready
arrays. Imputing: one track, and 20 tracks at once, beside the matrix products of one forward pass of one track as
written (first layer over all factors side by side).
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))
from peers import avocado_keras

from kerasgen import Avocado
from kerasgen.track_models.avocado.sampling import batches
from kerasgen.track_models.binned import BinnedTracks, from_arrays

POSITIONS = 1_126_469
CELLTYPES, ASSAYS = [f"cell type {i}" for i in range(4)], [f"assay {i}" for i in range(5)]
SIZES = {
    "demo": {"factors": (32, 24, 10, 20, 30), "n_layers": 1, "n_nodes": 128, "batch_size": 10_000},
    "published": {"factors": (32, 256, 25, 40, 45), "n_layers": 2, "n_nodes": 2048, "batch_size": 40_000},
}


def model_of(size: dict, tracks: np.ndarray) -> tuple[Avocado, BinnedTracks]:
    """A model of a size with factors for all bins, not trained, and its tracks."""
    names = ("n_celltype_factors", "n_assay_factors", "n_25bp_factors", "n_250bp_factors", "n_5kbp_factors")
    settings = {**dict(zip(names, size["factors"], strict=True)), **{k: v for k, v in size.items() if k != "factors"}}
    model = Avocado(CELLTYPES, ASSAYS, preset="published", **settings)
    data = from_arrays(dict(zip(itertools.product(CELLTYPES, ASSAYS), tracks, strict=True)))
    model.state = model.state.with_tracks(data)
    return model, data


def ours(size: dict, tracks: np.ndarray) -> Callable[[int], None]:
    """A function that trains our model for some steps, batches included."""
    model, data = model_of(size, tracks)
    first = model.state.models[0]
    trainer, rng = first.trainer(), np.random.default_rng(0)
    source = batches(model.state.indexed(data), model.settings, "sequential", 10**6, rng, None)

    def run(steps: int) -> None:
        for _ in range(steps):
            loss = first.step(trainer, next(source), 1e-3)
        float(loss)

    return run


def theirs(size: dict, tracks: np.ndarray) -> Callable[[int], None]:
    """A function that trains plain Keras for some steps."""
    model = avocado_keras.build(4, 5, POSITIONS, size["factors"], size["n_layers"], size["n_nodes"])
    indices = [(i, j) for i in range(4) for j in range(5)]

    def run(steps: int) -> None:
        model.fit(avocado_keras.Batches(list(tracks), indices, size["batch_size"], steps), epochs=1, verbose=0)

    return run


def products(size: dict, backward: bool, batch: int) -> Callable[[int], None]:
    """The matrix products of some steps, and nothing else."""
    rng = np.random.default_rng(0)
    widths = [sum(size["factors"]), *[size["n_nodes"]] * size["n_layers"], 1]
    kernels = [tf.constant(rng.normal(size=shape).astype(np.float32)) for shape in itertools.pairwise(widths)]
    rows = [tf.constant(rng.normal(size=(batch, width)).astype(np.float32)) for width in widths]

    @tf.function
    def once() -> list:
        found = [tf.matmul(x, kernel)[0, 0] for x, kernel in zip(rows, kernels, strict=False)]
        if backward:
            found += [tf.matmul(x, y, transpose_a=True)[0, 0] for x, y in itertools.pairwise(rows)]
            found += [tf.matmul(y, kernel, transpose_b=True)[0, 0] for y, kernel in zip(rows[1:], kernels, strict=True)]
        return found

    def run(steps: int) -> None:
        for _ in range(steps):
            found = once()
        float(found[0])

    return run


def best(runs: dict[str, Callable[[int], None]], steps: int, rounds: int) -> dict[str, float]:
    """Seconds a step of each, taking turns; the best round."""
    for run in runs.values():
        run(min(2, steps))
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run(steps)
            taken[name].append((time.perf_counter() - began) / steps)
    return {name: min(times) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["demo", "published", "impute"])
    flags = parser.parse_args()
    rng = np.random.default_rng(0)
    tracks = rng.random((20, POSITIONS), np.float32)
    print(f"{POSITIONS:,} bins, 20 tracks, {os.cpu_count()} CPU cores, TensorFlow {tf.__version__}", flush=True)
    for name, size in SIZES.items():
        if flags.only not in (None, name):
            continue
        steps = flags.steps if name == "demo" else max(1, flags.steps // 20)
        runs = {
            "ours": ours(size, tracks),
            "plain Keras": theirs(size, tracks),
            "products": products(size, True, size["batch_size"]),
        }
        took = best(runs, steps, flags.rounds)
        shown = ", ".join(f"{what} {1e3 * seconds:.1f} ms" for what, seconds in took.items())
        print(
            f"training, {name} size: {shown} a step; {took['plain Keras'] / took['ours']:.2f} times plain Keras, "
            f"{took['ours'] / took['products']:.2f} times the time of the products",
            flush=True,
        )
    if flags.only in (None, "impute"):
        for name, bins in (("demo", 400_000), ("published", 24_000)):
            size = SIZES[name]
            model, _ = model_of(size, tracks)
            pairs = [(celltype, assay) for celltype in CELLTYPES for assay in ASSAYS]
            runs = {
                "one track": lambda n, m=model, b=bins, pair=pairs[0]: [m.predict(*pair, 0, b) for _ in range(n)],
                "products": products(size, False, bins),
            }
            took = best(runs, 1, flags.rounds)
            began = time.perf_counter()
            many = 20 if name == "demo" else 4
            model.impute(pairs[:many], 0, bins)
            each = (time.perf_counter() - began) / many
            print(
                f"imputing {bins:,} bins, {name} size: one track {took['one track']:.3f} s, {many} at once {each:.3f} "
                f"s each, products {took['products']:.3f} s; {took['one track'] / took['products']:.2f} and "
                f"{each / took['products']:.2f} times the products",
                flush=True,
            )


if __name__ == "__main__":
    main()
