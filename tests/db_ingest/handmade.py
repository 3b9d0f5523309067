"""Databases written by hand: small chunks of known cells, without reading a file."""

from __future__ import annotations

import errno
import json

import numpy as np
import tiledb
from plain import joined

from db_ingest import storage
from db_ingest.layout import arrays, members, schema
from db_ingest.layout.catalogue import Catalogue, Level, Track
from db_ingest.layout.cells import CELLS
from db_ingest.layout.genome import Genome
from db_ingest.layout.summaries import combine, summarise

CHUNK = 64
GENOME = Genome(("chr1", "chr2", "chr3"), (150, 3, 40), 16, chunk_positions=CHUNK)
"""It has four chunks; tests set ``db_ingest.layout.genome.CHUNK`` to the same, for genomes read from a catalogue."""

_PUT = arrays.put


class FullAfter:
    """Takes the place of ``arrays.put``: lets so many chunks be written; then the disk is full.

    Attributes:
        firsts: the first position of every chunk that was written.
    """

    def __init__(self, chunks: float) -> None:
        self.chunks = chunks
        self.firsts: list[int] = []

    def __call__(self, uri: str, member: str, row: int, first: int, cells: np.ndarray) -> None:
        if len(self.firsts) >= self.chunks:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.firsts.append(first)
        _PUT(uri, member, row, first, cells)


class Database:
    """A database written by hand, and what is in it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.catalogue = Catalogue(GENOME)
        self.rng = np.random.default_rng(8)
        self.cells: dict[tuple[str, int], np.ndarray] = {}

    def write_row(
        self,
        member: str,
        row: int,
        genome: Genome = GENOME,
        chunks: int | None = None,
        values: dict[str, np.ndarray] | None = None,
    ) -> tuple[dict, dict]:
        """Write cells, chunk by chunk; gives their summary and checksums.

        Without ``values`` of chromosomes they are random; chromosomes that are not named have none.
        """
        folder = member.partition("/")[0]
        dtype, fill = CELLS[folder]
        arrays.create(self.uri, member, GENOME)
        cells = self.rng.integers(0, 5, genome.length).astype(dtype)
        if values is not None:
            cells[:] = fill
            for name, its in values.items():
                cells[genome.offset(name) : genome.offset(name) + genome.size(name)] = its
        self.cells[member, row] = cells
        parts = []
        for index in range(genome.chunk_count if chunks is None else chunks):
            first, last = genome.chunk(index)
            pieces = [p for p in genome.pieces(first, last) if values is None or p.chromosome in values]
            if pieces:
                arrays.put(self.uri, member, row, first, cells[first:last])
            for piece in pieces:
                stretch = cells[first + piece.at : first + piece.at + piece.end - piece.start]
                parts.append(summarise(piece.chromosome, piece.start, stretch, folder))
        return combine(parts)

    def add(
        self,
        attribute: str,
        dataset: str,
        folder: str = "counts",
        levels: tuple[int, ...] = (),
        bin: int = 1,
        values: dict[str, np.ndarray] | None = None,
    ) -> Track:
        """Add a track, or replace the one of that name."""
        row = self.catalogue.take_row(attribute)
        member = members.member(folder, attribute, bin)
        summary, checksums = self.write_row(member, row, GENOME.binned(bin) if bin > 1 else GENOME, values=values)
        if folder == "mask":
            arrays.create(self.uri, f"intervals/{attribute}", GENOME)
            with tiledb.open(f"{self.uri}/intervals/{attribute}", "w", timestamp=row + 1, ctx=self.ctx) as array:
                types = {name: "U1" if dtype.kind == "O" else dtype for name, dtype in schema.INTERVAL_FIELDS.items()}
                cell = {name: np.zeros(1, dtype) for name, dtype in types.items()}
                array[[row], [row % 100]] = {**cell, "end": np.array([row % 100 + 1], np.uint64)}
            summary = {"intervals": 1, "covered": 1}
        made = []
        for size in levels:
            level = self.catalogue.take_row(attribute)
            _, checks = self.write_row(f"signal/{attribute}@{size}", level, GENOME.binned(size))
            made.append(Level(size, "mean", level, checks))
        kind = "mask" if folder == "mask" else "signal"
        source = {"sha256": "", "path": ""}
        track = Track(
            attribute, dataset, kind, "bigwig", folder, row, source, {}, summary, checksums, "", bin, tuple(made)
        )
        self.catalogue.put(track)
        return track

    @property
    def ctx(self) -> tiledb.Ctx:
        return storage.tiledb_ctx(self.uri)

    def save(self) -> None:
        self.catalogue.save(self.uri)

    def check(self, uri: str | None = None) -> None:
        """Every row that the catalogue names holds what was written, as plain TileDB reads it."""
        uri = uri or self.uri
        document = json.loads(storage.read_bytes(f"{uri}/catalogue.json"))
        named = [("sequence", document["sequence"]["row"])] if document["sequence"] else []
        for track in document["tracks"]:
            named.append((members.member(track["folder"], track["attribute"], track["bin"]), track["row"]))
            levels = [(f"signal/{track['attribute']}@{level['bin']}", level["row"]) for level in track["levels"]]
            named += [level for level in levels if level in self.cells]
            if track["kind"] == "mask":
                with tiledb.open(f"{uri}/intervals/{track['attribute']}", ctx=storage.tiledb_ctx(uri)) as array:
                    assert array.multi_index[track["row"], :]["start"].tolist() == [track["row"] % 100]
        for member, row in named:
            with tiledb.open(f"{uri}/{member}", ctx=storage.tiledb_ctx(uri)) as array:
                found = array[:] if member == "sequence" else array[row, :]
            found = joined(found if isinstance(found, np.ndarray) else found["value"])
            np.testing.assert_array_equal(found, self.cells[member, row], err_msg=f"{member} {row}")


def fragments(uri: str, member: str) -> list[tuple[int, int, int]]:
    """Row, first and last cell of the fragments that readers see."""
    info = tiledb.array_fragments(f"{uri}/{member}", ctx=storage.tiledb_ctx(uri))
    found = []
    for stamp, domain in zip(info.timestamp_range, info.nonempty_domain, strict=True):
        assert stamp[0] == stamp[1]
        found.append((int(stamp[0]) - 1, int(domain[-1][0]), int(domain[-1][1])))
    return sorted(found)


def rows(uri: str, member: str) -> set[int]:
    return {row for row, _, _ in fragments(uri, member)}
