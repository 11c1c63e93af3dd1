"""Reductions: formulas over one or several axes, and the choices (argmax, sort) built on
gathers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Concatenate

import numpy as np

from chainrule.array.errors import ShapeError
from chainrule.autograd.tape import Variable
from chainrule.ops.formula import Formula, P, formula

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "argsort", "logsumexp", "max", "mean",
    "min", "norm", "std", "sum", "var",
]  # fmt: skip


class _Reduction(Formula[P]):
    """A formula over axes. A single number may be reduced over axis 0, too, as in NumPy and
    torch."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        shape = getattr(args[0] if args else kwargs.get("x"), "shape", None)
        if type(shape) is tuple and not shape and len(args) + len(kwargs) > 1:
            inputs, attrs = self.bind(*args, **kwargs)
            axis = attrs.pop("axis")
            for a in axis if isinstance(axis, tuple) else () if axis is None else (axis,):
                if a not in (0, -1):
                    raise ShapeError(f"{self.name}: there is no axis {a} in an array of 0 axes")
            reduce: Any = super().__call__
            return reduce(**inputs, **attrs)
        return super().__call__(*args, **kwargs)


def _reduction(text: Callable[Concatenate[Any, P], Any]) -> _Reduction[P]:
    return _Reduction(text)


@_reduction
def sum(xp: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum over `axis` (an int, a tuple, or None for all).

    >>> import numpy as np
    >>> sum(np.ones((2, 3)), axis=1)
    array([3., 3.])
    """
    return xp.sum(x, axis=axis, keepdims=keepdims)


@_reduction
def mean(xp: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean over `axis` (an int, a tuple, or None for all).

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.mean(np.array([[1.0, 3.0], [5.0, 7.0]]), axis=1)
    array([2., 6.])
    """
    return xp.mean(x, axis=axis, keepdims=keepdims)


@_reduction
def max(xp: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest over `axis`, NaN if there is one; ties share the gradient equally.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.max(np.array([[1.0, 3.0], [5.0, 2.0]]), axis=1)
    array([3., 5.])
    >>> cr.grad(cr.ops.max)(np.array([2.0, 1.0, 2.0]))
    tensor([0.5, 0. , 0.5], dtype=float64)
    """
    return xp.max(x, axis=axis, keepdims=keepdims)


@_reduction
def min(xp: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest over `axis`, NaN if there is one; ties share the gradient equally.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.min(np.array([[1.0, 3.0], [5.0, 2.0]]), axis=1)
    array([1., 2.])
    """
    return -xp.max(-x, axis=axis, keepdims=keepdims)


amax, amin = max, min


@_reduction
def var(xp: Any, x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    """The variance ``Σ (x - mean)² / (n - correction)``; correction 0 as in NumPy (1: unbiased).

    NaN of no entries, and of one where the correction is 1.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> x = np.array([1.0, 3.0])
    >>> float(cr.ops.var(x)), float(cr.ops.var(x, correction=1))
    (1.0, 2.0)
    """
    d = x - xp.mean(x, axis=axis, keepdims=True)
    total = xp.sum(d * d, axis=axis, keepdims=keepdims)
    if axis is None:
        count = xp.sum(xp.ones_like(x))
    else:
        count = xp.sum(xp.ones_like(x), axis=axis, keepdims=keepdims)
    # divided by 0, and not by less, where there are too few, as in NumPy and torch
    return total / (xp.maximum(count - correction, 0.0) if correction > 0 else count - correction)


@_reduction
def std(xp: Any, x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    """The standard deviation, the root of `var`; its derivative at 0 is taken as 0.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> float(cr.ops.std(np.array([1.0, 5.0])))
    2.0
    """
    v = var(x, axis=axis, keepdims=keepdims, correction=correction)
    return xp.where(xp.equal(v, 0.0), 0.0, xp.sqrt(xp.where(xp.equal(v, 0.0), 1.0, v)))


def peak(xp: Any, x: Any, axis: Any) -> Any:
    """What to subtract before exponentials: the largest entry where it is finite; a constant."""
    top = xp.stop_gradient(xp.max(x, axis=axis, keepdims=True))
    return xp.where(xp.isfinite(top), top, 0.0)


@formula
def logsumexp(xp: Any, x: Any, axis: Any = -1, keepdims: bool = False) -> Any:
    """``log Σ exp(x)`` over `axis`, shifted by the largest entry so that nothing overflows.

    -inf where every entry is -inf.

    >>> import numpy as np
    >>> float(logsumexp(np.array([1000.0, 1000.0])))
    1000.6931471805599
    """
    top = peak(xp, x, axis)
    total = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    if keepdims:
        return total
    return xp.sum(total) if axis is None else xp.squeeze(total, axis=axis)


@_reduction
def norm(xp: Any, x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Any:
    """The vector norm ``(Σ |x|^ord)^(1/ord)`` over `axis`; its derivative at 0 is taken as 0.

    `ord` is any number, as in torch: ``inf`` is the largest magnitude, ``-inf`` the smallest, 0
    counts what is not 0. Only 1 and above are norms proper. Below 1 an entry of 0 gets no gradient.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> x = np.array([3.0, -4.0])
    >>> [float(cr.ops.norm(x, ord=p)) for p in (2, 1, np.inf, -np.inf, 0)]
    [5.0, 7.0, 4.0, 3.0, 2.0]
    """
    if ord == float("inf"):
        return xp.max(xp.abs(x), axis=axis, keepdims=keepdims)
    if ord == float("-inf"):
        return -xp.max(-xp.abs(x), axis=axis, keepdims=keepdims)
    if ord == 1:
        return xp.sum(xp.abs(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        return xp.sum(
            xp.where(xp.equal(x, 0.0), 0.0, xp.ones_like(x)), axis=axis, keepdims=keepdims
        )
    if ord == 2:
        powers = x * x
    elif ord > 1:
        powers = xp.pow(xp.abs(x), ord)
    else:  # the slope at 0 is infinite
        zero = xp.equal(x, 0.0)
        powers = xp.where(zero, xp.abs(x), xp.pow(xp.where(zero, 1.0, xp.abs(x)), ord))
        if ord < 0:
            powers = xp.where(zero, math.inf, powers)
    total = xp.sum(powers, axis=axis, keepdims=keepdims)
    if ord < 0:
        return xp.pow(total, 1 / ord)
    zero = xp.equal(total, 0.0)
    safe = xp.where(zero, 1.0, total)
    root = xp.sqrt(safe) if ord == 2 else xp.pow(safe, 1 / ord)
    return xp.where(zero, 0.0, root)


def _raw(x: Any) -> Any:
    return x._data if isinstance(x, Variable) else np.asarray(x)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the largest entry, a plain integer array off the tape; the first of equal ones.

    `axis` None counts through the flattened array. NaN is the largest, as in NumPy.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.argmax(np.array([[1.0, 3.0], [5.0, 2.0]]), axis=1)
    array([1, 0])
    """
    return np.argmax(_raw(x), axis=axis, keepdims=keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index of the smallest entry, a plain integer array off the tape; the first of equal ones.

    `axis` None counts through the flattened array. NaN is the smallest, as in NumPy.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.argmin(np.array([[1.0, 3.0], [5.0, 2.0]]), axis=1)
    array([0, 1])
    """
    return np.argmin(_raw(x), axis=axis, keepdims=keepdims)


def argsort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """The indices that sort x, a plain integer array off the tape; equal entries keep their order.

    NaN counts as the largest.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.argsort(np.array([3.0, 1.0, 2.0]))
    array([1, 2, 0])
    >>> cr.ops.argsort(np.array([3.0, 1.0, 3.0]), descending=True)
    array([0, 2, 1])
    """
    x = _raw(x)
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    # backwards twice, so that equal entries keep their order
    order = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - order, axis)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any entry over `axis` is true (not 0), off the tape.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.any(np.array([[True, False], [False, False]]), axis=1)
    array([ True, False])
    """
    return np.any(_raw(x), axis=axis, keepdims=keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether every entry over `axis` is true (not 0), off the tape.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.all(np.array([[True, True], [True, False]]), axis=1)
    array([ True, False])
    """
    return np.all(_raw(x), axis=axis, keepdims=keepdims)
