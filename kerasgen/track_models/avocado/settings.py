"""What an imputation model is made of and how it is trained, and the named sets of this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from db_ingest.errors import InputError
from kerasgen.training import params

SAMPLINGS = ("sequential", "permuted", "random")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class AvocadoSettings:
    """Settings of one model; the defaults are those of the published Avocado.

    Args:
        n_celltype_factors, n_assay_factors: factors of a cell type and of an assay.
        n_25bp_factors, n_250bp_factors, n_5kbp_factors: factors of a place in the genome, one set for each bin, for
            each 10 and for each 200 neighbouring bins.
        n_layers, n_nodes: dense layers, and the units of each.
        context: whether the model also sees the other tracks around the bin (:mod:`.context`).
        residual: whether the network's output is added to the mean of the assay in the other cell types.
        scaled: whether the model learns in units of each track's own mean and standard deviation; those of a track that
            was not measured are guessed from its cell type's and its assay's other tracks.
        genome_dropout: share of the genome's factors that each training step sets to 0.
        dropout: likewise of each dense layer's units.
        track_dropout: share of the other tracks that each training sample does without.
        weight_decay: decay of the network's weights, as in AdamW.
        factor_decay: decay of the genome's factors in each step that touches them, as in AdamW.
        peak_weight: a value ``z`` above 0 counts as ``1 + peak_weight * z`` values; 0 is a track's mean if ``scaled``.
        batch_size: positions per step.
        learning_rate: initial learning rate of Adam.
        genome_learning_rate: that of the genome's factors; None for the same.
        schedule: ``"constant"``, or ``"cosine"``, which takes the rates to 0 over the steps asked for.
        sampling: the order of positions: ``"sequential"``; ``"permuted"``, stretches of 200 bins in an order drawn anew
            for each pass; ``"random"``, each bin drawn on its own. Each position trains on one experiment drawn at
            random.
        n_epochs: epochs.
        epoch_size: steps per epoch; None for as many as one pass over the positions takes.
        patience: epochs without a better validation loss after which training stops.
    """

    n_celltype_factors: int = 32
    n_assay_factors: int = 256
    n_25bp_factors: int = 25
    n_250bp_factors: int = 40
    n_5kbp_factors: int = 45
    n_layers: int = 2
    n_nodes: int = 2048
    context: bool = False
    residual: bool = False
    scaled: bool = False
    genome_dropout: float = 0.0
    dropout: float = 0.0
    track_dropout: float = 0.0
    weight_decay: float = 0.0
    factor_decay: float = 0.0
    peak_weight: float = 0.0
    batch_size: int = 40000
    learning_rate: float = 1e-3
    genome_learning_rate: float | None = None
    schedule: str = "constant"
    sampling: str = "sequential"
    n_epochs: int = 200
    epoch_size: int | None = 120
    patience: int = 10

    def __post_init__(self) -> None:
        for name in ("batch_size", "n_epochs", "patience", "epoch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} {value}: expected at least 1")
        for name in ("genome_dropout", "dropout", "track_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: expected 0 to less than 1")
        for name in ("weight_decay", "factor_decay", "peak_weight"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} {getattr(self, name)}: expected at least 0")
        for name in ("learning_rate", "genome_learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} {value}: expected more than 0")
        for name, known in (("schedule", SCHEDULES), ("sampling", SAMPLINGS)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} {getattr(self, name)!r}: expected one of {', '.join(known)}")
        if self.residual and not self.context:
            raise InputError("residual adds to the mean of the other cell types, which is a context: set context, too")
        if self.track_dropout and not self.context:
            raise InputError("track_dropout is of the context: set context, too")
        if min(self.genome_factors) < 0:
            raise InputError(f"factors of the genome {self.genome_factors}: expected at least 0")

    @property
    def genome_factors(self) -> tuple[int, int, int]:
        """Factors of each resolution."""
        return self.n_25bp_factors, self.n_250bp_factors, self.n_5kbp_factors


PRESETS: dict[str, dict[str, Any]] = {
    "published": {},
    "default": {
        "n_celltype_factors": 4,
        "n_assay_factors": 8,
        "n_25bp_factors": 4,
        "n_250bp_factors": 12,
        "n_5kbp_factors": 16,
        "n_nodes": 256,
        "context": True,
        "residual": True,
        "scaled": True,
        "track_dropout": 0.2,
        "weight_decay": 0.01,
        "peak_weight": 0.3,
        "batch_size": 2000,
        "genome_learning_rate": 1e-4,
        "schedule": "cosine",
        "sampling": "permuted",
        "n_epochs": 3,
        "epoch_size": None,
    },
}
"""AvocadoSettings by name: what differs from the published ones."""


def resolve(preset: str, **chosen: Any) -> AvocadoSettings:
    """AvocadoSettings of a preset with some of them chosen; those that are None stay the preset's.

    Raises:
        InputError: an unknown preset or setting, or one that cannot be.
    """
    if preset not in PRESETS:
        raise InputError(f"preset {preset!r}: expected one of {', '.join(PRESETS)}")
    known = {field.name for field in fields(AvocadoSettings)}
    for name in chosen:
        if name not in known:
            raise InputError(f"unknown setting {name!r}; expected one of {', '.join(sorted(known))}")
    return replace(AvocadoSettings(**PRESETS[preset]), **{k: v for k, v in chosen.items() if v is not None})


def from_words(words: Sequence[str] | None) -> dict[str, Any]:
    """AvocadoSettings as words of the command line, ``name=value`` or files of two columns.

    Raises:
        InputError: an unknown setting, or a value of another type than its own.
    """
    # A setting that is not given by default is a number.
    return params.settings(
        words, {name: 0.0 if value is None else value for name, value in asdict(AvocadoSettings()).items()}
    )
