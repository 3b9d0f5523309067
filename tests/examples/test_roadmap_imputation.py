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
from kerasgen.binned import BinnedTracks, from_arrays

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "roadmap_imputation"
CELLTYPES = ("E003", "E017", "E116", "E117")
ASSAYS = ("H3K4me3", "H3K27me3", "H3K36me3", "H3K9me3", "H3K4me1")


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("roadmap_table", EXAMPLE / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["roadmap_table"] = module
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


def test_the_table_holds_baselines_each_seed_and_their_mean(
    table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    lines = ["dataset\tx\ty"]
    for celltype in "abc":
        for assay in "xy":
            np.savez(tmp_path / f"{celltype}{assay}.npz", track=rng.random(600, np.float32))
        lines.append(f"{celltype}\t{tmp_path}/{celltype}x.npz\t{tmp_path}/{celltype}y.npz")
    (tmp_path / "samples.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "sizes").write_text("pilot\t15000\n")
    types = "{type: npz, bin: 25, key: track, chromosome: pilot}"
    (tmp_path / "types.yaml").write_text(f"x: {types}\ny: {types}\n")
    ingest(
        str(tmp_path / "db"),
        str(tmp_path / "samples.tsv"),
        chrom_sizes=str(tmp_path / "sizes"),
        attribute_config_file=str(tmp_path / "types.yaml"),
    )
    arguments = ["table.py", str(tmp_path / "db"), "--out", str(tmp_path / "t"), "--pairs", "a.x", "--seeds", "0", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    table.main()
    rows = json.loads((tmp_path / "t.json").read_text())
    assert [row["by"] for row in rows] == [
        "mean of others", "scaled mean", "constant", "default, seed 0", "default, seed 1", "default, mean of 2 seeds",
    ]  # fmt: skip
    assert all(np.isfinite(row["mse"]) for row in rows)
    assert (tmp_path / "t.md").read_text() == capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*arguments, "--scales"])
    table.main()
    assert "error of the log spread: guessed" in capsys.readouterr().out
