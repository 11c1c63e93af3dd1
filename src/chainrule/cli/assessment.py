"""How good predictions are, as one dictionary: for a report, for JSON, for a model's file."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule import metrics
from chainrule.array.errors import ShapeError
from chainrule.diagnose.baseline import best_constant
from chainrule.diagnose.examples import worst
from chainrule.metrics.calibration import calibration_bins
from chainrule.metrics.probability import log_losses
from chainrule.ops import sigmoid, softmax

__all__ = ["MEASURES", "assess", "plain", "primary", "probabilities"]

Array = npt.NDArray[Any]

#: Row-drawings for the interval of one measure: about a second of work.
_DRAWN = 20_000_000
_FEWEST_RESAMPLES = 200
#: With more classes an area for each of them is neither quick nor of use.
_MOST_RANKED_CLASSES = 50
_BINS = 10


@dataclass(frozen=True)
class Measure:
    """A metric as people meet it: its name, whether larger is better, and what it is taken of."""

    text: str
    larger: bool
    of: str  # "labels", "scores" of the positive class, "probabilities", "values"
    metric: Callable[..., Any]


_F1 = functools.partial(metrics.f1_score, zero_division=0)
_MACRO_F1 = functools.partial(metrics.f1_score, average="macro", zero_division=0)

#: The measures of each task, in the order in which they are shown; the first is the one to name.
MEASURES: dict[str, dict[str, Measure]] = {
    "binary": {
        "accuracy": Measure("accuracy", True, "labels", metrics.accuracy_score),
        "balanced_accuracy": Measure(
            "balanced accuracy", True, "labels", metrics.balanced_accuracy_score
        ),
        "f1": Measure("F1", True, "labels", _F1),
        "roc_auc": Measure("ROC AUC", True, "scores", metrics.roc_auc_score),
        "average_precision": Measure(
            "average precision", True, "scores", metrics.average_precision_score
        ),
        "log_loss": Measure("log loss", False, "probabilities", metrics.log_loss),
        "brier": Measure("Brier score", False, "probabilities", metrics.brier_score_loss),
    },
    "multiclass": {
        "accuracy": Measure("accuracy", True, "labels", metrics.accuracy_score),
        "balanced_accuracy": Measure(
            "balanced accuracy", True, "labels", metrics.balanced_accuracy_score
        ),
        "macro_f1": Measure("macro F1", True, "labels", _MACRO_F1),
        "roc_auc": Measure("ROC AUC, one vs rest", True, "probabilities", metrics.roc_auc_score),
        "log_loss": Measure("log loss", False, "probabilities", metrics.log_loss),
        "brier": Measure("Brier score", False, "probabilities", metrics.brier_score_loss),
    },
    "multilabel": {
        "accuracy": Measure("all labels right", True, "labels", metrics.accuracy_score),
        "label_accuracy": Measure("labels right", True, "cells", metrics.accuracy_score),
        "macro_f1": Measure("macro F1", True, "labels", _MACRO_F1),
        "roc_auc": Measure("macro ROC AUC", True, "probabilities", metrics.roc_auc_score),
        "average_precision": Measure(
            "macro average precision", True, "probabilities", metrics.average_precision_score
        ),
        "log_loss": Measure("log loss per label", False, "cell probabilities", metrics.log_loss),
    },
    "regression": {
        "rmse": Measure("root mean squared error", False, "values", metrics.mean_squared_error),
        "mae": Measure("mean absolute error", False, "values", metrics.mean_absolute_error),
        "r2": Measure("R²", True, "values", metrics.r2_score),
    },
}


def primary(task: str) -> str:
    """The measure by which a model of this task is named in one number.

    >>> primary("multiclass"), primary("regression")
    ('accuracy', 'rmse')
    """
    return next(iter(MEASURES[task]))


def probabilities(task: str, scores: Array) -> Array:
    """What a network's output means: probabilities (n, K) in double precision, or the numbers.

    >>> probabilities("binary", np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    values = np.asarray(scores, np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if task in ("binary", "multiclass"):
        return np.asarray(softmax(values, axis=1))
    return np.asarray(sigmoid(values)) if task == "multilabel" else values


def assess(
    task: str,
    y_true: Array,
    scores: Array,
    *,
    classes: Sequence[Any] | None = None,
    outputs: Sequence[str] | None = None,
    from_probabilities: bool = False,
    baseline: Any = None,
    peers: Mapping[str, Array] | None = None,
    rows: Sequence[int] | None = None,
    ids: Sequence[Any] | None = None,
    examples: int = 10,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """All that is said of predictions on rows with known targets; JSON holds it as it is.

    Arguments:
        task: ``"binary"``, ``"multiclass"``, ``"multilabel"`` or ``"regression"``.
        y_true: class numbers ``(n,)``; 0 and 1 ``(n, K)`` for multilabel; numbers ``(n,)`` or
            ``(n, K)`` in their own unit for regression.
        scores: the network's output ``(n, K)``: logits (two for binary), or numbers in their own
            unit. `from_probabilities`: they are probabilities already.
        classes: the names of the classes, by number; of the labels for multilabel.
        outputs: the names of the targets.
        baseline: ``(K,)`` what `best_constant` makes of the training targets, kept with the model.
            None takes these very rows, which favours the baseline a little.
        peers: name -> predictions of another model for these rows: probabilities ``(n, K)`` or
            numbers.
        rows: the number of each row where it came from; None counts from 1.
        ids: what each row is called there.
        examples: how many of the worst rows to list.
        level, resamples, seed: of the intervals. On many rows there are fewer resamples, down to
            200; the accuracy has Wilson's interval, which needs none.

    Returns:
        ``task``, ``rows``, ``level``, ``resamples``; ``metrics``: for each measure its ``value``,
        ``low``, ``high``, ``baseline``, ``peers`` (name -> value), ``larger_is_better``, ``text``;
        ``baseline``: what it predicts; and, for classes, ``classes`` (precision, recall, F1, rows
        of each), ``confusion_matrix``, ``calibration`` (``ece``, ``brier``, ``bins``); for labels
        and several numbers ``outputs``; ``worst`` rows. What is undefined is None.

    >>> y = np.array([0, 0, 1, 1])
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.6, 0.4]])
    >>> found = assess("binary", y, p, classes=["ham", "spam"], from_probabilities=True)
    >>> found["metrics"]["accuracy"]["value"], found["metrics"]["roc_auc"]["value"]
    (0.75, 1.0)
    >>> found["worst"][0]["row"], found["worst"][0]["true"], found["worst"][0]["predicted"]
    (4, 'spam', 'ham')
    """
    y = np.asarray(y_true)
    p = np.asarray(scores, np.float64) if from_probabilities else probabilities(task, scores)
    p = p[:, None] if p.ndim == 1 else p
    if task in ("multilabel", "regression"):
        y = y.reshape(len(y), -1)
    if len(p) != len(y) or (y.ndim == 2 and y.shape != p.shape):
        raise ShapeError(f"targets {np.shape(y_true)} and scores {np.shape(scores)} do not fit")
    names = [str(c) for c in (range(p.shape[1]) if classes is None else classes)]
    constant = best_constant(task, y, p.shape[1]) if baseline is None else np.asarray(baseline)
    others = {name: np.asarray(q, np.float64).reshape(p.shape) for name, q in (peers or {}).items()}
    count = max(_FEWEST_RESAMPLES, min(resamples, _DRAWN // max(len(y), 1)))
    found: dict[str, Any] = {
        "task": task,
        "rows": len(y),
        "level": level,
        "resamples": count,
        "metrics": _metrics(task, y, p, names, constant, others, level, count, seed),
        "baseline": _said(task, constant, names, outputs, from_training=baseline is not None),
    }
    if task in ("binary", "multiclass"):
        found |= _of_classes(y, p, names)
    elif p.shape[1] > 1:
        found["outputs"] = _of_outputs(task, y, p, classes if outputs is None else outputs)
    found["worst"] = _worst(task, y, p, names, rows, ids, examples)
    return dict(plain(found))


def plain(value: Any) -> Any:
    """A value as JSON holds it: Python's own types, and None for a number that is not finite.

    >>> plain({"a": np.float32(0.5), "b": [np.nan, np.int64(3)], "c": np.array([1.0, np.inf])})
    {'a': 0.5, 'b': [None, 3], 'c': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


# -- measures -------------------------------------------------------------------------------------


def _metrics(
    task: str,
    y: Array,
    p: Array,
    names: list[str],
    constant: Array,
    others: dict[str, Array],
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    found = {}
    always = np.broadcast_to(constant, p.shape)
    for key, measure in MEASURES[task].items():
        if key == "roc_auc" and p.shape[1] > _MOST_RANKED_CLASSES:
            continue
        metric = _bound(measure, task, p.shape[1])
        true, pred = _view(measure.of, y, p)
        if key in ("accuracy", "label_accuracy") and key == primary(task):
            right = round(_quiet(metric, true, pred) * len(y))
            value, low, high = metrics.proportion_interval(right, len(y), level)
        else:
            value = _quiet(metric, true, pred)
            low = high = math.nan
            if math.isfinite(value) and len(y) > 1:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", metrics.UndefinedMetricWarning)
                    _, low, high = metrics.bootstrap_interval(
                        metric, true, pred, level=level, resamples=resamples, seed=seed
                    )
            if high - low <= 1e-9 * abs(high):  # no drawing differs: that is not certainty
                low = high = math.nan
        root: Callable[[float], float] = math.sqrt if key == "rmse" else float
        found[key] = {
            "text": f"F1 of {names[1]}" if key == "f1" else measure.text,
            "larger_is_better": measure.larger,
            "value": root(value),
            "low": root(low),
            "high": root(high),
            "baseline": root(_quiet(metric, *_view(measure.of, y, always))),
            "peers": {
                name: root(_quiet(metric, *_view(measure.of, y, q))) for name, q in others.items()
            },
        }
    return found


def _bound(measure: Measure, task: str, k: int) -> Callable[..., Any]:
    """The metric, told of the classes that these rows may lack."""
    if task in ("binary", "multiclass") and measure.metric in (
        metrics.log_loss,
        metrics.brier_score_loss,
    ):
        return functools.partial(measure.metric, labels=np.arange(k))
    if task == "multiclass" and measure.metric is metrics.roc_auc_score:
        return functools.partial(measure.metric, labels=np.arange(k), multi_class="ovr")
    if measure.of == "cell probabilities":
        return _mean_of_log_losses
    if measure.of == "cells":
        return _share_right
    return measure.metric


def _share_right(y: Array, found: Array, sample_weight: Array | None = None) -> float:
    """The mean over the labels of their accuracies."""
    return float(np.average((y == found).mean(axis=1), weights=sample_weight))


def _mean_of_log_losses(y: Array, p: Array, sample_weight: Array | None = None) -> float:
    """The mean over the labels of their log losses."""
    labels = np.array([0, 1])
    each = [
        metrics.log_loss(y[:, k], p[:, k], labels=labels, sample_weight=sample_weight)
        for k in range(p.shape[1])
    ]
    return float(np.mean(each))


def _view(of: str, y: Array, p: Array) -> tuple[Array, Array]:
    """What a measure is taken of."""
    if of == "labels" and y.ndim == 1:
        return y, p.argmax(axis=1)
    if of in ("labels", "cells"):
        return y.astype(np.int64), (p > 0.5).astype(np.int64)
    if of == "scores":
        return y, p[:, 1]
    return y, p


def _quiet(metric: Callable[..., Any], true: Array, pred: Array) -> float:
    """The metric; nan where these rows leave it undefined, which the report shows as a dash."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", metrics.UndefinedMetricWarning)
        return float(metric(true, pred))


# -- details --------------------------------------------------------------------------------------


def _said(
    task: str, constant: Array, names: list[str], outputs: Any, *, from_training: bool
) -> dict[str, Any]:
    of = "training rows" if from_training else "rows measured"
    if task in ("binary", "multiclass"):
        k = int(constant.argmax())
        text = f"always {names[k]}, {constant[k]:.1%} of the {of}"
    elif task == "multilabel":
        text = f"the share of each label in the {of}"
    else:
        value = f", {constant[0]:.4g}" if len(constant) == 1 else ""
        text = f"the mean of the {of}{value}"
    return {"text": text, "values": constant}


def _of_classes(y: Array, p: Array, names: list[str]) -> dict[str, Any]:
    labels, found = np.arange(len(names)), p.argmax(axis=1)
    each: Any = metrics.precision_recall_fscore_support(y, found, labels=labels, zero_division=0)
    share, confidence, rows = calibration_bins(found == y, p.max(axis=1), n_bins=_BINS)
    return {
        "classes": [
            {"class": n, "precision": a, "recall": b, "f1": c, "rows": int(d)}
            for n, a, b, c, d in zip(names, *each, strict=True)
        ],
        "confusion_matrix": metrics.confusion_matrix(y, found, labels=labels),
        "calibration": {
            "ece": metrics.expected_calibration_error(y, p, n_bins=_BINS, labels=labels),
            "brier": metrics.brier_score_loss(y, p, labels=labels),
            "confidence": p.max(axis=1).mean(),
            "accuracy": (found == y).mean(),
            "bins": [
                {"confidence": c, "accuracy": s, "rows": int(n)}
                for s, c, n in zip(share, confidence, rows, strict=True)
            ],
        },
    }


def _of_outputs(task: str, y: Array, p: Array, names: Sequence[Any] | None) -> list[dict[str, Any]]:
    titles = [str(n) for n in (range(p.shape[1]) if names is None else names)]
    rows = []
    for k, name in enumerate(titles):
        true, found = y[:, k], p[:, k]
        if task == "regression":
            values = {
                "rmse": math.sqrt(metrics.mean_squared_error(true, found)),
                "mae": metrics.mean_absolute_error(true, found),
                "r2": _quiet(metrics.r2_score, true, found),
            }
        else:
            true, said = true.astype(np.int64), (found > 0.5).astype(np.int64)
            values = {
                "precision": metrics.precision_score(true, said, zero_division=0),
                "recall": metrics.recall_score(true, said, zero_division=0),
                "f1": _F1(true, said),
                "roc_auc": _quiet(metrics.roc_auc_score, true, found),
                "rows": int(true.sum()),
            }
        rows.append({"output": name, **values})
    return rows


def _worst(
    task: str,
    y: Array,
    p: Array,
    names: list[str],
    rows: Sequence[int] | None,
    ids: Sequence[Any] | None,
    k: int,
) -> list[dict[str, Any]]:
    if task in ("binary", "multiclass"):
        losses = log_losses(y, p, labels=np.arange(p.shape[1]))
    elif task == "multilabel":
        losses = np.where(y > 0.5, 1 - p, p).max(axis=1)
    else:
        scale = y.std(axis=0)
        losses = (np.abs(y - p) / np.where(scale > 0, scale, 1)).max(axis=1)
    found = []
    for i in worst(losses, k):
        about: dict[str, Any] = {"row": int(i) + 1 if rows is None else rows[i]}
        if ids is not None:
            about["id"] = ids[i]
        if task in ("binary", "multiclass"):
            said = int(p[i].argmax())
            about |= {
                "true": names[int(y[i])],
                "predicted": names[said],
                "probability": p[i, said],
                "probability_of_true": p[i, int(y[i])],
            }
        elif task == "multilabel":
            about |= {
                "true": [n for n, v in zip(names, y[i], strict=True) if v > 0.5],
                "predicted": [n for n, v in zip(names, p[i], strict=True) if v > 0.5],
                "probability_of_true": float(np.where(y[i] > 0.5, p[i], 1 - p[i]).min()),
            }
        else:
            about |= {"true": y[i], "predicted": p[i], "error": p[i] - y[i]}
            if p.shape[1] == 1:
                about |= {key: float(about[key][0]) for key in ("true", "predicted", "error")}
        found.append(about)
    return found
