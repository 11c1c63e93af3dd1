"""What metrics of numbers share: reading them, their means, and what becomes of several outputs."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics._input import UndefinedMetricWarning, as_array, as_weight, check_option

__all__ = [
    "centre",
    "one_output",
    "over_outputs",
    "plain",
    "r2_of",
    "read_numbers",
    "too_few",
    "weighted_mean",
    "weighted_quantile",
]

Array = NDArray[Any]


def read_numbers(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Array, Array, np.dtype[Any]]:
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


def over_outputs(
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


def plain(multioutput: str | ArrayLike) -> str | ArrayLike:
    """An option that an object keeps: a name, or weights as a plain list."""
    return multioutput if isinstance(multioutput, str) else np.asarray(multioutput).tolist()


def r2_of(
    residual: Array,
    squares: Array,
    multioutput: str | ArrayLike | None,
    dtype: np.dtype[Any] | None = None,
    *,
    force_finite: bool = True,
) -> Any:
    """``1 - residual/squares`` of (C,) outputs, and what ``multioutput`` makes of them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = 1 - residual / squares
    if force_finite:
        scores = np.where(squares == 0, 0.0, scores)
        scores = np.where(residual == 0, 1.0, scores)
    if isinstance(multioutput, str) and multioutput == "variance_weighted":
        return _average(scores, squares if squares.any() else None)
    return over_outputs(scores, "uniform_average" if multioutput is None else multioutput, dtype)


def centre(true: Array, weight: Array) -> Array:
    """(C,) weighted means of (N, C), exactly the number itself where a column is constant."""
    start = true[np.argmax(weight > 0)]
    kept = np.where(weight[:, None] > 0, true, start)
    return np.asarray(start + weight @ (kept - start) / weight.sum())


def weighted_mean(values: Array, sample_weight: ArrayLike | None) -> Array:
    """(C,) weighted means of (N, C) values."""
    w = as_weight(sample_weight, len(values))
    return np.asarray(w @ values / w.sum())


def one_output(what: str, true: Array) -> None:
    """Refuse several outputs where only one makes sense."""
    if true.shape[1] > 1:
        raise ShapeError(f"{what} is of one output, got {true.shape[1]}")


def too_few(what: str) -> float:
    """nan, with a warning, for what needs two samples."""
    warnings.warn(
        f"{what} is undefined for fewer than two samples", UndefinedMetricWarning, stacklevel=3
    )
    return math.nan


def weighted_quantile(values: Array, weight: Array, level: float) -> Array:
    """(C,) of (N, C) values and weights (N,): the value below which ``level`` of the weight lies.

    Where the level falls exactly between two values it is their mean.
    """
    kept = weight > 0
    values, weight = values[kept], weight[kept].astype(np.float64)
    order = np.argsort(values, axis=0, kind="stable")
    ranked = np.take_along_axis(values, order, axis=0)
    below = np.cumsum(weight[order], axis=0)
    found = np.empty(values.shape[1])
    for c in range(values.shape[1]):
        goal = level * below[-1, c]
        low = np.searchsorted(below[:, c], goal, side="left")
        between = below[min(low, len(below) - 1), c] == goal
        high = min(low + between, len(ranked) - 1)
        found[c] = (ranked[min(low, len(ranked) - 1), c] + ranked[high, c]) / 2
    return found
