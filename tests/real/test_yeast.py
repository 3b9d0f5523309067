"""The yeast database against pyBigWig and pysam: every base of every track."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyBigWig
import pysam
import pytest

from db_ingest import ingest
from kerasgen.database import Database
from kerasgen.sequence import to_text

pytestmark = pytest.mark.real

SAMPLES = ("WT_1", "WT_2", "WT_3", "WT_pooled")


@pytest.fixture(scope="module")
def yeast(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> tuple[Database, dict[tuple[str, str], Path]]:
    folder = tmp_path_factory.mktemp("yeast")
    data = real_data / "yeast_stripeseq"
    files = {(s, strand): data / f"S288C_{s}.{strand}.bw" for s in SAMPLES for strand in ("plus", "minus")}
    atac = real_data / "yeast_atac"
    files |= {("atac", "plus"): atac / "atac_cutsites_plus4.bw", ("atac", "minus"): atac / "atac_cutsites_minus4.bw"}
    lines = ["dataset\tplus\tminus\ttsr"]
    for sample in (*SAMPLES, "atac"):
        peaks = data / f"S288C_{sample}.TSRs.narrowPeak"
        peaks = atac / "hmmratac_yeast500k_accessible_regions.narrowPeak" if sample == "atac" else peaks
        lines.append(f"{sample}\t{files[sample, 'plus']}\t{files[sample, 'minus']}\t{peaks if peaks.exists() else ''}")
    (folder / "samples.tsv").write_text("\n".join(lines) + "\n")
    (folder / "attributes.tsv").write_text("plus\tbigwig\nminus\tbigwig\ntsr\tbed_summit_from_last_col\n")
    ingest(
        str(folder / "db"),
        str(folder / "samples.tsv"),
        ref_fasta=str(real_data / "sacCer3" / "sacCer3.fa"),
        attribute_config_file=str(folder / "attributes.tsv"),
    )
    return Database(str(folder / "db")), files


def test_every_base_of_every_signal_equals_pybigwig(yeast) -> None:
    database, files = yeast
    compared = 0
    for (sample, strand), path in files.items():
        track = database.track(strand, sample)
        with pyBigWig.open(str(path)) as bigwig:
            for name, size in zip(database.genome.names, database.genome.sizes, strict=True):
                found = database.windows(track, [name], [0], size)[0]
                if name not in bigwig.chroms():
                    assert np.isnan(found).all()
                    continue
                np.testing.assert_array_equal(found, np.nan_to_num(bigwig.values(name, 0, size, numpy=True)))
                compared += size
    assert compared > 100e6


def test_every_base_of_the_sequence_equals_pysam(yeast, real_data: Path) -> None:
    database, _ = yeast
    with pysam.FastaFile(str(real_data / "sacCer3" / "sacCer3.fa")) as fasta:
        assert tuple(fasta.references) == database.genome.names
        for name, size in zip(database.genome.names, database.genome.sizes, strict=True):
            assert to_text(database.sequence([name], [0], size)[0]) == fasta.fetch(name).upper()


def test_every_base_of_every_mask_equals_the_peaks(yeast, real_data: Path) -> None:
    database, _ = yeast
    for sample in ("WT_1", "WT_2", "WT_3", "atac"):
        path = real_data / "yeast_stripeseq" / f"S288C_{sample}.TSRs.narrowPeak"
        path = (
            real_data / "yeast_atac" / "hmmratac_yeast500k_accessible_regions.narrowPeak" if sample == "atac" else path
        )
        wanted = {n: np.zeros(s, np.uint8) for n, s in zip(database.genome.names, database.genome.sizes, strict=True)}
        lines = path.read_text().splitlines()
        rows = [line.split("\t") for line in lines if not line.startswith("track")]
        for row in rows:
            wanted[row[0]][int(row[1]) : int(row[2])] = 1
        for row in rows:
            wanted[row[0]][int(row[1]) + int(row[9])] = 2
        track = database.track("tsr", sample)
        for name, mask in wanted.items():
            np.testing.assert_array_equal(database.windows(track, [name], [0], len(mask))[0], mask)
        assert len(database.intervals("tsr", sample)["start"]) == len(rows)
