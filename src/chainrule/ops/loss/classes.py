"""Losses of one class out of K: from scores, log-probabilities, or probabilities.

The mean is over the samples; with weights it is ``Σ w l / Σ w``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array.errors import ShapeError
from chainrule.ops.activation import log_softmax
from chainrule.ops.formula import Formula, formula
from chainrule.ops.loss.binary import focused
from chainrule.ops.loss.labels import class_weight, column, indices, picked, rows_as_columns
from chainrule.ops.loss.reduction import (
    arrays,
    check_probabilities,
    check_reduction,
    held_log,
    reduce_rows,
    row_weight,
)
from chainrule.ops.reduction import logsumexp

__all__ = ["categorical_cross_entropy", "cross_entropy", "focal_loss", "nll_loss"]


def _of_label(
    xp: Any, logp: Any, labels: Any, weight: Any, reduction: str, axis: int, smoothing: float = 0.0
) -> Any:
    """``-log p`` of each row's label; `weight` is per row."""
    hit = xp.one_hot(labels, logp, axis=axis)
    loss = -xp.sum(xp.where(hit, logp, 0.0), axis=axis, keepdims=True)
    if smoothing:
        rest = xp.mean(logp, axis=axis, keepdims=True)
        loss = (1.0 - smoothing) * loss - smoothing * rest
    return reduce_rows(xp, loss, axis, reduction, weight)


def _of_distribution(
    xp: Any,
    logp: Any,
    target: Any,
    class_weight: Any,
    weight: Any,
    reduction: str,
    axis: int,
    smoothing: float,
) -> Any:
    """``-Σ_k t_k log p_k`` of each row."""
    if smoothing:
        target = (1.0 - smoothing) * target + smoothing / logp.shape[axis]
    terms = target * logp
    if class_weight is not None:
        terms = terms * class_weight
    return reduce_rows(xp, -xp.sum(terms, axis=axis, keepdims=True), axis, reduction, weight)


@formula
def _class_loss(
    xp: Any,
    input: Any,
    labels: Any,
    weight: Any = None,
    reduction: str = "mean",
    axis: int = -1,
    label_smoothing: float = 0.0,
) -> Any:
    logp = log_softmax(input, axis=axis)
    return _of_label(xp, logp, labels, weight, reduction, axis, label_smoothing)


@formula
def _soft_class_loss(
    xp: Any,
    input: Any,
    target: Any,
    class_weight: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    axis: int = -1,
    label_smoothing: float = 0.0,
) -> Any:
    """Of a distribution t as target; ``a Σt - t`` is its gradient (ledger P-02)."""
    logp = log_softmax(input, axis=axis)
    return _of_distribution(
        xp, logp, target, class_weight, weight, reduction, axis, label_smoothing
    )


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = 1,
    ignore_index: int = -100,
    sample_weight: Any = None,
) -> Any:
    """Softmax cross entropy of logits: ``-Σ_k t_k log softmax(x)_k`` per sample. Ledger L-09 to
    L-14, P-01 to P-03; errata E000-11, E000-12, E004-03.

    Its gradient is ``(softmax(x) - t) / N`` for the mean (errata E000-20, E003-19), finite for
    every finite logit. Of probabilities it is `categorical_cross_entropy`.

    Arguments:
        input: logits ``(N, K)``, or with further axes; classes on `axis` (torch: 1).
        target: class indices ``(N, …)``, or probabilities of the shape of `input`.
        weight: one weight per class ``(K,)``; the mean is then ``Σ w l / Σ w`` for indices, and the
            plain mean for probabilities (as in torch).
        reduction: ``"mean"`` over the samples, ``"sum"``, ``"none"``, or ``"batchmean"``, the sum
            over the number of rows.
        label_smoothing: mix the target with the uniform distribution, 0 ≤ s ≤ 1.
        ignore_index: targets with this index do not count. Where none is left the mean is NaN, and
            its gradient 0.
        sample_weight: one weight per sample.

    Raises:
        DataError: for labels that are not whole or out of range, with the first bad one.
        ShapeError: if input and target do not fit.
        ValueError: for an `ignore_index` beside probabilities, which have no index.

    >>> import numpy as np
    >>> round(float(cross_entropy(np.array([[2.0, 0.0]]), np.array([0]))), 4)
    0.1269
    """
    _check_smoothing("cross_entropy", reduction, label_smoothing)
    input, target = arrays(input, target)
    axis = _class_axis(input, axis)
    if target.shape == input.shape and target.dtype.kind == "f":
        _no_index("cross_entropy", ignore_index)
        more = _soft_weights("cross_entropy", input, weight, sample_weight, axis, reduction)
        return _soft_class_loss(
            input, target, reduction=reduction, axis=axis, label_smoothing=label_smoothing, **more
        )
    name, smoothing = "cross_entropy", label_smoothing
    labels, ignored = indices(name, target, input, axis, ignore_index)
    if weight is not None and smoothing:
        w = class_weight(name, weight, input, axis)
        return _smoothed(
            _soft_class_loss, input, labels, w, reduction, smoothing, axis, ignored, sample_weight
        )
    per_row = _label_weights(name, input, labels, weight, ignored, sample_weight, axis)
    columns = rows_as_columns(labels, axis)
    if per_row is None and not smoothing and reduction == "mean" and axis == len(input.shape) - 1:
        return _mean_class_loss(input, columns)
    return _per_label(
        _class_loss, input, columns, per_row, reduction, axis, label_smoothing=smoothing
    )


