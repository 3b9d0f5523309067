"""``gen_predict_tdb``: a model bundle and regions in, predictions and labels out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command

if TYPE_CHECKING:
    from kerasgen.prediction.predict_tdb import PredictionResult


def _report(result: PredictionResult) -> None:
    sys.stdout.write(f"{result.path}: {result.samples:,} regions predicted\n")
    for path in result.bigwigs:
        sys.stdout.write(f"{path}\n")


COMMAND = Command(
    prog="gen_predict_tdb",
    function="kerasgen.prediction.predict_tdb:predict_tdb",
    report=_report,
    epilog=(
        "All flags about inputs, outputs and regions are taken from the model's bundle; give one only to overrule it. "
        "example: gen_predict_tdb --load_model_hdf5 out/model.keras --predictions_and_labels_hdf5 out/model"
    ),
)
