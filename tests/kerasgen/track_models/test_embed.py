"""gen_embed: embeddings in the database, as HDF5 and as bigWig, from one step to the next and against bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pyBigWig
import pytest
from small_tracks import BIN, BINS, CELLTYPES, EMPTY, SIZE, make_database, simulated

from db_ingest.errors import InputError
from db_ingest.writing import derived
from kerasgen import embed
from kerasgen.bundle import open_bundle
from kerasgen.database import Database
from kerasgen.track_models.binned import from_arrays, from_database
from kerasgen.track_models.epilstm.fit_pca import fit_pca
from kerasgen.track_models.epilstm.train import train_epilstm

CHROMS = {"train_chroms": ["grid"], "validation_chroms": ["other"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database, and a bundle of 3 components."""
    folder = tmp_path_factory.mktemp("embed")
    uri = make_database(folder, simulated(), other=True)
    fit_pca(uri, str(folder / "pca"), 3, transformation="None", **CHROMS)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "own")
    return tmp_path / "own"


def scores(folder: Path) -> np.ndarray:
    """Components by scikit-learn's projection, ``(bins, 3)``; NaN where no track has a value."""
    from sklearn.decomposition import PCA

    tracks = from_arrays(simulated(), transformation="None")
    values = tracks.values.astype(np.float64)
    normal = (values - np.nanmean(values, axis=1, keepdims=True)) / np.nanstd(values, axis=1, keepdims=True)
    filled = np.nan_to_num(normal).T
    # Its own centre must not move: missing values are at the mean.
    made = PCA(3).fit(np.concatenate([filled, -filled]))
    found = filled @ made.components_.T
    found[np.isnan(values).all(axis=0)] = np.nan
    return found


def stored(uri: str, name: str, components: int) -> np.ndarray:
    with Database(uri) as database:
        tracks = [database.track(f"{name}_{number:02d}", name) for number in range(components)]
        return database.bins(tracks, ["grid"], [0], BINS, BIN)[0]


def test_components_need_no_chromosome_to_validate_on(folder: Path) -> None:
    with_one = np.array(keras_weights(folder / "pca"))
    fit_pca(str(folder / "db"), str(folder / "alone"), 3, transformation="None", train_chroms=["grid"])
    np.testing.assert_allclose(keras_weights(folder / "alone"), with_one, atol=1e-6)
    with pytest.raises(InputError, match="--validation_chroms: expected some to choose the best epoch by"):
        train_epilstm(str(folder / "db"), str(folder / "lstm"), train_chroms=["grid"])


def keras_weights(prefix: Path) -> np.ndarray:
    """Directions of the components of a bundle."""
    from kerasgen.bundle import open_bundle

    return np.array(open_bundle(prefix).load_model().get_layer("code").get_weights()[0])


