"""What all losses share: reductions, weights, and looks at shapes and values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray, as_array
from chainrule.array.errors import DataError, ShapeError, nearest
from chainrule.array.namespace import NUMPY
from chainrule.autograd.context import state
from chainrule.autograd.tape import Variable
from chainrule.compile.kernel import Kernel
from chainrule.compile.trace import trace
from chainrule.ops.formula import Formula

__all__ = ["REDUCTIONS"]

#: What `reduction` may be. Ledger L-20: each note has its own, so that every loss says which.
REDUCTIONS = ("mean", "sum", "none", "batchmean")


# -- in texts -------------------------------------------------------------------------------------


def reduce(xp: Any, loss: Any, reduction: str, weight: Any = None) -> Any:
    """Weighted or plain reduction of a loss per element. A weighted mean is ``Σ w l / Σ w``."""
    if weight is not None and reduction != "mean":
        loss = loss * weight
    if reduction == "none":
        return loss
    if reduction == "sum":
        return xp.sum(loss)
    if reduction == "batchmean":
        return xp.sum(loss) / loss.shape[0]
    if weight is None:
        return xp.mean(loss)
    total, count = xp.sum(loss * weight), xp.sum(xp.broadcast_to(weight, loss))
    # a mean of nothing is NaN, as in torch, but no slope: it would end every weight in NaN
    empty = xp.equal(count, 0.0)
    return xp.where(
        empty, xp.stop_gradient(total / count), total / xp.where(empty, xp.ones_like(count), count)
    )


def reduce_rows(xp: Any, loss: Any, axis: int, reduction: str, weight: Any = None) -> Any:
    """The same of a loss per row, in which `axis` is left with one entry."""
    return reduce(
        xp, xp.squeeze(loss, axis=axis) if reduction == "none" else loss, reduction, weight
    )


def held_log(xp: Any, p: Any) -> Any:
    """``log p`` held at -100, so that a wrong certainty costs 100 rather than infinity."""
    tiny = 3.720075976020836e-44  # e^-100
    return xp.where(p <= tiny, -100.0, xp.log(xp.where(p <= tiny, 1.0, p)))


# -- before texts ---------------------------------------------------------------------------------


def check_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; {nearest(reduction, REDUCTIONS)}")


def arrays(*xs: Any) -> tuple[Any, ...]:
    return tuple([x if isinstance(x, Variable) else as_array(x) for x in xs])


def raw(x: Any) -> Any:
    return x._data if isinstance(x, Variable) else as_array(x)


def same_shape(name: str, input: Any, target: Any, what: tuple[str, str] = ("", "")) -> None:
    """Nothing is broadcast: (n, 1) and (n,) would pair every prediction with every target."""
    first, second = what if what[0] else ("input", "target")
    if input.shape != target.shape:
        hint = ""
        if input.shape[:1] == target.shape[:1] and input.size == target.size:
            hint = f"; reshape one: {second}.reshape{input.shape}"
        raise ShapeError(
            f"{name}: {first} has shape {tuple(input.shape)}, {second} {tuple(target.shape)}; they "
            f"must be equal, because broadcasting would pair every prediction with every "
            f"target{hint}"
        )


def element_weight(name: str, weight: Any, input: Any) -> Any:
    """Weights per element, or per row, in a shape that broadcasts to the input's."""
    (weight,) = arrays(weight)
    if not isinstance(weight, Variable) and input.dtype.kind == "f":
        weight = weight.astype(input.dtype, copy=False)  # a float64 weight widens nothing
    ndim = len(input.shape)
    if len(weight.shape) == 1 and ndim > 1:
        weight = weight.reshape(-1, *(1,) * (ndim - 1))
    pairs = zip(weight.shape, input.shape[ndim - len(weight.shape) :], strict=False)
    if len(weight.shape) > ndim or any(w not in (1, n) for w, n in pairs):
        raise ShapeError(
            f"{name}: weight needs one number per row, shape ({input.shape[0]},), or one per "
            f"element, shape {tuple(input.shape)}; got {tuple(weight.shape)}"
        )
    return weight


