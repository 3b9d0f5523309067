"""The loci of the yeast example, on a database small enough to check by hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from db_ingest import ingest
from kerasgen.database import Database

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "yeast_stripeseq" / "loci.py"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    (tmp_path / "genome.fa").write_text(">chrI\n" + "ACGT" * 500 + "\n>chrM\n" + "ACGT" * 100 + "\n")
    counts = {"plus": {300: 40, 380: 20, 900: 30, 1500: 10}, "minus": {310: 25}}
    for strand, values in counts.items():
        with pyBigWig.open(str(tmp_path / f"{strand}.bw"), "w") as file:
            file.addHeader([("chrI", 2000), ("chrM", 400)])
            at = sorted(values)
            file.addEntries(["chrI"] * len(at), at, ends=[a + 1 for a in at], values=[float(values[a]) for a in at])
    # Summits: 300+ is the strongest; 380+ lies too near; 310- is of the other strand; 900+ stands alone;
    # 1500+ has too few counts; chrM is left out.
    rows = [("chrI", 300, "+"), ("chrI", 380, "+"), ("chrI", 310, "-"), ("chrI", 900, "+"), ("chrI", 1500, "+")]
    peaks = "".join(f"{c}\t{p - 5}\t{p + 5}\tx\t0\t{s}\t1\t-1\t-1\t5\n" for c, p, s in [*rows, ("chrM", 50, "+")])
    (tmp_path / "tsr.narrowPeak").write_text(peaks)
    lines = ["dataset\tplus\tminus\ttsr"]
    lines += [f"{name}\tplus.bw\tminus.bw\ttsr.narrowPeak" for name in ("WT_1", "WT_2", "WT_3", "WT_pooled")]
    (tmp_path / "samples.tsv").write_text("\n".join(lines) + "\n")
    ingest(
        str(tmp_path / "db"),
        str(tmp_path / "samples.tsv"),
        ref_fasta=str(tmp_path / "genome.fa"),
        attribute_config_file=str(SCRIPT.parent / "attributes.tsv"),
    )
    return Database(str(tmp_path / "db"))


def test_loci_are_strong_summits_apart_on_their_strand(database: Database) -> None:
    spec = importlib.util.spec_from_file_location("loci", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.find_loci(database)
    assert found == [("chrI", 300, "+", 60), ("chrI", 310, "-", 25), ("chrI", 900, "+", 30)]
    assert np.array([n for *_, n in found]).min() >= 15
