"""A loss for training: by name, as a function or module, with weights, and what it expects of
targets."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chainrule import ops
from chainrule.array.errors import ShapeError, nearest
from chainrule.autograd.tape import Variable
from chainrule.nn import loss as modules

__all__ = ["Loss", "get", "with_options"]


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
    #: options of the function it was made with; weights of classes are arrays
    options: tuple[tuple[str, Any], ...] = field(default=(), compare=False)

    def ready(self, model: Any) -> None:
        """Called before training: what steps must not do themselves."""

    def run(self, model: Any, x: Any) -> tuple[Any, Callable[[Any, Any, Any], Any], Any]:
        """What the loss takes of a model's pass over x, the loss, and the array the model gives."""
        output = model(x)
        return output, self.mean, getattr(output, "_data", output)

    def __str__(self) -> str:
        options = ", ".join(k if hasattr(v, "dtype") else f"{k}={v!r}" for k, v in self.options)
        return f"{self.name}({options})" if options else self.name


@dataclass(frozen=True)
class _Row:
    """What a function of `chainrule.ops` is as a loss for training."""

    targets: str = "values"
    low: float = float("-inf")
    high: float = float("inf")
    probabilities: bool = False
    #: its argument for weights per sample
    weight: str = "weight"
    #: what is fixed of it
    fixed: tuple[tuple[str, Any], ...] = ()


_CLASSES = _Row("classes", weight="sample_weight")
_BINARY = _Row(low=0.0, high=1.0, weight="sample_weight")

#: Every loss of an output and a target, by its name in `chainrule.ops`.
_LOSSES: dict[str, _Row] = {
    "binary_cross_entropy": _Row(low=0.0, high=1.0, probabilities=True, weight="sample_weight"),
    "binary_cross_entropy_with_logits": _BINARY,
    "categorical_cross_entropy": _CLASSES,
    "cross_entropy": _CLASSES,
    "focal_loss": _CLASSES,
    "gamma_loss": _Row(low=0.0),
    "half_squared_error": _Row(),
    "hinge_embedding_loss": _Row(),
    "hinge_loss": _Row(),
    "huber_loss": _Row(),
    "kl_div": _Row(low=0.0),
    "kl_divergence": _Row(low=0.0),
    "l1_loss": _Row(),
    "log_cosh_loss": _Row(),
    "mse_loss": _Row(),
    "multi_margin_loss": _CLASSES,
    "multilabel_soft_margin_loss": _BINARY,
    "nll_loss": _CLASSES,
    "poisson_nll_loss": _Row(low=0.0),
    "quantile_loss": _Row(),
    "sigmoid_focal_loss": _Row(low=0.0, high=1.0),
    "smooth_l1_loss": _Row(),
    "soft_margin_loss": _Row(),
    "tweedie_loss": _Row(low=0.0),
}
_ALIASES = {
    "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy_with_logits",
    "categorical": "categorical_cross_entropy",
    "ce": "cross_entropy",
    "focal": "focal_loss",
    "gamma": "gamma_loss",
    "half_mse": "half_squared_error",
    "hinge": "hinge_loss",
    "huber": "huber_loss",
    "kl": "kl_divergence",
    "l1": "l1_loss",
    "log_cosh": "log_cosh_loss",
    "mae": "l1_loss",
    "mse": "mse_loss",
    "nll": "nll_loss",
    "nll_of_probabilities": "categorical_cross_entropy",
    "pinball": "quantile_loss",
    "poisson": "poisson_nll_loss",
    "quantile": "quantile_loss",
    "sigmoid_focal": "sigmoid_focal_loss",
    "smooth_l1": "smooth_l1_loss",
    "soft_margin": "soft_margin_loss",
    "tweedie": "tweedie_loss",
}
#: Losses of `chainrule.ops` that a trainer cannot call: they take more than an output and a target.
_OF_MORE = frozenset(ops.loss.__all__) - _LOSSES.keys()


def get(loss: Any) -> Loss:
    """A loss from its name, a function of `chainrule.ops`, a module of `chainrule.nn`, or a
    callable.

    A module brings its options: ``nn.QuantileLoss(tau=0.9)``. A callable is ``f(output, target)``
    and returns the mean over the batch (one entry) or one value per sample ``(B,)``. To take
    weights it either returns one value per sample or has an argument ``sample_weight``.

    Raises:
        ValueError: for an unknown name, with the nearest.

    >>> import chainrule as cr
    >>> get("mse").name, get(cr.nn.HuberLoss(delta=2.0)).name
    ('mse_loss', 'huber_loss')
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        name = _ALIASES.get(loss, loss)
        if name in _OF_MORE:
            raise ValueError(f"{name} takes more than an output and a target; {_OWN}")
        if name not in _LOSSES:
            raise ValueError(f"unknown loss {loss!r}; {nearest(loss, [*_LOSSES, *_ALIASES])}")
        return with_options(name, ())
    if isinstance(loss, type) and issubclass(loss, modules.Loss):
        raise TypeError(f"write {loss.__name__}(), not the class {loss.__name__}")
    if isinstance(loss, modules.Loss) and loss.function in _LOSSES and loss.reduction == "mean":
        weights = [(k, w) for k, w in loss.named_buffers()]
        return with_options(loss.function, (*loss.options.items(), *weights))
    if callable(loss):
        name = getattr(loss, "__name__", "")
        if name in _LOSSES and loss is getattr(ops, name):
            return with_options(name, ())
        return _custom(loss)
    raise TypeError(
        f"loss must be a name, a function or a callable object, not {type(loss).__name__}"
    )


_OWN = "write a function of (output, target) that takes the output apart"


def with_options(name: str, options: tuple[tuple[str, Any], ...]) -> Loss:
    """A loss of `chainrule.ops` by its name, with values for its options."""
    if any(hasattr(v, "dtype") for _, v in options):
        return _made(name, options)
    return _known(name, options)


@functools.cache
def _known(name: str, options: tuple[tuple[str, Any], ...]) -> Loss:
    return _made(name, options)


def _made(name: str, options: tuple[tuple[str, Any], ...]) -> Loss:
    row = _LOSSES[name]
    function = getattr(ops, name)
    more = dict(options)

    def mean(output: Any, target: Any, weight: Any) -> Any:
        if weight is None:
            return function(output, target, **more)
        return function(output, target, **{row.weight: weight}, **more)

    if name == "kl_div":  # of each sample the divergence itself, not its Kth part
        mean = functools.partial(_kl_div, more)
    elif name == "kl_divergence":
        mean = functools.partial(_kl_divergence, more)
    return Loss(name, mean, row.targets, row.low, row.high, row.probabilities, options=options)


def _kl_div(more: dict[str, Any], output: Any, target: Any, weight: Any) -> Any:
    entries = math.prod(output.shape[1:])
    return ops.kl_div(output, target, weight=weight, **more) * float(entries)


def _kl_divergence(more: dict[str, Any], output: Any, target: Any, weight: Any) -> Any:
    if len(output.shape) < 2:
        raise ShapeError(
            f"kl_divergence needs a distribution per sample, but the model gives {output.shape}"
        )
    return ops.kl_divergence(target, output, axis=1, weight=weight, **more)


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
