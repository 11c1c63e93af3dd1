"""A background thread that prepares the next items of an iterator while the current one is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TypeVar

__all__ = ["prefetched"]

T = TypeVar("T")


def prefetched(items: Generator[T, None, None], depth: int) -> Iterator[T]:
    """The same items in the same order, up to ``depth`` of them prepared ahead by a thread.

    Worth its switching when an item waits for a disk or spends its time in NumPy, which releases
    the interpreter lock: reading memory maps, decoding, augmentation.

    An exception in ``items`` arrives at the consumer in its turn, with the traceback of where it
    was raised. The thread starts with the first item and has ended when the iterator is exhausted,
    closed or garbage collected; it waits for the item in preparation, no longer.

    Args:
        items: a generator; it runs in the thread, which also closes it.
        depth: the largest number of items ready ahead, at least 1.

    >>> list(prefetched((n * n for n in range(4)), depth=2))
    [0, 1, 4, 9]
    """
    ready: queue.Queue[tuple[T, None] | tuple[None, BaseException] | None] = queue.Queue(depth)
    stop = threading.Event()
    # The thread gets no reference to this generator, so dropping the generator closes it.
    thread = threading.Thread(
        target=_work, args=(items, ready, stop), name="chainrule-prefetch", daemon=True
    )
    thread.start()
    try:
        while (got := ready.get()) is not None:
            item, error = got
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # no error: the item is a T
    finally:
        stop.set()
        # One blocked put may be waiting for room; it gets it, and the thread then sees `stop`.
        while not ready.empty():
            ready.get_nowait()
        if thread is not threading.current_thread():  # the collector may run in any thread
            thread.join()


def _work(
    items: Generator[T, None, None],
    ready: queue.Queue[tuple[T, None] | tuple[None, BaseException] | None],
    stop: threading.Event,
) -> None:
    try:
        with closing(items):
            for item in items:
                ready.put((item, None))
                if stop.is_set():
                    return
    except BaseException as error:
        if not stop.is_set():
            ready.put((None, error))
    else:
        ready.put(None)
