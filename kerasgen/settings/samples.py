"""Which windows a model is trained, validated and tried on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from db_ingest.errors import InputError
from db_ingest.settings import Setting, Settings
from kerasgen.settings.shared import Seed

GC_LEVELS = 200
"""GC contents of windows are told apart in so many levels."""
CENTRES = ("summit", "center", "random", "edges")
"""Where in a region a window may be centred."""

_BED, _PARTITION = "--bed_regions", "--tdb_partition_attribute_for_upsample"


@dataclass(frozen=True, kw_only=True)
class Regions(Settings):
    """Where windows are centred: on the regions of a BED file, or where tracks of the database reach a threshold."""

    bed_regions: Annotated[
        str | None,
        Setting("BED or narrowPeak file of the regions, plain or gzipped", group="regions", metavar="BED", path=True),
    ] = None
    bed_regions_center: Annotated[
        str,
        Setting(
            "where in a region of --bed_regions a window is centred; random: anywhere, anew each epoch",
            choices=CENTRES,
            group="regions",
        ),
    ] = "summit"
    bed_regions_jitter: Annotated[
        int,
        Setting(
            "number of centres drawn per region with --bed_regions_center random",
            unit="centres",
            group="regions",
            least=1,
        ),
    ] = 1
    bed_regions_stranded: Annotated[
        bool,
        Setting(
            "read regions on the minus strand (column 6) as the reverse complement, so that the first of two strand "
            "channels is a region's own",
            group="regions",
        ),
    ] = False
    jitter: Annotated[
        int,
        Setting(
            "with --upsample_by peak: largest distance by which a centre is moved either way, anew each epoch",
            unit="bp",
            group="regions",
            least=0,
        ),
    ] = 0
    tdb_partition_attribute_for_upsample: Annotated[
        str | None,
        Setting(
            "instead of a BED file: the regions are the stretches where this mask or signal reaches the threshold",
            group="regions",
            metavar="ATTRIBUTE",
        ),
    ] = None
    tdb_partition_thresh_for_upsample: Annotated[
        float,
        Setting("threshold; of a mask, 1 for anywhere in a peak and 2 for its summit", unit="", group="regions"),
    ] = 1.0
    tdb_partition_datasets_for_upsample: Annotated[
        Sequence[str] | None,
        Setting(
            "datasets any of which must reach the threshold (default: those of the outputs)",
            group="regions",
            metavar="DATASET",
        ),
    ] = None
    tdb_ambig_attribute: Annotated[
        str | None,
        Setting(
            "mask of ambiguous bases: no centre lies on one, and no output window of background touches one",
            group="regions",
            metavar="ATTRIBUTE",
        ),
    ] = None
    ambiguous: Annotated[
        str,
        Setting(
            "which regions --tdb_ambig_attribute leaves out; center: those whose centre is ambiguous; window: those "
            "whose output window touches an ambiguous base",
            choices=("center", "window"),
            group="regions",
        ),
    ] = "center"
    blacklist: Annotated[
        str | None,
        Setting("BED file of stretches that no output window touches", group="regions", metavar="BED", path=True),
    ] = None

    @property
    def source(self) -> str:
        """The flag that says where the regions come from, and its value, for messages."""
        name = "bed_regions" if self.bed_regions is not None else "tdb_partition_attribute_for_upsample"
        return f"--{name} {getattr(self, name)}"

    def require_consistent(self) -> None:
        """Raise :class:`InputError` for settings that contradict each other."""
        if (self.bed_regions is None) == (self.tdb_partition_attribute_for_upsample is None):
            raise InputError(f"give one of {_BED} and {_PARTITION}")
        if self.bed_regions_jitter != 1 and self.bed_regions_center != "random":
            raise InputError(
                "--bed_regions_jitter is the number of centres drawn per region with --bed_regions_center random; "
                "--jitter moves centres by up to so many bp"
            )
        if self.bed_regions is None:
            for name, default in (("bed_regions_center", "summit"), ("bed_regions_stranded", False)):
                if getattr(self, name) != default:
                    raise InputError(f"--{name} goes with {_BED}; {_PARTITION} was given")
        elif self.tdb_partition_datasets_for_upsample:
            raise InputError(f"--tdb_partition_datasets_for_upsample goes with {_PARTITION}; {_BED} was given")


@dataclass(frozen=True, kw_only=True)
class Sampling(Settings):
    """How samples are drawn from the regions, and which of them are turned."""

    upsample_by: Annotated[
        str | None,
        Setting(
            "what is equally likely to be drawn; base: each base of the regions; peak: each region (default: base for "
            "regions of the database, peak for those of a BED file)",
            choices=("base", "peak"),
            group="regions",
        ),
    ] = None
    upsample_ratio_list_train: Annotated[
        Sequence[float],
        Setting(
            "share of the training samples that is drawn from the regions, one value; the rest is background",
            unit="share",
            group="regions",
            metavar="SHARE",
        ),
    ] = (1.0,)
    upsample_ratio_list_eval: Annotated[
        Sequence[float],
        Setting(
            "share of the validation samples that is drawn from the regions, one value; the rest is background",
            unit="share",
            group="regions",
            metavar="SHARE",
        ),
    ] = (1.0,)
    max_n_fraction: Annotated[
        float,
        Setting(
            "largest share of N in an input window; samples with a larger one are not used; bases past a chromosome's "
            "end are N; 1: use all",
            unit="share",
            group="regions",
            metavar="SHARE",
            least=0,
            most=1,
        ),
    ] = 0.1
    num_train: Annotated[
        int | None,
        Setting(
            "number of training samples per epoch (default: each region once, and the background's share)",
            unit="samples",
            group="regions",
            least=1,
        ),
    ] = None
    num_valid: Annotated[
        int | None,
        Setting(
            "number of validation samples (default: each region once, and the background's share)",
            unit="samples",
            group="regions",
            least=1,
        ),
    ] = None
    revcomp: Annotated[
        bool, Setting("read a random half of the windows as the reverse complement", group="training")
    ] = False

    def share(self, part: str) -> float:
        """The share of the samples of ``train`` or ``eval`` that is drawn from the regions.

        Raises:
            InputError: there is not one value, or it is no share.
        """
        name = f"upsample_ratio_list_{part}"
        values = getattr(self, name)
        if len(values) != 1 or not 0 < values[0] <= 1:
            raise InputError(f"--{name} {' '.join(map(str, values))}: expected one share above 0, at most 1")
        return float(values[0])


@dataclass(frozen=True, kw_only=True)
class Background(Settings):
    """Where the samples come from that are not drawn from the regions."""

    background: Annotated[
        str,
        Setting(
            "where background comes from; random: any base whose output window touches no region; gc_matched: the "
            "same, with the GC content that regions have; bed: the regions of --background_bed",
            choices=("random", "gc_matched", "bed"),
            group="regions",
        ),
    ] = "random"
    background_bed: Annotated[
        str | None,
        Setting(
            "BED or narrowPeak file of background, centred at summits or middles",
            group="regions",
            metavar="BED",
            path=True,
        ),
    ] = None
    gc_tolerance: Annotated[
        float,
        Setting(
            "with --background gc_matched: largest difference between the GC content of a region's input window and "
            "that of its background",
            unit="share",
            group="regions",
            metavar="SHARE",
            least=1 / GC_LEVELS,
            most=1,
        ),
    ] = 0.02


@dataclass(frozen=True, kw_only=True)
class Folds(Settings):
    """Which chromosomes train, validate and test."""

    fold: Annotated[int | None, Setting("number of the published fold of --genome, from 0", unit="", group="folds")] = (
        None
    )
    genome: Annotated[
        str | None,
        Setting("genome of the published folds: hg38, hg19, mm10, mm9 or sacCer3", group="folds"),
    ] = None
    train_chroms: Annotated[
        Sequence[str] | None, Setting("training chromosomes (default: the others)", group="folds", metavar="CHROM")
    ] = None
    validation_chroms: Annotated[
        Sequence[str] | None, Setting("validation chromosomes", group="folds", metavar="CHROM")
    ] = None
    test_chroms: Annotated[
        Sequence[str] | None, Setting("held-out chromosomes, recorded in the bundle", group="folds", metavar="CHROM")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Samples(Settings):
    """All that says which windows are trained and validated on."""

    regions: Regions = field(default_factory=Regions)
    sampling: Sampling = field(default_factory=Sampling)
    negatives: Background = field(default_factory=Background)
    folds: Folds = field(default_factory=Folds)
    seed: Seed = 1234

    @property
    def by_base(self) -> bool:
        """Whether each base is as likely to be drawn as any other, else each region; by default as kerasAC does."""
        chosen = self.sampling.upsample_by or ("base" if self.regions.bed_regions is None else "peak")
        return chosen == "base"

    def require_consistent(self) -> None:
        """Raise :class:`InputError` for settings that contradict each other."""
        regions, sampling = self.regions, self.sampling
        regions.require_consistent()
        if sampling.revcomp and regions.bed_regions_stranded:
            raise InputError("--revcomp turns windows at random, --bed_regions_stranded by their strand; give one")
        if self.by_base:
            self._require_by_base()
        if regions.ambiguous == "window" and regions.tdb_ambig_attribute is None:
            raise InputError("--ambiguous window says how far --tdb_ambig_attribute reaches; give both")
        self._require_background()

    def _require_by_base(self) -> None:
        regions = self.regions
        if regions.bed_regions is not None and regions.bed_regions_center != "random":
            raise InputError(
                f"--upsample_by base takes any base of a region, --bed_regions_center {regions.bed_regions_center} "
                "does not; expected random with it"
            )
        for name, default in (("jitter", 0), ("bed_regions_jitter", 1), ("bed_regions_stranded", False)):
            if getattr(regions, name) != default:
                raise InputError(f"--{name} goes with --upsample_by peak; with base, any base may be a centre already")

    def _require_background(self) -> None:
        kind = self.negatives.background
        if (kind == "bed") != (self.negatives.background_bed is not None):
            raise InputError("--background bed and --background_bed FILE go together")
        shares = [self.sampling.share(part) for part in ("train", "eval")]
        if kind != "random" and min(shares) == 1:
            raise InputError(
                f"--background {kind}: no background is drawn; expected a share below 1 in "
                "--upsample_ratio_list_train or --upsample_ratio_list_eval"
            )
