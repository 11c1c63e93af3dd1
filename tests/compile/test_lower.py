from __future__ import annotations

import numpy as np
import pytest

from chainrule.array.errors import ShapeError
from chainrule.array.namespace import NUMPY
from chainrule.array.numerics import sum_to
from chainrule.compile.kernel import Kernel
from chainrule.compile.lower import axes_of, lower
from chainrule.compile.trace import trace

F32, F64, I64 = (np.dtype(t) for t in (np.float32, np.float64, np.int64))


def ops(text, *signature):
    names = [f"x{k}" for k in range(len(signature))]
    return [e.op for e in lower(trace(text, names), signature).order()]


@pytest.mark.parametrize(
    ("axis", "ndim", "axes"),
    [
        (None, 2, (0, 1)),
        (-1, 3, (2,)),
        ((0, -1), 3, (0, 2)),
        (1, 2, (1,)),
        (0, 0, ()),
        (None, 0, ()),
    ],
)
def test_axes(axis, ndim, axes):
    assert axes_of(axis, ndim) == axes


def test_there_is_no_largest_of_nothing():
    def text(xp, x):
        return xp.max(x, axis=0, keepdims=True)

    with pytest.raises(ShapeError, match=r"no largest entry along an axis of length 0"):
        ops(text, ((0, 3), F32))
    assert ops(text, ((3, 0), F32)) == ["max"]


def test_what_does_nothing_at_these_shapes_is_gone():
    def text(xp, x, y):
        return xp.sum_to(x, y) + xp.broadcast_to(xp.stop_gradient(y), x)

    assert ops(text, ((4, 3), F32), ((4, 3), F32)) == ["add"]
    assert ops(text, ((4, 3), F32), ((3,), F32)) == ["sum", "add", "broadcast_to"]
    assert ops(lambda xp, x: xp.exp(xp.sum(x, axis=0, keepdims=True)), ((1, 3), F32)) == ["exp"]
    assert ops(lambda xp, x: xp.exp(xp.max(x)), ((), F32)) == ["exp"]


def test_a_broadcast_is_kept_where_its_shape_matters():
    def text(xp, g, x):
        return xp.sum(xp.broadcast_to(g, x))

    assert ops(text, ((3,), F32), ((4, 3), F32)) == ["broadcast_to", "sum"]
    assert ops(lambda xp, g, x: xp.broadcast_to(g, x) * x, ((3,), F32), ((4, 3), F32)) == [
        "multiply"
    ]


def test_ones_become_numbers_and_their_sums_counts():
    def text(xp, x):
        count = xp.sum(xp.ones_like(x), axis=0, keepdims=True)
        return xp.sum(x, axis=0, keepdims=True) / count, xp.where(x > 1.0, xp.ones_like(x), x)

    assert ops(text, ((4, 3), F32)) == ["sum", "divide", "minimum"]
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    mean, ones = Kernel(trace(text, ["x"]))(x)
    np.testing.assert_array_equal(mean, x.mean(0, keepdims=True))
    np.testing.assert_array_equal(ones, np.minimum(x, 1))
    ones, zeros = Kernel(trace(lambda xp, x: (xp.ones_like(x), xp.zeros_like(x)), ["x"]))(x)
    np.testing.assert_array_equal(ones, np.ones_like(x))
    np.testing.assert_array_equal(zeros, np.zeros_like(x))


def test_sizes_are_numbers():
    def text(xp, x):
        return x * (0.5 / x.shape[-1]), xp.mean(x, axis=(0, 1), keepdims=True), xp.mean(x)

    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    y, some, mean = Kernel(trace(text, ["x"]))(x)
    np.testing.assert_allclose(y, x / 8)
    np.testing.assert_allclose(some, x.mean((0, 1), keepdims=True))
    np.testing.assert_allclose(mean, x.mean())
    assert {a.dtype for a in (y, some, mean)} == {F32}


