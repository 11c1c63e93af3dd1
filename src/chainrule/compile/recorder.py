"""`Recorder`: notes what is done to symbolic arrays while a step is captured.

It is noted twice: as nodes of one `Graph`, from which native code is made, and as the sequence of
calls itself, which NumPy can repeat. Real arrays that take part are *live memory*: they are read,
and written, through their address at every replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.array.abstract import AbstractArray
from chainrule.array.dtypes import Array
from chainrule.array.primitives import PRIMITIVES
from chainrule.compile import lookup, native
from chainrule.compile.expression import Expr
from chainrule.compile.fuse import is_leaf
from chainrule.compile.graph import Graph
from chainrule.compile.kernel import Kernel
from chainrule.compile.lower import Shape
from chainrule.compile.symbolic import Symbolic, capture_error
from chainrule.compile.trace import trace

__all__ = ["Call", "Recorder", "Slot"]


@dataclass(frozen=True)
class Slot:
    """Where the sequence of calls keeps a value."""

    number: int


@dataclass(eq=False)
class Call:
    """One call in the order of the step: ``outputs = function(*args, **options)``.


    `args` are slots, live arrays and constants. A call with `effect` also writes into live memory.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    outputs: tuple[Slot, ...]
    options: dict[str, Any] = field(default_factory=dict)
    effect: bool = False


#: Functions of NumPy whose result depends on their arguments alone: a replay calls them again.
PURE = frozenset(
    {
        np.cumsum, np.einsum, np.flip, np.pad, np.roll, np.sort, np.take_along_axis, np.repeat,
        np.stack, np.squeeze, np.expand_dims, np.argmax, np.argmin, np.argsort, np.any, np.all,
        np.broadcast_to, np.sum, np.mean, np.max, np.min, np.where, np.clip, np.prod, np.std,
        np.var, np.diff, np.tile,
    }
)  # fmt: skip


