"""Dropout as layers: random zeros in training mode, the identity in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from chainrule import ops
from chainrule.nn.module import Module

__all__ = [
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
]


class Dropout(Module):
    """Random zeros in training mode, the identity in evaluation mode; see `chainrule.ops.dropout`.

    ``y = x ⊙ mask / (1 - p)``. Ledger D-03 to D-05; Srivastava et al. 2014.

    Arguments:
        p: probability of a zero, 0 to 1 (erratum E000-04: not of keeping).

    >>> import numpy as np
    >>> Dropout(0.5).eval()(np.ones(3))
    array([1., 1., 1.])
    """

    function: ClassVar[Callable[..., Any]] = staticmethod(ops.dropout)

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(
                f"{type(self).__name__}: p is the probability of a zero, 0 to 1, got {p}"
            )
        self.p = p

    def forward(self, x: Any) -> Any:
        return self.function(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout1d(Dropout):
    """`Dropout` of whole channels, ``(N, C, L)`` or ``(C, L)``; see `chainrule.ops.dropout1d`.

    >>> import numpy as np
    >>> y = Dropout1d(0.5)(np.ones((4, 8, 5)))
    >>> bool((y == y[:, :, :1]).all())
    True
    """

    function = staticmethod(ops.dropout1d)


class Dropout2d(Dropout):
    """`Dropout` of whole channels, ``(N, C, H, W)``; see `chainrule.ops.dropout2d`.

    >>> import numpy as np
    >>> y = Dropout2d(0.5)(np.ones((4, 8, 5, 5)))
    >>> bool((y == y[:, :, :1, :1]).all())
    True
    """

    function = staticmethod(ops.dropout2d)


class Dropout3d(Dropout):
    """`Dropout` of whole channels, ``(N, C, D, H, W)`` or ``(C, D, H, W)``; see
    `chainrule.ops.dropout3d`.

    >>> import numpy as np
    >>> Dropout3d(0.5).eval()(np.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 3, 3, 3)
    """

    function = staticmethod(ops.dropout3d)


class AlphaDropout(Dropout):
    """Dropout that keeps mean 0 and variance 1, for use after `SELU`; see
    `chainrule.ops.alpha_dropout`.

    Arguments:
        p: probability that an entry becomes SELU's lowest value, before all are scaled.

    >>> import numpy as np
    >>> AlphaDropout(0.5).eval()(np.ones(3))
    array([1., 1., 1.])
    """

    function = staticmethod(ops.alpha_dropout)


class FeatureAlphaDropout(Dropout):
    """`AlphaDropout` of whole channels, ``(N, C, ...)``; see `chainrule.ops.feature_alpha_dropout`.

    >>> import numpy as np
    >>> y = FeatureAlphaDropout(0.5)(np.ones((4, 8, 5)))
    >>> bool((y == y[:, :, :1]).all())
    True
    """

    function = staticmethod(ops.feature_alpha_dropout)
