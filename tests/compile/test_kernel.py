from __future__ import annotations

import threading

import numpy as np
import pytest

from chainrule.compile import kernel as kernels
from chainrule.compile import schedule as scheduler
from chainrule.compile.kernel import Kernel
from chainrule.compile.trace import trace

SQUARE = trace(lambda xp, x, c: c * (x * x), ["x", "c"], "square")


def test_one_plan_for_each_shape_type_and_kind_of_number():
    k = Kernel(SQUARE)
    x = np.arange(3.0, dtype=np.float32)
    for c in (2.0, 2, np.float32(2), np.array(2.0), True, np.full(3, 2, np.float32)):
        (y,) = k(x, c)
        np.testing.assert_array_equal(y, float(np.max(c)) * x * x)
        assert y.dtype == np.float32
    plans = len(k._plans)
    assert plans == 6
    k(x + 1, 7.0)
    assert len(k._plans) == plans
    (y,) = k(x.astype(np.float64), 2.0)
    assert y.dtype == np.float64


def test_batch_sizes_share_one_function():
    k = Kernel(SQUARE)
    for n in range(1, 20):
        k(np.ones(n), 2.0)
    assert len(k._plans) == 19
    assert len(k._functions) == 1


def test_plans_are_bounded(monkeypatch):
    monkeypatch.setattr(kernels, "_MOST_PLANS", 8)
    k = Kernel(trace(lambda xp, x: (x + xp.ones_like(x), xp.ones_like(x)), ["x"]))
    for n in range(1, 50):
        y, one = k(np.ones(n))
        assert y.sum() == 2 * n
        assert one.sum() == n
        assert len(k._plans) <= 8
        assert len(k._functions) <= 8


def test_results_are_new_memory_unless_borrowed():
    program = trace(lambda xp, x: (x, x * 2.0, xp.stop_gradient(x)), ["x"])
    x = np.ones(3)
    same, _, stopped = Kernel(program)(x)
    assert not np.may_share_memory(same, x)
    assert not np.may_share_memory(stopped, x)
    same, _, stopped = Kernel(program, borrow=True)(x)
    assert same is x
    assert stopped is x


def test_donated_memory_is_used():
    k = Kernel(SQUARE, donated=(0,))
    x = np.arange(3.0)
    (y,) = k(x, 2.0)
    assert np.may_share_memory(x, y)
    np.testing.assert_array_equal(y, [0, 2, 8])


def test_a_wrong_number_of_arguments_and_a_wrong_kind():
    k = Kernel(SQUARE)
    with pytest.raises(TypeError, match=r"square takes 2 arrays \(x, c\), 1 were given"):
        k(np.ones(2))
    with pytest.raises(TypeError, match="expected arrays and numbers, got list"):
        k([1.0, 2.0], 1.0)


def test_memory_maps_and_other_byte_orders(tmp_path):
    x = np.arange(4, dtype=np.float32)
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=4)
    mapped[:] = x
    (y,) = Kernel(SQUARE)(mapped, 1.0)
    np.testing.assert_array_equal(y, x * x)
    (y,) = Kernel(SQUARE)(x.astype(">f4"), 1.0)
    np.testing.assert_array_equal(y, x * x)
    assert y.dtype == np.dtype(np.float32)


@pytest.mark.parametrize("block", [64, 32768])
def test_threads_share_a_kernel(monkeypatch, block):
    monkeypatch.setattr(scheduler, "BLOCK", block)

    def text(xp, x, b):
        e = xp.exp(xp.sin(x) + b)
        return e / xp.sum(e, axis=-1, keepdims=True), xp.sum_to(e, b)

    k = Kernel(trace(text, ["x", "b"]))
    failures = []
    start = threading.Barrier(3)

    def work(seed):
        r = np.random.default_rng(seed)
        start.wait()
        for n in range(200):
            x, b = r.normal(size=(100 + n % 5, 7)), r.normal(size=7)
            y, s = k(x, b)
            e = np.exp(np.sin(x) + b)
            if not (np.allclose(y, e / e.sum(-1, keepdims=True)) and np.allclose(s, e.sum(0))):
                failures.append((seed, n))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == []
