"""Variance of unseen bins that Epi-LSTM codes explain, beside as many principal components.

Each model is trained on the first 72% of the bins and chosen on the next 8%; the last 20% are seen by none. Components
are fitted on the first 80%, of single bins, and of blocks of 4 bins with 4 times as many numbers. All are scored in one
unit: each track's standard deviation in the first 80%.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from kerasgen import backend, plotting
from kerasgen.bundle import open_bundle, path_of
from kerasgen.database import Database
from kerasgen.track_models.binned import Stretch, from_database
from kerasgen.track_models.epilstm.evaluation import r_squared
from kerasgen.track_models.epilstm.normalisation import Normalisation
from kerasgen.track_models.epilstm.pca import components
from kerasgen.track_models.epilstm.train import train_epilstm

BLOCK = 4


def main() -> None:
    """Train what is not there yet, score, and write ``table.tsv`` and ``table.png``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--units", type=int, default=64, help="units of each LSTM")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 6, 12])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    backend.load()
    with Database(args.database) as database:
        tracks = from_database(database)
    bins = tracks.stretches[0].end
    fitted, test = Stretch("pilot", 0, 0, round(bins * 0.8)), Stretch("pilot", 0, round(bins * 0.8), bins)
    unit = Normalisation.of(tracks, [fitted])
    rows = []
    for size in args.sizes:
        row = {"components": str(size)}
        for name, bins_together in (("PCA", 1), (f"PCA of {BLOCK} bins", BLOCK)):
            row[name] = f"{pca(unit.apply(tracks.values), fitted.end, size, bins_together):.3f}"
        for seed in args.seeds:
            prefix = args.out / f"epilstm_{size}_seed{seed}"
            if not path_of(prefix, "keras").exists() or "r2" not in open_bundle(prefix).config:
                train_epilstm(
                    args.database, str(prefix),
                    model_params=[f"bottleneck={size}", f"units={args.units}"],
                    epochs=args.epochs, seed=seed, overwrite=True,
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
    draw(args.out / "table.png", rows)


def draw(path: Path, rows: list[dict[str, str]]) -> None:
    """Draw the table: variance explained by numbers per bin."""
    sizes = [int(row["components"]) for row in rows]
    figure, axes = plotting.figure(1, 1, width=5.2, height=3.8)
    ax = axes[0, 0]
    looks = {"PCA": (plotting.BASELINES[0], "-"), f"PCA of {BLOCK} bins": (plotting.BASELINES[0], "--")}
    for name, (color, style) in looks.items():
        ax.plot(sizes, [float(row[name]) for row in rows], style, marker="D", markersize=4, color=color,
                label="components of the bin" if name == "PCA" else f"components of {BLOCK} bins")  # fmt: skip
    seeds = [name for name in rows[0] if name.startswith("seed")]
    scores = np.array([[float(row[name]) for name in seeds] for row in rows])
    ax.plot(sizes, scores.mean(axis=1), color=plotting.MODEL, label="Epi-LSTM, mean of its seeds")
    ax.plot(np.repeat(sizes, len(seeds)), scores.ravel(), "o", markersize=4, color=plotting.MODEL)
    ax.set(xlabel="numbers per bin", ylabel="variance of unseen bins explained", xticks=sizes, ylim=(0, 1.02))
    ax.legend(loc="lower right", fontsize=8)
    figure.suptitle("20 Roadmap tracks, last 20% of the pilot regions")
    plotting.save(path, figure)


def pca(values: np.ndarray, fitted: int, number: int, together: int) -> float:
    """Variance of unseen bins, of each track about its mean there, that components explain.

    Args:
        values: ``(bins, tracks) float32``, normalised.
        fitted: the components are of the bins before this one, the score of those from it on.
        number: components a bin.
        together: bins whose tracks are taken as one vector, with as many numbers per bin.
    """
    tracks = values.shape[1]
    seen, unseen = (part[: len(part) // together * together] for part in (values[:fitted], values[fitted:]))
    blocks = seen.reshape(-1, together * tracks)
    directions = components(blocks, [Stretch("pilot", 0, 0, len(blocks))], number * together).astype(np.float64)
    tested = unseen.reshape(-1, together * tracks).astype(np.float64)
    error = tested - tested @ directions @ directions.T
    return float(1 - (error**2).sum() / ((unseen - unseen.mean(axis=0, dtype=np.float64)) ** 2).sum())


if __name__ == "__main__":
    main()
