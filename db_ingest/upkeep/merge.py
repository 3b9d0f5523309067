"""Pool datasets: a new dataset whose signals are the sum or the mean of others, base by base."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from db_ingest.errors import InputError
from db_ingest.formats import TRANSFORM, UNIT
from db_ingest.layout.catalogue import Catalogue, Provenance, Track
from db_ingest.layout.names import check_dataset
from db_ingest.settings import DryRun, Setting, TdbArray, Threads, takes_settings
from db_ingest.writing.changing import changing

if TYPE_CHECKING:
    from db_ingest.layout.reader import Reader
    from db_ingest.writing.derived import DerivedTrack

TYPE = "merge"
"""Type of a track that came from other tracks of its database."""

WAYS = ("sum", "mean")


@takes_settings
def merge(
    tdb_array: TdbArray,
    attribute: Annotated[Sequence[str], Setting("signals to pool", metavar="NAME")],
    datasets: Annotated[
        Sequence[str],
        Setting(
            "two or more datasets to pool, which have all the signals; their order does not matter", metavar="NAME"
        ),
    ],
    into: Annotated[str, Setting("name of the pooled dataset", metavar="NAME")],
    *,
    how: Annotated[
        str, Setting("how values are pooled, over the datasets that have a value at the base", choices=WAYS)
    ] = "sum",
    overwrite: Annotated[
        bool, Setting("replace tracks of the pooled dataset that came from other sources or another state of these")
    ] = False,
    threads: Threads = 0,
    dry_run: DryRun = False,
) -> list[str]:
    """Pool signals of several datasets into a new dataset of the same database.

    A base's value is the sum or the mean over those of the datasets that have a value there, added up in float64;
    where none has one, the pooled track has none. Sums of counts that stay below 65,535 are stored as counts. Binned
    levels are not pooled; make them anew.

    A pooled track that is there already is left as it is if the tracks that it came from have not changed. A merge that
    was interrupted goes on where it ended when it is started again.

    Returns:
        A line for each track of the pooled dataset.

    Raises:
        InputError: unknown names, masks, tracks on different grids, or a track that is there from another source.
        RunError: another process is writing to the database, or the storage failed.
    """
    names, datasets = list(dict.fromkeys(attribute)), list(datasets)
    check_dataset(into, "--into")
    if len(set(datasets)) < 2 or len(set(datasets)) < len(datasets):
        raise InputError(f"--datasets {' '.join(datasets)}: expected two or more, each once")
    if into in datasets:
        raise InputError(f"--into {into}: is one of the datasets to pool; expected a name of its own")
    from db_ingest.layout.reader import Reader
    from db_ingest.writing.derived import refuse_or_skip, write

    with changing(tdb_array, dry_run=dry_run) as (catalogue, save), contextlib.closing(Reader(tdb_array)) as reader:
        wanted = [_wanted(reader, catalogue, name, datasets, into, how) for name in names]
        todo = [item for item in wanted if refuse_or_skip(catalogue, item, overwrite)]
        lines = [f"{item.dataset} {item.attribute}: unchanged" for item in wanted if item not in todo]
        of = f"{how} of {', '.join(datasets)}"
        if dry_run:
            return lines + [f"would write {item.dataset} {item.attribute}: {of}" for item in todo]
        for item, track in write(tdb_array, catalogue, save, todo, threads, "merge") if todo else ():
            line = f"wrote {track.name}: {of}" if track else f"{into} {item.attribute}: no dataset has any value"
            lines.append(line)
    return lines


def inputs_of(catalogue: Catalogue, track: Track) -> list[Track] | None:
    """The tracks that a pooled track came from; None if they are not there any more or have changed."""
    inputs = [catalogue.find(track.attribute, name) for name in track.source["datasets"]]
    found = [item for item in inputs if item is not None and item.kind == "signal"]
    if len(found) < len(inputs) or _digest(found, track.source["how"]) != track.source["sha256"]:
        return None
    return found


def _wanted(
    reader: Reader, catalogue: Catalogue, attribute: str, datasets: list[str], into: str, how: str
) -> DerivedTrack:
    from db_ingest.upkeep.pooling import Pooled
    from db_ingest.writing.derived import DerivedTrack

    tracks = [catalogue.track(attribute, dataset) for dataset in datasets]
    if tracks[0].kind != "signal":
        raise InputError(f"attribute {attribute!r} is a mask; only signals have a sum or a mean")
    bins = {track.bin: track for track in tracks}
    if len(bins) > 1:
        (one, first), (two, second) = list(bins.items())[:2]
        raise InputError(f"{first.name} has {one} bp per bin, {second.name} has {two}; expected the same")
    for track in tracks:
        if track.transform != tracks[0].transform:
            raise InputError(
                f"{tracks[0].name} has transform {tracks[0].transform}, {track.name} has {track.transform}; "
                "expected the same"
            )
    options = {
        name: tracks[0].options[name]
        for name in (TRANSFORM, UNIT)
        if all(track.options.get(name) == tracks[0].options.get(name, ...) for track in tracks)
    }
    source: dict[str, Any] = {"path": TYPE, "datasets": datasets, "how": how, "sha256": _digest(tracks, how)}
    origin = Pooled(reader, catalogue.genome, tracks, how)
    provenance = Provenance(TYPE, source, options)
    return DerivedTrack(
        attribute=attribute,
        dataset=into,
        kind="signal",
        provenance=provenance,
        origin=origin,
        bin=tracks[0].bin,
    )


def _digest(tracks: Sequence[Track], how: str) -> str:
    """SHA-256 that changes when the values of any of the tracks do, whatever their order."""
    contents = sorted(json.dumps([track.bin, track.folder, track.checksums], sort_keys=True) for track in tracks)
    return hashlib.sha256(json.dumps([how, contents]).encode()).hexdigest()
