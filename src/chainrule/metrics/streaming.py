"""Metrics fed batch by batch: update, compute, merge, reset.

Each object keeps sums, never samples (:class:`ROCAUC` and :class:`AveragePrecision` excepted), and
the sums are not rounded: any split into batches, in any order, merged in any way, gives the same
bits. They are those of the function over all samples at once where weights are integers (or absent)
and scores come from counts, and else equal up to the rounding of the function's own sums. Objects
that saw different parts of the data (other processes, other files) join by ``merge``. A batch whose
weights are all zero is allowed; a result needs some weight. A batch that is refused changes
nothing.

>>> recall = Recall()
>>> recall.update([0, 1], [0, 1])
>>> recall.update([1, 1, 1], [0, 0, 1])
>>> recall.compute()
0.5
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics._counts import Counts, averaged, chosen, confusion, normalized
from chainrule.metrics._exact import columns, join, quotient, tally, units
from chainrule.metrics._input import (
    as_array,
    as_label_list,
    as_weight,
    check_option,
    read_targets,
    same_type,
)

__all__ = [
    "F1",
    "Accuracy",
    "ConfusionMatrix",
    "Mean",
    "OfCounts",
    "OfMean",
    "Precision",
    "Recall",
    "Streaming",
    "need_weight",
]

Array = NDArray[Any]


class Streaming(ABC):
    """What all streaming metrics of ``y_true`` and ``y_pred`` can do."""

    name: ClassVar[str]

    @abstractmethod
    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add a batch."""

    @abstractmethod
    def compute(self) -> Any:
        """The metric of everything added since the start or the last ``reset``."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything added."""

    @abstractmethod
    def _join(self, other: Self) -> None: ...

    def merge(self, other: Self) -> Self:
        """Add all that ``other``, a metric of the same kind and options, has seen; returns self."""
        if repr(self) != repr(other):
            raise ValueError(f"cannot merge {other!r} into {self!r}: kinds or options differ")
        self._join(other)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Mean:
    """The weighted mean ``Σ w·v / Σ w`` of values: losses, times, whatever is averaged.

    ``update(values, sample_weight=None)`` takes one number with one weight, or (N, …) values with
    (N,) weights; ``compute`` gives a float, or the mean over the first axis for (N, …) values. NaN
    in gives NaN out.

    >>> mean = Mean()
    >>> mean.update(0.5, 3)
    >>> mean.update([1.0, 2.0])
    >>> mean.compute()
    0.9
    """

    _sum: Array
    _odd: Array
    _weight: Array
    _shape: tuple[int, ...] | None

    def __init__(self) -> None:
        self.reset()

    def update(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Add values with their weights (1 each when none are given)."""
        v = as_array("values", values)
        if v.dtype.kind not in "biuf":
            raise DataError(f"values: expected numbers, got dtype {v.dtype}")
        if v.ndim == 0:
            v = v[None]
            if sample_weight is not None:
                sample_weight = np.atleast_1d(np.asarray(sample_weight))
        if self._shape not in (None, v.shape[1:]):
            raise ShapeError(f"values: expected (N, …) with … = {self._shape}, got {v.shape}")
        w = as_weight(sample_weight, len(v), all_zero=True)
        used = w > 0  # 0·NaN of a masked value is not part of the mean
        count = int(np.prod(v.shape[1:]))
        w, flat = w[used], v[used].reshape(int(used.sum()), count)
        if w.dtype.kind == "i" and v.dtype.kind == "b":
            total, odd = columns(w, flat), np.zeros(count)
        else:
            terms = w[:, None] * flat.astype(np.float64)
            finite = np.isfinite(terms)
            at = np.broadcast_to(np.arange(count), terms.shape)[finite]
            total = tally(at, terms[finite], count)
            odd = np.where(finite, 0.0, terms).sum(axis=0)
        self._add(v.shape[1:], total, odd, tally(np.zeros(len(w), np.int64), w, 1))

    def compute(self) -> Any:
        """The mean of everything added since the start or the last ``reset``."""
        need_weight(self._weight)
        above, below = units(self._sum), int(units(self._weight)[0])
        mean = np.array([quotient(int(v), below) for v in above]) + self._odd
        return mean.reshape(self._shape) if self._shape else float(mean[0])

    def merge(self, other: Mean) -> Self:
        """Add all that ``other`` has seen; returns self."""
        if other._shape is None:
            return self
        if self._shape not in (None, other._shape):
            raise ShapeError(f"cannot merge means of shapes {self._shape} and {other._shape}")
        self._add(other._shape, other._sum, other._odd, other._weight)
        return self

    def _add(self, shape: tuple[int, ...], total: Array, odd: Array, weight: Array) -> None:
        if self._shape is None:
            self._sum, self._odd = np.zeros(len(total), np.int64), np.zeros(len(total))
        self._shape = shape
        self._sum = join(self._sum, total)
        with np.errstate(invalid="ignore"):  # inf - inf
            self._odd = self._odd + odd
        self._weight = join(self._weight, weight)

    def reset(self) -> None:
        """Forget everything added."""
        self._sum, self._odd, self._shape = np.zeros(1, np.int64), np.zeros(1), None
        self._weight = np.zeros(1, np.int64)

    def __repr__(self) -> str:
        return "Mean()"


class OfMean(Streaming):
    """A metric that is the mean of one number per sample."""

    def __init__(self) -> None:
        self._mean = Mean()

    def reset(self) -> None:
        self._mean.reset()

    def _join(self, other: Self) -> None:
        self._mean.merge(other._mean)


class Accuracy(OfMean):
    """Streaming :func:`accuracy_score`.

    >>> accuracy = Accuracy()
    >>> accuracy.update(["a", "b"], ["a", "a"])
    >>> accuracy.update(["b", "b"], ["b", "b"])
    >>> accuracy.compute()
    0.75
    """

    name = "accuracy"

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        t = read_targets(y_true, y_pred, sample_weight, all_zero=True)
        self._mean.update(t.correct, t.weight)

    def compute(self) -> float:
        return float(self._mean.compute())


class OfCounts(Streaming):
    """A ratio of the counts TP, FP, FN and TN; the options are those of :func:`precision_score`."""

    _metric: ClassVar[str]
    _beta = 1.0

    def __init__(
        self,
        *,
        labels: ArrayLike | None = None,
        pos_label: int | float | str | bool | None = 1,
        average: str | None = "binary",
        zero_division: str | float = "warn",
    ) -> None:
        check_option("average", average, ("binary", "micro", "macro", "weighted", None))
        self.labels = None if labels is None else as_label_list("labels", labels).tolist()
        self.pos_label = pos_label
        self.average = average
        self.zero_division = zero_division
        self.reset()

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        t = read_targets(y_true, y_pred, sample_weight, all_zero=True)
        self._add(Counts.per_label(t))

    def compute(self) -> Any:
        if self._counts is None:
            raise DataError("no batch has been added: call update first")
        need_weight(self._counts.total)
        counts = chosen(self._counts, self.labels, self.pos_label, self.average)
        return averaged(counts, self._metric, self.average, self.zero_division, beta=self._beta)

    def reset(self) -> None:
        self._counts: Counts | None = None

    def _join(self, other: Self) -> None:
        if other._counts is not None:
            self._add(other._counts)

    def _add(self, more: Counts) -> None:
        self._counts = more if self._counts is None else self._counts.merged(more)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(labels={self.labels!r}, pos_label={self.pos_label!r}, "
            f"average={self.average!r}, zero_division={self.zero_division!r})"
        )


class Precision(OfCounts):
    """Streaming :func:`precision_score`, with its options (``average="samples"`` excepted).

    Whether the targets are binary is judged by all labels seen, when ``compute`` is called.

    >>> import chainrule as cr
    >>> precision = cr.metrics.Precision()
    >>> precision.update([0, 1, 0], [0, 1, 1])
    >>> precision.compute()
    0.5
    """

    name = _metric = "precision"


class Recall(OfCounts):
    """Streaming :func:`recall_score`; options as :class:`Precision`.

    >>> import chainrule as cr
    >>> recall = cr.metrics.Recall()
    >>> recall.update([0, 1, 1], [0, 1, 0])
    >>> recall.compute()
    0.5
    """

    name = _metric = "recall"


class F1(OfCounts):
    """Streaming :func:`f1_score`; options as :class:`Precision`.

    >>> import chainrule as cr
    >>> f1 = cr.metrics.F1()
    >>> f1.update([0, 1, 1], [0, 1, 0])
    >>> f1.update([1], [1])
    >>> f1.compute()
    0.8
    """

    name, _metric = "f1", "f-score"


class ConfusionMatrix(Streaming):
    """Streaming :func:`confusion_matrix`, with its ``labels`` and ``normalize``.

    ``seen`` holds the labels of the rows and columns: ``labels`` if given, else those seen, sorted.

    >>> matrix = ConfusionMatrix()
    >>> matrix.update(["b"], ["a"])
    >>> matrix.update(["a", "c"], ["a", "c"])
    >>> matrix.seen.tolist(), matrix.compute()
    (['a', 'b', 'c'], array([[1, 0, 0],
           [1, 0, 0],
           [0, 0, 1]]))
    """

    name = "confusion_matrix"

    def __init__(self, *, labels: ArrayLike | None = None, normalize: str | None = None) -> None:
        check_option("normalize", normalize, ("true", "pred", "all", None))
        self.labels = None if labels is None else as_label_list("labels", labels).tolist()
        self.normalize = normalize
        self.reset()

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        t = read_targets(y_true, y_pred, sample_weight, all_zero=True)
        labels = t.labels if self.labels is None else np.asarray(self.labels)
        self._add(labels, confusion(t, labels))

    def compute(self) -> Array:
        if self._matrix is None:
            raise DataError("no batch has been added: call update first")
        return normalized(self._matrix, self.normalize).copy()

    def reset(self) -> None:
        self.seen: Array = np.asarray([] if self.labels is None else self.labels)
        self._matrix: Array | None = None

    def _join(self, other: Self) -> None:
        if other._matrix is not None:
            self._add(other.seen, other._matrix)

    def _add(self, labels: Array, matrix: Array) -> None:
        if self._matrix is None:
            self.seen, self._matrix = labels, matrix
            return
        if self.labels is None:
            same_type("the batch", labels, "the stream", self.seen)
            union = np.union1d(self.seen, labels)
        else:
            union = self.seen
        old, new = (_grown(self._matrix, self.seen, union), _grown(matrix, labels, union))
        self._matrix = join(old, new)
        self.seen = union

    def __repr__(self) -> str:
        return f"ConfusionMatrix(labels={self.labels!r}, normalize={self.normalize!r})"


def _grown(matrix: Array, labels: Array, union: Array) -> Array:
    if len(labels) == len(union):
        return matrix
    larger = np.zeros((len(union), len(union)), matrix.dtype)
    at = np.searchsorted(union, labels)
    larger[np.ix_(at, at)] = matrix
    return larger


def need_weight(weight: Any) -> None:
    """Raise DataError where nothing has weight: there is no mean of nothing."""
    if not weight:
        raise DataError("nothing to measure: no batch has been added, or all weights are zero")
