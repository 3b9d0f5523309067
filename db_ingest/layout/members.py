"""Names of the members of a database: the arrays that hold its sequence, tracks and intervals."""

from __future__ import annotations

SEQUENCE = "sequence"
"""The member that holds the sequence; also what stands for its attribute and dataset."""


def member(folder: str, attribute: str, bin_size: int = 1) -> str:
    """Name of the member that holds an attribute: ``signal/<attribute>``, or ``signal/<attribute>@<bin>``."""
    return f"{folder}/{attribute}" if bin_size == 1 else f"{folder}/{attribute}@{bin_size}"


def intervals(attribute: str) -> str:
    """Name of the member that holds the intervals behind a mask attribute."""
    return f"intervals/{attribute}"


def bin_of(name: str) -> int:
    """Number of bases that a cell of a member stands for, by its name."""
    return int(name.rpartition("@")[2]) if "@" in name else 1
