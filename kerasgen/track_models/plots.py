"""Plots of a model of tracks: its embeddings, a region as a browser shows it, its scores beside the baselines."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest.errors import InputError
from kerasgen import plotting
from kerasgen.track_models.binned import Pair, signals_by_pair, transformed
from kerasgen.track_models.imputation_settings import PROJECTIONS
from kerasgen.track_models.models import BinRange, observed
from kerasgen.track_models.scores import baselines

if TYPE_CHECKING:
    from kerasgen.database import Database
    from kerasgen.track_models.avocado.model import Avocado
    from kerasgen.track_models.avocado.whole_genome import GenomeAvocado
    from kerasgen.track_models.metadata import Metadata

_FEWEST = 10
"""Fewest points that UMAP is asked for: where it puts fewer is chance, and its spectral start fails."""
_PALETTE = ("#1f5fa8", "#c0504d", "#4f9d69", "#e0a13a", "#7b5ea7", "#3fa7b8", "#a0522d", "#d46a9f", "#6b7a2f")
_OTHER = "#b5b5b5"
NONE = "none"
"""Label of points that have nothing to be coloured by: grey, behind the others."""
_LETTER, _LINE = 0.022, 0.045
"""Width of a letter and height of a line of the names of points, as shares of a panel."""

_POSITIONS = {"pca": (10_000, 50), "umap": (2_000, 1)}
"""Bins whose factors are drawn, and how many neighbours of these are taken together. UMAP is drawn of single bins: it
lays out what is nearest to each, and among neighbours that is nothing but the neighbours."""
_STANDS_OUT = 1.0
"""Standard deviations above its mean that an assay must be for a position to be called by it."""


class Panel(NamedTuple):
    """A set of vectors to project.

    Args:
        title: what they are.
        vectors: ``(n, factors)``.
        names: ``(n,)`` of the points, written where there is room; or none.
        labels: ``(n,)`` what to colour them by, or none.
        legend: what the labels are.
    """

    title: str
    vectors: np.ndarray
    names: Sequence[str] = ()
    labels: Sequence[str] = ()
    legend: str = ""


class BrowserTrack(NamedTuple):
    """A track of a browser view.

    Args:
        name: beside it.
        values: ``(bins,)``, NaN where there is none.
        color: colour of its area.
        std: ``(bins,)`` uncertainty, drawn as a band, or none.
    """

    name: str
    values: np.ndarray
    color: str
    std: np.ndarray | None = None


def project(vectors: np.ndarray, method: str = "pca", seed: int = 0) -> tuple[np.ndarray, tuple[str, str]]:
    """Project vectors to two dimensions.

    Args:
        vectors: ``(n, factors)``.
        method: ``"pca"``, of the centred vectors, or ``"umap"`` (McInnes et al. 2018, arXiv:1802.03426), which is of
            10 or more vectors; fewer are projected by PCA.
        seed: seed of UMAP.

    Returns:
        ``(n, 2)``, and the names of the axes, for PCA with the share of the variance that each explains.

    Raises:
        InputError: another method, or UMAP where umap-learn is not installed.
    """
    if method not in PROJECTIONS:
        raise InputError(f"projection {method!r}: expected one of {', '.join(PROJECTIONS)}")
    if method == "umap":
        if importlib.util.find_spec("umap") is None:
            raise InputError("projection umap: umap-learn is not installed; pip install umap-learn, or take pca")
        if len(vectors) >= _FEWEST:
            import umap

            neighbours = min(15, len(vectors) - 1)
            points = umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(vectors)
            return np.asarray(points, np.float64), ("UMAP 1", "UMAP 2")
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    left, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    scores = np.zeros((len(vectors), 2))
    count = min(2, len(strengths))
    scores[:, :count] = left[:, :count] * strengths[:count]
    total = float((strengths**2).sum())
    shares = [float(s**2) / total if total else 0.0 for s in (*strengths[:count], 0.0, 0.0)]
    return scores, (f"PC 1 ({shares[0]:.0%} of variance)", f"PC 2 ({shares[1]:.0%} of variance)")


def draw_embeddings(path: Path, title: str, panels: Sequence[Panel], method: str = "pca", seed: int = 0) -> Path:
    """Draw projections of embeddings side by side, coloured by what is known of their points."""
    projections = [project(panel.vectors, method, seed) for panel in panels]
    drawn, axes = plotting.figure(1, len(panels), width=4.6, height=4.2)
    for ax, panel, (points, labels) in zip(axes[0], panels, projections, strict=True):
        _draw_points(ax, panel, points)
        ax.set(xlabel=labels[0], ylabel=labels[1], title=f"{panel.title} ({len(points):,})")
        ax.margins(0.14)
        ax.set_xticks([])
        ax.set_yticks([])
    drawn.suptitle(title)
    return plotting.save(path, drawn, plotting.PRINT_DPI)


def _draw_points(ax: Any, panel: Panel, points: np.ndarray) -> None:
    crowded = len(points) > 500
    look = {"s": 4 if crowded else 34, "alpha": 0.5 if crowded else 0.95, "linewidths": 0, "rasterized": crowded}
    if not len(panel.labels):
        ax.scatter(*points.T, color=plotting.MODEL, **look)
    else:
        labels = np.asarray(panel.labels)
        kinds, counts = np.unique(labels, return_counts=True)
        shown = [str(kind) for kind in kinds[np.argsort(-counts, kind="stable")] if kind != NONE][: len(_PALETTE)]
        for kind, here in ((NONE, labels == NONE), ("others", ~np.isin(labels, [*shown, NONE]))):
            if here.any():
                ax.scatter(*points[here].T, color=_OTHER, label=f"{kind} ({here.sum():,})" if crowded else kind, **look)
        for kind, color in zip(shown, _PALETTE, strict=False):
            here = labels == kind
            ax.scatter(*points[here].T, color=color, label=f"{kind} ({here.sum():,})" if crowded else kind, **look)
        marks = ax.legend(
            title=panel.legend or None, fontsize=7, title_fontsize=7, loc="upper center", ncols=3,
            bbox_to_anchor=(0.5, -0.09),
        )  # fmt: skip
        for handle in marks.legend_handles:
            handle.set_alpha(1)
            handle.set_sizes([24])
    if len(panel.names):
        _name_points(ax, panel.names, points)


def _name_points(ax: Any, names: Sequence[str], points: np.ndarray) -> None:
    """Write names beside points, leaving out those that would lie on one another."""
    least, span = points.min(axis=0), np.ptp(points, axis=0)
    places = (points - least) / np.where(span > 0, span, 1)
    taken: list[tuple[float, float, float]] = []
    for name, (x, y), point in zip(names, places, points, strict=True):
        # Towards the middle, so that no name leaves the panel.
        side = 1 if x < 0.5 else -1
        width = len(name) * _LETTER
        left = x if side > 0 else x - width
        if any(left < a + wide and a < left + width and abs(y - high) < _LINE for a, wide, high in taken):
            continue
        taken.append((left, width, y))
        ax.annotate(
            name, point, xytext=(5 * side, 4), textcoords="offset points", fontsize=7,
            ha="left" if side > 0 else "right",
        )  # fmt: skip


def draw_browser(
    path: Path,
    title: str,
    chromosome: str,
    start: int,
    bin: int,
    rows: Sequence[BrowserTrack],
    label: str = "",
    *,
    measured: bool = True,
) -> Path:
    """Draw tracks of a region above each other on one scale; the observed one also faint behind the others.

    Args:
        path: PNG to write.
        title: heading.
        chromosome, start: where the first bin begins, bp.
        bin: bp per bin.
        rows: the tracks, the observed first; each of the others says its mean squared error from that.
        label: what the values are.
        measured: whether there is an observed one.
    """
    bins = len(rows[0].values)
    edges = (start + np.arange(bins + 1) * bin) / 1e3
    known = np.concatenate([row.values[np.isfinite(row.values)] for row in rows] or [np.zeros(1)])
    top = float(known.max()) * 1.05 if len(known) and known.max() > 0 else 1.0
    bottom = min(0.0, float(known.min())) if len(known) else 0.0
    drawn, axes = plotting.figure(len(rows), 1, width=9.5, height=1.25, sharex=True)
    for ax, row in zip(axes[:, 0], rows, strict=True):
        compared = measured and row is not rows[0]
        if compared:
            _fill(ax, edges, rows[0].values, "#d3d3d3")
        _fill(ax, edges, row.values, row.color, alpha=1.0 if row is rows[0] else 0.75)
        if row.std is not None:
            for side in (-1, 1):
                ax.stairs(row.values + side * row.std, edges, color="#202020", linewidth=0.5, alpha=0.7)
        ax.set_ylim(bottom, top)
        ax.set_ylabel(row.name, rotation=0, ha="right", va="center", fontsize=8)
        ax.tick_params(labelsize=7)
        if compared:
            there = np.isfinite(row.values) & np.isfinite(rows[0].values)
            if there.any():
                error = float(np.mean((row.values[there] - rows[0].values[there]) ** 2))
                ax.text(0.995, 0.93, f"MSE {error:.3g}", transform=ax.transAxes, ha="right", va="top", fontsize=8)
    last = axes[-1, 0]
    last.set_xlim(edges[0], edges[-1])
    last.xaxis.set_major_formatter(lambda at, _: f"{at:,.0f}")
    last.set_xlabel(f"{chromosome}, kb" + (f"; height: {label}" if label else ""))
    drawn.suptitle(title)
    return plotting.save(path, drawn, plotting.PRINT_DPI)


def _fill(ax: Any, edges: np.ndarray, values: np.ndarray, color: str, alpha: float = 1.0) -> None:
    ax.stairs(values, edges, fill=True, color=color, alpha=alpha, linewidth=0)


_SHOWN = {
    "mse_global": "MSE, all bins",
    "mse_1obs": "MSE, top 1% observed",
    "mse_1imp": "MSE, top 1% imputed",
    "pearson": "Pearson r",
    "mse_prom": "MSE, promoters",
    "mse_gene": "MSE, genes",
    "mse_enh": "MSE, enhancers",
    "spearman": "Spearman \u03c1",
}


def draw_scores(path: Path, title: str, scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Path:
    """Draw the scores of tracks, a line each, the model beside the baselines.

    Args:
        path: PNG to write.
        title: heading.
        scores: track -> source (``model`` or a baseline) -> measure -> value.
    """
    tracks = list(scores)
    sources = list(dict.fromkeys(source for of in scores.values() for source in of))
    measures = [m for m in _SHOWN if any(m in of for track in scores.values() for of in track.values())]
    colors = {
        "model": plotting.MODEL,
        **dict(zip([s for s in sources if s != "model"], plotting.BASELINES, strict=False)),
    }
    columns = len(measures) if len(measures) <= 5 else 4
    lines = -(-len(measures) // columns)
    height = 1.3 + 0.22 * len(tracks)
    drawn, axes = plotting.figure(lines, columns, width=2.9, height=height, sharey=True)
    at = np.arange(len(tracks))[::-1]
    for ax, measure in zip(axes.flat, measures, strict=False):
        for source in reversed(sources):
            values = [scores[track].get(source, {}).get(measure, np.nan) for track in tracks]
            ax.scatter(
                values, at, color=colors.get(source, _OTHER), s=34 if source == "model" else 22, zorder=3,
                marker="o" if source == "model" else "D", linewidths=0, label=source,
            )  # fmt: skip
        ax.set_title(_SHOWN[measure])
        ax.set_yticks(at, tracks, fontsize=7)
        ax.set_ylim(-0.6, len(tracks) - 0.4)
        ax.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        ax.tick_params(axis="x", labelsize=7)
        if measure.startswith("mse"):
            ax.set_xlim(left=0)
    for ax in axes.flat[len(measures) :]:
        ax.set_visible(False)
    handles, names = axes[0, 0].get_legend_handles_labels()
    drawn.legend(handles[::-1], names[::-1], loc="outside lower center", ncols=len(sources), fontsize=8)
    drawn.suptitle(title)
    return plotting.save(path, drawn, plotting.PRINT_DPI)


def browser_path(folder: Path, pair: Pair, bins: BinRange, bin: int) -> Path:
    """Where the plot of a region goes."""
    return folder / f"{pair[0]}.{pair[1]}.{bins.chromosome}_{bins.first * bin}_{bins.end * bin}.png"


def draw_region(folder: Path, model: GenomeAvocado, database: Database, pair: Pair, bins: BinRange) -> Path:
    """Draw a track as measured, as imputed, and as the mean of the other cell types, in the model's values."""
    measured, trained_on = signals_by_pair(database), model.main.experiments

    def read(other: Pair) -> np.ndarray:
        return observed(database, model, other, [bins])

    rows = [BrowserTrack("observed", read(pair), plotting.OBSERVED)] if pair in measured else []
    std = model.std(pair, bins) if model.n_models > 1 else None
    rows.append(BrowserTrack("imputed", model.impute([pair], bins)[0], plotting.MODEL, std))
    same_assay = [other for other in trained_on if other[1] == pair[1] and other in measured]
    average = baselines(pair, same_assay, read).get("mean of others")
    if average is not None:
        rows.append(BrowserTrack("mean of other\ncell types", average, plotting.BASELINES[0]))
    label = "arcsinh of the signal" if model.transformation == "arcsinh" else "signal"
    seen = ", held out" if pair in model.held_out else ", trained on" if pair in trained_on else ""
    return draw_browser(
        browser_path(folder, pair, bins, model.bin), f"{pair[1]} in {pair[0]}{seen}", bins.chromosome,
        bins.first * model.bin, model.bin, rows, label, measured=pair in measured,
    )  # fmt: skip


