"""The primitives as public functions: each a formula of one operation.

They are what Python's operators on tensors call, and the recorded namespace `xp`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.autograd.tape import Variable
from chainrule.ops.formula import Formula, formula

__all__ = [
    "abs", "add", "broadcast_to", "clip", "cos", "digamma", "divide", "erf", "exp",
    "expand_dims", "expm1", "floor", "lgamma", "log", "log1p", "maximum", "minimum", "multiply",
    "negative", "polygamma", "pow", "sigmoid", "sign", "sin", "sqrt", "square", "squeeze",
    "stop_gradient", "subtract", "sum_to", "tanh", "where",
]  # fmt: skip


@formula
def add(xp: Any, a: Any, b: Any) -> Any:
    """``a + b`` with broadcasting; the gradient of each sums over what was broadcast.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.add(np.array([1.0, 2.0]), 10.0)
    array([11., 12.])
    """
    return a + b


@formula
def subtract(xp: Any, a: Any, b: Any) -> Any:
    """``a - b`` with broadcasting.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.subtract(np.array([1.0, 2.0]), 10.0)
    array([-9., -8.])
    """
    return a - b


@formula
def multiply(xp: Any, a: Any, b: Any) -> Any:
    """``a * b`` element-wise, with broadcasting; ``∂a = b``, ``∂b = a``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.multiply(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([3., 8.])
    """
    return a * b


@formula
def divide(xp: Any, a: Any, b: Any) -> Any:
    """``a / b`` with broadcasting; integers give the default float. ``∂a = 1/b``, ``∂b = -a/b²``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.divide(np.array([1.0, 2.0]), 4.0)
    array([0.25, 0.5 ])
    """
    return a / b


@formula
def pow(xp: Any, a: Any, b: Any) -> Any:
    """``a ** b`` with broadcasting; the derivative is right at ``b = 0`` and ``a = 0``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.pow(np.array([2.0, 3.0]), 2.0)
    array([4., 9.])
    >>> cr.grad(cr.ops.pow)(0.0, 1.0)
    tensor(1.)
    """
    return xp.pow(a, b)


@formula
def power_of(xp: Any, a: Any, exponent: float = 2.0) -> Any:
    """``a ** exponent`` for a constant exponent; small whole ones become products."""
    return a**exponent


@formula
def negative(xp: Any, x: Any) -> Any:
    """``-x``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.negative(np.array([1.0, -2.0]))
    array([-1.,  2.])
    """
    return -x


@formula
def abs(xp: Any, x: Any) -> Any:
    """``|x|``; derivative ``sign(x)``, 0 at 0.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.abs(np.array([-1.5, 2.0]))
    array([1.5, 2. ])
    >>> cr.grad(cr.ops.abs)(0.0)
    tensor(0.)
    """
    return xp.abs(x)


@formula
def sign(xp: Any, x: Any) -> Any:
    """-1, 0 or 1, NaN for NaN; derivative 0.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.sign(np.array([-2.0, 0.0, 3.0]))
    array([-1.,  0.,  1.])
    """
    return xp.sign(x)


@formula
def floor(xp: Any, x: Any) -> Any:
    """The largest whole number not above x; derivative 0.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.floor(np.array([-1.5, 1.5]))
    array([-2.,  1.])
    """
    return xp.floor(x)


@formula
def sqrt(xp: Any, x: Any) -> Any:
    """The square root; NaN below 0, derivative inf at 0.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.sqrt(np.array([4.0, 9.0]))
    array([2., 3.])
    """
    return xp.sqrt(x)


@formula
def square(xp: Any, x: Any) -> Any:
    """``x * x``; derivative ``2x``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.square(np.array([-2.0, 3.0]))
    array([4., 9.])
    """
    return x * x


@formula
def exp(xp: Any, x: Any) -> Any:
    """``e ** x``, its own derivative; 0 at -inf.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.exp(np.array([-np.inf, 0.0, 1.0]))
    array([0.        , 1.        , 2.71828183])
    """
    return xp.exp(x)


@formula
def expm1(xp: Any, x: Any) -> Any:
    """``e ** x - 1``, exact near 0, where the subtraction would cancel.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.expm1(np.array([1e-10, 1.0]))
    array([1.00000000e-10, 1.71828183e+00])
    """
    return xp.expm1(x)


@formula
def log(xp: Any, x: Any) -> Any:
    """The natural logarithm; -inf at 0, NaN below. Derivative ``1/x``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.log(np.array([1.0, 10.0]))
    array([0.        , 2.30258509])
    """
    return xp.log(x)


@formula
def log1p(xp: Any, x: Any) -> Any:
    """``log(1 + x)``, exact near 0, where ``1 + x`` would round x away.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.log1p(np.array([1e-10, 1.0]))
    array([1.00000000e-10, 6.93147181e-01])
    """
    return xp.log1p(x)


@formula
def sin(xp: Any, x: Any) -> Any:
    """The sine; x in radians. Derivative `cos`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.sin(np.array([0.0, 1.0]))
    array([0.        , 0.84147098])
    """
    return xp.sin(x)


@formula
def cos(xp: Any, x: Any) -> Any:
    """The cosine; x in radians. Derivative ``-sin(x)``.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.cos(np.array([0.0, 1.0]))
    array([1.        , 0.54030231])
    """
    return xp.cos(x)


@formula
def tanh(xp: Any, x: Any) -> Any:
    """The hyperbolic tangent; its derivative ``(1 + y)(1 - y)`` keeps its digits near ±1. Ledger
    A-04.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.tanh(np.array([-np.inf, 0.0, 1.0]))
    array([-1.        ,  0.        ,  0.76159416])
    """
    return xp.tanh(x)


@formula
def sigmoid(xp: Any, x: Any) -> Any:
    """The logistic function ``σ(x) = 1 / (1 + e^-x)``; its derivative is ``σ(x) σ(-x)``. Ledger
    A-02.

    Written so that neither tail cancels (errata E000-08, E003-04). Values lie in (0, 1), slopes in
    (0, ¼] (A-19); its Jacobian is diagonal (A-21).

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.sigmoid(np.array([-np.inf, 0.0, 2.0]))
    array([0.        , 0.5       , 0.88079708])
    """
    return xp.sigmoid(x)


@formula
def erf(xp: Any, x: Any) -> Any:
    """The error function ``2/√π ∫₀ˣ exp(-t²) dt``; derivative ``2/√π exp(-x²)``, limits ±1.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.erf(np.array([0.0, 1.0, np.inf]))
    array([0.        , 0.84270079, 1.        ])
    """
    return xp.erf(x)


@formula
def lgamma(xp: Any, x: Any) -> Any:
    """``log |Γ(x)|``; derivative `digamma`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.lgamma(np.array([1.0, 5.0]))  # log(0!), log(4!)
    array([0.        , 3.17805383])
    """
    return xp.lgamma(x)


@formula
def polygamma(xp: Any, x: Any, n: int = 0) -> Any:
    """The n-th derivative of the digamma function; n is 0 (`digamma` itself), 1, 2, …

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.polygamma(np.array([1.0]), n=1)  # π²/6
    array([1.64493407])
    """
    return xp.polygamma(x, n=n)


@formula
def digamma(xp: Any, x: Any) -> Any:
    """``Γ'(x) / Γ(x)``, the derivative of `lgamma`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.digamma(np.array([1.0]))  # minus Euler's constant
    array([-0.57721566])
    """
    return xp.digamma(x)


@formula
def maximum(xp: Any, a: Any, b: Any) -> Any:
    """The larger of two, NaN if either is; a tie shares the gradient equally, as in torch.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.maximum(np.array([1.0, 5.0]), 3.0)
    array([3., 5.])
    >>> cr.grad(cr.ops.maximum)(1.0, 1.0)
    tensor(0.5)
    """
    return xp.maximum(a, b)


@formula
def minimum(xp: Any, a: Any, b: Any) -> Any:
    """The smaller of two, NaN if either is; a tie shares the gradient equally, as in torch.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.minimum(np.array([1.0, 5.0]), 3.0)
    array([1., 3.])
    """
    return xp.minimum(a, b)


@formula
def where(xp: Any, condition: Any, a: Any, b: Any) -> Any:
    """``a`` where the condition holds, else ``b``. Nothing leaks from the branch not taken.

    >>> import numpy as np
    >>> where(np.array([True, False]), np.array([1.0, 2.0]), 0.0)
    array([1., 0.])
    """
    return xp.where(condition, a, b)


@formula
def _clip_below(xp: Any, x: Any, low: Any) -> Any:
    return xp.where(xp.isnan(low), low, xp.where(x < low, low, x))


@formula
def _clip_above(xp: Any, x: Any, high: Any) -> Any:
    return xp.where(xp.isnan(high), high, xp.where(x > high, high, x))


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """x held between `low` and `high`; either may be None. NaN gives NaN, a limit that is NaN, too.

    The gradient is that of ``x`` inside, limits included (as in torch), and that of the limit
    outside.

    >>> import numpy as np
    >>> clip(np.array([-2.0, 0.5, 3.0]), 0.0, 1.0)
    array([0. , 0.5, 1. ])
    """
    if low is None and high is None:
        raise TypeError("clip needs low, high or both")
    if low is not None:
        x = _clip_below(x, low)
    return x if high is None else _clip_above(x, high)


@formula
def sum_to(xp: Any, x: Any, like: Any) -> Any:
    """Sum over the axes along which `like` was broadcast to the shape of x."""
    return xp.sum_to(x, like)


@formula
def _broadcast_like(xp: Any, x: Any, like: Any) -> Any:
    return xp.broadcast_to(x, like)


def broadcast_to(x: Any, like: Any) -> Any:
    """x repeated to a shape, or to the shape of an array; its gradient is `sum_to`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.broadcast_to(np.array([1.0, 2.0]), (2, 2))
    array([[1., 2.],
           [1., 2.]])
    """
    if isinstance(like, tuple | int):
        like = np.broadcast_to(np.zeros((), np.bool_), like)
    return _broadcast_like(x, like)


@formula
def _squeeze(xp: Any, x: Any, axis: Any = None) -> Any:
    return xp.squeeze(x, axis=axis)


def squeeze(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """x without its axes of length 1 (all of them, or those named).

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.squeeze(np.zeros((1, 3, 1))).shape
    (3,)
    """
    if axis is None:
        axis = tuple(i for i, n in enumerate(x.shape) if n == 1)
    return _squeeze(x, axis=axis)


@formula
def expand_dims(xp: Any, x: Any, axis: Any = 0) -> Any:
    """x with a new axis of length 1 at `axis`.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.ops.expand_dims(np.zeros(3), axis=-1).shape
    (3, 1)
    """
    return xp.expand_dims(x, axis=axis)


@formula
def stop_gradient(xp: Any, x: Any) -> Any:
    """x itself, through which no gradient passes.

    >>> import chainrule as cr
    >>> cr.grad(lambda x: x * cr.ops.stop_gradient(x))(3.0)
    tensor(3.)
    """
    return xp.stop_gradient(x)


def _comparison(name: str, text: Any, doc: str, args: str, result: str) -> Any:
    """A comparison: raw booleans, off the tape. Its documented example: `result` of `args`."""
    f: Formula[Any] = Formula(text, name)

    def compare(*args: Any) -> Any:
        return f(*[a._data if isinstance(a, Variable) else a for a in args])

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = f"""``{doc}`` entry by entry: an array of booleans, off the tape.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> x = np.array([1.0, 2.0, np.nan])
    >>> cr.ops.{name}({args})
    array({result})
    """
    return compare


less = _comparison("less", lambda xp, a, b: a < b, "a < b", "x, 2.0", "[ True, False, False]")
less_equal = _comparison(
    "less_equal", lambda xp, a, b: a <= b, "a <= b", "x, 1.0", "[ True, False, False]"
)
greater = _comparison("greater", lambda xp, a, b: a > b, "a > b", "x, 1.0", "[False,  True, False]")
greater_equal = _comparison(
    "greater_equal", lambda xp, a, b: a >= b, "a >= b", "x, 2.0", "[False,  True, False]"
)
equal = _comparison(
    "equal", lambda xp, a, b: xp.equal(a, b), "a == b", "x, x", "[ True,  True, False]"
)
not_equal = _comparison(
    "not_equal", lambda xp, a, b: xp.not_equal(a, b), "a != b", "x, x", "[False, False,  True]"
)
isnan = _comparison(
    "isnan", lambda xp, x: xp.isnan(x), "x is not a number", "x", "[False, False,  True]"
)
isfinite = _comparison(
    "isfinite",
    lambda xp, x: xp.isfinite(x),
    "x is neither NaN nor infinite",
    "x",
    "[ True,  True, False]",
)
logical_and = _comparison(
    "logical_and",
    lambda xp, a, b: xp.logical_and(a, b),
    "a and b",
    "x > 1, x < 2",
    "[False, False, False]",
)
logical_or = _comparison(
    "logical_or",
    lambda xp, a, b: xp.logical_or(a, b),
    "a or b",
    "x > 1, x < 2",
    "[ True,  True, False]",
)
logical_not = _comparison(
    "logical_not", lambda xp, x: xp.logical_not(x), "not x", "x > 1", "[ True, False,  True]"
)
