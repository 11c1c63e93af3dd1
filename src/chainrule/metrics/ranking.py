"""Metrics of a ranking: how well scores put the positive samples before the negative ones.

The functions carry scikit-learn's names and values. A score may be a probability, a logit or any
other number: only the order counts, and equal scores are one step. All of them read the same two
sums, the positive and the negative weight at each distinct score in falling order.
"""

from __future__ import annotations

import itertools
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
    "average_precision",
    "average_precision_score",
    "combined",
    "of_column",
    "of_columns",
    "read_scores",
    "roc_area",
    "roc_auc_score",
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


def roc_area(pos: Array, neg: Array) -> Array:
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
    max_fpr: float | None = None,
    multi_class: str = "raise",
    labels: ArrayLike | None = None,
) -> Any:
    """The area under the ROC curve: the chance that a positive sample outranks a negative one.

    ``AUC = P(s⁺ > s⁻) + P(s⁺ = s⁻)/2``: 1 is a perfect ranking, 0.5 is chance. It does not depend
    on a threshold, nor on how rare the positive class is.

    Arguments
    ---------
    y_true : (N,) labels, the greater of two being positive, or an (N, K) multilabel indicator.
    y_score : (N,) scores of the positive class, or (N, K), one column per class or label; those of
        more than two classes are probabilities, rows that sum to 1.
    average : over K classes or labels: ``"macro"`` their mean, ``"weighted"`` the mean weighted by
        their positive samples, ``None`` (K,) values; ``"micro"`` one ranking of all cells;
        ``"samples"`` the mean over the rows of an indicator.
    max_fpr : only the part of the curve up to this false positive rate, rescaled so that chance is
        0.5 and perfection 1 (McClish 1989). Not for more than two classes.
    multi_class : required for more than two labels, because there are several extensions and none
        is obvious: ``"ovr"``, each class against the rest, or ``"ovo"``, the mean over pairs of
        classes (Hand & Till 2001), weighted by the pair's share of samples with
        ``average="weighted"``; it takes no ``sample_weight``.
    labels : all labels, sorted as the columns are, needed when ``y_true`` lacks some of them.

    Where one side is empty the area is undefined: nan, with an :class:`UndefinedMetricWarning`.

    >>> roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> roc_auc_score([0, 1, 2], np.eye(3), multi_class="ovr")
    1.0
    """
    check_option("average", average, ("macro", "weighted", "micro", "samples", None))
    check_option("multi_class", multi_class, ("raise", "ovr", "ovo"))
    if max_fpr is not None and not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr={max_fpr!r}: expected a rate above 0 and up to 1")
    true, scores, weight = _read(y_true, y_score, sample_weight)

    def area(pos: Array, neg: Array) -> float:
        whole = max_fpr is None or max_fpr == 1
        return float(roc_area(pos, neg)) if whole else _partial_area(pos, neg, float(max_fpr or 1))

    if true.ndim == 2:
        return of_columns(area, "ROC AUC", true, scores, weight, average)
    known = _labels(true, labels)
    if len(known) <= 2 and scores.shape[1] <= 2:
        if scores.shape[1] == 2:
            raise ShapeError(
                "y_score has 2 columns for two labels; expected (N,) scores of the greater of them"
            )
        one = true == known[-1] if len(known) == 2 else np.zeros(len(true), bool)
        return of_column(area, "ROC AUC", one, scores[:, 0], weight)
    _check_columns(scores, known)
    if (np.abs(scores.sum(axis=1) - 1) > 1e-5).any():
        row = int(np.argmax(np.abs(scores.sum(axis=1) - 1)))
        raise DataError(
            f"y_score: row {row} sums to {scores[row].sum():g}; scores of more than two classes "
            "are probabilities: softmax makes logits comparable between samples"
        )
    if multi_class == "raise":
        raise ValueError(
            "more than two labels: say multi_class='ovr', each against the rest, or 'ovo', pairs"
        )
    if max_fpr not in (None, 1):
        raise ValueError("max_fpr is for two classes or a multilabel indicator")
    if multi_class == "ovo" and average is None:
        raise NotImplementedError("multi_class='ovo' has no value per class: average=None")
    if average == "samples" or (multi_class == "ovo" and average not in ("macro", "weighted")):
        raise ValueError(f"average={average!r} has no meaning with multi_class={multi_class!r}")
    if multi_class == "ovo":
        if sample_weight is not None:
            raise ValueError("multi_class='ovo' takes no sample_weight; 'ovr' does")
        return _pairs(true, known, scores, average)
    return of_columns(area, "ROC AUC", true[:, None] == known, scores, weight, average)


