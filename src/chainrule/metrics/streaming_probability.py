"""Metrics of probabilities and scores, fed batch by batch (see :mod:`.streaming`).

A batch need not hold every label, so that the labels are known beforehand: ``labels``, sorted, or
else the class numbers 0…K-1 of K columns, and 0 and 1 of one column.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics._exact import join, quotient, rounded, tally, units
from chainrule.metrics._input import (
    UndefinedMetricWarning,
    as_array,
    as_label_list,
    as_labels,
    as_weight,
    check_option,
)
from chainrule.metrics.calibration import bin_edges, brier_scores, confidences
from chainrule.metrics.probability import columns_of, log_losses
from chainrule.metrics.ranking import (
    average_precision,
    combined,
    of_column,
    of_columns,
    read_scores,
    roc_area,
)
from chainrule.metrics.retrieval import top_hits
from chainrule.metrics.streaming import OfMean, Streaming, need_weight

__all__ = [
    "ROCAUC",
    "AveragePrecision",
    "BrierScore",
    "CalibrationError",
    "LogLoss",
    "TopKAccuracy",
]

Array = NDArray[Any]


class LogLoss(OfMean):
    """Streaming :func:`log_loss`, with its ``labels``.

    >>> loss = LogLoss()
    >>> loss.update([1], [[0.5, 0.5]])
    >>> loss.update([0, 0], [[1.0, 0.0], [0.5, 0.5]])
    >>> round(loss.compute(), 4)
    0.4621
    """

    name = "log_loss"

    def __init__(self, *, labels: ArrayLike | None = None) -> None:
        super().__init__()
        self.labels = _label_list(labels)

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add a batch: labels (N,) and probabilities (N, K), or (N,) of the greater of two."""
        losses = log_losses(y_true, y_pred, labels=_all_labels(self.labels, y_pred))
        self._mean.update(losses, sample_weight)

    def compute(self) -> float:
        return float(self._mean.compute())

    def __repr__(self) -> str:
        return f"LogLoss(labels={self.labels!r})"


class BrierScore(OfMean):
    """Streaming :func:`brier_score_loss`, with its ``labels`` and ``scale_by_half``.

    >>> brier = BrierScore()
    >>> brier.update([1], [0.5])
    >>> brier.update([0], [0.25])
    >>> brier.compute()
    0.15625
    """

    name = "brier"

    def __init__(
        self, *, labels: ArrayLike | None = None, scale_by_half: bool | str = "auto"
    ) -> None:
        super().__init__()
        self.labels = _label_list(labels)
        self.scale_by_half = scale_by_half

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add a batch: labels (N,) and probabilities (N, K), or (N,) of the greater of two."""
        labels = _all_labels(self.labels, y_pred)
        scores = brier_scores(y_true, y_pred, labels=labels, scale_by_half=self.scale_by_half)
        self._mean.update(scores, sample_weight)

    def compute(self) -> float:
        return float(self._mean.compute())

    def __repr__(self) -> str:
        return f"BrierScore(labels={self.labels!r}, scale_by_half={self.scale_by_half!r})"


class TopKAccuracy(OfMean):
    """Streaming :func:`top_k_accuracy_score` of (N, K) scores, with its ``k`` and ``labels``.

    >>> top = TopKAccuracy(k=2)
    >>> top.update([0, 1], [[0.3, 0.4, 0.3], [0.5, 0.2, 0.3]])
    >>> top.update([2], [[0.1, 0.2, 0.7]])
    >>> round(top.compute(), 4)
    0.3333
    """

    name = "top_k_accuracy"

    def __init__(self, k: int = 5, *, labels: ArrayLike | None = None) -> None:
        super().__init__()
        top_hits(np.zeros(0, np.int64), np.zeros((0, 2)), k)  # is k a number of places?
        self.k = k
        self.labels = _label_list(labels)

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add a batch: labels (N,) and scores (N, K)."""
        true, scores = as_labels("y_true", y_true), read_scores(y_pred)
        if true.ndim != 1 or len(true) != len(scores) or scores.shape[1] < 2:
            raise ShapeError(
                f"expected labels (N,) and scores (N, K), one column for each of K labels, got "
                f"{true.shape} and {scores.shape}"
            )
        at = columns_of(true, scores.shape[1], _all_labels(self.labels, scores))
        self._mean.update(top_hits(at, scores, self.k), sample_weight)

    def compute(self) -> float:
        return float(self._mean.compute())

    def __repr__(self) -> str:
        return f"TopKAccuracy(k={self.k!r}, labels={self.labels!r})"


