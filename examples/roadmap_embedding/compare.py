"""Variance of unseen bins that Epi-LSTM codes explain, beside as many principal components.

Each model is trained on the first 72% of the bins and chosen on the next 8%; the last 20% are seen by none. Components
are fitted on the first 80%. All are scored in one unit: each track's standard deviation in the first 80%.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from kerasgen import backend
from kerasgen.binned import BinnedTracks, Stretch, from_database
from kerasgen.bundle import open_bundle, path_of
from kerasgen.database import Database
from kerasgen.embedding.evaluation import r_squared
from kerasgen.embedding.frames import Normalisation
from kerasgen.embedding.pca import components
from kerasgen.embedding.training import train_epilstm

SIZES, SEEDS = (3, 6, 12), (0, 1, 2)


def main() -> None:
    """Train what is not there yet, score, and write ``table.tsv``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    backend.load()
    with Database(args.database) as database:
        tracks = from_database(database, celltypes=["E003", "E017", "E116", "E117"], bin=25, transformation="None")
    bins = tracks.stretches[0].end
    fitted, test = Stretch("pilot", 0, 0, round(bins * 0.8)), Stretch("pilot", 0, round(bins * 0.8), bins)
    unit = Normalisation.of(tracks, [fitted])
    rows = []
    for size in SIZES:
        row = {"components": str(size), "PCA": f"{pca(tracks, unit, fitted, test, size):.3f}"}
        for seed in SEEDS:
            prefix = args.out / f"epilstm_{size}_seed{seed}"
            if not path_of(prefix, "keras").exists() or "r2" not in open_bundle(prefix).config:
                train_epilstm(
                    args.database, str(prefix), celltypes=tracks.celltypes, transformation="None",
                    model_params=[f"bottleneck={size}"], epochs=args.epochs, seed=seed, overwrite=True,
                )  # fmt: skip
            found = open_bundle(prefix)
            own = Normalisation.from_json(found.config["normalisation"])
            row[f"seed {seed}"] = f"{r_squared(found.load_model(), own, tracks, [test], unit):.3f}"
        rows.append(row)
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    with open(args.out / "table.tsv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def pca(tracks: BinnedTracks, unit: Normalisation, fitted: Stretch, test: Stretch, number: int) -> float:
    """Variance of the test bins explained by components of the fitted ones, of each track about its test mean."""
    values = unit.apply(tracks.values)
    directions = components(values, [fitted], number)
    unseen = values[test.first : test.end].astype(np.float64)
    error = unseen - unseen @ directions @ directions.T
    return float(1 - (error**2).sum() / ((unseen - unseen.mean(axis=0)) ** 2).sum())


if __name__ == "__main__":
    main()
