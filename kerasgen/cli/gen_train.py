"""``gen_train``: a database in, a model bundle out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command, CommandByFlag
from kerasgen import families

if TYPE_CHECKING:
    from kerasgen.training.train import TrainingResult


def _report(result: TrainingResult) -> None:
    loss = "validation loss" if "val_loss" in result.history[-1] else "training loss"
    sys.stdout.write(
        f"{result.prefix}.keras: best of {len(result.history)} epoch(s) is {result.best_epoch}, "
        f"{loss} {result.best_loss:.5g} ({result.stopped}, {result.seconds / 60:.1f} min)\n"
    )


TRACK_MODELS = {
    family.name: Command(
        prog="gen_train",
        function=family.trainer,
        report=_report,
        epilog=(
            f"example: gen_train --architecture_spec {family.name} --tdb_array db --model_prefix out/{family.name} "
            f"{family.example}"
        ),
    )
    for family in families.of_tracks()
}
"""Families that learn from tracks alone, and the training that serves each."""

COMMAND = CommandByFlag(
    prog="gen_train",
    function="kerasgen.training.train:train",
    report=_report,
    by="architecture_spec",
    others=TRACK_MODELS,
    epilog=(
        "These flags are of models of windows. Models of tracks alone have others: gen_train --architecture_spec "
        f"{' or '.join(TRACK_MODELS)} --help. "
        "example: gen_train --tdb_array db --model_prefix out/model --tdb_input_source_attribute seq "
        "--tdb_input_flank 1057 --tdb_output_source_attribute count_bigwig_plus_5p,count_bigwig_minus_5p "
        "count_bigwig_plus_5p,count_bigwig_minus_5p --tdb_output_flank 500 500 --tdb_output_aggregation None sum "
        "--tdb_output_transformation None log --bed_regions peaks.narrowPeak --jitter 500 --revcomp --fold 0 "
        "--genome hg38"
    ),
)
