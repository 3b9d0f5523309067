"""``gen_embed``: a trained model and a database in, the embedding of every position out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command

if TYPE_CHECKING:
    from kerasgen.track_models.embed import EmbeddingResult


def _report(result: EmbeddingResult) -> None:
    where = f"{len(result.chromosomes):,} chromosome(s), {result.bins:,} bins"
    if result.dataset is not None:
        names = f"{result.attributes[0]} to {result.attributes[-1]}" if result.attributes[1:] else result.attributes[0]
        done = "unchanged" if result.unchanged else "written"
        sys.stdout.write(f"dataset {result.dataset}: {names}, {where}: {done}\n")
    for path in result.files:
        sys.stdout.write(f"{path}: {where}\n")
    if result.empty:
        sys.stdout.write(f"{result.empty:,} bins have no embedding: no track has a value there\n")


COMMAND = Command(
    prog="gen_embed",
    function="kerasgen.track_models.embed:embed",
    report=_report,
    epilog=(
        "example: gen_embed --tdb_array db --load_model_hdf5 out/epilstm.keras --hdf5 out/epilstm.h5; "
        "the baseline: gen_embed --tdb_array db --pca 12 --model_prefix out/pca12"
    ),
)
