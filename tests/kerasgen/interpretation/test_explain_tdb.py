"""What gen_shap writes, its report, and whether planted motifs are found."""

from __future__ import annotations

from dataclasses import replace
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
from kerasgen.interpretation.explainers import Attributions
from kerasgen.interpretation.files import ExplainedWriter, read_explained
from kerasgen.reports.page import report
from kerasgen.sequence import one_hot
from kerasgen.spec import Channels


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


@pytest.fixture(scope="module")
def two_of_each(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Prefix of a bundle that was never trained: two windows of sequence in, labels per bin and per window out."""
    import keras

    from kerasgen import bundle

    found = bundle.open_bundle(trained)
    sequence = found.spec.inputs[0]
    labels = Channels(("idr_peak",), ("pooled",), 40, aggregation="binary_max")
    spec = replace(
        found.spec, inputs=(sequence, replace(sequence, flank=30)), outputs=(replace(labels, bin=20), labels)
    )
    keras.utils.set_random_seed(1)
    inputs = [keras.Input((each.length, 4)) for each in spec.inputs]
    flat = keras.layers.Concatenate()([keras.layers.Flatten()(each) for each in inputs])
    bins = keras.layers.Reshape((4, 1))(keras.layers.Dense(4)(flat))
    prefix = tmp_path_factory.mktemp("two") / "model"
    bundle.write_model(prefix, keras.Model(inputs, [bins, keras.layers.Dense(1)(flat)]))
    bundle.write_config(prefix, {**found.config, "data_spec": spec.to_json()})
    return str(prefix)


def test_inputs_and_outputs_of_one_kind_are_all_read_explained_and_scored(two_of_each: str, tmp_path: Path) -> None:
    from kerasgen.prediction.predict_tdb import predict_tdb
    from kerasgen.scoring.profile_counts import score_bpnet

    result = shap(two_of_each, str(tmp_path / "x"), chroms=["chr3"], max_regions=5, num_refs_per_seq=2)
    assert [path.name for path in result.bigwigs] == ["x.labels.bw", "x.labels_1.bw"]
    assert max(result.completeness.values()) <= 1
    explained = read_explained(result.path)
    assert list(explained.observed) == ["labels", "labels_1"]
    assert (explained.observed["labels"] != explained.observed["labels_1"]).any()
    one = shap(two_of_each, str(tmp_path / "one"), chroms=["chr3"], max_regions=1, num_refs_per_seq=2, head="labels")
    assert list(one.completeness) == ["labels", "labels_1"]
    with pytest.raises(InputError, match="--head counts: the model has only labels, labels_1"):
        shap(two_of_each, str(tmp_path / "none"), head="counts")

    predicted = predict_tdb(two_of_each, str(tmp_path / "p"))
    scores = score_bpnet(str(predicted.path), str(tmp_path / "s")).tasks[0]
    assert list(scores) == ["task", "name", "n", "labels", "labels_1"]
    assert {row.split("\t")[2] for row in (tmp_path / "s.tsv").read_text().splitlines()[1:]} == {"labels", "labels_1"}
    page = report(str(two_of_each), str(tmp_path / "r.html"), scores=str(tmp_path / "s.json")).path.read_text()
    assert "pooled idr_peak: labels_1 (30 loci)" in page


@pytest.mark.parametrize("work", ["gen_shap", "gen_predict_tdb"])
def test_threads_that_read_end_with_an_error(two_of_each: str, tmp_path: Path, monkeypatch, work: str) -> None:
    from kerasgen.interpretation import explain_tdb
    from kerasgen.prediction import batches, predict_tdb

    opened = []

    def noted(*arguments):
        opened.append(batches.read_batches(*arguments))
        return opened[-1]

    def fails(*_):
        raise RuntimeError("on purpose")

    module, broken = (explain_tdb, "references_of") if work == "gen_shap" else (predict_tdb, "outputs_of")
    run = explain_tdb.shap if work == "gen_shap" else predict_tdb.predict_tdb
    monkeypatch.setattr(module, "read_batches", noted)
    monkeypatch.setattr(module, broken, fails)
    with pytest.raises(RuntimeError, match="on purpose"):
        run(two_of_each, str(tmp_path / "x"))
    # A generator without a frame was closed, and with it what it read by.
    assert [each.gi_frame for each in opened] == [None]
    assert not list(tmp_path.iterdir())


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


def test_all_chromosomes_decide_what_the_name_of_one_means(tmp_path: Path, explained: Path, database: Database) -> None:
    yeast = ["chrI", "chrV", "chrIX", "chrX", "chrXVI", "chrM"]
    sites = tmp_path / "sites.bed"
    sites.write_text("10\t5\t9\ta\n1\t7\t8\tb\n9\t3\t4\tc\n")
    found = recovery.read_sites(sites, ["chrX", "chrI", "chrV"], yeast)
    assert {name: [site.name for site in some] for name, some in found.items()} == {"chrX": ["a"], "chrI": ["b"]}
    with pytest.raises(InputError, match=r"sites.bed: no site on the explained chromosomes, chrM"):
        recovery.read_sites(sites, ["chrM"], yeast)
    with pytest.raises(InputError, match=r"no chromosome in common with the genome; .* chr7$"):
        recovery.read_sites(sites, ["chr7"])
    shown = read_explained(explained)
    assert recovery.genome_of(shown) == database.genome.names
    assert recovery.genome_of(shown._replace(database=str(tmp_path / "gone")), ["chr3", "chr1"]) == ("chr3", "chr1")


def test_chunks_are_packed_once_whatever_the_batch(tmp_path: Path, rng: np.random.Generator) -> None:
    coords = np.full((40, 3), b"x")
    scores = rng.normal(size=(40, 2114, 4)).astype(np.float32)
    with ExplainedWriter(tmp_path / "x.h5", coords, 2114, ["counts"], {}) as writer:
        for first in range(0, 40, 4):
            where = slice(first, first + 4)
            own = scores[where]
            writer.put(where, "counts", Attributions(own, own, own[:, 0, 0], own[:, 0, 1]))
            # What HDF5 keeps unpacked takes no place in the file yet.
            assert (tmp_path / "x.h5").stat().st_size < own.nbytes / 4
        assert writer.file["counts/hypothetical"].chunks == (32, 2114, 4)
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["counts/hypothetical"][:], scores)
    with ExplainedWriter(tmp_path / "y.h5", coords, 200_000, ["counts"], {}) as writer:
        assert writer.file["counts/hypothetical"].chunks == (2, 200_000, 4)


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
