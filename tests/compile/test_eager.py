"""Programs by themselves as native code, against the same programs as printed NumPy.

CHAINRULE_LONG=1 tries three hundred random programs instead of thirty, each in both types.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.compile import build, eager, native
from chainrule.compile.kernel import Kernel
from chainrule.compile.trace import trace

pytestmark = pytest.mark.skipif(
    build.find_compiler() is None or build.runtime() is None, reason="there is no C compiler"
)
MANY = 300 if os.environ.get("CHAINRULE_LONG") else 30
F, D, L = (np.dtype(t) for t in (np.float32, np.float64, np.int64))
INF, NAN = np.inf, np.nan
SPECIAL = [0.0, -0.0, 1e-40, -1e-40, 1.0, -1.0, 1e4, -1e4, 88.0, -104.0, INF, -INF, NAN, 0.5, 3.0]


@pytest.fixture(autouse=True)
def everything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", "always")


def signature(arrays: Any) -> Any:
    return [type(a) if isinstance(a, float | int) else (a.shape, a.dtype) for a in arrays]


def plan_of(kernel: Kernel, arrays: Any) -> Any:
    return eager.native_plan(kernel.program, signature(arrays), kernel.into, kernel.borrow, False)


def both(kernel: Kernel, *arrays: Any) -> tuple[Any, Any]:
    """What native code and what NumPy give, each on copies of its own."""
    run = plan_of(kernel, arrays)
    assert run is not None
    sides = []
    for f in (run, kernel._numpy(tuple(signature(arrays)))):
        own = [a.copy() if isinstance(a, np.ndarray) else a for a in arrays]
        with np.errstate(all="ignore"):
            results = f(*own)
        assert results is not NotImplemented
        sides.append((own, results))
    return sides[0], sides[1]


def close(a: Any, b: Any, scale: float = 1.0) -> None:
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    if a.dtype.kind != "f":
        np.testing.assert_array_equal(a, b)
        return
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    infinite = np.isinf(b)
    np.testing.assert_array_equal(np.isinf(a), infinite)
    np.testing.assert_array_equal(a[infinite], b[infinite])
    finite = np.isfinite(b)
    tolerance = (2e-5 if a.dtype == F else 1e-12) * scale
    np.testing.assert_allclose(a[finite], b[finite], rtol=tolerance, atol=tolerance)


# -- random programs ------------------------------------------------------------------------------


def built_together(kernels: Any, calls: Any) -> None:
    """Build the native code of many programs with one run of the compiler."""
    texts: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "plan", lambda layout, *a, **k: texts.extend(native.texts_of(layout)))
        for kernel, arrays in zip(kernels, calls, strict=True):
            assert plan_of(kernel, arrays) is None
    assert native.kernels(texts) is not None


def test_random_programs(programs: Any) -> None:
    trees: list[Any] = []

    @settings(
        max_examples=MANY,
        derandomize=True,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(programs.any, min_size=1, max_size=3))
    def collect(found: Any) -> None:
        trees.append(found)

    collect()
    kernels, calls = [], []
    for found in trees:
        program = trace(programs.text(*found), programs.names)
        for dtype in (F, D):
            kernel = Kernel(program)
            arrays = programs.arrays(dtype=dtype)
            if kernel.program.outputs and not _rearranges(kernel, arrays):
                kernels.append(kernel)
                calls.append(arrays)
    built_together(kernels, calls)
    assert len(kernels) > MANY
    for kernel, arrays in zip(kernels, calls, strict=True):
        (_, results), (_, expected) = both(kernel, *arrays)
        for a, b in zip(results, expected, strict=True):
            # several steps at most double an error, and sums are of at most 15 terms
            close(a, b, scale=20 * max(1.0, float(np.max(np.abs(b), initial=0.0))))


def _rearranges(kernel: Kernel, arrays: Any) -> bool:
    """NumPy keeps what only gives views."""
    with pytest.MonkeyPatch.context() as patch:
        seen: list[Any] = []
        patch.setattr(native, "plan", lambda *a, **k: seen.append(a))
        plan_of(kernel, arrays)
    return not seen


UNARY = {
    name: (lambda xp, x, name=name: getattr(xp, name)(x))
    for name in [
        "negative",
        "abs",
        "sign",
        "floor",
        "sqrt",
        "exp",
        "expm1",
        "log",
        "log1p",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "erf",
        "lgamma",
        "isnan",
        "isfinite",
    ]
}
BINARY = {
    name: (lambda xp, x, y, name=name: getattr(xp, name)(x, y))
    for name in [
        "add",
        "subtract",
        "multiply",
        "divide",
        "pow",
        "maximum",
        "minimum",
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "equal",
        "not_equal",
    ]
}


def test_extremes_through_every_primitive():
    """NaN, infinities, zeros, subnormal numbers: the same pattern as NumPy's."""
    kernels, calls = [], []
    for dtype in (F, D):
        x = np.array(SPECIAL * 3, dtype)
        y = np.resize(np.array([*SPECIAL[::-1], 2.0, -3.0], dtype), x.shape)
        for names, texts, arrays in ((["x"], UNARY, [x]), (["x", "y"], BINARY, [x, y])):
            for name, text in texts.items():
                kernels.append(Kernel(trace(text, names, name)))
                calls.append(arrays)
    built_together(kernels, calls)
    for kernel, arrays in zip(kernels, calls, strict=True):
        (_, (a,)), (_, (b,)) = both(kernel, *arrays)
        try:
            close(a, b)
        except AssertionError as error:
            raise AssertionError(f"{kernel.program.name} {arrays[0].dtype}: {error}") from None


