"""How well contribution scores find the sequence that is known to matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError, KerasgenError
from db_ingest.layout.genome import Genome, shorten_names
from kerasgen.database import Database
from kerasgen.interpretation.files import Explained

_LONGEST = 2**31 - 1
"""bp that a chromosome may have."""


class Site(NamedTuple):
    """A stretch known to matter."""

    start: int
    end: int
    name: str


def read_sites(path: str | Path, chromosomes: Sequence[str], genome: Sequence[str] = ()) -> dict[str, list[Site]]:
    """Sites of a BED file by chromosome; column 4 is the name.

    Args:
        path: the file; its chromosomes may be named as UCSC, Ensembl or GenBank name them.
        chromosomes: names of those that were explained; sites elsewhere are left out.
        genome: names of all chromosomes, which decide what a name in the file means, as ``10`` where there is a
            ``chrX``; those of ``chromosomes`` need not be among them.

    Raises:
        InputError: with the file and the line, for anything that is no interval; no site is on these chromosomes.
    """
    from db_ingest.formats import bed

    names = tuple(dict.fromkeys(map(str, (*genome, *chromosomes))))
    # How long the chromosomes are, the explained regions do not say.
    table = bed.read(path, Genome(names, (_LONGEST,) * len(names)), summit="none", empty="allow")
    explained = set(map(str, chromosomes))
    sites: dict[str, list[Site]] = {}
    for place, start, end, name in zip(table.chromosome, table.start, table.end, table.name, strict=True):
        if names[place] in explained:
            site = Site(int(start), int(end), "" if name == "." else str(name))
            sites.setdefault(names[place], []).append(site)
    if len(table) and not sites:
        raise InputError(f"{path}: no site on the explained chromosomes, {shorten_names(sorted(explained))}")
    return sites


def genome_of(found: Explained, more: Iterable[str] = ()) -> tuple[str, ...]:
    """Names of the chromosomes of the genome that was explained.

    Args:
        found: the contribution scores, whose database tells if it is still there.
        more: chromosomes that are known without it.
    """
    explained = dict.fromkeys(map(str, found.chromosome))
    try:
        with Database(found.database) as database:
            names = database.genome.names
    except (KerasgenError, OSError):
        names = ()
    return names if set(explained) <= set(names) else tuple(dict.fromkeys((*explained, *more)))


def known_bases(found: Explained, sites: dict[str, list[Site]]) -> np.ndarray:
    """Which bases of each window lie in a site, in the direction the window was read; ``(n, length) bool``."""
    length = found.sequence.shape[1]
    flags = np.zeros((len(found.start), length), bool)
    for i, (name, start) in enumerate(zip(found.chromosome, found.start, strict=True)):
        for site in sites.get(name, []):
            low, high = max(site.start - start, 0), min(site.end - start, length)
            if high > low:
                flags[i, low:high] = True
    flags[found.reverse] = flags[found.reverse][:, ::-1]
    return flags


def auroc(found: Explained, sites: dict[str, list[Site]]) -> dict[str, float]:
    """Area under the ROC curve of ``|score|`` for telling bases in known sites from all others, by head."""
    from sklearn.metrics import roc_auc_score

    known = known_bases(found, sites).reshape(-1)
    if known.all() or not known.any():
        raise InputError("no known site lies in the explained regions")
    return {head: float(roc_auc_score(known, np.abs(scores).reshape(-1))) for head, scores in found.observed.items()}
