"""An Avocado of one or of many chromosomes, as one model of tracks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from db_ingest.errors import InputError
from kerasgen import bundle
from kerasgen.track_models.avocado.model import Avocado
from kerasgen.track_models.binned import Pair
from kerasgen.track_models.models import BinRange, TrackModel


class GenomeAvocado(TrackModel):
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
        if opened.family.name != "avocado":
            raise InputError(
                f"{bundle.path_of(opened.prefix, 'json')}: a model of {opened.family.title}; expected an Avocado"
            )
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
            self._open = None
            self._open = chromosome, Avocado.load(f"{self.prefix}.{chromosome}")
        return self._open[1], 0

    def impute(self, pairs: Sequence[Pair], bins: BinRange) -> np.ndarray:
        """Values of tracks in bins, ``(pairs, bins) float32``, as the model was trained on them."""
        model, origin = self.of(bins.chromosome)
        return model.impute(pairs, origin + bins.first, origin + bins.end)

    def impute_with_std(self, pairs: Sequence[Pair], bins: BinRange) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`impute` gives, and the standard deviation between the models, likewise."""
        return self.impute(pairs, bins), np.stack([self.std(pair, bins) for pair in pairs])

    def std(self, pair: Pair, bins: BinRange) -> np.ndarray:
        """Standard deviation between the models of an ensemble, ``(bins,) float32``."""
        model, origin = self.of(bins.chromosome)
        return model.predict_std(*pair, origin + bins.first, origin + bins.end)


def open_imputer(trained: bundle.Bundle, tdb_array: str | None) -> GenomeAvocado:
    """Open a bundle to impute with; the tracks that it was trained on are not read again."""
    return GenomeAvocado(trained.prefix)
