"""Give back the space of rows that no track uses, and make arrays of many fragments quick to open and to read.

Whatever a reader or a crash meets between two steps is a sound database: fragments are replaced before they stop to
count, and stop to count before they are removed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from db_ingest import storage
from db_ingest.errors import KerasgenError
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue
from db_ingest.layout.members import SEQUENCE
from db_ingest.progress import progress
from db_ingest.settings import DryRun, TdbArray, takes_settings
from db_ingest.upkeep import fragments
from db_ingest.upkeep.fragments import COMMITS, FOOTERS, FRAGMENTS, Folder

MANY = 4096
"""Fragments of an array up to which merging is not worth its time: once listed, it opens and reads hardly slower."""

SMALL_BYTES = 4 * 2**20
"""Fragments of more bytes on disk are not merged: it would cost more than it gains."""

MERGED_BYTES = 256 * 2**20
"""Most bytes of cells in a fragment that others are merged into; merging takes about twice this memory."""

_REMOVALS_AT_ONCE = 16
_SECONDS_TO_LIST = {"local": 1.0, "remote": 10.0}


class Stored(NamedTuple):
    """A fragment of a row of a dense array.

    Args:
        name: its name.
        row: the row it holds.
        first, last: cells that it holds, of the position axis, both included.
        bytes: on disk.
    """

    name: str
    row: int
    first: int
    last: int
    bytes: int


class Merge(NamedTuple):
    """Fragments of a row that lie side by side, to be made one.

    Args:
        row: the row.
        first, last: cells they hold, half-open.
        fragments: number of fragments.
    """

    row: int
    first: int
    last: int
    fragments: int


@dataclass
class Consolidation:
    """What was done, or would be.

    Args:
        uri: the database.
        lines: what was done, one thing per line.
        bytes_before, bytes_after: number of bytes of all files of the database; afterwards an estimate in a dry run.
        fragments_before, fragments_after: number of fragments that readers see, in all arrays; afterwards an estimate
            in a dry run.
    """

    uri: str
    lines: list[str] = field(default_factory=list)
    bytes_before: int = 0
    bytes_after: int = 0
    fragments_before: int = 0
    fragments_after: int = 0


@dataclass(frozen=True)
class _Work:
    """What an array needs.

    Args:
        folder: what lies in its folder.
        unused: whether no track uses it.
        keep: fragments that stay.
        merges: those of them to merge.
    """

    folder: Folder
    unused: bool = False
    keep: frozenset[str] = frozenset()
    merges: tuple[Merge, ...] = ()

    @property
    def doomed(self) -> frozenset[str]:
        """Fragments to remove."""
        return frozenset(self.folder.stored) - self.keep

    @property
    def tidy(self) -> bool:
        """Whether one file lists the fragments and another one holds their footers, and there is no other."""
        kinds = [name.rpartition(".")[2] for name in self.folder.commits]
        if len(self.keep) > 1:
            return not self.doomed and kinds == ["con"] and len(self.folder.footers) == 1
        return not self.doomed and len(kinds) <= 1 and not self.folder.footers


@takes_settings
def consolidate(
    tdb_array: TdbArray,
    *,
    dry_run: DryRun = False,
) -> Consolidation:
    """Give back the space of dropped and replaced tracks, and make a database quicker to open and to read.

    Removes rows that the catalogue does not name, what writers that were killed left behind, and arrays without tracks.
    In arrays of many fragments, small ones of a row that lie side by side are merged. Then one file lists the fragments
    of an array, and one holds their footers, instead of one each.

    The database can be read meanwhile. May be interrupted at any moment; the next run does what is left.

    Raises:
        NoDatabaseError: no database there.
        RunError: another process is writing to it.
    """
    import tiledb

    if dry_run:
        catalogue = catalogues.load(tdb_array)
        return _report(tdb_array, _plan(tdb_array, catalogue), "would be ")
    with storage.write_lock(tdb_array, keep=lambda: catalogues.exists(tdb_array)) as lock:
        catalogue = catalogues.load(tdb_array)
        try:
            works = _plan(tdb_array, catalogue)
            result = _report(tdb_array, works)
            _perform(tdb_array, catalogue, works, lock.check)
            after = _report(tdb_array, _plan(tdb_array, catalogue))
        except KerasgenError:
            raise
        except (tiledb.TileDBError, OSError) as error:
            raise storage.explain(tdb_array, error) from error
    return replace(result, bytes_after=after.bytes_before, fragments_after=after.fragments_before)


def _report(uri: str, works: Sequence[_Work], would: str = "") -> Consolidation:
    left = _leftovers(uri)
    always = len(storage.read_bytes(storage.join(uri, catalogues.FILE_NAME)))
    result = Consolidation(uri, bytes_after=always)
    result.bytes_before = always + sum(storage.size(storage.join(uri, name)) for name in left)
    for work in works:
        size = sum(work.folder.files.values())
        result.bytes_before += size
        result.fragments_before += len(work.folder.committed)
        result.lines += [f"{work.folder.member}: {line}" for line in _lines(work, would)]
        if not work.unused:
            result.bytes_after += size - sum(work.folder.stored[name] for name in work.doomed)
            result.fragments_after += len(work.keep) - sum(merge.fragments - 1 for merge in work.merges)
    result.lines += [f"{name}: left by a killed writer; {would}removed" for name in left]
    return result


def _lines(work: _Work, would: str) -> Iterator[str]:
    folder = work.folder
    if work.unused:
        yield f"no track uses it; {would}removed, {sum(folder.files.values()) / 1e6:,.1f} MB"
        return
    for what, names in (
        ("that no track needs", work.doomed & folder.committed),
        ("that a killed writer left", work.doomed - folder.committed),
    ):
        if names:
            size = sum(folder.stored[name] for name in names)
            yield f"{len(names):,} fragment(s) {what}; {would}removed, {size / 1e6:,.1f} MB"
    if work.merges:
        count = sum(merge.fragments for merge in work.merges)
        yield f"{count:,} small fragments; {would}merged into {len(work.merges):,}"
    if len(work.keep) > 1 and not work.tidy:
        yield f"{len(work.keep):,} fragments; {would}listed in one file, their footers in another"


def _plan(uri: str, catalogue: Catalogue) -> list[_Work]:
    """What each array needs, as things are now."""
    import numpy as np

    from db_ingest.layout.cells import CELLS, folder_of

    used = catalogue.rows()
    works = []
    for member in fragments.members(uri):
        folder = fragments.look(uri, member)
        staged = fragments.rows_staged(catalogue, member)
        rows = used.get(member, set()) | staged
        if not folder.is_array:
            continue
        if not rows:
            works.append(_Work(folder, unused=True))
            continue
        keep = frozenset(name for name in folder.committed if fragments.row_of(name) in rows)
        if member.startswith("intervals/") or len(keep) < 2:
            works.append(_Work(folder, keep=keep))
            continue
        found = [fragment for fragment in _fragments(uri, folder, keep) if fragment.row not in staged]
        keep -= covered(found)
        merges = []
        if len(keep) > MANY:
            cell = np.dtype(CELLS[folder_of(member)][0]).itemsize
            merges = plan_merges([fragment for fragment in found if fragment.name in keep], cell)
        works.append(_Work(folder, keep=keep, merges=tuple(merges)))
    return works


def _fragments(uri: str, folder: Folder, names: Iterable[str]) -> list[Stored]:
    """Fragments of a dense array, by row and place."""
    import tiledb

    known = tiledb.array_fragments(folder.place, ctx=storage.tiledb_ctx(uri))
    chosen = set(names)
    found = {}
    for place, domain in zip(known.uri, known.nonempty_domain, strict=True):
        name = place.rstrip("/").rpartition("/")[2]
        if name in chosen:
            first, last = (int(end) for end in domain[-1])
            found[name] = Stored(name, fragments.row_of(name), first, last, folder.stored.get(name, 0))
    return sorted(found.values(), key=lambda fragment: (fragment.row, fragment.first, -fragment.last, fragment.name))


def covered(ordered: Iterable[Stored]) -> frozenset[str]:
    """Fragments all of whose cells another one of their row holds as well: rows are immutable, so they say the same.

    Args:
        ordered: by row, first cell and, from the largest, last cell.
    """
    found = set()
    widest: Stored | None = None
    for fragment in ordered:
        if widest is None or fragment.row != widest.row or fragment.last > widest.last:
            widest = fragment
        elif fragment.name != widest.name:
            found.add(fragment.name)
    return frozenset(found)


def plan_merges(ordered: Iterable[Stored], cell_bytes: int) -> list[Merge]:
    """Small fragments that lie side by side in a row, in groups of as many cells as may be merged at a time.

    Args:
        ordered: by row and first cell; none holds a cell of another.
        cell_bytes: bytes of a cell.
    """
    groups: list[list[Stored]] = [[]]
    for fragment in ordered:
        if fragment.bytes > SMALL_BYTES:
            groups.append([])
            continue
        group = groups[-1]
        beside = group and (group[-1].row, group[-1].last + 1) == (fragment.row, fragment.first)
        if not beside or (fragment.last + 1 - group[0].first) * cell_bytes > MERGED_BYTES:
            groups.append([])
        groups[-1].append(fragment)
    return [Merge(g[0].row, g[0].first, g[-1].last + 1, len(g)) for g in groups if len(g) > 1]


def _perform(uri: str, catalogue: Catalogue, works: Sequence[_Work], check: Callable[[], None]) -> None:
    merges = [(work.folder.member, merge) for work in works for merge in work.merges]
    if merges:
        with progress("merge", sum(merge.last - merge.first for _, merge in merges), "cells") as advance:
            for member, merge in merges:
                check()
                _merge(uri, member, merge)
                advance(merge.last - merge.first)
        works = _plan(uri, catalogue)
    check()
    lists = {
        work.folder.member: fragments.commit_together(work.folder.place, work.keep)
        for work in works
        if not work.tidy and work.keep
    }
    if lists:
        # A reader that was listing a folder when the list came may not see it: let it end before the files go that
        # the list replaces.
        time.sleep(_SECONDS_TO_LIST["remote" if storage.is_remote(uri) else "local"])
    for work in works:
        check()
        if work.unused:
            _remove_array(work.folder.place)
        elif not work.tidy:
            tidy(uri, work.folder, work.keep, lists.get(work.folder.member))
    check()
    _remove(storage.join(uri, name) for name in _leftovers(uri))
    fragments.remove_empty_folders(uri)


def _merge(uri: str, member: str, merge: Merge) -> None:
    import tiledb

    from db_ingest.layout import arrays
    from db_ingest.layout.cells import read

    ctx = storage.tiledb_ctx(uri)
    stamp = merge.row + 1
    with tiledb.open(storage.join(uri, member), ctx=ctx, timestamp=(stamp, stamp)) as array:
        cells = read(array, None if member == SEQUENCE else merge.row, merge.first, merge.last)
    arrays.put(uri, member, merge.row, merge.first, cells)


def tidy(uri: str, folder: Folder, keep: frozenset[str], listed: str | None) -> None:
    """Leave nothing of an array but some of its fragments, a file that lists them and one with their footers.

    Args:
        uri: the database.
        folder: what lies in the array's folder, but for that list.
        keep: the fragments that stay.
        listed: the file that lists them; None where none stays.
    """
    place = folder.place
    _remove(storage.join(place, COMMITS, name) for name in folder.commits - {listed})
    _remove(storage.join(place, FOOTERS, name) for name in folder.footers)
    if len(keep) > 1:
        _write_footers(uri, place)
    _remove(storage.join(place, FRAGMENTS, name) for name in folder.stored.keys() - keep)


def _remove(places: Iterable[str]) -> None:
    with ThreadPoolExecutor(_REMOVALS_AT_ONCE) as pool:
        for _ in pool.map(storage.remove_tree, places):
            pass


def _write_footers(uri: str, place: str) -> None:
    """Have TileDB write the footers of all fragments to one file.

    In a local folder it writes the file in place, and an array with half of such a file does not open: so it works in a
    folder of links to the array, and the file is moved when it is whole.
    """
    import tiledb

    settings = tiledb.Config({"sm.consolidation.mode": "fragment_meta"})
    ctx = storage.tiledb_ctx(uri)
    if storage.is_remote(place):
        tiledb.consolidate(place, config=settings, ctx=ctx)
        return
    real = storage.local_path(place).absolute()
    links = real.with_name(f".{real.name}.footers")
    shutil.rmtree(links, ignore_errors=True)
    try:
        (links / FOOTERS).mkdir(parents=True)
        for name in (fragments.SCHEMA, FRAGMENTS, COMMITS):
            (links / name).symlink_to(real / name, target_is_directory=True)
        tiledb.consolidate(str(links), config=settings, ctx=ctx)
        (real / FOOTERS).mkdir(exist_ok=True)
        for written in (links / FOOTERS).iterdir():
            with written.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(written, real / FOOTERS / written.name)
    finally:
        shutil.rmtree(links, ignore_errors=True)


def _remove_array(place: str) -> None:
    """Remove an array; what is left under its name at any moment is an array or nothing."""
    if storage.is_remote(place):
        storage.remove_contents(place, keep=(fragments.SCHEMA,))
    else:
        real = storage.local_path(place)
        place = str(real.rename(real.with_name(f".{real.name}.unused")))
    storage.remove_tree(place)


def _leftovers(uri: str) -> list[str]:
    """What writers that were killed left: names that begin with a dot, but for the lock."""
    found = [name for name in storage.names(uri) if name.startswith(".") and name != storage.LOCK_NAME]
    for folder in fragments.MEMBER_FOLDERS:
        found += [f"{folder}/{name}" for name in storage.names(storage.join(uri, folder)) if name.startswith(".")]
    return found
