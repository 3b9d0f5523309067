"""Arrays of a batch against a slow, plain reading by pyBigWig and pysam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pysam
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st

from db_ingest.errors import InputError
from kerasgen import spec as specs
from kerasgen.database import Database
from kerasgen.loader.builder import BatchBuilder, keep_accepted
from kerasgen.loader.sources import MemorySource
from kerasgen.regions.windows import Bases, WindowPlan, Windows
from kerasgen.settings import Data

PLUS, MINUS = "count_bigwig_plus_5p", "count_bigwig_minus_5p"
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def flags(**changes: Any) -> Data:
    base: dict[str, Any] = {"tdb_transformation_pseudocount": 1.0, "strand_map": None}
    for side in ("input", "output"):
        for name in ("datasets", "aggregation", "transformation", "min", "max"):
            base[f"tdb_{side}_{name}"] = None
    base |= {
        "tdb_input_source_attribute": ["seq"],
        "tdb_input_flank": [60],
        "tdb_output_source_attribute": [f"{PLUS},{MINUS}"],
        "tdb_output_flank": [25],
        "tdb_output_datasets": ["rep1"],
    }
    return Data.from_flat({**base, **changes})


def windows_at(database: Database, places: list[tuple[str, int, bool]]) -> Windows:
    return Windows(
        np.array([database.genome.index(name) for name, _, _ in places]),
        np.array([centre for _, centre, _ in places]),
        np.array([reverse for _, _, reverse in places]),
        np.zeros(len(places), bool),
    )


def plain_values(folder: Path, dataset: str, sign: str, name: str, start: int, length: int) -> np.ndarray:
    with pyBigWig.open(str(folder / f"{dataset}.{sign}.bw")) as file:
        whole = np.nan_to_num(file.values(name, 0, file.chroms(name), numpy=True))
    return np.pad(whole, 2000)[start + 2000 : start + 2000 + length]


def plain_text(folder: Path, name: str, start: int, length: int) -> str:
    with pysam.FastaFile(str(folder / "genome.fa")) as fasta:
        whole = "N" * 2000 + fasta.fetch(name) + "N" * 2000
    return whole[start + 2000 : start + 2000 + length]


places = st.lists(
    st.tuples(st.sampled_from(["chr1", "chr2", "chr3"]), st.integers(0, 59_999), st.booleans()), min_size=1, max_size=6
)


@examples(40)
@given(chosen=places, aggregation=st.sampled_from([None, "sum"]), log=st.booleans(), memory=st.booleans())
def test_batches_equal_a_plain_reading(
    database: Database, simulated: Path, chosen: list, aggregation: str | None, log: bool, memory: bool
) -> None:
    spec = specs.from_settings(
        database,
        flags(
            tdb_input_source_attribute=["seq", PLUS],
            tdb_input_datasets=[None, "rep2"],
            tdb_input_flank=[60, 30],
            tdb_output_source_attribute=[f"{PLUS},{MINUS},{PLUS},{MINUS}"],
            tdb_output_datasets=["rep1,rep1,rep2,rep2"],
            tdb_output_aggregation=[aggregation],
            tdb_output_transformation=["log" if log else None],
        ),
    )
    # The single-strand input cannot be turned, so it is read forward only.
    chosen = [(name, centre, False) for name, centre, _ in chosen] if chosen[0][2] else chosen
    if any(reverse for _, _, reverse in chosen):
        spec = specs.from_settings(
            database, flags(tdb_output_source_attribute=[f"{PLUS},{MINUS},{PLUS},{MINUS}"],
                            tdb_output_datasets=["rep1,rep1,rep2,rep2"], tdb_output_aggregation=[aggregation],
                            tdb_output_transformation=["log" if log else None])
        )  # fmt: skip
    windows = windows_at(database, chosen)
    builder = BatchBuilder(database, spec)
    store = None
    if memory:
        spans = (database.genome.offsets[:-1], database.genome.offsets[:-1] + database.genome.size_array())
        store = MemorySource(database, builder.needs, WindowPlan(Bases(database.genome, spans)), threads=2).store
    inputs, outputs = builder.inputs(windows, store), builder.outputs(windows, store)
    for i, (name, centre, reverse) in enumerate(chosen):
        text = plain_text(simulated, name, centre - 60, 120)
        text = text[::-1].translate(COMPLEMENT) if reverse else text
        one_hot = np.array([[base == letter for letter in "ACGT"] for base in text], np.float32)
        np.testing.assert_array_equal(inputs[0][i], one_hot)
        if len(inputs) > 1:
            np.testing.assert_array_equal(
                inputs[1][i, :, 0], plain_values(simulated, "rep2", "plus", name, centre - 30, 60)
            )
        channels = []
        for dataset in ("rep1", "rep2"):
            strands = [plain_values(simulated, dataset, s, name, centre - 25, 50) for s in ("plus", "minus")]
            channels += [s[::-1] for s in strands[::-1]] if reverse else strands
        values = np.stack(channels, axis=-1)
        values = values.sum(axis=0) if aggregation else values
        values = np.log(values + 1) if log else values
        np.testing.assert_allclose(outputs[0][i], values, rtol=1e-6)


def test_batches_are_fresh_arrays(database: Database) -> None:
    builder = BatchBuilder(database, specs.from_settings(database, flags()))
    windows = windows_at(database, [("chr1", 5000, False), ("chr2", 900, True)])
    first = [a.copy() for a in (*builder.inputs(windows), *builder.outputs(windows))]
    for array in (*builder.inputs(windows), *builder.outputs(windows)):
        array[:] = -1
    for before, after in zip(first, (*builder.inputs(windows), *builder.outputs(windows)), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_strand_without_its_partner_cannot_be_turned(database: Database) -> None:
    builder = BatchBuilder(database, specs.from_settings(database, flags(tdb_output_source_attribute=[PLUS])))
    with pytest.raises(InputError, match="count_bigwig_plus_5p.*is stranded.*--strand_map"):
        builder.check_strands()


def test_a_strand_map_given_overrules_names(database: Database) -> None:
    spec = specs.from_settings(
        database,
        flags(
            tdb_output_source_attribute=[f"{PLUS},idr_peak"],
            strand_map=[f"{PLUS},idr_peak"],
        ),
    )
    BatchBuilder(database, spec).check_strands()
    assert spec.outputs[0].swap(dict(spec.strand_map)) == [1, 0]


def test_unstranded_masks_can_be_turned(database: Database) -> None:
    builder = BatchBuilder(database, specs.from_settings(database, flags(tdb_output_source_attribute=["idr_peak"])))
    builder.check_strands()
    forward, reverse = (builder.outputs(windows_at(database, [("chr1", 2600, r)]))[0] for r in (False, True))
    np.testing.assert_array_equal(forward, reverse[:, ::-1])


def test_filters_judge_transformed_values(database: Database) -> None:
    spec = specs.from_settings(
        database,
        flags(
            tdb_output_aggregation=["sum"],
            tdb_output_transformation=["log"],
            tdb_output_min=[1.0],
            tdb_output_max=[4.5],
        ),
    )
    builder = BatchBuilder(database, spec)
    windows = windows_at(database, [("chr1", c, False) for c in range(1000, 59_000, 400)])
    counts = builder.outputs(windows)[0]
    wanted = ((counts >= 1.0) & (counts <= 4.5)).all(axis=1)
    assert 0 < wanted.sum() < len(wanted)
    np.testing.assert_array_equal(keep_accepted(builder, windows, 32).centre, windows.centre[wanted])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tdb_output_source_attribute": ["nope"]}, "no attribute 'nope'.*it has"),
        ({"tdb_output_datasets": ["nope"]}, "no dataset 'nope'.*rep1"),
        ({"tdb_output_datasets": [None]}, "3 datasets have"),
        ({"tdb_output_datasets": ["rep1,rep2,pooled"]}, "3 datasets for 2 attributes"),
        ({"tdb_output_flank": [25, 25, 25]}, "--tdb_output_flank: 3 values; expected 1"),
        ({"tdb_output_flank": [0]}, "--tdb_output_flank 0"),
        ({"tdb_output_aggregation": ["median"]}, "--tdb_output_aggregation median: unknown"),
        ({"tdb_output_transformation": ["sqrt"]}, "--tdb_output_transformation sqrt: unknown"),
        ({"tdb_output_source_attribute": ["seq"]}, "the sequence can be an input only"),
        ({"tdb_input_aggregation": ["sum"]}, "expected None for seq"),
        ({"strand_map": ["a"]}, "expected two attributes joined by a comma"),
        ({"strand_map": ["a,b"]}, "--strand_map: no attribute 'a'"),
        ({"num_outputs": 3}, "--num_outputs 3: the --tdb flags describe 1"),
        ({"num_tasks": 1}, "--num_tasks 1: the outputs have 2"),
    ],
)
def test_flags_that_make_no_sense_are_refused(database: Database, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        specs.from_settings(database, flags(**changes))


def test_a_spec_survives_json(database: Database) -> None:
    import json

    spec = specs.from_settings(database, flags(tdb_output_min=[0.5]))
    assert specs.DataSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
