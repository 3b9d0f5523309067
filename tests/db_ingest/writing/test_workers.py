"""Processes that do the work: what becomes of the others when one is killed."""

import subprocess
import sys

A_WORKER_DIES = """
import os, signal
from db_ingest.errors import RunError
from db_ingest.writing import workers

def die():
    workers.runner_here().advance(1)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    try:
        with workers.worker_pool(2, 1, None, lambda bases: None) as pool:
            pool.executor.submit(die).result()
    except RunError as error:
        print(error)
"""


def test_worker_that_is_killed_keeps_nobody_waiting(tmp_path):
    script = tmp_path / "die.py"
    script.write_text(A_WORKER_DIES)
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert "a worker process ended before its work was done" in run.stdout
