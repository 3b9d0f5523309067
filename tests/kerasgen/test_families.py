"""The table of families: every function that it names exists, and what a family cannot do is said in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import kerasgen
from architectures import ARCHITECTURES
from db_ingest.errors import InputError
from kerasgen import families


@pytest.mark.parametrize("name", [*ARCHITECTURES, None])
def test_every_architecture_has_a_family_whose_functions_exist(name):
    family = families.get(name)
    assert family.learns_from in (families.WINDOWS, families.TRACKS)
    for function in (family.trainer, family.opener, family.embedder, family.imputer):
        assert function is None or callable(families.load(function))


def test_every_family_of_the_table_is_an_architecture():
    assert set(families.FAMILIES) <= set(ARCHITECTURES)


def test_kind_of_a_model_that_was_saved_in_python_is_its_family():
    assert families.family_of({"kind": "avocado"}).name == "avocado"
    assert families.family_of({"architecture": {"name": "epilstm"}}).learns_from == families.TRACKS
    assert families.family_of({"architecture": {"file": "mine.py"}}).title == "a family of the user's"


@pytest.mark.parametrize("name", [family.name for family in families.of_tracks()])
def test_train_of_windows_refuses_a_family_of_tracks_before_it_reads_anything(name):
    with pytest.raises(InputError, match=f"learns from tracks, not from windows; call kerasgen.train_{name}"):
        kerasgen.train("no_database", "m", architecture_spec=name, tdb_output_source_attribute=["x"])


def bundle_of(folder: Path, config: dict) -> kerasgen.bundle.Bundle:
    (folder / "m.keras").write_bytes(b"")
    (folder / "m.json").write_text(json.dumps({"bundle_version": 1, **config}))
    return kerasgen.open_bundle(folder / "m")


def test_models_of_windows_embed_and_impute_nothing(tmp_path):
    bundle = bundle_of(tmp_path, {"architecture": {"name": "bpnet"}})
    with pytest.raises(InputError, match=r"m.keras: a model of the family bpnet; expected one that embeds positions: "):
        bundle.family.embed(bundle, None)
    with pytest.raises(InputError, match=r"expected one that imputes tracks: avocado, epilstm"):
        bundle.family.impute(bundle, None)


def test_model_of_tracks_has_no_windows_to_predict_on(tmp_path):
    bundle = bundle_of(tmp_path, {"kind": "avocado"})
    with pytest.raises(InputError, match=r"m.keras: a model of the family avocado, which learns from tracks"):
        bundle.require_windows()
    with pytest.raises(InputError, match="which learns from tracks; expected one of windows"):
        kerasgen.predict_tdb(str(tmp_path / "m"), str(tmp_path / "out"))
