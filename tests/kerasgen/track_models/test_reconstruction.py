"""gen_impute of an Epi-LSTM: its tracks as it gives them back, holes filled, with the spread of an ensemble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from small_tracks import ASSAYS, BIN, BINS, CELLTYPES, EMPTY, SIZE, make_database, simulated

from db_ingest.errors import InputError
from db_ingest.upkeep.edit import drop
from kerasgen.bundle import load_model, open_bundle
from kerasgen.database import Database
from kerasgen.track_models.bigwigs import write_bigwigs
from kerasgen.track_models.binned import from_arrays
from kerasgen.track_models.epilstm.evaluation import reconstructions
from kerasgen.track_models.epilstm.fit_pca import fit_pca
from kerasgen.track_models.epilstm.normalisation import Normalisation
from kerasgen.track_models.epilstm.reconstruction import Reconstruction
from kerasgen.track_models.epilstm.train import train_epilstm
from kerasgen.track_models.impute import impute


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database, an ensemble of two models of it, and components."""
    folder = tmp_path_factory.mktemp("reconstruction")
    uri = make_database(folder, simulated())
    settings = ["bottleneck=2", "units=6", "look_ahead=2", "frame=20"]
    train_epilstm(uri, str(folder / "m"), model_params=settings, epochs=1, batch_size=8, n_models=2, gap_bins=20)
    fit_pca(uri, str(folder / "pca"), 6, transformation="None", gap_bins=20)
    return folder


@pytest.fixture(scope="module")
def expected(folder: Path) -> np.ndarray:
    """Of each model, the whole chromosome, ``(models, tracks, bins)``."""
    values = {pair: np.arcsinh(track) for pair, track in simulated().items()}
    tracks = from_arrays(values)
    made = Normalisation.from_json(open_bundle(folder / "m").config["normalisation"])
    models = [load_model(folder / f"m.{ending}") for ending in ("keras", "model2.keras")]
    return np.concatenate(
        [np.stack(each) for _, each in reconstructions(models, made, tracks, tracks.stretches)], axis=2
    )


def bins_of(path: Path) -> np.ndarray:
    with pyBigWig.open(str(path)) as file:
        assert file.chroms() == {"grid": SIZE}
        return file.values("grid", 0, SIZE, numpy=True)[::BIN]


@pytest.mark.backend
def test_all_tracks_are_written_as_the_models_give_them_back(
    folder: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    trained = open_bundle(folder / "m")
    with Database(trained.config["database"]["uri"]) as database:
        model = Reconstruction(trained, database, 1111)
        ranges = model.ranges(None, None, None, None)
        written = write_bigwigs(model, model.tracks, ranges, tmp_path, keep_arcsinh=True, std=True, at_once=1111)
    assert len(written.paths) == 2 * len(CELLTYPES) * len(ASSAYS)
    for number, (celltype, assay) in enumerate((c, a) for c in CELLTYPES for a in ASSAYS):
        mean = bins_of(tmp_path / f"{celltype}.{assay}.bigwig")
        np.testing.assert_allclose(mean, expected[:, number].mean(axis=0), atol=1e-4)
        std = bins_of(tmp_path / f"{celltype}.{assay}.std.bigwig")
        np.testing.assert_allclose(std, expected[:, number].std(axis=0), atol=1e-4)
        assert np.flatnonzero(np.isnan(mean)).tolist() == list(EMPTY)
    hole = bins_of(tmp_path / "E1.A.bigwig")[100:140]
    assert np.isnan(simulated()["E1", "A"][100:140]).all()
    assert np.isfinite(hole).all()
    assert hole.std() > 0.1


def test_a_region_has_the_values_of_the_whole_and_arcsinh_is_undone(
    folder: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    impute(str(folder / "m"), celltype=["E2"], assay=["C"], region="grid:110010-130000", out_dir=str(tmp_path))
    found = bins_of(tmp_path / "E2.C.bigwig")
    assert np.flatnonzero(np.isfinite(found)).tolist() == list(range(4400, 5200))
    plain = np.maximum(np.sinh(expected[:, -1].mean(axis=0)), 0)
    np.testing.assert_allclose(found[4400:5200], plain[4400:5200], rtol=1e-3, atol=1e-4)


def test_as_many_components_as_tracks_give_the_tracks_back(folder: Path, tmp_path: Path) -> None:
    impute(str(folder / "pca"), assay=["B"], out_dir=str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["E1.B.bigwig", "E2.B.bigwig"]
    track = simulated()["E2", "B"]
    np.testing.assert_allclose(bins_of(tmp_path / "E2.B.bigwig"), track, atol=1e-4)
    assert len(track) == BINS


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"all_missing": True}, "--all_missing is for an Avocado; .*m is an Epi-LSTM or components, which give back"),
        ({"assay": ["A"], "scores": "s"}, "--scores is for an Avocado"),
        ({"assay": ["A"], "plot_region": "grid:0-100"}, "--plot_region is for an Avocado"),
        ({"add_celltypes": ["E3"], "new_model": "n"}, "--add_celltypes is for an Avocado"),
        ({"celltype": ["E9"]}, "knows no cell type 'E9'; expected one of E1, E2"),
        ({"assay": ["A"], "all_tracks": True}, "--all_tracks is every pair; give it without"),
        ({}, "nothing to impute; name --celltype or --assay, or give --all_tracks"),
        ({"assay": ["A"], "chrom": ["chr9"]}, "knows no chromosome 'chr9'"),
        ({"assay": ["A"], "tdb_array": "/none"}, "/none: no kerasgen database here"),
    ],
)
def test_what_an_epilstm_does_not_do_is_refused(folder: Path, tmp_path: Path, flags: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        impute(str(folder / "m"), out_dir=str(tmp_path), **flags)
    assert not list(tmp_path.iterdir())


def test_one_model_has_no_spread(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--std: .*pca is one model"):
        impute(str(folder / "pca"), all_tracks=True, std=True, out_dir=str(tmp_path))


def test_a_pair_that_the_model_has_no_track_of_is_refused_only_where_it_is_named(tmp_path: Path) -> None:
    uri = make_database(tmp_path / "own", simulated())
    drop(uri, attribute="B", dataset="E2")
    fit_pca(uri, str(tmp_path / "pca"), 2, transformation="None", gap_bins=20)
    with pytest.raises(InputError, match="pca: gives back the tracks that it was trained on; E2:B is none of them"):
        impute(str(tmp_path / "pca"), celltype=["E2"], assay=["A", "B"], out_dir=str(tmp_path / "out"))
    result = impute(str(tmp_path / "pca"), assay=["B"], out_dir=str(tmp_path / "out"))
    assert [path.name for path in result.bigwigs] == ["E1.B.bigwig"]


def test_a_missing_model_of_an_ensemble_is_named(folder: Path, tmp_path: Path) -> None:
    for ending in ("keras", "json"):
        (tmp_path / f"m.{ending}").write_bytes((folder / f"m.{ending}").read_bytes())
    with pytest.raises(InputError, match="m.model2.keras: no such model"):
        impute(str(tmp_path / "m"), all_tracks=True, out_dir=str(tmp_path))
