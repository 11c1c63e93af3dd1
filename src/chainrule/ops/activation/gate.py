"""Smooth activations: gates between two levels, and inputs multiplied by a gate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.array.errors import ShapeError
from chainrule.autograd.context import describe, state
from chainrule.ops.elementwise import sigmoid, tanh
from chainrule.ops.formula import FORMULAS, formula
from chainrule.ops.shape import split

__all__ = [
    "gelu", "glu", "logistic", "logsigmoid", "mish", "sigmoid", "silu", "softplus", "softsign",
    "tanh", "tanhshrink",
]  # fmt: skip

#: Beyond ±1000 a gate is exactly 0 or 1 and its derivatives are 0, in every type; holding x there
#: changes no finite value and makes 0 · inf impossible.
SATURATED = 1000.0
#: From here on ``x / (1 + |x|)`` is ±1 in every type.
_ONE = 2.0**60


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
def logsigmoid(xp: Any, x: Any) -> Any:
    """``log σ(x)`` as ``-softplus(-x)``: finite for every finite x. Its derivative is ``σ(-x)``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.logsigmoid(np.array([-1000.0, 0.0, np.inf]))
    array([-1.00000000e+03, -6.93147181e-01, -0.00000000e+00])
    """
    return -softplus(-x)


@formula
def softsign(xp: Any, x: Any) -> Any:
    """``x / (1 + |x|)``: between -1 and 1 like `tanh`, with slow tails. Turian et al. 2009.

    Its derivative is ``1 / (1 + |x|)²``, so 1 at 0.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.softsign(np.array([-np.inf, 0.0, 1.0]))
    array([-1. ,  0. ,  0.5])
    """
    x = xp.minimum(xp.maximum(x, -_ONE), _ONE)  # inf / inf is impossible
    return x / (1.0 + xp.abs(x))


@softsign.override(saves="x")
def _softsign_vjp(xp: Any, inputs: Any, y: Any, g: Any) -> Any:
    r = 1.0 / (1.0 + xp.abs(inputs[0]))  # squared at the end: 1 + |x| squared could overflow
    return g * (r * r)


@formula
def tanhshrink(xp: Any, x: Any) -> Any:
    """``x - tanh(x)``; near 0 it is ``x³/3``, of which the subtraction leaves few digits.

    Its derivative is ``tanh(x)²``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.tanhshrink(np.array([-np.inf, 0.0, 1.0]))
    array([      -inf, 0.        , 0.23840584])
    """
    return x - xp.tanh(x)


@tanhshrink.override(saves="x")
def _tanhshrink_vjp(xp: Any, inputs: Any, y: Any, g: Any) -> Any:
    t = xp.tanh(inputs[0])  # 1 - (1 - t²) would lose the digits of a small t
    return g * (t * t)


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
def _glu(xp: Any, a: Any, b: Any) -> Any:
    """``a ⊗ σ(b)``: ``∂a = σ(b)``, ``∂b = a σ(b) σ(-b)``."""
    return a * xp.sigmoid(b)


def glu(x: Any, axis: int = -1) -> Any:
    """``a ⊗ σ(b)``, where a and b are the first and the second half of x along `axis`. Ledger A-14;
    Dauphin et al. 2017.

    The cotangent g becomes ``g ⊗ σ(b)`` and ``g ⊗ a ⊗ σ(b) σ(-b)`` (erratum E004-12).

    Arguments:
        x: ``(..., 2 n, ...)``.
        axis: the axis that is halved: n entries are left of its 2 n.

    Raises:
        ShapeError: for an odd number of entries along `axis`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.glu(np.array([[2.0, 3.0, 0.0, np.inf]]))
    array([[1., 3.]])
    """
    shape = np.shape(x)
    inside = -len(shape) <= axis < len(shape)
    if not inside or shape[axis] % 2:
        fix = f": {shape[axis]} cannot be halved into values and gates" if inside else ""
        raise ShapeError(
            f"{describe(state.frame) or 'glu'}: expected x with an even number of entries along "
            f"axis {axis}, got {shape}{fix}"
        )
    return _glu(*split(x, 2, axis))


@formula
def mish(xp: Any, x: Any) -> Any:
    """``x tanh(log(1 + e^x))``. Misra 2019.

    With ``t = tanh(log(1 + e^x))`` its derivative is ``t + x (1 - t²) σ(x)``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.mish(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.86509839])
    """
    return xp.maximum(x, -SATURATED) * xp.tanh(softplus(_held(xp, x)))


@mish.override(saves="x")
def _mish_vjp(xp: Any, inputs: Any, y: Any, g: Any) -> Any:
    x = _held(xp, inputs[0])
    t = xp.tanh(softplus(x))
    return g * (t + x * ((1.0 + t) * (1.0 - t) * xp.sigmoid(x)))


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


FORMULAS.update(
    (f.name, f)
    for f in (
        *(gelu, _glu, logistic, logsigmoid, mish, sigmoid, silu, softplus, softsign),
        *(tanh, tanhshrink),
    )
)