def row_weight(w: Any, input: Any, axis: int, reduction: str, name: str = "sample_weight") -> Any:
    """Weights per sample, shaped like the loss per row."""
    w = raw(w).astype(input.dtype, copy=False)
    rows = input.shape[:axis] + input.shape[axis + 1 :]
    if w.shape != rows:
        if w.ndim != 1 or w.shape[0] != input.shape[0]:
            raise ShapeError(f"{name} has shape {w.shape}; one weight per sample is {rows}")
        w = w.reshape(-1, *(1,) * (len(rows) - 1))
    return w if reduction == "none" else w.reshape(*w.shape[:axis], 1, *w.shape[axis:])


def pointwise(
    name: str, f: Formula[Any], input: Any, target: Any, weight: Any, reduction: str, **more: Any
) -> Any:
    """A loss per element of two arrays of one shape."""
    check_reduction(reduction)
    input, target = arrays(input, target)
    same_shape(name, input, target)
    if weight is None:
        return f(input, target, reduction=reduction, **more)
    weight = element_weight(name, weight, input)
    return f(input, target, weight=weight, reduction=reduction, **more)


class Condition:
    """What the values of an array must be, looked at in every call.

    Arguments:
        outside: a text in `xp` that is above 0 where the array breaks the condition and not above
            it, or NaN, where it does not: NaN shows in the loss.

    In a captured step the look is a kernel: a replay that meets bad values stops before any update.
    """

    def __init__(self, outside: Callable[[Any, Any], Any]) -> None:
        def text(xp: Any, x: Any) -> Any:
            return xp.where(xp.max(outside(xp, x)) > 0.0, math.inf, 0.0)

        self._text = text
        self._kernel = Kernel(trace(text, ["x"], "beyond"))

    def check(self, x: Any, explain: Callable[[Any], str]) -> None:
        """Raise a `DataError` with what `explain` says of the values, if they are outside."""
        values = raw(x)
        if values.dtype.kind != "f":
            values = values.astype(np.float32)
        if not values.size:
            return
        if isinstance(values, AbstractArray):
            state.recorder.finite(state.recorder.kernel(self._kernel, [values])[0])
            return
        with np.errstate(invalid="ignore", over="ignore"):
            beyond = self._text(NUMPY, values)
        if beyond > 0:
            raise DataError(explain(values))


#: 0 to 1; of anything within it the text is at most 0
UNIT = Condition(lambda xp, p: xp.maximum(-p, p - 1.0))
#: 0 or 1, nothing between
HARD = Condition(lambda xp, y: xp.abs(y * (y - 1.0)))
#: -1 or 1
SIGNS = Condition(lambda xp, y: xp.abs(xp.abs(y) - 1.0))
NOT_NEGATIVE = Condition(lambda xp, y: -y)
#: above 0: the least float32 is far below what a target or variance is
POSITIVE = Condition(lambda xp, y: 1e-45 - y)


def check_probabilities(name: str, p: Any, hint: str, what: str = "input") -> None:
    UNIT.check(
        p,
        lambda v: (
            f"{name} takes probabilities between 0 and 1; the largest here is {np.nanmax(v):g}, "
            f"the smallest {np.nanmin(v):g} ({what}). {hint}"
        ),
    )


def check_signs(name: str, y: Any) -> None:
    """Labels are -1 and 1 (erratum E004-06): of labels 0 every gradient would be zero."""

    def explain(v: Any) -> str:
        kinds = np.unique(v)
        hint = "write 2 * y - 1 for labels 0 and 1" if set(kinds) <= {0, 1} else "map them"
        shown = ", ".join(f"{k:g}" for k in kinds[:4]) + (", …" if len(kinds) > 4 else "")
        return f"{name} takes labels -1 and 1, got {shown}: {hint}"

    SIGNS.check(y, explain)


def check_hard(name: str, y: Any) -> None:
    HARD.check(
        y,
        lambda v: (
            f"{name} takes targets 0 and 1, got values from {np.nanmin(v):g} to {np.nanmax(v):g}; "
            "for probabilities as targets use binary_cross_entropy_with_logits"
        ),
    )


def check_positive(name: str, y: Any, zero: bool = False, what: str = "targets") -> None:
    """Above 0, or with `zero` not below it."""
    (NOT_NEGATIVE if zero else POSITIVE).check(
        y,
        lambda v: (
            f"{name} takes {what} {'of 0 or more' if zero else 'above 0'}; the smallest here is "
            f"{np.nanmin(v):g}"
        ),
    )
