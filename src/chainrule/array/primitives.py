"""The namespace `xp`: every primitive a formula may use, on one screen.

A row gives the primitive's name (the Array API standard's where it has one), its NumPy form, its
derivative, a bound on the error of that NumPy form and what it does at the extremes. A derivative
is itself a text in `xp`: ``vjp(xp, y, g, *inputs)`` returns one cotangent per input (None where
there is none), from the output ``y``, the cotangent ``g`` of the output and the inputs. Because it
is written in `xp`, the same row serves plain arrays, recorded tensors and symbols, and so every
order.

Error bounds are in units in the last place of the result, for float32 and float64, as NumPy 2
computes them on x86-64 and Arm; `tests/array/test_primitives.py` holds each row to its bound. Those
of lgamma and polygamma are for positive arguments away from their zeros; that of a sum is for a
thousand terms, in units in the last place of the sum of their magnitudes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.array import numerics, special

__all__ = ["PRIMITIVES", "Primitive"]

Cotangents = tuple[Any, ...]
TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


@dataclass(frozen=True)
class Primitive:
    """One row of the table."""

    name: str
    numpy: Callable[..., Any]
    vjp: Callable[..., Cotangents] | None  # None: piecewise constant, no derivative
    ulp: float
    edges: str
    kind: str = "elementwise"  # or "test" (gives booleans), "reduction", "shape"


def _elementwise(name: str, numpy: Any, vjp: Any, ulp: float, edges: str) -> Primitive:
    return Primitive(name, numpy, vjp, ulp, edges)


def _test(name: str, numpy: Any) -> Primitive:
    return Primitive(name, numpy, None, 0, "false for NaN, not_equal true", kind="test")


def _power_vjp(xp: Any, y: Any, g: Any, a: Any, b: Any) -> Cotangents:
    # b a^(b-1) at b = 0 is 0, not 0 * inf; a^b log a at a = 0 is the limit 0, or -inf below b = 0
    slope = b * xp.pow(a, xp.where(xp.equal(b, 0.0), 1.0, b) - 1)
    log = xp.log(xp.where(xp.logical_and(xp.equal(a, 0.0), b >= 0.0), 1.0, a))
    return g * slope, g * (y * log)


def _max_vjp(xp: Any, y: Any, g: Any, x: Any, **where: Any) -> Cotangents:
    # ties share the cotangent equally, as in torch.amax; NaN is its own maximum
    hit = xp.where(xp.logical_or(xp.equal(x, y), xp.isnan(x)), xp.ones_like(x), 0.0)
    return (g * (hit / xp.sum(hit, axis=where["axis"], keepdims=True)),)


def _share(xp: Any, loses: Any, tie: Any, g: Any) -> Any:
    """The winner of maximum or minimum takes g; a tie halves it (torch); NaN passes it on."""
    return xp.where(loses, 0.0, xp.where(tie, 0.5 * g, g))


# fmt: off
_ROWS: tuple[Primitive, ...] = (
    _elementwise("add", np.add, lambda xp, y, g, a, b: (g, g), 0.5, "inf - inf is NaN"),
    _elementwise("subtract", np.subtract, lambda xp, y, g, a, b: (g, -g), 0.5, "inf - inf is NaN"),
    _elementwise("multiply", np.multiply, lambda xp, y, g, a, b: (g * b, g * a), 0.5,
                 "0 inf is NaN"),
    _elementwise("divide", np.divide, lambda xp, y, g, a, b: (g / b, -(g * y) / b), 0.5,
                 "x/0 is +-inf, 0/0 NaN"),
    _elementwise("negative", np.negative, lambda xp, y, g, x: (-g,), 0, "-(+0) is -0"),
    _elementwise("abs", np.abs, lambda xp, y, g, x: (g * xp.sign(x),), 0, "derivative 0 at 0"),
    _elementwise("sign", np.sign, None, 0, "0 at 0, NaN at NaN"),
    _elementwise("floor", np.floor, None, 0, "inf stays inf"),
    _elementwise("sqrt", np.sqrt, lambda xp, y, g, x: (g * (0.5 / y),), 0.5,
                 "NaN below 0; derivative inf at 0"),
    _elementwise("exp", np.exp, lambda xp, y, g, x: (g * y,), 4, "0 at -inf, inf at inf"),
    _elementwise("expm1", np.expm1, lambda xp, y, g, x: (g * xp.exp(x),), 4, "-1 at -inf"),
    _elementwise("log", np.log, lambda xp, y, g, x: (g / x,), 4, "-inf at 0, NaN below"),
    _elementwise("log1p", np.log1p, lambda xp, y, g, x: (g / (1 + x),), 4, "-inf at -1, NaN below"),
    _elementwise("sin", np.sin, lambda xp, y, g, x: (g * xp.cos(x),), 4, "NaN at +-inf"),
    _elementwise("cos", np.cos, lambda xp, y, g, x: (-(g * xp.sin(x)),), 4, "NaN at +-inf"),
    _elementwise("tanh", np.tanh, lambda xp, y, g, x: (g * ((1 + y) * (1 - y)),), 4,
                 "+-1 at +-inf"),
    # 1 - sigmoid(x) cancels to 0 for large x; sigmoid(-x) does not (erratum E000-08)
    _elementwise("sigmoid", numerics.sigmoid, lambda xp, y, g, x: (g * (y * xp.sigmoid(-x)),), 6,
                 "0 and 1 at -inf and inf, subnormal tail kept"),
    _elementwise("erf", special.erf,
                 lambda xp, y, g, x: (g * (TWO_OVER_SQRT_PI * xp.exp(-(x * x))),), 2,
                 "+-1 at +-inf"),
    _elementwise("lgamma", special.lgamma, lambda xp, y, g, x: (g * xp.digamma(x),), 4,
                 "inf at 0, -1, -2 ...; inf at +-inf"),
    Primitive("polygamma", lambda x, n: special.polygamma(n, x),
              lambda xp, y, g, x, n: (g * xp.polygamma(x, n=n + 1),), 32,
              "poles at 0, -1, -2 ..."),
    _elementwise("pow", np.power, _power_vjp, 4, "0^0 is 1; NaN below 0 unless b is whole"),
    _elementwise("maximum", np.maximum, lambda xp, y, g, a, b: (
        _share(xp, xp.less(a, b), xp.equal(a, b), g),
        _share(xp, xp.less(b, a), xp.equal(a, b), g)), 0, "NaN if either is"),
    _elementwise("minimum", np.minimum, lambda xp, y, g, a, b: (
        _share(xp, xp.greater(a, b), xp.equal(a, b), g),
        _share(xp, xp.greater(b, a), xp.equal(a, b), g)), 0, "NaN if either is"),
    _elementwise("where", numerics.where, lambda xp, y, g, c, a, b: (
        None, xp.where(c, g, 0.0), xp.where(c, 0.0, g)), 0, "the other branch does not leak"),
    _test("less", np.less), _test("less_equal", np.less_equal), _test("greater", np.greater),
    _test("greater_equal", np.greater_equal), _test("equal", np.equal),
    _test("not_equal", np.not_equal), _test("isnan", np.isnan), _test("isfinite", np.isfinite),
    _test("logical_and", np.logical_and), _test("logical_or", np.logical_or),
    _test("logical_not", np.logical_not),
    Primitive("one_hot", numerics.one_hot, None, 0, "all false for a label out of range",
              kind="test"),
    Primitive("sum", np.add.reduce, lambda xp, y, g, x, axis, keepdims: (xp.broadcast_to(g, x),),
              4, "pairwise along the last axis; inf - inf is NaN", kind="reduction"),
    Primitive("max", np.maximum.reduce, _max_vjp, 0, "NaN if any is", kind="reduction"),
    # shape primitives come as adjoint pairs; of `like` only the shape is read
    Primitive("sum_to", numerics.sum_to, lambda xp, y, g, x, like: (xp.broadcast_to(g, x), None),
              4, "as sum", kind="shape"),
    Primitive("broadcast_to", np.broadcast_to, lambda xp, y, g, x, like: (xp.sum_to(g, x), None),
              0, "copies nothing", kind="shape"),
    Primitive("squeeze", np.squeeze, lambda xp, y, g, x, axis: (xp.expand_dims(g, axis=axis),),
              0, "", kind="shape"),
    Primitive("expand_dims", np.expand_dims, lambda xp, y, g, x, axis: (xp.squeeze(g, axis=axis),),
              0, "", kind="shape"),
    Primitive("stop_gradient", np.positive, None, 0, "the identity, with derivative zero"),
)
# fmt: on

#: name -> row
PRIMITIVES: dict[str, Primitive] = {row.name: row for row in _ROWS}
