"""``gen_ingest``: files in, database out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command, log, start_light

if TYPE_CHECKING:
    from db_ingest.writing.ingest import IngestResult


def _report(result: IngestResult) -> None:
    estimate = result.estimate
    if result.report is None:
        sys.stdout.write(
            f"All inputs are sound. Ahead: {estimate['bases'] / 1e6:,.1f} Mb to write, "
            f"about {max(estimate['seconds'], 1):,.0f} s, {estimate['memory_bytes'] / 1e9:.1f} GB of memory, "
            f"{estimate['disk_bytes'] / 1e6:,.1f} MB of disk. Nothing was written.\n"
        )
        return
    for line in result.report.lines:
        sys.stdout.write(f"{line}\n")
    for line in result.report.warnings:
        log.warning("warning: %s", line)
    sizes = sorted({level.bin for _, level in result.levels})
    binned = f", {len(result.levels)} level(s) of {', '.join(map(str, sizes))} bp added" if sizes else ""
    sys.stdout.write(
        f"{result.uri}: {len(result.written)} track(s) written, {len(result.unchanged)} unchanged{binned}\n"
    )


COMMAND = Command(
    prog="gen_ingest",
    function="db_ingest.writing.ingest:ingest",
    report=_report,
    epilog=(
        "example: gen_ingest --tdb_array db --ref_fasta hg38.fa --tiledb_metadata samples.tsv "
        "--attribute_config encode_pipeline"
    ),
)


def main() -> int:
    """Entry point."""
    start_light()
    return COMMAND.run()
