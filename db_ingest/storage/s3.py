"""Files and databases in S3, or in what speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from db_ingest.errors import InputError
from db_ingest.storage import contexts, leases
from db_ingest.storage.requests import explained, get_object
from db_ingest.storage.settings import connection, explain, frozen_credentials, region_of
from db_ingest.storage.store import Lock
from db_ingest.storage.uris import split_s3

if TYPE_CHECKING:
    import tiledb

_PART_BYTES = 32 * 2**20
_PARTS_AT_ONCE = 8
WHOLE_BYTES = _PART_BYTES * _PARTS_AT_ONCE
"""Largest object that TileDB uploads in one request; larger ones go up in parts."""

_WAITING_THREADS = 16
_DELETE_AT_ONCE = 1000


class S3Store:
    """The store behind ``s3://bucket/prefix`` URIs."""

    def read_bytes(self, uri: str) -> bytes:
        """Contents of an object; raises :class:`MissingFileError` where there is none."""
        return get_object(uri)[0]

    def replace_bytes(self, uri: str, data: bytes) -> None:
        """Put an object, in one request."""
        bucket, key = split_s3(uri)
        with explained(uri):
            connection().client.put_object(Bucket=bucket, Key=key, Body=data)

    def exists(self, uri: str) -> bool:
        """Whether there is an object of this key or one below it; raises if there is no such bucket."""
        bucket, key = split_s3(uri)
        with explained(uri):
            client = connection().client
            # Not a HEAD request: its answer does not tell a missing bucket from a missing object.
            first = client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
            if not first or not key or first[0]["Key"] == key or first[0]["Key"].startswith(f"{key}/"):
                return bool(first)
            # "signal-2" and the like sort before "signal/".
            return bool(client.list_objects_v2(Bucket=bucket, Prefix=f"{key}/", MaxKeys=1).get("Contents", []))

    def names(self, uri: str) -> list[str]:
        """Names directly under a prefix."""
        bucket, prefix = _folder(uri)
        found: set[str] = set()
        for page in _pages(uri, Bucket=bucket, Prefix=prefix, Delimiter="/"):
            found.update(item["Key"][len(prefix) :] for item in page.get("Contents", []))
            found.update(item["Prefix"][len(prefix) : -1] for item in page.get("CommonPrefixes", []))
        return sorted(found - {""})

    def files(self, uri: str) -> dict[str, int]:
        """Bytes of every object under a prefix."""
        bucket, prefix = _folder(uri)
        found = {
            item["Key"][len(prefix) :]: item["Size"]
            for page in _pages(uri, Bucket=bucket, Prefix=prefix)
            for item in page.get("Contents", [])
        }
        return dict(sorted((name, size) for name, size in found.items() if name and not name.endswith("/")))

    def remove_tree(self, uri: str) -> None:
        """Delete an object and all under it as a prefix; refuses a whole bucket."""
        bucket, key = split_s3(uri)
        if not key:
            raise InputError(f"{uri}: a whole bucket; expected s3://bucket/prefix")
        client = connection().client
        with explained(uri):
            client.delete_object(Bucket=bucket, Key=key)
            for page in _pages(uri, Bucket=bucket, Prefix=f"{key}/", PaginationConfig={"PageSize": _DELETE_AT_ONCE}):
                doomed = [{"Key": item["Key"]} for item in page.get("Contents", [])]
                if doomed:
                    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})
                    for left in answer.get("Errors", []):
                        raise explain(f"s3://{bucket}/{left['Key']}", _Refusal(left))

    def create_array(self, uri: str, schema: tiledb.ArraySchema) -> None:
        """Create an array; its schema is one object, so there is no half of it."""
        import tiledb

        if "__schema" not in self.names(uri):
            ctx = contexts.context_of(self.tiledb_config(uri, contexts.threads(), upload_bytes=0))
            try:
                tiledb.Array.create(uri, schema, ctx=ctx)
            except tiledb.TileDBError as error:
                # Another worker may have been quicker.
                if "__schema" not in self.names(uri):
                    raise explain(uri, error) from error

    def write_lock(self, uri: str) -> AbstractContextManager[Lock]:
        """Hold the writer's lock: an object with a lease, made and renewed by conditional requests."""
        return leases.hold(uri)

    def tiledb_config(self, uri: str, threads: int, upload_bytes: int | None) -> dict[str, str]:
        """Settings for TileDB: boto3's credentials, endpoint and region; few and large requests, many at a time.

        Args:
            uri: which bucket.
            threads: threads that compute.
            upload_bytes: an upper bound of the largest object to be written; None if unknown. What fits into
                :data:`WHOLE_BYTES` is uploaded in one request instead of five.
        """
        connected = connection()
        settings = connected.settings
        frozen = frozen_credentials(uri, connected)
        bucket, _ = split_s3(uri)
        endpoint = urlsplit(settings.endpoint_url or connected.client.meta.endpoint_url)
        dotted = "." in bucket and endpoint.scheme == "https"
        whole = upload_bytes is not None and upload_bytes * 1.1 < WHOLE_BYTES
        # Threads that wait for answers, not for the processor: opening reads three small objects a fragment.
        waiting = str(max(threads, _WAITING_THREADS))
        config = {
            "vfs.s3.aws_access_key_id": frozen.access_key,
            "vfs.s3.aws_secret_access_key": frozen.secret_key,
            "vfs.s3.aws_session_token": frozen.token or "",
            "vfs.s3.region": region_of(uri, connected) or "",
            "vfs.s3.scheme": endpoint.scheme,
            "vfs.s3.use_virtual_addressing": str(settings.addressing_style == "virtual" and not dotted).lower(),
            "vfs.s3.connect_max_tries": str(settings.max_attempts + 3),
            "vfs.s3.connect_timeout_ms": "10000",
            "vfs.s3.request_timeout_ms": "60000",
            "vfs.s3.max_parallel_ops": str(_PARTS_AT_ONCE),
            "vfs.s3.multipart_part_size": str(_PART_BYTES),
            "vfs.s3.use_multipart_upload": str(not whole).lower(),
            "sm.compute_concurrency_level": waiting,
            "sm.io_concurrency_level": waiting,
        }
        if settings.endpoint_url is not None:
            config["vfs.s3.endpoint_override"] = endpoint.netloc + endpoint.path.rstrip("/")
        if settings.ca_bundle is not None:
            config["vfs.s3.ca_file"] = settings.ca_bundle
        return config | _proxy(endpoint.scheme, endpoint.hostname or "")


class _Refusal(Exception):
    """One object's part of the answer to a request about many."""

    def __init__(self, answer: dict[str, str]) -> None:
        super().__init__(answer.get("Message", ""))
        self.response = {"Error": answer}


def _folder(uri: str) -> tuple[str, str]:
    bucket, key = split_s3(uri)
    return bucket, f"{key}/" if key else ""


def _pages(uri: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    with explained(uri):
        yield from connection().client.get_paginator("list_objects_v2").paginate(**arguments)


def _proxy(scheme: str, host: str) -> dict[str, str]:
    """The proxy that the environment names for a host, as boto3 takes it too."""
    from urllib.request import getproxies, proxy_bypass

    found = getproxies().get(scheme)
    if not found or proxy_bypass(host):
        return {}
    parts = urlsplit(found if "://" in found else f"http://{found}")
    return {
        "vfs.s3.proxy_scheme": parts.scheme,
        "vfs.s3.proxy_host": parts.hostname or "",
        "vfs.s3.proxy_port": str(parts.port or (443 if parts.scheme == "https" else 80)),
        "vfs.s3.proxy_username": parts.username or "",
        "vfs.s3.proxy_password": parts.password or "",
    }
