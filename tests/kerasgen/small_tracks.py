"""Six small tracks of two cell types in bins of 25 bp, with missing bins, as arrays and as a database."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from db_ingest import ingest

BINS, BIN = 6000, 25
SIZE = BINS * BIN - 15
"""bp of the chromosome: its last bin has 10."""

EMPTY = range(3000, 3010)
"""Bins where no track has a value."""

CELLTYPES, ASSAYS = ("E1", "E2"), ("A", "B", "C")


def simulated() -> dict[tuple[str, str], np.ndarray]:
    """Tracks that are mixtures of two smooth factors, with a little noise; one has further missing bins."""
    rng = np.random.default_rng(5)
    smooth = np.ones(15) / 15
    factors = np.stack([np.convolve(rng.normal(size=BINS + 14), smooth, "valid") * 4 for _ in range(2)])
    tracks = {}
    for celltype in CELLTYPES:
        for assay in ASSAYS:
            values = rng.normal(size=2) @ factors + rng.normal(0, 0.1, BINS)
            tracks[celltype, assay] = values.astype(np.float32)
    tracks["E1", "A"][100:140] = np.nan
    for values in tracks.values():
        values[EMPTY] = np.nan
    return tracks


def make_database(folder: Path, arrays: dict[tuple[str, str], np.ndarray], *, other: bool = False) -> str:
    """Write the tracks as .npy files and ingest them, as chromosome ``grid`` (and an empty ``other`` if asked)."""
    folder.mkdir(exist_ok=True)
    rows = ["dataset\t" + "\t".join(ASSAYS)]
    for celltype in CELLTYPES:
        paths = []
        for assay in ASSAYS:
            paths.append(str(folder / f"{celltype}.{assay}.npy"))
            np.save(paths[-1], arrays[celltype, assay])
        rows.append("\t".join((celltype, *paths)))
    (folder / "samples.tsv").write_text("\n".join(rows) + "\n")
    types = "".join(f"{assay}: {{type: npy, bin: {BIN}, missing: nan, chromosome: grid}}\n" for assay in ASSAYS)
    (folder / "types.yaml").write_text(types)
    (folder / "sizes").write_text(f"grid\t{SIZE}\n" + "other\t1000\n" * other)
    ingest(
        str(folder / "db"),
        str(folder / "samples.tsv"),
        attribute_config_file=str(folder / "types.yaml"),
        chrom_sizes=str(folder / "sizes"),
    )
    return str(folder / "db")
