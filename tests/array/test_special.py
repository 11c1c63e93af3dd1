"""erf, lgamma, digamma and polygamma against the standard library and 50-digit values."""

from __future__ import annotations

import itertools
import math
import os
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from chainrule.array.special import digamma, erf, lgamma, polygamma

INF, NAN = np.inf, np.nan
FUNCTIONS = {
    "erf": erf,
    "lgamma": lgamma,
    "digamma": digamma,
    "trigamma": lambda x: polygamma(1, x),
    "tetragamma": lambda x: polygamma(2, x),
}


@pytest.fixture(scope="module")
def mp() -> ModuleType:
    """mpmath at 50 digits: its absence skips these tests, except in continuous integration."""
    if os.environ.get("CI"):
        import mpmath
    else:
        mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 50
    return mpmath


def ulps(y: np.ndarray, exact: list[Any]) -> float:
    """The largest error of y, in units of its dtype's spacing at the exact value."""
    spacing = [float(np.spacing(y.dtype.type(abs(float(e))))) for e in exact]
    errors = [float(abs(float(a) - e)) / s for a, e, s in zip(y, exact, spacing, strict=True)]
    return max(errors)


def sample(seed: int, *intervals: tuple[float, float], n: int = 250) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(a, b, n) for a, b in intervals])


# --- against the standard library, always ------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_equals_math_erf(dtype: type) -> None:
    x = np.linspace(-6.5, 6.5, 40001).astype(dtype)
    expected = np.array([math.erf(v) for v in x.tolist()])
    bound = 0.87 if dtype is np.float32 else 2.5  # math.erf is itself off by up to one
    error = np.abs(erf(x) - expected) / np.spacing(np.abs(expected).astype(dtype))
    assert error.max() <= bound


def test_lgamma_equals_math_lgamma() -> None:
    x = np.concatenate([np.linspace(-0.49, 30, 20001), np.geomspace(1e-300, 2.5e305, 2001)])
    expected = np.array([math.lgamma(v) for v in x.tolist()])
    # Around 1 and 2 math.lgamma itself is right to absolute precision only.
    np.testing.assert_allclose(lgamma(x), expected, rtol=3e-15, atol=3e-15)


def test_digamma_and_polygamma_are_the_derivatives() -> None:
    x = np.linspace(0.3, 15, 200)
    h = 1e-4
    numeric = (lgamma(x + h) - lgamma(x - h)) / (2 * h)
    np.testing.assert_allclose(digamma(x), numeric, rtol=1e-6, atol=1e-6)
    for n in range(1, 5):
        numeric = (polygamma(n - 1, x + h) - polygamma(n - 1, x - h)) / (2 * h)
        np.testing.assert_allclose(polygamma(n, x), numeric, rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 8, 40])
def test_recurrence_across_all_branches(n: int) -> None:
    """ψ⁽ⁿ⁾(x+1) - ψ⁽ⁿ⁾(x) = (-1)ⁿ n! x⁻ⁿ⁻¹, for negative, small and large x."""
    x = sample(n, (-6, 0), (0, 12), (12, 70))
    step = (-1) ** n * float(math.factorial(n)) * x ** -(n + 1)
    low, high = polygamma(n, x), polygamma(n, x + 1)
    size = np.maximum(np.maximum(np.abs(low), np.abs(high)), 1e-300)
    near_pole = np.abs(x - np.round(x)) < 0.05  # x + 1 rounds, which the pole magnifies
    assert np.all((np.abs(high - low - step) <= 1e-12 * (n + 1) * size) | (near_pole & (x < 0)))


# --- against 50 digits -------------------------------------------------------------------------


def test_erf_float64(mp: ModuleType) -> None:
    x = sample(1, (-6, 6), (0.9, 1.1), (0, 0.5), n=1200)
    assert ulps(erf(x), [mp.erf(v) for v in x.tolist()]) <= 2


def test_erf_float32_in_every_binade(mp: ModuleType) -> None:
    x = np.arange(0x20000000, 0x40A00000, 140001, dtype=np.uint32).view(np.float32)
    assert ulps(erf(x), [mp.erf(v) for v in x.tolist()]) <= 0.86


