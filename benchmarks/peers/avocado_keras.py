"""Avocado as avocado-epigenome builds and trains it, in plain Keras 3: the scheme that ours is measured against.

Five integer inputs, an embedding and a Flatten for each, one Dense over all of them laid side by side; Adam on whole
tables; ``fit`` on a generator that makes each batch when it is asked for: consecutive positions, for each of them one
experiment drawn at random.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers


def build(
    n_celltypes: int,
    n_assays: int,
    positions: int,
    factors: tuple[int, int, int, int, int],
    n_layers: int,
    n_nodes: int,
) -> keras.Model:
    """The compiled model; ``factors`` of cell type, assay, 25 bp, 250 bp, 5 kbp."""
    rows = (n_celltypes, n_assays, positions, positions // 10 + 1, positions // 200 + 1)
    inputs = [keras.Input((1,), dtype="int32") for _ in rows]
    embedded = [
        layers.Flatten()(layers.Embedding(count, width)(index))
        for count, width, index in zip(rows, factors, inputs, strict=True)
    ]
    x = layers.Concatenate()(embedded)
    for _ in range(n_layers):
        x = layers.Dense(n_nodes, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile(optimizer="adam", loss="mse", metrics=["mse"])
    return model


class Batches(keras.utils.PyDataset):
    """Consecutive positions, one random experiment each."""

    def __init__(self, tracks: list[np.ndarray], indices: list[tuple[int, int]], size: int, steps: int) -> None:
        super().__init__()
        self.tracks, self.indices, self.size, self.steps = tracks, np.array(indices, np.int32), size, steps
        self.start, self.rng = 0, np.random.default_rng(0)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, number: int) -> tuple:
        positions = (self.start + np.arange(self.size)) % len(self.tracks[0])
        self.start = int(positions[-1]) + 1
        which = self.rng.integers(len(self.tracks), size=self.size)
        values = np.array([self.tracks[track][place] for track, place in zip(which, positions, strict=True)])
        given = [self.indices[which, 0], self.indices[which, 1], positions, positions // 10, positions // 200]
        return tuple(np.asarray(index, np.int32)[:, None] for index in given), values
