"""Reference sequences that a prediction is compared with."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from db_ingest.errors import InputError
from kerasgen.sequence import dinucleotide_shuffle, one_hot

Maker = Callable[[np.ndarray, int, np.ndarray], np.ndarray]
"""``((batch, length) uint8 codes, number of references, (batch,) seeds) -> (batch, references, length, 4) float32``."""


def dinucleotide_shuffles(codes: np.ndarray, count: int, seeds: np.ndarray) -> np.ndarray:
    """Shuffles that keep the number of every dinucleotide, see :func:`kerasgen.sequence.dinucleotide_shuffle`."""
    shuffled = [dinucleotide_shuffle(own, count, int(seed)) for own, seed in zip(codes, seeds, strict=True)]
    return one_hot(np.stack(shuffled))


def zeros(codes: np.ndarray, count: int, seeds: np.ndarray) -> np.ndarray:
    """Unknown bases alone."""
    return np.zeros((len(codes), count, codes.shape[1], 4), np.float32)


def uniform(codes: np.ndarray, count: int, seeds: np.ndarray) -> np.ndarray:
    """A quarter of each base at each position."""
    return np.full((len(codes), count, codes.shape[1], 4), 0.25, np.float32)


MAKERS: dict[str, Maker] = {"dinucleotide_shuffle": dinucleotide_shuffles, "zeros": zeros, "uniform": uniform}
"""Kinds of references by name."""


def maker_of(references: str | Maker) -> Maker:
    """The function that makes references; raises :class:`InputError` for an unknown name."""
    if callable(references):
        return references
    if references not in MAKERS:
        raise InputError(f"references {references!r}: expected one of {', '.join(MAKERS)}, an array or a function")
    return MAKERS[references]


def made(maker: Maker, codes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The references that a function makes of ``(batch, length) uint8`` codes.

    Raises:
        InputError: they are not an array ``(batch, count, length, 4)``.
    """
    references = np.asarray(maker(codes, count, seeds_of(codes, seed)), np.float32)
    expected = (len(codes), count, codes.shape[1], 4)
    if references.shape != expected:
        raise InputError(f"references: the function gives an array of shape {references.shape}; expected {expected}")
    return references


def seeds_of(codes: np.ndarray, seed: int) -> np.ndarray:
    """A seed for each sequence of ``(batch, length) uint8`` codes, from ``seed`` and the sequence itself alone."""
    own = [np.random.SeedSequence((seed, zlib.crc32(row.tobytes()))).generate_state(1)[0] for row in codes]
    return np.array(own, np.uint32)


def check_references(references: np.ndarray, X: np.ndarray) -> np.ndarray:
    """References that a user gives, as ``(n, references, length, 4) float32``; raises :class:`InputError` if wrong."""
    found = np.asarray(references, np.float32)
    if found.ndim == 3 and found.shape[1:] == X.shape[1:]:
        found = np.broadcast_to(found, (len(X), *found.shape))
    if found.ndim != 4 or len(found) != len(X) or found.shape[2:] != X.shape[1:] or found.shape[1] < 1:
        raise InputError(
            f"references: an array of shape {np.shape(references)}; expected ({len(X)}, references, "
            f"{', '.join(map(str, X.shape[1:]))}), or the same without its first axis for all sequences"
        )
    return found