def test_lgamma_positive(mp: ModuleType) -> None:
    near = np.geomspace(1e-15, 0.2, 200)
    x = np.concatenate(
        [
            sample(2, (-0.49, 0), (0, 2.6), (2.6, 9), (9, 50), n=400),
            *(1 + near, 1 - near, 2 + near, 2 - near),
            *(np.geomspace(50, 2.5e305, 100), np.geomspace(1e-307, 1, 100)),
        ]
    )
    exact = [mp.loggamma(v).real for v in x.tolist()]
    assert ulps(lgamma(x), exact) <= 4
    f = x[(np.abs(x) > 1e-37) & (np.abs(x) < 1e36)].astype(np.float32)
    f = f[(f != 1) & (f != 2)]
    assert ulps(lgamma(f), [mp.loggamma(v).real for v in f.tolist()]) <= 0.51


def test_lgamma_negative(mp: ModuleType) -> None:
    x = sample(3, (-3, -0.5), (-30, -3), (-150, -30))
    exact = [mp.log(abs(mp.gamma(v))) for v in x.tolist()]
    for y, e in zip(lgamma(x).tolist(), exact, strict=True):
        assert abs(y - e) <= 1e-15 * max(1, abs(e))


def test_digamma(mp: ModuleType) -> None:
    x = np.concatenate([sample(4, (0, 3), (3, 20)), np.geomspace(1e-300, 1e300, 200)])
    for y, v in zip(digamma(x).tolist(), x.tolist(), strict=True):
        e = mp.digamma(v)
        assert abs(y - e) <= 1.1e-15 * max(1, abs(e))
    x = sample(5, (-4, 0), (-90, -4))
    for y, v in zip(digamma(x).tolist(), x.tolist(), strict=True):
        e = mp.digamma(v)
        assert abs(y - e) <= 1.6e-15 * max(1, abs(e))
    f = sample(6, (-9, 0), (0, 9)).astype(np.float32)
    assert ulps(digamma(f), [mp.digamma(v) for v in f.tolist()]) <= 0.51


@pytest.mark.parametrize(("n", "bound"), [(1, 5), (2, 5), (5, 5), (10, 7), (30, 12)])
def test_polygamma(mp: ModuleType, n: int, bound: float) -> None:
    x = np.concatenate([sample(n, (0, 40), n=60), np.geomspace(1e-4, 1e4, 40)])
    with mp.workdps(200):  # the oracle's zeta has absolute, not relative precision
        sign = (-1) ** (n + 1)
        exact = [sign * mp.factorial(n) * mp.zeta(n + 1, v) for v in x.tolist()]
        assert ulps(polygamma(n, x), exact) <= bound


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_polygamma_negative(mp: ModuleType, n: int) -> None:
    x = sample(n, (-7, 0), n=60)
    y, other = polygamma(n, x), polygamma(n, 1 - x)
    for a, b, v in zip(y.tolist(), other.tolist(), x.tolist(), strict=True):
        e = mp.polygamma(n, mp.mpf(v))
        assert abs(a - e) <= 2e-15 * max(abs(e), abs(b))


# --- limits ------------------------------------------------------------------------------------

