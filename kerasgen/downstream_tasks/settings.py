"""The settings of predicting labels of elements, each told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from db_ingest.errors import InputError
from db_ingest.settings import Setting, Settings, none_or, require_choice

TASKS = ("classification", "regression")
LAYOUTS = ("auto", "bed", "bedpe")
LABEL_TRANSFORMATIONS = ("log", "log10", "asinh")
POOLS = ("mean", "max", "min", "std")
GROUPINGS = ("auto", "chromosome", "block")

_LABELS, _FEATURES, _FOLDS, _TREES = "elements and labels", "features", "folds", "trees"


@dataclass(frozen=True, kw_only=True)
class LabelSettings(Settings):
    """What the labels of elements are."""

    task: Annotated[str, Setting("what the labels are", choices=TASKS, group=_LABELS)] = "classification"
    label_column: Annotated[
        str | None,
        Setting(
            "column of the labels: its name in the header (default: label), or its number from 1",
            group=_LABELS,
            metavar="COLUMN",
        ),
    ] = None
    layout: Annotated[
        str,
        Setting(
            "bedpe: pairs of anchors; auto: pairs where the header names start1 and start2, or a file without header "
            "has .bedpe in its name",
            choices=LAYOUTS,
            group=_LABELS,
        ),
    ] = "auto"
    label_threshold: Annotated[
        float | None,
        Setting(
            "of a classification: labels from here on are positive (default: labels are 0 and 1)",
            unit="",
            group=_LABELS,
        ),
    ] = None
    label_transformation: Annotated[
        str | None,
        Setting(
            "of a regression: None, log or log10 (of the label + 1), asinh",
            group=_LABELS,
            metavar="NAME",
            parse=none_or(str),
        ),
    ] = None
    chroms: Annotated[
        Sequence[str] | None,
        Setting("chromosomes whose elements are used (default: all)", group=_LABELS, metavar="CHROM"),
    ] = None

    def require_consistent(self) -> None:
        """Raise :class:`InputError` for settings that contradict each other."""
        require_choice("label_transformation", str(self.label_transformation), ("None", *LABEL_TRANSFORMATIONS))
        if self.task == "regression" and self.label_threshold is not None:
            raise InputError("--label_threshold: a regression takes labels as they are; expected --task classification")
        if self.task == "classification" and self.label_transformation is not None:
            raise InputError("--label_transformation: only labels of a regression are transformed")


@dataclass(frozen=True, kw_only=True)
class FeatureSettings(Settings):
    """What is known of elements."""

    features: Annotated[
        Sequence[str] | None,
        Setting(
            "feature sets to compare; an attribute without dataset is taken in all datasets that have it; * and ? "
            "stand for any letters, so *:E003 is all of a dataset (default: tracks=*)",
            group=_FEATURES,
            metavar="NAME=ATTRIBUTE[:DATASET][,...]",
        ),
    ] = None
    transformation: Annotated[
        Sequence[str],
        Setting(
            "transformation of each bin before pooling: arcsinh (once: not of tracks ingested so) or None; one for all "
            "sets, or one per set",
            group=_FEATURES,
            metavar="NAME",
        ),
    ] = ("None",)
    bin: Annotated[int, Setting("size of a bin", unit="bp", group=_FEATURES, least=1)] = 25
    pool: Annotated[
        Sequence[str],
        Setting("how bins of a region become features: mean, max, min, std", group=_FEATURES, metavar="NAME"),
    ] = ("mean", "max")
    flank: Annotated[
        int, Setting("length added at both sides of each element or anchor", unit="bp", group=_FEATURES)
    ] = 0
    parts: Annotated[
        int,
        Setting(
            "number of equal parts of each region that are pooled one by one, from the element's 5' end on",
            unit="parts",
            group=_FEATURES,
            least=1,
        ),
    ] = 1


@dataclass(frozen=True, kw_only=True)
class FoldSettings(Settings):
    """How elements are divided into folds."""

    folds: Annotated[
        int, Setting("number of folds, each of which is predicted by a model of the others", unit="folds", group=_FOLDS)
    ] = 5
    group_by: Annotated[
        str,
        Setting(
            "what stays in one fold: a chromosome, or a block of neighbouring elements; auto: chromosomes if there are "
            "as many as folds",
            choices=GROUPINGS,
            group=_FOLDS,
        ),
    ] = "auto"
    gap: Annotated[
        int,
        Setting(
            "with blocks: elements nearer than this to what is held out are not learnt from", unit="bp", group=_FOLDS
        ),
    ] = 10_000


@dataclass(frozen=True, kw_only=True)
class BaselineSettings(Settings):
    """What feature sets are compared with."""

    pca_of: Annotated[
        str | None,
        Setting(
            "feature set whose principal components are a baseline (default: the first)",
            group=_FEATURES,
            metavar="NAME",
        ),
    ] = None
    pca_components: Annotated[
        int,
        Setting("largest number of these principal components", unit="components", group=_FEATURES, least=1),
    ] = 10
    draws: Annotated[int, Setting("number of draws of blocks of elements for the intervals", unit="draws", least=1)] = (
        1000
    )


@dataclass(frozen=True, kw_only=True)
class TreeSettings(Settings):
    """Gradient-boosted trees (XGBoost: Chen & Guestrin 2016, KDD)."""

    rounds: Annotated[int, Setting("largest number of trees", unit="trees", group=_TREES, least=1)] = 5000
    patience: Annotated[
        int,
        Setting(
            "number of trees without a lower loss on the next fold after which learning ends",
            unit="trees",
            group=_TREES,
            least=1,
        ),
    ] = 20
    max_depth: Annotated[int, Setting("largest depth of a tree", unit="levels", group=_TREES, least=1)] = 4
    learning_rate: Annotated[
        float, Setting("learning rate of each tree, above 0 and at most 1", unit="", group=_TREES)
    ] = 0.05

    def require_consistent(self) -> None:
        """Raise :class:`InputError` for a learning rate that is none."""
        if not 0 < self.learning_rate <= 1:
            raise InputError(f"--learning_rate {self.learning_rate}: expected a number above 0, at most 1")
