"""Deviances and explained shares against scikit-learn, and the limits of the Tweedie deviance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import metrics as m
from tests_metrics import FAST, both


@FAST
@given(data=st.data(), power=st.sampled_from([-1.5, 0, 1, 1.5, 2, 3]))
def test_deviances_equal_the_oracle(sk: Any, data: Any, power: float):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n = data.draw(st.integers(2, 10))
    y, p = rng.gamma(2, size=n), rng.gamma(2, size=n) + 0.1
    if power in (1, 1.5):
        y[rng.random(n) < 0.4] = 0
    if power <= 0:
        y -= 1
    w = data.draw(st.sampled_from([None, rng.integers(1, 4, n) / 2]))
    options = {"sample_weight": w, "rtol": 1e-9}
    both(m.mean_tweedie_deviance, sk.mean_tweedie_deviance, y, p, power=power, **options)
    if y.mean() > 0:
        both(m.d2_tweedie_score, sk.d2_tweedie_score, y, p, power=power, **options)
    if power == 1:
        both(m.mean_poisson_deviance, sk.mean_poisson_deviance, y, p, **options)
    if power == 2:
        both(m.mean_gamma_deviance, sk.mean_gamma_deviance, y, p, **options)


@FAST
@given(data=st.data(), alpha=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), finite=st.booleans())
def test_explained_shares_equal_the_oracle(sk: Any, data: Any, alpha: float, finite: bool):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, columns = data.draw(st.integers(2, 9)), data.draw(st.integers(1, 3))
    y, p = rng.integers(0, 4, (2, n, columns)) / 2
    w = data.draw(st.sampled_from([None, rng.integers(1, 4, n) / 2]))
    several = data.draw(st.sampled_from(["raw_values", "uniform_average", "variance_weighted"]))
    options: Any = {"sample_weight": w, "multioutput": several}
    with np.errstate(all="ignore"):
        variance = m.explained_variance_score, sk.explained_variance_score
        if finite:  # where y is constant, scikit-learn's variance can be 1e-33 instead of 0
            both(*variance, y, p, force_finite=finite, **options)
        if several != "variance_weighted":
            both(m.d2_pinball_score, sk.d2_pinball_score, y, p, alpha=alpha, **options)
            both(m.d2_absolute_error_score, sk.d2_absolute_error_score, y, p, **options)


@FAST
@given(seed=st.integers(0, 2**32))
def test_the_limits_of_the_power_are_the_special_cases(seed: int):
    rng = np.random.default_rng(seed)
    y, p = rng.gamma(2, size=(2, 8)) + 0.1
    for power in (1, 2):
        near = m.mean_tweedie_deviance(y, p, power=power + 1e-6)
        assert near == pytest.approx(m.mean_tweedie_deviance(y, p, power=power), rel=1e-4)
    assert m.mean_tweedie_deviance(y, p) == pytest.approx(m.mean_squared_error(y, p), rel=1e-14)
    assert m.mean_tweedie_deviance(y, y, power=1.7) == pytest.approx(0, abs=1e-14)
    scaled = m.mean_gamma_deviance(3 * y, 3 * p)
    assert scaled == pytest.approx(m.mean_gamma_deviance(y, p), rel=1e-12)


def test_too_few_and_constant():
    for function in (m.d2_tweedie_score, m.d2_pinball_score, m.d2_absolute_error_score):
        with pytest.warns(m.UndefinedMetricWarning, match="fewer than two"):
            assert math.isnan(function([1.0], [1.0]))
    assert m.d2_absolute_error_score([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert m.d2_absolute_error_score([2.0, 2.0], [2.0, 3.0]) == 0.0
    assert m.explained_variance_score([1.0, 1.0], [1.0, 2.0], force_finite=False) == -math.inf


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: m.mean_tweedie_deviance([1.0], [1.0], power=0.5), "between 0 and 1"),
        (lambda: m.mean_poisson_deviance([-1.0], [1.0]), r"y_true\[0\] = -1.0.*>= 0"),
        (lambda: m.mean_gamma_deviance([1.0, 0.0], [1.0, 1.0]), r"y_true\[1\] = 0.0.*> 0"),
        (lambda: m.mean_poisson_deviance([1.0], [0.0]), r"y_pred\[0\] = 0.0.*> 0"),
        (lambda: m.mean_poisson_deviance([[1.0, 1.0]], [[1.0, 1.0]]), "one output"),
        (lambda: m.d2_pinball_score([1.0, 2.0], [1.0, 2.0], alpha=1.5), "alpha=1.5"),
    ],
)
def test_errors(call: Callable[[], Any], text: str):
    with pytest.raises(ValueError, match=text):
        call()
