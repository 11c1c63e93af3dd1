"""Losses of yes and no, one per output: a label, or several beside each other (ledger P-08)."""

from __future__ import annotations

from typing import Any

from chainrule.array.errors import ShapeError
from chainrule.autograd.tape import Variable
from chainrule.ops.formula import Formula, formula
from chainrule.ops.loss.reduction import (
    arrays,
    check_hard,
    check_probabilities,
    check_reduction,
    held_log,
    pointwise,
    reduce,
    reduce_rows,
    row_weight,
    same_shape,
)

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss",
    "sigmoid_focal_loss",
]  # fmt: skip


@formula
def _bce(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    scale: Any = None,
    reduction: str = "mean",
) -> Any:
    # log held at -100, so that a wrong certainty costs 100 rather than infinity; 0 log 0 is 0
    yes, no = held_log(xp, input), held_log(xp, 1.0 - input)
    return reduce(xp, _scaled(-(target * yes + (1.0 - target) * no), scale), reduction, weight)


def _scaled(loss: Any, scale: Any) -> Any:
    return loss if scale is None else loss * scale


def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """``-[y log p + (1 - y) log(1 - p)]`` of probabilities p in [0, 1]. Ledger L-07, L-08; errata
    E000-09, E000-10, E000-26.

    The mean is over the elements, not over "classes". The logarithm is held at -100 as in torch.
    Near 0 and 1 a probability has few digits, and its gradient ``(p - y) / (p (1 - p))`` is large;
    logits lose none: prefer `binary_cross_entropy_with_logits`. (`chainrule.Trainer` does so by
    itself for a model that ends in a sigmoid.)

    Arguments:
        input, target: probabilities and targets from 0 to 1, of one shape.
        weight: factors of the losses in a shape that broadcasts to theirs, as ``(K,)`` for K
            labels. The mean stays the plain one, ``Σ w l / n``, as in torch.
        reduction: as in `mse_loss`.
        sample_weight: per row or per element, with ``Σ w l / Σ w`` for the mean.

    Raises:
        DataError: for a probability outside [0, 1].
        ShapeError: if the shapes do not fit.

    >>> import numpy as np
    >>> round(float(binary_cross_entropy(np.array([0.9]), np.array([1.0]))), 4)
    0.1054
    """
    name = "binary_cross_entropy"
    (input,) = arrays(input)
    check_probabilities(name, input, "For raw scores use binary_cross_entropy_with_logits")
    more = {} if weight is None else {"scale": _scale(name, weight, input)}
    return pointwise(name, _bce, input, target, sample_weight, reduction, **more)


def _scale(name: str, weight: Any, input: Any, what: str = "weight") -> Any:
    """Factors of the losses, as torch takes them."""
    (weight,) = arrays(weight)
    if not isinstance(weight, Variable) and input.dtype.kind == "f":
        weight = weight.astype(input.dtype, copy=False)
    last = input.shape[len(input.shape) - len(weight.shape) :]
    fits = len(weight.shape) <= len(input.shape)
    if not fits or any(w not in (1, n) for w, n in zip(weight.shape, last, strict=True)):
        raise ShapeError(
            f"{name}: {what} has shape {tuple(weight.shape)}, which does not broadcast to "
            f"{tuple(input.shape)}; for one number per row use sample_weight"
        )
    return weight


@formula
def _bce_logits(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    scale: Any = None,
    pos_weight: Any = None,
    reduction: str = "mean",
) -> Any:
    loss = _entropy_of_logits(xp, input, target, pos_weight)
    return reduce(xp, _scaled(loss, scale), reduction, weight)


def _entropy_of_logits(xp: Any, input: Any, target: Any, pos_weight: Any = None) -> Any:
    # log(1 + e^-|x|); |x| by branches, so that both terms of the loss take the same one at 0
    soft = xp.log1p(xp.exp(xp.where(input <= 0.0, input, -input)))
    if pos_weight is None:
        return xp.where(input <= 0.0, 0.0, input) - input * target + soft
    wrong = soft + xp.where(input <= 0.0, -input, 0.0)
    return (1.0 - target) * input + (1.0 + (pos_weight - 1.0) * target) * wrong


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
    sample_weight: Any = None,
) -> Any:
    """``softplus(x) - x y`` = BCE of ``σ(x)``; gradient ``(σ(x) - y) / n``. Ledger P-04, P-08.

    Finite for every finite logit. `pos_weight` multiplies the loss of the positives (array, per
    output). Other arguments and errors as in `binary_cross_entropy`.

    >>> import numpy as np
    >>> float(binary_cross_entropy_with_logits(np.array([1e4]), np.array([0.0])))
    10000.0
    """
    name = "binary_cross_entropy_with_logits"
    (input,) = arrays(input)
    more: dict[str, Any] = {}
    if weight is not None:
        more["scale"] = _scale(name, weight, input)
    if pos_weight is not None:
        more["pos_weight"] = _scale(name, pos_weight, input, "pos_weight")
    return pointwise(name, _bce_logits, input, target, sample_weight, reduction, **more)


