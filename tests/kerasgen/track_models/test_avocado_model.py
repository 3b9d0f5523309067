"""Avocado from training to files: what it learns, what stays when it grows, and what it refuses."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db_ingest.errors import InputError, MissingFileError
from kerasgen import Avocado
from kerasgen.track_models.binned import BinnedTracks, Stretch, from_arrays

pytestmark = pytest.mark.backend

CELLTYPES, ASSAYS = ["E003", "E017", "E065", "E116"], ["H3K4me3", "H3K27me3", "H3K36me3"]
BINS = 2000
SMALL: dict[str, Any] = {"n_layers": 1, "n_nodes": 16, "n_celltype_factors": 4, "n_assay_factors": 4, "batch_size": 500}
FACTORS: dict[str, Any] = {"n_25bp_factors": 3, "n_250bp_factors": 4, "n_5kbp_factors": 5}
PLAIN = {**SMALL, **FACTORS, "preset": "published"}
SEEING = {**SMALL, **FACTORS, "preset": "default", "sampling": "random"}


def made_tracks(celltypes: list[str] = CELLTYPES, assays: list[str] = ASSAYS, seed: int = 0) -> dict:
    """Peaks of each assay, those of a group of cell types the same, of another height in each cell type."""
    rng = np.random.default_rng(seed)
    tracks = {}
    shared = {assay: rng.random(BINS // 20) < 0.2 for assay in assays}
    group = rng.random((2, BINS // 20)) < 0.6
    for (i, celltype), assay in itertools.product(enumerate(celltypes), assays):
        peaks = np.repeat(shared[assay] & group[i % 2], 20)
        tracks[celltype, assay] = ((1 + i / 2) * peaks + 0.1 * rng.random(BINS)).astype(np.float32)
    return tracks


@pytest.fixture(scope="module")
def tracks() -> dict:
    return made_tracks()


@pytest.fixture(scope="module")
def plain(tracks: dict) -> Avocado:
    model = Avocado(CELLTYPES, ASSAYS, **PLAIN)
    model.fit({pair: track for pair, track in tracks.items() if pair != ("E065", "H3K4me3")}, n_epochs=3, epoch_size=5)
    return model


@pytest.fixture(scope="module")
def seeing(tracks: dict) -> Avocado:
    model = Avocado(CELLTYPES, ASSAYS, **SEEING, n_models=2)
    model.fit({pair: track for pair, track in tracks.items() if pair != ("E065", "H3K4me3")}, n_epochs=3, epoch_size=5)
    return model


@pytest.fixture(params=["plain", "seeing"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Avocado:
    """A trained model that a test may change."""
    request.getfixturevalue(request.param).save(tmp_path / "copy")
    return Avocado.load(tmp_path / "copy")


def test_the_code_of_avocados_readme_runs(tracks: dict) -> None:
    celltypes = ["E003", "E017", "E065", "E116"]
    assays = ["H3K4me3", "H3K27me3", "H3K36me3"]
    model = Avocado(celltypes, assays, n_layers=1, n_nodes=64, n_assay_factors=24,
                    n_celltype_factors=32, n_25bp_factors=5, n_250bp_factors=20,
                    n_5kbp_factors=30, batch_size=10000)  # fmt: skip
    data = {}
    for celltype, assay in itertools.product(celltypes, assays):
        if celltype == "E065" and assay == "H3K4me3":
            continue
        data[(celltype, assay)] = tracks[celltype, assay]
    model.fit(data, n_epochs=1, epoch_size=2)
    track = model.predict("E065", "H3K4me3")
    assert track.shape == (BINS,)
    assert track.dtype == np.float32
    new = {("E004", assay): tracks["E003", assay] for assay in assays}
    model.fit_celltypes(new, n_epochs=1)
    assert model.predict("E004", "H3K4me3").shape == (BINS,)
    assert model.genome_embedding.shape == (BINS, 55)
    assert model.celltype_embedding.shape == (5, 32)
    assert model.assay_embedding.shape == (3, 24)


def test_the_published_embedding_repeats_coarse_factors(plain: Avocado) -> None:
    embedding = plain.genome_embedding
    assert embedding.shape == (BINS, 12)
    for columns, span in ((slice(0, 3), 1), (slice(3, 7), 10), (slice(7, 12), 200)):
        blocks = embedding[:, columns].reshape(BINS // span, span, -1)
        np.testing.assert_array_equal(blocks, np.repeat(blocks[:, :1], span, axis=1))
        assert len(np.unique(blocks[:, 0, 0])) == BINS // span
    assert sum(Avocado(["a"], ["b"], preset="published", n_nodes=4).settings.genome_factors) == 110


@pytest.mark.parametrize("settings", [{**PLAIN, "learning_rate": 0.01}, SEEING], ids=["published", "default"])
def test_training_keeps_the_best_epoch_and_the_default_beats_the_mean_of_the_others(
    settings: dict, tracks: dict
) -> None:
    held_out, choice = ("E065", "H3K4me3"), ("E017", "H3K27me3")
    train = {pair: track for pair, track in tracks.items() if pair not in (held_out, choice)}
    model = Avocado(CELLTYPES, ASSAYS, **settings)
    history = model.fit(train, {choice: tracks[choice]}, n_epochs=40, epoch_size=20, patience=15, sampling="random")
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    best = int(np.argmin([row["val_loss"] for row in history]))
    assert len(history) == 40 or len(history) == best + 16
    if settings is SEEING:
        error = np.mean((model.predict(*held_out) - tracks[held_out]) ** 2)
        mean = np.mean([tracks[c, held_out[1]] for c in CELLTYPES if c != held_out[0]], axis=0)
        assert error < 0.7 * np.mean((mean - tracks[held_out]) ** 2)
    # The weights are those of the best epoch.
    found = np.mean((model.predict(*choice) - tracks[choice]) ** 2)
    assert found == pytest.approx(history[best]["val_loss"], rel=1e-3)


def test_the_rate_falls_step_by_step_to_nearly_0(tracks: dict) -> None:
    model = Avocado(CELLTYPES, ASSAYS, **SEEING, learning_rate=0.01)
    rates = [row["learning_rate"] for row in model.fit(tracks, n_epochs=2, epoch_size=5)]
    # Each row has the rate of its epoch's last step: the 5th and the 10th of 10.
    assert rates == pytest.approx([0.005 * (1 + np.cos(np.pi * done)) for done in (0.4, 0.9)])


def test_dropout_thins_training_out_and_imputing_not(tracks: dict) -> None:
    model = Avocado(CELLTYPES, ASSAYS, **SEEING, dropout=0.5)
    model.fit(tracks, n_epochs=1, epoch_size=5)
    np.testing.assert_array_equal(model.predict("E003", "H3K4me3"), model.predict("E003", "H3K4me3"))
    without = Avocado(CELLTYPES, ASSAYS, **SEEING)
    without.fit(tracks, n_epochs=1, epoch_size=5)
    assert np.abs(model.predict("E003", "H3K4me3") - without.predict("E003", "H3K4me3")).max() > 1e-4


@pytest.mark.parametrize("how", ["sequential", "permuted", "random"])
def test_equal_seeds_give_equal_models(how: str, tracks: dict) -> None:
    found = []
    for seed in (1, 1, 2):
        model = Avocado(CELLTYPES, ASSAYS, **PLAIN, seed=seed)
        model.fit(tracks, n_epochs=1, epoch_size=3, sampling=how)
        found.append(model.predict("E003", "H3K4me3"))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_bins_without_a_value_are_never_trained_on(tracks: dict) -> None:
    holed = {pair: track.copy() for pair, track in tracks.items()}
    for track in holed.values():
        track[400:600] = np.nan
    model = Avocado(CELLTYPES, ASSAYS, **PLAIN)
    untouched = Avocado(CELLTYPES, ASSAYS, **PLAIN)
    untouched.fit(tracks, n_epochs=1, epoch_size=1)
    model.fit(holed, n_epochs=2, epoch_size=8)
    first = Avocado(CELLTYPES, ASSAYS, **PLAIN)
    genome = first.state.with_tracks(from_arrays(tracks)).models[0].genome
    assert genome is not None
    start = genome.gather(np.arange(BINS))
    np.testing.assert_array_equal(model.genome_embedding[400:600], start[400:600])
    assert (model.genome_embedding[600:] != start[600:]).any(axis=1).all()
    assert np.isfinite(model.predict("E003", "H3K4me3")).all()


def test_imputed_values_do_not_fall_below_the_least_that_was_measured(model: Avocado, tracks: dict) -> None:
    least = min(float(track.min()) for pair, track in tracks.items() if pair != ("E065", "H3K4me3"))
    assert model.impute(list(tracks)).min() >= np.float32(least)


def test_a_range_and_many_tracks_are_the_whole_track_and_each(model: Avocado) -> None:
    pairs = [("E065", "H3K4me3"), ("E003", "H3K36me3")]
    together = model.impute(pairs, 150, 1777)
    for values, pair in zip(together, pairs, strict=True):
        np.testing.assert_allclose(values, model.predict(*pair)[150:1777], atol=1e-5)


def test_models_of_several_seeds_give_their_mean_and_spread(seeing: Avocado, plain: Avocado) -> None:
    each = seeing.impute_each([("E065", "H3K4me3")])[:, 0]
    assert each.shape == (2, BINS)
    np.testing.assert_allclose(seeing.predict("E065", "H3K4me3"), each.mean(axis=0), atol=1e-6)
    spread = seeing.predict_std("E065", "H3K4me3", 10, 50)
    np.testing.assert_allclose(spread, each[:, 10:50].std(axis=0), atol=1e-6)
    assert spread.max() > 0
    with pytest.raises(InputError, match="one model has no standard deviation"):
        plain.predict_std("E065", "H3K4me3")


@pytest.mark.parametrize("axis", ["celltype", "assay"])
def test_an_added_row_leaves_all_else_as_it_was(axis: str, model: Avocado, tracks: dict) -> None:
    before = {
        "celltype": model.celltype_embedding, "assay": model.assay_embedding, "genome": model.genome_embedding,
    }  # fmt: skip
    network = [np.array(weights) for weights in model.state.models[0].network.get_weights()]
    names = [variable.path for variable in model.state.models[0].network.variables]
    experiments = model.experiments
    if axis == "celltype":
        model.fit_celltypes({("new", assay): tracks["E116", assay] for assay in ASSAYS[:2]}, n_epochs=2, epoch_size=4)
        assert model.celltypes == [*CELLTYPES, "new"]
    else:
        model.fit_assays({(celltype, "new"): tracks[celltype, "H3K4me3"] for celltype in CELLTYPES[:2]}, n_epochs=2)
        assert model.assays == [*ASSAYS, "new"]
    assert model.experiments[: len(experiments)] == experiments
    assert len(model.experiments) == len(experiments) + 2
    after = {"celltype": model.celltype_embedding, "assay": model.assay_embedding, "genome": model.genome_embedding}
    for name, values in before.items():
        np.testing.assert_array_equal(after[name][: len(values)], values)
        assert len(after[name]) == len(values) + (name == axis)
    grown = dict(zip(names, model.state.models[0].network.get_weights(), strict=True))
    for name, weights in zip(names, network, strict=True):
        np.testing.assert_array_equal(grown[name][: len(weights)] if weights.ndim else grown[name], weights)
    pair = ("new", "H3K36me3") if axis == "celltype" else ("E116", "new")
    assert np.isfinite(model.predict(*pair)).all()


def test_factors_of_another_chromosome_are_learned_with_the_rest_frozen(model: Avocado, tracks: dict) -> None:
    before = model.predict("E003", "H3K4me3")
    data = from_arrays({pair: track[:900] for pair, track in tracks.items()}, chromosome="chr1")
    other = model.fit_genome(data, n_epochs=2, epoch_size=4)
    assert other.n_genomic_positions == 900
    assert other.stretches == (Stretch("chr1", 0, 0, 900),)
    assert other.predict("E003", "H3K4me3").shape == (900,)
    for mine, theirs in zip(
        model.state.models[0].network.get_weights(), other.state.models[0].network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(model.predict("E003", "H3K4me3"), before)
    assert model.n_genomic_positions == BINS
    assert ("E065", "H3K4me3") in other.experiments
    assert ("E065", "H3K4me3") not in model.experiments


def test_training_goes_on_from_where_it_was(plain: Avocado, tracks: dict, tmp_path: Path) -> None:
    plain.save(tmp_path / "m")
    again = Avocado.load(tmp_path / "m")
    data = {pair: tracks[pair] for pair in plain.experiments}
    more = again.fit(data, n_epochs=2, epoch_size=5)
    assert more[-1]["loss"] < plain.history[0]["loss"]
    assert len(again.history) == 5


def test_a_saved_model_comes_back_the_same(model: Avocado, tmp_path: Path) -> None:
    model.save(tmp_path / "dir.with.dots" / "m", {"note": "kept"})
    again = Avocado.load(tmp_path / "dir.with.dots" / "m")
    for name in ("celltypes", "assays", "experiments", "history", "settings", "stretches", "n_models", "preset"):
        assert getattr(again, name) == getattr(model, name), name
    np.testing.assert_array_equal(again.predict("E065", "H3K4me3"), model.predict("E065", "H3K4me3"))
    np.testing.assert_array_equal(again.genome_embedding, model.genome_embedding)
    assert json.loads((tmp_path / "dir.with.dots" / "m.json").read_text())["note"] == "kept"
    names = {path.name for path in (tmp_path / "dir.with.dots").iterdir()}
    assert names == {"m.keras", "m.npz", "m.json"} | ({"m.model2.keras"} if model.n_models == 2 else set())


def test_saving_that_fails_leaves_what_was_there(plain: Avocado, tmp_path: Path, monkeypatch) -> None:
    plain.save(tmp_path / "m")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="no space"):
        plain.save(tmp_path / "m")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_files_that_are_not_of_one_model_are_refused(plain: Avocado, seeing: Avocado, tmp_path: Path) -> None:
    plain.save(tmp_path / "a")
    seeing.save(tmp_path / "b")
    (tmp_path / "a.npz").replace(tmp_path / "kept.npz")
    with pytest.raises(MissingFileError, match=r"a\.npz: no such file"):
        Avocado.load(tmp_path / "a")
    (tmp_path / "b.npz").replace(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"a\.npz: not of the same model"):
        Avocado.load(tmp_path / "a")
    (tmp_path / "a.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"a\.npz: not the arrays"):
        Avocado.load(tmp_path / "a")
    (tmp_path / "kept.npz").replace(tmp_path / "a.npz")
    content = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps({**content, "kind": "bpnet"}))
    with pytest.raises(InputError, match=r"a\.json: not an Avocado"):
        Avocado.load(tmp_path / "a")
    del content["stretches"]
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a\.json: not what Avocado\.save writes"):
        Avocado.load(tmp_path / "a")
    with pytest.raises(MissingFileError):
        Avocado.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"celltypes": ["a", "a"]}, "cell type 'a' is named twice"),
        ({"assays": ["x", "y", "x"]}, "assay 'x' is named twice"),
        ({"celltypes": []}, "at least one name"),
        ({"assays": "H3K4me3"}, "expected a list"),
        ({"preset": "best"}, "preset 'best': expected one of published, default"),
        ({"n_node": 3}, "unknown setting 'n_node'"),
        ({"n_nodes": 0}, "n_nodes 0"),
        ({"n_models": 0}, "n_models 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"sampling": "shuffled"}, "sampling 'shuffled': expected one of sequential, permuted, random"),
        ({"learning_rate": 0.0}, "learning_rate 0.0"),
        ({"preset": "published", "residual": True}, "residual adds to the mean"),
        ({"n_genomic_positions": 0}, "n_genomic_positions 0"),
    ],
)
def test_a_model_that_cannot_be_is_refused(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Avocado(**{"celltypes": ["a", "b"], "assays": ["x"], **given})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {**d, ("E999", "H3K4me3"): d["E003", "H3K4me3"]}, "unknown cell type 'E999'"),
        (lambda d: {**d, ("E003", "RNA"): d["E003", "H3K4me3"]}, "unknown assay 'RNA'"),
        (lambda d: {**d, ("E003", "H3K4me3"): d["E003", "H3K4me3"][:-1]}, "bins; expected"),
        (lambda d: {k: v[:-1] for k, v in d.items()}, r"1,999 bins; expected 2,000"),
        (lambda d: {k: v for k, v in d.items() if k[0] != "E017"}, "cell type 'E017' has no track"),
        (lambda d: {k: v for k, v in d.items() if k[1] != "H3K27me3"}, "assay 'H3K27me3' has no track"),
        (lambda d: {**d, ("E003", "H3K4me3"): np.full(BINS, np.nan)}, "E003/H3K4me3: no bin has a value"),
        (lambda d: {**d, ("E003", "H3K4me3"): np.full(BINS, np.inf)}, "E003/H3K4me3: no bin has a value"),
        (lambda d: {**d, "E003": d["E003", "H3K4me3"]}, r"expected a key \(cell type, assay\)"),
        (lambda d: {}, "no tracks"),
        (lambda d: {**d, ("E003", "H3K4me3"): np.where(np.arange(BINS) == 7, np.inf, 1)}, "bin 7 is infinite"),
    ],
)
def test_data_that_does_not_fit_is_refused(change, message: str, tracks: dict) -> None:
    model = Avocado(CELLTYPES, ASSAYS, **PLAIN, n_genomic_positions=BINS)
    with pytest.raises(InputError, match=message):
        model.fit(change(tracks), n_epochs=1)
    with pytest.raises(InputError, match="not trained"):
        model.predict("E003", "H3K4me3")


def test_training_that_makes_no_sense_is_refused(tracks: dict) -> None:
    model = Avocado(CELLTYPES, ASSAYS, **PLAIN)
    pair = ("E003", "H3K4me3")
    with pytest.raises(InputError, match="E003/H3K4me3 is in X_valid and in X_train"):
        model.fit(tracks, {pair: tracks[pair]})
    for name in ("n_epochs", "epoch_size", "patience"):
        with pytest.raises(InputError, match=f"{name} 0: expected at least 1"):
            model.fit(tracks, **{name: 0})
    with pytest.raises(InputError, match="sampling 'all'"):
        model.fit(tracks, sampling="all")


def test_additions_that_make_no_sense_are_refused_and_change_nothing(model: Avocado, tracks: dict) -> None:
    before = model.predict("E065", "H3K4me3")
    track = tracks["E003", "H3K4me3"]
    for data, message in (
        ({("E003", "H3K4me3"): track}, "cell type 'E003' is known already"),
        ({("new", "RNA"): track}, "unknown assay 'RNA'"),
        ({("new", "H3K4me3"): track[:-1]}, "1,999 bins; expected 2,000"),
        ({("new", "H3K4me3"): track * np.nan}, "no bin has a value"),
    ):
        with pytest.raises(InputError, match=message):
            model.fit_celltypes(data)
    with pytest.raises(InputError, match="assay 'H3K4me3' is known already"):
        model.fit_assays({("E003", "H3K4me3"): track})
    with pytest.raises(InputError, match="unknown cell type 'new'"):
        model.fit_assays({("new", "RNA"): track})
    assert model.celltypes == CELLTYPES
    assert model.assays == ASSAYS
    assert len(model.experiments) == 11
    np.testing.assert_array_equal(model.predict("E065", "H3K4me3"), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("E999", "H3K4me3"), "unknown cell type 'E999'; expected one of E003"),
        (("E003", "RNA"), "unknown assay 'RNA'"),
        (("E003", "H3K4me3", 0, BINS + 1), "bins 0 to 2,001: expected a range within 0 to 2,000"),
        (("E003", "H3K4me3", -5, 10), "bins -5 to 10"),
        (("E003", "H3K4me3", 10, 10), "bins 10 to 10"),
    ],
)
def test_a_prediction_that_cannot_be_made_is_refused(arguments: tuple, message: str, plain: Avocado) -> None:
    with pytest.raises(InputError, match=message):
        plain.predict(*arguments)


def test_tracks_of_other_chromosomes_are_refused(plain: Avocado, tracks: dict) -> None:
    whole = from_arrays(tracks)
    halves = (Stretch("chr1", 0, 0, 1000), Stretch("chr2", 0, 1000, BINS))
    other = BinnedTracks(whole.pairs, whole.values, whole.bin, halves, whole.transformation)
    with pytest.raises(InputError, match="chromosomes have other bins"):
        plain.fit(other)


def test_a_loss_that_is_not_a_number_ends_training(tracks: dict) -> None:
    from db_ingest.errors import RunError

    huge = {pair: track * np.float32(1e25) for pair, track in tracks.items()}
    with pytest.raises(RunError, match="the loss of epoch 1 is not a number"):
        Avocado(CELLTYPES, ASSAYS, **PLAIN).fit(huge, n_epochs=1, epoch_size=2)