class CalibrationError(Streaming):
    """Streaming :func:`expected_calibration_error` over bins of one width.

    >>> ece = CalibrationError(n_bins=10)
    >>> ece.update([0, 1], [0.25, 0.75])
    >>> ece.update([1, 1], [0.75, 0.25])
    >>> ece.compute()
    0.0
    """

    name = "ece"

    def __init__(self, *, n_bins: int = 15, labels: ArrayLike | None = None) -> None:
        self._edges = bin_edges(n_bins)[1:-1]
        self.n_bins = n_bins
        self.labels = _label_list(labels)
        self.reset()

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add a batch: labels (N,) and probabilities (N, K), or (N,) of the greater of two."""
        correct, confidence = confidences(y_true, y_pred, _all_labels(self.labels, y_pred))
        w = as_weight(sample_weight, len(correct), all_zero=True)
        at = np.searchsorted(self._edges, confidence)
        self._add(
            [
                tally(at[correct], w[correct], self.n_bins),
                tally(at, w * confidence, self.n_bins),
                tally(at, w, self.n_bins),
            ]
        )

    def compute(self) -> float:
        hits, confidence, rows = (units(a) for a in self._sums)
        need_weight(rows.any())
        return quotient(int(np.abs(hits - confidence).sum()), int(rows.sum()))

    def reset(self) -> None:
        self._sums = [np.zeros(self.n_bins, np.int64) for _ in range(3)]

    def _join(self, other: Self) -> None:
        self._add(other._sums)

    def _add(self, more: list[Array]) -> None:
        self._sums = [join(a, b) for a, b in zip(self._sums, more, strict=True)]

    def __repr__(self) -> str:
        return f"CalibrationError(n_bins={self.n_bins!r}, labels={self.labels!r})"


class RankedMetric(Streaming):
    """A ranking of each of C columns of scores: kept as they are, or counted in bins."""

    _title: ClassVar[str]
    _columns: int | None
    _batches: list[tuple[Array, Array, Array]]
    _sums: Array | None

    def __init__(
        self,
        *,
        average: str | None = "macro",
        labels: ArrayLike | None = None,
        bins: int | None = None,
    ) -> None:
        check_option("average", average, ("macro", "weighted", "micro", None))
        if bins is not None:
            bin_edges(bins)
            if average == "micro":
                raise ValueError("average='micro' needs the scores themselves: bins=None")
        self.average, self.bins = average, bins
        self.labels = _label_list(labels)
        self.reset()

    @staticmethod
    @abstractmethod
    def _measure(pos: Array, neg: Array) -> float:
        """Of the positive and the negative weights in falling order of the score."""

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add a batch: labels (N,) or an indicator (N, K), and scores (N, K) or (N,)."""
        true, scores = as_labels("y_true", y_true), read_scores(y_pred)
        if len(true) != len(scores) or (true.ndim == 2 and true.shape != scores.shape):
            raise ShapeError(f"y_true {true.shape} and scores {scores.shape} do not fit together")
        columns = scores.shape[1]
        if self._columns not in (None, columns):
            raise ShapeError(f"a batch of {columns} columns after batches of {self._columns}")
        w = as_weight(sample_weight, len(true), all_zero=True)
        if true.ndim == 1:
            known = _all_labels(self.labels, scores)
            at = columns_of(true, max(columns, 2), known)
            true = at[:, None] == (np.arange(columns) if columns > 1 else np.array([1]))
        kept = w > 0
        true, scores, w = true[kept], scores[kept], w[kept]
        if self.bins is None:
            self._batches.append((true.copy(), scores.copy(), w))
        else:
            self._count(true, scores, w, self.bins)
        self._columns = columns

    def _count(self, true: Array, scores: Array, w: Array, bins: int) -> None:
        if scores.size and (scores.min() < 0 or scores.max() > 1):
            raise DataError(
                f"scores from {scores.min()} to {scores.max()}: bins are of [0, 1], where "
                "probabilities are; bins=None keeps scores of any kind"
            )
        columns = scores.shape[1]
        # Falling order, the highest bin first; column after column, and negative after positive.
        at = np.minimum(((1 - scores) * bins).astype(np.int64), bins - 1)
        at = at + bins * (np.arange(columns) + columns * ~true)
        weight = np.repeat(w[:, None], columns, axis=1)
        more = tally(at.ravel(), weight.ravel(), 2 * columns * bins)
        self._sums = more if self._sums is None else join(self._sums, more)

    def compute(self) -> Any:
        if self._columns is None:
            raise DataError("no batch has been added: call update first")
        if self._sums is not None:
            pos, neg = rounded(self._sums).reshape(2, self._columns, -1).astype(np.float64)
            need_weight(pos.any() or neg.any())
            each = np.array([self._measure(p, n) for p, n in zip(pos, neg, strict=True)])
            if not pos.any(axis=1).all() or not neg.any(axis=1).all():
                warnings.warn(
                    f"{self._title} is undefined for labels without positive or negative samples",
                    UndefinedMetricWarning,
                    stacklevel=2,
                )
            if self._columns == 1:
                return float(each[0])
            share = pos.sum(axis=1) if self.average == "weighted" else np.ones(self._columns)
            return combined(each, share, self.average)
        true, scores, w = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        need_weight(len(w))
        if w.dtype.kind == "f":  # an order of the samples that does not depend on the batches
            order = np.lexsort([w, *true.T, *scores.T])
            true, scores, w = true[order], scores[order], w[order]
        w = w.astype(np.float64)
        if self._columns == 1:
            return of_column(self._measure, self._title, true[:, 0], scores[:, 0], w)
        return of_columns(self._measure, self._title, true, scores, w, self.average)

    def reset(self) -> None:
        self._columns, self._batches, self._sums = None, [], None

    def _join(self, other: Self) -> None:
        if other._columns is None:
            return
        if self._columns not in (None, other._columns):
            raise ShapeError(f"cannot merge {other._columns} columns into {self._columns}")
        self._columns = other._columns
        self._batches += other._batches
        if other._sums is not None:
            self._sums = other._sums if self._sums is None else join(self._sums, other._sums)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(average={self.average!r}, labels={self.labels!r}, "
            f"bins={self.bins!r})"
        )


