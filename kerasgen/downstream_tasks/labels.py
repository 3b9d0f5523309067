"""Labels of elements: numbers of a file, made classes or transformed."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from db_ingest.errors import InputError
from kerasgen.downstream_tasks.settings import LabelSettings

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def numbers(path: str | Path, lines: np.ndarray, fields: np.ndarray, column: str) -> np.ndarray:
    """Labels as ``(n,) float64``.

    Args:
        path: the file, for messages.
        lines: ``(n,)`` line of each in the file.
        fields: ``(n,)`` words of the file, as strings.
        column: name of the column.

    Raises:
        InputError: a word that is no finite number.
    """
    values = np.empty(len(fields))
    for row, field in enumerate(fields):
        values[row] = float(field) if _NUMBER.fullmatch(field) else math.nan
        if not math.isfinite(values[row]):
            raise InputError(f"{path}:{lines[row]}: label ({column}) is {field!r}; expected a number")
    return values


def of_task(
    path: str | Path, lines: np.ndarray, values: np.ndarray, column: str, settings: LabelSettings
) -> np.ndarray:
    """Labels as a task takes them: 0 and 1 of a classification, transformed numbers of a regression.

    Raises:
        InputError: a label that does not fit the task, or labels that are all the same.
    """
    if settings.task == "classification":
        values = _binary(path, lines, values, column, settings.label_threshold)
    elif settings.label_transformation is not None:
        values = _transformed(path, lines, values, settings.label_transformation)
    if (values == values[0]).all():
        expected = "both classes" if settings.task == "classification" else "labels that differ"
        raise InputError(f"{path}: all {len(values):,} labels ({column}) are {values[0]:g}; expected {expected}")
    return values


def _binary(
    path: str | Path, lines: np.ndarray, values: np.ndarray, column: str, threshold: float | None
) -> np.ndarray:
    if threshold is not None:
        return (values >= threshold).astype(np.float64)
    neither = np.flatnonzero((values != 0) & (values != 1))
    if len(neither):
        row = int(neither[0])
        raise InputError(
            f"{path}:{lines[row]}: label ({column}) is {values[row]:g}; a classification expects 0 or 1 "
            "(--label_threshold makes them from numbers)"
        )
    return values


def _transformed(path: str | Path, lines: np.ndarray, values: np.ndarray, transformation: str) -> np.ndarray:
    if transformation == "asinh":
        return np.arcsinh(values)
    if (values <= -1).any():
        row = int(np.argmax(values <= -1))
        raise InputError(
            f"{path}:{lines[row]}: label {values[row]:g}; {transformation} is of the label + 1, which must lie above 0"
        )
    label = np.log1p(values)
    return label / np.log(10) if transformation == "log10" else label
