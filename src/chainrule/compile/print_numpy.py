"""Print a schedule as a NumPy function a person can read, and make it a function."""

from __future__ import annotations

import collections
import itertools
import keyword
import linecache
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr
from chainrule.compile.lower import Shape
from chainrule.compile.schedule import (
    REDUCTIONS,
    Schedule,
    Space,
    Step,
    is_sum_over_rows,
    kind_of,
    writes_out,
)

__all__ = ["compile_numpy", "function_name", "print_numpy"]


def _copy_back(rows: Any, whole: Any) -> None:
    """The rows of an array that is not contiguous are a copy: bring back what they hold."""
    if not np.may_share_memory(rows, whole):
        np.copyto(whole, rows.reshape(whole.shape))


_TYPES = (
    np.bool_, np.float16, np.float32, np.float64, np.longdouble, np.int8, np.int16, np.int32,
    np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
)  # fmt: skip

#: What a printed text may call.
GLOBALS: dict[str, Any] = {
    **{name: row.numpy for name, row in PRIMITIVES.items() if row.kind != "reduction"},
    "sum": np.add.reduce,
    "max": np.maximum.reduce,
    **{name: getattr(np, name) for name in ("asarray", "copy", "copyto", "empty", "full", "zeros")},
    **{t.__name__: t for t in _TYPES},
    "blocks": range,
    "copy_back": _copy_back,
    "inf": np.inf,
    "nan": np.nan,
}

#: Steps that only move values: in a block they become a copyto.
_FILLS = frozenset({"broadcast_to", "cast", "copy", "full"})

_serial = itertools.count(1)

#: Names of texts whose functions are gone. They are not forgotten at once: the collector may run
#: while `linecache` goes through what it holds, which ends in a KeyError in the middle of printing
#: a traceback.
_gone: collections.deque[str] = collections.deque()


def print_numpy(s: Schedule) -> str:
    """The source of the function."""
    return (_Whole(s) if s.space is None else _Blocked(s, s.space)).text()


def compile_numpy(
    source: str, name: str, scope: Mapping[str, Any] = MappingProxyType(GLOBALS)
) -> Callable[..., Any]:
    """The function of printed source, which may call what is in `scope`; tracebacks and debuggers
    show the text."""
    filename = f"<chainrule {name} {next(_serial)}>"
    scope = dict(scope)
    exec(compile(source, filename, "exec"), scope)  # our own printed text, never a file's
    function: Callable[..., Any] = scope[name]
    while _gone:
        linecache.cache.pop(_gone.popleft(), None)
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    weakref.finalize(function, _gone.append, filename).atexit = False
    return function


def function_name(name: str) -> str:
    """The name of a program as an identifier."""
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    fine = name.isidentifier() and not keyword.iskeyword(name) and name not in GLOBALS
    return name if fine else f"{name}_" if name[:1].isalpha() else f"formula{name}"


def type_name(dtype: Any) -> str:
    return str(dtype.type.__name__)


