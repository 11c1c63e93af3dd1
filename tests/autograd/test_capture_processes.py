"""Captured steps in several processes: forked ones go on with their parent's, spawned ones make
their own, and all compute the same."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.compile import build, native
from tests_common import blobs, net
from tests_steps import fitted

FORKS = "fork" in multiprocessing.get_all_start_methods()
needs_fork = pytest.mark.skipif(not FORKS, reason="there is no fork on this system")


def same(a: Any, b: Any) -> None:
    for name, v in a[0].items():
        np.testing.assert_array_equal(v, b[0][name], err_msg=name)
    np.testing.assert_array_equal(a[1], b[1])


@pytest.fixture(autouse=True)
def warnings_of_fork() -> Iterator[None]:
    """Newer Pythons warn where a process with several threads forks, as OpenBLAS makes it one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
        yield


def in_a_child(work: Any) -> Any:
    """What `work()` gives in a forked process."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def run() -> None:
        try:
            queue.put(work())
        except BaseException as error:
            queue.put(repr(error))

    process = context.Process(target=run)
    process.start()
    try:
        result = queue.get(timeout=60)
    finally:
        process.join(10)
        if process.is_alive():
            process.kill()
    assert process.exitcode == 0
    assert not isinstance(result, str), result
    return result


@needs_fork
def test_a_forked_process_predicts_and_trains_on(executor: str) -> None:
    x, y = blobs(96)
    trainer = cr.Trainer(net(0, (4, 24, 3), p=0.2), seed=0)
    trainer.fit((x, y), epochs=3, batch_size=24)
    before = trainer.model.state_dict(), trainer.predict(x)

    def work() -> Any:
        first = trainer.model.state_dict(), trainer.predict(x)
        trainer.fit((x, y), epochs=2, batch_size=24)
        return first, (trainer.model.state_dict(), trainer.predict(x)), fitted(1)

    first, second, third = in_a_child(work)
    same(first, before)
    same((trainer.model.state_dict(), trainer.predict(x)), before)  # nothing came back
    trainer.fit((x, y), epochs=2, batch_size=24)
    same(second, (trainer.model.state_dict(), trainer.predict(x)))
    same(third, fitted(1))


@needs_fork
def test_a_fork_while_another_thread_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child must not wait for a lock that nobody will let go."""
    if build.find_compiler() is None or build.runtime() is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setenv("CHAINRULE_NATIVE", "always")
    library, parent, inside = build.library, os.getpid(), threading.Event()

    def slow(source: str, name: str) -> Any:
        if os.getpid() == parent:
            inside.set()
            time.sleep(1)
        return library(source, name)

    monkeypatch.setattr(build, "library", slow)
    step = cr.capture(lambda x: cr.ops.tanh(cr.tensor(x)) * 0.4375)
    x = np.arange(4, dtype=np.float32)
    thread = threading.Thread(target=step, args=(x,))
    thread.start()
    assert inside.wait(30)

    def work() -> Any:
        other = cr.capture(lambda x: cr.ops.tanh(cr.tensor(x)) * 0.6875)
        results = [other(x).numpy() for _ in range(4)]
        return results, [p.replay.reason for p in other.programs()]

    results, reasons = in_a_child(work)
    thread.join()
    np.testing.assert_allclose(results[-1], np.tanh(x) * 0.6875, rtol=1e-6)
    assert reasons == [None]
    assert native.available()


@pytest.mark.parametrize("mode", ["always", "0"])
def test_two_spawned_workers(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As n_jobs=2 does it: each builds or loads its own, at the same time."""
    if mode == "always" and (build.find_compiler() is None or build.runtime() is None):
        pytest.skip("there is no C compiler")
    monkeypatch.setenv("CHAINRULE_NATIVE", mode)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(fitted, [(seed, mode) for seed in (0, 1, 0, 1)], chunksize=1)
    same(found[0], found[2])
    same(found[1], found[3])
    assert not np.array_equal(found[0][1], found[1][1])


def test_joblib_with_two_processes() -> None:
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(fitted)(seed) for seed in (0, 1, 0))
    same(found[0], found[2])
