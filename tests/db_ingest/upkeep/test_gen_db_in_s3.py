"""The commands of ``gen_db`` on a database in S3 do what they do on disk."""

from __future__ import annotations

import filecmp
from pathlib import Path

import numpy as np
import pytest
import tiledb
from seqdataloader_writer import SeqDataLoader, mask_of

from db_ingest import ingest, storage
from db_ingest.cli.gen_db import COMMANDS
from db_ingest.errors import RunError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.cells import to_stored
from db_ingest.upkeep.edit import drop, rename
from db_ingest.upkeep.export import export
from db_ingest.upkeep.importing import import_array
from db_ingest.upkeep.merge import merge
from db_ingest.upkeep.verify import verify

SIZES = {"chr1": 3_000, "chr2": 1_500, "chrM": 400}
PEAKS = [("chr1", 100, 200, "a", 10, "+"), ("chrM", 0, 400, "d", 40, "+")]


@pytest.fixture
def places(inputs, uri, s3) -> tuple[str, str]:
    """The same database on disk and in S3."""
    rows = {
        name: {"x": inputs.bigwig(f"{name}.bw"), "peaks": inputs.bed(f"{name}.bed", PEAKS)} for name in ("r1", "r2")
    }
    samples, fasta = str(inputs.samples(rows)), str(inputs.fasta())
    types = str(inputs.types(x="bigwig", peaks="bed_no_summit"))
    there = s3.uri("some", "db")
    for place in (uri, there):
        ingest(place, samples, ref_fasta=fasta, attribute_config_file=types)
    return uri, there


def test_every_command_does_in_s3_what_it_does_on_disk(places, tmp_path, capsys):
    done = []
    for place in places:
        lines = merge(place, ["x"], ["r1", "r2"], "pooled", how="mean")
        lines += rename(place, "signal", attribute="x")
        lines += rename(place, "K562", dataset="r1")
        lines += drop(place, attribute="peaks", dataset="r2")
        lines += merge(place, ["signal"], ["r2", "K562"], "pooled", how="mean", dry_run=True)
        done.append((sorted(lines), catalogues.load(place).track("signal", "pooled").checksums))
        found = verify(place, sources=True)
        assert (found.damage, found.sources, found.checked) == ([], [], 5)
        for kind, names in {"bw": ("signal", "pooled"), "bed": ("peaks", "K562"), "fa": (None, None)}.items():
            out = tmp_path / f"{len(done)}.{kind}"
            export(place, str(out), attribute=names[0], dataset=names[1])
    assert done[0] == done[1]
    for kind in ("bw", "bed", "fa"):
        assert filecmp.cmp(tmp_path / f"1.{kind}", tmp_path / f"2.{kind}", shallow=False)
    place = places[1]
    track = catalogues.load(place).track("signal", "r2")
    context = storage.tiledb_ctx(place)
    with tiledb.open(storage.join(place, track.member), "w", timestamp=99, ctx=context) as array:
        array[track.row, 10:11] = to_stored(np.array([7], np.float32))
    assert COMMANDS["verify"].run(["--tdb_array", place]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("r2 signal: chr1: CRC-32 of what is stored is ")
    assert said.err == "gen_db verify: error: 1 of 5 is damaged (r2 signal)\n"
    with storage.write_lock(place), pytest.raises(RunError, match="another process is writing"):
        drop(place, dataset="r2")


def test_array_of_seqdataloader_is_imported_from_s3_and_into_it(s3, tmp_path):
    source = SeqDataLoader(tmp_path / "old", ["a", "b"], SIZES, {"fc": np.float32, "peaks": np.int64})
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        source.write("a", name, {"fc": rng.random(size), "peaks": mask_of(size, [(10, 60, 5)])})
    there = s3.uri("old")
    storage.copy_tree(source.uri, there)
    place = s3.uri("new", "db")
    lines = import_array(there, place)
    assert len(lines) == 4
    assert "imported a fc as a signal" in lines
    assert "b peaks: no values, left out" in lines
    found = verify(place, sources=True)
    assert (found.damage, found.sources, found.checked) == ([], [], 2)
    assert import_array(there, place, datasets=["a"]) == ["a fc: unchanged", "a peaks: unchanged"]
    export(place, str(tmp_path / "peaks.bed"), attribute="peaks", dataset="a")
    assert Path(tmp_path / "peaks.bed").read_text().splitlines()[0] == "chr1\t10\t60\t.\t.\t.\t5"
