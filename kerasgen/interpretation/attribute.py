"""Contribution scores of sequence for a model's predictions: what ``gen_shap`` does."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.progress import progress
from db_ingest.settings import Changes, Overrides, Setting, takes_settings
from kerasgen import backend, bundle
from kerasgen.database import Database
from kerasgen.loader.builder import Arrays, BatchBuilder
from kerasgen.objectives import heads as kinds
from kerasgen.prediction.predict_tdb import coordinates, resolve, run_model
from kerasgen.regions.plan import plan_prediction
from kerasgen.regions.windows import Windows
from kerasgen.sequence import codes_of, dinucleotide_shuffle, one_hot
from kerasgen.settings import Inputs, LoadModel, Regions, TdbArray
from kerasgen.spec import DataSpec

if TYPE_CHECKING:
    import keras

log = logging.getLogger("kerasgen")

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""A sum of contributions may miss the difference it explains by this share of it, plus this."""


class ShapResult(NamedTuple):
    """What an interpretation wrote.

    Args:
        path: the HDF5 file.
        bigwigs: one a head.
        regions: how many were explained.
        completeness: head -> largest ``|delta| / (1e-3 |difference| + 1e-5)``; at most 1 is complete.
    """

    path: Path
    bigwigs: list[Path]
    regions: int
    completeness: dict[str, float]


HEADS = ("both", *dict.fromkeys(kind.name for kind in kinds.KINDS.values()))
_OVERRIDDEN = (
    "tdb_input_datasets",
    "bed_regions",
    "bed_regions_center",
    "bed_regions_stranded",
    "tdb_partition_attribute_for_upsample",
    "tdb_partition_thresh_for_upsample",
    "tdb_partition_datasets_for_upsample",
    "tdb_ambig_attribute",
    "blacklist",
)


@takes_settings
def shap(
    load_model_hdf5: LoadModel,
    out_prefix: Annotated[str, Setting("P of the files written: P.shap.h5 and P.HEAD.bw", group="files", metavar="P")],
    *,
    tdb_array: TdbArray | None = None,
    changes: Annotated[Changes, Overrides(Inputs, Regions, only=_OVERRIDDEN)],
    chroms: Annotated[
        Sequence[str] | None,
        Setting("chromosomes whose regions are explained (default: all)", group="folds", metavar="CHROM"),
    ] = None,
    max_regions: Annotated[
        int | None,
        Setting("largest number of regions to explain, spread evenly over all", unit="regions", least=1),
    ] = None,
    head: Annotated[str, Setting("which outputs to explain, by the names of their heads", choices=HEADS)] = "both",
    task_index: Annotated[
        int | None, Setting("output channel to explain, from 0 (default: the sum over channels)", unit="")
    ] = None,
    num_refs_per_seq: Annotated[
        int, Setting("number of dinucleotide-shuffled references per sequence", unit="references", least=1)
    ] = 20,
    batch_size: Annotated[
        int, Setting("number of sequences per batch", unit="sequences", group="running", least=1)
    ] = 4,
    seed: Annotated[
        int,
        Setting(
            "seed of the shuffles; a region's references depend on it and on the region's place alone",
            unit="",
            group="running",
            least=0,
        ),
    ] = 1234,
) -> ShapResult:
    """Explain a model's predictions on regions by DeepSHAP against dinucleotide-shuffled references.

    The counts head is explained through its log counts, the profile head through its mean-centred logits weighted by
    their softmax, held at the example's. Control inputs stay as they are. Regions are those the model was trained on
    unless a setting overrules them.

    The HDF5 file holds ``coords (N, 3)`` strings, ``sequence (N, L, 4)`` one-hot, and a group per head:
    ``hypothetical (N, L, 4)`` and ``observed (N, L)`` float32, ``delta`` and ``difference`` ``(N,)``. Windows read as
    the reverse complement stay so in the HDF5 file and are turned back in the bigWigs.

    Raises:
        InputError: wrong settings, names or files, a head or channel the model lacks, or no region.
    """
    found = bundle.open_bundle(load_model_hdf5)
    database, spec, regions, record = resolve(found, tdb_array, changes)
    if not spec.inputs[0].is_sequence:
        raise InputError(f"{load_model_hdf5}: the first input is not the sequence; there is nothing to explain")
    heads = _heads(spec, head, task_index)
    windows = plan_prediction(database, spec, regions, chroms or database.genome.names, seed=seed).epoch(0)
    if max_regions is not None and len(windows.centre) > max_regions:
        windows = windows.take(np.linspace(0, len(windows.centre) - 1, max_regions).astype(int))
    builder = BatchBuilder(database, spec)
    if windows.reverse.any():
        builder.check_strands()

    backend.load()
    model = found.load_model()
    path = Path(f"{out_prefix}.shap.h5")
    record |= {
        "load_model_hdf5": load_model_hdf5,
        "out_prefix": out_prefix,
        "chroms": chroms,
        "max_regions": max_regions,
        "head": head,
        "task_index": task_index,
        "num_refs_per_seq": num_refs_per_seq,
        "batch_size": batch_size,
        "seed": seed,
    }
    with storage.replacing(path) as temporary:
        attributes = {
            "model": str(found.model_path.resolve()),
            "database": database.uri,
            "database_commit": str(database.commit),
            "flags": json.dumps({**record, "data_spec": spec.to_json()}),
            "num_refs_per_seq": num_refs_per_seq,
            "kerasgen": bundle.versions().get("kerasgen", ""),
        }
        worst = _explain_all(
            temporary, model, builder, windows, heads, task_index, num_refs_per_seq, batch_size, seed, attributes
        )
        bigwigs = _write_bigwigs(temporary, out_prefix, database, spec, windows, list(heads))
    for name, share in worst.items():
        if share > 1:
            log.warning(
                "warning: %s contributions do not add up to the predicted difference (%.3g times the tolerance)",
                name, share,
            )  # fmt: skip
    return ShapResult(path, bigwigs, len(windows.centre), worst)