class _Whole:
    """The text of a schedule on whole arrays."""

    def __init__(self, s: Schedule) -> None:
        self.s, self.low = s, s.program
        self.taken = {*GLOBALS, *keyword.kwlist, "block", "columns", "i", "rows"}
        self.count = itertools.count()
        self.names: dict[Any, str] = {x: self.name(str(x)) for x in self.low.inputs}
        self.head = f"def {function_name(s.program.name)}({', '.join(self.names.values())}):"
        #: where the result is that each output is returned as, if not under its own name
        self.results: dict[int, str] = {k: self.names[x] for k, x in s.into.items()}

    def name(self, wish: str) -> str:
        """`wish`, or the next free name like it."""
        while wish in self.taken:
            wish += "_"
        self.taken.add(wish)
        return wish

    def fresh(self) -> str:
        return next(self.name(t) for n in self.count if (t := f"t{n}") not in self.taken)

    def text(self) -> str:
        lines = [
            self.head,
            *("    " + line for line in self.body()),
            f"    return {self.returned()}",
        ]
        return "\n".join(lines) + "\n"

    def body(self) -> list[str]:
        return [*map(self.step, self.s.steps), *self.copies(self.s.copies)]

    def returned(self) -> str:
        texts = [self.results.get(k) or self.result(o) for k, o in enumerate(self.low.outputs)]
        return ", ".join(texts) + ("," if len(texts) == 1 else "")

    def result(self, o: Any) -> str:
        if isinstance(o, float):
            return f"asarray({o!r}, {type_name(self.low.dtype)})"
        bare = not isinstance(o, Expr) or self.low.shapes[o] == ()
        return f"asarray({self.operand(o)})" if bare else self.operand(o)

    def operand(self, a: Any) -> str:
        return self.names[a] if isinstance(a, Expr) else repr(a)

    def shape(self, shape: Shape) -> str:
        """A shape as that of an input, so that one text serves every batch size."""
        for x in self.low.inputs:
            if shape and self.low.shapes[x] == shape:
                return f"{self.names[x]}.shape"
        return repr(shape)

    def call(self, e: Expr) -> tuple[str, list[str]]:
        """The function of a step and its arguments."""
        attrs = dict(e.attrs)
        args = [self.operand(a) for a in e.args]
        match e.op:
            case "sum_to" | "broadcast_to":
                return e.op, [*args, self.shape(attrs["shape"])]
            case "full":
                return e.op, [self.shape(attrs["shape"]), *args, type_name(self.low.dtypes[e])]
            case "one_hot":
                return e.op, [*args, self.shape(attrs["shape"]), f"axis={attrs['axis']}"]
            case "cast":
                return "asarray", [*args, type_name(self.low.dtypes[e])]
        if e in self.low.casts:
            attrs["dtype"] = self.low.dtypes[e]
        if attrs.get("keepdims") is False:  # the default
            del attrs["keepdims"]
        more = [f"{k}={type_name(v) if k == 'dtype' else repr(v)}" for k, v in attrs.items()]
        return e.op, args + more

    def step(self, step: Step) -> str:
        function, args = self.call(step.expr)
        if step.out is not None:
            self.names[step.expr] = out = self.names[step.out]
            return f"{function}({', '.join([*args, f'out={out}'])})"
        self.names[step.expr] = self.fresh()
        return f"{self.names[step.expr]} = {function}({', '.join(args)})"

    def copies(self, pairs: Iterable[tuple[Expr, Any]]) -> list[str]:
        """Outputs that could not be computed in the memory of their input are copied there."""
        return [f"copyto({self.operand(x)}, {self.operand(o)})" for x, o in pairs]


