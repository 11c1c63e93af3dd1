"""Losses that ask for a margin: scores are right when they are far enough on the right side.

Their labels are -1 and 1 (erratum E004-06): with 0 in place of -1 every loss of a 0 would be
constant, so such labels raise an error.
"""

from __future__ import annotations

from typing import Any

from chainrule.ops.formula import Formula, formula
from chainrule.ops.loss.labels import class_weight, indices, picked, rows_as_columns
from chainrule.ops.loss.reduction import (
    arrays,
    check_reduction,
    check_signs,
    element_weight,
    pointwise,
    reduce,
    reduce_rows,
    row_weight,
    same_shape,
)

__all__ = [
    "hinge_embedding_loss", "hinge_loss", "margin_ranking_loss", "multi_margin_loss",
    "soft_margin_loss",
]  # fmt: skip


def above(xp: Any, x: Any) -> Any:
    """``max(0, x)`` with slope 1 at 0, as torch clamps."""
    return xp.where(x < 0.0, 0.0, x)


@formula
def _hinge(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    squared: bool = False,
) -> Any:
    lack = 1.0 - target * input
    lack = xp.where(lack <= 0.0, 0.0, lack)
    return reduce(xp, lack * lack if squared else lack, reduction, weight)


def hinge_loss(
    input: Any, target: Any, reduction: str = "mean", squared: bool = False, weight: Any = None
) -> Any:
    """``max(0, 1 - y ŷ)`` of a raw score ŷ and a label y of -1 or 1. Ledger L-18; erratum E004-06;
    Cortes & Vapnik 1995.

    The gradient in ŷ is ``-y`` where ``y ŷ < 1``, else 0. The note adds up over the samples:
    ``reduction="sum"``.

    Arguments:
        input: raw scores, not probabilities.
        target: -1 or 1, of the same shape; for labels 0 and 1 write ``2 * y - 1``.
        squared: ``max(0, 1 - y ŷ)²``, which is smooth.
        reduction, weight: as in `mse_loss`.

    Raises:
        DataError: for other labels, and how to convert them.
        ShapeError: if the shapes differ.

    >>> import numpy as np
    >>> hinge_loss(np.array([2.0, 0.5, 0.5]), np.array([1.0, 1.0, -1.0]), reduction="none")
    array([0. , 0.5, 1.5])
    """
    (target,) = arrays(target)
    check_signs("hinge_loss", target)
    return pointwise("hinge_loss", _hinge, input, target, weight, reduction, squared=bool(squared))


@formula
def _soft_margin(
    xp: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    z = target * input
    soft = xp.log1p(xp.exp(xp.where(z <= 0.0, z, -z)))
    return reduce(xp, soft + xp.where(z <= 0.0, -z, 0.0), reduction, weight)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """``log(1 + e^{-y ŷ})``: the logistic loss with labels y of -1 and 1.

    Equal to `binary_cross_entropy_with_logits` with labels ``(y + 1) / 2``; finite for every finite
    score, where torch's overflows. Arguments and errors as in `hinge_loss`.

    >>> import numpy as np
    >>> float(soft_margin_loss(np.array([-1e4]), np.array([1.0])))
    10000.0
    """
    (target,) = arrays(target)
    check_signs("soft_margin_loss", target)
    return pointwise("soft_margin_loss", _soft_margin, input, target, weight, reduction)


@formula
def _hinge_embedding(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    margin: float = 1.0,
) -> Any:
    loss = xp.where(target > 0.0, input, above(xp, margin - input))
    return reduce(xp, loss, reduction, weight)


def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, reduction: str = "mean", weight: Any = None
) -> Any:
    """Of distances x: ``x`` for a pair that belongs together (y = 1), ``max(0, margin - x)`` for
    one that does not (y = -1). Hadsell et al. 2006.

    Arguments and errors as in `hinge_loss`; values as torch's.

    >>> import numpy as np
    >>> x = np.array([0.5, 0.25, 2.0])
    >>> hinge_embedding_loss(x, np.array([1.0, -1.0, -1.0]), reduction="none")
    array([0.5 , 0.75, 0.  ])
    """
    (target,) = arrays(target)
    check_signs("hinge_embedding_loss", target)
    name = "hinge_embedding_loss"
    return pointwise(name, _hinge_embedding, input, target, weight, reduction, margin=float(margin))


