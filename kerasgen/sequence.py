"""Sequence as numbers: encoding, reverse complement and dinucleotide-preserving shuffles.

Base codes are uint8: A C G T = 0 1 2 3, anything else 4.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from db_ingest.layout.codes import UNKNOWN_BASE

ALPHABET = "ACGT"
ONE_HOT = np.concatenate([np.eye(4, dtype=np.float32), np.zeros((1, 4), np.float32)])
COMPLEMENT = np.array([3, 2, 1, 0, 4], np.uint8)


def one_hot(codes: np.ndarray) -> np.ndarray:
    """``(..., length) uint8`` codes as ``(..., length, 4) float32``; an unknown base is all zeros."""
    return ONE_HOT[codes]


def codes_of(encoded: np.ndarray) -> np.ndarray:
    """``(..., length, 4)`` one-hot as ``(..., length) uint8`` codes; all zeros are unknown."""
    return np.where(encoded.any(axis=-1), encoded.argmax(axis=-1), UNKNOWN_BASE).astype(np.uint8)


def to_text(codes: np.ndarray) -> str:
    """``(length,)`` codes as letters, unknown bases as N."""
    return "".join((ALPHABET + "N")[c] for c in codes)


def reverse_complement(codes: np.ndarray) -> np.ndarray:
    """Reverse complement of ``(..., length)`` codes."""
    return COMPLEMENT[codes[..., ::-1]]


def dinucleotide_shuffle(codes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Shuffles of a sequence that keep the number of every dinucleotide, and its first and last base.

    An Euler path drawn uniformly: a random tree of last edges by Wilson's algorithm, the other edges permuted
    (Altschul and Erickson 1985, Mol. Biol. Evol. 2:526; Propp and Wilson 1998, J. Algorithms 27:170).

    Args:
        codes: ``(length,) uint8``; unknown bases are a fifth letter.
        count: how many shuffles.
        seed: equal seeds give equal shuffles.

    Returns:
        ``(count, length) uint8``.
    """
    codes = np.ascontiguousarray(codes, np.uint8)
    if len(codes) < 3:
        return np.repeat(codes[None], count, axis=0)
    return _kernel()(codes, count, seed)


@functools.cache
def _kernel() -> Callable[[np.ndarray, int, int], np.ndarray]:
    import numba

    @numba.njit(nogil=True, cache=True)
    def shuffle(codes: np.ndarray, count: int, seed: int) -> np.ndarray:
        np.random.seed(seed)
        length = len(codes)
        last = codes[length - 1]
        degree = np.zeros(5, np.int64)
        for i in range(length - 1):
            degree[codes[i]] += 1
        begin = np.zeros(6, np.int64)
        for letter in range(5):
            begin[letter + 1] = begin[letter] + degree[letter]
        original = np.empty(length - 1, np.uint8)
        fill = begin[:5].copy()
        for i in range(length - 1):
            original[fill[codes[i]]] = codes[i + 1]
            fill[codes[i]] += 1
        result = np.empty((count, length), np.uint8)
        exit_edge = np.empty(5, np.int64)
        in_tree = np.empty(5, np.bool_)
        for shuffled in range(count):
            edges = original.copy()
            # Wilson: walk at random from each letter until the tree is met, then keep each letter's last exit.
            in_tree[:] = False
            in_tree[last] = True
            for letter in range(5):
                if degree[letter] == 0:
                    continue
                here = letter
                while not in_tree[here]:
                    exit_edge[here] = begin[here] + np.random.randint(degree[here])
                    here = edges[exit_edge[here]]
                here = letter
                while not in_tree[here]:
                    in_tree[here] = True
                    here = edges[exit_edge[here]]
            for letter in range(5):
                stop = begin[letter + 1]
                if letter != last and degree[letter] > 0:
                    stop -= 1
                    chosen = exit_edge[letter]
                    edges[chosen], edges[stop] = edges[stop], edges[chosen]
                for i in range(stop - 1, begin[letter], -1):
                    j = begin[letter] + np.random.randint(i - begin[letter] + 1)
                    edges[i], edges[j] = edges[j], edges[i]
            place = begin[:5].copy()
            here = codes[0]
            result[shuffled, 0] = here
            for i in range(1, length):
                following = edges[place[here]]
                place[here] += 1
                here = following
                result[shuffled, i] = here
        return result

    return shuffle
