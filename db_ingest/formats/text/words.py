"""Numbers for the words of a column, compared byte by byte: chromosome names, barcodes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numba
import numpy as np

from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome

UNKNOWN = -1
_FREE = -1
_PRIME = np.uint64(0x100000001B3)


class Words:
    """Words in the order in which they came, found again by hashing.

    Args:
        words: those known from the start, in UTF-8.
    """

    def __init__(self, words: Iterable[bytes] = ()) -> None:
        self._count = np.zeros(1, np.int64)
        self._pool = np.empty(1 << 10, np.uint8)
        self._bounds = np.zeros((1 << 5) + 1, np.int64)
        self._slots = np.full(1 << 6, _FREE, np.int32)
        known = list(words)
        last = np.cumsum([len(word) for word in known], dtype=np.int64)
        text = np.frombuffer(b"".join(known) or b"\0", np.uint8).copy()
        self.number(text, np.concatenate([[0], last[:-1]]) if known else last, last, add=True)

    def __len__(self) -> int:
        return int(self._count[0])

    def __getitem__(self, number: int) -> str:
        begin, end = self._bounds[number : number + 2]
        return self._pool[begin:end].tobytes().decode("utf-8", errors="replace")

    def number(self, text: np.ndarray, first: np.ndarray, last: np.ndarray, *, add: bool = False) -> np.ndarray:
        """Number of the word in each field, ``(rows,) int32``; a new word is :data:`UNKNOWN`, or added."""
        numbers = np.empty(len(first), np.int32)
        at = 0
        while True:
            tables = (self._count, self._pool, self._bounds, self._slots)
            at = _number(text, first, last, at, *tables, add, numbers)
            if at == len(first):
                return numbers
            self._grow(int(last[at] - first[at]))

    def _grow(self, longest: int) -> None:
        self._pool = np.concatenate([self._pool, np.empty(len(self._pool) + longest, np.uint8)])
        self._bounds = np.concatenate([self._bounds, np.zeros(len(self._bounds) - 1, np.int64)])
        self._slots = np.full(2 * len(self._slots), _FREE, np.int32)
        _refill(self._count, self._pool, self._bounds, self._slots)


class ChromosomeNames:
    """The chromosome names that a file was seen to use, and what they mean.

    Args:
        naming: names of the chromosomes of the database's genome.
    """

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._words = Words()
        self._places = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._words)

    @property
    def genome(self) -> Genome:
        """The genome whose chromosomes they mean."""
        return self._naming.genome

    def match(self, path: str | Path, *, whole: bool = True) -> tuple[str, ...]:
        """Names of the genome's chromosomes that were seen, in its order.

        Args:
            path: the file, for messages.
            whole: whether all of the file was seen, so that something ought to be among it.

        Raises:
            InputError: no chromosome in common, or two names of one.
        """
        if not whole and (self._places == UNKNOWN).all():
            return ()
        return tuple(self._naming.match(path, [self._words[i] for i in range(len(self._words))]))

    def number(self, text: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Number of the name in each field, ``(rows,) int32``, counted in the order in which names came."""
        numbers = self._words.number(text, first, last, add=True)
        found = [self._naming.find(self._words[i]) for i in range(len(self._places), len(self._words))]
        places = [UNKNOWN if name is None else self.genome.index(name) for name in found]
        self._places = np.append(self._places, np.array(places, np.int32))
        return numbers

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Place in the genome of each name, ``(rows,) int32``; -1: the genome lacks it."""
        return self._places[numbers]


@numba.njit(nogil=True, cache=True)
def _hash(text: np.ndarray, first: int, last: int) -> np.int64:
    """FNV-1a, its upper half folded into the lower."""
    value = np.uint64(0xCBF29CE484222325)
    for i in range(first, last):
        value = (value ^ np.uint64(text[i])) * _PRIME
    return np.int64((value ^ (value >> np.uint64(32))) & np.uint64(0x7FFFFFFF))


@numba.njit(nogil=True, cache=True)
def _same(a: np.ndarray, a_first: int, a_last: int, b: np.ndarray, b_first: int, b_last: int) -> bool:
    if a_last - a_first != b_last - b_first:
        return False
    for i in range(a_last - a_first):  # noqa: SIM110
        if a[a_first + i] != b[b_first + i]:
            return False
    return True


@numba.njit(nogil=True, cache=True)
def _number(
    text: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    begin: int,
    count: np.ndarray,
    pool: np.ndarray,
    bounds: np.ndarray,
    slots: np.ndarray,
    add: bool,
    numbers: np.ndarray,
) -> int:
    for i in range(begin, len(first)):
        if i > begin and _same(text, first[i], last[i], text, first[i - 1], last[i - 1]):
            numbers[i] = numbers[i - 1]
            continue
        slot = _hash(text, first[i], last[i]) & (len(slots) - 1)
        while slots[slot] != _FREE:
            word = slots[slot]
            if _same(text, first[i], last[i], pool, bounds[word], bounds[word + 1]):
                break
            slot = (slot + 1) & (len(slots) - 1)
        numbers[i] = slots[slot]
        if slots[slot] == _FREE and add:
            word = count[0]
            end = bounds[word] + last[i] - first[i]
            if word + 1 >= len(bounds) or end > len(pool):
                return i
            pool[bounds[word] : end] = text[first[i] : last[i]]
            bounds[word + 1] = end
            slots[slot] = word
            count[0] += 1
            numbers[i] = word
    return len(first)


@numba.njit(nogil=True, cache=True)
def _refill(count: np.ndarray, pool: np.ndarray, bounds: np.ndarray, slots: np.ndarray) -> None:
    for word in range(count[0]):
        slot = _hash(pool, bounds[word], bounds[word + 1]) & (len(slots) - 1)
        while slots[slot] != _FREE:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = word
