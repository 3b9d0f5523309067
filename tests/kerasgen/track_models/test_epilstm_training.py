"""Epi-LSTM embeddings: normalisation, lanes, codes independent of how they are read, training and PCA."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_tracks import ASSAYS, BIN, BINS, CELLTYPES, EMPTY, make_database, simulated

from db_ingest.errors import InputError
from kerasgen.bundle import open_bundle
from kerasgen.database import Database
from kerasgen.track_models.binned import BinnedTracks, Stretch, from_arrays, from_database
from kerasgen.track_models.epilstm import frames
from kerasgen.track_models.epilstm.bin_split import by_stretches
from kerasgen.track_models.epilstm.normalisation import Normalisation
from kerasgen.track_models.settings import GAP_BINS


@pytest.fixture(scope="module")
def arrays() -> dict[tuple[str, str], np.ndarray]:
    return simulated()


@pytest.fixture(scope="module")
def uri(arrays: dict, tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_database(tmp_path_factory.mktemp("embedding"), arrays)


FLAGS = {
    "transformation": "None",
    "model_params": ["bottleneck=2", "units=8", "look_ahead=3", "frame=20"],
    "epochs": 3,
    "batch_size": 8,
    "seed": 4,
    "gap_bins": 20,
}


@pytest.fixture(scope="module")
def trained(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from kerasgen.track_models.epilstm.train import train_epilstm

    prefix = tmp_path_factory.mktemp("epilstm") / "model"
    train_epilstm(uri, str(prefix), **FLAGS)
    return prefix


def tracks_of(arrays: dict) -> BinnedTracks:
    return from_arrays(arrays, transformation="None")


def test_normalisation_is_that_of_nanmean_and_nanstd_and_is_undone(arrays: dict) -> None:
    tracks = tracks_of(arrays)
    made = Normalisation.of(tracks, [Stretch("grid", 0, 50, 900), Stretch("grid", 0, 2000, 2500)])
    columns = np.r_[50:900, 2000:2500]
    values = tracks.values.astype(np.float64)[:, columns]
    np.testing.assert_allclose(made.mean, np.nanmean(values, axis=1))
    np.testing.assert_allclose(made.scale, np.nanstd(values, axis=1))
    normal = made.apply(tracks.values)
    np.testing.assert_allclose(np.nanstd(normal[columns], axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(made.undo(normal), tracks.values, atol=1e-5)
    again = Normalisation.from_json(json.loads(json.dumps(made.to_json())))
    np.testing.assert_array_equal(again.scale, made.scale)


def test_a_track_without_a_value_to_train_on_is_refused_and_one_that_does_not_vary_is_left_at_0() -> None:
    tracks = from_arrays({("E1", "A"): np.full(10, np.nan), ("E1", "B"): np.full(10, 3.0)})
    with pytest.raises(InputError, match="E1/A: no value in any training bin"):
        Normalisation.of(tracks, tracks.stretches)
    made = Normalisation.of(tracks.subset([("E1", "B")]), tracks.stretches)
    assert made.apply(tracks.values[1:]).tolist() == [[0.0]] * 10


def test_parts_of_one_chromosome_are_disjoint_with_gaps() -> None:
    tracks = from_arrays({("E1", "A"): np.zeros(10_000)})
    parts = by_stretches(tracks)
    (train,), (validation,), (test,) = parts.train, parts.validation, parts.test
    assert (train.first, validation.first, test.first, test.end) == (0, 7200, 8000, 10_000)
    assert validation.first - train.end == test.first - validation.end == GAP_BINS
    assert parts.to_json(25)["test"] == [["pilot", 200_000, 250_000]]
    with pytest.raises(InputError, match="too few to train, validate and test on"):
        by_stretches(from_arrays({("E1", "A"): np.zeros(1000)}))


@pytest.mark.parametrize("skip", [0, 4])
def test_lanes_hold_every_bin_once_and_forget_at_each_piece(skip: int, rng: np.random.Generator) -> None:
    values = rng.normal(size=(100, 2)).astype(np.float32)
    whole = [Stretch("a", 0, 0, 60), Stretch("b", 0, 60, 100)]
    stretches = [Stretch("a", 0, 3, 50), Stretch("b", 0, 60, 100)]
    lanes = frames.lay(stretches, whole, 4, 7, skip)
    seen = np.zeros(100, int)
    for step in range(len(lanes)):
        inputs, keep, targets = frames.take(values, lanes, step, 7, 2, True)
        assert inputs.shape == (4, 9, 4)
        for lane in range(4):
            first = int(lanes.first[step, lane])
            if first < 0:
                assert not inputs[lane].any()
                assert np.isnan(targets[lane]).all()
                continue
            assert keep[lane, 0] == (first > lanes.low[step, lane])
            limit = 60 if first < 60 else 100
            there = min(9, limit - first)
            np.testing.assert_array_equal(inputs[lane, :there, :2], values[first : first + there])
            np.testing.assert_array_equal(inputs[lane, :, 2].astype(bool), np.arange(9) < there)
            for place, wanted in enumerate(targets[lane]):
                bin = first - 2 + place
                if not np.isnan(wanted).all():
                    np.testing.assert_array_equal(wanted, values[bin])
                    seen[bin] += 1
    assert seen.max() == 1
    inside = np.r_[3:50, 60:100]
    assert seen.sum() == seen[inside].sum()
    assert seen.sum() >= len(inside) - 6 * (skip + 7 + 2)
    if skip == 0:
        assert seen[3:10].all()


def test_components_are_those_of_scikit_learn(arrays: dict) -> None:
    from sklearn.decomposition import PCA

    from kerasgen.track_models.epilstm.pca import components

    values = Normalisation.of(tracks_of(arrays), [Stretch("grid", 0, 0, BINS)]).apply(tracks_of(arrays).values)
    known = values[~np.isnan(values).any(axis=1)]
    known -= known.mean(axis=0)
    expected = PCA(4).fit(known).components_
    found = components(known, [Stretch("grid", 0, 0, 70), Stretch("grid", 0, 70, len(known))], 4)
    np.testing.assert_allclose(np.abs((found * expected.T).sum(axis=0)), 1, atol=1e-4)
    assert (components(known, [Stretch("grid", 0, 0, 90)], 9)[:, 6:] == 0).all()


@pytest.mark.backend
@pytest.mark.parametrize("reconstruct", [False, True])
def test_codes_do_not_depend_on_how_a_chromosome_is_cut(arrays: dict, reconstruct: bool) -> None:
    import keras

    from architectures import epilstm
    from kerasgen.track_models.epilstm.encoder import Encoder

    keras.utils.set_random_seed(2)
    model = epilstm.build(epilstm.Config(tracks=6, bottleneck=3, units=6, frame=10, look_ahead=4, direct=False))
    tracks = tracks_of(arrays)
    made = Normalisation.of(tracks, tracks.stretches)

    def run(most: int, warm_up: int, lane: int) -> np.ndarray:
        encoder = Encoder(
            model, made, 2000, reconstruct=reconstruct, lane_frames=lane, warm_up_frames=warm_up, most_lanes=most
        )
        blocks = list(encoder.run(lambda low, high: tracks.values[:, low:high], 1990))
        assert [first for first, _ in blocks] == np.cumsum([0, *(len(b) for _, b in blocks[:-1])]).tolist()
        return np.concatenate([block for _, block in blocks])

    whole, cut, blocked = run(1, 0, 200), run(64, 15, 20), run(3, 15, 20)
    assert whole.shape == (1990, 6 if reconstruct else 3)
    np.testing.assert_allclose(cut, blocked, atol=1e-6)
    np.testing.assert_allclose(cut, whole, atol=1e-4)


@pytest.mark.backend
def test_bins_without_any_value_have_no_code_and_others_have(uri: str, trained: Path) -> None:
    from kerasgen.track_models.epilstm.positions import Codes

    with Database(uri) as database:
        positions = Codes(open_bundle(trained), database)
        positions.load()
        codes = np.concatenate([block for _, block in positions.blocks("grid")])
    assert codes.shape == (BINS, 2)
    empty = np.isnan(codes).all(axis=1)
    assert np.flatnonzero(empty).tolist() == list(range(3000, 3010))
    assert not np.isnan(codes[~empty]).any()


@pytest.mark.backend
def test_training_is_better_than_principal_components_and_writes_a_bundle(
    uri: str, trained: Path, tmp_path: Path
) -> None:
    from kerasgen.track_models.epilstm.fit_pca import fit_pca

    explained = fit_pca(uri, str(tmp_path / "pca"), 2, transformation="None", gap_bins=20)
    found = open_bundle(trained)
    assert found.config["r2"]["test"] > explained - 0.02
    assert open_bundle(tmp_path / "pca").config["r2"]["test"] == explained
    history = found.config["history"]
    assert history[-1]["val_loss"] < history[0]["val_loss"]
    assert found.config["best"]["val_loss"] == min(row["val_loss"] for row in history)
    assert len(Path(f"{trained}.log.csv").read_text().splitlines()) == 1 + len(history)
    assert found.config["tracks"] == [[c, a] for c in CELLTYPES for a in ASSAYS]
    assert [part[0][1:] for part in found.config["stretches"].values()][2] == [4800 * BIN, 6000 * BIN]


def test_explained_variance_of_components_is_that_of_scikit_learn(uri: str, arrays: dict, tmp_path: Path) -> None:
    """The test chromosome is the last fifth; a missing value counts as the mean, and only known ones are scored."""
    from sklearn.metrics import r2_score

    from kerasgen.track_models.epilstm.fit_pca import fit_pca

    explained = fit_pca(uri, str(tmp_path / "pca"), 2, transformation="None", gap_bins=20)
    bundle = open_bundle(tmp_path / "pca")
    made = Normalisation.from_json(bundle.config["normalisation"])
    test = np.nan_to_num(made.apply(tracks_of(arrays).values))[4800:]
    weights = [np.asarray(w) for w in bundle.load_model().get_weights()]
    found = test @ weights[0] @ weights[2]
    expected = r2_score(test, found, multioutput="variance_weighted")
    assert explained == pytest.approx(expected, abs=1e-5)


@pytest.mark.backend
def test_the_same_seed_gives_the_same_model_and_another_another(uri: str, trained: Path, tmp_path: Path) -> None:
    from kerasgen.track_models.epilstm.train import train_epilstm

    first = open_bundle(trained)
    # An ensemble has this seed and the next.
    again = train_epilstm(uri, str(tmp_path / "again"), **FLAGS, n_models=2)
    assert again.best_loss == pytest.approx(first.config["best"]["val_loss"], rel=1e-6)
    other = next(row for row in open_bundle(tmp_path / "again").config["history"] if row["model"] == 2)
    assert other["val_loss"] != pytest.approx(first.config["history"][0]["val_loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"model_params": ["units=many"]}, "units is 'many'; expected a whole number"),
        ({"model_params": ["nodes=3"]}, "unknown parameter 'nodes'"),
        ({"model_params": ["tracks=3"]}, "the database gives 6"),
        ({"model_params": ["bottleneck=0"]}, "bottleneck 0; expected 1 or more"),
        ({"celltypes": ["E9"]}, "no cell type 'E9'"),
        ({"epochs": 0}, "--epochs 0: expected 1 or more"),
        ({"n_models": 0}, "--n_models 0: expected 1 or more"),
        ({"learning_rate": 0.0}, "--learning_rate 0: expected more than 0"),
        ({"validation_chroms": ["chr1"]}, "--validation_chroms chr1: not in the genome"),
        ({"transformation": "log"}, "--transformation log: expected one of arcsinh, None"),
    ],
)
def test_wrong_flags_of_training_are_refused_and_nothing_is_written(
    uri: str, flags: dict, message: str, tmp_path: Path
) -> None:
    from kerasgen.track_models.epilstm.train import train_epilstm

    with pytest.raises(InputError, match=message):
        train_epilstm(uri, str(tmp_path / "model"), **{**FLAGS, **flags})
    assert not list(tmp_path.iterdir())


def test_an_earlier_bundle_is_not_overwritten_silently(uri: str, trained: Path) -> None:
    from kerasgen.track_models.epilstm.fit_pca import fit_pca
    from kerasgen.track_models.epilstm.train import train_epilstm

    for train in (lambda: train_epilstm(uri, str(trained), **FLAGS), lambda: fit_pca(uri, str(trained), 2)):
        with pytest.raises(InputError, match="exists; --overwrite replaces it"):
            train()


@pytest.mark.backend
@pytest.mark.parametrize(
    "params",
    [
        ["units=2", "cell=softsign", "code=state", "direct=false", "look_ahead=0"],
        ["units=4", "mask=true", "look_ahead=1"],
        ["units=0", "look_ahead=0"],
    ],
)
def test_every_kind_of_model_trains_and_gives_codes(uri: str, params: list[str], tmp_path: Path) -> None:
    from kerasgen.track_models.epilstm.positions import Codes
    from kerasgen.track_models.epilstm.train import train_epilstm

    flags = {**FLAGS, "model_params": ["bottleneck=2", "frame=20", *params], "epochs": 6}
    result = train_epilstm(uri, str(tmp_path / "model"), **flags)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    with Database(uri) as database:
        positions = Codes(open_bundle(tmp_path / "model"), database)
        positions.load()
        codes = np.concatenate([block for _, block in positions.blocks("grid")])
    assert np.isfinite(codes).all(axis=1).sum() == BINS - len(EMPTY)


class Begun(Exception):
    """Training would begin now."""


def test_a_bottleneck_that_compresses_nothing_is_warned_of(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kerasgen.track_models.epilstm.loop import EpilstmLoop
    from kerasgen.track_models.epilstm.train import train_epilstm

    def begin(loop: EpilstmLoop) -> None:
        raise Begun

    monkeypatch.setattr(EpilstmLoop, "models", begin)
    with pytest.raises(Begun):
        train_epilstm(uri, str(tmp_path / "model"), **{**FLAGS, "model_params": ["units=4", "frame=20"]})
    assert "a bottleneck of 24 compresses nothing of 6 tracks; give fewer, such as" in caplog.text
    caplog.clear()
    with pytest.raises(Begun):
        train_epilstm(uri, str(tmp_path / "model"), **FLAGS)
    assert "compresses nothing" not in caplog.text


def test_training_ends_when_it_no_longer_gets_better_and_keeps_the_best(uri: str, tmp_path: Path) -> None:
    from kerasgen.track_models.epilstm.evaluation import r_squared
    from kerasgen.track_models.epilstm.train import train_epilstm

    linear = ["bottleneck=2", "units=0", "look_ahead=0", "frame=20"]
    flags = {**FLAGS, "model_params": linear, "epochs": 30, "patience": 1, "learning_rate": 0.3}
    result = train_epilstm(uri, str(tmp_path / "model"), **flags)
    assert result.stopped == "no better validation loss for 1 epochs"
    assert len(result.history) == result.best_epoch + 1
    assert result.best_loss == min(row["val_loss"] for row in result.history)
    found = open_bundle(tmp_path / "model")
    with Database(uri) as database:
        tracks = from_database(database, transformation="None")
    parts = by_stretches(tracks, 20)
    made = Normalisation.from_json(found.config["normalisation"])
    assert r_squared(found.load_model(), made, tracks, parts.validation) == pytest.approx(
        found.config["r2"]["validation"], abs=1e-6
    )
