"""``gen_simulate``: a small genome with planted motifs, and the tracks they cause."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command, Flag
from kerasgen.cli.flags import FLAGS

if TYPE_CHECKING:
    from kerasgen.simulation import Simulation


def _report(result: Simulation) -> None:
    sys.stdout.write(
        f"{result.folder}: {result.bases / 1e6:.1f} Mb, {result.peaks:,} peaks, {result.motifs:,} motifs planted\n"
    )


COMMAND = Command(
    prog="gen_simulate",
    function="kerasgen.simulation:simulate",
    report=_report,
    flags={
        "out_dir": Flag("folder to make", metavar="DIR"),
        "chromosomes": Flag("chromosomes", int),
        "chromosome_size": Flag("bp of each", int),
        "peaks": Flag("peaks to plant", int),
        "motifs": Flag("JASPAR file of the motifs to plant (default: four that come with the package)", metavar="FILE"),
        "motifs_per_peak": Flag("motifs in a peak, at most", int),
        "reads_per_peak": Flag(
            "expected reads of a peak before its motifs multiply them, both strands and replicates", float
        ),
        "seed": FLAGS["seed"],
        "overwrite": Flag("replace the folder"),
    },
    epilog=(
        "example: gen_simulate --out_dir sim; gen_ingest --tdb_array sim/db --ref_fasta sim/genome.fa "
        "--tiledb_metadata sim/samples.tsv --attribute_config encode_pipeline"
    ),
)


def main() -> None:
    """Entry point."""
    sys.exit(COMMAND.run())


if __name__ == "__main__":
    main()