def references_of(codes: np.ndarray, windows: Windows, count: int, seed: int) -> np.ndarray:
    """Dinucleotide shuffles of ``(batch, length)`` codes as ``(batch, count, length, 4) float32``."""
    result = []
    for sequence, place, centre, reverse in zip(
        codes, windows.chromosome, windows.centre, windows.reverse, strict=True
    ):
        own = np.random.SeedSequence((seed, int(place), int(centre), int(reverse))).generate_state(1)[0]
        result.append(one_hot(dinucleotide_shuffle(sequence, count, int(own))))
    return np.stack(result)


def _heads(spec: DataSpec, head: str, task: int | None) -> dict[str, int]:
    """Places of the outputs to explain."""
    places: dict[str, int] = {}
    for place, channels in enumerate(spec.outputs):
        places.setdefault(kinds.of(channels).name, place)
    wanted = {name: place for name, place in places.items() if head in ("both", name)}
    if not wanted:
        raise InputError(f"--head {head}: the model has only {', '.join(places)}")
    for name, place in wanted.items():
        if task is not None and not 0 <= task < spec.outputs[place].width:
            raise InputError(f"--task_index {task}: the {name} head has channels 0 to {spec.outputs[place].width - 1}")
    return wanted


def _explain_all(
    path: Path,
    model: keras.Model,
    builder: BatchBuilder,
    windows: Windows,
    heads: dict[str, int],
    task: int | None,
    references: int,
    batch_size: int,
    seed: int,
    attributes: dict[str, Any],
) -> dict[str, float]:
    import h5py

    from kerasgen.interpretation import deeplift

    explainers = {
        name: deeplift.DeepLift(
            model,
            deeplift.profile_target(place) if name == "profile" else deeplift.counts_target(place, task),
            references,
        )
        for name, place in heads.items()
    }
    count = len(windows.centre)
    worst = dict.fromkeys(heads, 0.0)
    with h5py.File(path, "w") as file, progress("explain", count, "regions") as advance:
        file.attrs.update(attributes)
        file["coords"] = coordinates(builder.database, windows)
        length = builder.spec.inputs[0].length
        chunk = min(32, count)
        zipped = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        file.create_dataset("sequence", (count, length, 4), np.uint8, chunks=(chunk, length, 4), **zipped)
        for name in heads:
            group = file.create_group(name)
            group.create_dataset("hypothetical", (count, length, 4), np.float32, chunks=(chunk, length, 4), **zipped)
            group.create_dataset("observed", (count, length), np.float32, chunks=(chunk, length), **zipped)
            for column in ("delta", "difference"):
                group.create_dataset(column, (count,), np.float64)
        for first in range(0, count, batch_size):
            part = windows.take(slice(first, first + batch_size))
            number = len(part.centre)
            # The last batch is filled up with its first region, so that one compiled function serves all.
            filled = part.take(np.arange(batch_size) % number)
            inputs = builder.inputs(filled)
            shuffled = references_of(codes_of(inputs[0]), filled, references, seed)
            where = slice(first, first + number)
            file["sequence"][where] = inputs[0][:number].astype(np.uint8)
            for name, explainer in explainers.items():
                weights = _weights(model, inputs, heads[name], task, batch_size) if name == "profile" else None
                found = explainer(inputs[0], shuffled, inputs[1:], weights)
                scores = deeplift.contributions(found, inputs[0], shuffled)
                delta, difference = deeplift.completeness(found, scores)
                tolerance = RELATIVE * np.abs(difference) + ABSOLUTE
                worst[name] = max(worst[name], float((np.abs(delta) / tolerance)[:number].max()))
                file[name]["hypothetical"][where] = deeplift.hypothetical(found, shuffled)[:number]
                file[name]["observed"][where] = scores.sum(axis=-1)[:number]
                file[name]["delta"][where], file[name]["difference"][where] = delta[:number], difference[:number]
            advance(number)
    return worst


def _weights(model: keras.Model, inputs: Arrays, place: int, task: int | None, batch_size: int) -> np.ndarray:
    from kerasgen.interpretation.deeplift import profile_weights

    return profile_weights(run_model(model, inputs, batch_size)[place], task)


def _write_bigwigs(
    path: Path, prefix: str, database: Database, spec: DataSpec, windows: Windows, heads: list[str]
) -> list[Path]:
    import h5py

    from kerasgen.prediction.bigwig import write_bigwig

    written = []
    with h5py.File(path) as file:
        for name in heads:
            observed = file[name]["observed"][:]
            turned = np.where(windows.reverse[:, None], observed[:, ::-1], observed)
            target = Path(f"{prefix}.{name}.bw")
            start = windows.centre - spec.inputs[0].flank
            write_bigwig(target, database.genome, windows.chromosome, start, turned)
            written.append(target)
    return written
