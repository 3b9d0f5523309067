"""How often bins lie in promoters, genes and enhancers, from files of annotation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError
from db_ingest.formats.text.table import Chromosomes, read_table
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome
from kerasgen.track_models.binned import Stretch

_PROMOTER = 2000
_GTF = re.compile(r"\.(gtf|gff3?)(\.b?gz)?$", re.IGNORECASE)
_BED_COLUMNS, _GTF_COLUMNS = (0, 1, 2, 5), (0, 3, 4, 6)
"""Columns of chromosome, start, end and strand."""
_FEATURE = 2


class _Annotated(NamedTuple):
    """Intervals of a file.

    Args:
        chromosome: ``(n,) int64`` place in the genome; -1: the genome lacks it.
        start, end: ``(n,) int64`` bp, half-open.
        reverse: ``(n,) bool``, on the minus strand.
    """

    chromosome: np.ndarray
    start: np.ndarray
    end: np.ndarray
    reverse: np.ndarray


def annotated_bins(
    stretches: Sequence[Stretch], bin: int, genome: Genome, *, genes: str | None = None, enhancers: str | None = None
) -> dict[str, np.ndarray]:
    """How often each bin lies in a promoter, a gene, an enhancer.

    Args:
        stretches: what the bins are.
        bin: bp per bin.
        genome: their chromosomes; a file may call them by other names (``1`` for ``chr1``).
        genes: BED with strands (column 6), or GTF or GFF3 of which the features ``gene`` are taken; plain or gzipped.
        enhancers: BED.

    Returns:
        ``prom`` and ``gene`` where ``genes`` is given, ``enh`` where ``enhancers`` is: ``(bins,) float64`` each.

    Raises:
        MissingFileError: a file does not exist.
        InputError: with file and line, for a broken one; a gene without a strand; none of a file's intervals on any
            chromosome of the bins.
    """
    counts: dict[str, np.ndarray] = {}
    columns = {genome.index(stretch.chromosome): stretch for stretch in stretches}
    for path, names in ((genes, ("prom", "gene")), (enhancers, ("enh",))):
        if path is None:
            continue
        annotated = _read(path, Naming(genome, takes_aliases=False), stranded=path == genes)
        if not np.isin(annotated.chromosome, list(columns)).any():
            raise InputError(f"{path}: no interval on {', '.join(s.chromosome for s in stretches[:6])}")
        for name in names:
            counts[name] = _count(annotated, columns, bin, promoters=name == "prom")
    return counts


def _count(annotated: _Annotated, columns: dict[int, Stretch], bin: int, *, promoters: bool) -> np.ndarray:
    changes = np.zeros(max(stretch.end for stretch in columns.values()) + 1)
    reach = _PROMOTER // bin
    for chromosome, stretch in columns.items():
        inside = annotated.chromosome == chromosome
        first, last = annotated.start[inside] // bin, (annotated.end[inside] - 1) // bin + 1
        if promoters:
            reverse = annotated.reverse[inside]
            first, last = np.where(reverse, last, first - reach), np.where(reverse, last + reach, first)
        origin = stretch.first - stretch.start // bin
        np.add.at(changes, np.clip(origin + first, stretch.first, stretch.end), 1)
        np.add.at(changes, np.clip(origin + last, stretch.first, stretch.end), -1)
    return np.cumsum(changes[:-1])


def _read(path: str, naming: Naming, *, stranded: bool) -> _Annotated:
    """Intervals of a BED, or the genes of a GTF or GFF3."""
    is_gtf = _GTF.search(Path(path).name) is not None
    what = "GTF or GFF3 of genes" if is_gtf else "BED of genes, with strands" if stranded else "BED"
    names, at, stop, strands = _GTF_COLUMNS if is_gtf else _BED_COLUMNS
    table = read_table(path, what, least=7 if is_gtf else 3, columns="the seven of GTF" if is_gtf else "three")
    assert table is not None
    start, end = table.whole(at, "start"), table.whole(stop, "end")
    chromosomes: Chromosomes = table.chromosomes(naming, names)
    strand = table.text(strands)
    taken = np.flatnonzero(table.text(_FEATURE) == "gene") if is_gtf else np.arange(len(table))
    if is_gtf:
        start = start - 1  # GTF counts from 1 and includes the end.
    for bad, message in (
        (stranded & (strand != "+") & (strand != "-"), f"expected + or - in column {strands + 1} of a gene"),
        ((start < 0) | (end <= start), "expected a start of 0 or more and an end beyond it"),
    ):
        rows = taken[bad[taken]]
        if len(rows):
            row = int(rows[0])
            place = f"{chromosomes.name(row)} {start[row]} {end[row]}"
            table.refuse(row, f"{place}, strand {strand[row]!r}: {message}")
    return _Annotated(chromosomes.place[taken], start[taken], end[taken], strand[taken] == "-")
