"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import datetime
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator

log = logging.getLogger("kerasgen")

_SECONDS_BETWEEN_LINES = 20.0


@contextlib.contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show the progress of ``total`` units of work; yields a function that counts units done.

    Silent when the ``kerasgen`` logger is above INFO (``--quiet``).
    """
    if not log.isEnabledFor(logging.INFO):
        yield lambda done: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(what, total=total, rate="")
            began = time.monotonic()

            def advance(done: int) -> None:
                bars.advance(task, done)
                seconds = time.monotonic() - began
                bars.update(task, rate=_rate(bars.tasks[0].completed, seconds, unit))

            yield advance
    else:
        began = last = time.monotonic()
        completed = 0
        lock = threading.Lock()

        def advance(done: int) -> None:
            nonlocal completed, last
            with lock:
                completed += done
            now = time.monotonic()
            if now - last >= _SECONDS_BETWEEN_LINES:
                last = now
                left = (now - began) * max(total - completed, 0) / max(completed, 1)
                share, rate = 100 * completed / max(total, 1), _rate(completed, now - began, unit)
                log.info("%s: %.0f%%, %s, %s left", what, share, rate, datetime.timedelta(seconds=round(left)))

        yield advance


def _rate(completed: float, seconds: float, unit: str) -> str:
    rate = completed / max(seconds, 1e-9)
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rate >= factor:
            return f"{rate / factor:.1f} {prefix}{unit}/s"
    return f"{rate:.1f} {unit}/s"
