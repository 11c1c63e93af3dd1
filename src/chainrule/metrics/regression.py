"""Metrics of predicted numbers, with scikit-learn's names, arguments and values.

``y_true`` and ``y_pred`` are (N,) or (N, C) finite numbers, one column per output;
``sample_weight`` is (N,) numbers ≥ 0. Sums are taken in float64; float32 arrays give float32
``"raw_values"``, streams float64 ones.
``multioutput`` says what becomes of the C scores: ``"uniform_average"`` their mean,
``"raw_values"`` all of them, or (C,) weights for a weighted mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError
from chainrule.metrics._input import as_weight
from chainrule.metrics._numbers import (
    centre,
    one_output,
    over_outputs,
    r2_of,
    read_numbers,
    too_few,
    weighted_mean,
    weighted_quantile,
)

__all__ = [
    "check_level",
    "max_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_pinball_loss",
    "mean_squared_error",
    "mean_squared_log_error",
    "median_absolute_error",
    "percentages",
    "pinball",
    "r2_score",
    "root_mean_squared_error",
    "root_mean_squared_log_error",
]

Array = NDArray[Any]
_EPS = float(np.finfo(np.float64).eps)


def mean_squared_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> Any:
    """The mean squared error ``Σ w(y - ŷ)² / Σ w``, in the squared unit of y.

    >>> mean_squared_error([1.0, 2.0, 3.0], [1.0, 2.0, 6.0])
    3.0
    >>> mean_squared_error([[1.0, 0.0]], [[3.0, 1.0]], multioutput="raw_values")
    array([4., 1.])
    """
    true, pred, dtype = read_numbers(y_true, y_pred)
    return over_outputs(weighted_mean((true - pred) ** 2, sample_weight), multioutput, dtype)


def mean_absolute_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> Any:
    """The mean absolute error ``Σ w|y - ŷ| / Σ w``, in the unit of y.

    >>> mean_absolute_error([1.0, 2.0, 3.0], [1.0, 2.0, 6.0])
    1.0
    """
    true, pred, dtype = read_numbers(y_true, y_pred)
    return over_outputs(weighted_mean(np.abs(true - pred), sample_weight), multioutput, dtype)


def root_mean_squared_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> Any:
    """The root of the mean squared error, in the unit of y; of several outputs, each by itself.

    >>> root_mean_squared_error([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 8.0])
    2.0
    """
    true, pred, dtype = read_numbers(y_true, y_pred)
    return over_outputs(
        np.sqrt(weighted_mean((true - pred) ** 2, sample_weight)), multioutput, dtype
    )


def mean_squared_log_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> Any:
    """The mean squared error of ``log(1 + y)``: of relative errors, for large y. All y > -1.

    >>> round(mean_squared_log_error([0.0, 1.0], [0.0, 3.0]), 6)  # (log 2)² / 2
    0.240227
    """
    true, pred, dtype = _logs(y_true, y_pred)
    return over_outputs(weighted_mean((true - pred) ** 2, sample_weight), multioutput, dtype)


def root_mean_squared_log_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> Any:
    """The root of :func:`mean_squared_log_error`; of several outputs, each by itself.

    >>> round(root_mean_squared_log_error([1.0], [3.0]), 6)  # log 2
    0.693147
    """
    true, pred, dtype = _logs(y_true, y_pred)
    return over_outputs(
        np.sqrt(weighted_mean((true - pred) ** 2, sample_weight)), multioutput, dtype
    )


def mean_absolute_percentage_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> Any:
    """The mean of ``|y - ŷ| / max(|y|, ε)``, a share and not per cent: 0.1 is 10 %.

    ε is float64's rounding unit, 2.2e-16: a y of 0 makes the value huge, which says that this is
    the wrong measure for the data.

    >>> mean_absolute_percentage_error([1.0, 2.0, 4.0], [1.0, 3.0, 5.0])
    0.25
    """
    true, pred, dtype = read_numbers(y_true, y_pred)
    return over_outputs(weighted_mean(percentages(true, pred), sample_weight), multioutput, dtype)


def percentages(true: Array, pred: Array) -> Array:
    """Each ``|y - ŷ| / max(|y|, ε)``."""
    return np.asarray(np.abs(pred - true) / np.maximum(np.abs(true), _EPS))


def median_absolute_error(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    multioutput: str | ArrayLike = "uniform_average",
    sample_weight: ArrayLike | None = None,
) -> Any:
    """The median of ``|y - ŷ|``: half of the weight has a smaller error. Outliers do not move it.

    Of an even number of samples, the mean of the middle two; weighted, as many copies of each.

    >>> median_absolute_error([1.0, 2.0, 3.0, 4.0], [1.0, 2.5, 4.0, 90.0])
    0.75
    """
    true, pred, dtype = read_numbers(y_true, y_pred)
    errors = np.abs(true - pred)
    if sample_weight is None:
        return over_outputs(np.median(errors, axis=0), multioutput, dtype)
    middle = weighted_quantile(errors, as_weight(sample_weight, len(true)), 0.5)
    return over_outputs(middle, multioutput, dtype)


def max_error(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The largest ``|y - ŷ|``, of one output.

    >>> max_error([3.0, 2.0, 7.0], [4.0, 2.0, 7.0])
    1.0
    """
    true, pred, _ = read_numbers(y_true, y_pred)
    one_output("the largest error", true)
    return float(np.abs(true - pred).max())


