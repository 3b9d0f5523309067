"""Which elements are predicted together, so that nothing a model is tested on was near what it learnt from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from db_ingest import intervals
from db_ingest.errors import InputError
from kerasgen.downstream_tasks.elements import Elements
from kerasgen.downstream_tasks.settings import GROUPINGS

_LEAST = 3
_LEAST_OF_FOLD = {"classification": 2, "regression": 5}
_BLOCKS = 100


@dataclass(frozen=True)
class Folding:
    """Elements in folds.

    Args:
        fold: ``(n,) int64``, from 0.
        grouping: ``"chromosome"``, all elements of one are in the same fold, or ``"block"``, neighbours are.
        block: ``(n,) int64``, smaller groups of neighbours within a fold: what is drawn for intervals.
        gap: bp; with blocks, what lies nearer to what is held out is not learnt from.
        spans: ``(n,) int64`` first and end of each element on the position axis, flanks included.
    """

    fold: np.ndarray
    grouping: str
    block: np.ndarray
    gap: int
    spans: intervals.Spans

    @property
    def count(self) -> int:
        """Number of folds."""
        return int(self.fold.max()) + 1

    def tested(self, fold: int) -> np.ndarray:
        """Elements that are predicted, ``(n,) bool``."""
        return self.fold == fold

    def stopping(self, fold: int) -> np.ndarray:
        """Elements that say when to stop learning: the next fold, away from those predicted; ``(n,) bool``."""
        return (self.fold == (fold + 1) % self.count) & ~self._near(self.tested(fold))

    def learning(self, fold: int) -> np.ndarray:
        """Elements that are learnt from until stopped: the other folds, away from both; ``(n,) bool``."""
        held_out = self.tested(fold) | (self.fold == (fold + 1) % self.count)
        return ~held_out & ~self._near(held_out)

    def all_but(self, fold: int) -> np.ndarray:
        """Elements that the final model is learnt from: all away from those predicted; ``(n,) bool``."""
        return ~self.tested(fold) & ~self._near(self.tested(fold))

    def _near(self, held_out: np.ndarray) -> np.ndarray:
        start, end = self.spans
        around = intervals.merge(start[held_out] - self.gap, end[held_out] + self.gap)
        return intervals.overlaps(around, start, end)


def fold_elements(
    elements: Elements, *, task: str, folds: int, grouping: str = "auto", gap: int = 0, flank: int = 0
) -> Folding:
    """Divide elements into folds.

    Elements that overlap, their flanks and all between two anchors included, are always in one fold.

    Args:
        elements: they.
        task: ``"classification"`` or ``"regression"``.
        folds: their number, 3 or more: one is predicted, the next says when to stop, the others are learnt from.
        grouping: ``"chromosome"``; ``"block"``: runs of neighbours in the order of the genome; ``"auto"``: by
            chromosome if at least as many have elements as there are folds.
        gap: with blocks, bp between what is held out and what is learnt from.
        flank: bp that features reach beyond the elements.

    Raises:
        InputError: fewer chromosomes or groups than folds, or a fold with too few elements (of a class).
    """
    if grouping not in GROUPINGS:
        raise InputError(f"--group_by {grouping}: expected one of {', '.join(GROUPINGS)}")
    if folds < _LEAST:
        raise InputError(f"--folds {folds}: expected {_LEAST} or more: one is predicted, one says when to stop")
    if gap < 0 or flank < 0:
        raise InputError(f"--gap {gap}, --flank {flank}: expected 0 or more bp")
    chromosomes = len(np.unique(elements.chromosome))
    if grouping == "auto":
        grouping = "chromosome" if chromosomes >= folds else "block"
    if grouping == "chromosome" and chromosomes < folds:
        raise InputError(
            f"--folds {folds}: elements lie on {chromosomes} chromosome(s); expected at most that many folds, or "
            "--group_by block"
        )
    low, high = elements.extent(flank)
    offset = elements.genome.offsets[elements.chromosome]
    start, end = offset + low, offset + high
    merged = intervals.merge(start, end)
    cluster = np.searchsorted(merged[0], start, side="right") - 1
    if grouping == "chromosome":
        fold, gap = _by_chromosome(elements.chromosome, folds), 0
    else:
        if len(merged[0]) < folds:
            raise InputError(
                f"--folds {folds}: the elements, all between their ends included, overlap to {len(merged[0])} "
                "group(s); expected at least as many as folds, or elements on more chromosomes"
            )
        fold = _runs(cluster, folds)
    _check(elements, task, fold, folds, grouping)
    return Folding(fold, grouping, _blocks(cluster, fold), gap, (start, end))


def _by_chromosome(chromosome: np.ndarray, folds: int) -> np.ndarray:
    """Chromosomes with the most elements first, each to the fold that has the fewest."""
    names, counts = np.unique(chromosome, return_counts=True)
    fold_of, filled = {}, np.zeros(folds, np.int64)
    for i in np.argsort(-counts, kind="stable"):
        fold_of[names[i]] = int(np.argmin(filled))
        filled[fold_of[names[i]]] += counts[i]
    return np.array([fold_of[place] for place in chromosome], np.int64)


def _runs(group: np.ndarray, runs: int) -> np.ndarray:
    """Divide groups, in order, into runs of about as many elements each; ``(n,) int64`` from 0, none left out."""
    counts = np.bincount(group)
    middle = np.cumsum(counts) - counts / 2
    run = np.minimum((middle * runs / counts.sum()).astype(np.int64), runs - 1)
    # A large group may have taken the place of several runs.
    return np.unique(run, return_inverse=True)[1].reshape(-1)[group]


def _blocks(cluster: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """About a hundred groups of neighbours, none in two folds, none of a part of a cluster."""
    block = np.zeros(len(fold), np.int64)
    begin = 0
    for number in range(int(fold.max()) + 1):
        inside = np.flatnonzero(fold == number)
        groups = np.unique(cluster[inside], return_inverse=True)[1].reshape(-1)
        runs = max(1, min(round(_BLOCKS * len(inside) / len(fold)), int(groups.max()) + 1))
        block[inside] = begin + _runs(groups, runs)
        begin = int(block.max()) + 1
    return block


def _check(elements: Elements, task: str, fold: np.ndarray, folds: int, grouping: str) -> None:
    least = _LEAST_OF_FOLD[task]
    for number in range(folds):
        labels = elements.label[fold == number]
        if task == "classification":
            counts = {"positive": int((labels == 1).sum()), "negative": int((labels == 0).sum())}
            few = [(count, what) for what, count in counts.items() if count < least]
            what = f"{few[0][0]} {few[0][1]}(s) among its {len(labels)} elements" if few else ""
            expected = f"{least} or more of each class"
        else:
            what = f"{len(labels)} element(s)" if len(labels) < least else ""
            expected = f"{least} or more"
        if what:
            raise InputError(
                f"fold {number + 1} of {folds}, by {grouping}: {what}; expected {expected}: fewer --folds, more "
                "elements, or another --group_by"
            )
