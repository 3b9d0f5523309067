"""Commands from the shell: help, the whole path, and bad input to the read side."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import MODULES

from db_ingest.cli.frame import Command
from kerasgen.cli.gen_train import TRACK_MODELS

HEAVY = (
    "tensorflow",
    "jax",
    "keras",
    "tiledb",
    "pandas",
    "matplotlib",
    "scipy",
    "h5py",
    "numba",
    "pysam",
    "sklearn",
    "xgboost",
)


def command_of(name: str) -> Command:
    return importlib.import_module(MODULES[name]).COMMAND


def run(name: str, *words: object) -> int:
    return command_of(name).run([str(word) for word in words])


@pytest.mark.parametrize("name", [*MODULES, *TRACK_MODELS])
def test_every_parameter_of_the_function_is_a_flag_with_its_default(name: str) -> None:
    command = TRACK_MODELS[name] if name in TRACK_MODELS else command_of(name)
    parser = command.parser()
    actions = {action.dest: action for action in parser._actions}
    for parameter in inspect.signature(command.load()).parameters.values():
        action = actions[parameter.name]
        assert action.help
        if parameter.default is inspect.Parameter.empty:
            assert action.required
        else:
            assert action.default == parameter.default


@pytest.mark.parametrize("words", [(name,) for name in MODULES] + [("gen_train", "--architecture_spec", "avocado")])
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    name, *chosen = words
    code = (
        "import sys, importlib\n"
        f"command = importlib.import_module({MODULES[name]!r}).COMMAND\n"
        f"try:\n    command.run({[*chosen, '--help']!r})\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {name}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_whole_path_through_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sim, out = tmp_path / "sim", tmp_path / "out"
    assert run("gen_simulate", "--out_dir", sim, "--chromosomes", 3, "--chromosome_size", 60000, "--peaks", 90) == 0
    assert run("gen_ingest", "--tdb_array", tmp_path / "db", "--ref_fasta", sim / "genome.fa",
               "--tiledb_metadata", sim / "samples.tsv", "--attribute_config", "encode_pipeline") == 0  # fmt: skip
    strands = "count_bigwig_plus_5p,count_bigwig_minus_5p"
    train = [
        "--tdb_array", tmp_path / "db", "--model_prefix", out / "m", "--tdb_input_flank", 100,
        "--tdb_output_source_attribute", strands, strands, "--tdb_output_datasets", "pooled", "--tdb_output_flank", 40,
        "--tdb_output_aggregation", "None", "sum", "--tdb_output_transformation", "None", "log", "--revcomp",
        "--tdb_partition_attribute_for_upsample", "idr_peak", "--num_train", 128, "--validation_chroms", "chr2",
        "--test_chroms", "chr3", "--model_params", "filters=8", "n_dil_layers=2", "profile_kernel_size=11",
        "--epochs", 1, "--batch_size", 16, "--num_inputs", 1, "--num_outputs", 2, "--num_tasks", 2,
        "--tensorboard", "--tensorboard_logdir", tmp_path / "logs",
    ]  # fmt: skip
    assert run("gen_train", *train) == 0
    assert any((tmp_path / "logs").rglob("events*"))
    assert run("gen_predict_tdb", "--load_model_hdf5", out / "m.keras", "--predictions_and_labels_hdf5", out / "p",
               "--bed_regions", sim / "peaks.narrowPeak", "--bigwig_prefix", out / "p") == 0  # fmt: skip
    assert run("gen_score_bpnet", "--predictions", out / "p.predictions", "--outf", out / "s",
               "--replicates", "rep1", "rep2") == 0  # fmt: skip
    assert run("gen_shap", "--load_model_hdf5", out / "m.keras", "--out_prefix", out / "x", "--chroms", "chr3",
               "--max_regions", 5, "--num_refs_per_seq", 3) == 0  # fmt: skip
    assert run("gen_report", "--model_prefix", out / "m", "--scores", out / "s.json", "--predictions",
               out / "p.predictions", "--explained", out / "x.shap.h5", "--truth", sim / "motifs.bed",
               "--outf", out / "report.html") == 0  # fmt: skip
    printed = capsys.readouterr().out
    assert "m.keras: best of 1 epoch(s) is 1" in printed
    assert "attribution AUROC on known sites" in printed
    assert (out / "report.html").stat().st_size > 50_000
    assert json.loads((out / "s.json").read_text())["tasks"][0]["n"] == 30
    # Nothing half-written is left.
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("gen_train", ["--tdb_array", "/none", "--model_prefix", "m", "--tdb_output_source_attribute", "a"],
         "gen_train: error: /none: no kerasgen database here"),
        ("gen_predict_tdb", ["--load_model_hdf5", "/none.keras", "--predictions_and_labels_hdf5", "p"],
         "gen_predict_tdb: error: /none.keras: no such model"),
        ("gen_score_bpnet", ["--predictions", "/none", "--outf", "s"], "gen_score_bpnet: error: /none: no such file"),
        ("gen_shap", ["--load_model_hdf5", "/none.keras", "--out_prefix", "x"], "/none.keras: no such model"),
        ("gen_report", ["--model_prefix", "/none", "--outf", "r"], "/none.keras: no such model"),
        ("gen_downstream", ["--tdb_array", "/none", "--labels", "l", "--out_prefix", "x"],
         "gen_downstream: error: /none: no kerasgen database here"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_status_2(
    name: str, words: list, message: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(name, *words) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert message in text
    assert not list(tmp_path.iterdir())


def test_a_missing_flag_is_one_line(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        run("gen_train", "--model_prefix", "m")
    assert end.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "--tdb_array" in text
