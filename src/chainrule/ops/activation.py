"""Activation functions, each one line of mathematics under its equation.

NaN gives NaN; ±inf gives the limit of the value and of the derivative where there is one. This is
where they differ from torch: ``silu(-inf)`` and ``gelu(-inf)`` are 0 and their derivatives at ±inf
are 0 and 1 (torch: NaN); `softplus` is exact everywhere (torch gives x above a threshold of 20);
derivatives of `sigmoid` and `silu` keep their digits in the tails, where torch's ``1 - σ`` is 0.
The rest, derivatives at 0 included, is torch's.
"""

from __future__ import annotations

import math
from typing import Any

from chainrule.ops.elementwise import sigmoid, tanh
from chainrule.ops.formula import FORMULAS, formula
from chainrule.ops.reduction import peak

__all__ = [
    "elu", "gelu", "identity", "leaky_relu", "log_softmax", "logistic", "relu", "selu",
    "sigmoid", "silu", "softmax", "softplus", "tanh",
]  # fmt: skip

SELU_ALPHA = 1.6732632423543772
SELU_LAMBDA = 1.0507009873554805
#: Beyond ±1000 a gate is exactly 0 or 1 and its derivatives are 0, in every type; holding x there
#: changes no finite value and makes 0 · inf impossible.
SATURATED = 1000.0


@formula
def identity(xp: Any, x: Any) -> Any:
    """``x``: the linear activation, through which the error signal passes unchanged. Ledger
    A-01.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.identity(np.array([-1.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    return x * 1.0


@formula
def relu(xp: Any, x: Any) -> Any:
    """``max(0, x)``, with derivative 0 at 0. NaN stays NaN. Ledger A-05; Nair & Hinton 2010.

    >>> import numpy as np
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return xp.where(x <= 0.0, 0.0, x)


@relu.override(saves="y")
def _relu_vjp(xp: Any, inputs: Any, y: Any, g: Any) -> Any:
    return xp.where(y <= 0.0, 0.0, g)


@formula
def leaky_relu(xp: Any, x: Any, negative_slope: float = 0.01) -> Any:
    """``x`` above 0, ``negative_slope · x`` up to 0. Ledger A-06; Maas et al. 2013.

    The slope is torch's default (Keras: 0.3); the derivative at 0 is the slope.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.leaky_relu(np.array([-1.0, 0.0, 2.0]), negative_slope=0.1)
    array([-0.1,  0. ,  2. ])
    """
    return xp.where(x <= 0.0, negative_slope * x, x)


@formula
def elu(xp: Any, x: Any, alpha: float = 1.0) -> Any:
    """``x`` above 0, ``α (e^x - 1)`` up to 0. Ledger A-08 (errata E003-13, E003-14); Clevert et al.
    2016.

    Values lie in (-α, ∞); the derivative at 0 is α, as in torch.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.elu(np.array([-1.0, 0.0, 2.0]))
    array([-0.63212056,  0.        ,  2.        ])
    """
    return xp.where(x <= 0.0, alpha * xp.expm1(xp.minimum(x, 0.0)), x)


@elu.override(saves="x")
def _elu_vjp(xp: Any, inputs: Any, y: Any, g: Any, alpha: float) -> Any:
    (x,) = inputs
    return g * xp.where(x <= 0.0, alpha * xp.exp(xp.where(x <= 0.0, x, 0.0)), xp.ones_like(x))


@formula
def selu(xp: Any, x: Any) -> Any:
    """``λ elu(x, α)`` with the α and λ that keep mean 0 and variance 1. Ledger A-10; Klambauer et
    al. 2017.

    α = 1.6732632423543772, λ = 1.0507009873554805; the derivative at 0 is λα, as in torch
    (E004-08).

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.selu(np.array([-1.0, 0.0, 2.0]))
    array([-1.11133074,  0.        ,  2.10140197])
    """
    return SELU_LAMBDA * elu(x, alpha=SELU_ALPHA)


