"""Folds of elements, and what a model of each may see."""

from __future__ import annotations

import numpy as np
import pytest

from db_ingest.errors import InputError
from db_ingest.layout.genome import Genome
from kerasgen.downstream_tasks.elements import Elements
from kerasgen.downstream_tasks.folds import fold_elements

GENOME = Genome(tuple(f"chr{i}" for i in range(1, 8)), (2_000_000,) * 7)


def made(n: int, chromosomes: int, *, pairs: bool = False, seed: int = 0, length: int = 3000) -> Elements:
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 1_900_000, (n, 1))
    if pairs:
        start = np.column_stack([start, start + rng.integers(5000, 60_000, (n, 1))])
    return Elements(
        GENOME, np.array(["."] * n, object), rng.integers(0, chromosomes, n), start,
        start + rng.integers(1, length, start.shape), np.zeros(n, bool), (rng.random(n) < 0.4).astype(float),
        np.arange(n),
    )  # fmt: skip


def touching(elements: Elements, a: np.ndarray, b: np.ndarray, distance: int) -> bool:
    """Whether any of ``a`` lies within a distance of any of ``b``, compared one by one."""
    low, high = elements.start.min(axis=1), elements.end.max(axis=1)
    same = elements.chromosome[a][:, None] == elements.chromosome[b][None]
    near = (low[a][:, None] - distance < high[b][None]) & (low[b][None] < high[a][:, None] + distance)
    return bool((same & near).any())


@pytest.mark.parametrize("pairs", [False, True])
def test_blocks_never_put_neighbours_on_both_sides(pairs: bool) -> None:
    elements = made(250, 3, pairs=pairs)
    folding = fold_elements(elements, task="classification", folds=5, gap=10_000, flank=500)
    assert folding.grouping == "block"
    assert sorted(set(folding.fold)) == [0, 1, 2, 3, 4]
    for fold in range(5):
        test, stop = folding.tested(fold), folding.stopping(fold)
        learn, rest = folding.learning(fold), folding.all_but(fold)
        assert not (test & (stop | learn | rest)).any()
        assert not (stop & learn).any()
        assert not touching(elements, test, stop | learn | rest, 10_000)
        assert not touching(elements, stop, learn, 10_000)
        # No more is left out than must be: what is left out is near, flanks included, to what is held out.
        out = np.flatnonzero(~test & ~rest)
        assert all(touching(elements, test, np.array([i]), 11_000) for i in out)
        assert rest.sum() > 150


def test_a_chromosome_is_in_one_fold_and_folds_are_even() -> None:
    elements = made(1000, 7)
    folding = fold_elements(elements, task="classification", folds=3)
    assert folding.grouping == "chromosome"
    for chromosome in np.unique(elements.chromosome):
        assert len(set(folding.fold[elements.chromosome == chromosome])) == 1
    sizes = np.bincount(folding.fold)
    assert sizes.max() < 1.6 * sizes.min()
    for fold in range(3):
        # Nothing is left out: other chromosomes are no neighbours.
        assert (folding.tested(fold) | folding.all_but(fold)).all()
        assert (folding.tested(fold) | folding.stopping(fold) | folding.learning(fold)).all()


def test_drawn_blocks_are_of_neighbours_of_one_fold() -> None:
    elements = made(2000, 2)
    folding = fold_elements(elements, task="classification", folds=4, gap=1000)
    blocks = np.unique(folding.block)
    assert 60 <= len(blocks) <= 101
    for block in blocks:
        inside = folding.block == block
        assert len(set(folding.fold[inside])) == 1
        assert not touching(elements, inside, ~inside, 0)


@pytest.mark.parametrize(
    ("elements", "flags", "message"),
    [
        (made(200, 7), {"folds": 2}, "--folds 2: expected 3 or more"),
        (made(200, 2), {"folds": 5, "grouping": "chromosome"}, "elements lie on 2 chromosome(s)"),
        (made(8, 1), {"folds": 4}, "of 4, by block: "),
        (made(200, 1, pairs=True), {"folds": 5, "flank": 1_000_000}, "overlap to 1 group(s)"),
        (made(200, 7), {"folds": 5, "gap": -1}, "--gap -1"),
        (made(200, 7), {"folds": 5, "grouping": "random"}, "--group_by random"),
    ],
)
def test_folds_that_cannot_be_are_refused(elements: Elements, flags: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        fold_elements(elements, **{"task": "classification", **flags})
    assert message in str(error.value)
