"""Metrics that come from counts of classes, fed batch by batch (see :mod:`.streaming`)."""

from __future__ import annotations

import math
from typing import Any, Self

from numpy.typing import ArrayLike

from chainrule.array.errors import DataError
from chainrule.metrics._counts import Counts
from chainrule.metrics._input import check_option, read_targets
from chainrule.metrics.agreement import balanced, correlation, in_range, kappa
from chainrule.metrics.streaming import ConfusionMatrix, OfCounts, Streaming, need_weight

__all__ = [
    "BalancedAccuracy",
    "CohenKappa",
    "FBeta",
    "FalseNegativeRate",
    "FalsePositiveRate",
    "Jaccard",
    "MatthewsCorrelation",
    "NegativePredictiveValue",
    "Specificity",
]


class Specificity(OfCounts):
    """Streaming :func:`specificity_score`; options as :class:`Precision`.

    >>> specificity = Specificity()
    >>> specificity.update([0, 0, 1], [0, 1, 1])
    >>> specificity.compute()
    0.5
    """

    name = _metric = "specificity"


class NegativePredictiveValue(OfCounts):
    """Streaming :func:`negative_predictive_value`; options as :class:`Precision`.

    >>> npv = NegativePredictiveValue()
    >>> npv.update([0, 1, 1], [0, 0, 1])
    >>> npv.compute()
    0.5
    """

    name, _metric = "npv", "negative predictive value"


class FalsePositiveRate(OfCounts):
    """Streaming :func:`false_positive_rate`; options as :class:`Precision`.

    >>> fpr = FalsePositiveRate()
    >>> fpr.update([0, 0, 1], [0, 1, 1])
    >>> fpr.compute()
    0.5
    """

    name, _metric = "fpr", "false positive rate"


class FalseNegativeRate(OfCounts):
    """Streaming :func:`false_negative_rate`; options as :class:`Precision`.

    >>> fnr = FalseNegativeRate()
    >>> fnr.update([0, 1, 1], [0, 0, 1])
    >>> fnr.compute()
    0.5
    """

    name, _metric = "fnr", "false negative rate"


class Jaccard(OfCounts):
    """Streaming :func:`jaccard_score`; options as :class:`Precision`.

    >>> jaccard = Jaccard()
    >>> jaccard.update([0, 1, 1], [0, 0, 1])
    >>> jaccard.compute()
    0.5
    """

    name, _metric = "jaccard", "Jaccard"


class FBeta(OfCounts):
    """Streaming :func:`fbeta_score`; options as :class:`Precision`.

    >>> f2 = FBeta(beta=2)
    >>> f2.update([0, 1, 1], [0, 0, 1])
    >>> f2.update([1], [1])
    >>> round(f2.compute(), 4)
    0.7143
    """

    name, _metric = "fbeta", "f-score"

    def __init__(self, *, beta: float, **options: Any) -> None:
        if not beta >= 0:
            raise ValueError(f"beta={beta!r}: expected a number >= 0")
        super().__init__(**options)
        self.beta = self._beta = beta

    def __repr__(self) -> str:
        return super().__repr__().replace("(", f"(beta={self.beta!r}, ", 1)


class _OfAllCounts(Streaming):
    """One number of the counts of all labels."""

    def __init__(self) -> None:
        self.reset()

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        t = read_targets(y_true, y_pred, sample_weight, all_zero=True)
        if t.multilabel:
            raise ValueError(f"{self.name} needs one label per sample, got an indicator")
        self._add(Counts.per_label(t))

    def _seen(self) -> Counts:
        if self._counts is None:
            raise DataError("no batch has been added: call update first")
        need_weight(self._counts.total)
        return self._counts

    def reset(self) -> None:
        self._counts: Counts | None = None

    def _join(self, other: Self) -> None:
        if other._counts is not None:
            self._add(other._counts)

    def _add(self, more: Counts) -> None:
        self._counts = more if self._counts is None else self._counts.merged(more)


class MatthewsCorrelation(_OfAllCounts):
    """Streaming :func:`matthews_corrcoef`.

    >>> mcc = MatthewsCorrelation()
    >>> mcc.update([1, 1], [1, 0])
    >>> mcc.update([1, 0], [1, 1])
    >>> round(mcc.compute(), 4)
    -0.3333
    """

    name = "mcc"

    def compute(self) -> float:
        return correlation(self._seen())


class BalancedAccuracy(_OfAllCounts):
    """Streaming :func:`balanced_accuracy_score`, with its ``adjusted``.

    >>> balanced = BalancedAccuracy()
    >>> balanced.update([0, 0, 0, 1], [0, 0, 0, 0])
    >>> balanced.compute()
    0.5
    """

    name = "balanced_accuracy"

    def __init__(self, *, adjusted: bool = False) -> None:
        super().__init__()
        self.adjusted = adjusted

    def compute(self) -> float:
        return balanced(self._seen(), self.adjusted)

    def __repr__(self) -> str:
        return f"BalancedAccuracy(adjusted={self.adjusted!r})"


class CohenKappa(ConfusionMatrix):
    """Streaming :func:`cohen_kappa_score`, with its options.

    >>> kappa = CohenKappa()
    >>> kappa.update([0, 1], [0, 1])
    >>> kappa.update([0, 1], [1, 1])
    >>> kappa.compute()
    0.5
    """

    name = "kappa"

    def __init__(
        self,
        *,
        labels: ArrayLike | None = None,
        weights: str | None = None,
        replace_undefined_by: float = math.nan,
    ) -> None:
        check_option("weights", weights, ("linear", "quadratic", None))
        self.replace_undefined_by = in_range("replace_undefined_by", replace_undefined_by, -1, 1)
        super().__init__(labels=labels)
        self.weights = weights

    def compute(self) -> Any:
        if self._matrix is None:
            raise DataError("no batch has been added: call update first")
        return kappa(self._matrix, self.weights, self.replace_undefined_by)

    def __repr__(self) -> str:
        return (
            f"CohenKappa(labels={self.labels!r}, weights={self.weights!r}, "
            f"replace_undefined_by={self.replace_undefined_by!r})"
        )
