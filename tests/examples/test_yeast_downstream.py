"""The example on genes and cohesin peaks of yeast: its labels, and the whole run with few trees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import once
import pandas as pd
import pyBigWig
import pytest
import served

pytestmark = [pytest.mark.real, pytest.mark.slow]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "yeast_downstream"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Path:
    def make(folder: Path) -> None:
        flags = ("--rounds", "15", "--learning_rate", "0.3", "--threads", "1")
        done = served.run(EXAMPLE / "run.sh", str(real_data), str(folder), *flags, EPOCHS="1", UNITS="8")
        assert done.returncode == 0, done.stderr

    return once.made(tmp_path_factory, "yeast_downstream", make)


def test_labels_of_genes_are_rna_downstream_on_their_own_strand(out: Path, real_data: Path) -> None:
    genes = pd.read_csv(out / "labels.rna.tsv", sep="\t")
    assert len(genes) == 1790
    for strand, name in (("+", "fwd"), ("-", "rev")):
        gene = genes[genes.strand == strand].iloc[7]
        low = gene.start if strand == "+" else gene.start - 499
        with pyBigWig.open(str(real_data / "yeast_binned_tracks" / f"RNA.{name}.bw")) as file:
            values = file.values(gene.chrom[3:], int(low), int(low) + 500, numpy=True)
        assert gene.rna == pytest.approx(np.nanmean(values), abs=1e-3)


def test_matched_regions_have_the_lengths_of_peaks_and_touch_none(out: Path) -> None:
    regions = pd.read_csv(out / "labels.cohesin.tsv", sep="\t")
    peaks, others = regions[regions.label == 1], regions[regions.label == 0]
    assert len(peaks) == 378
    assert len(others) == 3 * 378
    assert sorted(others.end - others.start) == sorted(np.repeat(peaks.end - peaks.start, 3))
    for peak in peaks.itertuples():
        near = others[(others.chrom == peak.chrom) & (others.start < peak.end) & (others.end > peak.start)]
        assert near.empty


def test_tracks_beat_the_baselines(out: Path) -> None:
    cohesin = pd.read_csv(out / "cohesin.scores.tsv", sep="\t").set_index("model")
    assert cohesin.AP["constant"] == pytest.approx(0.25, abs=1e-4)
    assert cohesin.AP["rna"] > 0.85
    assert cohesin.AP["length"] < 0.3
    rna = pd.read_csv(out / "rna.scores.tsv", sep="\t").set_index("model")
    assert rna.R2["all"] > rna.R2["pol2"] > 0.2
    assert abs(rna.R2["constant"]) < 0.02
    assert (out / "tss.png").stat().st_size > 10_000


def test_embeddings_of_all_kinds_say_something_of_what_they_were_not_made_of(out: Path) -> None:
    cohesin = pd.read_csv(out / "cohesin.scores.tsv", sep="\t").set_index("model")
    assert (cohesin.AP[["pca", "epilstm"]] > 0.85).all()
    assert cohesin.AP["all+epilstm"] > 0.85
    rna = pd.read_csv(out / "rna.scores.tsv", sep="\t").set_index("model")
    assert (rna.R2[["pca", "epilstm"]] > 0.3).all()
    assert {"avocado", "all+pca", "all+epilstm", "all+avocado"} <= set(rna.index) & set(cohesin.index)
