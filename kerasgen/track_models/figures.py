"""What plots of an imputation show: a region of a track, and the embeddings of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from db_ingest.errors import InputError, MissingFileError
from kerasgen.database import Database
from kerasgen.track_models.avocado.whole_genome import GenomeAvocado
from kerasgen.track_models.binned import Pair, transformed
from kerasgen.track_models.models import BinRange, observed

_POSITIONS = {"pca": (10_000, 50), "umap": (2_000, 1)}
"""Bins whose factors are drawn, and how many neighbours of these are taken together. UMAP is drawn of single bins: it
lays out what is nearest to each, and among neighbours that is nothing but the neighbours."""
_STANDS_OUT = 1.0
"""Standard deviations above its mean that an assay must be for a position to be called by it."""


class Metadata(dict[str, str]):
    """Names of cell types and assays to what they are coloured by; ``column`` is what that is."""

    column = ""


def read_metadata(path: str, column: str | None) -> Metadata:
    """Read a table of what is known of cell types and assays.

    Args:
        path: tab separated, a header first; a name in the first column. A name that comes again is passed over.
        column: the column to take; the second when not given.

    Raises:
        MissingFileError, InputError: no such file, no such column, or a line of another number of columns.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"{path}: no such file; expected a table (--metadata)")
    lines = [
        line.rstrip("\r\n").split("\t") for line in Path(path).read_text("utf-8-sig", errors="replace").splitlines()
    ]
    if not lines or len(lines[0]) < 2:
        raise InputError(f"{path}:1: expected a header of two or more columns, tab separated")
    header = lines[0]
    if column is not None and column not in header[1:]:
        raise InputError(f"{path}:1: no column {column!r} after the first; it has {', '.join(header[1:])}")
    place = 1 if column is None else header.index(column, 1)
    found = Metadata()
    found.column = header[place]
    for number, fields in enumerate(lines[1:], 2):
        if fields == [""]:
            continue
        if len(fields) != len(header):
            raise InputError(f"{path}:{number}: {len(fields)} columns; the header has {len(header)}")
        found.setdefault(fields[0], fields[place] or "none")
    return found


def browser_path(folder: Path, pair: Pair, piece: BinRange, bin: int) -> Path:
    """Where the plot of a region goes."""
    return folder / f"{pair[0]}.{pair[1]}.{piece.chromosome}_{piece.first * bin}_{piece.end * bin}.png"


def draw_region(folder: Path, opened: GenomeAvocado, database: Database, pair: Pair, piece: BinRange) -> Path:
    """Draw a track as measured, as imputed, and as the mean of the other cell types, in the model's values."""
    from kerasgen import plotting
    from kerasgen.track_models.plots import Row, draw_browser
    from kerasgen.track_models.scores import baselines

    def read(other: Pair) -> np.ndarray:
        found = observed(database, opened, other, [piece])
        assert found is not None
        return found

    there = {(track.dataset, track.attribute) for track in database.tracks if track.kind == "signal"}
    model = opened.main
    rows = [Row("observed", read(pair), plotting.OBSERVED)] if pair in there else []
    std = opened.std(pair, piece) if model.n_models > 1 else None
    rows.append(Row("imputed", opened.impute([pair], piece)[0], plotting.MODEL, std))
    same_assay = [other for other in model.experiments if other[1] == pair[1] and other in there]
    average = baselines(pair, same_assay, read).get("mean of others")
    if average is not None:
        rows.append(Row("mean of other\ncell types", average, plotting.BASELINES[0]))
    label = "arcsinh of the signal" if model.transformation == "arcsinh" else "signal"
    seen = ", held out" if pair in opened.held_out else ", trained on" if pair in model.experiments else ""
    return draw_browser(
        browser_path(folder, pair, piece, model.bin), f"{pair[1]} in {pair[0]}{seen}", piece.chromosome,
        piece.first * model.bin, model.bin, rows, label, measured=bool(pair in there),
    )  # fmt: skip


def draw_model(
    path: Path, opened: GenomeAvocado, database: Database, method: str, labels: Mapping[str, str] | None
) -> Path:
    """Draw projections of a model's cell types, assays and positions.

    Cell types and assays are coloured by ``labels``, where these name any; positions by the assay that stands out there
    most: whose mean over the tracks is furthest above its own mean, in standard deviations.
    """
    from kerasgen.track_models.plots import NONE, Panel, draw_embeddings

    model, column = opened.main, getattr(labels, "column", "")
    panels = []
    for title, names, vectors in (
        ("cell types", model.celltypes, model.celltype_embedding),
        ("assays", model.assays, model.assay_embedding),
    ):
        known = labels is not None and any(name in labels for name in names)
        coloured = [labels.get(name, NONE) for name in names] if known and labels else []
        panels.append(Panel(title, vectors, names, coloured, column))
    bins = model.n_genomic_positions or 0
    many, block = _POSITIONS[method]
    blocks = np.linspace(0, max(bins - block, 0), min(many // block, max(bins // block, 1))).astype(np.int64)
    # Of these bins alone: the factors of a whole chromosome, each repeated for its bins, may not fit in memory.
    positions = np.unique((blocks[:, None] + np.arange(min(block, bins))).ravel())
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
    factors = np.concatenate([model.factors(int(run[0]), int(run[-1]) + 1) for run in runs])
    if factors.shape[1]:
        outstanding = _outstanding(opened, database, positions)
        panels.append(Panel("positions", factors, labels=outstanding, legend="assay that stands out"))
    return draw_embeddings(path, f"{Path(opened.prefix).name}: learned embeddings", panels, method)


def _outstanding(opened: GenomeAvocado, database: Database, positions: np.ndarray) -> list[str]:
    """For each bin, the assay that stands out there, or ``none``."""
    model = opened.main
    by_pair = {(t.dataset, t.attribute): t for t in database.tracks if t.kind == "signal"}
    means = []
    for assay in model.assays:
        tracks = [by_pair[pair] for pair in model.experiments if pair[1] == assay and pair in by_pair]
        values = np.full(len(positions), np.nan)
        for stretch in model.stretches if tracks else ():
            here = np.flatnonzero((positions >= stretch.first) & (positions < stretch.end))
            if len(here):
                starts = stretch.start + (positions[here] - stretch.first) * model.bin
                found = database.bins(tracks, [stretch.chromosome] * len(here), starts, 1, model.bin)[:, 0]
                for place, track in enumerate(tracks):
                    found[:, place] = transformed(database.uri, track, found[:, place], model.transformation)
                there = np.isfinite(found)
                values[here] = np.where(there, found, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        means.append(values)
    from kerasgen.track_models.plots import NONE

    table = np.nan_to_num(np.array(means))
    spread = table.std(axis=1, keepdims=True)
    standardised = (table - table.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    best = standardised.argmax(axis=0)
    high = standardised.max(axis=0) >= _STANDS_OUT
    return [model.assays[place] if yes else NONE for place, yes in zip(best, high, strict=True)]
