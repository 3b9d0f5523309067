"""TileDB contexts: one for each way of reaching a store, made anew when credentials change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_ingest.cores import cores
from db_ingest.storage.settings import LruCache

if TYPE_CHECKING:
    import tiledb

_CONFIG = {
    # Memory given back after each query costs more to get again than many do.
    "sm.mem.malloc_trim": "false",
    # Python alone answers Ctrl-C: TileDB's handler crashes a process that was started to ignore it ("&" in a script).
    "sm.enable_signal_handlers": "false",
}
# A context for S3 has dozens of threads: few are kept, and none of which the credentials were renewed.
_contexts = LruCache(6)
_CREDENTIALS = ("vfs.s3.aws_access_key_id", "vfs.s3.aws_secret_access_key", "vfs.s3.aws_session_token")
_threads: int | None = None


def configure(*, threads: int | None = None) -> None:
    """Set for this process how TileDB works.

    Args:
        threads: threads that compress and decompress in each context; None for as many as there are cores.
    """
    global _threads
    _threads = threads


def threads() -> int:
    """Threads that compress and decompress in each context."""
    return _threads or cores()


def context_of(config: dict[str, str]) -> tiledb.Ctx:
    """The TileDB context of a store's settings; the same object for the same settings."""
    config = {**config, **_CONFIG}

    def make() -> tiledb.Ctx:
        import tiledb

        return tiledb.Ctx(config)

    place = tuple(sorted((name, value) for name, value in config.items() if name not in _CREDENTIALS))
    return _contexts.get(place, make, version=tuple(config.get(name) for name in _CREDENTIALS))