@formula
def _ranking(
    xp: Any,
    input1: Any,
    input2: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    margin: float = 0.0,
) -> Any:
    return reduce(xp, above(xp, margin - target * (input1 - input2)), reduction, weight)


def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """``max(0, margin - y (x1 - x2))``: y = 1 where x1 shall rank above x2, -1 where below.

    Arguments:
        input1, input2, target: of one shape.
        margin: by how much one shall be above the other.
        reduction, weight: as in `mse_loss`.

    Raises:
        DataError, ShapeError: as in `hinge_loss`.

    >>> import numpy as np
    >>> float(margin_ranking_loss(np.array([1.0]), np.array([3.0]), np.array([1.0])))
    2.0
    """
    name = "margin_ranking_loss"
    check_reduction(reduction)
    input1, input2, target = arrays(input1, input2, target)
    same_shape(name, input1, input2, ("input1", "input2"))
    same_shape(name, input1, target, ("input1", "target"))
    check_signs(name, target)
    more = {} if weight is None else {"weight": element_weight(name, weight, input1)}
    return _ranking(input1, input2, target, reduction=reduction, margin=float(margin), **more)


@formula
def _multi_margin(
    xp: Any,
    input: Any,
    labels: Any,
    class_weight: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    p: int = 1,
    margin: float = 1.0,
) -> Any:
    hit = xp.one_hot(labels, input, axis=-1)
    own = xp.sum(xp.where(hit, input, 0.0), axis=-1, keepdims=True)
    lack = margin - own + input
    lack = xp.where(xp.logical_or(hit, lack <= 0.0), 0.0, lack)
    loss = xp.sum(lack * lack if p == 2 else lack, axis=-1, keepdims=True) / input.shape[-1]
    if class_weight is not None:
        loss = loss * class_weight
    return reduce_rows(xp, loss, -1, reduction, weight)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """``(1/K) Σ_{k≠t} max(0, margin - x_t + x_k)^p``: the hinge for one class out of K.

    Crammer & Singer 2001 in torch's form.

    Arguments:
        input: scores ``(…, K)``.
        target: class indices ``(…)``.
        p: 1, or 2 for squares.
        margin: how far the right score shall be above every other.
        weight: one per class ``(K,)``; the mean is a plain one of the weighted losses, as in torch.
        reduction: as in `cross_entropy`.
        sample_weight: one per sample, with ``Σ w l / Σ w`` for the mean.

    Raises:
        DataError, ShapeError: as in `cross_entropy`.

    >>> import numpy as np
    >>> float(multi_margin_loss(np.array([[0.5, 0.0]]), np.array([0])))
    0.25
    """
    name = "multi_margin_loss"
    check_reduction(reduction)
    if p not in (1, 2):
        raise ValueError(f"{name}: p must be 1 or 2, got {p}")
    input, target = arrays(input, target)
    axis = max(len(input.shape) - 1, 0)
    labels, _ = indices(name, target, input, axis, -100)
    more: dict[str, Any] = {"p": int(p), "margin": float(margin), "reduction": reduction}
    if weight is not None:
        per_label = picked(class_weight(name, weight, input, axis), labels)
        more["class_weight"] = rows_as_columns(per_label, axis)
    if sample_weight is not None:
        more["weight"] = row_weight(sample_weight, input, axis, reduction)
    return _multi_margin(input, rows_as_columns(labels, axis), **more)


TEXTS: dict[str, Formula[Any]] = {
    "hinge_embedding_loss": _hinge_embedding,
    "hinge_loss": _hinge,
    "margin_ranking_loss": _ranking,
    "multi_margin_loss": _multi_margin,
    "soft_margin_loss": _soft_margin,
}
