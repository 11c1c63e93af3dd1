from __future__ import annotations

import mpmath
import numpy as np
import pytest

from chainrule.array.namespace import NUMPY as xp
from chainrule.array.primitives import PRIMITIVES

TYPES = [np.float32, np.float64]

# name -> (where to look: intervals for dense random points, exact value by mpmath)
UNARY = {
    "negative": ([(-9, 9)], lambda x: -x),
    "abs": ([(-9, 9)], abs),
    "sign": ([(-9, 9)], mpmath.sign),
    "floor": ([(-9, 9), (-1e6, 1e6)], mpmath.floor),
    "sqrt": ([(0, 9), (0, 1e30), (0, 1e-30)], mpmath.sqrt),
    "exp": ([(-2, 2), (-80, 80), (-1e-6, 1e-6)], mpmath.exp),
    "expm1": ([(-2, 2), (-80, 80), (-1e-6, 1e-6)], mpmath.expm1),
    "log": ([(0, 9), (0.9, 1.1), (0, 1e30), (0, 1e-30)], mpmath.log),
    "log1p": ([(-1, 9), (-1e-3, 1e-3), (0, 1e30)], mpmath.log1p),
    "sin": ([(-4, 4), (-1e3, 1e3), (-1e-6, 1e-6)], mpmath.sin),
    "cos": ([(-4, 4), (-1e3, 1e3), (1.57, 1.58)], mpmath.cos),
    "tanh": ([(-1, 1), (-20, 20), (-1e-6, 1e-6)], mpmath.tanh),
    "sigmoid": ([(-2, 2), (-80, 80)], lambda x: 1 / (1 + mpmath.exp(-x))),
    "erf": ([(-1, 1), (-6, 6), (-1e-6, 1e-6)], mpmath.erf),
    "lgamma": ([(0.01, 10), (0.9, 1.1), (1.9, 2.1), (10, 1e6)], mpmath.loggamma),
    "digamma": ([(0.01, 1), (2, 50)], mpmath.digamma),
    "trigamma": ([(0.01, 50)], lambda x: mpmath.polygamma(1, x)),
    "polygamma 3": ([(0.01, 50)], lambda x: mpmath.polygamma(3, x)),
}
BINARY = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "pow": lambda a, b: abs(a) ** b,
    "maximum": max,
    "minimum": min,
}
TESTS = {
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
}
POLYGAMMA = {"digamma": 0, "trigamma": 1, "polygamma 3": 3}


def call(name, *arrays):
    if name in POLYGAMMA:
        return PRIMITIVES["polygamma"].numpy(*arrays, n=POLYGAMMA[name])
    return PRIMITIVES[name].numpy(*arrays)


def bound(name):
    return PRIMITIVES["polygamma" if name in POLYGAMMA else name].ulp


def ulps(y, exact):
    """The largest distance of y from the exact values, in units in the last place of the type."""
    with mpmath.workdps(40):
        worst = 0.0
        limit = float(np.finfo(y.dtype).max)
        for a, e in zip(y, exact, strict=True):
            if abs(e) > limit or not np.isfinite(a):
                assert np.isinf(a)
                assert abs(e) > limit * (1 - 1e-6)
                continue
            unit = np.spacing(max(y.dtype.type(abs(float(e))), np.finfo(y.dtype).tiny))
            worst = max(worst, float(abs(mpmath.mpf(float(a)) - e) / float(unit)))
        return worst


def points(intervals, dtype, n=160, seed=0):
    r = np.random.default_rng(seed)
    return np.concatenate([r.uniform(low, high, n) for low, high in intervals]).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", UNARY)