class Recorder:
    """What a step does, as a graph and as a sequence of calls."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.calls: list[Call] = []
        self.arguments: list[Symbolic] = []
        #: live arrays: flat memory by the address of its first entry
        self.bases: list[Array] = []
        self._base_of: dict[tuple[int, int, Any], int] = {}
        self._at: list[int] = []  # the address of each
        self._keep: list[Any] = []  # arrays seen, so that no identity or address is used again
        #: of each base: (start, stop, expression) of the parts written so far
        self.written: dict[int, list[tuple[int, int, Any]]] = {}
        #: predicates on arguments that must hold for a replay: (kind, expression, bound)
        self.guards: list[tuple[str, Any, Any]] = []
        #: expressions whose codes a guard looks at
        self.guarded: set[Any] = set()
        #: numbers that must be finite, or a replay stops before it updates anything
        self.checks: list[Symbolic] = []
        #: called before each replay, where False ends it before anything is written, and after it
        self.hosts: list[tuple[Callable[[], bool], Callable[[], None]]] = []
        #: (the stream's place, probability or None) of each draw, and where a replay draws it
        self.draws: list[tuple[Any, ...]] = []
        self.keys: Any = None
        self.functions: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
        self._slots = 0

    # -- values -----------------------------------------------------------------------------------

    def slot(self) -> Slot:
        self._slots += 1
        return Slot(self._slots)

    def argument(self, a: Array, name: str) -> Symbolic:
        """What stands for an argument of the step."""
        expr = self.graph.input(name, a.shape, a.dtype)
        s = Symbolic(self, expr, a.shape, a.dtype, self.slot())
        self.arguments.append(s)
        return s

    def new(self, expr: Any, shape: Shape, dtype: Any, slot: Slot) -> Symbolic:
        return Symbolic(self, expr, tuple(shape), dtype, slot)

    def of(self, a: Any) -> Any:
        """A real array as live memory; numbers and symbolic arrays as they are."""
        if isinstance(a, Symbolic):
            if a.recorder is not self:
                raise capture_error("an array of another captured step is used here")
            return a
        if isinstance(a, np.ndarray):
            return self.read(a)
        if isinstance(a, np.generic):
            return self.read(np.asarray(a))
        return a

    def read(self, a: Array) -> Symbolic:
        """The present value of live memory."""
        k, offset, strides = self._place(a)
        flat = self.current(k, offset, a) if strides is None else None
        if flat is None:
            flat = self._strided(k, offset, a, strides)
        return Symbolic(self, flat, a.shape, a.dtype, a)

    def _place(self, a: Array) -> tuple[int, int, Shape | None]:
        """(base, offset in entries, strides in entries or None where it is contiguous)."""
        self._keep.append(a)
        base = a
        while isinstance(base.base, np.ndarray):
            base = base.base
        if base.dtype != a.dtype or not (base.flags.c_contiguous or base.flags.f_contiguous):
            base = a
        if not (base.flags.c_contiguous or base.flags.f_contiguous):
            raise capture_error(
                f"an array of shape {a.shape} lies scattered in memory; use numpy.ascontiguousarray"
            )
        address = base.__array_interface__["data"][0]
        key = (address, base.size, base.dtype)
        k = self._base_of.get(key)
        if k is None:
            end = address + base.nbytes
            if any(
                n < end and address < n + b.nbytes
                for b, n in zip(self.bases, self._at, strict=True)
            ):
                raise capture_error(
                    f"an array of shape {a.shape} shares memory with another one, and neither is "
                    "a part of the other"
                )
            flat = base.T if not base.flags.c_contiguous else base
            k = self._base_of[key] = len(self.bases)
            self.bases.append(flat.reshape(-1))
            self._at.append(address)
        offset = (a.__array_interface__["data"][0] - address) // max(a.itemsize, 1)
        strides = None if a.flags.c_contiguous else tuple(s // a.itemsize for s in a.strides)
        return k, offset, strides

    def _flat(self, k: int) -> Expr:
        return self.graph.memory(k, self.bases[k].size, self.bases[k].dtype)

    def current(self, k: int, offset: int, a: Array) -> Any:
        """The expression that memory holds by now."""
        g, pieces = self.graph, self.written.get(k)
        size = a.size
        if not pieces:
            return g.region(self._flat(k), offset, a.shape)
        if all(stop <= offset or start >= offset + size for start, stop, _ in pieces):
            return g.region(self._flat(k), offset, a.shape)
        found, at = [], offset
        for start, stop, e in sorted(pieces, key=lambda p: p[0]):
            if stop <= offset or start >= offset + size:
                continue
            if start > at:
                found.append(g.region(self._flat(k), at, (start - at,)))
                at = start
            end = min(stop, offset + size)
            found.append(g.region(self._shaped(e, (stop - start,)), at - start, (end - at,)))
            at = end
        if at < offset + size:
            found.append(g.region(self._flat(k), at, (offset + size - at,)))
        return g.reshape(g.concat(found, 0), a.shape)

    def _shaped(self, e: Any, shape: Shape) -> Any:
        return self.graph.reshape(e, shape) if isinstance(e, Expr) else e

    def _strided(self, k: int, offset: int, a: Array, strides: Any) -> Any:
        g = self.graph
        if a.ndim == 2 and a.T.flags.c_contiguous:
            inner = self.current(k, offset, a.T)
            return g.permute(inner, (1, 0))
        if self.written.get(k):
            raise capture_error("a scattered part of an array that was updated is read")
        return g.strided(self._flat(k), offset, a.shape, strides)

    # -- writing ----------------------------------------------------------------------------------

    def write(self, a: Array, value: Any) -> None:
        """Live memory `a` holds this value from here on."""
        k, offset, strides = self._place(a)
        if strides is not None:
            raise capture_error("an array that is not contiguous is updated in place")
        expr = value.expr if isinstance(value, Symbolic) else value
        if not isinstance(expr, Expr):  # a number
            expr = self.graph.full(expr, a.shape or (1,), a.dtype)
        if self.graph.shapes[expr] != a.shape and self.graph.shapes[expr] != (a.size,):
            raise capture_error("an array is updated with one of another shape")
        start, stop = offset, offset + a.size
        pieces = self.written.setdefault(k, [])
        for s, t, e in list(pieces):
            if t <= start or s >= stop:
                continue
            pieces.remove((s, t, e))
            for left, right in ((s, start), (stop, t)):  # what the update leaves of it
                if left < right:
                    part = self.graph.region(self._shaped(e, (t - s,)), left - s, (right - left,))
                    pieces.append((left, right, part))
        pieces.append((start, stop, expr))

    def put(self, target: Any, value: Any, casting: str = "same_kind") -> Any:
        """``target[...] = value``: of live memory an update, of a symbolic array a new value."""
        if isinstance(target, Symbolic):
            self._replace(target, value)
            return target
        value = self.of(value)
        if isinstance(value, Symbolic) and value.dtype != target.dtype:
            value = self.astype(value, target.dtype)
        self.write(target, value)
        self.calls.append(Call(np.copyto, (target, self._arg(value)), (), {}, effect=True))
        return target

    np_copyto = put

    def _replace(self, target: Symbolic, value: Any) -> None:
        if any(target is a for a in self.arguments):
            raise capture_error("an argument is written into; write into a copy of it")
        value = self.of(value)
        if not isinstance(value, Symbolic) or (value.shape, value.dtype) != (
            target.shape,
            target.dtype,
        ):
            raise capture_error("an array is written into with one of another shape or type")
        target.expr, target.slot = value.expr, value.slot

    # -- what happens to arrays -------------------------------------------------------------------

    def _arg(self, a: Any) -> Any:
        return a.slot if isinstance(a, Symbolic) else a

    def _called(
        self,
        function: Any,
        args: Sequence[Any],
        expr: Any,
        shape: Shape,
        dtype: Any,
        options: dict[str, Any] | None = None,
    ) -> Symbolic:
        out = self.slot()
        self.calls.append(Call(function, tuple(map(self._arg, args)), (out,), options or {}))
        return self.new(expr, shape, dtype, out)

    def kernel(self, kernel: Any, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """A kernel called with these arrays, some of which are symbolic."""
        symbols = [self.of(a) for a in arrays]
        kinds = [(a.shape, a.dtype) if isinstance(a, Symbolic) else type(a) for a in symbols]
        exprs = [a.expr if isinstance(a, Symbolic) else a for a in symbols]
        outputs = self.graph.call(kernel.program, exprs, kinds)
        updated = [arrays[j] for j in kernel.into.values()]
        for j in kernel.into.values():  # in the sequence of calls another value may share memory
            if isinstance(arrays[j], Symbolic):
                a = symbols[j]
                symbols[j] = self._called(np.array, (a,), a.expr, a.shape, a.dtype)
        slots: list[Slot] = []
        results: list[Any] = []
        for k, e in enumerate(outputs):
            position = kernel.into.get(k)
            shape, dtype = self._kind(e, kinds)
            slots.append(self.slot())
            value = self.new(e, shape, dtype, slots[-1])
            results.append(value if position is None else (position, value))
        self.calls.append(
            Call(
                kernel,
                tuple(map(self._arg, symbols)),
                tuple(slots),
                {},
                effect=any(isinstance(a, np.ndarray) for a in updated),
            )
        )
        for k, r in enumerate(results):  # after all were computed from the arrays as they came
            if isinstance(r, tuple):
                target = arrays[r[0]]
                if isinstance(target, Symbolic):
                    self._replace(target, r[1])
                else:
                    self.write(target, r[1])
                results[k] = target
        return tuple(results)

    def _kind(self, e: Any, kinds: Sequence[Any]) -> tuple[Shape, Any]:
        if isinstance(e, Expr):
            return self.graph.shapes[e], self.graph.dtypes[e]
        if isinstance(e, bool):
            return (), np.dtype(np.bool_)
        floats = [k[1] for k in kinds if isinstance(k, tuple) and k[1].kind == "f"]
        return (), max(floats, key=lambda d: d.itemsize, default=np.dtype(np.float32))

    def elementwise(self, name: str, *args: Any) -> Symbolic:
        """One primitive."""
        found = _ONE_STEP.get(name)
        if found is None:
            names = ["a", "b", "c"][: len(args)]
            found = Kernel(trace(lambda xp, *xs: getattr(xp, name)(*xs), names, name))
            _ONE_STEP[name] = found
        result: Symbolic = self.kernel(found, args)[0]
        return result

    def ufunc(self, ufunc: np.ufunc, *args: Any) -> Any:
        """A function of NumPy: one primitive where that has NumPy's types, else NumPy itself."""
        if not all(isinstance(a, _OPERANDS) for a in args):
            return NotImplemented  # a tensor, whose own operator is next
        if ufunc is np.matmul:
            return self.matmul(*args)
        if ufunc is np.square:
            return self.ufunc(np.multiply, *args, *args)
        args = tuple(map(self.of, args))
        name = _PRIMITIVE.get(ufunc)
        floats = {a.dtype for a in args if isinstance(a, Symbolic)}
        plain = all(isinstance(a, Symbolic) or type(a) in (int, float) for a in args)
        if name is not None and plain and len(floats) == 1 and floats <= _FLOATS:
            return self.elementwise(name, *args)
        return self.host(ufunc, args, {})

    def copy(self, x: Symbolic) -> Symbolic:
        """Live memory as it is now, whatever is written there later."""
        if isinstance(x.slot, Slot):
            return Symbolic(self, x.expr, x.shape, x.dtype, x.slot)
        return self._called(np.array, (x,), x.expr, x.shape, x.dtype)

    def matmul(self, a: Any, b: Any) -> Any:
        """A product of matrices; batches of them are NumPy's."""
        a, b = self.of(a), self.of(b)
        if a.ndim != 2 or b.ndim != 2 or a.dtype != b.dtype or a.dtype.kind != "f":
            return self.host(np.matmul, (a, b), {})
        expr = self.graph.product(a.expr, b.expr)
        return self._called(native.matmul, (a, b), expr, (a.shape[0], b.shape[1]), a.dtype)

    def reshape(self, x: Any, shape: Shape) -> Symbolic:
        wanted = np.broadcast_to(np.zeros((), np.bool_), x.shape).reshape(shape).shape
        expr = self._shaped(x.expr, wanted)
        return self._called(np.reshape, (x, wanted), expr, wanted, x.dtype)

    def permute(self, x: Any, axes: tuple[int, ...]) -> Symbolic:
        expr = self.graph.permute(x.expr, axes) if isinstance(x.expr, Expr) else x.expr
        shape = tuple(x.shape[a] for a in axes)
        return self._called(np.transpose, (x, axes), expr, shape, x.dtype)

    def astype(self, x: Any, dtype: Any) -> Any:
        expr: Any
        if x.dtype == dtype:
            return x
        if x.dtype.kind in "iu" and dtype.kind in "iu" and np.can_cast(x.dtype, dtype):
            expr = x.expr  # labels: a kernel reads them in their own type
        elif isinstance(x.expr, Expr):
            expr = self.graph.add("cast", (x.expr,), (), x.shape, dtype)
        else:
            expr = self.graph.full(x.expr, (), dtype)
        return self._called(_astype, (x, dtype), expr, x.shape, dtype)

    def getitem(self, x: Any, index: Any) -> Symbolic:
        parts = index if isinstance(index, tuple) else (index,)
        if isinstance(index, Symbolic) and index.dtype.kind in "iu":
            return self.host(_getitem, (x, index), {})
        if any(isinstance(p, AbstractArray) for p in parts):
            raise capture_error("an array is indexed with an array whose values come later")
        result = np.broadcast_to(np.zeros((), np.bool_), x.shape)[index]
        shape = result.shape
        plain = all(isinstance(p, slice | int | np.integer) or p is Ellipsis for p in parts)
        if not plain or not isinstance(x.expr, Expr):
            return self.host(_getitem, (x, index), {})
        slices = _slices(parts, x.shape)
        if any(step < 1 for _, _, step in slices):
            return self.host(_getitem, (x, index), {})
        kept = tuple(len(range(*s)) for s in slices)
        expr = x.expr
        if kept != x.shape:
            expr = self.graph.add("slice", (expr,), (("slices", slices),), kept, x.dtype)
        return self._called(_getitem, (x, index), self._shaped(expr, shape), shape, x.dtype)

    def host(self, function: Any, args: Sequence[Any], options: dict[str, Any]) -> Symbolic:
        """A call that NumPy does, at capture for its shape and at every replay for its value."""
        symbols = [self.of(a) for a in args]
        like = [np.zeros(a.shape, a.dtype) if isinstance(a, Symbolic) else a for a in args]
        nested = any(isinstance(v, list | tuple) and _holds(v) for v in args)
        if nested or any(map(_holds, options.values())):
            raise capture_error(f"np.{function.__name__} with these arguments")
        with np.errstate(all="ignore"):
            result = np.asarray(function(*like, **options))
        inputs = [a for a in symbols if isinstance(a, Symbolic)]
        k = len(self.functions)
        template = tuple(native.GIVEN if isinstance(a, Symbolic) else a for a in symbols)
        self.functions.append((function, template, options))
        expr = self.graph.add(
            "host", (k, *[i.expr for i in inputs]), (), result.shape, result.dtype
        )
        return self._called(function, symbols, expr, result.shape, result.dtype, options)

    # -- NumPy's functions ------------------------------------------------------------------------

    def function(self, function: Any, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """A function of NumPy that is no ufunc."""
        method = getattr(self, f"np_{function.__name__}", None)
        if method is not None:
            return method(*args, **options)
        if function in PURE:
            return self.host(function, args, options)
        raise capture_error(f"np.{function.__name__} on an array")

    def np_reshape(self, x: Any, shape: Any, **_: Any) -> Any:
        return self.reshape(x, tuple(shape) if not isinstance(shape, int) else (shape,))

    def np_transpose(self, x: Any, axes: Any = None) -> Any:
        return self.permute(x, tuple(reversed(range(x.ndim))) if axes is None else tuple(axes))

    def np_matrix_transpose(self, x: Any) -> Any:
        return x.mT

    def np_ones_like(self, x: Any, dtype: Any = None) -> Any:
        return self.constant(1, x.shape, dtype or x.dtype)

    def np_zeros_like(self, x: Any, dtype: Any = None) -> Any:
        return self.constant(0, x.shape, dtype or x.dtype)

    def constant(self, value: float, shape: Shape, dtype: Any) -> Symbolic:
        """The same number everywhere."""
        expr = self.graph.full(value, shape, dtype)
        return self._called(np.full, (shape, value, dtype), expr, shape, dtype)

    def np_concatenate(self, xs: Any, axis: int = 0) -> Any:
        symbols = [self.of(x) for x in xs]
        if any(not isinstance(x.expr, Expr) for x in symbols):
            raise capture_error("numbers are joined")
        axis = axis % symbols[0].ndim
        expr = self.graph.concat([x.expr for x in symbols], axis)
        shape, dtype = self.graph.shapes[expr], self.graph.dtypes[expr]
        return self._called(_concatenate, (axis, *symbols), expr, shape, dtype)

    def np_may_share_memory(self, a: Any, b: Any, *_: Any) -> bool:
        return False  # a captured value never changes

    def np_shape(self, x: Any) -> Shape:
        return x.shape  # type: ignore[no-any-return]

    def put_at(self, function: Any, g: Any, index: Any, shape: Shape) -> Symbolic:
        """Zeros with `g` at an index, which `function` does: the adjoint of `getitem`."""
        parts = index if isinstance(index, tuple) else (index,)
        if all(isinstance(p, slice | int | np.integer) or p is Ellipsis for p in parts):
            slices = _slices(parts, shape)
            if all(step > 0 for _, _, step in slices):
                kept = tuple(len(range(*s)) for s in slices)
                return self.place(self.reshape(g, kept), slices, shape)
        return self.host(function, (g, index, shape), {})

    def place(self, g: Any, slices: Any, shape: Shape) -> Symbolic:
        """Zeros with `g` at a slice."""
        expr = self.graph.add("place", (g.expr,), (("slices", slices),), shape, g.dtype)
        return self._called(_place, (g, slices, shape), expr, shape, g.dtype)

    # -- rows of tables at codes ------------------------------------------------------------------

    def gather(self, x: Any, tables: Sequence[Any], kept: int = -1) -> Symbolic:
        """Rows of tables at codes (see `chainrule.compile.lookup`)."""
        x, *tables = map(self.of, (x, *tables))
        options = {"kept": kept, "check": x.expr not in self.guarded}
        if not all(isinstance(a.expr, Expr) for a in (x, *tables)):
            return self.host(lookup.gather, (x, *tables), options)
        dtype = tables[0].dtype
        if kept < 0:
            shape = (*x.shape, tables[0].shape[1])
        else:
            shape = (x.shape[0], kept + sum(t.shape[1] for t in tables))
        exprs = [x.expr, *(t.expr for t in tables)]
        expr = self.graph.add("gather", exprs, tuple(options.items()), shape, dtype)
        return self._called(lookup.gather, (x, *tables), expr, shape, dtype, options)

    def scatter(self, g: Any, x: Any, **attrs: Any) -> Symbolic:
        """The adjoint of `gather` for one table."""
        g, x = self.of(g), self.of(x)
        options = {**attrs, "check": x.expr not in self.guarded}
        if not (isinstance(g.expr, Expr) and isinstance(x.expr, Expr)):
            return self.host(lookup.scatter, (g, x), options)
        shape = attrs["shape"]
        exprs = (g.expr, x.expr)
        expr = self.graph.add("scatter", exprs, tuple(options.items()), shape, g.dtype)
        return self._called(lookup.scatter, (g, x), expr, shape, g.dtype, options)

    def codes(self, x: Any, sizes: Sequence[int], kept: int = -1) -> None:
        """A replay needs whole numbers from 0 to the size of a table - 1 here.

        Of an argument this is found out before it begins; of what is computed, when it is there.
        """
        e = x.expr
        while isinstance(e, Expr) and e.op == "reshape":
            e = e.args[0]
        if any(e is a.expr for a in self.arguments):
            self.guarded.add(x.expr)
            self.guards.append(("codes", x, (tuple(sizes), kept)))

    # -- random bits and guards -------------------------------------------------------------------

    def bernoulli(self, draw: Callable[[], Array], shape: Shape, p: float, key: Any) -> Symbolic:
        """A mask, true with probability p; `draw` draws it, `key` tells the stream's place."""
        k = len(self.draws)
        self.draws.append((key, p))
        expr = self.graph.add("random", (k,), (("p", p), ("shape", shape)), shape, np.bool_)
        return self._called(draw, (), expr, shape, np.bool_)

    def uniform(self, draw: Callable[..., Array], shape: Shape, dtype: Any, key: Any) -> Symbolic:
        """Numbers that Python draws: `draw` the next ones, ``draw(step)`` those of a step."""
        k = len(self.draws)
        self.draws.append((key, None))

        def uniform() -> Array:
            return draw(int(self.keys[k, 2]))

        expr = self.graph.add("host", (len(self.functions),), (), shape, dtype)
        self.functions.append((uniform, (), {}))
        return self._called(draw, (), expr, shape, dtype)

    def labels(self, x: Symbolic, classes: int) -> None:
        """A replay needs whole numbers from 0 to classes - 1 here."""
        if not is_leaf(x.expr):
            raise capture_error("labels are computed in the step; pass them as an argument")
        self.guards.append(("labels", x, classes))

    def finite(self, x: Symbolic) -> None:
        """A replay stops here, before any update, where this number is not finite."""
        if not isinstance(x.expr, Expr):
            if not np.isfinite(x.expr):
                raise capture_error("a number that must be finite is not")
            return
        self.checks.append(x)
        self.calls.append(Call(native.check_finite, (self._arg(x),), (), {}, effect=True))


_ONE_STEP: dict[str, Any] = {}
_OPERANDS = (Symbolic, np.ndarray, np.generic, int, float)
_FLOATS = {np.dtype(np.float32), np.dtype(np.float64)}
#: NumPy's functions -> primitives that give the same types for floats of one type
_PRIMITIVE = {
    row.numpy: name
    for name, row in PRIMITIVES.items()
    if isinstance(row.numpy, np.ufunc) and name not in ("stop_gradient", "pow")
}


def _holds(v: Any) -> bool:
    """Whether an array without values is somewhere in it."""
    return isinstance(v, AbstractArray) or (isinstance(v, list | tuple) and any(map(_holds, v)))


def _astype(x: Any, dtype: Any) -> Any:
    return x.astype(dtype)


def _getitem(x: Any, index: Any) -> Any:
    return x[index]


def _concatenate(axis: int, *xs: Any) -> Any:
    return np.concatenate(xs, axis=axis)


def _place(g: Any, slices: Any, shape: Any) -> Any:
    out = np.zeros(shape, g.dtype)
    out[tuple(slice(*s) for s in slices)] = g
    return out


def _slices(parts: Sequence[Any], shape: Shape) -> tuple[tuple[int, int, int], ...]:
    """(start, stop, step) of every axis."""
    full = list(parts)
    if any(p is Ellipsis for p in full):
        k = next(i for i, p in enumerate(full) if p is Ellipsis)
        full[k : k + 1] = [slice(None)] * (len(shape) - len(full) + 1)
    full += [slice(None)] * (len(shape) - len(full))
    found = []
    for p, n in zip(full, shape, strict=True):
        if isinstance(p, slice):
            found.append(p.indices(n))
        else:
            i = int(p) % n
            found.append((i, i + 1, 1))
    return tuple(found)
