"""Genome sequence from a FASTA or a 2bit file, in the names of the database's genome."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np

from db_ingest.errors import InputError
from db_ingest.formats import fasta, twobit
from db_ingest.inputs.files import require_file
from db_ingest.inputs.naming import Naming
from db_ingest.layout.genome import Genome, shorten_names

_WHAT = "a FASTA or 2bit file"


def genome_of(path: str | Path) -> Genome:
    """Names and sizes of a file's sequences; a FASTA file is read through unless it has a newer ``.fai``."""
    return _reader(path).genome(path)


def check_sequence(path: str | Path, naming: Naming) -> None:
    """Raise :class:`InputError` unless the file holds every chromosome of the genome at its size."""
    found = genome_of(path)
    _refuse_absent(path, naming.match(path, found.size_by_name), naming.genome)


def chromosomes(path: str | Path, naming: Naming) -> Iterator[tuple[str, np.ndarray]]:
    """Yield ``(chromosome, codes)`` of the genome in the order of the file, one in memory at a time.

    Args:
        path: a FASTA file, plain or gzipped, or a 2bit file, told apart by what they hold.
        naming: names of the chromosomes of the database's genome; other sequences of the file are skipped.

    Yields:
        The genome's name and ``(size,) uint8``: A C G T = 0 1 2 3 in either case, anything else 4.

    Raises:
        InputError: a damaged file, or one without exactly one sequence of each chromosome and of its size.
    """
    genome, seen = naming.genome, set[str]()
    for name, codes in _reader(path).read(path, lambda name: naming.find(name) is not None):
        chromosome = cast(str, naming.find(name))
        if chromosome in seen:
            raise InputError(f"{path}: sequence {name!r} is there twice")
        if len(codes) != genome.size(chromosome):
            raise InputError(f"{path}: chromosome {name} has {len(codes):,} bp; expected {genome.size(chromosome):,}")
        seen.add(chromosome)
        yield chromosome, codes
    _refuse_absent(path, seen, genome)


def _reader(path: str | Path) -> ModuleType:
    return twobit if twobit.is_twobit(require_file(path, _WHAT)) else fasta


def _refuse_absent(path: str | Path, there: Container[str], genome: Genome) -> None:
    absent = [name for name in genome.names if name not in there]
    if absent:
        raise InputError(f"{path}: lacks {shorten_names(absent)}, which the chrom sizes or its index name")