def average_precision_score(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    average: str | None = "macro",
    pos_label: int | float | str | bool = 1,
    sample_weight: ArrayLike | None = None,
) -> Any:
    """The mean precision over the positive samples: the area under the precision-recall curve.

    ``AP = Σ (R_g - R_{g-1}) P_g`` over the distinct scores from the highest down, without
    interpolation. A random ranking scores the share of positive samples, so that it tells more than
    the ROC area where these are rare.

    The arguments are those of :func:`roc_auc_score`; with more than two labels each is measured
    against the rest. ``pos_label`` names the positive one of two labels. Without a positive sample
    the value is 0, with an :class:`UndefinedMetricWarning`.

    >>> round(average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    check_option("average", average, ("macro", "weighted", "micro", "samples", None))
    true, scores, weight = _read(y_true, y_score, sample_weight)

    def area(pos: Array, neg: Array) -> float:
        value = float(average_precision(pos, neg))
        return 0.0 if math.isnan(value) else value

    known = np.unique(true)
    if true.ndim == 1 and len(known) <= 2 and scores.shape[1] == 1:
        wrong = len(known) == 2 and pos_label not in known.tolist()
        if wrong or isinstance(pos_label, str) != (known.dtype.kind == "U"):
            raise ValueError(
                f"pos_label={pos_label!r} is not among the labels {known.tolist()}; say which of "
                "them counts as positive"
            )
        return of_column(area, "average precision", true == pos_label, scores[:, 0], weight)
    if pos_label != 1:
        raise ValueError(
            f"pos_label={pos_label!r} is for two labels; several are measured each by itself"
        )
    if true.ndim == 1:
        _check_columns(scores, known)
        true = true[:, None] == known
    return of_columns(area, "average precision", true, scores, weight, average)


def _read(
    y_true: ArrayLike, y_score: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[Array, Array, Array]:
    true, scores = as_labels("y_true", y_true), read_scores(y_score)
    if len(true) != len(scores):
        raise ShapeError(f"y_true has {len(true)} samples, y_score has {len(scores)}")
    if true.ndim == 2 and true.shape != scores.shape:
        raise ShapeError(f"y_true {true.shape} and y_score {scores.shape} have different columns")
    return true, scores, as_weight(sample_weight, len(true)).astype(np.float64)


def _check_columns(scores: Array, known: Array) -> None:
    if scores.shape[1] != len(known):
        raise ShapeError(
            f"y_score has {scores.shape[1]} column(s) for {len(known)} labels {known.tolist()}; "
            "expected one per label (labels=[…] names those y_true lacks), or (N,) scores of "
            "the greater of two labels"
        )


def of_columns(
    measure: Callable[[Array, Array], float],
    name: str,
    true: Array,
    scores: Array,
    weight: Array,
    average: str | None,
) -> Any:
    """The measure of each column of an indicator (N, K), and what ``average`` makes of them."""
    if average == "micro":
        every = np.repeat(weight, true.shape[1])
        return of_column(measure, name, true.ravel(), scores.ravel(), every, level=4)
    if average == "samples":
        share, weight, true, scores = weight, np.ones(true.shape[1]), true.T, scores.T
    else:
        share = weight @ true if average == "weighted" else np.ones(true.shape[1])
    each = np.empty(true.shape[1])
    for k in range(len(each)):
        each[k] = of_column(measure, name, true[:, k], scores[:, k], weight, level=4)
    return combined(each, share, average)


def combined(each: Array, share: Array, average: str | None) -> Any:
    """The values of columns, or their mean with the weights ``share``; weight 0 leaves one out."""
    if average is None:
        return each
    if not share.any():
        return 0.0
    return float(np.average(np.where(share == 0, 0.0, each), weights=share))


def of_column(
    measure: Callable[[Array, Array], float],
    name: str,
    positive: Array,
    scores: Array,
    weight: Array,
    level: int = 3,
) -> float:
    """The measure of one ranking, with a warning where a side of it is empty."""
    value = measure(*Steps.of(scores).sums(positive, weight))
    empty = not (weight @ positive) or (name == "ROC AUC" and not (weight @ ~positive))
    if empty:
        warnings.warn(
            f"{name} is undefined and {value}: y_true has no positive or no negative sample",
            UndefinedMetricWarning,
            stacklevel=level,
        )
    return value


def _partial_area(pos: Array, neg: Array, max_fpr: float) -> float:
    """The area up to a false positive rate, from 0.5 for chance to 1 (McClish 1989)."""
    if not pos.sum() or not neg.sum():
        return math.nan
    tpr, fpr = (np.concatenate([[0.0], np.cumsum(v) / v.sum()]) for v in (pos, neg))
    last = int(np.searchsorted(fpr, max_fpr, side="right"))
    end = np.interp(max_fpr, fpr[last - 1 : last + 1], tpr[last - 1 : last + 1])
    x, y = np.append(fpr[:last], max_fpr), np.append(tpr[:last], end)
    area = np.diff(x) @ (y[1:] + y[:-1]) / 2
    least = max_fpr**2 / 2
    return float(0.5 + 0.5 * (area - least) / (max_fpr - least))


def _pairs(true: Array, known: Array, scores: Array, average: str | None) -> float:
    """The mean area over all pairs of classes that occur (Hand & Till 2001)."""
    present = np.flatnonzero(np.isin(known, true))
    areas, shares = [], []
    for i, j in itertools.combinations(present.tolist(), 2):
        rows = (true == known[i]) | (true == known[j])
        first = true[rows] == known[i]
        weight = np.ones(int(rows.sum()))
        both = (
            roc_area(*Steps.of(scores[rows, k]).sums(positive, weight))
            for k, positive in ((i, first), (j, ~first))
        )
        areas.append(float(sum(both)) / 2)
        shares.append(rows.mean())
    return float(np.average(areas, weights=shares if average == "weighted" else None))


def _labels(true: Array, labels: ArrayLike | None) -> Array:
    present = np.unique(true)
    if labels is None:
        return present
    known = as_label_list("labels", labels)
    same_type("labels", known, "y_true", true)
    if (np.sort(known) != known).any():
        raise ValueError(f"labels={known.tolist()} are not sorted, as the columns are")
    if len(missing := np.setdiff1d(present, known)):
        raise ValueError(f"y_true holds {missing.tolist()}, not in labels={known.tolist()}")
    return known


def read_scores(y_score: ArrayLike) -> Array:
    """Checked scores as (N, K) floats, (N,) as one column."""
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
