"""``gen_embed``: a trained model and a database in, the embedding of every position out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command, Flag
from kerasgen.cli.flags import FLAGS

if TYPE_CHECKING:
    from kerasgen.track_models.embed import EmbeddingResult

_OUT, _PCA = "what is written", "principal components"

_FLAGS = {
    **FLAGS,
    "load_model_hdf5": Flag(
        "P.keras of a trained Epi-LSTM or Avocado; its bundle lies beside it. Of an ensemble, its first model embeds",
        metavar="P.keras",
    ),
    "pca": Flag("instead: fit so many principal components and embed by them", int, group=_PCA, metavar="N"),
    "model_prefix": Flag("with --pca: P of the bundle that is written, P.keras and P.json", group=_PCA, metavar="P"),
    "celltypes": Flag("with --pca: datasets (default: all with one of the assays)", many=True, group=_PCA),
    "assays": Flag("with --pca: attributes (default: all signals)", many=True, group=_PCA),
    "train_chroms": Flag("with --pca: chromosomes to fit on", many=True, group=_PCA, metavar="CHROM"),
    "validation_chroms": Flag("with --pca: more chromosomes to fit on", many=True, group=_PCA, metavar="CHROM"),
    "test_chroms": Flag(
        "with --pca: chromosomes held out; where none is named, the last fifth of each is", many=True, group=_PCA,
        metavar="CHROM",
    ),
    "bin": Flag("with --pca: bp a bin (25 if not given); a model's own is checked", int, metavar="BP"),
    "transformation": Flag(
        "with --pca: of the values (arcsinh if not given); a model's own is checked", choices=("arcsinh", "None")
    ),
    "name": Flag(
        "dataset, and NAME_00, NAME_01, ... the attributes (default: the name of the model's file)", group=_OUT,
        metavar="NAME",
    ),
    "chroms": Flag("chromosomes to embed (default: all with values)", many=True, group=_OUT, metavar="CHROM"),
    "in_database": Flag("write into the database", group=_OUT),
    "hdf5": Flag("also write this file: a dataset (bins, components) a chromosome", group=_OUT, metavar="FILE"),
    "bigwig_prefix": Flag("also write P.NAME_00.bw, P.NAME_01.bw, ...", group=_OUT, metavar="P"),
}  # fmt: skip


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
    flags=_FLAGS,
    report=_report,
    epilog=(
        "example: gen_embed --tdb_array db --load_model_hdf5 out/epilstm.keras --hdf5 out/epilstm.h5; "
        "the baseline: gen_embed --tdb_array db --pca 12 --model_prefix out/pca12"
    ),
)


def main() -> None:
    """Entry point."""
    sys.exit(COMMAND.run())


if __name__ == "__main__":
    main()
