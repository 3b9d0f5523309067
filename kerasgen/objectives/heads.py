"""What an output of a model is: its kind, the losses it can learn by, its measures, what of it can be explained.

Everything that depends on what an output is asks its head, which :func:`of` derives from the output's channels. Keras
is loaded when a loss is made and not before.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest.errors import InputError
from kerasgen.spec import Channels

if TYPE_CHECKING:
    import keras


class LossEntry(NamedTuple):
    """A loss that a head can learn by.

    Args:
        path: module and class.
        link: how the model's output gives what the label is expected to be: ``softmax`` (shares of the positions),
            ``identity``, ``log`` (the output is the logarithm of the expectation) or ``logit`` (of its odds).
        setting: parameter of the class that a word ``name=number`` sets; None: it has none.
        of_counts: it is a likelihood of counts or labels, which a transformation must not have changed.
    """

    path: str
    link: str
    setting: str | None = None
    of_counts: bool = False


LOSSES = {
    "multinomial_nll": LossEntry("kerasgen.objectives.profile:MultinomialNLL", "softmax"),
    "mse": LossEntry("kerasgen.objectives.masked:MaskedMSE", "identity"),
    "poisson_nll": LossEntry("kerasgen.objectives.counts:PoissonNLL", "log", of_counts=True),
    "negative_binomial_nll": LossEntry(
        "kerasgen.objectives.counts:NegativeBinomialNLL", "log", setting="dispersion", of_counts=True
    ),
    "poisson_multinomial_nll": LossEntry(
        "kerasgen.objectives.binned:PoissonMultinomialNLL", "log", setting="total_weight", of_counts=True
    ),
    "binary_crossentropy": LossEntry(
        "kerasgen.objectives.classification:MaskedBinaryCrossentropy", "logit", of_counts=True
    ),
}
"""Losses by the words of ``--loss``."""


class Kind(NamedTuple):
    """What all heads of one kind share.

    Args:
        losses: names of :data:`LOSSES`, the default first.
        metrics: names of :data:`kerasgen.objectives.metrics.METRICS` that predictions are scored by.
        targets: names of what can be explained, the default first.
        name: what commands and result files call it.
        bigwig: how predictions become a bigWig: ``profile`` (shares of the positions times the total of a counts head),
            ``positions`` (one value per bin), or None (it has no positions).
    """

    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    targets: tuple[str, ...]
    name: str
    bigwig: str | None = None


_COUNT_METRICS = ("pearson", "spearman", "mse")

KINDS = {
    "counts": Kind(("mse", "poisson_nll", "negative_binomial_nll"), _COUNT_METRICS, ("counts",), "counts"),
    "profile": Kind(
        ("multinomial_nll",), ("pearson", "jsd", "normalised_jsd", "mnll"), ("profile",), "profile", "profile"
    ),
    "binned": Kind(
        ("poisson_nll", "poisson_multinomial_nll", "negative_binomial_nll", "mse"),
        ("pearson", "spearman", "poisson_deviance"),
        ("binned",),
        "binned",
        "positions",
    ),
    "labels": Kind(("binary_crossentropy",), ("auroc", "auprc", "log_loss"), ("labels",), "labels"),
    "values": Kind(("mse",), _COUNT_METRICS, ("counts",), "counts"),
}
"""Kinds of heads, in the order in which they are reported. Values are any other numbers per window; commands and files
have always called those counts."""


NAMES = tuple(dict.fromkeys(kind.name for kind in KINDS.values()))
"""What commands and result files call heads, in the order in which they are reported; see :func:`names_of`."""


@dataclass(frozen=True)
class Head:
    """What one output is.

    Args:
        channels: the output's.
        kind: a name of :data:`KINDS`: ``profile`` (counts at each position), ``counts`` (per window), ``binned``
            (counts or values per bin), ``labels`` (yes or no, per window or per bin) or ``values`` (per window).
        loss: a name of :data:`LOSSES`.
        setting: the number that came with the loss' name, if any.
    """

    channels: Channels
    kind: str
    loss: str
    setting: float | None = None

    @property
    def name(self) -> str:
        """What commands and result files call it: ``profile``, ``counts``, ``binned`` or ``labels``."""
        return KINDS[self.kind].name

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the measures that its predictions are scored by."""
        measures = KINDS[self.kind].metrics
        if LOSSES[self.loss].of_counts:
            return measures
        # Of numbers that may be below 0, as logarithms are, there is no deviance.
        return tuple("mse" if name == "poisson_deviance" else name for name in measures)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what can be explained of it, the default first; ``kerasgen.interpretation`` computes them."""
        return KINDS[self.kind].targets

    @property
    def bigwig(self) -> str | None:
        """How its predictions become a bigWig; see :class:`Kind`."""
        return "positions" if self.channels.bin and self.kind == "labels" else KINDS[self.kind].bigwig

    @property
    def link(self) -> str:
        """How its output gives what the label is expected to be; see :class:`LossEntry`."""
        return LOSSES[self.loss].link

    @property
    def weight_name(self) -> str:
        """The setting that weighs its loss."""
        return "profile_loss_weight" if self.kind == "profile" else "counts_loss_weight"

    @property
    def is_weighed_by_counts(self) -> bool:
        """Whether an automatic weight makes its loss as large as a profile's likelihood, which grows with counts."""
        return self.loss == "mse"

    def make_loss(self) -> keras.losses.Loss:
        """The Keras loss."""
        return make_loss(self.loss, self.setting)

    def expected(self, outputs: np.ndarray) -> np.ndarray:
        """What the labels are expected to be, in their units, from the model's outputs; of a profile, the shares."""
        from scipy.special import expit, softmax

        if self.link == "softmax":
            return softmax(outputs, axis=1)
        return {"identity": np.asarray, "log": np.exp, "logit": expit}[self.link](outputs)

    def log_counts(self, values: np.ndarray, pseudocount: float) -> np.ndarray:
        """Labels or expectations of counts as logarithms; those that are logarithms already stay as they are."""
        return np.log(values + pseudocount) if LOSSES[self.loss].of_counts else values

    @property
    def predicts_total_counts(self) -> bool:
        """Whether :meth:`total_counts` can be told: of counts per window, as such or as logarithms."""
        return self.kind == "counts" and (self.link == "log" or self.channels.transformation == "log")

    def total_counts(self, outputs: np.ndarray, pseudocount: float) -> np.ndarray:
        """Expected counts per window and channel, ``(n, channels)``, from the model's outputs.

        Raises:
            ValueError: the head does not predict counts.
        """
        if not self.predicts_total_counts:
            raise ValueError(f"a head of {self.kind} ({self.loss}) predicts no total counts")
        return np.exp(outputs) if self.link == "log" else np.maximum(np.exp(outputs) - pseudocount, 0)


