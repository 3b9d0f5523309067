"""What is refused before an Avocado learns or imputes, each in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from db_ingest.errors import InputError
from kerasgen.track_models.avocado.settings import SAMPLINGS
from kerasgen.track_models.binned import BinnedTracks, Pair, Stretch

_NAMES_SHOWN = 12


def names(what: str, chosen: Sequence[str]) -> None:
    """Refuse names of a model that are none, or named twice."""
    if isinstance(chosen, str) or not len(chosen):
        raise InputError(f"{what}s {chosen!r}: expected a list of at least one name")
    for name in chosen:
        if list(chosen).count(name) > 1:
            raise InputError(f"{what} {name!r} is named twice")


def known(what: str, wanted: Iterable[str], present: Sequence[str]) -> None:
    """Refuse names that a model does not have."""
    for name in wanted:
        if name not in present:
            raise InputError(f"unknown {what} {name!r}; expected one of {', '.join(present[:_NAMES_SHOWN])}")


def new(what: str, wanted: Iterable[str], present: Sequence[str]) -> None:
    """Refuse names to add that a model has already."""
    for name in wanted:
        if name in present:
            raise InputError(f"{what} {name!r} is known already; expected new ones")


def learnable(what: str, wanted: Iterable[str], having: Sequence[str]) -> None:
    """Refuse names that have no track to learn from."""
    for name in wanted:
        if name not in having:
            raise InputError(f"{what} {name!r} has no track; expected at least one to learn it from")


def values(tracks: BinnedTracks) -> None:
    """Refuse tracks without any value, or with an infinite one."""
    for pair, track in zip(tracks.pairs, tracks.values, strict=True):
        if not np.isfinite(track).any():
            raise InputError(f"{'/'.join(pair)}: no bin has a value; expected a track with some")
        if np.isinf(track).any():
            raise InputError(f"{'/'.join(pair)}: bin {int(np.isinf(track).argmax()):,} is infinite")


def apart(valid: BinnedTracks, train: BinnedTracks) -> None:
    """Refuse tracks to choose by that are learned from."""
    for pair in valid.pairs:
        if pair in train.pairs:
            raise InputError(f"{'/'.join(pair)} is in X_valid and in X_train; expected it in one of them")


def bins(tracks: BinnedTracks, expected: int | None) -> None:
    """Refuse tracks of another number of bins; None for any."""
    present = tracks.values.shape[1]
    if expected is not None and present != expected:
        raise InputError(f"{'/'.join(tracks.pairs[0])}: {present:,} bins; expected {expected:,}, as the model has")


def stretches(tracks: BinnedTracks, expected: Sequence[Stretch]) -> None:
    """Refuse tracks of chromosomes that have other bins than the model's; none expected for any."""
    if expected and [s.end - s.first for s in tracks.stretches] != [s.end - s.first for s in expected]:
        raise InputError(
            f"tracks of {', '.join(s.chromosome for s in tracks.stretches[:6])}, whose chromosomes have other bins "
            f"than {', '.join(s.chromosome for s in expected[:6])}, which the model was trained on"
        )


def training(sampling: str | None, **numbers: int | None) -> None:
    """Refuse numbers of epochs, steps and the like below 1, and an unknown order of bins."""
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise InputError(f"{name} {number}: expected at least 1")
    if sampling is not None and sampling not in SAMPLINGS:
        raise InputError(f"sampling {sampling!r}: expected one of {', '.join(SAMPLINGS)}")


def request(
    pairs: Iterable[Pair], celltypes: Sequence[str], assays: Sequence[str], start: int, end: int, positions: int
) -> None:
    """Refuse bins that a model does not have, and pairs of names that it does not know."""
    if not 0 <= start < end <= positions:
        raise InputError(f"bins {start:,} to {end:,}: expected a range within 0 to {positions:,}")
    for celltype, assay in pairs:
        known("cell type", [celltype], celltypes)
        known("assay", [assay], assays)
