"""``gen_report``: a model's files in, one self-contained page out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command

if TYPE_CHECKING:
    from kerasgen.reports.page import Report


def _report(result: Report) -> None:
    sys.stdout.write(f"{result.path}\n")
    for head, value in result.auroc.items():
        sys.stdout.write(f"attribution AUROC on known sites, {head}: {value:.4f}\n")


COMMAND = Command(
    prog="gen_report",
    function="kerasgen.reports.page:report",
    report=_report,
    epilog="example: gen_report --model_prefix out/model --scores out/scores.json --outf out/report.html",
)