# -- what goes where ------------------------------------------------------------------------------


def sgd(xp, p, g, lr):
    return p - lr * g, g * 2.0


INTO = Kernel(trace(sgd, ["p", "g", "lr"]), into={0: 0})


def test_into_writes_the_argument_and_returns_it():
    p, g = np.ones((4, 3), F), np.full((4, 3), 2.0, F)
    run = plan_of(INTO, [p, g, 0.5])
    updated, doubled = run(p, g, 0.5)
    assert updated is p
    assert (p == 0).all()
    assert (g == 2).all()
    assert (doubled == 4).all()
    assert not np.shares_memory(doubled, g)


@pytest.mark.parametrize("layout", ["F", "strided", "reversed"])
def test_into_an_array_that_is_not_contiguous(layout: str) -> None:
    """The kernel falls back to NumPy, which writes it where it is."""
    base = np.ones((8, 6), F)
    p = {
        "F": np.ones((4, 3), F, order="F"),
        "strided": base[::2, ::2],
        "reversed": base[:4, 2::-1],
    }[layout]
    kernel = Kernel(INTO.program, into={0: 0})
    g = np.full((4, 3), 2.0, F)
    for _ in range(2):
        p[...] = 1
        updated, _ = kernel(p, g, 0.5)
        assert updated is p
        assert (p == 0).all()


def test_swapped_arguments():
    swap = Kernel(trace(lambda xp, a, b: (b, a), ["a", "b"], "swap"), into={0: 0, 1: 1})
    a, b = np.zeros(3, F), np.ones(3, F)
    swap(a, b)
    assert (a == 1).all()
    assert (b == 0).all()
    both_sums = Kernel(
        trace(lambda xp, a, b: (a + b, a - b), ["a", "b"], "both"), into={0: 1, 1: 0}
    )
    (own, _), (other, _) = both(both_sums, np.arange(4, dtype=F), np.ones(4, F))
    for x, y in zip(own, other, strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_sum_of_what_is_overwritten():
    def text(xp, p):
        return p / xp.sum(p, axis=-1, keepdims=True), xp.max(p)

    kernel = Kernel(trace(text, ["p"], "normalize"), into={0: 0})
    p = np.arange(1, 13, dtype=F).reshape(4, 3)
    (own, results), (other, expected) = both(kernel, p)
    close(own[0], other[0])
    assert results[1] == expected[1] == 12


def test_borrow_gives_the_argument_itself():
    def text(xp, g, x):
        return g, g * x, x

    lent = Kernel(trace(text, ["g", "x"], "lent"), borrow=True)
    g, x = np.ones(3, F), np.full(3, 2.0, F)
    first, product, second = plan_of(lent, [g, x])(g, x)
    assert first is g
    assert second is x
    assert (product == 2).all()
    kept = Kernel(lent.program)
    first, _, second = plan_of(kept, [g, x])(g, x)
    assert not np.shares_memory(first, g)
    assert not np.shares_memory(second, x)
    np.testing.assert_array_equal(second, x)


def test_python_numbers():
    def text(xp, x, a, n):
        return (a * x + n, a / n, xp.where(x > a, x, n))

    kernel = Kernel(trace(text, ["x", "a", "n"], "numbers"))
    for dtype in (F, D):
        x = np.array([0.1, 1.0, -2.0], dtype)
        (_, results), (_, expected) = both(kernel, x, 1 / 3, 2.5)
        for a, b in zip(results, expected, strict=True):
            close(a, np.asarray(b, dtype))
        found = kernel(x, 1 / 3, 2.5)
        assert [f.dtype for f in found] == [dtype] * 3
        whole = kernel(x, 1 / 3, 2)  # an int, by the same plan or another
        np.testing.assert_allclose(whole[0], x / 3 + 2, rtol=1e-6)


def test_arrays_without_axes_follow_the_others():
    def text(xp, x, s):
        return x * s

    kernel = Kernel(trace(text, ["x", "s"], "scaled"))
    x, s = np.ones(3, F), np.asarray(1 / 3)
    (_, (a,)), (_, (b,)) = both(kernel, x, s)
    assert a.dtype == F
    np.testing.assert_array_equal(a, b)
    (_, (a,)), (_, (b,)) = both(kernel, s, s)
    assert a.dtype == D
    assert a.shape == ()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,), (0, 0), (1, 1), (1,), ()])
