"""`Graph`: everything a step computes, as one graph of lowered expressions.

A captured step calls many programs; here their expressions are joined, each program's inputs
replaced by what it was called with. Because expressions are interned, what is computed twice is
one node. Beside the primitives the graph has operations on whole arrays:

    =============  ==========================================================================
    ``memory``     ``(k)``: the k-th live array, flat: parameters, optimizer state, constants
    ``region``     a contiguous part of a flat array, from `offset` on, in a `shape`
    ``strided``    a part of a flat array with `strides` (in elements), which is copied
    ``product``    ``a @ b`` of matrices
    ``permute``    axes in another order; of a matrix in a product, only a flag
    ``reshape``    the same entries in another shape
    ``slice``      every `step`-th entry from `start` to `stop`, axis by axis
    ``concat``     arrays one after the other along an axis
    ``place``      zeros of a shape with the argument at a slice: the adjoint of ``slice``
    ``gather``     ``(x, *tables)``: rows of tables at codes (see `chainrule.compile.lookup`)
    ``scatter``    ``(g, x)``: the sums of rows at their codes: the adjoint of ``gather``
    ``count``      a size, as an operand
    ``random``     the k-th draw of random bits, true with a probability
    ``host``       ``(k, *arguments)``: the k-th call that NumPy does
    =============  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.array.dtypes import DType, is_float
from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr, Program, make, walk
from chainrule.compile.lower import Lowered, Shape, lower

__all__ = ["Graph"]

Attributes = tuple[tuple[str, Any], ...]


class Graph:
    """Expressions with their shapes and types.

    Attributes:
        shapes, dtypes: of every expression.
        casts: steps that NumPy left alone would compute in a wider type (see `Lowered`).
        formulas: the name of the program an expression first came from.
        hints: what a program called it that took it as an argument.
    """

    def __init__(self) -> None:
        self.shapes: dict[Any, Shape] = {}
        self.dtypes: dict[Any, Any] = {}
        self.casts: set[Expr] = set()
        self.formulas: dict[Expr, str] = {}
        self.hints: dict[Expr, str] = {}

    # -- making nodes -----------------------------------------------------------------------------

    def add(
        self, op: str, args: Sequence[Any], attrs: Attributes, shape: Shape, dtype: Any
    ) -> Expr:
        """The node with this operation, arguments and attributes."""
        e = make(op, tuple(args), attrs)
        self.shapes[e], self.dtypes[e] = tuple(shape), np.dtype(dtype)
        return e

    def input(self, name: str, shape: Shape, dtype: Any) -> Expr:
        """An argument of the step."""
        return self.add("input", (name,), (), shape, dtype)

    def memory(self, k: int, size: int, dtype: Any) -> Expr:
        """Live array number k, flat."""
        return self.add("memory", (k,), (), (size,), dtype)

    def shape(self, a: Any) -> Shape:
        """The shape of an operand; of a number ()."""
        return self.shapes[a] if isinstance(a, Expr) else ()

    def region(self, flat: Expr, offset: int, shape: Shape) -> Expr:
        """A contiguous part of a flat array."""
        if flat.op == "region":
            attrs = dict(flat.attrs)
            return self.region(flat.args[0], attrs["offset"] + offset, shape)
        if offset == 0 and shape == self.shapes[flat]:
            return flat
        attributes = (("offset", int(offset)), ("shape", tuple(shape)))
        return self.add("region", (flat,), attributes, shape, self.dtypes[flat])

    def strided(self, flat: Expr, offset: int, shape: Shape, strides: Shape) -> Expr:
        """A part of a flat array in which entries are not one after the other."""
        attrs = (("offset", int(offset)), ("shape", shape), ("strides", strides))
        return self.add("strided", (flat,), attrs, shape, self.dtypes[flat])

    def reshape(self, x: Any, shape: Shape) -> Any:
        """The same entries in another shape."""
        if self.shapes[x] == shape:
            return x
        if x.op == "reshape":
            return self.reshape(x.args[0], shape)
        if x.op in ("region", "memory"):
            return self.region(x, 0, shape)
        if x.op == "full":
            return self.full(x.args[0], shape, self.dtypes[x])
        return self.add("reshape", (x,), (("shape", tuple(shape)),), shape, self.dtypes[x])

    def permute(self, x: Any, axes: tuple[int, ...]) -> Any:
        """The axes of x in another order."""
        if axes == tuple(range(len(axes))):
            return x
        if x.op == "permute":
            before = dict(x.attrs)["axes"]
            return self.permute(x.args[0], tuple(before[a] for a in axes))
        shape = tuple(self.shapes[x][a] for a in axes)
        moved = [a for a in axes if self.shapes[x][a] != 1]
        if moved == sorted(moved):  # only axes of length 1 change their place
            return self.reshape(x, shape)
        return self.add("permute", (x,), (("axes", axes),), shape, self.dtypes[x])

    def product(self, a: Any, b: Any) -> Any:
        """``a @ b`` of two matrices."""
        shape = (self.shapes[a][0], self.shapes[b][1])
        return self.add("product", (a, b), (), shape, self.dtypes[a])

    def full(self, value: Any, shape: Shape, dtype: Any) -> Any:
        """`value` everywhere; the number itself where the shape is ()."""
        value = float(value) if is_float(np.dtype(dtype)) else value
        if not shape:
            return value
        return self.add("full", (value,), (("shape", tuple(shape)),), shape, dtype)

    def concat(self, xs: Sequence[Any], axis: int) -> Any:
        """Arrays one after the other along an axis."""
        if len(xs) == 1:
            return xs[0]
        first = self.shapes[xs[0]]
        total = sum(self.shapes[x][axis] for x in xs)
        shape = (*first[:axis], total, *first[axis + 1 :])
        return self.add("concat", xs, (("axis", axis),), shape, self.dtypes[xs[0]])

    # -- joining programs -------------------------------------------------------------------------

    def call(self, program: Program, args: Sequence[Any], kinds: Sequence[Any]) -> list[Any]:
        """The outputs of a program on these operands: expressions, or numbers of shape ().

        `kinds` gives shape and type of each operand, or the class of a Python number.
        """
        low = lower(program, kinds, keep_inputs=False, counts=True)
        for x, a in zip(low.inputs, args, strict=True):
            if isinstance(a, Expr):
                self.hints.setdefault(a, str(x))
        return self.join(low, dict(zip(low.inputs, args, strict=True)))

    def join(self, low: Lowered, memo: dict[Expr, Any]) -> list[Any]:
        """The outputs of a lowered program in which the inputs in `memo` are replaced."""
        for e in walk(low.outputs):
            if e in memo:
                continue
            args = tuple(memo[a] if isinstance(a, Expr) else a for a in e.args)
            memo[e] = self._rebuilt(e, args, low)
        return [memo[o] if isinstance(o, Expr) else o for o in low.outputs]

    def _rebuilt(self, e: Expr, args: tuple[Any, ...], low: Lowered) -> Any:
        shape, dtype = low.shapes[e], low.dtypes[e]
        dtype = dtype if isinstance(dtype, np.dtype) else low.dtype
        if e.op == "count":
            return self.add("count", (*args, str(dtype)), (), (), dtype)
        if not any(isinstance(a, Expr) for a in args) and e.op != "full":
            return self._constant(e, args, shape, dtype, low)
        if e.op == "copy":  # whether memory is shared is decided when memory is given out
            return args[0]
        if e.op == "cast" and self.dtypes[args[0]] == dtype:
            return args[0]
        x = self._neutral(e.op, args)
        if x is not None and self.shape(x) == shape and self.dtypes.get(x) == dtype:
            return x
        if e.op in ("squeeze", "expand_dims"):
            return self.reshape(args[0], shape)
        new = self.add(e.op, args, e.attrs, shape, dtype)
        self.formulas.setdefault(new, low.name)
        if e in low.casts:
            self.casts.add(new)
        return new

    def _neutral(self, op: str, args: tuple[Any, ...]) -> Any:
        """x of ``1 * x`` and ``x / 1``, which change no bit."""
        ones = [type(a) is float and a == 1.0 for a in args]
        if op == "multiply" and any(ones):
            return args[0 if ones[1] else 1]
        return args[0] if op == "divide" and ones[1] else None

    def _constant(
        self, e: Expr, args: tuple[Any, ...], shape: Shape, dtype: DType, low: Lowered
    ) -> Any:
        """A step on numbers alone, rounded as it would be if it ran."""
        row = PRIMITIVES.get(e.op)
        attrs = dict(e.attrs)
        if row is None or row.kind not in ("elementwise", "test"):
            value = args[0]  # cast, copy, broadcasts, and reductions of one number
            return self.full(value, shape, dtype)
        kind = low.dtype if row.kind == "test" else dtype
        with np.errstate(all="ignore"):
            typed = [a if isinstance(a, bool) else kind.type(a) for a in args]
            value = row.numpy(*typed, **attrs)
        value = bool(value) if row.kind == "test" else float(value)
        return self.full(value, shape, dtype)
