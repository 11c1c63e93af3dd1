"""Metrics by name, for training: from the model's raw output to a number.

:func:`get` turns what a person writes in ``metrics=["accuracy", …]`` into an object that is fed
``(y_true, output, weight)`` batch by batch, where ``output`` is what the model returns.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, NonFiniteError, ShapeError, nearest
from chainrule.metrics import (
    agreement,
    calibration,
    classification,
    probability,
    ranking,
    ratios,
    regression,
)
from chainrule.metrics._input import UndefinedMetricWarning, as_array, as_labels, as_weight
from chainrule.metrics.streaming import F1, Accuracy, Precision, Recall, Streaming
from chainrule.metrics.streaming_counts import (
    BalancedAccuracy,
    CohenKappa,
    FalseNegativeRate,
    FalsePositiveRate,
    FBeta,
    Jaccard,
    MatthewsCorrelation,
    NegativePredictiveValue,
    Specificity,
)
from chainrule.metrics.streaming_probability import (
    ROCAUC,
    AveragePrecision,
    BrierScore,
    CalibrationError,
    LogLoss,
    RankedMetric,
    TopKAccuracy,
)
from chainrule.metrics.streaming_regression import (
    R2,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    RegressionMetric,
    RootMeanSquaredError,
)

__all__ = ["CollectedMetric", "OutputMetric", "TrainingMetric", "get"]

Array = NDArray[Any]


class TrainingMetric(Protocol):
    """What :func:`get` returns, and what a person's own metric object must offer."""

    name: str

    def update(self, y_true: ArrayLike, output: ArrayLike, weight: ArrayLike | None = None) -> None:
        """Add a batch: targets (N, …), the model's output (N, …), weights (N,)."""

    def compute(self) -> Any:
        """The metric of all batches added."""

    def reset(self) -> None:
        """Forget all batches."""


@dataclass(frozen=True)
class _Known:
    """What a metric wants of the output, and its stream for a problem with this ``average``."""

    wants: str  # "classes", "numbers", "probabilities", or "scores": of classes, or of class 1
    make: Callable[[str], Streaming]


def _ratio(kind: Callable[..., Streaming], **options: Any) -> _Known:
    # In training a label that is not predicted yet is no news: 0/0 is 0 without a warning.
    return _Known("classes", lambda average: kind(average=average, zero_division=0, **options))


_STREAMS: dict[str, _Known] = {
    "accuracy": _Known("classes", lambda average: Accuracy()),
    "balanced_accuracy": _Known("classes", lambda average: BalancedAccuracy()),
    "precision": _ratio(Precision),
    "recall": _ratio(Recall),
    "f1": _ratio(F1),
    "f2": _ratio(FBeta, beta=2.0),
    "jaccard": _ratio(Jaccard),
    "specificity": _ratio(Specificity),
    "npv": _ratio(NegativePredictiveValue),
    "fpr": _ratio(FalsePositiveRate),
    "fnr": _ratio(FalseNegativeRate),
    "mcc": _Known("classes", lambda average: MatthewsCorrelation()),
    "kappa": _Known("classes", lambda average: CohenKappa()),
    "top_3_accuracy": _Known("columns", lambda average: TopKAccuracy(3)),
    "top_5_accuracy": _Known("columns", lambda average: TopKAccuracy(5)),
    "roc_auc": _Known("scores", lambda average: ROCAUC()),
    "average_precision": _Known("scores", lambda average: AveragePrecision()),
    "log_loss": _Known("probabilities", lambda average: LogLoss()),
    "brier": _Known("probabilities", lambda average: BrierScore()),
    "ece": _Known("probabilities", lambda average: CalibrationError()),
    "mse": _Known("numbers", lambda average: MeanSquaredError()),
    "rmse": _Known("numbers", lambda average: RootMeanSquaredError()),
    "mae": _Known("numbers", lambda average: MeanAbsoluteError()),
    "mape": _Known("numbers", lambda average: MeanAbsolutePercentageError()),
    "r2": _Known("numbers", lambda average: R2()),
}

