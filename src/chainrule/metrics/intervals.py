"""How far a metric would move on other rows of the same kind: bootstrap intervals.

The percentile bootstrap (Efron 1979): rows are drawn with replacement, as many as there are; the
metric of each drawing is taken; the interval is between its quantiles. It needs no formula for the
metric, keeps to its range, and turns with a monotone function of it: the interval of the RMSE is
the root of that of the MSE. It speaks of the rows tested, not of training anew.
"""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError
from chainrule.array.random import Stream
from chainrule.metrics._input import as_labels, as_weight
from chainrule.metrics.calibration import brier_score_loss, brier_scores
from chainrule.metrics.probability import log_loss, log_losses
from chainrule.metrics.ranking import (
    Steps,
    average_precision,
    average_precision_score,
    roc_area,
    roc_auc_score,
)
from chainrule.metrics.regression import mean_absolute_error, mean_squared_error

__all__ = ["bootstrap_interval", "proportion_interval"]

Array = NDArray[Any]
Interval = tuple[float, float, float]
#: The metric of resamples, given how often each row (or cell) was drawn: (R, n) -> (R,).
_Evaluate = Callable[[Array], Array]

#: Beyond so many rows the drawings are of so many: a thousand of them take one to three seconds.
_ROWS, _ROWS_CALLED = 100_000, 10_000
_CHUNK = 2**17


