"""Avocado at human size, from tracks to bigWig: each command's time and peak memory, and what its arrays need.

Usage: human_size_imputation.py [--folder FOLDER] [--size default|published ...] [--celltypes N] [--assays N]

Tracks are made on a pilot of 28 Mb and on a chromosome of chr1's length (hg38, 248,956,422 bp), ingested, learned with
``gen_train --per_chromosome`` (network from the pilot, then the chromosome's factors), and one that was held out is
imputed over both, as one bigWig. It is compared with ``Avocado.predict`` by pyBigWig: at the ends of both chromosomes
and in pieces between. ``default`` is the default preset as it is; ``published`` has the published preset's factors of
the genome (25, 40, 45) and 200 steps per chromosome.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pyBigWig
from human_size import CHR1, run

from kerasgen.track_models.avocado.settings import AvocadoSettings, resolve
from kerasgen.track_models.avocado.whole_genome import GenomeAvocado
from kerasgen.track_models.models import BinRange

BIN = 25
SIZES = {"pilot": 28_161_725, "chr1": CHR1}
FACTORS = {"n_25bp_factors": 25, "n_250bp_factors": 40, "n_5kbp_factors": 45}
FEW = ["--epochs", "1", "--epoch_size", "200"]
PIECE = 2_000
"""Bins of a piece that is compared."""


def make_tracks(folder: Path, celltypes: list[str], assays: list[str]) -> None:
    """Arcsinh signals of an archive a track: regions that assays share, each active in some of the cell types."""
    rng = np.random.default_rng(0)
    bins = {name: -(-size // BIN) for name, size in SIZES.items()}
    total = sum(bins.values())
    shapes = []
    for width in (8, 40, 200):
        centres = rng.integers(0, total, total // (20 * width))
        height = np.zeros(total, np.float32)
        np.add.at(height, centres, rng.gamma(2.0, 1.0, len(centres)).astype(np.float32))
        shapes.append(smooth(height, width) * width)
    block = np.repeat(np.arange(total // 400 + 1), 400)[:total]
    active = {name: rng.random((len(shapes), int(block[-1]) + 1), np.float32) < 0.7 for name in celltypes}
    likes = {name: rng.dirichlet(np.ones(len(shapes))).astype(np.float32) * 3 for name in assays}
    for celltype, assay in itertools.product(celltypes, assays):
        signal = np.zeros(total, np.float32)
        for shape, much, on in zip(shapes, likes[assay], active[celltype], strict=True):
            signal += much * shape * on[block]
        signal += rng.gamma(1.0, 0.2, total).astype(np.float32)
        values = np.arcsinh(signal).astype(np.float32)
        parts = np.split(values, [bins["pilot"]])
        np.savez(folder / f"{celltype}.{assay}.npz", pilot=parts[0], chr1=parts[1])


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of ``width`` neighbouring bins, twice."""
    for _ in range(2):
        summed = np.concatenate([[0], np.cumsum(values, dtype=np.float64)])
        ends = np.arange(len(values)) + width // 2
        values = (summed[np.minimum(ends + 1, len(values))] - summed[np.maximum(ends + 1 - width, 0)]) / width
    return values.astype(np.float32)


