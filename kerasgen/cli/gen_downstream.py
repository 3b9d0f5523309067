"""``gen_downstream``: genomic elements with labels in, how well tracks and embeddings predict them out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command

if TYPE_CHECKING:
    from kerasgen.downstream_tasks.results import DownstreamResult


def _report(result: DownstreamResult) -> None:
    from rich.console import Console
    from rich.table import Table

    counted = f"{result.elements:,} elements"
    if result.positives is not None:
        counted += f", {result.positives:,} positive: base rate {result.positives / result.elements:.4f}"
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(f"{counted}\n{result.folding}", highlight=False)
    table = Table(title=result.task, title_justify="left")
    for name in ("model", "features", "trees"):
        table.add_column(name, justify="left" if name == "model" else "right")
    names = list(result.rows[0].scores)
    for name in names:
        table.add_column(f"{name} (95%)", justify="right")
    table.add_column(f"{names[0]} over PCA (95%)", justify="right")
    for row in result.rows:
        cells = [_interval(row.scores[name].value, *row.scores[name].interval) for name in names]
        over = _interval(*row.over[names[0]]) if row.kind == "features" else ""
        table.add_row(row.model, str(row.features), f"{row.trees:.0f}", *cells, over)
    console.print(table)
    for path in result.files:
        sys.stdout.write(f"{path}\n")


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})" if value == value else "n/a"


COMMAND = Command(
    prog="gen_downstream",
    function="kerasgen.downstream_tasks.downstream:downstream",
    report=_report,
    epilog=(
        "example: gen_downstream --tdb_array db --labels genes.tsv --task regression --label_column rna "
        "--label_transformation log --flank 1000 --features tracks=H3K4me3,H3K27ac embedding=*:epilstm --out_prefix "
        "out/genes"
    ),
)
