"""Factors of places in the genome, at three resolutions: kept on the host and learned where a batch touches them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerasgen.track_models.avocado import kernels
from kerasgen.track_models.binned import Stretch

LEVELS = ("25bp", "250bp", "5kbp")
SPANS = (1, 10, 200)
"""Bins that share a row, of each resolution."""
_ROWS_AT_ONCE = 2**18


class GenomeFactors:
    """One table of factors per resolution, with Adam's moments.

    A batch costs what the rows it touches cost, not what the tables do, and yet factors are where Adam on the whole
    tables would have them: a row's momentum is made up for when it is next looked at.

    Args:
        stretches: what the bins are; a row of a coarse table never spans two.
        factors: number of factors of each resolution.
        rng: draws the first values, uniform within ± 0.05 as Keras' embeddings begin.
        decay: by how much of itself, times the learning rate, a factor shrinks with each step that touches it.
    """

    def __init__(
        self, stretches: Sequence[Stretch], factors: Sequence[int], rng: np.random.Generator, decay: float = 0.0
    ) -> None:
        self.stretches, self.decay, self.step = tuple(stretches), decay, 0
        self._rates = np.zeros(1024)
        self._ends = np.array([stretch.end for stretch in stretches], np.int64)
        self._begins = np.array([stretch.first for stretch in stretches], np.int64)
        sizes = self._ends - self._begins
        self._rows_before = [np.concatenate([[0], np.cumsum(-(-sizes // span))]) for span in SPANS]
        self.tables = [
            draw_factors(rng, int(before[-1]), count) for before, count in zip(self._rows_before, factors, strict=True)
        ]
        self._moments: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @property
    def bins(self) -> int:
        """Bins of all stretches."""
        return int(self._ends[-1])

    @property
    def width(self) -> int:
        """Factors of a bin, of all resolutions together."""
        return sum(table.shape[1] for table in self.tables)

    def rows(self, positions: np.ndarray) -> list[np.ndarray]:
        """For each resolution, the rows of bins."""
        stretch = np.searchsorted(self._ends, positions, side="right")
        inside = positions - self._begins[stretch]
        return [before[stretch] + inside // span for before, span in zip(self._rows_before, SPANS, strict=True)]

    def gather(self, positions: np.ndarray) -> np.ndarray:
        """Factors of bins, ``(bins, width) float32``; after :meth:`settle`, or as :meth:`begin_step` left them."""
        return self._laid_side_by_side(self.rows(positions), len(positions))

    def begin_step(self, positions: np.ndarray, rate: float) -> tuple[list[np.ndarray], np.ndarray]:
        """Bring the rows of a batch up to date.

        Args:
            positions: sorted bins.
            rate: the learning rate.

        Returns:
            The rows of each resolution, and the factors, ``(bins, width) float32``.
        """
        if not self._moments:
            self._moments = [
                (np.zeros_like(table), np.zeros_like(table), np.zeros(len(table), np.int64)) for table in self.tables
            ]
        self.step += 1
        if self.step == len(self._rates):
            self._rates = np.concatenate([self._rates, np.zeros_like(self._rates)])
        self._rates[self.step] = rate
        rows = self.rows(positions)
        for level, table in enumerate(self.tables):
            kernels.catch_up(rows[level], table, *self._moments[level], self.step, self._rates)
        return rows, self._laid_side_by_side(rows, len(positions))

    def end_step(self, rows: list[np.ndarray], gradient: np.ndarray) -> None:
        """Take the step that :meth:`begin_step` began, with ``(bins, width)`` gradients of the factors."""
        column, rate = 0, self._rates[self.step]
        for level, table in enumerate(self.tables):
            kernels.adam_rows(rows[level], gradient, column, table, *self._moments[level], self.step, rate, self.decay)
            column += table.shape[1]

    def settle(self) -> None:
        """Bring all rows up to date."""
        for level, table in enumerate(self.tables if self._moments else ()):
            every = np.arange(len(table))
            kernels.catch_up(every, table, *self._moments[level], self.step + 1, self._rates)

    def forget_moments(self) -> None:
        """Let go of Adam's moments; training on begins with new ones."""
        self.settle()
        self._moments, self.step = [], 0

    def copy_tables(self) -> list[np.ndarray]:
        """Copies of the tables, brought up to date."""
        self.settle()
        return [table.copy() for table in self.tables]

    def _laid_side_by_side(self, rows: list[np.ndarray], count: int) -> np.ndarray:
        out, column = np.empty((count, self.width), np.float32), 0
        for level, table in enumerate(self.tables):
            kernels.gather(rows[level], table, out, column)
            column += table.shape[1]
        return out


def draw_factors(rng: np.random.Generator, rows: int, columns: int, rows_at_once: int = _ROWS_AT_ONCE) -> np.ndarray:
    """Numbers within ± 0.05, drawn some rows at a time: as float64 they would take twice the table's memory."""
    table = np.empty((rows, columns), np.float32)
    for first in range(0, rows, rows_at_once):
        part = table[first : first + rows_at_once]
        part[:] = rng.uniform(-0.05, 0.05, part.shape)
    return table
