"""Small files beside the arrays: read them, replace them in one step, and lock a database for writing."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from db_ingest.errors import InputError, NoDatabaseError, RunError

LOCK_NAME = ".lock"


def is_remote(uri: str) -> bool:
    """Whether ``uri`` names an object store rather than a local path."""
    return "://" in uri and not uri.startswith("file://")


def local_path(uri: str) -> Path:
    """The local path that ``uri`` names; raises :class:`InputError` for an object store."""
    if is_remote(uri):
        raise InputError(f"{uri}: databases are written to a local path; {uri.split('://')[0]}:// can be read only")
    return Path(uri.removeprefix("file://"))


def join(uri: str, *parts: str) -> str:
    """Append path parts to a path or URI."""
    return "/".join([uri.rstrip("/"), *parts])


def read_bytes(uri: str) -> bytes:
    """Contents of a local file or S3 object; raises FileNotFoundError where there is none."""
    if uri.startswith("s3://"):
        return _read_s3(uri)
    if is_remote(uri):
        raise NoDatabaseError(f"{uri}: unknown kind of location; expected a local path or s3://bucket/prefix")
    return local_path(uri).read_bytes()


def _read_s3(uri: str) -> bytes:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        config = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 2})
        answer = boto3.client("s3", config=config).get_object(Bucket=bucket, Key=key)
        return bytes(answer["Body"].read())
    except (BotoCoreError, ClientError, ValueError) as error:
        raise FileNotFoundError(f"{uri}: {error}") from error


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


def replace_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` to a local ``path`` whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def require_writable(folder: Path) -> None:
    """Make a folder; raises :class:`InputError` where that is not possible or it may not be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to ({error.strerror})") from error


@contextlib.contextmanager
def write_lock(uri: str) -> Iterator[None]:
    """Hold the one writer's lock of a local database; raises :class:`RunError` when another holds it."""
    import fcntl

    folder = local_path(uri)
    require_writable(folder)
    lock_path = folder / LOCK_NAME
    with lock_path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"{uri}: another process is writing to this database; wait for it to end") from error
        # A writer that failed may have removed the file between our opening and locking it.
        if not lock_path.exists() or lock_path.stat().st_ino != os.fstat(lock.fileno()).st_ino:
            raise RunError(f"{uri}: another process was writing to this database; try again")
        yield
