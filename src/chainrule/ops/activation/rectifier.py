"""Rectifiers: the identity above 0, and something that bends below."""

from __future__ import annotations

from typing import Any

from chainrule.ops.formula import FORMULAS, formula

__all__ = ["celu", "elu", "identity", "leaky_relu", "relu", "selu", "threshold"]

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


FORMULAS.update((f.name, f) for f in (celu, elu, identity, leaky_relu, relu, selu, threshold))