def test_shapes_with_nothing_or_one_in_them(shape: Any) -> None:
    def text(xp, x):
        return xp.exp(x) * 2.0, xp.sum(x), xp.sum(x, axis=-1, keepdims=True)

    kernel = Kernel(trace(text, ["x"], "sums"))
    x = np.ones(shape, F)
    with np.errstate(all="ignore"):
        expected = kernel._numpy(tuple(signature([x])))(x)
    run = plan_of(kernel, [x])
    results = kernel(x) if run is None else run(x)
    for a, b in zip(results, expected, strict=True):
        close(np.asarray(a), np.asarray(b))


def test_arguments_in_any_layout():
    def text(xp, x, y):
        return xp.tanh(x) + y

    kernel = Kernel(trace(text, ["x", "y"], "sum_of"))
    r = np.random.default_rng(0)
    base = r.normal(size=(8, 8)).astype(F)
    plain = base[:4, :4].copy()
    expected = kernel(plain, plain)[0]
    for x in (
        plain, np.asfortranarray(plain), base[:4, :4], np.repeat(plain, 2, axis=1)[:, ::2],
        np.flip(np.flip(plain, 1).copy(), 1), np.broadcast_to(plain, (4, 4)),
    ):  # fmt: skip
        np.testing.assert_array_equal(kernel(x, plain)[0], expected)
        np.testing.assert_array_equal(kernel(plain, x)[0], expected)
    offset = np.frombuffer(b"\0" + plain.tobytes(), np.uint8)[1:].view(F).reshape(4, 4)
    np.testing.assert_array_equal(kernel(offset, plain)[0], expected)  # not aligned
    readonly = plain.copy()
    readonly.flags.writeable = False
    np.testing.assert_array_equal(kernel(readonly, readonly)[0], expected)
    swapped = plain.astype(">f4")
    np.testing.assert_allclose(kernel(swapped, plain)[0].astype(F), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.int16])
def test_labels_of_any_width(kind: Any) -> None:
    def text(xp, x, y):
        return xp.sum(xp.where(xp.one_hot(y, x), x, 0.0), axis=-1, keepdims=True)

    kernel = Kernel(trace(text, ["x", "y"], "picked"))
    x = np.arange(12, dtype=F).reshape(4, 3)
    labels = np.array([[0], [2], [1], [2]], kind)
    np.testing.assert_array_equal(kernel(x, labels)[0].ravel(), [0, 5, 7, 11])
    labels[1] = 77  # of no class
    assert kernel(x, labels)[0][1] == 0


def test_what_numpy_keeps():
    views = Kernel(trace(lambda xp, x: xp.expand_dims(x, axis=0), ["x"], "view"))
    assert plan_of(views, [np.ones(3, F)]) is None
    whole = Kernel(trace(lambda xp, x: x + x, ["x"], "whole"))
    assert plan_of(whole, [np.ones(3, L)]) is None
    half = np.ones(3, np.float16)
    assert plan_of(whole, [half]) is None
    assert whole(half)[0].dtype == np.float16
    assert plan_of(whole, [np.ones((2, 3, 4), F)]) is not None


@pytest.mark.parametrize(
    ("mode", "size", "own", "made"),
    [
        ("0", 1 << 20, True, False), ("shipped", 1 << 20, True, False), ("1", 10, False, False),
        ("1", 1 << 20, False, True), ("1", 1 << 14, True, True), ("1", 10, True, False),
        ("always", 10, False, True),
    ],
)  # fmt: skip
def test_when_a_kernel_is_built(
    mode: str, size: int, own: bool, made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAINRULE_NATIVE", mode)
    program = trace(lambda xp, x: xp.tanh(x * 1.75) - 0.375, ["x"], "of_nobody_else")
    run = eager.native_plan(program, [((size,), F)], {}, False, own)
    assert (run is not None) is made


def test_a_formula_of_a_person_runs_as_native_code_and_the_same():
    @cr.formula
    def wave(xp, x, a=0.5):
        return xp.sin(a * x) * xp.exp(-x * x)

    x = np.linspace(-3, 3, 2000)
    fast = wave(x)
    np.testing.assert_allclose(fast, np.sin(0.5 * x) * np.exp(-x * x), rtol=1e-13)
    assert cr.check_gradients(wave, x[::100])


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 3)])
def test_one_row_or_one_class(shape: Any) -> None:
    """Where every array has one entry there is no loop over columns to compare a label with."""

    def text(xp, x, y):
        return xp.where(xp.one_hot(y, x), x, -1.0), xp.sum(xp.where(xp.one_hot(y, x), x, 0.0))

    kernel = Kernel(trace(text, ["x", "y"], "picked"))
    x = np.arange(1, 4, dtype=F)[: max(shape)].reshape(shape)
    for label in (0, 2, -1):
        (_, results), (_, expected) = both(kernel, x, np.full((shape[0], 1), label))
        for a, b in zip(results, expected, strict=True):
            close(a, np.asarray(b))
