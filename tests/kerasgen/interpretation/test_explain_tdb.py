"""What gen_shap writes, its report, and whether planted motifs are found."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyBigWig
import pytest
from sklearn.metrics import roc_auc_score

from db_ingest.errors import InputError
from kerasgen.database import Database
from kerasgen.interpretation import recovery
from kerasgen.interpretation.explain_tdb import shap
from kerasgen.interpretation.files import read_explained
from kerasgen.reports.page import report
from kerasgen.sequence import one_hot


@pytest.fixture(scope="module")
def explained(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("explained") / "x"
    result = shap(f"{trained}.keras", str(prefix), chroms=["chr3"], num_refs_per_seq=4)
    assert result.regions == 30
    assert max(result.completeness.values()) <= 1
    return result.path


def test_scores_lie_where_the_windows_are(explained: Path, database: Database) -> None:
    with h5py.File(explained) as file:
        coords, sequence = file["coords"][:].astype(str), file["sequence"][:]
        hypothetical, observed = file["counts/hypothetical"][:], file["counts/observed"][:]
    wanted = one_hot(database.sequence(coords[:, 0], coords[:, 1].astype(int) - 100, 200))
    np.testing.assert_array_equal(sequence, wanted)
    np.testing.assert_allclose((hypothetical * sequence).sum(axis=-1), observed, atol=1e-5)
    with pyBigWig.open(str(explained).replace(".shap.h5", ".counts.bw")) as bigwig:
        start = int(coords[2, 1]) - 100
        np.testing.assert_allclose(bigwig.values("chr3", start, start + 200, numpy=True), observed[2], atol=1e-6)


def test_a_window_read_backwards_is_turned_back_in_the_bigwig(trained: Path, tmp_path: Path) -> None:
    bed = tmp_path / "one.bed"
    bed.write_text("chr3\t9000\t9001\tb\t0\t-\n")
    shap(f"{trained}.keras", str(tmp_path / "x"), bed_regions=str(bed), bed_regions_stranded=True, head="profile",
         task_index=0, num_refs_per_seq=3)  # fmt: skip
    with h5py.File(tmp_path / "x.shap.h5") as file:
        assert list(file) == ["coords", "profile", "sequence"]
        observed = file["profile/observed"][0]
    with pyBigWig.open(str(tmp_path / "x.profile.bw")) as bigwig:
        np.testing.assert_allclose(bigwig.values("chr3", 8900, 9100, numpy=True), observed[::-1], atol=1e-6)


def test_fewer_regions_are_spread_and_scored_the_same(trained: Path, explained: Path, tmp_path: Path) -> None:
    shap(f"{trained}.keras", str(tmp_path / "x"), chroms=["chr3"], max_regions=3, num_refs_per_seq=4, batch_size=2)
    with h5py.File(explained) as every, h5py.File(tmp_path / "x.shap.h5") as some:
        place = [every["coords"][:].tolist().index(c) for c in some["coords"][:].tolist()]
        assert place == [0, 14, 29]
        np.testing.assert_allclose(some["profile/observed"][:], every["profile/observed"][:][place], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_index": 5}, "--task_index 5: the profile head has channels 0 to 1"),
        ({"head": "depth"}, "--head depth"),
        ({"num_refs_per_seq": 0}, "--num_refs_per_seq 0"),
        ({"chroms": ["chrX"]}, "no chromosome 'chrX'"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(trained: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shap(f"{trained}.keras", str(tmp_path / "x"), **changes)
    assert not list(tmp_path.iterdir())


def test_auroc_equals_a_count_by_hand(explained: Path, simulated: Path) -> None:
    known, scores = [], []
    with h5py.File(explained) as file:
        coords, observed = file["coords"][:].astype(str), file["profile/observed"][:]
    truth = np.zeros(60_000, bool)
    for line in (simulated / "motifs.bed").read_text().splitlines():
        name, start, end, *_ = line.split()
        if name == "chr3":
            truth[int(start) : int(end)] = True
    for (_, centre, _), row in zip(coords, observed, strict=True):
        known.append(truth[int(centre) - 100 : int(centre) + 100])
        scores.append(np.abs(row))
    wanted = roc_auc_score(np.concatenate(known), np.concatenate(scores))
    found = recovery.auroc(read_explained(explained), recovery.read_sites(simulated / "motifs.bed", ["chr3"]))
    assert found["profile"] == pytest.approx(wanted)


def test_sites_are_found_by_any_name_of_their_chromosome(tmp_path: Path, simulated: Path) -> None:
    wanted = recovery.read_sites(simulated / "motifs.bed", ["chr3", "chr1"])
    assert {*wanted} == {"chr1", "chr3"}
    assert all(site.name for site in wanted["chr3"])
    plain = tmp_path / "plain.bed"
    plain.write_text((simulated / "motifs.bed").read_text().replace("chr", ""))
    assert recovery.read_sites(plain, ["chr3", "chr1"]) == wanted
    plain.write_text("3\t10\tx\n")
    with pytest.raises(InputError, match=r"plain.bed:1: "):
        recovery.read_sites(plain, ["chr3"])


def test_a_report_is_one_page_with_everything_in_it(
    trained: Path, explained: Path, simulated: Path, tmp_path: Path
) -> None:
    from kerasgen.prediction.predict_tdb import predict_tdb
    from kerasgen.scoring.profile_counts import score_bpnet

    predictions = predict_tdb(f"{trained}.keras", str(tmp_path / "p")).path
    score_bpnet(str(predictions), str(tmp_path / "s"))
    result = report(
        str(trained), str(tmp_path / "report.html"), scores=str(tmp_path / "s.json"), predictions=str(predictions),
        explained=str(explained), truth=str(simulated / "motifs.bed"), title="A <title>",
    )  # fmt: skip
    text = result.path.read_text()
    assert "A &lt;title&gt;" in text
    assert text.count("data:image/png;base64,") == 6
    assert "http" not in text.replace("https://jaspar", "")
    for heading in ("Training", "Scores", "Observed and predicted profiles", "Attributions"):
        assert heading in text
    assert f"{result.auroc['profile']:.3f}" in text
