"""How well a track could be imputed if half of it were known: boosted trees trained on the held-out track itself.

Usage: ceiling.py DATABASE [--pairs E117.H3K4me3 ...] [--blocks 20000]

What an imputation model cannot know is how the other tracks around a bin go with the one that was not measured. These
trees are told: they see the inputs of the default preset with ``scaled=False``, learn from the track itself in half of
the bins of every other block, and are scored on the blocks between, then the other way round. Of the error over all
bins, it says about what a model with these inputs could reach that never sees the track. Needs the extra ``downstream``
(XGBoost).
"""

from __future__ import annotations

import argparse

import numpy as np

from kerasgen import Database
from kerasgen.track_models.avocado.context import Context
from kerasgen.track_models.binned import BinnedTracks, Pair, from_database
from kerasgen.track_models.scores import score

BARS = ["E117.H3K4me3", "E116.H3K4me1", "E017.H3K36me3", "E003.H3K4me3"]


def inputs(tracks: BinnedTracks, held_out: Pair) -> np.ndarray:
    """What the other tracks say of each bin of a track, ``(bins, columns) float32``."""
    others = tracks.without([held_out])
    celltypes, assays = (np.array([names.index(pair[i]) for pair in others.pairs])
                         for i, names in enumerate((tracks.celltypes, tracks.assays)))  # fmt: skip
    context = Context(
        others.values, celltypes, assays, len(tracks.celltypes), len(tracks.assays), tracks.stretches
    )  # fmt: skip
    bins = np.arange(tracks.values.shape[1])
    index = (names.index(name) for names, name in zip((tracks.celltypes, tracks.assays), held_out, strict=True))
    return context(bins, *(np.full(len(bins), number) for number in index))


def known_by_halves(seen: np.ndarray, track: np.ndarray, block: int) -> np.ndarray:
    """The track as trees predict it that were trained on its other half, ``(bins,) float32``."""
    import xgboost

    even = np.arange(len(track)) // block % 2 == 0
    there = np.isfinite(track)
    predicted = np.empty(len(track), np.float32)
    for half in (even, ~even):
        trees = xgboost.XGBRegressor(
            n_estimators=400, max_depth=7, learning_rate=0.06, subsample=0.7, colsample_bytree=0.4,
            min_child_weight=20, random_state=0,
        )  # fmt: skip
        learned = np.flatnonzero(half & there)[::2]
        trees.fit(seen[learned], track[learned])
        predicted[~half] = trees.predict(seen[~half])
    return predicted


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database")
    parser.add_argument("--pairs", nargs="+", default=BARS, help="tracks, one at a time")
    parser.add_argument("--blocks", type=int, default=20_000, help="bins of a block")
    flags = parser.parse_args()
    with Database(flags.database) as database:
        tracks = from_database(database)
    print("| track | MSE | 1obs | 1imp | r |\n|---|---|---|---|---|")
    for name in flags.pairs:
        celltype, assay = name.split(".")
        track = tracks.track(celltype, assay)
        found = score(track, known_by_halves(inputs(tracks, (celltype, assay)), track, flags.blocks))
        shown = " | ".join(f"{found[key]:.4f}" for key in ("mse_global", "mse_1obs", "mse_1imp", "pearson"))
        print(f"| {name} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
