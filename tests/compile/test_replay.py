"""Replays: native code and NumPy, each against the same script on real arrays.

CHAINRULE_LONG=1 builds sixty random steps as native code, in both types.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from chainrule.array.random import Stream, default_stream, use_stream
from chainrule.compile import build, native
from chainrule.compile.recorder import Recorder
from chainrule.compile.replay import Replay, replay
from chainrule.compile.symbolic import CaptureError
from tests_layout import Machine
from tests_programs import Script, scripts

LONG = bool(os.environ.get("CHAINRULE_LONG"))
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def made(f: Any, *arrays: Any, **more: Any) -> Replay:
    recorder = Recorder()
    symbols = [recorder.argument(a, f"x{k}") for k, a in enumerate(arrays)]
    return replay(recorder, f(recorder, *symbols), "step", **more)


def test_arrays_in_arrays_out(executor: str) -> None:
    run = made(lambda r, x: [x * 2.0, r.constant(1.5, (2,), np.float64), x], X)
    assert run.reason == (None if executor == "native" else "there is no native code here")
    for k in range(3):
        doubled, number, same = run.run(X + k)
        np.testing.assert_array_equal(doubled, 2 * (X + k))
        assert number.tolist() == [1.5, 1.5]
        assert number.dtype == np.float64
        np.testing.assert_array_equal(same, X + k)


def test_what_was_not_declared(executor: str) -> None:
    run = made(lambda r, x: [x * 2.0], X).run
    for wrong in (X[:2], X.astype(np.float64), X.astype(">f4"), X.tolist(), 1.0, None, X.ravel()):
        assert run(wrong) is NotImplemented
    for layout in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X[::-1][::-1]):
        np.testing.assert_array_equal(run(layout)[0], 2 * X)


def test_live_memory_is_read_and_written_at_each_run(executor: str) -> None:
    flat = np.arange(8, dtype=np.float32)
    w, other = flat[:4], np.ones(4, np.float32)

    def step(r: Any, x: Any) -> Any:
        value = r.of(w) + r.of(other) * x
        r.put(w, value)
        r.put(flat[6:], r.constant(7, (2,), np.float32))
        return [value]

    run = made(step, np.ones(4, np.float32))
    assert sum(v.size for v in run.written) == 6
    for k in range(3):
        other[...] = k
        before = flat.copy()
        (value,) = run.run(np.full(4, 2, np.float32))
        np.testing.assert_array_equal(value, before[:4] + 2 * k)
        np.testing.assert_array_equal(flat[:4], value)
        assert flat[4:].tolist() == [4, 5, 7, 7]


def test_labels_out_of_range_change_nothing(executor: str) -> None:
    w = np.zeros(4, np.float32)

    def step(r: Any, x: Any, y: Any) -> Any:
        r.labels(r.reshape(y, (4, 1)), 3)
        r.put(w, r.of(w) + x)
        return []

    x = np.ones(4, np.float32)
    run = made(step, x, np.zeros(4, np.int64)).run
    assert run(x, np.array([0, 1, 2, 0])) == ()
    for bad in (3, -1, 2**62, -(2**63)):
        assert run(x, np.array([0, bad, 2, 0])) is NotImplemented
    assert w.tolist() == [1, 1, 1, 1]


def test_labels_of_the_closure(executor: str) -> None:
    y = np.array([0, 2, 1])

    def step(r: Any, x: Any) -> Any:
        r.labels(r.of(y), 3)
        return [x * 1.5]

    run = made(step, X).run
    assert run(X) is not NotImplemented
    y[1] = 5
    assert run(X) is NotImplemented


def test_a_number_that_is_not_finite_stops_the_run(executor: str) -> None:
    w = np.zeros(4, np.float32)

    def step(r: Any, x: Any) -> Any:
        total = np.sum(x)
        r.finite(total)
        r.put(w, r.of(w) + x)
        return [total]

    x = np.ones(4, np.float32)
    run = made(step, x).run
    assert run(x)[0] == 4
    with np.errstate(all="ignore"):
        assert run(x * np.float32(np.nan)) is NotImplemented
    assert w.tolist() == [1, 1, 1, 1]


def test_draws(executor: str) -> None:
    def step(r: Any, x: Any) -> Any:
        masks = []
        for path, p in (("a", 0.5), ("b", 0.0), ("a", 0.25), ("c", 1.0), ("d", 1 - 1e-9)):

            def draw(path: str = path, p: float = p) -> Any:
                return default_stream().bernoulli(path, x.shape, p)

            masks.append(r.bernoulli(draw, x.shape, p, path))
        r.labels(r.getitem(x, 0).recorder.arguments[1], 2)
        return masks

    run = made(lambda r, x, y: step(r, x), X, np.zeros(2, np.int64)).run
    for seed in (0, 5):
        with use_stream(Stream(seed)) as stream:
            results = [run(X, np.zeros(2, np.int64)) for _ in range(3)]
            state = stream.state()
            assert run(X, np.full(2, 9)) is NotImplemented  # the draws are taken back
            assert stream.state() == state
        with use_stream(Stream(seed)) as stream:
            for masks in results:
                for found, (path, p) in zip(
                    masks, [("a", 0.5), ("b", 0.0), ("a", 0.25), ("c", 1.0), ("d", 1 - 1e-9)],
                    strict=True,
                ):  # fmt: skip
                    assert found.dtype == bool
                    np.testing.assert_array_equal(found, stream.bernoulli(path, X.shape, p))
            assert stream.state() == state


def test_calls_of_numpy(executor: str) -> None:
    w = np.ones(3)

    def step(r: Any, x: Any) -> Any:
        y = np.cumsum(x, axis=1, dtype=np.float64)
        s = np.sort(np.flip(y, 1), axis=0)
        return [y, np.argmax(x, axis=1), np.mean(s), np.einsum("ij,j->i", s, r.of(w)), np.all(x)]

    run = made(step, X).run
    for k in range(3):
        x = X * (k - 1)
        w[...] = k
        y = np.cumsum(x, axis=1, dtype=np.float64)
        s = np.sort(np.flip(y, 1), axis=0)
        expected = [y, np.argmax(x, axis=1), np.mean(s), np.einsum("ij,j->i", s, w), np.all(x)]
        for a, b in zip(run(x), expected, strict=True):
            np.testing.assert_array_equal(a, b)
            assert (a.shape, a.dtype) == (np.shape(b), np.asarray(b).dtype)


def test_an_error_of_numpy_stops_the_run_before_any_update(executor: str) -> None:
    """The step itself raises it again, or does what it should."""
    w = np.zeros(3, np.float32)

    def step(r: Any, x: Any, i: Any) -> Any:
        r.put(w, r.of(w) + 1.0)
        return [r.getitem(x, i)]

    run = made(step, X, np.zeros(2, np.int64)).run
    if executor == "native":
        assert run(X, np.array([0, 9])) is NotImplemented
        assert not w.any()
    else:  # calls in the order of the step, so that what came before it is done
        with pytest.raises(IndexError):
            run(X, np.array([0, 9]))
        w[...] = 0
    np.testing.assert_array_equal(run(X, np.array([3, 0]))[0], X[[3, 0]])
    assert (w == 1).all()


def test_whole_numbers_come_back_as_they_came(executor: str) -> None:
    with pytest.raises(CaptureError, match="labels are returned in another type"):
        made(lambda r, x: [x.astype(np.int64)], np.zeros(3, np.int32))
    run = made(lambda r, x: [x], np.zeros(3, np.int32)).run
    assert run(np.arange(3, dtype=np.int32))[0].dtype == np.int32


def test_spared_where_little_is_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    if build.find_compiler() is None or build.runtime() is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    run = made(lambda r, x: [np.tanh(x) * 1.0625], X, spare=True)
    assert run.layout is None
    assert run.reason is not None
    np.testing.assert_allclose(run.run(X)[0], np.tanh(X) * 1.0625, rtol=1e-6)


def test_random_steps_as_native_code() -> None:
    """Bits may differ from NumPy's by rounding; a value of another place or time would not."""
    if build.find_compiler() is None or build.runtime() is None:
        pytest.skip("there is no C compiler")
    found: list[Any] = []

    @settings(
        max_examples=60 if LONG else 6,
        derandomize=True,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(scripts)
    def collect(actions: Any) -> None:
        found.append(actions)

    collect()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINRULE_NATIVE", "1")
        for actions in found[-60:]:
            for dtype in (np.float32, np.float64) if LONG else (np.float32,):
                _compare(Script(actions, dtype))


def _compare(script: Script) -> None:
    recorder = Recorder()
    symbols = [recorder.argument(a, f"x{k}") for k, a in enumerate(script.arguments)]
    run = Replay(recorder, script.run(symbols, recorder), "step")
    if run.reason is not None:
        assert run.reason == "updates that read what other updates overwrite"
    else:
        assert run.layout is not None
        Machine(run.layout).run()
    tolerance = 1e-4 if script.dtype == np.float32 else 1e-11
    for _ in range(2):
        before = [b.copy() for b in script.bases]
        expected = script.run([a.copy() for a in script.arguments])
        after = [b.copy() for b in script.bases]
        for base, b in zip(script.bases, before, strict=True):
            base[...] = b
        results = run.run(*script.arguments)
        for a, b in zip([*results, *script.bases], [*expected, *after], strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_without_native_code_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda: False)
    run = made(lambda r, x: [x + 1.0], X)
    assert run.reason == "there is no native code here"
    np.testing.assert_array_equal(run.run(X)[0], X + 1)
