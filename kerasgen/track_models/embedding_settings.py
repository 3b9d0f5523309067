"""The settings of embedding the positions of a database, each told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from db_ingest.errors import InputError
from db_ingest.settings import Setting, Settings
from kerasgen.track_models.binned import TRANSFORMATIONS
from kerasgen.track_models.settings import GAP_BINS

_PCA, _OUT, _RUNNING = "principal components", "what is written", "running"


@dataclass(frozen=True, kw_only=True)
class PrincipalComponents(Settings):
    """Principal components that are fitted in place of a trained model."""

    pca: Annotated[
        int | None,
        Setting("instead: number of principal components to fit and embed by", unit="components", group=_PCA,
                least=1),
    ] = None  # fmt: skip
    model_prefix: Annotated[
        str | None,
        Setting("with --pca: P of the bundle that is written, P.keras and P.json", group=_PCA, metavar="P"),
    ] = None
    celltypes: Annotated[
        Sequence[str] | None,
        Setting("with --pca: datasets (default: all with one of the assays)", group=_PCA, metavar="CELLTYPE"),
    ] = None
    assays: Annotated[
        Sequence[str] | None,
        Setting("with --pca: attributes (default: all signals)", group=_PCA, metavar="ASSAY"),
    ] = None
    train_chroms: Annotated[
        Sequence[str] | None, Setting("with --pca: chromosomes to fit on", group=_PCA, metavar="CHROM")
    ] = None
    validation_chroms: Annotated[
        Sequence[str] | None, Setting("with --pca: more chromosomes to fit on", group=_PCA, metavar="CHROM")
    ] = None
    test_chroms: Annotated[
        Sequence[str] | None,
        Setting(
            "with --pca: chromosomes held out; where none is named, the last fifth of each is",
            group=_PCA,
            metavar="CHROM",
        ),
    ] = None
    gap_bins: Annotated[
        int | None,
        Setting(
            f"with --pca, where no chromosome is named: number of bins left out before what is held out ({GAP_BINS} if "
            "not given)",
            unit="bins",
            group=_PCA,
            least=0,
        ),
    ] = None
    bin: Annotated[
        int | None,
        Setting("with --pca: size of a bin (25 if not given); a model's own is checked", unit="bp", group=_PCA),
    ] = None
    transformation: Annotated[
        str | None,
        Setting(
            "with --pca: transformation of the values (arcsinh if not given); a model's own is checked",
            choices=TRANSFORMATIONS,
            group=_PCA,
        ),
    ] = None

    def require_consistent(self) -> None:
        """Raise :class:`InputError` for flags that go with ``--pca`` where that is not given, or none that it needs."""
        if self.pca is None:
            checked = ("pca", "bin", "transformation")
            for name in self.parameters():
                if name not in checked and getattr(self, name) is not None:
                    raise InputError(f"--{name} goes with --pca; a trained model's bundle says it")
        elif self.model_prefix is None:
            raise InputError("--pca needs --model_prefix, where its bundle is written")


@dataclass(frozen=True, kw_only=True)
class EmbeddingOutput(Settings):
    """Where embeddings are written."""

    name: Annotated[
        str | None,
        Setting(
            "dataset, and NAME_00, NAME_01, ... the attributes (default: the name of the model's file)",
            group=_OUT,
            metavar="NAME",
        ),
    ] = None
    chroms: Annotated[
        Sequence[str] | None, Setting("chromosomes to embed (default: all with values)", group=_OUT, metavar="CHROM")
    ] = None
    in_database: Annotated[bool, Setting("write into the database", group=_OUT)] = True
    hdf5: Annotated[
        str | None,
        Setting("also write this file: one dataset (bins, components) per chromosome", group=_OUT, metavar="FILE"),
    ] = None
    bigwig_prefix: Annotated[
        str | None, Setting("also write P.NAME_00.bw, P.NAME_01.bw and so on", group=_OUT, metavar="P")
    ] = None
    overwrite: Annotated[
        bool, Setting("replace an embedding of the same name, files, and the bundle of --pca", group=_RUNNING,
                      may_change=True),
    ] = False  # fmt: skip

    def require_consistent(self) -> None:
        """Raise :class:`InputError` where nothing is to be written."""
        if not (self.in_database or self.hdf5 or self.bigwig_prefix):
            raise InputError("--no-in_database: nothing to write; give --hdf5 or --bigwig_prefix")
