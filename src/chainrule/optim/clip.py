"""Gradient clipping, in place, between ``backward()`` and ``step()``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.array.errors import NonFiniteError
from chainrule.autograd.tape import Variable

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
            p._grad = g = np.array(g._data)
        pieces[id(g)] = g
        if g is p._slot:
            vectors.setdefault(id(g.base), (g.base, []))[1].append(id(g))
    for vector, parts in vectors.values():
        if len(parts) > 1 and sum([pieces[k].size for k in parts]) == vector.size:
            for k in parts:
                del pieces[k]
            pieces[id(vector)] = vector
    return list(pieces.values())


def _norm(g: Array, order: float) -> float:
    flat = g.reshape(-1)
    if order == 2:
        norm = math.sqrt(float(np.dot(flat, flat)))
        if math.isfinite(norm) and norm > 1e-15:
            return norm
        # squares overflow or vanish long before the numbers do
        largest = float(np.max(np.abs(flat), initial=0.0))
        if not 0 < largest < math.inf:
            return largest
        scaled = flat.astype(np.float64) / largest
        return largest * math.sqrt(float(np.dot(scaled, scaled)))
    if order == math.inf:
        return float(np.max(np.abs(flat), initial=0.0))
    powers = float(np.sum(np.abs(flat).astype(np.float64) ** order))
    return math.pow(powers, 1 / order)


@np.errstate(all="ignore")
def clip_grad_norm(
    parameters: Iterable[Any] | Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
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
        The norm before clipping.

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
    norms = [_norm(g, order) for g in gradients]
    total = norms[0] if len(norms) == 1 else _norm(np.array(norms, np.float64), order)
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
        np.minimum(g, bound, out=g)
        np.maximum(g, -bound, out=g)