@formula
def _multilabel(
    xp: Any,
    input: Any,
    target: Any,
    class_weight: Any = None,
    weight: Any = None,
    reduction: str = "mean",
) -> Any:
    loss = _entropy_of_logits(xp, input, target)
    if class_weight is not None:
        loss = loss * class_weight
    return reduce_rows(xp, xp.mean(loss, axis=-1, keepdims=True), -1, reduction, weight)


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    sample_weight: Any = None,
) -> Any:
    """`binary_cross_entropy_with_logits` averaged over the labels of each sample.

    Arguments:
        input: logits ``(…, K)``.
        target: 0 to 1, of the same shape.
        weight: one number per label ``(K,)``; the means are plain ones of the weighted losses, as
            in torch.
        reduction: as in `mse_loss`, over the samples; ``"none"`` gives ``(…)``.
        sample_weight: one weight per sample, with ``Σ w l / Σ w`` for the mean.

    >>> import numpy as np
    >>> round(float(multilabel_soft_margin_loss(np.zeros((1, 3)), np.ones((1, 3)))), 4)
    0.6931
    """
    check_reduction(reduction)
    input, target = arrays(input, target)
    same_shape("multilabel_soft_margin_loss", input, target)
    more: dict[str, Any] = {"reduction": reduction}
    if weight is not None:
        more["class_weight"] = _scale("multilabel_soft_margin_loss", weight, input)
    if sample_weight is not None:
        more["weight"] = row_weight(sample_weight, input, len(input.shape) - 1, reduction)
    return _multilabel(input, target, **more)


def focused(xp: Any, z: Any, gamma: float) -> Any:
    """``(1 - p)^γ · -log p`` of ``p = σ(-z)``: in logarithms, so that no power meets 0."""
    soft = xp.log1p(xp.exp(xp.where(z <= 0.0, z, -z)))  # log(1 + e^-|z|)
    loss = soft + xp.where(z <= 0.0, 0.0, z)
    if gamma == 0:
        return loss
    return xp.exp(-gamma * (soft + xp.where(z <= 0.0, -z, 0.0))) * loss


@formula
def _sigmoid_focal(
    xp: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Any:
    loss = focused(xp, xp.where(target <= 0.0, input, -input), gamma)
    if alpha >= 0:
        loss = loss * (alpha * target + (1.0 - alpha) * (1.0 - target))
    return reduce(xp, loss, reduction, weight)


def sigmoid_focal_loss(
    input: Any,
    target: Any,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """``-α_t (1 - p_t)^γ log p_t`` of logits: what is right already counts little. Lin et al. 2017.

    p_t is the probability ``σ(x)`` given to the target, α_t is α for a target 1 and ``1 - α`` for
    0. At ``gamma=0`` it is the binary cross-entropy, weighted by α_t. Finite, with all its
    derivatives, for every finite logit. torchvision's name and values; its default reduction is
    ``"none"``. For classes that exclude each other: `focal_loss`.

    Arguments:
        input: logits.
        target: 0 or 1, of the same shape.
        alpha: weight of the positives between 0 and 1; None for no weights.
        gamma: 0 or more; the paper's 2.
        reduction, weight: as in `mse_loss`.

    Raises:
        DataError: for targets other than 0 and 1.

    >>> import numpy as np
    >>> float(sigmoid_focal_loss(np.array([-1e4]), np.array([1.0]), alpha=None))
    10000.0
    """
    alpha = -1.0 if alpha is None else float(alpha)
    if not (alpha == -1 or 0 <= alpha <= 1):
        raise ValueError(f"sigmoid_focal_loss: alpha must be None or from 0 to 1, got {alpha}")
    if not gamma >= 0:
        raise ValueError(f"sigmoid_focal_loss: gamma must be 0 or more, got {gamma}")
    (target,) = arrays(target)
    check_hard("sigmoid_focal_loss", target)
    more = {"alpha": alpha, "gamma": float(gamma)}
    return pointwise("sigmoid_focal_loss", _sigmoid_focal, input, target, weight, reduction, **more)


TEXTS: dict[str, Formula[Any]] = {
    "binary_cross_entropy": _bce,
    "binary_cross_entropy_with_logits": _bce_logits,
    "multilabel_soft_margin_loss": _multilabel,
    "sigmoid_focal_loss": _sigmoid_focal,
}
