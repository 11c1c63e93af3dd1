"""`xp` for plain NumPy arrays: primitives and array-level operations under one set of names."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array import numerics, special
from chainrule.array.dtypes import Array
from chainrule.array.primitives import PRIMITIVES

__all__ = ["NUMPY", "NumpyNamespace"]


class NumpyNamespace:
    """Names as in the Array API standard; every function takes and gives `numpy.ndarray`.

    A text run here is the *plain* executor: one NumPy call per operation, nothing fused.
    """

    matmul = staticmethod(np.matmul)
    reshape = staticmethod(np.reshape)
    permute_dims = staticmethod(np.transpose)
    concat = staticmethod(np.concatenate)
    stack = staticmethod(np.stack)
    flip = staticmethod(np.flip)
    einsum = staticmethod(np.einsum)
    take_along_axis = staticmethod(np.take_along_axis)
    digamma = staticmethod(special.digamma)
    square = staticmethod(np.square)
    ones_like = staticmethod(np.ones_like)
    zeros_like = staticmethod(np.zeros_like)

    def __getattr__(self, name: str) -> Any:
        try:
            value = PRIMITIVES[name].numpy
        except KeyError:
            raise AttributeError(f"xp has no primitive {name!r}") from None
        setattr(self, name, value)
        return value

    def sum(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return np.sum(x, axis=axis, keepdims=keepdims)

    def max(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return np.max(x, axis=axis, keepdims=keepdims)

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        total = np.sum(x, axis=axis, keepdims=keepdims)
        return total / (x.size // max(total.size, 1) if x.size else 0)

    def min(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return np.min(x, axis=axis, keepdims=keepdims)

    def sum_to(self, x: Any, like: Any) -> Any:
        return numerics.sum_to(x, np.shape(like))

    def broadcast_to(self, x: Any, like: Any) -> Any:
        return np.broadcast_to(x, np.shape(like))

    def matrix_transpose(self, x: Array) -> Array:
        return x.mT


NUMPY = NumpyNamespace()