LIMITS = {
    "erf": {INF: 1, -INF: -1, 1e308: 1, -1e308: -1},
    "lgamma": {-1: INF, -2: INF, INF: INF, -INF: INF, 1: 0, 2: 0, 1e308: INF,
               -1e308: INF},
    "digamma": {-1: NAN, -2: NAN, INF: INF, -INF: NAN, -1e308: NAN},
    "trigamma": {-1: INF, -2: INF, INF: 0.0, -INF: NAN},
    "tetragamma": {-1: NAN, INF: -0.0, -INF: NAN},
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str, dtype: type) -> None:
    cases = [*LIMITS[name].items(), (NAN, NAN)]
    cases = [
        (x, y) for x, y in cases if abs(x) <= float(np.finfo(dtype).max) or math.isinf(x) or x != x
    ]
    x = np.array([c[0] for c in cases], dtype)
    expected = np.array([c[1] for c in cases], dtype)
    y = FUNCTIONS[name](x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_zeros(dtype: type) -> None:
    zeros = np.array([0.0, -0.0], dtype)
    assert np.signbit(erf(zeros)).tolist() == [False, True]
    assert lgamma(zeros).tolist() == [INF, INF]
    assert digamma(zeros).tolist() == [-INF, INF]
    assert polygamma(1, zeros).tolist() == [INF, INF]
    assert polygamma(2, zeros).tolist() == [-INF, INF]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormal_and_extreme_inputs(dtype: type) -> None:
    tiny = float(np.finfo(dtype).smallest_subnormal)
    x = np.array([tiny, -tiny, 1000 * tiny, -1000 * tiny], dtype)
    np.testing.assert_allclose(erf(x) / dtype(tiny), [1, -1, 1128, -1128])
    np.testing.assert_allclose(lgamma(x), -np.log(np.abs(x).astype(np.longdouble)), rtol=1e-6)
    assert np.isinf(digamma(x)).all()
    big = np.array([3.9, 3.93, 5.9, 6.0, 7, 100, 1e30], dtype)
    assert np.all(np.diff(erf(big)) >= 0)
    assert erf(big)[-4:].tolist() == [1, 1, 1, 1]
    assert np.array_equal(erf(-big), -erf(big))


def test_order_170_is_finite_where_the_value_is() -> None:
    x = np.array([2.0, 30.0, -0.5, -1.5])
    total = [
        -math.fsum(math.exp(math.lgamma(171) - 171 * math.log(a + i)) for i in range(400))
        for a in (2.0, 30.0, 1.5, 2.5)
    ]  # the terms on both sides of 0 cancel at -½, -1½
    np.testing.assert_allclose(polygamma(170, x), total, rtol=1e-11)  # fmt: skip


# --- arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_shapes_and_layouts(name: str) -> None:
    f = FUNCTIONS[name]
    base = sample(7, (0.2, 5), n=40_000).astype(np.float32).reshape(40, 10, 100)
    flat = np.array([f(row) for row in base.reshape(-1, 100)]).reshape(base.shape)
    np.testing.assert_array_equal(f(base), flat)
    np.testing.assert_array_equal(f(base.transpose(2, 0, 1)), flat.transpose(2, 0, 1))
    np.testing.assert_array_equal(f(base[::3, :, ::-2]), flat[::3, :, ::-2])
    np.testing.assert_array_equal(f(base[0].astype(">f4")), flat[0])
    assert f(np.zeros((0, 3), np.float32)).shape == (0, 3)
    scalar = f(np.float32(1.5))
    assert type(scalar) is np.float32
    assert type(f(1.5)) is np.float64
    assert type(f(2)) is np.float64
    assert f(np.array([1, 2])).dtype == np.float64


def test_erf_out_may_be_the_input_or_overlap_it() -> None:
    x = sample(8, (-4, 4), n=40_000).astype(np.float32)
    expected = erf(x)
    out = np.empty_like(x)
    assert erf(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    strided = np.empty(2 * x.size, np.float32)[::2]
    assert erf(x, out=strided) is strided
    np.testing.assert_array_equal(strided, expected)
    buffer = np.concatenate([x, np.zeros(1, np.float32)])
    erf(buffer[:-1], out=buffer[1:])
    np.testing.assert_array_equal(buffer[1:], expected)
    erf(x, out=x)
    np.testing.assert_array_equal(x, expected)


def test_errors_say_what_to_do() -> None:
    x = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=r"shape \(3,\).*got \(2,\).*empty_like"):
        erf(x, out=np.zeros(2, np.float32))
    with pytest.raises(TypeError, match=r"float32.*float64"):
        erf(x, out=np.zeros(3))
    for f, bad in itertools.product(FUNCTIONS.values(), [np.zeros(2, complex), ["a"]]):
        with pytest.raises(TypeError, match="real numbers"):
            f(bad)
    with pytest.raises(ValueError, match="order n from 0 to 170, got -1"):
        polygamma(-1, x)
    with pytest.raises(ValueError, match="got 171"):
        polygamma(171, x)
    with pytest.raises(TypeError):
        polygamma(1.0, x)  # type: ignore[arg-type]
