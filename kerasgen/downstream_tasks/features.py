"""Features of elements: values of tracks pooled over regions."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from db_ingest.errors import InputError
from db_ingest.layout.catalogue import Track
from db_ingest.layout.genome import Genome, shorten_names
from db_ingest.progress import progress as show_progress
from db_ingest.writing import computed
from kerasgen.database import Database
from kerasgen.downstream_tasks.elements import Elements
from kerasgen.downstream_tasks.settings import POOLS
from kerasgen.track_models.binned import TRANSFORMATIONS, stored_transformation

_TILE = 256
"""Bins that are read together."""
_BINS_AT_ONCE = 2**22


class FeatureSet(NamedTuple):
    """Tracks, or the components of an embedding, that predict together.

    Args:
        name: what tables and plots call it.
        tracks: signals of the database.
        transformation: ``"arcsinh"`` of each bin, or ``"None"``; an embedding's components are taken as they are.
    """

    name: str
    tracks: tuple[Track, ...]
    transformation: str


def feature_sets(
    database: Database, features: Sequence[str] | None, transformation: Sequence[str] = ("None",)
) -> list[FeatureSet]:
    """The feature sets that a command names.

    Args:
        database: an open one.
        features: ``NAME=attribute,attribute:dataset...`` each; an attribute alone is of all datasets that have it, and
            ``*`` and ``?`` stand for any letters, so that ``*:E003`` is all of a dataset. Default: ``tracks=*``, all
            that was measured: embeddings are taken where attribute or dataset is named.
        transformation: one per set, or one for all.

    Raises:
        InputError: not of this form, a set named twice or without tracks, an unknown attribute or dataset, a mask.
    """
    words = list(features) if features else ["tracks=*"]
    if len(transformation) not in (1, len(words)):
        raise InputError(f"--transformation: {len(transformation)} words; expected one, or {len(words)}, one a set")
    kinds = list(transformation) * (len(words) if len(transformation) == 1 else 1)
    sets: list[FeatureSet] = []
    for word, kind in zip(words, kinds, strict=True):
        name, equals, listed = word.partition("=")
        if not name or not equals:
            raise InputError(f"--features {word}: expected NAME=attribute,attribute:dataset...")
        if kind not in TRANSFORMATIONS:
            raise InputError(f"--transformation {kind}: expected one of {', '.join(TRANSFORMATIONS)}")
        if name in [known.name for known in sets]:
            raise InputError(f"--features {word}: a set named {name!r} is there already")
        selectors = [selector for selector in listed.split(",") if selector]
        if not selectors:
            raise InputError(f"--features {word}: a set without tracks; expected attributes after the =")
        chosen: dict[str, Track] = {}
        for selector in selectors:
            for track in _selected(database, word, selector):
                _refuse_transformation(database, track, kind)
                chosen[_label(track)] = track
        sets.append(FeatureSet(name, tuple(chosen.values()), kind))
    return sets


def _selected(database: Database, word: str, selector: str) -> list[Track]:
    attribute, _, dataset = selector.partition(":")
    matching = [
        track
        for track in database.tracks
        if fnmatch.fnmatchcase(track.attribute, attribute) and fnmatch.fnmatchcase(track.dataset, dataset or "*")
    ]
    signals = [track for track in matching if track.kind == "signal"]
    if matching and not signals:
        raise InputError(f"--features {word}: {selector!r} is a mask; expected signals")
    if not selector.strip("*?:"):
        # As everywhere: what a model computed is no measurement, and is taken only where it is named.
        signals = [track for track in signals if track.type != computed.TYPE]
    if not signals:
        raise InputError(
            f"--features {word}: {database.uri} has no track {selector!r}; its attributes are "
            f"{shorten_names(database.attributes, 12)} and its datasets {shorten_names(database.datasets, 12)}"
        )
    return signals


def _is_changed(track: Track, transformation: str) -> bool:
    """Whether a transformation is yet to be applied to a track's bins."""
    return transformation != "None" and stored_transformation(track) != transformation and track.type != computed.TYPE


