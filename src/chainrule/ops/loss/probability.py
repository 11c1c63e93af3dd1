"""Losses between probability distributions. ``0 · log 0`` is 0 in all of them (erratum E004-02)."""

from __future__ import annotations

from typing import Any

from chainrule.ops.formula import Formula, formula
from chainrule.ops.loss.reduction import (
    arrays,
    check_probabilities,
    check_reduction,
    pointwise,
    reduce,
    reduce_rows,
    row_weight,
    same_shape,
)

__all__ = ["distribution_cross_entropy", "kl_div", "kl_divergence"]


def xlogy(xp: Any, x: Any, y: Any) -> Any:
    """``x log y``, 0 where both are 0; NaN in either shows."""
    both = xp.logical_and(xp.equal(x, 0.0), xp.equal(y, 0.0))
    return x * xp.log(xp.where(both, 1.0, y))


@formula
def _kl_div(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    if log_target:
        loss = xp.exp(target) * (target - input)
    else:
        zero = xp.equal(target, 0.0)
        safe = xp.where(zero, 1.0, target)
        # of p = 0 nothing is left, also where log q is -inf
        away = xp.logical_and(zero, xp.logical_not(xp.isnan(input)))
        loss = target * (xp.log(safe) - xp.where(away, 0.0, input))
    return reduce(xp, loss, reduction, weight)


def kl_div(
    input: Any,
    target: Any,
    reduction: str = "mean",
    log_target: bool = False,
    weight: Any = None,
) -> Any:
    """``p (log p - x)`` per element, of log-probabilities ``x = log q`` and probabilities p.
    Ledger L-15 in torch's form; errata E004-02, E004-14.

    ``reduction="batchmean"`` is the mean over the rows of ``KL(p ‖ q) = Σ_i p_i log(p_i / q_i)``;
    the default, ``"mean"``, divides by the number of all entries and is smaller by a factor of K.
    The note's argument order, with both as probabilities, is `kl_divergence`.

    Arguments:
        input: ``log q``, as `log_softmax` gives it.
        target: p of the same shape, or ``log p`` with `log_target`.
        reduction, weight: as in `mse_loss`.

    Raises:
        ShapeError: if the shapes differ.

    >>> import numpy as np
    >>> p = np.array([[0.5, 0.5, 0.0]])
    >>> q = np.array([[0.25, 0.5, 0.25]])
    >>> round(float(kl_div(np.log(q), p, reduction="batchmean")), 4)  # ½ log 2
    0.3466
    """
    return pointwise(
        "kl_div", _kl_div, input, target, weight, reduction, log_target=bool(log_target)
    )


@formula
def _kl_divergence(
    xp: Any, p: Any, q: Any, weight: Any = None, reduction: str = "mean", axis: int = -1
) -> Any:
    loss = xlogy(xp, p, p) - xlogy(xp, p, q)
    return reduce_rows(xp, xp.sum(loss, axis=axis, keepdims=True), axis, reduction, weight)


def kl_divergence(
    p: Any, q: Any, axis: int = -1, reduction: str = "mean", weight: Any = None
) -> Any:
    """``KL(p ‖ q) = Σ_i p_i log(p_i / q_i)`` of probabilities, in the note's order. Ledger L-15;
    errata E004-02, E004-14; Kullback & Leibler 1951.

    At least 0, and 0 for ``p = q`` alone (Gibbs' inequality); infinite where q excludes what p does
    not. The gradient in q is ``-p / q``, with q not bound to add up to 1. From scores, `kl_div` of
    their `log_softmax` keeps all digits.

    Arguments:
        p: the distribution that is true, entries on `axis`.
        q: the one that is compared with it, of the same shape.
        axis: along which the entries of one distribution lie.
        reduction: over the distributions: their mean, their sum, ``"none"``, or ``"batchmean"``.
        weight: one per distribution.

    Raises:
        DataError: for entries below 0 or above 1. That they add up to 1 is not looked at.

    >>> import numpy as np
    >>> round(float(kl_divergence(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25]))), 4)
    0.3466
    """
    return _of_distributions("kl_divergence", _kl_divergence, p, q, axis, reduction, weight)


@formula
def _cross(
    xp: Any, p: Any, q: Any, weight: Any = None, reduction: str = "mean", axis: int = -1
) -> Any:
    loss = -xp.sum(xlogy(xp, p, q), axis=axis, keepdims=True)
    return reduce_rows(xp, loss, axis, reduction, weight)


def distribution_cross_entropy(
    p: Any, q: Any, axis: int = -1, reduction: str = "mean", weight: Any = None
) -> Any:
    """``H(p, q) = -Σ_x p(x) log q(x)``, least over q at ``q = p``, where it is the entropy of p.
    Ledger L-12.

    ``H(p, q) = H(p) + KL(p ‖ q)``. Infinite where q excludes what p does not; for training
    `categorical_cross_entropy` holds the logarithm, and `cross_entropy` takes scores. Arguments and
    errors as in `kl_divergence`.

    >>> import numpy as np
    >>> p = np.array([0.5, 0.5])
    >>> round(float(distribution_cross_entropy(p, p)), 4)  # log 2
    0.6931
    """
    return _of_distributions("distribution_cross_entropy", _cross, p, q, axis, reduction, weight)


def _of_distributions(
    name: str, f: Formula[Any], p: Any, q: Any, axis: int, reduction: str, weight: Any
) -> Any:
    check_reduction(reduction)
    p, q = arrays(p, q)
    same_shape(name, p, q, ("p", "q"))
    hint = "For scores use kl_div of their log_softmax, or cross_entropy"
    check_probabilities(name, p, hint, "p")
    check_probabilities(name, q, hint, "q")
    axis = axis % len(p.shape)
    more = {} if weight is None else {"weight": row_weight(weight, p, axis, reduction, "weight")}
    return f(p, q, reduction=reduction, axis=axis, **more)


@formula
def _entropy(xp: Any, p: Any, axis: int = -1, reduction: str = "none", weight: Any = None) -> Any:
    loss = -xp.sum(xlogy(xp, p, p), axis=axis, keepdims=True)
    return reduce_rows(xp, loss, axis, reduction, weight)


def entropy(p: Any, axis: int = -1, reduction: str = "none") -> Any:
    """``H(p) = -Σ_x p(x) log p(x)`` of each distribution along `axis`, in nats; ``0 log 0`` is 0.

    Shannon 1948. As a bonus in a loss it keeps predictions from growing too sure.

    >>> import numpy as np
    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4) + 0.0
    array([0.6931, 0.    ])
    """
    check_reduction(reduction)
    (p,) = arrays(p)
    check_probabilities("entropy", p, "For scores apply softmax first", "p")
    return _entropy(p, axis=axis % len(p.shape), reduction=reduction)


TEXTS: dict[str, Formula[Any]] = {
    "distribution_cross_entropy": _cross,
    "kl_div": _kl_div,
    "kl_divergence": _kl_divergence,
}
