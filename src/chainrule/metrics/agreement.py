"""Agreement of truth and prediction in one number of the whole confusion matrix.

All of them are ratios of whole numbers, taken without rounding from exact counts, so that no
product of counts overflows and none cancels (errata E004-39).
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import nearest
from chainrule.metrics._counts import Counts, confusion
from chainrule.metrics._exact import quotient, rounded
from chainrule.metrics._input import (
    UndefinedMetricWarning,
    as_label_list,
    check_option,
    read_targets,
)

__all__ = [
    "balanced",
    "balanced_accuracy_score",
    "class_likelihood_ratios",
    "cohen_kappa_score",
    "correlation",
    "hamming_loss",
    "in_range",
    "kappa",
    "matthews_corrcoef",
    "zero_one_loss",
]

Array = NDArray[Any]


def matthews_corrcoef(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """The correlation of truth and prediction (ledger M-09; Matthews 1975, Gorodkin 2004).

    For two classes ``(TP·TN - FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN))``; for K classes, with
    ``s`` the total weight, ``c`` the weight of right samples and ``t_k``, ``p_k`` that of class k
    in truth and prediction,

        MCC = (c·s - Σ t_k p_k) / √((s² - Σ p_k²)(s² - Σ t_k²)).

    1 is perfect, 0 is chance, -1 (two classes only) is all wrong. Where truth or prediction is of
    one class only, the ratio is 0/0 and 0 is given (errata E004-38; Chicco & Jurman 2020). The sums
    are Python's integers: int64 overflows from about 10⁵ samples on (errata E004-39).

    >>> matthews_corrcoef([1, 1, 1, 0], [1, 0, 1, 1])
    -0.3333333333333333
    >>> matthews_corrcoef([0, 0, 1], [0, 0, 0])
    0.0
    """
    t = read_targets(y_true, y_pred, sample_weight)
    _single("the Matthews correlation", t.multilabel, t.true)
    return correlation(Counts.per_label(t))


def correlation(counts: Counts) -> float:
    """The Matthews correlation of counts per label."""
    hit, true, pred = (_whole(a) for a in (counts.tp, counts.tp + counts.fn, counts.tp + counts.fp))
    s, c = sum(true), sum(hit)
    top = c * s - sum(a * b for a, b in zip(true, pred, strict=True))
    bottom = (s * s - sum(a * a for a in pred)) * (s * s - sum(a * a for a in true))
    if bottom == 0:
        return 0.0
    # The square is a correctly rounded ratio of whole numbers, and never above 1.
    return math.copysign(math.sqrt(quotient(top * top, bottom)), -1 if top < 0 else 1)


def cohen_kappa_score(
    y1: ArrayLike,
    y2: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    weights: str | None = None,
    sample_weight: ArrayLike | None = None,
    replace_undefined_by: float = math.nan,
) -> float:
    """Cohen's kappa ``(p_o - p_e) / (1 - p_e)``: agreement of two raters beyond chance (1960).

    ``p_o`` is the share of samples on which they agree, ``p_e`` the share expected if they chose
    independently, each with their own frequencies. 1 is full agreement, 0 that of chance.

    Arguments
    ---------
    labels : the labels that count; samples with another one are left out.
    weights : how much a disagreement counts: ``None`` all alike, ``"linear"`` the distance of the
        two labels' places, ``"quadratic"`` its square.
    replace_undefined_by : the value, with an :class:`UndefinedMetricWarning`, where both raters
        used one label only and kappa is 0/0.

    >>> cohen_kappa_score(["no", "yes", "no", "maybe"], ["no", "yes", "no", "no"])
    0.5555555555555556
    """
    check_option("weights", weights, ("linear", "quadratic", None))
    undefined = in_range("replace_undefined_by", replace_undefined_by, -1, 1)
    t = read_targets(y1, y2, sample_weight)
    wanted = t.labels if labels is None else as_label_list("labels", labels)
    matrix = confusion(t, wanted)
    if not np.isin(wanted, t.labels[t.true]).any():
        raise ValueError(f"labels={wanted.tolist()}: none of them is in y1")
    return kappa(matrix, weights, undefined)


def kappa(matrix: Array, weights: str | None = None, undefined: float = math.nan) -> float:
    """Cohen's kappa of a confusion matrix, of int64 or exact units."""
    whole = matrix.astype(object)
    rows, columns = whole.sum(axis=1), whole.sum(axis=0)
    total = int(rows.sum())
    if weights is None:
        top = total - int(np.trace(whole))
        bottom = total * total - int(rows @ columns)
    else:
        place = np.arange(len(whole))
        cost = np.abs(place[:, None] - place) ** (1 if weights == "linear" else 2)
        top = int((cost.astype(object) * whole).sum())
        bottom = int(rows @ cost.astype(object) @ columns)
    if bottom == 0:
        warnings.warn(
            f"Cohen's kappa is 0/0 and set to {undefined}: both sides use one label only",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return undefined
    return quotient(bottom - top * total, bottom)


def balanced_accuracy_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    adjusted: bool = False,
) -> float:
    """The mean recall of the classes that occur in ``y_true`` (ledger M-10).

    For two classes, (sensitivity + specificity)/2. ``adjusted=True`` rescales it so that guessing
    one class scores 0 and a perfect prediction 1: ``(s - 1/K) / (1 - 1/K)``; with K = 1 this is
    0/0: nan and a warning. Classes that are only predicted are left out with a warning.

    >>> balanced_accuracy_score([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    t = read_targets(y_true, y_pred, sample_weight)
    _single("balanced accuracy", t.multilabel, t.true)
    return balanced(Counts.per_label(t), adjusted)


def balanced(counts: Counts, adjusted: bool) -> float:
    """The balanced accuracy of counts per label."""
    support, tp = rounded(counts.tp + counts.fn), rounded(counts.tp)
    if not support.all():
        warnings.warn(
            f"no true sample of label {counts.labels[support == 0].tolist()}: left out of the mean",
            UndefinedMetricWarning,
            stacklevel=3,
        )
    recalls = tp[support > 0] / support[support > 0]
    score = float(recalls.mean())
    if not adjusted:
        return score
    if len(recalls) == 1:
        warnings.warn(
            "adjusted balanced accuracy is 0/0 with one class in y_true",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return math.nan
    chance = 1 / len(recalls)
    return (score - chance) / (1 - chance)


def zero_one_loss(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
) -> float:
    """The share of samples predicted wrong, ``1 - accuracy``; ``normalize=False``: their weight.

    A multilabel row is wrong when one of its labels is.

    >>> zero_one_loss([0, 1, 2, 2], [0, 2, 2, 2])
    0.25
    """
    t = read_targets(y_true, y_pred, sample_weight)
    wrong = t.weight @ ~t.correct
    return float(wrong / t.weight.sum() if normalize else wrong)


def hamming_loss(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """The share of labels that are wrong: of all N·K cells of an indicator, or of N labels.

    >>> hamming_loss([[1, 0], [1, 1]], [[1, 1], [1, 1]])
    0.25
    """
    t = read_targets(y_true, y_pred, sample_weight)
    wrong = (t.true != t.pred).reshape(len(t.true), -1)
    return float(t.weight @ wrong.mean(axis=1) / t.weight.sum())


def class_likelihood_ratios(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    replace_undefined_by: float | dict[str, float] = math.nan,
) -> tuple[float, float]:
    """(LR+, LR-): how much a positive or a negative prediction changes the odds of class 1.

    ``LR+ = recall / (1 - specificity)``, from 1 (tells nothing) up; ``LR- = (1 - recall) /
    specificity``, from 1 down to 0 (Altman & Bland 1994). They do not depend on how frequent the
    class is. Two classes only, the greater is the positive one.

    Arguments
    ---------
    labels : the two labels, the negative one first.
    replace_undefined_by : the value, with an :class:`UndefinedMetricWarning`, of a ratio whose
        denominator is 0: nan, 1, or one for each as ``{"LR+": 1.0, "LR-": 1.0}``, LR+ from 1 to
        inf and LR- from 0 to 1.

    Without a true sample of class 1 they are 0/0: nan, or what replaces a 0 in the denominator.

    >>> positive, negative = class_likelihood_ratios([0, 1, 0, 1, 0], [1, 1, 0, 0, 0])
    >>> round(positive, 6), negative
    (1.5, 0.75)
    """
    instead = _replacements(replace_undefined_by)
    t = read_targets(y_true, y_pred, sample_weight)
    _single("a likelihood ratio", t.multilabel, t.true)
    if len(t.labels) > 2:
        raise ValueError(
            f"likelihood ratios are of two classes, the targets are multiclass: {t.labels.tolist()}"
        )
    wanted = t.labels if labels is None else as_label_list("labels", labels)
    matrix = confusion(t, wanted)
    if matrix.shape == (1, 1):
        tn, fp, fn, tp = 0, 0, 0, 0
    else:
        tn, fp, fn, tp = (int(v) for v in matrix.ravel())
    if tp + fn == 0:
        _undefined("both likelihood ratios are", math.nan, "y_true has no positive sample")
    positive, negative = instead
    if fp == 0:
        why = "no sample is predicted positive" if tp == 0 else "there is no false positive"
        _undefined("the positive likelihood ratio is", positive, why)
    else:
        positive = quotient(tp * (fp + tn), fp * (tp + fn)) if tp + fn else math.nan
    if tn == 0:
        _undefined("the negative likelihood ratio is", negative, "there is no true negative")
    else:
        negative = quotient(fn * (fp + tn), tn * (tp + fn)) if tp + fn else math.nan
    return positive, negative


def _undefined(what: str, value: float, why: str) -> None:
    warnings.warn(
        f"{what} undefined and set to {value}: {why}", UndefinedMetricWarning, stacklevel=3
    )


def _replacements(given: float | dict[str, float]) -> tuple[float, float]:
    if not isinstance(given, dict):
        if given == 1 or math.isnan(given):
            return float(given), float(given)
        raise ValueError(
            f"replace_undefined_by={given!r}: expected nan, 1 or {{'LR+': …, 'LR-': …}}"
        )
    if given.keys() != {"LR+", "LR-"}:
        odd = next((key for key in given if key not in ("LR+", "LR-")), "")
        raise ValueError(
            f"replace_undefined_by has the keys {list(given)}: {nearest(odd, ['LR+', 'LR-'])}"
        )
    return (
        in_range("replace_undefined_by['LR+']", given["LR+"], 1, math.inf),
        in_range("replace_undefined_by['LR-']", given["LR-"], 0, 1),
    )


def in_range(name: str, value: Any, low: float, high: float) -> float:
    """An option that is nan or a number between two limits."""
    number = isinstance(value, int | float | np.number)
    if not number or not (math.isnan(value) or low <= value <= high):
        raise ValueError(f"{name}={value!r}: expected nan or a number from {low} to {high}")
    return float(value)


def _single(what: str, multilabel: bool, true: Array) -> None:
    if multilabel:
        raise ValueError(
            f"{what} needs one label per sample, got a multilabel indicator {true.shape}"
        )


def _whole(a: Array) -> list[int]:
    return [int(v) for v in a]
