"""Rows of a file of elements, whatever its columns are called and in whichever order they stand.

Formats: https://genome.ucsc.edu/FAQ/FAQformat.html, https://bedtools.readthedocs.io/en/latest/content/general-usage.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError
from db_ingest.formats.text.table import TextTable, read_table
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import shorten_names

_WHAT = "a BED, BEDPE or tab-separated file of elements and their labels"
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


class ElementLayout(NamedTuple):
    """Which column holds what.

    Args:
        anchors: 1, or 2 where elements are pairs.
        columns: what a column holds, numbered for a pair -> its place, from 0.
        label: place of the labels.
        label_name: what messages call them.
    """

    anchors: int
    columns: dict[str, int]
    label: int
    label_name: str


class ElementRows(NamedTuple):
    """The elements of a file, in its order, their labels as they are written.

    Args:
        name: ``(n,)`` strings, ``"."`` where the file has none.
        chromosome: ``(n,) int64`` places in the genome.
        start, end: ``(n, anchors) int64`` bp, half-open.
        reverse: ``(n,) bool``, on the minus strand.
        label: ``(n,)`` strings.
        line: ``(n,) int64``, from 1.
    """

    name: np.ndarray
    chromosome: np.ndarray
    start: np.ndarray
    end: np.ndarray
    reverse: np.ndarray
    label: np.ndarray
    line: np.ndarray


def read(
    path: str | Path, naming: Naming, layout: str, label_column: str | None, chroms: Sequence[str] | None
) -> tuple[ElementLayout, ElementRows]:
    """Read a file of elements; see :func:`kerasgen.downstream_tasks.elements.read_elements`."""
    table = read_table(path, _WHAT, least=1, columns="one", header=True)
    assert table is not None
    found = _layout(table, _header(table), layout, label_column)
    anchors = [_anchor(table, naming, found, suffix) for suffix in (("",) if found.anchors == 1 else ("1", "2"))]
    rows = np.arange(len(table))
    if chroms:
        rows = np.flatnonzero(np.isin(anchors[0].chromosome, [naming.genome.index(name) for name in chroms]))
        if not len(rows):
            raise InputError(f"{path}: no element on {', '.join(list(chroms)[:8])}")
    for anchor in anchors:
        _require_on_genome(table, naming, rows, anchor)
    if len(anchors) == 2:
        apart = rows[anchors[0].chromosome[rows] != anchors[1].chromosome[rows]]
        if len(apart):
            one, other = (naming.genome.names[anchor.chromosome[apart[0]]] for anchor in anchors)
            table.refuse(int(apart[0]), f"anchors on {one} and {other}; expected both on one chromosome")
    strands = table.text(found.columns["strand"])[rows] if "strand" in found.columns else np.full(len(rows), ".")
    return found, ElementRows(
        name=table.text(found.columns["name"])[rows] if "name" in found.columns else np.full(len(rows), ".", object),
        chromosome=anchors[0].chromosome[rows],
        start=np.column_stack([anchor.start[rows] for anchor in anchors]),
        end=np.column_stack([anchor.end[rows] for anchor in anchors]),
        reverse=strands == "-",
        label=table.text(found.label)[rows],
        line=table.lines[rows],
    )


class _Anchor(NamedTuple):
    """One anchor of each row, as the file has it; its chromosome's name, and its place or -1."""

    suffix: str
    names: np.ndarray
    chromosome: np.ndarray
    start: np.ndarray
    end: np.ndarray


def _anchor(table: TextTable, naming: Naming, layout: ElementLayout, suffix: str) -> _Anchor:
    chromosome, start, end = (layout.columns[what + suffix] for what in ("chromosome", "start", "end"))
    return _Anchor(
        suffix,
        table.text(chromosome),
        table.chromosomes(naming, chromosome).place,
        table.whole(start, f"start{suffix}"),
        table.whole(end, f"end{suffix}"),
    )


