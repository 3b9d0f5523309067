"""Bins a second of an embedding: the bare model, the function from a database to a database, and the whole command.

Tracks are made: 20 of smooth noise. Beside them stand the matrix products that the encoder needs, in NumPy. An
epoch of training is 72% of the bins forward and backward and 8% forward.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

TRACKS, BIN = 20, 25


EMBED = "import sys; from kerasgen.cli.gen_embed import COMMAND; sys.exit(COMMAND.run())"


def make(folder: Path, bins: int) -> str:
    """Write the tracks and ingest them; returns the database."""
    from db_ingest import ingest

    rng = np.random.default_rng(0)
    names = [f"t{number:02d}" for number in range(TRACKS)]
    for name in names:
        noise = rng.gamma(0.5, size=bins + 8).cumsum()
        np.save(folder / f"{name}.npy", np.arcsinh(noise[8:] - noise[:-8]).astype(np.float32))
    paths = "\t".join(f"{folder}/{name}.npy" for name in names)
    (folder / "samples.tsv").write_text("dataset\t" + "\t".join(names) + f"\nsample\t{paths}\n")
    (folder / "types.yaml").write_text("".join(f"{name}: {{type: npy, bin: {BIN}}}\n" for name in names))
    (folder / "sizes").write_text(f"chr1\t{bins * BIN}\n")
    uri = str(folder / "db")
    ingest(
        uri,
        str(folder / "samples.tsv"),
        attribute_config_file=str(folder / "types.yaml"),
        chrom_sizes=str(folder / "sizes"),
    )
    return uri


def best(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Seconds of the quickest of several rounds, and the least processor time of all threads and processes."""
    walls, processors = [], []
    for _ in range(rounds):
        began, before = time.perf_counter(), sum(os.times()[:4])
        work()
        walls.append(time.perf_counter() - began)
        processors.append(sum(os.times()[:4]) - before)
    return min(walls), min(processors)


def products(units: int, look_ahead: int, components: int, bins: int) -> Callable[[], None]:
    """The matrix products that codes of ``bins`` bins need: convolution, LSTM and both maps, in large pieces."""
    rng = np.random.default_rng(1)
    rows = 512
    shapes = [((look_ahead + 1) * TRACKS, units), (2 * units, 4 * units), (units, components), (TRACKS, components)]
    pairs = [(rng.random((rows, a), np.float32), rng.random((a, b), np.float32)) for a, b in shapes]

    def work() -> None:
        for _ in range(bins // rows):
            for left, right in pairs:
                left @ right

    return work


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bins", type=int, default=1_126_469)
    parser.add_argument("--components", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from kerasgen import embed, train_epilstm
    from kerasgen.bundle import open_bundle
    from kerasgen.database import Database
    from kerasgen.track_models.binned import from_database
    from kerasgen.track_models.epilstm.encoder import Encoder
    from kerasgen.track_models.epilstm.normalisation import Normalisation

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uri, prefix = make(folder, args.bins), str(folder / "model")
        trained = train_epilstm(
            uri, prefix, transformation="None", epochs=2, model_params=[f"bottleneck={args.components}"]
        )
        found = open_bundle(prefix)
        config = found.config["architecture"]["config"]
        with Database(uri) as database:
            values = from_database(database, transformation="None").values
        coder = Encoder(found.load_model(), Normalisation.from_json(found.config["normalisation"]), args.bins)
        command = [sys.executable, "-c", EMBED, "--tdb_array", uri, "--load_model_hdf5"]
        number = iter(range(1000))
        seconds = {
            "matrix products, in NumPy": best(
                products(config["units"], config["look_ahead"], args.components, args.bins), args.rounds
            ),
            "bare model, tracks in memory": best(
                lambda: [None for _ in coder.run(lambda low, high: values[:, low:high], args.bins)], args.rounds
            ),
            "kerasgen.embed, database to database": best(
                lambda: embed(uri, load_model_hdf5=f"{prefix}.keras", name=f"f{next(number)}"), args.rounds
            ),
            "gen_embed, start of Python included": best(
                lambda: subprocess.run([*command, f"{prefix}.keras", "--name", f"c{next(number)}"], check=True,
                                       capture_output=True),
                args.rounds,
            ),
            "gen_embed with HDF5 and bigWigs": best(
                lambda: subprocess.run(
                    [*command, f"{prefix}.keras", "--name", f"c{next(number)}", "--overwrite", "--hdf5",
                     str(folder / "out.h5"), "--bigwig_prefix", str(folder / "out")],
                    check=True, capture_output=True,
                ),
                args.rounds,
            ),
        }  # fmt: skip
        print(f"{'':40s} {'s':>8s} {'bins/s':>12s} {'CPU s':>8s} {'bins/CPU s':>12s}")
        for what, (wall, cpu) in seconds.items():
            print(f"{what:40s} {wall:8.2f} {args.bins / wall:12,.0f} {cpu:8.2f} {args.bins / cpu:12,.0f}")
        epoch, bins = trained.history[-1]["seconds"], 0.8 * args.bins
        print(f"{'training, an epoch':40s} {epoch:8.2f} {bins / epoch:12,.0f}")


if __name__ == "__main__":
    main()
