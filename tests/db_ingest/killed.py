"""Work that is killed at one of its steps, each time in a fork of one process that has loaded what it needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

_FORKS = """
import json, os, signal, sys
place, last, steps = "", 0, 0

def step():
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)

{work}

def attempt(where, at):
    # How the process ends, and how many steps it went.
    global place, last, steps
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        place, last, steps = where, at, 0
        work(place)
        os.write(tell, str(steps).encode())
        os._exit(0)
    os.close(tell)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.read(told, 99).decode()

whole, *others = sys.argv[1:]
_, every = attempt(whole, 0)
print(every, *(attempt(other, 1 + int(every) * i // len(others))[0] for i, other in enumerate(others)))
"""


def kill_at_steps(work: str, whole: str, others: Sequence[str]) -> int:
    """Do work in one place to its end, in others until it is killed, at steps from the first on; gives its steps.

    Args:
        work: code that defines ``work(place)``, opens no array before that is called, and calls ``step()`` at moments
            to be killed at; ``place`` is the place of this process.
        whole: where it is done to its end.
        others: where it is killed.
    """
    words = [sys.executable, "-c", _FORKS.replace("{work}", work), whole, *others]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    steps, *statuses = map(int, done.stdout.split())
    assert statuses == [-9] * len(others)
    return steps
