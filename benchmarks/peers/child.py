"""One measurement in a process of its own: ``child.py JOB`` does the JSON document's work and prints what it took.

A method is a function of a job that does what comes before (imports, opening) and returns the work to be timed: a
function, or one that gives the arrays it decodes, one after the other. A module that has a ``measure`` of its own is
measured by it.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any

import numpy as np

try:
    import psutil
except ImportError:  # A peer's environment: they start no processes.
    psutil = None

CHUNK = 2**24
PACKAGES = {
    "bam2bw": "figwig",
    "bpnet_lite": "bpnet-lite",
    "cherimoya": "cherimoya",
    "figwig": "figwig",
    "figwig_file": "figwig",
    "genvarloader": "genvarloader",
    "pybigtools": "pybigtools",
    "pyBigWig": "pyBigWig",
    "pysam": "pysam",
    "zarr": "zarr",
}


def chunks(sizes: Mapping[str, int], step: int = CHUNK) -> Iterator[tuple[str, int, int]]:
    """``(chromosome, start, end)`` over a genome."""
    for name, size in sizes.items():
        for start in range(0, size, step):
            yield name, start, min(start + step, size)


def cpu_seconds() -> float:
    """Seconds of processor that this process, those it started and those they have waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    living = [child.cpu_times() for child in psutil.Process().children(recursive=True)] if psutil else []
    return sum(part.ru_utime + part.ru_stime for part in used) + sum(sum(part[:4]) for part in living)


def peak_bytes() -> int:
    """Most memory that this process has held (``ru_maxrss`` would begin with what the process that started it held)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def exhaust(done: Any) -> None:
    """Take all that a work gives."""
    if isinstance(done, Iterator):
        for _ in done:
            pass


def measure(work: Callable[[], Any], passes: int, check: bool) -> dict[str, Any]:
    """Seconds and seconds of processor of each pass, peak memory, and the sum of all that was decoded if asked for."""
    seconds, cpu = [], []
    for _ in range(passes):
        began, used = time.perf_counter(), cpu_seconds()
        exhaust(work())
        seconds.append(time.perf_counter() - began)
        cpu.append(cpu_seconds() - used)
    peak = peak_bytes()
    total = sum(float(np.nansum(values, dtype=np.float64)) for values in work()) if check else None
    return {"seconds": seconds, "cpu": cpu, "peak": peak, "sum": total}


def main() -> None:
    job = SimpleNamespace(**json.loads(sys.argv[1]))
    try:
        package = PACKAGES.get(job.method)
        found = version(package) if package else ""
        module = importlib.import_module(job.part)
        work = getattr(module, job.method)(job)
    except (ImportError, PackageNotFoundError) as error:
        print(json.dumps({"missing": str(error)}))
        return
    own = getattr(module, "measure", None)
    taken = own(work, job) if own else measure(work, job.passes, job.check)
    print(json.dumps({**taken, "package": package, "version": found}))


if __name__ == "__main__":
    main()
