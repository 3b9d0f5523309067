"""Several ways of doing one thing, each in processes of its own, side by side in one table."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

CHILD = Path(__file__).with_name("child.py")
PASSES = {"read": 3}
STORING = ("store", "bam")


@dataclass(frozen=True)
class Method:
    """One way of doing it: a function of a module of this folder.

    Args:
        label: in the table.
        name: of the function, and of its result.
        threads: how many it may use, a worker.
        workers: processes; ours alone have several.
        own: whether it runs on this interpreter, with this repository's packages, and not on the peers'.
        checked: whether the sum of what it decodes is compared with pyBigWig's or pysam's.
    """

    label: str
    name: str
    threads: int = 1
    workers: int = 1
    own: bool = False
    checked: bool = True


@dataclass
class Bench:
    """Runs methods and keeps what they took.

    Args:
        folder: for results.
        peer_python: interpreter of the peers' environment.
        repeats: processes a method.
        budget: seconds that a measurement may take.
    """

    folder: Path
    peer_python: str
    repeats: int
    budget: float
    versions: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    _last: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    _missing: dict[tuple[str, str], str] = field(default_factory=dict)
    _start_up: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def _patience(self) -> float:
        """Seconds until a process is stopped: its preparation and the check of its values come on top of the budget."""
        return 3 * self.budget + 60

    def target(self, method: Method) -> Path:
        """Where a method's result lies."""
        return self.folder / f"result_{method.name}"

    def remove(self, method: Method) -> None:
        """Remove a method's result."""
        target = self.target(method)
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def run(self, part: str, method: Method, job: dict[str, Any], check: bool = False) -> dict[str, Any] | str:
        """One measurement, or why there is none."""
        if part in STORING:
            self.remove(method)
        job = {
            "part": part,
            "method": method.name,
            "threads": method.threads,
            "workers": method.workers,
            "target": str(self.target(method)),
            "uri": None,
            "ranges": None,
            **job,
        }
        job |= {"passes": PASSES.get(part, 1), "check": check}
        command = [sys.executable if method.own else self.peer_python, str(CHILD), json.dumps(job)]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as complaints:
            environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
            if method.own:
                path = [str(CHILD.parents[2]), os.environ.get("PYTHONPATH", "")]
                environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
            process = subprocess.Popen(command, stdout=out, stderr=complaints, env=environment)
            peak = _watch(process, time.monotonic() + self._patience)
            out.seek(0)
            complaints.seek(0)
            lines, errors = out.read().splitlines(), complaints.read().splitlines()
        if peak is None:
            return f"stopped after {self._patience:.0f} s"
        if process.returncode or not lines:
            return f"failed: {errors[-1][:100] if errors else process.returncode}"
        found = json.loads(lines[-1])
        if "missing" in found:
            return f"not here: {found['missing']}"
        if found["version"]:
            self.versions[found["package"]] = found["version"]
        return {**found, "peak": max(found["peak"], peak)}

    def warm_up(self, part: str, methods: list[Method], job: dict[str, Any]) -> None:
        """Run each on next to nothing, twice: compiled code is cached, what is missing known, start-up timed."""
        for method in methods:
            for _ in range(2):
                found = self.run(part, method, job)
                if isinstance(found, str):
                    self._missing[part, method.label] = found
                    break
                self._start_up[part, method.label] = min(found["seconds"])

    def compare(
        self, part: str, title: str, methods: list[Method], job: dict[str, Any], units: int, **columns: Any
    ) -> list[dict[str, Any]]:
        """All methods on one job of so many bases or alignments, alternating, as rows of a table."""
        rows = []
        for method in methods:
            row = {
                "table": title,
                **columns,
                "method": method.label,
                "units": units,
                "seconds": [],
                "cpu": [],
                "peak": [],
            }
            row["start_up"] = self._start_up.get((part, method.label))
            reason = self._missing.get((part, method.label))
            seconds, before = self._last.get((title, method.label), (0.0, 1))
            start_up = min(row["start_up"] or 0.0, seconds)
            expected = start_up + (seconds - start_up) * units / before
            if reason is None and expected > self.budget:
                reason = f"skipped: about {expected:.0f} s"
            if reason:
                row["note"] = reason
            rows.append(row)
        for repeat in range(self.repeats):
            for method, row in zip(methods, rows, strict=True):
                if "note" not in row:
                    self._add(part, method, row, job, check=repeat == 0 and method.checked)
        truth = next(
            (row["sum"] for row in rows if row.get("sum") and row["method"].startswith(("pyBigWig", "pysam"))), 0
        )
        for row in rows:
            if row["seconds"]:
                self._last[title, row["method"]] = min(row["seconds"]), units
            if truth and row.get("sum") is not None and not np.isclose(row["sum"], truth, rtol=1e-9):
                row["note"] = f"WRONG: sum {row['sum']:.9g}, expected {truth:.9g}"
        self.rows += rows
        return rows

    def _add(self, part: str, method: Method, row: dict[str, Any], job: dict[str, Any], check: bool) -> None:
        found = self.run(part, method, job, check)
        if isinstance(found, str):
            row["note"] = found
            return
        row["seconds"] += found["seconds"]
        row["cpu"] += found["cpu"]
        row["peak"].append(found["peak"])
        if check:
            row["sum"] = found["sum"]
        if part in STORING and self.target(method).exists():
            row["disk"] = bytes_on_disk(self.target(method))


