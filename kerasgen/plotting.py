"""The look that all plots share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from db_ingest import storage

MODEL, OBSERVED, BASELINES = "#1f5fa8", "#3b3b3b", ("#c0504d", "#e0a13a", "#8b8b8b", "#4f9d69")

plt.rcParams.update(
    {
        "figure.dpi": 120,
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
)


def figure(rows: int, columns: int, *, width: float = 4.2, height: float = 3.2, **options: Any) -> Any:
    """A figure and its axes, ``(rows, columns)``."""
    return plt.subplots(rows, columns, figsize=(columns * width, rows * height), squeeze=False, **options)


PRINT_DPI = 250
"""Dots per inch of a figure that is to be printed."""


def save(path: Path, drawn: Any, dpi: float | None = None) -> Path:
    """Write a figure as PNG, whole or not at all, and close it; at the resolution of screens when not said."""
    with storage.replacing(path) as temporary:
        drawn.savefig(temporary, format="png", dpi=dpi or "figure")
    plt.close(drawn)
    return path
