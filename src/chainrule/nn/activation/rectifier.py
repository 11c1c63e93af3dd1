"""Rectifiers as layers: see `chainrule.ops` for their equations."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import ops
from chainrule.nn.activation.base import Activation
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter

__all__ = [
    "CELU",
    "ELU",
    "SELU",
    "LeakyReLU",
    "PReLU",
    "RReLU",
    "ReLU",
    "Threshold",
]


class ReLU(Activation):
    """``max(0, x)``. Ledger A-05; see `chainrule.ops.relu`.

    >>> import numpy as np
    >>> ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self) -> None:
        super().__init__(ops.relu)


class Threshold(Activation):
    """``x`` above `threshold`, `value` up to it; see `chainrule.ops.threshold`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Threshold(1.0, 9.0)(np.array([-1.0, 2.0]))
    array([9., 2.])
    """

    def __init__(self, threshold: float, value: float) -> None:
        super().__init__(ops.threshold, threshold=threshold, value=value)


class LeakyReLU(Activation):
    """``x`` above 0, ``negative_slope · x`` up to 0. Ledger A-06; `chainrule.ops.leaky_relu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.LeakyReLU(0.1)(np.array([-1.0, 2.0]))
    array([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(ops.leaky_relu, negative_slope=negative_slope)


class PReLU(Module):
    """``x`` above 0, ``a x`` up to 0, the slopes a learned. Ledger A-07; `chainrule.ops.prelu`.

    Arguments:
        num_parameters: 1, one slope for all, or the number of channels (axis 1), one for each.
        init: what every slope is at first.

    Attributes:
        weight: ``(num_parameters,)``. He et al. (2015) let no weight decay pull it to 0.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.PReLU()(np.array([[-1.0, 2.0]]))
    tensor([[-0.25,  2.  ]], from=prelu)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        if num_parameters < 1:
            raise ValueError(f"PReLU: num_parameters is 1 or more, got {num_parameters}")
        self.num_parameters = num_parameters
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x: Any) -> Any:
        return ops.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """``x`` above 0, ``a x`` up to 0: a is random for every entry in training mode, and the middle
    of its range in evaluation mode. Ledger A-09; see `chainrule.ops.rrelu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.RReLU().eval()(np.array([-12.0, 2.0]))
    array([-2.75,  2.  ])
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3) -> None:
        if not lower <= upper:
            raise ValueError(f"RReLU: expected lower <= upper, got lower={lower}, upper={upper}")
        self.lower = lower
        self.upper = upper

    def forward(self, x: Any) -> Any:
        return ops.rrelu(x, self.lower, self.upper, self.training)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"


class ELU(Activation):
    """``x`` above 0, ``α (e^x - 1)`` up to 0. Ledger A-08; see `chainrule.ops.elu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.ELU()(np.array([-1.0, 2.0]))
    array([-0.63212056,  2.        ])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(ops.elu, alpha=alpha)


class CELU(Activation):
    """``x`` above 0, ``α (e^{x/α} - 1)`` up to 0; see `chainrule.ops.celu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.CELU(2.0)(np.array([-1.0, 2.0]))
    array([-0.78693868,  2.        ])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(ops.celu, alpha=alpha)


class SELU(Activation):
    """``λ elu(x, α)``, which keeps mean 0 and variance 1. Ledger A-10; see `chainrule.ops.selu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.SELU()(np.array([-1.0, 2.0]))
    array([-1.11133074,  2.10140197])
    """

    def __init__(self) -> None:
        super().__init__(ops.selu)
