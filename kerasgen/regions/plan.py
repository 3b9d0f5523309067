"""From the settings of regions and folds to the plans of training, validation and prediction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from db_ingest import intervals
from db_ingest.errors import InputError
from db_ingest.layout.genome import TILE, Genome
from kerasgen.database import Database
from kerasgen.regions import bed as bed_regions
from kerasgen.regions import folds
from kerasgen.regions import windows as regions
from kerasgen.regions.folds import Split
from kerasgen.regions.threshold import partition
from kerasgen.regions.windows import Bases, Loci, Peaks, WindowPlan, WindowSource
from kerasgen.settings import Background, Regions, Samples
from kerasgen.spec import DataSpec

if TYPE_CHECKING:
    from kerasgen.regions.composition import Composition

log = logging.getLogger("kerasgen")

Positives = Loci | Peaks | Bases
Reasons = dict[str, intervals.Spans]
"""Stretches of the position axis where no centre may lie, by what is the matter with a centre there."""
_NOWHERE: intervals.Spans = (np.zeros(0, np.int64), np.zeros(0, np.int64))


class _PlanInput(NamedTuple):
    """What the plan of training, validation or prediction is made from.

    Args:
        database: holds genome and tracks.
        spec: of the model.
        regions: where windows are centred.
        chromosomes: of the part.
        name: what messages call it.
    """

    database: Database
    spec: DataSpec
    regions: Regions
    chromosomes: Sequence[str]
    name: str

    @property
    def genome(self) -> Genome:
        """The database's."""
        return self.database.genome

    @property
    def where(self) -> str:
        """The chromosomes, for messages."""
        return ", ".join(self.chromosomes[:8])

    @property
    def input_flank(self) -> int:
        """Half the window whose bases are counted: that of the sequence, or of the widest input."""
        return max((c.flank for c in self.spec.inputs if c.is_sequence), default=self.spec.widest_input)


class _Excluded(NamedTuple):
    """Where no centre of a region may lie, and none of background."""

    regions: Reasons
    background: Reasons


def plan_training(database: Database, spec: DataSpec, samples: Samples) -> tuple[Split, WindowPlan, WindowPlan]:
    """The split by chromosome, and the plans of training and validation; what they are made of is logged.

    Args:
        database: holds the genome, peaks and ambiguous regions.
        spec: its widest output is what the blacklist must not touch.
        samples: which windows are drawn.

    Raises:
        InputError: wrong settings, or a part without regions or background.
    """
    samples.require_consistent()
    if samples.negatives.background == "gc_matched" and not database.has_sequence:
        raise InputError(
            f"--background gc_matched: {database.uri} holds no sequence; ingest one with gen_ingest --ref_fasta"
        )
    split = folds.split(database.genome, samples.folds)
    sampling = samples.sampling
    training = _plan(
        _PlanInput(database, spec, samples.regions, split.train, "training"),
        samples,
        share=sampling.share("train"),
        count=sampling.num_train,
        seed=samples.seed,
        revcomp=sampling.revcomp,
    )
    # Another seed, or validation would jitter with the draws of the first epoch.
    validation = _plan(
        _PlanInput(database, spec, samples.regions, split.validation, "validation"),
        samples,
        share=sampling.share("eval"),
        count=sampling.num_valid,
        seed=samples.seed + 1,
        fixed=True,
    )
    return split, training, validation


def plan_prediction(
    database: Database, spec: DataSpec, given: Regions, chromosomes: Sequence[str], *, seed: int
) -> WindowPlan:
    """Every region of some chromosomes once, in order; peaks of the database at their middle.

    Args:
        database: holds the genome, peaks and ambiguous regions.
        spec: of the model.
        given: where windows are centred.
        chromosomes: those to predict on.
        seed: of jitter and random centres.

    Raises:
        InputError: wrong settings, or no region.
    """
    given.require_consistent()
    part = _PlanInput(database, spec, given, chromosomes, "prediction")
    if given.bed_regions is None and given.jitter:
        raise InputError("--jitter goes with --bed_regions; peaks of the database are predicted at their middle")
    stretches = _stretches(part) if given.bed_regions is None else _from_bed(part, given.bed_regions)
    excluded = _excluded(part)
    found = _restrict(part, stretches, excluded.regions, by_base=True)
    if _left_out(stretches, excluded.regions):
        log.info("regions: %s", _told(stretches, found, excluded))
    return WindowPlan(_middles(found) if isinstance(found, Bases) else found, seed=seed, fixed=True)


