"""Errata of initial values, penalties and metrics."""

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
    erratum,
    error,
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


# -- metrics --------------------------------------------------------------------------------------


@erratum("E004-37", within=ROUNDING)
def empty_denominator() -> Errors:
    """Precision, where nothing is predicted positive: TP/(TP + FP), and
    `cr.metrics.precision_score` with `zero_division=0`, beside 0."""
    y, p = np.array([1, 0, 1, 0]), np.zeros(4, int)
    with as_printed():
        printed = error(np.float64(0) / np.float64(0), 0.0)
    return printed, off(cr.metrics.precision_score(y, p, zero_division=0), 0.0)
