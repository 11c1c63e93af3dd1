"""Metrics of a ranking: how well scores put the positive samples before the negative ones.

The functions carry scikit-learn's names and values. A score may be a probability, a logit or any
other number: only the order counts, and equal scores are one step. All of them read the same two
sums, the positive and the negative weight at each distinct score in falling order.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics._input import (
    UndefinedMetricWarning,
    as_array,
    as_label_list,
    as_labels,
    as_weight,
    check_option,
    same_type,
)

__all__ = [
    "Steps",
    "average_precision_score",
    "precision_recall_curve",
    "roc_auc_score",
    "roc_curve",
]

Array = NDArray[Any]
_TINY = np.finfo(np.float64).tiny


class Steps(NamedTuple):
    """Samples in falling order of their score, one step for each distinct score.

    ``order`` (N,) sorts the samples, ``starts`` (G,) says where each step begins among them, and
    ``thresholds`` (G,) are the scores. :meth:`sums` gives the weights at each step.
    """

    order: Array
    starts: Array
    thresholds: Array

    @classmethod
    def of(cls, scores: Array) -> Steps:
        """The steps of (N,) scores."""
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        return cls(order, starts, ranked[starts])

    def sums(self, positive: Array, weight: Array) -> tuple[Array, Array]:
        """(…, G) the positive and the negative weight at each step, of weights (…, N)."""
        ranked = weight[..., self.order]
        pos = ranked * positive[self.order]
        if len(self.starts) < len(self.order):
            pos = np.add.reduceat(pos, self.starts, axis=-1)
            ranked = np.add.reduceat(ranked, self.starts, axis=-1)
        return pos, ranked - pos


def auc(pos: Array, neg: Array) -> Array:
    """(…) the area under the ROC curve of the sums (…, G): P(score⁺ > score⁻) + P(equal)/2.

    NaN where there is no positive or no negative weight.
    """
    below = neg.sum(axis=-1, keepdims=True) - np.cumsum(neg, axis=-1)
    won = (pos * (below + neg / 2)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(won / (pos.sum(axis=-1) * neg.sum(axis=-1)))


def average_precision(pos: Array, neg: Array) -> Array:
    """(…) the average precision ``Σ (R_g - R_{g-1}) P_g`` of the sums (…, G).

    NaN where there is no positive weight.
    """
    hits, all_ = np.cumsum(pos, axis=-1), np.cumsum(pos + neg, axis=-1)
    precision = hits / np.maximum(all_, _TINY)  # before the first weight 0/0 is 0
    with np.errstate(invalid="ignore"):
        return np.asarray((pos * precision).sum(axis=-1) / hits[..., -1])


def roc_auc_score(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    average: str | None = "macro",
    sample_weight: ArrayLike | None = None,
    multi_class: str = "raise",
    labels: ArrayLike | None = None,
) -> Any:
    """The area under the ROC curve: the chance that a positive sample outranks a negative one.

    ``AUC = P(s⁺ > s⁻) + P(s⁺ = s⁻)/2``: 1 is a perfect ranking, 0.5 is chance. It does not depend
    on a threshold, nor on how rare the positive class is.

    Arguments
    ---------
    y_true : (N,) labels, the greater of two being positive, or an (N, K) multilabel indicator.
    y_score : (N,) scores of the positive class, or (N, K), one column per class or label.
    average : over K classes or labels: ``"macro"`` their mean, ``"weighted"`` the mean weighted by
        their positive samples, ``None`` (K,) values; ``"micro"`` one ranking of all cells of an
        indicator.
    multi_class : ``"ovr"`` (each class against the rest) is required for more than two labels,
        because there are several extensions and none is obvious.
    labels : all labels in the order of the columns, needed when ``y_true`` lacks some of them.

    Where one side is empty the area is undefined: nan, with an :class:`UndefinedMetricWarning`.

    >>> roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> roc_auc_score([0, 1, 2], np.eye(3), multi_class="ovr")
    1.0
    """
    check_option("average", average, ("macro", "weighted", "micro", None))
    check_option("multi_class", multi_class, ("raise", "ovr"))
    return _score(auc, "ROC AUC", y_true, y_score, average, sample_weight, labels, multi_class)


def average_precision_score(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    average: str | None = "macro",
    pos_label: int | float | str | bool | None = None,
    sample_weight: ArrayLike | None = None,
) -> Any:
    """The mean precision over the positive samples: the area under the precision-recall curve.

    ``AP = Σ (R_g - R_{g-1}) P_g`` over the distinct scores from the highest down, without
    interpolation. A random ranking scores the share of positive samples, so that it tells more than
    the ROC area where these are rare.

    The arguments are those of :func:`roc_auc_score`; with more than two labels each is measured
    against the rest. ``pos_label`` names the positive one of two labels (default: the greater).

    >>> round(average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    check_option("average", average, ("macro", "weighted", "micro", None))
    true = as_labels("y_true", y_true)
    if pos_label is not None and true.ndim == 1:
        true = (true == pos_label).astype(np.int64)
    return _score(
        average_precision, "average precision", true, y_score, average, sample_weight, None, "ovr"
    )


def roc_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> tuple[Array, Array, Array]:
    """(fpr, tpr, thresholds): the rates at each distinct score, from "nothing is positive" down.

    The first threshold is inf. Every point is kept (scikit-learn's ``drop_intermediate=False``).

    >>> fpr, tpr, thresholds = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> fpr, tpr
    (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))
    """
    steps, pos, neg = _binary_steps(y_true, y_score, sample_weight)
    tp, fp = (np.concatenate([[0.0], np.cumsum(v)]) for v in (pos, neg))
    thresholds = np.concatenate([[np.inf], steps.thresholds])
    return _rate(fp, "negative"), _rate(tp, "positive"), thresholds


def precision_recall_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> tuple[Array, Array, Array]:
    """(precision, recall, thresholds) in rising order of the threshold; the last point is (1, 0).

    >>> precision, recall, thresholds = precision_recall_curve([0, 1, 1], [0.2, 0.3, 0.9])
    >>> recall, thresholds
    (array([1. , 1. , 0.5, 0. ]), array([0.2, 0.3, 0.9]))
    """
    steps, pos, neg = _binary_steps(y_true, y_score, sample_weight)
    tp, all_ = np.cumsum(pos), np.cumsum(pos + neg)
    precision = np.divide(tp, all_, out=np.zeros(len(tp)), where=all_ > 0)
    recall = _rate(tp, "positive")
    return (
        np.concatenate([precision[::-1], [1.0]]),
        np.concatenate([recall[::-1], [0.0]]),
        steps.thresholds[::-1],
    )


def _score(
    measure: Callable[[Array, Array], Array],
    name: str,
    y_true: ArrayLike,
    y_score: ArrayLike,
    average: str | None,
    sample_weight: ArrayLike | None,
    labels: ArrayLike | None,
    multi_class: str,
) -> Any:
    true, scores = as_labels("y_true", y_true), _scores(y_score)
    if len(true) != len(scores):
        raise ShapeError(f"y_true has {len(true)} samples, y_score has {len(scores)}")
    weight = as_weight(sample_weight, len(true)).astype(np.float64)
    if true.ndim == 1:
        known = _labels(true, labels)
        if scores.shape[1] == 1:
            if len(known) > 2:
                raise ShapeError(
                    f"y_true holds {len(known)} labels and y_score one column; each label needs "
                    "a column of scores"
                )
            return _one(measure, name, true == known[-1], scores[:, 0], weight, len(known) > 1)
        if scores.shape[1] != len(known) or len(known) == 2:
            raise ShapeError(
                f"y_score has {scores.shape[1]} columns for {len(known)} labels {known.tolist()}; "
                "expected one per label (labels=[…] names those y_true lacks), or (N,) scores of "
                "the greater of two labels"
            )
        if multi_class == "raise":
            raise ValueError("more than two labels: say multi_class='ovr', each against the rest")
        if average == "micro":
            raise ValueError("average='micro' needs a multilabel indicator")
        true = true[:, None] == known
    elif true.shape != scores.shape:
        raise ShapeError(f"y_true {true.shape} and y_score {scores.shape} have different columns")
    if average == "micro":
        every = np.repeat(weight, true.shape[1])
        return _one(measure, name, true.ravel(), scores.ravel(), every)
    each = np.array([_one(measure, name, true[:, k], scores[:, k], weight) for k in _range(true)])
    if average is None:
        return each
    share = weight @ true if average == "weighted" else np.ones(len(each))
    return float(np.average(each, weights=share)) if share.any() else math.nan


def _range(a: Array) -> range:
    return range(a.shape[1])


def _one(
    measure: Callable[[Array, Array], Array],
    name: str,
    positive: Array,
    scores: Array,
    weight: Array,
    both: bool = True,
) -> float:
    value = float(measure(*Steps.of(scores).sums(positive, weight))) if both else math.nan
    if math.isnan(value):
        warnings.warn(
            f"{name} is undefined: y_true has no positive or no negative sample",
            UndefinedMetricWarning,
            stacklevel=4,
        )
    return value


def _binary_steps(
    y_true: ArrayLike, y_score: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[Steps, Array, Array]:
    true, scores = as_labels("y_true", y_true), _scores(y_score)
    if true.ndim != 1 or scores.shape != (len(true), 1):
        raise ShapeError(f"a curve needs (N,) labels and scores, got {true.shape} {scores.shape}")
    known = _labels(true, None)
    if len(known) > 2:
        raise DataError(f"a curve is of two labels, y_true holds {len(known)}: {known.tolist()}")
    weight = as_weight(sample_weight, len(true)).astype(np.float64)
    steps = Steps.of(scores[:, 0])
    return steps, *steps.sums(true == known[-1], weight)


def _rate(cumulated: Array, side: str) -> Array:
    if cumulated[-1] > 0:
        return np.asarray(cumulated / cumulated[-1])
    warnings.warn(f"y_true has no {side} sample", UndefinedMetricWarning, stacklevel=3)
    return np.full(len(cumulated), np.nan)


def _labels(true: Array, labels: ArrayLike | None) -> Array:
    present = np.unique(true)
    if labels is None:
        return present
    known = as_label_list("labels", labels)
    same_type("labels", known, "y_true", true)
    if len(missing := np.setdiff1d(present, known)):
        raise ValueError(f"y_true holds {missing.tolist()}, not in labels={known.tolist()}")
    return known


def _scores(y_score: ArrayLike) -> Array:
    s = as_array("y_score", y_score)
    if s.ndim == 1:
        s = s[:, None]
    if s.ndim != 2 or s.shape[1] == 0 or s.dtype.kind not in "biuf":
        raise ShapeError(f"y_score: expected numbers (N,) or (N, K), got {s.dtype} {s.shape}")
    if not len(s):
        raise DataError("y_true and y_score are empty; one sample is needed")
    if not np.isfinite(s).all():
        row, column = np.argwhere(~np.isfinite(s))[0]
        raise DataError(f"y_score: row {row}, column {column} is {s[row, column]}, expected finite")
    return s.astype(np.float64) if s.dtype.kind != "f" else s
