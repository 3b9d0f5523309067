"""The one way to change the catalogue of a database that exists: under the writer's lock, saved in one step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from db_ingest import storage
from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue


@contextlib.contextmanager
def changing(uri: str, *, dry_run: bool = False) -> Iterator[tuple[Catalogue, Callable[[], None]]]:
    """Hold the writer's lock of a database that is there; yields its catalogue and what saves it.

    With ``dry_run`` no lock is held, and saving does nothing.

    Raises:
        NoDatabaseError: no database there.
        RunError: another process is writing to it.
    """
    catalogue = catalogues.load(uri)
    if dry_run:
        yield catalogue, lambda: None
        return
    with storage.write_lock(uri, keep=lambda: catalogues.exists(uri)) as lock:
        catalogue = catalogues.load(uri)

        def save() -> None:
            lock.check()
            catalogue.save(uri)

        yield catalogue, save
