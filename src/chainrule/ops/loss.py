"""Losses. Every one takes an explicit reduction; ledger L-20 lists how the notes differ in it.

`reduction` is ``"mean"`` (over all elements; for class losses over the samples), ``"sum"``,
``"none"`` (no reduction), or ``"batchmean"`` (the sum over the number of rows).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray, as_array
from chainrule.array.errors import DataError, ShapeError, nearest
from chainrule.autograd.context import state
from chainrule.autograd.tape import Variable
from chainrule.compile.kernel import Kernel
from chainrule.compile.symbolic import capture_error
from chainrule.compile.trace import trace
from chainrule.ops.activation import log_softmax
from chainrule.ops.formula import Formula, formula

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss",
    "l1_loss", "mse_loss", "nll_loss",
]  # fmt: skip

REDUCTIONS = ("mean", "sum", "none", "batchmean")


def _reduce(xp: Any, loss: Any, reduction: str, weight: Any = None) -> Any:
    """Weighted or plain reduction of a loss per element. A weighted mean is ``Σ w l / Σ w``."""
    if weight is not None and reduction != "mean":
        loss = loss * weight
    if reduction == "none":
        return loss
    if reduction == "sum":
        return xp.sum(loss)
    if reduction == "batchmean":
        return xp.sum(loss) / loss.shape[0]
    if weight is None:
        return xp.mean(loss)
    return xp.sum(loss * weight) / xp.sum(xp.broadcast_to(weight, loss))


def _check_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; {nearest(reduction, REDUCTIONS)}")


def _same_shape(name: str, input: Any, target: Any) -> None:
    if input.shape != target.shape:
        hint = ""
        if input.shape[:1] == target.shape[:1] and input.size == target.size:
            hint = f"; reshape one: target.reshape{input.shape}"
        raise ShapeError(
            f"{name}: input has shape {tuple(input.shape)}, target {tuple(target.shape)}; they "
            f"must be equal, because broadcasting would pair every prediction with every "
            f"target{hint}"
        )


def _pointwise(
    name: str, f: Formula[Any], input: Any, target: Any, weight: Any, reduction: str, **more: Any
) -> Any:
    _check_reduction(reduction)
    input, target = _arrays(input, target)
    _same_shape(name, input, target)
    if weight is None:
        return f(input, target, reduction=reduction, **more)
    (weight,) = _arrays(weight)
    ndim = len(input.shape)
    if len(weight.shape) == 1 and ndim > 1:
        weight = weight.reshape(-1, *(1,) * (ndim - 1))
    pairs = zip(weight.shape, input.shape[ndim - len(weight.shape) :], strict=False)
    if len(weight.shape) > ndim or any(w not in (1, n) for w, n in pairs):
        raise ShapeError(
            f"{name}: weight needs one number per row, shape ({input.shape[0]},), or one per "
            f"element, shape {tuple(input.shape)}; got {tuple(weight.shape)}"
        )
    return f(input, target, weight=weight, reduction=reduction, **more)


def _arrays(*xs: Any) -> tuple[Any, ...]:
    return tuple([x if isinstance(x, Variable) else as_array(x) for x in xs])


@formula
def _mse(xp: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    d = input - target
    return _reduce(xp, d * d, reduction, weight)


def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """``(ŷ - y)²``; gradient ``2 (ŷ - y) / n`` (ledger L-02 to L-06; errata E000-19).

    Arguments:
        input, target: predictions and targets of one shape.
        reduction: see the module.
        weight: per element or, one-dimensional, per row. The mean is then ``Σ w l / Σ w``.

    Raises:
        ShapeError: if the shapes differ (nothing is broadcast).

    >>> import numpy as np
    >>> float(mse_loss(np.array([1.0, 2.0]), np.array([0.0, 4.0])))
    2.5
    """
    return _pointwise("mse_loss", _mse, input, target, weight, reduction)


@formula
def _l1(xp: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    return _reduce(xp, xp.abs(input - target), reduction, weight)


def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """``|ŷ - y|``; gradient ``sign(ŷ - y) / n``, 0 at equality (ledger L-01; errata E000-18,
    E004-01).

    Arguments and errors as in `mse_loss`.

    >>> import numpy as np
    >>> float(l1_loss(np.array([1.0, 2.0]), np.array([0.0, 4.0])))
    1.5
    """
    return _pointwise("l1_loss", _l1, input, target, weight, reduction)


@formula
def _huber(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    delta: float = 1.0,
) -> Any:
    d = input - target
    a = xp.abs(d)
    # the branch not taken must not overflow; d itself, because |d| has no slope at 0
    near = xp.where(a <= delta, d, 0.0)
    return _reduce(
        xp, xp.where(a <= delta, 0.5 * (near * near), delta * (a - 0.5 * delta)), reduction, weight
    )


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """``½ d²`` where ``|d| ≤ δ``, else ``δ (|d| - ½ δ)``, with ``d = ŷ - y``. Ledger L-17; Huber
    1964.

    Arguments and errors as in `mse_loss`; `delta` > 0 is where it turns linear (1, as in torch and
    Keras).

    >>> import numpy as np
    >>> float(huber_loss(np.array([0.0, 3.0]), np.array([0.5, 0.0])))
    1.3125
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    return _pointwise("huber_loss", _huber, input, target, weight, reduction, delta=float(delta))


