"""Stretches where tracks reach a threshold, against a scan of the files and of all bases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chance import examples
from hypothesis import given
from hypothesis import strategies as st
from small_database import SIZES, Small

from db_ingest import intervals
from db_ingest.errors import InputError
from kerasgen.database import Database
from kerasgen.regions import threshold as module
from kerasgen.regions.threshold import partition

NAMES = ("chr1", "chr2", "chr3", "tiny")


def flags_of(database: Database, spans: intervals.Spans) -> np.ndarray:
    found = np.zeros(database.genome.length, bool)
    for start, end in zip(*spans, strict=True):
        found[start:end] = True
    return found


@pytest.mark.parametrize("threshold", [1, 2])
def test_partition_equals_a_scan_of_the_peak_file(database: Database, simulated: Path, threshold: int) -> None:
    wanted = np.zeros(database.genome.length, bool)
    for line in (simulated / "peaks.narrowPeak").read_text().splitlines():
        name, start, end, *rest = line.split()
        offset = database.genome.offset(name)
        if name == "chr1":
            continue
        if threshold == 1:
            wanted[offset + int(start) : offset + int(end)] = True
        else:
            wanted[offset + int(start) + int(rest[-1])] = True
    spans = partition(database, "idr_peak", ["rep1", "rep2"], threshold, ["chr2", "chr3"])
    np.testing.assert_array_equal(flags_of(database, spans), wanted)


@examples(40)
@given(
    attribute=st.sampled_from(["peak", "signal"]),
    datasets=st.sampled_from([["a"], ["b"], ["a", "b"]]),
    threshold=st.sampled_from([-1, 0, 0.5, 1, 1.5, 2, 3, 254, 255, 1e9]),
    names=st.sets(st.sampled_from(NAMES), min_size=1),
    block=st.sampled_from([40_001, 65_536, 2**23]),
)
def test_partition_is_where_any_dataset_reaches_the_threshold(
    small: Small, attribute: str, datasets: list, threshold: float, names: set, block: int
) -> None:
    database = small.database
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_BLOCK", block)
        spans = partition(database, attribute, datasets, threshold, sorted(names))
    wanted = np.zeros(database.genome.length, bool)
    tracks = [database.track(attribute, dataset) for dataset in datasets]
    for name in names:
        values = database.values(tracks, [name], [0], SIZES[name])[0]
        with np.errstate(invalid="ignore"):
            reached = (values >= threshold).any(axis=1)
        wanted[database.genome.offset(name) : database.genome.offset(name) + SIZES[name]] = reached
    np.testing.assert_array_equal(flags_of(database, spans), wanted)
    assert (spans[0][1:] > spans[1][:-1]).all()


def test_a_base_without_a_value_reaches_no_threshold(small: Small) -> None:
    # The signal of dataset b does not name chr2.
    assert len(partition(small.database, "signal", ["b"], -1e9, ["chr2"])[0]) == 0
    assert len(partition(small.database, "signal", ["b"], -1e9, ["chr1"])[0]) == 1


def test_unknown_datasets_are_refused(small: Small) -> None:
    with pytest.raises(InputError, match="no dataset 'nope'"):
        partition(small.database, "peak", ["a", "nope"], 1, ["chr1"])
