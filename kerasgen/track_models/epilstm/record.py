"""What the bundle of an autoencoder of tracks says: its tracks, its bins, and how much of them its codes keep."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from db_ingest.errors import InputError
from kerasgen import bundle
from kerasgen.database import Database
from kerasgen.regions import folds
from kerasgen.settings import Folds
from kerasgen.track_models.binned import BinnedTracks, from_database
from kerasgen.track_models.epilstm.bin_split import BinSplit, by_chromosomes, by_stretches
from kerasgen.track_models.epilstm.normalisation import Normalisation

if TYPE_CHECKING:
    import keras

    from architectures.epilstm import Config
    from kerasgen.track_models.settings import ChromosomeParts, TrackSelection

log = logging.getLogger("kerasgen")

FAMILY = "epilstm"


class SelectedTracks(NamedTuple):
    """Tracks that an autoencoder is trained and tested on.

    Args:
        tracks: values of all bins.
        bins: those that train, validate and test.
        chromosomes: the same as chromosomes; None where each chromosome is cut in parts.
    """

    tracks: BinnedTracks
    bins: BinSplit
    chromosomes: folds.Split | None


def select_tracks(
    database: Database, selection: TrackSelection, parts: ChromosomeParts, *, validates: bool = True
) -> SelectedTracks:
    """Read the tracks that settings name.

    Args:
        database: where they are.
        selection: which tracks, and how they are read.
        parts: which chromosomes do what.
        validates: whether validation chromosomes are needed where any are named.

    Raises:
        InputError: an unknown name, a track that cannot be read so, or a chromosome in two parts.
    """
    chromosomes = split_chromosomes(database, parts, validates=validates)
    chroms = None
    if chromosomes is not None:
        named = {*chromosomes.train, *chromosomes.validation, *chromosomes.test}
        chroms = [name for name in database.genome.names if name in named]
    tracks = from_database(
        database,
        celltypes=selection.celltypes,
        assays=selection.assays,
        bin=selection.bin,
        chroms=chroms,
        transformation=selection.transformation,
    )
    if chromosomes is None:
        return SelectedTracks(tracks, by_stretches(tracks, parts.gap_bins), None)
    bins = by_chromosomes(tracks, chromosomes.train, chromosomes.validation, chromosomes.test)
    return SelectedTracks(tracks, bins, chromosomes)


def split_chromosomes(database: Database, parts: ChromosomeParts, *, validates: bool = True) -> folds.Split | None:
    """The chromosomes of each part; None where none is named."""
    if not (parts.train_chroms or parts.validation_chroms or parts.test_chroms):
        return None
    if validates and not parts.validation_chroms:
        raise InputError("--validation_chroms: expected some to choose the best epoch by, beside the chromosomes named")
    named = Folds(
        train_chroms=parts.train_chroms, validation_chroms=parts.validation_chroms, test_chroms=parts.test_chroms
    )
    return folds.split(database.genome, named, validates=validates)


def document(
    database: Database,
    run: dict[str, Any],
    config: Config,
    model: keras.Model,
    normalisation: Normalisation,
    selected: SelectedTracks,
) -> dict[str, Any]:
    """Contents of ``P.json`` that do not depend on how training goes."""
    import keras

    tracks, chromosomes = selected.tracks, selected.chromosomes
    return {
        "run": run,
        "architecture": {"name": FAMILY, "config": asdict(config)},
        "tracks": [list(pair) for pair in tracks.pairs],
        "bin": tracks.bin,
        "transformation": tracks.transformation,
        "normalisation": normalisation.to_json(),
        "split": asdict(chromosomes) if chromosomes else {"train": [], "validation": [], "test": []},
        "stretches": selected.bins.to_json(tracks.bin),
        "parameters": int(model.count_params()),
        "backend": keras.backend.backend(),
        "versions": bundle.versions(),
        "database": {"uri": database.uri, "commit": database.commit},
    }


def explained(models: Sequence[keras.Model], normalisation: Normalisation, selected: SelectedTracks) -> dict[str, Any]:
    """Shares of the variance of validation and test bins that models explain, as ``P.json`` holds them.

    Returns:
        ``r2``, of the mean of their reconstructions, and of several models ``r2_models``, a list of those of each.
    """
    from kerasgen.track_models.epilstm.evaluation import r_squared_of_mean

    of_mean: dict[str, float] = {}
    of_each: list[dict[str, float]] = [{} for _ in models]
    for part, stretches in (("validation", selected.bins.validation), ("test", selected.bins.test)):
        if stretches:
            of_mean[part], each = r_squared_of_mean(models, normalisation, selected.tracks, stretches)
            for shares, share in zip(of_each, each, strict=True):
                shares[part] = share
    of_mean, of_each = defined(of_mean), [defined(shares) for shares in of_each]
    log.info("variance explained: %s", _listed(of_mean))
    if len(models) == 1:
        return {"r2": of_mean}
    for number, shares in enumerate(of_each):
        log.info("variance explained by model %d alone: %s", number + 1, _listed(shares))
    return {"r2": of_mean, "r2_models": of_each}


def defined(shares: dict[str, float]) -> dict[str, float]:
    """Those that are defined: JSON has no NaN."""
    return {part: share for part, share in shares.items() if not math.isnan(share)}


def _listed(shares: dict[str, float]) -> str:
    return ", ".join(f"{part} {share:.3f}" for part, share in shares.items())
