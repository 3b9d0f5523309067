"""Scores of imputed tracks, and the baselines that an imputation has to beat.

The measures are those of the ENCODE Imputation Challenge (Schreiber et al. 2023, Genome Biology 24:79), the first six
of which Durham et al. 2018 (Nature Communications 9:1402) defined, all on values in bins and, there as here, after
arcsinh. A bin in which the observation or the imputation is NaN is left out.

===========  ==========================================================================================
mse_global   mean squared error over all bins
mse_1obs     over the hundredth of the bins in which the observed values are highest (ties included)
mse_1imp     over the hundredth of the bins in which the imputed values are highest
mse_prom     over promoters: the 2,000 bp before the bin in which a gene begins, on its strand
mse_gene     over gene bodies, from the bin of the first base to that of the last
mse_enh      over enhancers, likewise
pearson      correlation over all bins
spearman     rank correlation over all bins
===========  ==========================================================================================

In promoters, genes and enhancers a bin counts as often as it is annotated, as in the challenge.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError, MissingFileError
from kerasgen.objectives import metrics
from kerasgen.track_models.binned import Pair, Stretch

REGIONS = ("prom", "gene", "enh")
MEASURES = ("mse_global", "mse_1obs", "mse_1imp", *(f"mse_{name}" for name in REGIONS), "pearson", "spearman")
BASELINES = ("mean of others", "scaled mean", "constant")
_PROMOTER = 2000
_TOP = 0.01

Read = Callable[[Pair], np.ndarray]
"""Gives the values of a track, ``(bins,) float32``."""


class _Interval(NamedTuple):
    chromosome: str
    start: int
    end: int
    strand: str


def score(
    observed: np.ndarray, imputed: np.ndarray, regions: Mapping[str, np.ndarray] | None = None
) -> dict[str, float]:
    """Score one imputed track.

    Args:
        observed, imputed: ``(bins,)`` values, NaN where there is none.
        regions: ``prom``, ``gene`` and ``enh``, those there are, as :func:`annotated_bins` gives them.

    Returns:
        Measure to value, in the order of :data:`MEASURES`, without those whose regions are not given; NaN where a
        measure is not defined: no bin, or a constant where a correlation is asked for.

    Raises:
        ValueError: arrays of different lengths.
    """
    if observed.shape != imputed.shape:
        raise ValueError(f"{observed.shape} observed and {imputed.shape} imputed bins; expected as many")
    there = np.isfinite(observed) & np.isfinite(imputed)
    seen, made = observed[there].astype(np.float64), imputed[there].astype(np.float64)
    squares = (seen - made) ** 2
    scores = {
        "mse_global": _mean(squares),
        "mse_1obs": _mean(squares[_top(seen)]),
        "mse_1imp": _mean(squares[_top(made)]),
    }
    for name in REGIONS:
        if regions and name in regions:
            weights = regions[name][there]
            scores[f"mse_{name}"] = float(squares @ weights / weights.sum()) if weights.any() else float("nan")
    correlated = len(seen) > 1
    scores["pearson"] = float(metrics.pearson(seen, made)) if correlated else float("nan")
    scores["spearman"] = metrics.spearman(seen, made) if correlated else float("nan")
    return scores


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _top(values: np.ndarray) -> np.ndarray:
    """Whether each value is among the highest hundredth, at least one; ties with the lowest of these are too."""
    if not len(values):
        return np.zeros(0, bool)
    many = max(1, int(len(values) * _TOP))
    return values >= np.partition(values, len(values) - many)[len(values) - many]


def baselines(pair: Pair, others: Sequence[Pair], read: Read) -> dict[str, np.ndarray]:
    """What can be said of a track without a model.

    Args:
        pair: the track to impute.
        others: tracks that may be used; the pair itself is never read.
        read: gives each; one is held at a time, beside a few sums.

    Returns:
        Those of :data:`BASELINES` that there are tracks for, ``(bins,) float32`` each:

        - ``mean of others``: in each bin, the mean of the assay in the other cell types that have a value there.
        - ``scaled mean``: this times a factor of the cell type: the least-squares factor, through the origin, from the
          means of others of the assays that the cell type has to the cell type's own tracks of them, all bins of all
          these assays taken together. It says how strong the cell type's data are altogether.
        - ``constant``: one value, the mean of the assay in the other cell types over all bins.
    """
    celltype, _ = pair
    others = [other for other in others if other != pair]
    average = _mean_of_others(pair, others, read)
    if average is None:
        return {}
    found = {"mean of others": average}
    products = norms = 0.0
    for own in others:
        if own[0] != celltype:
            continue
        mean = _mean_of_others(own, others, read)
        if mean is None:
            continue
        values = read(own).astype(np.float64)
        there = np.isfinite(values) & np.isfinite(mean)
        products += float(values[there] @ mean[there])
        norms += float(mean[there].astype(np.float64) @ mean[there])
    if norms > 0:
        found["scaled mean"] = (average * np.float32(products / norms)).astype(np.float32)
    whole = float(np.nanmean(average, dtype=np.float64)) if np.isfinite(average).any() else float("nan")
    found["constant"] = np.full_like(average, whole)
    return found


def _mean_of_others(pair: Pair, others: Iterable[Pair], read: Read) -> np.ndarray | None:
    total: np.ndarray | None = None
    for other in others:
        if other[1] != pair[1] or other[0] == pair[0]:
            continue
        values = read(other)
        there = np.isfinite(values)
        if total is None:
            total, many = np.zeros(len(values)), np.zeros(len(values), np.int32)
        total[there] += values[there]
        many += there
    if total is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / many).astype(np.float32)


def annotated_bins(
    stretches: Sequence[Stretch], bin: int, *, genes: str | None = None, enhancers: str | None = None
) -> dict[str, np.ndarray]:
    """How often each bin lies in a promoter, a gene, an enhancer.

    Args:
        stretches: what the bins are.
        bin: bp a bin.
        genes: BED with strands (column 6), or GTF or GFF3 of which the features ``gene`` are taken; plain or gzipped.
        enhancers: BED.

    Returns:
        ``prom`` and ``gene`` where ``genes`` is given, ``enh`` where ``enhancers`` is: ``(bins,) float64`` each.

    Raises:
        MissingFileError: a file does not exist.
        InputError: with file and line, for a broken one; a gene without a strand; none of a file's intervals on any
            chromosome of the bins.
    """
    found: dict[str, np.ndarray] = {}
    width = max(stretch.end for stretch in stretches)
    for path, names in ((genes, ("prom", "gene")), (enhancers, ("enh",))):
        if path is None:
            continue
        intervals = list(_read(Path(path), stranded=path == genes))
        places = {stretch.chromosome: stretch for stretch in stretches}
        known = [interval for interval in intervals if interval.chromosome in places]
        if not known:
            raise InputError(
                f"{path}: no interval on {', '.join(list(places)[:6])}; it has "
                f"{', '.join(dict.fromkeys(interval.chromosome for interval in intervals[:1000]))[:80] or 'none'}"
            )
        for name in names:
            found[name] = _count(known, places, width, bin, promoters=name == "prom")
    return found


def _count(
    intervals: Iterable[_Interval], places: Mapping[str, Stretch], width: int, bin: int, *, promoters: bool
) -> np.ndarray:
    changes = np.zeros(width + 1)
    reach = _PROMOTER // bin
    for chromosome, start, end, strand in intervals:
        stretch = places[chromosome]
        first, last = start // bin, (end - 1) // bin + 1
        if promoters:
            first, last = (last, last + reach) if strand == "-" else (first - reach, first)
        origin = stretch.first - stretch.start // bin
        low = min(max(origin + first, stretch.first), stretch.end)
        high = min(max(origin + last, stretch.first), stretch.end)
        changes[low] += 1
        changes[high] -= 1
    return np.cumsum(changes[:-1])


def _read(path: Path, *, stranded: bool) -> Iterator[_Interval]:
    """Intervals of a BED, or the genes of a GTF or GFF3."""
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; expected {'BED, GTF or GFF3 of genes' if stranded else 'BED'}")
    is_gtf = re.search(r"\.(gtf|gff3?)(\.b?gz)?$", path.name, re.IGNORECASE) is not None
    with path.open("rb") as raw:
        is_packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rt") if is_packed else path.open() as lines:
        try:
            for number, line in enumerate(lines, 1):
                if not line.strip() or line.startswith(("#", "track", "browser")):
                    continue
                fields = line.rstrip("\n").split("\t")
                if is_gtf and len(fields) > 6 and fields[2] != "gene":
                    continue
                yield _interval(f"{path}:{number}", fields, is_gtf=is_gtf, stranded=stranded)
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read ({error}); expected text, plain or gzipped") from error


def _interval(place: str, fields: list[str], *, is_gtf: bool, stranded: bool) -> _Interval:
    start_at, end_at, strand_at = (3, 4, 6) if is_gtf else (1, 2, 5)
    try:
        # GTF counts from 1 and includes the end.
        start, end = int(fields[start_at]) - is_gtf, int(fields[end_at])
    except (IndexError, ValueError):
        what = "GTF or GFF3" if is_gtf else "BED"
        raise InputError(f"{place}: expected a line of {what}, tab separated, got {' '.join(fields)[:60]!r}") from None
    strand = fields[strand_at] if len(fields) > strand_at else "."
    if stranded and strand not in ("+", "-"):
        raise InputError(f"{place}: strand is {strand!r}; expected + or - in column {strand_at + 1} of a gene")
    if not 0 <= start < end:
        raise InputError(f"{place}: {start}-{end}: expected a start of 0 or more and an end beyond it")
    return _Interval(fields[0], start, end, strand)
