"""The raw reader while others change the database."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from handmade import CHUNK, GENOME, Database

from db_ingest.errors import NoDatabaseError, RunError
from db_ingest.layout.reader import Reader
from db_ingest.upkeep import consolidate as module
from db_ingest.upkeep.consolidate import consolidate


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch):
    monkeypatch.setattr("db_ingest.layout.genome.CHUNK", CHUNK)
    monkeypatch.setattr(module, "_SECONDS_TO_LIST", {"local": 0.3, "remote": 0})
    monkeypatch.setattr(module, "MANY", 3)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    made = Database(str(tmp_path / "db"))
    for dataset in "ab":
        made.add("cuts", dataset)
    made.save()
    return made


EVERYTHING = (np.array([0]), np.array([GENOME.length]))

READING = """
import json, sys
import numpy as np
from db_ingest.layout.reader import Reader

uri, member, length = sys.argv[1], sys.argv[2], int(sys.argv[3])
wanted = {int(row): np.array(cells, np.float32) for row, cells in json.loads(sys.stdin.readline()).items()}
held = Reader(uri)
while True:
    fresh = Reader(uri)
    for reader in (held, fresh):
        for row, cells in wanted.items():
            np.testing.assert_array_equal(reader.read(member, row, np.array([0]), np.array([length])), cells)
    fresh.close()
    print("read", flush=True)
"""


@pytest.mark.slow
def test_another_process_reads_right_values_while_consolidation_goes_on(db):
    wanted = {row: db.cells["counts/cuts", row].tolist() for row in (0, 1)}
    command = [sys.executable, "-c", READING, db.uri, "counts/cuts", str(GENOME.length)]
    read = 0
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()

        def count() -> None:
            nonlocal read
            for _ in process.stdout:
                read += 1

        counter = threading.Thread(target=count)
        counter.start()
        changes = 0
        # As many changes as it takes until the other, however slow, has read 20 times in between.
        while (changes < 4 or read < 20) and process.poll() is None:
            db.add("cuts", "cdef"[changes % 4])
            db.add("cuts", "cdef"[changes % 4])
            db.save()
            consolidate(db.uri)
            changes += 1
        process.kill()
        counter.join()
        assert process.stderr.read() == ""
    assert read >= 20
    db.check()


def test_row_that_is_gone_is_an_error_and_not_empty(db):
    reader = Reader(db.uri, db.catalogue.commit)
    late = Reader(db.uri, db.catalogue.commit)
    np.testing.assert_array_equal(reader.read("counts/cuts", 0, *EVERYTHING), db.cells["counts/cuts", 0])
    db.add("cuts", "a")
    db.save()
    np.testing.assert_array_equal(reader.read("counts/cuts", 0, *EVERYTHING), db.cells["counts/cuts", 0])
    consolidate(db.uri)
    for stale in (reader, late):
        with pytest.raises(RunError, match="counts/cuts was dropped or replaced since it was opened"):
            stale.read("counts/cuts", 0, *EVERYTHING)
        np.testing.assert_array_equal(stale.read("counts/cuts", 1, *EVERYTHING), db.cells["counts/cuts", 1])
    fresh = Reader(db.uri, db.catalogue.commit)
    np.testing.assert_array_equal(fresh.read("counts/cuts", 2, *EVERYTHING), db.cells["counts/cuts", 2])


def test_array_that_is_not_there_is_an_error_of_one_line(db, monkeypatch):
    monkeypatch.setattr("db_ingest.layout.reader._PAUSES", ())
    with pytest.raises((RunError, NoDatabaseError), match="counts/none"):
        Reader(db.uri).read("counts/none", 0, *EVERYTHING)
