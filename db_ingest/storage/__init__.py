"""Where databases lie: a local path or ``s3://bucket/prefix``. One contract, chosen by the URI.

Small files are read and replaced in one step, folders listed, copied and removed, arrays created whole or not at all,
and a database locked for its one writer, alike in both. :func:`tiledb_ctx` gives the context to open arrays with.
"""

from db_ingest.storage.contexts import configure
from db_ingest.storage.copying import copy_tree
from db_ingest.storage.faults import DeniedError, FullError, ServerError, UnreachableError
from db_ingest.storage.local import replacing, require_writable
from db_ingest.storage.settings import S3Settings, apply_s3_flags, explain, s3_environment
from db_ingest.storage.store import Lock, Store
from db_ingest.storage.stores import (
    create_array,
    exists,
    files,
    names,
    read_bytes,
    remove_contents,
    remove_tree,
    replace_bytes,
    size,
    store_of,
    tiledb_ctx,
    write_lock,
)
from db_ingest.storage.uris import LOCK_NAME, is_remote, is_uri, join, local_path

__all__ = [
    "LOCK_NAME",
    "DeniedError",
    "FullError",
    "Lock",
    "S3Settings",
    "ServerError",
    "Store",
    "UnreachableError",
    "apply_s3_flags",
    "configure",
    "copy_tree",
    "create_array",
    "exists",
    "explain",
    "files",
    "is_remote",
    "is_uri",
    "join",
    "local_path",
    "names",
    "read_bytes",
    "remove_contents",
    "remove_tree",
    "replace_bytes",
    "replacing",
    "require_writable",
    "s3_environment",
    "size",
    "store_of",
    "tiledb_ctx",
    "write_lock",
]
