"""What the other tracks say of a bin: further inputs of an imputation model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerasgen.track_models.avocado import kernels
from kerasgen.track_models.binned import Stretch

WINDOWS = (0, 2, 5, 10, 20, 40, 200, 1000)
"""Bins to each side of the bin that values are averaged over: 25 bp to 50 kb at 25 bp per bin."""


class Context:
    """Averages around a bin of all tracks but the one asked for.

    The columns, with ``m`` windows and ``n`` assays. First, for each window, of the same assay in the other cell types:
    mean, least, most, standard deviation; the mean with more weight for cell types whose other assays look like those
    of the cell type asked for in this window; the same of the values at the bin itself (``6 m``; column 0 is the plain
    mean at the bin). Then, for each assay: for each window the mean of the other cell types, and by how much the cell
    type asked for is above it; last, whether the cell type has this assay (``n (2 m + 1)``). The track asked for is
    never looked at, so that a track that was measured and one that was not look alike.

    Args:
        values: ``(tracks, bins) float32``, NaN where there is none.
        celltypes, assays: ``(tracks,)`` indices.
        n_celltypes, n_assays: how many the model knows.
        stretches: what the bins are; a window ends where its stretch does.
        windows: bins to each side.
        scales: ``(tracks, 2) float32`` offset and spread of each track, if the units of ``values`` are not the model's.
    """

    def __init__(
        self,
        values: np.ndarray,
        celltypes: np.ndarray,
        assays: np.ndarray,
        n_celltypes: int,
        n_assays: int,
        stretches: Sequence[Stretch],
        windows: Sequence[int] = WINDOWS,
        scales: np.ndarray | None = None,
    ) -> None:
        self.n_assays = n_assays
        self._rows = np.full((n_celltypes, n_assays), -1, np.int64)
        self._rows[celltypes, assays] = np.arange(len(values))
        self.windows = np.array(windows, np.int64)
        tracks, bins = values.shape
        if scales is None:
            scales = np.tile(np.array([0, 1], np.float32), (tracks, 1))
        runs = bins // kernels.RUN + 1
        self._sums = np.empty((runs, tracks)), np.empty((bins + 1, tracks), np.float32)
        self._counts = np.empty((runs, tracks), np.int32), np.empty((bins + 1, tracks), np.uint8)
        for row, (track, scale) in enumerate(zip(values, scales, strict=True)):
            kernels.prefix_sums(track, *scale, *(table[:, row] for table in (*self._sums, *self._counts)))
        self._ends = np.array([stretch.end for stretch in stretches], np.int64)
        self._begins = np.array([stretch.first for stretch in stretches], np.int64)

    @property
    def tracks(self) -> int:
        """Tracks that are looked at."""
        return self._sums[0].shape[1]

    @property
    def columns(self) -> int:
        """Inputs there are of a sample."""
        return columns(self.n_assays, len(self.windows))

    def __call__(
        self, positions: np.ndarray, celltype: np.ndarray, assay: np.ndarray, kept: np.ndarray | None = None
    ) -> np.ndarray:
        """Inputs of samples.

        Args:
            positions: ``(n,)`` bins.
            celltype, assay: ``(n,)`` indices of the tracks asked for.
            kept: ``(n, tracks) bool``: False for tracks to do without (default: none).

        Returns:
            ``(n, columns) float32``.
        """
        positions = positions.astype(np.int64, copy=False)
        stretch = np.searchsorted(self._ends, positions, side="right")
        out = np.empty((len(positions), self.columns), np.float32)
        kernels.context(
            positions, self._begins[stretch], self._ends[stretch], celltype, assay,
            np.empty((0, self.tracks), bool) if kept is None else kept,
            self.windows, *self._sums, *self._counts, self._rows, out,
        )  # fmt: skip
        return out


def columns(n_assays: int, windows: int = len(WINDOWS)) -> int:
    """Inputs there are of a sample."""
    return 6 * windows + n_assays * (2 * windows + 1)
