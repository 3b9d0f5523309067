"""Planted signal is found at the strength it has, and nothing where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from labelled_tracks import (
    BIN,
    STEP,
    WIDTH,
    place_elements,
    tracks_with_means,
    write_database,
    write_elements,
)
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from db_ingest.errors import InputError
from kerasgen.database import Database
from kerasgen.downstream_tasks import trees
from kerasgen.downstream_tasks.downstream import downstream
from kerasgen.downstream_tasks.elements import read_elements
from kerasgen.downstream_tasks.folds import fold_elements
from kerasgen.downstream_tasks.results import DownstreamResult
from kerasgen.downstream_tasks.settings import LabelSettings, TreeSettings

N, CHROMOSOMES, NOISE = 2400, 6, 0.8
QUICK = {"threads": 1, "folds": 3, "draws": 300, "pool": ["mean"], "learning_rate": 0.1}


class Planted:
    """Four tracks: two say something of the label, two do not; and a regression label."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(8)
        sizes, self.chromosome, self.first = place_elements(CHROMOSOMES, N)
        self.label = (rng.random(N) < 0.2).astype(int)
        self.shift = np.array([1.2, 0.8, 0, 0])
        means = rng.normal(0, 1, (N, 4)) + self.label[:, None] * self.shift
        self.level = means @ [1, 0.5, 0, 0] + rng.normal(0, 0.7, N)
        tracks = tracks_with_means(sizes, self.chromosome, self.first, means, NOISE, 9)
        named = zip((("a", "mark1"), ("a", "mark2"), ("b", "mark1"), ("b", "mark2")), tracks, strict=True)
        self.database = write_database(folder, dict(named))
        self.variance = 1 + NOISE**2 / WIDTH
        seen = [np.stack([t[f"chr{c + 1}"][i : i + WIDTH].mean() for c, i in zip(self.chromosome, self.first,
                strict=True)]) for t in tracks]  # fmt: skip
        self.best = np.stack(seen, axis=1) @ self.shift
        self.folder = folder

    def write(self, name: str, label: np.ndarray) -> str:
        return write_elements(self.folder / name, self.chromosome, self.first, label)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("planted"))


def row(result: DownstreamResult, model: str):
    return next(row for row in result.rows if row.model == model)


def test_a_planted_difference_is_found_at_its_strength(planted: Planted, tmp_path: Path) -> None:
    result = downstream(
        planted.database, planted.write("class.tsv", planted.label), str(tmp_path / "out"),
        features=["all=*", "a=*:a", "b=*:b"], pca_components=4, **QUICK,
    )  # fmt: skip
    # Two normal distributions a Mahalanobis distance D apart: no score does better than Phi(D / sqrt 2).
    best = norm.cdf(np.sqrt((planted.shift**2).sum() / planted.variance / 2))
    precision = average_precision_score(planted.label, planted.best)
    rate = planted.label.mean()
    for name in ("all", "a", "PCA 4 of all"):
        auroc, ap = row(result, name).scores["auROC"], row(result, name).scores["AP"]
        assert best - 0.03 < auroc.value < best + 0.02
        assert precision - 0.06 < ap.value < precision + 0.03
        assert auroc.interval[0] < best < auroc.interval[1] + 0.02
    assert row(result, "a").over["AP"][0] > -0.03
    for name in ("b", "length", "constant"):
        assert abs(row(result, name).scores["auROC"].value - 0.5) < 0.04
        assert abs(row(result, name).scores["AP"].value - rate) < 0.04
    assert row(result, "b").over["AP"][2] < 0
    assert row(result, "constant").scores["AP"].value == pytest.approx(rate)
    assert result.positives == planted.label.sum()
    assert [path.name for path in result.files] == [
        "out.scores.tsv", "out.scores.json", "out.predictions.tsv", "out.importance.tsv", "out.png",
    ]  # fmt: skip
    assert all(path.stat().st_size for path in result.files)
    table = pd.read_csv(tmp_path / "out.scores.tsv", sep="\t")
    assert table["model"].tolist() == ["constant", "length", "PCA 4 of all", "all", "a", "b"]
    document = json.loads((tmp_path / "out.scores.json").read_text())
    assert document["base_rate"] == pytest.approx(rate)
    gains = pd.read_csv(tmp_path / "out.importance.tsv", sep="\t")
    assert gains[gains.model == "all"].iloc[0].feature == "mark1:a.mean"
    predictions = pd.read_csv(tmp_path / "out.predictions.tsv", sep="\t")
    assert predictions["label"].tolist() == planted.label.tolist()
    per_fold = predictions.groupby("fold").apply(lambda f: average_precision_score(f.label, f["all"]))
    weights = predictions.groupby("fold").size()
    assert row(result, "all").scores["AP"].value == pytest.approx(np.average(per_fold, weights=weights), abs=1e-3)


