"""Elements and their labels from BED, BEDPE or a table with named columns.

Formats: https://genome.ucsc.edu/FAQ/FAQformat.html, https://bedtools.readthedocs.io/en/latest/content/general-usage.html.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError
from db_ingest.inputs.files import read_text
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome, shorten_names

TASKS = ("classification", "regression")
LAYOUTS = ("auto", "bed", "bedpe")
TRANSFORMATIONS = ("log", "log10", "asinh")

_WHAT = "a BED, BEDPE or tab-separated file of elements and their labels"
_SKIPPED = re.compile(r"(?:track|browser)\s")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_NAMES = {
    "chromosome": ("chrom", "chr", "chromosome", "seqname", "seqnames"),
    "start": ("start", "chromstart", "txstart"),
    "end": ("end", "chromend", "stop", "txend"),
    "name": ("name", "id"),
    "strand": ("strand",),
}
_BED = {"chromosome": 0, "start": 1, "end": 2, "name": 3, "strand": 5}
_BEDPE = {"chromosome1": 0, "start1": 1, "end1": 2, "chromosome2": 3, "start2": 4, "end2": 5, "name": 6}
_NEEDED = {1: ("chromosome", "start", "end"), 2: ("chromosome1", "start1", "end1", "chromosome2", "start2", "end2")}
_LABEL = "label"


@dataclass(frozen=True)
class Elements:
    """Genomic elements, or pairs of them, with a label each, in the order of the file.

    Args:
        genome: their chromosomes.
        name: ``(n,)`` strings, ``"."`` where the file has none.
        chromosome: ``(n,) int64`` places in the genome; both anchors of a pair lie on one.
        start, end: ``(n, anchors) int64`` bp, half-open; one anchor, or the two of a pair in the order of the file.
        reverse: ``(n,) bool``, on the minus strand.
        label: ``(n,) float64``; 0 or 1 in a classification.
        line: ``(n,) int64`` line of the file, from 1.
    """

    genome: Genome
    name: np.ndarray
    chromosome: np.ndarray
    start: np.ndarray
    end: np.ndarray
    reverse: np.ndarray
    label: np.ndarray
    line: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def are_pairs(self) -> bool:
        """Whether each element is a pair of anchors."""
        return self.start.shape[1] == 2

    def extent(self, flank: int) -> tuple[np.ndarray, np.ndarray]:
        """From the first to the last base that any feature of an element is taken from, ``(n,) int64`` each."""
        sizes = self.genome.size_array()[self.chromosome]
        return np.maximum(self.start.min(axis=1) - flank, 0), np.minimum(self.end.max(axis=1) + flank, sizes)

    def place(self, i: int) -> str:
        """Where an element lies, for messages and tables."""
        chromosome = self.genome.names[self.chromosome[i]]
        return " ".join(f"{chromosome}:{s}-{e}" for s, e in zip(self.start[i], self.end[i], strict=True))


class _Layout(NamedTuple):
    """Which column holds what."""

    anchors: int
    columns: dict[str, int]
    label: int
    label_name: str


def read_elements(
    path: str | Path,
    genome: Genome,
    *,
    task: str,
    label_column: str | None = None,
    layout: str = "auto",
    label_threshold: float | None = None,
    label_transformation: str | None = None,
    chroms: Sequence[str] | None = None,
) -> Elements:
    """Read elements and their labels, plain or gzipped.

    Lines that are empty or start with ``#``, ``track`` or ``browser`` are skipped. The columns are those of BED or
    BEDPE, or named by a header: a first line whose second column is no number, perhaps after a ``#``.

    Args:
        path: the file.
        genome: what the elements must fit into; other names of its chromosomes (``II`` for ``chrII``) will do.
        task: ``"classification"`` or ``"regression"``.
        label_column: name of a column of the header (default: ``label``), or its number from 1.
        layout: ``"bed"``, ``"bedpe"``, or ``"auto"``: pairs where the header names ``start1`` and ``start2``, or where
            there is no header and the file's name has ``.bedpe`` in it.
        label_threshold: of a classification: labels from here on are 1, those below 0.
        label_transformation: ``"log"`` (of the label + 1), ``"log10"`` (likewise) or ``"asinh"``, of a regression.
        chroms: chromosomes whose elements are taken (default: all).

    Raises:
        InputError: with the file and the line: not a table of elements, an unknown chromosome, an element that does not
            lie on its chromosome, anchors on two chromosomes, the same element twice, a label that is no number (or,
            without a threshold, neither 0 nor 1), only one class, labels that are all the same.
    """
    for what, value, known in (("--task", task, TASKS), ("--layout", layout, LAYOUTS),
                               ("--label_transformation", label_transformation, (None, *TRANSFORMATIONS))):  # fmt: skip
        if value not in known:
            raise InputError(f"{what} {value}: expected one of {', '.join(map(str, known))}")
    if task == "regression" and label_threshold is not None:
        raise InputError("--label_threshold: a regression takes labels as they are; expected --task classification")
    if task == "classification" and label_transformation is not None:
        raise InputError("--label_transformation: only labels of a regression are transformed")
    header, rows = _rows(path, read_text(path, _WHAT))
    found = _layout(path, header, rows[0], layout, label_column)
    elements = _parsed(path, rows, found, Naming(genome), chroms)
    _refuse_twice(path, elements)
    if task == "classification":
        elements = _binary(path, elements, found.label_name, label_threshold)
    elif label_transformation is not None:
        elements = _transformed(path, elements, label_transformation)
    if (elements.label == elements.label[0]).all():
        expected = "both classes" if task == "classification" else "labels that differ"
        raise InputError(
            f"{path}: all {len(elements):,} labels ({found.label_name}) are {elements.label[0]:g}; expected {expected}"
        )
    return elements


class _Row(NamedTuple):
    line: int
    fields: list[str]


def _rows(path: str | Path, text: str) -> tuple[list[str] | None, list[_Row]]:
    """Names of the columns, if the file has any, and its rows, all as wide as the first."""
    rows: list[_Row] = []
    comment, header, by_tab = "", None, True
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#") or _SKIPPED.match(line):
            comment = line if line.startswith("#") and not rows else comment
            continue
        if not rows and header is None:
            by_tab = "\t" in line
        fields = [f.strip() for f in line.split("\t")] if by_tab else line.split()
        if not rows and header is None and len(fields) > 1 and not _NUMBER.fullmatch(fields[1]):
            header = fields
            continue
        width = len(rows[0].fields if rows else header if header is not None else fields)
        if len(fields) != width:
            raise InputError(f"{path}:{number}: {len(fields)} column(s); expected {width}, as many as the first line")
        rows.append(_Row(number, fields))
    if not rows:
        raise InputError(f"{path}: no elements in it; expected {_WHAT}")
    if header is None:
        names = comment.lstrip("#").strip()
        named = [n.strip() for n in names.split("\t")] if by_tab else names.split()
        known = {name for spellings in _NAMES.values() for name in spellings}
        if len(named) == len(rows[0].fields) and {n.lower().rstrip("12") for n in named} & known:
            header = named
    return header, rows


def _layout(path: str | Path, header: list[str] | None, first: _Row, layout: str, label_column: str | None) -> _Layout:
    names = [] if header is None else [name.lstrip("#").strip().lower() for name in header]
    single, double = _named(names), _named(names, "1") | _named(names, "2")
    if layout == "auto":
        is_pair = {"start1", "start2"} <= set(double) if header is not None else ".bedpe" in Path(path).name.lower()
        layout = "bedpe" if is_pair else "bed"
    anchors = 2 if layout == "bedpe" else 1
    if header is None:
        columns = {what: at for what, at in (_BEDPE if anchors == 2 else _BED).items() if at < len(first.fields)}
    else:
        columns = {**single, **double}
    missing = [what for what in _NEEDED[anchors] if what not in columns]
    if missing:
        has = f"the columns {', '.join(header[:12])}" if header is not None else f"{len(first.fields)} columns"
        where = path if header is not None else f"{path}:{first.line}"
        raise InputError(f"{where}: {has}; expected {', '.join(_NEEDED[anchors])} among them ({layout})")
    at, name = _label_place(path, header, first, label_column)
    if header is None and at in [columns[what] for what in _NEEDED[anchors]]:
        raise InputError(f"--label_column {label_column}: {path} has coordinates there; expected a column after them")
    return _Layout(anchors, columns, at, name)


def _named(names: Sequence[str], suffix: str = "") -> dict[str, int]:
    """Places of the columns that we know the names of."""
    found: dict[str, int] = {}
    for what, spellings in _NAMES.items():
        for spelling in spellings:
            if spelling + suffix in names:
                found.setdefault(what + suffix, names.index(spelling + suffix))
    return found


def _label_place(path: str | Path, header: list[str] | None, first: _Row, label_column: str | None) -> tuple[int, str]:
    wanted = _LABEL if label_column is None else str(label_column)
    names = [] if header is None else [name.lstrip("#").strip() for name in header]
    if wanted in names:
        if names.count(wanted) > 1:
            raise InputError(f"{path}: two columns are named {wanted!r}; give --label_column its number")
        return names.index(wanted), wanted
    if wanted.isdecimal() and 1 <= int(wanted) <= len(first.fields):
        return int(wanted) - 1, names[int(wanted) - 1] if names else f"column {wanted}"
    has = f"the columns {', '.join(names[:12])}" if names else f"{len(first.fields)} columns without names"
    raise InputError(f"{path}: {has}; expected --label_column to be one of them, by name or by number from 1")


def _parsed(
    path: str | Path, rows: Sequence[_Row], layout: _Layout, naming: Naming, chroms: Sequence[str] | None
) -> Elements:
    for name in chroms or ():
        if name not in naming.genome:
            raise InputError(f"--chroms {name}: not in the genome, which has {shorten_names(naming.genome.names, 12)}")
    suffixes = ("",) if layout.anchors == 1 else ("1", "2")
    columns = layout.columns
    names, chromosomes, starts, ends, reverse, labels, lines = [], [], [], [], [], [], []
    for line, fields in rows:
        place = [naming.find(fields[columns[f"chromosome{s}"]]) for s in suffixes]
        if chroms and place[0] not in chroms:
            continue
        if None in place:
            unknown = fields[columns[f"chromosome{suffixes[place.index(None)]}"]]
            raise InputError(
                f"{path}:{line}: chromosome {unknown!r}; the genome has {shorten_names(naming.genome.names)}"
            )
        if len(set(place)) > 1:
            raise InputError(f"{path}:{line}: anchors on {place[0]} and {place[1]}; expected both on one chromosome")
        size = naming.genome.size(str(place[0]))
        spans = [_interval(path, line, fields, columns, s, str(place[0]), size) for s in suffixes]
        names.append(fields[columns["name"]] if "name" in columns else ".")
        chromosomes.append(naming.genome.index(str(place[0])))
        starts.append([start for start, _ in spans])
        ends.append([end for _, end in spans])
        reverse.append("strand" in columns and fields[columns["strand"]] == "-")
        labels.append(_label(path, line, fields[layout.label], layout))
        lines.append(line)
    if not lines:
        raise InputError(f"{path}: no element on {', '.join(list(chroms or ())[:8])}")
    return Elements(
        naming.genome, np.array(names, object), np.array(chromosomes, np.int64), np.array(starts, np.int64),
        np.array(ends, np.int64), np.array(reverse), np.array(labels), np.array(lines, np.int64),
    )  # fmt: skip


def _interval(
    path: str | Path, line: int, fields: list[str], columns: dict[str, int], suffix: str, chromosome: str, size: int
) -> tuple[int, int]:
    bounds = []
    for what in ("start", "end"):
        at = columns[what + suffix]
        if not _WHOLE.fullmatch(fields[at]):
            raise InputError(f"{path}:{line}: {what}{suffix} (column {at + 1}) is {fields[at]!r}; expected bp")
        bounds.append(int(fields[at]))
    start, end = bounds
    if start < 0:
        raise InputError(f"{path}:{line}: {chromosome} {start} {end}: the start is below 0")
    if end <= start:
        raise InputError(f"{path}:{line}: {chromosome} {start} {end}: the end must lie above the start")
    if end > size:
        raise InputError(f"{path}:{line}: {chromosome} {start} {end}: the end lies past the chromosome's {size:,} bp")
    return start, end


def _label(path: str | Path, line: int, field: str, layout: _Layout) -> float:
    value = float(field) if _NUMBER.fullmatch(field) else math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}:{line}: label ({layout.label_name}) is {field!r}; expected a number")
    return value


def _refuse_twice(path: str | Path, elements: Elements) -> None:
    # The two anchors of a pair are the same pair the other way round.
    order = np.argsort(elements.start, axis=1, kind="stable")
    start = np.take_along_axis(elements.start, order, axis=1)
    end = np.take_along_axis(elements.end, order, axis=1)
    keys = np.column_stack([elements.chromosome, start, end, elements.reverse])
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    twice = np.flatnonzero(first[which.reshape(-1)] != np.arange(len(keys)))
    if len(twice):
        i = int(twice[0])
        earlier = elements.line[first[which.reshape(-1)[i]]]
        raise InputError(
            f"{path}:{elements.line[i]}: {elements.place(i)} stands in line {earlier} too; expected each element once"
        )


def _binary(path: str | Path, elements: Elements, name: str, threshold: float | None) -> Elements:
    if threshold is not None:
        return replace(elements, label=(elements.label >= threshold).astype(np.float64))
    neither = np.flatnonzero((elements.label != 0) & (elements.label != 1))
    if len(neither):
        i = int(neither[0])
        raise InputError(
            f"{path}:{elements.line[i]}: label ({name}) is {elements.label[i]:g}; a classification expects 0 or 1 "
            "(--label_threshold makes them from numbers)"
        )
    return elements


def _transformed(path: str | Path, elements: Elements, transformation: str) -> Elements:
    if transformation != "asinh" and (elements.label <= -1).any():
        i = int(np.argmax(elements.label <= -1))
        raise InputError(
            f"{path}:{elements.line[i]}: label {elements.label[i]:g}; {transformation} is of the label + 1, "
            "which must lie above 0"
        )
    label = np.arcsinh(elements.label) if transformation == "asinh" else np.log1p(elements.label)
    return replace(elements, label=label / np.log(10) if transformation == "log10" else label)
