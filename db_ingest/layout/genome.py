"""Chromosomes laid end to end on one axis of positions, each starting on a tile boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError, MissingFileError

TILE = 65_536
"""Positions in a tile of every dense member; chosen by ``benchmarks/bench_layout.py``."""

CHUNK = 2**24
"""Positions that are written at a time, in one fragment: those from a multiple of this to the next."""


class Piece(NamedTuple):
    """A stretch of one chromosome within a stretch of the position axis.

    Args:
        chromosome: its name.
        start, end: bp within the chromosome, half-open.
        at: how far into the stretch of the axis it begins.
    """

    chromosome: str
    start: int
    end: int
    at: int


@dataclass(frozen=True)
class Genome:
    """The chromosomes of a database, in order, and where each lies on the position axis.

    Args:
        names: chromosome names, unique, in the order of the chrom sizes.
        sizes: their lengths in bp.
        tile: positions in a tile; every chromosome starts at a multiple of it.
        chunk_positions: those that are written at a time, in one fragment: those from a multiple of this to the next.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    tile: int = TILE
    chunk_positions: int = field(default_factory=lambda: CHUNK, repr=False, compare=False)
    _index: dict[str, int] = field(init=False, repr=False, compare=False)
    offsets: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.names:
            raise InputError("a genome needs at least one chromosome")
        if len(set(self.names)) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise InputError(f"chromosome {twice!r} is named twice in the genome")
        # At least one position lies between chromosomes, so that stretches of two never touch.
        padded = [(size // self.tile + 1) * self.tile for size in self.sizes]
        offsets = np.concatenate([[0], np.cumsum(padded, dtype=np.int64)])
        object.__setattr__(self, "offsets", offsets)
        object.__setattr__(self, "_index", {name: i for i, name in enumerate(self.names)})

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __len__(self) -> int:
        return len(self.names)

    @property
    def length(self) -> int:
        """Length of the position axis, padding included."""
        return int(self.offsets[-1])

    @property
    def bases(self) -> int:
        """Sum of the chromosomes' sizes in bp."""
        return int(sum(self.sizes))

    def index(self, name: str) -> int:
        """Return the place of chromosome ``name``; raises :class:`InputError` with the names it knows."""
        try:
            return self._index[name]
        except KeyError:
            raise InputError(f"no chromosome {name!r} in the genome; it has {shorten_names(self.names)}") from None

    def size(self, name: str) -> int:
        """Length of chromosome ``name`` in bp."""
        return self.sizes[self.index(name)]

    def offset(self, name: str) -> int:
        """Position of base 0 of chromosome ``name`` on the axis."""
        return int(self.offsets[self.index(name)])

    def size_array(self) -> np.ndarray:
        """Sizes as ``(chromosomes,) int64``."""
        return np.asarray(self.sizes, dtype=np.int64)

    @property
    def size_by_name(self) -> dict[str, int]:
        """Sizes in bp by chromosome, in the order of the genome."""
        return dict(zip(self.names, self.sizes, strict=True))

    @property
    def chunk_count(self) -> int:
        """Chunks that the position axis is written in."""
        return -(-self.length // self.chunk_positions)

    def chunk(self, index: int) -> tuple[int, int]:
        """First position of a chunk and the one after its last."""
        return index * self.chunk_positions, min((index + 1) * self.chunk_positions, self.length)

    def chunk_of(self, position: int) -> int:
        """The chunk that holds a position."""
        return position // self.chunk_positions

    def pieces(self, first: int, last: int) -> list[Piece]:
        """The chromosomes' stretches within positions ``[first, last)``, in order."""
        i = int(np.searchsorted(self.offsets, first, side="right")) - 1
        found = []
        while i < len(self.names) and self.offsets[i] < last:
            offset = int(self.offsets[i])
            start, end = max(first - offset, 0), min(last - offset, self.sizes[i])
            if start < end:
                found.append(Piece(self.names[i], start, end, offset + start - first))
            i += 1
        return found

    def binned(self, bin_size: int) -> Genome:
        """The genome as a grid of bins of ``bin_size`` bp from base 0 of each chromosome; sizes are in bins."""
        return replace(self, sizes=tuple(-(-size // bin_size) for size in self.sizes))

    @classmethod
    def from_chrom_sizes(cls, path: str | Path) -> Genome:
        """Read a two-column ``chrom.sizes`` file (name, length in bp; further columns ignored)."""
        path = Path(path)
        if not path.is_file():
            raise MissingFileError(f"{path}: no such chrom sizes file")
        names: list[str] = []
        sizes: list[int] = []
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            fields = line.split()
            if len(fields) < 2 or not fields[1].isdecimal() or int(fields[1]) == 0:
                raise InputError(
                    f"{path}:{number}: expected a chromosome name and a length above 0, got {line.strip()[:60]!r}"
                )
            if fields[0] in names:
                raise InputError(f"{path}:{number}: chromosome {fields[0]!r} is named twice")
            names.append(fields[0])
            sizes.append(int(fields[1]))
        if not names:
            raise InputError(f"{path}: no chromosomes; expected lines of a name and a length")
        return cls(tuple(names), tuple(sizes))


def shorten_names(names: Sequence[str], most: int = 5) -> str:
    """Join names for a message, the first ``most`` of them."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names)} in all)"
