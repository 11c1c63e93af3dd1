"""One gradient per sample, for gradient noise, influence of samples and private training."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import ops
from chainrule.array.dtypes import Array
from chainrule.array.errors import ShapeError, nearest
from chainrule.autograd.context import enable_grad
from chainrule.autograd.tape import Variable, backward
from chainrule.nn.loss import Loss
from chainrule.nn.module import Module
from chainrule.ops import loss as losses

__all__ = ["per_sample_gradients"]


def per_sample_gradients(
    model: Module, loss: str | Callable[..., Any], x: Any, y: Any
) -> dict[str, Array]:
    """The gradient of every sample's own loss by every parameter: ``∂l_n / ∂θ``.

    One forward and one backward pass over the whole batch: a layer's rule gives the outer products
    ``δ_n x_nᵀ`` for all samples n at once instead of their sum ``δᵀ x`` (ledger B-03). What is
    computed from parameters alone before they meet the samples, such as ``w.T``, may be anything.
    As ``torch.func.vmap(torch.func.grad(loss), (None, 0, 0))``.

    Arguments:
        model: a module; its mode (training or evaluation) is left as it is. Samples must not
            meet in it: batch normalization in training mode has no gradient of one sample.
        loss: a name of `chainrule.ops` (``"cross_entropy"``, ``"mse_loss"`` or ``"mse"``), a module
            such as ``nn.CrossEntropyLoss(weight=w)``, or a function of ``(output, y)``. Modules and
            functions that take `reduction` are summed, whatever they would do by themselves; any
            other function returns the losses with samples on the first axis, or their sum. So the
            gradients of the samples are never divided by their number: their sum over the first
            axis is the gradient of the summed loss, their mean that of the mean loss. Weights of
            classes or samples multiply the gradients of their samples.
        x: inputs, samples on the first axis.
        y: targets, as the loss takes them.

    Returns:
        For the name of each parameter that requires grad an array of shape ``(samples,
        *parameter.shape)`` in the parameter's type; zeros where the loss does not depend on it. A
        tied parameter is there once, with the sum over its uses. ``.grad`` is not touched.

    Raises:
        ShapeError: if the loss is neither per sample nor one number.
        ValueError: for a name that is no loss; the message has the nearest.
        TypeError: for a loss that gives no tensor, or a class instead of a module.
        NotImplementedError: where samples meet each other on the way from a parameter to the loss,
            or an operation has no such rule; names it.

    >>> import chainrule as cr
    >>> model = cr.nn.Dense(2, 1, bias=False)
    >>> x, y = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32), np.zeros((2, 1), np.float32)
    >>> per_sample_gradients(model, "mse", x, y)["weight"].shape
    (2, 1, 2)
    """
    function = _resolve(loss)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with enable_grad():
        output = model(x)
        total = function(output, y)
    if not isinstance(total, Variable):
        raise TypeError(
            f"per_sample_gradients: the loss returned {type(total).__name__}, not a tensor"
        )
    samples = len(output)
    shape = total._data.shape
    if total._data.size != 1 and shape[:1] != (samples,):
        raise ShapeError(
            f"per_sample_gradients: a loss of shape {shape} for {samples} samples; return one loss "
            "per sample (samples on the first axis) or their sum"
        )
    start = np.ones(shape, total._data.dtype)
    pulled = backward([total], [start], list(named.values()), per_sample=samples)
    return {
        name: np.zeros((samples, *p.shape), p.dtype) if g is None else np.array(g)
        for (name, p), g in zip(named.items(), pulled, strict=True)
    }


#: Divergences from the distribution that is the target, which these name first.
_TARGET_FIRST = (ops.kl_divergence, ops.distribution_cross_entropy)


def _resolve(loss: str | Callable[..., Any]) -> Callable[[Any, Any], Any]:
    if isinstance(loss, str):
        name = loss if loss in losses.__all__ else f"{loss}_loss"
        if name not in losses.__all__:
            raise ValueError(f"unknown loss {loss!r}; {nearest(loss, losses.__all__)}")
        loss = getattr(losses, name)
    if loss in _TARGET_FIRST:  # p is the target, q what the model gives
        return lambda output, y: loss(y, output, reduction="sum")
    if isinstance(loss, type) and issubclass(loss, Loss):
        raise TypeError(f"per_sample_gradients: write {loss.__name__}(), not the class")
    if isinstance(loss, Loss):
        weights = dict(loss.named_buffers())
        of_module = functools.partial(getattr(ops, loss.function), **loss.options, **weights)
        return lambda output, y: of_module(output, y, reduction="sum")
    function: Callable[..., Any] = loss  # type: ignore[assignment]
    try:
        takes_reduction = "reduction" in inspect.signature(function).parameters
    except ValueError:  # a function written in C
        takes_reduction = False
    if takes_reduction:
        return lambda output, y: function(output, y, reduction="sum")
    return function
