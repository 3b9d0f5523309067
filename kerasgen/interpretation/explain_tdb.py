"""Contribution scores of sequence for a model's predictions: what ``gen_shap`` does."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np

from db_ingest import storage
from db_ingest.errors import InputError
from db_ingest.progress import progress
from db_ingest.settings import Changes, Overrides, Setting, takes_settings
from kerasgen import backend, bundle
from kerasgen.database import Database
from kerasgen.interpretation.explainers import Explainer, explainer_of
from kerasgen.interpretation.files import SUFFIX, ExplainedWriter
from kerasgen.interpretation.references import dinucleotide_shuffles
from kerasgen.interpretation.targets import TARGETS, resolve
from kerasgen.loader.builder import BatchBuilder
from kerasgen.objectives import heads
from kerasgen.prediction.batches import read_batches, turned
from kerasgen.prediction.bigwig import write_bigwigs
from kerasgen.prediction.files import coordinates
from kerasgen.prediction.predict import check_inputs, encoded
from kerasgen.prediction.predict_tdb import REGIONS_HELP
from kerasgen.prediction.predict_tdb import resolve as resolve_bundle
from kerasgen.regions.plan import plan_prediction
from kerasgen.regions.windows import Windows
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
        bigwigs: one per output explained.
        regions: how many were explained.
        completeness: output -> largest ``|delta| / (1e-3 |difference| + 1e-5)``; at most 1 is complete.
    """

    path: Path
    bigwigs: list[Path]
    regions: int
    completeness: dict[str, float]