def test_a_planted_level_is_found_at_its_strength(planted: Planted, tmp_path: Path) -> None:
    result = downstream(
        planted.database, planted.write("level.tsv", planted.level), str(tmp_path / "out"), task="regression",
        features=["all=*", "b=*:b"], pca_components=4, **QUICK,
    )  # fmt: skip
    # The label's variance that the means explain, less what noise in the bins hides.
    means = np.array([1, 0.5])
    rate = planted.label.mean()
    spread = np.eye(2) + rate * (1 - rate) * np.outer(planted.shift[:2], planted.shift[:2])
    seen = spread + np.eye(2) * NOISE**2 / WIDTH
    explained = means @ spread @ np.linalg.solve(seen, spread @ means)
    best = explained / (means @ spread @ means + 0.49)
    assert best - 0.07 < row(result, "all").scores["R2"].value < best + 0.03
    assert row(result, "all").scores["Pearson"].value > np.sqrt(best) - 0.05
    for name in ("b", "length", "constant"):
        assert -0.03 < row(result, name).scores["R2"].value < 0.02


def test_shuffled_labels_are_not_predicted(planted: Planted, tmp_path: Path) -> None:
    rate, models = planted.label.mean(), ("tracks", "PCA 2 of tracks", "length")
    found: dict[str, list[float]] = {name: [] for name in models}
    for seed in (1, 2, 3):
        label = np.random.default_rng(seed).permutation(planted.label)
        result = downstream(
            planted.database, planted.write(f"shuffled{seed}.tsv", label), str(tmp_path / f"out{seed}"),
            pca_components=2, **QUICK,
        )  # fmt: skip
        for name in models:
            precision, auroc = (row(result, name).scores[score] for score in ("AP", "auROC"))
            assert abs(precision.value - rate) < 0.04
            assert precision.interval[0] - 0.01 < rate < precision.interval[1] + 0.01
            # What leaks raises it. Below 0.5 it may fall by chance: trees learn what another fold has the opposite of.
            assert auroc.interval[0] < 0.5 or abs(auroc.value - 0.5) < 0.01
            assert auroc.value > 0.45
            found[name].append(auroc.value)
    for name in models:
        assert np.mean(found[name]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.slow
def test_factors_shared_by_neighbours_do_not_leak(tmp_path: Path) -> None:
    """Neighbours share a label and random factors, as bins share coarse genome factors: nothing is to be learnt."""
    rng = np.random.default_rng(5)
    n, together = 1600, 8
    sizes, chromosome, first = place_elements(1, n)
    label = np.repeat((rng.random(n // together) < 0.3).astype(int), together)
    factors = np.repeat(rng.normal(0, 1, (n // together, 6)), together, axis=0)
    tracks = tracks_with_means(sizes, chromosome, first, factors, 0.05, 1)
    database = write_database(tmp_path, {("e", f"e_{i:02d}"): track for i, track in enumerate(tracks)})
    labels = write_elements(tmp_path / "labels.tsv", chromosome, first, label)
    flags = {**QUICK, "pca_components": 2, "folds": 5}
    far = downstream(database, labels, str(tmp_path / "far"), gap=2 * together * STEP * BIN, **flags)
    assert "on 1 chromosome(s), 8,000 bp apart" in far.folding
    low, high = row(far, "tracks").scores["auROC"].interval
    assert low < 0.5 < high
    # Random folds of the same elements seem to predict well: the test has something to leak.
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import cross_val_score

    leaky = cross_val_score(
        HistGradientBoostingClassifier(max_iter=50, random_state=0), factors, label, cv=5, scoring="roc_auc"
    )
    mixed = np.random.default_rng(0).permutation(n)
    random = cross_val_score(
        HistGradientBoostingClassifier(max_iter=50, random_state=0), factors[mixed], label[mixed], cv=5,
        scoring="roc_auc",
    )  # fmt: skip
    assert random.mean() > 0.9
    assert leaky.mean() < 0.7


def test_pairs_are_predicted_as_well_as_their_distance_allows(planted: Planted, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows, labels, nears = [], [], []
    bins = STEP * (N // CHROMOSOMES)
    for chromosome in range(CHROMOSOMES):
        for start in range(100, bins - 400, 60):
            distance = int(rng.integers(10, 300))
            near = distance < 100
            nears.append(near)
            labels.append(int(rng.random() < (0.8 if near else 0.1)))
            a, b = (start, start + 4), (start + distance, start + distance + 4)
            place = "\t".join(f"chr{chromosome + 1}\t{x * BIN}\t{y * BIN}" for x, y in (a, b))
            rows.append(f"{place}\tp\t{labels[-1]}\n")
    (tmp_path / "pairs.bedpe").write_text("".join(rows))
    result = downstream(
        planted.database, str(tmp_path / "pairs.bedpe"), str(tmp_path / "out"), label_column="8", **QUICK
    )
    assert [r.model for r in result.rows] == ["constant", "distance", "PCA 10 of tracks", "tracks"]
    assert row(result, "PCA 10 of tracks").features == 10 + 3
    # Four tracks: two anchors and between, one pool; then distance and two lengths.
    assert row(result, "tracks").features == 4 * 3 + 3
    best = roc_auc_score(labels, nears)
    for name in ("distance", "PCA 10 of tracks", "tracks"):
        assert best - 0.05 < row(result, name).scores["auROC"].value < best + 0.02
    assert (tmp_path / "out.predictions.tsv").read_text().startswith("chrom1\tstart1\tend1\tchrom2\tstart2\tend2\t")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files(planted: Planted, tmp_path: Path) -> None:
    labels = planted.write("again.tsv", planted.label)
    texts = []
    for name in ("one", "two"):
        downstream(planted.database, labels, str(tmp_path / name), rounds=20, **QUICK)
        texts.append([(tmp_path / f"{name}.{kind}").read_bytes() for kind in ("scores.tsv", "predictions.tsv", "png")])
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"features": ["x=nothing"]}, "has no track 'nothing'"),
        ({"features": ["constant=*"]}, "a baseline has this name"),
        ({"pool": ["mean,median"]}, "--pool mean,median: expected some of mean, max, min, std"),
        ({"bin": 0}, "--bin 0"),
        ({"parts": 0}, "--parts 0"),
        ({"folds": 7, "group_by": "chromosome"}, "elements lie on 6 chromosome(s)"),
        ({"folds": 5, "group_by": "block", "gap": 10_000_000}, "left to learn from; expected both classes"),
        ({"pca_of": "b"}, "--pca_of b: expected a feature set, tracks"),
        ({"learning_rate": 0.0}, "--learning_rate 0.0"),
        ({"rounds": 0}, "--rounds 0"),
        ({"draws": 0}, "--draws 0"),
        ({"chroms": ["chr1"], "folds": 3, "label_column": "no"}, "expected --label_column"),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(
    planted: Planted, tmp_path: Path, flags: dict, message: str
) -> None:
    with pytest.raises(InputError) as error:
        downstream(planted.database, planted.write("bad.tsv", planted.label), str(tmp_path / "o" / "out"),
                   **{**QUICK, **flags})  # fmt: skip
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_file_of_labels_is_never_replaced(planted: Planted, tmp_path: Path) -> None:
    label = planted.write("mine.scores.tsv", planted.label)
    before = Path(label).read_bytes()
    with pytest.raises(InputError, match="holds the labels; expected another prefix"):
        downstream(planted.database, label, str(planted.folder / "mine"), **QUICK)
    assert Path(label).read_bytes() == before


def test_components_are_those_of_scikit_learn_on_the_elements_learnt_from() -> None:
    rng = np.random.default_rng(1)
    learnt, other = rng.normal(3, 2, (50, 6)).astype(np.float32), rng.normal(3, 2, (5, 6)).astype(np.float32)
    scaler = StandardScaler().fit(learnt[:, :5])
    pca = PCA(3).fit(scaler.transform(learnt[:, :5]))
    found = trees.fit_preparation(learnt, 3, 1)(other)
    np.testing.assert_allclose(np.abs(found[:, :3]), np.abs(pca.transform(scaler.transform(other[:, :5]))), rtol=1e-3)
    np.testing.assert_array_equal(found[:, 3], other[:, 5])
    # A missing value is the mean of those learnt from; a feature without any value says nothing.
    learnt[:, 0], other[0, 1] = np.nan, np.nan
    found = trees.fit_preparation(learnt, 3, 1)(other)
    assert np.isfinite(found).all()
    other[0, 1] = learnt[:, 1].mean()
    np.testing.assert_allclose(found, trees.fit_preparation(learnt, 3, 1)(other), atol=1e-5)


def test_no_model_sees_a_label_of_its_fold(planted: Planted, tmp_path: Path) -> None:
    """Labels of one fold are all changed: predictions of that fold stay the same to the last digit."""
    elements = read_elements(planted.write("a.tsv", planted.label), Database(planted.database).genome,
                             LabelSettings(task="classification"))  # fmt: skip
    features = np.random.default_rng(0).normal(planted.label[:, None], 1, (N, 3)).astype(np.float32)
    folding = fold_elements(elements, task="classification", folds=3)
    changed = np.where(folding.tested(1), 1 - elements.label, elements.label)
    settings = TreeSettings(rounds=50)
    for components in (None, 2):
        first, second = (
            trees.boosted(features, list("abc"), label, folding, task="classification", trees=settings,
                             components=components).values
            for label in (elements.label, changed)
        )  # fmt: skip
        np.testing.assert_array_equal(first[folding.tested(1)], second[folding.tested(1)])
        assert (first[folding.tested(0)] != second[folding.tested(0)]).any()
