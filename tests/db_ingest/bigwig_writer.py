"""A bigWig writer for tests, of the layouts that pyBigWig does not write; pyBigWig reads all that are little-endian."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

MAGIC = 0x888FFC26
BEDGRAPH, VARIABLE_STEP, FIXED_STEP = 1, 2, 3


class Section(NamedTuple):
    """One block of data.

    Args:
        chromosome: its name.
        kind: ``BEDGRAPH``, ``VARIABLE_STEP`` or ``FIXED_STEP``.
        items: ``(start, end, value)``, ``(start, value)`` or ``(value,)`` by kind, sorted.
        start, step, span: of a fixed step; ``span`` of a variable one too.
    """

    chromosome: str
    kind: int
    items: Sequence[tuple[float, ...]]
    start: int = 0
    step: int = 1
    span: int = 1

    def places(self) -> list[tuple[int, int, float]]:
        """Start, end and value of each item."""
        if self.kind == BEDGRAPH:
            return [(int(start), int(end), value) for start, end, value in self.items]  # type: ignore[misc]
        if self.kind == VARIABLE_STEP:
            return [(int(start), int(start) + self.span, value) for start, value in self.items]  # type: ignore[misc]
        starts = range(self.start, self.start + self.step * len(self.items), self.step)
        return [(start, start + self.span, value) for start, (value,) in zip(starts, self.items, strict=True)]


def write(
    path: Path,
    sizes: Mapping[str, int],
    sections: Sequence[Section],
    *,
    order: str = "<",
    compressed: bool = True,
    summary: bool = True,
    fanout: int = 3,
) -> Path:
    """Write a bigWig of ``sections``, sorted by chromosome and place; trees have ``fanout`` items a node."""
    numbers = {name: number for number, name in enumerate(sizes)}
    data, blocks, largest = bytearray(bytes(64)), [], 0
    chromosomes_at = len(data)
    data += _chromosome_tree(sizes, order, fanout, chromosomes_at)
    data_at = len(data)
    data += struct.pack(order + "Q", len(sections))
    for section in sections:
        number, places = numbers[section.chromosome], section.places()
        first, last = places[0][0], places[-1][1]
        head = (number, first, last, section.step, section.span, section.kind, 0, len(places))
        content = struct.pack(order + "IIIIIBBH", *head)
        formats = {BEDGRAPH: "IIf", VARIABLE_STEP: "If", FIXED_STEP: "f"}[section.kind]
        content += b"".join(struct.pack(order + formats, *item) for item in section.items)
        largest = max(largest, len(content))
        packed = zlib.compress(content) if compressed else content
        blocks.append((number, first, number, last, len(data), len(packed)))
        data += packed
    index_at = len(data)
    data += _index(blocks, order, fanout, index_at)
    summary_at = len(data) if summary else 0
    if summary:
        spans = [place for section in sections for place in section.places() if not math.isnan(place[2])]
        values = [value for _, _, value in spans] or [0.0]
        covered = sum(end - start for start, end, _ in spans)
        total = sum((end - start) * value for start, end, value in spans)
        squares = sum((end - start) * value * value for start, end, value in spans)
        data += struct.pack(order + "Qdddd", covered, min(values), max(values), total, squares)
    data += struct.pack(order + "I", MAGIC)
    head = (MAGIC, 4, 0, chromosomes_at, data_at, index_at, 0, 0, 0, summary_at, largest if compressed else 0, 0)
    data[:64] = struct.pack(order + "IHHQQQHHQQIQ", *head)
    path.write_bytes(data)
    return path


def _levels(count: int, fanout: int) -> list[list[range]]:
    """Nodes of a tree from its root down to its leaves, each with the nodes or items below it."""
    levels = [[range(i, min(i + fanout, count)) for i in range(0, max(count, 1), fanout)]]
    while len(levels[0]) > 1:
        below = len(levels[0])
        levels.insert(0, [range(i, min(i + fanout, below)) for i in range(0, below, fanout)])
    return levels


def _places(levels: list[list[range]], at: int, inner: int, leaf: int) -> list[list[int]]:
    """Byte at which each node begins."""
    places = []
    for depth, nodes in enumerate(levels):
        places.append([])
        for node in nodes:
            places[-1].append(at)
            at += 4 + len(node) * (leaf if depth == len(levels) - 1 else inner)
    return places


def _chromosome_tree(sizes: Mapping[str, int], order: str, fanout: int, at: int) -> bytes:
    key_bytes = max(len(name) for name in sizes)
    items = sorted((name.encode().ljust(key_bytes, b"\0"), i, size) for i, (name, size) in enumerate(sizes.items()))
    levels = _levels(len(items), fanout)
    places = _places(levels, at + 32, key_bytes + 8, key_bytes + 8)
    out = struct.pack(order + "IIIIQQ", 0x78CA8C91, fanout, key_bytes, 8, len(items), 0)
    for depth, nodes in enumerate(levels):
        is_leaf = depth == len(levels) - 1
        for node in nodes:
            out += struct.pack(order + "BBH", is_leaf, 0, len(node))
            for i in node:
                if is_leaf:
                    out += items[i][0] + struct.pack(order + "II", *items[i][1:])
                else:
                    first = i
                    for below in levels[depth + 1 :]:
                        first = below[first].start
                    out += items[first][0] + struct.pack(order + "Q", places[depth + 1][i])
    return out


def _index(blocks: Sequence[tuple[int, ...]], order: str, fanout: int, at: int) -> bytes:
    levels = _levels(len(blocks), fanout)
    places = _places(levels, at + 48, 24, 32)

    def spanned(depth: int, nodes: range) -> range:
        for below in levels[depth + 1 :]:
            nodes = range(below[nodes[0]].start, below[nodes[-1]].stop) if len(nodes) else nodes
        return nodes

    def extent(depth: int, node: range) -> tuple[int, ...]:
        inside = [blocks[i] for i in spanned(depth, node)]
        return (*inside[0][:2], *inside[-1][2:4]) if inside else (0, 0, 0, 0)

    whole = extent(0, levels[0][0])
    out = struct.pack(order + "IIQIIIIQII", 0x2468ACE0, fanout, len(blocks), *whole, at, 1, 0)
    for depth, nodes in enumerate(levels):
        is_leaf = depth == len(levels) - 1
        for node in nodes:
            out += struct.pack(order + "BBH", is_leaf, 0, len(node))
            for i in node:
                if is_leaf:
                    out += struct.pack(order + "IIIIQQ", *blocks[i])
                else:
                    out += struct.pack(order + "IIIIQ", *extent(depth + 1, levels[depth + 1][i]), places[depth + 1][i])
    return out
