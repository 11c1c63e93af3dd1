"""From the graph of a captured forward pass to ONNX, expression by expression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr
from chainrule.compile.lower import axes_of
from chainrule.interop.onnx import hosted
from chainrule.interop.onnx.elementwise import emit, emit_test
from chainrule.interop.onnx.trace import Pair, Rows
from chainrule.interop.onnx.writer import ExportError, Writer

__all__ = ["Translator"]

Size = int | Rows


class Translator:
    """Writes what a pair of traces computed.

    Arguments:
        writer: where to.
        pair: the forward pass.
        inputs: the values that stand for its arguments.
        names: of live memory, by (array, offset, shape).
    """

    def __init__(
        self, writer: Writer, pair: Pair, inputs: Sequence[str], names: dict[Any, str]
    ) -> None:
        self.w, self.pair, self.names = writer, pair, names
        self.shapes, self.dtypes = pair.first.graph.shapes, pair.first.graph.dtypes
        self.values: dict[Expr, str] = dict(zip(pair.first.inputs, inputs, strict=True))
        #: the number of rows, as a vector of one number
        self.n = writer.rows(inputs[0])
        self.uses: dict[Expr, int] = {}
        order = pair.first.order()
        for e in order:
            for a in e.args:
                if isinstance(a, Expr):
                    self.uses[a] = self.uses.get(a, 0) + 1
        for o in pair.first.outputs:
            if isinstance(o.expr, Expr):
                self.uses[o.expr] = self.uses.get(o.expr, 0) + 1
        joined = {e.args[0] for e in order if self._bias(e) is not None}
        for e in order:
            if e in self.values or e in joined or e.op == "memory":
                continue
            writer.scope = pair.scope(e)
            self.values[e] = self.write(e)

    def outputs(self) -> Iterator[tuple[str, Any, list[Size]]]:
        """Value, type and shape of each result."""
        for a, b in self.pair.outputs:
            if not isinstance(a.expr, Expr):
                yield self.w.number(a.expr, a.dtype), a.dtype, []
                continue
            self.pair.twin.setdefault(a.expr, b.expr)
            value = self.value(a.expr)
            if self.dtypes[a.expr] != a.dtype:
                value = self.w.cast(value, a.dtype)
            yield value, a.dtype, self.pair.sizes(a.shape, b.shape, a.expr)

    # -- operands ---------------------------------------------------------------------------------

    def value(self, e: Expr) -> str:
        """The value of an expression that was written, or of live memory."""
        if e.op == "memory" and e not in self.values:
            self.values[e] = self._memory(e, e, 0, self.shapes[e])
        return self.values[e]

    def operand(self, e: Expr, k: int, dtype: Any) -> str:
        """The k-th argument of e in a type."""
        a, b = e.args[k], self.pair.twin[e].args[k]
        if isinstance(a, Expr):
            value = self.value(a)
            return value if self.dtypes[a] == dtype else self.w.cast(value, dtype)
        same = a == b or (a != a and b != b)
        if same:
            return self.w.number(a, dtype)
        size = self.pair.size(int(a), int(b), e) if a == int(a) and b == int(b) else None
        if size is None:
            self.pair.size(a, b, e)  # says why not
        return self.w.cast(self.w.node("Squeeze", self.dimension(size)), dtype)

    def dimension(self, size: Any) -> str:
        """A size as a vector of one number."""
        if not isinstance(size, Rows):
            return self.w.ints(size)
        value = self.n
        if size.times != 1:
            value = self.w.node("Mul", value, self.w.ints(size.times))
        return value if not size.plus else self.w.node("Add", value, self.w.ints(size.plus))

    def vector(self, sizes: Sequence[Size]) -> str:
        """Several sizes as a vector."""
        if not any(isinstance(s, Rows) for s in sizes):
            return self.w.ints(*[s for s in sizes if isinstance(s, int)])
        return self.w.node("Concat", *map(self.dimension, sizes), axis=0)

    def reshaped(self, value: str, sizes: Sequence[Size]) -> str:
        """A value in a shape; one side that depends on the rows is found by ONNX itself."""
        more: dict[str, Any] = {"allowzero": 1} if 0 in sizes else {}
        if sum(isinstance(s, Rows) for s in sizes) == 1 and not more:
            plain = [-1 if isinstance(s, Rows) else s for s in sizes]
            return self.w.node("Reshape", value, self.w.ints(*plain))
        return self.w.node("Reshape", value, self.vector(sizes), **more)

    def refuse(self, e: Expr, what: str) -> ExportError:
        """The error for an expression that has no form in ONNX."""
        formula = self.pair.first.graph.formulas.get(e, "")
        inside = f" (in {formula})" if formula and formula.strip("_") != what else ""
        return ExportError(
            f"{self.pair.layer(e)}: {what}{inside} has no form in ONNX; take it out of the "
            "evaluation-mode forward pass, or export the part of the model before it"
        )

    # -- expressions ------------------------------------------------------------------------------

    def write(self, e: Expr) -> str:
        """Write one expression; its value."""
        method = getattr(self, f"on_{e.op}", None)
        if method is not None:
            return method(e)  # type: ignore[no-any-return]
        row = PRIMITIVES.get(e.op)
        if row is None:
            raise self.refuse(e, e.op)
        if row.kind == "test":
            dtype = self._common(e)
            value = emit_test(self.w, e.op, self._operands(e, dtype), dtype)
        else:
            dtype = self.dtypes[e]
            value = emit(self.w, e.op, self._operands(e, dtype), dtype)
        if value is None:
            raise self.refuse(e, e.op)
        return value

    def _operands(self, e: Expr, dtype: Any) -> list[str]:
        return [self.operand(e, k, dtype) for k in range(len(e.args))]

    def _common(self, e: Expr) -> Any:
        """The type in which the operands of a test are compared."""
        if e.op.startswith("logical"):
            return np.dtype(np.bool_)
        kinds = [self.dtypes[a] if isinstance(a, Expr) else a for a in e.args]
        found = np.result_type(*kinds)
        return np.dtype(np.int32) if found.kind == "b" else found

    def on_add(self, e: Expr) -> str:
        bias = self._bias(e)
        if bias is not None:
            return self._gemm(e.args[0], self.value(bias))
        return self.w.node("Add", *self._operands(e, self.dtypes[e]))

    def on_maximum(self, e: Expr) -> str:
        dtype = self.dtypes[e]
        if not isinstance(e.args[1], Expr) and e.args[1] == 0 and dtype.kind == "f":
            return self.w.node("Relu", self.operand(e, 0, dtype))  # it keeps NaN too
        return self.w.node("Max", *self._operands(e, dtype))

    def on_where(self, e: Expr) -> str:
        c = self.operand(e, 0, np.dtype(np.bool_))
        return self.w.node("Where", c, *(self.operand(e, k, self.dtypes[e]) for k in (1, 2)))

    def on_cast(self, e: Expr) -> str:
        return self.operand(e, 0, self.dtypes[e])

    def on_count(self, e: Expr) -> str:
        return self.operand(e, 0, self.dtypes[e])

    def on_full(self, e: Expr) -> str:
        value = self.operand(e, 0, self.dtypes[e])
        return self.w.node("Expand", value, self.vector(self.pair.shape(e)))

    def on_broadcast_to(self, e: Expr) -> str:
        value = self.operand(e, 0, self.dtypes[e])
        return self.w.node("Expand", value, self.vector(self.pair.shape(e)))

    def on_reshape(self, e: Expr) -> str:
        return self.reshaped(self.value(e.args[0]), self.pair.shape(e))

    def on_permute(self, e: Expr) -> str:
        return self.w.node("Transpose", self.value(e.args[0]), perm=list(dict(e.attrs)["axes"]))

    def on_sum(self, e: Expr) -> str:
        attrs = dict(e.attrs)
        value, keep = self.operand(e, 0, self.dtypes[e]), int(attrs["keepdims"])
        if attrs["axis"] is None:
            return self.w.node("ReduceSum", value, keepdims=keep)
        axes = axes_of(attrs["axis"], len(self.shapes[e.args[0]]))
        return self.w.node("ReduceSum", value, self.w.ints(*axes), keepdims=keep)

    def on_sum_to(self, e: Expr) -> str:
        shape, target = self.shapes[e.args[0]], self.shapes[e]
        lead = len(shape) - len(target)
        axes = [k for k, n in enumerate(shape) if k < lead or (target[k - lead] == 1 and n != 1)]
        value = self.operand(e, 0, self.dtypes[e])
        value = self.w.node("ReduceSum", value, self.w.ints(*axes), keepdims=1)
        return self.reshaped(value, self.pair.shape(e))

    def on_max(self, e: Expr) -> str:
        attrs, w = dict(e.attrs), self.w
        dtype = self.dtypes[e]
        value, keep = self.operand(e, 0, dtype), bool(attrs["keepdims"])
        axes = None
        if attrs["axis"] is not None:
            axes = axes_of(attrs["axis"], len(self.shapes[e.args[0]]))
        if dtype.kind == "b":
            raise self.refuse(e, "the maximum of booleans")
        found = w.maximum_along(value, axes, keep)
        if dtype.kind != "f":
            return found
        # onnxruntime may pass over NaN
        odd = w.cast(w.node("Not", w.node("Equal", value, value)), np.dtype(np.int32))
        any_odd = w.cast(w.maximum_along(odd, axes, keep), np.dtype(np.bool_))
        return w.node("Where", any_odd, w.number(np.nan, dtype), found)

    def on_one_hot(self, e: Expr) -> str:
        axis, sizes = dict(e.attrs)["axis"], self.pair.shape(e)
        classes = sizes[axis]
        if isinstance(classes, Rows):
            raise self.refuse(e, "one_hot along the rows")
        codes = self.operand(e, 0, np.dtype(np.int64))
        shape = [1] * len(sizes)
        shape[axis] = classes
        return self.w.node("Equal", codes, self.w.constant(np.arange(classes).reshape(shape)))

    # -- products ---------------------------------------------------------------------------------

    def _bias(self, e: Expr) -> Expr | None:
        """The bias of a product that nothing else needs: the two are one operator."""
        if e.op != "add" or not all(isinstance(a, Expr) for a in e.args):
            return None
        product, bias = e.args
        if product.op != "product" or self.uses.get(product) != 1:
            return None
        fits = self.shapes[bias] == self.shapes[product][1:] and bias.op in ("region", "memory")
        return bias if fits and self.dtypes[bias] == self.dtypes[product] else None

    def on_product(self, e: Expr) -> str:
        return self._gemm(e)

    def _gemm(self, e: Expr, *bias: str) -> str:
        flags: dict[str, Any] = {}
        values = []
        for a, flag in zip(e.args, ("transA", "transB"), strict=True):
            flipped = a.op == "permute" and a.args[0].op in ("region", "memory")
            flags |= {flag: 1} if flipped else {}
            values.append(self.value(a.args[0] if flipped else a))
        return self.w.node("Gemm", *values, *bias, **flags)

    # -- live memory ------------------------------------------------------------------------------

    def on_region(self, e: Expr) -> str:
        shape = dict(e.attrs)["shape"]
        return self._memory(e, e.args[0], dict(e.attrs)["offset"], shape)

    def _memory(self, e: Expr, flat: Expr, offset: int, shape: tuple[int, ...]) -> str:
        """What a part of live memory holds now, as a constant."""
        two = self.pair.twin.get(e, e)
        k, j = flat.args[0], (two.args[0] if two.op == "region" else two).args[0]
        size = int(np.prod(shape, dtype=np.int64))
        found = self.pair.first.recorder.bases[k][offset : offset + size].reshape(shape)
        if self.pair.second.graph.shapes[two] != shape:
            raise ExportError(
                f"{self.pair.layer(e)}: it makes an array whose size depends on the number of "
                "rows; compute it from the input, as x * 0 + 1"
            )
        offset_two = dict(two.attrs).get("offset", 0)
        again = self.pair.second.recorder.bases[j][offset_two : offset_two + size].reshape(shape)
        if not np.array_equal(found, again, equal_nan=found.dtype.kind == "f"):
            raise ExportError(
                f"{self.pair.layer(e)}: it makes an array with other values at every call"
            )
        return self.w.constant(found, self.names.get((k, offset, shape), "constant"))

    def on_strided(self, e: Expr) -> str:
        attrs = dict(e.attrs)
        base = self.pair.first.recorder.bases[e.args[0].args[0]][attrs["offset"] :]
        strides = tuple(s * base.itemsize for s in attrs["strides"])
        view = np.lib.stride_tricks.as_strided(base, attrs["shape"], strides, writeable=False)
        return self.w.constant(np.array(view))

    # -- parts of arrays --------------------------------------------------------------------------

    def on_slice(self, e: Expr) -> str:
        one, two = (dict(x.attrs)["slices"] for x in (e, self.pair.twin[e]))
        whole = self.pair.shape(e.args[0])
        starts, stops, axes, steps = [], [], [], []
        for axis, (a, b) in enumerate(zip(one, two, strict=True)):
            start, stop, step = self.pair.sizes(a, b, e)
            if (start, step) == (0, 1) and stop == whole[axis]:
                continue
            starts.append(start)
            stops.append(stop)
            axes.append(axis)
            steps.append(step)
        return self.w.node(
            "Slice",
            self.value(e.args[0]),
            self.vector(starts),
            self.vector(stops),
            self.w.ints(*axes),
            self.vector(steps),
        )

    def on_concat(self, e: Expr) -> str:
        return self.w.node("Concat", *self._operands(e, self.dtypes[e]), axis=dict(e.attrs)["axis"])

    def on_gather(self, e: Expr) -> str:
        kept, w = dict(e.attrs)["kept"], self.w
        integers = np.dtype(np.int64)
        if kept < 0:
            return w.node(
                "Gather", self.operand(e, 1, self.dtypes[e]), self.operand(e, 0, integers)
            )
        x = self.value(e.args[0])
        parts = [w.node("Slice", x, w.ints(0), w.ints(kept), w.ints(1))] if kept else []
        for j in range(1, len(e.args)):
            column = w.node("Gather", x, w.constant(np.int64(kept + j - 1), "column"), axis=1)
            table = self.operand(e, j, self.dtypes[e])
            parts.append(w.node("Gather", table, w.cast(column, integers)))
        return w.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]

    # -- what NumPy does --------------------------------------------------------------------------

    def on_host(self, e: Expr) -> str:
        return hosted.write(self, e)

    def on_random(self, e: Expr) -> str:
        raise ExportError(
            f"{self.pair.layer(e)}: it draws random numbers in evaluation mode, which ONNX files "
            "must not"
        )
