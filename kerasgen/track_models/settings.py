"""The settings of training models of tracks, each told once; those of models of windows: :mod:`kerasgen.settings`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from db_ingest.settings import Setting, Settings
from kerasgen.track_models.avocado.settings import PRESETS, SAMPLINGS
from kerasgen.track_models.binned import TRANSFORMATIONS

GAP_BINS = 400
"""Bins left out between two parts of one chromosome: neighbours are much alike."""

_TRACKS, _HELD_OUT, _MODEL, _FILES = "tracks", "held out", "model", "files"
_TRAINING, _RUNNING = "training", "running"

TrackModelPrefix = Annotated[
    str, Setting("P of the files written: P.keras, P.json, P.log.csv and others", group=_FILES, metavar="P")
]

# What is trained on


@dataclass(frozen=True, kw_only=True)
class TrackSelection(Settings):
    """Which tracks are read, and how."""

    celltypes: Annotated[
        Sequence[str] | None,
        Setting("datasets to learn from (default: all that have one of the assays)", group=_TRACKS, metavar="CELLTYPE"),
    ] = None
    assays: Annotated[
        Sequence[str] | None,
        Setting("attributes to learn from (default: all signals)", group=_TRACKS, metavar="ASSAY"),
    ] = None
    bin: Annotated[int, Setting("size of a bin", unit="bp", group=_TRACKS, least=1)] = 25
    transformation: Annotated[
        str,
        Setting(
            "transformation of the mean of a bin's bases; not applied again where the catalogue says that a file's "
            "values have been through it",
            choices=TRANSFORMATIONS,
            group=_TRACKS,
        ),
    ] = "arcsinh"


@dataclass(frozen=True, kw_only=True)
class ChromosomeParts(Settings):
    """Which chromosomes an autoencoder learns from, is chosen on and is tested on."""

    train_chroms: Annotated[
        Sequence[str] | None,
        Setting("chromosomes to learn from (default: all others)", group=_HELD_OUT, metavar="CHROM"),
    ] = None
    validation_chroms: Annotated[
        Sequence[str] | None,
        Setting(
            "chromosomes that the best epoch is chosen on; where none is named in any of the three, of each chromosome "
            "72% is learned from, 8% chooses and the last 20% tests, with gaps",
            group=_HELD_OUT,
            metavar="CHROM",
        ),
    ] = None
    test_chroms: Annotated[
        Sequence[str] | None,
        Setting("chromosomes that only the variance explained is measured on", group=_HELD_OUT, metavar="CHROM"),
    ] = None
    gap_bins: Annotated[
        int,
        Setting(
            "where no chromosome is named: number of bins left out between the parts of each, as neighbours are much "
            "alike",
            unit="bins",
            group=_HELD_OUT,
            least=0,
        ),
    ] = GAP_BINS


@dataclass(frozen=True, kw_only=True)
class HeldOutTracks(Settings):
    """Which chromosomes an imputing model learns from, and which tracks it does not."""

    train_chroms: Annotated[
        Sequence[str] | None, Setting("chromosomes to learn from (default: all)", group=_TRACKS, metavar="CHROM")
    ] = None
    hold_out: Annotated[
        Sequence[str] | None,
        Setting(
            "tracks that are neither learned from nor chosen by, for testing",
            group=_HELD_OUT,
            metavar="CELLTYPE:ASSAY",
        ),
    ] = None
    validate_on: Annotated[
        Sequence[str] | None,
        Setting(
            "tracks that are not learned from; the epoch that imputes them best is kept, and training ends when they "
            "are imputed no better",
            group=_HELD_OUT,
            metavar="CELLTYPE:ASSAY",
        ),
    ] = None


# How it is trained


@dataclass(frozen=True, kw_only=True)
class AvocadoTraining(Settings):
    """What an Avocado is made of, and how it is trained."""

    preset: Annotated[
        str,
        Setting(
            "settings of the family: its defaults, or those published", choices=tuple(sorted(PRESETS)), group=_MODEL
        ),
    ] = "default"
    model_params: Annotated[
        Sequence[str] | None,
        Setting("settings of the family: name=value, or files of two columns", group=_MODEL, metavar="NAME=VALUE"),
    ] = None
    n_models: Annotated[
        int,
        Setting("number of models of an ensemble, whose spread is the uncertainty", unit="models", group=_MODEL,
                least=1),
    ] = 1  # fmt: skip
    epochs: Annotated[
        int | None,
        Setting("largest number of epochs (default: the preset's)", unit="epochs", group=_TRAINING, least=1),
    ] = None
    epoch_size: Annotated[
        int | None,
        Setting("number of batches per epoch (default: the preset's)", unit="batches", group=_TRAINING, least=1),
    ] = None
    batch_size: Annotated[
        int | None, Setting("number of bins per batch (default: the preset's)", unit="bins", group=_RUNNING)
    ] = None
    learning_rate: Annotated[
        float | None, Setting("initial learning rate of Adam (default: the preset's)", unit="", group=_TRAINING)
    ] = None
    sampling: Annotated[
        str | None,
        Setting(
            "order of the bins: as they lie; each once per pass, but shuffled; or drawn at random (default: the "
            "preset's)",
            choices=SAMPLINGS,
            group=_TRAINING,
        ),
    ] = None
    patience: Annotated[
        int | None,
        Setting(
            "with --validate_on: number of epochs without a better validation loss after which training ends (default: "
            "the preset's)",
            unit="epochs",
            group=_TRAINING,
            least=1,
        ),
    ] = None
    per_chromosome: Annotated[
        bool,
        Setting(
            "learn the network, cell types and assays from --train_chroms, then of each other chromosome of the "
            "database its genome factors with all else frozen; one chromosome's tracks are in memory at a time",
            group=_TRAINING,
        ),
    ] = False
    resume: Annotated[
        bool,
        Setting(
            "with --per_chromosome: go on with an interrupted training; what was learned, the network and each "
            "finished chromosome, is not learned again; all other flags as they were",
            group=_RUNNING,
            may_change=True,
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class EpilstmTraining(Settings):
    """What an Epi-LSTM is made of, and how it is trained."""

    model_params: Annotated[
        Sequence[str] | None,
        Setting("settings of the family: name=value, or files of two columns", group=_MODEL, metavar="NAME=VALUE"),
    ] = None
    n_models: Annotated[
        int,
        Setting(
            "number of models of an ensemble: the mean of their reconstructed tracks, and its spread, are what "
            "gen_impute writes; codes are those of the first",
            unit="models",
            group=_MODEL,
            least=1,
        ),
    ] = 1
    epochs: Annotated[int, Setting("largest number of epochs", unit="epochs", group=_TRAINING, least=1)] = 20
    batch_size: Annotated[
        int,
        Setting("number of stretches read side by side, frame by frame", unit="stretches", group=_RUNNING, least=1),
    ] = 64
    learning_rate: Annotated[
        float,
        Setting(
            "initial learning rate of Adam; it falls to 0 at the last epoch (a cosine)",
            unit="",
            group=_TRAINING,
            above=0,
        ),
    ] = 3e-3
    patience: Annotated[
        int,
        Setting(
            "number of epochs without a better validation loss after which training ends",
            unit="epochs",
            group=_TRAINING,
            least=1,
            may_change=True,
        ),
    ] = 5
    resume: Annotated[
        bool,
        Setting(
            "go on with an interrupted training, after the last epoch that it finished; all other flags as they were, "
            "but --patience",
            group=_RUNNING,
            may_change=True,
        ),
    ] = False
