"""Activations of straight pieces: clipped, stepped and shrunk."""

from __future__ import annotations

from typing import Any

from chainrule.ops.formula import FORMULAS, formula

__all__ = ["hardshrink", "hardsigmoid", "hardswish", "hardtanh", "relu6", "softshrink"]


@formula
def hardtanh(xp: Any, x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """``x`` between `min_val` and `max_val`, these beyond them. Collobert 2004.

    The derivative is 1 between and 0 from the ends on, as in torch.

    Raises:
        ValueError: if `min_val` is above `max_val`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.hardtanh(np.array([-2.0, 0.5, 3.0]))
    array([-1. ,  0.5,  1. ])
    """
    numbers = isinstance(min_val, int | float) and isinstance(max_val, int | float)
    if numbers and not min_val <= max_val:
        raise ValueError(
            f"hardtanh: expected min_val <= max_val, got min_val={min_val}, max_val={max_val}"
        )
    return xp.where(x <= min_val, min_val, xp.where(x >= max_val, max_val, x))


@formula
def relu6(xp: Any, x: Any) -> Any:
    """``min(max(0, x), 6)``; derivative 0 at 0 and at 6. Krizhevsky 2010.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    return hardtanh(x, min_val=0.0, max_val=6.0)


@formula
def hardsigmoid(xp: Any, x: Any) -> Any:
    """``min(max(0, (x + 3) / 6), 1)``: `sigmoid` in three straight pieces. Howard et al. 2019.

    The derivative is 1/6 between -3 and 3 and 0 from there on, as in torch. (Keras: slope 1/5
    before its version 3, the same since.)

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.hardsigmoid(np.array([-4.0, 0.0, 1.5, 4.0]))
    array([0.  , 0.5 , 0.75, 1.  ])
    """
    return xp.where(x <= -3.0, 0.0, xp.where(x >= 3.0, 1.0, (x + 3.0) / 6.0))


@formula
def hardswish(xp: Any, x: Any) -> Any:
    """``x · hardsigmoid(x)``: `silu` without an exponential. Howard et al. 2019.

    Between -3 and 3 the derivative is ``x/3 + 1/2``; it is 0 up to -3 and 1 from 3 on.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.hardswish(np.array([-4.0, 0.0, 1.5, 4.0]))
    array([-0.   ,  0.   ,  1.125,  4.   ])
    """
    return xp.maximum(x, -3.0) * hardsigmoid(x)  # held at -3, so that 0 · inf is impossible


@formula
def hardshrink(xp: Any, x: Any, lambd: float = 0.5) -> Any:
    """``x`` where ``|x| > λ``, else 0: hard thresholding. Donoho & Johnstone 1994.

    It jumps at ±λ, where value and derivative are 0, as in torch.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.hardshrink(np.array([-1.0, 0.5, 2.0]))
    array([-1.,  0.,  2.])
    """
    return xp.where(xp.abs(x) <= lambd, 0.0, x)


@formula
def softshrink(xp: Any, x: Any, lambd: float = 0.5) -> Any:
    """``sign(x) · max(|x| - λ, 0)``: soft thresholding, the proximal map of ``λ|x|``. Donoho &
    Johnstone 1994.

    The derivative is 1 where ``|x| > λ``, else 0.

    Raises:
        ValueError: for λ < 0, which shrinks nothing.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.softshrink(np.array([-1.0, 0.5, 2.0]))
    array([-0.5,  0. ,  1.5])
    """
    if isinstance(lambd, int | float) and not lambd >= 0:
        raise ValueError(f"softshrink: expected lambd >= 0, got {lambd}")
    return xp.where(xp.abs(x) <= lambd, 0.0, x - lambd * xp.sign(x))


FORMULAS.update(
    (f.name, f) for f in (hardshrink, hardsigmoid, hardswish, hardtanh, relu6, softshrink)
)
