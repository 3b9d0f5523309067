"""Hold one track out, train on all others, impute it: errors beside those of what needs no training.

Usage: table.py DATABASE --out PREFIX [--pairs E117.H3K4me3 ...] [--models default "default scaled=False"] [--seeds 0 1]
       table.py DATABASE --out PREFIX --scales

Writes PREFIX.md and PREFIX.json and prints the table. Each row is one held-out track: mean squared error, the same over
the 1% of bins that are highest in the measured (1obs) and in the imputed track (1imp), and Pearson's r. Nothing is
chosen on the track held out: the number of epochs is the preset's, or stopped on another track (``--validation``).

The baselines are those of gen_impute --scores.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from db_ingest import storage
from kerasgen import Avocado, Database
from kerasgen.track_models.avocado.scales import guess, likeness, measure
from kerasgen.track_models.avocado.settings import from_words
from kerasgen.track_models.binned import BinnedTracks, Pair, from_database
from kerasgen.track_models.scores import baselines, score

MEASURES = {"mse": "mse_global", "1obs": "mse_1obs", "1imp": "mse_1imp", "r": "pearson"}
BARS = ["E117.H3K4me3", "E116.H3K4me1", "E017.H3K36me3", "E003.H3K4me3"]


def errors(observed: np.ndarray, imputed: np.ndarray) -> dict[str, float]:
    """Mean squared error, over all bins and over the highest 1%, and Pearson's r."""
    found = score(observed, imputed)
    return {key: found[measure] for key, measure in MEASURES.items()}


def trained(train: BinnedTracks, validation: BinnedTracks | None, held_out: Pair, model: str, seed: int) -> np.ndarray:
    """The track that a model imputes."""
    preset, *words = model.split()
    avocado = Avocado(train.celltypes, train.assays, preset=preset, seed=seed, **from_words(words))
    avocado.fit(train, validation)
    return avocado.predict(*held_out)


def scale_errors(tracks: BinnedTracks) -> tuple[float, float]:
    """Root mean square error of the logarithm of a left-out track's spread: guessed, and by its assay's mean."""
    scales = {pair: measure(values) for pair, values in zip(tracks.pairs, tracks.values, strict=True)}
    wrong = []
    for pair, (_, spread) in scales.items():
        others = tracks.without([pair])
        known = {other: scale for other, scale in scales.items() if other != pair}
        guessed = np.log(guess(known, *pair, likeness(others.values, others.pairs))[1])
        mean = np.mean([np.log(scale[1]) for other, scale in known.items() if other[1] == pair[1]])
        wrong.append((guessed - np.log(spread), mean - np.log(spread)))
    of_guess, of_mean = np.sqrt(np.mean(np.square(wrong), axis=0))
    return float(of_guess), float(of_mean)


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database")
    parser.add_argument("--out", required=True, help="prefix of the table's files")
    parser.add_argument("--pairs", nargs="+", default=BARS, help="tracks to hold out, one at a time")
    parser.add_argument(
        "--models",
        nargs="+",
        default=["default", "default scaled=False"],
        help="each a preset, perhaps with settings (default: %(default)s)",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--validation", help="a track that is not trained on either: training stops when it is best")
    parser.add_argument(
        "--scales", action="store_true", help="only say how well spreads of left-out tracks are guessed"
    )
    flags = parser.parse_args()
    flags.models = [" ".join(model.split()) for model in flags.models]
    with Database(flags.database) as database:
        tracks = from_database(database)
    if flags.scales:
        guessed, mean = scale_errors(tracks)
        print(f"error of the log spread: guessed {guessed:.3f}, mean of the assay {mean:.3f}")
        return
    lines = ["| held out | by | MSE | 1obs | 1imp | r | s |", "|---|---|---|---|---|---|---|"]
    rows = []
    validation = None if flags.validation is None else tuple(flags.validation.split("."))
    print("\n".join(lines), flush=True)

    def add(name: str, what: str, imputed: np.ndarray, seconds: float | None = None) -> None:
        found = errors(tracks.track(*name.split(".")), imputed)
        known = {key: None if np.isnan(value) else value for key, value in found.items()}
        rows.append({"held_out": name, "by": what, **known, "seconds": seconds})
        shown = " | ".join(
            "" if known[key] is None else f"{known[key]:.{digits}f}"
            for key, digits in (("mse", 4), ("1obs", 3), ("1imp", 3), ("r", 3))
        )
        lines.append(f"| {name} | {what} | {shown} | {'' if seconds is None else f'{seconds:.0f}'} |")
        print(lines[-1], flush=True)

    for name in flags.pairs:
        celltype, assay = name.split(".")
        held_out = (celltype, assay)
        train = tracks.without([held_out] if validation is None else [held_out, validation])
        for what, imputed in baselines(held_out, train.pairs, lambda pair, train=train: train.track(*pair)).items():
            add(name, what, imputed)
        chosen = None if validation is None else tracks.subset([validation])
        for model in flags.models:
            total = np.zeros(tracks.values.shape[1], np.float32)
            for seed in flags.seeds:
                began = time.perf_counter()
                imputed = trained(train, chosen, held_out, model, seed)
                add(name, f"{model}, seed {seed}", imputed, time.perf_counter() - began)
                total += imputed / len(flags.seeds)
            if len(flags.seeds) > 1:
                add(name, f"{model}, mean of {len(flags.seeds)} seeds", total)
    storage.replace_bytes(f"{flags.out}.md", ("\n".join(lines) + "\n").encode())
    storage.replace_bytes(f"{flags.out}.json", json.dumps(rows, indent=1).encode())


if __name__ == "__main__":
    main()
