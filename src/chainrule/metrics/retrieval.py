"""Rankings within a sample: whether the right labels or documents stand at its top.

The functions carry scikit-learn's names and values. Each row of ``y_score`` (N, K) ranks K labels,
the largest first; equal scores share a place.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics._input import (
    UndefinedMetricWarning,
    as_array,
    as_label_list,
    as_labels,
    as_weight,
    same_type,
)
from chainrule.metrics.ranking import read_scores

__all__ = [
    "coverage_error",
    "dcg_score",
    "label_ranking_average_precision_score",
    "label_ranking_loss",
    "ndcg_score",
    "top_hits",
    "top_k_accuracy_score",
]

Array = NDArray[Any]


def top_k_accuracy_score(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    k: int = 2,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
) -> float:
    """The share of samples whose label is among the ``k`` with the largest scores.

    Arguments
    ---------
    y_true : (N,) labels.
    y_score : (N, K) scores in the sorted order of the labels; or (N,) of the greater of two labels,
        which is predicted above 0.5 if all scores are in [0, 1], and else above 0.
    k : how many places count. From K on every sample is right: warned of.
    normalize : ``False`` gives the weight of the right samples instead of the share.
    labels : all labels, sorted, needed when ``y_true`` lacks some of them.

    Of equal scores at the last place, those of the later columns count.

    >>> y_score = [[0.5, 0.2, 0.3], [0.3, 0.4, 0.3], [0.2, 0.4, 0.4], [0.7, 0.2, 0.1]]
    >>> top_k_accuracy_score([0, 1, 2, 2], y_score, k=2)
    0.75
    """
    true, scores = as_labels("y_true", y_true), read_scores(y_score)
    if true.ndim != 1 or len(true) != len(scores):
        raise ShapeError(
            f"y_true {true.shape} and y_score {scores.shape}: expected (N,) and (N, K)"
        )
    known = np.unique(true)
    if labels is not None:
        known = as_label_list("labels", labels)
        same_type("labels", known, "y_true", true)
        if (np.sort(known) != known).any():
            raise ValueError(f"labels={known.tolist()} are not sorted, as the columns are")
        if len(missing := np.setdiff1d(true, known)):
            raise ValueError(f"y_true holds {missing.tolist()}, not in labels={known.tolist()}")
    columns = 2 if scores.shape[1] == 1 else scores.shape[1]
    if len(known) != columns or (len(known) == 2 and scores.shape[1] == 2):
        raise ShapeError(
            f"y_score has {scores.shape[1]} column(s) for {len(known)} labels {known.tolist()}; "
            "expected one per label (labels=[…] names those y_true lacks), or (N,) scores of the "
            "greater of two labels"
        )
    if k >= columns:
        warnings.warn(
            f"k={k} of {columns} labels: every sample is right",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    weight = as_weight(sample_weight, len(true))
    right = weight @ top_hits(np.searchsorted(known, true), scores, k)
    return float(right / weight.sum() if normalize else right)


def top_hits(columns: Array, scores: Array, k: int) -> Array:
    """(N,) bool: the column is among the k of the largest scores (N, K); (N, 1) is of class 1."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k={k!r}: expected a whole number of at least 1")
    if scores.shape[1] == 1:
        if k > 1:
            return np.ones(len(scores), bool)
        unit = scores.min() >= 0 and scores.max() <= 1
        return np.asarray((scores[:, 0] > (0.5 if unit else 0)) == columns)
    own = scores[np.arange(len(scores)), columns][:, None]
    later = np.arange(scores.shape[1]) > columns[:, None]
    before = (scores > own) | ((scores == own) & later)
    return np.asarray(before.sum(axis=1) < k)


def dcg_score(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    k: int | None = None,
    log_base: float = 2,
    sample_weight: ArrayLike | None = None,
    ignore_ties: bool = False,
) -> float:
    """Discounted cumulative gain: the mean over samples of ``Σ_r gain at place r / log(1 + r)``.

    Arguments
    ---------
    y_true : (N, K) gains: how relevant each document is, or a multilabel indicator.
    y_score : (N, K) scores that rank them.
    k : only the first k places count.
    log_base : of the discount; smaller makes the top count more.
    ignore_ties : take equal scores in the order of an unstable sort instead of their mean over all
        orders (McSherry & Najork 2008): faster where there are none.

    >>> round(dcg_score([[10, 0, 0, 1, 5]], [[0.1, 0.2, 0.3, 4, 70]]), 4)
    9.4995
    """
    gains, scores, weight = _read(y_true, y_score, sample_weight)
    if not log_base > 0 or log_base == 1:
        raise ValueError(f"log_base={log_base!r}: expected a positive number other than 1")
    each = _gains(gains, scores, _discount(scores.shape[1], k, log_base), ignore_ties)
    return float(weight @ each / weight.sum())


