"""What a store must do, whatever it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import tiledb


class Lock(Protocol):
    """The one writer's lock of a database, held."""

    def check(self) -> None:
        """Raise :class:`~db_ingest.errors.RunError` if the lock is held no longer."""


class Store(Protocol):
    """Files and trees of files, named by URI. A URI with files under it is a folder."""

    def read_bytes(self, uri: str) -> bytes:
        """Contents of a file; raises FileNotFoundError where there is none."""

    def replace_bytes(self, uri: str, data: bytes) -> None:
        """Write a file whole or not at all."""

    def exists(self, uri: str) -> bool:
        """Whether there is a file or a folder of this name."""

    def names(self, uri: str) -> list[str]:
        """Names of what lies directly in a folder, sorted; none where there is no folder."""

    def files(self, uri: str) -> dict[str, int]:
        """Bytes of every file under a folder, by its path from there, sorted; none where there is no folder."""

    def remove_tree(self, uri: str) -> None:
        """Remove a file, or a folder and all in it; nothing happens where there is none."""

    def create_array(self, uri: str, schema: tiledb.ArraySchema) -> None:
        """Create a TileDB array whole or not at all; one that exists stays as it is."""

    def write_lock(self, uri: str) -> AbstractContextManager[Lock]:
        """Hold the one writer's lock of a database; raises RunError when another holds it."""

    def tiledb_config(self, uri: str, threads: int, upload_bytes: int | None) -> dict[str, str]:
        """Settings with which TileDB opens arrays there."""