def _refuse_transformation(database: Database, track: Track, wanted: str) -> None:
    before = stored_transformation(track)
    if wanted != "None" and before not in ("None", wanted):
        raise InputError(
            f"{database.uri}: {track.name} was ingested with transform {before}; it cannot become {wanted}"
        )


def _label(track: Track) -> str:
    return f"{track.attribute}:{track.dataset}"


@dataclass(frozen=True)
class PoolingRegions:
    """Bins to pool over.

    Args:
        names: what each of the regions of an element is, e.g. ``("anchor1", "between")``.
        chromosome: ``(elements,) int64`` places in the genome.
        first, last: ``(elements, regions) int64`` bins from the chromosome's base 0, half-open; equal where an element
            has no such region.
    """

    names: tuple[str, ...]
    chromosome: np.ndarray
    first: np.ndarray
    last: np.ndarray


def regions_of(elements: Elements, *, bin: int, flank: int, parts: int) -> PoolingRegions:
    """The bins that features of elements are pooled over.

    Args:
        elements: they.
        bin: bp per bin.
        flank: bp added at both sides of an element or of each anchor, as far as the chromosome goes.
        parts: equal parts that each is divided into; on the minus strand the first is the rightmost.

    Returns:
        All bins that share a base with the element, a part of it, an anchor, or the bases between two anchors.
    """
    sizes = elements.genome.size_array()[elements.chromosome]
    start = np.maximum(elements.start - flank, 0)
    end = np.minimum(elements.end + flank, sizes[:, None])
    bounds = [(start[:, i], end[:, i]) for i in range(start.shape[1])]
    labels = [""]
    if elements.are_pairs:
        # The bases between the anchors themselves: flanks may meet where anchors do not.
        between = elements.end.min(axis=1), elements.start.max(axis=1)
        bounds.append(between)
        labels = ["anchor1", "anchor2", "between"]
    names, first, last = [], [], []
    for label, (begin, stop) in zip(labels, bounds, strict=True):
        length = np.maximum(stop - begin, 0)
        for part in range(parts):
            place = np.where(elements.reverse, parts - 1 - part, part)
            low, high = begin + length * place // parts, begin + length * (place + 1) // parts
            # A region of fewer bases than parts: each part has a base at least.
            high = np.where(length > 0, np.maximum(high, low + 1), low)
            first.append(low // bin)
            last.append(np.where(length > 0, -(-high // bin), low // bin))
            names.append(".".join(filter(None, [label, f"part{part + 1}" if parts > 1 else ""])))
    return PoolingRegions(tuple(names), elements.chromosome, np.column_stack(first), np.column_stack(last))


def pooled(
    database: Database,
    tracks: Sequence[Track],
    regions: PoolingRegions,
    *,
    bin: int,
    pools: Sequence[str] = ("mean",),
    transformation: str = "None",
    threads: int = 1,
    bins_at_once: int = _BINS_AT_ONCE,
) -> tuple[np.ndarray, list[str]]:
    """Pool tracks over regions.

    Args:
        database: an open one.
        tracks: signals.
        regions: over which bins.
        bin: bp per bin; a bin's value is the mean over its bases.
        pools: ``"mean"``, ``"max"``, ``"min"`` and ``"std"`` (over bins, divided by their number).
        transformation: ``"arcsinh"`` of each bin's value before pooling, unless it was ingested so or a model computed
            it; ``"None"``.
        threads: tracks that are read at a time.
        bins_at_once: bins of a track that are read together, at most.

    Returns:
        ``(elements, tracks x regions x pools) float32``, NaN where no bin of a region has a value; and the names of the
        columns.

    Raises:
        InputError: an unknown pool, or a bin of less than 1 bp.
    """
    check_pools(pools)
    if bin < 1:
        raise InputError(f"--bin {bin}: expected 1 or more bp")
    layout = _Tiles(database.genome, regions, bin, bins_at_once)
    count, width = len(regions.chromosome), len(regions.names) * len(pools)
    values = np.empty((count, len(tracks) * width), np.float32)
    names = [
        ".".join(filter(None, [_label(track), region, pool]))
        for track in tracks
        for region in regions.names
        for pool in pools
    ]

    with show_progress("pooling tracks", len(tracks), "tracks") as advance:

        def fill(place: int) -> None:
            columns = layout.pool(database, tracks[place], pools, arcsinh=_is_changed(tracks[place], transformation))
            values[:, place * width : (place + 1) * width] = columns.reshape(count, width)
            advance(1)

        if threads > 1 and len(tracks) > 1:
            fill(0)  # Opens the arrays and compiles the loop.
            with ThreadPoolExecutor(threads) as pool_of_threads:
                list(pool_of_threads.map(fill, range(1, len(tracks))))
        else:
            for place in range(len(tracks)):
                fill(place)
    return values, names


def check_pools(pools: Sequence[str]) -> None:
    """Raise :class:`InputError` unless these are some of :data:`POOLS`, each once."""
    for pool in pools or ("",):
        if pool not in POOLS or list(pools).count(pool) > 1:
            raise InputError(f"--pool {','.join(pools)}: expected some of {', '.join(POOLS)}, each once")


class _Tiles:
    """Tiles of bins that regions touch, laid end to end, so that all bins of a region follow one another.

    A track is read tile by tile, so memory holds a few tiles and five numbers per region, however long regions are.
    """

    def __init__(self, genome: Genome, regions: PoolingRegions, bin: int, bins_at_once: int) -> None:
        self._bin, self._tiles_at_once = bin, max(1, bins_at_once // _TILE)
        bins = -(-genome.size_array() // bin)
        tiles = -(-bins // _TILE)
        offset = np.concatenate([[0], np.cumsum(tiles)])
        first, last = regions.first.reshape(-1), regions.last.reshape(-1)
        begin = np.repeat(offset[regions.chromosome], len(regions.names))
        solid = last > first
        edges = np.zeros(int(offset[-1]) + 1, np.int64)
        np.add.at(edges, begin[solid] + first[solid] // _TILE, 1)
        np.add.at(edges, begin[solid] + (last[solid] - 1) // _TILE + 1, -1)
        touched = np.cumsum(edges[:-1]) > 0
        tile = np.flatnonzero(touched)
        self._chromosome = np.searchsorted(offset, tile, side="right") - 1
        self._start = (tile - offset[self._chromosome]) * _TILE * bin
        rank = np.cumsum(touched) - 1
        flat = np.zeros(len(first), np.int64)
        flat[solid] = rank[begin[solid] + first[solid] // _TILE] * _TILE + first[solid] % _TILE
        self._order = np.argsort(flat, kind="stable")
        self._first = flat[self._order]
        self._last = (flat + np.where(solid, last - first, 0))[self._order]
        self._reach = np.maximum.accumulate(self._last) if len(flat) else self._last
        self._shape = regions.first.shape

    def pool(self, database: Database, track: Track, pools: Sequence[str], *, arcsinh: bool) -> np.ndarray:
        """``(elements, regions, pools) float32`` of one track."""
        from kerasgen.downstream_tasks.pooling import accumulate

        size = len(self._first)
        count, total, squares = np.zeros(size, np.int64), np.zeros(size), np.zeros(size)
        low, high = np.full(size, np.inf), np.full(size, -np.inf)
        for top in range(0, len(self._start), self._tiles_at_once):
            tiles = slice(top, top + self._tiles_at_once)
            read = database.bins([track], self._chromosome[tiles], self._start[tiles], _TILE, self._bin)
            bins = read.reshape(-1)
            if arcsinh:
                np.arcsinh(bins, out=bins)
            begin, end = top * _TILE, top * _TILE + len(bins)
            which = slice(
                int(np.searchsorted(self._reach, begin, side="right")),
                int(np.searchsorted(self._first, end, side="left")),
            )
            accumulate(
                bins, self._first[which] - begin, self._last[which] - begin,
                count[which], total[which], squares[which], low[which], high[which],
            )  # fmt: skip
        known = np.maximum(count, 1)
        values = {
            "mean": total / known,
            "std": np.sqrt(np.maximum(squares / known - (total / known) ** 2, 0)),
            "min": low,
            "max": high,
        }
        result = np.empty((size, len(pools)), np.float32)
        result[self._order] = np.column_stack([np.where(count > 0, values[pool], np.nan) for pool in pools])
        return result.reshape(*self._shape, len(pools))
