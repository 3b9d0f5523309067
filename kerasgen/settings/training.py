"""The model, its losses, its training, and what it runs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from architectures import ARCHITECTURES
from db_ingest.settings import Setting, Settings
from kerasgen.settings.data import Data
from kerasgen.settings.samples import Samples
from kerasgen.settings.shared import BatchSize, Overwrite, Resume


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
    profile_loss_weight: Annotated[
        float, Setting("weight of the loss of profiles", unit="", group="model", least=0)
    ] = 1.0


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
            least=0,
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
