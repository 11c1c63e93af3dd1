"""NumPy forms of the primitives that NumPy itself lacks or computes slowly. All take `out=`."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.array.dtypes import Array, DType

__all__ = ["one_hot", "sigmoid", "sum_to", "where"]

_INTEGER: dict[int, DType] = {4: np.dtype(np.int32), 8: np.dtype(np.int64), 2: np.dtype(np.int16)}


def sigmoid(x: Any, out: Array | None = None) -> Any:
    """``1 / (1 + exp(-x))`` without overflow, accurate in both tails.

    With ``e = exp(-|x|)`` the value is ``e / (1 + e)`` below zero and ``1 / (1 + e)`` above
    (erratum E003-04); the numerator is ``max(e, [x >= 0])`` because e never exceeds one.
    """
    x = np.asarray(x)
    above = x >= 0
    e = np.abs(x, out=out)
    e = np.negative(e, out=out)
    e = np.exp(e, out=out)
    numerator = np.maximum(e, above, dtype=x.dtype)
    e = np.add(e, 1, out=out)
    return np.divide(numerator, e, out=out)


#: Below this many entries one call of `numpy.where` costs less than those of the mask.
_FEW = 1024


def where(c: Any, a: Any, b: Any, out: Array | None = None) -> Any:
    """``a`` where ``c`` holds, else ``b``; a branch that is the constant zero is a bit mask.

    The mask keeps NaN and infinity of the other branch out exactly, which a product with ``c``
    would not (``inf * 0``), and costs a third of `numpy.where`.
    """
    if type(b) is float and b == 0.0 and hasattr(a, "dtype"):
        if _maskable(a):
            return _masked(a, -_ones(c, a), out)
        b = a.dtype.type(0)
    elif type(a) is float and a == 0.0 and hasattr(b, "dtype"):
        if _maskable(b):
            return _masked(b, _ones(c, b) - 1, out)
        a = b.dtype.type(0)
    if out is not None and out is a:
        np.copyto(a, b, where=np.logical_not(c))
        return out
    result = np.where(c, a, b)
    if out is not None:
        np.copyto(out, result)
        return out
    return result


def _maskable(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.size >= _FEW and a.dtype.itemsize in _INTEGER


def _ones(c: Any, a: Array) -> Array:
    """1 where `c` holds, in the integer type as wide as `a`."""
    return np.asarray(c, np.bool_).astype(_INTEGER[a.dtype.itemsize])


def _masked(a: Array, mask: Array, out: Array | None) -> Array:
    """`a` where the mask is -1, all bits set, and zero where it is 0, none set."""
    out = None if out is None else out.view(mask.dtype)
    bits: Array = np.bitwise_and(a.view(mask.dtype), mask, out=out)
    return bits.view(a.dtype)


def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Sum over the axes along which `shape` was broadcast: the adjoint of broadcasting.

    >>> sum_to(np.ones((4, 3)), (3,))
    array([4., 4., 4.])
    """
    if x.shape == shape:
        return x
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1
    )
    return np.add.reduce(x, axis=axes, keepdims=True).reshape(shape)


def one_hot(labels: Array, like: Array | tuple[int, ...], axis: int = -1) -> Array:
    """True at the entry along `axis` that the label names; `labels` has length 1 on that axis.

    `like` is an array with the classes on `axis`, or its shape.

    >>> one_hot(np.array([[2], [0]]), (2, 3))
    array([[False, False,  True],
           [ True, False, False]])
    """
    full = like if isinstance(like, tuple) else like.shape
    n = full[axis]
    classes = np.arange(n, dtype=labels.dtype if labels.dtype.kind in "iu" else np.int64)
    shape = [1] * len(full)
    shape[axis] = n
    hit: Array = np.equal(labels, classes.reshape(shape))
    return hit


def _largest(words: Array) -> int:
    return int(np.maximum.reduce(words.view(np.uint64), axis=None))


#: The largest entry of int64 numbers read as unsigned, where a negative one is huge: one pass finds
#: labels on both sides of their range. Native code puts its own here, a tenth of the time for few.
largest = _largest
