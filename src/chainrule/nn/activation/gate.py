"""Smooth activations as layers: see `chainrule.ops` for their equations."""

from __future__ import annotations

from typing import Any

from chainrule import ops
from chainrule.nn.activation.base import Activation
from chainrule.nn.module import Module

__all__ = [
    "GELU",
    "GLU",
    "LogSigmoid",
    "Logistic",
    "Mish",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
]


class Sigmoid(Activation):
    """``1 / (1 + e^{-x})``. Ledger A-02; see `chainrule.ops.sigmoid`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Sigmoid()(np.array([-1.0, 2.0]))
    array([0.26894142, 0.88079708])
    """

    def __init__(self) -> None:
        super().__init__(ops.sigmoid)


class Tanh(Activation):
    """``tanh(x)``. Ledger A-04; see `chainrule.ops.tanh`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Tanh()(np.array([-1.0, 2.0]))
    array([-0.76159416,  0.96402758])
    """

    def __init__(self) -> None:
        super().__init__(ops.tanh)


class Logistic(Activation):
    """``L / (1 + e^{-k (x - x0)})``. Ledger A-03; see `chainrule.ops.logistic`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Logistic(L=10.0)(np.array([0.0, np.inf]))
    array([ 5., 10.])
    """

    def __init__(self, L: float = 1.0, k: float = 1.0, x0: float = 0.0) -> None:
        super().__init__(ops.logistic, L=L, k=k, x0=x0)


class LogSigmoid(Activation):
    """``log σ(x)``; see `chainrule.ops.logsigmoid`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.LogSigmoid()(np.array([-1.0, 2.0]))
    array([-1.31326169, -0.12692801])
    """

    def __init__(self) -> None:
        super().__init__(ops.logsigmoid)


class Softplus(Activation):
    """``log(1 + e^{βx}) / β``; see `chainrule.ops.softplus`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Softplus()(np.array([-1.0, 2.0]))
    array([0.31326169, 2.12692801])
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__(ops.softplus, beta=beta)


class Softsign(Activation):
    """``x / (1 + |x|)``; see `chainrule.ops.softsign`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Softsign()(np.array([-1.0, 2.0]))
    array([-0.5       ,  0.66666667])
    """

    def __init__(self) -> None:
        super().__init__(ops.softsign)


class Tanhshrink(Activation):
    """``x - tanh(x)``; see `chainrule.ops.tanhshrink`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Tanhshrink()(np.array([-1.0, 2.0]))
    array([-0.23840584,  1.03597242])
    """

    def __init__(self) -> None:
        super().__init__(ops.tanhshrink)


class GELU(Activation):
    """``x Φ(x)``, exact or ``approximate="tanh"``. Ledger A-11, A-12; see `chainrule.ops.gelu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.GELU()(np.array([-1.0, 2.0]))
    array([-0.15865525,  1.95449974])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(ops.gelu, approximate=approximate)


class SiLU(Activation):
    """``x σ(x)`` (swish). Ledger A-13; see `chainrule.ops.silu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.SiLU()(np.array([-1.0, 2.0]))
    array([-0.26894142,  1.76159416])
    """

    def __init__(self) -> None:
        super().__init__(ops.silu)


class Mish(Activation):
    """``x tanh(log(1 + e^x))``; see `chainrule.ops.mish`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Mish()(np.array([-1.0, 2.0]))
    array([-0.30340146,  1.94395896])
    """

    def __init__(self) -> None:
        super().__init__(ops.mish)


class GLU(Module):
    """``a ⊗ σ(b)`` of the two halves of x along `axis`. Ledger A-14; see `chainrule.ops.glu`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.GLU()(np.array([[2.0, 3.0, 0.0, np.inf]]))
    array([[1., 3.]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return ops.glu(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"
