"""Things made ahead by threads: in order, bounded, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from db_ingest.ahead import LookAhead, OrderedPool, ahead


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def slow_when_even(item: int) -> int:
    time.sleep(0.002 * (item % 2 == 0))
    return item * item


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("depth", [1, 3, 100])
def test_things_come_in_the_order_of_their_items(threads, depth):
    assert list(ahead(slow_when_even, range(20), threads=threads, depth=depth)) == [i * i for i in range(20)]
    assert list(ahead(slow_when_even, [], threads=threads, depth=depth)) == []


def test_no_more_is_begun_than_asked_for():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(50):
            taken.append(item)
            yield item

    made = ahead(slow_when_even, items(), threads=4, depth=5)
    for used, _ in enumerate(made):
        assert len(taken) <= used + 1 + 5
    assert len(taken) == 50


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_an_error_comes_after_the_things_before_it(threads):
    def fails_at_seven(item: int) -> int:
        if item == 7:
            raise ValueError("seven")
        return item

    def items_that_end_early() -> Iterator[int]:
        yield from range(7)
        raise ValueError("seven")

    for made in (
        ahead(fails_at_seven, range(20), threads=threads, depth=10, name="failing"),
        ahead(slow_when_even, items_that_end_early(), threads=threads, depth=10, name="failing"),
    ):
        for _ in range(7):
            next(made)
        with pytest.raises(ValueError, match="seven"):
            next(made)
    assert not threads_named("failing")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_early_end_waits_for_what_is_being_made_and_gives_up_the_rest(error):
    begun, finished = [], []

    def make(item: int) -> int:
        begun.append(item)
        time.sleep(0.01)
        finished.append(item)
        return item

    made = ahead(make, range(1000), threads=2, depth=400, name="early")
    assert [next(made) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(error):
        made.throw(error)
    assert sorted(begun) == sorted(finished)
    assert len(begun) < 300
    assert not threads_named("early")


def test_a_generator_that_is_dropped_leaves_no_thread():
    made = ahead(slow_when_even, range(100), threads=2, depth=4, name="dropped")
    assert next(made) == 0
    assert threads_named("dropped")
    del made
    assert not threads_named("dropped")


def test_a_pool_gives_up_what_is_not_begun_where_its_block_ends_early():
    done = []

    def interrupted() -> None:
        with OrderedPool[None](name="pool") as pool:
            for number in range(1000):
                pool.submit(lambda number=number: (time.sleep(0.005), done.append(number)))
            assert len(pool) == 1000
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(done) < 900
    assert not threads_named("pool")


class Numbers:
    """Makes numbers, and notes which."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __call__(self, number: int) -> list[int]:
        time.sleep(0.001 * (number % 3))
        if number == 13:
            raise ValueError("thirteen")
        self.made.append(number)
        return [number]

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + 60
        while len(self.made) < count and time.monotonic() < until:
            time.sleep(0.001)


def test_numbered_things_are_made_ahead_and_anew_when_taken_again():
    numbers = Numbers()
    with LookAhead(numbers, 30, depth=4, threads=3, name="numbers") as pool:
        assert [pool.take(i) for i in (0, 1, 0, 0, 1, 2, 20, 3, 4)] == [[i] for i in (0, 1, 0, 0, 1, 2, 20, 3, 4)]
        with pytest.raises(ValueError, match="thirteen"):
            pool.take(13)
        assert pool.take(29) == [29]
    assert not threads_named("numbers")
    assert max(numbers.made) == 29


def test_no_more_numbered_things_are_made_ahead_than_the_depth():
    numbers = Numbers()
    with LookAhead(numbers, 30, depth=4, threads=8) as pool:
        pool.begin()
        numbers.wait_for(4)
        time.sleep(0.05)
        assert sorted(numbers.made) == [0, 1, 2, 3]
        pool.take(2)
        numbers.wait_for(6)
        time.sleep(0.05)
        assert sorted(numbers.made) == [0, 1, 2, 3, 4, 5]


def test_all_who_see_a_numbered_thing_see_the_same_one():
    numbers = Numbers()
    with LookAhead(numbers, 12, depth=2) as pool:
        seen: dict[int, list[list[int]]] = {i: [] for i in range(12)}

        def look(first: int) -> None:
            for i in range(first, 12):
                seen[i].append(pool.see(i))

        lookers = [threading.Thread(target=look, args=(0,)) for _ in range(4)]
        for looker in lookers:
            looker.start()
        for looker in lookers:
            looker.join()
        assert all(found == [[i]] * 4 for i, found in seen.items())
        # Who is late by one still finds it; no more is made than a straggler asked for again.
        assert pool.see(11) is pool.see(11)


def test_who_waits_for_a_thing_gets_it_when_another_asks_far_beyond():
    gate = threading.Event()

    def make(number: int) -> int:
        gate.wait(5)
        return number

    with LookAhead(make, 100, depth=2) as pool:
        found: list[int] = []
        waiting = threading.Thread(target=lambda: found.append(pool.see(1)))
        pool.begin()
        waiting.start()
        time.sleep(0.02)
        beyond = threading.Thread(target=lambda: found.append(pool.see(50)))
        beyond.start()
        time.sleep(0.02)
        gate.set()
        waiting.join(5)
        beyond.join(5)
    assert sorted(found) == [1, 50]


def test_a_closed_pool_makes_nothing_more():
    numbers = Numbers()
    pool = LookAhead(numbers, 30, depth=4, name="closed")
    pool.begin()
    pool.close()
    count = len(numbers.made)
    with pytest.raises(CancelledError):
        pool.take(0)
    time.sleep(0.01)
    assert len(numbers.made) == count
    assert not threads_named("closed")


@pytest.mark.parametrize("threads", [0, 2])
def test_nothing_ahead_is_refused_and_not_an_empty_result(threads: int):
    with pytest.raises(ValueError, match="depth 0: expected 1 or more"):
        list(ahead(str, range(5), threads=threads, depth=0))