_EVERY = ("all", "both")
HEADS = (*_EVERY, *heads.NAMES)
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
    changes: Annotated[Changes, Overrides(Inputs, Regions, only=_OVERRIDDEN, help=REGIONS_HELP)],
    chroms: Annotated[
        Sequence[str] | None,
        Setting("chromosomes whose regions are explained (default: all)", group="folds", metavar="CHROM"),
    ] = None,
    max_regions: Annotated[
        int | None,
        Setting("largest number of regions to explain, spread evenly over all", unit="regions", least=1),
    ] = None,
    head: Annotated[
        str, Setting("which outputs to explain, by the names of their heads; both: another word for all", choices=HEADS)
    ] = "all",
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

    The HDF5 file holds ``coords (N, 3)`` strings, ``sequence (N, L, 4)`` one-hot, and a group per output, named for
    its head (``labels``, a second one ``labels_1``):
    ``hypothetical (N, L, 4)`` and ``observed (N, L)`` float32, ``delta`` and ``difference`` ``(N,)``, see
    :class:`~kerasgen.interpretation.explainers.Attributions`. Windows read as the reverse complement stay so in the
    HDF5 file and are turned back in the bigWigs.

    Raises:
        InputError: wrong settings, names or files, a head or channel the model lacks, or no region.
    """
    trained = bundle.open_bundle(load_model_hdf5)
    database, spec, regions, record = resolve_bundle(trained, tdb_array, changes)
    if not spec.inputs[0].is_sequence:
        raise InputError(f"{load_model_hdf5}: the first input is not the sequence; there is nothing to explain")
    places = _places(spec, head, task_index)
    windows = plan_prediction(database, spec, regions, chroms or database.genome.names, seed=seed).epoch(0)
    if max_regions is not None and len(windows.centre) > max_regions:
        windows = windows.take(np.linspace(0, len(windows.centre) - 1, max_regions).astype(int))
    if windows.reverse.any():
        BatchBuilder(database, spec).check_strands()
    # What the model was trained to predict is not read.
    builder = BatchBuilder(database, replace(spec, outputs=()), codes=True)

    backend.load()
    model = trained.load_model()
    explainers = {}
    for name, place in places.items():
        target = resolve(model, TARGETS[heads.of(spec.outputs[place]).targets[0]](place, task_index), None)
        explainers[name] = explainer_of("deepshap", model, target, batch_size=batch_size, n_references=num_refs_per_seq)
    path = Path(f"{out_prefix}{SUFFIX}")
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
            "model": str(trained.model_path.resolve()),
            "database": database.uri,
            "database_commit": str(database.commit),
            "flags": json.dumps({**record, "data_spec": spec.to_json()}),
            "num_refs_per_seq": num_refs_per_seq,
            "kerasgen": bundle.versions().get("kerasgen", ""),
        }
        worst = _explain_all(
            temporary, model, explainers, builder, windows, num_refs_per_seq, batch_size, seed, attributes
        )
        bigwigs = _write_bigwigs(temporary, out_prefix, database, spec, windows, list(places))
    for name, share in worst.items():
        if share > 1:
            log.warning(
                "warning: %s contributions do not add up to the predicted difference (%.3g times the tolerance)",
                name, share,
            )  # fmt: skip
    return ShapResult(path, bigwigs, len(windows.centre), worst)


def references_of(codes: np.ndarray, windows: Windows, count: int, seed: int) -> np.ndarray:
    """Dinucleotide shuffles of ``(batch, length)`` codes as ``(batch, count, length, 4) float32``."""
    places = zip(windows.chromosome, windows.centre, windows.reverse, strict=True)
    seeds = [np.random.SeedSequence((seed, *map(int, place))).generate_state(1)[0] for place in places]
    return dinucleotide_shuffles(codes, count, np.array(seeds, np.uint32))


def _places(spec: DataSpec, head: str, task: int | None) -> dict[str, int]:
    """Places of the outputs to explain, by their names."""
    names = heads.names_of(spec.outputs)
    wanted = {name: place for place, name in enumerate(names) if head in (*_EVERY, heads.name_of_kind(name))}
    if not wanted:
        raise InputError(f"--head {head}: the model has only {', '.join(names)}")
    for name, place in wanted.items():
        if task is not None and not 0 <= task < spec.outputs[place].width:
            raise InputError(f"--task_index {task}: the {name} head has channels 0 to {spec.outputs[place].width - 1}")
    return wanted


def _explain_all(
    path: Path,
    model: keras.Model,
    explainers: dict[str, Explainer],
    builder: BatchBuilder,
    windows: Windows,
    references: int,
    batch_size: int,
    seed: int,
    attributes: dict[str, Any],
) -> dict[str, float]:
    """Write the scores of every output; returns the largest share of its tolerance that an output's deltas take."""
    count, length = len(windows.centre), builder.spec.inputs[0].length
    worst = dict.fromkeys(explainers, 0.0)
    with (
        ExplainedWriter(path, coordinates(builder.database, windows), length, list(explainers), attributes) as writer,
        progress("explain", count, "regions") as advance,
        contextlib.closing(read_batches(builder, windows, batch_size)) as batches,
    ):
        for where, (codes, *others), _ in batches:
            number = len(codes)
            writer.put_sequence(where, codes)
            # The last batch is filled up with its first regions, so that one compiled function serves all.
            fill = np.arange(batch_size) % number
            shuffled = references_of(codes[fill], windows.take(where).take(fill), references, seed)
            sequence, *held = encoded(model, check_inputs(model, [x[fill] for x in (codes, *others)]))
            for name, explain in explainers.items():
                scores = explain(sequence, held, shuffled).take(slice(number))
                assert scores.delta is not None
                assert scores.difference is not None
                tolerance = RELATIVE * np.abs(scores.difference) + ABSOLUTE
                worst[name] = max(worst[name], float((np.abs(scores.delta) / tolerance).max()))
                writer.put(where, name, scores)
            advance(number)
    return worst


def _write_bigwigs(
    path: Path, prefix: str, database: Database, spec: DataSpec, windows: Windows, names: list[str]
) -> list[Path]:
    """Write the observed scores of every output explained, a bounded number of regions at a time."""
    import h5py

    written = []
    start = windows.centre - spec.inputs[0].flank
    with h5py.File(path) as file:
        for name in names:
            observed = file[name]["observed"]

            def read(first: int, last: int, observed: Any = observed) -> np.ndarray:
                return turned(observed[first:last][:, :, None], windows.take(slice(first, last)))

            target = Path(f"{prefix}.{name}.bw")
            write_bigwigs([target], database.genome, windows.chromosome, start, spec.inputs[0].length, read)
            written.append(target)
    return written