@formula
def _nll(
    xp: Any,
    input: Any,
    labels: Any,
    weight: Any = None,
    reduction: str = "mean",
    axis: int = -1,
) -> Any:
    return _of_label(xp, input, labels, weight, reduction, axis)


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    axis: int = 1,
    ignore_index: int = -100,
    sample_weight: Any = None,
) -> Any:
    """``-x[target]`` of *log*-probabilities x, as in torch. Ledger L-16 (erratum E004-04).

    The note of that name takes probabilities and adds up: that is `categorical_cross_entropy` with
    ``reduction="sum"``. Arguments and errors as in `cross_entropy`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> log_p = cr.ops.log_softmax(np.zeros((1, 2)))
    >>> round(float(cr.ops.nll_loss(log_p, np.array([1]))), 4)  # log 2
    0.6931
    """
    check_reduction(reduction)
    input, target = arrays(input, target)
    axis = _class_axis(input, axis)
    labels, ignored = indices("nll_loss", target, input, axis, ignore_index)
    per_row = _label_weights("nll_loss", input, labels, weight, ignored, sample_weight, axis)
    return _per_label(_nll, input, rows_as_columns(labels, axis), per_row, reduction, axis)


@formula
def _categorical(
    xp: Any,
    input: Any,
    labels: Any,
    weight: Any = None,
    reduction: str = "mean",
    axis: int = -1,
    label_smoothing: float = 0.0,
) -> Any:
    return _of_label(xp, held_log(xp, input), labels, weight, reduction, axis, label_smoothing)


@formula
def _soft_categorical(
    xp: Any,
    input: Any,
    target: Any,
    class_weight: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    axis: int = -1,
    label_smoothing: float = 0.0,
) -> Any:
    logp = held_log(xp, input)
    return _of_distribution(
        xp, logp, target, class_weight, weight, reduction, axis, label_smoothing
    )


