"""The simulated experiment is what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyBigWig
import pysam
import pytest

from db_ingest.errors import InputError
from kerasgen.motifs import bundled_path, read_jaspar
from kerasgen.simulation import simulate


def test_planted_sites_are_strong_matches_of_their_matrices(simulated: Path) -> None:
    matrices = {m.name: np.log2(np.maximum(m.matrix, 1e-3) / 0.25) for m in read_jaspar(bundled_path())}
    complement = str.maketrans("ACGT", "TGCA")
    with pysam.FastaFile(str(simulated / "genome.fa")) as fasta:
        for line in (simulated / "motifs.bed").read_text().splitlines():
            name, start, end, motif, _, strand = line.split()
            site = fasta.fetch(name, int(start), int(end))
            site = site[::-1].translate(complement) if strand == "-" else site
            odds = matrices[motif]
            score = sum(odds[i, "ACGT".index(base)] for i, base in enumerate(site))
            assert score >= 0.8 * odds.max(axis=1).sum()


def test_pooled_is_the_sum_of_the_replicates_and_peaks_hold_the_reads(simulated: Path) -> None:
    for sign in ("plus", "minus"):
        tracks = []
        for dataset in ("rep1", "rep2", "pooled"):
            with pyBigWig.open(str(simulated / f"{dataset}.{sign}.bw")) as file:
                tracks.append(np.nan_to_num(file.values("chr1", 0, 60_000, numpy=True)))
        np.testing.assert_array_equal(tracks[0] + tracks[1], tracks[2])
        inside = np.zeros(60_000, bool)
        for line in (simulated / "peaks.narrowPeak").read_text().splitlines():
            name, start, end, *_ = line.split()
            if name == "chr1":
                inside[int(start) : int(end)] = True
        assert tracks[2][inside].sum() > 0.9 * tracks[2].sum()


def test_the_same_seed_writes_the_same_files(simulated: Path, tmp_path: Path) -> None:
    simulate(str(tmp_path / "again"), chromosomes=3, chromosome_size=60_000, peaks=90, seed=7)
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (simulated / path.name).read_bytes()


def test_own_motifs_are_planted(tmp_path: Path) -> None:
    motifs = tmp_path / "motifs.jaspar"
    motifs.write_text(">M1 MINE\nA [ 0 0 9 0 ]\nC [ 9 0 0 0 ]\nG [ 0 9 0 0 ]\nT [ 0 0 0 9 ]\n")
    simulate(str(tmp_path / "s"), chromosomes=1, chromosome_size=20_000, peaks=10, motifs=str(motifs))
    names = {line.split()[3] for line in (tmp_path / "s" / "motifs.bed").read_text().splitlines()}
    assert names == {"MINE"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"peaks": 5000, "chromosome_size": 20_000}, "do not fit"),
        ({"chromosomes": 0}, "--chromosomes 0"),
        ({"motifs": "/none"}, "/none: no such file"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(tmp_path: Path, flags: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(str(tmp_path / "s"), **flags)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(InputError, match="exists"):
        simulate(str(tmp_path))
    with pytest.raises(InputError, match="not a folder of gen_simulate"):
        simulate(str(tmp_path), overwrite=True)
    assert (tmp_path / "thesis.doc").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no motifs"),
        (">M x\nA [ 1 2 ]\nC [ 1 2 ]\nG [ 1 2 ]\n", "needs rows A, C, G and T"),
        (">M x\nA [ 1 two ]\n", ":2: expected a base and its counts"),
        (">M x\nA [ 0 ]\nC [ 0 ]\nG [ 0 ]\nT [ 0 ]\n", "position without counts"),
    ],
)
def test_broken_motif_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.jaspar"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_jaspar(path)
