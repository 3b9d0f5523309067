"""``gen_db``: look after a database."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command, Flag, run_group, start_light

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db_ingest.upkeep.consolidate import Consolidation
    from db_ingest.upkeep.copying import CopyResult
    from db_ingest.upkeep.verify import Verification
    from db_ingest.writing.levels import LevelsResult

_DATABASE = Flag("path or s3:// URI of the database", metavar="URI")
_DRY_RUN = Flag("say what would be done and do nothing")
_THREADS = Flag("chunks of 2^24 bases worked on at a time; 0: as many as there are cores", type=int)


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
        flags={
            "tdb_array": _DATABASE,
            "json": Flag("print JSON for machines"),
        },
    ),
    "verify": Command(
        prog="gen_db verify",
        function="db_ingest.upkeep.verify:verify",
        report=_report_verification,
        epilog="example: gen_db verify --tdb_array db --sources",
        flags={
            "tdb_array": _DATABASE,
            "sources": Flag("also read the files that tracks came from again and compare them base for base"),
            "attributes": Flag("check these alone", many=True, metavar="NAME"),
            "datasets": Flag("check these alone", many=True, metavar="NAME"),
            "chrom_alias": Flag("with --sources: the table of chromosome names given to gen_ingest", metavar="FILE"),
            "cache_dir": Flag("with --sources: where files from URIs are kept", metavar="FOLDER"),
            "threads": Flag("chunks or files worked on at a time; 0: as many as there are cores", type=int),
        },
    ),
    "export": Command(
        prog="gen_db export",
        function="db_ingest.upkeep.export:export",
        report=_report,
        epilog="example: gen_db export --tdb_array db --attribute fc_bigwig --dataset rep1 --out rep1.fc.bw",
        flags={
            "tdb_array": _DATABASE,
            "out": Flag(
                "file to write, by its ending: .bw .bigWig .bedGraph of a signal, .bed .narrowPeak .broadPeak of a "
                "mask, .fa .fasta of the sequence; text also .gz or .bgz",
                metavar="FILE",
            ),
            "attribute": Flag("signal or mask to write; without it, the sequence", metavar="NAME"),
            "dataset": Flag("its dataset; needed if several have the attribute", metavar="NAME"),
            "chroms": Flag("chromosomes to write (default: all)", many=True, metavar="NAME"),
            "skip_zeros": Flag("leave out bases of a signal that are 0, as most bigWig files do"),
            "threads": Flag("threads that compress; 0: as many as there are cores", type=int),
        },
    ),
    "drop": Command(
        prog="gen_db drop",
        function="db_ingest.upkeep.edit:drop",
        report=_report_lines,
        epilog="'gen_db consolidate' gives the space back",
        flags={
            "tdb_array": _DATABASE,
            "attribute": Flag("attribute to drop; with --dataset, the one track of both", metavar="NAME"),
            "dataset": Flag("dataset to drop", metavar="NAME"),
            "staged": Flag("forget rows that an interrupted writer had begun, instead of dropping tracks"),
            "dry_run": _DRY_RUN,
        },
    ),
    "rename": Command(
        prog="gen_db rename",
        function="db_ingest.upkeep.edit:rename",
        report=_report_lines,
        epilog="example: gen_db rename --tdb_array db --dataset rep1 --to K562_rep1",
        flags={
            "tdb_array": _DATABASE,
            "to": Flag("the new name", metavar="NAME"),
            "attribute": Flag("attribute to rename", metavar="NAME"),
            "dataset": Flag("dataset to rename", metavar="NAME"),
            "dry_run": _DRY_RUN,
        },
    ),
    "merge": Command(
        prog="gen_db merge",
        function="db_ingest.upkeep.merge:merge",
        report=_report_lines,
        epilog=(
            "example: gen_db merge --tdb_array db --attribute count_bigwig_plus_5p count_bigwig_minus_5p "
            "--datasets rep1 rep2 --into pooled"
        ),
        flags={
            "tdb_array": _DATABASE,
            "attribute": Flag("signals to pool", many=True, metavar="NAME"),
            "datasets": Flag("two or more datasets to pool", many=True, metavar="NAME"),
            "into": Flag("name of the pooled dataset", metavar="NAME"),
            "how": Flag("over the datasets that have a value at the base", choices=["sum", "mean"]),
            "overwrite": Flag("replace pooled tracks whose inputs have changed"),
            "threads": _THREADS,
            "dry_run": _DRY_RUN,
        },
    ),
    "levels": Command(
        prog="gen_db levels",
        function="db_ingest.writing.levels:levels",
        report=_report_result,
        epilog="example: gen_db levels --tdb_array db --attributes fc_bigwig --bins 25 128",
        flags={
            "tdb_array": _DATABASE,
            "attributes": Flag("signals to keep in bins as well", many=True, metavar="NAME"),
            "bins": Flag("bp a bin, one level each", type=int, many=True),
            "aggregation": Flag("over the bases of a bin that have a value", choices=["mean", "max", "sum"]),
            "datasets": Flag("these alone (default: all that have the attribute)", many=True, metavar="NAME"),
            "overwrite": Flag("write levels that are there anew"),
            "dry_run": _DRY_RUN,
        },
    ),
    "consolidate": Command(
        prog="gen_db consolidate",
        function="db_ingest.upkeep.consolidate:consolidate",
        report=_report_consolidation,
        epilog="the database can be read meanwhile; may be interrupted at any moment",
        flags={"tdb_array": _DATABASE, "dry_run": _DRY_RUN},
    ),
    "copy": Command(
        prog="gen_db copy",
        function="db_ingest.upkeep.copying:copy",
        report=_report_result,
        epilog="example: gen_db copy --tdb_array db --to s3://bucket/db --datasets rep1 rep2",
        flags={
            "tdb_array": _DATABASE,
            "to": Flag("path or s3:// URI of the copy; nothing may be there but part of it", metavar="URI"),
            "datasets": Flag("copy tracks of these alone", many=True, metavar="NAME"),
            "attributes": Flag("copy tracks of these alone", many=True, metavar="NAME"),
            "dry_run": _DRY_RUN,
        },
    ),
    "import": Command(
        prog="gen_db import",
        function="db_ingest.upkeep.importing:import_array",
        report=_report_lines,
        epilog="example: gen_db import --source_array seqdataloader_array --tdb_array db --ref_fasta hg38.fa",
        flags={
            "source_array": Flag("array that seqdataloader's db_ingest wrote, path or s3:// URI", metavar="URI"),
            "tdb_array": Flag("path or s3:// URI of the database; made if there is none", metavar="URI"),
            "ref_fasta": Flag("genome sequence to store: FASTA or 2bit", metavar="FILE"),
            "attributes": Flag("attributes to take (default: all)", many=True, metavar="NAME"),
            "datasets": Flag("tasks to take (default: all)", many=True, metavar="NAME"),
            "overwrite": Flag("replace tracks that are there from another source"),
            "threads": _THREADS,
            "dry_run": _DRY_RUN,
        },
    ),
}


def main() -> None:
    """Entry point."""
    start_light()
    sys.exit(run_group("gen_db", COMMANDS))


if __name__ == "__main__":
    main()
