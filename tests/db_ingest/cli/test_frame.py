"""The frame of every command, on ``gen_ingest`` and ``gen_db``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import pytest
import yaml

from db_ingest.cli.frame import Command, CommandByFlag
from db_ingest.cli.gen_db import COMMANDS
from db_ingest.cli.gen_ingest import COMMAND
from db_ingest.layout import catalogue as catalogues
from db_ingest.settings import Setting, takes_settings

SCRIPTS = Path(sys.executable).parent


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPTS / name, *words], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def words(inputs, uri) -> dict[str, str]:
    """Flags of an ingest that works."""
    return {
        "tdb_array": uri,
        "ref_fasta": str(inputs.fasta()),
        "tiledb_metadata": str(inputs.samples({"k562": {"signal": inputs.bigwig("a.bw")}})),
        "attribute_config_file": str(inputs.types(signal="bigwig")),
    }


def line(words: dict[str, str]) -> list[str]:
    return [part for name, value in words.items() for part in (f"--{name}", value)]


def made_up(function: str = "flags") -> Command:
    """A command of a function of this module."""
    return Command(prog="made_up", function=f"{__name__}:{function}", report=lambda found: None)


Name = Annotated[str, Setting("a name")]


@takes_settings
def flags(
    name: Name,
    *,
    many: Annotated[list[int | None] | None, Setting("numbers", unit="")] = None,
    wide: Annotated[bool, Setting("wide")] = True,
    deep: Annotated[bool, Setting("deep")] = False,
) -> None:
    """Take a few flags."""
    flags.seen = {"name": name, "many": many, "wide": wide, "deep": deep}


@takes_settings
def fails(name: Name) -> None:
    """Fail with two lines."""
    raise KeyError(f"first\nsecond {name}")


TAKES_FLAGS = made_up("flags")


# --config and --print_config


def test_config_file_gives_any_flag_by_its_name(inputs, words, uri):
    path = inputs.text("c.yaml", yaml.safe_dump(words))
    assert COMMAND.run(["--config", str(path)]) == 0
    assert len(catalogues.load(uri).tracks) == 1


def test_flag_on_the_line_overrules_the_config_file(inputs, words, tmp_path):
    path = inputs.text("c.yaml", yaml.safe_dump({**words, "dry_run": False, "threads": 1}))
    elsewhere = str(tmp_path / "elsewhere")
    assert COMMAND.run(["--tdb_array", elsewhere, "--config", str(path)]) == 0
    assert os.path.exists(elsewhere)
    assert not os.path.exists(words["tdb_array"])


def test_config_file_takes_lists_numbers_and_switches(inputs):
    path = inputs.text("c.yaml", "name: -5\nmany: [1, None, -3]\nwide: false\ndeep: true\n")
    assert TAKES_FLAGS.run(["--config", str(path)]) == 0
    assert flags.seen == {"name": "-5", "many": [1, None, -3], "wide": False, "deep": True}
    assert TAKES_FLAGS.run(["--config", str(path), "--many", "7", "--wide", "--name", "x"]) == 0
    assert flags.seen == {"name": "x", "many": [7], "wide": True, "deep": True}


def test_switch_of_the_config_file_can_be_taken_back_on_the_line(inputs, words, uri):
    path = inputs.text("c.yaml", yaml.safe_dump({**words, "dry_run": True}))
    assert COMMAND.run(["--config", str(path)]) == 0
    assert not os.path.exists(uri)
    assert COMMAND.run(["--config", str(path), "--no-dry_run"]) == 0
    assert os.path.exists(uri)


def test_printed_config_given_back_prints_the_same(inputs, words, uri, capsys):
    assert COMMAND.run([*line(words), "--overwrite", "--print_config"]) == 0
    printed = capsys.readouterr().out
    document = yaml.safe_load(printed)
    assert {name: document[name] for name in words} == words
    assert (document["overwrite"], document["threads"], document["chrom_sizes"]) == (True, 0, None)
    assert not os.path.exists(uri)
    assert COMMAND.run(["--config", str(inputs.text("c.yaml", printed)), "--print_config"]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("text", "expects"),
    [
        ("tdb_arrays: x\n", "gen_ingest has no flag 'tdb_arrays'"),
        ("config: x\n", "gen_ingest has no flag 'config'"),
        ("help: true\n", "gen_ingest has no flag 'help'"),
        ("overwrite: 'yes'\n", "overwrite is 'yes'; expected true or false"),
        ("- tdb_array\n", "expected flags and their values"),
        ("tdb_array: [x\n", "not YAML"),
        ("", "expected flags and their values"),
    ],
)
def test_broken_config_file_ends_with_2_and_names_the_file_and_the_key(inputs, text, expects, capsys):
    path = inputs.text("c.yaml", text)
    assert COMMAND.run(["--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"gen_ingest: error: --config {path}: {expects}")
    assert said.count("\n") == 1


def test_missing_config_file_ends_with_2(tmp_path, capsys):
    assert COMMAND.run(["--config", str(tmp_path / "none.yaml")]) == 2
    assert f"{tmp_path}/none.yaml: No such file" in capsys.readouterr().err


# Errors


@pytest.mark.parametrize(
    ("argv", "expects"),
    [
        ([], "--tdb_array"),
        (["--tdb_array"], "--tdb_array: expected one argument"),
        (["--tdb_array", "x", "--config"], "--config: expected one argument"),
        (["--tdb_array", "x", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["--tdb_arr", "x"], "--tdb_array"),
        (["--tdb_array", "x", "--threads", "many"], "--threads: invalid int value: 'many'"),
        (["--tdb_array", "x", "--attribute_config", "encode"], "--attribute_config: invalid choice: 'encode'"),
    ],
)
def test_wrong_flags_end_with_2_and_one_line(argv, expects, capsys):
    with pytest.raises(SystemExit) as caught:
        COMMAND.run(argv)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("gen_ingest: error: ")
    assert expects in said
    assert said.count("\n") == 1


def test_unexpected_failure_ends_with_1_and_one_line_and_debug_shows_where(capsys):
    command = made_up("fails")
    assert command.run(["--name", "x"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("made_up: error: failed: KeyError: ")
    assert said.count("\n") == 1
    assert command.run(["--name", "x", "--debug"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert 'raise KeyError(f"first' in said


@pytest.mark.slow
def test_debug_adds_the_traceback_and_keeps_the_line_and_the_status(words):
    words["ref_fasta"] += ".none"
    plain, debug = script("gen_ingest", *line(words)), script("gen_ingest", *line(words), "--debug")
    assert plain.returncode == debug.returncode == 2
    assert plain.stderr.count("\n") == 1
    assert "Traceback (most recent call last)" in debug.stderr
    assert "MissingFileError" in debug.stderr
    assert debug.stderr.endswith(plain.stderr)


# Help and version


@pytest.mark.parametrize("name", ["gen_ingest", "gen_db"])
def test_version_is_that_of_the_package(name):
    done = script(name, "--version")
    assert (done.returncode, done.stdout) == (0, f"kerasgen {version('kerasgen')}\n")


@pytest.mark.parametrize(
    "call",
    [
        "from db_ingest.cli.gen_ingest import COMMAND; COMMAND.run(['--help'])",
        "from db_ingest.cli.gen_db import COMMANDS; COMMANDS['info'].run(['--help'])",
        "from db_ingest.cli.frame import run_group; from db_ingest.cli.gen_db import COMMANDS;"
        "run_group('gen_db', COMMANDS, ['--help'])",
    ],
    ids=["gen_ingest", "gen_db info", "gen_db"],
)
def test_help_imports_no_heavy_library(call):
    heavy = ["tiledb", "keras", "tensorflow", "jax", "pandas", "pydantic", "matplotlib", "kerasgen", "architectures"]
    code = (
        f"import sys\ntry:\n    {call}\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: gen_" in done.stdout


def test_write_side_imports_neither_the_read_side_nor_keras():
    code = (
        "import sys, pkgutil, importlib, db_ingest\n"
        "for module in pkgutil.walk_packages(db_ingest.__path__, 'db_ingest.'): importlib.import_module(module.name)\n"
        "sys.exit(' '.join({'keras', 'tensorflow', 'kerasgen', 'architectures'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_gen_db_has_a_command_for_each_thing_that_is_done_to_a_database():
    names = ["info", "verify", "export", "drop", "rename", "merge", "levels", "consolidate", "copy", "import"]
    assert list(COMMANDS) == names
    for name, command in COMMANDS.items():
        assert command.prog == f"gen_db {name}"
        assert f"gen_db {name} --tdb_array URI" in " ".join(command.parser().format_help().split()) or name == "import"


def test_help_names_every_flag_of_the_function(capsys):
    with pytest.raises(SystemExit) as caught:
        COMMAND.run(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    frame = ["config", "print_config", "verbose", "quiet", "debug", "version"]
    assert all(f"--{name}" in text for name in [*COMMAND.parameters(), *frame])


# What is said


def test_quiet_says_only_warnings_and_nothing_on_standard_error_when_all_is_well(words, capfd):
    assert COMMAND.run([*line(words), "--quiet"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.endswith(f"{words['tdb_array']}: 1 track(s) written, 0 unchanged\n")


@pytest.mark.slow
def test_ingest_and_info_as_scripts(words, uri):
    done = script("gen_ingest", *line(words))
    assert (done.returncode, done.stderr) == (0, "")
    assert "k562 signal: " in done.stdout
    found = script("gen_db", "info", "--tdb_array", uri, "--json")
    document = json.loads(found.stdout)
    stored = json.loads(Path(uri, "catalogue.json").read_text())
    assert (found.returncode, document["tracks"], document["commit"]) == (0, stored["tracks"], stored["commit"])


def test_info_shows_a_table_of_the_tracks(words, uri, capsys):
    assert COMMAND.run(line(words)) == 0
    capsys.readouterr()
    assert COMMANDS["info"].run(["--tdb_array", uri]) == 0
    text = capsys.readouterr().out
    assert "3 chromosomes, 4,900 bp, with sequence, 1 dataset(s), 1 track(s)" in " ".join(text.split())
    assert "k562" in text


def test_info_without_a_database_ends_with_2(tmp_path, capsys):
    assert COMMANDS["info"].run(["--tdb_array", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said == f"gen_db info: error: {tmp_path}: no kerasgen database here; expected catalogue.json in it\n"


@pytest.mark.parametrize("argv", [[], ["nonsense"]])
def test_group_without_a_known_command_ends_with_2_and_one_line(argv):
    done = script("gen_db", *argv)
    assert done.returncode == 2
    assert done.stderr.startswith("gen_db: error: ")
    assert done.stderr.count("\n") == 1


# One command, several functions


Kind = Annotated[str, Setting("a kind")]


@takes_settings
def plain(
    kind: Kind = "small",
    *,
    many: Annotated[list[int] | None, Setting("numbers", unit="", also=("-m", "--more"))] = None,
) -> None:
    """Take the flags of most kinds."""
    plain.seen = ("plain", kind, many)


@takes_settings
def special(kind: Kind = "large", *, name: Name, wide: Annotated[bool, Setting("a switch")] = True) -> None:
    """Take the flags of the large kind."""
    plain.seen = ("special", kind, name, wide)


BY_KIND = CommandByFlag(
    prog="made_up",
    function=f"{__name__}:plain",
    report=lambda found: None,
    by="kind",
    others={"large": made_up("special")},
)


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("", ("plain", "small", None)),
        ("--kind tiny -m 1 2", ("plain", "tiny", [1, 2])),
        ("--more 3", ("plain", "small", [3])),
        ("--kind large --name x", ("special", "large", "x", True)),
        ("--name=x --no-wide --kind=large", ("special", "large", "x", False)),
        ("--config CONFIG", ("special", "large", "y", True)),
        ("--config CONFIG --kind tiny --name z", None),
        ("--config CONFIG --name z", ("special", "large", "z", True)),
    ],
)
def test_value_of_a_flag_chooses_the_function(tmp_path, words, seen):
    (tmp_path / "c.yaml").write_text("kind: large\nname: y\n")
    status = BY_KIND.run(words.replace("CONFIG", str(tmp_path / "c.yaml")).split())
    assert status == (0 if seen else 2)
    assert seen is None or plain.seen == seen


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--wide", "--wide is no flag of --kind small; made_up --kind small --help lists them"),
        ("--no-wide --kind tiny", "--wide is no flag of --kind tiny"),
        ("--kind large --name x --many 1", "--many is no flag of --kind large; made_up --kind large --help"),
        ("--config /none.yaml", "--config /none.yaml: No such file"),
    ],
)
def test_flags_of_another_function_are_refused_by_name(capsys, words, says):
    assert BY_KIND.run(words.split()) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.startswith(f"made_up: error: {says}")


def test_help_is_that_of_the_function_chosen(capsys):
    for words, has, lacks in (("--help", "--many", "--wide"), ("--kind large --help", "--wide", "--many")):
        with pytest.raises(SystemExit):
            BY_KIND.run(words.split())
        text = capsys.readouterr().out
        assert has in text
        assert lacks not in text
