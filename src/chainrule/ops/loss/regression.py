"""Losses of a difference ``d = ŷ - y``.

Each takes `reduction` (``"mean"``, ``"sum"``, ``"none"``, ``"batchmean"``) and `weight`, one number
per element or, one-dimensional, per row; the weighted mean is ``Σ w l / Σ w``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.array.errors import ShapeError
from chainrule.ops.formula import Formula, formula
from chainrule.ops.loss.reduction import arrays, pointwise, reduce

__all__ = [
    "half_squared_error", "huber_loss", "l1_loss", "log_cosh_loss", "mse_loss", "quantile_loss",
    "smooth_l1_loss",
]  # fmt: skip


@formula
def _mse(xp: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    d = input - target
    return reduce(xp, d * d, reduction, weight)


def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """``(ŷ - y)²``; gradient ``2 (ŷ - y) / n``. Ledger L-02, L-04 to L-06, and
    P-07 behind a logistic function; erratum E000-19.

    The notes' forms are reductions of it: their mean over n numbers is ``"mean"``, the quadratic
    cost ``Σ_k (t_k - a_k)²`` of one sample ``"sum"``, the loss ``(1/N) Σ ‖ŷ - y‖²`` of a set
    ``"batchmean"``. With the factor ½ it is `half_squared_error`.

    Arguments:
        input, target: predictions and targets of one shape.
        reduction: ``"mean"`` over all elements, ``"sum"``, ``"none"``, or ``"batchmean"``, the sum
            over the number of rows.
        weight: per element or, one-dimensional, per row. The mean is then ``Σ w l / Σ w``.

    Raises:
        ShapeError: if the shapes differ (nothing is broadcast).
        ValueError: for an unknown reduction, with the nearest.

    >>> import numpy as np
    >>> float(mse_loss(np.array([1.0, 2.0]), np.array([0.0, 4.0])))
    2.5
    """
    return pointwise("mse_loss", _mse, input, target, weight, reduction)


@formula
def _half_squares(
    xp: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    d = input - target
    return reduce(xp, 0.5 * (d * d), reduction, weight)


def half_squared_error(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """``½ (ŷ - y)²``, whose gradient has no factor: ``ŷ - y``. Ledger L-03, P-06.

    ``reduction="sum"`` is the notes' ``½ ‖y - o‖²`` of one sample, ``"batchmean"`` its mean over
    the samples. Arguments and errors as in `mse_loss`.

    >>> import numpy as np
    >>> float(half_squared_error(np.array([1.0, 2.0]), np.array([0.0, 4.0]), reduction="sum"))
    2.5
    """
    return pointwise("half_squared_error", _half_squares, input, target, weight, reduction)


@formula
def _l1(xp: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    return reduce(xp, xp.abs(input - target), reduction, weight)


def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """``|ŷ - y|``; gradient ``sign(ŷ - y) / n``, 0 at equality. Ledger L-01; errata E000-18,
    E004-01.

    Arguments and errors as in `mse_loss`.

    >>> import numpy as np
    >>> float(l1_loss(np.array([1.0, 2.0]), np.array([0.0, 4.0])))
    1.5
    """
    return pointwise("l1_loss", _l1, input, target, weight, reduction)


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
    return reduce(
        xp, xp.where(a <= delta, 0.5 * (near * near), delta * (a - 0.5 * delta)), reduction, weight
    )


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """``½ d²`` where ``|d| ≤ δ``, else ``δ (|d| - ½ δ)``, with ``d = ŷ - y``. Ledger L-17; Huber
    1964.

    The note prints no reduction (erratum E004-05); the mean is torch's and Keras's. Arguments and
    errors as in `mse_loss`; `delta` > 0 is where it turns linear (1, as in torch and Keras).

    >>> import numpy as np
    >>> float(huber_loss(np.array([0.0, 3.0]), np.array([0.5, 0.0])))
    1.3125
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    return pointwise("huber_loss", _huber, input, target, weight, reduction, delta=float(delta))