@formula
def _bce(xp: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    # log held at -100, so that a wrong certainty costs 100 rather than infinity; 0 log 0 is 0
    tiny = 3.720075976020836e-44  # e^-100
    p, q = input, 1.0 - input
    yes = xp.where(p <= tiny, -100.0, xp.log(xp.where(p <= tiny, 1.0, p)))
    no = xp.where(q <= tiny, -100.0, xp.log(xp.where(q <= tiny, 1.0, q)))
    return _reduce(xp, -(target * yes + (1.0 - target) * no), reduction, weight)


def _beyond(xp: Any, p: Any) -> Any:
    """Infinite where an entry is below 0 or above 1, else 0; NaN is neither."""
    return xp.where(xp.max(xp.maximum(-p, p - 1.0)) > 0.0, math.inf, 0.0)


_BEYOND = Kernel(trace(_beyond, ["p"], "beyond"))


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """``-[y log p + (1 - y) log(1 - p)]`` of probabilities p in [0, 1]. Ledger L-07, L-08 (E000-09,
    E000-10).

    The logarithm is held at -100 as in torch. Logits lose no digits:
    prefer `binary_cross_entropy_with_logits`.

    Arguments and errors as in `mse_loss`; a probability outside [0, 1] raises a DataError.

    >>> import numpy as np
    >>> round(float(binary_cross_entropy(np.array([0.9]), np.array([1.0]))), 4)
    0.1054
    """
    input, target = _arrays(input, target)
    raw = input._data if isinstance(input, Variable) else input
    if isinstance(raw, AbstractArray):  # of a captured step: a replay looks, and stops
        state.recorder.finite(state.recorder.kernel(_BEYOND, [raw])[0])
    elif raw.size and not (raw.min() >= 0 and raw.max() <= 1) and not np.isnan(raw).any():
        raise DataError(
            "binary_cross_entropy takes probabilities between 0 and 1; the largest here is "
            f"{raw.max():g}, the smallest {raw.min():g}. For raw scores use "
            "binary_cross_entropy_with_logits"
        )
    return _pointwise("binary_cross_entropy", _bce, input, target, weight, reduction)


@formula
def _bce_logits(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    pos_weight: Any = None,
    reduction: str = "mean",
) -> Any:
    # log(1 + e^-|x|); |x| by branches, so that both terms of the loss take the same one at 0
    soft = xp.log1p(xp.exp(xp.where(input <= 0.0, input, -input)))
    if pos_weight is None:
        loss = xp.where(input <= 0.0, 0.0, input) - input * target + soft
    else:
        wrong = soft + xp.where(input <= 0.0, -input, 0.0)
        loss = (1.0 - target) * input + (1.0 + (pos_weight - 1.0) * target) * wrong
    return _reduce(xp, loss, reduction, weight)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """``softplus(x) - x y`` = BCE of ``σ(x)``; gradient ``(σ(x) - y) / n``. Ledger P-04, P-08.

    Finite for every finite logit. `pos_weight` multiplies the loss of the positives (array, per
    output). Other arguments and errors as in `mse_loss`.

    >>> import numpy as np
    >>> float(binary_cross_entropy_with_logits(np.array([1e4]), np.array([0.0])))
    10000.0
    """
    more = {} if pos_weight is None else {"pos_weight": _arrays(pos_weight)[0]}
    return _pointwise(
        "binary_cross_entropy_with_logits", _bce_logits, input, target, weight, reduction, **more
    )


@formula
def _class_loss(
    xp: Any,
    input: Any,
    labels: Any,
    weight: Any = None,
    reduction: str = "mean",
    axis: int = -1,
    label_smoothing: float = 0.0,
    logits: bool = True,
) -> Any:
    """Cross entropy with class indices, per row; `weight` is per row."""
    logp = log_softmax(input, axis=axis) if logits else input
    hit = xp.one_hot(labels, logp, axis=axis)
    loss = -xp.sum(xp.where(hit, logp, 0.0), axis=axis, keepdims=True)
    if label_smoothing:
        rest = xp.mean(logp, axis=axis, keepdims=True)
        loss = (1.0 - label_smoothing) * loss - label_smoothing * rest
    return _reduce(
        xp, xp.squeeze(loss, axis=axis) if reduction == "none" else loss, reduction, weight
    )


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
    """Cross entropy with class probabilities; ``a Σt - t`` is its gradient (ledger P-02)."""
    logp = log_softmax(input, axis=axis)
    if label_smoothing:
        target = (1.0 - label_smoothing) * target + label_smoothing / input.shape[axis]
    terms = target * logp
    if class_weight is not None:
        terms = terms * class_weight
    loss = -xp.sum(terms, axis=axis, keepdims=True)
    return _reduce(
        xp, xp.squeeze(loss, axis=axis) if reduction == "none" else loss, reduction, weight
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
    L-14, P-01 to P-03.

    Its gradient is ``(softmax(x) - t) / N`` for the mean (errata E000-20, E003-19), finite for
    every finite logit.

    Arguments:
        input: logits ``(N, K)``, or with further axes; classes on `axis` (torch: 1).
        target: class indices ``(N, …)``, or probabilities of the shape of `input`.
        weight: one weight per class ``(K,)``; the mean is then ``Σ w l / Σ w`` for indices, and the
            plain mean for probabilities (as in torch).
        reduction: see the module; the mean is over samples.
        label_smoothing: mix the target with the uniform distribution, 0 ≤ s ≤ 1.
        ignore_index: targets with this index do not count.
        sample_weight: one weight per sample.

    Raises:
        DataError: for labels that are not whole or out of range, with the first bad one.
        ShapeError: if input and target do not fit.

    >>> import numpy as np
    >>> round(float(cross_entropy(np.array([[2.0, 0.0]]), np.array([0]))), 4)
    0.1269
    """
    _check_reduction(reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}"
        )
    input, target = _arrays(input, target)
    if len(input.shape) == 1:
        axis = 0
    axis = axis % len(input.shape) if input.shape else 0
    if target.shape == input.shape and target.dtype.kind == "f":
        more: dict[str, Any] = {}
        if weight is not None:
            w = _class_weight("cross_entropy", weight, input, axis)
            more["class_weight"] = w.reshape(_column(input, axis))
        if sample_weight is not None:
            more["weight"] = _along(sample_weight, input, axis, reduction)
        return _soft_class_loss(
            input, target, reduction=reduction, axis=axis, label_smoothing=label_smoothing, **more
        )
    return _indexed(
        "cross_entropy",
        input,
        target,
        weight,
        reduction,
        label_smoothing,
        axis,
        ignore_index,
        sample_weight,
        True,
    )


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    axis: int = 1,
    ignore_index: int = -100,
) -> Any:
    """``-x[target]`` of *log*-probabilities x, as in torch. Ledger L-16 (erratum E004-04). As
    `cross_entropy`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> log_p = cr.ops.log_softmax(np.zeros((1, 2)))
    >>> round(float(cr.ops.nll_loss(log_p, np.array([1]))), 4)  # log 2
    0.6931
    """
    _check_reduction(reduction)
    input, target = _arrays(input, target)
    axis = 0 if len(input.shape) == 1 else axis % len(input.shape)
    return _indexed(
        "nll_loss", input, target, weight, reduction, 0.0, axis, ignore_index, None, False
    )


def _along(w: Any, input: Any, axis: int, reduction: str) -> Any:
    """Weights per sample, shaped like the loss per row."""
    w = _raw(w).astype(input.dtype, copy=False)
    rows = input.shape[:axis] + input.shape[axis + 1 :]
    if w.shape != rows:
        if w.ndim != 1 or w.shape[0] != input.shape[0]:
            raise ShapeError(f"sample_weight has shape {w.shape}; one weight per sample is {rows}")
        w = w.reshape(-1, *(1,) * (len(rows) - 1))
    return w if reduction == "none" else w.reshape(*w.shape[:axis], 1, *w.shape[axis:])


def _raw(x: Any) -> Any:
    return x._data if isinstance(x, Variable) else as_array(x)


def _column(input: Any, axis: int) -> list[int]:
    """The shape in which one number per class lies along `axis`."""
    return [-1 if a == axis else 1 for a in range(len(input.shape))]


def _class_weight(name: str, weight: Any, input: Any, axis: int) -> Any:
    w, classes = _raw(weight), input.shape[axis]
    if w.shape != (classes,):
        raise ShapeError(
            f"{name}: weight needs one number per class, shape ({classes},), got {w.shape}"
        )
    return w.astype(input.dtype, copy=False)


def _picked(w: Any, labels: Any) -> Any:
    """The weight of each label."""
    if isinstance(labels, AbstractArray):
        return labels.recorder.getitem(w, labels)  # type: ignore[attr-defined]
    return w[labels]


def _indexed(
    name: str,
    input: Any,
    target: Any,
    weight: Any,
    reduction: str,
    label_smoothing: float,
    axis: int,
    ignore_index: int,
    sample_weight: Any,
    logits: bool,
) -> Any:
    labels = _raw(target)
    rows = input.shape[:axis] + input.shape[axis + 1 :]
    if labels.shape != rows:
        raise ShapeError(
            f"{name}: logits of shape {tuple(input.shape)} need one class index per sample, shape "
            f"{rows}, or class probabilities of the same shape; got target of shape "
            f"{tuple(labels.shape)} ({labels.dtype})"
        )
    labels, ignored = _labels(name, labels, input.shape[axis], ignore_index)
    columns = labels.reshape(*labels.shape[:axis], 1, *labels.shape[axis:])
    per_row = None
    if weight is not None:
        w = _class_weight(name, weight, input, axis)
        if label_smoothing:
            return _smoothed(
                input, labels, w, reduction, label_smoothing, axis, ignored, sample_weight
            )
        per_row = _picked(w, labels)
    if ignored is not None:
        keep = (~ignored).astype(input.dtype)
        per_row = keep if per_row is None else per_row * keep
    if sample_weight is not None:
        s = _along(sample_weight, input, axis, "none")
        per_row = np.broadcast_to(s if per_row is None else per_row * s, rows)
    if (
        per_row is None
        and not label_smoothing
        and logits
        and reduction == "mean"
        and axis == len(input.shape) - 1
    ):
        return _mean_class_loss(input, columns)
    more: dict[str, Any] = {}
    if per_row is not None:
        if reduction != "none":
            per_row = per_row.reshape(*per_row.shape[:axis], 1, *per_row.shape[axis:])
        more["weight"] = per_row
    return _class_loss(
        input,
        columns,
        reduction=reduction,
        axis=axis,
        label_smoothing=label_smoothing,
        logits=logits,
        **more,
    )


def _smoothed(
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
    shape = _column(input, axis)
    hot = np.equal(
        np.expand_dims(labels, axis), np.arange(input.shape[axis]).reshape(shape)
    ).astype(input.dtype)
    per_row = np.ones(labels.shape, input.dtype)
    if ignored is not None:
        per_row = per_row * ~ignored
    if sample_weight is not None:
        per_row = per_row * _along(sample_weight, input, axis, "none")
    loss = _soft_class_loss(
        input, hot, class_weight=w.reshape(shape), reduction="none", axis=axis, label_smoothing=s
    )
    loss = loss * per_row
    if reduction == "none":
        return loss
    if reduction == "batchmean":
        return loss.sum() / input.shape[0]
    return loss.sum() if reduction == "sum" else loss.sum() / np.sum(_picked(w, labels) * per_row)


def _mean_loss(xp: Any, input: Any, labels: Any) -> Any:
    return _class_loss(input, labels)


#: the common case, without binding arguments
_mean_class_loss: Formula[Any] = Formula(_mean_loss, "cross_entropy")


def _labels(name: str, labels: Any, classes: int, ignore_index: int) -> tuple[Any, Any]:
    """Whole class indices in range, and a mask of the ignored ones (None if there are none)."""
    kind = labels.dtype.kind
    if kind not in "iub":
        bad = np.argwhere(~_is_whole(labels)) if kind == "f" else np.zeros((1, labels.ndim), int)
        if len(bad):
            at = tuple(int(i) for i in bad[0])
            raise DataError(
                f"{name}: class indices must be whole numbers, got {labels.dtype} (first: "
                f"{labels[at]} at {at})"
            )
    labels = labels.astype(np.int64, copy=False)
    if not labels.size:
        return labels, None
    if isinstance(labels, AbstractArray):  # of a captured step: looked at before each replay
        if 0 <= ignore_index < classes:
            raise capture_error(f"{name}: labels are looked for ignore_index {ignore_index}")
        state.recorder.labels(labels, classes)
        return labels, None
    # read as unsigned a negative label is a huge one: one pass finds both kinds
    largest = int(np.maximum.reduce(labels.view(np.uint64), axis=None))
    if largest < classes and not 0 <= ignore_index < classes:
        return labels, None
    low, high = int(labels.min()), int(labels.max())
    ignored = labels == ignore_index
    wrong = ((labels < 0) | (labels >= classes)) & ~ignored
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = f"row {at[0]}" if len(at) == 1 else f"index {at}"
        hint = " (labels counted from 1? subtract 1)" if low >= 1 and high == classes else ""
        raise DataError(
            f"{name}: label {int(labels[at])} at {place} is out of range; {classes} classes are 0 "
            f"to {classes - 1}{hint}"
        )
    return np.where(ignored, 0, labels), ignored if ignored.any() else None


def _is_whole(x: Any) -> Any:
    return np.isfinite(x) & (x == np.floor(x))
