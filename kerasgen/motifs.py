"""Position weight matrices from JASPAR files."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError, MissingFileError


class Motif(NamedTuple):
    """A motif.

    Args:
        name: as the file gives it.
        matrix: ``(length, 4) float64``, probabilities of A C G T at each position.
    """

    name: str
    matrix: np.ndarray


def bundled_path() -> Path:
    """The file of JASPAR matrices that comes with the package."""
    return Path(str(resources.files("kerasgen") / "data" / "jaspar_demo.jaspar"))


def read_jaspar(path: str | Path) -> list[Motif]:
    """Read motifs in the JASPAR format: ``>ID NAME``, then four lines ``A [ counts ]`` ... ``T [ counts ]``.

    Raises:
        InputError: with the line, for anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; expected motifs in the JASPAR format")
    motifs: list[Motif] = []
    name, rows = "", dict[str, list[float]]()
    lines = path.read_text(errors="replace").splitlines()
    for number, line in enumerate([*lines, ">"], 1):
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith(">"):
            if name:
                widths = {len(row) for row in rows.values()}
                if set(rows) != set("ACGT") or len(widths) != 1 or 0 in widths:
                    raise InputError(f"{path}:{number}: motif {name!r} needs rows A, C, G and T of equal length")
                matrix = np.array([rows[base] for base in "ACGT"]).T
                if (matrix < 0).any() or (matrix.sum(axis=1) <= 0).any():
                    raise InputError(f"{path}:{number}: motif {name!r} has a position without counts")
                motifs.append(Motif(name, matrix / matrix.sum(axis=1, keepdims=True)))
            name, rows = (line[1:].split() or [""])[-1], {}
            continue
        found = re.fullmatch(r"\s*([ACGT])\s*\[?([^\]]*)\]?\s*", line)
        try:
            if found is None:
                raise ValueError
            rows[found.group(1)] = [float(word) for word in found.group(2).split()]
        except ValueError:
            raise InputError(f"{path}:{number}: expected a base and its counts, got {line.strip()[:60]!r}") from None
    if not motifs:
        raise InputError(f"{path}: no motifs in it; expected the JASPAR format")
    return motifs
