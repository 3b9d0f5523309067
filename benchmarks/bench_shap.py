"""DeepSHAP of a BPNet: ours beside shap.DeepExplainer on the same model, sequences and references, in one run.

Usage: bench_shap.py [EXAMPLES]
Prints examples a second, the ratio, the largest difference of scores relative to the largest score, and the limit: the
time of one forward and one backward pass over the rows that ours needs, without any rescaling.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import architectures
from kerasgen.interpretation import deeplift, targets
from kerasgen.sequence import dinucleotide_shuffle, one_hot

REFERENCES, BATCH = 20, 4


def scalar_model(model: keras.Model, kernel: np.ndarray) -> keras.Model:
    """The target as one dense layer, for shap."""
    last = layers.Dense(1, use_bias=False)
    output = model.outputs[0] if kernel.size > 2 else model.outputs[1]
    flat = layers.Flatten()(output) if len(output.shape) == 3 else output
    scalar = keras.Model(model.inputs, last(flat))
    last.set_weights([kernel.reshape(-1, 1)])
    return scalar


def shap_scores(model: keras.Model, x: np.ndarray, refs: np.ndarray) -> np.ndarray:
    import shap
    from shap.explainers._deep import deep_tf

    for name in ("BatchToSpaceND", "SpaceToBatchND", "StridedSlice"):
        deep_tf.op_handlers.setdefault(name, deep_tf.passthrough)
    explainer = shap.DeepExplainer((model.inputs, model.outputs[0]), refs)
    return np.asarray(explainer.shap_values(x[None], check_additivity=False)).reshape(x.shape)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    keras.utils.set_random_seed(1)
    family = architectures.get("bpnet")
    model = family.build(family.Config())
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (count, 2114)).astype(np.uint8)
    x = one_hot(codes)
    refs = np.stack([one_hot(dinucleotide_shuffle(c, REFERENCES, i)) for i, c in enumerate(codes)])
    logits = np.asarray(model.predict(x, verbose=0)[0])
    print(f"BPNet of 64 filters, 2114 bp, {REFERENCES} references, {count} examples, {os.cpu_count()} CPU cores")
    for head in ("counts", "profile"):
        weights = targets.profile_weights(logits, 0) if head == "profile" else None
        target = targets.profile(0, 0) if head == "profile" else targets.counts(1, 0)
        explain = deeplift.DeepLift(model, target, REFERENCES)

        def ours(weights: np.ndarray | None = weights, explain: deeplift.DeepLift = explain) -> np.ndarray:
            parts = []
            for i in range(0, count, BATCH):
                s = slice(i, i + BATCH)
                found = explain(x[s], refs[s], held=None if weights is None else weights[s])
                parts.append(deeplift.contributions(found, x[s], refs[s]))
            return np.concatenate(parts)

        ours()
        began = time.perf_counter()
        mine = ours()
        ours_rate = count / (time.perf_counter() - began)

        kernels = (
            [(w - w.mean(axis=0, keepdims=True)) for w in weights]
            if weights is not None
            else [np.array([1.0, 0.0], np.float32)] * count
        )
        models = [scalar_model(model, kernel) for kernel in kernels]
        shap_scores(models[0], x[0], refs[0])
        began = time.perf_counter()
        theirs = np.stack([shap_scores(m, s, r) for m, s, r in zip(models, x, refs, strict=True)])
        shap_rate = count / (time.perf_counter() - began)

        @tf.function(jit_compile=True)
        def plain(rows: tf.Tensor, place: int = 0 if head == "profile" else 1) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(rows)
                total = tf.reduce_sum(model(rows, training=False)[place])
            return tape.gradient(total, rows)

        rows = tf.constant(np.concatenate([x[:BATCH], refs[:BATCH].reshape(-1, 2114, 4)]))
        plain(rows)
        began = time.perf_counter()
        for _ in range(count // BATCH):
            plain(rows).numpy()
        limit = count / (time.perf_counter() - began)
        difference = np.abs(mine - theirs).max() / np.abs(theirs).max()
        print(
            f"{head}: ours {ours_rate:.2f}/s, shap {shap_rate:.2f}/s, ratio {ours_rate / shap_rate:.1f}; "
            f"limit {limit:.2f}/s, ours is {ours_rate / limit:.2f} of it; largest difference {difference:.1e}"
        )


if __name__ == "__main__":
    main()
