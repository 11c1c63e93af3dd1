"""Whether probabilities mean what they say: of the rows called 80 %, are 80 % so?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.array.errors import DataError
from chainrule.metrics._input import as_labels, as_weight, check_option
from chainrule.metrics._numbers import too_few
from chainrule.metrics.probability import columns_of, read_probabilities

__all__ = [
    "bin_edges",
    "brier_score_loss",
    "brier_scores",
    "calibration_bins",
    "calibration_curve",
    "confidences",
    "d2_brier_score",
    "expected_calibration_error",
]

Array = NDArray[Any]


def brier_score_loss(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = None,
    labels: ArrayLike | None = None,
    scale_by_half: bool | str = "auto",
) -> float:
    """The mean squared error of probabilities, ``Σ w ‖onehot(y) - p‖² / Σ w`` (Brier 1950).

    Arguments
    ---------
    y_true : (N,) labels, or an (N, K) one-hot indicator.
    y_proba : (N,) probabilities of the positive label, or (N, K) in the sorted order of the labels.
    pos_label : which of two labels ``y_proba`` (N,) speaks of; the greater of two numbers unless
        given, and needed for strings unless ``labels`` are given.
    labels : all labels, needed when ``y_true`` lacks some of them.
    scale_by_half : halve the sum over classes; ``"auto"`` does for two classes, so that the value
        is ``(y - p)²`` there, between 0 and 1, and up to 2 with more classes.

    A certain mistake costs 1 (or 2) and not, as with :func:`log_loss`, without bound.

    >>> round(brier_score_loss([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]), 4)
    0.0375
    """
    scores = brier_scores(
        y_true, y_proba, pos_label=pos_label, labels=labels, scale_by_half=scale_by_half
    )
    weight = as_weight(sample_weight, len(scores))
    return float(weight @ scores / weight.sum())


def d2_brier_score(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    pos_label: int | float | str | bool | None = None,
    labels: ArrayLike | None = None,
) -> float:
    """The share of the Brier score explained, over predicting the shares of the classes.

    1 is perfect, 0 is as good as the shares of the classes in ``y_true``, below 0 is worse; also
    called Brier skill score. The arguments are those of :func:`brier_score_loss`. With fewer than
    two samples it is nan, with an :class:`UndefinedMetricWarning`.

    >>> d2_brier_score([0, 1, 1, 0], [0.5, 1.0, 1.0, 0.5])
    0.5
    """
    true, p = _one_hot(y_true, y_proba, pos_label, labels)
    if len(p) < 2:
        return too_few("D²")
    weight = as_weight(sample_weight, len(p))
    null = weight @ true / weight.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        losses = [weight @ ((true - guess) ** 2).sum(axis=1) for guess in (p, null)]
        return float(1 - losses[0] / losses[1])


def brier_scores(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    pos_label: int | float | str | bool | None = None,
    labels: ArrayLike | None = None,
    scale_by_half: bool | str = "auto",
) -> NDArray[np.float64]:
    """(N,) the Brier score of each row, whose mean is :func:`brier_score_loss`.

    >>> brier_scores([0, 1], [0.5, 0.75])
    array([0.25  , 0.0625])
    """
    if scale_by_half != "auto" and not isinstance(scale_by_half, bool):
        check_option("scale_by_half", str(scale_by_half), ("auto", "True", "False"))
    true, p = _one_hot(y_true, y_proba, pos_label, labels)
    scores = ((true - p) ** 2).sum(axis=1)
    half = p.shape[1] < 3 if scale_by_half == "auto" else scale_by_half
    return np.asarray(scores / 2 if half else scores)


def _one_hot(
    y_true: ArrayLike, y_proba: ArrayLike, pos_label: Any, labels: ArrayLike | None
) -> tuple[Array, Array]:
    """The truth as an (N, K) indicator, and the probabilities (N, K)."""
    single = np.ndim(y_proba) < 2 or np.shape(y_proba)[1] == 1
    if pos_label is not None:
        y_true, labels = (as_labels("y_true", y_true) == pos_label).astype(np.int64), [0, 1]
    p, true = read_probabilities(y_true, y_proba)
    p = p.astype(np.float64)
    if true.ndim == 2:
        return true, p
    known = np.unique(true)
    if labels is None and single:
        if known.dtype.kind == "U":
            raise ValueError(
                f"y_true holds {known.tolist()}, and nothing says which of them y_proba speaks of: "
                "pos_label=… does"
            )
        if len(known) == 1:  # of 0 and 1, or -1 and 1, one is absent
            labels = [-1, 1] if known[0] == -1 else [0, 1]
    return np.eye(p.shape[1])[columns_of(true, p.shape[1], labels)], p


def calibration_curve(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    pos_label: int | float | str | bool | None = None,
    n_bins: int = 5,
    strategy: str = "uniform",
) -> tuple[Array, Array]:
    """(share of positive rows, mean predicted probability) of each bin that holds a row.

    Arguments
    ---------
    y_true : (N,) two labels; `pos_label`, or else the greater, is the positive one.
    y_prob : (N,) probabilities of the positive label.
    n_bins : how many bins divide [0, 1].
    strategy : ``"uniform"``: bins of one width; ``"quantile"``: bins of about as many rows.

    >>> share, mean = calibration_curve([0, 0, 1, 1], [0.1, 0.3, 0.7, 0.9], n_bins=2)
    >>> share, mean
    (array([0., 1.]), array([0.2, 0.8]))
    """
    true, p = as_labels("y_true", y_true), _column(y_prob)
    known = np.unique(true)
    if true.shape != p.shape or len(known) > 2:
        raise DataError(
            f"a calibration curve is of two labels and one probability per row; y_true has shape "
            f"{true.shape} and {len(known)} labels, y_prob {p.shape}"
        )
    positive = true == (known[-1] if pos_label is None else pos_label)
    bins = calibration_bins(positive, p, n_bins=n_bins, strategy=strategy)
    return bins[0], bins[1]


def calibration_bins(
    correct: Array,
    confidence: Array,
    *,
    n_bins: int = 15,
    strategy: str = "uniform",
    weight: Array | None = None,
) -> tuple[Array, Array, Array]:
    """(share correct, mean confidence, rows or their weight) of each bin that holds a row.

    >>> calibration_bins(np.array([True, False]), np.array([0.75, 0.25]), n_bins=2)
    (array([0., 1.]), array([0.25, 0.75]), array([1, 1]))
    """
    check_option("strategy", strategy, ("uniform", "quantile"))
    edges = bin_edges(n_bins)
    if strategy == "quantile":
        edges = np.percentile(confidence, edges * 100)
    at = np.searchsorted(edges[1:-1], confidence)
    rows = np.bincount(at, weights=weight, minlength=n_bins)
    held = rows > 0
    parts = (correct, confidence) if weight is None else (weight * correct, weight * confidence)
    sums = [np.bincount(at, weights=v, minlength=n_bins)[held] for v in parts]
    return sums[0] / rows[held], sums[1] / rows[held], rows[held]


def bin_edges(n_bins: int) -> Array:
    """(n_bins + 1,) the edges of bins of one width from 0 to 1.

    >>> bin_edges(2)
    array([0. , 0.5, 1. ])
    """
    if isinstance(n_bins, bool) or not isinstance(n_bins, int | np.integer) or n_bins < 1:
        raise ValueError(f"n_bins={n_bins!r}: expected a whole number of at least 1")
    return np.linspace(0.0, 1.0, n_bins + 1)


def expected_calibration_error(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    n_bins: int = 15,
    labels: ArrayLike | None = None,
    strategy: str = "uniform",
    sample_weight: ArrayLike | None = None,
) -> float:
    """``ECE = Σ_b n_b/N · |accuracy_b - confidence_b|`` over bins of confidence (Guo et al. 2017).

    Arguments
    ---------
    y_true : (N,) labels, or an (N, K) one-hot indicator.
    y_proba : (N, K) probabilities in the sorted order of the labels; the confidence is that of the
        largest. (N,) are probabilities of the greater of two labels, and count likewise.
    n_bins : bins of [0, 1]; few rows in many bins make the error look larger than it is.
    sample_weight : (N,) weights; ``strategy="quantile"`` puts the edges without them.

    0 is perfect, and says nothing of how good the predictions are: the class shares alone score
    about 0.

    >>> expected_calibration_error([0, 1, 1, 1], [0.25, 0.75, 0.75, 0.25])
    0.0
    """
    correct, confidence = confidences(y_true, y_proba, labels)
    weight = None if sample_weight is None else as_weight(sample_weight, len(correct))
    share, mean, rows = calibration_bins(
        correct, confidence, n_bins=n_bins, strategy=strategy, weight=weight
    )
    return float(rows @ np.abs(share - mean) / rows.sum())


def confidences(
    y_true: ArrayLike, y_proba: ArrayLike, labels: ArrayLike | None = None
) -> tuple[Array, Array]:
    """(N,) whether the most probable label is right, and how probable it is.

    >>> confidences([0, 1], [0.25, 0.25], labels=[0, 1])
    (array([ True, False]), array([0.75, 0.75]))
    """
    p, true = read_probabilities(y_true, y_proba)
    if true.ndim == 2:
        truth = true.argmax(axis=1)
    else:
        if labels is None and len(np.unique(true)) == 1 and p.shape[1] == 2:
            labels = [0, 1]
        truth = columns_of(true, p.shape[1], labels)
    found = p.argmax(axis=1)
    return found == truth, p[np.arange(len(p)), found].astype(np.float64)


def _column(y_prob: ArrayLike) -> Array:
    p = np.asarray(y_prob, np.float64)
    if p.ndim == 2 and p.shape[1] == 1:
        p = p[:, 0]
    if p.ndim != 1 or not len(p):
        raise DataError(f"y_prob: expected (N,) probabilities of one label, got shape {p.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        row = int(np.argmax(~((p >= 0) & (p <= 1))))
        raise DataError(f"y_prob: row {row} is {p[row]}, expected a probability in [0, 1]")
    return p
