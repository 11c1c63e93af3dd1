"""Curves over the threshold of a score, with scikit-learn's names, arguments and values.

Each takes (N,) labels of two classes and (N,) scores, larger for the positive class. Which class
that is, is ``pos_label``; without it, 1 of labels {0, 1} or {-1, 1}, and an error for others, where
nothing says it. Samples of weight 0 are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
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
)
from chainrule.metrics.ranking import Steps, read_scores

__all__ = [
    "auc",
    "confusion_matrix_at_thresholds",
    "det_curve",
    "metric_at_thresholds",
    "positive_label",
    "precision_recall_curve",
    "roc_curve",
]

Array = NDArray[Any]
PosLabel = int | float | str | bool | None


def auc(x: ArrayLike, y: ArrayLike) -> float:
    """The area under a curve through the points (x, y), by the trapezoidal rule.

    ``x`` must not turn back: rising or falling. For the area under a ROC curve
    :func:`roc_auc_score` is exact and shorter.

    >>> auc([0.0, 0.5, 1.0], [0.0, 1.0, 1.0])
    0.75
    """
    points = [np.asarray(as_array(name, v), np.float64) for name, v in (("x", x), ("y", y))]
    if points[0].ndim != 1 or points[0].shape != points[1].shape or len(points[0]) < 2:
        raise ShapeError(
            f"x and y: expected two (N,) arrays of at least 2 points, got shapes {points[0].shape} "
            f"and {points[1].shape}"
        )
    steps = np.diff(points[0])
    if (steps < 0).any() and (steps > 0).any():
        raise ValueError(f"x goes up and down: {points[0]}; sort the points by x")
    return float(np.abs(steps) @ (points[1][1:] + points[1][:-1]) / 2)


def confusion_matrix_at_thresholds(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    pos_label: PosLabel = None,
    sample_weight: ArrayLike | None = None,
) -> tuple[Array, Array, Array, Array, Array]:
    """(tn, fp, fn, tp, thresholds): the weights if scores from the threshold on are positive.

    One entry per distinct score, from the highest down.

    >>> tn, fp, fn, tp, thresholds = confusion_matrix_at_thresholds([0, 1, 1], [0.2, 0.3, 0.9])
    >>> tp, fp, thresholds
    (array([1., 2., 2.]), array([0., 0., 1.]), array([0.9, 0.3, 0.2]))
    """
    steps, pos, neg = _binary_steps(y_true, y_score, pos_label, sample_weight)
    tp, fp = np.cumsum(pos), np.cumsum(neg)
    return fp[-1] - fp, fp, tp[-1] - tp, tp, steps.thresholds


def metric_at_thresholds(
    y_true: ArrayLike,
    y_score: ArrayLike,
    metric_func: Callable[..., Any],
    *,
    sample_weight: ArrayLike | None = None,
    metric_params: dict[str, Any] | None = None,
) -> tuple[Array, Array]:
    """(values, thresholds) of ``metric_func(y_true, y_score >= threshold, **metric_params)``.

    One entry per distinct score, from the highest down; ``sample_weight`` is handed on where given.

    >>> from chainrule.metrics import accuracy_score
    >>> metric_at_thresholds([0, 1, 1], [0.2, 0.3, 0.9], accuracy_score)
    (array([0.66666667, 1.        , 0.66666667]), array([0.9, 0.3, 0.2]))
    """
    true, scores = as_labels("y_true", y_true), read_scores(y_score)
    if true.ndim != 1 or scores.shape != (len(true), 1):
        raise ShapeError(f"a curve needs (N,) labels and scores, got {true.shape} {scores.shape}")
    weight = as_weight(sample_weight, len(true))
    kept = weight > 0
    true, s = true[kept], scores[kept, 0]
    options = dict(metric_params or {})
    if sample_weight is not None:
        options["sample_weight"] = weight[kept]
    thresholds = Steps.of(s).thresholds
    values = [metric_func(true, (s >= t).astype(np.int32), **options) for t in thresholds]
    return np.asarray(values), thresholds


def roc_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    pos_label: PosLabel = None,
    sample_weight: ArrayLike | None = None,
    drop_intermediate: bool = True,
) -> tuple[Array, Array, Array]:
    """(fpr, tpr, thresholds): the rates at the distinct scores, from "nothing is positive" down.

    The first threshold is inf. ``drop_intermediate`` leaves out points within a straight piece. A
    rate of a class without samples is nan, with an :class:`UndefinedMetricWarning`.

    >>> fpr, tpr, thresholds = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> fpr, tpr
    (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))
    """
    _, fp, _, tp, thresholds = confusion_matrix_at_thresholds(
        y_true, y_score, pos_label=pos_label, sample_weight=sample_weight
    )
    if drop_intermediate and len(fp) > 2:
        bent = (np.diff(fp, 2) != 0) | (np.diff(tp, 2) != 0)
        fp, tp, thresholds = _at_ends(bent, fp, tp, thresholds)
    tp, fp = (np.concatenate([[0.0], v]) for v in (tp, fp))
    return _rate(fp, "negative"), _rate(tp, "positive"), _from_infinity(thresholds)


def precision_recall_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    pos_label: PosLabel = None,
    sample_weight: ArrayLike | None = None,
    drop_intermediate: bool = False,
) -> tuple[Array, Array, Array]:
    """(precision, recall, thresholds) in rising order of the threshold; the last point is (1, 0).

    ``drop_intermediate`` leaves out points between two of the same recall. Without a positive
    sample recall is taken to be 1, with an :class:`UndefinedMetricWarning`.

    >>> precision, recall, thresholds = precision_recall_curve([0, 1, 1], [0.2, 0.3, 0.9])
    >>> recall, thresholds
    (array([1. , 1. , 0.5, 0. ]), array([0.2, 0.3, 0.9]))
    """
    _, fp, _, tp, thresholds = confusion_matrix_at_thresholds(
        y_true, y_score, pos_label=pos_label, sample_weight=sample_weight
    )
    if drop_intermediate and len(fp) > 2:
        fp, tp, thresholds = _at_ends(_tp_changes(tp), fp, tp, thresholds)
    all_ = tp + fp
    precision = np.divide(tp, all_, out=np.zeros(len(tp)), where=all_ > 0)
    if tp[-1] > 0:
        recall = tp / tp[-1]
    else:
        warnings.warn(
            "y_true has no positive sample: recall is set to 1 at all thresholds",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        recall = np.ones(len(tp))
    return (
        np.concatenate([precision[::-1], [1.0]]),
        np.concatenate([recall[::-1], [0.0]]),
        thresholds[::-1],
    )


def det_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    pos_label: PosLabel = None,
    sample_weight: ArrayLike | None = None,
    drop_intermediate: bool = False,
) -> tuple[Array, Array, Array]:
    """(fpr, fnr, thresholds) in rising order of the threshold: detection error trade-off.

    From the last threshold without a false negative to the first without a false positive; it is
    usually drawn on normal-deviate axes (Martin et al. 1997). Both classes must occur: DataError.

    >>> fpr, fnr, thresholds = det_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> fpr, fnr, thresholds
    (array([0.5, 0.5, 0. ]), array([0. , 0.5, 0.5]), array([0.35, 0.4 , 0.8 ]))
    """
    _, fp, _, tp, thresholds = confusion_matrix_at_thresholds(
        y_true, y_score, pos_label=pos_label, sample_weight=sample_weight
    )
    if not (tp[-1] and fp[-1]):
        raise DataError("a detection error curve needs both classes in y_true, it holds one")
    tp, fp = (np.concatenate([[0.0], v]) for v in (tp, fp))
    thresholds = _from_infinity(thresholds)
    if drop_intermediate and len(fp) > 2:
        fp, tp, thresholds = _at_ends(_tp_changes(tp), fp, tp, thresholds)
    first = np.searchsorted(fp, fp[0], side="right") - 1
    last = np.searchsorted(tp, tp[-1]) + 1
    part = slice(first, last)
    missed = tp[-1] - tp
    return (
        (fp[part] / fp[-1])[::-1],
        (missed[part] / tp[-1])[::-1],
        thresholds[part][::-1],
    )


def positive_label(true: Array, pos_label: PosLabel) -> Any:
    """The label that counts as positive among those of (N,) labels."""
    known = np.unique(true)
    if pos_label is not None:
        positive = as_label_list("pos_label", np.asarray([pos_label]))
        if positive.dtype.kind != known.dtype.kind:
            raise ValueError(f"pos_label={pos_label!r} is not among the labels {known.tolist()}")
        return positive[0]
    if len(known) > 2:
        raise DataError(f"a curve is of two labels, y_true holds {len(known)}: {known.tolist()}")
    if known.tolist() not in ([0, 1], [-1, 1], [0], [1], [-1]):
        raise ValueError(
            f"y_true holds {known.tolist()}, and nothing says which is positive: pos_label=… does"
        )
    return 1


def _binary_steps(
    y_true: ArrayLike,
    y_score: ArrayLike,
    pos_label: PosLabel,
    sample_weight: ArrayLike | None,
) -> tuple[Steps, Array, Array]:
    true, scores = as_labels("y_true", y_true), read_scores(y_score)
    if true.ndim != 1 or scores.shape != (len(true), 1):
        raise ShapeError(f"a curve needs (N,) labels and scores, got {true.shape} {scores.shape}")
    weight = as_weight(sample_weight, len(true)).astype(np.float64)
    positive = true == positive_label(true, pos_label)
    kept = weight > 0
    steps = Steps.of(scores[kept, 0])
    return steps, *steps.sums(positive[kept], weight[kept])


def _tp_changes(tp: Array) -> Array:
    """Whether each inner point differs in its true positives from one of its neighbours."""
    changes = np.diff(tp) != 0
    return np.asarray(changes[:-1] | changes[1:])


def _at_ends(inner: Array, *arrays: Array) -> tuple[Array, ...]:
    """Of each array the ends and the inner points chosen."""
    kept = np.concatenate([[True], inner, [True]])
    return tuple(a[kept] for a in arrays)


def _from_infinity(thresholds: Array) -> Array:
    return np.concatenate([[np.inf], thresholds])


def _rate(cumulated: Array, side: str) -> Array:
    if cumulated[-1] > 0:
        return np.asarray(cumulated / cumulated[-1])
    warnings.warn(f"y_true has no {side} sample", UndefinedMetricWarning, stacklevel=3)
    return np.full(len(cumulated), np.nan)
