"""Gradient clipping, in place, between ``backward()`` and ``step()``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray, copied
from chainrule.array.dtypes import Array
from chainrule.array.errors import NonFiniteError
from chainrule.autograd.context import state
from chainrule.autograd.tape import Variable
from chainrule.compile.kernel import Kernel
from chainrule.compile.symbolic import capture_error
from chainrule.compile.trace import trace

__all__ = ["clip_grad_norm", "clip_grad_value"]


def _gradients(parameters: Any) -> list[Array]:
    """All gradients, few and large where possible: an optimizer's vector as one piece.

    A gradient recorded with ``create_graph`` leaves the tape, whose values never change.
    """
    pieces: dict[int, Array] = {}
    vectors: dict[int, tuple[Array, list[int]]] = {}
    for p in [parameters] if isinstance(parameters, Variable) else parameters:
        g = p._grad
        if g is None or id(g) in pieces:
            continue
        if isinstance(g, Variable):
            p._grad = g = copied(g._data)
        pieces[id(g)] = g
        if g is p._slot and not isinstance(g, AbstractArray):
            vectors.setdefault(id(g.base), (g.base, []))[1].append(id(g))
    for vector, parts in vectors.values():
        if len(parts) > 1 and sum([pieces[k].size for k in parts]) == vector.size:
            for k in parts:
                del pieces[k]
            pieces[id(vector)] = vector
    return list(pieces.values())


def _largest(xp: Any, g: Any) -> Any:
    """The largest magnitude."""
    return xp.max(xp.abs(g))


def _squares(xp: Any, g: Any, top: Any) -> Any:
    """Σ (g/top)², which neither overflows nor vanishes."""
    ratio = g / top
    return xp.sum(ratio * ratio)


def _unit(xp: Any, top: Any) -> Any:
    """What to divide by before squaring: the largest magnitude, or 1 where it is 0, inf or NaN."""
    return xp.where((top > 0.0) & xp.isfinite(top), top, 1.0)


def _factor(xp: Any, top: Any, unit: Any, squares: Any, bound: Any) -> Any:
    """The norm, and what to multiply by: min(1, bound / (norm + 1e-6))."""
    norm = xp.where(xp.isfinite(top), unit * xp.sqrt(squares), top)
    factor = bound / (norm + 1e-6)
    return norm, xp.where(factor >= 1.0, 1.0, factor)


def _scale(xp: Any, g: Any, factor: Any) -> Any:
    return g * factor


def _hold(xp: Any, g: Any, bound: Any) -> Any:
    return xp.maximum(xp.minimum(g, bound), -bound)


_LARGEST = Kernel(trace(_largest, ["g"], "largest"))
_LARGER = Kernel(trace(lambda xp, a, b: xp.maximum(a, b), ["a", "b"], "larger"))
_SQUARES = Kernel(trace(_squares, ["g", "top"], "squares"))
_ADD = Kernel(trace(lambda xp, a, b: a + b, ["a", "b"], "add"))
_UNIT = Kernel(trace(_unit, ["top"], "unit"))
_FACTOR = Kernel(trace(_factor, ["top", "unit", "squares", "bound"], "clip_factor"))
_SCALE = Kernel(trace(_scale, ["g", "factor"], "clip_norm"), into={0: 0})
_HOLD = Kernel(trace(_hold, ["g", "bound"], "clip_value"), into={0: 0})


def _run(kernel: Kernel, *arrays: Any) -> tuple[Any, ...]:
    """A kernel on gradients; of a captured step it is noted."""
    if state.recorder is not None:
        return state.recorder.kernel(kernel, arrays)  # type: ignore[no-any-return]
    return kernel(*arrays)


def _joined(first: Kernel, join: Kernel, gradients: list[Any], *more: Any) -> Any:
    """`first` of every gradient, joined two by two."""
    total = None
    for g in gradients:
        (value,) = _run(first, g, *more)
        total = value if total is None else _run(join, total, value)[0]
    return total


def _scaled(gradients: list[Any], max_norm: float) -> Any:
    """Scale gradients of one type to the norm; gives the norm of before."""
    bound = np.asarray(max_norm, gradients[0].dtype)
    top = _joined(_LARGEST, _LARGER, gradients)
    (unit,) = _run(_UNIT, top)
    squares = _joined(_SQUARES, _ADD, gradients, unit)
    norm, factor = _run(_FACTOR, top, unit, squares, bound)
    for g in gradients:
        _run(_SCALE, g, factor)
    return norm


def _other_norm(gradients: list[Array], order: float) -> float:
    if order == math.inf:
        return float(np.max([np.max(np.abs(g), initial=0.0) for g in gradients]))
    powers = sum(float(np.sum(np.abs(g).astype(np.float64) ** order)) for g in gradients)
    return math.pow(powers, 1 / order)


@np.errstate(all="ignore")
def clip_grad_norm(
    parameters: Iterable[Any] | Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Any:
    r"""Scale all gradients together so that their norm is at most `max_norm`.

    With n the norm of all gradients as one vector, each is multiplied by
    :math:`\min(1, \text{max\_norm} / (n + 10^{-6}))`, as PyTorch does.

    Arguments:
        parameters: parameters, or one parameter; those without a gradient do not count.
        max_norm: the bound, 0 or more.
        norm_type: the order p of the norm, above 0; ``float("inf")`` is the largest entry.
        error_if_nonfinite: raise instead of scaling by a norm that is infinite or NaN. Without it
            an infinite norm gives gradients of zero, and NaN where they were infinite; NaN makes
            all NaN.

    Returns:
        The norm before clipping, a float; while a step is captured a tensor.

    Raises:
        NonFiniteError: if asked for, and the norm is infinite or NaN.
        ValueError: for `max_norm` below 0 or `norm_type` not above 0.

    Reference: Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural
    networks", 2013.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([3.0, 4.0])
    >>> (w * w).sum().backward()
    >>> cr.optim.clip_grad_norm([w], max_norm=1.0)
    10.0
    >>> w.grad.numpy().round(4)
    array([0.6, 0.8], dtype=float32)
    """
    order, max_norm = float(norm_type), float(max_norm)
    if not order > 0:
        raise ValueError(f"norm_type must be above 0, got {norm_type}")
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be 0 or more, got {max_norm}")
    gradients = _gradients(parameters)
    if not gradients:
        return 0.0
    if state.recorder is not None and (order != 2 or error_if_nonfinite):
        raise capture_error("clip_grad_norm looks at the norm, in Python")
    if order == 2 and len({g.dtype for g in gradients}) == 1 and not error_if_nonfinite:
        norm = _scaled(gradients, max_norm)
        return Variable._wrap(norm) if state.recorder is not None else float(norm)
    total = _euclidean(gradients) if order == 2 else _other_norm(gradients, order)
    if error_if_nonfinite and not math.isfinite(total):
        raise NonFiniteError(
            f"the norm of the gradients is {total}, so they cannot be clipped: a gradient "
            "is infinite or NaN. Look for the first layer where it is"
        )
    scale = max_norm / (total + 1e-6)
    if not scale >= 1:  # NaN too: it must show in every gradient
        for g in gradients:
            np.multiply(g, scale, out=g)
    return total


def _euclidean(gradients: list[Array]) -> float:
    """The norm of gradients of several types, in double precision."""
    top = float(np.max([np.max(np.abs(g), initial=0.0) for g in gradients]))
    if not 0 < top < math.inf:
        return top
    return top * math.sqrt(sum(float(np.sum((g.astype(np.float64) / top) ** 2)) for g in gradients))


def clip_grad_value(parameters: Iterable[Any] | Any, clip_value: float) -> None:
    """Limit every entry of every gradient to [-clip_value, clip_value]. NaN stays NaN.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([0.5, -4.0])
    >>> (w * w).sum().backward()
    >>> cr.optim.clip_grad_value([w], 2.0)
    >>> w.grad
    tensor([ 1., -2.])
    """
    bound = float(clip_value)
    if not bound >= 0:
        raise ValueError(f"clip_value must be 0 or more, got {clip_value}")
    for g in _gradients(parameters):
        _run(_HOLD, g, np.asarray(bound, g.dtype))
