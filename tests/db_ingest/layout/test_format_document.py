"""``docs/database.md`` alone is enough to write a reader: its own examples are run, with TileDB-Py and NumPy only."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

from db_ingest import ingest
from db_ingest.writing.levels import levels

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "database.md"


@pytest.fixture(scope="module")
def reader() -> dict[str, Any]:
    """The functions that the document prints."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(DOCUMENT), "exec"), names)
    return names


@pytest.fixture
def database(inputs, uri) -> str:
    counts = {name: np.floor(inputs.signal(size, 9)) for name, size in {"chr1": 3_000, "chr2": 1_500}.items()}
    table = inputs.samples(
        {
            "rep1": {
                "counts": inputs.bigwig("counts.bw", counts),
                "real": inputs.bigwig("real.bw"),
                "peaks": inputs.bed(
                    "p.narrowPeak",
                    [("chr2", 10, 90, "a", 5, "+", 1.5, 2, 3, 0), ("chr1", 7, 9, "b", 0, ".", 1, 2, 3, 1)],
                ),
            }
        }
    )
    types = inputs.text("types.yaml", "counts: {type: bigwig, missing: nan}\nreal: bigwig\npeaks: narrowPeak\n")
    ingest(uri, str(table), ref_fasta=str(inputs.fasta()), attribute_config_file=str(types))
    levels(uri, ["real"], bins=[7], aggregation="max")
    return uri


def test_values_are_those_of_the_files(reader, database, inputs, read_bigwig):
    for chromosome, size in {"chr1": 3_000, "chr2": 1_500, "chrM": 400}.items():
        real = reader["read"](database, chromosome, 0, size, "real", "rep1")
        np.testing.assert_array_equal(real, read_bigwig(inputs.folder / "real.bw", chromosome))
        counts = reader["read"](database, chromosome, 0, size, "counts", "rep1")
        np.testing.assert_array_equal(np.nan_to_num(counts), read_bigwig(inputs.folder / "counts.bw", chromosome))
        assert np.isnan(counts).any()
        codes = reader["read"](database, chromosome, 0, size)
        bases = pysam.FastaFile(str(inputs.folder / "genome.fa")).fetch(chromosome).upper()
        assert [c if c in "ACGT" else "N" for c in bases] == ["ACGTN"[code] for code in codes]


def test_masks_and_intervals_are_those_of_the_file(reader, database):
    mask = reader["read"](database, "chr2", 0, 100, "peaks", "rep1")
    assert mask[10] == 2
    assert (mask[11:90] == 1).all()
    assert not mask[:10].any()
    table = reader["read_intervals"](database, "peaks", "rep1")
    assert list(table["chromosome"]) == ["chr1", "chr2"]
    assert list(table["start"]) == [7, 10]
    assert list(table["end"]) == [9, 90]
    assert list(table["summit"]) == [1, 0]
    assert list(table["name"]) == ["b", "a"]


def test_levels_are_what_the_document_says(reader, database, inputs, read_bigwig):
    values = read_bigwig(inputs.folder / "real.bw", "chr2")
    expected = [values[i : i + 7].max() for i in range(0, 1_500, 7)]
    found = reader["read_bins"](database, "chr2", 0, len(expected), "real", "rep1", 7, "max")
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_checksums_are_zlibs_of_the_cells(reader, database):
    track = next(t for t in reader["read_catalogue"](database)["tracks"] if t["attribute"] == "real")
    cells = reader["read"](database, "chr1", 0, 3_000, "real", "rep1").astype("<f4")
    assert track["checksums"]["chr1"] == f"{zlib.crc32(cells.tobytes()):08x}"
