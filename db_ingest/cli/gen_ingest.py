"""``gen_ingest``: files in, database out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command, Flag, log, start_light
from db_ingest.formats import FORMATS
from db_ingest.writing.samples import PRESETS

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
    flags={
        "tdb_array": Flag("path or s3:// URI of the database; made if there is none", metavar="URI"),
        "tiledb_metadata": Flag(
            "samples table, tab separated: 'dataset' and one column an attribute; a cell is a path, a URI or empty",
            metavar="TSV",
        ),
        "ref_fasta": Flag("genome sequence to store: FASTA (plain, gzip, bgzip) or 2bit", metavar="FILE"),
        "chrom_sizes": Flag(
            "chromosomes to store and their sizes: a table, or a BAM, bigWig or 2bit to take them from "
            "(default: those of the sequence)",
            metavar="FILE",
        ),
        "chrom_alias": Flag(
            "table of chromosome names, synonyms on a line; UCSC, Ensembl and Roman names are understood without it",
            metavar="FILE",
        ),
        "attribute_config": Flag("a preset of attribute types", choices=list(PRESETS)),
        "attribute_config_file": Flag(
            f"attribute and type, tab separated, or YAML with options; types: {', '.join(FORMATS)}", metavar="FILE"
        ),
        "levels": Flag(
            "bp a bin: keep signals as means of bins of this size as well, to read them quickly at that resolution",
            type=int,
            many=True,
            metavar="BP",
        ),
        "overwrite": Flag("replace tracks whose file or settings have changed"),
        "workers": Flag("processes that read and write", type=int, group="who does the work"),
        "threads": Flag("threads a worker; 0 shares the cores among the workers", type=int, group="who does the work"),
        "scheduler": Flag(
            "Dask scheduler, tcp://host:port, or 'local' for a cluster of --workers on this machine",
            metavar="ADDRESS",
            group="who does the work",
        ),
        "cache_dir": Flag(
            "where inputs from URIs are kept (default: $KERASGEN_CACHE or ~/.cache/kerasgen)", metavar="FOLDER"
        ),
        "dry_run": Flag("check all inputs and estimate time, memory and disk, but write nothing"),
    },
)


def main() -> None:
    """Entry point."""
    start_light()
    sys.exit(COMMAND.run())


if __name__ == "__main__":
    main()