def of(channels: Channels) -> Head:
    """The head of an output.

    Raises:
        InputError: a loss that no head of such an output has.
    """
    kinds = _kinds(channels)
    if channels.loss is None:
        name, setting = KINDS[kinds[0]].losses[0], None
    else:
        name, setting = read_loss(channels.loss)
    for kind in kinds:
        if name in KINDS[kind].losses:
            break
    else:
        known = dict.fromkeys(loss for kind in kinds for loss in KINDS[kind].losses)
        raise InputError(f"--loss {name}: a {kinds[0]} output learns by {' or '.join(known)}")
    if LOSSES[name].of_counts and channels.transformation is not None:
        raise InputError(
            f"--loss {name}: it is a likelihood of {'labels' if kind == 'labels' else 'counts'} themselves; expected "
            f"--tdb_output_transformation None in place of {channels.transformation}, or --loss mse"
        )
    return Head(channels, kind, name, setting)


def all_of(outputs: Sequence[Channels]) -> list[Head]:
    """The heads of all outputs of a model, in order."""
    return [of(channels) for channels in outputs]


def names_of(outputs: Sequence[Channels]) -> list[str]:
    """What commands and result files call each output: its head's name; later ones of a name are ``labels_1``, …."""
    names: list[str] = []
    for head in all_of(outputs):
        before = sum(name_of_kind(name) == head.name for name in names)
        names.append(f"{head.name}_{before}" if before else head.name)
    return names


def name_of_kind(name: str) -> str | None:
    """The name of :data:`NAMES` that a name of :func:`names_of` is of; None: it is no output's."""
    found = re.fullmatch(rf"({'|'.join(NAMES)})(?:_[1-9]\d*)?", name)
    return found[1] if found else None


def in_order(names: Iterable[str]) -> list[str]:
    """Those of the names that are names of outputs, in the order in which they are reported."""

    def place(name: str) -> tuple[int, int]:
        kind, _, number = name.partition("_")
        return NAMES.index(kind), int(number or 0)

    return sorted((name for name in names if name_of_kind(name)), key=place)


def place_of(outputs: Sequence[Channels], name: str) -> int | None:
    """Place of the first output whose head has a name, of ``profile``, ``counts``, ``binned``, ``labels``."""
    return next((place for place, head in enumerate(all_of(outputs)) if head.name == name), None)


def profile_with_counts(outputs: Sequence[Channels]) -> tuple[int, int] | None:
    """Places of the profile and of the counts that make counts at each position of it; None if either lacks."""
    found = all_of(outputs)
    profile = place_of(outputs, "profile")
    counts = next((place for place, head in enumerate(found) if head.predicts_total_counts), None)
    if profile is None or counts is None or outputs[profile].width != outputs[counts].width:
        return None
    return profile, counts


def register_losses() -> None:
    """Let Keras know every loss by its name, so that it finds them in saved files."""
    for entry in LOSSES.values():
        _load(entry.path)


def _kinds(channels: Channels) -> tuple[str, ...]:
    """Kinds that an output can be, the usual first."""
    if channels.is_per_base:
        return ("profile",)
    if channels.bin is not None:
        return ("labels", "binned") if channels.aggregation == "binary_max" else ("binned",)
    if channels.aggregation == "binary_max":
        # Transformed labels are numbers, and no likelihood was asked for.
        return ("values",) if channels.transformation and channels.loss is None else ("labels", "values")
    return ("counts",) if channels.aggregation == "sum" else ("values",)


def make_loss(name: str, setting: float | None = None, **options: Any) -> keras.losses.Loss:
    """The Keras loss of a name.

    Args:
        name: of :data:`LOSSES`.
        setting: the number that came with the name; None: the loss' own default.
        options: of all losses of Keras, as ``reduction``.
    """
    entry = LOSSES[name]
    if setting is not None and entry.setting is not None:
        options[entry.setting] = setting
    return _load(entry.path)(**options)


def read_loss(word: str) -> tuple[str, float | None]:
    """A loss' name, and the number after ``=``, from a word of ``--loss``; raises :class:`InputError`."""
    name, equals, text = word.partition("=")
    if name not in LOSSES:
        raise InputError(f"--loss {word}: unknown; expected None or one of {', '.join(LOSSES)}")
    if not equals:
        return name, None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if LOSSES[name].setting is None or not 0 < number < np.inf:
        having = ", ".join(f"{name} ({entry.setting})" for name, entry in LOSSES.items() if entry.setting)
        raise InputError(f"--loss {word}: expected a number above 0 after =, with one of {having}")
    return name, number


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
