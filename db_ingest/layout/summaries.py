"""Summaries of tracks: sum, coverage, extremes, and one checksum per chromosome. Those of parts add up to wholes."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from db_ingest.layout.codes import COUNTS_MISSING

_BLOCK = 4096


@dataclass(frozen=True)
class Part:
    """Summary of a stretch of one chromosome.

    Args:
        chromosome: its name.
        start: first cell of the stretch.
        bytes: number of bytes of its cells.
        total: sum of the values, NaN left out.
        covered: cells whose value is there and not 0.
        minimum, maximum: extremes, NaN left out; inf and -inf where there is no value.
        crc: CRC-32 of the cells as little-endian bytes.
    """

    chromosome: str
    start: int
    bytes: int
    total: float
    covered: int
    minimum: float
    maximum: float
    crc: int


def summarise(chromosome: str, start: int, cells: np.ndarray, folder: str) -> Part:
    """Summary of ``(n,)`` cells of a member in ``folder`` (``signal``, ``counts``, ``mask`` or ``sequence``)."""
    from isal import isal_zlib

    if folder == "signal":
        total, covered, minimum, maximum = _summarise_signal(cells)
    elif folder == "counts":
        total, covered, minimum, maximum = _summarise_counts(cells)
    else:
        total, covered = 0.0, int(np.count_nonzero(cells))
        minimum, maximum = math.inf, -math.inf
    return Part(
        chromosome=chromosome,
        start=start,
        bytes=cells.nbytes,
        total=total,
        covered=covered,
        minimum=minimum,
        maximum=maximum,
        crc=isal_zlib.crc32(cells),
    )


# The loops below hold no branches, so that they become vector instructions.
_vectorised = numba.njit(nogil=True, cache=True, fastmath={"reassoc", "nsz"})


@_vectorised  # type: ignore[untyped-decorator]
def _summarise_signal(cells):  # type: ignore[no-untyped-def]  # pragma: no cover
    total, covered = 0.0, np.int64(0)
    minimum, maximum = np.float32(np.inf), np.float32(-np.inf)
    for first in range(0, len(cells), _BLOCK):
        block = cells[first : first + _BLOCK]
        here, present = 0.0, np.int32(0)
        for i in range(len(block)):
            value = block[i]
            here += np.float64(value if value == value else np.float32(0))
        for i in range(len(block)):
            value = block[i]
            present += np.int32((value == value) & (value != 0))
        for i in range(len(block)):
            value = block[i]
            minimum = value if value < minimum else minimum
            maximum = value if value > maximum else maximum
        total += here
        covered += np.int64(present)
    return total, covered, float(minimum), float(maximum)


@_vectorised  # type: ignore[untyped-decorator]
def _summarise_counts(cells):  # type: ignore[no-untyped-def]  # pragma: no cover
    total, covered = np.int64(0), np.int64(0)
    minimum, maximum = np.uint16(COUNTS_MISSING), np.uint16(0)
    for first in range(0, len(cells), _BLOCK):
        block, here = np.uint32(0), np.uint32(0)
        for i in range(first, min(first + _BLOCK, len(cells))):
            value = cells[i]
            known = value if value != COUNTS_MISSING else np.uint16(0)
            block += np.uint32(known)
            here += np.uint32(1) if known != 0 else np.uint32(0)
            minimum = value if value < minimum else minimum
            maximum = known if known > maximum else maximum
        total += np.int64(block)
        covered += np.int64(here)
    if minimum == COUNTS_MISSING:
        return 0.0, 0, np.inf, -np.inf
    return float(total), covered, float(minimum), float(maximum)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def to_counts(values, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write ``(n,) float32`` as ``uint16`` counts, NaN as their missing code; whether that loses nothing."""
    for first in range(0, len(values), _BLOCK):
        block, into = values[first : first + _BLOCK], counts[first : first + _BLOCK]
        bad = np.int32(0)
        for i in range(len(block)):
            value = block[i]
            known = value == value
            whole = np.int32(value) if known else np.int32(COUNTS_MISSING)
            back = np.float32(whole) if known else value
            # What lies outside 16 bits leaves something above them; 65,535 itself means no value.
            bad |= np.int32(known & ((back != value) | (whole == COUNTS_MISSING))) | (whole >> np.int32(16))
            into[i] = np.uint16(whole)
        if bad != 0:
            return False
    return True


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def from_counts(counts, values):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write ``uint16`` counts as ``float32``, their missing code as NaN."""
    for i in range(len(counts)):
        values[i] = np.nan if counts[i] == COUNTS_MISSING else np.float32(counts[i])


def combine(parts: Iterable[Part]) -> tuple[dict[str, Any], dict[str, str]]:
    """Summary of a track and the checksum of each of its chromosomes, of parts that leave nothing out.

    Returns:
        ``sum``, ``covered``, ``minimum`` and ``maximum``; and chromosome -> CRC-32 as 8 hexadecimal digits.
    """
    ordered = sorted(parts, key=lambda part: (part.chromosome, part.start))
    checksums: dict[str, int] = {}
    for part in ordered:
        checksums[part.chromosome] = combine_crc32(checksums.get(part.chromosome, 0), part.crc, part.bytes)
    minimum = min((part.minimum for part in ordered), default=math.inf)
    maximum = max((part.maximum for part in ordered), default=-math.inf)
    summary = {
        "sum": math.fsum(part.total for part in ordered),
        "covered": sum(part.covered for part in ordered),
        "minimum": minimum if math.isfinite(minimum) else 0.0,
        "maximum": maximum if math.isfinite(maximum) else 0.0,
    }
    return summary, {name: f"{crc:08x}" for name, crc in checksums.items()}


def combine_crc32(first: int, second: int, second_bytes: int) -> int:
    """CRC-32 of two stretches of bytes laid end to end, from the CRC-32 of each (as zlib's ``crc32_combine``)."""
    return _multiply(_power_of_x(8 * second_bytes), first) ^ second


_POLYNOMIAL = 0xEDB88320  # of CRC-32, lowest power of x in the highest bit
_ONE, _X = 1 << 31, 1 << 30


def _multiply(a: int, b: int) -> int:
    """Product of two polynomials over GF(2), modulo that of CRC-32."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


@functools.cache
def _power_of_x(exponent: int) -> int:
    result, power = _ONE, _X
    while exponent:
        if exponent & 1:
            result = _multiply(result, power)
        power = _multiply(power, power)
        exponent >>= 1
    return result
