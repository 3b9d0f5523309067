"""Things made ahead of their use by threads, and handed out in order: batches, blocks of text, written chunks.

:func:`ahead` is the map of a function over items, :class:`LookAhead` the same for things that are asked for by number,
and :class:`OrderedPool` what both stand on. In all of them an error is raised where its thing is asked for, after the
things before it; what is not begun is given up where the block ends early, by Ctrl-C too; and no thread is left.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class _Pool:
    """Threads that end with the block they are used in."""

    def __init__(self, threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads: what is being made is waited for, what is not begun is given up."""
        self._executor.shutdown(wait=True, cancel_futures=True)


class OrderedPool(_Pool, Generic[Made]):
    """Threads whose results are taken in the order in which their work was handed in.

    Args:
        threads: things made at a time.
        name: the beginning of the threads' names.
    """

    def __init__(self, threads: int = 1, *, name: str = "ahead") -> None:
        super().__init__(threads, name)
        self._waiting: deque[Future[Made]] = deque()

    def __len__(self) -> int:
        """Number of things handed in and not taken yet."""
        return len(self._waiting)

    def submit(self, make: Callable[..., Made], *args: Any) -> None:
        """Hand in ``make(*args)``."""
        self._waiting.append(self._executor.submit(make, *args))

    def fail(self, error: Exception) -> None:
        """Hand in an error, which is raised where the next thing would have been taken."""
        failed: Future[Made] = Future()
        failed.set_exception(error)
        self._waiting.append(failed)

    def take(self) -> Made:
        """The oldest thing that was handed in, waited for; raises what its making raised."""
        return self._waiting.popleft().result()


def ahead(
    make: Callable[[Item], Made], items: Iterable[Item], *, threads: int = 1, depth: int = 1, name: str = "ahead"
) -> Generator[Made, None, None]:
    """``make(item)`` of every item in the order of the items, the next few made while one is used.

    Args:
        make: called by the threads.
        items: taken one by one in the caller's thread, ``depth`` ahead of their use.
        threads: things made at a time; 0 makes each in the caller's thread when it is asked for.
        depth: things made or being made beside the one in use, 1 or more; this bounds the memory.
        name: the beginning of the threads' names.

    Raises:
        ValueError: a depth below 1.
    """
    if depth < 1:
        raise ValueError(f"depth {depth}: expected 1 or more")
    if threads == 0:
        yield from map(make, items)
        return
    source = iter(items)
    with OrderedPool[Made](threads, name=name) as pool:

        def hand_in_next() -> None:
            try:
                item = next(source)
            except StopIteration:
                return
            except Exception as error:
                pool.fail(error)
                return
            pool.submit(make, item)

        for _ in range(depth):
            hand_in_next()
        while len(pool):
            made = pool.take()
            hand_in_next()
            yield made
            del made


class LookAhead(_Pool, Generic[Made]):
    """Numbered things, of which those that follow the one asked for are made ahead of their use. Any thread may ask.

    Args:
        make: makes a thing of a number from 0 to ``count - 1``, in any thread.
        count: number of things.
        depth: things made or being made at a time, the one asked for included.
        threads: things made at a time.
        name: the beginning of the threads' names.
    """

    def __init__(
        self, make: Callable[[int], Made], count: int, *, depth: int, threads: int = 1, name: str = "ahead"
    ) -> None:
        super().__init__(threads, name)
        self._make, self._count, self._depth = make, count, depth
        self._begun: dict[int, Future[Made]] = {}
        self._asked: set[int] = set()
        self._lock = threading.Lock()
        self._closed = False

    def begin(self, number: int = 0) -> None:
        """Begin to make a thing and those that follow, before it is asked for."""
        with self._lock:
            self._look_ahead(number)

    def take(self, number: int) -> Made:
        """Return a thing and forget it: who asks for it again has it made anew.

        Raises:
            CancelledError: the pool is closed.
        """
        with self._lock:
            self._look_ahead(number)
            future = self._begun.pop(number)
            self._asked.discard(number)
        return future.result()

    def see(self, number: int) -> Made:
        """Return a thing, which is kept for others who ask for it until one that follows has come.

        Raises:
            CancelledError: the pool is closed.
        """
        with self._lock:
            self._look_ahead(number)
            self._asked.add(number)
            future = self._begun[number]
        made = future.result()
        with self._lock:
            # Whoever still uses the thing before it holds that.
            self._forget(number - 1)
        return made

    def close(self) -> None:
        """End the threads: what is being made is waited for, what is not begun is given up."""
        with self._lock:
            self._closed = True
            for future in self._begun.values():
                future.cancel()
            self._begun.clear()
        super().close()

    def _look_ahead(self, number: int) -> None:
        if self._closed:
            raise CancelledError
        upcoming = range(number, min(number + self._depth, self._count))
        # Who is late may still ask for the one before.
        for other in [other for other in self._begun if other not in upcoming and other != number - 1]:
            self._forget(other)
        for other in upcoming:
            if other not in self._begun:
                self._begun[other] = self._executor.submit(self._make, other)

    def _forget(self, number: int) -> None:
        future = self._begun.pop(number, None)
        if future is not None and number not in self._asked:
            future.cancel()
        self._asked.discard(number)
