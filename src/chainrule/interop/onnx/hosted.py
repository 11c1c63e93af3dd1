"""The functions of NumPy that a captured forward pass calls, as ONNX operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.compile import native
from chainrule.compile.expression import Expr

if TYPE_CHECKING:
    from chainrule.interop.onnx.translate import Translator

__all__ = ["write"]

_FLOAT_OPS = {"power": "Pow", "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div"}
_FLOAT_OPS |= {"maximum": "Max", "minimum": "Min"}


class _Call:
    """A call with its arguments: values of the graph by name, and everything else as it is."""

    def __init__(self, t: Translator, e: Expr) -> None:
        self.t, self.e, self.w = t, e, t.w
        function, template, options = t.pair.first.recorder.functions[e.args[0]]
        twin = t.pair.second.recorder.functions[t.pair.twin[e].args[0]]
        self.name = str(getattr(function, "__name__", function)).lstrip("_")
        self.dtype = t.dtypes[e]
        given = iter(e.args[1:])
        self.args = [next(given) if a is native.GIVEN else a for a in template]
        self.options = dict(options)
        fixed = [a for a in template if a is not native.GIVEN]
        others = [a for a in twin[1] if a is not native.GIVEN]
        if repr((fixed, options)) != repr((others, twin[2])):
            raise t.refuse(e, f"np.{self.name} with a number that depends on the rows")

    def value(self, k: int, dtype: Any = None) -> str:
        """The k-th argument as a value, in a type."""
        a = self.args[k]
        if not isinstance(a, Expr):
            return self.w.constant(np.asarray(a, dtype))
        value = self.t.value(a)
        return value if dtype is None or self.t.dtypes[a] == dtype else self.w.cast(value, dtype)

    def ndim(self, k: int = 0) -> int:
        return len(self.t.shapes[self.args[k]])

    def option(self, name: str, position: int, default: Any = None) -> Any:
        """An argument by position or by name."""
        if len(self.args) > position:
            return self.args[position]
        return self.options.get(name, default)

    # -- the functions ----------------------------------------------------------------------------

    def on_matmul(self) -> str:
        return self.w.node("MatMul", self.value(0, self.dtype), self.value(1, self.dtype))

    def on_einsum(self) -> str:
        values = [self.value(k, self.dtype) for k in range(1, len(self.args))]
        return self.w.node("Einsum", *values, equation=str(self.args[0]))

    def on_getitem(self) -> str:
        """Slices, numbers, None, ``...`` and one array of places; and rows at whole numbers."""
        x, index = self.args[0], self.args[1]
        if isinstance(index, Expr):
            rows = self.value(1, np.dtype(np.int64))
            return self.w.node("Gather", self.value(0), rows)
        parts = list(index) if isinstance(index, tuple) else [index]
        shape = self.t.shapes[x]
        parts = [np.asarray(p) if isinstance(p, list | np.ndarray) else p for p in parts]
        plain = (slice, int, np.integer, type(None), type(...))
        places = [p for p in parts if isinstance(p, np.ndarray)]
        several = len(places) > 1 or (places and any(isinstance(p, int) for p in parts))
        if several or not all(isinstance(p, (*plain, np.ndarray)) for p in parts):
            raise self.t.refuse(self.e, f"indexing with {index!r:.60}")
        spread = [k for k, p in enumerate(parts) if p is Ellipsis]
        missing = len(shape) - sum(p is not None and p is not Ellipsis for p in parts)
        if spread:
            parts[spread[0] : spread[0] + 1] = [slice(None)] * missing
        value, w, axis = self.value(0), self.w, 0
        for p in parts:
            if p is None:
                continue
            if isinstance(p, slice):
                if p != slice(None):
                    step = 1 if p.step is None else int(p.step)
                    far = np.iinfo(np.int64).max
                    start = (0 if step > 0 else far) if p.start is None else int(p.start)
                    stop = (far if step > 0 else -far) if p.stop is None else int(p.stop)
                    bounds = [w.ints(v) for v in (start, stop, axis, step)]
                    value = w.node("Slice", value, *bounds)
            elif isinstance(p, np.ndarray):
                at = np.flatnonzero(p) if p.dtype.kind == "b" else p.astype(np.int64)
                value = w.node("Gather", value, w.constant(at, "places"), axis=axis)
                axis += at.ndim - 1
            else:
                value = w.node("Slice", value, w.ints(int(p)), w.ints(_after(p)), w.ints(axis))
            axis += 1
        return self.t.reshaped(value, self.t.pair.shape(self.e))

    def on_take_along_axis(self) -> str:
        axis = self.option("axis", 2)
        index = self.value(1, np.dtype(np.int64))
        return self.w.node("GatherElements", self.value(0), index, axis=int(axis))

    def on_cumsum(self) -> str:
        axis = self.option("axis", 1)
        if axis is None:
            raise self.t.refuse(self.e, "cumsum over all axes")
        return self.w.node("CumSum", self.value(0, self.dtype), self.w.constant(np.int64(axis)))

    def on_flip(self) -> str:
        axis = self.option("axis", 1)
        axes = range(self.ndim()) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        value, lowest = self.value(0), np.iinfo(np.int64).min + 1
        for a in axes:
            bounds = [self.w.ints(v) for v in (-1, lowest, int(a), -1)]
            value = self.w.node("Slice", value, *bounds)
        return value

    def on_roll(self) -> str:
        shift, axis = self.option("shift", 1), self.option("axis", 2)
        if isinstance(shift, tuple) and isinstance(axis, tuple) and len(shift) == len(axis) == 1:
            shift, axis = shift[0], axis[0]
        if isinstance(shift, tuple) or isinstance(axis, tuple | None):
            raise self.t.refuse(self.e, "roll along several axes")
        w, value, far = self.w, self.value(0), int(np.iinfo(np.int64).max)
        size = self.t.pair.shape(self.args[0])[axis]
        if not isinstance(size, int):
            raise self.t.refuse(self.e, "roll along the rows")
        cut = -shift % size if size else 0
        parts = [
            w.node("Slice", value, w.ints(a), w.ints(b), w.ints(axis))
            for a, b in ((cut, far), (0, cut))
        ]
        return w.node("Concat", *parts, axis=axis)

    def on_pad(self) -> str:
        widths = np.broadcast_to(np.asarray(self.args[1]), (self.ndim(), 2))
        if self.option("mode", 2, "constant") != "constant":
            raise self.t.refuse(self.e, "padding with other than a constant")
        fill = self.w.number(self.options.get("constant_values", 0), self.dtype)
        return self.w.node("Pad", self.value(0), self.w.ints(*widths.T.ravel().tolist()), fill)

    def on_argmax(self) -> str:
        return self._arg("ArgMax")

    def on_argmin(self) -> str:
        return self._arg("ArgMin")

    def _arg(self, op: str) -> str:
        axis = self.option("axis", 1)
        if axis is None:
            raise self.t.refuse(self.e, f"{self.name} over all axes")
        keep = int(bool(self.options.get("keepdims", False)))
        return self.w.node(op, self.value(0), axis=int(axis), keepdims=keep)

    def on_argsort(self) -> str:
        """Stable in ONNX as in NumPy: of equal entries the first comes first."""
        return self._sorted(1)

    def on_sort(self) -> str:
        return self._sorted(0)

    def _sorted(self, output: int) -> str:
        axis = int(self.option("axis", 1, -1)) % self.ndim()
        size = self.t.pair.shape(self.args[0])[axis]
        return self.w.top(self.value(0), self.t.dimension(size), axis)[output]

    def on_astype(self) -> str:
        return self.value(0, self.dtype)


def _after(index: Any) -> int:
    """Where a slice of the one entry at `index` ends."""
    k = int(index)
    return k + 1 if k != -1 else int(np.iinfo(np.int64).max)


def write(t: Translator, e: Expr) -> str:
    """Write one call."""
    call = _Call(t, e)
    if call.name in _FLOAT_OPS and len(call.args) == 2:
        dtype = call.dtype
        return t.w.node(_FLOAT_OPS[call.name], call.value(0, dtype), call.value(1, dtype))
    method = getattr(call, f"on_{call.name}", None)
    if method is None:
        raise t.refuse(e, f"np.{call.name}")
    return method()  # type: ignore[no-any-return]
