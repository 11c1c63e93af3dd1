"""The counts behind precision, recall and their kin: one text for whole arrays and for streams.

For each label, seen as "this label or not": true positives TP, false positives FP, false negatives
FN and true negatives TN, all weighted and summed without rounding (``_exact``). Every score here is
a ratio of sums of them (ledger M-01 to M-03, M-05 to M-08).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics._exact import columns, join, rounded, tally
from chainrule.metrics._input import (
    Targets,
    UndefinedMetricWarning,
    as_label_list,
    check_option,
    read_targets,
    same_type,
)

__all__ = ["Counts", "averaged", "chosen", "confusion", "counted", "normalized"]

Array = NDArray[Any]

_AVERAGES = ("binary", "micro", "macro", "weighted", "samples", None)


@dataclass(frozen=True)
class Counts:
    """Weighted TP, FP, FN per label (or per sample), and the total weight (1,) they are part of.

    Tallies are int64 for integer weights and else in the units of ``_exact``. Counts per sample are
    int64 and have the samples' weights in ``share``.
    """

    labels: Array
    tp: Array
    fp: Array
    fn: Array
    total: Array
    multilabel: bool
    share: Array | None = None

    @classmethod
    def per_label(cls, t: Targets) -> Counts:
        n, w = len(t.labels), t.weight
        if t.multilabel:
            parts = (t.true & t.pred, ~t.true & t.pred, t.true & ~t.pred)
            tp, fp, fn = (columns(w, part) for part in parts)
        else:
            hit = t.true == t.pred
            tp = tally(t.true[hit], w[hit], n)
            fp = tally(t.pred[~hit], w[~hit], n)
            fn = tally(t.true[~hit], w[~hit], n)
        total = tally(np.zeros(len(w), np.int64), w, 1)
        return cls(t.labels, tp, fp, fn, total, t.multilabel)

    @classmethod
    def per_sample(cls, t: Targets, labels: ArrayLike | None = None) -> Counts:
        """Counts over the labels of each sample; ``labels`` in the result number the samples."""
        if not t.multilabel:
            raise ValueError(
                "counts per sample (average='samples', samplewise=True) need multilabel targets "
                "(N, K); with one label per sample use 'micro', 'macro', 'weighted' or None"
            )
        true, pred = t.true, t.pred
        if labels is not None:
            at = _columns(as_label_list("labels", labels), len(t.labels))
            true, pred = true[:, at], pred[:, at]
        counted = (t.weight > 0).astype(np.int64)
        parts = (true & pred, ~true & pred, true & ~pred)
        tp, fp, fn = (counted * part.sum(axis=1) for part in parts)
        total = counted * true.shape[1]
        return cls(np.arange(len(true)), tp, fp, fn, total, True, t.weight)

    @property
    def tn(self) -> Array:
        return np.asarray(self.total - self.tp - self.fp - self.fn)

    @property
    def kind(self) -> str:
        if self.multilabel:
            return "multilabel"
        return "binary" if len(self.labels) <= 2 else "multiclass"

    def select(self, labels: Array) -> Counts:
        """The counts of ``labels`` (K,) in that order; labels never seen have zeros."""
        if self.multilabel:
            at = _columns(labels, len(self.labels))
            found = np.ones(len(at), bool)
        else:
            same_type("labels", labels, "y_true", self.labels)
            at = np.searchsorted(self.labels, labels).clip(max=len(self.labels) - 1)
            found = self.labels[at] == labels
        tp, fp, fn = (np.where(found, a[at], 0) for a in (self.tp, self.fp, self.fn))
        return Counts(labels, tp, fp, fn, self.total, self.multilabel)

    def merged(self, other: Counts) -> Counts:
        """The counts of both parts of a stream together."""
        if self.multilabel != other.multilabel:
            raise DataError(f"a {other.kind} batch cannot join a {self.kind} stream of labels")
        if self.multilabel and len(self.labels) != len(other.labels):
            raise ShapeError(
                f"a batch of {len(other.labels)} label columns cannot join a stream of "
                f"{len(self.labels)}"
            )
        same_type("the batch", other.labels, "the stream", self.labels)
        labels = np.union1d(self.labels, other.labels)
        a, b = self.select(labels), other.select(labels)
        tp, fp, fn = join(a.tp, b.tp), join(a.fp, b.fp), join(a.fn, b.fn)
        return Counts(labels, tp, fp, fn, join(a.total, b.total), a.multilabel)


def chosen(
    counts: Counts, labels: ArrayLike | None, pos_label: object, average: str | None
) -> Counts:
    """The counts of the labels that a score with this ``average`` is about."""
    check_option("average", average, _AVERAGES)
    if average == "binary":
        if counts.kind != "binary":
            found = f"{len(counts.labels)} label columns" if counts.multilabel else counts.labels
            more = ", 'samples'" if counts.multilabel else ""
            raise ValueError(
                f"average='binary' needs two classes, but the targets are {counts.kind} ({found}): "
                f"use average='macro', 'micro', 'weighted'{more} or None"
            )
        positive = as_label_list("pos_label", np.asarray([pos_label]))
        wrong_type = positive.dtype.kind != counts.labels.dtype.kind
        if wrong_type or (len(counts.labels) == 2 and positive[0] not in counts.labels):
            raise ValueError(
                f"pos_label={pos_label!r} is not among the labels {counts.labels.tolist()}; "
                "say which of them counts as positive"
            )
        return counts.select(positive)
    if pos_label is not None and pos_label != 1:
        warnings.warn(
            f"pos_label={pos_label!r} plays no part with average={average!r}; "
            f"labels=[{pos_label!r}] restricts a score to one class",
            UserWarning,
            stacklevel=4,
        )
    # Sample counts have chosen their columns already: their `labels` number the samples.
    if labels is None or average == "samples":
        return counts
    return counts.select(as_label_list("labels", labels))


def counted(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    sample_weight: ArrayLike | None,
    labels: ArrayLike | None,
    pos_label: object,
    average: str | None,
) -> Counts:
    """The counts, of whole arrays, of the labels that a score with this ``average`` is about."""
    t = read_targets(y_true, y_pred, sample_weight)
    found = Counts.per_sample(t, labels) if average == "samples" else Counts.per_label(t)
    return chosen(found, labels, pos_label, average)


# Each score: its numerator and denominator from TP, FP, FN, TN, and what 0/0 says is missing.
_RATIOS: dict[str, tuple[Any, Any, str]] = {
    "precision": (lambda tp, fp, fn, tn: tp, lambda tp, fp, fn, tn: tp + fp, "predicted"),
    "recall": (lambda tp, fp, fn, tn: tp, lambda tp, fp, fn, tn: tp + fn, "true"),
    "specificity": (lambda tp, fp, fn, tn: tn, lambda tp, fp, fn, tn: tn + fp, "negative"),
    "negative predictive value": (
        lambda tp, fp, fn, tn: tn,
        lambda tp, fp, fn, tn: tn + fn,
        "negatively predicted",
    ),
    "false positive rate": (lambda tp, fp, fn, tn: fp, lambda tp, fp, fn, tn: fp + tn, "negative"),
    "false negative rate": (lambda tp, fp, fn, tn: fn, lambda tp, fp, fn, tn: fn + tp, "true"),
    "Jaccard": (
        lambda tp, fp, fn, tn: tp,
        lambda tp, fp, fn, tn: tp + fp + fn,
        "true or predicted",
    ),
}


def averaged(
    counts: Counts,
    metric: str,
    average: str | None,
    zero_division: str | float,
    *,
    beta: float = 1.0,
    warn: bool = True,
) -> Any:
    """A score of the counts: (K,) with ``average=None``, else one float.

    A NaN from ``zero_division=nan`` is left out of the average.
    """
    value = _zero_division(zero_division)
    exact = (counts.tp, counts.fp, counts.fn, counts.tn)
    if average == "micro":
        exact = tuple(a.sum(keepdims=True) for a in exact)
    tp, fp, fn, tn = (rounded(a) for a in exact)
    if metric == "f-score" and math.isinf(beta):
        top, bottom, missing = tp, tp + fn, "true"
    elif metric == "f-score":
        b2 = beta**2
        top, bottom, missing = (1 + b2) * tp, (1 + b2) * tp + b2 * fn + fp, "true or predicted"
    else:
        above, below, missing = _RATIOS[metric]
        top, bottom = above(tp, fp, fn, tn), below(tp, fp, fn, tn)
    undefined = bottom == 0
    scores = np.where(undefined, value, top / np.where(undefined, 1, bottom))
    if undefined.any() and warn and zero_division == "warn":
        if average == "samples":
            where = f"{int(undefined.sum())} of {len(undefined)} samples have no {missing} label"
        elif average == "micro":
            where = f"no {missing} sample of any label"
        else:
            where = f"no {missing} sample of label {counts.labels[undefined].tolist()}"
        warnings.warn(
            f"{metric} is 0/0 and set to 0: {where}. zero_division=0, 1 or nan says what to use",
            UndefinedMetricWarning,
            stacklevel=3,
        )
    if average is None:
        return scores
    weights = np.ones(len(scores))
    if average == "weighted":
        weights = tp + fn
    elif average == "samples":
        weights = np.asarray(counts.share, np.float64)
    defined = ~np.isnan(scores)
    scores, weights = scores[defined], weights[defined]
    if len(scores) == 0:
        return math.nan
    # Without any true sample there is nothing to weight by: every label counts the same.
    return float(np.average(scores, weights=weights if weights.any() else None))


def confusion(t: Targets, labels: Array) -> Array:
    """(K, K) weight of the samples with true label i and predicted label j; others are left out."""
    if t.multilabel:
        raise ValueError(
            "a confusion matrix needs one label per sample, got a multilabel indicator "
            f"{t.true.shape}: use multilabel_confusion_matrix"
        )
    same_type("labels", labels, "y_true", t.labels)
    n = len(labels)
    order = np.argsort(labels)
    at = np.searchsorted(labels[order], t.labels).clip(max=n - 1)
    position = np.where(labels[order][at] == t.labels, order[at], -1)
    true, pred = position[t.true], position[t.pred]
    inside = (true >= 0) & (pred >= 0)
    return tally((true * n + pred)[inside], t.weight[inside], n * n).reshape(n, n)


def normalized(matrix: Array, normalize: str | None) -> Array:
    """Rows ("true"), columns ("pred") or the whole ("all") divided by their sum; 0/0 is 0."""
    check_option("normalize", normalize, ("true", "pred", "all", None))
    if normalize is None:
        return rounded(matrix)
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    matrix = rounded(matrix)
    total = matrix.sum(axis=axis, keepdims=True)
    return np.asarray(matrix / np.where(total == 0, 1, total))


def _columns(labels: Array, n: int) -> Array:
    if labels.dtype.kind != "i" or labels.min() < 0 or labels.max() >= n:
        raise ValueError(
            f"labels={labels.tolist()}: for multilabel targets labels are column numbers 0…{n - 1}"
        )
    return labels


def _zero_division(value: str | float) -> float:
    if isinstance(value, str):
        check_option("zero_division", value, ("warn",))
        return 0.0
    if isinstance(value, int | float | np.number) and (value in (0, 1) or math.isnan(value)):
        return float(value)
    raise ValueError(f"zero_division={value!r}: expected 'warn', 0, 1 or nan")