def mean_pinball_loss(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    alpha: float = 0.5,
    multioutput: str | ArrayLike = "uniform_average",
) -> Any:
    """The mean of ``max(α(y - ŷ), (α - 1)(y - ŷ))``, least for ŷ the α-quantile of y.

    ``alpha`` from 0 to 1; 0.5 is half the mean absolute error (Koenker & Bassett 1978).

    >>> mean_pinball_loss([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], alpha=0.1)
    0.3
    """
    check_level(alpha)
    true, pred, dtype = read_numbers(y_true, y_pred)
    return over_outputs(
        weighted_mean(pinball(true, pred, alpha), sample_weight), multioutput, dtype
    )


def check_level(alpha: float) -> None:
    """A quantile's level, from 0 to 1."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha!r}: the level of a quantile is a number from 0 to 1")


def pinball(true: Array, pred: Array, alpha: float) -> Array:
    """Each ``max(α(y - ŷ), (α - 1)(y - ŷ))``."""
    missing = true - pred
    return np.asarray(np.where(missing >= 0, alpha * missing, (alpha - 1) * missing))


def r2_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike | None = "uniform_average",
    force_finite: bool = True,
) -> Any:
    """The coefficient of determination ``R² = 1 - Σ w(y - ŷ)² / Σ w(y - ȳ)²``, ȳ = Σwy/Σw.

    1 is perfect, 0 is as good as predicting the mean, below 0 is worse. Where y is constant the
    ratio is 0/0 or x/0: ``force_finite`` makes these 1 (all right) and 0 (not); without it they are
    nan and -inf. ``multioutput="variance_weighted"`` weights outputs by the denominator. One sample
    has no variance: nan with an :class:`UndefinedMetricWarning`.

    >>> r2_score([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    true, pred, dtype = read_numbers(y_true, y_pred)
    weight = as_weight(sample_weight, len(true))
    if len(true) < 2:
        return too_few("R²")
    squares = weight @ (true - centre(true, weight)) ** 2
    residual = weight @ (true - pred) ** 2
    return r2_of(residual, squares, multioutput, dtype, force_finite=force_finite)


def _logs(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Array, Array, np.dtype[Any]]:
    true, pred, dtype = read_numbers(y_true, y_pred)
    for name, a in (("y_true", true), ("y_pred", pred)):
        if (a <= -1).any():
            row, column = np.argwhere(a <= -1)[0]
            raise DataError(
                f"{name}: row {row}, column {column} is {a[row, column]}; a logarithmic error "
                "needs numbers greater than -1"
            )
    return np.log1p(true), np.log1p(pred), dtype
