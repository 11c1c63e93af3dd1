"""Metrics of predicted numbers, with scikit-learn's names, arguments and values.

``y_true`` and ``y_pred`` are (N,) or (N, C) finite numbers, one column per output;
``sample_weight`` is (N,) numbers ≥ 0. Sums are taken in float64; float32 arrays give float32
``"raw_values"``, streams float64 ones.
``multioutput`` says what becomes of the C scores: ``"uniform_average"`` their mean,
``"raw_values"`` all of them, or (C,) weights for a weighted mean.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics._input import UndefinedMetricWarning, as_array, as_weight, check_option
from chainrule.metrics.streaming import OfMean, Streaming, need_weight

__all__ = [
    "R2",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "mean_absolute_error",
    "mean_squared_error",
    "r2_score",
]

Array = NDArray[Any]


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
    true, pred, dtype = _read(y_true, y_pred)
    w = as_weight(sample_weight, len(true))
    return _over_outputs(w @ (true - pred) ** 2 / w.sum(), multioutput, dtype)


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
    true, pred, dtype = _read(y_true, y_pred)
    w = as_weight(sample_weight, len(true))
    return _over_outputs(w @ np.abs(true - pred) / w.sum(), multioutput, dtype)


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
    true, pred, dtype = _read(y_true, y_pred)
    weight = as_weight(sample_weight, len(true))
    return _Moments.of(true, pred, weight).r2(multioutput, dtype, force_finite=force_finite)


@dataclass(frozen=True)
class _Moments:
    """What R² needs of N samples, in a form that two parts of a stream can add (Chan et al. 1979).

    Sums of squares about the mean, not about zero: these do not cancel when y is far from zero.
    """

    count: int
    weight: Any
    mean: Array
    squares: Array  # Σ w (y - mean)²
    residual: Array  # Σ w (y - ŷ)²

    @classmethod
    def of(cls, true: Array, pred: Array, weight: Array) -> _Moments:
        residual = weight @ (true - pred) ** 2
        total = weight.sum()
        # Differences from one counted sample: the mean of a constant is then exactly it.
        start = true[np.argmax(weight > 0)]
        kept = np.where(weight[:, None] > 0, true, start)
        mean = start + (weight @ (kept - start) / total if total else 0.0)
        return cls(len(true), total, mean, weight @ (kept - mean) ** 2, residual)

    def merged(self, other: _Moments) -> _Moments:
        total = self.weight + other.weight
        if not self.weight or not other.weight:
            mean, between = (self if self.weight else other).mean, 0.0
        else:
            step = other.mean - self.mean
            mean = self.mean + step * (other.weight / total)
            between = step**2 * (self.weight * other.weight / total)
        return _Moments(
            self.count + other.count,
            total,
            mean,
            self.squares + other.squares + between,
            self.residual + other.residual,
        )

    def r2(
        self,
        multioutput: str | ArrayLike | None,
        dtype: np.dtype[Any] | None = None,
        *,
        force_finite: bool = True,
    ) -> Any:
        if self.count < 2:
            warnings.warn(
                "R² is undefined for fewer than two samples", UndefinedMetricWarning, stacklevel=3
            )
            return math.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = 1 - self.residual / self.squares
        if force_finite:
            scores = np.where(self.squares == 0, 0.0, scores)
            scores = np.where(self.residual == 0, 1.0, scores)
        if isinstance(multioutput, str) and multioutput == "variance_weighted":
            return _average(scores, self.squares if self.squares.any() else None)
        return _over_outputs(
            scores, "uniform_average" if multioutput is None else multioutput, dtype
        )


class _Regression(OfMean):
    def __init__(self, multioutput: str | ArrayLike = "uniform_average") -> None:
        super().__init__()
        self.multioutput = _plain(multioutput)

    def compute(self) -> Any:
        return _over_outputs(self._mean.compute(), self.multioutput)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(multioutput={self.multioutput!r})"


class MeanSquaredError(_Regression):
    """Streaming :func:`mean_squared_error`, with its ``multioutput``.

    >>> mse = MeanSquaredError()
    >>> mse.update([1.0, 2.0], [1.0, 4.0])
    >>> mse.compute()
    2.0
    """

    name = "mse"

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        true, pred, _ = _read(y_true, y_pred)
        self._mean.update((true - pred) ** 2, sample_weight)


class MeanAbsoluteError(_Regression):
    """Streaming :func:`mean_absolute_error`, with its ``multioutput``.

    >>> mae = MeanAbsoluteError()
    >>> mae.update([1.0, 2.0], [1.0, 4.0])
    >>> mae.compute()
    1.0
    """

    name = "mae"

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        true, pred, _ = _read(y_true, y_pred)
        self._mean.update(np.abs(true - pred), sample_weight)


class R2(Streaming):
    """Streaming :func:`r2_score`, with its ``multioutput`` and ``force_finite``.

    >>> r2 = R2()
    >>> r2.update([1.0], [1.0])
    >>> r2.update([2.0, 3.0], [2.0, 2.0])
    >>> r2.compute()
    0.5
    """

    name = "r2"

    def __init__(
        self,
        multioutput: str | ArrayLike | None = "uniform_average",
        force_finite: bool = True,
    ) -> None:
        self.multioutput = None if multioutput is None else _plain(multioutput)
        self.force_finite = force_finite
        self.reset()

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        true, pred, _ = _read(y_true, y_pred)
        weight = as_weight(sample_weight, len(true), all_zero=True)
        self._add(_Moments.of(true, pred, weight))

    def compute(self) -> Any:
        if self._moments is None:
            raise DataError("no batch has been added: call update first")
        need_weight(self._moments.weight)
        return self._moments.r2(self.multioutput, force_finite=self.force_finite)

    def reset(self) -> None:
        self._moments: _Moments | None = None

    def _join(self, other: Self) -> None:
        if other._moments is not None:
            self._add(other._moments)

    def _add(self, more: _Moments) -> None:
        if self._moments is None:
            self._moments = more
            return
        if more.mean.shape != self._moments.mean.shape:
            raise ShapeError(
                f"a batch of {len(more.mean)} outputs cannot join a stream of "
                f"{len(self._moments.mean)}"
            )
        self._moments = self._moments.merged(more)

    def __repr__(self) -> str:
        return f"R2(multioutput={self.multioutput!r}, force_finite={self.force_finite!r})"


def _read(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Array, Array, np.dtype[Any]]:
    """Both arguments as (N, C) float64, and the float dtype they came in."""
    true, pred = (
        _numbers(name, values) for name, values in (("y_true", y_true), ("y_pred", y_pred))
    )
    if true.shape != pred.shape:
        what = "samples" if len(true) != len(pred) else "outputs"
        raise ShapeError(
            f"y_true and y_pred have different numbers of {what}: shapes {true.shape} and "
            f"{pred.shape}"
        )
    dtype = np.result_type(true, pred)
    if dtype.kind != "f":
        dtype = np.dtype(np.float64)
    return true.astype(np.float64), pred.astype(np.float64), dtype


def _over_outputs(
    scores: Array, multioutput: str | ArrayLike, dtype: np.dtype[Any] | None = None
) -> Any:
    """What ``multioutput`` makes of the (C,) scores of C outputs."""
    if isinstance(multioutput, str):
        check_option("multioutput", multioutput, ("raw_values", "uniform_average"))
        if multioutput == "raw_values":
            return scores.astype(dtype)
        return float(scores.mean())
    weights = as_array("multioutput", multioutput)
    if weights.shape != scores.shape or len(scores) == 1:
        raise ShapeError(
            f"multioutput: expected 'raw_values', 'uniform_average' or one weight for each of "
            f"several outputs, got weights {weights.shape} for {len(scores)} output(s)"
        )
    return _average(scores, weights)


def _average(scores: Array, weights: Array | None) -> float:
    with np.errstate(invalid="ignore"):  # an R² of -inf with weight 0 is nan
        return float(np.average(scores, weights=weights))


def _numbers(name: str, values: ArrayLike) -> Array:
    a = as_array(name, values)
    if a.ndim == 1:
        a = a[:, None]
    if a.ndim != 2:
        raise ShapeError(f"{name}: expected numbers (N,) or (N, C), got shape {a.shape}")
    if a.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected numbers, got dtype {a.dtype}")
    if a.size == 0:
        raise DataError(f"{name} is empty (shape {a.shape}); one sample is needed")
    finite = np.isfinite(a)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise DataError(f"{name}: row {row}, column {column} is {a[row, column]}, expected finite")
    return a


def _plain(multioutput: str | ArrayLike) -> str | ArrayLike:
    return multioutput if isinstance(multioutput, str) else np.asarray(multioutput).tolist()
