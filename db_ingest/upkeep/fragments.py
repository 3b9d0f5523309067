"""The folder of an array, read without opening it: which fragments count, the row of each, and their bytes.

Format: https://github.com/TileDB-Inc/TileDB/blob/main/format_spec/array_file_hierarchy.md.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from db_ingest import storage
from db_ingest.errors import RunError
from db_ingest.layout.catalogue import Catalogue
from db_ingest.layout.members import SEQUENCE

COMMITS, FRAGMENTS, FOOTERS = "__commits", "__fragments", "__fragment_meta"
SCHEMA = "__schema"
MEMBER_FOLDERS = ("signal", "counts", "mask", "intervals")
_COMMIT, _LIST, _IGNORE = ".wrt", ".con", ".ign"


@dataclass(frozen=True)
class Folder:
    """What lies in the folder of an array.

    Args:
        member: name of the array.
        place: path or URI of the folder.
        files: bytes of every file, by its path from there.
        committed: fragments that readers see.
        stored: fragments that are there -> bytes, those that no writer finished among them.
    """

    member: str
    place: str
    files: Mapping[str, int]
    committed: frozenset[str]
    stored: Mapping[str, int]

    @property
    def is_array(self) -> bool:
        """Whether an array lies there at all."""
        return bool(self._names(SCHEMA))

    @property
    def commits(self) -> frozenset[str]:
        """Names of the files that say which fragments count."""
        return self._names(COMMITS)

    @property
    def footers(self) -> frozenset[str]:
        """Names of the files that hold the footers of many fragments."""
        return self._names(FOOTERS)

    def fragment_files(self, fragments: Collection[str]) -> dict[str, int]:
        """Bytes of the files of some fragments, by their path."""
        chosen = set(fragments)
        return {
            path: size
            for path, size in self.files.items()
            if path.startswith(f"{FRAGMENTS}/") and path.split("/")[1] in chosen
        }

    def _names(self, folder: str) -> frozenset[str]:
        return frozenset(path.split("/")[1] for path in self.files if path.startswith(f"{folder}/"))


def look(uri: str, member: str) -> Folder:
    """Look through the folder of a member of a database."""
    place = storage.join(uri, member)
    files = storage.files(place)
    commits = [path for path in files if path.startswith(f"{COMMITS}/")]
    listed = _lines(place, commits, _LIST) - _lines(place, commits, _IGNORE)
    alone = {_name(path) for path in commits if path.endswith(_COMMIT)}
    stored = dict.fromkeys(storage.names(storage.join(place, FRAGMENTS)), 0)
    for path, size in files.items():
        if path.startswith(f"{FRAGMENTS}/"):
            stored[path.split("/")[1]] = stored.get(path.split("/")[1], 0) + size
    return Folder(member, place, files, frozenset(alone | listed), stored)


def members(uri: str) -> list[str]:
    """Names of the arrays of a database."""
    found = [name for name in storage.names(uri) if name == SEQUENCE]
    for folder in MEMBER_FOLDERS:
        names = storage.names(storage.join(uri, folder))
        found += [f"{folder}/{name}" for name in names if not name.startswith(".")]
    return found


def remove_empty_folders(uri: str) -> None:
    """Remove the folders of a database that no array is left in."""
    for folder in MEMBER_FOLDERS:
        place = storage.join(uri, folder)
        if not storage.names(place):
            storage.remove_tree(place)


def row_of(fragment: str) -> int:
    """The row that a fragment holds, by its name: all fragments of row ``r`` have the timestamp ``r + 1``.

    Raises:
        RunError: the fragment holds several rows; kerasgen writes none such.
    """
    parts = fragment.split("_")
    if len(parts) != 6 or not parts[2].isdecimal() or parts[2] != parts[3]:
        raise RunError(f"{fragment}: a fragment that kerasgen did not write; expected one row, timestamp row + 1")
    return int(parts[2]) - 1


def rows_staged(catalogue: Catalogue, member: str) -> set[int]:
    """Rows of a member that an interrupted writer may go on with."""
    attribute = member.rpartition("/")[2].partition("@")[0]
    return {staged.row for staged in catalogue.staged if staged.attribute == attribute}


def commit_together(place: str, fragments: Iterable[str]) -> str:
    """Make fragments count by a file that lists them; returns its name.

    The file may be written in place: a line that is not whole counts for nothing, and TileDB would read a temporary
    file beside it as well. Commits of single fragments, if there are any, may be removed afterwards. TileDB's own way
    to such a file (2.30) fails where names do not sort as their timestamps do, so with ten rows.
    """
    ordered = sorted(fragments, key=lambda name: (row_of(name), name))
    version = max(int(name.rpartition("_")[2]) for name in ordered)
    stamps = row_of(ordered[0]) + 1, row_of(ordered[-1]) + 1
    file = f"__{stamps[0]}_{stamps[1]}_{uuid.uuid4().hex}_{version}{_LIST}"
    lines = "".join(f"{COMMITS}/{name}{_COMMIT}\n" for name in ordered).encode()
    if storage.is_remote(place):
        storage.replace_bytes(storage.join(place, COMMITS, file), lines)
        return file
    path = storage.local_path(storage.join(place, COMMITS, file))
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as out:
        out.write(lines)
        out.flush()
        os.fsync(out.fileno())
    return file


def _name(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(_COMMIT)


def _lines(place: str, commits: Iterable[str], suffix: str) -> set[str]:
    """Fragments that the files of a kind list; other lines are commits of a kind that kerasgen does not write."""
    found = set()
    for path in commits:
        if path.endswith(suffix):
            lines = storage.read_bytes(storage.join(place, path)).decode(errors="replace").splitlines()
            found |= {_name(line) for line in lines if line.endswith(_COMMIT)}
    return found
