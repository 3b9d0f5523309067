"""Every parameter of every public command: told once, with help and unit; tables, ``help()`` and records follow."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path

import pytest
from commands import MODULES

import kerasgen
from db_ingest.cli.frame import Command
from db_ingest.cli.gen_db import COMMANDS as GEN_DB
from db_ingest.cli.reference import write_tables
from kerasgen.cli.gen_train import TRACK_MODELS
from kerasgen.objectives.heads import LOSSES
from kerasgen.settings import Data, Losses, Samples, Training

DOCUMENTS = sorted((Path(__file__).parents[2] / "docs/commands").glob("*.md"))
EVERY: dict[str, Command] = {
    **{name: importlib.import_module(module).COMMAND for name, module in MODULES.items()},
    **{f"gen_db {name}": command for name, command in GEN_DB.items()},
    **{f"gen_train {name}": command for name, command in TRACK_MODELS.items()},
}

# The settings that an earlier release kept in P.json, by the names that bundles have had ever since.
RUN_RECORD = {
    "tdb_array": "/data/db",
    "model_prefix": "out/model",
    "tdb_input_source_attribute": ["seq"],
    "tdb_input_datasets": None,
    "tdb_input_flank": [1057],
    "tdb_input_aggregation": None,
    "tdb_input_transformation": None,
    "tdb_input_min": None,
    "tdb_input_max": None,
    "tdb_output_source_attribute": ["plus,minus", "plus,minus"],
    "tdb_output_datasets": ["pooled"],
    "tdb_output_flank": [500],
    "tdb_output_aggregation": [None, "sum"],
    "tdb_output_transformation": [None, "log"],
    "tdb_output_min": None,
    "tdb_output_max": None,
    "tdb_transformation_pseudocount": 1.0,
    "num_inputs": 1,
    "num_outputs": 2,
    "num_tasks": None,
    "strand_map": None,
    "bed_regions": "/data/peaks.narrowPeak",
    "bed_regions_center": "summit",
    "bed_regions_jitter": 1,
    "bed_regions_stranded": False,
    "jitter": 500,
    "tdb_partition_attribute_for_upsample": None,
    "tdb_partition_thresh_for_upsample": 1.0,
    "tdb_partition_datasets_for_upsample": None,
    "upsample_by": None,
    "upsample_ratio_list_train": [0.75],
    "upsample_ratio_list_eval": [1.0],
    "background": "random",
    "background_bed": None,
    "gc_tolerance": 0.02,
    "max_n_fraction": 0.1,
    "tdb_ambig_attribute": None,
    "ambiguous": "center",
    "blacklist": None,
    "num_train": None,
    "num_valid": None,
    "fold": 0,
    "genome": "hg38",
    "train_chroms": None,
    "validation_chroms": None,
    "test_chroms": None,
    "architecture_spec": "bpnet",
    "architecture_from_file": None,
    "model_params": ["filters=8"],
    "counts_loss_weight": "auto",
    "profile_loss_weight": 1.0,
    "batch_size": 64,
    "epochs": 40,
    "learning_rate": 0.001,
    "lr_schedule": "plateau",
    "patience": 3,
    "patience_lr": 2,
    "revcomp": True,
    "seed": 1234,
    "threads": 2,
    "max_queue_size": 10,
    "cache_gb": None,
    "cache_dir": None,
    "device_one_hot": True,
    "num_gpus": 1,
    "precision": "float32",
    "jit_compile": "auto",
    "tensorboard": False,
    "tensorboard_logdir": "logs",
    "state_every": 200,
    "resume": False,
    "overwrite": False,
}
MAY_CHANGE = {
    "resume", "overwrite", "epochs", "patience", "threads", "max_queue_size", "state_every", "cache_gb", "cache_dir",
    "device_one_hot",
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_every_parameter_has_help_and_every_number_its_unit(name: str) -> None:
    for parameter in EVERY[name].parameters().values():
        setting = parameter.setting
        assert len(setting.help.split()) >= 2 or setting.choices, parameter.name
        assert not setting.help.rstrip().endswith("."), parameter.name
        if parameter.is_number:
            assert setting.unit is not None, f"{name} --{parameter.name} says no unit"
        # What a word measures is told by its unit, not left to the help.
        if re.search(r"\b(bp|seconds|GB)$", setting.help):
            assert setting.unit, f"{name} --{parameter.name}"


@pytest.mark.parametrize("name", EVERY)
def test_help_of_the_function_teaches_what_help_of_the_command_does(name: str) -> None:
    command = EVERY[name]
    function = command.load()
    text = inspect.getdoc(function) or ""
    assert set(inspect.signature(function).parameters) == set(command.parameters())
    for parameter in command.parameters().values():
        assert re.search(rf"^    {parameter.name}: ", text, re.MULTILINE), f"{name}: {parameter.name}"
    assert "Args:" in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_tables_in_the_documents_are_those_of_the_code(path: Path) -> None:
    text = path.read_text()
    assert "<!-- flags of " in text
    assert write_tables(text) == text, f"python -m db_ingest.cli.reference {path}"


def test_every_command_has_a_table() -> None:
    text = "".join(path.read_text() for path in DOCUMENTS)
    for name in MODULES:
        assert f".{name}:COMMAND -->" in text
    for name in GEN_DB:
        assert f"gen_db:COMMANDS[{name}] -->" in text
    for name in TRACK_MODELS:
        assert f"gen_train:TRACK_MODELS[{name}] -->" in text


def test_run_record_of_an_earlier_release_opens_and_is_written_the_same() -> None:
    settings = Training.from_flat(json.loads(json.dumps(RUN_RECORD)))
    assert settings.samples.regions.jitter == 500
    assert settings.data.outputs.aggregation == [None, "sum"]
    written = settings.flat()
    assert {name: written[name] for name in RUN_RECORD if name not in ("tdb_array", "model_prefix")} == {
        name: value for name, value in RUN_RECORD.items() if name not in ("tdb_array", "model_prefix")
    }
    # What was added since is not set in it.
    assert all(written[name] is None for name in set(written) - set(RUN_RECORD))
    assert Training.from_flat(written) == settings
    assert Data.from_flat(RUN_RECORD) == settings.data
    assert Samples.from_flat(RUN_RECORD) == settings.samples


def test_a_resumed_training_may_change_what_does_not_change_its_result() -> None:
    assert {name for name, each in Training.parameters().items() if each.setting.may_change} == MAY_CHANGE


def test_unknown_keyword_says_which_one_was_meant() -> None:
    with pytest.raises(TypeError, match="'learning_rat' is not a parameter.*did you mean 'learning_rate'"):
        kerasgen.train("db", "P", tdb_output_source_attribute=["a"], learning_rat=0.1)


def test_losses_are_settings_like_others() -> None:
    assert Losses(counts_loss_weight="2").flat()["counts_loss_weight"] == "2"


def test_help_of_loss_names_every_loss():
    words = set(re.findall(r"\w+", EVERY["gen_train"].parameters()["loss"].setting.help))
    assert set(LOSSES) <= words
