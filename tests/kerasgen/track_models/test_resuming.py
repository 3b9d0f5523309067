"""Models of tracks: an interrupted training goes on and ends as an uninterrupted one; ensembles of Epi-LSTM."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_tracks import ASSAYS, BIN, make_database, simulated

from db_ingest import ingest
from db_ingest.errors import InputError, RunError
from db_ingest.upkeep.edit import rename
from kerasgen.bundle import load_model, open_bundle
from kerasgen.cli.gen_train import COMMAND
from kerasgen.track_models.avocado.model import Avocado
from kerasgen.track_models.avocado.train import train_avocado
from kerasgen.track_models.binned import from_arrays
from kerasgen.track_models.chromosomes import ChromosomeState
from kerasgen.track_models.epilstm.bin_split import by_stretches
from kerasgen.track_models.epilstm.loop import EpilstmLoop
from kerasgen.track_models.epilstm.normalisation import Normalisation
from kerasgen.track_models.epilstm.train import train_epilstm
from kerasgen.training import state

FLAGS = {
    "transformation": "None",
    "model_params": ["bottleneck=2", "units=6", "look_ahead=2", "frame=20"],
    "epochs": 3,
    "batch_size": 8,
    "seed": 4,
    "n_models": 2,
    "gap_bins": 20,
}
AVOCADO = {
    "train_chroms": ["chr1"],
    "per_chromosome": True,
    "model_params": ["n_nodes=8", "n_layers=1", "n_25bp_factors=3", "n_250bp_factors=2", "n_5kbp_factors=2"],
    "preset": "published",
    "transformation": "None",
    "epochs": 2,
    "epoch_size": 4,
    "batch_size": 100,
}
SIZES = {"chr1": 30_000, "chr2": 20_010, "chr3": 12_000}


class Killed(BaseException):
    """In place of a signal that nothing can catch."""


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_database(tmp_path_factory.mktemp("resuming"), simulated())


def keeping_states(monkeypatch: pytest.MonkeyPatch, folder: Path, dies_after: int | None = None) -> Path:
    """Copy the last state written to a file; with ``dies_after``, end when that of this epoch is written."""
    real, copy = state.save, folder / "last.npz"

    def save(prefix, model, progress, run, more=None):
        real(prefix, model, progress, run, more)
        shutil.copy(f"{prefix}.state/checkpoint.npz", copy)
        if progress.epoch == dies_after:
            raise Killed

    monkeypatch.setattr(state, "save", save)
    return copy


def same_weights(first: Path, second: Path, endings: tuple[str, ...] = ("keras", "model2.keras")) -> None:
    for ending in endings:
        one, two = (load_model(f"{prefix}.{ending}").get_weights() for prefix in (first, second))
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def losses(prefix: Path) -> np.ndarray:
    rows = json.loads(Path(f"{prefix}.json").read_text())["history"]
    return np.array([[row.get("model", 1), row["epoch"], row["loss"], row["val_loss"]] for row in rows])


@pytest.fixture(scope="module")
def whole(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble trained without interruption, its last state, and what was there at each moment of a state.

    ``when/MEMBER.EPOCH.before`` and ``after``: all files of the training as the state of an epoch was not written yet,
    or just had been. Who kills the training at that moment leaves these.
    """
    folder = tmp_path_factory.mktemp("whole")
    real = state.save

    def save(prefix, model, progress, run, more=None):
        def copy(when: str) -> None:
            moment = folder / "when" / f"{progress.member}.{progress.epoch}.{when}"
            moment.mkdir(parents=True)
            for path in folder.glob("m*"):
                (shutil.copytree if path.is_dir() else shutil.copy)(path, moment / path.name)

        copy("before")
        real(prefix, model, progress, run, more)
        copy("after")
        shutil.copy(f"{prefix}.state/checkpoint.npz", folder / "last.npz")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "save", save)
        train_epilstm(uri, str(folder / "m"), **FLAGS)
    return folder / "m"


@pytest.mark.backend
@pytest.mark.parametrize("moment", ["0.2.before", "0.3.after", "1.2.after"])
def test_interrupted_epilstm_ends_with_the_same_weights_optimizer_and_history(
    uri: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    shutil.copytree(whole.parent / "when" / moment, tmp_path, dirs_exist_ok=True)
    assert (tmp_path / "m.state").is_dir()
    assert not (tmp_path / "m.keras").exists()
    assert not (tmp_path / "m.json").exists()
    last = keeping_states(monkeypatch, tmp_path)
    result = train_epilstm(uri, str(tmp_path / "m"), resume=True, **FLAGS)
    same_weights(whole, tmp_path / "m")
    np.testing.assert_allclose(losses(tmp_path / "m"), losses(whole), rtol=1e-5)
    with np.load(last) as found, np.load(whole.parent / "last.npz") as expected:
        names = [name for name in expected if name.startswith(("v", "best"))]
        assert sorted(found) == sorted(expected)
        for name in names:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5, err_msg=name)
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert not (tmp_path / "m.state").exists()


