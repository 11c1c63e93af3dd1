from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import metrics as m
from chainrule.array.errors import DataError, ShapeError
from tests_metrics import numbers

NAMES = [
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_squared_log_error",
    "root_mean_squared_log_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "median_absolute_error",
    "mean_pinball_loss",
    "r2_score",
]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), case=numbers())
def test_equal_the_oracle(sk: Any, name: str, data: Any, case: Any):
    true, pred, w = case
    if name == "mean_absolute_percentage_error":
        true = np.where(true == 0, np.ones_like(true), true)  # 0 is a case of its own, below
    c = true.shape[1]
    choices: list[Any] = ["raw_values", "uniform_average"]
    if name == "r2_score":
        choices += ["variance_weighted", None]
    if c > 1:
        choices.append([0.25, 0.5, 3.0][:c])
    kwargs = {"sample_weight": w, "multioutput": data.draw(st.sampled_from(choices))}
    if name == "r2_score":
        kwargs["force_finite"] = data.draw(st.booleans())
    if "log" in name:
        true, pred = abs(true), abs(pred)
    if name == "mean_pinball_loss":
        kwargs["alpha"] = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    ours = getattr(m, name)(true, pred, **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its divisions by zero
        theirs = getattr(sk, name)(true, pred, **kwargs)
    rtol = 2e-5 if pred.dtype == np.float32 else 1e-11  # the oracle sums float32 in float32
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)
    if kwargs["multioutput"] == "raw_values":
        assert ours.dtype == (np.float32 if true.dtype == np.float32 else np.float64)
        assert ours.shape == (c,)
    else:
        assert type(ours) is float


def test_golden():
    true, pred = [3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]
    assert m.mean_squared_error(true, pred) == 0.375
    assert m.mean_absolute_error(true, pred) == 0.5
    assert m.r2_score(true, pred) == pytest.approx(1 - 1.5 / 29.1875, rel=1e-15)
    assert m.mean_squared_error(true, pred, sample_weight=[0, 0, 1, 1]) == 0.5
    two = [[0.0, 1.0], [2.0, 1.0]]
    np.testing.assert_array_equal(
        m.mean_absolute_error(two, [[1, 1], [2, 4]], multioutput="raw_values"), [0.5, 1.5]
    )
    assert m.mean_absolute_error(two, [[1, 1], [2, 4]], multioutput=[3, 1]) == 0.75


def test_golden_of_one_number():
    assert m.root_mean_squared_error([1.0, 2.0], [4.0, -2.0]) == math.sqrt(12.5)
    assert m.median_absolute_error([1, 2, 3, 4], [1, 3, 5, 90], sample_weight=[1, 1, 1, 3]) == 44.0
    assert m.max_error([1.0, 2.0], [1.0, -3.0]) == 5.0
    assert m.mean_pinball_loss([1.0, 2.0], [2.0, 1.0], alpha=0.75) == (0.25 + 0.75) / 2
    assert m.mean_absolute_percentage_error([0.0], [1.0]) == 1 / np.finfo(float).eps
    assert m.mean_squared_log_error([0.0], [math.e - 1]) == pytest.approx(1.0, rel=1e-15)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_laws(data: Any):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    y, p = rng.normal(size=(2, data.draw(st.integers(2, 12))))
    mae, rmse = m.mean_absolute_error(y, p), m.root_mean_squared_error(y, p)
    worst = m.max_error(y, p)
    assert mae <= rmse * (1 + 1e-15) <= worst * (1 + 1e-14)
    assert m.median_absolute_error(y, p) <= worst
    assert m.mean_pinball_loss(y, p) == pytest.approx(mae / 2, rel=1e-14)
    assert m.r2_score(y, p) <= 1
    assert m.r2_score(y, np.full(len(y), y.mean())) == pytest.approx(0, abs=1e-14)


def test_r2_of_a_constant_is_exact_though_its_mean_is_not():
    true = np.full(10, 0.1) + 1e6  # the naive mean of these differs from them in the last bit
    assert m.r2_score(true, true) == 1.0
    assert m.r2_score(true, true + 1) == 0.0
    assert m.r2_score(true, true + 1, force_finite=False) == -math.inf
    assert math.isnan(m.r2_score(true, true, force_finite=False))


def test_r2_of_one_sample_is_nan_with_a_warning():
    with pytest.warns(m.UndefinedMetricWarning, match="two samples"):
        assert math.isnan(m.r2_score([1.0], [1.0]))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: m.mean_squared_error([1.0], [1.0, 2.0]), ShapeError, "samples"),
        (lambda: m.mean_squared_error([1.0], [[1.0, 2.0]]), ShapeError, "outputs"),
        (lambda: m.mean_squared_error([], []), DataError, "empty"),
        (lambda: m.mean_squared_error([[[1.0]]], [1.0]), ShapeError, r"\(1, 1, 1\)"),
        (lambda: m.mean_squared_error(["a"], [1.0]), DataError, "y_true: expected numbers"),
        (lambda: m.r2_score([1.0, 2.0], [1.0, math.inf]), DataError, "row 1, column 0 is inf"),
        (lambda: m.r2_score([1, 2], [1, 2], multioutput="raw"), ValueError, "raw_values"),
        (lambda: m.r2_score([1, 2], [1, 2], multioutput=[1.0]), ShapeError, "several outputs"),
        (
            lambda: m.mean_squared_error([1, 2], [1, 2], multioutput="variance_weighted"),
            ValueError,
            "uniform_average",
        ),
        (lambda: m.mean_pinball_loss([1.0], [1.0], alpha=2), ValueError, "alpha=2"),
        (lambda: m.max_error([[1, 2]], [[1, 2]]), ShapeError, "one output"),
        (
            lambda: m.mean_squared_log_error([1.0, 2.0], [1.0, -1.0]),
            DataError,
            "y_pred: row 1, column 0 is -1.0",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        call()
