"""Rectifiers: the identity above 0, and something that bends below."""

from __future__ import annotations

import math
from typing import Any

from chainrule.array.abstract import as_array
from chainrule.array.errors import ShapeError
from chainrule.autograd.context import describe, state
from chainrule.autograd.tape import Variable
from chainrule.ops.draw import uniform
from chainrule.ops.formula import FORMULAS, formula
from chainrule.ops.linear import same_type
from chainrule.ops.shape import reshape

__all__ = [
    "celu", "elu", "identity", "leaky_relu", "prelu", "relu", "rrelu", "selu", "threshold",
]  # fmt: skip

SELU_ALPHA = 1.6732632423543772
SELU_LAMBDA = 1.0507009873554805


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
def threshold(xp: Any, x: Any, threshold: float = 0.0, value: float = 0.0) -> Any:
    """``x`` above `threshold`, the constant `value` up to it.

    Arguments:
        threshold: the last number that is replaced; its derivative is 0, as in torch.
        value: what replaces. Both are 0 by default, which makes this `relu` (torch has no
            defaults).

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.threshold(np.array([-1.0, 0.5, 2.0]), 1.0, 9.0)
    array([9., 9., 2.])
    """
    return xp.where(x <= threshold, value, x)


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
def _prelu(xp: Any, x: Any, weight: Any) -> Any:
    """``x`` above 0, ``weight ⊙ x`` up to 0, both arrays of a shape or broadcast."""
    return xp.where(x <= 0.0, weight * x, x)


def prelu(x: Any, weight: Any) -> Any:
    """``x`` above 0, ``a x`` up to 0, with learned slopes ``a = weight``. Ledger A-07; He et al.
    2015.

    ``∂y/∂x`` is a or 1, and ``∂y/∂a = x [x <= 0]``, summed over all entries that share a slope
    (erratum E004-07). At 0 the derivative by x is a, as in torch.

    Arguments:
        x: ``(N, C, ...)``, channels along axis 1; any shape where one slope is shared.
        weight: ``(C,)``, a slope per channel, or one number for all: shape ``(1,)`` or ``()``. An
            array x is cast to its type.

    Raises:
        TypeError: for a tensor x of another floating type.
        ShapeError: if `weight` is neither one number nor one for every channel.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> x = np.array([[-1.0, -1.0], [2.0, -3.0]])
    >>> cr.ops.prelu(x, np.array([0.25, 0.5]))
    array([[-0.25, -0.5 ],
           [ 2.  , -1.5 ]])
    >>> cr.grad(lambda a: cr.ops.prelu(x, a).sum())(np.array([0.25, 0.5]))
    tensor([-1., -4.], dtype=float64)
    """
    x, weight = (a if isinstance(a, Variable) else as_array(a) for a in (x, weight))
    x, weight = same_type(x, weight, who="prelu")
    shape, slopes = x.shape, weight.shape
    if math.prod(slopes) == 1 and len(slopes) <= 1:
        return _prelu(x, weight if shape or not slopes else reshape(weight, ()))
    if len(shape) < 2 or slopes != shape[1:2]:
        channels = f"({shape[1]},)" if len(shape) > 1 else "(1,)"
        raise ShapeError(
            f"{describe(state.frame) or 'prelu'}: expected weight: {channels}, a slope per channel "
            f"of x: {shape}, or (1,), one for all; got {slopes}. Channels lie along axis 1"
        )
    return _prelu(x, reshape(weight, (*slopes, *(1,) * (len(shape) - 2))) if shape[2:] else weight)


def rrelu(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Any:
    """``x`` above 0, ``a x`` up to 0, with a random slope a for every entry. Ledger A-09; Xu et
    al. 2015.

    In training a ~ U(lower, upper), drawn anew in every call, and the derivative has the same
    slopes; in evaluation ``a = (lower + upper) / 2`` (erratum E004-13).

    Arguments:
        lower, upper: the range of slopes; the defaults are the paper's and torch's.
        training: whether to draw. False by default, as in torch.

    The draws come from the current random stream, keyed by the layer's path.

    Raises:
        ValueError: if ``lower <= upper`` does not hold for finite numbers.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.rrelu(np.array([-12.0, 2.0]))
    array([-2.75,  2.  ])
    >>> y = cr.ops.rrelu(np.full(1000, -24.0), training=True)
    >>> bool((y > -8.001).all() and (y <= -3.0).all())
    True
    """
    if not (lower <= upper and math.isfinite(upper - lower)):
        raise ValueError(f"rrelu: expected finite lower <= upper, got lower={lower}, upper={upper}")
    if not training or lower == upper:
        return leaky_relu(x, negative_slope=(lower + upper) / 2)
    return _prelu(x, uniform("rrelu", x, lower, upper))


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
def celu(xp: Any, x: Any, alpha: float = 1.0) -> Any:
    """``x`` above 0, ``α (e^{x/α} - 1)`` up to 0: an `elu` with a continuous slope for every α.
    Barron 2017.

    Values lie in (-α, ∞); the derivative is ``e^{x/α}`` up to 0, so 1 at 0.

    Raises:
        ValueError: for α = 0, where ``x/α`` has no meaning.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.celu(np.array([-1.0, 0.0, 2.0]), alpha=2.0)
    array([-0.78693868,  0.        ,  2.        ])
    """
    if isinstance(alpha, int | float) and alpha == 0:
        raise ValueError("celu: alpha divides, so it cannot be 0; for alpha -> 0 take relu")
    bent = alpha * xp.expm1(xp.where(x <= 0.0, x, 0.0) / alpha)
    return xp.where(x <= 0.0, bent, x)


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


FORMULAS.update(
    (f.name, f) for f in (celu, elu, identity, leaky_relu, _prelu, relu, selu, threshold)
)
