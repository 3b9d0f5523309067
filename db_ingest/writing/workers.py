"""Where tasks run: threads of this process, processes of this machine, or a Dask cluster."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db_ingest import storage
from db_ingest.cores import cores
from db_ingest.errors import InputError, RunError
from db_ingest.layout.genome import CHUNK

log = logging.getLogger("kerasgen")

BYTES_PER_BASE = 24
"""Memory that a thread needs for each base of a chunk, at most."""

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from db_ingest.writing.task import Task, TaskResult
    from db_ingest.writing.tasks import TaskRunner


@dataclass(frozen=True)
class WorkerPool:
    """Workers that take tasks.

    Args:
        executor: runs them.
        perform: does a task, where the executor runs it.
        slots: tasks run at a time; more are not handed out than keep these busy.
        threads: number of threads that a task reading one file alone may use.
        reports: whether workers count bases as they go; otherwise a task counts when it is done.
        elsewhere: whether workers run on machines with an environment of their own. What they have begun cannot be
            called off.
    """

    executor: Executor
    perform: Callable[[Task], list[TaskResult]]
    slots: int
    threads: int
    reports: bool
    elsewhere: bool = False


def at_a_time(threads: int) -> int:
    """Threads to work with; 0 means as many as there are cores.

    Raises:
        InputError: below 0.
    """
    if threads < 0:
        raise InputError(f"--threads {threads}: expected 0 (all cores) or more")
    return threads or cores()


def default_threads(workers: int) -> int:
    """Threads per worker: its share of the cores, and no more than half of the free memory holds chunks for."""
    import psutil

    room = int(psutil.virtual_memory().available / 2 / (workers * CHUNK * BYTES_PER_BASE))
    return max(1, min(cores() // workers, room))


def get_ready(workers: int, scheduler: str | None) -> None:
    """Begin to load what the workers will need, beside whatever comes before their first task."""
    if scheduler is not None:
        return
    if workers == 1:
        # Not a daemon: compiled code is not left half loaded at an early exit.
        threading.Thread(target=importlib.import_module, args=("db_ingest.writing.preload",)).start()
    elif _start_method() == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        # Starting it unblocks signals.
        resource_tracker.ensure_running()
        with _deaf_to_interrupts():
            multiprocessing.get_context("forkserver").set_forkserver_preload(["db_ingest.writing.preload"])
            forkserver.ensure_running()


def _start_method() -> str:
    """How processes are started: a process that has opened a TileDB array must not fork, one that has not may."""
    return "forkserver" if sys.platform == "linux" else "spawn"


@contextlib.contextmanager
def worker_pool(
    workers: int,
    threads: int,
    scheduler: str | None,
    advance: Callable[[int], None],
    environment: Mapping[str, str] | None = None,
) -> Iterator[WorkerPool]:
    """Start workers; what they have not begun is given up when the block ends with an error.

    Args:
        workers: number of processes; 1 works in this one.
        threads: number of threads per worker; 0 shares the cores among the workers.
        scheduler: ``tcp://host:port`` of a Dask scheduler, ``local`` for a cluster on this machine, or None.
        advance: called with the number of bases done.
        environment: variables to set on machines of a cluster, which do not have them.

    Raises:
        InputError: Dask is not installed or no scheduler answers.
    """
    from db_ingest.writing.tasks import TaskRunner

    threads = threads or default_threads(workers)
    if scheduler is not None:
        with _dask(scheduler, workers, threads, environment or {}) as pool:
            yield pool
    elif workers == 1:
        storage.configure(threads=1)
        try:
            with ThreadPoolExecutor(threads) as executor, _giving_up(executor):
                yield WorkerPool(executor, TaskRunner(advance).perform, slots=threads, threads=threads, reports=True)
        finally:
            storage.configure(threads=None)
    else:
        with _processes(workers, threads, advance) as pool:
            yield pool


@functools.cache
def runner_here() -> TaskRunner:
    """What does the tasks of a worker process: one as long as the process lives, for it keeps files open."""
    from db_ingest.writing.tasks import TaskRunner

    return TaskRunner()


def _perform_here(task: Task) -> list[TaskResult]:
    return runner_here().perform(task)


def _perform_elsewhere(environment: Mapping[str, str], task: Task) -> list[TaskResult]:
    """Do a task on a machine that may lack the variables to reach the database with."""
    os.environ.update(environment)
    return runner_here().perform(task)


@contextlib.contextmanager
def _giving_up(executor: Executor) -> Iterator[None]:
    try:
        yield
    except BaseException:
        log.debug("stopping when the files that are being read and written are done")
        executor.shutdown(wait=True, cancel_futures=True)
        raise


@contextlib.contextmanager
def _processes(workers: int, threads: int, advance: Callable[[int], None]) -> Iterator[WorkerPool]:
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context(_start_method())
    # Not a queue: a worker that is killed could leave its lock locked. So few bytes are written in one piece.
    counts, report = context.Pipe(duplex=False)

    def listen() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                advance(int.from_bytes(counts.recv_bytes(), "little"))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(report, threads))
        with pool as executor, _giving_up(executor):
            with _deaf_to_interrupts():
                # One process is started per task as long as none is idle.
                for _ in range(workers):
                    executor.submit(os.getpid)
            yield WorkerPool(executor, _perform_here, slots=workers, threads=threads, reports=True)
    except BrokenExecutor as error:
        raise RunError(
            "a worker process ended before its work was done (out of memory?); what is done stays, run again to go on"
        ) from error
    finally:
        report.close()
        listener.join(timeout=1)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back from this thread, and for good from the processes that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(report: Connection, threads: int) -> None:
    """Set up a worker process: the parent alone answers Ctrl-C, and a worker does not outlive it."""
    from multiprocessing import connection

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runner_here().advance = lambda bases: report.send_bytes(bases.to_bytes(8, "little"))
    storage.configure(threads=threads)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _dask(scheduler: str, workers: int, threads: int, environment: Mapping[str, str]) -> Iterator[WorkerPool]:
    try:
        import distributed
    except ImportError as error:
        raise InputError("--scheduler needs Dask; install it with: pip install 'kerasgen[distributed]'") from error
    dask: Any = distributed
    with contextlib.ExitStack() as stack:
        if scheduler == "local":
            cluster: Any = stack.enter_context(
                dask.LocalCluster(n_workers=workers, threads_per_worker=threads, dashboard_address=None)
            )
        else:
            cluster = scheduler
        try:
            client = stack.enter_context(dask.Client(cluster, timeout="20s"))
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(f"--scheduler {scheduler}: no Dask scheduler answers there ({error})") from error
        slots = sum(client.nthreads().values())
        if not slots:
            raise RunError(f"--scheduler {scheduler}: the cluster has no workers")
        executor = stack.enter_context(client.get_executor(pure=False))
        perform = functools.partial(_perform_elsewhere, dict(environment))
        yield WorkerPool(executor, perform, slots=slots, threads=1, reports=False, elsewhere=True)
