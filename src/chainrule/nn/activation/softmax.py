"""Softmax and its kin as layers: see `chainrule.ops` for their equations."""

from __future__ import annotations

from chainrule import ops
from chainrule.nn.activation.base import Activation

__all__ = [
    "LogSoftmax",
    "Softmax",
    "Softmin",
]


class Softmax(Activation):
    """``e^{x_i} / Σ_j e^{x_j}`` along `axis`. Ledger A-15; see `chainrule.ops.softmax`.

    Not before `chainrule.ops.cross_entropy`, which takes the scores themselves.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Softmax()(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__(ops.softmax, axis=axis)


class Softmin(Activation):
    """``e^{-x_i} / Σ_j e^{-x_j}`` along `axis`; see `chainrule.ops.softmin`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.Softmin()(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [0. , 1. ]])
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__(ops.softmin, axis=axis)


class LogSoftmax(Activation):
    """``x - log Σ_j e^{x_j}`` along `axis`; see `chainrule.ops.log_softmax`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.nn.LogSoftmax()(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[-6.93147181e-01, -6.93147181e-01],
           [ 0.00000000e+00, -1.00000000e+03]])
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__(ops.log_softmax, axis=axis)
