"""Functions of all entries along an axis: softmax and its kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.ops.elementwise import expand_dims
from chainrule.ops.formula import FORMULAS, formula
from chainrule.ops.reduction import peak
from chainrule.ops.shape import permute_dims

__all__ = ["log_softmax", "softmax", "softmax_jacobian", "softmin"]


@formula
def softmax(xp: Any, x: Any, axis: int = -1) -> Any:
    """``e^{x_i} / Σ_j e^{x_j}`` along `axis`, shifted by the maximum. Ledger A-15 to A-18; Bridle
    1990. Over two classes it is the logistic function of their difference (P-05; E003-20).

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
def _outer(xp: Any, column: Any, row: Any, same: Any) -> Any:
    """``diag(y) - y yᵀ`` from y as a column and as a row."""
    products = xp.where(same, 0.0, column * row)
    # y (1 - y) on the diagonal, without the difference: the rest of its row, as rows sum to 0
    return xp.where(same, xp.sum(products, axis=-1, keepdims=True), -products)


def softmax_jacobian(x: Any, axis: int = -1) -> Any:
    """The derivative of `softmax` as matrices: ``J_ik = ∂y_i/∂x_k = y_i (δ_ik - y_k)``. Ledger
    A-16 to A-18 (erratum E003-15).

    ``J = diag(y) - y yᵀ`` is symmetric, and its rows sum to 0. Training needs only its product with
    a vector, which `softmax` computes without it; this is for looking at it.

    Arguments:
        x: the scores, ``(..., K, ...)``.
        axis: the axis of the K classes.

    Returns:
        ``(..., K, K)``: row = output i, column = input k; the axes before are those of x without
        `axis`. It can be differentiated further.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.softmax_jacobian(np.log([1.0, 1.0, 2.0]))
    array([[ 0.1875, -0.0625, -0.125 ],
           [-0.0625,  0.1875, -0.125 ],
           [-0.125 , -0.125 ,  0.25  ]])
    """
    y = softmax(x, axis=axis)
    n = len(y.shape)
    y = permute_dims(y, [*(k for k in range(n) if k != axis % n), axis % n])
    same = np.eye(y.shape[-1], dtype=np.bool_)
    return _outer(expand_dims(y, axis=-1), expand_dims(y, axis=-2), same)


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