def categorical_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = 1,
    ignore_index: int = -100,
    sample_weight: Any = None,
) -> Any:
    """``-Σ_k t_k log a_k`` of probabilities a, as the notes write it. Ledger L-09 to L-14, L-16;
    errata E000-11, E000-12, E000-26, E004-03, E004-04.

    With class indices and ``reduction="sum"`` it is the notes' negative log-likelihood of
    probabilities; the reference sheet's 1/N is the mean. The logarithm is held at -100, as in
    `binary_cross_entropy`. The gradient ``-t / a`` loses digits as a falls; `cross_entropy` of the
    scores keeps them: prefer it. (`chainrule.Trainer` does so by itself for a model that ends in a
    softmax.)

    Arguments and errors as in `cross_entropy`, with probabilities along `axis` as input; an entry
    outside [0, 1] raises a DataError. That they add up to 1 is not looked at.

    >>> import numpy as np
    >>> round(float(categorical_cross_entropy(np.array([[0.9, 0.1]]), np.array([0]))), 4)
    0.1054
    """
    name = "categorical_cross_entropy"
    _check_smoothing(name, reduction, label_smoothing)
    input, target = arrays(input, target)
    axis = _class_axis(input, axis)
    check_probabilities(name, input, "For raw scores use cross_entropy")
    if target.shape == input.shape and target.dtype.kind == "f":
        _no_index(name, ignore_index)
        more = _soft_weights(name, input, weight, sample_weight, axis, reduction)
        return _soft_categorical(
            input, target, reduction=reduction, axis=axis, label_smoothing=label_smoothing, **more
        )
    labels, ignored = indices(name, target, input, axis, ignore_index)
    if weight is not None and label_smoothing:
        w, s = class_weight(name, weight, input, axis), label_smoothing
        return _smoothed(
            _soft_categorical, input, labels, w, reduction, s, axis, ignored, sample_weight
        )
    per_row = _label_weights(name, input, labels, weight, ignored, sample_weight, axis)
    columns, s = rows_as_columns(labels, axis), label_smoothing
    return _per_label(_categorical, input, columns, per_row, reduction, axis, label_smoothing=s)


@formula
def _focal(
    xp: Any,
    input: Any,
    labels: Any,
    alpha: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    axis: int = -1,
    gamma: float = 2.0,
) -> Any:
    # z = log Σ_{j≠t} e^{x_j} - x_t, so that p_t = σ(-z): no digits are lost as p_t nears 1
    hit = xp.one_hot(labels, input, axis=axis)
    others = logsumexp(xp.where(hit, -float("inf"), input), axis=axis, keepdims=True)
    own = xp.sum(xp.where(hit, input, 0.0), axis=axis, keepdims=True)
    loss = focused(xp, others - own, gamma)
    if alpha is not None:
        loss = loss * alpha
    return reduce_rows(xp, loss, axis, reduction, weight)


def focal_loss(
    input: Any,
    target: Any,
    gamma: float = 2.0,
    alpha: Any = None,
    reduction: str = "mean",
    axis: int = 1,
    ignore_index: int = -100,
    sample_weight: Any = None,
) -> Any:
    """``-α_t (1 - p_t)^γ log p_t`` of logits, ``p = softmax(x)``: samples that are right already
    count little. Lin et al. 2017.

    At ``gamma=0`` without `alpha` it is `cross_entropy`. Finite, with all its derivatives, for
    every finite logit. For labels that do not exclude each other: `sigmoid_focal_loss`.

    Arguments:
        input: logits ``(N, K)``, or with further axes; two classes or more on `axis`.
        target: class indices ``(N, …)``.
        gamma: 0 or more; the paper's 2.
        alpha: one weight per class ``(K,)``, or None. The mean is a plain one of the weighted
            losses.
        reduction, axis, ignore_index, sample_weight: as in `cross_entropy`.

    Raises:
        DataError, ShapeError: as in `cross_entropy`.

    >>> import numpy as np
    >>> x, y = np.array([[3.0, 0.0]]), np.array([0])
    >>> round(float(focal_loss(x, y)), 6), round(float(cross_entropy(x, y)), 6)
    (0.000109, 0.048587)
    """
    check_reduction(reduction)
    if not gamma >= 0:
        raise ValueError(f"focal_loss: gamma must be 0 or more, got {gamma}")
    input, target = arrays(input, target)
    axis = _class_axis(input, axis)
    if not input.shape or input.shape[axis] < 2:
        raise ShapeError(
            f"focal_loss: logits of shape {tuple(input.shape)} have no two classes on axis {axis}; "
            "for one logit per label use sigmoid_focal_loss"
        )
    labels, ignored = indices("focal_loss", target, input, axis, ignore_index)
    more: dict[str, Any] = {"gamma": float(gamma)}
    if alpha is not None:
        per_label = picked(class_weight("focal_loss", alpha, input, axis, "alpha"), labels)
        more["alpha"] = rows_as_columns(per_label, axis)
    per_row = _label_weights("focal_loss", input, labels, None, ignored, sample_weight, axis)
    columns = rows_as_columns(labels, axis)
    return _per_label(_focal, input, columns, per_row, reduction, axis, **more)


