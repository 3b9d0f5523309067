"""How well contribution scores find the sequence that is known to matter."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError, MissingFileError


class Explained(NamedTuple):
    """Contribution scores of ``gen_shap`` in memory, in the direction they were read.

    Args:
        chromosome: ``(n,)`` names.
        start: ``(n,) int64`` first base of each window.
        reverse: ``(n,) bool``, read as the reverse complement.
        sequence: ``(n, length, 4) uint8`` one-hot.
        observed: head -> ``(n, length) float32``.
    """

    chromosome: np.ndarray
    start: np.ndarray
    reverse: np.ndarray
    sequence: np.ndarray
    observed: dict[str, np.ndarray]


def read_explained(path: str | Path) -> Explained:
    """Read ``P.shap.h5``; raises :class:`InputError` for anything else."""
    import h5py

    if not Path(path).is_file():
        raise MissingFileError(f"{path}: no such file; expected the P.shap.h5 of gen_shap")
    try:
        with h5py.File(path) as file:
            coords = file["coords"][:].astype(str)
            sequence = file["sequence"][:]
            observed = {head: file[head]["observed"][:] for head in ("counts", "profile") if head in file}
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: not a file of gen_shap ({error})") from error
    start = coords[:, 1].astype(np.int64) - sequence.shape[1] // 2
    return Explained(coords[:, 0], start, coords[:, 2] == "-", sequence, observed)


class Site(NamedTuple):
    """A stretch known to matter."""

    start: int
    end: int
    name: str


def read_sites(path: str | Path) -> dict[str, list[Site]]:
    """Sites of a BED file by chromosome; column 4 is the name."""
    from db_ingest.inputs.files import read_text

    sites: dict[str, list[Site]] = {}
    for number, line in enumerate(read_text(path, "a BED file of known sites").splitlines(), 1):
        fields = line.split("\t")
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        if len(fields) < 3 or not fields[1].isdigit() or not fields[2].isdigit():
            raise InputError(f"{path}:{number}: expected chromosome, start and end, got {line.strip()[:60]!r}")
        name = fields[3] if len(fields) > 3 else ""
        sites.setdefault(fields[0], []).append(Site(int(fields[1]), int(fields[2]), name))
    return sites


def known_bases(found: Explained, sites: dict[str, list[Site]]) -> np.ndarray:
    """Which bases of each window lie in a site, in the direction the window was read; ``(n, length) bool``."""
    length = found.sequence.shape[1]
    flags = np.zeros((len(found.start), length), bool)
    for i, (name, start) in enumerate(zip(found.chromosome, found.start, strict=True)):
        for site in sites.get(name, []):
            low, high = max(site.start - start, 0), min(site.end - start, length)
            if high > low:
                flags[i, low:high] = True
    flags[found.reverse] = flags[found.reverse][:, ::-1]
    return flags


def auroc(found: Explained, sites: dict[str, list[Site]]) -> dict[str, float]:
    """Area under the ROC curve of ``|score|`` for telling bases in known sites from all others, by head."""
    from sklearn.metrics import roc_auc_score

    known = known_bases(found, sites).reshape(-1)
    if known.all() or not known.any():
        raise InputError("no known site lies in the explained regions")
    return {head: float(roc_auc_score(known, np.abs(scores).reshape(-1))) for head, scores in found.observed.items()}
