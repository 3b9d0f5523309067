"""What several Epi-LSTMs bring over one: variance of unseen bins explained, and whether their spread tells errors.

Trains what is not there yet with the split of ``compare.py``, which leaves the last 20% of the bins for testing. Of the
values there, in units of each track's standard deviation in training, |error| of the mean reconstruction is ranked by
the standard deviation between the models, and for comparison by the reconstructed value.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from kerasgen import backend
from kerasgen.bundle import load_model, open_bundle, path_of
from kerasgen.database import Database
from kerasgen.track_models.binned import from_database
from kerasgen.track_models.ensemble import network_path
from kerasgen.track_models.epilstm.bin_split import by_stretches
from kerasgen.track_models.epilstm.evaluation import reconstructions
from kerasgen.track_models.epilstm.normalisation import Normalisation
from kerasgen.track_models.epilstm.train import train_epilstm


def main() -> None:
    """Train, score, and write ``ensemble.tsv``."""
    from scipy.stats import spearmanr

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--size", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    backend.load()
    with Database(args.database) as database:
        tracks = from_database(database)
    prefix = args.out / f"ensemble_{args.size}"
    if not path_of(prefix, "json").exists():
        train_epilstm(
            args.database, str(prefix), model_params=[f"bottleneck={args.size}"], epochs=args.epochs, seed=0,
            n_models=args.models, resume=(path_of(prefix, "state") / "checkpoint.npz").exists(),
        )  # fmt: skip
    found = open_bundle(prefix)
    made = Normalisation.from_json(found.config["normalisation"])
    models = [load_model(network_path(prefix, number)) for number in range(found.config["n_models"])]
    parts = list(reconstructions(models, made, tracks, by_stretches(tracks).test))
    each = np.concatenate([np.stack(values) for _, values in parts], axis=2)
    first = parts[0][0]
    scale = made.scale[:, None]
    values, mean = each.mean(axis=0), made.mean[:, None]
    error = np.abs(values - tracks.values[:, first : first + values.shape[1]]) / scale
    spread = each.std(axis=0) / scale
    known = np.isfinite(error)
    by_track = [
        (spearmanr(s[k], e[k]).statistic, spearmanr(v[k], e[k]).statistic)
        for s, e, v, k in zip(spread, error, values, known, strict=True)
    ]
    together = [
        spearmanr(what[known], error[known]).statistic for what in (spread, (values - mean) / scale)
    ]  # fmt: skip
    tenth = np.argsort(spread[known])
    many = len(tenth) // 10
    low, high = (error[known][some].mean() for some in (tenth[:many], tenth[-many:]))
    rows = [
        ("R2 of the mean", found.config["r2"]["test"]),
        *((f"R2 of model {n + 1}", shares["test"]) for n, shares in enumerate(found.config["r2_models"])),
        ("Spearman of std and |error|, all values", together[0]),
        ("Spearman of value and |error|, all values", together[1]),
        ("Spearman of std and |error|, median of tracks", float(np.median([one for one, _ in by_track]))),
        ("Spearman of std and |error|, lowest of tracks", min(one for one, _ in by_track)),
        ("Spearman of value and |error|, median of tracks", float(np.median([other for _, other in by_track]))),
        ("mean |error|, tenth of the values with the lowest std", low),
        ("mean |error|, tenth with the highest std", high),
    ]
    text = "".join(f"{name}\t{value:.3f}\n" for name, value in rows)
    (args.out / "ensemble.tsv").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
