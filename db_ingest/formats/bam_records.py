"""Alignment records, as they lie in an inflated BAM, to events. Format: SAM/BAM specification, section 4.2."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

LONGEST = 1 << 27
"""Bytes of a record beyond which the file must be damaged."""

USED_UP, FULL, CUT, DAMAGED, OUTSIDE = range(5)
"""Why :func:`parse` came to a stop."""

ALIGNMENTS, COUNTED, FILTERED, ELSEWHERE, WITHOUT_CIGAR, WANTED, SEQUENCE, FIRST, LAST = range(9)
"""Places of a tally: numbers of alignments so far, and particulars of a stop."""

_UNMAPPED, _MINUS = 0x4, 0x10
_FIXED = 32
# By operation, MIDNSHP=X: those that move on along the reference, and those that align a base to it.
_ALONG, _ALIGNED = 0b110001101, 0b110000001
_SOFT_CLIP, _SKIP = 4, 3


@numba.njit(inline="always")
def _uint8(data: np.ndarray, at: int) -> Any:
    return np.int64(data[np.uint64(at)])


@numba.njit(inline="always")
def _uint16(data: np.ndarray, at: int) -> Any:
    return _uint8(data, at) | _uint8(data, at + 1) << 8


@numba.njit(inline="always")
def _uint32(data: np.ndarray, at: int) -> Any:
    return _uint16(data, at) | _uint16(data, at + 2) << 16


@numba.njit(inline="always")
def _int32(data: np.ndarray, at: int) -> Any:
    return np.int64(np.int32(_uint32(data, at)))


@numba.njit(nogil=True, cache=True)
def parse(
    data: np.ndarray,
    at: int,
    filters: np.ndarray,
    shift: np.ndarray,
    coverage: bool,
    places: np.ndarray,
    sizes: np.ndarray,
    takes: np.ndarray,
    chromosome: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    channel: np.ndarray,
    filled: int,
    tally: np.ndarray,
) -> tuple[int, int, int]:
    """Turn the records in ``data`` from byte ``at`` on to events.

    An event is the 5' base of an alignment, or with ``coverage`` each stretch of it that is aligned without a gap.
    Unmapped reads, and those that ``filters`` leaves out, have none.

    Args:
        data: ``(bytes,) uint8``.
        at: where a record begins.
        filters: ``(3,) int64``: least mapping quality, flags one of which leaves out, flags all of which are needed.
        shift: ``(2,) int64`` bp added to 5' bases of the plus and the minus strand.
        coverage: whether to count aligned bases and not 5' bases.
        places: ``(references,) int32`` place in the genome of each of the file's references, -1: not in it.
        sizes: ``(references,) int64`` their sizes in bp.
        takes: ``(2, n) int16`` the channels that take an event of the plus and the minus strand, then -1.
        chromosome, start, end, channel: of the events, written from ``filled`` on; ``end`` with ``coverage`` alone.
        filled: events in them so far.
        tally: ``(9,) int64``, counted on.

    Returns:
        Why it stopped, byte that it came to, events now in the arrays. ``FULL``: no room for the next record's
        events, ``tally[WANTED]`` of them at most. ``CUT``: the next record, of ``tally[WANTED]`` bytes as far as is
        known, ends beyond ``data``. ``DAMAGED``: no record begins here. ``OUTSIDE``: the alignment from
        ``tally[FIRST]`` to ``tally[LAST]`` does not lie on reference ``tally[SEQUENCE]``.
    """
    length = len(data)
    room = len(start)
    references = len(places)
    quality, without, needed = filters[0], filters[1] | _UNMAPPED, filters[2]
    while at < length:
        if length - at < 4:
            tally[WANTED] = 4
            return CUT, at, filled
        size = _int32(data, at)
        if size < _FIXED or size > LONGEST:
            return DAMAGED, at, filled
        if length - at - 4 < size:
            tally[WANTED] = size + 4
            return CUT, at, filled
        record = at + 4
        following = record + size
        reference, first = _int32(data, record), _int32(data, record + 4)
        operations, flag = _uint16(data, record + 12), _uint16(data, record + 14)
        bases = _int32(data, record + 16)
        cigar = record + _FIXED + _uint8(data, record + 8)
        tags = cigar + 4 * operations + (bases + 1) // 2 + bases
        if reference < -1 or reference >= references or first < -1 or bases < 0 or tags > following:
            return DAMAGED, at, filled
        if (
            flag & without
            or flag & needed != needed
            or _uint8(data, record + 9) < quality
            or reference < 0
            or first < 0
        ):
            tally[ALIGNMENTS] += 1
            tally[FILTERED] += 1
            at = following
            continue
        if operations == 0:
            tally[ALIGNMENTS] += 1
            tally[WITHOUT_CIGAR] += 1
            at = following
            continue
        if (
            operations == 2
            and _uint32(data, cigar) == bases << 4 | _SOFT_CLIP
            and _uint8(data, cigar + 4) & 15 == _SKIP
        ):
            moved, moved_operations = _find_long_cigar(data, tags, following)
            if moved_operations > 0:
                cigar, operations = moved, moved_operations
        strand = 1 if flag & _MINUS else 0
        wanted = takes.shape[1] * (operations if coverage else 1)
        if filled + wanted > room:
            tally[WANTED] = wanted
            return FULL, at, filled
        last = first
        for i in range(operations):
            operation = _uint32(data, cigar + 4 * i)
            if _ALONG >> (operation & 15) & 1:
                last += operation >> 4
        # An alignment of insertions and clips alone counts as one base long, as in htslib.
        last = last if last > first else first + 1
        place = places[reference]
        if place >= 0 and last > sizes[reference]:
            tally[SEQUENCE], tally[FIRST], tally[LAST] = reference, first, last
            return OUTSIDE, at, filled
        tally[ALIGNMENTS] += 1
        at = following
        if place < 0:
            tally[ELSEWHERE] += 1
            continue
        tally[COUNTED] += takes[strand, 0] >= 0
        for taker in range(takes.shape[1]):
            if takes[strand, taker] < 0:
                break
            before = filled
            if coverage:
                filled = _write_blocks(data, cigar, operations, first, start, end, filled)
            else:
                start[filled] = last - 1 + shift[1] if strand else first + shift[0]
                filled += 1
            while before < filled:
                chromosome[before] = place
                channel[before] = takes[strand, taker]
                before += 1
    return USED_UP, at, filled


@numba.njit(inline="always")
def _write_blocks(
    data: np.ndarray, cigar: int, operations: int, base: int, start: np.ndarray, end: np.ndarray, filled: int
) -> int:
    joins = False
    for i in range(operations):
        operation = _uint32(data, cigar + 4 * i)
        length, kind = operation >> 4, operation & 15
        if not _ALONG >> kind & 1 or length == 0:
            continue
        if _ALIGNED >> kind & 1:
            if not joins:
                start[filled] = base
                filled += 1
            end[filled - 1] = base + length
        joins = bool(_ALIGNED >> kind & 1)
        base += length
    return filled


@numba.njit(nogil=True, cache=True)
def _find_long_cigar(data: np.ndarray, at: int, stop: int) -> tuple[int, int]:
    """Where the operations of a CIGAR kept as tag CG begin, and how many; 0 where there is no such tag."""
    while at + 3 <= stop:
        kind = data[at + 2]
        value = at + 3
        if kind == ord("A") or kind == ord("c") or kind == ord("C"):
            following = value + 1
        elif kind == ord("s") or kind == ord("S"):
            following = value + 2
        elif kind == ord("i") or kind == ord("I") or kind == ord("f"):
            following = value + 4
        elif kind == ord("Z") or kind == ord("H"):
            following = value
            while following < stop and data[following] != 0:
                following += 1
            following += 1
        elif kind == ord("B") and value + 5 <= stop:
            item = data[value]
            width = 1 if item == ord("c") or item == ord("C") else 2 if item == ord("s") or item == ord("S") else 4
            operations = _uint32(data, value + 1)
            following = value + 5 + width * operations
            if data[at] == ord("C") and data[at + 1] == ord("G") and width == 4 and following <= stop:
                return value + 5, operations
        else:
            break
        at = following
    return at, 0
