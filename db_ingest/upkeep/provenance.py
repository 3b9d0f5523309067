"""Whether what is stored is what its sources say: files read once more, and compared base for base."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from db_ingest.errors import KerasgenError
from db_ingest.formats import FORMATS, bed, sequence
from db_ingest.formats.base import Channel, SignalReader
from db_ingest.inputs.fetch import Fetcher
from db_ingest.inputs.files import describe_source
from db_ingest.inputs.naming import Naming, read_alias_table
from db_ingest.layout import codes, members
from db_ingest.layout.catalogue import Catalogue, Track
from db_ingest.layout.reader import Reader
from db_ingest.progress import progress
from db_ingest.upkeep import importing, merge
from db_ingest.upkeep.stored import Damage
from db_ingest.writing import computed, workers
from db_ingest.writing.masks import RasterisedMask, interval_fields

_STRETCH = 2**22
"""Bases compared at a time."""

_BASES = "ACGTN"


class _NotComparedError(Exception):
    """Why a track cannot be compared with its source."""


@dataclass(frozen=True)
class _Check:
    """What the checks of all tracks share."""

    uri: str
    catalogue: Catalogue
    reader: Reader
    naming: Naming
    fetcher: Fetcher
    threads: int
    advance: Callable[[int], None]


def check_sources(
    uri: str,
    catalogue: Catalogue,
    tracks: Sequence[Track],
    with_sequence: bool,
    *,
    chrom_alias: str | None,
    cache_dir: str | None,
    threads: int,
) -> tuple[list[Damage], list[str]]:
    """Compare tracks, and the sequence, with what they came from.

    Returns:
        The first difference of each, and a line for each source that there is nothing to compare with.
    """
    fetcher = Fetcher(cache_dir)
    aliases = read_alias_table(fetcher.local(chrom_alias), catalogue.genome) if chrom_alias else {}
    groups: dict[tuple[Any, ...], list[Track]] = {}
    for track in tracks:
        groups.setdefault(_read_with(track), []).append(track)
    wanted: list[list[Track]] = [*groups.values()]
    at_a_time = workers.at_a_time(threads)
    total = sum(catalogue.genome.bases for _ in tracks) + (catalogue.genome.bases if with_sequence else 0)
    reader = Reader(uri)
    try:
        with progress("compare with sources", total, "bases") as advance, ThreadPoolExecutor(at_a_time) as executor:
            inner = max(1, at_a_time // max(1, len(wanted)))
            check = _Check(
                uri=uri,
                catalogue=catalogue,
                reader=reader,
                naming=Naming(catalogue.genome, aliases),
                fetcher=fetcher,
                threads=inner,
                advance=advance,
            )
            futures = [executor.submit(_check_sequence, check)] if with_sequence else []
            futures += [executor.submit(_check_group, check, group) for group in wanted]
            found = [future.result() for future in futures]
    finally:
        reader.close()
    return [item for damage, _ in found for item in damage], [line for _, lines in found for line in lines]


def _read_with(track: Track) -> tuple[Any, ...]:
    """Tracks with equal keys are taken from a file in one reading."""
    known = FORMATS.get(track.type)
    if known is None or known.kind == "mask" or known.splits:
        return track.attribute, track.dataset
    options = tuple(sorted((name, repr(value)) for name, value in track.options.items()))
    return track.source["path"], track.source["sha256"], known.module, repr(known.fixed), options


def _check_group(check: _Check, tracks: list[Track]) -> tuple[list[Damage], list[str]]:
    """First differences of tracks that come from one file."""
    damage: list[Damage] = []
    try:
        with _opened(check, tracks) as opened:
            for track, source in opened:
                what = source.table_differs() or _first_difference(check, track, source)
                damage += [Damage(track.name, what, track)] if what else []
    except _NotComparedError as reason:
        return damage, [f"{track.name}: {reason}" for track in tracks]
    except KerasgenError as error:
        return damage, [f"{track.name}: not compared with its source ({error})" for track in tracks]
    return damage, []


@dataclass(frozen=True)
class _TrackSource:
    """What a track came from.

    Args:
        read: gives its cells: chromosome, start, end -> values.
        chromosomes: those that it covers.
        table_differs: says what is wrong with the intervals behind a mask, if anything is.
    """

    read: Callable[[str, int, int], np.ndarray]
    chromosomes: tuple[str, ...]
    table_differs: Callable[[], str | None] = lambda: None


@contextlib.contextmanager
def _opened(check: _Check, tracks: list[Track]) -> Iterator[list[tuple[Track, _TrackSource]]]:
    """The source of each track."""
    track, genome = tracks[0], check.catalogue.genome
    if track.type == merge.TYPE:
        inputs = merge.inputs_of(check.catalogue, track)
        if inputs is None:
            datasets = ", ".join(track.source["datasets"])
            raise _NotComparedError(f"what it was pooled from ({datasets}) has changed since")
        from db_ingest.upkeep.pooling import Pooled

        pooled = Pooled(check.reader, genome, inputs, track.source["how"])
        yield [(track, _TrackSource(pooled.read, pooled.chromosomes))]
    elif track.type == importing.TYPE:
        with importing.open_column(genome, track) as column:
            if column is None:
                raise _NotComparedError(f"source {track.source['path']} has changed since")
            yield [(track, _TrackSource(column.read, column.chromosomes))]
    elif track.type == computed.TYPE:
        raise _NotComparedError(f"computed ({track.source['path']}); there is nothing to compare it with")
    elif track.kind == "mask":
        path, options = _source_file(check, track)
        table = FORMATS[track.type].load().open_intervals(path, check.naming, options)
        mask = RasterisedMask(genome, options["summits"], table)
        yield [(track, _TrackSource(mask.read, genome.names, lambda: _table_differs(check, track, table)))]
    else:
        path, options = _source_file(check, track)
        known = FORMATS[track.type]
        channels = tuple(Channel(FORMATS[item.type].strand, item.source.get("group")) for item in tracks)
        extra = {"threads": check.threads} if known.threaded else {}
        reader = known.load().open_signal(path, check.naming, options, channels, **extra)
        with contextlib.closing(reader):
            yield [(item, _TrackSource(_channel(reader, i), reader.chromosomes)) for i, item in enumerate(tracks)]


def _channel(reader: SignalReader, channel: int) -> Callable[[str, int, int], np.ndarray]:
    return lambda chromosome, first, last: reader.read_bins(chromosome, first, last, channel)


def _source_file(check: _Check, track: Track) -> tuple[Path, dict[str, Any]]:
    """A track's file, on this machine, and the options that it was read with."""
    path = _unchanged(check, track.source["path"], track.source["sha256"])
    options = FORMATS[track.type].all_options(track.options)
    if options.get("negative") == "auto":
        # The attribute's name decided it at the ingest; it may have another name now.
        options["negative"] = "absolute" if track.summary.get("absolute") else "keep"
    if options.get("barcodes"):
        options["barcodes"] = str(_unchanged(check, options["barcodes"], options.pop("barcodes_sha256")))
        if "group" not in track.source:
            raise _NotComparedError("not compared with its source: which group of barcodes it is was not recorded")
    return path, options


