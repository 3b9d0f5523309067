"""The table of samples and the sizes of the pilot grid, of the files in a folder."""

from __future__ import annotations

import sys
from pathlib import Path

CELLTYPES = ("E003", "E017", "E116", "E117")
ASSAYS = ("H3K4me3", "H3K27me3", "H3K36me3", "H3K9me3", "H3K4me1")
BINS, BIN = 1_126_469, 25


def main(data: Path, out: Path) -> None:
    """Write ``samples.tsv`` and ``pilot.sizes``."""
    rows = ["\t".join(("dataset", *ASSAYS))]
    for celltype in CELLTYPES:
        rows.append("\t".join((celltype, *(f"{data.resolve()}/{celltype}.{a}.pilot.arcsinh.npz" for a in ASSAYS))))
    (out / "samples.tsv").write_text("\n".join(rows) + "\n")
    (out / "pilot.sizes").write_text(f"pilot\t{BINS * BIN}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
