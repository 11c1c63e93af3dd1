"""Errata of activations: formulas that overflow, missing constants, derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import chainrule as cr
from errata.measured import (
    ROUNDING,
    Errors,
    array,
    as_printed,
    differences,
    erratum,
    error,
    gradient,
    off,
    relative,
    rng,
    sigma,
    slopes,
    softmax,
    worst,
)


@erratum("E000-07", within=ROUNDING)
def softmax_of_large_logits() -> Errors:
    """softmax of (1000, 0, −1000): `cr.ops.softmax` beside the limit (1, 0, 0)."""
    z, limit = np.array([1000.0, 0.0, -1000.0]), [1.0, 0.0, 0.0]
    with as_printed():
        printed = error(softmax(z), limit)
    return printed, off(cr.ops.softmax(z), limit)


@erratum("E000-08", within=ROUNDING, needs=["mpmath"])
def sigmoid_derivative() -> Errors:
    """σ(1 − σ) and the derivative of `cr.ops.sigmoid` at 40, 60 and −40: relative errors, beside
    60 digits of mpmath."""
    import mpmath

    z = np.array([40.0, 60.0, -40.0])
    with mpmath.workdps(60):
        exact = [float(mpmath.e ** (-mpmath.mpf(v)) / (1 + mpmath.e ** (-v)) ** 2) for v in z]
    printed = sigma(z) * (1 - sigma(z))
    return relative(printed, exact), relative(slopes(cr.ops.sigmoid, z), exact)


@erratum("E001-08")
def derivative_of_output() -> Errors:
    """z(1 − z) with z the argument of σ; the derivative of `cr.ops.sigmoid`; differences."""
    z = rng(20).normal(size=4)
    expected = np.diag(differences(sigma, z))
    return error(z * (1 - z), expected), off(slopes(cr.ops.sigmoid, z), expected)


@erratum("E001-10", within=ROUNDING)
def tanh_of_large_arguments() -> Errors:
    """(eᶻ − e⁻ᶻ)/(eᶻ + e⁻ᶻ) and `cr.ops.tanh` at 800, −800 and 400, beside ±1."""
    z, limit = np.array([800.0, -800.0, 400.0]), [1.0, -1.0, 1.0]
    with as_printed():
        printed = error((np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)), limit)
    return printed, off(cr.ops.tanh(z), limit)


_L, _K, _X0 = 3.0, 2.0, 0.5


def _logistic(x: Any) -> Any:
    return _L / (1 + np.exp(_K * (_X0 - x)))


def _logistic_by_library(x: Any) -> Any:
    return cr.ops.logistic(x, L=_L, k=_K, x0=_X0)


@erratum("E003-02")
def slope_at_the_midpoint() -> Errors:
    """k itself, and the derivative of `cr.ops.logistic`, L = 3, k = 2, at the midpoint, beside
    differences (L k/4 = 1.5)."""
    expected = np.diag(differences(_logistic, [_X0]))
    return error([_K], expected), off(slopes(_logistic_by_library, [_X0]), expected)


@erratum("E003-03")
def general_logistic() -> Errors:
    """a(1 − a) with L = 3, k = 2; the derivative of `cr.ops.logistic`; differences."""
    x = rng(21).normal(size=5)
    a, expected = _logistic(x), np.diag(differences(_logistic, x))
    return error(a * (1 - a), expected), off(slopes(_logistic_by_library, x), expected)


@erratum("E003-04", within=ROUNDING)
def sigmoid_of_large_arguments() -> Errors:
    """eᶻ/(1 + eᶻ) and `cr.ops.sigmoid` at 800 and −800, beside 1 and 0, and its derivative."""
    z = np.array([800.0, -800.0])
    with as_printed():
        printed = error(np.exp(z) / (1 + np.exp(z)), [1.0, 0.0])
    slope = off(slopes(cr.ops.sigmoid, z), [0.0, 0.0])
    return printed, worst(slope, off(cr.ops.sigmoid(z), [1.0, 0.0]))


def _elu(z: Any, alpha: float) -> Any:
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


@erratum("E003-13", within=ROUNDING)
def range_of_elu() -> Errors:
    """The largest slope of ELU with α = 1.5 beside the 1 of the table, and its lower end beside
    −∞; `cr.ops.elu` keeps to (−α, ∞) and max(1, α)."""
    alpha, z = 1.5, np.linspace(-50.0, 50.0, 10_001)
    steepest = (_elu(-1e-9, alpha) - _elu(-2e-9, alpha)) / 1e-9
    ours = slopes(lambda v: cr.ops.elu(v, alpha=alpha), z)
    low = array(cr.ops.elu(np.array([-1e4]), alpha=alpha))
    return steepest - 1.0, worst(abs(ours.max() - max(1.0, alpha)), off(low, [-alpha]))


@erratum("E003-14", within=ROUNDING)
def elu_at_zero() -> Errors:
    """ELU'(0) with α = 1.5 of the table's branch z ≥ 0, which is 1, and of `cr.ops.elu`, beside
    the slope from the left, α, which note 004 and torch take."""
    alpha = 1.5
    ours = slopes(lambda v: cr.ops.elu(v, alpha=alpha), [0.0])
    return error([1.0], [alpha]), off(ours, [alpha])


@erratum("E003-15", at_least=1e-3)
def softmax_jacobian() -> Errors:
    """The Jacobian with a sign lost in row 2; `cr.jacobian` of softmax; differences."""
    z = rng(22).normal(size=4)
    a, expected = softmax(z), differences(softmax, z)
    printed = np.diag(a) - np.outer(a, a)
    printed[1, 3] = a[1] * a[3]
    return error(printed, expected), off(cr.jacobian(cr.ops.softmax)(z), expected)


@erratum("E003-20", within=ROUNDING)
def two_classes_are_logistic() -> Errors:
    """The numerator after dividing by e^z₁, which is 1, beside the printed e^(z₁ − z₂);
    `cr.ops.softmax` of two logits beside `cr.ops.sigmoid` of their difference."""
    z = np.array([0.3, -0.4])
    ours = array(cr.ops.softmax(z))[0]
    return error(1.0, np.exp(z[0] - z[1])), off(ours, cr.ops.sigmoid(z[:1] - z[1:])[0])


_ALPHA, _LAMBDA = 1.6732632423543772, 1.0507009873554805


@erratum("E004-08", within=ROUNDING)
def selu_at_zero() -> Errors:
    """SELU'(0) = λ of the branch z ≥ 0, and of `cr.ops.selu`, beside λα of the printed branch."""
    return error([_LAMBDA], [_LAMBDA * _ALPHA]), off(slopes(cr.ops.selu, [0.0]), [_LAMBDA * _ALPHA])


