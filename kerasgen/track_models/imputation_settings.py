"""The settings of imputing tracks, and of scoring and drawing them, each told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from db_ingest.errors import InputError
from db_ingest.settings import Setting, Settings

PROJECTIONS = ("pca", "umap")

_TRACKS, _REGION, _FILES, _RUNNING = "tracks", "region", "files", "running"
_SCORES, _PLOTS, _ADDED = "scores", "plots", "new cell types and assays"


@dataclass(frozen=True, kw_only=True)
class ImputedTracks(Settings):
    """Which tracks are imputed."""

    celltype: Annotated[
        Sequence[str] | None,
        Setting(
            "cell types whose tracks are imputed, in each of the assays named, or in all",
            also=("-c",),
            group=_TRACKS,
            metavar="CELLTYPE",
        ),
    ] = None
    assay: Annotated[
        Sequence[str] | None,
        Setting(
            "assays whose tracks are imputed, in each of the cell types named, or in all",
            also=("-a",),
            group=_TRACKS,
            metavar="ASSAY",
        ),
    ] = None
    all_missing: Annotated[
        bool,
        Setting(
            "impute every pair that the database has no track of; of the cell types and assays named, if any are",
            also=("--all-missing",),
            group=_TRACKS,
        ),
    ] = False
    all_tracks: Annotated[
        bool,
        Setting("impute every pair that the model knows; of an Epi-LSTM, all its tracks", also=("--all",),
                group=_TRACKS),
    ] = False  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImputedBins(Settings):
    """Where tracks are imputed."""

    chrom: Annotated[
        Sequence[str] | None,
        Setting("chromosomes to impute (default: all that the model knows)", group=_REGION, metavar="CHROM"),
    ] = None
    start: Annotated[
        int | None,
        Setting("with one --chrom: first base, 0-based; bins are imputed whole", unit="bp", group=_REGION),
    ] = None
    end: Annotated[int | None, Setting("with one --chrom: end of the range, exclusive", unit="bp", group=_REGION)] = (
        None
    )
    region: Annotated[
        str | None,
        Setting(
            "instead of these: CHROM:START-END, as browsers write it but 0-based",
            group=_REGION,
            metavar="CHROM:START-END",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ImputedFiles(Settings):
    """What is written of imputed tracks."""

    out_dir: Annotated[
        str, Setting("folder of CELLTYPE.ASSAY.bigwig, one value per bin", group=_FILES, metavar="FOLDER")
    ] = "."
    keep_arcsinh: Annotated[
        bool,
        Setting("write arcsinh values as the model gives them; else they are undone and cut off at 0", group=_FILES),
    ] = False
    std: Annotated[
        bool,
        Setting(
            "of an ensemble: also write CELLTYPE.ASSAY.std.bigwig, the standard deviation between its models, in the "
            "model's values (arcsinh)",
            group=_FILES,
        ),
    ] = False
    skip_existing: Annotated[bool, Setting("leave bigWigs as they are that exist already", group=_RUNNING)] = False
    overwrite: Annotated[bool, Setting("replace what an earlier run wrote", group=_RUNNING, may_change=True)] = False

    def require_consistent(self) -> None:
        """Raise :class:`InputError` for settings that contradict each other."""
        if self.skip_existing and self.overwrite:
            raise InputError("give --skip_existing to leave files or --overwrite to replace them, not both")


@dataclass(frozen=True, kw_only=True)
class AddedNames(Settings):
    """What a model learns before it imputes."""

    add_celltypes: Annotated[
        Sequence[str] | None,
        Setting(
            "datasets of the database to learn first as new cell types, all else frozen",
            group=_ADDED,
            metavar="CELLTYPE",
        ),
    ] = None
    add_assays: Annotated[
        Sequence[str] | None,
        Setting(
            "attributes of the database to learn first as new assays, all else frozen", group=_ADDED, metavar="ASSAY"
        ),
    ] = None
    new_model: Annotated[
        str | None, Setting("P of the model that knows them as well, which then imputes", group=_ADDED, metavar="P")
    ] = None
    add_epochs: Annotated[
        int | None,
        Setting(
            "number of epochs to learn them in (default: as many as the model was trained in)",
            unit="epochs",
            group=_ADDED,
            least=1,
        ),
    ] = None

    @property
    def axes(self) -> dict[str, list[str]]:
        """The names of each axis that is to be learned, cell types first."""
        named = {"celltypes": self.add_celltypes, "assays": self.add_assays}
        return {axis: list(names) for axis, names in named.items() if names}

    def require_consistent(self) -> None:
        """Raise :class:`InputError` for flags that need one another."""
        if not self.axes:
            for name in ("new_model", "add_epochs"):
                if getattr(self, name) is not None:
                    raise InputError(f"--{name} is for --add_celltypes or --add_assays; give one of them")
        elif self.new_model is None:
            raise InputError(f"--add_{next(iter(self.axes))}: say where the new model goes: --new_model P")


@dataclass(frozen=True, kw_only=True)
class ImputationScoring(Settings):
    """How imputed tracks are scored."""

    scores: Annotated[
        str | None,
        Setting(
            "P of P.tsv and P.png: scores of the imputed tracks that the database has, in the model's values, beside "
            "baselines from the tracks that the model was trained on",
            group=_SCORES,
            metavar="P",
        ),
    ] = None
    genes: Annotated[
        str | None,
        Setting("BED with strands, GTF or GFF3, for scores in promoters and genes", group=_SCORES, metavar="FILE",
                path=True),
    ] = None  # fmt: skip
    enhancers: Annotated[
        str | None, Setting("BED, for scores in enhancers", group=_SCORES, metavar="BED", path=True)
    ] = None

    def require_consistent(self) -> None:
        """Raise :class:`InputError` for flags that need one another."""
        if (self.genes or self.enhancers) and not self.scores:
            raise InputError("--genes and --enhancers are for --scores; give that too")


@dataclass(frozen=True, kw_only=True)
class ImputationPlots(Settings):
    """What is drawn of imputed tracks and of the model."""

    plot_region: Annotated[
        str | None,
        Setting(
            "draw each imputed track there, beside the measured one and the mean of the other cell types, as "
            "CELLTYPE.ASSAY.CHROM_START_END.png in --out_dir",
            group=_PLOTS,
            metavar="CHROM:START-END",
        ),
    ] = None
    plot_embeddings: Annotated[
        str | None,
        Setting("draw projections of the model's cell types, assays and positions", group=_PLOTS, metavar="PNG"),
    ] = None
    projection: Annotated[
        str, Setting("kind of projection; umap needs umap-learn", choices=PROJECTIONS, group=_PLOTS)
    ] = "pca"
    metadata: Annotated[
        str | None,
        Setting(
            "table, tab separated with a header: cell type or assay in its first column; --color_by is one of the "
            "others",
            group=_PLOTS,
            metavar="TSV",
            path=True,
        ),
    ] = None
    color_by: Annotated[
        str | None,
        Setting("column of --metadata to colour by (default: its second)", group=_PLOTS, metavar="COLUMN"),
    ] = None

    def require_consistent(self) -> None:
        """Raise :class:`InputError` for flags that need one another."""
        if self.color_by and not self.metadata:
            raise InputError("--color_by names a column of --metadata; give that too")
        if self.metadata and not self.plot_embeddings:
            raise InputError("--metadata colours --plot_embeddings; give that too")
