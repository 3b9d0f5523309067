"""``gen_shap``: a model bundle and regions in, contribution scores out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command

if TYPE_CHECKING:
    from kerasgen.interpretation.explain_tdb import ShapResult


def _report(result: ShapResult) -> None:
    sys.stdout.write(f"{result.path}: {result.regions:,} regions explained\n")
    for path in result.bigwigs:
        sys.stdout.write(f"{path}\n")
    for name, value in result.completeness.items():
        sys.stdout.write(
            f"{name}: largest completeness delta is {value:.2g} of the tolerance (1e-3 |difference| + 1e-5)\n"
        )


COMMAND = Command(
    prog="gen_shap",
    function="kerasgen.interpretation.explain_tdb:shap",
    report=_report,
    epilog=(
        "All flags about inputs and regions are taken from the model's bundle; give one only to overrule it. "
        "example: gen_shap --load_model_hdf5 out/model.keras --out_prefix out/model --bed_regions peaks.narrowPeak"
    ),
)
