"""Names of places: local paths and URIs."""

from __future__ import annotations

import re
from pathlib import Path

from db_ingest.errors import InputError, NoDatabaseError

LOCK_NAME = ".lock"
"""Name of the writer's lock in a database; no part of what the database holds."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_uri(text: str) -> bool:
    """Whether a text is a URI (``scheme://…``) and no plain path."""
    return _SCHEME.match(str(text)) is not None


def is_remote(uri: str) -> bool:
    """Whether ``uri`` names an object store rather than a local path."""
    return "://" in uri and not uri.startswith("file://")


def is_s3(uri: str) -> bool:
    """Whether ``uri`` names S3; raises :class:`NoDatabaseError` for another kind of store."""
    if is_remote(uri) and not uri.startswith("s3://"):
        raise NoDatabaseError(f"{uri}: unknown kind of location; expected a local path or s3://bucket/prefix")
    return is_remote(uri)


def local_path(uri: str) -> Path:
    """The local path that ``uri`` names; raises :class:`InputError` for an object store."""
    if is_remote(uri):
        raise InputError(f"{uri}: in an object store; expected a local path here")
    return Path(uri.removeprefix("file://"))


def split_s3(uri: str) -> tuple[str, str]:
    """Bucket and key (or prefix, without a final slash) of an ``s3://`` URI.

    Raises:
        InputError: it names no bucket.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise InputError(f"{uri}: names no bucket; expected s3://bucket/prefix")
    return bucket, key.strip("/")


def join(uri: str, *parts: str) -> str:
    """Append path parts to a path or URI."""
    return "/".join([uri.rstrip("/"), *parts])
