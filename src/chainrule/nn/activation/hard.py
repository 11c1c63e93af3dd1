"""Activations of straight pieces as layers: see `chainrule.ops` for their equations."""

from __future__ import annotations

from chainrule import ops
from chainrule.nn.activation.base import Activation

__all__ = [
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "ReLU6",
    "Softshrink",
]


class Hardtanh(Activation):
    """``x`` between `min_val` and `max_val`, these beyond them; see `chainrule.ops.hardtanh`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Hardtanh()(np.array([-1.0, 2.0]))
    array([-1.,  1.])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__(ops.hardtanh, min_val=min_val, max_val=max_val)


class ReLU6(Activation):
    """``min(max(0, x), 6)``; see `chainrule.ops.relu6`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.ReLU6()(np.array([-1.0, 8.0]))
    array([0., 6.])
    """

    def __init__(self) -> None:
        super().__init__(ops.relu6)


class Hardsigmoid(Activation):
    """``min(max(0, (x + 3) / 6), 1)``; see `chainrule.ops.hardsigmoid`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Hardsigmoid()(np.array([-4.0, 1.5]))
    array([0.  , 0.75])
    """

    def __init__(self) -> None:
        super().__init__(ops.hardsigmoid)


class Hardswish(Activation):
    """``x · hardsigmoid(x)``; see `chainrule.ops.hardswish`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Hardswish()(np.array([0.0, 1.5]))
    array([0.   , 1.125])
    """

    def __init__(self) -> None:
        super().__init__(ops.hardswish)


class Hardshrink(Activation):
    """``x`` where ``|x| > λ``, else 0; see `chainrule.ops.hardshrink`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Hardshrink()(np.array([-1.0, 0.25]))
    array([-1.,  0.])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(ops.hardshrink, lambd=lambd)


class Softshrink(Activation):
    """``sign(x) · max(|x| - λ, 0)``; see `chainrule.ops.softshrink`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Softshrink()(np.array([-1.0, 0.25]))
    array([-0.5,  0. ])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(ops.softshrink, lambd=lambd)