_FUNCTIONS: dict[Callable[..., Any], str] = {
    classification.accuracy_score: "accuracy",
    classification.precision_score: "precision",
    classification.recall_score: "recall",
    classification.f1_score: "f1",
    agreement.balanced_accuracy_score: "balanced_accuracy",
    agreement.matthews_corrcoef: "mcc",
    agreement.cohen_kappa_score: "kappa",
    ratios.jaccard_score: "jaccard",
    ratios.specificity_score: "specificity",
    ratios.negative_predictive_value: "npv",
    ratios.false_positive_rate: "fpr",
    ratios.false_negative_rate: "fnr",
    ranking.roc_auc_score: "roc_auc",
    ranking.average_precision_score: "average_precision",
    probability.log_loss: "log_loss",
    calibration.brier_score_loss: "brier",
    calibration.expected_calibration_error: "ece",
    regression.mean_squared_error: "mse",
    regression.root_mean_squared_error: "rmse",
    regression.mean_absolute_error: "mae",
    regression.mean_absolute_percentage_error: "mape",
    regression.r2_score: "r2",
}

_ALIASES = {
    **{function.__name__: name for function, name in _FUNCTIONS.items()},
    "auc": "roc_auc",
    "ap": "average_precision",
    "brier_score": "brier",
    "calibration_error": "ece",
    "cohen_kappa": "kappa",
    "sensitivity": "recall",
    "mean_absolute_percentage": "mape",
}
_TOP = re.compile(r"top_([1-9][0-9]*)_accuracy")

# What a stream that is given as an object wants of the output; all others want classes.
_WANTS: list[tuple[type, str]] = [
    (RegressionMetric, "numbers"),
    (R2, "numbers"),
    (TopKAccuracy, "columns"),
    (RankedMetric, "scores"),
    (LogLoss, "probabilities"),
    (BrierScore, "probabilities"),
    (CalibrationError, "probabilities"),
]


def get(metric: Any, *, from_probabilities: bool = False) -> TrainingMetric:
    """A metric for training from a name, a function or an object.

    Arguments
    ---------
    metric : a name, or the function of that metric or its name (``"f1_score"``); a streaming
        object, such as ``F1(average="micro")``; a callable ``f(y_true, output)``, which is called
        once per ``compute`` with all targets and raw outputs collected; or any object with
        ``name``, ``update``, ``compute`` and ``reset``, which comes back as it is.
    from_probabilities : outputs are probabilities instead of logits: binary ones are decided at
        > 0.5 instead of > 0, and those that need probabilities take them as they are.

    Names of classes: ``accuracy``, ``balanced_accuracy``, ``precision``, ``recall``, ``f1``,
    ``f2``, ``jaccard``, ``specificity``, ``npv``, ``fpr``, ``fnr``, ``mcc``, ``kappa``, and
    ``top_5_accuracy`` with any number. Of scores and probabilities: ``roc_auc`` (``auc``),
    ``average_precision``, ``log_loss``, ``brier``, ``ece``. Of numbers: ``mse``, ``rmse``, ``mae``,
    ``mape``, ``r2``. By name, what is 0/0 (a label that no sample has yet) is 0 or nan without a
    warning; an object says itself what it does.

    Classes are read from the output as :class:`OutputMetric` says. With one or two output columns
    the ratios of counts are those of class 1; with more, macro averages.

    An unknown name raises ``ValueError`` with the nearest known ones.

    >>> accuracy = get("accuracy")
    >>> accuracy.update([0, 1, 1], [[2.0, -1.0], [0.1, 0.3], [1.5, 0.2]])
    >>> accuracy.name, round(accuracy.compute(), 3)
    ('accuracy', 0.667)
    """
    name = metric
    if isinstance(metric, str):
        metric = _ALIASES.get(metric, metric)
        if metric not in _STREAMS and not _TOP.fullmatch(metric):
            hint = nearest(metric, [*_STREAMS, *_ALIASES])
            raise ValueError(f"unknown metric {metric!r}: {hint}")
    elif inspect.isfunction(metric) and metric in _FUNCTIONS:
        name, metric = metric.__name__, _FUNCTIONS[metric]
    elif isinstance(metric, type) and issubclass(metric, Streaming):
        metric = metric()
    if isinstance(metric, str):
        top = _TOP.fullmatch(metric)
        known = (
            _Known("columns", lambda average: TopKAccuracy(int(top[1])))
            if top
            else (_STREAMS[metric])
        )
        return OutputMetric(
            name, known.make, known.wants, from_probabilities=from_probabilities, quiet=True
        )
    if isinstance(metric, Streaming):
        wants = next((w for kind, w in _WANTS if isinstance(metric, kind)), "classes")
        return OutputMetric(
            metric.name, lambda average: metric, wants, from_probabilities=from_probabilities
        )
    if all(hasattr(metric, part) for part in ("name", "update", "compute", "reset")):
        own: TrainingMetric = metric
        return own
    if callable(metric):
        return CollectedMetric(metric)
    raise ValueError(
        f"metric {metric!r} is neither a name ({', '.join(_STREAMS)}), nor a callable "
        "f(y_true, output), nor an object with name, update, compute and reset"
    )


