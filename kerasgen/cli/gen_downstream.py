"""``gen_downstream``: genomic elements with labels in, how well tracks and embeddings predict them out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from db_ingest.cli.frame import Command, Flag, none_or
from kerasgen.cli.flags import FLAGS

if TYPE_CHECKING:
    from kerasgen.downstream_tasks.results import DownstreamResult

_LABELS, _FEATURES, _FOLDS, _TREES = "elements and labels", "features", "folds", "trees"


def _report(result: DownstreamResult) -> None:
    from rich.console import Console
    from rich.table import Table

    many = f"{result.elements:,} elements"
    if result.positives is not None:
        many += f", {result.positives:,} positive: base rate {result.positives / result.elements:.4f}"
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(f"{many}\n{result.folding}", highlight=False)
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
    flags={
        "tdb_array": FLAGS["tdb_array"],
        "labels": Flag(
            "BED, BEDPE or tab-separated file with named columns, plain or gzipped: elements, or pairs of them, and "
            "their labels",
            group=_LABELS,
            metavar="FILE",
        ),
        "out_prefix": Flag("P of P.scores.tsv, P.scores.json, P.predictions.tsv, P.importance.tsv, P.png", metavar="P"),
        "task": Flag("what labels are", choices=("classification", "regression"), group=_LABELS),
        "label_column": Flag(
            "column of the labels: its name in the header (default: label), or its number from 1",
            group=_LABELS,
            metavar="COLUMN",
        ),
        "layout": Flag(
            "bedpe: pairs of anchors; auto: pairs where the header names start1 and start2, or a file without header "
            "has .bedpe in its name",
            choices=("auto", "bed", "bedpe"),
            group=_LABELS,
        ),
        "label_threshold": Flag(
            "of a classification: labels from here on are positive (default: labels are 0 and 1)", float, group=_LABELS
        ),
        "label_transformation": Flag(
            "of a regression: None, log or log10 (of the label + 1), asinh", none_or(str), group=_LABELS, metavar="NAME"
        ),
        "chroms": Flag(
            "chromosomes whose elements are used (default: all)", many=True, group=_LABELS, metavar="CHROM"
        ),
        "features": Flag(
            "feature sets to compare; an attribute without dataset is of all datasets that have it; * and ? stand for "
            "any letters, so *:E003 is all of a dataset (default: tracks=*)",
            many=True,
            group=_FEATURES,
            metavar="NAME=ATTRIBUTE[:DATASET][,...]",
        ),
        "transformation": Flag(
            "of each bin before pooling: arcsinh (once: not of tracks ingested so) or None; one for all sets, or one a "
            "set",
            many=True,
            group=_FEATURES,
            metavar="NAME",
        ),
        "bin": Flag("bp a bin", int, group=_FEATURES, metavar="BP"),
        "pool": Flag(
            "how bins of a region become features: mean, max, min, std", many=True, group=_FEATURES, metavar="NAME"
        ),
        "flank": Flag("bp added at both sides of each element or anchor", int, group=_FEATURES, metavar="BP"),
        "parts": Flag(
            "equal parts of each region that are pooled one by one, from the element's 5' end on", int, group=_FEATURES
        ),
        "folds": Flag("each fold is predicted by a model of the others", int, group=_FOLDS),
        "group_by": Flag(
            "what stays in one fold: a chromosome, or a block of neighbouring elements; auto: chromosomes if there are "
            "as many as folds",
            choices=("auto", "chromosome", "block"),
            group=_FOLDS,
        ),
        "gap": Flag(
            "with blocks: elements nearer than this to what is held out are not learnt from", int, group=_FOLDS,
            metavar="BP",
        ),
        "pca_of": Flag(
            "feature set whose principal components are a baseline (default: the first)", group=_FEATURES,
            metavar="NAME",
        ),
        "pca_components": Flag("their number at most", int, group=_FEATURES),
        "rounds": Flag("trees at most", int, group=_TREES),
        "patience": Flag("end after so many trees without a lower loss on the next fold", int, group=_TREES),
        "max_depth": Flag("of a tree", int, group=_TREES),
        "learning_rate": Flag("of each tree", float, group=_TREES),
        "draws": Flag("draws of blocks of elements for the intervals", int),
        "seed": FLAGS["seed"],
        "threads": Flag("tracks read at a time, and threads of XGBoost (default: all cores)", int),
        "title": FLAGS["title"],
    },
    epilog=(
        "example: gen_downstream --tdb_array db --labels genes.tsv --task regression --label_column rna "
        "--label_transformation log --flank 1000 --features tracks=H3K4me3,H3K27ac embedding=*:epilstm --out_prefix "
        "out/genes"
    ),
)  # fmt: skip


def main() -> None:
    """Entry point."""
    sys.exit(COMMAND.run())


if __name__ == "__main__":
    main()
