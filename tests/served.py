"""Shell scripts whose commands run in the test's own process, one after another.

A script that starts twenty commands would import TensorFlow twenty times, which takes longer than its work. Fresh
processes are the point of other tests.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from commands import PLACES

_CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    server.sendall(json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd()]).encode() + b"\\n")
    status, out, said = json.loads(server.makefile().read())
sys.stdout.write(out)
sys.stderr.write(said)
sys.exit(status)
"""


def run(script: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script with this process as its ``gen_...`` commands and as its ``python3``."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        address = f"{folder}/socket"
        server.bind(address)
        server.listen()
        server.settimeout(0.05)
        for name in ("python3", *PLACES):
            client = Path(folder, name)
            client.write_text(_CLIENT.format(python=sys.executable, address=address))
            client.chmod(0o755)
        environment = os.environ | environment | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        with Path(folder, "out").open("w+") as out, Path(folder, "said").open("w+") as said:
            with subprocess.Popen([script, *words], env=environment, stdout=out, stderr=said) as process:
                while process.poll() is None:
                    with contextlib.suppress(TimeoutError):
                        _answer(server.accept()[0])
            texts = [(file.seek(0), file.read())[1] for file in (out, said)]
        return subprocess.CompletedProcess([script, *words], process.returncode, *texts)


def _answer(client: socket.socket) -> None:
    with client, client.makefile("rw") as stream:
        client.settimeout(None)
        name, words, folder = json.loads(stream.readline())
        out, said = io.StringIO(), io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            status = _call(name, words)
        json.dump([status, out.getvalue(), said.getvalue()], stream)


def _call(name: str, words: list[str]) -> int:
    before = list(sys.argv), list(sys.path)
    try:
        sys.argv = words if name == "python3" else [name, *words]
        if name == "python3":
            sys.path.insert(0, str(Path(words[0]).parent))
            runpy.run_path(words[0], run_name="__main__")
            return 0
        module, _, function = PLACES[name].partition(":")
        call = importlib.import_module(module)
        for part in function.split("."):
            call = getattr(call, part)
        return call()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.argv, sys.path[:] = before
