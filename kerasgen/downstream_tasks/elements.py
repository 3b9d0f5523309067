"""Genomic elements, or pairs of them, with a label each, from BED, BEDPE or a table with named columns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from db_ingest.errors import InputError
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome, shorten_names
from kerasgen.downstream_tasks import element_table, labels
from kerasgen.downstream_tasks.settings import LabelSettings


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


def read_elements(path: str | Path, genome: Genome, settings: LabelSettings) -> Elements:
    """Read elements and their labels, plain or gzipped.

    Lines that are empty or start with ``#``, ``track`` or ``browser`` are skipped. The columns are those of BED or
    BEDPE, or named by a header: a first line whose second column is no number, perhaps after a ``#``.

    Args:
        path: the file.
        genome: what the elements must fit into; other names of its chromosomes (``II`` for ``chrII``) will do.
        settings: which column holds the labels, what they are, and of which chromosomes elements are taken.

    Raises:
        InputError: with the file and the line: not a table of elements, an unknown chromosome, an element that does not
            lie on its chromosome, anchors on two chromosomes, the same element twice, a label that is no number (or,
            without a threshold, neither 0 nor 1), only one class, labels that are all the same.
    """
    settings.require_consistent()
    for name in settings.chroms or ():
        if name not in genome:
            raise InputError(f"--chroms {name}: not in the genome, which has {shorten_names(genome.names, 12)}")
    layout, rows = element_table.read(
        path, Naming(genome, takes_aliases=False), settings.layout, settings.label_column, settings.chroms
    )
    elements = Elements(
        genome=genome,
        name=rows.name,
        chromosome=rows.chromosome,
        start=rows.start,
        end=rows.end,
        reverse=rows.reverse,
        label=labels.numbers(path, rows.line, rows.label, layout.label_name),
        line=rows.line,
    )
    _refuse_twice(path, elements)
    label = labels.of_task(path, elements.line, elements.label, layout.label_name, settings)
    return dataclasses.replace(elements, label=label)


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
