"""A loss for training: by name, as a function, with weights, and what it expects of targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chainrule.array.errors import ShapeError, nearest
from chainrule.autograd.tape import Variable
from chainrule.ops import loss as losses

__all__ = ["Loss", "get"]


@dataclass(frozen=True)
class Loss:
    """A weighted mean over a batch, and the kind of targets it takes.

    ``mean(output, target, weight)`` is ``Σ w l / Σ w`` over the samples of the batch, a tensor of
    one entry.
    """

    name: str
    mean: Callable[[Any, Any, Any], Any]
    #: "classes": indices or probabilities per class; "values": as the output; "any": not checked
    targets: str
    #: the range targets must lie in
    low: float = float("-inf")
    high: float = float("inf")
    #: whether a binary output is a probability rather than a logit
    probabilities: bool = False
    #: the function of a person's own that it calls
    source: Callable[..., Any] | None = None


def _elementwise(name: str, function: Callable[..., Any], **more: Any) -> Loss:
    def mean(output: Any, target: Any, weight: Any) -> Any:
        return (
            function(output, target)
            if weight is None
            else function(output, target, weight=_rows(weight, output))
        )

    return Loss(name, mean, "values", **more)


def _rows(weight: Any, output: Any) -> Any:
    return weight.reshape(-1, *(1,) * (len(output.shape) - 1))


def _cross_entropy(output: Any, target: Any, weight: Any) -> Any:
    return losses.cross_entropy(output, target, sample_weight=weight)


def _nll(output: Any, target: Any, weight: Any) -> Any:
    if weight is None:
        return losses.nll_loss(output, target)
    rows = losses.nll_loss(output, target, reduction="none")
    return (rows * weight).sum() / float(weight.sum())


_LOSSES = {
    "cross_entropy": Loss("cross_entropy", _cross_entropy, "classes"),
    "nll_loss": Loss("nll_loss", _nll, "classes"),
    "mse_loss": _elementwise("mse_loss", losses.mse_loss),
    "l1_loss": _elementwise("l1_loss", losses.l1_loss),
    "huber_loss": _elementwise("huber_loss", losses.huber_loss),
    "binary_cross_entropy": _elementwise(
        "binary_cross_entropy", losses.binary_cross_entropy, low=0.0, high=1.0, probabilities=True
    ),
    "binary_cross_entropy_with_logits": _elementwise(
        "binary_cross_entropy_with_logits",
        losses.binary_cross_entropy_with_logits,
        low=0.0,
        high=1.0,
    ),
}
_ALIASES = {
    "mse": "mse_loss",
    "mae": "l1_loss",
    "l1": "l1_loss",
    "huber": "huber_loss",
    "nll": "nll_loss",
    "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy_with_logits",
}
_FUNCTIONS = {getattr(losses, name): name for name in _LOSSES}


def get(loss: Any) -> Loss:
    """A loss from its name, a function of `chainrule.ops`, or a callable.

    A callable is ``f(output, target)`` and returns the mean over the batch (one entry) or one value
    per sample ``(B,)``. To take weights it either returns one value per sample or has an argument
    ``sample_weight``.

    Raises:
        ValueError: for an unknown name, with the nearest.

    >>> get("mse").name
    'mse_loss'
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        name = _ALIASES.get(loss, loss)
        if name not in _LOSSES:
            raise ValueError(f"unknown loss {loss!r}; {nearest(loss, [*_LOSSES, *_ALIASES])}")
        return _LOSSES[name]
    if callable(loss):
        if inspect.isfunction(loss) and loss in _FUNCTIONS:
            return _LOSSES[_FUNCTIONS[loss]]
        return _custom(loss)
    raise TypeError(
        f"loss must be a name, a function or a callable object, not {type(loss).__name__}"
    )


def _custom(function: Callable[..., Any]) -> Loss:
    name = getattr(function, "__name__", type(function).__name__)
    try:
        takes_weight = "sample_weight" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        takes_weight = False

    def mean(output: Any, target: Any, weight: Any) -> Any:
        more = {"sample_weight": weight} if weight is not None and takes_weight else {}
        value: Any = function(output, target, **more)
        if not isinstance(value, Variable):
            raise TypeError(
                f"loss {name} returned {type(value).__name__}, not a tensor; compute with "
                "chainrule.ops and tensor operators, so that it has a gradient"
            )
        per_sample: Any = value
        shape = per_sample.shape
        if per_sample.size == 1:
            if weight is not None and not takes_weight and len(output) != 1:
                raise ValueError(
                    f"loss {name} returns one number per batch, so sample_weight and class_weight "
                    "cannot reach it: return one value per sample, or take an argument "
                    "sample_weight"
                )
            return per_sample.reshape(()) if shape else per_sample
        if shape != output.shape[:1]:
            raise ShapeError(
                f"loss {name} returned shape {shape}; expected one number, or one value per "
                f"sample, {tuple(output.shape[:1])}; end it with .mean(), or with .mean(axis=1)"
            )
        if weight is None:
            return per_sample.mean()
        return (per_sample * weight).sum() / float(weight.sum())

    return Loss(name, mean, "any", source=function)
