from __future__ import annotations

import numpy as np
import pytest

from chainrule.array.numerics import one_hot, sigmoid, sum_to, where

TYPES = [np.float16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", TYPES)
def test_sigmoid_in_place_and_in_any_layout(dtype):
    r = np.random.default_rng(0)
    x = r.normal(0, 5, (6, 8)).astype(dtype)
    expected = 1 / (1 + np.exp(-x.astype(np.float64)))
    eps = np.finfo(dtype).eps
    for a in (x, x.T.copy().T, x[::2, ::-1], x[0, 0], x[:0]):
        e = expected.T.T if a is x else 1 / (1 + np.exp(-np.asarray(a, np.float64)))
        np.testing.assert_allclose(sigmoid(a), e, rtol=6 * eps)
        assert sigmoid(a).dtype == dtype
    out = np.empty_like(x)
    assert sigmoid(x, out=out) is out
    np.testing.assert_array_equal(out, sigmoid(x))
    copy = x.copy()
    sigmoid(copy, out=copy)
    np.testing.assert_array_equal(copy, out)


def test_sigmoid_never_overflows():
    x = np.array([-np.inf, -1e30, -103.9, 0.0, 1e30, np.inf], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = sigmoid(x)
    assert y[[0, 1, 3, 4, 5]].tolist() == [0, 0, 0.5, 1, 1]
    assert 0 < y[2] < 1e-44  # a subnormal


def cases(dtype):
    whole = np.issubdtype(dtype, np.integer)
    x = [[1, 2, -3], [0, 5, 9]] if whole else [[1.0, np.nan, -np.inf], [-0.0, 5.0, 1e-40]]
    x = np.array(x, dtype)
    c = np.array([[True, True, False], [True, False, True]])
    return x, c


@pytest.mark.parametrize("dtype", [*TYPES, np.int64, np.int32, np.int16])
@pytest.mark.parametrize("condition", [bool, np.int64, np.float32, np.uint8])
def test_where_with_a_zero_is_where(dtype, condition):
    x, c = cases(dtype)
    c = 2 * c.astype(condition) if condition is not bool else c  # any number that is not zero
    zero = np.zeros((), dtype)
    for a in (x, x.T.copy().T, x[:, ::-1], x[0], x[0, 0], x[0, 0, None]):
        for got, expected in (
            (where(c, a, 0.0), np.where(c, a, zero)),
            (where(c, 0.0, a), np.where(c, zero, a)),
        ):
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", TYPES)
def test_where_into_given_memory(dtype):
    x, c = cases(dtype)
    for a, b in ((x, 0.0), (0.0, x), (x, 2.0), (x, x + 1)):
        out = np.empty_like(x)
        assert where(c, a, b, out=out) is out
        np.testing.assert_array_equal(out, np.where(c, a, b))
        copy = x.copy()
        where(c, copy if a is x else a, copy if b is x else b, out=copy)
        np.testing.assert_array_equal(copy, out)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((4, 3), ()), ((3,), (0,)), ((1, 3), (0,)), ((4, 1), (1,)), ((), (0, 1)), ((1, 1), (0, 1))],
)
def test_sum_to(shape, axes):
    x = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    y = sum_to(x, shape)
    assert y.shape == shape
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, x.sum(axes).reshape(shape))


def test_sum_to_without_elements():
    assert sum_to(np.ones((0, 3)), (3,)).tolist() == [0, 0, 0]
    assert sum_to(np.ones((3, 0)), (3, 1)).tolist() == [[0], [0], [0]]


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float32])
@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_one_hot(dtype, axis):
    labels = np.array([2, 0, 1, 9], dtype)
    like = np.ones((4, 3) if axis else (3, 4))
    labels = labels[:, None] if axis else labels[None]
    hot = one_hot(labels, like, axis)
    assert hot.dtype == np.bool_
    rows = hot if axis else hot.T
    assert rows.astype(int).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(one_hot(labels, like.shape, axis), hot)


@pytest.mark.parametrize("n", [3, 5000])
def test_where_into_one_of_its_branches(n):
    c = np.arange(n) % 2 == 0
    a, b = np.full(n, np.inf, np.float32), np.full(n, np.nan, np.float32)
    for branches in ((a, b), (a, 0.0), (0.0, b)):
        wanted = np.where(c, *branches)
        for k in range(2):
            if isinstance(branches[k], float):
                continue
            given = list(branches)
            given[k] = out = branches[k].copy()
            where(c, *given, out=out)
            np.testing.assert_array_equal(out, wanted)
