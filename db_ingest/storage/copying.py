"""Copy a tree of files from one store to another."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from db_ingest.errors import InputError, MissingFileError, RunError
from db_ingest.storage.local import require_writable
from db_ingest.storage.settings import connection, explain
from db_ingest.storage.stores import store_of
from db_ingest.storage.uris import LOCK_NAME, is_s3, join, local_path, split_s3

_PART_BYTES = 32 * 2**20
_HALF = ".copying"


def copy_tree(
    source: str,
    destination: str,
    *,
    last: str | None = None,
    leave_out: Collection[str] = (LOCK_NAME,),
    threads: int = 8,
    advance: Callable[[int], None] = lambda done: None,
) -> int:
    """Copy all files under one folder to another; either may be local or in S3.

    A file that is at the destination already, with the same size, is not copied again, so a copy that was interrupted
    goes on where it ended.

    Args:
        source: folder to copy.
        destination: where to; nothing may be there but part of an earlier copy.
        last: a file that the others only count with. It is read before anything else and written when the sizes of all
            others have been checked, so that a source which grows meanwhile gives a copy that is consistent.
        leave_out: names directly in ``source`` that are not copied.
        threads: files copied at a time.
        advance: called with the number of bytes of each file that is done.

    Returns:
        Bytes that the copy holds.

    Raises:
        InputError: nothing to copy, or something else is at the destination.
        RunError: a file arrived in another size than it has at its source.
    """
    origin, target = store_of(source), store_of(destination)
    final = origin.read_bytes(join(source, last)) if last is not None else b""
    wanted = {name: size for name, size in origin.files(source).items() if name.split("/")[0] not in leave_out}
    wanted.pop(last or "", None)
    if not wanted and last is None:
        raise MissingFileError(f"{source}: nothing there to copy")
    there = _there(target.files(destination), wanted, destination, leave_out)
    missing = [name for name, size in wanted.items() if there.get(name) != size]
    advance(sum(wanted.values()) - sum(wanted[name] for name in missing))
    if not is_s3(destination):
        require_writable(local_path(destination))
    with ThreadPoolExecutor(threads) as pool:
        running = {pool.submit(_copy, join(source, name), join(destination, name)): name for name in missing}
        try:
            for done in as_completed(running):
                done.result()
                advance(wanted[running[done]])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    arrived = target.files(destination)
    for name, size in wanted.items():
        if arrived.get(name) != size:
            raise RunError(f"{join(destination, name)}: {arrived.get(name, 0):,} bytes arrived of {size:,}; copy again")
    if last is not None:
        target.replace_bytes(join(destination, last), final)
    return sum(wanted.values()) + len(final)


def _there(
    found: dict[str, int], wanted: dict[str, int], destination: str, leave_out: Collection[str]
) -> dict[str, int]:
    """Files of an earlier copy; raises for any other."""
    for name in found:
        if name not in wanted and not name.endswith(_HALF) and name.split("/")[0] not in leave_out:
            raise InputError(f"{destination}: holds other files ({name}); name a new or an empty place")
    return found


def _copy(source: str, destination: str) -> None:
    try:
        if is_s3(destination):
            _upload(source, *split_s3(destination))
        else:
            with _half(local_path(destination)) as half:
                if is_s3(source):
                    with half.open("wb") as out:
                        connection().client.download_fileobj(*split_s3(source), out, Config=_transfer())
                else:
                    shutil.copyfile(local_path(source), half)
    except Exception as error:
        raise explain(f"{source} to {destination}", error) from error


def _upload(source: str, bucket: str, key: str) -> None:
    client = connection().client
    if is_s3(source):
        other, name = split_s3(source)
        client.copy({"Bucket": other, "Key": name}, bucket, key, Config=_transfer())
    else:
        with local_path(source).open("rb") as data:
            client.upload_fileobj(data, bucket, key, Config=_transfer())


def _transfer() -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4)


@contextlib.contextmanager
def _half(path: Path) -> Iterator[Path]:
    """A name to write to that becomes ``path`` when all is written."""
    half = path.with_name(f".{path.name}{_HALF}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield half
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
