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
from kerasgen.track_models.avocado.whole_genome import GenomeAvocado
from kerasgen.track_models.binned import Pair
from kerasgen.track_models.models import BinRange, observed, stretches_of
from kerasgen.track_models.scores import MEASURES, annotated_bins, baselines, score

_VALUES_KEPT = 2**28


class Scored(NamedTuple):
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


class Judge:
    """Takes imputed tracks piece by piece, and scores those that the database has.

    Args:
        opened: the model.
        database: where the tracks are.
        pairs: the tracks to come.
        pieces: the bins.
        genes, enhancers: annotation files; see :func:`kerasgen.track_models.scores.annotated_bins`.

    Attributes:
        scored: the scores so far.

    Raises:
        InputError: the database has none of the tracks, or an annotation file is broken.
    """

    def __init__(
        self,
        opened: GenomeAvocado,
        database: Database,
        pairs: Sequence[Pair],
        pieces: list[BinRange],
        *,
        genes: str | None = None,
        enhancers: str | None = None,
    ) -> None:
        bin = opened.main.bin
        self._opened, self._pieces = opened, pieces
        self._regions = annotated_bins(stretches_of(pieces, bin), bin, genes=genes, enhancers=enhancers)
        self._there = {(track.dataset, track.attribute) for track in database.tracks if track.kind == "signal"}
        if not self._there.intersection(pairs):
            raise InputError(f"{database.uri}: the database has none of the imputed tracks to score them by")
        self._kept: dict[Pair, list[np.ndarray]] = {}
        self.scored: list[Scored] = []
        bins = sum(piece.end - piece.first for piece in pieces)

        def read(pair: Pair) -> np.ndarray:
            found = observed(database, opened, pair, pieces)
            assert found is not None
            return found

        self._read = functools.lru_cache(max(1, _VALUES_KEPT // bins))(read)

    def take(self, pair: Pair, piece: BinRange, values: np.ndarray) -> None:
        """Keep the values of a piece, if there is something to score them by; pieces come in order."""
        if pair in self._there:
            self._kept.setdefault(pair, []).append(values)

    def score(self, pairs: Sequence[Pair]) -> None:
        """Score tracks whose pieces have all come, and let go of them."""
        trained_on = [pair for pair in self._opened.main.experiments if pair in self._there]
        for pair in pairs:
            if pair not in self._kept:
                continue
            sources = {"model": np.concatenate(self._kept.pop(pair)), **baselines(pair, trained_on, self._read)}
            seen = self._seen(pair)
            for source, values in sources.items():
                self.scored.append(Scored(*pair, seen, source, score(self._read(pair), values, self._regions)))

    def write(self, prefix: str) -> list[Path]:
        """Write the table and the plot; returns their paths."""
        from kerasgen.track_models.plots import draw_scores

        table = Path(f"{prefix}.tsv")
        rows = "".join("\t".join(row) + "\n" for row in score_rows(self.scored))
        storage.replace_bytes(table, rows.encode())
        drawn: dict[str, dict[str, dict[str, float]]] = {}
        for item in self.scored:
            marked = "" if item.seen in ("held out", "not seen") else f" ({item.seen})"
            drawn.setdefault(f"{item.celltype} {item.assay}{marked}", {})[item.source] = item.values
        where = ", ".join(dict.fromkeys(piece.chromosome for piece in self._pieces[:4]))
        where += ", \u2026" if len(self._pieces) > 4 else ""
        title = f"{Path(self._opened.prefix).name}: imputed tracks against measured ones ({where})"
        return [table, draw_scores(Path(f"{prefix}.png"), title, drawn)]

    def _seen(self, pair: Pair) -> str:
        for label, pairs in (
            ("held out", self._opened.held_out),
            ("validated on", self._opened.validated_on),
            ("trained on", self._opened.main.experiments),
        ):
            if pair in pairs:
                return label
        return "not seen"


def score_rows(scored: Sequence[Scored]) -> list[list[str]]:
    """Scores as rows of text, a header first; a measure that is not defined is ``nan``."""
    there = [name for name in MEASURES if any(name in item.values for item in scored)]
    return [
        ["celltype", "assay", "seen", "source", *there],
        *(
            [item.celltype, item.assay, item.seen, item.source]
            + [f"{item.values.get(name, float('nan')):.4f}" for name in there]
            for item in scored
        ),
    ]
