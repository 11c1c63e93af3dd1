"""Metrics of predicted probabilities, with scikit-learn's names, arguments and values."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError, ShapeError
from chainrule.metrics._input import as_array, as_label_list, as_labels, as_weight, same_type
from chainrule.metrics._numbers import too_few

__all__ = [
    "columns_of",
    "d2_log_loss_score",
    "hinge_loss",
    "log_loss",
    "log_losses",
    "read_probabilities",
]

Array = NDArray[Any]


def log_loss(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
) -> float:
    """The mean negative log-likelihood ``-Σ w log p(y) / Σ w``: cross-entropy of probabilities.

    Arguments
    ---------
    y_true : (N,) labels, or an (N, K) one-hot indicator.
    y_proba : (N, K) probabilities in the sorted order of the labels, rows summing to 1; or (N,) or
        (N, 1), the probability of the greater of two labels. Probabilities are clipped to
        [ε, 1 - ε], ε the rounding unit of their dtype, so that one certain mistake costs about 36
        (float64) or 16 (float32) and not inf. Logits do not belong here.
    normalize : ``False`` gives the sum instead of the mean.
    labels : all labels, needed when ``y_true`` lacks some of them.

    Rows that do not sum to 1, and ``labels`` out of order, are warned of.

    >>> round(log_loss(["ham", "spam"], [[0.9, 0.1], [0.5, 0.5]]), 6)
    0.399254
    >>> log_loss([0, 1], [0.5, 0.5], normalize=False) == 2 * math.log(2)
    True
    """
    losses = log_losses(y_true, y_proba, labels=labels)
    weight = as_weight(sample_weight, len(losses))
    total = float(weight @ losses)
    return total / float(weight.sum()) if normalize else total


def log_losses(
    y_true: ArrayLike, y_proba: ArrayLike, *, labels: ArrayLike | None = None
) -> NDArray[np.float64]:
    """(N,) the negative log-likelihood ``-log p(y)`` of each row, whose mean is :func:`log_loss`.

    The arguments are those of :func:`log_loss`. The rows where it is largest are the ones that the
    model was most surprised by.

    >>> log_losses([0, 1], [0.5, 0.25], labels=[0, 1]).round(4)
    array([0.6931, 1.3863])
    """
    p, true = read_probabilities(y_true, y_proba)
    if true.ndim == 2:
        logs = np.where(true, _clipped_log(p), 0.0).sum(axis=1)
    else:
        logs = _clipped_log(p[np.arange(len(p)), columns_of(true, p.shape[1], labels)])
    return np.asarray(0.0 - logs)


def read_probabilities(y_true: ArrayLike, y_proba: ArrayLike) -> tuple[Array, Array]:
    """Checked (N, K) probabilities, a single column completed to two, and the labels as read.

    >>> p, true = read_probabilities(["ham", "spam"], [0.25, 0.5])
    >>> p, true.shape
    (array([[0.75, 0.25],
           [0.5 , 0.5 ]]), (2,))
    """
    p = _probabilities(y_proba)
    true = as_labels("y_true", y_true)
    if len(true) != len(p):
        raise ShapeError(f"y_true has {len(true)} samples, y_proba has {len(p)}: they must agree")
    if len(true) == 0:
        raise DataError("y_true and y_proba are empty; one sample is needed")
    if true.ndim == 2 and true.shape != p.shape:
        raise ShapeError(f"y_true {true.shape} and y_proba {p.shape} have different columns")
    return p, true


def _probabilities(y_proba: ArrayLike) -> Array:
    p = as_array("y_proba", y_proba)
    if p.ndim not in (1, 2):
        raise ShapeError(f"y_proba: expected (N,) or (N, K), got shape {p.shape}")
    if p.dtype.kind not in "biuf":
        raise DataError(f"y_proba: expected numbers, got dtype {p.dtype}")
    if p.dtype.kind != "f":
        p = p.astype(np.float64)
    if p.ndim == 1:
        p = p[:, None]
    wrong = ~((p >= 0) & (p <= 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"y_proba: row {row}, column {column} is {p[row, column]}, expected a probability in "
            "[0, 1]; logits become probabilities by softmax or sigmoid"
        )
    if p.shape[1] == 1:
        return np.concatenate([1 - p, p], axis=1)
    off = np.abs(p.sum(axis=1) - 1) > math.sqrt(np.finfo(p.dtype).eps)
    if off.any():
        row = int(np.argmax(off))
        warnings.warn(
            f"y_proba: row {row} sums to {p[row].sum()}, not 1: are these probabilities?",
            UserWarning,
            stacklevel=3,
        )
    return p


def columns_of(true: Array, n: int, labels: ArrayLike | None) -> Array:
    """(N,) the column of y_proba, of n, that belongs to each true label.

    >>> columns_of(np.array(["b", "a"]), 3, ["a", "b", "c"])
    array([1, 0])
    """
    if labels is None:
        known = np.unique(true)
        if len(known) == 1:
            raise ValueError(
                f"y_true holds only the label {known[0]!r}: name all of them with labels=[…]"
            )
    else:
        given = as_label_list("labels", labels)
        known = np.sort(given)
        if len(known) == 1:
            raise ValueError(f"labels={known.tolist()}: at least two labels are needed")
        if (known != given).any():
            warnings.warn(
                f"labels={given.tolist()} are not sorted; the columns of y_proba are taken to be "
                f"in the order {known.tolist()}",
                UserWarning,
                stacklevel=3,
            )
        same_type("labels", known, "y_true", true)
        missing = np.setdiff1d(true, known)
        if len(missing):
            raise ValueError(f"y_true holds {missing.tolist()}, not in labels={known.tolist()}")
    if len(known) != n:
        raise ShapeError(
            f"y_proba has {n} columns for {len(known)} labels {known.tolist()}: one column per "
            "label is needed; labels=[…] names labels that y_true lacks"
        )
    return np.searchsorted(known, true)


def _clipped_log(p: Array) -> Array:
    eps = np.finfo(p.dtype).eps
    return np.log(np.clip(p, eps, 1 - eps).astype(np.float64))


def hinge_loss(
    y_true: ArrayLike,
    pred_decision: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """The mean of ``max(0, 1 - margin)``: 0 where every margin is at least 1.

    With two labels the margin is ``±s`` of decision values s (N,), + for the greater label. With
    more it is, of (N, K) values in the sorted order of the labels, that of the true label minus
    the largest other one (Crammer & Singer 2001). ``labels`` names all labels, needed when
    ``y_true`` lacks some of them.

    >>> round(hinge_loss([-1, 1, 1], [-2.2, 2.4, 0.1]), 2)
    0.3
    """
    true, s = as_labels("y_true", y_true), as_array("pred_decision", pred_decision)
    if s.dtype.kind not in "biuf":
        raise TypeError(f"pred_decision: expected numbers, got dtype {s.dtype}")
    s = s.astype(np.float64)
    if true.ndim != 1 or len(true) != len(s):
        raise ShapeError(f"expected (N,) labels and as many values, got {true.shape} and {s.shape}")
    if not np.isfinite(s).all():
        raise DataError(f"pred_decision: row {np.argwhere(~np.isfinite(s))[0][0]} is not finite")
    known = np.unique(true if labels is None else as_label_list("labels", labels))
    if len(known) > 2 and s.shape != (len(true), len(known)):
        raise ShapeError(
            f"pred_decision: expected ({len(true)}, {len(known)}), a column for each of the labels "
            f"{known.tolist()}, got {s.shape}; labels=[…] names labels that y_true lacks"
        )
    if len(missing := np.setdiff1d(true, known)):
        raise ValueError(f"y_true holds {missing.tolist()}, not in labels={known.tolist()}")
    if len(known) > 2:
        own = np.arange(len(known)) == np.searchsorted(known, true)[:, None]
        margin = s[own] - np.where(own, -np.inf, s).max(axis=1)
    else:
        s = s[:, 0] if s.ndim == 2 and s.shape[1] == 1 else s
        if s.shape != true.shape:
            raise ShapeError(f"pred_decision: expected {true.shape} decision values, got {s.shape}")
        margin = np.where((true == known[-1]) & (len(known) == 2), s, -s)
    weight = as_weight(sample_weight, len(true))
    return float(weight @ np.maximum(1 - margin, 0.0) / weight.sum())


def d2_log_loss_score(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
) -> float:
    """The share of the log loss explained, over predicting the classes' shares (McFadden's R²).

    1 is perfect, 0 is as good as the shares of the classes in ``y_true``, below 0 is worse. The
    arguments are those of :func:`log_loss`. With fewer than two samples it is nan, with an
    :class:`UndefinedMetricWarning`.

    >>> round(d2_log_loss_score([0, 1, 1, 0], [0.2, 0.7, 0.9, 0.4]), 4)
    0.5686
    """
    p, true = read_probabilities(y_true, y_proba)
    if len(p) < 2:
        return too_few("D²")
    losses = log_losses(y_true, y_proba, labels=labels)
    weight = as_weight(sample_weight, len(p))
    one = true if true.ndim == 2 else np.eye(p.shape[1])[columns_of(true, p.shape[1], labels)]
    null = np.broadcast_to((weight @ one / weight.sum()).astype(p.dtype), p.shape)
    of_null = np.where(one, _clipped_log(null), 0.0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(1 + np.float64(weight @ losses) / (weight @ of_null))