@formula
def softplus(xp: Any, x: Any, beta: float = 1.0) -> Any:
    """``log(1 + e^{βx}) / β`` as ``max(x, 0) + log1p(e^{-|βx|}) / β``, which overflows nowhere.

    Equal to torch's within rounding; torch returns x itself above its threshold. Dugas et al. 2001.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.softplus(np.array([-np.inf, 0.0, 1000.0]))
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+03])
    """
    rest = xp.log1p(xp.exp(-xp.abs(beta * x)))
    return xp.where(x <= 0.0, 0.0, x) + (rest if beta == 1 else rest / beta)


@softplus.override(saves="x")
def _softplus_vjp(xp: Any, inputs: Any, y: Any, g: Any, beta: float) -> Any:
    return g * xp.sigmoid(beta * inputs[0])


@formula
def silu(xp: Any, x: Any) -> Any:
    """``x σ(x)`` (swish). Ledger A-13; Elfwing et al. 2018, Ramachandran et al. 2017.

    Its derivative is ``σ(x) + x σ(x) σ(-x)``.

    >>> import numpy as np
    >>> silu(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.73105858])
    """
    return xp.maximum(x, -SATURATED) * xp.sigmoid(x)


@silu.override(saves="x")
def _silu_vjp(xp: Any, inputs: Any, y: Any, g: Any) -> Any:
    x = _held(xp, inputs[0])
    s = xp.sigmoid(x)
    return g * (s + x * (s * xp.sigmoid(-x)))


@formula
def gelu(xp: Any, x: Any, approximate: str = "none") -> Any:
    """``x Φ(x)``, Φ the normal distribution. Ledger A-11, A-12; Hendrycks & Gimpel 2016.

    Arguments:
        approximate: ``"none"``: ``x (1 + erf(x/√2)) / 2``; ``"tanh"``:
            ``x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2``, off by up to 4.7e-4 (erratum E004-10).

    The derivative is ``Φ(x) + x φ(x)``, φ the density (E004-11).

    >>> import numpy as np
    >>> gelu(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.84134475])
    """
    return xp.maximum(x, -SATURATED) * _gate(xp, _held(xp, x), approximate)


@gelu.override(saves="x")
def _gelu_vjp(xp: Any, inputs: Any, y: Any, g: Any, approximate: str) -> Any:
    x = _held(xp, inputs[0])
    gate = _gate(xp, x, approximate)
    if approximate == "tanh":
        t = 2.0 * gate - 1.0
        inner = math.sqrt(2 / math.pi) * (1.0 + 3 * 0.044715 * (x * x))
        return g * (gate + 0.5 * x * ((1.0 + t) * (1.0 - t) * inner))
    return g * (gate + x * (math.sqrt(0.5 / math.pi) * xp.exp(-0.5 * (x * x))))


def _held(xp: Any, x: Any) -> Any:
    return xp.minimum(xp.maximum(x, -SATURATED), SATURATED)


def _gate(xp: Any, x: Any, approximate: str) -> Any:
    """Φ(x), or its approximation."""
    if approximate == "tanh":
        return 0.5 * (1.0 + xp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
    if approximate != "none":
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")
    return 0.5 * (1.0 + xp.erf(x * math.sqrt(0.5)))


@formula
def logistic(xp: Any, x: Any, L: float = 1.0, k: float = 1.0, x0: float = 0.0) -> Any:
    """``L / (1 + e^{-k (x - x0)})``: limit L, steepness k, midpoint x0. Ledger A-03; Verhulst 1845.

    Its slope at x0 is ``L k / 4`` (errata E003-02, E003-03).

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.logistic(np.array([1.0, 3.0]), L=10.0, k=2.0, x0=1.0)
    array([5.       , 9.8201379])
    """
    return L * xp.sigmoid(k * (x - x0))


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


FORMULAS.update(
    (f.name, f)
    for f in (
        *(elu, gelu, identity, leaky_relu, log_softmax, logistic, relu, selu),
        *(sigmoid, silu, softmax, softplus, tanh),
    )
)
