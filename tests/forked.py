"""Commands run in forks of a process that has loaded what they need: a process from the start takes seconds for that.

``Launcher`` is the tests' side; run as a program, this file is the process that forks. It has opened no array, so it
may.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NoReturn

from db_ingest.cli.frame import start_light

OURS = {"gen_ingest": "db_ingest.cli.gen_ingest"}


class Forked:
    """A command under way, in a group of its own; what :class:`subprocess.Popen` has, as far as tests need it.

    Args:
        link: tells the process' id, and later how it ended.
        out: the file that its standard output goes to.
        err: the same of standard error.
    """

    def __init__(self, link: socket.socket, out: IO[str], err: IO[str]) -> None:
        self._link, self._out, self._err = link, out, err
        self.pid = int(link.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended, as :mod:`subprocess` tells; None while it has not."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended."""
        if self.returncode is None:
            self._link.settimeout(timeout)
            try:
                self.returncode = int(self._link.recv(64))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            self._link.close()
        return self.returncode

    def kill(self) -> None:
        """Kill it unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait until it has ended; gives what it wrote on standard output and standard error."""
        self.wait(timeout)
        said = []
        for file in (self._out, self._err):
            file.seek(0)
            said.append(file.read())
            file.close()
        return said[0], said[1]


class Launcher:
    """Starts commands: our own in forks, others as they are.

    Args:
        before: words to start the process that forks with, e.g. ``unshare`` and its flags.
    """

    def __init__(self, *before: str) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [*before, sys.executable, "-P", __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()])
        theirs.close()
        self.run(["true"])  # returns when all is loaded

    def start(self, command: Sequence[str]) -> Forked:
        """Start a command."""
        link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        out, err = (tempfile.TemporaryFile("w+") for _ in range(2))  # noqa: SIM115
        socket.send_fds(self._link, [json.dumps(command).encode()], [theirs.fileno(), out.fileno(), err.fileno()])
        theirs.close()
        return Forked(link, out, err)

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(command)
        out, err = process.communicate()
        return subprocess.CompletedProcess(command, process.wait(), out, err)

    def close(self) -> None:
        """End the process that forks."""
        self._link.close()
        self._process.wait()


def serve(link: socket.socket) -> None:
    """Fork for each command that comes, until none can come any more."""
    while True:
        words, fds, *_ = socket.recv_fds(link, 2**16, 3)
        if not words:
            return
        # The one between waits for the command; nobody waits for it.
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            link.close()
            pid = os.fork()
            if pid == 0:
                perform(json.loads(words), fds)
            back = socket.socket(fileno=fds[0])
            back.send(str(pid).encode())
            back.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
            os._exit(0)
        for fd in fds:
            os.close(fd)


def perform(command: list[str], fds: list[int]) -> NoReturn:
    """Be the process of a command."""
    os.setsid()
    for i, fd in enumerate(fds):
        if i:
            os.dup2(fd, i)
        os.close(fd)
    name = Path(command[0]).name
    if name not in OURS:
        os.execvp(command[0], command)
    sys.argv = command
    status = importlib.import_module(OURS[name]).main()
    # To take all down that was loaded takes longer than the work; tests of the installed scripts see to that.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    given = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    start_light()
    for module in OURS.values():
        importlib.import_module(module)
    for name in ("ingest", "preload", "report", "writer"):
        importlib.import_module(f"db_ingest.writing.{name}")
    serve(given)