def test_one_argument_is_within_its_bound(name, dtype):
    intervals, exact = UNARY[name]
    x = points(intervals, dtype)
    was = x.copy()
    y = call(name, x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(x, was)
    with mpmath.workdps(40):
        values = [mpmath.re(exact(mpmath.mpf(float(v)))) for v in x]
    assert ulps(y, values) <= bound(name)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", BINARY)
def test_two_arguments_are_within_their_bound(name, dtype):
    intervals = [(-9, 9), (-1e5, 1e5), (0.5, 2)] if name != "pow" else [(0.01, 9), (0.5, 2)]
    a, b = points(intervals, dtype, seed=1), points(intervals, dtype, seed=2)
    before = a.copy(), b.copy()
    y = call(name, a, b)
    assert y.dtype == dtype
    np.testing.assert_array_equal((a, b), before)
    with mpmath.workdps(40):
        values = [
            BINARY[name](mpmath.mpf(float(u)), mpmath.mpf(float(v)))
            for u, v in zip(a, b, strict=True)
        ]
    assert ulps(y, values) <= bound(name)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", TESTS)
def test_comparisons_with_nan_are_false(name, dtype):
    values = special(dtype)
    a, b = (m.ravel() for m in np.meshgrid(values, values))
    y = PRIMITIVES[name].numpy(a, b)
    assert y.dtype == np.bool_
    assert y.tolist() == [TESTS[name](float(u), float(v)) for u, v in zip(a, b, strict=True)]
    nan = np.isnan(a) | np.isnan(b)
    assert np.all(y[nan] == (name == "not_equal"))


def test_logic_and_classes():
    t, f = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert xp.logical_and(t, f).tolist() == [True, False, False, False]
    assert xp.logical_or(t, f).tolist() == [True, True, True, False]
    assert xp.logical_not(t).tolist() == [False, False, True, True]
    x = np.array([0.0, np.nan, np.inf, -np.inf], np.float32)
    assert xp.isnan(x).tolist() == [False, True, False, False]
    assert xp.isfinite(x).tolist() == [True, False, False, False]


def special(dtype):
    info = np.finfo(dtype)
    return np.array(
        [
            0.0, -0.0, info.smallest_subnormal, -info.smallest_subnormal, info.tiny, 1.0, -1.0,
            1e4, -1e4, np.inf, -np.inf, np.nan,
        ],
        dtype,
    )  # fmt: skip


inf, nan = np.inf, np.nan
SUB = "subnormal"  # the value itself, to the last bit
# at      +0   -0   +sub  -sub  tiny   1    -1   1e4   -1e4  inf  -inf  NaN
EDGES = {
    "negative": [-0.0, 0.0, -1, +1, -1, -1, 1, -1e4, 1e4, -inf, inf, nan],
    "abs": [0, 0, 1, 1, 1, 1, 1, 1e4, 1e4, inf, inf, nan],
    "sign": [0, 0, 1, -1, 1, 1, -1, 1, -1, 1, -1, nan],
    "floor": [0, -0.0, 0, -1, 0, 1, -1, 1e4, -1e4, inf, -inf, nan],
    "sqrt": [0, -0.0, None, nan, None, 1, nan, 100, nan, inf, nan, nan],
    "exp": [1, 1, 1, 1, 1, np.e, 1 / np.e, inf, 0, inf, 0, nan],
    "expm1": [0, -0.0, SUB, SUB, SUB, np.e - 1, 1 / np.e - 1, inf, -1, inf, -1, nan],
    "log": [-inf, -inf, None, nan, None, 0, nan, np.log(1e4), nan, inf, nan, nan],
    "log1p": [0, -0.0, SUB, SUB, SUB, np.log(2), -inf, np.log1p(1e4), nan, inf, nan, nan],
    "sin": [
        0, -0.0, SUB, SUB, SUB, np.sin(1), -np.sin(1), np.sin(1e4), -np.sin(1e4), nan, nan, nan
    ],
    "cos": [1, 1, 1, 1, 1, np.cos(1), np.cos(1), np.cos(1e4), np.cos(1e4), nan, nan, nan],
    "tanh": [0, -0.0, SUB, SUB, SUB, np.tanh(1), -np.tanh(1), 1, -1, 1, -1, nan],
    "sigmoid": [0.5, 0.5, 0.5, 0.5, 0.5, 1 / (1 + 1 / np.e), 1 / (1 + np.e), 1, 0, 1, 0, nan],
    "erf": [0, -0.0, None, None, None, 0.8427007929497149, -0.8427007929497149, 1, -1, 1, -1, nan],
    "lgamma": [inf, inf, None, None, None, 0, inf, 82099.71749644238, inf, inf, inf, nan],
}  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", EDGES)
def test_extreme_values_are_the_limits(name, dtype):
    x = special(dtype)
    with np.errstate(all="ignore"):
        y = call(name, x)
    assert y.dtype == dtype
    for value, result, expected in zip(x, y, EDGES[name], strict=True):
        if expected is None:
            assert not np.isnan(result)
        elif expected == SUB:
            assert result == value
        elif np.abs(value) < 1e-30 and name in ("negative", "abs") and value != 0:
            assert result == (abs(value) if name == "abs" else -value)
        else:
            np.testing.assert_allclose(result, expected, rtol=4e-7, atol=1e-7, err_msg=str(value))
            if expected == 0 or np.isinf(expected):
                assert result == expected
                assert np.signbit(result) == np.signbit(dtype(expected)), value


@pytest.mark.parametrize("dtype", TYPES)
def test_extreme_values_of_two_arguments(dtype):
    values = special(dtype)
    a, b = (m.ravel() for m in np.meshgrid(values, values))
    nan = np.isnan(a) | np.isnan(b)
    with np.errstate(all="ignore"):
        largest, smallest, power = xp.maximum(a, b), xp.minimum(a, b), xp.pow(a, b)
    np.testing.assert_array_equal(np.isnan(largest), nan)
    np.testing.assert_array_equal(np.isnan(smallest), nan)
    np.testing.assert_array_equal(largest[~nan], np.where(a > b, a, b)[~nan])
    np.testing.assert_array_equal(smallest[~nan], np.where(a < b, a, b)[~nan])
    assert np.all(power[b == 0] == 1)
    assert np.all(power[a == 1] == 1)
    with np.errstate(all="ignore"):
        assert np.isnan(xp.pow(dtype(-2), dtype(0.5)))
        assert np.isnan(xp.multiply(dtype(0), dtype(inf)))
        assert np.isnan(xp.divide(dtype(0), dtype(0)))
        assert xp.divide(dtype(1), dtype(-0.0)) == -inf
        assert np.isnan(xp.add(dtype(inf), dtype(-inf)))
        assert np.isnan(xp.subtract(dtype(inf), dtype(inf)))


@pytest.mark.parametrize("dtype", TYPES)
def test_where_keeps_the_other_branch_out(dtype):
    x = special(dtype)
    never, always = np.zeros(x.size, bool), np.ones(x.size, bool)
    for other in (np.full_like(x, nan), np.full_like(x, inf), 0.0):
        for y in (xp.where(always, x, other), xp.where(never, other, x)):
            assert y.dtype == dtype
            assert y.tobytes() == x.tobytes()
    np.testing.assert_array_equal(xp.where(never, x, 0.0), np.zeros_like(x))


@pytest.mark.parametrize("dtype", TYPES)
def test_reductions(dtype):
    """The bound is in units in the last place of the sum of the magnitudes."""
    for seed in range(20):
        for interval in ((-1, 1), (0, 1)):
            x = points([interval], dtype, n=1000, seed=seed)
            exact = mpmath.fsum(mpmath.mpf(float(v)) for v in x)
            unit = np.spacing(np.abs(x).sum())
            assert abs(xp.sum(x) - float(exact)) <= PRIMITIVES["sum"].ulp * unit
    assert xp.sum(x).dtype == xp.max(x).dtype == dtype
    assert xp.max(x) == max(x.tolist())
    bad = np.array([1, nan, 3, inf], dtype)
    assert np.isnan(xp.max(bad))
    assert np.isnan(xp.sum(bad))
    with np.errstate(invalid="ignore"):
        assert np.isnan(xp.sum(np.array([inf, -inf], dtype)))
    y = xp.sum_to(np.ones((4, 3), dtype), np.ones((1, 3)))
    assert y.dtype == dtype
    assert y.tolist() == [[4, 4, 4]]


def test_shapes():
    x = np.arange(3.0)
    assert xp.broadcast_to(x, np.ones((2, 3))).tolist() == [[0, 1, 2]] * 2
    assert xp.expand_dims(x, axis=1).shape == (3, 1)
    assert xp.squeeze(x[None], axis=0).shape == (3,)
    np.testing.assert_array_equal(xp.stop_gradient(x), x)


# derivatives

# name -> points away from kinks and poles
SLOPES = {
    "add": [(-2, 2), (-2, 2)], "subtract": [(-2, 2), (-2, 2)], "multiply": [(-2, 2), (-2, 2)],
    "divide": [(-2, 2), (0.5, 2)], "negative": [(-2, 2)], "abs": [(0.1, 2)], "sqrt": [(0.2, 3)],
    "exp": [(-2, 2)], "expm1": [(-2, 2)], "log": [(0.2, 3)], "log1p": [(-0.7, 3)],
    "sin": [(-3, 3)], "cos": [(-3, 3)], "tanh": [(-2, 2)], "sigmoid": [(-4, 4)], "erf": [(-2, 2)],
    "lgamma": [(0.5, 5)], "digamma": [(0.5, 5)], "trigamma": [(0.5, 5)], "polygamma 3": [(0.5, 5)],
    "pow": [(0.5, 2), (-2, 2)], "maximum": [(0, 1), (1.1, 2)], "minimum": [(0, 1), (1.1, 2)],
}  # fmt: skip


def pull(name, y, g, *inputs, **attrs):
    if name in POLYGAMMA:
        name, attrs = "polygamma", {"n": POLYGAMMA[name]}
    return PRIMITIVES[name].vjp(xp, y, g, *inputs, **attrs)


@pytest.mark.parametrize("name", SLOPES)
def test_the_vjp_is_the_slope(name):
    xs = [points([i], np.float64, n=20, seed=k) for k, i in enumerate(SLOPES[name])]
    g, h = points([(-1, 1)], np.float64, n=20, seed=9), 1e-6
    cotangents = pull(name, call(name, *xs), g, *xs)
    for k, c in enumerate(cotangents):
        up, down = ([x + s * h * (i == k) for i, x in enumerate(xs)] for s in (1, -1))
        slope = (call(name, *up) - call(name, *down)) / (2 * h)
        np.testing.assert_allclose(c, g * slope, rtol=1e-7, atol=1e-8)
    for c in pull(name, *(np.float32(a) for a in (call(name, *xs), g, *xs))):
        assert c.dtype == np.float32


def test_every_row_is_proved_here():
    proved = {*UNARY, *BINARY, *TESTS, "polygamma", "where", "isnan", "isfinite", "one_hot"}
    proved |= {"logical_and", "logical_or", "logical_not", "sum", "max", "sum_to", "broadcast_to"}
    proved |= {"squeeze", "expand_dims", "stop_gradient"}
    assert set(PRIMITIVES) <= proved
    for name, row in PRIMITIVES.items():
        assert row.name == name
        smooth = row.kind != "test" and name not in ("sign", "floor", "stop_gradient")
        assert (row.vjp is not None) == smooth
        if smooth and row.kind == "elementwise" and name not in ("where", "polygamma"):
            assert name in SLOPES


def test_where_and_linear_rows_pull_back_their_adjoint():
    r = np.random.default_rng(0)
    x, g = r.normal(size=(4, 3)), r.normal(size=(4, 3))
    c = x > 0
    none, a, b = PRIMITIVES["where"].vjp(xp, x, g, c, x, x)
    assert none is None
    np.testing.assert_array_equal(a, np.where(c, g, 0))
    np.testing.assert_array_equal(b, np.where(c, 0, g))
    # <A x, u> = <x, A' u>
    for name, u, args, attrs in (
        ("sum", r.normal(size=(4, 1)), (), {"axis": 1, "keepdims": True}),
        ("sum_to", r.normal(size=3), (np.ones(3),), {}),
        ("broadcast_to", r.normal(size=(2, 4, 3)), (np.ones((2, 4, 3)),), {}),
        ("expand_dims", r.normal(size=(4, 1, 3)), (), {"axis": 1}),
    ):
        y = getattr(xp, name)(x, *args, **attrs)
        back = PRIMITIVES[name].vjp(xp, y, u, x, *args, **attrs)[0]
        np.testing.assert_allclose(np.sum(y * u), np.sum(x * back))
    u = r.normal(size=3)
    (back,) = PRIMITIVES["squeeze"].vjp(xp, None, u, np.ones((1, 3)), axis=0)
    assert back.tolist() == [u.tolist()]


def test_ties_kinks_and_limits():
    one = np.ones(3)
    a, b = np.array([1.0, 2.0, nan]), np.array([1.0, 3.0, 1.0])
    for name, first, second in (
        ("maximum", [0.5, 0, 1], [0.5, 1, 1]),
        ("minimum", [0.5, 1, 1], [0.5, 0, 1]),
    ):
        da, db = pull(name, call(name, a, b), one, a, b)
        assert da.tolist() == first
        assert db.tolist() == second
    x = np.array([2.0, 2.0, 0.0])
    (dx,) = PRIMITIVES["max"].vjp(xp, xp.max(x), np.array(1.0), x, axis=None, keepdims=False)
    assert dx.tolist() == [0.5, 0.5, 0]
    assert pull("abs", np.zeros(1), np.ones(1), np.zeros(1))[0] == 0
    base = np.zeros(2)
    power = np.array([0.0, 2.0])
    slope, log = pull("pow", base**power, np.ones(2), base, power)
    assert slope.tolist() == [0, 0]
    assert log.tolist() == [0, 0]
    x = np.array([-1e4, 1e4, -inf, inf])
    for name in ("tanh", "sigmoid", "erf"):
        (dx,) = pull(name, call(name, x), np.ones(4), x)
        assert dx.tolist() == [0, 0, 0, 0]
    with np.errstate(divide="ignore"):
        assert pull("sqrt", np.zeros(1), np.ones(1), np.zeros(1))[0] == inf


def test_sigmoids_tails_keep_their_slope():
    x = np.array([-80.0, 80.0], np.float32)
    (dx,) = pull("sigmoid", call("sigmoid", x), np.ones(2, np.float32), x)
    np.testing.assert_allclose(dx, np.exp(-80.0), rtol=1e-5)
