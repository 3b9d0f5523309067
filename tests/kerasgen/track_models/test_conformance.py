"""What every family of models of tracks promises, whoever made it: a family of the table without a case here fails."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_tracks import ASSAYS, BIN, BINS, CELLTYPES, EMPTY, SIZE, make_database, simulated

from db_ingest.errors import InputError
from kerasgen import families
from kerasgen.bundle import Bundle, load_model, open_bundle
from kerasgen.database import Database
from kerasgen.track_models.models import BinRange, TrackModel

pytestmark = pytest.mark.backend

Tracks = dict[tuple[str, str], np.ndarray]
TEST_BINS = round(0.8 * BINS)
"""First of the bins that an autoencoder is tested on where no chromosome is named."""


def without_one_track(tracks: Tracks) -> Tracks:
    return {**tracks, ("E2", "C"): np.flip(tracks["E2", "C"]).copy()}


def without_the_last_bins(tracks: Tracks) -> Tracks:
    return {pair: np.concatenate([values[:TEST_BINS], 7 - values[TEST_BINS:]]) for pair, values in tracks.items()}


@dataclass(frozen=True)
class Case:
    """How a family is trained in a moment.

    Args:
        settings: of its trainer.
        changed: gives other values to all that the settings hold out.
    """

    settings: dict[str, Any]
    changed: Callable[[Tracks], Tracks]


CASES = {
    "avocado": Case(
        {
            "transformation": "None", "n_models": 2, "epochs": 1, "epoch_size": 4, "batch_size": 500,
            "model_params": ["n_nodes=16", "n_layers=1"], "hold_out": ["E2:C"],
        },
        without_one_track,
    ),
    "epilstm": Case(
        {
            "transformation": "None", "n_models": 2, "epochs": 1, "batch_size": 8, "gap_bins": 20,
            "model_params": ["bottleneck=2", "units=6", "look_ahead=2", "frame=20"],
        },
        without_the_last_bins,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    family: families.Family
    bundle: Bundle
    uri: str

    def model(self) -> TrackModel:
        return self.family.impute(self.bundle, None)


def train(name: str, tracks: Tracks, folder: Path) -> Trained:
    family = families.get(name)
    uri = make_database(folder, tracks)
    family.train(tdb_array=uri, model_prefix=str(folder / "m"), seed=3, **CASES[name].settings)
    return Trained(family, open_bundle(folder / "m"), uri)


@pytest.fixture(scope="module", params=[family.name for family in families.of_tracks()])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(request.param, simulated(), tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def model(trained: Trained) -> TrackModel:
    return trained.model()


def weights(trained: Trained) -> list[np.ndarray]:
    networks = [trained.bundle.prefix.parent / name for name in ("m.keras", "m.model2.keras")]
    return [np.asarray(array) for path in networks for array in load_model(path).get_weights()]


def test_every_family_of_tracks_has_a_case():
    assert {family.name for family in families.of_tracks()} == set(CASES)


def test_model_says_what_it_knows(trained: Trained, model: TrackModel):
    assert trained.bundle.family == trained.family
    assert (model.celltypes, model.assays) == (list(CELLTYPES), list(ASSAYS))
    assert (model.chromosomes, model.bin, model.n_models) == (["grid"], BIN, 2)
    assert (model.sizes["grid"], model.bins("grid"), model.transformation) == (SIZE, BINS, "None")
    assert model.prefix == str(trained.bundle.prefix)
    assert model.pairs(["E1"], None) == [("E1", assay) for assay in ASSAYS]


def test_values_are_one_row_per_track_and_one_column_per_bin(model: TrackModel):
    pairs = [("E1", "A"), ("E2", "B")]
    values = model.impute(pairs, BinRange("grid", 0, BINS))
    assert (values.shape, values.dtype) == ((2, BINS), np.float32)
    known = np.isfinite(values)
    assert known[:, [bin for bin in range(BINS) if bin not in EMPTY]].all()


def test_parts_of_a_chromosome_are_the_whole_and_each_track_is_itself(model: TrackModel):
    pairs = [("E1", "A"), ("E1", "C"), ("E2", "B")]
    whole = model.impute(pairs, BinRange("grid", 0, BINS))
    edges = [0, 1, 777, 3005, BINS]
    parts = [model.impute(pairs, BinRange("grid", *ends)) for ends in itertools.pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-4)
    for row, pair in enumerate(pairs):
        alone = model.impute([pair], BinRange("grid", 2000, 2500))
        np.testing.assert_allclose(alone[0], whole[row, 2000:2500], atol=1e-4)


def test_spread_of_an_ensemble_comes_with_its_mean(model: TrackModel):
    bins = BinRange("grid", 100, 400)
    mean, std = model.impute_with_std([("E1", "B")], bins)
    np.testing.assert_allclose(mean, model.impute([("E1", "B")], bins), atol=1e-5)
    assert std.shape == mean.shape
    assert (std >= 0).all()
    assert std.max() > 0


def test_model_is_the_same_wherever_its_files_lie(trained: Trained, model: TrackModel, tmp_path: Path):
    for path in trained.bundle.prefix.parent.glob("m.*"):
        shutil.copy(path, tmp_path)
    moved = open_bundle(tmp_path / "m")
    bins = BinRange("grid", 0, 500)
    again = moved.family.impute(moved, trained.uri)
    np.testing.assert_allclose(again.impute([("E1", "A")], bins), model.impute([("E1", "A")], bins), atol=1e-5)
    assert moved.family.open(moved) is not None


def test_what_is_held_out_is_never_learned_from(trained: Trained, tmp_path: Path):
    changed = train(trained.family.name, CASES[trained.family.name].changed(simulated()), tmp_path)
    for one, other in zip(weights(trained), weights(changed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_names_that_it_does_not_know_are_refused(model: TrackModel):
    with pytest.raises(InputError, match="knows no cell type 'E9'; expected one of E1, E2"):
        model.pairs(["E9"], None)
    with pytest.raises(InputError, match="assay 'A' is named twice"):
        model.pairs(None, ["A", "A"])
    with pytest.raises(InputError, match="knows no chromosome 'chr9'; expected one of grid"):
        model.bins("chr9")
    with pytest.raises(InputError, match=r"grid:0-999,999: expected a range"):
        model.range_of("grid", 0, 999_999)


def test_embeddings_cover_every_bin_and_change_with_the_model_alone(trained: Trained):
    if trained.family.embedder is None:
        pytest.skip(f"{trained.family.name} embeds nothing")
    with Database(trained.uri) as database:
        positions = trained.family.embed(trained.bundle, database)
        assert (positions.bin, positions.chromosomes) == (BIN, ("grid",))
        assert positions.digest(["grid"]) == trained.family.embed(trained.bundle, database).digest(["grid"])
        positions.load()
        blocks = list(positions.blocks("grid"))
    assert [first for first, _ in blocks] == np.cumsum([0, *(len(codes) for _, codes in blocks[:-1])]).tolist()
    codes = np.concatenate([codes for _, codes in blocks])
    assert (codes.shape, codes.dtype) == ((BINS, positions.components), np.float32)
    assert codes[~np.isnan(codes).any(axis=1)].std() > 0
