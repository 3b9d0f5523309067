"""A stop signal that comes after a known number of batches."""

from __future__ import annotations

import threading


class StopAfter(threading.Event):
    """Set from the given look at it on; training looks after each batch but an epoch's last, and after each epoch."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks <= 0
