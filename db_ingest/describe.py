"""What a database holds: as plain data, and as ``gen_db info`` prints it."""

from __future__ import annotations

import json as jsons
from typing import Any

from db_ingest import catalogue as catalogues

_WIDTH = 140


def describe(tdb_array: str) -> dict[str, Any]:
    """Everything the catalogue says.

    Args:
        tdb_array: path or URI of the database.

    Returns:
        ``uri``, ``format_version``, ``commit``, ``genome`` (bases, tile, chromosomes), ``sequence``, ``datasets``,
        ``attributes`` and ``tracks``.

    Raises:
        NoDatabaseError: no database there.
    """
    return describe_catalogue(tdb_array, catalogues.load(tdb_array))


def describe_catalogue(uri: str, book: catalogues.Catalogue) -> dict[str, Any]:
    """The same of a catalogue that was read before."""
    document = book.to_json()
    return {
        "uri": str(uri),
        "format_version": document["format_version"],
        "commit": book.commit,
        "genome": {"bases": book.genome.bases, **document["genome"]},
        "sequence": book.sequence,
        "datasets": book.datasets,
        "attributes": book.attributes,
        "tracks": document["tracks"],
    }


def info(tdb_array: str, *, json: bool = False) -> str:
    """Say what a database holds, as text.

    Args:
        tdb_array: path or URI of the database.
        json: as JSON of :func:`describe`, for machines, instead of a table.

    Raises:
        NoDatabaseError: no database there.
    """
    found = describe(tdb_array)
    return jsons.dumps(found, indent=1) if json else _table(found)


def _table(found: dict[str, Any]) -> str:
    import sys

    from rich.console import Console
    from rich.table import Table

    genome = found["genome"]
    sequence = "with sequence" if found["sequence"] else "no sequence"
    heading = (
        f"[bold]{found['uri']}[/bold]: commit {found['commit']}, {len(genome['chromosomes'])} chromosomes, "
        f"{genome['bases']:,} bp, {sequence}, {len(found['datasets'])} dataset(s), {len(found['tracks'])} track(s)"
    )
    table = Table()
    for column in ("dataset", "attribute", "type"):
        table.add_column(column)
    for column in ("covered", "sum or intervals", "minimum", "maximum"):
        table.add_column(column, justify="right")
    for track in found["tracks"]:
        summary, signal = track["summary"], track["kind"] == "signal"
        table.add_row(
            track["dataset"],
            track["attribute"],
            track["type"],
            f"{summary['covered'] / genome['bases']:.2%}",
            f"{summary['sum']:,.6g}" if signal else f"{summary['intervals']:,} intervals",
            f"{summary['minimum']:g}" if signal else "",
            f"{summary['maximum']:g}" if signal else "",
        )
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDTH)
    with console.capture() as captured:
        console.print(heading, highlight=False, soft_wrap=True)
        if found["tracks"]:
            console.print(table)
    return captured.get().rstrip("\n")
