"""A graph that is drawn by hand, and a machine that runs the instructions of its `Layout` on names
instead of numbers.

Every byte of memory holds what it is a byte of: an expression and the place in it. Moves (slices,
transposes, joined arrays) are followed down to what a kernel, a product or the caller put there, so
a read of memory that was overwritten, is not written yet or lies elsewhere is seen at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.compile.expression import Expr
from chainrule.compile.fuse import Group, is_leaf
from chainrule.compile.graph import Graph
from chainrule.compile.place import ARGUMENT, LIVE, RESULT, WORKSPACE, Layout, Write
from chainrule.compile.schedule import REDUCTIONS
from chainrule.compile.trace import trace

F = np.dtype(np.float32)
_SPACES = {ARGUMENT: "argument", LIVE: "live", WORKSPACE: "workspace", RESULT: "result"}


class Drawing:
    """A graph in the making."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.arguments: list[Any] = []

    def input(self, *shape: int, dtype: Any = F) -> Any:
        self.arguments.append(self.graph.input(f"x{len(self.arguments)}", shape, dtype))
        return self.arguments[-1]

    def live(self, k: int, size: int) -> Any:
        return self.graph.memory(k, size, F)

    def apply(self, text: Any, *xs: Any) -> Any:
        names = ["a", "b", "c", "d"][: len(xs)]
        kinds = [(self.graph.shapes[x], self.graph.dtypes[x]) for x in xs]
        results = self.graph.call(trace(text, names, "f"), xs, kinds)
        return results if len(results) > 1 else results[0]

    def layout(self, results: Any = (), writes: Any = (), live: int = 3, **more: Any) -> Layout:
        shown = [(r, self.graph.shapes[r], self.graph.dtypes[r]) for r in results]
        made = Layout(self.graph, self.arguments, shown, [Write(*w) for w in writes], live, **more)
        Machine(made).run()
        return made


