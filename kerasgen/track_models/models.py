"""What every trained model of tracks can do: give values of tracks in the bins of a genome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from db_ingest.errors import InputError
from kerasgen.database import Database
from kerasgen.track_models.binned import Pair, Stretch, signals_by_pair, transformed

BINS_AT_ONCE = 240_000
"""Bins that are imputed in one go."""
_BINS_READ_AT_ONCE = 2**20


class BinRange(NamedTuple):
    """Bins of one chromosome.

    Attributes:
        chromosome: its name.
        first, end: bins, half-open, counted from the chromosome's first.
    """

    chromosome: str
    first: int
    end: int


class TrackModel(ABC):
    """A trained model that gives values of tracks in the bins of a genome.

    Args:
        prefix: ``P``.
        document: ``P.json``.
        sizes: chromosome to bp, of all that the database has.
        bin: bp per bin.
        transformation: ``"arcsinh"`` or ``"None"``: what the values that it gives have been through.
        n_models: models whose mean it gives.
    """

    def __init__(
        self,
        prefix: str,
        document: dict[str, Any],
        sizes: dict[str, int],
        bin: int,
        transformation: str,
        n_models: int,
    ) -> None:
        self.prefix, self.document, self.sizes = prefix, document, sizes
        self.bin, self.transformation, self.n_models = bin, transformation, n_models

    @property
    @abstractmethod
    def chromosomes(self) -> list[str]:
        """Chromosomes that can be imputed, in the order of the database."""

    @property
    @abstractmethod
    def celltypes(self) -> list[str]:
        """Cell types that it knows."""

    @property
    @abstractmethod
    def assays(self) -> list[str]:
        """Assays that it knows."""

    @abstractmethod
    def impute(self, pairs: Sequence[Pair], bins: BinRange) -> np.ndarray:
        """Values of tracks in bins, ``(pairs, bins) float32``, as the model was trained on them."""

    @abstractmethod
    def impute_with_std(self, pairs: Sequence[Pair], bins: BinRange) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`impute` gives, and the standard deviation between the models of an ensemble, likewise."""

    def pairs(self, celltypes: Sequence[str] | None, assays: Sequence[str] | None) -> list[Pair]:
        """Each of some cell types in each of some assays; all of a side that is not given.

        Raises:
            InputError: an unknown name, or one given twice.
        """
        self.check(celltypes or (), assays or ())
        return [(celltype, assay) for celltype in celltypes or self.celltypes for assay in assays or self.assays]

    def bins(self, chromosome: str) -> int:
        """Bins of a chromosome.

        Raises:
            InputError: the model does not know it.
        """
        if chromosome not in self.chromosomes:
            raise InputError(
                f"{self.prefix}: knows no chromosome {chromosome!r}; expected one of {', '.join(self.chromosomes[:12])}"
            )
        return -(-self.sizes[chromosome] // self.bin)

    def check(self, celltypes: Sequence[str], assays: Sequence[str]) -> None:
        """Raise :class:`InputError` for a name that the model does not know, or one given twice."""
        for what, names, known in (
            ("cell type", celltypes, self.celltypes),
            ("assay", assays, self.assays),
        ):
            for name in names:
                if name not in known:
                    raise InputError(
                        f"{self.prefix}: knows no {what} {name!r}; expected one of {', '.join(known[:12])}"
                    )
                if names.count(name) > 1:
                    raise InputError(f"{what} {name!r} is named twice")

    def ranges(self, chrom: list[str] | None, start: int | None, end: int | None, region: str | None) -> list[BinRange]:
        """The bins that flags name.

        Args:
            chrom: chromosomes; all when not given.
            start, end: bp, of one chromosome; all of it when not given. Bins that they touch are taken whole.
            region: ``CHROM:START-END`` instead of these.

        Raises:
            InputError: an unknown chromosome, a range past its end or empty, or flags that exclude each other.
        """
        if region is not None:
            if chrom or start is not None or end is not None:
                raise InputError("give --region or --chrom, --start and --end, not both")
            return [self.range_of(*parse_region(region))]
        names = chrom or self.chromosomes
        if (start is not None or end is not None) and len(names) != 1:
            raise InputError("--start and --end are of one chromosome; name it with --chrom")
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"--chrom {name}: named twice")
        # In the order of the database, in which files are written.
        ordered = [name for name in self.sizes if name in names]
        ordered += [name for name in names if name not in self.sizes]
        return [self.range_of(name, start or 0, self._size(name) if end is None else end) for name in ordered]

    def range_of(self, chromosome: str, start: int, end: int) -> BinRange:
        """The bins that a range of bp touches; raises :class:`InputError` if it is not within the chromosome."""
        size = self._size(chromosome)
        if not 0 <= start < end <= size:
            raise InputError(
                f"{chromosome}:{start:,}-{end:,}: expected a range of one base or more within 0 to {size:,}, "
                "the chromosome's end"
            )
        return BinRange(chromosome, start // self.bin, -(-end // self.bin))

    def _size(self, chromosome: str) -> int:
        self.bins(chromosome)
        return self.sizes[chromosome]


def parse_region(text: str) -> tuple[str, int, int]:
    """``CHROM:START-END``, with or without commas in the numbers, as chromosome, start and end.

    Raises:
        InputError: anything else.
    """
    chromosome, _, span = text.rpartition(":")
    start, dash, end = span.replace(",", "").partition("-")
    if not (chromosome and dash and start.isdecimal() and end.isdecimal()):
        raise InputError(f"{text!r}: expected a region CHROM:START-END, such as chr1:1000000-1050000")
    return chromosome, int(start), int(end)


def observed(database: Database, model: TrackModel, pair: Pair, ranges: Sequence[BinRange]) -> np.ndarray:
    """A track's own values in bins, as a model was trained on them, ``(bins,) float32``.

    Raises:
        InputError: the database has no such track, or it cannot be read as the model's values are.
    """
    track = signals_by_pair(database).get(pair)
    if track is None:
        raise InputError(f"{database.uri}: has no track {':'.join(pair)}")
    parts = []
    for bins in ranges:
        for first in range(bins.first, bins.end, _BINS_READ_AT_ONCE):
            count = min(_BINS_READ_AT_ONCE, bins.end - first)
            parts.append(database.bins([track], [bins.chromosome], [first * model.bin], count, model.bin)[0, :, 0])
    return transformed(database.uri, track, np.concatenate(parts), model.transformation)


def stretches_of(ranges: Sequence[BinRange], bin: int) -> list[Stretch]:
    """Ranges of bins laid end to end."""
    stretches: list[Stretch] = []
    end = 0
    for bins in ranges:
        first, end = end, end + bins.end - bins.first
        stretches.append(Stretch(bins.chromosome, bins.first * bin, first, end))
    return stretches
