"""Errata of initial values, penalties and metrics."""

from __future__ import annotations

import math
from functools import cache
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
    worst,
)

# -- initial values -------------------------------------------------------------------------------


def _bound(weights: Any) -> float:
    """The end of a uniform distribution, from many draws of it."""
    return float(np.abs(array(weights)).max())


@erratum("E003-10", within=1e-4)
def he_bound() -> Errors:
    """6/√fan_in and the largest of 256,000 draws of `cr.init.he_uniform`, beside √(6/64), which
    keeps the mean square through ReLU: relative differences."""
    expected = math.sqrt(6 / 64)
    drawn = _bound(cr.init.he_uniform((4000, 64)))
    return relative(6 / math.sqrt(64), expected), relative(drawn, expected)


@erratum("E003-11", within=1e-3)
def fan_out_of_the_next_layer() -> Errors:
    """√(6/(100 + 10)) of a 100-50-10 network's first matrix and the largest draw of
    `cr.init.xavier_uniform`, beside √(6/(100 + 50)): relative."""
    expected = math.sqrt(6 / 150)
    drawn = _bound(cr.init.xavier_uniform((50, 100)))
    return relative(math.sqrt(6 / 110), expected), relative(drawn, expected)


@erratum("E003-12", within=1e-3)
def factor_four() -> Errors:
    """4√(6/150) beside Glorot's bound with the gain of the logistic function, which is 1 in torch;
    the largest draw of `cr.init.xavier_uniform` with gain 4 and with `cr.init.gain`: relative."""
    expected = math.sqrt(6 / 150)
    four = _bound(cr.init.xavier_uniform((50, 100), gain=4))
    one = _bound(cr.init.xavier_uniform((50, 100), gain=cr.init.gain("sigmoid")))
    return relative(4 * expected, expected), worst(
        relative(four, 4 * expected), relative(one, expected)
    )


@erratum("E004-27", at_least=0.5, within=0.02)
def variance_of_glorot() -> Errors:
    """1/n beside Glorot's 2/(n_in + n_out) for 100 inputs and 300 outputs; the variance of 30,000
    draws of `cr.init.xavier_normal` beside it, and of `cr.init.lecun_normal` beside 1/n:
    relative."""
    glorot = array(cr.init.xavier_normal((300, 100))).var()
    lecun = array(cr.init.lecun_normal((300, 100))).var()
    return relative(1 / 100, 2 / 400), worst(relative(glorot, 2 / 400), relative(lecun, 1 / 100))


@erratum("E004-28", at_least=0.5, within=0.1)
def variance_of_a_sum() -> Errors:
    """Var(w) = 1/n, as printed on the left, beside Var(s), s = Σ w x, of weights by
    `cr.init.lecun_normal` and inputs of variance 2; Var(x) beside it."""
    w = array(cr.init.lecun_normal((200, 100)))
    x = rng(41).normal(0, math.sqrt(2), (100, 500))
    variance = (w @ x).var()
    return abs(1 / 100 - variance), abs(x.var() - variance)


# -- penalties ------------------------------------------------------------------------------------


@cache
def _weights() -> Any:
    return rng(42).normal(size=(4, 3))


@erratum("E004-30", within=ROUNDING)
def one_sign_two_norms() -> Errors:
    """√ΣW² beside the largest singular value of a 4×3 matrix; `cr.ops.norm` is the first,
    `cr.regularizers.SpectralNorm` the second."""
    w = _weights()
    frobenius, largest = math.sqrt(np.sum(w**2)), float(np.linalg.svd(w)[1][0])
    spectral = cr.regularizers.SpectralNorm(1.0)(cr.tensor(w))
    return frobenius - largest, worst(off(cr.ops.norm(w), frobenius), off(spectral, largest))


@erratum("E004-31")
def derivative_of_the_spectral_norm() -> Errors:
    """The derivative of `cr.regularizers.SpectralNorm`, exactly and by power iteration, beside
    u₁v₁ᵀ by `numpy.linalg.svd` and central differences."""
    w = _weights()
    u, _, vt = np.linalg.svd(w)
    exact = gradient(cr.regularizers.SpectralNorm(1.0), w)
    power = gradient(cr.regularizers.SpectralNorm(1.0, method="power"), w)
    return None, worst(
        off(exact, np.outer(u[:, 0], vt[0])),
        off(exact, differences(lambda m: np.linalg.norm(m, 2), w)),
        off(power, exact),
    )