class Machine:
    """Runs a layout; every broken rule is an AssertionError."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.graph = layout, layout.graph
        self._numbers: dict[Any, int] = {}
        self._content: dict[Any, Any] = {}
        self.memory: dict[tuple[int, int], Any] = {}
        for e in layout.arguments:
            self.memory[ARGUMENT, layout.arguments[e]] = self.content(e).reshape(-1).copy()
        for e in list(self.graph.shapes):
            if e.op == "memory":
                self.memory[LIVE, e.args[0]] = self.content(e).reshape(-1).copy()
        for n, a in enumerate(layout.constants):
            self.memory[LIVE, layout.live + n] = self._constant(a).reshape(-1)
        self.memory[WORKSPACE, 0] = np.full(layout.workspace, -1)
        for n, (_, shape, dtype) in enumerate(layout.results):
            size = int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize
            self.memory[RESULT, n] = np.full(size, -1)
        self.before = {k: v.copy() for k, v in self.memory.items()}

    # -- what bytes are called --------------------------------------------------------------------

    def _codes(self, name: Any, size: int) -> Any:
        number = self._numbers.setdefault(name, len(self._numbers) + 1)
        return number * 2**32 + np.arange(size)

    def _constant(self, a: Any) -> Any:
        """The bytes of an array of numbers; equal numbers have equal names."""
        rows = [self._codes(("number", v.tobytes()), a.itemsize) for v in a.reshape(-1)]
        return np.array(rows, np.int64).reshape(*a.shape, a.itemsize)

    def content(self, e: Any) -> Any:
        """What every byte of an expression is called; the last axis runs over the bytes of one."""
        if e not in self._content:
            self._content[e] = self._made(e)
        return self._content[e]

    def _made(self, e: Expr) -> Any:
        g, attrs = self.graph, dict(e.attrs)
        shape, size = g.shapes[e], int(g.dtypes[e].itemsize)
        inner = [self.content(a) for a in e.args if isinstance(a, Expr)] if e.op in _MOVES else []
        match e.op:
            case "region" | "reshape":
                start, n = attrs.get("offset", 0), int(np.prod(shape, dtype=int))
                return inner[0].reshape(-1, size)[start : start + n].reshape(*shape, size)
            case "strided":
                places = np.full(shape, attrs["offset"])
                for axis, step in enumerate(attrs["strides"]):
                    form = [-1 if a == axis else 1 for a in range(len(shape))]
                    places = places + step * np.arange(shape[axis]).reshape(form)
                return inner[0].reshape(-1, size)[places]
            case "permute":
                return inner[0].transpose(*attrs["axes"], len(shape))
            case "slice":
                return inner[0][tuple(slice(*s) for s in attrs["slices"])]
            case "concat":
                return np.concatenate(inner, attrs["axis"])
            case "place":
                out = np.array(
                    np.broadcast_to(self._constant(np.zeros((), g.dtypes[e])), (*shape, size))
                )
                out[tuple(slice(*s) for s in attrs["slices"])] = inner[0]
                return out
            case "count":
                return self._constant(np.full((), e.args[0], e.args[1]))
            case "gather" if attrs["kept"] > 0:
                own = np.prod(shape[-1:]) - attrs["kept"]
                rows = self._codes(e, shape[0] * int(own) * size).reshape(shape[0], -1, size)
                return np.concatenate([inner[0][:, : attrs["kept"]], rows], axis=1)
            case _:
                return self._codes(e, int(np.prod(shape, dtype=int)) * size).reshape(*shape, size)

    # -- memory -----------------------------------------------------------------------------------

    def where(self, ref: Any, size: int) -> Any:
        """The bytes at a ref."""
        space, index, offset = ref
        bytes_ = self.memory[space, index]
        assert 0 <= offset <= offset + size <= len(bytes_), f"{ref} + {size} leaves its array"
        return bytes_[offset : offset + size]

    def read(self, ref: Any, e: Expr) -> None:
        wanted = self.content(e).reshape(-1)
        found = self.where(ref, wanted.size)
        if not np.array_equal(found, wanted):
            raise AssertionError(
                f"{_SPACES[ref[0]]} {ref[1:]} should hold {e!r:.200} and does not: "
                f"{np.flatnonzero(found != wanted)[:8]} of {wanted.size} bytes"
            )

    def write(self, ref: Any, e: Expr) -> None:
        assert ref[0] != ARGUMENT or ref in [self.layout.ref(w.target) for w in self.layout.writes]
        made = self.content(e).reshape(-1)
        self.where(ref, made.size)[:] = made

    @staticmethod
    def apart(a: Any, n: int, b: Any, m: int) -> bool:
        return a[:2] != b[:2] or a[2] + n <= b[2] or b[2] + m <= a[2] or 0 in (n, m)

    def _outputs_lie_apart(self, inputs: Sequence[Any], outputs: Sequence[Any], same: bool) -> None:
        """An output overlaps an operand only where it takes its place exactly, if at all."""
        for k, (ref, n) in enumerate(outputs):
            for other, m in outputs[k + 1 :]:
                assert self.apart(ref, n, other, m), "two outputs overlap"
            for other, m in inputs:
                exact = same and (ref, n) == (other, m)
                assert exact or self.apart(ref, n, other, m), (
                    f"an output overlaps an operand: {ref}"
                )

    # -- instructions -----------------------------------------------------------------------------

    def run(self) -> Machine:
        for i in self.layout.instructions:
            getattr(self, i.kind)(i)
        for n, (e, shape, dtype) in enumerate(self.layout.results):
            if isinstance(e, Expr):
                self.read((RESULT, n, 0), e)
            else:
                wanted = self._constant(np.full(shape, e, dtype)).reshape(-1)
                assert np.array_equal(self.memory[RESULT, n], wanted)
        touched = {k: np.zeros(v.shape, bool) for k, v in self.memory.items()}
        for w in self.layout.writes:
            ref = self.layout.ref(w.target)
            self.read(ref, w.value)
            size = self.layout.bytes(w.target)
            touched[ref[:2]][ref[2] : ref[2] + size] = True
        for k, v in self.memory.items():
            if k[0] in (ARGUMENT, LIVE):  # nothing else has changed
                assert np.array_equal(v[~touched[k]], self.before[k][~touched[k]]), k
        return self

    def kernel(self, i: Any) -> None:
        group: Group = i.node
        assert group.program is not None
        rows, columns, steps = i.details
        sizes = {
            "full": rows * columns, "row": rows, "column": columns, "scalar": 1,
        }  # fmt: skip
        inputs = [(r, self.layout.bytes(e)) for r, e in zip(i.refs, group.operands, strict=False)]
        outputs = [(self.layout.ref(o), self.layout.bytes(o)) for o in group.outputs]
        assert i.refs == [r for r, _ in inputs] + [r for r, n in outputs if (r, n) not in inputs]
        for (ref, e), operand in zip(
            zip(i.refs, group.operands, strict=False), i.text.operands, strict=False
        ):
            assert sizes[operand.layout] * operand.dtype.itemsize == self.layout.bytes(e)
            assert operand.dtype == self.graph.dtypes[e]
            self.read(ref, e)
        for operand, step in zip(i.text.operands, steps, strict=True):
            assert step == {"full": columns, "row": 1}.get(operand.layout, 0)
        once = all(e.op not in REDUCTIONS for e in group.program.order())
        live = [(r, n) for r, n in outputs if r[0] != WORKSPACE]
        self._outputs_lie_apart(inputs, outputs, same=True)
        if not once:  # an operand that is read twice is not overwritten in between
            self._outputs_lie_apart(inputs, live, same=False)
        for o, (ref, _) in zip(group.outputs, outputs, strict=True):
            self.write(ref, o)

    def product(self, i: Any) -> None:
        a, b = i.node.args
        ta, tb, m, n, k, lda, ldb, ldc, dtype = i.details
        shapes = self.graph.shapes
        assert (shapes[a], shapes[b], shapes[i.node]) == ((m, k), (k, n), (m, n))
        inner_a, inner_b = a.args[0] if ta else a, b.args[0] if tb else b
        assert (lda, ldb, ldc) == (shapes[inner_a][1], shapes[inner_b][1], n)
        assert {self.graph.dtypes[x] for x in (a, b, i.node)} == {dtype}
        sizes = [self.layout.bytes(x) for x in (inner_a, inner_b, i.node)]
        at = list(zip(i.refs, sizes, strict=True))
        self._outputs_lie_apart(at[:2], at[2:], same=False)
        self.read(i.refs[0], inner_a)
        self.read(i.refs[1], inner_b)
        self.write(i.refs[2], i.node)

    def copy(self, i: Any) -> None:
        size, shape, to, source = i.details
        target, origin = i.refs
        places = np.zeros((*shape, size), np.int64) + np.arange(size)
        sources = places.copy()
        for axis, n in enumerate(shape):
            form = [-1 if a == axis else 1 for a in range(len(shape) + 1)]
            places = places + to[axis] * np.arange(n).reshape(form)
            sources = sources + source[axis] * np.arange(n).reshape(form)
        if places.size == 0:
            return
        out, from_ = self.memory[target[:2]], self.memory[origin[:2]]
        assert places.min() + target[2] >= 0
        assert places.max() + target[2] < len(out)
        assert sources.min() + origin[2] >= 0
        assert sources.max() + origin[2] < len(from_)
        if target[:2] == origin[:2]:
            both = np.intersect1d(places + target[2], sources + origin[2])
            assert both.size == 0, "a copy overlaps what it copies"
        out[places + target[2]] = from_[sources + origin[2]]

    def several(self, i: Any) -> None:
        for part in i.details:
            getattr(self, part.kind)(part)

    def random(self, i: Any) -> None:
        self.write(i.refs[0], i.node)

    def host(self, i: Any) -> None:
        arrays = [a for a in i.node.args if isinstance(a, Expr)]
        kinds = i.details[1]
        assert kinds == [(self.graph.dtypes[a], self.graph.shapes[a]) for a in (*arrays, i.node)]
        at = [(r, self.layout.bytes(a)) for r, a in zip(i.refs, (*arrays, i.node), strict=True)]
        self._outputs_lie_apart(at[:-1], at[-1:], same=False)
        self._may_stop()
        for ref, a in zip(i.refs, arrays, strict=False):
            self.read(ref, a)
        self.write(i.refs[-1], i.node)

    def gather(self, i: Any) -> None:
        """The rows of one table, written beside those of others."""
        dtype, rows, columns, lead, kind, count, step, _ = i.details
        x, *tables = i.node.args
        kept, size = dict(i.node.attrs)["kept"], dtype.itemsize
        target, source, at = i.refs
        whole = self.layout.ref(i.node)
        first = (target[2] - whole[2]) // size
        widths = np.cumsum([max(kept, 0), *(self.graph.shapes[t][1] for t in tables)])
        j = int(np.flatnonzero(widths == first)[-1 if columns else 0])
        assert self.graph.shapes[tables[j]] == (rows, columns)
        assert lead == self.graph.shapes[i.node][-1]
        self.read(source, tables[j])
        self._codes_at(x, kept + j if kept >= 0 else -1, at, kind, count, step)
        if dict(i.node.attrs)["check"]:
            self._may_stop()
        made = self.content(i.node).reshape(-1, lead, size)[:, first : first + columns]
        place = self.where(whole, self.layout.bytes(i.node)).reshape(-1, lead, size)
        place[:, first : first + columns] = made

    def scatter(self, i: Any) -> None:
        dtype, rows, columns, lead, kind, count, step, _ = i.details
        (g, x), attrs = i.node.args, dict(i.node.attrs)
        assert (rows, columns) == self.graph.shapes[i.node] == attrs["shape"]
        assert lead == self.graph.shapes[g][-1]
        space, index, offset = i.refs[1]
        start = (space, index, offset - attrs["first"] * dtype.itemsize)
        self.read(start, g)
        self._codes_at(x, attrs["column"], i.refs[2], kind, count, step)
        at = [(start, self.layout.bytes(g)), (i.refs[0], self.layout.bytes(i.node))]
        self._outputs_lie_apart(at[:1], at[1:], same=False)
        if attrs["check"]:
            self._may_stop()
        self.write(i.refs[0], i.node)

    def _codes_at(self, x: Expr, column: int, at: Any, kind: Any, count: int, step: int) -> None:
        shape, size = self.graph.shapes[x], kind.itemsize
        assert kind == self.graph.dtypes[x]
        if column < 0:
            assert (count, step) == (int(np.prod(shape, dtype=int)), size)
        else:
            assert (count, step) == (shape[0], shape[1] * size)
        self.read((*at[:2], at[2] - max(column, 0) * size), x)

    def finite(self, i: Any) -> None:
        self.read(i.refs[0], i.node)
        self._may_stop()

    def _may_stop(self) -> None:
        """Where a run may stop, what the step reads of before is still as it was."""
        leaves = [a for _, _, a in self.layout.reads if is_leaf(self.layout.root(a))]
        for a in leaves:
            self.read(self.layout.ref(a), a)


_MOVES = frozenset(
    {"region", "reshape", "strided", "permute", "slice", "concat", "place", "gather"}
)


def layout_of(recorder: Any, results: Any, checks: Any = ()) -> Layout:
    """The layout of what a recorder noted."""
    graph = recorder.graph
    writes = [
        Write(graph.region(recorder._flat(k), start, (stop - start,)), e)
        for k, pieces in recorder.written.items()
        for start, stop, e in pieces
    ]
    shown = [(r.expr, r.shape, r.dtype) for r in results]
    arguments = [a.expr for a in recorder.arguments]
    functions, live = recorder.functions, len(recorder.bases)
    return Layout(graph, arguments, shown, writes, live, functions, checks)
