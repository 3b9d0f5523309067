"""``gen_bench_loader``: how fast batches come from a user's own database with the user's own flags."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command

if TYPE_CHECKING:
    from kerasgen.training.bench_loader import LoaderRates


def _report(result: LoaderRates) -> None:
    held = f"{result.held_gb:.2f} GB held" if result.held_gb else "through a buffer of blocks"
    sys.stdout.write(
        f"{result.samples:,} samples per epoch; first batch after {result.start_up:.2f} s; {held}; "
        f"{result.batch_mb:.2f} MB per batch; at most {result.peak_gb:.2f} GB\n\n"
        f"{'':36}threads   windows/s      MB/s\n"
    )
    for rate in result.rates:
        sys.stdout.write(f"{rate.what:36}{rate.threads:7}{rate.windows:12,.0f}{rate.megabytes:10,.0f}\n")
    sys.stdout.write(f"\nwhat limits it: {result.limit}\n")


COMMAND = Command(
    prog="gen_bench_loader",
    function="kerasgen.training.bench_loader:bench_loader",
    report=_report,
    epilog=(
        "Take the flags of a gen_train line, without those about the model. A training step that takes fewer windows a "
        "second than are shown here never waits for data."
    ),
)
