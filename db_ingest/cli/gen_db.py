"""``gen_db``: look after a database."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command, run_group, start_light

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db_ingest.upkeep.consolidate import Consolidation
    from db_ingest.upkeep.copying import CopyResult
    from db_ingest.upkeep.verify import Verification
    from db_ingest.writing.levels import LevelsResult


def _report(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _report_lines(lines: Sequence[str]) -> None:
    for line in lines or ["nothing to do"]:
        sys.stdout.write(f"{line}\n")


def _report_verification(found: Verification) -> None:
    for line in (*found.damage, *found.sources):
        sys.stdout.write(f"{line}\n")
    if found.damaged:
        from db_ingest.errors import RunError

        sys.stdout.flush()
        what = f"{len(found.damaged)} of {found.checked} are" if len(found.damaged) > 1 else f"1 of {found.checked} is"
        raise RunError(f"{what} damaged ({', '.join(found.damaged[:5])}{', …' if len(found.damaged) > 5 else ''})")
    sys.stdout.write(f"{found.checked} checked, no damage\n")


def _report_consolidation(done: Consolidation) -> None:
    _report_lines(done.lines)
    sys.stdout.write(
        f"before: {done.bytes_before / 1e6:,.1f} MB, {done.fragments_before:,} fragments; "
        f"after: {done.bytes_after / 1e6:,.1f} MB, {done.fragments_after:,} fragments\n"
    )


def _report_result(done: CopyResult | LevelsResult) -> None:
    _report_lines(done.lines)


COMMANDS = {
    "info": Command(
        prog="gen_db info",
        function="db_ingest.layout.describe:info",
        report=_report,
    ),
    "verify": Command(
        prog="gen_db verify",
        function="db_ingest.upkeep.verify:verify",
        report=_report_verification,
        epilog="example: gen_db verify --tdb_array db --sources",
    ),
    "export": Command(
        prog="gen_db export",
        function="db_ingest.upkeep.export:export",
        report=_report,
        epilog="example: gen_db export --tdb_array db --attribute fc_bigwig --dataset rep1 --out rep1.fc.bw",
    ),
    "drop": Command(
        prog="gen_db drop",
        function="db_ingest.upkeep.edit:drop",
        report=_report_lines,
        epilog="'gen_db consolidate' gives the space back",
    ),
    "rename": Command(
        prog="gen_db rename",
        function="db_ingest.upkeep.edit:rename",
        report=_report_lines,
        epilog="example: gen_db rename --tdb_array db --dataset rep1 --to K562_rep1",
    ),
    "merge": Command(
        prog="gen_db merge",
        function="db_ingest.upkeep.merge:merge",
        report=_report_lines,
        epilog=(
            "example: gen_db merge --tdb_array db --attribute count_bigwig_plus_5p count_bigwig_minus_5p "
            "--datasets rep1 rep2 --into pooled"
        ),
    ),
    "levels": Command(
        prog="gen_db levels",
        function="db_ingest.writing.levels:levels",
        report=_report_result,
        epilog="example: gen_db levels --tdb_array db --attributes fc_bigwig --bins 25 128",
    ),
    "consolidate": Command(
        prog="gen_db consolidate",
        function="db_ingest.upkeep.consolidate:consolidate",
        report=_report_consolidation,
        epilog="the database can be read meanwhile; may be interrupted at any moment",
    ),
    "copy": Command(
        prog="gen_db copy",
        function="db_ingest.upkeep.copying:copy",
        report=_report_result,
        epilog="example: gen_db copy --tdb_array db --to s3://bucket/db --datasets rep1 rep2",
    ),
    "import": Command(
        prog="gen_db import",
        function="db_ingest.upkeep.importing:import_array",
        report=_report_lines,
        epilog="example: gen_db import --source_array seqdataloader_array --tdb_array db --ref_fasta hg38.fa",
    ),
}


def main() -> int:
    """Entry point."""
    start_light()
    return run_group("gen_db", COMMANDS)
