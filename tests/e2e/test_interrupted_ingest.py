"""Ingests that are killed, interrupted or disturbed at any moment: what is finished stays, the same run goes on.

``KERASGEN_TEST_KILLS`` is how often a run is killed, ``KERASGEN_TEST_SEED`` chooses the moments. The genome has chunks
enough for a track to be caught half done; nearly all of it is empty.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyBigWig
import pytest
import tiledb
from forked import Forked, Launcher
from plain import joined

from db_ingest.layout import catalogue as catalogues
from db_ingest.layout.reader import Reader

pytestmark = pytest.mark.slow

SIZES = {"chr1": 33_000_000, "chr2": 2_500_000}
CHUNKS = 3
SEED = int(os.environ.get("KERASGEN_TEST_SEED", "20261121"))
KILLS = int(os.environ.get("KERASGEN_TEST_KILLS", "12"))

Process = subprocess.Popen[str] | Forked


@dataclass
class Experiment:
    """Inputs, the command that ingests them, and what it takes and makes when nothing disturbs it."""

    folder: Path
    launcher: Launcher
    seconds_to_first_chunk: float = 0.0
    seconds: float = 0.0

    @property
    def bigwigs(self) -> dict[tuple[str, str], Path]:
        return {("signal", d): self.folder / f"{d}.bw" for d in ("counts", "fractions")}

    def command(self, database: Path, *words: str, table: str = "samples.tsv") -> list[str]:
        return [
            str(Path(sys.executable).parent / "gen_ingest"),
            f"--tdb_array={database}",
            f"--tiledb_metadata={self.folder / table}",
            f"--attribute_config_file={self.folder}/types.tsv",
            f"--chrom_sizes={self.folder}/genome.sizes",
            *words,
        ]

    def start(self, database: Path, *words: str, table: str = "samples.tsv") -> Forked:
        return self.launcher.start(self.command(database, *words, table=table))


def write_bigwig(path: Path, rng: np.random.Generator, fractions: bool) -> None:
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(SIZES.items()))
        for name, size in SIZES.items():
            starts = np.unique(rng.integers(0, size - 10, 1_000))
            values = rng.integers(1, 9, len(starts)) + (0.25 if fractions else 0)
            file.addEntries(
                [name] * len(starts), starts.tolist(), ends=(starts + 1).tolist(), values=values.astype(float).tolist()
            )


def started(command: list[str], control_c: signal.Handlers = signal.SIG_DFL) -> subprocess.Popen[str]:
    """The installed script as a shell starts it, in a group of its own; "&" in a script lets it ignore Ctrl-C."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        command, text=True, start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, control_c), **pipes
    )


def press_control_c(process: subprocess.Popen[str]) -> None:
    """As a terminal does: to the whole group, which may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)


def has_lock(database: Path, process: Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(file.path == str(database / ".lock") for file in psutil.Process(process.pid).open_files())
    return False


def wait_for_lock(database: Path, process: Process) -> None:
    """Wait until a process has the database, or has ended."""
    while process.poll() is None and not has_lock(database, process):
        time.sleep(0.005)


def hold(process: Process) -> None:
    """Let a process stand still, unless it has ended."""
    with contextlib.suppress(ProcessLookupError, psutil.Error):
        os.kill(process.pid, signal.SIGSTOP)
        while process.poll() is None and psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)


def let_go(process: Process) -> None:
    """Let a process that stands still go on."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)


def chunks(database: Path) -> int:
    """Fragments that are stored whole."""
    return len(list(database.glob("*/*/__commits/*")))


def wait_for_another_chunk(database: Path, process: Process) -> None:
    before = chunks(database)
    while process.poll() is None and chunks(database) == before:
        time.sleep(0.005)


def document(database: Path) -> dict[str, Any]:
    return json.loads((database / "catalogue.json").read_text())


def what_is_kept(database: Path) -> dict[tuple[str, str], Any]:
    """Folder, summary and checksums of each track."""
    return {
        (t["attribute"], t["dataset"]): (t["folder"], t["summary"], t["checksums"])
        for t in document(database)["tracks"]
    }