# -- what they share ------------------------------------------------------------------------------


def _check_smoothing(name: str, reduction: str, label_smoothing: float) -> None:
    check_reduction(reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing must be between 0 and 1, got {label_smoothing}")


def _class_axis(input: Any, axis: int) -> int:
    """The axis of the classes, counted from the first; a single sample has no other."""
    axes = len(input.shape)
    return axis % axes if axes > 1 else 0


def _soft_weights(
    name: str, input: Any, weight: Any, sample_weight: Any, axis: int, reduction: str
) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if weight is not None:
        w = class_weight(name, weight, input, axis)
        more["class_weight"] = w.reshape(column(input, axis))
    if sample_weight is not None:
        more["weight"] = row_weight(sample_weight, input, axis, reduction)
    return more


def _no_index(name: str, ignore_index: int) -> None:
    if ignore_index >= 0:
        raise ValueError(
            f"{name}: ignore_index {ignore_index} is for class indices; for targets that are "
            "probabilities use sample_weight, 0 for rows that do not count"
        )


def _label_weights(
    name: str, input: Any, labels: Any, weight: Any, ignored: Any, sample_weight: Any, axis: int
) -> Any:
    """The weight of every row: its class's, its own, 0 if it is ignored; None for ones."""
    per_row = None
    if weight is not None:
        per_row = picked(class_weight(name, weight, input, axis), labels)
    if ignored is not None:
        keep = (~ignored).astype(input.dtype)
        per_row = keep if per_row is None else per_row * keep
    if sample_weight is not None:
        s = row_weight(sample_weight, input, axis, "none")
        per_row = np.broadcast_to(s if per_row is None else per_row * s, labels.shape)
    return per_row


def _per_label(
    f: Formula[Any],
    input: Any,
    columns: Any,
    per_row: Any,
    reduction: str,
    axis: int,
    **more: Any,
) -> Any:
    if per_row is not None:
        more["weight"] = per_row if reduction == "none" else rows_as_columns(per_row, axis)
    return f(input, columns, reduction=reduction, axis=axis, **more)


def _smoothed(
    f: Formula[Any],
    input: Any,
    labels: Any,
    w: Any,
    reduction: str,
    s: float,
    axis: int,
    ignored: Any,
    sample_weight: Any,
) -> Any:
    """Class weights with smoothed labels: every class counts with its weight, the mean divides by
    w[label]."""
    shape = column(input, axis)
    hot = np.equal(
        np.expand_dims(labels, axis), np.arange(input.shape[axis]).reshape(shape)
    ).astype(input.dtype)
    per_row = np.ones(labels.shape, input.dtype)
    if ignored is not None:
        per_row = per_row * ~ignored
    if sample_weight is not None:
        per_row = per_row * row_weight(sample_weight, input, axis, "none")
    loss = f(
        input, hot, class_weight=w.reshape(shape), reduction="none", axis=axis, label_smoothing=s
    )
    loss = loss * per_row
    if reduction == "none":
        return loss
    if reduction == "batchmean":
        return loss.sum() / input.shape[0]
    return loss.sum() if reduction == "sum" else loss.sum() / np.sum(picked(w, labels) * per_row)


def _mean_loss(xp: Any, input: Any, labels: Any) -> Any:
    return _class_loss(input, labels)


#: the common case, without binding arguments
_mean_class_loss: Formula[Any] = Formula(_mean_loss, "cross_entropy")

TEXTS: dict[str, Formula[Any]] = {
    "categorical_cross_entropy": _categorical,
    "cross_entropy": _class_loss,
    "focal_loss": _focal,
    "nll_loss": _nll,
}
