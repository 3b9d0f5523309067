"""Copy a database, or some of its tracks, between disks and S3."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Annotated

from db_ingest import storage
from db_ingest.errors import InputError, MissingFileError, RunError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue
from db_ingest.layout.selection import choose_tracks
from db_ingest.progress import progress
from db_ingest.settings import DryRun, Setting, TdbArray, takes_settings
from db_ingest.upkeep import fragments
from db_ingest.upkeep.consolidate import tidy
from db_ingest.upkeep.fragments import SCHEMA, Folder

MARK = ".copy.json"
"""Name of the file in a copy that is not whole yet; it says of what."""

_AT_ONCE = 8


@dataclass
class CopyResult:
    """What was copied, or would be.

    Args:
        uri: the database that was copied.
        to: the copy.
        tracks: names of its tracks.
        bytes: number of bytes of the copy's fragments.
        copied: bytes of those that were not there yet.
        members: its arrays.
        dry_run: whether nothing was done.
    """

    uri: str
    to: str
    tracks: list[str] = field(default_factory=list)
    bytes: int = 0
    copied: int = 0
    members: list[str] = field(default_factory=list)
    dry_run: bool = field(default=False, compare=False)

    @property
    def lines(self) -> list[str]:
        """What was done, for people."""
        what = "would be copied" if self.dry_run else "copied"
        size = f"{self.copied / 1e6:,.1f} of {self.bytes / 1e6:,.1f} MB {what}"
        return [f"{self.to}: {len(self.tracks):,} track(s) of {self.uri}, {size}"]


@dataclass(frozen=True)
class _ArrayCopy:
    """An array to copy: its folder, and the fragments of the rows that are wanted."""

    folder: Folder
    wanted: frozenset[str]

    @property
    def files(self) -> dict[str, int]:
        """Bytes of each file to copy, by its path."""
        schemas = {path: size for path, size in self.folder.files.items() if path.startswith(f"{SCHEMA}/")}
        return schemas | self.folder.fragment_files(self.wanted)


@takes_settings
def copy(
    tdb_array: TdbArray,
    to: Annotated[
        str, Setting("path or s3:// URI of the copy; nothing may be there but part of the same copy", metavar="URI")
    ],
    *,
    datasets: Annotated[
        Sequence[str] | None, Setting("copy the tracks of these datasets alone", metavar="NAME")
    ] = None,
    attributes: Annotated[
        Sequence[str] | None, Setting("copy the tracks of these attributes alone", metavar="NAME")
    ] = None,
    dry_run: DryRun = False,
) -> CopyResult:
    """Copy a database, or some of its tracks, to another place; either may be local or in S3.

    Rows are copied as they are, fragment by fragment; those that the catalogue does not name, of dropped tracks and
    interrupted writers, are left behind. The sequence is copied always. The copy becomes visible when all of it is
    there and each file has the size that it should have. A copy that was interrupted goes on where it ended when it is
    started again. The database may be read and written meanwhile; the copy holds the tracks that it had at the start.

    Raises:
        InputError: no database there, unknown names, or something else at the target.
        RunError: another process is writing to the target, the database was consolidated meanwhile, or the storage
            failed.
    """
    tdb_array, to = str(tdb_array).rstrip("/"), str(to).rstrip("/")
    if to.startswith(f"{tdb_array}/"):
        raise InputError(f"--to {to}: lies in the database itself; expected another place")
    catalogue = _chosen(tdb_array, attributes, datasets)
    found = _arrays(tdb_array, catalogue)
    result = CopyResult(tdb_array, to, [track.name for track in catalogue.tracks], dry_run=dry_run)
    result.members = [array.folder.member for array in found]
    result.bytes = sum(sum(array.files.values()) for array in found)
    _check_target(to, tdb_array)
    if dry_run:
        result.copied = sum(sum(_missing(to, array).values()) for array in found)
        return result
    with storage.write_lock(to, keep=lambda: storage.exists(storage.join(to, MARK))) as lock:
        _check_target(to, tdb_array)
        storage.replace_bytes(storage.join(to, MARK), json.dumps({"copy_of": tdb_array}).encode())
        result.copied = _copy_arrays(to, found)
        lock.check()
        for name in set(fragments.members(to)) - set(result.members):
            storage.remove_tree(storage.join(to, name))
        fragments.remove_empty_folders(to)
        catalogue.save(to)
        storage.remove_tree(storage.join(to, MARK))
    return result


def _chosen(uri: str, attributes: Sequence[str] | None, datasets: Sequence[str] | None) -> Catalogue:
    """The catalogue of the copy; it has the number of the commit that is copied."""
    catalogue = catalogues.load(uri)
    tracks = choose_tracks(catalogue, attributes, datasets)
    return dataclasses.replace(catalogue, tracks=tracks, staged=[], commit=catalogue.commit - 1)


def _arrays(uri: str, catalogue: Catalogue) -> list[_ArrayCopy]:
    found = []
    for member, rows in catalogue.rows().items():
        folder = fragments.look(uri, member)
        if not folder.is_array:
            raise RunError(f"{folder.place}: no array there, though the catalogue names it")
        found.append(_ArrayCopy(folder, frozenset(name for name in folder.committed if fragments.row_of(name) in rows)))
    return found


def _check_target(to: str, uri: str) -> None:
    """Raise :class:`InputError` unless nothing is there but part of a copy of the same database."""
    place = storage.join(to, MARK)
    if catalogues.exists(to):
        raise InputError(f"{to}: holds a database already; name a new or an empty place")
    if storage.exists(place):
        try:
            of = json.loads(storage.read_bytes(place))["copy_of"]
        except (ValueError, KeyError, TypeError):
            of = None
        if of != uri:
            raise InputError(f"{to}: holds part of a copy of {of or 'something else'}; name a new or an empty place")
        return
    if any(name != storage.LOCK_NAME and not name.startswith(f".{MARK}.") for name in storage.names(to)):
        raise InputError(f"{to}: is not empty; name a new or an empty place")


def _missing(to: str, array: _ArrayCopy) -> dict[str, int]:
    """Folders that a copy of an array lacks, or has in part, and the bytes of their files."""
    there = storage.files(storage.join(to, array.folder.member))
    folders: dict[str, int] = {}
    lacking = set()
    for path, size in array.files.items():
        folder = path.rpartition("/")[0]
        folders[folder] = folders.get(folder, 0) + size
        if there.get(path) != size:
            lacking.add(folder)
    return {folder: size for folder, size in folders.items() if folder in lacking}


def _copy_arrays(to: str, found: Sequence[_ArrayCopy]) -> int:
    missing = [(array, folder, size) for array in found for folder, size in _missing(to, array).items()]
    total = sum(size for _, _, size in missing)
    with progress("copy", total, "bytes") as advance, ThreadPoolExecutor(_AT_ONCE) as pool:

        def copy_folder(array: _ArrayCopy, folder: str) -> None:
            place, target = array.folder.place, storage.join(to, array.folder.member)
            storage.copy_tree(storage.join(place, folder), storage.join(target, folder), threads=1, advance=advance)

        running = [pool.submit(copy_folder, array, folder) for array, folder, _ in missing]
        try:
            for done in as_completed(running):
                done.result()
        except MissingFileError as error:
            raise RunError(f"{error}; consolidated while it was copied? run the same again") from error
        finally:
            for future in running:
                future.cancel()
    for array in found:
        _finish(to, array)
    return total


def _finish(to: str, array: _ArrayCopy) -> None:
    """See that all files of an array have arrived, and have its fragments count, and no others."""
    folder = fragments.look(to, array.folder.member)
    for path, size in array.files.items():
        arrived = folder.files.get(path)
        if arrived != size:
            raise RunError(
                f"{storage.join(folder.place, path)}: {arrived or 0:,} bytes arrived of {size:,}; run the same again"
            )
    listed = fragments.commit_together(folder.place, array.wanted) if array.wanted else None
    tidy(to, folder, array.wanted, listed)