class ROCAUC(RankedMetric):
    """Streaming :func:`roc_auc_score`; of several columns, each label against the rest.

    Arguments
    ---------
    average : as there, without ``"samples"``.
    labels : all labels, sorted; class numbers by default. An indicator (N, K) needs none.
    bins : ``None`` keeps every score and label, 9 bytes or more per sample and column, and is
        exact. A number keeps two counts per bin of [0, 1] instead, whatever the number of samples;
        scores in the same bin count as equal, which moves the area by at most half the share of
        the pairs of a positive and a negative sample that share a bin.

    >>> area = ROCAUC()
    >>> area.update([0, 0], [0.1, 0.4])
    >>> area.update([1, 1], [0.35, 0.8])
    >>> area.compute()
    0.75
    """

    name, _title = "roc_auc", "ROC AUC"

    @staticmethod
    def _measure(pos: Array, neg: Array) -> float:
        return float(roc_area(pos, neg))


class AveragePrecision(RankedMetric):
    """Streaming :func:`average_precision_score`; the options are those of :class:`ROCAUC`.

    >>> mean = AveragePrecision()
    >>> mean.update([0, 0], [0.1, 0.4])
    >>> mean.update([1, 1], [0.35, 0.8])
    >>> round(mean.compute(), 4)
    0.8333
    """

    name, _title = "average_precision", "average precision"

    @staticmethod
    def _measure(pos: Array, neg: Array) -> float:
        return float(average_precision(pos, neg)) if pos.any() else 0.0


def _label_list(labels: ArrayLike | None) -> list[Any] | None:
    return None if labels is None else as_label_list("labels", labels).tolist()


def _all_labels(labels: list[Any] | None, scores: ArrayLike) -> list[Any]:
    if labels is not None:
        return labels
    shape = as_array("y_pred", scores).shape
    return list(range(shape[1] if len(shape) == 2 and shape[1] > 1 else 2))