def _unchanged(check: _Check, place: str, sha256: str) -> Path:
    try:
        path = check.fetcher.local(place)
        now = describe_source(path)
    except (KerasgenError, OSError) as error:
        raise _NotComparedError(f"source {place} is not there ({error})") from error
    if now["sha256"] != sha256:
        raise _NotComparedError(f"source {place} has changed since")
    return path


def _first_difference(check: _Check, track: Track, source: _TrackSource) -> str | None:
    genome = check.catalogue.genome.binned(track.bin) if track.bin > 1 else check.catalogue.genome
    for name in genome.names:
        if name not in source.chromosomes:
            if name in track.checksums:
                return f"{name}: is stored, but its source {track.source['path']} does not cover it"
            continue
        offset, size = genome.offset(name), genome.size(name)
        for start in range(0, size, _STRETCH):
            end = min(start + _STRETCH, size)
            expected = source.read(name, start, end)
            found = check.reader.read(track.member, track.row, np.array([offset + start]), np.array([offset + end]))
            differs = expected != found
            if found.dtype.kind == "f":
                differs &= ~(np.isnan(expected) & np.isnan(found))
            if differs.any():
                at = int(np.argmax(differs))
                difference = f"the source has {_say(expected[at])}, stored is {_say(found[at])}"
                return f"{name}:{(start + at) * track.bin:,}: {difference} ({track.source['path']})"
            check.advance((end - start) * track.bin)
    return None


def _say(value: Any) -> str:
    missing = np.isnan(value) if value.dtype.kind == "f" else value == codes.MASK_MISSING
    return "no value" if missing else f"{value:.9g}"


def _check_sequence(check: _Check) -> tuple[list[Damage], list[str]]:
    assert check.catalogue.sequence is not None
    name, source = members.SEQUENCE, check.catalogue.sequence
    genome = check.catalogue.genome
    try:
        path = _unchanged(check, source["path"], source["sha256"])
        for chromosome, bases in sequence.chromosomes(path, check.naming):
            offset = genome.offset(chromosome)
            for start in range(0, len(bases), _STRETCH):
                expected = bases[start : start + _STRETCH]
                end = start + len(expected)
                found = check.reader.read(name, None, np.array([offset + start]), np.array([offset + end]))
                differs = expected != found
                if differs.any():
                    at = int(np.argmax(differs))
                    difference = f"the source has {_BASES[expected[at]]}, stored is {_BASES[min(found[at], 4)]}"
                    return [Damage(name, f"{chromosome}:{start + at:,}: {difference} ({source['path']})")], []
                check.advance(len(expected))
    except _NotComparedError as reason:
        return [], [f"{name}: {reason}"]
    except KerasgenError as error:
        return [], [f"{name}: not compared with its source ({error})"]
    return [], []


def _table_differs(check: _Check, track: Track, table: bed.BedTable) -> str | None:
    """The first interval that is not stored as the file has it."""
    genome = check.catalogue.genome
    found = check.reader.read_intervals(track.intervals, track.row)
    expected = interval_fields(genome, table)
    if len(found["start"]) != len(table):
        return f"{len(found['start']):,} intervals are stored, the source has {len(table):,} ({track.source['path']})"
    # Intervals of one start are stored in any order.
    order, stored_order = (np.lexsort([fields[key] for key in reversed(expected)]) for fields in (expected, found))
    for key, values in expected.items():
        source_has, stored = values[order], found[key][stored_order]
        differs = source_has != stored
        if source_has.dtype.kind == "f":
            differs &= ~(np.isnan(source_has) & np.isnan(stored))
        if differs.any():
            at = int(np.argmax(differs))
            place = int(expected["start"][order][at])
            chromosome = genome.names[int(np.searchsorted(genome.offsets, place, side="right")) - 1]
            return (
                f"interval at {chromosome}:{place - genome.offset(chromosome):,}: {key} is {source_has[at]} in the "
                f"source, stored is {stored[at]} ({track.source['path']})"
            )
    return None