@formula
def _smooth_l1(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    d = input - target
    a = xp.abs(d)
    near = xp.where(a < beta, d, 0.0)
    return reduce(
        xp, xp.where(a < beta, 0.5 / beta * (near * near), a - 0.5 * beta), reduction, weight
    )


def smooth_l1_loss(
    input: Any, target: Any, reduction: str = "mean", beta: float = 1.0, weight: Any = None
) -> Any:
    """``½ d² / β`` where ``|d| < β``, else ``|d| - ½ β``: `huber_loss` over β. Girshick 2015.

    Its slope far out is 1 for every β; at ``beta=0`` it is `l1_loss`. Arguments and errors as in
    `mse_loss`; `beta` ≥ 0 (1, as in torch).

    >>> import numpy as np
    >>> float(smooth_l1_loss(np.array([0.0, 3.0]), np.array([0.5, 0.0]), beta=2.0))
    1.03125
    """
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must be 0 or more, got {beta}")
    if beta == 0:
        return pointwise("smooth_l1_loss", _l1, input, target, weight, reduction)
    return pointwise("smooth_l1_loss", _smooth_l1, input, target, weight, reduction, beta=beta)


@formula
def _quantile(
    xp: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean", tau: float = 0.5
) -> Any:
    d = target - input
    loss = tau * xp.maximum(d, 0.0) + (1.0 - tau) * xp.maximum(-d, 0.0)
    return reduce(xp, loss, reduction, weight)


def quantile_loss(
    input: Any, target: Any, reduction: str = "mean", tau: Any = 0.5, weight: Any = None
) -> Any:
    """The pinball loss: ``τ (y - ŷ)`` where y is above ŷ, else ``(1 - τ) (ŷ - y)``.

    It is least where ŷ is the τ-quantile of y: with ``tau=0.9`` nine targets of ten lie below. At
    ``tau=0.5`` it is half of `l1_loss`. Koenker & Bassett 1978; scikit-learn's `mean_pinball_loss`.

    The derivative at equality is the middle of both sides, ``½ - τ``. Arguments and errors as in
    `mse_loss`; `tau` lies between 0 and 1. Several, ``(K,)``, are for an output of K quantiles on
    the last axis, with the target repeated along it.

    >>> import numpy as np
    >>> float(quantile_loss(np.array([0.0, 0.0]), np.array([2.0, -2.0]), tau=0.75))
    1.0
    """
    taus = np.asarray(tau, np.float64)
    if taus.ndim > 1 or not ((taus > 0) & (taus < 1)).all():
        raise ValueError(f"quantile_loss: tau must lie between 0 and 1, got {tau}")
    (input,) = arrays(input)
    if taus.ndim and taus.shape != input.shape[-1:]:
        raise ShapeError(
            f"quantile_loss: tau has {taus.size} entries, but the input of shape "
            f"{tuple(input.shape)} has {input.shape[-1] if input.shape else 'no'} on its last axis"
        )
    real = input.dtype if input.dtype.kind == "f" else np.float32
    more: Any = taus.astype(real) if taus.ndim else float(taus)
    return pointwise("quantile_loss", _quantile, input, target, weight, reduction, tau=more)


@formula
def _log_cosh_of(xp: Any, d: Any) -> Any:
    a = xp.abs(d)
    near = xp.expm1(xp.minimum(a, 1.0))  # cosh a - 1 = (e^a - 1)² / (2 e^a): no cancellation at 0
    far = a + xp.log1p(xp.exp(-2.0 * a)) - math.log(2)
    return xp.where(a < 1.0, xp.log1p(0.5 * (near * near) * xp.exp(-xp.minimum(a, 1.0))), far)


@_log_cosh_of.override(saves="x")
def _log_cosh_vjp(xp: Any, inputs: Any, y: Any, g: Any) -> Any:
    return g * xp.tanh(inputs[0])


@formula
def _log_cosh(xp: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    return reduce(xp, _log_cosh_of(input - target), reduction, weight)


def log_cosh_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """``log cosh(ŷ - y)``: near ``½ d²`` for small d, ``|d| - log 2`` for large; gradient
    ``tanh(ŷ - y) / n``.

    Keras's LogCosh. Arguments and errors as in `mse_loss`.

    >>> import numpy as np
    >>> float(log_cosh_loss(np.array([1e4]), np.array([0.0])))
    9999.30685281944
    """
    return pointwise("log_cosh_loss", _log_cosh, input, target, weight, reduction)


TEXTS: dict[str, Formula[Any]] = {
    "half_squared_error": _half_squares,
    "huber_loss": _huber,
    "l1_loss": _l1,
    "log_cosh_loss": _log_cosh,
    "mse_loss": _mse,
    "quantile_loss": _quantile,
    "smooth_l1_loss": _smooth_l1,
}
