"""Signals once more in bins: ``gen_db levels`` adds binned levels to tracks that are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue, Level, Track
from db_ingest.layout.selection import choose_tracks
from db_ingest.progress import progress
from db_ingest.settings import DryRun, Setting, TdbArray, takes_settings

AGGREGATIONS = ("mean", "max", "sum")
MOST_BASES = 10**6
"""Largest bin, in bp."""


@dataclass
class LevelsResult:
    """What was added, or would be.

    Args:
        uri: the database.
        written: tracks and the levels that they got.
        unchanged: tracks and the bins that they had already, or that their own cells are.
        dry_run: whether nothing was done.
    """

    uri: str
    written: list[tuple[Track, Level]] = field(default_factory=list)
    unchanged: list[tuple[Track, int]] = field(default_factory=list)
    dry_run: bool = False

    @property
    def lines(self) -> list[str]:
        """What was done, for people."""
        what = "would be written" if self.dry_run else "written"
        return [
            *(f"{track.name}: {bin:,} bp, there already" for track, bin in self.unchanged),
            *(f"{track.name}: {level.bin:,} bp, {level.aggregation}, {what}" for track, level in self.written),
        ]


@takes_settings
def levels(
    tdb_array: TdbArray,
    attributes: Annotated[Sequence[str], Setting("signals to keep in bins as well", metavar="NAME")],
    *,
    bins: Annotated[Sequence[int], Setting("sizes of the bins, one level each", unit="bp")],
    aggregation: Annotated[
        str, Setting("aggregation over the bases of a bin that have a value", choices=AGGREGATIONS)
    ] = "mean",
    datasets: Annotated[
        Sequence[str] | None, Setting("these datasets alone (default: all that have the attribute)", metavar="NAME")
    ] = None,
    overwrite: Annotated[bool, Setting("write levels that are there anew")] = False,
    dry_run: DryRun = False,
) -> LevelsResult:
    """Keep signals in bins as well, so that they can be read at that resolution without reading every base.

    A bin's value is over the bases that have one, added up in float64 and stored as float32; a bin without any has none
    (NaN). Bins start at base 0 of each chromosome. A track that was measured on a grid counts as if each base had the
    value of its bin. Each track gets its levels in one step, when all are written; a track that is replaced later has
    none until this runs again.

    Raises:
        InputError: unknown names, a mask, a bin that is no whole number above 1, or one that is no multiple of the grid
            that a track was measured on.
        RunError: another process is writing to the database, or the storage failed.
    """
    sizes = check_bins(bins, aggregation)
    if dry_run:
        catalogue = catalogues.load(tdb_array)
        result, todo = _plan(tdb_array, choose_tracks(catalogue, attributes, datasets), sizes, aggregation, overwrite)
        result.dry_run = True
        result.written = [(track, Level(bin, aggregation, -1, {})) for track, missing in todo for bin in missing]
        return result
    with storage.write_lock(tdb_array, keep=lambda: catalogues.exists(tdb_array)) as lock:
        catalogue = catalogues.load(tdb_array)
        tracks = choose_tracks(catalogue, attributes, datasets)
        return add_levels(tdb_array, catalogue, tracks, sizes, aggregation, overwrite=overwrite, check=lock.check)


def add_levels(
    uri: str,
    catalogue: Catalogue,
    tracks: Sequence[Track],
    sizes: Sequence[int],
    aggregation: str = "mean",
    *,
    overwrite: bool = False,
    check: Callable[[], None],
) -> LevelsResult:
    """The same for tracks of a catalogue, by whoever holds the writer's lock.

    Args:
        uri: the database.
        catalogue: its catalogue as it is now; it is saved with the levels.
        tracks: signals of it.
        sizes: bp per bin.
        aggregation: one of :data:`AGGREGATIONS`.
        overwrite: write levels anew that are there.
        check: raises if the lock was lost.
    """
    result, todo = _plan(uri, tracks, sizes, aggregation, overwrite)
    if todo:
        _perform(uri, catalogue, todo, aggregation, result, check)
    return result


def _perform(
    uri: str,
    catalogue: Catalogue,
    todo: Sequence[tuple[Track, list[int]]],
    aggregation: str,
    result: LevelsResult,
    check: Callable[[], None],
) -> None:
    from db_ingest.writing.level_writer import passes, write_levels

    def save() -> None:
        check()
        catalogue.save(uri)

    # Rows are handed out for good before the first byte is written, so that none is ever used twice.
    fresh = [
        [Level(bin, aggregation, catalogue.take_row(track.stored_as or track.attribute), {}) for bin in missing]
        for track, missing in todo
    ]
    save()
    bases = sum(
        len(passes(wanted)) * sum(catalogue.genome.size(name) for name in track.checksums)
        for (track, _), wanted in zip(todo, fresh, strict=True)
    )
    with progress("levels", bases, "bases") as advance:
        for (track, _), wanted in zip(todo, fresh, strict=True):
            made = write_levels(uri, catalogue.genome, track, wanted, advance)
            replaced = {(level.bin, level.aggregation) for level in made}
            kept = [level for level in track.levels if (level.bin, level.aggregation) not in replaced]
            binned = replace(track, levels=tuple(sorted([*kept, *made], key=lambda level: level.bin)))
            catalogue.tracks[catalogue.tracks.index(track)] = binned
            save()
            result.written += [(track, level) for level in made]


def check_bins(sizes: Sequence[int], aggregation: str = "mean", flag: str = "--bins") -> list[int]:
    """Bins each once, in order; raises :class:`InputError` for those that no level can have."""
    if aggregation not in AGGREGATIONS:
        raise InputError(f"--aggregation {aggregation}: expected one of {', '.join(AGGREGATIONS)}")
    for size in sizes:
        if not 2 <= size <= MOST_BASES:
            raise InputError(f"{flag} {size}: expected bp per bin, from 2 to {MOST_BASES:,}")
    if not sizes:
        raise InputError(f"{flag}: expected one or more")
    return sorted(set(sizes))


def _plan(
    uri: str, tracks: Sequence[Track], sizes: Sequence[int], aggregation: str, overwrite: bool
) -> tuple[LevelsResult, list[tuple[Track, list[int]]]]:
    """Tracks and the bins that they lack."""
    result, todo = LevelsResult(uri), []
    for track in tracks:
        if track.kind != "signal":
            raise InputError(f"{track.name} is a mask; expected signals")
        there = {level.bin for level in track.levels if level.aggregation == aggregation}
        missing = []
        for size in sizes:
            if size % track.bin:
                raise InputError(
                    f"--bins {size}: {track.name} was measured in bins of {track.bin} bp; expected a multiple"
                )
            if (size in there and not overwrite) or (size == track.bin and aggregation != "sum"):
                result.unchanged.append((track, size))
            else:
                missing.append(size)
        if missing:
            todo.append((track, missing))
    return result, todo