def _require_on_genome(table: TextTable, naming: Naming, rows: np.ndarray, anchor: _Anchor) -> None:
    """Raise :class:`InputError` at the first row whose anchor does not lie on a chromosome of the genome."""
    unknown = rows[anchor.chromosome[rows] < 0]
    if len(unknown):
        row = int(unknown[0])
        table.refuse(row, f"chromosome {anchor.names[row]!r}; the genome has {shorten_names(naming.genome.names)}")
    sizes = naming.genome.size_array()[anchor.chromosome]
    for bad, message in (
        (anchor.start < 0, "the start is below 0"),
        (anchor.end <= anchor.start, "the end must lie above the start"),
        (anchor.end > sizes, "the end lies past the chromosome's {size:,} bp"),
    ):
        wrong = rows[bad[rows]]
        if len(wrong):
            row = int(wrong[0])
            place = f"{naming.genome.names[anchor.chromosome[row]]} {anchor.start[row]} {anchor.end[row]}"
            table.refuse(row, f"{place}: {message.format(size=sizes[row])}")


def _header(table: TextTable) -> list[str] | None:
    """Names of the columns: those of the first line, or of a comment before it that has as many and some known ones."""
    if table.header is not None:
        return table.header
    names = table.comment.split("\t") if "\t" in table.comment else table.comment.split()
    known = {name for spellings in _NAMES.values() for name in spellings}
    if len(names) == table.width and {name.strip().lower().rstrip("12") for name in names} & known:
        return [name.strip() for name in names]
    return None


def _layout(table: TextTable, header: list[str] | None, layout: str, label_column: str | None) -> ElementLayout:
    names = [] if header is None else [name.lstrip("#").strip().lower() for name in header]
    single, double = _named(names), _named(names, "1") | _named(names, "2")
    if layout == "auto":
        by_name = ".bedpe" in Path(table.path).name.lower()
        is_pair = {"start1", "start2"} <= set(double) if header is not None else by_name
        layout = "bedpe" if is_pair else "bed"
    anchors = 2 if layout == "bedpe" else 1
    if header is None:
        columns = {what: at for what, at in (_BEDPE if anchors == 2 else _BED).items() if at < table.width}
    else:
        columns = {**single, **double}
    missing = [what for what in _NEEDED[anchors] if what not in columns]
    if missing:
        has = f"the columns {', '.join(header[:12])}" if header is not None else f"{table.width} columns"
        where = table.path if header is not None else f"{table.path}:{table.lines[0]}"
        raise InputError(f"{where}: {has}; expected {', '.join(_NEEDED[anchors])} among them ({layout})")
    at, name = _label_place(table, header, label_column)
    if header is None and at in [columns[what] for what in _NEEDED[anchors]]:
        raise InputError(
            f"--label_column {label_column}: {table.path} has coordinates there; expected a column after them"
        )
    return ElementLayout(anchors, columns, at, name)


def _named(names: Sequence[str], suffix: str = "") -> dict[str, int]:
    """Places of the columns that we know the names of."""
    places: dict[str, int] = {}
    for what, spellings in _NAMES.items():
        for spelling in spellings:
            if spelling + suffix in names:
                places.setdefault(what + suffix, names.index(spelling + suffix))
    return places


def _label_place(table: TextTable, header: list[str] | None, label_column: str | None) -> tuple[int, str]:
    wanted = _LABEL if label_column is None else str(label_column)
    names = [] if header is None else [name.lstrip("#").strip() for name in header]
    if wanted in names:
        if names.count(wanted) > 1:
            raise InputError(f"{table.path}: two columns are named {wanted!r}; give --label_column its number")
        return names.index(wanted), wanted
    if wanted.isdecimal() and 1 <= int(wanted) <= table.width:
        return int(wanted) - 1, names[int(wanted) - 1] if names else f"column {wanted}"
    has = f"the columns {', '.join(names[:12])}" if names else f"{table.width} columns without names"
    raise InputError(f"{table.path}: {has}; expected --label_column to be one of them, by name or by number from 1")
