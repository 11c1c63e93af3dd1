"""More ratios of the four counts TP, FP, FN, TN, with the arguments of :func:`precision_score`.

The names are those of note 004 §1 where scikit-learn has none: there specificity is the recall of
the other class, which says it for two classes only. A label stands here against all others
together, so that every ratio has a value per label, and averages, for any number of them. 0/0 is 0
with an :class:`UndefinedMetricWarning` unless ``zero_division`` says otherwise (errata E004-37,
E004-56).
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from chainrule.metrics._counts import averaged, counted

__all__ = [
    "false_negative_rate",
    "false_positive_rate",
    "fbeta_score",
    "jaccard_score",
    "negative_predictive_value",
    "specificity_score",
]


def specificity_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> Any:
    """Of the negative samples, the share found to be so (ledger M-05): ``TN / (TN + FP)``.

    Also called true negative rate. The arguments are those of :func:`precision_score`; here 0/0
    means that no sample has another label.

    >>> specificity_score([0, 0, 0, 1], [0, 0, 1, 1])
    0.6666666666666666
    >>> specificity_score(["a", "b", "c"], ["a", "b", "b"], average=None)
    array([1. , 0.5, 1. ])
    """
    counts = counted(y_true, y_pred, sample_weight, labels, pos_label, average)
    return averaged(counts, "specificity", average, zero_division)


def negative_predictive_value(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> Any:
    """Of the samples predicted negative, the share that is (ledger M-06): ``TN / (TN + FN)``.

    The arguments are those of :func:`precision_score`; here 0/0 means that every sample is
    predicted positive.

    >>> negative_predictive_value([0, 1, 1, 0], [0, 0, 1, 1])
    0.5
    """
    counts = counted(y_true, y_pred, sample_weight, labels, pos_label, average)
    return averaged(counts, "negative predictive value", average, zero_division)


def false_positive_rate(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> Any:
    """Of the negative samples, the share called positive (ledger M-07): ``FP / (FP + TN)``.

    Also called fall-out; ``1 - specificity`` where that is defined. The arguments are those of
    :func:`precision_score`.

    >>> false_positive_rate([0, 0, 0, 1], [0, 0, 1, 1])
    0.3333333333333333
    """
    counts = counted(y_true, y_pred, sample_weight, labels, pos_label, average)
    return averaged(counts, "false positive rate", average, zero_division)


def false_negative_rate(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> Any:
    """Of the positive samples, the share that is missed (ledger M-08): ``FN / (FN + TP)``.

    Also called miss rate; ``1 - recall`` where that is defined. The arguments are those of
    :func:`precision_score`.

    >>> false_negative_rate([0, 1, 1, 1], [1, 1, 1, 0])
    0.3333333333333333
    """
    counts = counted(y_true, y_pred, sample_weight, labels, pos_label, average)
    return averaged(counts, "false negative rate", average, zero_division)


def fbeta_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    beta: float,
    labels: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> Any:
    """``F_β = (1+β²)TP / ((1+β²)TP + β²FN + FP)``: recall counts β times as much as precision.

    ``beta`` ≥ 0: 0 is precision, 1 is :func:`f1_score`, inf is recall (van Rijsbergen 1979). The
    other arguments are those of :func:`precision_score`.

    >>> fbeta_score([0, 1, 1, 1], [1, 1, 1, 0], beta=2)
    0.6666666666666666
    """
    if not beta >= 0:
        raise ValueError(f"beta={beta!r}: expected a number >= 0")
    counts = counted(y_true, y_pred, sample_weight, labels, pos_label, average)
    return averaged(counts, "f-score", average, zero_division, beta=beta)


def jaccard_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = 1,
    average: str | None = "binary",
    sample_weight: ArrayLike | None = None,
    zero_division: str | float = "warn",
) -> Any:
    """The common samples of truth and prediction by those of either: ``TP / (TP + FP + FN)``.

    Also called intersection over union (Jaccard 1901); ``F1 / (2 - F1)``. The arguments are those
    of :func:`precision_score`; here 0/0 means that a label is neither true nor predicted anywhere.

    >>> jaccard_score([0, 1, 1, 1], [1, 1, 1, 0])
    0.5
    """
    counts = counted(y_true, y_pred, sample_weight, labels, pos_label, average)
    return averaged(counts, "Jaccard", average, zero_division)
