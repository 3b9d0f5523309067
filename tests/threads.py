"""Who leaves threads behind.

``from threads import threads_end_fixture  # noqa: F401`` in a conftest has every test of its folder looked at.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

OF_LIBRARIES = ("Dask-", "IO loop", "Profile")


def ends_with_its_test(thread: threading.Thread) -> bool:
    """Whether a thread is one of Python's that no library keeps for later."""
    # A dummy stands for a thread of compiled code, TensorFlow's for example, that has called Python.
    return not isinstance(thread, threading._DummyThread) and not thread.name.startswith(OF_LIBRARIES)


@pytest.fixture(autouse=True, name="_threads_end")
def threads_end_fixture() -> Iterator[None]:
    """No thread that a test began outlives it."""
    before = set(threading.enumerate())
    yield
    begun = [thread for thread in threading.enumerate() if thread not in before and ends_with_its_test(thread)]
    if begun:
        gc.collect()  # an executor that nobody refers to any more ends its threads
    until = time.monotonic() + 20
    for thread in begun:
        thread.join(max(0.0, until - time.monotonic()))
    left = [thread.name for thread in begun if thread.is_alive()]
    assert not left, f"threads that the test left behind: {', '.join(left)}"
