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

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from kerasgen.objectives import metrics
from kerasgen.track_models.binned import Pair

REGIONS = ("prom", "gene", "enh")
MEASURES = ("mse_global", "mse_1obs", "mse_1imp", *(f"mse_{name}" for name in REGIONS), "pearson", "spearman")
BASELINES = ("mean of others", "scaled mean", "constant")
_TOP = 0.01

Read = Callable[[Pair], np.ndarray]
"""Gives the values of a track, ``(bins,) float32``."""


def score(
    observed: np.ndarray, imputed: np.ndarray, regions: Mapping[str, np.ndarray] | None = None
) -> dict[str, float]:
    """Score one imputed track.

    Args:
        observed, imputed: ``(bins,)`` values, NaN where there is none.
        regions: ``prom``, ``gene`` and ``enh``, those there are, as
            :func:`kerasgen.track_models.annotation.annotated_bins` gives them.

    Returns:
        Measure to value, in the order of :data:`MEASURES`, without those whose regions are not given; NaN where a
        measure is not defined: no bin, or a constant where a correlation is asked for.

    Raises:
        ValueError: arrays of different lengths.
    """
    if observed.shape != imputed.shape:
        raise ValueError(f"{observed.shape} observed and {imputed.shape} imputed bins; expected as many")
    known = np.isfinite(observed) & np.isfinite(imputed)
    measured, made = observed[known].astype(np.float64), imputed[known].astype(np.float64)
    squares = (measured - made) ** 2
    scores = {
        "mse_global": _mean(squares),
        "mse_1obs": _mean(squares[_top(measured)]),
        "mse_1imp": _mean(squares[_top(made)]),
    }
    for name in REGIONS:
        if regions and name in regions:
            weights = regions[name][known]
            scores[f"mse_{name}"] = float(squares @ weights / weights.sum()) if weights.any() else float("nan")
    correlated = len(measured) > 1
    scores["pearson"] = float(metrics.pearson(measured, made)) if correlated else float("nan")
    scores["spearman"] = metrics.spearman(measured, made) if correlated else float("nan")
    return scores


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _top(values: np.ndarray) -> np.ndarray:
    """Whether each value is among the highest hundredth, at least one; ties with the lowest of these are too."""
    if not len(values):
        return np.zeros(0, bool)
    lowest = len(values) - max(1, int(len(values) * _TOP))
    return values >= np.partition(values, lowest)[lowest]


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
    values_of = {"mean of others": average}
    products = norms = 0.0
    for own in others:
        if own[0] != celltype:
            continue
        mean = _mean_of_others(own, others, read)
        if mean is None:
            continue
        values = read(own).astype(np.float64)
        known = np.isfinite(values) & np.isfinite(mean)
        products += float(values[known] @ mean[known])
        norms += float(mean[known].astype(np.float64) @ mean[known])
    if norms > 0:
        values_of["scaled mean"] = (average * np.float32(products / norms)).astype(np.float32)
    whole = float(np.nanmean(average, dtype=np.float64)) if np.isfinite(average).any() else float("nan")
    values_of["constant"] = np.full_like(average, whole)
    return values_of


def _mean_of_others(pair: Pair, others: Iterable[Pair], read: Read) -> np.ndarray | None:
    total: np.ndarray | None = None
    for other in others:
        if other[1] != pair[1] or other[0] == pair[0]:
            continue
        values = read(other)
        known = np.isfinite(values)
        if total is None:
            total, count = np.zeros(len(values)), np.zeros(len(values), np.int32)
        total[known] += values[known]
        count += known
    if total is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / count).astype(np.float32)
