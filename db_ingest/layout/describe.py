"""What a database holds: as plain data, and as ``gen_db info`` prints it."""

from __future__ import annotations

import json as jsons
from typing import Annotated, Any

from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.catalogue import Catalogue, Track
from db_ingest.layout.genome import Genome
from db_ingest.settings import Setting, TdbArray, takes_settings

_WIDTH = 140


def describe(tdb_array: str) -> dict[str, Any]:
    """Everything the catalogue says.

    Args:
        tdb_array: path or URI of the database.

    Returns:
        ``uri``, ``format_version``, ``commit``, ``genome`` (bases, tile, chromosomes), ``sequence``, ``datasets``,
        ``attributes``, ``tracks`` and ``staged`` (rows that an interrupted ingest left).

    Raises:
        NoDatabaseError: no database there.
    """
    return describe_catalogue(tdb_array, catalogues.load(tdb_array))


def describe_catalogue(uri: str, catalogue: catalogues.Catalogue) -> dict[str, Any]:
    """Describe a catalogue that was read before."""
    document = catalogue.to_json()
    return {
        "uri": str(uri),
        "format_version": document["format_version"],
        "commit": catalogue.commit,
        "genome": {"bases": catalogue.genome.bases, **document["genome"]},
        "sequence": catalogue.sequence,
        "datasets": catalogue.datasets,
        "attributes": catalogue.attributes,
        "tracks": document["tracks"],
        "staged": document["staged"],
    }


@takes_settings
def info(
    tdb_array: TdbArray,
    *,
    json: Annotated[bool, Setting("print JSON for machines instead of a table")] = False,
) -> str:
    """Say what a database holds, as text.

    Raises:
        NoDatabaseError: no database there.
    """
    catalogue = catalogues.load(tdb_array)
    return jsons.dumps(describe_catalogue(tdb_array, catalogue), indent=1) if json else _table(tdb_array, catalogue)


def covered(track: Track, genome: Genome) -> float:
    """Share of the cells that are not 0, of those on chromosomes that the track was measured on."""
    return track.summary["covered"] / max(sum(-(-genome.size(name) // track.bin) for name in track.checksums), 1)


def percent(share: float) -> str:
    """A share for people; one that is not 0 never reads as 0."""
    return "<0.01%" if 0 < share < 1e-4 else f"{share:.2%}"


def total(value: float) -> str:
    """A sum for people, whole numbers in full."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1e5 else f"{value:,.6g}"


def _table(uri: str, catalogue: Catalogue) -> str:
    import sys

    from rich.console import Console
    from rich.table import Table

    genome = catalogue.genome
    sequence = "with sequence" if catalogue.sequence else "no sequence"
    heading = (
        f"[bold]{uri}[/bold]: commit {catalogue.commit}, {len(genome)} chromosomes, {genome.bases:,} bp, {sequence}, "
        f"{len(catalogue.datasets)} dataset(s), {len(catalogue.tracks)} track(s)"
    )
    table = Table()
    for column in ("dataset", "attribute", "type", "cells"):
        table.add_column(column)
    for column in ("covered", "sum or intervals", "minimum", "maximum"):
        table.add_column(column, justify="right")
    for track in catalogue.tracks:
        summary, signal = track.summary, track.kind == "signal"
        table.add_row(
            track.dataset,
            track.attribute,
            track.type,
            _cells(track),
            percent(covered(track, genome)),
            total(summary["sum"]) if signal else f"{summary['intervals']:,} intervals",
            f"{summary['minimum']:g}" if signal else "",
            f"{summary['maximum']:g}" if signal else "",
        )
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDTH)
    with console.capture() as captured:
        console.print(heading, highlight=False, soft_wrap=True)
        if catalogue.tracks:
            console.print(table)
        if catalogue.staged:
            names = ", ".join(f"{row.dataset} {row.attribute}" for row in catalogue.staged)
            console.print(f"interrupted, to be resumed by the same ingest: {names}", highlight=False, soft_wrap=True)
    return captured.get().rstrip("\n")


def _cells(track: Track) -> str:
    """What the cells of a track are, and its levels."""
    dtype = {"signal": "float32", "counts": "uint16", "mask": "uint8"}[track.folder]
    grid = "" if track.bin == 1 else f" a {track.bin} bp"
    levels = ", ".join(f"{level.aggregation}@{level.bin}" for level in track.levels)
    return f"{dtype}{grid}" + (f" + {levels}" if levels else "") + measured(track)


def measured(track: Track) -> str:
    """What the values of a track are, as the end of a phrase: nothing where it was not said."""
    notes = [track.unit] if track.unit else []
    notes += [track.transform] if track.transform != "None" else []
    return f" ({', '.join(notes)})" if notes else ""
