"""Metrics of predicted classes, with scikit-learn's names, arguments and values.

All functions take ``y_true`` and ``y_pred`` as (N,) labels (integers, booleans or strings), most
also as (N, K) multilabel indicators of 0 and 1, and ``sample_weight`` as (N,) numbers ≥ 0. Sums
are taken in int64 for integer weights and float64 otherwise. Common errors:
:class:`~chainrule.array.errors.ShapeError` for lengths and shapes that do not fit,
:class:`~chainrule.array.errors.DataError` for values that are no labels or no weights, and
``ValueError`` for an unknown option, naming the nearest one. All are ``ValueError``.

Note 004 §1 leaves open which class is positive, what 0/0 means and how more than two classes are
averaged; here they are ``pos_label``, ``zero_division`` and ``average`` (errata E004-37, E004-56).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.metrics._counts import Counts, averaged, confusion, counted, normalized
from chainrule.metrics._exact import rounded
from chainrule.metrics._input import (
    as_label_list,
    check_option,
    read_targets,
)

__all__ = [
    "accuracy_score",
    "confusion_matrix",
    "f1_score",
    "multilabel_confusion_matrix",
    "precision_recall_fscore_support",
    "precision_score",
    "recall_score",
]

Array = NDArray[Any]


def accuracy_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
) -> float:
    """The share of samples predicted right (ledger M-04): ``Σ w·[y = ŷ] / Σ w``.

    In a multilabel row every label must be right. ``normalize=False`` gives the weight of the right
    samples, ``Σ w·[y = ŷ]``, instead of the share.

    >>> accuracy_score([0, 1, 2, 2], [0, 2, 2, 2])
    0.75
    >>> accuracy_score(["cat", "dog"], ["cat", "cat"], normalize=False)
    1.0
    """
    t = read_targets(y_true, y_pred, sample_weight)
    right = t.weight @ t.correct
    return float(right / t.weight.sum() if normalize else right)


def precision_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> Any:
    """Of the samples predicted positive, the share that is (ledger M-01): ``TP / (TP + FP)``.

    Arguments
    ---------
    labels : (K,) labels to score and their order; the default is all that occur, sorted. Labels
        that never occur have no samples; labels left out are left out of the averages. For
        multilabel targets, column numbers.
    pos_label : the positive class of ``average="binary"``.
    average : ``"binary"``: the score of ``pos_label``; targets must have two classes.
        ``"micro"``: one ratio from the summed counts of all labels. ``"macro"``: the mean of the
        labels' scores. ``"weighted"``: their mean weighted by each label's true samples.
        ``"samples"``: the mean over the rows of a multilabel indicator. ``None``: (K,) scores.
    zero_division : the value of 0/0: 0, 1, or nan (then left out of averages); ``"warn"`` is 0
        with an :class:`UndefinedMetricWarning`.

    >>> precision_score([0, 1, 1, 1], [1, 1, 1, 0])
    0.6666666666666666
    >>> precision_score(["a", "b", "c"], ["a", "b", "b"], average=None, zero_division=0)
    array([1. , 0.5, 0. ])
    """
    counts = counted(y_true, y_pred, sample_weight, labels, pos_label, average)
    return averaged(counts, "precision", average, zero_division)


def recall_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> Any:
    """Of the positive samples, the share that is found (ledger M-02): ``TP / (TP + FN)``.

    Also called sensitivity, true positive rate or hit rate. The arguments are those of
    :func:`precision_score`; here 0/0 means that a label has no true sample.

    >>> recall_score([0, 1, 1, 1], [1, 1, 0, 0])
    0.3333333333333333
    """
    counts = counted(y_true, y_pred, sample_weight, labels, pos_label, average)
    return averaged(counts, "recall", average, zero_division)


def f1_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> Any:
    """The harmonic mean of precision and recall (ledger M-03): ``2PR/(P+R) = 2TP/(2TP + FP + FN)``.

    The second form is the one computed: it has a value where precision or recall alone is 0/0.
    The arguments are those of :func:`precision_score`; here 0/0 means that a label is neither true
    nor predicted anywhere. The macro F1 is the mean of the labels' F1, not the F1 of the means.

    >>> f1_score([0, 1, 1, 1], [1, 1, 1, 0])
    0.6666666666666666
    >>> f1_score([[1, 0], [1, 1]], [[1, 0], [0, 1]], average="samples")
    0.8333333333333333
    """
    counts = counted(y_true, y_pred, sample_weight, labels, pos_label, average)
    return averaged(counts, "f-score", average, zero_division)


def precision_recall_fscore_support(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    beta: float = 1.0,
    labels: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = 1,
    average: str | None = None,
    warn_for: tuple[str, ...] | list[str] | set[str] = ("precision", "recall", "f-score"),
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> tuple[Any, Any, Any, Array | None]:
    """Precision, recall, ``F_β = (1+β²)PR / (β²P + R)`` and support, from one count.

    β ≥ 0 says how many times as important recall is (β = 0 is precision, β = inf is recall).
    Support is the weight of each label's true samples, and ``None`` unless ``average`` is ``None``.
    ``warn_for`` names the scores whose 0/0 is worth a warning. The other arguments are those of
    :func:`precision_score`.

    >>> p, r, f, support = precision_recall_fscore_support([0, 1, 1], [0, 1, 0])
    >>> p, r, support
    (array([0.5, 1. ]), array([1. , 0.5]), array([1, 2]))
    """
    if not beta >= 0:
        raise ValueError(f"beta={beta!r}: expected a number >= 0")
    for metric in warn_for:
        check_option("warn_for", metric, ("precision", "recall", "f-score"))
    counts = counted(y_true, y_pred, sample_weight, labels, pos_label, average)
    p = averaged(counts, "precision", average, zero_division, warn="precision" in warn_for)
    r = averaged(counts, "recall", average, zero_division, warn="recall" in warn_for)
    f = averaged(counts, "f-score", average, zero_division, beta=beta, warn="f-score" in warn_for)
    return p, r, f, rounded(counts.tp + counts.fn) if average is None else None


def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    normalize: str | None = None,
) -> Array:
    """(K, K) matrix: entry (i, j) is the weight of samples of true label i predicted as label j.

    ``labels`` chooses the labels and their order; samples with another true or predicted label are
    left out. ``normalize`` divides rows (``"true"``), columns (``"pred"``) or the whole (``"all"``)
    by their sum; an empty row or column stays zero. For two classes ``.ravel()`` is TN, FP, FN, TP.

    >>> confusion_matrix([0, 1, 1, 0], [0, 1, 0, 0])
    array([[2, 0],
           [1, 1]])
    >>> confusion_matrix(["cat", "ant", "cat"], ["ant", "ant", "cat"], labels=["cat", "ant"])
    array([[1, 1],
           [0, 1]])
    """
    check_option("normalize", normalize, ("true", "pred", "all", None))
    t = read_targets(y_true, y_pred, sample_weight)
    wanted = t.labels if labels is None else as_label_list("labels", labels)
    matrix = confusion(t, wanted)
    if not np.isin(wanted, t.labels[t.true]).any():
        raise ValueError(
            f"labels={wanted.tolist()}: none of them is in y_true, which holds "
            f"{np.unique(t.labels[t.true]).tolist()}"
        )
    if matrix.shape == (1, 1):
        warnings.warn(
            f"only the label {wanted[0]!r} counts, so the matrix is (1, 1); "
            "labels=[…] with all classes gives it its full shape",
            UserWarning,
            stacklevel=2,
        )
    return normalized(matrix, normalize)


def multilabel_confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    samplewise: bool = False,
) -> Array:
    """(K, 2, 2): for each label against the rest, ``[[TN, FP], [FN, TP]]``.

    ``labels`` as in :func:`precision_score`. ``samplewise=True``, for multilabel targets only,
    counts over the labels of each sample instead: (N, 2, 2).

    >>> multilabel_confusion_matrix([[1, 0], [1, 1]], [[1, 1], [0, 1]])
    array([[[0, 0],
            [1, 1]],
           [[0, 1],
            [0, 1]]])
    """
    t = read_targets(y_true, y_pred, sample_weight)
    if samplewise:
        c = Counts.per_sample(t, labels)
    else:
        c = Counts.per_label(t)
        if labels is not None:
            c = c.select(as_label_list("labels", labels))
    cells = np.stack([rounded(a) for a in (c.tn, c.fp, c.fn, c.tp)], axis=-1).reshape(-1, 2, 2)
    return cells if c.share is None else np.asarray(cells * c.share[:, None, None])
