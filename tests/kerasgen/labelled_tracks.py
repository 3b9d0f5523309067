"""Tracks in bins and elements with labels that depend on them in a known way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from db_ingest import ingest

BIN = 25
WIDTH = 8
"""Bins of an element."""
STEP = 20
"""Bins from an element to the next."""


def write_database(folder: Path, tracks: Mapping[tuple[str, str], Mapping[str, np.ndarray]]) -> str:
    """Ingest tracks given as (dataset, attribute) -> chromosome -> bins; returns the database's path."""
    folder.mkdir(parents=True, exist_ok=True)
    datasets = list(dict.fromkeys(dataset for dataset, _ in tracks))
    attributes = list(dict.fromkeys(attribute for _, attribute in tracks))
    rows = ["\t".join(["dataset", *attributes])]
    for dataset in datasets:
        cells = [dataset]
        for attribute in attributes:
            path = folder / f"{dataset}.{attribute}.npz"
            if (dataset, attribute) in tracks:
                np.savez(path, **{c: v.astype(np.float32) for c, v in tracks[dataset, attribute].items()})
            cells.append(str(path) if (dataset, attribute) in tracks else "")
        rows.append("\t".join(cells))
    (folder / "samples.tsv").write_text("\n".join(rows) + "\n")
    (folder / "types.yaml").write_text(
        "".join(f"{name}: {{type: npz, bin: {BIN}, missing: nan}}\n" for name in attributes)
    )
    sizes = {name: len(bins) * BIN for name, bins in next(iter(tracks.values())).items()}
    (folder / "sizes").write_text("".join(f"{name}\t{size}\n" for name, size in sizes.items()))
    ingest(
        str(folder / "db"), str(folder / "samples.tsv"), chrom_sizes=str(folder / "sizes"),
        attribute_config_file=str(folder / "types.yaml"),
    )  # fmt: skip
    return str(folder / "db")


def place_elements(chromosomes: int, elements: int) -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """Elements side by side: bins of each chromosome, chromosome of each element, its first bin."""
    each = -(-elements // chromosomes)
    sizes = {f"chr{i + 1}": each * STEP + STEP for i in range(chromosomes)}
    return sizes, np.arange(elements) // each, STEP // 2 + np.arange(elements) % each * STEP


def tracks_with_means(
    sizes: Mapping[str, int], chromosome: np.ndarray, first: np.ndarray, means: np.ndarray, noise: float, seed: int
) -> list[dict[str, np.ndarray]]:
    """Tracks whose bins are noise about a mean that each element has: ``(elements, tracks)``."""
    rng = np.random.default_rng(seed)
    tracks = []
    for column in means.T:
        track = {name: rng.normal(0, noise, size) for name, size in sizes.items()}
        for place, begin, mean in zip(chromosome, first, column, strict=True):
            track[f"chr{place + 1}"][begin : begin + WIDTH] += mean
        tracks.append(track)
    return tracks


def write_elements(path: Path, chromosome: np.ndarray, first: np.ndarray, label: np.ndarray) -> str:
    """Write a table with the columns chrom, start, end, label."""
    lines = ["chrom\tstart\tend\tlabel"]
    for place, begin, value in zip(chromosome, first, label, strict=True):
        lines.append(f"chr{place + 1}\t{begin * BIN}\t{(begin + WIDTH) * BIN}\t{value:.6g}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)
