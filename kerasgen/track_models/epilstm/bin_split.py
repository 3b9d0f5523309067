"""Which bins of tracks an autoencoder learns from, is chosen on and is tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from db_ingest.errors import InputError
from kerasgen.track_models.binned import BinnedTracks, Stretch
from kerasgen.track_models.settings import GAP_BINS

TRAIN, VALIDATION = 0.72, 0.08
"""Shares of each chromosome that train and validate where none is named; the rest tests."""


@dataclass(frozen=True)
class BinSplit:
    """Which bins train, validate and test."""

    train: tuple[Stretch, ...]
    validation: tuple[Stretch, ...]
    test: tuple[Stretch, ...]

    def to_json(self, bin: int) -> dict[str, Any]:
        """Chromosome, first base and the base after the last of each stretch (that of the last bin's end)."""
        return {
            part: [[s.chromosome, s.start, s.start + (s.end - s.first) * bin] for s in getattr(self, part)]
            for part in ("train", "validation", "test")
        }


def by_stretches(tracks: BinnedTracks, gap_bins: int = GAP_BINS) -> BinSplit:
    """Cut every chromosome in three, its first bins to train, then some to validate, the last to test, with gaps.

    Args:
        tracks: whose bins.
        gap_bins: bins left out between two parts of a chromosome.

    Raises:
        InputError: a chromosome is too short for its parts to have a bin each.
    """
    cut: tuple[list[Stretch], ...] = ([], [], [])
    for stretch in tracks.stretches:
        bins = stretch.end - stretch.first
        one, two = round(bins * TRAIN), round(bins * (TRAIN + VALIDATION))
        edges = ((0, one - gap_bins), (one, two - gap_bins), (two, bins))
        if any(high <= low for low, high in edges):
            raise InputError(
                f"{stretch.chromosome}: {bins:,} bins; too few to train, validate and test on, with gaps of "
                f"{gap_bins}. Expected longer chromosomes, or --train_chroms, --validation_chroms and --test_chroms"
            )
        for part, (low, high) in zip(cut, edges, strict=True):
            start = stretch.start + low * tracks.bin
            part.append(Stretch(stretch.chromosome, start, stretch.first + low, stretch.first + high))
    return BinSplit(*map(tuple, cut))


def by_chromosomes(
    tracks: BinnedTracks, train: Sequence[str], validation: Sequence[str], test: Sequence[str]
) -> BinSplit:
    """The whole of some chromosomes to train, of others to validate and to test."""
    return BinSplit(*(tuple(s for s in tracks.stretches if s.chromosome in part) for part in (train, validation, test)))