def draw_model(path: Path, trained: GenomeAvocado, database: Database, method: str, metadata: Metadata | None) -> Path:
    """Draw projections of a model's cell types, assays and positions.

    Cell types and assays are coloured by ``metadata``, where it names any; positions by the assay that stands out there
    most: whose mean over the tracks is furthest above its own mean, in standard deviations.
    """
    model, column = trained.main, metadata.column if metadata is not None else ""
    panels = []
    for title, names, vectors in (
        ("cell types", model.celltypes, model.celltype_embedding),
        ("assays", model.assays, model.assay_embedding),
    ):
        labels = []
        if metadata is not None and any(name in metadata for name in names):
            labels = [metadata.get(name, NONE) for name in names]
        panels.append(Panel(title, vectors, names, labels, column))
    bins = model.n_genomic_positions or 0
    count, run_length = _POSITIONS[method]
    starts = np.linspace(
        0, max(bins - run_length, 0), min(count // run_length, max(bins // run_length, 1))
    ).astype(np.int64)  # fmt: skip
    # Of these bins alone: the factors of a whole chromosome, each repeated for its bins, may not fit in memory.
    positions = np.unique((starts[:, None] + np.arange(min(run_length, bins))).ravel())
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
    factors = np.concatenate([model.factors(int(run[0]), int(run[-1]) + 1) for run in runs])
    if factors.shape[1]:
        outstanding = _outstanding(model, database, positions)
        panels.append(Panel("positions", factors, labels=outstanding, legend="assay that stands out"))
    return draw_embeddings(path, f"{Path(trained.prefix).name}: learned embeddings", panels, method)


def _outstanding(model: Avocado, database: Database, positions: np.ndarray) -> list[str]:
    """For each bin, the assay that stands out there, or ``none``."""
    measured = signals_by_pair(database)
    means = []
    for assay in model.assays:
        tracks = [measured[pair] for pair in model.experiments if pair[1] == assay and pair in measured]
        mean = np.full(len(positions), np.nan)
        for stretch in model.stretches if tracks else ():
            inside = np.flatnonzero((positions >= stretch.first) & (positions < stretch.end))
            if len(inside):
                starts = stretch.start + (positions[inside] - stretch.first) * model.bin
                values = database.bins(tracks, [stretch.chromosome] * len(inside), starts, 1, model.bin)[:, 0]
                for column, track in enumerate(tracks):
                    values[:, column] = transformed(database.uri, track, values[:, column], model.transformation)
                known = np.isfinite(values)
                mean[inside] = np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        means.append(mean)
    table = np.nan_to_num(np.array(means))
    spread = table.std(axis=1, keepdims=True)
    standardised = (table - table.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    best = standardised.argmax(axis=0)
    high = standardised.max(axis=0) >= _STANDS_OUT
    return [model.assays[row] if yes else NONE for row, yes in zip(best, high, strict=True)]
