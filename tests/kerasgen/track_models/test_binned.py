"""Tracks in bins from databases and arrays: what was measured, what was done to it, and that it is done once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from db_ingest import ingest
from db_ingest.errors import InputError
from kerasgen.database import Database
from kerasgen.track_models.binned import from_arrays, from_database

BINS, BIN = 40, 25


@pytest.fixture
def make(tmp_path: Path, rng: np.random.Generator):
    """Ingests three of four tracks of a grid; gives the database and what was measured."""

    def ingested(types: str, stored=lambda values: values) -> tuple[Database, dict[tuple[str, str], np.ndarray]]:
        measured = {pair: rng.gamma(1, 3, BINS) for pair in (("E1", "a"), ("E1", "b"), ("E2", "a"))}
        for (celltype, assay), values in measured.items():
            np.savez(tmp_path / f"{celltype}.{assay}.npz", arr_0=stored(values).astype(np.float32))
        (tmp_path / "s.tsv").write_text("dataset\ta\tb\nE1\tE1.a.npz\tE1.b.npz\nE2\tE2.a.npz\t\n")
        kinds = {name: f"{{type: npz, bin: {BIN}, key: arr_0, chromosome: pilot{types}}}" for name in "ab"}
        (tmp_path / "t.yaml").write_text("".join(f"{name}: {kind}\n" for name, kind in kinds.items()))
        (tmp_path / "sizes").write_text(f"pilot\t{BINS * BIN}\n")
        ingest(
            str(tmp_path / "db"), str(tmp_path / "s.tsv"), attribute_config_file=str(tmp_path / "t.yaml"),
            chrom_sizes=str(tmp_path / "sizes"),
        )  # fmt: skip
        return Database(str(tmp_path / "db")), measured

    return ingested


@pytest.mark.parametrize(("types", "stored"), [("", lambda x: x), (", transform: arcsinh", np.arcsinh)])
def test_arcsinh_is_applied_once_wherever_it_is_applied(make, types, stored):
    database, measured = make(types, stored)
    tracks = from_database(database, bin=BIN)
    assert tracks.transformation == "arcsinh"
    assert tracks.pairs == (("E1", "a"), ("E1", "b"), ("E2", "a"))
    for pair, values in measured.items():
        np.testing.assert_allclose(tracks.track(*pair), np.arcsinh(values), rtol=1e-6)


def test_values_that_went_through_arcsinh_are_not_given_as_plain_ones(make):
    database, _ = make(", transform: arcsinh", np.arcsinh)
    with pytest.raises(InputError, match="E1/a was ingested with transform arcsinh; it cannot be read as None"):
        from_database(database, bin=BIN, transformation="None")


def test_arcsinh_is_that_of_the_mean_of_a_bin(make):
    database, measured = make("")
    tracks = from_database(database, bin=4 * BIN)
    means = measured["E1", "a"].reshape(-1, 4).mean(axis=1)
    np.testing.assert_allclose(tracks.track("E1", "a"), np.arcsinh(means), rtol=1e-5)


def test_pair_without_a_track_stays_missing(make):
    database, _ = make("")
    tracks = from_database(database, bin=BIN)
    assert ("E2", "b") not in tracks.pairs
    with pytest.raises(InputError, match="no track of E2 and b"):
        tracks.track("E2", "b")


def test_arrays_are_taken_as_they_are():
    values = np.arange(5.0)
    tracks = from_arrays({("E1", "a"): values})
    np.testing.assert_array_equal(tracks.track("E1", "a"), values)
    assert tracks.stretches == (("pilot", 0, 0, 5),)
