"""``gen_impute``: a model of tracks in, bigWigs of tracks that were not measured out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command

if TYPE_CHECKING:
    from kerasgen.track_models.impute import ImputationResult


def _report(result: ImputationResult) -> None:
    if result.new_model is not None:
        sys.stdout.write(f"{result.new_model}.keras: the model with what was added\n")
    for path in result.bigwigs:
        clipped = result.clipped.get(path, 0)
        sys.stdout.write(f"{path}" + (f" ({clipped:,} bins below 0 set to 0)" if clipped else "") + "\n")
    for path in result.existing:
        sys.stdout.write(f"{path}: there already\n")
    if result.scores:
        _print_scores(result)
    for path in result.files:
        sys.stdout.write(f"{path}\n")


def _print_scores(result: ImputationResult) -> None:
    from rich.console import Console
    from rich.table import Table

    from kerasgen.track_models.scorer import score_rows

    header, *rows = score_rows(result.scores)
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160)
    table = Table()
    for place, name in enumerate(header):
        table.add_column(name, justify="left" if place < 4 else "right")
    for row, following in zip(rows, [*rows[1:], rows[-1]], strict=True):
        table.add_row(*row, end_section=row[:2] != following[:2])
    console.print(table)


COMMAND = Command(
    prog="gen_impute",
    function="kerasgen.track_models.impute:impute",
    report=_report,
    epilog=(
        "examples: gen_impute --model out/avocado -c E117 -a H3K4me3 --scores out/scores. "
        "gen_impute --model out/avocado --all_missing --out_dir imputed. "
        "The tracks that an Epi-LSTM was trained on, as it gives them back: gen_impute --model out/epilstm --all --std"
    ),
)
