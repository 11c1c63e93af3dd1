"""The prefetching thread: same items, exceptions in place, and an end in every case."""

from __future__ import annotations

import gc
import threading
import time
import traceback

import pytest

from chainrule.data.prefetch import prefetched


def workers():
    return [t for t in threading.enumerate() if t.name == "chainrule-prefetch"]


@pytest.mark.parametrize("depth", [1, 2, 5, 100])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_same_items_same_order(n, depth):
    assert list(prefetched((k * k for k in range(n)), depth)) == [k * k for k in range(n)]
    assert not workers()


def test_none_is_an_item():
    assert list(prefetched((k for k in [None, 1, None]), 2)) == [None, 1, None]


def test_at_most_depth_ahead():
    made = []

    def items():
        for k in range(20):
            made.append(k)
            yield k

    stream = prefetched(items(), 3)
    next(stream)
    deadline = time.monotonic() + 5
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(made) == 5  # one taken, three waiting, one held by the thread
    stream.close()


def test_exception_comes_in_its_turn_with_its_traceback():
    def items():
        yield 1
        yield 2
        the_line_that_fails()

    def the_line_that_fails():
        raise KeyError("broken file")

    stream = prefetched(items(), 4)
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(KeyError, match="broken file") as caught:
        next(stream)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "the_line_that_fails"
    assert not workers()
    with pytest.raises(StopIteration):
        next(stream)


def test_closing_early_ends_the_thread_and_closes_the_source():
    closed = threading.Event()

    def items():
        try:
            yield from range(1000)
        finally:
            closed.set()

    stream = prefetched(items(), 2)
    assert next(stream) == 0
    assert len(workers()) == 1
    stream.close()
    assert closed.is_set()
    assert not workers()


def test_dropping_it_ends_the_thread():
    stream = prefetched((k for k in range(1000)), 2)
    next(stream)
    assert len(workers()) == 1
    del stream
    gc.collect()
    assert not workers()


def test_leaving_a_loop_ends_the_thread():
    for k in prefetched((k for k in range(1000)), 1):
        if k == 3:
            break
    gc.collect()
    assert not workers()


def test_never_started_starts_no_thread():
    stream = prefetched((k for k in range(3)), 2)
    assert not workers()
    del stream


def test_source_failing_while_closed_raises_nothing():
    def items():
        try:
            yield from range(1000)
        finally:
            raise OSError("close failed")

    stream = prefetched(items(), 2)
    next(stream)
    stream.close()
    assert not workers()