def _plan(
    part: _PlanInput,
    samples: Samples,
    *,
    share: float,
    count: int | None,
    seed: int,
    revcomp: bool = False,
    fixed: bool = False,
) -> WindowPlan:
    by_base, bed = samples.by_base, part.regions.bed_regions
    given = _stretches(part) if bed is None or by_base else _from_bed(part, bed)
    excluded = _excluded(part)
    usable = _restrict(part, given, excluded.regions, by_base, part.regions.jitter)
    composition, unknown = _composition(part, samples, usable, has_background=share < 1, seed=seed)
    excluded = _Excluded(*({**reasons, **unknown} for reasons in excluded))
    positives = _restrict(part, given, excluded.regions, by_base, part.regions.jitter) if unknown else usable
    background, what = None, ""
    if share < 1:
        background, what = _background(part, samples.negatives, given.regions, excluded.background, composition)
    plan = WindowPlan(
        positives=positives,
        background=background,
        positive_share=share,
        count=count,
        revcomp=revcomp,
        oriented=part.regions.bed_regions_stranded,
        seed=seed,
        fixed=fixed,
    )
    log.info("%s regions: %s samples per epoch, %s", part.name, f"{plan.sizes[0]:,}", _told(given, positives, excluded))
    if background is not None:
        log.info("%s background: %s samples per epoch, %s", part.name, f"{plan.sizes[1]:,}", what)
    return plan


def _from_bed(part: _PlanInput, path: str) -> Loci:
    given = part.regions
    return bed_regions.from_bed(
        path,
        part.genome,
        part.chromosomes,
        center=given.bed_regions_center,
        draws=given.bed_regions_jitter,
        jitter=given.jitter,
        stranded=given.bed_regions_stranded,
    )


def _stretches(part: _PlanInput) -> Bases:
    """The bases of the regions: where the attribute reaches its threshold, or inside a region of the BED file."""
    database, given = part.database, part.regions
    if given.bed_regions is not None:
        inside = bed_regions.from_bed(given.bed_regions, part.genome, part.chromosomes, center="random").regions
        return Bases(part.genome, inside)
    attribute, threshold = given.tdb_partition_attribute_for_upsample, given.tdb_partition_thresh_for_upsample
    assert attribute is not None
    datasets = given.tdb_partition_datasets_for_upsample or _datasets_with(part, attribute)
    spans = partition(database, attribute, datasets, threshold, part.chromosomes)
    if len(spans[0]) == 0:
        raise InputError(
            f"--tdb_partition_attribute_for_upsample {attribute}: nowhere at least {threshold:g} on {part.where}"
        )
    around = spans
    if threshold > 1 and database.track(attribute, datasets[0]).kind == "mask":
        around = partition(database, attribute, datasets, 1, part.chromosomes)
    return Bases(part.genome, spans, around)


def _restrict(part: _PlanInput, given: Loci | Bases, reasons: Reasons, by_base: bool, jitter: int = 0) -> Positives:
    """What is left of regions; a region of a BED file is left out whole, so that its draws stay as they are."""
    excluded = _union(reasons)
    found: Positives
    if isinstance(given, Loci):
        found = given.keep(~given.touches(excluded))
    elif by_base:
        found = Bases(given.genome, intervals.subtract(given.spans, excluded), given.regions)
    else:
        found = Peaks.within(
            given.genome, regions.lengthened(given.genome, given.spans, jitter), excluded, given.regions
        )
    if len(found) == 0:
        raise InputError(f"{part.regions.source}: no region is left on {part.where}{_left_out(given, reasons)}")
    return found


