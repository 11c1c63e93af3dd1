"""Metrics of predicted numbers, fed batch by batch; the protocol is that of :mod:`.streaming`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics._exact import UNIT, quotient, rounded, tally
from chainrule.metrics._input import as_weight
from chainrule.metrics._numbers import over_outputs, plain, r2_of, read_numbers, too_few
from chainrule.metrics.regression import check_level, percentages, pinball
from chainrule.metrics.streaming import OfMean, Streaming, need_weight

__all__ = [
    "R2",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanPinballLoss",
    "MeanSquaredError",
    "RegressionMetric",
    "RootMeanSquaredError",
]

Array = NDArray[Any]
_LARGEST = 1e145  # its square and the parts of it, times a weight, are finite


class RegressionMetric(OfMean):
    """A mean over samples of an error of each output."""

    def __init__(self, multioutput: str | ArrayLike = "uniform_average") -> None:
        super().__init__()
        self.multioutput = plain(multioutput)

    @abstractmethod
    def _errors(self, true: Array, pred: Array) -> Array:
        """(N, C) what is averaged, of the numbers (N, C)."""

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        true, pred, _ = read_numbers(y_true, y_pred)
        self._mean.update(self._errors(true, pred), sample_weight)

    def compute(self) -> Any:
        return over_outputs(self._mean.compute(), self.multioutput)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(multioutput={self.multioutput!r})"


class MeanSquaredError(RegressionMetric):
    """Streaming :func:`mean_squared_error`, with its ``multioutput``.

    >>> mse = MeanSquaredError()
    >>> mse.update([1.0, 2.0], [1.0, 4.0])
    >>> mse.compute()
    2.0
    """

    name = "mse"

    def _errors(self, true: Array, pred: Array) -> Array:
        return np.asarray((true - pred) ** 2)


class MeanAbsoluteError(RegressionMetric):
    """Streaming :func:`mean_absolute_error`, with its ``multioutput``.

    >>> mae = MeanAbsoluteError()
    >>> mae.update([1.0, 2.0], [1.0, 4.0])
    >>> mae.compute()
    1.0
    """

    name = "mae"

    def _errors(self, true: Array, pred: Array) -> Array:
        return np.asarray(np.abs(true - pred))


class RootMeanSquaredError(RegressionMetric):
    """Streaming :func:`root_mean_squared_error`, with its ``multioutput``.

    >>> rmse = RootMeanSquaredError()
    >>> rmse.update([1.0, 2.0], [1.0, 2.0])
    >>> rmse.update([1.0, 2.0], [3.0, 2.0])
    >>> rmse.compute()
    1.0
    """

    name = "rmse"

    def _errors(self, true: Array, pred: Array) -> Array:
        return np.asarray((true - pred) ** 2)

    def compute(self) -> Any:
        return over_outputs(np.sqrt(self._mean.compute()), self.multioutput)


class MeanAbsolutePercentageError(RegressionMetric):
    """Streaming :func:`mean_absolute_percentage_error`, with its ``multioutput``.

    >>> mape = MeanAbsolutePercentageError()
    >>> mape.update([1.0, 2.0], [1.0, 3.0])
    >>> mape.compute()
    0.25
    """

    name = "mape"

    def _errors(self, true: Array, pred: Array) -> Array:
        return percentages(true, pred)


class MeanPinballLoss(RegressionMetric):
    """Streaming :func:`mean_pinball_loss`, with its ``alpha`` and ``multioutput``.

    >>> pinball = MeanPinballLoss(alpha=0.9)
    >>> pinball.update([1.0, 2.0], [1.0, 1.0])
    >>> pinball.compute()
    0.45
    """

    name = "pinball"

    def __init__(
        self, alpha: float = 0.5, multioutput: str | ArrayLike = "uniform_average"
    ) -> None:
        check_level(alpha)
        super().__init__(multioutput)
        self.alpha = alpha

    def _errors(self, true: Array, pred: Array) -> Array:
        return pinball(true, pred, self.alpha)

    def __repr__(self) -> str:
        return f"MeanPinballLoss(alpha={self.alpha!r}, multioutput={self.multioutput!r})"


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
        self.multioutput = None if multioutput is None else plain(multioutput)
        self.force_finite = force_finite
        self.reset()

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        true, pred, _ = read_numbers(y_true, y_pred)
        w = as_weight(sample_weight, len(true), all_zero=True).astype(np.float64)
        used = w > 0
        columns = true.shape[1]
        if self._sums is not None and len(self._sums[0]) != columns:
            raise ShapeError(
                f"a batch of {columns} outputs cannot join a stream of {len(self._sums[0])}"
            )
        if used.any() and max(np.abs(true[used]).max(), np.abs(pred[used]).max()) > _LARGEST:
            raise DataError(f"a number beyond {_LARGEST:g} is too large to be squared for R²")
        weight, y = np.repeat(w[used][:, None], columns, axis=1), true[used]
        first = _product(weight, y)
        second = [part for term in first for part in _product(term, y)]
        residual = weight * (y - pred[used]) ** 2
        parts = ([weight], first, second, [residual])
        self._add(len(true), [_exact_columns(terms) for terms in parts])

    def compute(self) -> Any:
        if self._sums is None:
            raise DataError("no batch has been added: call update first")
        weight, first, second = (s.tolist() for s in self._sums[:3])
        need_weight(weight[0])
        if self._count < 2:
            return too_few("R²")
        # Σ w(y - ȳ)² = Σ wy² - (Σ wy)²/Σ w, without rounding up to the last division.
        squares = [
            quotient(w * b - a * a, w << UNIT)
            for w, a, b in zip(weight, first, second, strict=True)
        ]
        return r2_of(
            rounded(self._sums[3]),
            np.array(squares),
            self.multioutput,
            force_finite=self.force_finite,
        )

    def reset(self) -> None:
        self._count = 0
        self._sums: list[Array] | None = None

    def _join(self, other: Self) -> None:
        if other._sums is not None:
            if self._sums is not None and len(self._sums[0]) != len(other._sums[0]):
                raise ShapeError(
                    f"cannot merge a stream of {len(other._sums[0])} outputs into one of "
                    f"{len(self._sums[0])}"
                )
            self._add(other._count, other._sums)

    def _add(self, count: int, sums: list[Array]) -> None:
        self._count += count
        old = self._sums
        self._sums = sums if old is None else [a + b for a, b in zip(old, sums, strict=True)]

    def __repr__(self) -> str:
        return f"R2(multioutput={self.multioutput!r}, force_finite={self.force_finite!r})"


def _exact_columns(terms: list[Array]) -> Array:
    """(C,) the exact sums of the columns of all terms (N, C), in units."""
    columns = np.broadcast_to(np.arange(terms[0].shape[1]), terms[0].shape).ravel()
    return sum(tally(columns, term.ravel(), terms[0].shape[1]) for term in terms)  # type: ignore


def _product(a: Array, b: Array) -> list[Array]:
    """``a · b`` as the unrounded sum of two arrays (Dekker 1971), apart from underflow."""
    high = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return [high, a2 * b2 - (((high - a1 * b1) - a2 * b1) - a1 * b2)]


def _halves(a: Array) -> tuple[Array, Array]:
    big = 134217729.0 * a  # 2²⁷ + 1 (Veltkamp)
    high = big - (big - a)
    return high, a - high
