"""Functions of all entries along an axis: softmax and its kin."""

from __future__ import annotations

from typing import Any

from chainrule.ops.formula import FORMULAS, formula
from chainrule.ops.reduction import peak

__all__ = ["log_softmax", "softmax", "softmin"]


@formula
def softmax(xp: Any, x: Any, axis: int = -1) -> Any:
    """``e^{x_i} / Σ_j e^{x_j}`` along `axis`, shifted by the maximum. Ledger A-15 to A-18; Bridle
    1990.

    Its vjp is ``y ⊙ (g - Σ g y)``: the Jacobian ``diag(y) - y yᵀ`` is never formed.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    e = xp.exp(x - xp.stop_gradient(xp.max(x, axis=axis, keepdims=True)))
    return e / xp.sum(e, axis=axis, keepdims=True)


@softmax.override(saves="y")
def _softmax_vjp(xp: Any, inputs: Any, y: Any, g: Any, axis: int) -> Any:
    return y * (g - xp.sum(g * y, axis=axis, keepdims=True))


@formula
def softmin(xp: Any, x: Any, axis: int = -1) -> Any:
    """``e^{-x_i} / Σ_j e^{-x_j}`` along `axis`: `softmax` of ``-x``, largest where x is smallest.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.softmin(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    return softmax(-x, axis=axis)


@formula
def log_softmax(xp: Any, x: Any, axis: int = -1) -> Any:
    """``x - log Σ_j e^{x_j}`` along `axis`: finite for every finite x, where ``log(softmax(x))`` is
    not.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.log_softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[-6.93147181e-01, -6.93147181e-01],
           [ 0.00000000e+00, -1.00000000e+03]])
    """
    shifted = x - peak(xp, x, axis)  # first, so that a common offset costs no digits
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


@log_softmax.override(saves="y")
def _log_softmax_vjp(xp: Any, inputs: Any, y: Any, g: Any, axis: int) -> Any:
    return g - xp.exp(y) * xp.sum(g, axis=axis, keepdims=True)


FORMULAS.update((f.name, f) for f in (log_softmax, softmax, softmin))
