"""Every flag of the training, prediction, scoring and interpretation commands, explained once.

A flag's name and default are those of the parameter of the function that a command calls.
"""

from __future__ import annotations

from architectures import ARCHITECTURES
from db_ingest.cli.frame import Flag, none_or
from db_ingest.settings import Setting

_DATABASE, _MODEL_DATA, _REGIONS, _SPLIT = "database", "inputs and outputs", "regions", "folds"
_MODEL, _TRAINING, _RUNNING, _FILES = "model", "training", "running", "files"


def _sides(side: str, what: str) -> dict[str, Setting]:
    def flag(text: str, kind: object = str, metavar: str | None = None) -> Setting:
        return Flag(text, type=kind, many=True, group=_MODEL_DATA, metavar=metavar)  # type: ignore[arg-type]

    prefix = f"tdb_{side}"
    return {
        f"{prefix}_source_attribute": flag(
            f"{what}: {'seq or ' if side == 'input' else ''}attributes; a space between {side}s, a comma between "
            "channels of one; in this group a single word serves all",
            metavar="ATTRIBUTE[,ATTRIBUTE...]",
        ),
        f"{prefix}_datasets": flag(
            f"datasets of each {side}: one for all its channels, or one a channel, comma-joined; may be left out where "
            "one dataset has the attribute",
            none_or(str),
            "DATASET[,DATASET...]",
        ),
        f"{prefix}_flank": flag(f"half the window of each {side}, bp", int, "BP"),
        f"{prefix}_aggregation": flag(
            f"each {side} over its positions: None (a profile), sum, average, max or binary_max", none_or(str), "NAME"
        ),
        f"{prefix}_transformation": flag(
            f"each {side} after aggregation: None, log, log10, asinh or counts_to_logit", none_or(str), "NAME"
        ),
        f"{prefix}_min": flag(f"use no sample with a lower value in this {side} (after transformation)",
                              none_or(float), "VALUE"),
        f"{prefix}_max": flag(f"use no sample with a higher value in this {side}", none_or(float), "VALUE"),
    }  # fmt: skip


