"""Training: what it writes, resuming, and bad flags."""

from __future__ import annotations

import csv
import json
import logging
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from db_ingest.errors import InputError
from kerasgen.bundle import open_bundle
from kerasgen.cli.gen_train import COMMAND
from kerasgen.training import loop, timed_model
from kerasgen.training import state as checkpoint
from kerasgen.training.train import train

DROPOUT = ["filters=8", "n_dil_layers=2", "profile_kernel_size=11", "conv1_kernel_size=9", "dropout=0.2"]


def weights_of(prefix: Path) -> list[np.ndarray]:
    return [np.asarray(w) for w in open_bundle(prefix).load_model().weights]


def final_state(prefix: Path) -> tuple[checkpoint.Progress, list[np.ndarray]]:
    progress, _, arrays = checkpoint.load(prefix)
    return progress, [arrays[name] for name in sorted(arrays) if name.startswith("v")]


def words_of(flags: dict, prefix: Path) -> list[str]:
    words = ["--model_prefix", str(prefix)]
    for name, value in flags.items():
        if value is True:
            words.append(f"--{name}")
        else:
            words += [f"--{name}", *(str(v) for v in (value if isinstance(value, list) else [value]))]
    return words


def test_a_bundle_says_all_that_was_decided(trained: Path, train_flags: dict) -> None:
    found = open_bundle(f"{trained}.keras")
    config = found.config
    assert config["run"]["seed"] == 1234
    assert config["split"] == {"train": ["chr1"], "validation": ["chr2"], "test": ["chr3"]}
    assert config["architecture"]["config"]["input_length"] == 200
    assert config["database"] == {"uri": train_flags["tdb_array"], "commit": found.config["database"]["commit"]}
    assert config["best"]["val_loss"] == min(row["val_loss"] for row in config["history"])
    assert {"kerasgen", "keras", "numpy"} <= set(config["versions"])
    assert found.spec.outputs[0].attributes[0] == "count_bigwig_plus_5p"
    rows = list(csv.DictReader(Path(f"{trained}.log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["samples_per_second"]) > 0
    assert 0 <= float(rows[0]["data_wait"]) <= 1


def test_counts_loss_weight_is_a_tenth_of_the_median_counts(trained: Path, train_flags: dict) -> None:
    from kerasgen.database import Database

    database = Database(train_flags["tdb_array"])
    config = open_bundle(trained).config
    from kerasgen import spec as specs
    from kerasgen.regions import plan as planning
    from kerasgen.settings import Data, Samples

    spec = specs.from_settings(database, Data.from_flat(config["run"]))
    _, plan, _ = planning.plan_training(database, spec, Samples.from_flat(config["run"]))
    centre = plan.epoch(0).centre
    tracks = [database.track(f"count_bigwig_{s}_5p", "pooled") for s in ("plus", "minus")]
    totals = database.values(tracks, ["chr1"] * len(centre), centre - 40, 80).sum(axis=(1, 2))
    assert config["loss_weights"] == [1.0, pytest.approx(np.median(totals) / 10)]


KILLED = """
import os, signal
from kerasgen.cli.gen_train import COMMAND
from kerasgen.training import state

save = state.save

def save_and_die(prefix, model, progress, run):
    save(prefix, model, progress, run)
    if (progress.epoch, progress.batch) == (1, 5):
        os.kill(os.getpid(), signal.SIGKILL)

state.save = save_and_die
COMMAND.run()
"""


@pytest.mark.slow
@pytest.mark.backend
def test_a_killed_training_resumes_to_the_same_weights(train_flags: dict, tmp_path: Path) -> None:
    flags = {**train_flags, "model_params": DROPOUT, "num_train": 28, "batch_size": 4, "epochs": 3, "state_every": 1}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = words_of(flags, cut)
    died = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, stderr=subprocess.PIPE, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    progress = checkpoint.load(cut)[0]
    assert (progress.epoch, progress.batch) == (1, 5)
    assert not progress.stopped
    train(model_prefix=str(cut), resume=True, **flags)
    train(model_prefix=str(whole), **flags)
    first, second = final_state(whole), final_state(cut)
    for a, b in zip(first[1], second[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for a, b in zip(weights_of(whole), weights_of(cut), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    names = [n for n in first[0].history[0] if n.endswith("loss")]
    for a, b in zip(first[0].history, second[0].history, strict=True):
        np.testing.assert_allclose([a[n] for n in names], [b[n] for n in names], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.backend
def test_stopping_by_signal_writes_the_state_and_says_how_to_go_on(
    train_flags: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    prefix, save = tmp_path / "model", checkpoint.save

    def save_and_signal(prefix: Path, model: keras.Model, progress: checkpoint.Progress, run: dict) -> None:
        save(prefix, model, progress, run)
        if progress.batch == 1:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(checkpoint, "save", save_and_signal)
    # What a command does on a signal lasts as long as its process.
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert COMMAND.run(words_of({**train_flags, "epochs": 3, "state_every": 1}, prefix)) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    text = capsys.readouterr().err
    # Told to stop as the first batch's state is written, it does so after the second.
    assert "gen_train: error: stopped in epoch 1 after 2 batches; the same command with --resume goes on" in text
    assert checkpoint.load(prefix)[0].batch == 2


def test_a_stop_in_the_last_batch_finishes_the_epoch_first(
    train_flags: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading
    from contextlib import contextmanager

    from db_ingest.errors import RunError

    stop = threading.Event()

    @contextmanager
    def already_asked():
        stop.set()
        yield stop

    prefix = str(tmp_path / "model")
    # One batch an epoch: the first is the last.
    flags = {**train_flags, "num_train": 8, "epochs": 3, "state_every": 1}
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_stop_signal", already_asked)
        with pytest.raises(RunError, match="stopped after epoch 1; the same command with --resume goes on"):
            train(model_prefix=prefix, **flags)
    progress = checkpoint.load(prefix)[0]
    assert (progress.epoch, progress.batch) == (1, 0)
    assert len(train(model_prefix=prefix, resume=True, **flags).history) == 3


def test_a_resumed_training_must_find_its_data_as_it_was(
    train_flags: dict, tmp_path: Path, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = tmp_path / "peaks.narrowPeak"
    bed.write_text((simulated / "peaks.narrowPeak").read_text())
    flags = {**train_flags, "bed_regions": str(bed), "epochs": 1}
    with monkeypatch.context() as patched:
        # A training that writes its state and goes no further.
        patched.setattr(loop.TrainingLoop, "run_epochs", loop.TrainingLoop.save_state)
        train(model_prefix=str(tmp_path / "m"), **flags)
    bed.write_text("".join(bed.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(InputError, match="--resume: contents of files was"):
        train(model_prefix=str(tmp_path / "m"), resume=True, **{**flags, "epochs": 2})


def test_more_epochs_can_be_asked_of_a_finished_training_wherever_it_lies(
    trained: Path, train_flags: dict, tmp_path: Path
) -> None:
    prefix = str(shutil.copytree(trained.parent, tmp_path / "moved") / trained.name)
    again = train(model_prefix=prefix, resume=True, **train_flags)
    assert again.stopped == "all 2 epochs done"
    assert again.history == open_bundle(trained).config["history"]
    assert len(again.history) == 2
    more = train(model_prefix=prefix, resume=True, **{**train_flags, "epochs": 3})
    assert [row["epoch"] for row in more.history] == [1, 2, 3]
    assert more.history[:2] == again.history


def test_training_ends_early_without_improvement_and_lowers_the_rate(train_flags: dict, tmp_path: Path) -> None:
    result = train(
        model_prefix=str(tmp_path / "model"),
        **{**train_flags, "epochs": 30, "learning_rate": 3.0, "patience": 3, "patience_lr": 1},
    )
    assert result.stopped == "no better validation loss for 3 epochs"
    assert len(result.history) == result.best_epoch + 3
    rates = [row["learning_rate"] for row in result.history[result.best_epoch :]]
    np.testing.assert_allclose(rates, [3.0, 1.2, 0.48][: len(rates)], rtol=1e-5)


def test_cosine_schedule_falls_to_near_zero(train_flags: dict, tmp_path: Path) -> None:
    result = train(
        model_prefix=str(tmp_path / "m"), **{**train_flags, "epochs": 4, "patience": 9}, lr_schedule="cosine"
    )
    rates = [row["learning_rate"] for row in result.history]
    np.testing.assert_allclose(rates, 0.5e-3 * (1 + np.cos(np.pi * np.arange(4) / 4)), rtol=1e-5)


@pytest.mark.backend
def test_every_backend_learns(train_flags: dict, tmp_path: Path) -> None:
    result = train(model_prefix=str(tmp_path / "model"), **{**train_flags, "epochs": 4, "learning_rate": 0.005})
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert open_bundle(tmp_path / "model").config["backend"] == keras.backend.backend()


def test_waiting_for_data_is_measured_and_warned_of_with_advice(
    train_flags: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0

    def later() -> float:
        nonlocal now
        now += 0.2
        return now

    # A clock that moves before a batch is waited for, and while it is: half of the time is spent in waiting.
    monkeypatch.setattr(timed_model, "perf_counter", later)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now))
    log = logging.getLogger("kerasgen")
    log.addHandler(caplog.handler)
    flags = {**train_flags, "num_train": 32, "threads": 1, "max_queue_size": 1, "cache_gb": 0, "device_one_hot": False}
    try:
        result = train(model_prefix=str(tmp_path / "m"), **flags)
    finally:
        log.removeHandler(caplog.handler)
    for row in result.history:
        assert row["data_wait"] == 0.5
        # 8 samples in 0.4 s.
        assert row["samples_per_second"] == 20
    (warning,) = {r.getMessage() for r in caplog.records if "waits for data" in r.getMessage()}
    assert "raise --cache_gb, so that batches come from memory" in warning
    assert "(--device_one_hot)" in warning


def test_an_own_architecture_is_trained_and_loaded_again(train_flags: dict, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "import keras\n"
        "@dataclass(frozen=True)\n"
        "class Config:\n"
        "    shapes: tuple = ()\n"
        "    width: int = 3\n"
        "    @classmethod\n"
        "    def from_data(cls, inputs, outputs, **params):\n"
        "        return cls(shapes=(inputs[0], *outputs), **params)\n"
        "def build(config):\n"
        "    x = keras.Input(config.shapes[0])\n"
        "    h = keras.layers.Conv1D(config.width, 5, padding='same', activation='relu')(x)\n"
        "    cut = (config.shapes[0][0] - config.shapes[1][0]) // 2\n"
        "    p = keras.layers.Cropping1D(cut)(keras.layers.Conv1D(config.shapes[1][1], 5, padding='same')(h))\n"
        "    c = keras.layers.Dense(config.shapes[2][0])(keras.layers.GlobalAveragePooling1D()(h))\n"
        "    return keras.Model(x, [p, c])\n"
    )
    flags = {**train_flags, "model_params": ["width=4"], "epochs": 1}
    train(model_prefix=str(tmp_path / "m"), architecture_from_file=str(path), **flags)
    assert open_bundle(tmp_path / "m").load_model().layers[1].filters == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture_spec": "nope"}, "--architecture_spec: unknown architecture 'nope'; known are bpnet"),
        ({"architecture_from_file": "/none.py"}, "--architecture_from_file: /none.py: no such file"),
        ({"model_params": ["nope=1"]}, "unknown parameter 'nope'; known are input_length"),
        ({"model_params": ["filters=many"]}, "filters is 'many'; expected a whole number"),
        ({"model_params": ["/no/file"]}, "neither name=value nor a file"),
        ({"model_params": ["n_dil_layers=7"]}, "the architecture cannot be built: an input of 200 bp"),
        ({"tdb_output_source_attribute": ["nope", "nope"]}, "no attribute 'nope'"),
        ({"tdb_output_datasets": ["nope"]}, "no dataset 'nope'"),
        ({"tdb_array": "/no/database"}, "/no/database: no kerasgen database"),
        ({"bed_regions": "/no/peaks.bed"}, "/no/peaks.bed: no such file"),
        ({"counts_loss_weight": "heavy"}, "expected numbers or auto"),
        ({"batch_size": 0}, "--batch_size 0"),
        ({"lr_schedule": "step"}, "--lr_schedule step"),
        ({"validation_chroms": ["chr9"]}, "chr9: not in the genome"),
        ({"resume": True}, "there is no training to resume"),
        ({"fold": 0, "genome": "hg38", "validation_chroms": None, "test_chroms": None}, "has no validation chromosome"),
    ],
)
def test_bad_flags_are_refused_and_leave_nothing(
    train_flags: dict, tmp_path: Path, changes: dict, message: str
) -> None:
    prefix = tmp_path / "out" / "model"
    with pytest.raises(InputError, match=message):
        train(model_prefix=str(prefix), **{**train_flags, **changes})
    assert not prefix.parent.exists() or not list(prefix.parent.iterdir())


def test_a_model_is_not_overwritten_or_resumed_by_another_run(trained: Path, train_flags: dict) -> None:
    with pytest.raises(InputError, match=r"exists; --resume goes on.*--overwrite begins anew"):
        train(model_prefix=str(trained), **train_flags)
    with pytest.raises(InputError, match="--resume: --jitter was 10 .* is now 11"):
        train(model_prefix=str(trained), resume=True, **{**train_flags, "jitter": 11})
    with pytest.raises(InputError, match="not both"):
        train(model_prefix=str(trained), resume=True, overwrite=True, **train_flags)


def test_a_place_that_cannot_be_written_to_is_refused_first(train_flags: dict, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out: cannot be written to \(Not a directory\)"):
        train(model_prefix=str(tmp_path / "file" / "out" / "m"), **train_flags)


def test_a_params_file_of_kerasac_is_read(train_flags: dict, tmp_path: Path) -> None:
    path = tmp_path / "params.txt"
    path.write_text("filters\t6\nn_dil_layers\t1\nprofile_kernel_size\t5\ncounts_loss_weight\t25\n")
    train(model_prefix=str(tmp_path / "m"), **{**train_flags, "model_params": [str(path)], "epochs": 1})
    config = json.loads((tmp_path / "m.json").read_text())
    assert config["architecture"]["config"]["filters"] == 6
    assert config["loss_weights"] == [1.0, 25.0]
    path.write_text("filters 6 7\n")
    with pytest.raises(InputError, match=r"params.txt:1: expected a name and a value"):
        train(model_prefix=str(tmp_path / "n"), **{**train_flags, "model_params": [str(path)]})
