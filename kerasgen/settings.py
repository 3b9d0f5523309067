"""The settings of training, prediction and interpretation, each told once: dataclasses of those that go together.

See :mod:`db_ingest.settings` for how flags, keywords, YAML keys, docstrings and tables come from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from architectures import ARCHITECTURES
from db_ingest.errors import InputError
from db_ingest.settings import Setting, Settings

GC_LEVELS = 200
"""GC contents of windows are told apart in so many levels."""
CENTRES = ("summit", "center", "random", "edges")
"""Where in a region a window may be centred."""

_BED, _PARTITION = "--bed_regions", "--tdb_partition_attribute_for_upsample"

# Settings of several functions

TdbArray = Annotated[
    str, Setting("path or s3:// URI of the database", group="database", metavar="URI", path=True)
]  # fmt: skip
ModelPrefix = Annotated[
    str, Setting("P of the files written: P.keras, P.json, P.log.csv, P.state/", group="files", metavar="P")
]
LoadModel = Annotated[
    str, Setting("P.keras of a trained model; its bundle lies beside it", group="files", metavar="P.keras")
]
Title = Annotated[str, Setting("heading of plots and tables", group="files")]
Seed = Annotated[
    int, Setting("seed of everything random; the same seed gives the same result", unit="", group="running", least=0)
]
BatchSize = Annotated[int, Setting("number of samples per batch", unit="samples", group="running", least=1)]
Resume = Annotated[
    bool, Setting("go on with an interrupted training, from the batch it reached", group="running", may_change=True)
]
Overwrite = Annotated[bool, Setting("replace what an earlier run wrote", group="running", may_change=True)]


# Inputs and outputs

_SourceAttribute = Annotated[
    Sequence[str],
    Setting(
        "{what}; a space between {side}s, a comma between channels of one {side}; in this group, a single word serves "
        "all {side}s",
        group="inputs and outputs",
        metavar="ATTRIBUTE[,ATTRIBUTE...]",
    ),
]
_Flank = Annotated[
    Sequence[int], Setting("half the window of each {side}", unit="bp", group="inputs and outputs")
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Side(Settings):
    """What the inputs, or the outputs, of a model are made of: one word for each, or a single word for all."""

    source_attribute: _SourceAttribute
    datasets: Annotated[
        Sequence[str | None] | None,
        Setting(
            "datasets of each {side}: one for all its channels, or one per channel, joined by commas; may be left out "
            "where only one dataset has the attribute",
            group="inputs and outputs",
            metavar="DATASET[,DATASET...]",
        ),
    ] = None
    flank: _Flank
    aggregation: Annotated[
        Sequence[str | None] | None,
        Setting(
            "aggregation of each {side} over its positions: None (a profile), sum, average, max or binary_max",
            group="inputs and outputs",
            metavar="NAME",
        ),
    ] = None
    transformation: Annotated[
        Sequence[str | None] | None,
        Setting(
            "transformation of each {side} after its aggregation: None, log, log10, asinh or counts_to_logit",
            group="inputs and outputs",
            metavar="NAME",
        ),
    ] = None
    min: Annotated[
        Sequence[float | None] | None,
        Setting(
            "use no sample with a lower value in this {side}, after its transformation",
            unit="",
            group="inputs and outputs",
            metavar="VALUE",
        ),
    ] = None
    max: Annotated[
        Sequence[float | None] | None,
        Setting(
            "use no sample with a higher value in this {side}, after its transformation",
            unit="",
            group="inputs and outputs",
            metavar="VALUE",
        ),
    ] = None

    @property
    def side(self) -> str:
        """``input`` or ``output``."""
        return self.flag_words["side"]


@dataclass(frozen=True, kw_only=True)
class Inputs(Side):
    """What the inputs of a model are made of."""

    flag_prefix: ClassVar[str] = "tdb_input_"
    flag_words: ClassVar[Mapping[str, str]] = {
        "side": "input",
        "what": "what each input is made of: seq (the sequence) or attributes",
    }
    source_attribute: _SourceAttribute = ("seq",)
    flank: _Flank = (1057,)


@dataclass(frozen=True, kw_only=True)
class Outputs(Side):
    """What the outputs of a model predict."""

    flag_prefix: ClassVar[str] = "tdb_output_"
    flag_words: ClassVar[Mapping[str, str]] = {"side": "output", "what": "what each output predicts: attributes"}
    flank: _Flank = (500,)
    bin: Annotated[
        Sequence[int | None] | None,
        Setting(
            "size of the bins of each output, each of which is aggregated by itself; None: the whole window is",
            unit="bp",
            group="inputs and outputs",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Values(Settings):
    """How the values of inputs and outputs are read."""

    tdb_transformation_pseudocount: Annotated[
        float,
        Setting("number added before a logarithm; kept with the model", unit="", group="inputs and outputs"),
    ] = 1.0
    strand_map: Annotated[
        Sequence[str] | None,
        Setting(
            "pairs of attributes that are each other's strand; names that differ only in plus/minus pair up by "
            "themselves",
            group="inputs and outputs",
            metavar="PLUS,MINUS",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Counted(Settings):
    """How many inputs, outputs and channels the caller expects; only checked."""

    num_inputs: Annotated[
        int | None,
        Setting("number of inputs, checked against those described", unit="inputs", group="inputs and outputs"),
    ] = None
    num_outputs: Annotated[
        int | None,
        Setting("number of outputs, checked against those described", unit="outputs", group="inputs and outputs"),
    ] = None
    num_tasks: Annotated[
        int | None,
        Setting(
            "number of channels per output, checked against those described (2 for a stranded sample)",
            unit="channels",
            group="inputs and outputs",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Data(Settings):
    """All that describes the inputs and outputs of a model."""

    inputs: Inputs = field(default_factory=Inputs)
    outputs: Outputs
    values: Values = field(default_factory=Values)
    counted: Counted = field(default_factory=Counted)


# Which windows


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
        if regions.bed_regions is None:
            for name, default in (("bed_regions_center", "summit"), ("bed_regions_stranded", False)):
                if getattr(regions, name) != default:
                    raise InputError(f"--{name} goes with {_BED}; {_PARTITION} was given")
        elif regions.tdb_partition_datasets_for_upsample:
            raise InputError(f"--tdb_partition_datasets_for_upsample goes with {_PARTITION}; {_BED} was given")
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


# The model and its training


@dataclass(frozen=True, kw_only=True)
class Model(Settings):
    """Which model is trained."""

    architecture_spec: Annotated[
        str, Setting(f"model family: {', '.join(ARCHITECTURES)}", group="model", metavar="NAME")
    ] = "bpnet"
    architecture_from_file: Annotated[
        str | None,
        Setting(
            "Python file of a family of your own: a Config dataclass (and its from_data) and build(config)",
            group="model",
            metavar="FILE.py",
            path=True,
        ),
    ] = None
    model_params: Annotated[
        Sequence[str] | None,
        Setting("settings of the family: name=value, or files of two columns", group="model", metavar="NAME=VALUE"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Losses(Settings):
    """What each output learns by, and how much its loss weighs."""

    loss: Annotated[
        Sequence[str | None] | None,
        Setting(
            "loss of each output, or one for all: multinomial_nll, mse, poisson_nll, "
            "negative_binomial_nll[=DISPERSION], poisson_multinomial_nll[=WEIGHT], binary_crossentropy, or None for "
            "the default of its kind (profile, counts, binned, labels, values)",
            group="model",
            metavar="NAME",
        ),
    ] = None
    counts_loss_weight: Annotated[
        str,
        Setting(
            "weight of the loss of each output that is no profile; auto: 1, but for mse beside a profile a tenth of "
            "the median counts of a training window",
            group="model",
        ),
    ] = "auto"
    profile_loss_weight: Annotated[float, Setting("weight of the loss of profiles", unit="", group="model")] = 1.0


@dataclass(frozen=True, kw_only=True)
class Optimisation(Settings):
    """How long and how fast a model learns."""

    epochs: Annotated[
        int, Setting("largest number of epochs", unit="epochs", group="training", least=1, may_change=True)
    ] = 40
    learning_rate: Annotated[float, Setting("initial learning rate of Adam", unit="", group="training", above=0)] = 1e-3
    lr_schedule: Annotated[
        str,
        Setting(
            "how the learning rate falls; plateau: times 0.4 after --patience_lr epochs without a better validation "
            "loss; cosine: to 0 at the last epoch",
            choices=("plateau", "cosine", "constant"),
            group="training",
        ),
    ] = "plateau"
    patience: Annotated[
        int,
        Setting(
            "number of epochs without a better validation loss after which training ends",
            unit="epochs",
            group="training",
            least=1,
            may_change=True,
        ),
    ] = 3
    patience_lr: Annotated[
        int,
        Setting(
            "number of epochs without a better validation loss after which the learning rate falls",
            unit="epochs",
            group="training",
            least=1,
        ),
    ] = 2


@dataclass(frozen=True, kw_only=True)
class Loading(Settings):
    """How batches are made."""

    batch_size: BatchSize = 64
    threads: Annotated[
        int,
        Setting("number of batches prepared at a time", unit="batches", group="running", least=1, may_change=True),
    ] = 2
    cache_gb: Annotated[
        float | None,
        Setting(
            "memory for tracks and sequence; what does not fit comes through a buffer of blocks; 0: all does, through "
            "a buffer of 0.5 GB (default: half of what is free)",
            unit="GB",
            group="running",
            metavar="GB",
            may_change=True,
        ),
    ] = None
    cache_dir: Annotated[
        str | None,
        Setting(
            "folder on a local disk for files of what windows need, laid out for training and mapped into memory, "
            "whatever --cache_gb; a later run with the same regions and tracks finds them there and starts at once",
            group="running",
            metavar="DIR",
            may_change=True,
        ),
    ] = None
    device_one_hot: Annotated[
        bool,
        Setting(
            "send the sequence to the device as 1 byte per base and encode it there; else encode it before, in 16 "
            "bytes per base",
            group="running",
            may_change=True,
        ),
    ] = True


@dataclass(frozen=True, kw_only=True)
class Devices(Settings):
    """What a model computes on, and how."""

    num_gpus: Annotated[
        int,
        Setting(
            "number of GPUs that share each batch equally; the result is that of one, but for rounding (and dropout "
            "on TensorFlow)",
            unit="GPUs",
            group="running",
            least=1,
        ),
    ] = 1
    precision: Annotated[
        str,
        Setting(
            "number format of the model's arithmetic; with bfloat16, heads and losses are computed in float32, and "
            "weights and the bundle are float32 anyway",
            choices=("float32", "bfloat16"),
            group="running",
        ),
    ] = "float32"
    jit_compile: Annotated[
        str,
        Setting(
            "whether the steps are compiled with XLA; auto: on JAX, and on TensorFlow with one GPU",
            choices=("auto", "true", "false"),
            group="running",
        ),
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class Running(Settings):
    """How a training is followed, interrupted and gone on with."""

    max_queue_size: Annotated[
        int,
        Setting("number of batches kept ready", unit="batches", group="running", least=1, may_change=True),
    ] = 10
    tensorboard: Annotated[bool, Setting("write TensorBoard logs", group="running")] = False
    tensorboard_logdir: Annotated[str, Setting("folder of the TensorBoard logs", group="running", metavar="DIR")] = (
        "logs"
    )
    state_every: Annotated[
        int,
        Setting(
            "number of batches between the states that --resume goes on from; 0: states at epoch ends only",
            unit="batches",
            group="running",
            least=0,
            may_change=True,
        ),
    ] = 200
    resume: Resume = False
    overwrite: Overwrite = False


@dataclass(frozen=True, kw_only=True)
class Training(Settings):
    """All settings of a training on windows but the database and where the bundle goes."""

    data: Data
    samples: Samples = field(default_factory=Samples)
    model: Model = field(default_factory=Model)
    losses: Losses = field(default_factory=Losses)
    optimisation: Optimisation = field(default_factory=Optimisation)
    loading: Loading = field(default_factory=Loading)
    devices: Devices = field(default_factory=Devices)
    running: Running = field(default_factory=Running)
