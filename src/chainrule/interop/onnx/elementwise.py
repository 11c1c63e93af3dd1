"""The primitives of formulas as ONNX operators; nothing else in here knows a formula.

Most rows of the table are one operator. Where ONNX or onnxruntime has none, or one that is less
than the primitive, a few operators stand for it, of the same accuracy to some units in the last
place:

- ``expm1`` is ``2t / (1 - t)`` of ``t = tanh(x/2)`` up to 1/2, and ``exp(x) - 1`` beyond;
- ``log1p`` is ``log(u) · x / (u - 1)`` of ``u = 1 + x``, which cancels the rounding of u;
- ``erf`` of float64, which onnxruntime lacks, is our own, from the same coefficients.

NaN and infinities come out as in NumPy. Left as it is: onnxruntime's ``Sigmoid`` of float32 is
accurate to an absolute 1e-7, not in its lower tail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.array import special
from chainrule.interop.onnx.writer import Writer

__all__ = ["NUMBERS", "TESTS", "emit", "emit_test"]

#: Primitive -> the operator that does the same to floats.
NUMBERS: dict[str, str] = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "negative": "Neg",
    "abs": "Abs", "sign": "Sign", "floor": "Floor", "sqrt": "Sqrt", "exp": "Exp", "log": "Log",
    "sin": "Sin", "cos": "Cos", "tanh": "Tanh", "sigmoid": "Sigmoid", "erf": "Erf", "pow": "Pow",
    "maximum": "Max", "minimum": "Min",
}  # fmt: skip
#: Primitive -> the operator that compares; what follows it.
TESTS: dict[str, tuple[str, bool]] = {
    "less": ("Less", False), "less_equal": ("LessOrEqual", False), "greater": ("Greater", False),
    "greater_equal": ("GreaterOrEqual", False), "equal": ("Equal", False),
    "not_equal": ("Equal", True),
}  # fmt: skip


def _expm1(w: Writer, x: str, dtype: Any) -> str:
    half, one, two = (w.number(v, dtype) for v in (0.5, 1.0, 2.0))
    t = w.node("Tanh", w.node("Mul", x, half))
    small = w.node("Div", w.node("Mul", two, t), w.node("Sub", one, t))
    large = w.node("Sub", w.node("Exp", x), one)
    return w.node("Where", w.node("Less", w.node("Abs", x), half), small, large)


def _log1p(w: Writer, x: str, dtype: Any) -> str:
    one = w.number(1.0, dtype)
    u = w.node("Add", one, x)
    log = w.node("Log", u)
    exact = w.node("Div", w.node("Mul", log, x), w.node("Sub", u, one))
    near = w.node("Less", w.node("Abs", x), one)
    small = w.node("Where", w.node("Equal", u, one), x, exact)
    return w.node("Where", near, small, log)


def _polynomial(w: Writer, c: Any, t: str, dtype: Any) -> str:
    p = w.number(c[-1], dtype)
    for k in reversed(c[:-1]):
        p = w.node("Add", w.node("Mul", p, t), w.number(k, dtype))
    return p


def _erf64(w: Writer, x: str, dtype: Any) -> str:
    """As `chainrule.array.special` computes it."""
    one, two, far = (w.number(v, dtype) for v in (1.0, 2.0, 6.0))
    square = w.node("Mul", x, x)
    series = _polynomial(w, special._ERF_SMALL, square, dtype)
    small = w.node("Add", x, w.node("Mul", x, series))
    a = w.node("Min", w.node("Abs", x), far)
    tail = w.node("Exp", w.node("Neg", w.node("Mul", a, a)))
    u = w.node("Div", one, w.node("Add", a, two))
    tail = w.node("Mul", tail, _polynomial(w, special._ERFC_SCALED, u, dtype))
    large = w.node("Mul", w.node("Sign", x), w.node("Sub", one, tail))
    return w.node("Where", w.node("Less", w.node("Abs", x), one), small, large)


_COMPOSED: dict[str, Callable[[Writer, str, Any], str]] = {"expm1": _expm1, "log1p": _log1p}


def emit(w: Writer, op: str, args: list[str], dtype: Any) -> str | None:
    """A primitive of numbers of one type; None where there is no way to write it."""
    if op == "erf" and np.dtype(dtype) == np.float64:
        return _erf64(w, args[0], dtype)
    if op in _COMPOSED:
        return _COMPOSED[op](w, args[0], dtype)
    return w.node(NUMBERS[op], *args) if op in NUMBERS else None


def emit_test(w: Writer, op: str, args: list[str], dtype: Any) -> str | None:
    """A primitive that gives booleans, of operands of one type."""
    if op in TESTS:
        name, negated = TESTS[op]
        found = w.node(name, *args)
        return w.node("Not", found) if negated else found
    x = args[0]
    if op == "isnan":
        return w.node("Not", w.node("Equal", x, x))
    if op == "isfinite":  # false for NaN, which is less than nothing
        return w.node("Less", w.node("Abs", x), w.number(np.inf, dtype))
    logical = {"logical_and": "And", "logical_or": "Or", "logical_not": "Not"}.get(op)
    return w.node(logical, *args) if logical else None