@erratum("E004-32")
def derivative_of_orthogonality() -> Errors:
    """The derivative of `cr.regularizers.Orthogonality` beside 4W(WᵀW − I) and differences."""
    w = _weights()
    ours = gradient(cr.regularizers.Orthogonality(1.0), w)
    plain = differences(lambda m: np.sum((m.T @ m - np.eye(3)) ** 2), w)
    return None, worst(off(ours, 4 * w @ (w.T @ w - np.eye(3))), off(ours, plain))


@erratum("E004-33")
def penalty_without_a_gradient() -> Errors:
    """The update's missing term, 0, and the derivative of the penalty of `cr.regularizers.MaxNorm`,
    c = 1; differences; that its projection leaves no row longer than c."""
    w = _weights()
    expected = differences(lambda m: np.maximum(0, np.linalg.norm(m, axis=1) - 1).sum(), w)
    ours = gradient(cr.regularizers.MaxNorm(1.0, strength=1.0), w)
    held = cr.nn.Parameter(w)
    cr.regularizers.MaxNorm(1.0).after_update(held)
    longest = np.linalg.norm(array(held), axis=1).max()
    return error(np.zeros((4, 3)), expected), worst(off(ours, expected), max(0.0, longest - 1))


@erratum("E004-54", at_least=1e-3, within=ROUNDING)
def steps_around_zero() -> Errors:
    """What is left of w = 0.005, which is to become 0, after 1000 steps of `cr.optim.SGD` by
    0.01 sign(w), the derivative of `cr.regularizers.L1`; with `proximal=True`."""
    left = []
    for proximal in (False, True):
        w = cr.nn.Parameter(np.array([[0.005]]))
        optimizer, penalty = cr.optim.SGD([w], lr=1.0), cr.regularizers.L1(0.01, proximal=proximal)
        for _ in range(1000):
            w.grad = gradient(penalty, array(w))
            optimizer.step()
            penalty.after_update(w, lr=1.0)
        left.append(off(w, [[0.0]]))
    return left[0], left[1]


@erratum("X-09")
def half_of_l2() -> Errors:
    """Keras' gradient 2λw beside that of note 004's ½λ‖w‖², by differences; that of
    `cr.regularizers.L2`, and λw of a step by `cr.optim.SGD(weight_decay=λ)`."""
    w, strength = _weights(), 0.1
    expected = differences(lambda m: 0.5 * strength * np.sum(m**2), w)
    ours = gradient(cr.regularizers.L2(strength), w)
    keras = gradient(cr.regularizers.L2(strength, half=False), w)
    p = cr.nn.Parameter(w)
    p.grad = np.zeros((4, 3))
    cr.optim.SGD([p], lr=1.0, weight_decay=strength).step()
    return error(2 * strength * w, expected), worst(
        off(ours, expected), off(w - array(p), expected), off(keras, 2 * strength * w)
    )


# -- metrics --------------------------------------------------------------------------------------


@erratum("E004-37", within=ROUNDING)
def empty_denominator() -> Errors:
    """Precision, where nothing is predicted positive: TP/(TP + FP), and
    `cr.metrics.precision_score` with `zero_division=0`, beside 0."""
    y, p = np.array([1, 0, 1, 0]), np.zeros(4, int)
    with as_printed():
        printed = error(np.float64(0) / np.float64(0), 0.0)
    return printed, off(cr.metrics.precision_score(y, p, zero_division=0), 0.0)


def _mcc(tp: Any, tn: Any, fp: Any, fn: Any) -> Any:
    return (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


@erratum("E004-38", within=ROUNDING)
def empty_row_of_the_table() -> Errors:
    """Matthews' coefficient, where nothing is predicted positive: 0/0, and
    `cr.metrics.matthews_corrcoef`, beside 0."""
    y, p = np.array([1, 0, 1, 0]), np.zeros(4, int)
    with as_printed():
        printed = error(_mcc(*np.float64([0, 2, 0, 2])), 0.0)
    return printed, off(cr.metrics.matthews_corrcoef(y, p), 0.0)


@erratum("E004-39", within=ROUNDING)
def overflow_of_counts() -> Errors:
    """Matthews' coefficient of 90,000 right and 10,000 wrong of each class in 64-bit integers, and
    `cr.metrics.matthews_corrcoef`, beside 0.8."""
    right, wrong = np.int64(90_000), np.int64(10_000)
    with as_printed():
        printed = error(_mcc(right, right, wrong, wrong), 0.8)
    y = np.repeat([1, 0], 100_000)
    p = np.repeat([1, 0, 0, 1], [90_000, 10_000, 90_000, 10_000])
    return printed, off(cr.metrics.matthews_corrcoef(y, p), 0.8)
