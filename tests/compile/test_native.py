"""Kernels by name, plans from layouts, products, and the modes of CHAINRULE_NATIVE."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.compile import build, native
from chainrule.compile.graph import Graph
from chainrule.compile.lower import lower
from chainrule.compile.place import Layout, Write
from chainrule.compile.print_c import print_c
from chainrule.compile.trace import trace

F = np.dtype(np.float32)
needs_compiler = pytest.mark.skipif(
    build.find_compiler() is None or build.runtime() is None, reason="there is no C compiler"
)


def text_of(text: Any, *shapes: Any, dtype: Any = F) -> Any:
    names = ["a", "b"][: len(shapes)]
    return print_c(lower(trace(text, names, "f"), [(s, np.dtype(dtype)) for s in shapes]))


def graph_of(text: Any, *shapes: Any) -> tuple[Graph, Any, Any]:
    g = Graph()
    xs = [g.input(f"x{k}", s, F) for k, s in enumerate(shapes)]
    names = ["a", "b", "c"][: len(xs)]
    return g, xs, g.call(trace(text, names, "f"), xs, [(s, F) for s in shapes])


@needs_compiler
def test_kernels_are_built_together_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [text_of(lambda xp, a, c=c: xp.sin(a) * c, (4, 3)) for c in (0.125, 0.375, 0.625)]
    calls = []
    library = build.library

    def counting(source: str, name: str) -> Any:
        calls.append(source)
        return library(source, name)

    monkeypatch.setattr(build, "library", counting)
    first = native.kernels([*texts, texts[0]])
    assert first is not None
    assert sorted(first) == sorted({t.name for t in texts})
    assert len(calls) == 1
    assert native.kernels(texts) == first
    assert len(calls) == 1
    more = native.kernels([texts[0], text_of(lambda xp, a: xp.sin(a) * 0.875, (4, 3))])
    assert more is not None
    assert len(calls) == 2
    assert texts[0].source not in calls[1]  # it is there already


def test_a_kernel_that_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "library", lambda source, name: None)
    assert native.kernels([text_of(lambda xp, a: xp.cos(a) * 0.8125, (4, 3))]) is None
    assert native.kernels([]) == {}


@needs_compiler
def test_a_step_whose_kernels_cannot_be_built_runs_as_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    monkeypatch.setattr(build, "library", lambda source, name: None)
    step = cr.capture(lambda x: cr.ops.cos(cr.tensor(x)) * 0.9375)
    x = np.arange(6, dtype=np.float32)
    for _ in range(4):
        np.testing.assert_array_equal(step(x).numpy(), np.cos(x) * np.float32(0.9375))
    (program,) = step.programs()
    assert program.replay.reason == "its kernels could not be built"
    assert program.replay.layout is None
    assert step.reason is None


@needs_compiler
def test_a_plan_of_a_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    g, xs, (y, total) = graph_of(lambda xp, a, b: (a * b, xp.sum(a, axis=0)), (4, 3), (3,))
    layout = Layout(g, xs, [(y, (4, 3), F), (total, (3,), F), (2.5, (2,), F)], [])
    run = native.plan(layout, "mine", [(F, (4, 3), False), (F, (3,), False)], layout.constants)
    assert run is not None
    a, b = np.arange(12, dtype=F).reshape(4, 3), np.arange(3, dtype=F)
    product, sums, number = run(a, b)
    np.testing.assert_array_equal(product, a * b)
    np.testing.assert_array_equal(sums, a.sum(0))
    assert number.tolist() == [2.5, 2.5]
    assert run(a, a) is NotImplemented
    assert run(a.astype(np.float64), b) is NotImplemented
    assert run.name == "mine"


@needs_compiler
def test_a_plan_with_labels_and_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", "1")
    g, xs, (y,) = graph_of(lambda xp, a: xp.sum(a), (4,))
    labels = g.input("labels", (3,), np.int32)
    p = g.memory(0, 4, F)
    (new,) = g.call(trace(lambda xp, p, a: p + a, ["p", "a"]), [p, xs[0]], [((4,), F)] * 2)
    layout = Layout(g, [*xs, labels], [(y, (), F)], [Write(p, new)], 1, checks=[y])
    memory = np.zeros(4, F)
    run = native.plan(
        layout, "mine", [(F, (4,), False), (np.dtype(np.int32), (3,), False)],
        [memory, *layout.constants], [(labels, np.dtype(np.int32), 5)],
    )  # fmt: skip
    assert run is not None
    one, good = np.ones(4, F), np.array([0, 4, 2], np.int32)
    assert run(one, good)[0] == 4
    for bad in ([0, 5, 2], [-1, 0, 0]):
        assert run(one, np.array(bad, np.int32)) is NotImplemented
    with pytest.raises(native.Unfinished):
        run(one * np.float32(np.inf), good)
    assert memory.tolist() == [1, 1, 1, 1]


@needs_compiler
def test_small_work_may_be_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(rows: int, mode: str) -> bool:
        monkeypatch.setenv("CHAINRULE_NATIVE", mode)
        g, xs, (y,) = graph_of(lambda xp, a: xp.tanh(a) * 0.1875, (rows, 64))
        layout = Layout(g, xs, [(y, (rows, 64), F)], [])
        run = native.plan(layout, "f", [(F, (rows, 64), False)], layout.constants, spare=True)
        return run is not None

    assert not made(1, "1")
    assert made(1, "always")
    assert not made(1, "shipped")
    assert not made(4096, "shipped")
    assert made(4096, "1")


@pytest.mark.parametrize(
    ("mode", "available", "always", "shipped"),
    [
        (None, True, False, False), ("1", True, False, False), ("0", False, False, False),
        ("off", False, False, False), ("always", True, True, False), ("shipped", True, False, True),
    ],
)  # fmt: skip
def test_modes(
    mode: str | None, available: bool, always: bool, shipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "runtime", lambda: object())
    if mode is None:
        monkeypatch.delenv("CHAINRULE_NATIVE", raising=False)
    else:
        monkeypatch.setenv("CHAINRULE_NATIVE", mode)
    assert native.available() is available
    assert native.always() is always
    assert native.only_shipped() is shipped


def test_without_a_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "runtime", lambda: None)
    assert not native.available()
    g, xs, (y,) = graph_of(lambda xp, a: a + 1.0, (3,))
    assert native.plan(Layout(g, xs, [(y, (3,), F)], []), "f", [(F, (3,), False)], []) is None


def test_products():
    r = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        a, b = r.normal(size=(5, 3)).astype(dtype), r.normal(size=(3, 4)).astype(dtype)
        np.testing.assert_allclose(native.matmul(a, b), a @ b, rtol=1e-5)
        np.testing.assert_allclose(native.matmul(b.T, a.T), (a @ b).T, rtol=1e-5)
        np.testing.assert_allclose(native.matmul(a[::2], b[:, 1:]), a[::2] @ b[:, 1:], rtol=1e-5)
    cube = r.normal(size=(2, 5, 3))
    np.testing.assert_allclose(native.matmul(cube, b), cube @ b)
    whole = np.arange(6).reshape(2, 3)
    assert native.matmul(whole, whole.T).dtype == whole.dtype
    np.testing.assert_allclose(native.matmul(a, np.float32(b)), a @ b, rtol=1e-5)
    np.testing.assert_allclose(native.matmul(a, b[:, 0]), a @ b[:, 0])
    assert native.matmul(a[:0], b).shape == (0, 4)
    assert not native.matmul(a[:, :0], b[:0]).any()
    with pytest.raises(ValueError, match="matmul"):
        native.matmul(a, a)


def test_a_number_that_must_be_finite():
    native.check_finite(np.float32(1))
    for bad in (np.inf, -np.inf, np.nan):
        with pytest.raises(native.Unfinished):
            native.check_finite(np.asarray(bad))


def test_thresholds_of_random_bits():
    assert native.threshold(0.0) == 0
    assert native.threshold(0.5) == 2**31
    assert native.threshold(1.0) == 2**32
    assert native.threshold(1 - 1e-12) == 2**32 - 1


def test_products_of_numpy_warn_of_no_invalid_values():
    a = np.full((6, 5), np.inf)  # as OpenBLAS may by what stands beside a short row
    b = np.zeros((5, 1))
    for product in (native.matmul, native._numpy_product):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isnan(product(a, b)).all()
    assert native.matmul(np.ones((2, 3, 4)), np.ones((4, 2))).shape == (2, 3, 2)
