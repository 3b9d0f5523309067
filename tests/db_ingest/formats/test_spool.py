"""The spool of rows against a sort by NumPy, in memory and on disk."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pytest

from db_ingest.errors import RunError
from db_ingest.formats.spool import Spool


def fill(rng, memory: int, width: int, compartments: int = 50) -> tuple[Spool, np.ndarray, np.ndarray]:
    spool = Spool(compartments, width, memory)
    keys = rng.integers(0, compartments, 30_000)
    keys[keys == 7] = 8
    rows = rng.integers(0, 2**32, (30_000, width), dtype=np.uint32)
    for begin, end in ((0, 1), (1, 17_000), (17_000, 17_000), (17_000, 30_000)):
        spool.add(keys[begin:end], rows[begin:end])
    spool.finish()
    return spool, keys, rows


@pytest.mark.parametrize("memory", [1 << 14, 1 << 17, 1 << 28])
@pytest.mark.parametrize("width", [1, 3])
def test_each_compartment_gives_back_its_rows_in_order(rng, memory, width):
    spool, keys, rows = fill(rng, memory, width)
    assert (spool.on_disk > 0) == (memory < 1 << 28)
    for key in range(50):
        found = list(spool.rows(key))
        np.testing.assert_array_equal(np.concatenate(found) if found else rows[:0], rows[keys == key])
    spool.close()


def test_scratch_file_has_no_name(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool, _, _ = fill(rng, 1 << 14, 1)
    assert spool.on_disk
    assert os.listdir(tmp_path) == []
    spool.close()
    assert list(spool.rows(1)) == []


def test_scratch_folder_that_cannot_be_written_is_named(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(RunError, match="gone: cannot hold .* MB of scratch data .*; let TMPDIR name a folder"):
        fill(rng, 1 << 14, 1)
