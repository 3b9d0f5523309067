"""The store that a URI names, and what is done with it: files, arrays, contexts to open them with, and the lock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from db_ingest.storage import contexts
from db_ingest.storage.local import LocalStore
from db_ingest.storage.s3 import S3Store
from db_ingest.storage.store import Lock, Store
from db_ingest.storage.uris import LOCK_NAME, is_s3, join, local_path

if TYPE_CHECKING:
    import tiledb

_LOCAL, _S3 = LocalStore(), S3Store()


def store_of(uri: str) -> Store:
    """The store that a URI names; raises :class:`~db_ingest.errors.NoDatabaseError` for a kind that we do not know."""
    return _S3 if is_s3(uri) else _LOCAL


def tiledb_ctx(uri: str, *, upload_bytes: int | None = None) -> tiledb.Ctx:
    """The TileDB context to open an array with.

    It is the same object until settings or credentials change: a long run asks for it at each opening, and opens anew
    what it holds open when it gets another.

    Args:
        uri: path or URI of the array or of its database.
        upload_bytes: an upper bound of the bytes of the largest cells written in one go, where the context is for
            writing; it saves requests on S3.

    Raises:
        InputError: the settings or credentials for the store are wrong.
    """
    return contexts.context_of(store_of(uri).tiledb_config(uri, contexts.threads(), upload_bytes))


def read_bytes(uri: str) -> bytes:
    """Contents of a local file or S3 object; raises FileNotFoundError where there is none."""
    return store_of(uri).read_bytes(uri)


def replace_bytes(uri: str | Path, data: bytes) -> None:
    """Write a file or object whole or not at all."""
    store_of(str(uri)).replace_bytes(str(uri), data)


def exists(uri: str) -> bool:
    """Whether there is a file, an object or a folder of this name."""
    return store_of(uri).exists(uri)


def names(uri: str) -> list[str]:
    """Names of what lies directly in a folder, sorted; none where there is no folder."""
    return store_of(uri).names(uri)


def files(uri: str) -> dict[str, int]:
    """Bytes of every file under a folder, by its path from there, sorted."""
    return store_of(uri).files(uri)


def size(uri: str) -> int:
    """Bytes of all files under a folder together."""
    return sum(files(uri).values())


def remove_tree(uri: str) -> None:
    """Remove a file, or a folder and all in it; nothing happens where there is none."""
    store_of(uri).remove_tree(uri)


def remove_contents(uri: str, keep: Collection[str] = ()) -> None:
    """Remove all that lies in a folder but what is named in ``keep``."""
    for name in names(uri):
        if name not in keep:
            remove_tree(join(uri, name))


def create_array(uri: str, schema: tiledb.ArraySchema) -> None:
    """Create a TileDB array whole or not at all; one that exists stays as it is."""
    store_of(uri).create_array(uri, schema)


@contextlib.contextmanager
def write_lock(uri: str, keep: Callable[[], bool] | None = None) -> Iterator[Lock]:
    """Hold the one writer's lock of a database.

    Locally it is an ``flock`` on ``.lock``, which ends with the process. In S3 it is an object made by a conditional
    PUT, with a lease of 60 s (``KERASGEN_LOCK_LEASE``) that a thread renews; once it has run out, others may take it.

    Args:
        uri: the database.
        keep: asked when an exception ends the work whether a database came into being; if not, the lock file and the
            folders made for it are taken away.

    Yields:
        The lock; its ``check()`` raises :class:`~db_ingest.errors.RunError` if it is held no longer, and is to be
        called before each change that others see.

    Raises:
        RunError: another process holds the lock.
        InputError: the place cannot be written to.
    """
    made = [] if is_s3(uri) else [path for path in _with_parents(local_path(uri)) if not path.exists()]
    with store_of(uri).write_lock(uri) as lock:
        try:
            yield lock
        except BaseException:
            # Under the lock still, so that it is ours that goes and not another writer's.
            if keep is not None and not is_s3(uri) and not keep():
                (local_path(uri) / LOCK_NAME).unlink(missing_ok=True)
                for path in made:
                    with contextlib.suppress(OSError):
                        path.rmdir()
            raise


def _with_parents(path: Path) -> list[Path]:
    return [path, *path.parents]