def test_components_in_the_database_are_those_of_scikit_learn(folder: Path) -> None:
    uri = str(folder / "db")
    result = embed(uri, load_model_hdf5=str(folder / "pca.keras"))
    assert (result.dataset, result.bins, result.empty) == ("pca", BINS, len(EMPTY))
    assert result.attributes == ["pca_00", "pca_01", "pca_02"]
    found, expected = stored(uri, "pca", 3), scores(folder)
    signs = np.sign(np.nansum(found * expected, axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=2e-4)
    with Database(uri) as database:
        track = database.track("pca_01", "pca")
    assert (track.bin, track.type, track.summary["absent_chromosomes"]) == (BIN, "computed", ["other"])
    assert track.source["path"] == f"embedding of model {(folder / 'pca.keras').resolve()}"


def test_hdf5_and_bigwig_hold_what_the_database_holds(folder: Path) -> None:
    uri = str(folder / "db")
    result = embed(
        uri, load_model_hdf5=str(folder / "pca.keras"), name="mine", hdf5=str(folder / "out.h5"),
        bigwig_prefix=str(folder / "out"),
    )  # fmt: skip
    assert [path.name for path in result.files] == ["out.h5", *(f"out.mine_{n:02d}.bw" for n in range(3))]
    expected = stored(uri, "mine", 3)
    with h5py.File(folder / "out.h5") as file:
        assert list(file) == ["grid"]
        np.testing.assert_array_equal(file["grid"][:], expected)
        assert file.attrs["bin"] == BIN
        assert list(file.attrs["components"]) == ["mine_00", "mine_01", "mine_02"]
    with pyBigWig.open(str(folder / "out.mine_02.bw")) as file:
        bases = file.values("grid", 0, SIZE, numpy=True)
        assert file.chroms() == {"grid": SIZE}
    np.testing.assert_array_equal(bases, np.repeat(expected[:, 2], BIN)[:SIZE])


def test_the_same_embedding_again_changes_nothing_and_another_needs_overwrite(folder: Path) -> None:
    uri, model = str(folder / "db"), str(folder / "pca.keras")
    embed(uri, load_model_hdf5=model, name="x")
    with Database(uri) as database:
        commit = database.commit
    assert embed(uri, load_model_hdf5=model, name="x").unchanged
    with Database(uri) as database:
        assert database.commit == commit
    fit_pca(uri, str(folder / "two"), 2, transformation="None", **CHROMS)
    with pytest.raises(InputError, match="x x_00 is in the database already, from another source"):
        embed(uri, load_model_hdf5=str(folder / "two.keras"), name="x")
    embed(uri, load_model_hdf5=str(folder / "two.keras"), name="x", overwrite=True)
    with Database(uri) as database:
        assert [t.attribute for t in database.tracks if t.dataset == "x"] == ["x_00", "x_01"]


def test_all_components_appear_in_one_step_and_an_interrupted_writing_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, model = str(folder / "db"), str(folder / "pca.keras")
    put, members = derived.arrays.put, []

    def put_two(uri: str, member: str, *rest: object) -> None:
        if len(members) == 2:
            raise OSError("the disk is full")
        members.append(member)
        put(uri, member, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(derived.arrays, "put", put_two)
        with pytest.raises(Exception, match="the disk is full"):
            embed(uri, load_model_hdf5=model)
    assert members == ["signal/pca_00@25", "signal/pca_01@25"]
    with Database(uri) as database:
        assert "pca" not in database.datasets
    written = []

    def note(uri: str, member: str, *rest: object) -> None:
        written.append(member)
        put(uri, member, *rest)

    monkeypatch.setattr(derived.arrays, "put", note)
    embed(uri, load_model_hdf5=model)
    assert written == ["signal/pca_02@25"]
    np.testing.assert_allclose(np.abs(stored(uri, "pca", 3)), np.abs(scores(folder)), atol=2e-4)


def test_pca_is_fitted_and_embedded_by_the_same_command(folder: Path) -> None:
    uri = str(folder / "db")
    result = embed(uri, pca=2, model_prefix=str(folder / "out" / "base"), transformation="None", **CHROMS)
    assert result.attributes == ["base_00", "base_01"]
    assert open_bundle(folder / "out" / "base").config["architecture"]["config"]["units"] == 0
    np.testing.assert_allclose(np.abs(stored(uri, "base", 2)), np.abs(scores(folder)[:, :2]), atol=2e-4)


def test_embeddings_are_no_tracks_to_learn_from_unless_named(folder: Path) -> None:
    uri = str(folder / "db")
    embed(uri, load_model_hdf5=str(folder / "pca.keras"))
    with Database(uri) as database:
        assert from_database(database, transformation="None").celltypes == list(CELLTYPES)
        named = from_database(database, celltypes=["E1", "pca"], transformation="None")
        assert named.celltypes == ["E1", "pca"]


def test_gen_db_verify_has_nothing_to_compare_an_embedding_with(folder: Path) -> None:
    from db_ingest.upkeep.verify import verify

    uri = str(folder / "db")
    embed(uri, load_model_hdf5=str(folder / "pca.keras"))
    found = verify(uri, sources=True)
    assert "computed (embedding of model" in str(found)


@pytest.mark.backend
def test_gen_train_trains_an_epilstm_and_gen_embed_writes_its_codes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from kerasgen.cli import gen_embed, gen_train

    uri, prefix = make_database(folder / "alone", simulated()), str(folder / "lstm")
    train = ["--architecture_spec", "epilstm", "--tdb_array", uri, "--model_prefix", prefix, "--quiet"]
    assert gen_train.COMMAND.run([*train, "--hold_out", "E1:A"]) == 2
    assert "--hold_out is no flag of --architecture_spec epilstm" in capsys.readouterr().err
    settings = ["bottleneck=2", "units=4", "look_ahead=2", "frame=20"]
    words = [
        "--transformation",
        "None",
        "--epochs",
        "1",
        "--batch_size",
        "8",
        "--gap_bins",
        "20",
        "--model_params",
        *settings,
    ]
    assert gen_train.COMMAND.run([*train, *words]) == 0
    assert capsys.readouterr().out.startswith(f"{prefix}.keras: best of 1 epoch(s) is 1, validation loss ")
    words = ["--load_model_hdf5", f"{prefix}.keras", "--name", "codes", "--quiet"]
    assert gen_embed.COMMAND.run(["--tdb_array", uri, *words]) == 0
    found = stored(uri, "codes", 2)
    assert np.flatnonzero(np.isnan(found).any(axis=1)).tolist() == list(EMPTY)
    assert (np.nanstd(found, axis=0) > 0.1).all()


def test_genome_factors_of_an_avocado_are_written(folder: Path) -> None:
    from kerasgen import Avocado

    uri = str(folder / "db")
    with Database(uri) as database:
        tracks = from_database(database, chroms=["grid"], transformation="None")
    model = Avocado(
        tracks.celltypes, tracks.assays, preset="published", n_nodes=4, n_layers=1, batch_size=500,
        n_25bp_factors=3, n_250bp_factors=2, n_5kbp_factors=1,
    )  # fmt: skip
    model.fit(tracks, n_epochs=1, epoch_size=3)
    model.save(folder / "avocado")
    result = embed(uri, load_model_hdf5=str(folder / "avocado.keras"), name="place")
    assert len(result.attributes) == 6
    np.testing.assert_array_equal(stored(uri, "place", 6), model.genome_embedding)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "give one of --load_model_hdf5 and --pca"),
        ({"load_model_hdf5": "pca.keras", "pca": 2}, "give one of --load_model_hdf5 and --pca"),
        ({"load_model_hdf5": "none.keras"}, "none.keras: no such model"),
        ({"load_model_hdf5": "pca.keras", "in_database": False}, "nothing to write"),
        ({"load_model_hdf5": "pca.keras", "celltypes": ["E1"]}, "--celltypes goes with --pca"),
        ({"load_model_hdf5": "pca.keras", "bin": 50}, "--bin 50: .*pca.keras was trained with 25"),
        ({"load_model_hdf5": "pca.keras", "transformation": "arcsinh"}, "was trained with None"),
        ({"load_model_hdf5": "pca.keras", "chroms": ["chr9"]}, "no chromosome 'chr9'"),
        ({"load_model_hdf5": "pca.keras", "chroms": ["other"]}, "no track of the model has a value on other"),
        ({"load_model_hdf5": "pca.keras", "name": "a b"}, "--name 'a b'"),
        ({"load_model_hdf5": "pca.keras", "name": "E1", "hdf5": "pca.json"}, "pca.json: exists; --overwrite"),
        ({"pca": 2}, "--pca needs --model_prefix"),
        ({"pca": 2, "model_prefix": "pca"}, "pca.keras: exists; --overwrite replaces it"),
        ({"pca": 7, "model_prefix": "seven", "transformation": "None", **CHROMS}, "6 tracks have no more components"),
        ({"pca": 0, "model_prefix": "none"}, "--pca 0: expected 1 or more"),
    ],
)
def test_wrong_flags_are_refused(folder: Path, flags: dict, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(InputError, match=message):
        embed(str(folder / "db"), **flags)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_database_that_lacks_a_track_of_the_model_is_refused(folder: Path) -> None:
    from db_ingest.upkeep.edit import drop

    drop(str(folder / "db"), attribute="B", dataset="E2")
    with pytest.raises(InputError, match=r"E2/B: no such track; expected all that .*pca.keras was trained on"):
        embed(str(folder / "db"), load_model_hdf5=str(folder / "pca.keras"))


def test_training_needs_a_value_to_choose_by(folder: Path) -> None:
    with pytest.raises(InputError, match="no track has a value in the validation bins"):
        train_epilstm(str(folder / "db"), str(folder / "lstm"), transformation="None", **CHROMS)


def test_a_model_of_windows_has_no_embedding(folder: Path, trained: Path) -> None:
    with pytest.raises(InputError, match="a model of the family bpnet; expected one that embeds positions"):
        embed(str(folder / "db"), load_model_hdf5=f"{trained}.keras")


def test_blocks_of_a_chromosome_make_no_difference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kerasgen.track_models.epilstm import encoder

    uri, model = str(folder / "db"), str(folder / "pca.keras")
    embed(uri, load_model_hdf5=model, name="a")
    monkeypatch.setattr(encoder, "MOST_VALUES", 1)
    monkeypatch.setattr("kerasgen.track_models.embed.BINS_AT_ONCE", 1000)
    embed(uri, load_model_hdf5=model, name="b", hdf5=str(folder / "b.h5"), bigwig_prefix=str(folder / "b"))
    np.testing.assert_allclose(stored(uri, "a", 3), stored(uri, "b", 3), atol=1e-6)
    with h5py.File(folder / "b.h5") as file:
        np.testing.assert_array_equal(file["grid"][:], stored(uri, "b", 3))


def test_the_command_says_what_it_wrote(folder: Path, capsys: pytest.CaptureFixture) -> None:
    from kerasgen.cli.gen_embed import COMMAND

    words = ["--tdb_array", str(folder / "db"), "--load_model_hdf5", str(folder / "pca.keras"), "--quiet"]
    assert COMMAND.run(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "dataset pca: pca_00 to pca_02, 1 chromosome(s), 6,000 bins: written",
        "10 bins have no embedding: no track has a value there",
    ]
    assert COMMAND.run([*words, "--bin", "50"]) == 2
    assert capsys.readouterr().err.startswith("gen_embed: error: --bin 50: ")