def _middles(bases: Bases) -> Loci:
    """The middle of each stretch."""
    middle = regions.at_positions(bases.genome, (bases.spans[0] + bases.spans[1]) // 2)
    nothing = np.zeros(len(bases), np.int64)
    return Loci(bases.genome, middle.chromosome, middle.centre, middle.centre, middle.reverse, nothing, bases.regions)


def _excluded(part: _PlanInput) -> _Excluded:
    from db_ingest.formats import bed

    genome, flank = part.genome, part.spec.widest_output
    whole = regions.chromosome_spans(genome, part.chromosomes)
    ends = intervals.subtract(whole, _solid(whole[0] + flank, whole[1] - flank))
    found = _Excluded({}, {"at the end of a chromosome": ends})
    if part.regions.blacklist is not None:
        listed = bed.read(part.regions.blacklist, genome, summit="none").spans(genome)
        found.regions["blacklisted"] = found.background["blacklisted"] = regions.touching(genome, listed, flank)
    attribute = part.regions.tdb_ambig_attribute
    if attribute is not None:
        marked = partition(part.database, attribute, _datasets_with(part, attribute), 1, part.chromosomes)
        near = regions.touching(genome, marked, flank)
        found.regions["ambiguous"] = near if part.regions.ambiguous == "window" else marked
        found.background["ambiguous"] = near
    return found


def _composition(
    part: _PlanInput, samples: Samples, usable: Positives, *, has_background: bool, seed: int
) -> tuple[Composition | None, Reasons]:
    """Count the bases of input windows, and find the centres that have too many N around them."""
    from kerasgen.regions.composition import crowded, scan

    genome, most = part.genome, samples.sampling.max_n_fraction
    is_matched = has_background and samples.negatives.background == "gc_matched"
    if not part.database.has_sequence or not (is_matched or most < 1):
        return None, {}
    flank = part.input_flank
    if has_background:
        stretches = regions.chromosome_spans(genome, part.chromosomes)
    else:
        # Tiles are read whole, so nearby windows are one stretch.
        stretches = regions.widen(genome, usable.cover(flank), TILE // 2)
    typical = usable.typical((seed,))
    centres = genome.offsets[typical.chromosome] + typical.centre
    found = scan(part.database, stretches, flank, centres=centres if is_matched else None, levels=is_matched)
    places = np.array(sorted(genome.index(name) for name in part.chromosomes))
    many = crowded(genome, places, found.unknown, flank, most)
    if is_matched:
        found = found._replace(gc=found.gc[~intervals.contains(many, centres)])
    return found, {f"with more than {100 * most:g}% N": many}


def _background(
    part: _PlanInput, given: Background, around: intervals.Spans, reasons: Reasons, composition: Composition | None
) -> tuple[WindowSource, str]:
    """What the rest of the samples is drawn from, and that in words."""
    genome = part.genome
    reasons = {"touching a region": regions.touching(genome, around, part.spec.widest_output), **reasons}
    excluded = _union(reasons)
    if given.background_bed is not None:
        path = given.background_bed
        listed = bed_regions.from_bed(path, genome, part.chromosomes)
        kept = listed.keep(~listed.touches(excluded))
        if len(kept) == 0:
            raise InputError(f"--background_bed {path}: none is left on {part.where}{_left_out(listed, reasons)}")
        return kept, f"from {len(kept):,} of {len(listed):,} regions of {path}{_left_out(listed, reasons)}"
    whole = regions.chromosome_spans(genome, part.chromosomes)
    allowed = intervals.subtract(whole, excluded)
    if len(allowed[0]) == 0:
        raise InputError(f"no background is left on {part.where}{_left_out(Bases(genome, whole), reasons)}")
    if given.background == "random":
        return Bases(genome, allowed), f"random among {_bases(allowed):,} bases"
    assert composition is not None
    return _matched(part, given.gc_tolerance, allowed, composition)


def _matched(
    part: _PlanInput, tolerance: float, allowed: intervals.Spans, composition: Composition
) -> tuple[WindowSource, str]:
    from kerasgen.regions.gc_matched import gc_matched

    background, found = gc_matched(part.genome, allowed, composition.levels, composition.gc, tolerance)
    if len(background) == 0:
        raise InputError(
            f"--gc_tolerance {tolerance:g}: no region on {part.where} has background so close to its GC content; "
            "expected a larger tolerance, or --background random"
        )
    regions_gc, background_gc = background.mean_gc()
    lacking = int((~found).sum())
    return background, (
        f"matched in GC content within {tolerance:g} from {background.candidates:,} candidates "
        f"(mean GC {background_gc:.3f}, of regions {regions_gc:.3f})"
        + (f"; {lacking:,} of {len(found):,} regions have none so close and are not matched" if lacking else "")
    )


def _told(given: Loci | Bases, found: Positives, excluded: _Excluded) -> str:
    """How many regions are left of those given, and why."""
    if isinstance(given, Loci):
        what = f"from {len(found):,} of {len(given):,} regions"
    elif isinstance(found, Peaks):
        what = f"from {len(found):,} of {len(given):,} peaks"
    else:
        what = f"from {_bases(found.cover(0)):,} of {_bases(given.spans):,} bases in {len(given):,} stretches"
    return what + _left_out(given, excluded.regions)


def _left_out(given: Loci | Bases, reasons: Reasons) -> str:
    """How many regions, or bases of them, each reason takes that none before it has taken."""
    found, before = [], _NOWHERE
    for reason, spans in reasons.items():
        together = intervals.union(before, spans)
        if isinstance(given, Loci):
            many = int((given.touches(together) & ~given.touches(before)).sum())
        else:
            many = _bases(intervals.subtract(given.spans, before)) - _bases(intervals.subtract(given.spans, together))
        if many:
            found.append(f"{many:,} {'' if isinstance(given, Loci) else 'bases '}{reason}")
        before = together
    return f"; left out: {', '.join(found)}" if found else ""


def _union(reasons: Reasons) -> intervals.Spans:
    return reduce(intervals.union, reasons.values(), _NOWHERE)


def _bases(spans: intervals.Spans) -> int:
    return int((spans[1] - spans[0]).sum())


def _solid(starts: np.ndarray, ends: np.ndarray) -> intervals.Spans:
    keep = ends > starts
    return starts[keep], ends[keep]


def _datasets_with(part: _PlanInput, attribute: str) -> list[str]:
    """The outputs' datasets that have the attribute, else all that have it."""
    database = part.database
    having = [track.dataset for track in database.tracks if track.attribute == attribute]
    if not having:
        database.track(attribute)
    used = {dataset for channels in part.spec.outputs for dataset in channels.datasets}
    chosen = [dataset for dataset in having if dataset in used]
    if not chosen:
        log.info("%s is taken of %s: no dataset of the outputs has it", attribute, ", ".join(having))
    return chosen or having