def _moments(f: Any) -> list[float]:
    """Mean and mean square of f(x), x standard normal: the trapezoidal rule on both sides of 0."""
    total = np.zeros(2)
    for x in (np.linspace(-12.0, 0.0, 20_001), np.linspace(0.0, 12.0, 20_001)):
        density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        y = array(f(x))
        total += [np.trapezoid(y * density, x), np.trapezoid(y**2 * density, x)]
    return [float(t) for t in total]


@erratum("E004-09")
def constants_of_selu() -> Errors:
    """Mean and mean square of SELU of a standard normal number, to be 0 and 1: with
    α = λ = 1 in place of the constants that are not given; `cr.ops.selu`."""
    return error(_moments(lambda x: _elu(x, 1.0)), [0, 1]), off(_moments(cr.ops.selu), [0, 1])


def _phi(x: Any) -> Any:
    """The normal distribution function."""
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in np.atleast_1d(x)])


@erratum("E004-10", at_least=4e-4, within=ROUNDING)
def gelu_by_tanh() -> Errors:
    """The tanh form of GELU and `cr.ops.gelu`, beside x Φ(x) by `math.erfc`, on [−6, 6]."""
    x = np.linspace(-6, 6, 4001)
    exact = x * _phi(x)
    printed = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    form = off(cr.ops.gelu(x, approximate="tanh"), printed)
    return error(printed, exact), worst(off(cr.ops.gelu(x), exact), form)


@erratum("E004-11", within=ROUNDING)
def gelu_derivative() -> Errors:
    """The derivative of `cr.ops.gelu` beside Φ(x) + x φ(x), and of its tanh form beside the
    closed form."""
    x = rng(23).normal(size=6)
    exact = _phi(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    closed = 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2)
    form = off(slopes(lambda v: cr.ops.gelu(v, approximate="tanh"), x), closed)
    return None, worst(off(slopes(cr.ops.gelu, x), exact), form)


@erratum("E004-07")
def slope_of_prelu() -> Errors:
    """∂/∂a of PReLU summed over 6 entries, taken for 0 where the note gives none; `cr.ops.prelu`;
    differences."""
    x = rng(24).normal(size=(6, 1))
    expected = differences(lambda a: np.where(x > 0, x, a * x).sum(), [0.25])
    ours = gradient(lambda a: cr.ops.prelu(x, a).sum(), [0.25])
    return error([0.0], expected), off(ours, expected)


@erratum("E004-12")
def gated_linear_unit() -> Errors:
    """The Kronecker product of a and σ(b), 16 numbers; `cr.ops.glu` of both halves, and its
    derivative by b; by hand, and differences."""
    r = rng(25)
    a, b, g = r.normal(size=4), r.normal(size=4), r.normal(size=4)
    value = off(cr.ops.glu(np.concatenate([a, b])), a * sigma(b))
    ours = gradient(lambda v: (g * cr.ops.glu(v)).sum(), np.concatenate([a, b]))
    by_a = g * sigma(b)
    by_b = differences(lambda v: np.sum(g * a * sigma(v)), b)
    return error(np.kron(a, sigma(b)), a * sigma(b)), worst(
        value, off(ours, np.concatenate([by_a, by_b]))
    )


@erratum("E004-13", within=1e-3)
def range_of_rrelu() -> Errors:
    """The slopes that `cr.ops.rrelu` draws 100,000 times, their least, mean and largest beside 1/8,
    11/48 and 1/3; its slope for testing beside 11/48."""
    x = np.full(100_000, -1.0)
    drawn = -array(cr.ops.rrelu(x, training=True))
    tested = -array(cr.ops.rrelu(x[:1], training=False))
    found = [drawn.min(), drawn.mean(), drawn.max(), tested[0]]
    return None, off(found, [1 / 8, 11 / 48, 1 / 3, 11 / 48])