KILLED = """
import os, signal
from kerasgen.cli.gen_train import COMMAND
from kerasgen.training import state

save = state.save

def save_and_die(prefix, model, progress, run, more=None):
    save(prefix, model, progress, run, more)
    if progress.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

state.save = save_and_die
COMMAND.run()
"""


@pytest.mark.slow
@pytest.mark.backend
def test_killed_command_goes_on(uri: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["--architecture_spec", "epilstm", "--tdb_array", uri, "--model_prefix", str(tmp_path / "cut")]
    words += ["--model_params", *FLAGS["model_params"], "--transformation", "None"]
    words += [f"--{name}={FLAGS[name]}" for name in ("epochs", "batch_size", "seed", "n_models", "gap_bins")]
    died = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, stderr=subprocess.PIPE, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert state.load(tmp_path / "cut")[0].epoch == 2
    assert COMMAND.run([*words, "--resume"]) == 0
    assert "resuming after epoch" in capsys.readouterr().err
    same_weights(whole, tmp_path / "cut")
    np.testing.assert_allclose(losses(tmp_path / "cut"), losses(whole), rtol=1e-5)


@pytest.mark.backend
def test_models_of_an_ensemble_are_those_of_the_seeds_that_follow(uri: str, whole: Path, tmp_path: Path) -> None:
    train_epilstm(uri, str(tmp_path / "m"), **{**FLAGS, "seed": 5, "n_models": 1})
    for a, b in zip(
        load_model(f"{whole}.model2.keras").get_weights(), load_model(tmp_path / "m.keras").get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)
    together, alone = open_bundle(whole).config, open_bundle(tmp_path / "m").config
    assert together["r2_models"][1]["test"] == pytest.approx(alone["r2"]["test"], abs=1e-5)
    assert "r2_models" not in alone
    assert Path(f"{whole}.log.csv").read_text().splitlines()[0].startswith("model,epoch,loss,val_loss")


def test_explained_variance_is_that_of_the_mean_reconstruction(whole: Path) -> None:
    from sklearn.metrics import r2_score

    from kerasgen.track_models.epilstm.evaluation import reconstructions

    found = open_bundle(whole).config
    tracks = from_arrays(simulated(), transformation="None")
    made = Normalisation.from_json(found["normalisation"])
    models = [load_model(f"{whole}.{ending}") for ending in ("keras", "model2.keras")]
    (test,) = by_stretches(tracks, 20).test
    each = [
        np.concatenate([values[number] for _, values in reconstructions(models, made, tracks, [test])], axis=1)
        for number in range(2)
    ]
    observed = made.apply(tracks.values[:, test.first : test.end])
    assert np.isfinite(observed).all()
    for expected, values in zip([found["r2"], *found["r2_models"]], [np.mean(each, axis=0), *each], strict=True):
        assert expected["test"] == pytest.approx(
            r2_score(observed, made.apply(values), multioutput="variance_weighted"), abs=1e-5
        )
    assert found["r2"]["test"] > np.mean([shares["test"] for shares in found["r2_models"]])


def test_resuming_needs_the_same_training(uri: str, tmp_path: Path, whole: Path) -> None:
    own, prefix = shutil.copytree(Path(uri).parent, tmp_path / "own") / "db", str(tmp_path / "m")
    with pytest.raises(InputError, match="there is no training to resume. Leave out --resume"):
        train_epilstm(str(own), prefix, resume=True, **FLAGS)
    with pytest.MonkeyPatch.context() as patch:
        keeping_states(patch, tmp_path, dies_after=1)
        with pytest.raises(Killed):
            train_epilstm(str(own), prefix, **FLAGS)
    for flags, message in (
        ({}, r"m.state/checkpoint.npz: exists; --resume goes on with its training, --overwrite begins anew"),
        ({"resume": True, "overwrite": True}, "give --resume to go on or --overwrite to begin anew, not both"),
        ({"resume": True, "epochs": 9}, "--resume: --epochs was 3 when this training began and is now 9"),
        ({"resume": True, "n_models": 3}, "--resume: --n_models was 2 when"),
        ({"resume": True, "model_params": ["units=3"]}, "--resume: --model_params was "),
    ):
        with pytest.raises(InputError, match=message):
            train_epilstm(str(own), prefix, **{**FLAGS, **flags})
    rename(str(own), "E3", dataset="E2")
    with pytest.raises(InputError, match=r"--resume: database commit was \d+ when this training began and is now \d+"):
        train_epilstm(str(own), prefix, resume=True, **FLAGS)
    with pytest.raises(InputError, match="no training of .*m is left to resume. --overwrite begins anew"):
        train_epilstm(uri, str(whole), resume=True, **FLAGS)


def test_training_that_begins_anew_forgets_the_interrupted_one(uri: str, whole: Path, tmp_path: Path) -> None:
    flags = {**FLAGS, "n_models": 1, "epochs": 2}
    shutil.copytree(whole.parent / "when" / "0.1.after", tmp_path, dirs_exist_ok=True)
    assert (tmp_path / "m.state").is_dir()
    result = train_epilstm(uri, str(tmp_path / "m"), overwrite=True, **{**flags, "seed": 9})
    assert len(result.history) == 2
    assert sorted(path.name for path in tmp_path.glob("m*")) == ["m.json", "m.keras", "m.log.csv"]


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_interrupted_training_says_how_to_go_on_if_there_is_a_state(
    uri: str, genome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = "interrupted; the same command with --resume goes on"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpilstmLoop, "_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_epilstm(uri, str(tmp_path / "m"), **FLAGS)
    monkeypatch.setattr("kerasgen.track_models.epilstm.loop.write_log", interrupted)
    with pytest.raises(RunError, match=way):
        train_epilstm(uri, str(tmp_path / "m"), **FLAGS)
    monkeypatch.setattr(Avocado, "fit_genome", interrupted)
    with pytest.raises(RunError, match=way):
        train_avocado(genome, str(tmp_path / "a"), **AVOCADO)


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four tracks of two cell types on three chromosomes."""
    folder, rng = tmp_path_factory.mktemp("genome"), np.random.default_rng(6)
    rows = ["dataset\tA\tB"]
    for celltype in ("E1", "E2"):
        for assay in ASSAYS[:2]:
            values = {name: rng.gamma(0.5, 2, -(-size // BIN)).astype(np.float32) for name, size in SIZES.items()}
            np.savez(folder / f"{celltype}.{assay}.npz", **values)
        rows.append(f"{celltype}\t{celltype}.A.npz\t{celltype}.B.npz")
    (folder / "samples.tsv").write_text("\n".join(rows) + "\n")
    (folder / "types.yaml").write_text("".join(f"{assay}: {{type: npz, bin: {BIN}}}\n" for assay in ASSAYS[:2]))
    (folder / "sizes").write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
    ingest(
        str(folder / "db"), str(folder / "samples.tsv"), attribute_config_file=str(folder / "types.yaml"),
        chrom_sizes=str(folder / "sizes"),
    )  # fmt: skip
    return str(folder / "db")


def dying(patch: pytest.MonkeyPatch, step: str, when: str) -> None:
    """End a training at the first note of a step, before or after it is written."""
    real = getattr(ChromosomeState, step)

    def note(self: ChromosomeState, *what: object) -> None:
        if when == "after":
            real(self, *what)
        raise Killed

    patch.setattr(ChromosomeState, step, note)


@pytest.fixture(scope="module")
def each(genome: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("each") / "m"
    train_avocado(genome, str(prefix), **AVOCADO)
    return prefix


@pytest.mark.backend
@pytest.mark.parametrize(
    ("step", "when", "left"),
    [
        ("add_network", "after", ["chr2", "chr3"]),
        ("add_chromosome", "before", ["chr2", "chr3"]),
        ("add_chromosome", "after", ["chr3"]),
        ("publish", "before", []),
    ],
)
def test_interrupted_avocado_learns_only_the_missing_chromosomes(
    genome: str, each: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str, left: list[str]
) -> None:
    prefix = tmp_path / "m"
    with pytest.MonkeyPatch.context() as patch:
        dying(patch, step, when)
        with pytest.raises(Killed):
            train_avocado(genome, str(prefix), **AVOCADO)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.state"]
    learned = []
    real = Avocado.fit_genome

    def fit_genome(self, X, **how):
        learned.append(X.stretches[0].chromosome)
        return real(self, X, **how)

    monkeypatch.setattr(Avocado, "fit_genome", fit_genome)
    monkeypatch.delattr(Avocado, "fit")
    train_avocado(genome, str(prefix), resume=True, **AVOCADO)
    assert learned == left
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in each.parent.iterdir())
    assert "m.chr3.npz" in names
    assert Path(f"{prefix}.log.csv").read_text() == Path(f"{each}.log.csv").read_text()
    for ending in ("", ".chr2", ".chr3"):
        one, two = Avocado.load(f"{prefix}{ending}"), Avocado.load(f"{each}{ending}")
        np.testing.assert_allclose(one.genome_embedding, two.genome_embedding, atol=1e-5)
        np.testing.assert_allclose(one.predict("E1", "B"), two.predict("E1", "B"), atol=1e-5)


def test_avocado_that_is_killed_while_files_move_is_complete_when_resumed(
    genome: str, each: Path, tmp_path: Path
) -> None:
    prefix, moves = tmp_path / "m", []
    real = os.replace

    def replace(source: object, target: object) -> None:
        if "m.state" in str(source) and str(target).startswith(f"{prefix}.chr2"):
            moves.append(target)
            if len(moves) == 2:
                raise Killed
        real(source, target)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kerasgen.track_models.chromosomes.os.replace", replace)
        with pytest.raises(Killed):
            train_avocado(genome, str(prefix), **AVOCADO)
    assert not Path(f"{prefix}.json").exists()
    train_avocado(genome, str(prefix), resume=True, **AVOCADO)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in each.parent.iterdir())


def test_avocado_that_is_killed_when_all_files_have_moved_is_complete_when_resumed(genome: str, tmp_path: Path) -> None:
    prefix = tmp_path / "m"

    def killed(final: object) -> None:
        if prefix.with_suffix(".json").exists():
            raise Killed
        real(final)  # type: ignore[arg-type]

    real = state.discard
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "discard", killed)
        with pytest.raises(Killed):
            train_avocado(genome, str(prefix), **AVOCADO)
    train_avocado(genome, str(prefix), resume=True, **AVOCADO)
    assert Avocado.load(prefix).experiments
    assert not prefix.with_suffix(".state").exists()


def test_a_training_under_way_is_not_replaced_by_one_of_another_family(uri: str, genome: str, tmp_path: Path) -> None:
    for name, train, where in (
        ("learned.json", lambda prefix: train_epilstm(uri, prefix, **FLAGS), tmp_path / "a"),
        ("checkpoint.npz", lambda prefix: train_avocado(genome, prefix, **AVOCADO), tmp_path / "b"),
    ):
        left = Path(f"{where}.state") / name
        left.parent.mkdir()
        left.touch()
        with pytest.raises(InputError, match=f"{name}: exists; of another kind of training; --overwrite begins anew"):
            train(str(where))
        assert left.exists()


def test_a_chromosome_without_values_is_left_out_before_training(
    genome: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = shutil.copytree(Path(genome).parent, tmp_path / "own")
    for path in own.glob("*.npz"):
        with np.load(path) as arrays:
            np.savez(path, **{name: arrays[name] for name in ("chr1", "chr2")})
    shutil.rmtree(own / "db")
    ingest(
        str(own / "db"), str(own / "samples.tsv"), attribute_config_file=str(own / "types.yaml"),
        chrom_sizes=str(own / "sizes"),
    )  # fmt: skip
    train_avocado(str(own / "db"), str(tmp_path / "m"), **AVOCADO)
    assert "left out, as no track has values there: chr3" in caplog.text
    assert (tmp_path / "m.chr2.keras").exists()
    assert not (tmp_path / "m.chr3.keras").exists()


def test_resuming_an_avocado_needs_the_same_training(genome: str, each: Path, tmp_path: Path) -> None:
    own, prefix = shutil.copytree(Path(genome).parent, tmp_path / "own") / "db", str(tmp_path / "m")
    with pytest.raises(InputError, match="there is no training to resume. Leave out --resume"):
        train_avocado(str(own), prefix, resume=True, **AVOCADO)
    with pytest.raises(InputError, match="resumed chromosome by chromosome; expected it with --per_chromosome"):
        train_avocado(str(own), prefix, resume=True, **{**AVOCADO, "per_chromosome": False})
    with pytest.MonkeyPatch.context() as patch:
        dying(patch, "add_network", "after")
        with pytest.raises(Killed):
            train_avocado(str(own), prefix, **AVOCADO)
    for flags, message in (
        ({}, "m.state/learned.json: exists; --resume goes on with its training, --overwrite begins anew"),
        ({"resume": True, "seed": 3}, "--resume: --seed was 1234 when this training began and is now 3"),
    ):
        with pytest.raises(InputError, match=message):
            train_avocado(str(own), prefix, **{**AVOCADO, **flags})
    rename(str(own), "E3", dataset="E2")
    with pytest.raises(InputError, match=r"--resume: database commit was \d+ when this training began and is now \d+"):
        train_avocado(str(own), prefix, resume=True, **AVOCADO)
    with pytest.raises(InputError, match="no training of .*m is left to resume. --overwrite begins anew"):
        train_avocado(genome, str(each), resume=True, **AVOCADO)
    state = Path(prefix + ".state") / "learned.json"
    state.write_text("{}")
    with pytest.raises(InputError, match="learned.json: not a training state"):
        train_avocado(str(own), prefix, resume=True, **AVOCADO)
