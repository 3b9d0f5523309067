"""Models that give tracks in bins of a genome; of these, an Avocado of one or of many chromosomes, as one model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db_ingest.errors import InputError
from kerasgen import bundle
from kerasgen.database import Database
from kerasgen.track_models.binned import Pair, Stretch, transformed

if TYPE_CHECKING:
    from kerasgen.track_models.avocado.model import Avocado


_BINS_AT_ONCE = 2**20


class Piece(NamedTuple):
    """Bins of one chromosome.

    Attributes:
        chromosome: its name.
        first, end: bins, half-open, counted from the chromosome's first.
    """

    chromosome: str
    first: int
    end: int


class GenomeModel(ABC):
    """A trained model that gives values of tracks in the bins of a genome.

    Args:
        prefix: ``P``.
        document: ``P.json``.
        sizes: chromosome to bp, of all that the database has.
        bin: bp a bin.
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
    def impute(self, pairs: Sequence[Pair], piece: Piece) -> np.ndarray:
        """Values of tracks in bins, ``(pairs, bins) float32``, as the model was trained on them."""

    @abstractmethod
    def impute_with_std(self, pairs: Sequence[Pair], piece: Piece) -> tuple[np.ndarray, np.ndarray]:
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

    def pieces(self, chrom: list[str] | None, start: int | None, end: int | None, region: str | None) -> list[Piece]:
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
            return [self.piece(*parse_region(region))]
        names = chrom or self.chromosomes
        if (start is not None or end is not None) and len(names) != 1:
            raise InputError("--start and --end are of one chromosome; name it with --chrom")
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"--chrom {name}: named twice")
        # In the order of the database, in which files are written.
        ordered = [name for name in self.sizes if name in names]
        ordered += [name for name in names if name not in self.sizes]
        return [self.piece(name, start or 0, self._size(name) if end is None else end) for name in ordered]

    def piece(self, chromosome: str, start: int, end: int) -> Piece:
        """The bins that a range of bp touches; raises :class:`InputError` if it is not within the chromosome."""
        size = self._size(chromosome)
        if not 0 <= start < end <= size:
            raise InputError(
                f"{chromosome}:{start:,}-{end:,}: expected a range of one base or more within 0 to {size:,}, "
                "the chromosome's end"
            )
        return Piece(chromosome, start // self.bin, -(-end // self.bin))

    def _size(self, chromosome: str) -> int:
        self.bins(chromosome)
        return self.sizes[chromosome]


class TrackModel(GenomeModel):
    """What ``gen_train --architecture_spec avocado`` wrote: the model, and with ``--per_chromosome`` those of others.

    Args:
        prefix: ``P``, or ``P.keras``.

    Attributes:
        main: the model that network, cell types and assays were learned in.

    Raises:
        MissingFileError: a file is missing.
        InputError: another family's model, or files that do not belong together.
    """

    def __init__(self, prefix: str | Path) -> None:
        opened = bundle.open_bundle(prefix)
        family = family_of(opened)
        if family != "avocado":
            raise InputError(
                f"{bundle.path_of(opened.prefix, 'json')}: a model of family {family}; expected an Avocado"
            )
        from kerasgen.track_models.avocado.model import Avocado

        self.main: Avocado = Avocado.load(opened.prefix)
        bin = self.main.bin
        # A model saved in Python knows no sizes but those of its bins.
        own = {s.chromosome: (s.end - s.first) * bin for s in self.main.stretches}
        sizes = opened.config.get("chromosomes", own)
        super().__init__(
            str(opened.prefix), opened.config, sizes, bin, self.main.transformation, self.main.n_models
        )  # fmt: skip
        self._further: list[str] = self.document.get("chromosome_models", [])
        self._open: tuple[str, Avocado] | None = None

    @property
    def chromosomes(self) -> list[str]:
        """Chromosomes that can be imputed, in the order of the database."""
        known = {stretch.chromosome for stretch in self.main.stretches} | set(self._further)
        return [name for name in self.sizes if name in known]

    @property
    def celltypes(self) -> list[str]:
        """Cell types that it knows."""
        return self.main.celltypes

    @property
    def assays(self) -> list[str]:
        """Assays that it knows."""
        return self.main.assays

    @property
    def held_out(self) -> list[Pair]:
        """Tracks that were held out for testing."""
        return [(celltype, assay) for celltype, assay in self.document.get("held_out", [])]

    @property
    def validated_on(self) -> list[Pair]:
        """Tracks that the best epoch was chosen by."""
        return [(celltype, assay) for celltype, assay in self.document.get("validated_on", [])]

    def of(self, chromosome: str) -> tuple[Avocado, int]:
        """The model of a chromosome, and the place of its first bin there; one further model is open at a time."""
        for stretch in self.main.stretches:
            if stretch.chromosome == chromosome:
                return self.main, stretch.first
        if self._open is None or self._open[0] != chromosome:
            from kerasgen.track_models.avocado.model import Avocado

            self._open = None
            self._open = chromosome, Avocado.load(f"{self.prefix}.{chromosome}")
        return self._open[1], 0

    def impute(self, pairs: Sequence[Pair], piece: Piece) -> np.ndarray:
        """Values of tracks in bins, ``(pairs, bins) float32``, as the model was trained on them."""
        model, origin = self.of(piece.chromosome)
        return model.impute(pairs, origin + piece.first, origin + piece.end)

    def impute_with_std(self, pairs: Sequence[Pair], piece: Piece) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`impute` gives, and the standard deviation between the models, likewise."""
        return self.impute(pairs, piece), np.stack([self.std(pair, piece) for pair in pairs])

    def std(self, pair: Pair, piece: Piece) -> np.ndarray:
        """Standard deviation between the models of an ensemble, ``(bins,) float32``."""
        model, origin = self.of(piece.chromosome)
        return model.predict_std(*pair, origin + piece.first, origin + piece.end)


def family_of(opened: bundle.Bundle) -> str | None:
    """The family of a bundle's model; None of one from a file of the user's."""
    return opened.config.get("kind") or opened.config.get("architecture", {}).get("name")


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


def observed(database: Database, opened: TrackModel, pair: Pair, pieces: Sequence[Piece]) -> np.ndarray | None:
    """A track's own values in bins, as the model was trained on them, ``(bins,) float32``; None: there is none."""
    tracks = [t for t in database.tracks if (t.dataset, t.attribute) == pair and t.kind == "signal"]
    if not tracks:
        return None
    bin = opened.main.bin
    parts = []
    for piece in pieces:
        for first in range(piece.first, piece.end, _BINS_AT_ONCE):
            many = min(_BINS_AT_ONCE, piece.end - first)
            parts.append(database.bins(tracks, [piece.chromosome], [first * bin], many, bin)[0, :, 0])
    values = np.concatenate(parts)
    return transformed(database.uri, tracks[0], values, opened.main.transformation)


def stretches_of(pieces: Sequence[Piece], bin: int) -> list[Stretch]:
    """Pieces laid end to end."""
    found, first = [], 0
    for piece in pieces:
        found.append(Stretch(piece.chromosome, piece.first * bin, first, first + piece.end - piece.first))
        first = found[-1].end
    return found
