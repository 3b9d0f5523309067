"""From the flags about regions and folds to the plans of training, validation and prediction."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from db_ingest import intervals
from db_ingest.errors import InputError
from kerasgen import folds, regions
from kerasgen.database import Database
from kerasgen.folds import Split
from kerasgen.regions import Bases, Loci, Plan
from kerasgen.spec import DataSpec

log = logging.getLogger("kerasgen")


class _Excluded(NamedTuple):
    """Where no centre may lie, on the position axis.

    Args:
        centres: ambiguous bases, and all from where an output window would touch the blacklist.
        background: for background, also all from where it would touch an ambiguous base.
    """

    centres: intervals.Spans
    background: intervals.Spans


def plan_training(database: Database, spec: DataSpec, flags: Mapping[str, Any]) -> tuple[Split, Plan, Plan]:
    """The split by chromosome, and the plans of training and validation.

    Args:
        database: holds the genome, peaks and ambiguous regions.
        spec: its widest output is what the blacklist must not touch.
        flags: those of ``gen_train``, by name.

    Raises:
        InputError: wrong flags, or a part without regions.
    """
    split = folds.split(
        database.genome,
        genome=flags["genome"],
        fold=flags["fold"],
        train_chroms=flags["train_chroms"],
        validation_chroms=flags["validation_chroms"],
        test_chroms=flags["test_chroms"],
    )
    if flags["revcomp"] and flags["bed_regions_stranded"]:
        raise InputError("--revcomp turns windows at random, --bed_regions_stranded by their strand; give one")
    training = _plan(database, spec, flags, split.train, "train", seed=flags["seed"], revcomp=flags["revcomp"])
    # Another seed, or validation would jitter with the draws of the first epoch.
    validation = _plan(database, spec, flags, split.validation, "eval", seed=flags["seed"] + 1, fixed=True)
    return split, training, validation


def plan_prediction(database: Database, spec: DataSpec, flags: Mapping[str, Any], chromosomes: Sequence[str]) -> Plan:
    """Every region of some chromosomes once, in order; peaks of the database at their middle."""
    excluded = _excluded(database, spec, flags, chromosomes)
    positives = _positives(database, spec, flags, chromosomes, excluded)
    if isinstance(positives, Bases):
        positives = _middles(positives)
    return Plan(positives, seed=flags["seed"], fixed=True)


def _plan(
    database: Database,
    spec: DataSpec,
    flags: Mapping[str, Any],
    chromosomes: Sequence[str],
    part: str,
    *,
    seed: int,
    revcomp: bool = False,
    fixed: bool = False,
) -> Plan:
    ratio = _ratio(f"upsample_ratio_list_{part}", flags)
    count = flags["num_train" if part == "train" else "num_valid"]
    if count is not None and count < 1:
        raise InputError(f"--{'num_train' if part == 'train' else 'num_valid'} {count}: expected 1 or more")
    excluded = _excluded(database, spec, flags, chromosomes)
    positives = _positives(database, spec, flags, chromosomes, excluded)
    background = _background(database, spec, chromosomes, positives, excluded) if ratio < 1 else None
    return Plan(
        positives=positives,
        background=background,
        positive_share=ratio,
        count=count,
        revcomp=revcomp,
        oriented=flags["bed_regions_stranded"],
        seed=seed,
        fixed=fixed,
    )


def _ratio(name: str, flags: Mapping[str, Any]) -> float:
    values = flags[name]
    if len(values) != 1 or not 0 < values[0] <= 1:
        raise InputError(f"--{name} {' '.join(map(str, values))}: expected one share above 0, at most 1")
    return float(values[0])


def _positives(
    database: Database, spec: DataSpec, flags: Mapping[str, Any], chromosomes: Sequence[str], excluded: _Excluded
) -> Loci | Bases:
    bed, attribute = flags["bed_regions"], flags["tdb_partition_attribute_for_upsample"]
    if (bed is None) == (attribute is None):
        raise InputError("give one of --bed_regions and --tdb_partition_attribute_for_upsample")
    center = flags["bed_regions_center"]
    if flags["bed_regions_jitter"] != 1 and center != "random":
        raise InputError(
            "--bed_regions_jitter is the number of centres drawn a region with --bed_regions_center random; "
            "--jitter moves centres by up to so many bp"
        )
    if flags["bed_regions_jitter"] < 1 or flags["jitter"] < 0:
        raise InputError("--bed_regions_jitter: expected 1 or more; --jitter: 0 or more")
    if bed is not None:
        loci = regions.from_bed(
            bed,
            database.genome,
            chromosomes,
            center=center,
            draws=flags["bed_regions_jitter"],
            jitter=flags["jitter"],
            stranded=flags["bed_regions_stranded"],
        )
        offset = database.genome.offsets[loci.chromosome]
        bad = intervals.overlaps(excluded.centres, offset + loci.low, offset + loci.high + 1)
        if bad.any():
            log.info("%s of %s regions left out: blacklisted or ambiguous", f"{bad.sum():,}", f"{len(bad):,}")
        loci = loci.keep(~bad)
        if len(loci) == 0:
            raise InputError(f"{bed}: no region is left on {', '.join(chromosomes[:8])}")
        return loci
    if flags["bed_regions_stranded"] or flags["jitter"]:
        raise InputError("--bed_regions_stranded and --jitter go with --bed_regions")
    datasets = flags["tdb_partition_datasets_for_upsample"] or _datasets_with(database, spec, attribute)
    threshold = flags["tdb_partition_thresh_for_upsample"]
    spans = regions.partition(database, attribute, datasets, threshold, chromosomes)
    around = spans
    if threshold > 1 and database.track(attribute, datasets[0]).kind == "mask":
        around = regions.partition(database, attribute, datasets, 1, chromosomes)
    spans = intervals.subtract(spans, excluded.centres)
    if len(spans[0]) == 0:
        raise InputError(
            f"--tdb_partition_attribute_for_upsample {attribute}: nowhere at least "
            f"{flags['tdb_partition_thresh_for_upsample']:g} on {', '.join(chromosomes[:8])}"
        )
    return Bases(database.genome, spans, around=around)


def _middles(bases: Bases) -> Loci:
    middle = (bases.spans[0] + bases.spans[1]) // 2
    place = np.searchsorted(bases.genome.offsets, middle, side="right") - 1
    centre = middle - bases.genome.offsets[place]
    nothing = np.zeros(len(centre), np.int64)
    return Loci(bases.genome, place, centre, centre, nothing.astype(bool), nothing, bases.regions)


def _background(
    database: Database, spec: DataSpec, chromosomes: Sequence[str], positives: Loci | Bases, excluded: _Excluded
) -> Bases:
    """Bases whose output window touches no region and no ambiguous or blacklisted base, within its chromosome."""
    genome, flank = database.genome, spec.widest_output
    start, end = regions.chromosome_spans(genome, chromosomes)
    inner = start + flank, end - flank
    roomy = inner[1] > inner[0]
    spans = inner[0][roomy], inner[1][roomy]
    spans = intervals.subtract(spans, regions.touching(genome, positives.regions, flank))
    spans = intervals.subtract(spans, excluded.background)
    if len(spans[0]) == 0:
        raise InputError(
            f"no background is left on {', '.join(chromosomes[:8])}: regions, blacklist and ambiguous bases cover all"
        )
    return Bases(genome, spans, background=True)


def _excluded(database: Database, spec: DataSpec, flags: Mapping[str, Any], chromosomes: Sequence[str]) -> _Excluded:
    from db_ingest.formats import bed

    genome, flank = database.genome, spec.widest_output
    nowhere: intervals.Spans = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    blacklisted = ambiguous = nowhere
    if flags["blacklist"] is not None:
        blacklisted = regions.touching(genome, bed.read(flags["blacklist"], genome, summit="none").spans(genome), flank)
    attribute = flags["tdb_ambig_attribute"]
    if attribute is not None:
        ambiguous = regions.partition(database, attribute, _datasets_with(database, spec, attribute), 1, chromosomes)
    return _Excluded(
        centres=intervals.union(blacklisted, ambiguous),
        background=intervals.union(blacklisted, regions.touching(genome, ambiguous, flank)),
    )


def _datasets_with(database: Database, spec: DataSpec, attribute: str) -> list[str]:
    """The outputs' datasets that have the attribute, else all that have it."""
    having = [track.dataset for track in database.tracks if track.attribute == attribute]
    if not having:
        database.track(attribute)
    used = {dataset for channels in spec.outputs for dataset in channels.datasets}
    chosen = [dataset for dataset in having if dataset in used]
    if not chosen:
        log.info("%s is taken of %s: no dataset of the outputs has it", attribute, ", ".join(having))
    return chosen or having
