"""The plot of a comparison: measures with intervals, and predictions beside labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kerasgen import plotting
from kerasgen.downstream_tasks.results import DownstreamResult, ModelRow

_NAMES = {
    "AP": "average precision",
    "auROC": "area under the ROC curve",
    "R2": "R²",
    "Pearson": "Pearson correlation",
}
_FEATURES = (plotting.MODEL, "#4f9d69", "#c0504d", "#e0a13a", "#7d5ba6", "#2aa0a4")
_BASELINE = "#8b8b8b"
_STYLES = ("-", "--", ":", "-.")


def draw(
    path: Path, title: str, result: DownstreamResult, labels: np.ndarray, predicted: dict[str, np.ndarray]
) -> Path:
    """Write the plot as PNG.

    Args:
        path: file to write.
        title: its heading.
        result: the table.
        labels: ``(n,)``.
        predicted: model -> ``(n,)``.
    """
    height = max(3.2, 0.42 * len(result.rows) + 1.6)
    figure, axes = plotting.figure(1, 3, width=4.6, height=height)
    colors = _colors(result.rows)
    chance = None if result.positives is None else {"AP": result.positives / result.elements, "auROC": 0.5}
    for ax, name in zip(axes[0], result.rows[0].scores, strict=False):
        _draw_measure(ax, name, result.rows, colors, chance[name] if chance else 0.0)
    for ax in axes[0, 1:2]:
        ax.set_yticklabels([])
    if result.task == "classification":
        _draw_curves(axes[0, 2], result.rows, colors, labels, predicted)
    else:
        _draw_scatter(axes[0, 2], result.rows, labels, predicted)
    counted = f"{result.elements:,} elements"
    if result.positives is not None:
        counted += f", {result.positives:,} positive ({result.positives / result.elements:.1%})"
    figure.suptitle(f"{title}: {counted}", fontsize=10, fontweight="bold")
    return plotting.save(path, figure)


def _colors(rows: list[ModelRow]) -> dict[str, str]:
    named = [row.model for row in rows if row.kind == "features"]
    return {row.model: _BASELINE for row in rows} | {
        name: _FEATURES[i % len(_FEATURES)] for i, name in enumerate(named)
    }


def _style(name: str, colors: dict[str, str]) -> str:
    """Line style of a feature set's curve: dashed where its colour comes for the second time."""
    named = [model for model, color in colors.items() if color != _BASELINE]
    return _STYLES[named.index(name) // len(_FEATURES) % len(_STYLES)]


def _draw_measure(ax: Any, name: str, rows: list[ModelRow], colors: dict[str, str], chance: float) -> None:
    ax.axvline(chance, color="#b0b0b0", linewidth=0.8, linestyle="--", zorder=0)
    for y, row in enumerate(reversed(rows)):
        score = row.scores[name]
        if not np.isfinite(score.value):
            ax.text(chance, y, " not defined", va="center", fontsize=7, color=_BASELINE)
            continue
        folds = score.folds[np.isfinite(score.folds)]
        ax.plot(folds, np.full(len(folds), y), ".", color=colors[row.model], alpha=0.4, markersize=5, zorder=1)
        low, high = score.interval
        ax.plot([low, high], [y, y], color=colors[row.model], linewidth=2.2, zorder=2, solid_capstyle="butt")
        ax.plot(score.value, y, "o", color=colors[row.model], markersize=6, zorder=3)
        ax.annotate(f"{score.value:.3f}", (score.value, y), (0, 6), textcoords="offset points", ha="center",
                    fontsize=7.5)  # fmt: skip
    ax.set_yticks(range(len(rows)), [row.model for row in reversed(rows)])
    ax.set_ylim(-0.6, len(rows) - 0.3)
    of = "all elements" if name == "R2" else "mean of folds"
    ax.set(xlabel=f"{of}, 95% interval; dots: each fold", title=_NAMES[name])
    ax.tick_params(axis="y", length=0)


def _draw_curves(
    ax: Any, rows: list[ModelRow], colors: dict[str, str], labels: np.ndarray, predicted: dict[str, np.ndarray]
) -> None:
    from sklearn.metrics import precision_recall_curve

    ax.axhline(labels.mean(), color="#b0b0b0", linewidth=0.8, linestyle="--", label="base rate")
    styles = iter(_STYLES)
    for row in rows:
        if row.features == 0:
            continue
        precision, recall, _ = precision_recall_curve(labels, predicted[row.model])
        # At the first few elements the curve is mostly chance.
        some = recall * labels.sum() >= min(5, labels.sum() / 10)
        baseline = row.kind == "baseline"
        ax.plot(recall[some], precision[some], color=colors[row.model], linewidth=1.0 if baseline else 1.6,
                linestyle=next(styles) if baseline else _style(row.model, colors), label=row.model)  # fmt: skip
    ax.set(xlabel="recall", ylabel="precision", title="all folds together", xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(fontsize=7.5, loc="upper left", bbox_to_anchor=(1.01, 1))


def _draw_scatter(ax: Any, rows: list[ModelRow], labels: np.ndarray, predicted: dict[str, np.ndarray]) -> None:
    best = max((row for row in rows if row.kind == "features"), key=lambda row: row.scores["R2"].value)
    values = predicted[best.model]
    low, high = np.percentile(np.concatenate([labels, values]), (0.2, 99.8))
    inside = (labels >= low) & (labels <= high) & (values >= low) & (values <= high)
    shown = ax.hexbin(
        labels[inside], values[inside], gridsize=45, cmap="Blues", mincnt=1, bins="log", vmin=0.3, linewidths=0.1
    )
    ax.plot([low, high], [low, high], color="grey", linewidth=0.8, linestyle="--")
    ax.set(xlabel="label", ylabel="predicted, out of fold", title=f"the best set: {best.model}")
    ax.figure.colorbar(shown, ax=ax, label="elements", shrink=0.8)
