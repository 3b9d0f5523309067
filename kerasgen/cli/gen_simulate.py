"""``gen_simulate``: a small genome with planted motifs, and the tracks they cause."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command

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
    epilog=(
        "example: gen_simulate --out_dir sim; gen_ingest --tdb_array sim/db --ref_fasta sim/genome.fa "
        "--tiledb_metadata sim/samples.tsv --attribute_config encode_pipeline"
    ),
)
