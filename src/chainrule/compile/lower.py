"""What is left of a program once the shapes and types of its inputs are known.

Lowering infers the shape and the NumPy type of every expression and drops what does nothing at
these shapes: sums over an axis of length one, broadcasts whose user broadcasts anyway, sizes
(which become numbers). In a lowered program no expression reads only the shape of an argument:
``sum_to``, ``broadcast_to`` and ``one_hot`` carry it as an attribute, and ``ones_like`` is
``full(1, shape)``. Two more operations appear: ``cast`` to the program's type and ``copy``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from chainrule.array.dtypes import DType, default_dtype, is_float
from chainrule.array.errors import ShapeError
from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr, Program, make, walk

__all__ = ["Lowered", "Shape", "Signature", "axes_of", "lower"]

Shape: TypeAlias = tuple[int, ...]
#: Of each input: (shape, type) of an array, or the class of a Python number.
Signature: TypeAlias = Sequence[tuple[Shape, DType] | type]

VIEWS = frozenset({"squeeze", "expand_dims", "broadcast_to", "cast"})
_CONSTANT_SIDE = {"less": "maximum", "less_equal": "maximum"}
_CONSTANT_SIDE |= {"greater": "minimum", "greater_equal": "minimum"}


@dataclass
class Lowered:
    """A program for one signature."""

    name: str
    inputs: tuple[Expr, ...]
    outputs: tuple[Any, ...]
    dtype: DType  # the floating type it runs in
    shapes: dict[Any, Shape]
    dtypes: dict[Any, Any]  # numpy.dtype, or the class of a Python number
    casts: set[Expr]  # steps that NumPy left alone would compute in a wider type

    def order(self) -> list[Expr]:
        """The steps, arguments before uses."""
        return [e for e in walk(self.outputs) if e.op != "input"]


def lower(
    program: Program, signature: Signature, keep_inputs: bool = True, counts: bool = False
) -> Lowered:
    """The program at these shapes and types.

    `keep_inputs`: an output that is an input is copied. `counts`: a size becomes an operand,
    ``count(n)``, in place of a number in the text, so that one text serves every size.
    """
    lowering = _Lowering(program, signature, counts)
    memo: dict[Expr, Any] = {}
    for e in walk(program.outputs):
        memo[e] = e if e.op == "input" else lowering.step(e, memo)
    outputs = []
    for o in program.outputs:
        o = lowering.output(memo[o] if isinstance(o, Expr) else o)
        if keep_inputs and isinstance(o, Expr) and o.op == "input":
            o = lowering.new("copy", (o,), (), lowering.shape(o), lowering.dtypes[o])
        outputs.append(o)
    return Lowered(
        program.name,
        program.inputs,
        tuple(outputs),
        lowering.dtype,
        lowering.shapes,
        lowering.dtypes,
        lowering.casts,
    )


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes as non-negative numbers."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        if not -max(ndim, 1) <= a < max(ndim, 1):
            raise ShapeError(f"there is no axis {a} in an array of {ndim} axes")
    return tuple(a % ndim for a in axes) if ndim else ()


def _size(shape: Shape) -> int:
    return math.prod(shape)


def _before_broadcast(a: Any) -> Any:
    return a.args[0] if isinstance(a, Expr) and a.op == "broadcast_to" else a


def _is_float(kind: Any) -> bool:
    return isinstance(kind, np.dtype) and is_float(kind)


class _Lowering:
    def __init__(self, program: Program, signature: Signature, counts: bool) -> None:
        self.counts = counts
        self.shapes: dict[Any, Shape] = {}
        self.dtypes: dict[Any, Any] = {}
        self.casts: set[Expr] = set()
        strong: list[DType] = []
        weak: list[DType] = []
        for x, s in zip(program.inputs, signature, strict=True):
            self.shapes[x], self.dtypes[x] = ((), s) if isinstance(s, type) else s
            if not isinstance(s, type) and is_float(s[1]):
                (strong if s[0] else weak).append(s[1])
        # arrays decide, scalars follow: see chainrule.array.dtypes
        self.integral = not strong and not weak
        floats = strong or weak or [default_dtype]
        self.dtype: DType = max(floats, key=lambda d: d.itemsize).newbyteorder("=")

    def new(
        self,
        op: str,
        args: tuple[Any, ...],
        attrs: tuple[tuple[str, Any], ...],
        shape: Shape,
        dtype: Any,
    ) -> Expr:
        e = make(op, args, attrs)
        self.shapes[e], self.dtypes[e] = shape, dtype
        return e

    def shape(self, a: Any) -> Shape:
        return self.shapes[a] if isinstance(a, Expr) else ()

    def kind(self, a: Any) -> Any:
        """The type an operand counts as: NumPy's, or float or int for a Python number."""
        found = self.dtypes[a] if isinstance(a, Expr) else type(a)
        return np.dtype(np.bool_) if found is bool else found

    def typed(self, a: Any) -> Any:
        """`a` in the program's type if it is a float that NumPy would take for a wider one."""
        kind = self.kind(a)
        wide = kind is float or (_is_float(kind) and self.widens(kind))
        return self.cast(a) if wide and isinstance(a, Expr) else a

    def widens(self, dtype: DType) -> bool:
        return is_float(dtype) and dtype.itemsize > self.dtype.itemsize

    def output(self, o: Any) -> Any:
        """A result in the program's type, also where it is a number or a Python number's symbol."""
        if isinstance(o, Expr):
            whole = self.kind(o) is int and not self.integral
            return self.cast(o) if whole else self.typed(o)
        return o if self.integral or isinstance(o, bool) else float(o)

    def cast(self, a: Any) -> Expr:
        return self.new("cast", (a,), (), self.shape(a), self.dtype)

    def full(self, value: Any, shape: Shape, dtype: Any) -> Any:
        """`value` everywhere; a number where the shape is ()."""
        dtype = dtype if isinstance(dtype, np.dtype) else self.dtype
        value = float(value) if is_float(dtype) else int(value)
        return self.new("full", (value,), (("shape", shape),), shape, dtype) if shape else value

    def step(self, e: Expr, memo: dict[Expr, Any]) -> Any:
        """The lowered form of one expression: an expression or a number."""
        args = tuple(memo[a] if isinstance(a, Expr) else a for a in e.args)
        attrs = dict(e.attrs)
        x = args[0]
        match e.op:
            case "call" | "stop_gradient":
                return x
            case "size":
                shape = self.shape(x)
                n = math.prod(shape[i] for i in axes_of(attrs["axis"], len(shape)))
                return self.new("count", (n,), (), (), self.dtype) if self.counts else n
            case "ones_like":
                return self.full(1, self.shape(x), self.kind(x))
            case "zeros_like":
                return self.full(0, self.shape(x), self.kind(x))
            case "sum" | "max":
                return self.reduction(e.op, x, attrs["axis"], attrs["keepdims"])
            case "sum_to" | "broadcast_to":
                return self.reshaped(e.op, x, self.shape(args[1]), attrs)
            case "squeeze":
                shape = self.shape(x)
                axes = axes_of(attrs["axis"], len(shape))
                target = tuple(n for i, n in enumerate(shape) if i not in axes)
                return self.reshaped(e.op, x, target, attrs)
            case "expand_dims":
                old = iter(self.shape(x))
                added = attrs["axis"] if isinstance(attrs["axis"], tuple) else (attrs["axis"],)
                ndim = len(self.shape(x)) + len(added)
                axes = axes_of(added, ndim)
                target = tuple(1 if i in axes else next(old) for i in range(ndim))
                return self.reshaped(e.op, x, target, attrs)
            case "one_hot":
                shape = self.shape(args[1])
                attributes = (("axis", attrs["axis"] % len(shape)), ("shape", shape))
                return self.new("one_hot", (x,), attributes, shape, np.dtype(np.bool_))
            case _:
                return self.elementwise(e.op, args, e.attrs)

    def reduction(self, op: str, x: Any, axis: Any, keepdims: bool) -> Any:
        shape = self.shape(x)
        if not shape:
            return x
        axes = axes_of(axis, len(shape))
        target = tuple(1 if i in axes else n for i, n in enumerate(shape)) if keepdims else ()
        if op == "max" and not _size(shape) and _size(target):  # as NumPy; a loop would give -inf
            raise ShapeError(f"there is no largest entry along an axis of length 0: shape {shape}")
        dtype = self.kind(x)
        if op == "sum" and not is_float(dtype):  # booleans are counted, small integers widened
            dtype = np.add.reduce(np.empty(0, dtype)).dtype
        if target == shape and dtype == self.kind(x):
            return x
        if x.op == "full" and _size(shape):
            count = _size(shape) // max(_size(target), 1) if op == "sum" else 1
            return self.full(x.args[0] * count, target, dtype)
        attrs = (("axis", axis), ("keepdims", keepdims))
        return self.new(op, (x,), attrs, target, dtype)

    def reshaped(self, op: str, x: Any, target: Shape, attrs: dict[str, Any]) -> Any:
        shape = self.shape(x)
        if shape == target:
            return x
        if not isinstance(x, Expr):
            return self.full(x, target, self.dtype)
        if x.op == "full" and _size(target):
            count = _size(shape) // _size(target) if op == "sum_to" else 1
            return self.full(x.args[0] * count, target, self.kind(x))
        x = self.typed(x)
        if op == "broadcast_to":
            x = _before_broadcast(x)
        if op in ("sum_to", "broadcast_to"):
            attrs = {"shape": target}
        dtype = self.kind(x)
        if op == "sum_to":
            if not is_float(dtype):
                dtype = np.add.reduce(np.empty(0, dtype)).dtype
            lead = len(shape) - len(target)
            if shape[lead:] == target or not lead:  # one call of sum does it
                axes = [i for i in range(len(shape)) if i < lead or shape[i] != target[i - lead]]
                axis = axes[0] if len(axes) == 1 else tuple(axes)
                op, attrs = "sum", {"axis": axis, "keepdims": not lead}
        return self.new(op, (x,), tuple(attrs.items()), target, dtype)

    def elementwise(self, op: str, args: tuple[Any, ...], attrs: Any) -> Any:
        row = PRIMITIVES[op]
        if not any(isinstance(a, Expr) for a in args):
            with np.errstate(all="ignore"):
                value = row.numpy(*args, **dict(attrs))
            return bool(value) if row.kind == "test" else float(value)
        shapes = [self.shape(a) for a in args]
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            raise ShapeError(
                f"{op}: shapes {' and '.join(str(s) for s in shapes if s)} do not broadcast; axes "
                "are matched from the last, and must be equal or 1"
            ) from None
        args = self.unbroadcast(args, shape)
        inner = tuple(_before_broadcast(a) for a in args)
        if np.broadcast_shapes(*map(self.shape, inner)) != shape and inner != args:
            small = self.elementwise(op, inner, attrs)  # on the few values, then broadcast
            return self.reshaped("broadcast_to", small, shape, {})
        if op == "where":
            limit = self.limit(*args)
            if limit is not None:
                return limit
        kinds = [self.kind(a) for a in args]
        dtype = self.result(row.numpy, op, kinds, args)
        cast = False
        if row.kind == "test":
            dtype = np.dtype(np.bool_)
        elif self.widens(dtype) or (is_float(dtype) and not any(map(_is_float, kinds))):
            cast = dtype != self.dtype  # NumPy takes exp of a boolean in float16
            dtype = self.dtype
        if not isinstance(row.numpy, np.ufunc) and is_float(dtype):
            args = tuple(
                a if (op == "where" and k == 0) else self.floating(a, dtype, cast)
                for k, a in enumerate(args)
            )
            cast = False
        e = self.new(op, args, tuple(attrs), shape, dtype)
        if cast:
            self.casts.add(e)
        return e

    def result(self, numpy: Any, op: str, kinds: list[Any], args: tuple[Any, ...]) -> DType:
        """The type NumPy gives to a primitive of operands of these kinds."""
        if op == "where":
            a, b = kinds[1:]
            if isinstance(b, np.dtype) and type(args[1]) is float and args[1] == 0:
                return b  # a zero takes the type of the other branch
            if isinstance(a, np.dtype) and type(args[2]) is float and args[2] == 0:
                return a
            kinds, numpy = [a, b], np.add
        if not isinstance(numpy, np.ufunc):
            kind = kinds[0]
            return kind if _is_float(kind) else np.dtype(np.float64)
        found: DType = numpy.resolve_dtypes((*kinds, None))[-1]
        return found

    def floating(self, a: Any, dtype: DType, cast: bool) -> Any:
        """An operand of a primitive that takes its type from its operands."""
        kind = self.kind(a)
        fits = kind == dtype or (not cast and (kind is float or kind is int))
        return a if fits else self.cast(a)

    def unbroadcast(self, args: tuple[Any, ...], shape: Shape) -> tuple[Any, ...]:
        """Operands before they were broadcast, where the others give the shape all the same."""
        result = list(args)
        for k, a in enumerate(args):
            if isinstance(a, Expr) and a.op in ("broadcast_to", "full"):
                inner = a.args[0]
                rest = [self.shape(b) for i, b in enumerate(result) if i != k]
                if np.broadcast_shapes(self.shape(inner), *rest) == shape:
                    result[k] = inner
        return tuple(result)

    def limit(self, c: Any, a: Any, b: Any) -> Expr | None:
        """``where(x <= 0, 0, x)`` is the maximum, which keeps NaN as well, in one step for two."""
        if not (isinstance(c, Expr) and c.op in _CONSTANT_SIDE and isinstance(b, Expr)):
            return None
        x, bound = c.args
        if x is not b or isinstance(bound, Expr) or isinstance(a, Expr) or bound != a:
            return None
        if not _is_float(self.kind(b)) or self.widens(self.kind(b)):
            return None
        op = _CONSTANT_SIDE[c.op]
        return self.new(op, (b, a), (), self.shape(b), self.kind(b))
