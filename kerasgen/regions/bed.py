"""Regions of a BED or narrowPeak file."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from db_ingest import intervals
from db_ingest.errors import InputError
from db_ingest.layout.genome import Genome
from db_ingest.settings import require_choice
from kerasgen.regions.windows import Loci
from kerasgen.settings import CENTRES

log = logging.getLogger("kerasgen")


def from_bed(
    path: str,
    genome: Genome,
    chromosomes: Sequence[str],
    *,
    center: str = "summit",
    draws: int = 1,
    jitter: int = 0,
    stranded: bool = False,
) -> Loci:
    """Regions of a BED or narrowPeak file on some chromosomes.

    Args:
        path: the file, plain or gzipped.
        genome: what intervals must fit into.
        chromosomes: those to take.
        center: ``summit`` (of narrowPeak; the centre where none was called), ``center``, ``edges`` (two regions, one at
            each end) or ``random`` (anywhere in the region, anew each epoch).
        draws: with ``random``, how many centres a region gets.
        jitter: a centre moves up to this many bp either way, anew each epoch.
        stranded: regions on the minus strand are read as the reverse complement.

    Raises:
        InputError: a broken file, or no region on the chromosomes.
    """
    from db_ingest.formats import bed

    require_choice("bed_regions_center", center, CENTRES)
    table = bed.read(path, genome)
    wanted = np.isin(table.chromosome, [genome.index(name) for name in chromosomes])
    if not wanted.any():
        raise InputError(f"{path}: no region on {', '.join(chromosomes[:8])}")
    if stranded and not np.isin(table.strand[wanted], ("+", "-")).all():
        raise InputError(f"{path}: --bed_regions_stranded needs + or - in column 6 of every region")
    chromosome, start, end = table.chromosome[wanted], table.start[wanted], table.end[wanted]
    copy = np.zeros(len(start), np.int64)
    offset = genome.offsets[chromosome]
    spans = intervals.merge(offset + start, offset + end)
    reverse = (table.strand[wanted] == "-") & stranded
    if center == "random":
        low, high = np.repeat(start, draws), np.repeat(end - 1, draws)
        chromosome, reverse = np.repeat(chromosome, draws), np.repeat(reverse, draws)
        copy = np.tile(np.arange(draws), len(start))
    elif center == "edges":
        low = high = np.column_stack([start, end - 1]).reshape(-1)
        chromosome, reverse, copy = np.repeat(chromosome, 2), np.repeat(reverse, 2), np.repeat(copy, 2)
    else:
        if center == "summit":
            low = high = table.summit_or_centre[wanted]
            absent = int((table.summit[wanted] < 0).sum())
            if absent:
                log.info("%s: %s regions without a summit; their centre is used", path, f"{absent:,}")
        else:
            low = high = (start + end) // 2
    last = genome.size_array()[chromosome] - 1
    low, high = np.clip(low - jitter, 0, last), np.clip(high + jitter, 0, last)
    return Loci(genome, chromosome, low, high, reverse, copy, spans)