def _watch(process: subprocess.Popen, until: float) -> int | None:
    """Wait for a process; the most memory that it and its children held at one time, None if it had to be stopped."""
    most, parent = 0, psutil.Process(process.pid)
    while process.poll() is None:
        if time.monotonic() > until:
            for member in [*parent.children(recursive=True), parent]:
                member.kill()
            process.wait()
            return None
        try:
            family = [parent, *parent.children(recursive=True)]
            most = max(most, sum(member.memory_info().rss for member in family))
        except psutil.Error:
            continue
        time.sleep(0.05)
    return most


def bytes_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    paths = path.rglob("*") if path.is_dir() else [path]
    return sum(child.stat().st_size for child in paths if child.is_file())


def _short(number: float) -> str:
    return f"{number:,.{2 if number < 1 else 1 if number < 10 else 0}f}"


def _ratio(row: dict[str, Any], own: dict[str, Any]) -> str:
    return _short(min(row["seconds"]) / min(own["seconds"])) if own["seconds"] and row is not own else ""


def print_header(first: list[str], unit: str, ours: list[str], stored: bool = False) -> None:
    """Head of a table of :func:`print_rows`; ``unit`` is what is counted, as in ``base``."""
    rate = "Mb/s" if unit == "base" else f"M {unit}s/s"
    names = [*first, f"{rate} best", "median", "CPU ns each", "peak MB"]
    names += ["start-up s", "disk MB", "of the input's"] if stored else []
    names += ours
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)


def print_rows(rows: list[dict[str, Any]], columns: list[str], stored: bool = False) -> None:
    """Lines of a table: the columns named, the method, its rates, and how many times as fast each of ours is."""
    own = [row for row in rows if "ours" in row["method"]]
    for row in rows:
        cells = [f"{row[name]:,g}" for name in columns]
        if not row["seconds"]:
            print(f"| {' | '.join(cells)} | {row['method']} | {row['note']} |", flush=True)
            continue
        cells.append(row["method"] + (f" ({row['note']})" if "note" in row else ""))
        rates = [row["units"] / seconds / 1e6 for seconds in row["seconds"]]
        cells += [_short(max(rates)), _short(statistics.median(rates))]
        cells += [_short(min(row["cpu"]) / row["units"] * 1e9), f"{max(row['peak']) / 1e6:,.0f}"]
        if stored:
            cells.append(f"{row['start_up']:.2f}" if row["start_up"] is not None else "")
            cells += [f"{row['disk'] / 1e6:,.1f}", f"{row['disk'] / row['input']:.2f}"] if "disk" in row else ["", ""]
        cells += [_ratio(row, one) for one in own]
        print(f"| {' | '.join(cells)} |", flush=True)
