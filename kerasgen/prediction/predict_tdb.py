"""Predict on regions of a database: what ``gen_predict_tdb`` does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.progress import progress
from db_ingest.settings import Changes, Overrides, Setting, absolute_path, takes_settings
from kerasgen import backend, bundle
from kerasgen import spec as specs
from kerasgen.bundle import Bundle
from kerasgen.database import Database
from kerasgen.loader.builder import BatchBuilder
from kerasgen.prediction.batches import accepted, read_batches
from kerasgen.prediction.files import SUFFIX, PredictionsWriter, coordinates
from kerasgen.prediction.head_tracks import tracks_of, write_tracks
from kerasgen.prediction.predict import outputs_of
from kerasgen.regions.plan import plan_prediction
from kerasgen.regions.windows import Windows
from kerasgen.settings import BatchSize, Data, Inputs, LoadModel, Outputs, Regions, TdbArray, Values
from kerasgen.spec import DataSpec

if TYPE_CHECKING:
    import keras

log = logging.getLogger("kerasgen")


REGIONS_HELP = {
    "bed_regions_center": "where in a region of --bed_regions a window is centred; random: anywhere, fixed by --seed",
    "jitter": "with --bed_regions: largest distance by which a centre is moved either way, fixed by --seed",
    "tdb_ambig_attribute": "mask of ambiguous bases: no centre lies on one",
}
"""What settings of regions mean where each region is taken once and there is no background."""


class PredictionResult(NamedTuple):
    """What a prediction wrote.

    Args:
        path: the HDF5 file.
        samples: windows predicted.
        bigwigs: files written beside it.
    """

    path: Path
    samples: int
    bigwigs: list[Path]


@takes_settings
def predict_tdb(
    load_model_hdf5: LoadModel,
    predictions_and_labels_hdf5: Annotated[
        str, Setting("P of P.predictions, the HDF5 file written", group="files", metavar="P")
    ],
    *,
    tdb_array: TdbArray | None = None,
    changes: Annotated[Changes, Overrides(Inputs, Outputs, Values, Regions, without=["ambiguous"], help=REGIONS_HELP)],
    predict_chroms: Annotated[
        Sequence[str] | None,
        Setting(
            "chromosomes to predict on (default: those the model held out for testing)", group="folds", metavar="CHROM"
        ),
    ] = None,
    batch_size: BatchSize = 64,
    seed: Annotated[int, Setting("seed of jitter and random centres", unit="", group="running", least=0)] = 1234,
    bigwig_prefix: Annotated[
        str | None,
        Setting(
            "also write P.task_N.predicted.bw and P.task_N.observed.bw: expected and observed counts per base; of an "
            "output of bins, each bin's value at all its bases",
            group="files",
            metavar="P",
        ),
    ] = None,
) -> PredictionResult:
    """Predict on regions and write predictions and labels to one HDF5 file, and to bigWigs if asked.

    Inputs, outputs and regions are those of the model's bundle unless a setting overrules them; centres are not moved
    unless ``jitter`` says so. Regions are predicted once each, on the chromosomes held out for testing by default.

    The file holds ``coords (N, 3)`` strings (chromosome, centre, strand: ``-`` where read as the reverse complement),
    ``lab_i`` and ``pred_i`` in the order of the outputs, profiles as counts and logits ``(N, L, T)``, log counts
    ``(N, T)``, float32.

    Raises:
        InputError: wrong settings, names or files, or no region.
    """
    found = bundle.open_bundle(load_model_hdf5)
    database, spec, regions, record = resolve(found, tdb_array, changes)
    chromosomes = choose_chromosomes(found, database, predict_chroms)
    windows = plan_prediction(database, spec, regions, chromosomes, seed=seed).epoch(0)
    builder = BatchBuilder(database, spec, codes=True)
    if windows.reverse.any():
        builder.check_strands()
    tracks = tracks_of(spec) if bigwig_prefix else []
    every = len(windows.centre)
    windows = accepted(builder, windows, batch_size)
    if len(windows.centre) < every:
        log.info("%s of %s regions lie outside the minima and maxima", f"{every - len(windows.centre):,}", f"{every:,}")
    if len(windows.centre) == 0:
        raise InputError("no region lies within the minima and maxima of --tdb_input and --tdb_output")

    backend.load()
    model = found.load_model()
    path = Path(predictions_and_labels_hdf5 + SUFFIX)
    record |= {
        "load_model_hdf5": load_model_hdf5,
        "predictions_and_labels_hdf5": predictions_and_labels_hdf5,
        "predict_chroms": predict_chroms,
        "batch_size": batch_size,
        "seed": seed,
        "bigwig_prefix": bigwig_prefix,
    }
    with storage.replacing(path) as temporary:
        _write(temporary, model, builder, windows, batch_size, _provenance(found, database, spec, record, chromosomes))
        bigwigs: list[Path] = []
        for each in tracks:
            bigwigs += write_tracks(temporary, str(bigwig_prefix), database.genome, spec, windows, each)
    return PredictionResult(path, len(windows.centre), bigwigs)


class Resolved(NamedTuple):
    """What a prediction or an interpretation works on.

    Args:
        database: where the bundle says, or the one given.
        spec: of the model's inputs and outputs.
        regions: where windows are centred.
        record: all settings, by the names of their flags.
    """

    database: Database
    spec: DataSpec
    regions: Regions
    record: dict[str, Any]


def resolve(found: Bundle, tdb_array: str | None, changes: Changes) -> Resolved:
    """The database, data spec and regions of a bundle, with what was given in their place."""
    found.require_windows()
    run = found.config["run"]
    before = Regions.from_flat(run)
    center = "center" if before.bed_regions_center == "random" else before.bed_regions_center
    # Settings of training that prediction does not take over.
    regions = changes.onto(replace(before, bed_regions_center=center, bed_regions_jitter=1, jitter=0))
    if "bed_regions" in changes:
        regions = _without(
            regions, changes, "tdb_partition_attribute_for_upsample", "tdb_partition_datasets_for_upsample"
        )
    elif "tdb_partition_attribute_for_upsample" in changes:
        regions = _without(regions, changes, "bed_regions", "bed_regions_center", "bed_regions_stranded")
    data = changes.onto(Data.from_flat(run))
    uri = tdb_array or run["tdb_array"]
    database = Database(uri)
    record = {**run, **data.flat(), **regions.absolute().flat(), "tdb_array": absolute_path(uri)}
    if changes.touches(Data):
        spec = specs.from_settings(database, data)
        if len(spec.outputs) == len(found.spec.outputs):
            spec = spec.with_losses([output.loss for output in found.spec.outputs])
        return Resolved(database, spec, regions, record)
    for channels in (*found.spec.inputs, *found.spec.outputs):
        if not channels.is_sequence:
            channels.tracks(database)
    return Resolved(database, found.spec, regions, record)


def _without(regions: Regions, changes: Changes, *names: str) -> Regions:
    """The regions with defaults in place of what the training said of some settings; what was given stays."""
    defaults = Regions()
    return replace(regions, **{name: getattr(defaults, name) for name in names if name not in changes})


def choose_chromosomes(found: Bundle, database: Database, named: Sequence[str] | None) -> list[str]:
    """Chromosomes to work on: those named, else those held out for testing."""
    chromosomes = list(named or found.split.test)
    if not chromosomes:
        raise InputError("the model held out no chromosome for testing; name some with --predict_chroms")
    for name in chromosomes:
        database.genome.index(name)
    seen = [name for name in chromosomes if name in (*found.split.train, *found.split.validation)]
    if seen:
        log.warning("warning: the model was trained or chosen on %s; scores there do not generalise", ", ".join(seen))
    return chromosomes


def _provenance(
    found: Bundle, database: Database, spec: DataSpec, flags: dict[str, Any], chromosomes: list[str]
) -> dict[str, str]:
    test = set(found.split.test)
    return {
        "model": str(found.model_path.resolve()),
        "model_sha256": hashlib.sha256(found.model_path.read_bytes()).hexdigest(),
        "database": str(database.uri),
        "database_commit": str(database.commit),
        "data_spec": json.dumps(spec.to_json()),
        "flags": json.dumps(flags),
        "chromosomes": " ".join(chromosomes),
        "held_out": str(set(chromosomes) <= test),
        "kerasgen": bundle.versions().get("kerasgen", ""),
    }


def _write(
    path: Path,
    model: keras.Model,
    builder: BatchBuilder,
    windows: Windows,
    batch_size: int,
    provenance: dict[str, str],
) -> None:
    count = len(windows.centre)
    with (
        PredictionsWriter(path, coordinates(builder.database, windows), provenance) as writer,
        progress("predict", count, "samples") as advance,
        contextlib.closing(read_batches(builder, windows, batch_size)) as batches,
    ):
        for where, inputs, labels in batches:
            writer.put(where, labels, outputs_of(model, inputs, batch_size))
            advance(where.stop - where.start)
