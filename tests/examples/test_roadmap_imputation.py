"""The Roadmap example's table: baselines have the errors that others measured, and a model's row is written."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from db_ingest import ingest
from kerasgen.track_models.binned import BinnedTracks, from_arrays

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "roadmap_imputation"
CELLTYPES = ("E003", "E017", "E116", "E117")
ASSAYS = ("H3K4me3", "H3K27me3", "H3K36me3", "H3K9me3", "H3K4me1")


@pytest.fixture(scope="module")
def table() -> ModuleType:
    return script("table")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"roadmap_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"roadmap_{name}"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tracks(real_data: Path) -> BinnedTracks:
    folder = real_data / "roadmap_pilot"
    names = [(celltype, assay) for celltype in CELLTYPES for assay in ASSAYS]
    return from_arrays({(c, a): np.load(folder / f"{c}.{a}.pilot.arcsinh.npz")["arr_0"] for c, a in names})


@pytest.mark.real
@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (("E003", "H3K4me3"), (0.1434, 3.222, 1.216, 0.766)),
        (("E017", "H3K36me3"), (0.2529, 4.619, 1.132, 0.641)),
        (("E116", "H3K4me1"), (0.2603, 4.029, 3.247, 0.319)),
        (("E117", "H3K4me3"), (0.1963, 3.265, 1.527, 0.741)),
        (("E117", "H3K27me3"), (0.2409, 2.055, 5.099, 0.306)),
    ],
)
def test_the_mean_of_the_others_has_the_errors_that_the_data_come_with(
    pair: tuple, expected: tuple, table: ModuleType, tracks: BinnedTracks
) -> None:
    others = tracks.without([pair])
    mean = table.baselines(pair, others.pairs, lambda other: others.track(*other))["mean of others"]
    found = table.errors(tracks.track(*pair), mean)
    np.testing.assert_allclose([found[name] for name in ("mse", "1obs", "1imp", "r")], expected, atol=6e-4)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two assays in three cell types; y is the square root of x."""
    folder = tmp_path_factory.mktemp("roadmap")
    rng = np.random.default_rng(0)
    lines = ["dataset\tx\ty"]
    for celltype in "abc":
        track = rng.random(2400, np.float32)
        np.savez(folder / f"{celltype}x.npz", track=track)
        np.savez(folder / f"{celltype}y.npz", track=np.sqrt(track))
        lines.append(f"{celltype}\t{folder}/{celltype}x.npz\t{folder}/{celltype}y.npz")
    (folder / "samples.tsv").write_text("\n".join(lines) + "\n")
    (folder / "sizes").write_text("pilot\t60000\n")
    types = "{type: npz, bin: 25, key: track, chromosome: pilot, transform: arcsinh}"
    (folder / "types.yaml").write_text(f"x: {types}\ny: {types}\n")
    ingest(
        str(folder / "db"),
        str(folder / "samples.tsv"),
        chrom_sizes=str(folder / "sizes"),
        attribute_config_file=str(folder / "types.yaml"),
    )
    return str(folder / "db")


def test_the_table_holds_baselines_each_seed_and_their_mean(
    table: ModuleType, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["table.py", database, "--out", str(tmp_path / "t"), "--pairs", "a.x", "--seeds", "0", "1"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--models", "default", "default n_nodes=8 genome_learning_rate=0.01"])
    table.main()
    rows = json.loads((tmp_path / "t.json").read_text())
    other = "default n_nodes=8 genome_learning_rate=0.01"
    assert [row["by"] for row in rows] == [
        "mean of others", "scaled mean", "constant", "default, seed 0", "default, seed 1", "default, mean of 2 seeds",
        f"{other}, seed 0", f"{other}, seed 1", f"{other}, mean of 2 seeds",
    ]  # fmt: skip
    assert all(np.isfinite(row["mse"]) for row in rows)
    assert (tmp_path / "t.md").read_text() == capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*arguments, "--scales"])
    table.main()
    assert "error of the log spread: guessed" in capsys.readouterr().out


def test_trees_that_know_half_of_a_track_find_what_the_other_tracks_say_of_it(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("xgboost")
    monkeypatch.setattr(sys, "argv", ["ceiling.py", database, "--pairs", "a.y", "--blocks", "200"])
    script("ceiling").main()
    correlation = float(capsys.readouterr().out.splitlines()[-1].split("|")[-2])
    assert correlation > 0.9  # y is the square root of x.
