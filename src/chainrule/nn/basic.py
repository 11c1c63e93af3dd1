"""Layers that only pass on: the identity and reshaping."""

from __future__ import annotations

import math
from typing import Any

from chainrule import ops
from chainrule.array.errors import ShapeError
from chainrule.autograd.context import describe, state
from chainrule.nn.module import Module

__all__ = ["Flatten", "Identity"]


class Identity(Module):
    """``x``: takes the place of a layer that is not wanted.

    >>> Identity()(3)
    3
    """

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """The axes from `start_axis` to `end_axis`, both included, become one.

    Arguments:
        start_axis: 1 keeps the batch axis, as in torch.
        end_axis: the last axis by default.

    >>> import numpy as np
    >>> Flatten()(np.zeros((32, 28, 28))).shape
    (32, 784)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, x: Any) -> Any:
        shape = x.shape
        n = len(shape)
        start = self.start_axis + n if self.start_axis < 0 else self.start_axis
        end = self.end_axis + n if self.end_axis < 0 else self.end_axis
        if not 0 <= start <= end < n:
            fix = "; a single sample needs a batch axis: x[None]" if n == 1 else ""
            raise ShapeError(
                f"{describe(state.frame) or repr(self)}: expected x with axes {self.start_axis} to "
                f"{self.end_axis}, got {tuple(shape)}{fix}"
            )
        if start == end:
            return x
        return ops.reshape(
            x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
        )

    def extra_repr(self) -> str:
        if (self.start_axis, self.end_axis) == (1, -1):
            return ""
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"
