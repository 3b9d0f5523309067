"""Fixtures that many tests share: real data where it is, and a small simulated experiment."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Read by libraries as they are imported, and by the processes that tests start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Models of tests are small: compiling them takes longer than running them, however they are compiled.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Many tests compile the same model: processes of a run share what JAX has compiled, and the first throws it away.
if os.environ.get("KERAS_BACKEND") == "jax" and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _compiled = tempfile.mkdtemp(prefix="kerasgen-jax-")
    # A process that was forked from this one ends earlier.
    atexit.register(lambda owner: os.getpid() == owner and shutil.rmtree(_compiled, ignore_errors=True), os.getpid())
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": _compiled,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the cores: a pool of as many threads as cores in each of them would only make them wait.
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(_name, "1")

import hypothesis
import numpy as np
import once
import psutil
import pytest
from forked import Launcher

# Compilers leave millions of objects alive; as commands do, look through them seldom.
gc.set_threshold(100_000, 20, 100)

# On a disk, each file that is written safely makes its test wait; in memory none does.
MEMORY, ROOM = "/dev/shm", 8 * 2**30
if os.path.isdir(MEMORY) and min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ROOM:
    os.environ.setdefault("TMPDIR", MEMORY)
    tempfile.tempdir = None  # pytest has asked for it before

# The same 100 examples in each run, or the first 20 of them with `pytest --hypothesis-profile quick`; `explore` looks
# for new ones, and for more.
CHECKS = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile("explore", deadline=None, suppress_health_check=CHECKS, max_examples=1000)
hypothesis.settings.register_profile(
    "suite", hypothesis.settings.get_profile("explore"), derandomize=True, database=None, max_examples=100
)
hypothesis.settings.register_profile("quick", hypothesis.settings.get_profile("suite"), max_examples=20)
hypothesis.settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = Path(os.environ.get("KERASGEN_DATA", ROOT.parent / "shared" / "data"))

PLUS, MINUS = "count_bigwig_plus_5p", "count_bigwig_minus_5p"
SLOW_FIXTURES = {"s3_server", "trained"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what waits for a slow fixture, and skip what needs real data where there is none.

    Tests of real data come first: they take longest, and a run whose last tests are short keeps all cores busy.
    """
    items.sort(key=lambda item: "real" not in item.keywords)
    for item in items:
        if isinstance(item, pytest.Function) and SLOW_FIXTURES.intersection(item.fixturenames):
            item.add_marker("slow")
    if (REAL_DATA / "sacCer3" / "sacCer3.fa").is_file():
        return
    skip = pytest.mark.skip(reason="no real data; KERASGEN_DATA names its folder")
    for item in items:
        if "real" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command sets up the logger for its process; take that back after the test."""
    log = logging.getLogger("kerasgen")
    before = (log.handlers, log.propagate, log.level)
    yield
    log.handlers, log.propagate = before[0], before[1]
    log.setLevel(before[2])


@pytest.fixture(scope="session", autouse=True)
def _memory_is_given_back(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests wrote into memory goes with them, unless one failed."""
    yield
    folder = tmp_path_factory.getbasetemp()
    if folder.is_relative_to(MEMORY) and not request.session.testsfailed:
        shutil.rmtree(folder, ignore_errors=True)
        once.remove(tmp_path_factory)


@pytest.fixture(scope="session")
def real_data() -> Path:
    return REAL_DATA


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    """Starts ingests in forks of a process that has loaded what they need."""
    made = Launcher()
    yield made
    made.close()


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small simulated experiment: 3 chromosomes of 60 kb, 90 peaks."""
    from kerasgen.simulation import simulate

    folder = tmp_path_factory.mktemp("simulated") / "files"
    simulate(str(folder), chromosomes=3, chromosome_size=60_000, peaks=90, seed=7)
    return folder


@pytest.fixture(scope="session")
def database_uri(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The simulated experiment as a database."""
    from db_ingest import ingest

    uri = str(tmp_path_factory.mktemp("database") / "db")
    ingest(
        uri,
        str(simulated / "samples.tsv"),
        ref_fasta=str(simulated / "genome.fa"),
        attribute_config="encode_pipeline",
    )
    return uri


@pytest.fixture
def database(database_uri: str):
    from kerasgen.database import Database

    with Database(database_uri) as opened:
        yield opened


@pytest.fixture(scope="session")
def train_flags(simulated: Path, database_uri: str) -> dict:
    """Flags of a quick training on the simulated experiment."""
    return {
        "tdb_array": database_uri,
        "tdb_input_flank": [100],
        "tdb_output_source_attribute": [f"{PLUS},{MINUS}", f"{PLUS},{MINUS}"],
        "tdb_output_datasets": ["pooled"],
        "tdb_output_flank": [40],
        "tdb_output_aggregation": [None, "sum"],
        "tdb_output_transformation": [None, "log"],
        "bed_regions": str(simulated / "peaks.narrowPeak"),
        "jitter": 10,
        "revcomp": True,
        "validation_chroms": ["chr2"],
        "test_chroms": ["chr3"],
        "model_params": ["filters=8", "n_dil_layers=2", "profile_kernel_size=11", "conv1_kernel_size=9"],
        "batch_size": 8,
        "epochs": 2,
    }


@pytest.fixture(scope="session")
def trained(train_flags: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefix of a quickly trained bundle."""
    from kerasgen.training.train import train

    prefix = tmp_path_factory.mktemp("trained") / "model"
    train(model_prefix=str(prefix), **train_flags)
    return prefix


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