class OutputMetric:
    """A streaming metric behind a model's raw output.

    Output (N, K), K ≥ 2: logits or probabilities of classes 0…K-1, the largest wins. Output (N,) or
    (N, 1): the logit of class 1 against 0, positive means class 1 (``from_probabilities``: above
    0.5). Targets are class numbers (N,) or (N, 1), or rows of K class probabilities, of which the
    largest counts. What a metric wants of the output is one of ``"classes"``, as above;
    ``"numbers"``: targets and output as they are; ``"probabilities"``: softmax or sigmoid of the
    output, unless it holds them already; ``"scores"``: the same, but of two classes any number that
    is larger for class 1; ``"columns"``: K ≥ 2 columns as they are.

    Raises NonFiniteError for a NaN in the output, DataError for a target that is none of the
    classes, ShapeError for shapes that do not fit.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[str], Streaming],
        wants: str,
        *,
        from_probabilities: bool = False,
        quiet: bool = False,
    ) -> None:
        self.name = name
        self._quiet = quiet
        self._make = make
        self._wants = wants
        self._from_probabilities = from_probabilities
        self._stream: Streaming | None = None
        self._columns = 0

    def update(self, y_true: ArrayLike, output: ArrayLike, weight: ArrayLike | None = None) -> None:
        """Add a batch: targets, the model's output, weights (N,)."""
        scores = as_array("output", output)
        if scores.dtype.kind not in "biuf":
            raise DataError(
                f"metric {self.name!r}: expected numbers as the model's output, got dtype "
                f"{scores.dtype}"
            )
        if np.isnan(scores).any():
            row = int(np.argwhere(np.isnan(scores))[0][0]) if scores.ndim else 0
            raise NonFiniteError(f"metric {self.name!r}: the model's output in row {row} is nan")
        if self._wants == "numbers":
            if self._stream is None:
                self._stream = self._make("binary")
            self._stream.update(y_true, scores, weight)
            return
        if scores.ndim == 1:
            scores = scores[:, None]
        if scores.ndim != 2 or scores.shape[1] == 0:
            raise ShapeError(
                f"metric {self.name!r}: expected output (N, K) of K classes, or (N,) or (N, 1) of "
                f"two, got shape {scores.shape}; flatten further axes into N first"
            )
        columns = scores.shape[1]
        if self._stream is None:
            self._columns = columns
            self._stream = self._make("binary" if columns <= 2 else "macro")
        elif columns != self._columns:
            raise ShapeError(
                f"metric {self.name!r}: output of {columns} columns after batches of "
                f"{self._columns}"
            )
        true = self._true_classes(y_true, max(columns, 2))
        self._stream.update(true, self._wanted(scores), weight)

    def compute(self) -> Any:
        """The metric of all batches added."""
        if self._stream is None:
            raise DataError(f"metric {self.name!r}: no batch has been added: call update first")
        with warnings.catch_warnings():
            if self._quiet:
                warnings.simplefilter("ignore", UndefinedMetricWarning)
            return self._stream.compute()

    def reset(self) -> None:
        """Forget all batches."""
        if self._stream is not None:
            self._stream.reset()
            self._stream = None

    def _wanted(self, scores: Array) -> Array:
        if self._wants == "classes":
            return self._decide(scores)
        columns = scores.shape[1]
        if self._wants == "columns":
            if columns < 2:
                raise ShapeError(
                    f"metric {self.name!r}: expected output (N, K) of K classes, got {scores.shape}"
                )
            return scores
        if self._from_probabilities:
            if self._wants == "probabilities" or columns != 2:
                return scores
            return scores[:, 1]
        if self._wants == "scores" and columns <= 2:
            return scores[:, 0] if columns == 1 else scores[:, 1] - scores[:, 0]
        from chainrule.ops import sigmoid, softmax  # with first use: most metrics need neither

        exact = scores.astype(np.float64)
        return np.asarray(sigmoid(exact) if columns == 1 else softmax(exact, axis=1))

    def _decide(self, scores: Array) -> Array:
        if scores.shape[1] > 1:
            return np.asarray(scores.argmax(axis=1))
        if scores.dtype.kind != "f":
            raise DataError(
                f"metric {self.name!r}: one output column of dtype {scores.dtype} looks like "
                "classes already decided; expected float logits or probabilities"
            )
        if not self._from_probabilities:
            return np.greater(scores[:, 0], 0)
        if ((scores < 0) | (scores > 1)).any():
            raise DataError(
                f"metric {self.name!r}: outputs from {scores.min()} to {scores.max()} are not "
                "probabilities; for logits use from_probabilities=False"
            )
        return np.greater(scores[:, 0], 0.5)

    def _true_classes(self, y_true: ArrayLike, n: int) -> Array:
        true = as_array("y_true", y_true)
        if true.ndim == 2 and true.shape[1] == n and true.dtype.kind in "biuf":
            if (true < 0).any() or (np.abs(true.sum(axis=1) - 1) > 1e-3).any():
                raise DataError(
                    f"metric {self.name!r}: targets {true.shape} whose rows are not class "
                    "probabilities; for several labels per sample give a callable f(y_true, output)"
                )
            return np.asarray(true.argmax(axis=1))
        labels = as_labels("y_true", true)
        if labels.dtype.kind != "i" or labels.ndim != 1:
            raise DataError(
                f"metric {self.name!r}: targets are class numbers 0…{n - 1} (N,), got shape "
                f"{true.shape} and dtype {true.dtype}"
            )
        wrong = (labels < 0) | (labels >= n)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"metric {self.name!r}: y_true[{row}] = {labels[row]}, but the output has classes "
                f"0…{n - 1}"
            )
        return labels


