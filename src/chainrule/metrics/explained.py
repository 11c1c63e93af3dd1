"""Deviances of distributions, and the share of a loss that a model explains.

``D² = 1 - loss(model)/loss(best constant)`` is R² with another loss in place of the squared error:
1 is perfect, 0 is as good as the best constant, below 0 is worse (Hastie, Tibshirani & Wainwright
2015). With fewer than two samples it is nan with an :class:`UndefinedMetricWarning`.
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
    r2_of,
    read_numbers,
    too_few,
    weighted_mean,
    weighted_quantile,
)
from chainrule.metrics.regression import check_level, pinball

__all__ = [
    "d2_absolute_error_score",
    "d2_pinball_score",
    "d2_tweedie_score",
    "explained_variance_score",
    "mean_gamma_deviance",
    "mean_poisson_deviance",
    "mean_tweedie_deviance",
]

Array = NDArray[Any]


def explained_variance_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
    force_finite: bool = True,
) -> Any:
    """``1 - Var(y - ŷ)/Var(y)``: R² of predictions from which the mean error has been taken.

    The arguments, and what a constant y gives, are those of :func:`r2_score`; a model that is off
    by a constant scores 1.

    >>> explained_variance_score([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    1.0
    """
    true, pred, dtype = read_numbers(y_true, y_pred)
    weight = as_weight(sample_weight, len(true))
    missing = true - pred
    residual = weight @ (missing - centre(missing, weight)) ** 2 / weight.sum()
    squares = weight @ (true - centre(true, weight)) ** 2 / weight.sum()
    return r2_of(residual, squares, multioutput, dtype, force_finite=force_finite)


def mean_tweedie_deviance(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    power: float = 0,
) -> float:
    """The mean unit deviance of a Tweedie distribution, whose variance is ``mean ** power``.

    For a general power p (Jørgensen 1987)

        d = 2 (max(y, 0)^(2-p) / ((1-p)(2-p)) - y ŷ^(1-p) / (1-p) + ŷ^(2-p) / (2-p)),

    and its limits where p is 1 or 2. ``power`` 0 is the normal distribution, ``(y - ŷ)²``; 1
    Poisson; from 1 to 2 compound Poisson, for amounts with many zeros; 2 gamma; 3 inverse Gaussian;
    below 0 the extreme stable ones. Between 0 and 1 there is none. ŷ must be positive unless the
    power is 0; y must be ≥ 0 from power 1 on, and positive from 2 on: DataError.

    >>> round(mean_tweedie_deviance([2.0, 0.0, 1.0], [0.5, 0.5, 2.0], power=1), 4)
    1.3863
    """
    if not (power <= 0 or power >= 1):
        raise ValueError(f"power={power!r}: no Tweedie distribution has a power between 0 and 1")
    true, pred, _ = read_numbers(y_true, y_pred)
    one_output("a deviance", true)
    _check_domain("y_true", true, power >= 1, power >= 2, power)
    _check_domain("y_pred", pred, power != 0, True, power)
    return float(weighted_mean(_deviances(true, pred, power), sample_weight)[0])


def mean_poisson_deviance(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """``2 Σ w (y log(y/ŷ) - y + ŷ) / Σ w`` of counts y ≥ 0: :func:`mean_tweedie_deviance` at 1.

    >>> mean_poisson_deviance([1.0, 0.0], [1.0, 2.0])
    2.0
    """
    return mean_tweedie_deviance(y_true, y_pred, sample_weight=sample_weight, power=1)


def mean_gamma_deviance(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """``2 Σ w (log(ŷ/y) + y/ŷ - 1) / Σ w`` of amounts y > 0: :func:`mean_tweedie_deviance` at 2.

    It does not change when y and ŷ are both scaled.

    >>> round(mean_gamma_deviance([2.0, 1.0], [1.0, 1.0]), 4)
    0.3069
    """
    return mean_tweedie_deviance(y_true, y_pred, sample_weight=sample_weight, power=2)


def d2_tweedie_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    power: float = 0,
) -> float:
    """The share of :func:`mean_tweedie_deviance` explained; the best constant is the mean of y.

    ``power=0`` is R². Where y is constant the denominator is 0, and the value -inf or nan.

    >>> d2_tweedie_score([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    true, pred, _ = read_numbers(y_true, y_pred)
    one_output("D²", true)
    if len(true) < 2:
        return too_few("D²")
    of_model = mean_tweedie_deviance(true, pred, sample_weight=sample_weight, power=power)
    mean = np.broadcast_to(centre(true, as_weight(sample_weight, len(true))), true.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_mean = weighted_mean(_deviances(true, mean, power), sample_weight)[0]
        return float(1 - of_model / of_mean)


def d2_pinball_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    alpha: float = 0.5,
    multioutput: str | ArrayLike = "uniform_average",
) -> Any:
    """The share of :func:`mean_pinball_loss` explained; the best constant is the quantile of y.

    Where y is constant it is 1 for perfect predictions and else 0.

    >>> d2_pinball_score([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    check_level(alpha)
    true, pred, dtype = read_numbers(y_true, y_pred)
    if len(true) < 2:
        return too_few("D²")
    constant = weighted_quantile(true, as_weight(sample_weight, len(true)), alpha)
    losses = [
        weighted_mean(pinball(true, guess, alpha), sample_weight) for guess in (pred, constant)
    ]
    return r2_of(losses[0], losses[1], multioutput, dtype)


def d2_absolute_error_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> Any:
    """The share of the mean absolute error explained; the best constant is the median of y.

    >>> d2_absolute_error_score([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    return d2_pinball_score(
        y_true, y_pred, sample_weight=sample_weight, alpha=0.5, multioutput=multioutput
    )


def _deviances(y: Array, mu: Array, p: float) -> Array:
    if p == 0:
        return np.asarray((y - mu) ** 2)
    if p == 1:
        logs = np.log(np.where(y > 0, y, 1.0) / np.where(y > 0, mu, 1.0))
        return np.asarray(2 * (y * logs - y + mu))
    if p == 2:
        return np.asarray(2 * (np.log(mu / y) + y / mu - 1))
    known = np.maximum(y, 0.0) ** (2 - p) / ((1 - p) * (2 - p))
    return np.asarray(2 * (known - y * mu ** (1 - p) / (1 - p) + mu ** (2 - p) / (2 - p)))


def _check_domain(name: str, a: Array, limited: bool, strict: bool, power: float) -> None:
    wrong = (a <= 0) if strict else (a < 0)
    if limited and wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{name}[{row}] = {a[row, 0]}: the deviance of power {power} is of numbers "
            f"{'> 0' if strict else '>= 0'}"
        )
