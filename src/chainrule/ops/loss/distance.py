"""How far vectors are from each other, and losses of that."""

from __future__ import annotations

from typing import Any

from chainrule.array.errors import ShapeError
from chainrule.ops.formula import Formula, formula
from chainrule.ops.loss.margin import above
from chainrule.ops.loss.reduction import (
    arrays,
    check_reduction,
    check_signs,
    reduce_rows,
    row_weight,
    same_shape,
)
from chainrule.ops.reduction import norm

__all__ = ["cosine_embedding_loss", "triplet_margin_loss"]


@formula
def _cosine(xp: Any, x1: Any, x2: Any, axis: int = 1, eps: float = 1e-8) -> Any:
    lengths = [xp.maximum(norm(x, axis=axis, keepdims=True), eps) for x in (x1, x2)]
    inner = xp.sum(x1 * x2, axis=axis, keepdims=True)
    return xp.squeeze(inner / (lengths[0] * lengths[1]), axis=axis)


def cosine_similarity(x1: Any, x2: Any, axis: int = 1, eps: float = 1e-8) -> Any:
    """``x1 · x2 / (max(‖x1‖, ε) max(‖x2‖, ε))`` along `axis`: the cosine of their angle.

    Arguments:
        x1, x2: of one shape; the result has it without `axis`.
        axis: of the vectors' entries (torch: 1).
        eps: lengths are held at this from below, so that a zero vector gives 0.

    >>> import numpy as np
    >>> cosine_similarity(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])).round(4)
    array([0.7071])
    """
    x1, x2 = arrays(x1, x2)
    same_shape("cosine_similarity", x1, x2, ("x1", "x2"))
    if not -len(x1.shape) <= axis < len(x1.shape):
        raise ShapeError(
            f"cosine_similarity: shape {tuple(x1.shape)} has no axis {axis}; for single vectors "
            "pass axis=0"
        )
    return _cosine(x1, x2, axis=axis, eps=float(eps))


@formula
def _distance(
    xp: Any, x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False
) -> Any:
    return norm(x1 - x2 + eps, ord=p, axis=-1, keepdims=keepdims)


def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False
) -> Any:
    """``‖x1 - x2 + ε‖_p`` along the last axis, pair by pair.

    ε, added to every difference as in torch, keeps the slope at ``x1 = x2`` finite.

    >>> import numpy as np
    >>> pairwise_distance(np.array([[3.0, 4.0]]), np.zeros((1, 2))).round(4)
    array([5.])
    """
    x1, x2 = arrays(x1, x2)
    same_shape("pairwise_distance", x1, x2, ("x1", "x2"))
    return _distance(x1, x2, p=float(p), eps=float(eps), keepdims=bool(keepdims))


@formula
def _cosine_embedding(
    xp: Any,
    input1: Any,
    input2: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    margin: float = 0.0,
) -> Any:
    eps = 1e-12  # torch's, on the squares of the lengths
    inner, first, second = [
        xp.sum(a * b, axis=-1, keepdims=True)
        for a, b in ((input1, input2), (input1, input1), (input2, input2))
    ]
    cosine = inner / xp.sqrt((first + eps) * (second + eps))
    loss = xp.where(target > 0.0, 1.0 - cosine, above(xp, cosine - margin))
    return reduce_rows(xp, loss, -1, reduction, weight)


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """``1 - cos`` for a pair that belongs together (y = 1), ``max(0, cos - margin)`` for one that
    does not (y = -1).

    Arguments:
        input1, input2: vectors ``(N, D)``, or ``(D,)``.
        target: -1 or 1, ``(N,)``, or one number.
        margin: from -1 to 1; how like each other strangers may be.
        reduction: over the pairs, as in `mse_loss`.
        weight: one per pair.

    Raises:
        DataError: for other labels.
        ShapeError: if the shapes do not fit.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [1.0, 0.0]])
    >>> cosine_embedding_loss(x, x, np.array([1.0, -1.0]), reduction="none").round(4)
    array([0., 1.])
    """
    name = "cosine_embedding_loss"
    check_reduction(reduction)
    input1, input2, target = arrays(input1, input2, target)
    same_shape(name, input1, input2, ("input1", "input2"))
    if not len(input1.shape) or target.shape != input1.shape[:-1]:
        raise ShapeError(
            f"{name}: vectors of shape {tuple(input1.shape)} need a target of shape "
            f"{tuple(input1.shape[:-1])}, got {tuple(target.shape)}"
        )
    check_signs(name, target)
    more: dict[str, Any] = {"reduction": reduction, "margin": float(margin)}
    if weight is not None:
        more["weight"] = row_weight(weight, input1, len(input1.shape) - 1, reduction, "weight")
    return _cosine_embedding(input1, input2, target.reshape(*target.shape, 1), **more)


@formula
def _triplet(
    xp: Any,
    anchor: Any,
    positive: Any,
    negative: Any,
    weight: Any = None,
    reduction: str = "mean",
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
) -> Any:
    near = _distance(anchor, positive, p=p, eps=eps, keepdims=True)
    far = _distance(anchor, negative, p=p, eps=eps, keepdims=True)
    if swap:
        far = xp.minimum(far, _distance(positive, negative, p=p, eps=eps, keepdims=True))
    return reduce_rows(xp, above(xp, margin + near - far), -1, reduction, weight)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """``max(0, d(a, p) - d(a, n) + margin)`` with `pairwise_distance` d: what belongs together
    shall be nearer than what does not. Balntas et al. 2016; Schroff et al. 2015.

    Arguments:
        anchor, positive, negative: vectors ``(…, D)`` of one shape.
        margin: by how much nearer; above 0.
        p, eps: of the distance.
        swap: take ``d(p, n)`` where it is less than ``d(a, n)``.
        reduction: over the triplets, as in `mse_loss`.
        weight: one per triplet.

    Raises:
        ShapeError: if the shapes differ.

    >>> import numpy as np
    >>> a, p, n = np.zeros((1, 2)), np.array([[3.0, 4.0]]), np.array([[0.0, 2.0]])
    >>> round(float(triplet_margin_loss(a, p, n)), 4)
    4.0
    """
    name = "triplet_margin_loss"
    check_reduction(reduction)
    if not margin > 0:
        raise ValueError(f"{name}: margin must be positive, got {margin}")
    anchor, positive, negative = arrays(anchor, positive, negative)
    same_shape(name, anchor, positive, ("anchor", "positive"))
    same_shape(name, anchor, negative, ("anchor", "negative"))
    more: dict[str, Any] = {"margin": float(margin), "p": float(p), "eps": float(eps)}
    if weight is not None:
        more["weight"] = row_weight(weight, anchor, len(anchor.shape) - 1, reduction, "weight")
    return _triplet(anchor, positive, negative, reduction=reduction, swap=bool(swap), **more)


TEXTS: dict[str, Formula[Any]] = {
    "cosine_embedding_loss": _cosine_embedding,
    "triplet_margin_loss": _triplet,
}
