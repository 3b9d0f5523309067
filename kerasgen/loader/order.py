"""The order of an epoch's windows, and which of them are in memory together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from db_ingest import intervals
from db_ingest.layout.genome import Genome
from kerasgen.regions.windows import WindowPlan, Windows

_STREAM = 20
"""Purpose of the random numbers, see :meth:`kerasgen.regions.windows.Plan.key`."""


@dataclass(frozen=True)
class Order:
    """How the windows of an epoch follow each other: a function of the seed, the epoch and this.

    Args:
        block: positions of the axis whose windows come together; None: windows come from anywhere.
        buffer: blocks, drawn from anywhere, whose windows are shuffled together.
    """

    block: int | None = None
    buffer: int = 1

    def as_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    def arrange(self, genome: Genome, plan: WindowPlan, epoch: int) -> tuple[Windows, np.ndarray]:
        """The windows of an epoch in order.

        Returns:
            The windows, and the ``(groups + 1,)`` numbers of the first window of each group of those that are in
            memory together, with their total. A plan that is fixed keeps its own order, and windows from anywhere are
            one group.
        """
        windows = plan.epoch(epoch)
        count = len(windows.centre)
        if self.block is None or plan.fixed or not count:
            return windows, np.array([0, count])
        block = (genome.offsets[windows.chromosome] + windows.centre) // self.block
        found, number = np.unique(block, return_inverse=True)
        rank = np.random.default_rng(plan.key(epoch, _STREAM)).permutation(len(found))
        group = rank[number] // self.buffer
        # Within a group they stay as shuffled as they were.
        order = np.argsort(group, kind="stable")
        edges = np.searchsorted(group[order], np.arange(-(-len(found) // self.buffer) + 1))
        return windows.take(order), edges


def cover(genome: Genome, windows: Windows, flank: int) -> intervals.Spans:
    """Sorted disjoint stretches of the position axis that windows touch, within their chromosomes."""
    sizes = genome.size_array()[windows.chromosome]
    first = np.clip(windows.centre - flank, 0, sizes)
    last = np.clip(windows.centre + flank, 0, sizes)
    solid = last > first
    offset = genome.offsets[windows.chromosome][solid]
    return intervals.merge(offset + first[solid], offset + last[solid])