def bootstrap_interval(
    metric: Callable[..., Any],
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    sample_weight: ArrayLike | None = None,
) -> Interval:
    """(value, low, high): the metric, and the percentile bootstrap interval around it.

    Arguments
    ---------
    metric : a function of this room, such as ``accuracy_score``, one with options fixed by
        `functools.partial`, or any ``f(y_true, y_pred) -> float``, with ``sample_weight=`` if it is
        to be weighted.
    y_true, y_pred : (N, …) what the metric takes; rows are drawn together.
    level : the share of drawings between low and high.
    resamples : how many drawings; 1000 settle the ends to a few hundredths of the width.
    seed : the same seed draws the same rows, whatever the metric is.
    sample_weight : (N,) weights, drawn with their rows.

    A drawing on which the metric is undefined (nan, or an error, such as a ROC area without a
    positive row) is left out; if more than half are, low and high are nan. Means of one number per
    row (squared error, log loss, …) and areas of ranked rows are computed without calling the
    metric, and labels that repeat are counted, not listed; other metrics are called once a drawing.
    Of more than 100,000 rows (10,000 where the metric is called), so many are taken at random and
    the deviations scaled by ``√(100,000/N)``.

    Where every row is right, every drawing is too, and the interval has no width:
    :func:`proportion_interval` is then the honest one.

    >>> from chainrule.metrics import accuracy_score
    >>> bootstrap_interval(accuracy_score, [0, 1] * 50, [0, 1] * 40 + [1, 0] * 10)
    (0.8, 0.72, 0.87)
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, such as 0.95, got {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim == 0 or true.shape[:1] != pred.shape[:1]:
        raise ShapeError(f"y_true and y_pred differ in rows: shapes {true.shape}, {pred.shape}")
    n = len(true)
    if n == 0:
        raise DataError("y_true and y_pred are empty; one sample is needed")
    weight = None if sample_weight is None else as_weight(sample_weight, n)
    value = centre = _call(metric, true, pred, weight)
    cells, evaluate, most = _plan(metric, true, pred, weight)
    scale = 1.0
    if n > most:
        rows = np.sort(Stream(seed).permutation("metrics/bootstrap/rows", n)[:most])
        true, pred = true[rows], pred[rows]
        weight = None if weight is None else weight[rows]
        centre, scale = _quiet(metric, true, pred, weight), math.sqrt(most / n)
        cells, evaluate, _ = _plan(metric, true, pred, weight)
    found = np.concatenate([evaluate(c) for c in _drawings(cells, resamples, seed)])
    found = found[np.isfinite(found)]
    if not (math.isfinite(value) and math.isfinite(centre)) or 2 * len(found) < resamples:
        return value, math.nan, math.nan
    ends = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    low, high = (ends - centre) * scale + value if scale != 1 else ends
    return value, float(low), float(high)


def proportion_interval(hits: int, rows: int, level: float = 0.95) -> Interval:
    """(value, low, high) of a share of rows, such as the accuracy: Wilson's interval (1927).

    ``(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)``, z the normal quantile. It keeps its
    level for few rows, and where all are right or none is, which the bootstrap does not.

    >>> [round(v, 3) for v in proportion_interval(30, 30)]
    [1.0, 0.886, 1.0]
    """
    if not 0 <= hits <= rows or rows == 0:
        raise DataError(f"{hits} of {rows} rows are no share; expected 0 <= hits <= rows, rows > 0")
    p, z = hits / rows, NormalDist().inv_cdf((1 + level) / 2)
    middle = p + z * z / (2 * rows)
    half = z * math.sqrt(p * (1 - p) / rows + z * z / (4 * rows * rows))
    total = 1 + z * z / rows
    low = 0.0 if hits == 0 else (middle - half) / total  # exactly, where rounding would not be
    return p, low, 1.0 if hits == rows else (middle + half) / total


def _drawings(cells: Array, resamples: int, seed: int) -> Iterator[Array]:
    """How often each cell is drawn, (R, cells) for a few resamples at a time."""
    stream, n = Stream(seed), len(cells)
    width = int(cells.max()) + 1
    own = width == n  # every row is its own cell
    at_once = max(1, _CHUNK // n)
    for first in range(0, resamples, at_once):
        steps = range(first, min(first + at_once, resamples))
        counts = np.empty((len(steps), width), np.float64)
        for k, step in enumerate(steps):
            words = stream.bits("metrics/bootstrap", (n + 1) // 2, step=step)
            halves = words.astype("<u8", copy=False).view("<u4")[:n]
            drawn = (halves * np.uint64(n) >> np.uint64(32)).view(np.int64)
            counts[k] = np.bincount(drawn if own else cells[drawn], minlength=width)
        yield counts


# -- how a metric is evaluated on many drawings ----------------------------------------------------


def _plan(
    metric: Callable[..., Any], true: Array, pred: Array, weight: Array | None
) -> tuple[Array, _Evaluate, int]:
    """The cell of each row, the metric of (R, cells) counts, and how many rows it is quick for."""
    function, options = metric, {}
    if isinstance(metric, functools.partial) and not metric.args:
        function, options = metric.func, metric.keywords
    rows = np.arange(len(true))
    w = np.ones(len(true)) if weight is None else weight.astype(np.float64)
    if (per_row := _per_row(function, true, pred, options)) is not None:
        return rows, lambda counts: _means(counts, per_row, w), _ROWS
    if function in _RANKED and not options and true.ndim == 1 and pred.ndim == 1:
        labels = as_labels("y_true", true)
        known, steps = np.unique(labels), Steps.of(pred.astype(np.float64))
        if len(known) == 2:
            area, positive = _RANKED[function], labels == known[1]
            return rows, lambda counts: area(*steps.sums(positive, counts * w)), _ROWS
    weighted, most = _takes_weight(function), _ROWS_CALLED
    if weight is None and weighted and (found := _cells(true, pred)) is not None:
        rows, first = found
        true, pred, most = true[first], pred[first], _ROWS
    return rows, lambda counts: _calls(metric, true, pred, weight, counts, weighted), most


_RANKED = {roc_auc_score: roc_area, average_precision_score: average_precision}


def _per_row(
    function: Callable[..., Any], true: Array, pred: Array, options: dict[str, Any]
) -> Array | None:
    """(N,) numbers whose weighted mean is the metric, for the metrics that are one."""
    if function in (mean_squared_error, mean_absolute_error) and not options:
        # the metric's own text: each row of a transposed table is an output of a single sample
        flat = [np.asarray(a, np.float64).reshape(1, -1) for a in (true, pred)]
        each = np.asarray(function(*flat, multioutput="raw_values"))
        return np.asarray(each.reshape(len(true), -1).mean(axis=1))
    if function is log_loss and options.keys() <= {"labels"}:
        return log_losses(true, pred, **options)
    if function is brier_score_loss:
        return brier_scores(true, pred, **options)
    return None


def _means(counts: Array, values: Array, weight: Array) -> Array:
    """Without BLAS, whose threads cost more than they bring for a row at a time."""
    with np.errstate(invalid="ignore"):  # a drawing without weight is undefined
        total = (counts * (values * weight)).sum(axis=1)
        return np.asarray(total / (counts * weight).sum(axis=1))


def _cells(true: Array, pred: Array) -> tuple[Array, Array] | None:
    """The cell of each row and a row of each cell, where the same pairs occur again and again."""
    if true.ndim != 1 or pred.ndim != 1 or "O" in (true.dtype.kind, pred.dtype.kind):
        return None
    a, b = (np.unique(v, return_inverse=True)[1] for v in (true, pred))
    _, first, cells = np.unique(a * (int(b.max()) + 1) + b, return_index=True, return_inverse=True)
    return (cells, first) if 4 * len(first) <= len(true) else None


def _calls(
    metric: Callable[..., Any],
    true: Array,
    pred: Array,
    weight: Array | None,
    counts: Array,
    weighted: bool,
) -> Array:
    found = np.full(len(counts), np.nan)
    for k, drawn in enumerate(counts):
        rows = np.flatnonzero(drawn)  # what was not drawn is not there
        times = drawn[rows].astype(np.int64)
        if not weighted:
            rows = np.repeat(rows, times)
            found[k] = _quiet(metric, true[rows], pred[rows], None)
            continue
        w = times if weight is None else times * weight[rows]
        found[k] = _quiet(metric, true[rows], pred[rows], w)
    return found


def _call(metric: Callable[..., Any], true: Array, pred: Array, weight: Array | None) -> float:
    return float(metric(true, pred) if weight is None else metric(true, pred, sample_weight=weight))


def _quiet(metric: Callable[..., Any], true: Array, pred: Array, weight: Array | None) -> float:
    """The metric of a drawing: nan where it is undefined, and no warning a thousand times."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return _call(metric, true, pred, weight)
        except (ValueError, ZeroDivisionError):
            return math.nan


def _takes_weight(function: Callable[..., Any]) -> bool:
    try:
        return "sample_weight" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