@pytest.mark.parametrize(
    ("text", "op"),
    [
        (lambda xp, x: xp.where(x <= 0.0, 0.0, x), "maximum"),
        (lambda xp, x: xp.where(x < 2.0, 2.0, x), "maximum"),
        (lambda xp, x: xp.where(x > 1.0, 1.0, x), "minimum"),
        (lambda xp, x: xp.where(x >= 1.0, 1.0, x), "minimum"),
        (lambda xp, x: xp.where(x >= 1.0, x, 1.0), "where"),  # NaN gives 1: no maximum
        (lambda xp, x: xp.where(x <= 0.0, 1.0, x), "where"),
    ],
)
def test_a_limit_is_one_step_where_nan_goes_the_same_way(text, op):
    assert op in ops(text, ((3,), F32))
    x = np.array([-1, -0.0, 0.0, 0.5, 1, 2, 3, np.nan, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(Kernel(trace(text, ["x"]))(x)[0], text(NUMPY, x))


@pytest.mark.parametrize("value", [2.0, np.float64(2.0), np.array(2.0), np.float32(2.0)])
def test_arrays_decide_and_scalars_follow(value):
    def text(xp, x, s):
        return (
            x * s, xp.where(x > s, s, x), xp.broadcast_to(s, x), xp.sigmoid(s) * x, s + 1.0,
            xp.where(x > 0.0, s, 0.0), xp.sum(s) + x, s,
        )  # fmt: skip

    x = np.array([1.0, 3.0], np.float32)
    results = Kernel(trace(text, ["x", "s"]))(x, value)
    assert {r.dtype for r in results} == {F32}
    for r, e in zip(results, text(NUMPY, x, np.float32(2)), strict=True):
        np.testing.assert_allclose(r, e, rtol=1e-6)


def test_a_float64_array_makes_it_float64():
    k = Kernel(trace(lambda xp, x, y: x + y, ["x", "y"]))
    assert k(np.ones(2, np.float32), np.ones(2))[0].dtype == F64
    assert k(np.ones((), np.float32), np.ones(()))[0].dtype == F64
    assert k(1.0, 2)[0].dtype == F32  # nothing but numbers: the default
    assert k(np.arange(2), 3)[0].dtype == I64
    assert k(np.ones(2, np.float16), 2.0)[0].dtype == np.float16


def test_tests_and_integers_count_and_do_not_widen():
    def text(xp, x, n):
        positive = x > 0.0
        return (
            xp.sum(positive), xp.mean(positive), positive * 0.5, positive + n, n * x,
            xp.sum(positive, axis=0), xp.exp(positive), xp.where(n > 1, 1.0, 0.0),
        )  # fmt: skip

    x, n = np.array([-1.0, 2.0, 3.0], np.float32), np.array([0, 1, 2])
    results = Kernel(trace(text, ["x", "n"]))(x, n)
    expected = [np.float64(e) for e in text(NUMPY, x, n)]
    expected[6] = np.exp(np.float64(x > 0.0))  # NumPy computes exp of a boolean in float16
    assert [r.dtype for r in results] == [I64, F32, F32, I64, F32, I64, F32, F32]
    for r, e in zip(results, expected, strict=True):
        np.testing.assert_allclose(r, e, rtol=1e-6)
    (y,) = Kernel(trace(lambda xp, x: xp.sigmoid(x > 0.0), ["x"]))(x)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-(x > 0.0).astype(np.float32))), rtol=1e-6)
    assert y.dtype == F32


def test_integers_stay_integers():
    def text(xp, x):
        return xp.where(x <= 0.0, 0.0, x), xp.abs(x), xp.sum(x, axis=0), xp.ones_like(x)

    for x in (np.arange(-3, 3), np.array(-3)):
        for r, e in zip(Kernel(trace(text, ["x"]))(x), text(NUMPY, x), strict=True):
            assert r.dtype == I64
            np.testing.assert_array_equal(r, e)


def test_shapes_that_do_not_broadcast_are_an_error():
    with pytest.raises(ShapeError, match=r"add: shapes \(2,\) and \(3,\) do not broadcast"):
        lower(trace(lambda xp, x, y: x + y, ["x", "y"]), [((2,), F32), ((3,), F32)])


def test_what_is_broadcast_is_computed_before():
    """On one number, not on as many as the shape has; and once broadcast, not in two steps."""

    def text(xp, g, rows, x):
        wide = xp.broadcast_to(-xp.broadcast_to(g, rows), x)
        return xp.where(x > 0.0, wide, 0.0), wide

    signature = ((), F32), ((4, 1), F32), ((4, 3), F32)
    assert sorted(ops(text, *signature)) == ["broadcast_to", "greater", "negative", "where"]
    g, rows, x = np.float32(2.0), np.ones((4, 1), np.float32), np.eye(4, 3, dtype=np.float32)
    kernel = Kernel(trace(text, ["g", "rows", "x"], "f"))
    masked, wide = kernel(np.asarray(g), rows, x)
    np.testing.assert_array_equal(masked, -2 * x)
    np.testing.assert_array_equal(wide, np.full((4, 3), -2.0, np.float32))


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 4), (4,), (1, 3, 4), (1, 4), (2, 1, 1), (1, 1)])
def test_sum_to_is_one_sum_where_it_can_be(shape):
    x = np.arange(24.0).reshape(2, 3, 4)
    summed = Kernel(trace(lambda xp, x, y: xp.sum_to(x, y), ["x", "y"], "f"))(x, np.ones(shape))
    np.testing.assert_array_equal(summed[0], sum_to(x, shape))
    lead = 3 - len(shape)
    alone = shape != x.shape and (not lead or shape == x.shape[lead:])
    found = ops(lambda xp, x, y: xp.sum_to(x, y) + 1, (x.shape, F32), (shape, F32))
    assert ("sum" in found) == alone
