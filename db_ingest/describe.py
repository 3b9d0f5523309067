"""What a database holds, as plain data: what ``gen_db info`` prints."""

from __future__ import annotations

from typing import Any

from db_ingest import catalogue as catalogues


def info(tdb_array: str, *, json: bool = False) -> dict[str, Any]:
    """Say what a database holds.

    Args:
        tdb_array: path or URI of the database.
        json: kept in the result as ``as_json``: the shell prints JSON instead of a table.

    Returns:
        ``uri``, ``commit``, ``genome`` (chromosomes, bases), ``sequence``, ``datasets``, ``attributes`` and ``tracks``.

    Raises:
        NoDatabaseError: no database there.
    """
    book = catalogues.load(tdb_array)
    document = book.to_json()
    return {
        "uri": str(tdb_array),
        "as_json": json,
        "format_version": document["format_version"],
        "commit": book.commit,
        "genome": {"bases": book.genome.bases, **document["genome"]},
        "sequence": book.sequence,
        "datasets": book.datasets,
        "attributes": book.attributes,
        "tracks": document["tracks"],
    }
