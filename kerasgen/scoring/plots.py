"""Plots of the scores."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen import plotting
from kerasgen.objectives import heads

_LABELS = {
    "model": "model",
    "mean_profile": "mean profile",
    "other_locus": "another locus's prediction",
    "shuffled": "shuffled positions",
    "replicate": "replicate",
}


def draw_scores(path: Path, title: str, result: dict[str, Any], table: dict[str, np.ndarray]) -> Path:
    """Draw observed against predicted counts, the spread of profile scores, other scores, each beside baselines."""
    panels: list[Callable[[Any], None]] = []
    if "counts" in result:
        panels.append(lambda ax: _draw_counts(ax, result["counts"], table))
    if "profile" in result:
        panels.append(lambda ax: _draw_spread(ax, "pearson", "profile Pearson r", table))
        panels.append(lambda ax: _draw_spread(ax, "jsd", "profile Jensen-Shannon distance", table))
    for name in heads.in_order(result):
        if name not in ("counts", "profile"):
            panels.append(functools.partial(_draw_sources, name=name, scores=result[name]))
    drawn, axes = plotting.figure(1, len(panels))
    for draw, ax in zip(panels, axes[0], strict=True):
        draw(ax)
    drawn.suptitle(f"{title}: {result['name']}, {result['n']:,} loci")
    return plotting.save(path, drawn)


def _draw_counts(ax: Any, scores: dict[str, dict[str, float | None]], table: dict[str, np.ndarray]) -> None:
    observed, predicted = table["observed_log_count"], table["predicted_log_count"]
    if len(observed) > 2000:
        ax.hexbin(observed, predicted, gridsize=60, bins="log", mincnt=1, cmap="Blues")
    else:
        ax.scatter(observed, predicted, s=6, alpha=0.5, color=plotting.MODEL, linewidths=0)
    low, high = np.percentile(np.concatenate([observed, predicted]), (0.5, 99.5))
    ax.plot([low, high], [low, high], color="grey", linewidth=0.8, linestyle="--")
    ax.set(xlabel="observed log count", ylabel="predicted log count")
    r, rho = scores["model"]["pearson"], scores["model"]["spearman"]
    text = f"counts: r {_text(r)}, \u03c1 {_text(rho)}"
    if "replicate" in scores:
        text += f" (replicates r {_text(scores['replicate']['pearson'])})"
    ax.set_title(text)


def _draw_spread(ax: Any, measure: str, label: str, table: dict[str, np.ndarray]) -> None:
    sources = [s for s in _LABELS if f"{measure}.{s}" in table]
    values = [table[f"{measure}.{s}"] for s in sources]
    known = np.concatenate([v[np.isfinite(v)] for v in values])
    if len(known) == 0:
        known = np.array([0.0, 1.0])
    bins = np.linspace(known.min(), known.max(), 50)
    for source, value, color in zip(sources, values, (plotting.MODEL, *plotting.BASELINES), strict=False):
        value = value[np.isfinite(value)]
        if not len(value):
            continue
        ax.hist(
            value, bins=bins, histtype="stepfilled" if source == "model" else "step", color=color,
            alpha=0.55 if source == "model" else 1.0, label=f"{_LABELS[source]} ({np.median(value):.3f})",
        )  # fmt: skip
        ax.axvline(np.median(value), color=color, linewidth=0.9, linestyle=":")
    ax.set(xlabel=label, ylabel="loci", title="median over loci in brackets")
    ax.legend(fontsize=7, loc="best")


def _draw_sources(ax: Any, name: str, scores: dict[str, dict[str, float | None]]) -> None:
    measure = next(iter(scores["model"]))
    values = [scores[source][measure] for source in scores]
    colors = (plotting.MODEL, *plotting.BASELINES)[: len(scores)]
    bars = ax.barh(list(scores), [value or 0.0 for value in values], color=colors)
    ax.bar_label(bars, [_text(value) for value in values], padding=3)
    ax.invert_yaxis()
    ax.set(xlabel=measure, title=name)


def _text(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
