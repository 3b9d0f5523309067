"""``gen_db``: look after a database."""

from __future__ import annotations

import sys

from db_ingest.cli.base import Command, Flag, run_group


def _report(text: str) -> None:
    sys.stdout.write(f"{text}\n")


COMMANDS = {
    "info": Command(
        prog="gen_db info",
        function="db_ingest.describe:info",
        report=_report,
        flags={
            "tdb_array": Flag("path or URI of the database", metavar="URI"),
            "json": Flag("print JSON for machines"),
        },
    ),
}


def main() -> None:
    """Entry point."""
    sys.exit(run_group("gen_db", COMMANDS))


if __name__ == "__main__":
    main()
