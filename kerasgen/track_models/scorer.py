"""Scores of imputed tracks against those of a database, beside baselines, as a table and a plot."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from kerasgen.database import Database
from kerasgen.track_models.annotation import annotated_bins
from kerasgen.track_models.avocado.whole_genome import GenomeAvocado
from kerasgen.track_models.binned import Pair, signals_by_pair
from kerasgen.track_models.models import BinRange, observed, stretches_of
from kerasgen.track_models.scores import MEASURES, baselines, score

_VALUES_KEPT = 2**28


class TrackScores(NamedTuple):
    """Scores of one source of one track.

    Args:
        celltype, assay: the track.
        seen: what the model knows of it: ``held out``, ``validated on``, ``trained on`` or ``not seen``.
        source: ``model``, or a baseline.
        values: measure to value; see :mod:`kerasgen.track_models.scores`.
    """

    celltype: str
    assay: str
    seen: str
    source: str
    values: dict[str, float]


class ImputationScorer:
    """Takes imputed tracks, some bins at a time, and scores those that the database has.

    Args:
        model: imputes.
        database: where the tracks are.
        pairs: the tracks to come.
        ranges: the bins.
        genes, enhancers: annotation files; see :func:`kerasgen.track_models.annotation.annotated_bins`.

    Attributes:
        scores: those so far.

    Raises:
        InputError: the database has none of the tracks, or an annotation file is broken.
    """

    def __init__(
        self,
        model: GenomeAvocado,
        database: Database,
        pairs: Sequence[Pair],
        ranges: Sequence[BinRange],
        *,
        genes: str | None = None,
        enhancers: str | None = None,
    ) -> None:
        stretches = stretches_of(ranges, model.bin)
        self._model, self._ranges = model, ranges
        self._annotated = annotated_bins(stretches, model.bin, database.genome, genes=genes, enhancers=enhancers)
        self._measured = set(signals_by_pair(database))
        if not self._measured.intersection(pairs):
            raise InputError(f"{database.uri}: the database has none of the imputed tracks to score them by")
        # Where the bins of a chromosome lie among all, and from which of its bins on.
        self._columns = {
            bins.chromosome: stretch.first - bins.first for bins, stretch in zip(ranges, stretches, strict=True)
        }
        self._bins = stretches[-1].end
        self._imputed: dict[Pair, np.ndarray] = {}
        self.scores: list[TrackScores] = []

        def read(pair: Pair) -> np.ndarray:
            return observed(database, model, pair, ranges)

        self._read = functools.lru_cache(max(1, _VALUES_KEPT // self._bins))(read)

    def take(self, pair: Pair, bins: BinRange, values: np.ndarray) -> None:
        """Keep values of a track, if there is something to score them by."""
        if pair in self._measured:
            kept = self._imputed.setdefault(pair, np.empty(self._bins, np.float32))
            origin = self._columns[bins.chromosome]
            kept[origin + bins.first : origin + bins.end] = values

    def score(self, pairs: Sequence[Pair]) -> None:
        """Score tracks of which all values have come, and let go of them."""
        trained_on = [pair for pair in self._model.main.experiments if pair in self._measured]
        for pair in pairs:
            if pair not in self._imputed:
                continue
            sources = {"model": self._imputed.pop(pair), **baselines(pair, trained_on, self._read)}
            seen = self._seen(pair)
            for source, values in sources.items():
                self.scores.append(TrackScores(*pair, seen, source, score(self._read(pair), values, self._annotated)))

    def write(self, prefix: str) -> list[Path]:
        """Write the table and the plot; returns their paths."""
        from kerasgen.track_models.plots import draw_scores

        table = Path(f"{prefix}.tsv")
        rows = "".join("\t".join(row) + "\n" for row in score_rows(self.scores))
        storage.replace_bytes(table, rows.encode())
        drawn: dict[str, dict[str, dict[str, float]]] = {}
        for item in self.scores:
            marked = "" if item.seen in ("held out", "not seen") else f" ({item.seen})"
            drawn.setdefault(f"{item.celltype} {item.assay}{marked}", {})[item.source] = item.values
        where = ", ".join(dict.fromkeys(bins.chromosome for bins in self._ranges[:4]))
        where += ", \u2026" if len(self._ranges) > 4 else ""
        title = f"{Path(self._model.prefix).name}: imputed tracks against measured ones ({where})"
        return [table, draw_scores(Path(f"{prefix}.png"), title, drawn)]

    def _seen(self, pair: Pair) -> str:
        for label, pairs in (
            ("held out", self._model.held_out),
            ("validated on", self._model.validated_on),
            ("trained on", self._model.main.experiments),
        ):
            if pair in pairs:
                return label
        return "not seen"


def score_rows(scores: Sequence[TrackScores]) -> list[list[str]]:
    """Scores as rows of text, a header first; a measure that is not defined is ``nan``."""
    measures = [name for name in MEASURES if any(name in item.values for item in scores)]
    return [
        ["celltype", "assay", "seen", "source", *measures],
        *(
            [item.celltype, item.assay, item.seen, item.source]
            + [f"{item.values.get(name, float('nan')):.4f}" for name in measures]
            for item in scores
        ),
    ]
