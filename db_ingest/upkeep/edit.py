"""Take tracks out of a database or give them other names: the catalogue changes, in one step, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

from db_ingest.errors import InputError
from db_ingest.layout.catalogue import Catalogue, Track
from db_ingest.layout.genome import shorten_names
from db_ingest.layout.names import check_attribute, check_dataset
from db_ingest.layout.selection import choose_tracks
from db_ingest.settings import DryRun, Setting, TdbArray, takes_settings
from db_ingest.writing.changing import changing

_MOST_NAMES = 12


@takes_settings
def drop(
    tdb_array: TdbArray,
    *,
    attribute: Annotated[
        str | None, Setting("attribute to drop; with --dataset, the one track of both", metavar="NAME")
    ] = None,
    dataset: Annotated[str | None, Setting("dataset to drop", metavar="NAME")] = None,
    staged: Annotated[
        bool,
        Setting(
            "forget rows that an interrupted writer had begun, of the attribute and the dataset if given, instead of "
            "dropping tracks; the same ingest then starts anew instead of going on"
        ),
    ] = False,
    dry_run: DryRun = False,
) -> list[str]:
    """Take a track, all tracks of an attribute or all of a dataset out of a database.

    A reader that has the database open goes on reading what it had. The space is given back by ``gen_db consolidate``.

    Returns:
        A line for each change.

    Raises:
        InputError: nothing named, or names that the database lacks.
    """
    if attribute is None and dataset is None and not staged:
        raise InputError("nothing to drop; give --attribute, --dataset, both, or --staged")
    with changing(tdb_array, dry_run=dry_run) as (catalogue, save):
        if staged:
            rows = [row for row in catalogue.staged if _matches(row.attribute, row.dataset, attribute, dataset)]
            if not rows and (attribute or dataset):
                known = [f"{row.dataset} {row.attribute}" for row in catalogue.staged]
                raise InputError(
                    f"no interrupted rows of that name; there are {shorten_names(known, _MOST_NAMES) or 'none'}"
                )
            catalogue.staged = [row for row in catalogue.staged if row not in rows]
            lines = [f"{row.dataset} {row.attribute}: interrupted row {row.row}" for row in rows]
        else:
            tracks = _chosen(catalogue, attribute, dataset)
            catalogue.tracks = [track for track in catalogue.tracks if track not in tracks]
            lines = [f"{track.name}: row {track.row} of {track.member}" for track in tracks]
        if lines:
            save()
    return [f"{'would drop' if dry_run else 'dropped'} {line}" for line in lines]


@takes_settings
def rename(
    tdb_array: TdbArray,
    to: Annotated[
        str, Setting("the new name, which no attribute or no dataset of the database may have", metavar="NAME")
    ],
    *,
    attribute: Annotated[str | None, Setting("attribute to rename", metavar="NAME")] = None,
    dataset: Annotated[str | None, Setting("dataset to rename", metavar="NAME")] = None,
    dry_run: DryRun = False,
) -> list[str]:
    """Give an attribute or a dataset another name.

    Nothing is moved: the arrays of a renamed attribute keep the name they have.

    Returns:
        A line for each track that has another name now.

    Raises:
        InputError: an unknown name, one that is taken, or one that cannot be a name.
    """
    if (attribute is None) == (dataset is None):
        raise InputError("give one of --attribute and --dataset, and its new name with --to")
    with changing(tdb_array, dry_run=dry_run) as (catalogue, save):
        chosen = _chosen(catalogue, attribute, dataset)
        if attribute is None:
            kind, taken = "dataset", catalogue.datasets
            check_dataset(to, "--to")
        else:
            kind, taken = "attribute", catalogue.attributes
            check_attribute(to, "--to")
        if to in taken:
            raise InputError(f"--to {to}: another {kind} of the database has that name")
        lines = []
        for track in chosen:
            new = dataclasses.replace(track, dataset=to) if attribute is None else _renamed_attribute(track, to)
            catalogue.tracks[catalogue.tracks.index(track)] = new
            lines.append(f"{'would rename' if dry_run else 'renamed'} {track.name} to {new.name}")
        if dataset is not None:
            catalogue.tracks = [_of_renamed(track, dataset, to) for track in catalogue.tracks]
        save()
    return lines


def _of_renamed(track: Track, dataset: str, to: str) -> Track:
    """A track that may be pooled from a renamed dataset, among others."""
    if dataset not in track.source.get("datasets", ()):
        return track
    datasets = [to if name == dataset else name for name in track.source["datasets"]]
    return dataclasses.replace(track, source={**track.source, "datasets": datasets})


def _renamed_attribute(track: Track, to: str) -> Track:
    stored_as = track.stored_as or track.attribute
    return dataclasses.replace(track, attribute=to, stored_as=None if stored_as == to else stored_as)


def _matches(its_attribute: str, its_dataset: str, attribute: str | None, dataset: str | None) -> bool:
    return attribute in (None, its_attribute) and dataset in (None, its_dataset)


def _chosen(catalogue: Catalogue, attribute: str | None, dataset: str | None) -> Sequence[Track]:
    """Tracks of an attribute, a dataset, or both; raises :class:`InputError` that lists the known names."""
    if attribute is not None and dataset is not None:
        return [catalogue.track(attribute, dataset)]
    return choose_tracks(catalogue, None if attribute is None else [attribute], None if dataset is None else [dataset])
