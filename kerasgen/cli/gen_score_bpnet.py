"""``gen_score_bpnet``: predictions and labels in, scores, tables and plots out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command

if TYPE_CHECKING:
    from kerasgen.scoring.profile_counts import Scores


def _report(scores: Scores) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    for result in scores.tasks:
        for head in ("counts", "profile"):
            if head not in result:
                continue
            measures = list(result[head]["model"])
            table = Table(title=f"{result['name']}: {head}, {result['n']:,} loci", title_justify="left")
            table.add_column("medians over loci" if head == "profile" else "log counts")
            for measure in measures:
                table.add_column(measure, justify="right")
            for source, values in result[head].items():
                shown = ["n/a" if values[m] is None else f"{values[m]:.4f}" for m in measures]
                table.add_row(source.replace("_", " "), *shown)
            console.print(table)
    for path in scores.files:
        sys.stdout.write(f"{path}\n")


COMMAND = Command(
    prog="gen_score_bpnet",
    function="kerasgen.scoring.profile_counts:score_bpnet",
    report=_report,
    epilog="example: gen_score_bpnet --predictions out/model.predictions --outf out/scores --label_min_to_score 3",
)
