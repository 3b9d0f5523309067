"""Arrays as writers handle them: what is stored whole is found again, and nothing else is."""

from __future__ import annotations

import os
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import tiledb

from db_ingest import storage
from db_ingest.layout import arrays, members
from db_ingest.layout.cells import CELLS
from db_ingest.layout.genome import Genome

TILE = 16
CHUNK = 64
GENOME = Genome(("chr1", "chr2", "chr3"), (150, 3, 40), TILE, chunk_positions=CHUNK)
# chr1 fills chunks 0, 1 and the beginning of 2; chr2 and chr3 follow.
CHUNKS = [(0, 64), (64, 128), (128, 192), (192, 224)]


@pytest.fixture(params=["disk", "s3"])
def place(request, tmp_path) -> str:
    return str(tmp_path / "db") if request.param == "disk" else request.getfixturevalue("s3").uri("db")


def put(uri: str, member: str, row: int, chunk: int, seed: int = 0) -> np.ndarray:
    """Write a chunk; gives its cells."""
    first, last = CHUNKS[chunk]
    dtype = CELLS[member.partition("/")[0]][0]
    cells = np.random.default_rng(seed).integers(0, 5, last - first).astype(dtype)
    arrays.put(uri, member, row, first, cells)
    return cells


def test_chunks_of_a_row_that_were_written_are_found(place):
    member = "counts/a"
    assert arrays.chunks_done(place, member, 0, GENOME) == frozenset()
    assert not any(arrays.row_stored(place, member, row) for row in range(5))
    arrays.create(place, member, GENOME)
    assert arrays.chunks_done(place, member, 0, GENOME) == frozenset()
    for row, chunk in ((0, 2), (0, 0), (3, 1), (3, 3)):
        put(place, member, row, chunk)
    assert arrays.chunks_done(place, member, 0, GENOME) == {0, 2}
    assert arrays.chunks_done(place, member, 3, GENOME) == {1, 3}
    assert arrays.chunks_done(place, member, 1, GENOME) == frozenset()
    assert [row for row in range(5) if arrays.row_stored(place, member, row)] == [0, 3]


def test_chunk_that_was_written_twice_is_done_once(place):
    arrays.create(place, "signal/a", GENOME)
    put(place, "signal/a", 0, 1, seed=1)
    cells = put(place, "signal/a", 0, 1, seed=1)
    assert arrays.chunks_done(place, "signal/a", 0, GENOME) == {1}
    (part,) = arrays.stored_parts(place, "signal/a", 0, *CHUNKS[1], GENOME.pieces(*CHUNKS[1]))
    assert part.crc == zlib.crc32(cells.tobytes())


def test_sequence_has_chunks_and_no_rows(place):
    arrays.create(place, "sequence", GENOME)
    cells = put(place, "sequence", 0, 2)
    assert arrays.chunks_done(place, "sequence", 0, GENOME) == {2}
    parts = arrays.stored_parts(place, "sequence", 0, *CHUNKS[2], GENOME.pieces(*CHUNKS[2]))
    assert [(p.chromosome, p.start, p.crc) for p in parts] == [
        ("chr1", 128, zlib.crc32(cells[:22].tobytes())),
        ("chr2", 0, zlib.crc32(cells[32:35].tobytes())),
        ("chr3", 0, zlib.crc32(cells[48:64].tobytes())),
    ]


@pytest.mark.parametrize("member", ["signal/a", "counts/a", "mask/a"])
def test_stored_parts_are_those_of_the_cells_that_were_written(tmp_path, member):
    uri = str(tmp_path / "db")
    arrays.create(uri, member, GENOME)
    put(uri, member, 0, 2, seed=1)
    cells = put(uri, member, 1, 2, seed=2)
    pieces = GENOME.pieces(*CHUNKS[2])
    parts = arrays.stored_parts(uri, member, 1, *CHUNKS[2], pieces)
    for part, piece in zip(parts, pieces, strict=True):
        here = cells[piece.at : piece.at + piece.end - piece.start]
        assert (part.chromosome, part.start, part.bytes) == (piece.chromosome, piece.start, here.nbytes)
        assert part.crc == zlib.crc32(here.tobytes())
        assert part.covered == np.count_nonzero(here)
        assert part.total == (0 if member == "mask/a" else here.sum())


def test_binned_member_has_the_chunks_of_its_own_grid(tmp_path):
    uri, member, grid = str(tmp_path / "db"), members.member("signal", "a", 5), GENOME.binned(5)
    arrays.create(uri, member, GENOME)
    with tiledb.open(storage.join(uri, member)) as array:
        assert array.schema.domain.dim("position").domain == (0, grid.length - 1)
    first, last = grid.chunk(0)
    arrays.put(uri, member, 0, first, np.ones(last - first, np.float32))
    assert arrays.chunks_done(uri, member, 0, grid) == {0}


def test_fragment_that_is_no_whole_chunk_does_not_count(tmp_path):
    uri = str(tmp_path / "db")
    arrays.create(uri, "mask/a", GENOME)
    arrays.put(uri, "mask/a", 0, 0, np.zeros(CHUNK // 2, np.uint8))
    assert arrays.chunks_done(uri, "mask/a", 0, GENOME) == frozenset()
    assert [row for row in range(5) if arrays.row_stored(uri, "mask/a", row)] == [0]


def test_fragment_that_was_never_committed_does_not_count(tmp_path):
    uri = str(tmp_path / "db")
    arrays.create(uri, "counts/a", GENOME)
    put(uri, "counts/a", 0, 0)
    put(uri, "counts/a", 0, 1)
    commits = sorted(Path(uri, "counts", "a", "__commits").iterdir(), key=os.path.getmtime)
    commits[-1].unlink()
    assert arrays.chunks_done(uri, "counts/a", 0, GENOME) == {0}
    put(uri, "counts/a", 0, 1)
    assert arrays.chunks_done(uri, "counts/a", 0, GENOME) == {0, 1}


def test_array_that_is_there_stays_as_it_is(place):
    arrays.create(place, "signal/a", GENOME)
    put(place, "signal/a", 0, 0)
    arrays.create(place, "signal/a", GENOME)
    assert arrays.chunks_done(place, "signal/a", 0, GENOME) == {0}


def test_threads_that_create_and_write_at_once_lose_nothing(tmp_path):
    uri = str(tmp_path / "db")
    barrier = threading.Barrier(4)

    def work(row: int) -> None:
        barrier.wait()
        arrays.create(uri, "counts/a", GENOME)
        for chunk in range(len(CHUNKS)):
            put(uri, "counts/a", row, chunk)

    threads = [threading.Thread(target=work, args=(row,)) for row in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for row in range(4):
        assert arrays.chunks_done(uri, "counts/a", row, GENOME) == {0, 1, 2, 3}
    assert sorted(os.listdir(f"{uri}/counts")) == ["a"]


def test_buffer_is_the_threads_own_and_is_used_again():
    first = arrays.buffer(np.uint8, 100)
    assert arrays.buffer(np.uint8, 50).base is first.base
    assert arrays.buffer(np.float32, 100).dtype == np.float32
    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.append(arrays.buffer(np.uint8, 100)))
    thread.start()
    thread.join()
    assert not np.shares_memory(found[0], first)
