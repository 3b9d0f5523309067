"""``gen_db``: look after a database."""

from __future__ import annotations

import json
import sys
from typing import Any

from db_ingest.cli.base import Command, Flag, run_group


def _report_info(found: dict[str, Any]) -> None:
    if found.pop("as_json"):
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 140)
    genome = found["genome"]
    sequence = "with sequence" if found["sequence"] else "no sequence"
    console.print(
        f"[bold]{found['uri']}[/bold]: commit {found['commit']}, {len(genome['chromosomes'])} chromosomes, "
        f"{genome['bases']:,} bp, {sequence}, {len(found['datasets'])} dataset(s), {len(found['tracks'])} track(s)",
        highlight=False,
    )
    if not found["tracks"]:
        return
    table = Table()
    for heading in ("dataset", "attribute", "type"):
        table.add_column(heading)
    for heading in ("covered", "sum or intervals", "minimum", "maximum"):
        table.add_column(heading, justify="right")
    for track in found["tracks"]:
        summary = track["summary"]
        signal = track["kind"] == "signal"
        table.add_row(
            track["dataset"],
            track["attribute"],
            track["type"],
            f"{summary['covered'] / genome['bases']:.2%}",
            f"{summary['sum']:,.6g}" if signal else f"{summary['intervals']:,} intervals",
            f"{summary['minimum']:g}" if signal else "",
            f"{summary['maximum']:g}" if signal else "",
        )
    console.print(table)


COMMANDS = {
    "info": Command(
        prog="gen_db info",
        function="db_ingest.describe:info",
        report=_report_info,
        flags={
            "tdb_array": Flag("path or URI of the database", metavar="URI"),
            "json": Flag("print JSON for machines"),
        },
    ),
}


def main() -> None:
    """Entry point."""
    sys.exit(run_group("gen_db", COMMANDS))
