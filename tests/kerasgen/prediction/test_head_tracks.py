"""Outputs of a model as tracks along the genome, asked of their heads."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyBigWig
import pytest

from db_ingest.errors import InputError
from db_ingest.layout.genome import Genome
from kerasgen.prediction.head_tracks import tracks_of, write_tracks
from kerasgen.regions.windows import Windows
from kerasgen.spec import Channels, DataSpec

STRANDS = (("plus", "minus"), ("minus", "plus"))


def spec_of(*outputs: Channels) -> DataSpec:
    return DataSpec((Channels(("seq",), (), 50),), outputs, strand_map=STRANDS)


def test_bins_are_written_at_all_their_bases_and_turned_back(tmp_path: Path, rng: np.random.Generator) -> None:
    spec = spec_of(Channels(("plus", "minus"), ("d", "d"), 20, aggregation="sum", bin=10))
    windows = Windows(np.zeros(2, int), np.array([100, 300]), np.array([False, True]), np.zeros(2, bool))
    logs, labels = rng.normal(size=(2, 4, 2)).astype(np.float32), rng.integers(0, 9, (2, 4, 2)).astype(np.float32)
    labels[0, 1, 0] = np.nan
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["pred_0"], file["lab_0"] = logs, labels
    genome = Genome(("chr1",), (1000,))
    paths = write_tracks(tmp_path / "x.h5", str(tmp_path / "x"), genome, spec, windows, tracks_of(spec)[0])
    kinds = ("task_0.predicted", "task_1.predicted", "task_0.observed", "task_1.observed")
    assert [path.name for path in paths] == [f"x.{kind}.bw" for kind in kinds]
    second = tracks_of(spec_of(*spec.outputs, *spec.outputs))[1]
    assert (second.place, second.name) == (1, "binned_1")
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["pred_1"], file["lab_1"] = logs, labels
    again = write_tracks(tmp_path / "x.h5", str(tmp_path / "x"), genome, spec_of(*spec.outputs * 2), windows, second)
    assert [path.name for path in again] == [f"x.binned_1.{kind}.bw" for kind in kinds]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]
    for path, values in zip(paths, (*np.moveaxis(np.exp(logs), 2, 0), *np.moveaxis(labels, 2, 0)), strict=True):
        with pyBigWig.open(str(path)) as bigwig:
            found = bigwig.values("chr1", 80, 120, numpy=True)
        np.testing.assert_allclose(found, np.repeat(np.nan_to_num(values[0]), 10), rtol=1e-6)
    with pyBigWig.open(str(paths[0])) as bigwig:
        # The second window was read as the reverse complement: its first channel holds the minus strand, backwards.
        found = bigwig.values("chr1", 280, 320, numpy=True)
    np.testing.assert_allclose(found, np.repeat(np.exp(logs[1, ::-1, 1]), 10), rtol=1e-6)


def test_a_profile_goes_with_its_counts_and_what_has_no_positions_is_refused() -> None:
    tracks = ("plus", "minus"), ("d", "d"), 20
    profile, counts = Channels(*tracks), Channels(*tracks, aggregation="sum", transformation="log")
    assert [tracks.place for tracks in tracks_of(spec_of(counts, profile))] == [1]
    assert tracks_of(spec_of(counts, Channels(*tracks, aggregation="binary_max", bin=4)))[0].bin == 4
    for outputs in ([counts], [profile]):
        with pytest.raises(InputError, match="--bigwig_prefix needs a profile output and log counts"):
            tracks_of(spec_of(*outputs))
