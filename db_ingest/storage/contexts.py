"""TileDB contexts: one for each way of reaching a store, made anew when credentials change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_ingest.cores import cores
from db_ingest.storage.settings import Recent

if TYPE_CHECKING:
    import tiledb

_CONFIG = {"sm.mem.malloc_trim": "false"}  # Memory given back after each query costs more to get again than many do.
_contexts = Recent(16)
_threads: int | None = None


def configure(*, threads: int | None = None) -> None:
    """Set for this process how TileDB works.

    Args:
        threads: threads that compress and decompress in each context; None for as many as there are cores.
    """
    global _threads
    _threads = threads


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
    from db_ingest.storage import store_of

    config = {**store_of(uri).tiledb_config(uri, _threads or cores(), upload_bytes), **_CONFIG}

    def make() -> tiledb.Ctx:
        import tiledb

        return tiledb.Ctx(config)

    return _contexts.get(tuple(sorted(config.items())), make)