FLAGS: dict[str, Setting] = {
    "tdb_array": Flag("path or s3:// URI of the database", group=_DATABASE, metavar="URI"),
    "model_prefix": Flag("P of the files written: P.keras, P.json, P.log.csv, P.state/", group=_FILES, metavar="P"),
    **_sides("input", "what each input is made of"),
    **_sides("output", "what each output predicts"),
    "tdb_transformation_pseudocount": Flag("added before a logarithm; kept with the model", float, group=_MODEL_DATA),
    "num_inputs": Flag("checked against the inputs described", int, group=_MODEL_DATA),
    "num_outputs": Flag("checked against the outputs described", int, group=_MODEL_DATA),
    "num_tasks": Flag("checked against the channels of the outputs (2 for a stranded sample)", int, group=_MODEL_DATA),
    "strand_map": Flag(
        "attributes that are each other's strand; names that differ only in plus/minus pair up by themselves",
        many=True,
        group=_MODEL_DATA,
        metavar="PLUS,MINUS",
    ),
    "bed_regions": Flag("BED or narrowPeak file of the regions, plain or gzipped", group=_REGIONS, metavar="BED"),
    "bed_regions_center": Flag(
        "where in a region a window is centred; random: anywhere, anew each epoch",
        choices=("summit", "center", "random", "edges"),
        group=_REGIONS,
    ),
    "bed_regions_jitter": Flag("with --bed_regions_center random: centres drawn a region", int, group=_REGIONS),
    "bed_regions_stranded": Flag(
        "read regions on the minus strand (column 6) as the reverse complement, so that the first of two strand "
        "channels is a region's own",
        bool,
        group=_REGIONS,
    ),
    "jitter": Flag(
        "with --upsample_by peak: move a centre by up to so many bp either way, anew each epoch", int, group=_REGIONS,
        metavar="BP",
    ),
    "tdb_partition_attribute_for_upsample": Flag(
        "instead of a BED: the regions are the stretches where this mask or signal reaches the threshold",
        group=_REGIONS,
        metavar="ATTRIBUTE",
    ),
    "tdb_partition_thresh_for_upsample": Flag(
        "threshold: 1 for anywhere in a peak, 2 for summits", float, group=_REGIONS
    ),
    "tdb_partition_datasets_for_upsample": Flag(
        "datasets any of which must reach it (default: those of the outputs)",
        many=True,
        group=_REGIONS,
        metavar="DATASET",
    ),
    "upsample_by": Flag(
        "base: each base of the regions is as likely to be a centre; peak: each region is as likely (default: base "
        "for regions of the database, peak for those of a BED)",
        choices=("base", "peak"),
        group=_REGIONS,
    ),
    "tdb_ambig_attribute": Flag(
        "mask of ambiguous bases: no centre lies on one, and no output window of background touches one",
        group=_REGIONS,
        metavar="ATTRIBUTE",
    ),
    "ambiguous": Flag(
        "center: leave out regions for their centre only; window: where the output window touches an ambiguous base",
        choices=("center", "window"),
        group=_REGIONS,
    ),
    "upsample_ratio_list_train": Flag(
        "share of the training samples from the regions, one value; the rest is background",
        float,
        many=True,
        group=_REGIONS,
        metavar="SHARE",
    ),
    "upsample_ratio_list_eval": Flag(
        "the same for validation", float, many=True, group=_REGIONS, metavar="SHARE"
    ),
    "background": Flag(
        "where the rest comes from: random, any base whose output window touches no region; gc_matched, the same, with "
        "the GC content that regions have; bed, the regions of --background_bed",
        choices=("random", "gc_matched", "bed"),
        group=_REGIONS,
    ),
    "background_bed": Flag("BED or narrowPeak file of background, centred at summits or middles", group=_REGIONS,
                           metavar="BED"),
    "gc_tolerance": Flag(
        "with --background gc_matched: largest difference between the GC content of a region's input window and that "
        "of its background",
        float,
        group=_REGIONS,
        metavar="SHARE",
    ),
    "max_n_fraction": Flag(
        "use no sample whose input window holds a larger share of N; past a chromosome's end is N; 1: use all",
        float,
        group=_REGIONS,
        metavar="SHARE",
    ),
    "blacklist": Flag("BED file; no output window touches it", group=_REGIONS, metavar="BED"),
    "num_train": Flag(
        "samples an epoch (default: each region once, and the background's share)", int, group=_REGIONS
    ),
    "num_valid": Flag("validation samples (default: likewise)", int, group=_REGIONS),
    "fold": Flag("published fold, with --genome", int, group=_SPLIT),
    "genome": Flag("genome of the published folds: hg38, hg19, mm10, mm9 or sacCer3", group=_SPLIT),
    "train_chroms": Flag("training chromosomes (default: the others)", many=True, group=_SPLIT, metavar="CHROM"),
    "validation_chroms": Flag("validation chromosomes", many=True, group=_SPLIT, metavar="CHROM"),
    "test_chroms": Flag("held-out chromosomes, recorded in the bundle", many=True, group=_SPLIT, metavar="CHROM"),
    "predict_chroms": Flag(
        "chromosomes to predict on (default: those the model held out for testing)", many=True, group=_SPLIT,
        metavar="CHROM",
    ),
    "architecture_spec": Flag(f"model family: {', '.join(ARCHITECTURES)}", group=_MODEL, metavar="NAME"),
    "architecture_from_file": Flag(
        "your own family: Python with a Config dataclass (and its from_data) and build(config)",
        group=_MODEL,
        metavar="FILE.py",
    ),
    "model_params": Flag(
        "settings of the family: name=value, or files of two columns", many=True, group=_MODEL, metavar="NAME=VALUE"
    ),
    "counts_loss_weight": Flag(
        "weight of the counts loss; auto: a tenth of the median counts of a training window", group=_MODEL
    ),
    "profile_loss_weight": Flag("weight of the profile loss", float, group=_MODEL),
    "batch_size": Flag("samples a batch", int, group=_RUNNING),
    "epochs": Flag("epochs at most", int, group=_TRAINING),
    "learning_rate": Flag("of Adam, at the start", float, group=_TRAINING),
    "lr_schedule": Flag(
        "plateau: times 0.4 after --patience_lr epochs without a better validation loss; cosine: to 0 at the last "
        "epoch",
        choices=("plateau", "cosine", "constant"),
        group=_TRAINING,
    ),
    "patience": Flag("end after so many epochs without a better validation loss", int, group=_TRAINING),
    "patience_lr": Flag("epochs without a better validation loss until the rate falls", int, group=_TRAINING),
    "revcomp": Flag("read a random half of the windows as the reverse complement", group=_TRAINING),
    "seed": Flag("of everything random; the same seed gives the same result", int, group=_RUNNING),
    "threads": Flag("batches prepared at a time", int, group=_RUNNING),
    "max_queue_size": Flag("batches kept ready", int, group=_RUNNING),
    "cache_gb": Flag(
        "memory for tracks and sequence; what does not fit comes through a buffer of blocks; 0: all does, through one "
        "of 0.5 GB (default: half of what is free)",
        float,
        group=_RUNNING,
    ),
    "cache_dir": Flag(
        "folder on a local disk for files of what windows need, laid out for training and mapped into memory, whatever "
        "--cache_gb; a later run with the same regions and tracks finds them there and starts at once",
        group=_RUNNING,
        metavar="DIR",
    ),
    "device_one_hot": Flag(
        "send the sequence to the device as one byte a base and encode it there; else encode it before, in 16",
        group=_RUNNING,
    ),
    "num_gpus": Flag(
        "GPUs that share each batch equally; the result is that of one, but for rounding (and dropout on TensorFlow)",
        int,
        group=_RUNNING,
    ),
    "precision": Flag(
        "bfloat16: the model computes in it, heads and losses in float32; weights and the bundle are float32 anyway",
        choices=("float32", "bfloat16"),
        group=_RUNNING,
    ),
    "jit_compile": Flag(
        "compile the steps with XLA; auto: on JAX, and on TensorFlow with one GPU",
        choices=("auto", "true", "false"),
        group=_RUNNING,
    ),
    "tensorboard": Flag("write TensorBoard logs", group=_RUNNING),
    "tensorboard_logdir": Flag("where to", group=_RUNNING, metavar="DIR"),
    "state_every": Flag("batches between the states that --resume goes on from; 0: at epoch ends only", int,
                        group=_RUNNING),
    "resume": Flag("go on with an interrupted training, from the batch it reached", group=_RUNNING),
    "overwrite": Flag("replace what an earlier run wrote", group=_RUNNING),
    "load_model_hdf5": Flag("P.keras of a trained model; its bundle lies beside it", group=_FILES, metavar="P.keras"),
    "predictions_and_labels_hdf5": Flag("P of P.predictions, the HDF5 file written", group=_FILES, metavar="P"),
    "bigwig_prefix": Flag(
        "also write P.task_N.predicted.bw and P.task_N.observed.bw (expected counts a base)", group=_FILES, metavar="P"
    ),
    "predictions": Flag("P.predictions of gen_predict_tdb", group=_FILES, metavar="FILE"),
    "outf": Flag("P of the files written", group=_FILES, metavar="P"),
    "title": Flag("heading of plots and tables", group=_FILES),
    "label_min_to_score": Flag("score no sample with a lower log count in this task", float),
    "label_max_to_score": Flag("score no sample with a higher log count in this task", float),
    "tasks": Flag("tasks (output channels) to score, from 0 (default: all)", int, many=True),
    "replicates": Flag(
        "two datasets of the database that replicate the experiment: how well they agree is the ceiling", many=True,
        metavar="DATASET",
    ),
    "smooth_observed_profile": Flag("smooth observed profiles (Gaussian, sigma 7 bp) before scoring"),
    "smooth_predicted_profile": Flag("smooth predicted profiles before scoring"),
    "out_prefix": Flag("P of the files written", group=_FILES, metavar="P"),
    "chroms": Flag("chromosomes whose regions are explained (default: all)", many=True, group=_SPLIT, metavar="CHROM"),
    "head": Flag("what to explain: counts, profile or both", choices=("both", "counts", "profile")),
    "task_index": Flag("explain this output channel (default: the sum over channels)", int),
    "num_refs_per_seq": Flag("dinucleotide-shuffled references a sequence", int),
    "max_regions": Flag("explain at most so many regions, spread evenly over all", int),
}  # fmt: skip
