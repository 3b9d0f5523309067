"""The writer's lock of a database in S3: an object with a lease.

The lock is made by a PUT that succeeds only where there is no such object, and renewed or taken over by one that
succeeds only if the object is still the one that was last seen. The server decides, so two writers cannot both win. A
lease is measured by the server's clock alone: the date of its answer less the date it gave the object.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from db_ingest.errors import InputError, KerasgenError, MissingFileError, RunError
from db_ingest.storage.requests import get_object
from db_ingest.storage.settings import LOCK_LEASE, connection, explain
from db_ingest.storage.uris import LOCK_NAME, join, split_s3

log = logging.getLogger("kerasgen")

_LEASE_SECONDS = 60.0
_TRIES = 5
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404")


@dataclass(frozen=True)
class _Found:
    """A lock as it lies on the server."""

    document: dict[str, Any]
    etag: str
    age: float

    @property
    def run_out(self) -> bool:
        lease = self.document.get("lease")
        return self.age > (lease if isinstance(lease, int | float) else _LEASE_SECONDS)

    def __str__(self) -> str:
        known = self.document
        holder = f"process {known['pid']} on {known['host']}" if {"pid", "host"} <= known.keys() else "not one of ours"
        return f"{holder}, since {known.get('since', 'unknown')}, last heard of {max(0, self.age):.0f} s ago"


class Lease:
    """The lock of one database, held by this process while a thread renews it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._place = join(uri, LOCK_NAME)
        self._bucket, self._key = split_s3(self._place)
        self._seconds = lease_seconds()
        self._document = {
            "owner": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "lease": self._seconds,
        }
        self._etag = ""
        self._lost: KerasgenError | None = None
        self._mutex = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_renewing, name="lock", daemon=True)

    def take(self) -> None:
        """Take the lock; raises :class:`RunError` that names who holds it."""
        for _ in range(_TRIES):
            if self._put(IfNoneMatch="*"):
                if self._put(IfNoneMatch="*"):
                    raise InputError(f"{self.uri}: the server ignores conditions (If-None-Match), so it cannot lock")
                break
            found = self._look()
            if found is None:
                continue
            # Our own request may have come through although its answer did not.
            if found.document.get("owner") == self._document["owner"]:
                self._etag = found.etag
                break
            if not found.run_out:
                raise RunError(f"{self.uri}: another process is writing to this database ({found}); wait for it to end")
            if self._put(IfMatch=found.etag):
                log.warning("%s: took over the lock of a writer that has ended (%s)", self.uri, found)
                break
        else:
            raise RunError(f"{self.uri}: others keep taking the lock of this database; try again")
        self._thread.start()

    def check(self) -> None:
        """Renew the lease now; raises :class:`RunError` if the lock is another's or its fate cannot be learnt."""
        with self._mutex:
            try:
                if self._lost is None:
                    self._renew()
            except KerasgenError as error:
                raise RunError(str(error)) from error
            if self._lost is not None:
                raise self._lost

    def hand_back(self) -> None:
        """End the renewal and remove the lock, if it is still ours."""
        self._ended.set()
        self._thread.join()
        try:
            # Renewed first, the lock is surely ours for as long as it takes to remove it.
            self.check()
            client = connection().client
            try:
                client.delete_object(Bucket=self._bucket, Key=self._key, IfMatch=self._etag)
            except Exception:
                # Some may write but not delete: a lease of no length lets the next writer in at once.
                self._put(lease=0.0, IfMatch=self._etag)
        except Exception as error:
            log.warning("%s; the lock ends by itself in %.0f s", explain(self._place, error), self._seconds)

    def _keep_renewing(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            with self._mutex:
                if self._lost is None:
                    # The next round may do better; whether the lock is still ours is asked before anything counts.
                    with contextlib.suppress(Exception):
                        self._renew()

    def _renew(self) -> None:
        for _ in range(_TRIES):
            if self._put(IfMatch=self._etag):
                return
            found = self._look()
            if found is None or found.document.get("owner") != self._document["owner"]:
                by = f" to {found}" if found is not None else ": its lock was removed"
                self._lost = RunError(f"{self.uri}: this process lost the database{by}; nothing more is written")
                return
            self._etag = found.etag
        raise RunError(f"{self._place}: the lock cannot be renewed; try again")

    def _put(self, lease: float | None = None, **condition: str) -> bool:
        """Write the lock under a condition; whether it held."""
        from botocore.exceptions import BotoCoreError, ClientError

        document = self._document if lease is None else {**self._document, "lease": lease}
        try:
            answer = connection().client.put_object(
                Bucket=self._bucket, Key=self._key, Body=json.dumps(document).encode(), **condition
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _CHANGED:
                return False
            raise explain(self._place, error) from error
        except BotoCoreError as error:
            raise explain(self._place, error) from error
        self._etag = answer["ETag"]
        return True

    def _look(self) -> _Found | None:
        try:
            body, answer = get_object(self._place)
        except MissingFileError:
            return None
        now = email.utils.parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        try:
            document = json.loads(body)
        except ValueError:
            document = {}
        return _Found(
            document if isinstance(document, dict) else {},
            answer["ETag"],
            (now - answer["LastModified"]).total_seconds(),
        )


def lease_seconds() -> float:
    """Seconds after which a lock that was not renewed may be taken over."""
    text = os.environ.get(LOCK_LEASE) or str(_LEASE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86_400:
        raise InputError(f"{LOCK_LEASE}={text}: expected seconds, 1 to 86400")
    return seconds


@contextlib.contextmanager
def hold(uri: str) -> Iterator[Lease]:
    """Hold the lock of a database in S3.

    Raises:
        RunError: another process holds it; the message says which, and since when.
        InputError: the bucket, the credentials or the endpoint are wrong, or the server ignores conditions.
    """
    lease = Lease(uri)
    lease.take()
    try:
        yield lease
    finally:
        lease.hand_back()