def needed(settings: AvocadoSettings, tracks: int, bins: int) -> dict[str, float]:
    """MB of what training bins can not do without."""
    rows = (bins, -(-bins // 10), -(-bins // 200))
    factors = sum(many * width for many, width in zip(rows, settings.genome_factors, strict=True)) * 4
    return {"tracks": tracks * bins * 4 / 1e6, "factors": factors / 1e6, "moments": 2 * factors / 1e6}


def compare(prefix: Path, bigwig: Path, pair: tuple[str, str]) -> tuple[int, float]:
    """Bins compared with what the model says, and the largest difference, in parts of the value + 1."""
    model, rng = GenomeAvocado(prefix), np.random.default_rng(0)
    worst, many = 0.0, 0
    with pyBigWig.open(str(bigwig)) as file:
        for chromosome, size in SIZES.items():
            last = model.bins(chromosome)
            firsts = [0, last - PIECE, *rng.integers(0, last - PIECE, 20)]
            for first in map(int, firsts):
                piece = BinRange(chromosome, first, first + PIECE)
                expected = np.sinh(model.impute([pair], piece)[0].astype(np.float64)).clip(0)
                found = np.array(file.values(chromosome, first * BIN, min((first + PIECE) * BIN, size)))[::BIN]
                worst = max(worst, float((np.abs(found - expected) / (expected + 1)).max()))
                many += len(found)
        covered, bases = file.header()["nBasesCovered"], sum(SIZES.values())
        if covered != bases:
            raise SystemExit(f"{bigwig}: {covered:,} of {bases:,} bp have a value")
    return many, worst


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder if not given")
    parser.add_argument("--size", nargs="+", choices=("default", "published"), default=["default", "published"])
    parser.add_argument("--celltypes", type=int, default=4)
    parser.add_argument("--assays", type=int, default=3)
    flags = parser.parse_args()
    folder = flags.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    celltypes = [f"cell{number}" for number in range(flags.celltypes)]
    assays = [f"assay{number}" for number in range(flags.assays)]
    scripts, database, held = Path(sys.executable).parent, folder / "database", (celltypes[0], assays[0])
    print(f"{flags.celltypes * flags.assays - 1} tracks learned of, {os.cpu_count()} cores\n", flush=True)
    print("| command | s | peak MB |\n|---|---|---|", flush=True)

    def step(name: str, words: list[str]) -> None:
        seconds, peak = run([f"{scripts}/{words[0]}", *words[1:]])
        print(f"| {name} | {seconds:.0f} | {peak:,.0f} |", flush=True)

    if not database.exists():
        make_tracks(folder, celltypes, assays)
        (folder / "sizes").write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
        (folder / "types.yaml").write_text(
            "".join(f"{a}: {{type: npz, bin: 25, transform: arcsinh}}\n" for a in assays)
        )
        lines = ["\t".join(["dataset", *assays])]
        lines += ["\t".join([name, *(str(folder / f"{name}.{a}.npz") for a in assays)]) for name in celltypes]
        (folder / "samples.tsv").write_text("\n".join(lines) + "\n")
        step("`gen_ingest`", ["gen_ingest", "--tdb_array", str(database), "--chrom_sizes", str(folder / "sizes"),
             "--tiledb_metadata", str(folder / "samples.tsv"), "--attribute_config_file",
             str(folder / "types.yaml")])  # fmt: skip
    for size in flags.size:
        given, prefix = (FACTORS if size == "published" else {}), folder / size
        more = ["--model_params", *(f"{k}={v}" for k, v in given.items()), *FEW] if given else []
        step(f"`gen_train --per_chromosome`, {size}", [
            "gen_train", "--architecture_spec", "avocado", "--tdb_array", str(database), "--model_prefix", str(prefix),
            "--train_chroms", "pilot", "--per_chromosome", "--hold_out", ":".join(held), "--overwrite", *more,
        ])  # fmt: skip
        step(f"`gen_impute`, one track, {size}", ["gen_impute", "--model", str(prefix), "-c", held[0], "-a", held[1],
             "--out_dir", str(prefix), "--overwrite"])  # fmt: skip
        bigwig = prefix / f"{held[0]}.{held[1]}.bigwig"
        many, worst = compare(prefix, bigwig, held)
        bins = -(-CHR1 // BIN)
        arrays = needed(resolve("default", **given), flags.celltypes * flags.assays - 1, bins)
        files = {path.name: path.stat().st_size / 1e6 for path in (*folder.glob(f"{size}*.npz"), bigwig)}
        print(f"\n{size}: of chr1 {json.dumps({k: round(v) for k, v in arrays.items()})} MB; files "
              f"{json.dumps({k: round(v) for k, v in files.items()})} MB; {many:,} bins of the bigWig differ from "
              f"predict by at most {worst:.1e}\n", flush=True)  # fmt: skip
    if flags.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
