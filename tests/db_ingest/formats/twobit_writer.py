"""2bit files written from the specification, for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np


def blocks(flags: list[bool]) -> list[tuple[int, int]]:
    """(start, length) of the stretches of True."""
    edges = np.flatnonzero(np.diff([0, *map(int, flags), 0]))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def encode(sequences: Mapping[str, str], order: str = "<", version: int = 0) -> bytes:
    """A 2bit file, written from the specification."""

    def numbers(*values: int) -> bytes:
        return struct.pack(f"{order}{len(values)}I", *values)

    records = []
    for bases in sequences.values():
        record = numbers(len(bases))
        for found in (blocks([b in "nN" for b in bases]), blocks([b.islower() for b in bases])):
            record += numbers(len(found), *(start for start, _ in found), *(length for _, length in found))
        codes = ["TCAG".find(base) % 4 for base in bases.upper().replace("N", "T")]
        codes += [0] * (-len(codes) % 4)
        packed = bytes(
            a << 6 | b << 4 | c << 2 | d for a, b, c, d in zip(*(codes[i::4] for i in range(4)), strict=True)
        )
        records.append(record + numbers(0) + packed)
    word = 8 if version else 4
    at = 16 + sum(1 + len(name) + word for name in sequences)
    index = b""
    for name, record in zip(sequences, records, strict=True):
        index += bytes([len(name)]) + name.encode() + struct.pack(order + ("Q" if version else "I"), at)
        at += len(record)
    return numbers(0x1A412743, version, len(sequences), 0) + index + b"".join(records)
