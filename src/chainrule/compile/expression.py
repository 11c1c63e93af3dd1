"""The small intermediate form: an expression is a primitive applied to expressions.

Expressions are interned (equal ones are the same object), so common subexpressions are found by
construction and a dictionary keyed by expression needs no hashing of structure. They know no
shapes: one trace serves every shape, and the printers look at shapes when they print.

Beside the primitives there are operations of the form's own: ``input``; ``size``, a number known at
run time; ``ones_like`` and ``zeros_like``; and ``call(value, *arguments, formula=f)``, the identity
on ``value``, which remembers that it is formula f of the arguments so that f's own derivative is
used.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np

from chainrule.array.primitives import PRIMITIVES

__all__ = ["SYMBOLS", "Expr", "Operand", "Program", "walk"]

#: An argument of an expression: another expression, or a Python number.
Operand: TypeAlias = "Expr | float | int | bool"

_interned: WeakValueDictionary[Any, Expr] = WeakValueDictionary()
_lock = threading.RLock()


class Expr:
    """A symbolic value. Build with `SYMBOLS` or Python's operators, not by hand."""

    __slots__ = ("__weakref__", "args", "attrs", "op")

    op: str
    args: tuple[Any, ...]
    attrs: tuple[tuple[str, Any], ...]

    def __repr__(self) -> str:
        if self.op == "input":
            return str(self.args[0])
        inside = [repr(a) for a in self.args] + [f"{k}={v!r}" for k, v in self.attrs]
        return f"{self.op}({', '.join(inside)})"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """NumPy must not swallow a symbol into an object array."""
        if any(isinstance(a, np.ndarray | np.generic) for a in inputs):
            return apply(ufunc.__name__, *inputs)  # raises: a constant of the wrong type
        raise TypeError(
            f"np.{ufunc.__name__} cannot be traced: a formula uses its first argument, such as "
            f"xp.{ufunc.__name__ if hasattr(SYMBOLS, ufunc.__name__) else 'sum'}(x)"
        )

    @property
    def shape(self) -> _Shape:
        """``x.shape[axis]`` in a text: a number known when the program runs."""
        return _Shape(self)

    def __len__(self) -> int:
        raise TypeError("a formula is traced without shapes: write x.shape[0], not len(x)")

    def __bool__(self) -> bool:
        raise TypeError(
            "a formula must not branch on its values: `if`, `and`, `or`, `not` and chained "
            "comparisons cannot be traced. Use xp.where(condition, a, b), & and |"
        )

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a formula cannot iterate over its values: write array operations")

    def __getitem__(self, index: Any) -> Any:
        raise TypeError(
            "indexing cannot be traced in a formula; formulas are element-wise with reductions. "
            "Write a function of tensors with cr.ops instead"
        )

    def __setitem__(self, index: Any, value: Any) -> Any:
        raise TypeError(
            "a formula must not write into an array: give the new value as an expression, such as "
            "xp.where(condition, a, b)"
        )

    def __float__(self) -> float:
        raise TypeError(
            "a formula must not read its values: float(), int() and math.* cannot be traced; "
            "write xp.exp(x) for math.exp(x)"
        )

    __int__: Any = __float__
    __index__: Any = __float__

    def __add__(self, other: Any) -> Any:
        return apply("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return apply("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return apply("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return apply("divide", other, self)

    def __pow__(self, other: Any) -> Any:
        return apply("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return apply("pow", other, self)

    def __neg__(self) -> Any:
        return apply("negative", self)

    def __pos__(self) -> Expr:
        return self

    def __abs__(self) -> Any:
        return apply("abs", self)

    def __lt__(self, other: Any) -> Any:
        return apply("less", self, other)

    def __le__(self, other: Any) -> Any:
        return apply("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return apply("greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return apply("greater_equal", self, other)

    def __and__(self, other: Any) -> Any:
        return apply("logical_and", self, other)

    def __or__(self, other: Any) -> Any:
        return apply("logical_or", self, other)

    def __invert__(self) -> Any:
        return apply("logical_not", self)


class _Shape:
    __slots__ = ("of",)

    def __init__(self, of: Expr) -> None:
        self.of = of

    def __getitem__(self, axis: int) -> Expr:
        return make("size", (self.of,), (("axis", axis),))


def make(op: str, args: tuple[Any, ...], attrs: tuple[tuple[str, Any], ...] = ()) -> Expr:
    """The one expression with this operation, arguments and attributes."""
    # types are part of the key: 1, 1.0 and True are equal in Python but not here
    key = (op, args, tuple(map(type, args)), attrs)
    with _lock:
        found = _interned.get(key)
        if found is None:
            found = Expr()
            found.op, found.args, found.attrs = op, args, attrs
            _interned[key] = found
        return found


def apply(op: str, *args: Any, **attrs: Any) -> Any:
    """`op` on symbols, after the few simplifications that are exact for every float."""
    for a in args:
        if not isinstance(a, Expr | float | int) or isinstance(a, np.generic):
            raise TypeError(
                f"xp.{op} in a formula got {type(a).__name__}; a formula's constants must be "
                "Python numbers (a NumPy scalar would turn float32 into float64). Arrays go in as "
                "arguments"
            )
    simple = _simplify(op, args, attrs)
    if simple is not None:
        return simple
    return make(op, args, tuple(sorted(attrs.items())))


def _is(a: Any, value: float) -> bool:
    return not isinstance(a, Expr) and a == value


def _simplify(op: str, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
    if args and not any(isinstance(a, Expr) for a in args):
        if op in ("stop_gradient", "broadcast_to", "sum_to", "call"):
            return args[0]
        with np.errstate(all="ignore"):
            value = PRIMITIVES[op].numpy(*args, **attrs)
        return bool(value) if PRIMITIVES[op].kind == "test" else float(value)
    match op, args:
        case "multiply", (a, b):
            if _is(a, 1):
                return b
            if _is(b, 1):
                return a
            if _is(a, -1):
                return make("negative", (b,))
            if _is(b, -1):
                return make("negative", (a,))
        case "divide", (a, b) if _is(b, 1):
            return a
        case "pow", (a, b):
            if _is(b, 1):
                return a
            if _is(b, 2):
                return make("multiply", (a, a))
            if _is(b, 3):
                return make("multiply", (make("multiply", (a, a)), a))
            if _is(b, -1):
                return make("divide", (1.0, a))
            if _is(b, 0.5):
                return make("sqrt", (a,))
            if _is(b, 0):
                return make("ones_like", (a,)) if isinstance(a, Expr) else 1.0
        case "negative", (Expr(op="negative", args=(a,)),):
            return a
        case "where", (c, a, b):
            if a is b:
                return a
            if isinstance(c, bool):
                return a if c else b
        case (("sum_to" | "broadcast_to"), (a, like)) if a is like:
            return a
        case _:
            pass
    return None


#: What `xp` has beside the primitives.
_COMPOSED = ("digamma", "mean", "min", "ones_like", "square", "zeros_like")


class Symbols:
    """The namespace `xp` in which a text runs to be traced."""

    def __getattr__(self, name: str) -> Any:
        if name in PRIMITIVES:

            def call(*args: Any, **attrs: Any) -> Any:
                return apply(name, *args, **attrs)

            call.__name__ = name
            setattr(self, name, call)
            return call
        raise AttributeError(
            f"xp has no primitive {name!r}; formulas are element-wise with reductions and know: "
            + ", ".join(sorted({*PRIMITIVES, *_COMPOSED}))
        )

    def sum(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return _reduce("sum", x, axis, keepdims)

    def max(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return _reduce("max", x, axis, keepdims)

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self.sum(x, axis, keepdims) / make("size", (x,), (("axis", axis),))

    def one_hot(self, labels: Any, like: Any, axis: int = -1) -> Any:
        return apply("one_hot", labels, like, axis=axis)

    def digamma(self, x: Any) -> Any:
        return apply("polygamma", x, n=0)

    def min(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return -self.max(-x, axis, keepdims)

    def square(self, x: Any) -> Any:
        return x * x

    def ones_like(self, x: Any) -> Any:
        return make("ones_like", (x,))

    def zeros_like(self, x: Any) -> Any:
        return make("zeros_like", (x,))


def _reduce(op: str, x: Any, axis: Any, keepdims: bool) -> Any:
    """A reduction keeps its axes, so that its derivative broadcasts; dropping them is a step."""
    axis = tuple(axis) if isinstance(axis, list) else axis
    if axis is None and not keepdims:
        return apply(op, x, axis=None, keepdims=False)
    total = apply(op, x, axis=axis, keepdims=True)
    return total if keepdims else apply("squeeze", total, axis=axis)


SYMBOLS = Symbols()


@dataclass(frozen=True, eq=False)
class Program:
    """A traced text: named inputs and output expressions."""

    name: str
    inputs: tuple[Expr, ...]
    outputs: tuple[Any, ...]  # Expr, or a Python number for a constant output

    def __str__(self) -> str:
        lines = [f"{self.name}({', '.join(map(str, self.inputs))})"]
        names: dict[Any, str] = {i: str(i) for i in self.inputs}

        def show(a: Any) -> str:
            return names[a] if isinstance(a, Expr) else repr(a)

        for e in walk(self.outputs):
            if e.op != "input":
                names[e] = f"t{len(names) - len(self.inputs)}"
                inside = [show(a) for a in e.args] + [f"{k}={v!r}" for k, v in e.attrs]
                lines.append(f"  {names[e]} = {e.op}({', '.join(inside)})")
        return "\n".join([*lines, f"  return {', '.join(show(o) for o in self.outputs)}"])


def walk(roots: Iterable[Any]) -> list[Expr]:
    """Every expression below `roots`, arguments before uses. Iterative: depth is no limit."""
    order: list[Expr] = []
    done: set[Expr] = set()
    stack: list[tuple[Any, bool]] = [(r, False) for r in reversed(list(roots))]
    while stack:
        e, ready = stack.pop()
        if not isinstance(e, Expr) or e in done:
            continue
        if ready:
            done.add(e)
            order.append(e)
        else:
            stack.append((e, True))
            stack.extend((a, False) for a in reversed(e.args) if e.op != "input")
    return order