class CollectedMetric:
    """A plain function ``f(y_true, output)`` as a metric: batches are kept and joined.

    It sees the raw output. Batches with weights need a function that takes ``sample_weight``.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self._function = function
        self.reset()

    def update(self, y_true: ArrayLike, output: ArrayLike, weight: ArrayLike | None = None) -> None:
        """Keep a copy of the batch."""
        true, scores = np.array(y_true), np.array(output)
        if true.shape[:1] != scores.shape[:1]:
            raise ShapeError(
                f"metric {self.name!r}: targets {true.shape} and output {scores.shape} differ in "
                "their number of samples"
            )
        if weight is not None:
            if "sample_weight" not in inspect.signature(self._function).parameters:
                raise ValueError(
                    f"metric {self.name!r} got weights, but the function takes no sample_weight"
                )
            self._weighted = True
        self._true.append(true)
        self._output.append(scores)
        self._weight.append(as_weight(weight, len(true), all_zero=True))

    def compute(self) -> Any:
        """The function's value on all batches together."""
        if not self._true:
            raise DataError(f"metric {self.name!r}: no batch has been added: call update first")
        true, output = np.concatenate(self._true), np.concatenate(self._output)
        if self._weighted:
            return self._function(true, output, sample_weight=np.concatenate(self._weight))
        return self._function(true, output)

    def reset(self) -> None:
        """Forget all batches."""
        self._true: list[Array] = []
        self._output: list[Array] = []
        self._weight: list[Array] = []
        self._weighted = False
