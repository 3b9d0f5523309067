"""Predictions against the model and the tracks themselves."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import h5py
import numpy as np
import pyBigWig
import pytest
from scipy.special import softmax

from db_ingest.errors import InputError
from kerasgen.bundle import open_bundle
from kerasgen.database import Database
from kerasgen.prediction.predict_tdb import predict_tdb
from kerasgen.sequence import one_hot, reverse_complement

PLUS, MINUS = "count_bigwig_plus_5p", "count_bigwig_minus_5p"


@pytest.fixture(scope="module")
def predicted(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predicted")
    result = predict_tdb(f"{trained}.keras", str(folder / "test"), bigwig_prefix=str(folder / "test"), batch_size=7)
    assert result.samples == 30
    assert len(result.bigwigs) == 4
    return folder / "test"


def test_the_file_holds_labels_and_the_models_outputs_in_order(
    predicted: Path, trained: Path, database: Database
) -> None:
    model = open_bundle(trained).load_model()
    with h5py.File(f"{predicted}.predictions") as file:
        coords = file["coords"][:].astype(str)
        arrays = {name: file[name][:] for name in ("lab_0", "lab_1", "pred_0", "pred_1")}
        attributes = dict(file.attrs)
    assert set(coords[:, 0]) == {"chr3"}
    assert set(coords[:, 2]) == {"+"}
    centre = coords[:, 1].astype(int)
    codes = database.sequence(coords[:, 0], centre - 100, 200)
    profile, counts = (np.asarray(o) for o in model(one_hot(codes)))
    np.testing.assert_allclose(arrays["pred_0"], profile, atol=1e-5)
    np.testing.assert_allclose(arrays["pred_1"], counts, atol=1e-5)
    tracks = [database.track(PLUS, "pooled"), database.track(MINUS, "pooled")]
    values = database.values(tracks, coords[:, 0], centre - 40, 80)
    np.testing.assert_array_equal(arrays["lab_0"], values)
    np.testing.assert_allclose(arrays["lab_1"], np.log(values.sum(axis=1) + 1), rtol=1e-6)
    assert attributes["held_out"] == "True"
    assert json.loads(attributes["data_spec"])["pseudocount"] == 1.0
    assert len(attributes["model_sha256"]) == 64


def test_bigwigs_hold_expected_and_observed_counts(predicted: Path, database: Database) -> None:
    with h5py.File(f"{predicted}.predictions") as file:
        coords, logits, counts = file["coords"][:].astype(str), file["pred_0"][:], file["pred_1"][:]
    expected = softmax(logits, axis=1) * (np.exp(counts) - 1).clip(0)[:, None]
    for task, attribute in enumerate((PLUS, MINUS)):
        with pyBigWig.open(f"{predicted}.task_{task}.predicted.bw") as bigwig:
            for (name, centre, _), values in zip(coords, expected[:, :, task], strict=True):
                found = bigwig.values(name, int(centre) - 40, int(centre) + 40, numpy=True)
                np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-6)
        with pyBigWig.open(f"{predicted}.task_{task}.observed.bw") as bigwig:
            name, centre, _ = coords[3]
            track = database.track(attribute, "pooled")
            wanted = database.windows(track, [name], [int(centre) - 40], 80)[0]
            np.testing.assert_array_equal(bigwig.values(name, int(centre) - 40, int(centre) + 40, numpy=True), wanted)


def test_stranded_regions_are_predicted_on_their_own_strand(trained: Path, database: Database, tmp_path: Path) -> None:
    bed = tmp_path / "stranded.bed"
    bed.write_text("chr3\t5000\t5001\ta\t0\t+\nchr3\t9000\t9001\tb\t0\t-\n")
    predict_tdb(
        f"{trained}.keras", str(tmp_path / "p"), bed_regions=str(bed), bed_regions_stranded=True,
        bigwig_prefix=str(tmp_path / "p"),
    )  # fmt: skip
    with h5py.File(tmp_path / "p.predictions") as file:
        assert file["coords"][:].astype(str)[:, 2].tolist() == ["+", "-"]
        profile, logits = file["lab_0"][1], file["pred_0"][1]
        counts = file["pred_1"][1]
    tracks = [database.track(PLUS, "pooled"), database.track(MINUS, "pooled")]
    forward = database.values(tracks, ["chr3"], [9000 - 40], 80)[0]
    np.testing.assert_array_equal(profile, forward[::-1, ::-1])
    model = open_bundle(trained).load_model()
    turned = one_hot(reverse_complement(database.sequence(["chr3"], [9000 - 100], 200)))
    np.testing.assert_allclose(logits, np.asarray(model(turned)[0])[0], atol=1e-5)
    # The bigWigs are back in the direction of the genome: task 0 is the plus strand again.
    expected = softmax(logits, axis=0) * (np.exp(counts) - 1).clip(0)
    with pyBigWig.open(str(tmp_path / "p.task_0.predicted.bw")) as bigwig:
        found = bigwig.values("chr3", 9000 - 40, 9000 + 40, numpy=True)
    np.testing.assert_allclose(found, expected[::-1, 1], rtol=1e-4, atol=1e-6)


def test_jitter_is_a_function_of_the_seed(trained: Path, tmp_path: Path) -> None:
    centres = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        predict_tdb(f"{trained}.keras", str(tmp_path / name), jitter=20, seed=seed)
        with h5py.File(tmp_path / f"{name}.predictions") as file:
            centres.append(file["coords"][:, 1].astype(int))
    assert np.array_equal(centres[0], centres[1])
    assert not np.array_equal(centres[0], centres[2])


def test_chromosomes_seen_in_training_are_warned_of(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "kerasgen"):
        predict_tdb(f"{trained}.keras", str(tmp_path / "p"), predict_chroms=["chr1"])
    assert "trained or chosen on chr1" in caplog.text
    with h5py.File(tmp_path / "p.predictions") as file:
        assert file.attrs["held_out"] == "False"


def test_partition_peaks_are_predicted_at_their_middle(trained: Path, tmp_path: Path, simulated: Path) -> None:
    result = predict_tdb(f"{trained}.keras", str(tmp_path / "p"), tdb_partition_attribute_for_upsample="idr_peak")
    with h5py.File(result.path) as file:
        centres = file["coords"][:, 1].astype(int)
    lines = [line.split() for line in (simulated / "peaks.narrowPeak").read_text().splitlines()]
    wanted = [(int(f[1]) + int(f[2])) // 2 for f in lines if f[0] == "chr3"]
    assert centres.tolist() == wanted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"load_model_hdf5": "/no/model.keras"}, "/no/model.keras: no such model"),
        ({"predict_chroms": ["chrX"]}, "no chromosome 'chrX'"),
        ({"tdb_array": "/no/db"}, "/no/db: no kerasgen database"),
        ({"tdb_output_datasets": ["nope"]}, "no dataset 'nope'"),
        ({"bed_regions": "/no.bed"}, "/no.bed: no such file"),
        ({"batch_size": 0}, "--batch_size 0"),
        ({"bed_regions": "x.bed", "tdb_partition_attribute_for_upsample": "peaks"}, "give one of --bed_regions and"),
        (
            {"tdb_partition_attribute_for_upsample": "idr_peak", "bed_regions_center": "edges"},
            "--bed_regions_center goes with --bed_regions; --tdb_partition_attribute_for_upsample was given",
        ),
        ({"tdb_transformation_pseudocount": -1}, "--tdb_transformation_pseudocount -1: expected 0 or more"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(trained: Path, tmp_path: Path, changes: dict, message: str) -> None:
    flags = {"load_model_hdf5": f"{trained}.keras", **changes}
    with pytest.raises(InputError, match=message):
        predict_tdb(predictions_and_labels_hdf5=str(tmp_path / "p"), **flags)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, trained: Path) -> None:
    (tmp_path / "m.keras").write_text("not a model")
    (tmp_path / "m.json").write_text(Path(f"{trained}.json").read_text())
    with pytest.raises(InputError, match="m.keras: cannot be loaded as a Keras model"):
        predict_tdb(str(tmp_path / "m.keras"), str(tmp_path / "p"))
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(InputError, match="m.json: not the JSON"):
        predict_tdb(str(tmp_path / "m.keras"), str(tmp_path / "p"))
