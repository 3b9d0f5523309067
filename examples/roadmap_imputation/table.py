"""Hold one track out, train on all others, impute it: errors beside those of what needs no training.

Usage: table.py DATABASE --out PREFIX [--pairs E117.H3K4me3 ...] [--presets default published] [--seeds 0 1 2]

Writes PREFIX.md and PREFIX.json and prints the table. Each row is one held-out track: mean squared error, the same over
the 1% of bins that are highest in the measured (1obs) and in the imputed track (1imp), and Pearson's r. Nothing is
chosen on the track held out: the number of epochs is the preset's, or stopped on another track (``--validation``).

- constant: the mean of the assay's other tracks.
- mean of others: at each bin, the mean of the assay over the other cell types.
- mean, scaled: the same, times how far the cell type's other assays are above those of the other cell types.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from db_ingest import storage
from kerasgen import Avocado, Database
from kerasgen.binned import BinnedTracks, Pair, from_database

BARS = ["E117.H3K4me3", "E116.H3K4me1", "E017.H3K36me3", "E003.H3K4me3"]


def errors(observed: np.ndarray, imputed: np.ndarray) -> dict[str, float]:
    """Mean squared error, over all bins and over the highest 1%, and Pearson's r."""
    top = max(1, len(observed) // 100)
    squares = (observed.astype(np.float64) - imputed) ** 2
    constant = np.ptp(imputed) == 0
    return {
        "mse": float(squares.mean()),
        "1obs": float(squares[np.argpartition(observed, -top)[-top:]].mean()),
        "1imp": float(squares.mean() if constant else squares[np.argpartition(imputed, -top)[-top:]].mean()),
        "r": 0.0 if constant else float(np.corrcoef(observed, imputed)[0, 1]),
    }


def baselines(train: BinnedTracks, held_out: Pair) -> dict[str, np.ndarray]:
    """What needs no training, by name."""
    celltype, assay = held_out
    mean = np.mean([train.track(*pair) for pair in train.pairs if pair[1] == assay], axis=0)
    ratios = []
    for other in train.assays:
        if other != assay and (celltype, other) in train.pairs:
            those = [train.track(*pair).mean() for pair in train.pairs if pair[1] == other and pair[0] != celltype]
            ratios.append(train.track(celltype, other).mean() / np.mean(those))
    return {
        "constant": np.full(len(mean), mean.mean()),
        "mean of others": mean,
        "mean, scaled": mean * np.exp(np.mean(np.log(ratios))),
    }


def trained(
    train: BinnedTracks, validation: BinnedTracks | None, held_out: Pair, preset: str, seed: int, models: int
) -> np.ndarray:
    """The track that a model imputes."""
    model = Avocado(train.celltypes, train.assays, preset=preset, seed=seed, n_models=models)
    model.fit(train, validation)
    return model.predict(*held_out)


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database")
    parser.add_argument("--out", required=True, help="prefix of the table's files")
    parser.add_argument("--pairs", nargs="+", default=BARS, help="tracks to hold out, one at a time")
    parser.add_argument("--presets", nargs="+", default=["default"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--n_models", type=int, default=1)
    parser.add_argument("--validation", help="a track that is not trained on either: training stops when it is best")
    flags = parser.parse_args()
    with Database(flags.database) as database:
        tracks = from_database(database)
    lines = ["| held out | by | MSE | 1obs | 1imp | r | s |", "|---|---|---|---|---|---|---|"]
    rows = []
    validation = None if flags.validation is None else tuple(flags.validation.split("."))
    print("\n".join(lines), flush=True)

    def add(name: str, what: str, imputed: np.ndarray, seconds: float | None = None) -> None:
        found = errors(tracks.track(*name.split(".")), imputed)
        rows.append({"held_out": name, "by": what, **found, "seconds": seconds})
        shown = " | ".join(
            f"{found[key]:.{digits}f}" for key, digits in (("mse", 4), ("1obs", 3), ("1imp", 3), ("r", 3))
        )
        lines.append(f"| {name} | {what} | {shown} | {'' if seconds is None else f'{seconds:.0f}'} |")
        print(lines[-1], flush=True)

    for name in flags.pairs:
        celltype, assay = name.split(".")
        held_out = (celltype, assay)
        train = tracks.without([held_out] if validation is None else [held_out, validation])
        for what, imputed in baselines(train, held_out).items():
            add(name, what, imputed)
        for preset in flags.presets:
            for seed in flags.seeds:
                began = time.perf_counter()
                chosen = None if validation is None else tracks.subset([validation])
                imputed = trained(train, chosen, held_out, preset, seed, flags.n_models)
                add(name, f"{preset}, seed {seed}", imputed, time.perf_counter() - began)
    storage.replace_bytes(f"{flags.out}.md", ("\n".join(lines) + "\n").encode())
    storage.replace_bytes(f"{flags.out}.json", json.dumps(rows, indent=1).encode())


if __name__ == "__main__":
    main()
