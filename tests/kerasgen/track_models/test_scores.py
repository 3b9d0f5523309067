"""Scores of imputed tracks against scipy, scikit-learn and counts by hand; baselines; annotation files; plots."""

from __future__ import annotations

import gzip
import importlib.machinery
import importlib.util
import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_squared_error

from db_ingest.errors import InputError, MissingFileError
from db_ingest.layout.genome import Genome
from kerasgen.track_models.annotation import annotated_bins
from kerasgen.track_models.binned import Stretch
from kerasgen.track_models.scores import MEASURES, baselines, score

GENOME = Genome(("chr1", "chr2", "chrUn"), (10_000, 2_000, 90))
STRETCHES = (Stretch("chr1", 0, 0, 400), Stretch("chr2", 0, 400, 480))
GENES = "chr1\t2500\t3000\tA\t0\t+\nchr1\t2499\t3001\tB\t0\t-\nchr2\t30\t60\tC\t0\t+\nchrUn\t1\t5\tD\t0\t-\n"


@pytest.fixture
def tracks(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Observed and imputed values with ties, and some that are missing."""
    observed = np.round(rng.gamma(0.5, 1, 3_000), 1).astype(np.float32)
    imputed = (observed + rng.normal(0, 0.5, 3_000)).astype(np.float32)
    observed[:50], imputed[40:90] = np.nan, np.nan
    return observed, imputed


def test_measures_are_those_of_scipy_and_scikit_learn(tracks):
    observed, imputed = tracks
    found = score(observed, imputed)
    seen, made = observed[90:].astype(float), imputed[90:].astype(float)
    assert list(found) == [name for name in MEASURES if name[4:] not in ("prom", "gene", "enh")]
    assert found["mse_global"] == pytest.approx(mean_squared_error(seen, made), rel=1e-12)
    assert found["pearson"] == pytest.approx(stats.pearsonr(seen, made)[0], rel=1e-10)
    assert found["spearman"] == pytest.approx(stats.spearmanr(seen, made)[0], rel=1e-10)
    for name, by in (("mse_1obs", seen), ("mse_1imp", made)):
        # 29 of 2,910 bins, and those that tie with the last of them.
        top = by >= sorted(by)[-29]
        assert found[name] == pytest.approx(mean_squared_error(seen[top], made[top]), rel=1e-12)


def test_what_is_not_defined_is_nan():
    nothing = score(np.full(9, np.nan), np.ones(9))
    assert all(math.isnan(value) for value in nothing.values())
    flat = score(np.arange(9.0), np.ones(9), {"enh": np.zeros(9)})
    assert math.isnan(flat["pearson"])
    assert math.isnan(flat["mse_enh"])
    assert flat["mse_global"] == pytest.approx(np.mean((np.arange(9) - 1) ** 2))
    with pytest.raises(ValueError, match="expected as many"):
        score(np.ones(3), np.ones(4))


@pytest.mark.parametrize("packed", [False, True])
def test_bins_of_genes_and_promoters_are_those_counted_by_hand(tmp_path, packed):
    path = tmp_path / ("genes.bed.gz" if packed else "genes.bed")
    path.write_bytes(gzip.compress(GENES.encode()) if packed else GENES.encode())
    (tmp_path / "enh.bed").write_text("track name=x\nchr2\t0\t25\nchr2\t24\t26\nchr2\t1900\t9000\n")
    found = annotated_bins(STRETCHES, 25, GENOME, genes=str(path), enhancers=str(tmp_path / "enh.bed"))
    gene, prom, enh = (np.zeros(480) for _ in range(3))
    gene[100:120] += 1
    gene[99:121] += 1
    gene[400 + 1 : 400 + 3] += 1
    # 2,000 bp are 80 bins; of the gene on chr2 only what the chromosome has.
    prom[20:100] += 1
    prom[121:201] += 1
    prom[400:401] += 1
    enh[400] += 2
    enh[401] += 1
    enh[400 + 76 : 480] += 1
    for name, expected in (("gene", gene), ("prom", prom), ("enh", enh)):
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_gtf_gives_the_same_as_bed(tmp_path):
    (tmp_path / "g.bed").write_text(GENES)
    lines = ["##gff\n", "chr1\tx\texon\t1\t900\t.\t+\t.\tz\n"]
    for line in GENES.splitlines():
        name, start, end, label, _, strand = line.split("\t")
        lines.append(f"{name}\tx\tgene\t{int(start) + 1}\t{end}\t.\t{strand}\t.\t{label}\n")
    (tmp_path / "g.gtf").write_text("".join(lines))
    first, second = (annotated_bins(STRETCHES, 25, GENOME, genes=str(tmp_path / name)) for name in ("g.bed", "g.gtf"))
    assert first.keys() == second.keys() == {"prom", "gene"}
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_chromosomes_of_annotation_go_by_other_names_too(tmp_path):
    (tmp_path / "g.bed").write_text(GENES)
    (tmp_path / "plain.bed").write_text(GENES.replace("chr", ""))
    first, second = (
        annotated_bins(STRETCHES, 25, GENOME, genes=str(tmp_path / name)) for name in ("g.bed", "plain.bed")
    )
    assert first["gene"].any()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_scores_in_regions_count_a_bin_as_often_as_it_is_annotated(tracks):
    observed, imputed = tracks
    weights = np.zeros(3_000)
    weights[85:200] = 1
    weights[150:160] += 1
    found = score(observed, imputed, {"gene": weights})
    bins = [*range(90, 200), *range(150, 160)]
    assert found["mse_gene"] == pytest.approx(mean_squared_error(observed[bins], imputed[bins]), rel=1e-6)
    assert "mse_prom" not in found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("chr1\t5\n", r"g\.bed:1: 2 column\(s\); expected at least three"),
        ("chr1\tx\t9\tA\t0\t+\n", r"g\.bed:1: start \(column 2\) is 'x'; expected a whole number"),
        ("chr1\t5\t9\tA\t0\n", r"g\.bed:1: chr1 5 9, strand '\.': expected \+ or - in column 6"),
        ("# x\nchr1\t9\t9\tA\t0\t+\n", r"g\.bed:2: chr1 9 9, strand '\+': expected a start of 0 or more"),
        ("chrUn\t5\t9\tA\t0\t+\n", r"g\.bed: no interval on chr1, chr2"),
        ("chr7\t5\t9\tA\t0\t+\n", r"g\.bed: no chromosome in common with the genome; the file has chr7"),
        ("", r"g\.bed: .*empty"),
    ],
)
def test_broken_annotation_is_refused_with_its_line(tmp_path, text, says):
    (tmp_path / "g.bed").write_text(text)
    with pytest.raises(InputError, match=says):
        annotated_bins(STRETCHES, 25, GENOME, genes=str(tmp_path / "g.bed"))
    with pytest.raises(MissingFileError, match="no such file; expected BED"):
        annotated_bins(STRETCHES, 25, GENOME, enhancers=str(tmp_path / "none"))


def test_baselines_are_those_taken_by_hand_and_never_read_the_track_itself():
    values = {
        ("E1", "a"): [1.0, 2.0, np.nan],
        ("E2", "a"): [3.0, np.nan, np.nan],
        ("E1", "b"): [1.0, 1.0, 1.0],
        ("E2", "b"): [2.0, 4.0, 6.0],
        ("E3", "b"): [5.0, 5.0, 5.0],
    }

    def read(pair):
        assert pair != ("E3", "a")
        return np.array(values[pair], np.float32)

    found = baselines(("E3", "a"), [*values, ("E3", "a")], read)
    np.testing.assert_allclose(found["mean of others"], [2.0, 2.0, np.nan])
    mean_b = np.array([1.5, 2.5, 3.5])
    factor = np.linalg.lstsq(mean_b[:, None], np.full(3, 5.0), rcond=None)[0][0]
    np.testing.assert_allclose(found["scaled mean"], np.array([2.0, 2.0, np.nan]) * factor, rtol=1e-6)
    np.testing.assert_allclose(found["constant"], [2.0, 2.0, 2.0])
    assert baselines(("E1", "c"), list(values), read) == {}
    # A cell type without another assay has no factor.
    assert set(baselines(("E4", "a"), list(values), read)) == {"mean of others", "constant"}


@pytest.mark.real
def test_mean_of_the_other_cell_types_scores_what_is_known_of_the_pilot(real_data: Path):
    others = [("E017", "H3K4me3"), ("E116", "H3K4me3"), ("E117", "H3K4me3")]

    def read(pair):
        return np.load(real_data / "roadmap_pilot" / f"{pair[0]}.{pair[1]}.pilot.arcsinh.npz")["arr_0"]

    found = baselines(("E003", "H3K4me3"), others, read)
    scores = score(read(("E003", "H3K4me3")), found["mean of others"])
    rounded = [round(scores[name], 4) for name in ("mse_global", "mse_1obs", "mse_1imp", "pearson")]
    assert rounded == pytest.approx([0.1434, 3.222, 1.216, 0.766], abs=6e-4)


# Plots


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_every_plot_is_written_whatever_is_missing(tmp_path, rng):
    from kerasgen.track_models import plots

    few = plots.Panel("cell types", rng.normal(size=(4, 8)), ["E1", "E2", "E3", "E4"], ["x", "y", "x", "z"], "tissue")
    one = plots.Panel("assays", rng.normal(size=(1, 3)), ["a"])
    many = plots.Panel("positions", rng.normal(size=(900, 5)), labels=rng.integers(0, 14, 900).astype(str).tolist())
    drawn = [plots.draw_embeddings(tmp_path / "e.png", "title", [few, one, many])]
    gap = np.where(np.arange(60) < 9, np.nan, rng.random(60))
    rows = [
        plots.BrowserTrack("observed", gap, "#333333"),
        plots.BrowserTrack("imputed", rng.random(60), "#1f5fa8", std=np.full(60, 0.1)),
        plots.BrowserTrack("nothing", np.full(60, np.nan), "#c0504d"),
    ]
    drawn.append(plots.draw_browser(tmp_path / "b.png", "title", "chr1", 1_000_000, 25, rows))
    measures = {"mse_global": 0.1, "mse_1obs": math.nan, "pearson": 0.7}
    table = {"E1 a": {"model": measures, "constant": {"mse_global": 0.3}}, "E2 a": {"model": measures}}
    drawn.append(plots.draw_scores(tmp_path / "s.png", "title", table))
    assert all(path.stat().st_size > 5_000 for path in drawn)


def test_projection_by_pca_is_that_of_scikit_learn(rng):
    from sklearn.decomposition import PCA

    from kerasgen.track_models.plots import project

    vectors = rng.normal(size=(30, 6)) * np.arange(1, 7)
    points, labels = project(vectors)
    expected = PCA(2, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(np.abs(points), np.abs(expected.transform(vectors)), atol=1e-9)
    assert labels[0] == f"PC 1 ({expected.explained_variance_ratio_[0]:.0%} of variance)"
    with pytest.raises(InputError, match="projection tsne: expected one of pca, umap|projection 'tsne'"):
        project(vectors, "tsne")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_umap_of_two_clouds_keeps_them_apart_and_of_few_points_is_pca(rng):
    pytest.importorskip("umap")
    from kerasgen.track_models.plots import project

    clouds = np.concatenate([rng.normal(0, 1, (30, 8)), rng.normal(12, 1, (30, 8))])
    points, labels = project(clouds, "umap")
    assert labels == ("UMAP 1", "UMAP 2")
    centres = points[:30].mean(axis=0), points[30:].mean(axis=0)
    nearest = np.array([np.linalg.norm(points - centre, axis=1) for centre in centres]).argmin(axis=0)
    assert list(nearest) == [0] * 30 + [1] * 30
    np.testing.assert_array_equal(project(clouds, "umap")[0], points)


def test_umap_is_handed_all_points_of_ten_or_more(rng, monkeypatch):
    """A stand-in with the interface of umap-learn 0.5, for where that is not installed."""
    from kerasgen.track_models.plots import project

    asked = []

    class UMAP:
        def __init__(self, n_neighbors, random_state, n_jobs):
            asked.append((n_neighbors, random_state, n_jobs))

        def fit_transform(self, vectors):
            return vectors[:, 2:4].astype(np.float32)

    module = types.ModuleType("umap")
    module.UMAP = UMAP
    module.__spec__ = importlib.machinery.ModuleSpec("umap", None)
    monkeypatch.setitem(sys.modules, "umap", module)
    vectors = rng.normal(size=(12, 5))
    points, labels = project(vectors, "umap", seed=3)
    np.testing.assert_allclose(points, vectors[:, 2:4], rtol=1e-6)
    assert labels == ("UMAP 1", "UMAP 2")
    assert asked == [(11, 3, 1)]
    for few in (1, 2, 9):
        points, labels = project(vectors[:few], "umap")
        np.testing.assert_array_equal(points, project(vectors[:few])[0])
        assert labels[0].startswith("PC 1")
    assert len(asked) == 1


def test_umap_that_is_not_installed_is_said(rng, monkeypatch):
    from kerasgen.track_models.plots import project

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="umap-learn is not installed; pip install umap-learn, or take pca"):
        project(rng.normal(size=(12, 5)), "umap")