def checksums_of_cells(database: Path) -> dict[tuple[str, str], dict[str, str]]:
    """CRC-32 of each track's cells by chromosome, by TileDB and zlib alone."""
    catalogue, found = document(database), {}
    for track in catalogue["tracks"]:
        checksums = found[track["attribute"], track["dataset"]] = {}
        with tiledb.open(str(database / track["folder"] / track["attribute"])) as array:
            for place in catalogue["genome"]["chromosomes"]:
                stretch = joined(array[track["row"], place["offset"] : place["offset"] + place["size"]]["value"])
                checksums[place["name"]] = f"{zlib.crc32(stretch):08x}"
    return found


def check_intervals(database: Path, folder: Path) -> None:
    catalogue = document(database)
    track = next(t for t in catalogue["tracks"] if t["attribute"] == "peaks")
    with tiledb.open(str(database / "intervals" / "peaks")) as array:
        found = array[track["row"], :]
    starts = {c["name"]: c["offset"] for c in catalogue["genome"]["chromosomes"]}
    lines = [line.split("\t") for line in (folder / "p.narrowPeak").read_text().splitlines()]
    assert sorted(found["start"].tolist()) == sorted(starts[line[0]] + int(line[1]) for line in lines)


@pytest.fixture(scope="module")
def experiment(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder = tmp_path_factory.mktemp("experiment")
    rng = np.random.default_rng(1)
    (folder / "genome.sizes").write_text("".join(f"{name}\t{size}\n" for name, size in SIZES.items()))
    (folder / "types.tsv").write_text("signal\tbigwig\ncuts\tfragments\npeaks\tnarrowPeak\n")
    for dataset, fractions in (("counts", False), ("fractions", True), ("other", True)):
        write_bigwig(folder / f"{dataset}.bw", rng, fractions)
    spans = [(name, int(s)) for name, size in SIZES.items() for s in np.sort(rng.integers(0, size - 500, 500))]
    (folder / "f.tsv").write_text("".join(f"{c}\t{s}\t{s + 200}\tAAA\t1\n" for c, s in spans))
    (folder / "p.narrowPeak").write_text("".join(f"{c}\t{s}\t{s + 300}\tp\t0\t.\t1\t-1\t-1\t90\n" for c, s in spans))
    (folder / "samples.tsv").write_text(
        "dataset\tsignal\tcuts\tpeaks\ncounts\tcounts.bw\tf.tsv\ttp\nfractions\tfractions.bw\n".replace(
            "\ttp\n", "\tp.narrowPeak\n"
        )
    )
    (folder / "changed.tsv").write_text("dataset\tsignal\ncounts\tother.bw\nnew\tfractions.bw\nnewer\tother.bw\n")
    made = Experiment(folder, launcher)
    begin = time.monotonic()
    process = made.start(folder / "whole", "--workers=1")
    wait_for_another_chunk(folder / "whole", process)
    made.seconds_to_first_chunk = time.monotonic() - begin
    _, said = process.communicate()
    made.seconds = time.monotonic() - begin
    assert process.returncode == 0, said
    print(f"seed {SEED}; first chunk after {made.seconds_to_first_chunk:.2f} s, done after {made.seconds:.2f} s")
    return made


@pytest.fixture(scope="module")
def whole(experiment: Experiment) -> dict[tuple[str, str], Any]:
    """What an uninterrupted run keeps, checked against the files."""
    database = experiment.folder / "whole"
    kept = what_is_kept(database)
    assert {track: checksums for track, (_, _, checksums) in kept.items()} == checksums_of_cells(database)
    check_intervals(database, experiment.folder)
    catalogue = catalogues.load(str(database))
    reader = Reader(str(database))
    for (attribute, dataset), path in experiment.bigwigs.items():
        track = catalogue.track(attribute, dataset)
        with pyBigWig.open(str(path)) as file:
            for name, size in SIZES.items():
                start = catalogue.genome.offset(name)
                found = reader.read(track.member, track.row, np.array([start]), np.array([start + size]))
                covered = np.zeros(size, np.float32)
                for first, last, value in file.intervals(name):
                    covered[first:last] = value
                np.testing.assert_array_equal(found, covered)
    reader.close()
    return kept


def check_whole(database: Path, experiment: Experiment, whole: dict[tuple[str, str], Any]) -> None:
    assert what_is_kept(database) == whole
    assert checksums_of_cells(database) == {track: checksums for track, (_, _, checksums) in whole.items()}
    check_intervals(database, experiment.folder)
    assert document(database)["staged"] == []


def check_finished(database: Path, whole: dict[tuple[str, str], Any]) -> None:
    """Whatever happened, there is no catalogue, or one of whole tracks."""
    if (database / "catalogue.json").exists():
        assert what_is_kept(database).items() <= whole.items()


def how_far(database: Path) -> str:
    """What a writer had done when it ended."""
    if not (database / "catalogue.json").exists():
        return "nothing"
    if document(database)["tracks"]:
        return "some tracks"
    return "some chunks" if chunks(database) else "rows staged"


@pytest.mark.parametrize(("workers", "kills"), [(1, KILLS), (2, KILLS // 4)])
def test_killed_at_any_moment_the_same_run_goes_on_to_the_same_database(experiment, whole, tmp_path, workers, kills):
    chance = random.Random(SEED + workers)
    databases, rounds, left = 0, 0, kills
    found: Counter[str] = Counter()
    database = tmp_path / "db0"
    while left or database.exists():
        process = experiment.start(database, f"--workers={workers}")
        if left:
            # Now and then on the way to the work, mostly after the first chunk.
            if chance.random() < 0.2:
                moment = chance.uniform(0, 1.5 * workers * experiment.seconds_to_first_chunk)
            else:
                wait_for_another_chunk(database, process)
                work = experiment.seconds - experiment.seconds_to_first_chunk
                moment = chance.uniform(0, work if rounds == 0 else work / 12)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                children = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                left -= 1
                rounds += 1
                process.communicate()
                _, alive = psutil.wait_procs(children, timeout=30)
                assert not alive, "workers outlive the process that hired them"
                check_finished(database, whole)
                found[how_far(database)] += 1
                if rounds < 12:
                    continue
                # Killed often enough: to the end.
                process = experiment.start(database, f"--workers={workers}")
        _, said = process.communicate()
        assert process.returncode == 0, f"seed {SEED}: {said}"
        check_whole(database, experiment, whole)
        print(f"seed {SEED}, workers {workers}: whole after {rounds} kills")
        subprocess.run(["rm", "-rf", str(database)], check=True)
        databases += 1
        rounds = 0
        database = tmp_path / f"db{databases}"
    print(f"seed {SEED}, workers {workers}: killed with {dict(found)}")
    assert databases >= kills // 12
    assert found["some chunks"] + found["some tracks"] >= kills // 3, "the moments are meant to fall into the work"


@pytest.mark.parametrize("workers", [1, 2])
def test_control_c_is_one_line_and_the_same_run_goes_on(experiment, whole, tmp_path, workers):
    chance = random.Random(SEED + 10 + workers)
    database, interrupted = tmp_path / "db", 0
    for attempt in range(20):
        process = started(experiment.command(database, f"--workers={workers}"))
        wait_for_lock(database, process)
        if attempt % 3 != 1:
            wait_for_another_chunk(database, process)
        if attempt % 3 != 0:
            time.sleep(chance.uniform(0, experiment.seconds - experiment.seconds_to_first_chunk) / 2)
        press_control_c(process)
        out, said = process.communicate(timeout=60)
        if process.returncode == 0:
            # Done before the signal came: once more from the start.
            assert ("track(s) written" in out, said) == (True, ""), f"seed {SEED}"
            subprocess.run(["rm", "-rf", str(database)], check=True)
            continue
        interrupted += 1
        assert said == "gen_ingest: error: interrupted\n", f"seed {SEED}"
        assert (process.returncode, out) == (1, ""), f"seed {SEED}"
        check_finished(database, whole)
        if interrupted == 3:
            break
    assert interrupted == 3
    done = experiment.launcher.run(experiment.command(database, f"--workers={workers}"))
    assert done.returncode == 0, done.stderr
    check_whole(database, experiment, whole)


def test_control_c_passes_by_a_process_that_ignores_it(experiment, whole, tmp_path):
    process = started(experiment.command(tmp_path / "db"), control_c=signal.SIG_IGN)
    wait_for_another_chunk(tmp_path / "db", process)
    press_control_c(process)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    check_whole(tmp_path / "db", experiment, whole)


def caught(
    experiment: Experiment, folder: Path, words: Sequence[str], moment: Callable[[Path, Process], bool]
) -> tuple[Path, Forked]:
    """A new database and the process that writes it, held at a moment; begun anew where that had passed already."""
    for attempt in range(20):
        database = folder / f"db{attempt}"
        process = experiment.start(database, *words)
        while process.poll() is None:
            if moment(database, process):
                hold(process)
                if process.poll() is None and moment(database, process):
                    return database, process
                let_go(process)
                break
            time.sleep(0.002)
        process.communicate()
    raise AssertionError("the moment was always over")


def test_worker_that_is_killed_is_one_line_and_the_same_run_goes_on(experiment, whole, tmp_path):
    # Of the 8 tasks at most 4 are handed out beside those that are done. Not before the first is done: a pool of
    # processes may lock up if one ends while it is being started; that is Python's.
    database, process = caught(experiment, tmp_path, ["--workers=2"], lambda database, _: 1 <= chunks(database) <= 3)
    # The workers are children of the process that was made to fork them.
    workers = [worker for helper in psutil.Process(process.pid).children() for worker in helper.children()]
    workers[0].kill()
    let_go(process)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert said.count("\n") == 1
    assert re.match(r"gen_ingest: error: a worker process ended", said)
    check_finished(database, whole)
    done = experiment.launcher.run(experiment.command(database, "--workers=2"))
    assert done.returncode == 0, done.stderr
    check_whole(database, experiment, whole)


def test_second_writer_is_refused_while_the_first_goes_on(experiment, whole, tmp_path):
    database, first = caught(experiment, tmp_path, [], has_lock)
    second = experiment.launcher.run(experiment.command(database))
    let_go(first)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == (
        f"gen_ingest: error: {database}: another process is writing to this database; wait for it to end\n"
    )
    _, said = first.communicate()
    assert first.returncode == 0, said
    check_whole(database, experiment, whole)


@pytest.fixture
def windows(experiment: Experiment) -> Iterator[Any]:
    """Positions around entries of all bigWigs in every chunk, and what each file has there."""
    catalogue = catalogues.load(str(experiment.folder / "whole"))
    places = []
    for path in (experiment.folder / f"{name}.bw" for name in ("counts", "fractions", "other")):
        with pyBigWig.open(str(path)) as file:
            for name in SIZES:
                entries = file.intervals(name)
                places += [(name, entry[0]) for entry in entries[::10]]
    places = sorted(set(places), key=lambda place: catalogue.genome.offset(place[0]) + place[1])
    positions = np.array([catalogue.genome.offset(name) + base for name, base in places])
    assert len({catalogue.genome.chunk_of(position) for position in positions}) == CHUNKS
    truth = {}
    for key in ("counts", "fractions", "other"):
        with pyBigWig.open(str(experiment.folder / f"{key}.bw")) as file:
            values = [file.values(name, base, base + 1)[0] for name, base in places]
        truth[key] = np.nan_to_num(np.array(values, np.float32))
    return positions, truth


def test_reader_sees_whole_tracks_only_while_they_are_written_and_replaced(experiment, windows, tmp_path):
    # Where the reader is slow and the writer quick, there may be nothing to see in between; then the writer waits.
    for attempt in range(5):
        seen = states_seen(experiment, windows, tmp_path / f"db{attempt}", waits=attempt > 0)
        assert seen[0] == {("counts", "counts"), ("fractions", "fractions")}
        assert seen[-1] == {("counts", "other"), ("fractions", "fractions"), ("new", "fractions"), ("newer", "other")}
        if len(seen) > 2:
            return
    raise AssertionError("no state in between was seen")


def states_seen(experiment, windows, database, waits) -> list[frozenset[tuple[str, str]]]:
    """Which track had which file's values, one after the other, while an ingest replaced and added tracks."""
    positions, truth = windows
    subprocess.run(["cp", "-r", str(experiment.folder / "whole"), str(database)], check=True)
    process = experiment.start(database, "--overwrite", table="changed.tsv")
    seen: list[frozenset[tuple[str, str]]] = []
    while True:
        if waits:
            let_go(process)
            time.sleep(0.02)
            hold(process)
        ended = process.poll() is not None
        catalogue = catalogues.load(str(database))
        state = set()
        reader = Reader(str(database))
        for track in catalogue.tracks:
            if track.attribute != "signal":
                continue
            found = reader.read(track.member, track.row, positions, positions + 1)
            (match,) = [key for key, values in truth.items() if np.array_equal(found, values)]
            state.add((track.dataset, match))
        reader.close()
        if not seen or seen[-1] != state:
            seen.append(frozenset(state))
        if ended:
            break
    _, said = process.communicate()
    assert process.returncode == 0, said
    for before, after in itertools.pairwise(seen):
        assert {dataset for dataset, _ in before} <= {dataset for dataset, _ in after}
    return seen
