"""Files and databases on a local (or mounted) file system."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from db_ingest.errors import InputError, RunError
from db_ingest.storage import contexts
from db_ingest.storage.faults import explain
from db_ingest.storage.uris import LOCK_NAME, local_path

if TYPE_CHECKING:
    import tiledb


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; on success it becomes ``path`` in one step.

    On an exception the temporary file is removed and ``path`` stays as it was. The folder of ``path`` is made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Make a folder; raises :class:`InputError` where that is not possible or it may not be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to ({error.strerror})") from error


class LocalLock:
    """A held ``flock``."""

    def __init__(self, uri: str, path: Path, handle: int) -> None:
        self._uri, self._path, self._handle = uri, path, handle

    def check(self) -> None:
        """Raise :class:`RunError` if the lock file was removed or replaced, so that others can lock as well."""
        try:
            same = self._path.stat().st_ino == os.fstat(self._handle).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            raise RunError(f"{self._uri}: this process lost the database: {self._path.name} was removed or replaced")


class LocalStore:
    """The store behind local paths and ``file://`` URIs."""

    def read_bytes(self, uri: str) -> bytes:
        """Contents of a file; raises :class:`MissingFileError` where there is none."""
        try:
            return local_path(uri).read_bytes()
        except OSError as error:
            raise explain(uri, error) from error

    def replace_bytes(self, uri: str, data: bytes) -> None:
        """Write a file whole or not at all: a temporary file, flushed to disk, renamed."""
        try:
            with replacing(local_path(uri)) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            raise explain(uri, error) from error

    def exists(self, uri: str) -> bool:
        """Whether there is a file or a folder."""
        return local_path(uri).exists()

    def names(self, uri: str) -> list[str]:
        """Names in a folder."""
        try:
            return sorted(os.listdir(local_path(uri)))
        except FileNotFoundError:
            return []
        except NotADirectoryError as error:
            raise InputError(f"{uri}: a file; expected a folder") from error
        except OSError as error:
            raise explain(uri, error) from error

    def files(self, uri: str) -> dict[str, int]:
        """Bytes of every file under a folder."""
        top = local_path(uri)
        paths = [Path(folder, name) for folder, _, names in os.walk(top) for name in names]
        return dict(sorted((path.relative_to(top).as_posix(), path.stat().st_size) for path in paths))

    def remove_tree(self, uri: str) -> None:
        """Remove a file or a folder with all in it."""
        path = local_path(uri)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise explain(uri, error) from error

    def create_array(self, uri: str, schema: tiledb.ArraySchema) -> None:
        """Create an array under another name and rename it: a killed run leaves no half an array under this one."""
        import tiledb

        place = local_path(uri)
        if place.exists():
            return
        ctx = contexts.context_of(self.tiledb_config(uri, contexts.threads(), None))
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
            try:
                tiledb.Array.create(str(fresh / place.name), schema, ctx=ctx)
                (fresh / place.name).rename(place)
            except OSError:
                # Another worker may have been quicker.
                if not place.exists():
                    raise
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        except (tiledb.TileDBError, OSError) as error:
            raise explain(uri, error) from error

    @contextlib.contextmanager
    def write_lock(self, uri: str) -> Iterator[LocalLock]:
        """Hold ``.lock`` by ``flock``, which ends with the process whatever ends that."""
        import fcntl

        folder = local_path(uri)
        require_writable(folder)
        lock_path = folder / LOCK_NAME
        try:
            lock = lock_path.open("w")
        except OSError as error:
            raise explain(str(lock_path), error) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(f"{uri}: another process is writing to this database; wait for it to end") from error
            except OSError as error:
                raise RunError(f"{uri}: its file system knows no locks ({error.strerror}); expected flock") from error
            # A writer that failed may have removed the file between our opening and locking it.
            if not lock_path.exists() or lock_path.stat().st_ino != os.fstat(lock.fileno()).st_ino:
                raise RunError(f"{uri}: another process was writing to this database; try again")
            yield LocalLock(uri, lock_path, lock.fileno())

    def tiledb_config(self, uri: str, threads: int, upload_bytes: int | None) -> dict[str, str]:
        """Settings for TileDB: as many threads as asked for."""
        return {"sm.compute_concurrency_level": str(threads), "sm.io_concurrency_level": str(threads)}
