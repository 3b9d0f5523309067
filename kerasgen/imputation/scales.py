"""Mean and spread of each track, and a guess at those of a track that was not measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kerasgen.binned import Pair

Scale = tuple[float, float]
"""Mean and standard deviation of a track's bins."""

_RIDGE = 0.1


def measure(values: np.ndarray) -> Scale:
    """Of one track, ``(bins,)``; NaN is left out."""
    there = values[~np.isnan(values)].astype(np.float64)
    return float(there.mean()), float(there.std()) or 1.0


def guess(scales: Mapping[Pair, Scale], celltype: str, assay: str) -> Scale:
    """Of a track that was not measured: what its cell type and its assay have in other tracks.

    The logarithm of the spread is taken as a cell type's part plus an assay's part, each shrunk towards the mean of all
    (a ridge regression on the tracks there are); so is the mean, in units of the spread.

    Args:
        scales: of the tracks there are, with at least one of the cell type and one of the assay.
        celltype, assay: of the track wanted.
    """
    celltypes = sorted({pair[0] for pair in scales} | {celltype})
    assays = sorted({pair[1] for pair in scales} | {assay})

    def row(pair: Pair) -> np.ndarray:
        here = np.zeros(len(celltypes) + len(assays))
        here[[celltypes.index(pair[0]), len(celltypes) + assays.index(pair[1])]] = 1
        return here

    design = np.stack([row(pair) for pair in scales])
    known = np.array([(mean / spread, np.log(spread)) for mean, spread in scales.values()])
    centre = known.mean(axis=0)
    parts = np.linalg.solve(design.T @ design + _RIDGE * np.eye(design.shape[1]), design.T @ (known - centre))
    ratio, log_spread = centre + row((celltype, assay)) @ parts
    spread = float(np.exp(log_spread))
    return float(ratio * spread), spread
