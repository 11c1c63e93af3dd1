"""A recorded step as NumPy calls: the text, and what it computes.

CHAINRULE_LONG=1 tries ten thousand random steps instead of three hundred.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from chainrule.compile.kernel import Kernel
from chainrule.compile.recorder import Recorder
from chainrule.compile.sequence import Steps
from chainrule.compile.trace import trace
from tests_programs import Script, scripts

MANY = 10_000 if os.environ.get("CHAINRULE_LONG") else 300


@pytest.fixture(autouse=True, scope="module")
def with_numpy() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.compile.kernel.native_plan", lambda *a: None)
        yield


def recorded(f: Any, *arrays: Any) -> tuple[Recorder, Any]:
    recorder = Recorder()
    symbols = [recorder.argument(a, f"x{k}") for k, a in enumerate(arrays)]
    return recorder, f(recorder, *symbols)


def steps_of(f: Any, *arrays: Any) -> Steps:
    recorder, results = recorded(f, *arrays)
    return Steps(recorder, results, "step")


def kernel(text: Any, *names: str, **more: Any) -> Kernel:
    return Kernel(trace(text, list(names), text.__name__), **more)


def double(xp, a):
    return 2.0 * a


def halves(xp, a):
    return 0.5 * a, -0.5 * a


def descend(xp, p, g):
    return p - 0.1 * g


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_the_text_says_what_happens():
    w = np.ones((3, 2), np.float32)
    twice, update = kernel(double, "a"), kernel(descend, "p", "g", into={0: 0})

    def step(r, x):
        (y,) = r.kernel(twice, [r.matmul(x, w)])
        r.kernel(update, [w, r.matmul(r.permute(x, (1, 0)), y)])
        return [y, x]

    steps = steps_of(step, X)
    live = next(name for name, v in steps.scope.items() if np.shares_memory(v, w))
    assert steps.source == (
        "def step(x1):\n"
        f"    t1 = matmul(x1, {live})\n"
        "    t2, = double(t1)\n"
        "    t3 = transpose(x1, (1, 0))\n"
        "    t4 = matmul(t3, t2)\n"
        f"    descend({live}, t4)\n"
        "    return (t2, copy(x1))\n"
    )
    assert steps.kernels == {"double": twice, "descend": update}


def test_what_nobody_needs_is_left_out():
    def step(r, x):
        r.kernel(kernel(double, "a"), [x])
        first, _ = r.kernel(kernel(halves, "a"), [x])
        return [first]

    steps = steps_of(step, X)
    assert "double" not in steps.source
    assert "halves" in steps.source
    np.testing.assert_array_equal(steps.function(X)[0], X / 2)


def test_old_values_are_kept_where_they_are_used_later():
    w = np.ones(3, np.float32)

    def step(r, x):
        old = r.of(w).copy()
        r.put(w, r.kernel(kernel(double, "a"), [r.of(w)])[0])
        return [old, r.of(w)]

    steps = steps_of(step, X)
    for k in range(3):
        old, new = steps.function(X)
        assert (old == 2.0**k).all()
        assert (new == 2.0 ** (k + 1)).all()
        assert not np.shares_memory(new, w)


def test_a_value_is_not_changed_by_an_update_in_place():
    """Of a symbolic array the kernel updates a copy: another value may be the same memory."""

    def step(r, x):
        y = r.kernel(kernel(double, "a"), [x])[0]
        other = y.copy()
        (updated,) = r.kernel(kernel(descend, "p", "g", into={0: 0}), [y, x])
        return [other, updated, y]

    before = X.copy()
    other, updated, y = steps_of(step, X).function(X)
    np.testing.assert_array_equal(other, 2 * X)
    np.testing.assert_allclose(updated, 1.9 * X, rtol=1e-6)
    np.testing.assert_array_equal(updated, y)
    np.testing.assert_array_equal(X, before)


def test_results_are_arrays_of_their_own():
    lent = Kernel(trace(lambda xp, g: g, ["g"], "lent"), borrow=True)
    squeezed = Kernel(trace(lambda xp, g: xp.expand_dims(g, axis=0), ["g"], "grown"))
    w = np.ones(3, np.float32)

    def step(r, x):
        views = [r.reshape(x, (6,)), r.permute(x, (1, 0)), x[0], x, r.of(w)]
        return [*views, r.kernel(lent, [x])[0], r.kernel(squeezed, [x])[0], np.sum(x)]

    results = steps_of(step, X).function(X)
    for k, a in enumerate(results):
        assert type(a) is np.ndarray
        assert a.base is None
        assert not np.shares_memory(a, X)
        assert not np.shares_memory(a, w)
        assert not any(np.shares_memory(a, b) for b in results[:k])


def test_constants_that_are_no_literals():
    def step(r, x):
        numbers = [r.constant(np.inf, (2,), np.float64), r.constant(np.nan, (), np.float32)]
        column, rows = r.getitem(x, (slice(None), 1)), r.getitem(x, np.array([1, 0]))
        return [*numbers, column, rows, np.roll(x, 1, axis=1)]

    a, b, c, d, e = steps_of(step, X).function(X)
    assert np.isinf(a).all()
    assert np.isnan(b)
    np.testing.assert_array_equal(c, X[:, 1])
    np.testing.assert_array_equal(d, X[[1, 0]])
    np.testing.assert_array_equal(e, np.roll(X, 1, axis=1))


def test_nothing_at_all():
    steps = steps_of(lambda r, x: [], X)
    assert steps.function(X) == ()


@settings(max_examples=MANY)
@given(scripts)
def test_random_steps_compute_what_the_script_does(actions: Any) -> None:
    script = Script(actions)
    recorder = Recorder()
    symbols = [recorder.argument(a, f"x{k}") for k, a in enumerate(script.arguments)]
    steps = Steps(recorder, script.run(symbols, recorder), "step")
    given = [a.copy() for a in script.arguments]
    before = [b.copy() for b in script.bases]
    expected = script.run([a.copy() for a in script.arguments])
    after = [b.copy() for b in script.bases]
    for base, b in zip(script.bases, before, strict=True):
        base[...] = b
    for _ in range(2):
        results = steps.function(*script.arguments)
        for a, b in zip(results, expected, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_array_equal(a, b)
        for base, b in zip(script.bases, after, strict=True):
            np.testing.assert_array_equal(base, b)
        for a, b in zip(script.arguments, given, strict=True):
            np.testing.assert_array_equal(a, b)
        for base, b in zip(script.bases, before, strict=True):  # once more from the same state
            base[...] = b
