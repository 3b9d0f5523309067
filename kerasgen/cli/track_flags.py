"""Flags of the commands on models of tracks alone, explained once; see :mod:`kerasgen.cli.flags`."""

from __future__ import annotations

from db_ingest.cli.frame import Flag
from db_ingest.settings import Setting
from kerasgen.cli.flags import FLAGS

_DATA, _HELD_OUT, _MODEL = "tracks", "held out", "model"
_TRAINING, _RUNNING, _FILES = "training", "running", "files"
_ANNOTATION, _PLACE, _PLOTS = "scores", "region", "plots"

TRACK_FLAGS: dict[str, Setting] = {
    **{name: FLAGS[name] for name in ("tdb_array", "architecture_spec", "seed")},
    "model_prefix": Flag("P of the files written: P.keras, P.json, P.log.csv and others", group=_FILES, metavar="P"),
    "celltypes": Flag("datasets to learn from (default: all that have one of the assays)", many=True, group=_DATA,
                      metavar="CELLTYPE"),
    "assays": Flag("attributes to learn from (default: all signals)", many=True, group=_DATA, metavar="ASSAY"),
    "bin": Flag("bp a bin", int, group=_DATA, metavar="BP"),
    "transformation": Flag(
        "of the mean of a bin's bases; not applied again where the catalogue says that a file's values have been "
        "through it",
        choices=("arcsinh", "None"),
        group=_DATA,
    ),
    "train_chroms": Flag("chromosomes to learn from (default: all)", many=True, group=_DATA, metavar="CHROM"),
    "hold_out": Flag(
        "tracks that are neither learned from nor chosen by, for testing", many=True, group=_HELD_OUT,
        metavar="CELLTYPE:ASSAY",
    ),
    "validate_on": Flag(
        "tracks that are not learned from; training ends when these are imputed no better", many=True,
        group=_HELD_OUT, metavar="CELLTYPE:ASSAY",
    ),
    "preset": Flag("settings of the family: default, or as published", choices=("default", "published"), group=_MODEL),
    "model_params": FLAGS["model_params"],
    "n_models": Flag("models of an ensemble, whose spread is the uncertainty", int, group=_MODEL),
    "epochs": Flag("epochs at most", int, group=_TRAINING),
    "epoch_size": Flag("batches an epoch (default: the preset's)", int, group=_TRAINING),
    "batch_size": Flag("bins a batch (default: the preset's)", int, group=_RUNNING),
    "learning_rate": Flag("of Adam (default: the preset's)", float, group=_TRAINING),
    "sampling": Flag(
        "bins in order, each once a pass but shuffled, or drawn at random (default: the preset's)", group=_TRAINING,
        choices=("sequential", "permuted", "random"),
    ),
    "patience": Flag("with --validate_on: end after so many epochs without a better validation loss", int,
                     group=_TRAINING),
    "per_chromosome": Flag(
        "learn the network, cell types and assays from --train_chroms, then of each other chromosome of the database "
        "its genome factors with all else frozen",
        group=_TRAINING,
    ),
    "resume": Flag(
        "with --per_chromosome: go on with an interrupted training; what was learned, the network and each finished "
        "chromosome, is not learned again; all other flags as they were",
        group=_RUNNING,
    ),
    "overwrite": Flag("replace what an earlier run wrote", group=_RUNNING),
    "model": Flag("P of a trained Avocado or Epi-LSTM, or its P.keras", group=_FILES, metavar="P"),
    "celltype": Flag("impute tracks of these cell types", many=True, also=["-c"], group=_DATA, metavar="CELLTYPE"),
    "assay": Flag("impute tracks of these assays", many=True, also=["-a"], group=_DATA, metavar="ASSAY"),
    "all_missing": Flag("impute every pair that the database has no track of", also=["--all-missing"], group=_DATA),
    "all_tracks": Flag("every pair that the model knows; of an Epi-LSTM, all its tracks", also=["--all"], group=_DATA),
    "chrom": Flag("chromosomes to impute (default: all that the model knows)", many=True, group=_PLACE,
                  metavar="CHROM"),
    "start": Flag("with one --chrom: first base, 0-based; bins are imputed whole", int, group=_PLACE, metavar="BP"),
    "end": Flag("with one --chrom: end, exclusive", int, group=_PLACE, metavar="BP"),
    "region": Flag("instead of these: CHROM:START-END, as browsers write it but 0-based", group=_PLACE,
                   metavar="CHROM:START-END"),
    "out_dir": Flag("folder of CELLTYPE.ASSAY.bigwig", group=_FILES, metavar="FOLDER"),
    "keep_arcsinh": Flag("write arcsinh values as the model gives them; else they are undone and cut off at 0",
                         group=_FILES),
    "std": Flag("of an ensemble: also write CELLTYPE.ASSAY.std.bigwig, in the model's values (arcsinh)", group=_FILES),
    "skip_existing": Flag("leave bigWigs as they are that are there already", group=_RUNNING),
    "add_celltypes": Flag("first learn these datasets of the database as new cell types, all else frozen", many=True,
                          group="new cell types and assays", metavar="CELLTYPE"),
    "add_assays": Flag("first learn these attributes of the database as new assays, all else frozen", many=True,
                       group="new cell types and assays", metavar="ASSAY"),
    "new_model": Flag("P of the model that knows them as well", group="new cell types and assays", metavar="P"),
    "add_epochs": Flag("epochs to learn them in", int, group="new cell types and assays"),
    "scores": Flag("P of P.tsv and P.png: scores where the database has the track, beside baselines",
                   group=_ANNOTATION, metavar="P"),
    "genes": Flag("BED with strands, GTF or GFF3, for scores in promoters and genes", group=_ANNOTATION,
                  metavar="FILE"),
    "enhancers": Flag("BED, for scores in enhancers", group=_ANNOTATION, metavar="BED"),
    "plot_region": Flag("draw observed, imputed and average there, a PNG a track", group=_PLOTS,
                        metavar="CHROM:START-END"),
    "plot_embeddings": Flag("draw projections of the model's cell types, assays and positions", group=_PLOTS,
                            metavar="PNG"),
    "projection": Flag("how; umap needs umap-learn", choices=("pca", "umap"), group=_PLOTS),
    "metadata": Flag(
        "table, tab separated with a header: cell type or assay in its first column; --color_by is one of the others",
        group=_PLOTS,
        metavar="TSV",
    ),
    "color_by": Flag("column of --metadata to colour by", group=_PLOTS, metavar="COLUMN"),
}  # fmt: skip

AUTOENCODER_FLAGS: dict[str, Setting] = {
    **TRACK_FLAGS,
    "train_chroms": Flag("chromosomes to learn from (default: all others)", many=True, group=_HELD_OUT,
                         metavar="CHROM"),
    "validation_chroms": Flag(
        "chromosomes that the best epoch is chosen on; where none is named in any of the three, of each chromosome 72% "
        "is learned from, 8% chooses and the last 20% tests, with gaps",
        many=True,
        group=_HELD_OUT,
        metavar="CHROM",
    ),
    "test_chroms": Flag("chromosomes that only the variance explained is measured on", many=True, group=_HELD_OUT,
                        metavar="CHROM"),
    "batch_size": Flag("stretches read side by side, frame by frame", int, group=_RUNNING),
    "learning_rate": Flag("of Adam, at the start; it falls to 0 at the last epoch", float, group=_TRAINING),
    "patience": Flag("end after so many epochs without a better validation loss", int, group=_TRAINING),
    "n_models": Flag(
        "models of an ensemble: the mean of their reconstructed tracks, and its spread, are what gen_impute writes; "
        "codes are those of the first",
        int,
        group=_MODEL,
    ),
    "resume": Flag(
        "go on with an interrupted training, after the last epoch that it finished; all other flags as they were, but "
        "--patience",
        group=_RUNNING,
    ),
}  # fmt: skip
"""Those of an autoencoder of all tracks, explained anew where they mean something else to it."""