class _Blocked(_Whole):
    """The text of a schedule that runs in blocks of rows.

    Arrays are laid out as rows and columns (``x_rows``), of which the loop sees a block (``x_i``);
    where there are only whole arrays and single numbers, everything is flat.
    """

    def __init__(self, s: Schedule, space: Space) -> None:
        super().__init__(s)
        self.space = space
        self.flat = space.columns == 1
        self.before: list[str] = []
        self.slices: list[str] = []
        self.loop: list[str] = []
        self.after: list[str] = []
        self.buffers: list[str] = []
        self.inner: dict[Expr, str] = {}  # names in the loop
        self.in_loop = False

    def operand(self, a: Any) -> str:
        if not self.in_loop or not isinstance(a, Expr):
            return super().operand(a)
        if a in self.inner:
            return self.inner[a]
        # a small array must not have more axes than a block
        more = len(self.low.shapes[a]) > (1 if self.flat else 2)
        return f"{self.names[a]}.reshape(-1)" if more else self.names[a]

    def kind(self, a: Any) -> str | None:
        return kind_of(self.low.shapes.get(a, ()), self.space.full)

    def body(self) -> list[str]:
        sp = self.space
        if self.flat:
            self.before.append(f"rows, block = {sp.rows}, {sp.per_block}")
        else:
            self.before.append(f"rows, columns, block = {sp.rows}, {sp.columns}, {sp.per_block}")
        self.lay_inputs()
        self.make_results()
        for step in self.s.steps:
            self.place(step)
        stage = sp.stage
        copies = self.s.copies
        self.in_loop = True
        self.loop += self.copies((x, o) for x, o in copies if stage.get(o) == "in")
        self.in_loop = False
        self.after += self.copies((x, o) for x, o in copies if stage.get(o) != "in")
        if self.buffers:
            cut = ", ".join(f"{b}[:rows - i]" for b in self.buffers)
            self.slices[:0] = ["if rows - i < block:", f"    {', '.join(self.buffers)} = {cut}"]
        lines = (f"    {line}" for line in self.slices + self.loop)
        return [*self.before, "for i in blocks(0, rows, block):", *lines, *self.after]

    def lay(self, e: Expr, name: str) -> None:
        """The rows of a whole array, and a block of them in the loop."""
        layout = "-1" if self.flat else "-1, columns" if self.kind(e) == "full" else "-1, 1"
        rows = self.name(f"{name}_rows")
        self.before.append(f"{rows} = {name}.reshape({layout})")
        self.inner[e] = self.name(f"{name}_i")
        self.slices.append(f"{self.inner[e]} = {rows}[i:i + block]")
        if e in self.s.into.values() and len(self.low.shapes[e]) > 1:
            self.after.append(f"copy_back({rows}, {name})")

    def lay_inputs(self) -> None:
        used = {a for step in self.s.steps for a in (*step.expr.args, step.out)}
        used |= set(self.s.into.values())
        for x in self.low.inputs:
            if x in used and self.kind(x) in ("full", "row"):
                self.lay(x, self.names[x])

    def make_results(self) -> None:
        """Arrays for the outputs that the loop computes."""
        made: dict[Expr, str] = {}
        for k, o in enumerate(self.low.outputs):
            if k in self.s.into or self.space.stage.get(o) != "in" or o.op == "input":
                continue
            if o not in made:
                made[o] = self.name("out" if len(self.low.outputs) == 1 else f"out{k}")
                self.before.append(f"{made[o]} = empty({self.low.shapes[o]}, {self.type(o)})")
                self.lay(o, made[o])
            self.results[k] = made[o]

    def type(self, e: Expr) -> str:
        return type_name(self.low.dtypes[e])

    def place(self, step: Step) -> None:
        """A step before, in or after the loop."""
        e = step.expr
        self.in_loop = self.space.stage[e] == "in" or is_sum_over_rows(e, self.kind)
        if not self.in_loop:
            lines = self.before if self.space.stage[e] == "before" else self.after
            lines.append(self.step(step))
        elif self.space.stage[e] == "in":
            self.loop.append(self.block_step(step))
        else:
            block = self.operand(e.args[0])
            total = self.names[e] = self.fresh()
            self.before.append(f"{total} = zeros({self.low.shapes[e]}, {self.type(e)})")
            axis = "0" if self.kind(e) == "column" else "None"
            self.loop.append(f"{total} += sum({block}, axis={axis})")
        self.in_loop = False

    def block_step(self, step: Step) -> str:
        e = step.expr
        function, args = self.call(e)
        if e.op in _FILLS:
            out = self.inner.get(e) or self.buffer(e)
            return f"copyto({out}, {args[1] if e.op == 'full' else args[0]})"
        if e.op in REDUCTIONS:
            function, args = "max" if e.op == "max" else "sum", [args[0], "axis=1", "keepdims=True"]
        elif e.op == "one_hot":
            args = [args[0], "(1, columns)", "axis=1"]
        if step.out is not None:
            self.inner[e] = self.inner[step.out]
        elif e not in self.inner and writes_out(e) and self.kind(e) == "full":
            self.buffer(e)
        out = self.inner.get(e, "")
        if not out:
            self.inner[e] = self.fresh()
            return f"{self.inner[e]} = {function}({', '.join(args)})"
        if writes_out(e):
            return f"{function}({', '.join([*args, f'out={out}'])})"
        return f"copyto({out}, {function}({', '.join(args)}))"

    def buffer(self, e: Expr) -> str:
        """A block of memory that every turn of the loop uses again."""
        name = self.inner[e] = self.fresh()
        size = "block" if self.flat else f"(block, {'columns' if self.kind(e) == 'full' else 1})"
        self.before.append(f"{name} = empty({size}, {self.type(e)})")
        self.buffers.append(name)
        return name