def ndcg_score(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    k: int | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_ties: bool = False,
) -> float:
    """:func:`dcg_score` over that of the perfect ranking: from 0 to 1 (Järvelin & Kekäläinen 2002).

    Gains must be ≥ 0, and of at least two documents. A sample without any gain scores 0.

    >>> ndcg_score([[3, 2, 1]], [[0.9, 0.5, 0.1]])
    1.0
    """
    gains, scores, weight = _read(y_true, y_score, sample_weight)
    if (gains < 0).any():
        row, column = np.argwhere(gains < 0)[0]
        raise DataError(
            f"y_true: row {row}, column {column} is {gains[row, column]}, a negative gain"
        )
    if gains.shape[1] < 2:
        raise ShapeError("y_true has one document per sample: any ranking of it is perfect")
    discount = _discount(scores.shape[1], k, 2)
    each = _gains(gains, scores, discount, ignore_ties)
    best = -np.sort(-gains, axis=1) @ discount
    each = np.divide(each, best, out=np.zeros(len(each)), where=best > 0)
    return float(weight @ each / weight.sum())


def coverage_error(
    y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """How many places of the ranking cover all true labels, on average; 0 for a row without any.

    ``y_true`` is an (N, K) indicator (Tsoumakas et al. 2010).

    >>> coverage_error([[1, 0, 0], [0, 1, 1]], [[1.0, 0.0, 0.5], [0.1, 0.9, 0.5]])
    1.5
    """
    true, scores, weight = _indicator(y_true, y_score, sample_weight)
    lowest = np.where(true, scores, np.inf).min(axis=1, keepdims=True)
    return float(weight @ (scores >= lowest).sum(axis=1) / weight.sum())


def label_ranking_average_precision_score(
    y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Over the true labels of a sample, the mean share of true labels up to their place.

    From above 0 to 1, which is perfect, and the value of rows with no or only true labels.

    >>> y_true, y_score = [[1, 0, 0], [0, 0, 1]], [[0.7, 0.5, 1], [1, 0.2, 0.1]]
    >>> round(label_ranking_average_precision_score(y_true, y_score), 6)
    0.416667
    """
    true, scores, weight = _indicator(y_true, y_score, sample_weight)
    each = np.ones(len(true))
    for i, (t, s) in enumerate(zip(true, scores, strict=True)):
        if t.any() and not t.all():
            own = s[t]
            each[i] = (_above(own, own) / _above(own, s)).mean()
    return float(weight @ each / weight.sum())


def label_ranking_loss(
    y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """The share of pairs of a true and another label that are ranked the wrong way, or equal.

    0 is perfect, and the value of rows with no or only true labels (Tsoumakas et al. 2010).

    >>> label_ranking_loss([[1, 0, 0], [0, 0, 1]], [[0.7, 0.5, 1], [1, 0.2, 0.1]])
    0.75
    """
    true, scores, weight = _indicator(y_true, y_score, sample_weight)
    each = np.zeros(len(true))
    for i, (t, s) in enumerate(zip(true, scores, strict=True)):
        if t.any() and not t.all():
            each[i] = _above(s[t], s[~t]).sum() / (t.sum() * (~t).sum())
    return float(weight @ each / weight.sum())


def _above(values: Array, others: Array) -> Array:
    """For each value, how many of the others are at least as large."""
    return np.asarray(len(others) - np.searchsorted(np.sort(others), values))


def _discount(n: int, k: int | None, log_base: float) -> Array:
    if k is not None and (isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1):
        raise ValueError(f"k={k!r}: expected a whole number of at least 1, or None")
    discount = math.log(log_base) / np.log(np.arange(n) + 2)
    discount[n if k is None else k :] = 0
    return discount


def _gains(gains: Array, scores: Array, discount: Array, ignore_ties: bool) -> Array:
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(gains, order, axis=1)
    if ignore_ties:
        return np.asarray(ranked @ discount)
    sorted_scores = np.take_along_axis(scores, order, axis=1)
    # Equal scores share their places' discounts: a gain counts times the mean of them.
    new = np.ones(scores.shape, bool)
    new[:, 1:] = sorted_scores[:, 1:] != sorted_scores[:, :-1]
    group = np.cumsum(new.ravel()) - 1
    sizes = np.bincount(group)
    shared = np.bincount(group, weights=np.tile(discount, len(scores))) / sizes
    return np.asarray((ranked * shared[group].reshape(scores.shape)).sum(axis=1))


def _read(
    y_true: ArrayLike, y_score: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[Array, Array, Array]:
    gains, scores = as_array("y_true", y_true), read_scores(y_score)
    if gains.ndim != 2 or gains.dtype.kind not in "biuf" or gains.shape != scores.shape:
        raise ShapeError(
            f"y_true: expected (N, K) gains of the shape of y_score {scores.shape}, got "
            f"{gains.dtype} {gains.shape}"
        )
    gains = gains.astype(np.float64)
    if not np.isfinite(gains).all():
        row, column = np.argwhere(~np.isfinite(gains))[0]
        raise DataError(f"y_true: row {row}, column {column} is {gains[row, column]}")
    return gains, scores, as_weight(sample_weight, len(gains))


def _indicator(
    y_true: ArrayLike, y_score: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[Array, Array, Array]:
    true, scores = as_array("y_true", y_true), read_scores(y_score)
    if true.ndim != 2 or np.ndim(y_score) != 2 or true.shape != scores.shape:
        raise ShapeError(
            f"expected an (N, K) indicator and scores of its shape, got {true.shape} and "
            f"{np.shape(y_score)}"
        )
    if true.dtype.kind not in "biuf" or ((true != 0) & (true != 1)).any():
        raise DataError("y_true: an (N, K) indicator holds 0 and 1 only")
    return true.astype(bool), scores, as_weight(sample_weight, len(true))
