"""Where every value of a step lies, and the instructions that compute it there.

Memory is of four kinds: the arguments of a run, live arrays (parameters, optimizer state), the
workspace, and the results, which are fresh at each run. A value goes straight to where it is
wanted: a gradient into its part of the optimizer's vector, an updated parameter over the old one.
Where that is not possible, because somebody still reads what stands there, it is computed in the
workspace and copied at the end. The rest of the workspace is given out by lifetime (`workspace`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.compile.expression import Expr
from chainrule.compile.fuse import ALIASES, Fusion, Group, is_leaf
from chainrule.compile.graph import Graph
from chainrule.compile.lower import Shape
from chainrule.compile.print_c import CText, print_c
from chainrule.compile.schedule import REDUCTIONS
from chainrule.compile.workspace import allocate

__all__ = ["ARGUMENT", "LIVE", "RESULT", "WORKSPACE", "Instruction", "Layout", "Ref"]

ARGUMENT, LIVE, WORKSPACE, RESULT = range(4)

#: (kind of memory, number of the array, offset in bytes)
Ref: TypeAlias = tuple[int, int, int]


@dataclass(eq=False)
class Instruction:
    """One step of a plan.

    Attributes:
        kind: "kernel", "product", "copy", "random", "host", "gather", "scatter", "finite", or
            "several" of these.
        node: the `Group` or expression it computes.
        refs: where its operands and its result lie, in the order of the kind.
        details: what else the kind needs (see `Layout`).
    """

    kind: str
    node: Any
    refs: list[Ref]
    details: tuple[Any, ...] = ()
    text: CText | None = None


@dataclass
class Write:
    """An update of memory: the part that a leaf names gets a value."""

    target: Expr
    value: Any


class Layout:
    """Instructions and memory for a graph.

    Arguments:
        graph: what is computed.
        arguments: the expressions of the arguments, in order.
        results: expressions (or numbers) with shape and type.
        writes: updates of live memory and of arguments.
        functions: what the host nodes call: (function, arguments with GIVEN for arrays, options).
        checks: numbers that must be finite for what follows to run.

    Attributes:
        instructions: in order.
        workspace: bytes.
        constants: live arrays that the layout added (numbers that are results).
    """

    def __init__(
        self,
        graph: Graph,
        arguments: Sequence[Expr],
        results: Sequence[tuple[Any, Shape, Any]],
        writes: Sequence[Write],
        live: int = 0,
        functions: Sequence[Any] = (),
        checks: Sequence[Expr] = (),
    ) -> None:
        self.graph = graph
        self.arguments = {x: k for k, x in enumerate(arguments)}
        self.results, self.writes = results, writes
        self.functions = functions
        self.live = live
        self.constants: list[Array] = []
        self._counts: dict[Expr, int] = {}
        roots = [e for e, _, _ in results] + [w.value for w in writes] + list(checks)
        self.fusion = Fusion(graph, roots)
        self.position: dict[Any, int] = {}
        for i, node in enumerate(self.fusion.order):
            for e in node.outputs if isinstance(node, Group) else [node]:
                self.position[e] = i
        #: when the last number that must be finite is there, or the last call of NumPy is over
        stops = [*checks, *(e for e in self.position if e.op == "host" or _looks_up(e))]
        self.checked = max((self.position.get(self.root(e), -1) for e in stops), default=-1)
        self.dense = self._dense()
        self.at: dict[Expr, Ref] = {}
        self.final: list[tuple[Ref, Any, Shape, Any]] = []
        self.reads = self._readers()
        self._aim()
        offsets, self.workspace = allocate(self)
        self.at |= {r: (WORKSPACE, 0, offset) for r, offset in offsets.items()}
        self._spread_all()
        self.instructions = [
            *(i for node in self._running() for i in self._with_checks(node, checks)),
            *self._copies(),
        ]

    # -- where things are -------------------------------------------------------------------------

    def root(self, e: Expr) -> Expr:
        """The expression whose memory an alias shows."""
        while e.op in ALIASES or self._window(e):
            e = e.args[0]
        return e

    def _window(self, e: Expr) -> bool:
        """Whether a slice is a contiguous part of its argument."""
        if e.op != "slice":
            return False
        shape = self.graph.shapes[e.args[0]]
        first, *rest = dict(e.attrs)["slices"]
        whole = all(s == (0, n, 1) for s, n in zip(rest, shape[1:], strict=True))
        return whole and first[2] == 1

    def ref(self, e: Expr) -> Ref:
        """Where the entries of `e` begin."""
        offset = 0
        while True:
            if e.op == "region":
                offset += dict(e.attrs)["offset"] * self.graph.dtypes[e].itemsize
            elif self._window(e):
                row = math.prod(self.graph.shapes[e.args[0]][1:])
                offset += dict(e.attrs)["slices"][0][0] * row * self.graph.dtypes[e].itemsize
            elif e.op != "reshape":
                break
            e = e.args[0]
        if e.op == "memory":
            return (LIVE, e.args[0], offset)
        if e.op == "count":
            return (LIVE, self._count(e), 0)
        if e.op == "input":
            return (ARGUMENT, self.arguments[e], offset)
        space, index, start = self.at[e]
        return (space, index, start + offset)

    def _count(self, e: Expr) -> int:
        """The number of the live array that holds a size."""
        if e not in self._counts:
            self.constants.append(np.full((), e.args[0], e.args[1]))
            self._counts[e] = self.live + len(self.constants) - 1
        return self._counts[e]

    def bytes(self, e: Expr) -> int:
        """The size of a value in memory."""
        return math.prod(self.graph.shapes[e]) * int(self.graph.dtypes[e].itemsize)

    def _dense(self) -> set[Expr]:
        """Transposed matrices that something else than a product reads."""
        found = {r for r in self.fusion.roots if r.op == "permute"}
        for node in self.fusion.order:
            if isinstance(node, Group):
                found.update(e for e in node.operands if e.op == "permute")
            else:
                found.update(
                    a
                    for a in node.args
                    if isinstance(a, Expr)
                    and a.op == "permute"
                    and (node.op != "product" or len(self.graph.shapes[a]) != 2)
                )
        return found

    def _running(self) -> Iterator[Any]:
        """The kernels and moves that do something."""
        for node in self.fusion.order:
            if isinstance(node, Group):
                yield node
            elif node.op in ALIASES or self._window(node):
                continue
            elif node.op != "permute" or node in self.dense:
                yield node

    def _operands(self, node: Any) -> list[Expr]:
        """The expressions a kernel or move reads."""
        if isinstance(node, Group):
            return node.operands
        found = []
        for a in node.args:
            if isinstance(a, Expr):
                flagged = a.op == "permute" and a not in self.dense
                found.append(a.args[0] if flagged else a)
        return found

    def _readers(self) -> list[tuple[int, Any, Expr]]:
        """(when, kernel or move, what) of every read of memory."""
        return [
            (i, node, a)
            for i, node in enumerate(self.fusion.order)
            if isinstance(node, Group) or (node.op not in ALIASES and not self._window(node))
            for a in self._operands(node)
        ]

    # -- straight to the target -------------------------------------------------------------------

    def _aim(self) -> None:
        """Give results and updates their memory; what cannot go there directly is copied last."""
        for w in self.writes:
            self._to(self.ref(w.target), w.value, self.graph.shapes[w.target], w.target)
        updates, self.final = self.final, []  # after the results, which may be values of before
        for k, (e, shape, dtype) in enumerate(self.results):
            if isinstance(e, Expr):
                self._to((RESULT, k, 0), e, shape, None)
            else:
                self.constants.append(np.full(shape, e, dtype))
                source = (LIVE, self.live + len(self.constants) - 1, 0)
                self.final.append(((RESULT, k, 0), source, shape, np.dtype(dtype)))
        if len(updates) > 1 and any(is_leaf(self.root(e)) for _, e, _, _ in updates):
            raise NotImplementedError("updates that read what other updates overwrite")
        self.final += updates
        self._spread_all()
        for e in self.fusion.steps:
            if e.op == "concat" and e not in self.at and (place := self._joined(e)):
                self.at[e] = place

    def _joined(self, e: Expr) -> Ref | None:
        """Where the parts of an array lie one after the other already, as gradients do."""
        if math.prod(self.graph.shapes[e][: dict(e.attrs)["axis"]]) != 1:
            return None
        found: list[tuple[Ref, int]] = []
        for a in e.args:
            if not is_leaf(a) and self.root(a) not in self.at:
                return None
            found.append((self.ref(a), self.bytes(a)))
        (space, index, offset), _ = found[0]
        for ref, size in found:
            if ref != (space, index, offset):
                return None
            offset += size
        return found[0][0]

    def _to(self, ref: Ref, e: Expr, shape: Shape, target: Expr | None) -> None:
        r = self.root(e)
        if is_leaf(r):
            if target is None or self.ref(e) != ref:
                self.final.append((ref, e, shape, self.graph.dtypes[e]))
        elif r not in self.at and self.bytes(r) == self.bytes(e) and self._free(r, ref, target):
            self.at[r] = ref
        else:
            self.final.append((ref, e, shape, self.graph.dtypes[e]))

    def _free(self, r: Expr, ref: Ref, target: Expr | None) -> bool:
        """Whether nobody reads what stands at `ref` once `r` is written there."""
        if target is None:
            return True
        start, stop = ref[2], ref[2] + self.bytes(r)
        begin = min(self._written(r), default=-1)
        for i, node, a in self.reads:
            if not is_leaf(self.root(a)):
                continue
            space, index, at = self.ref(a)
            if (space, index) != ref[:2] or at >= stop or at + self.bytes(a) <= start:
                continue
            if begin <= self.checked:  # a run that stops there must not have changed it
                return False
            if i < begin or (i == begin and self._in_place(node, r, a, ref)):
                continue
            return False
        for e in self._copied():
            space, index, at = self.ref(e)
            if (space, index) == ref[:2] and at < stop and at + self.bytes(e) > start:
                return False
        return True

    def _copied(self) -> Iterator[Expr]:
        """What is copied at the end from where it lay at the beginning: old values."""
        for e, _, _ in self.results:
            if isinstance(e, Expr) and is_leaf(self.root(e)):
                yield e
        for w in self.writes:
            old = isinstance(w.value, Expr) and is_leaf(self.root(w.value))
            if old and self.ref(w.value) != self.ref(w.target):
                yield w.value

    def _written(self, r: Expr) -> Iterator[int]:
        """When the memory of a value is written first: a joined one with its earliest part."""
        if r.op == "concat":
            for a in r.args:
                inner = self.root(a)
                if not is_leaf(inner):
                    yield from self._written(inner)
        if r in self.position:
            yield self.position[r]

    def _in_place(self, node: Any, r: Expr, a: Expr, ref: Ref) -> bool:
        """Whether a kernel may write `r` over its operand `a`: entry by entry, in one pass."""
        return (
            isinstance(node, Group)
            and r in node.outputs
            and self.ref(a) == ref
            and self.bytes(a) == self.bytes(r)
            and single_pass(node)
        )

    def _spread_all(self) -> None:
        for e in reversed(self.fusion.steps):  # outer ones first
            if e.op == "concat" and e in self.at:
                self._spread(e)

    def _spread(self, e: Expr) -> None:
        """The parts of a joined array are computed in their places in it."""
        axis = dict(e.attrs)["axis"]
        if math.prod(self.graph.shapes[e][:axis]) != 1:
            return
        space, index, offset = self.at[e]
        for a in e.args:
            r = self.root(a)
            if (
                not is_leaf(a)
                and r not in self.at
                and self.bytes(r) == self.bytes(a)
                and self.graph.dtypes[r] == self.graph.dtypes[e]
                and (r.op != "permute" or r in self.dense)
            ):
                self.at[r] = (space, index, offset)
            offset += self.bytes(a)

    # -- instructions -----------------------------------------------------------------------------

    def _instruction(self, node: Any) -> Instruction:
        if isinstance(node, Group):
            return self._kernel(node)
        make: Callable[[Expr], Instruction] = getattr(self, f"_{node.op}")
        return make(node)

    def _with_checks(self, node: Any, checks: Sequence[Expr]) -> Iterator[Instruction]:
        """The instruction, and after it a check of each number it makes that must be finite."""
        yield self._instruction(node)
        made = node.outputs if isinstance(node, Group) else [node]
        for e in checks:
            if self.root(e) in made:
                yield Instruction("finite", e, [self.ref(e)], (self.graph.dtypes[e],))

    def _kernel(self, group: Group) -> Instruction:
        low = group.program
        assert low is not None
        operands = [self.ref(e) for e in group.operands]
        outputs = [self.ref(o) for o in group.outputs]
        into: dict[int, int] = {}
        for k, r in enumerate(outputs):
            for j, o in enumerate(operands):
                if o == r and self.bytes(group.operands[j]) == self.bytes(group.outputs[k]):
                    into[k] = j
        text = print_c(low, into, group.space)
        refs = operands + [r for k, r in enumerate(outputs) if k not in into]
        rows, columns = math.prod(group.space[:-1]), group.space[-1] if group.space else 1
        if text.flat:
            rows, columns = 1, rows * columns
        steps = [{"full": columns, "row": 1}.get(operand.layout, 0) for operand in text.operands]
        return Instruction("kernel", group, refs, (rows, columns, steps), text)

    def _matrix(self, e: Expr) -> tuple[Ref, bool, int]:
        """(where, transposed, length of a row in memory) of a matrix in a product."""
        flagged = e.op == "permute" and e not in self.dense
        inner = e.args[0] if flagged else e
        return self.ref(inner), flagged, self.graph.shapes[inner][1]

    def _product(self, e: Expr) -> Instruction:
        a, b = e.args
        (m, k), n = self.graph.shapes[a], self.graph.shapes[b][1]
        (at_a, ta, lda), (at_b, tb, ldb) = self._matrix(a), self._matrix(b)
        details = (ta, tb, m, n, k, lda, ldb, n, self.graph.dtypes[e])
        return Instruction("product", e, [at_a, at_b, self.ref(e)], details)

    def _copy(
        self, e: Any, shape: Shape, dst: Ref, ds: Shape, src: Ref, ss: Shape, size: int
    ) -> Instruction:
        to, source = (tuple(s * size for s in strides) for strides in (ds, ss))
        return Instruction("copy", e, [dst, src], (size, shape, to, source))

    def _permute(self, e: Expr) -> Instruction:
        inner, axes = e.args[0], dict(e.attrs)["axes"]
        strides = contiguous(self.graph.shapes[inner])
        shape = self.graph.shapes[e]
        size = self.graph.dtypes[e].itemsize
        moved = tuple(strides[a] for a in axes)
        return self._copy(e, shape, self.ref(e), contiguous(shape), self.ref(inner), moved, size)

    def _strided(self, e: Expr) -> Instruction:
        attrs, shape = dict(e.attrs), self.graph.shapes[e]
        size = self.graph.dtypes[e].itemsize
        space, index, offset = self.ref(e.args[0])
        source = (space, index, offset + attrs["offset"] * size)
        return self._copy(e, shape, self.ref(e), contiguous(shape), source, attrs["strides"], size)

    def _slice(self, e: Expr) -> Instruction:
        shape, size = self.graph.shapes[e], self.graph.dtypes[e].itemsize
        start, strides = window(dict(e.attrs)["slices"], self.graph.shapes[e.args[0]])
        space, index, offset = self.ref(e.args[0])
        source = (space, index, offset + start * size)
        return self._copy(e, shape, self.ref(e), contiguous(shape), source, strides, size)

    def _concat(self, e: Expr) -> Instruction:
        """Copies of the parts that were not computed in their places."""
        axis = dict(e.attrs)["axis"]
        size, strides = self.graph.dtypes[e].itemsize, contiguous(self.graph.shapes[e])
        space, index, offset = self.ref(e)
        parts = []
        for a in e.args:
            target, inner = (space, index, offset), self.graph.shapes[a]
            if self.ref(a) != target:
                parts.append(
                    self._copy(a, inner, target, strides, self.ref(a), contiguous(inner), size)
                )
            offset += inner[axis] * strides[axis] * size
        return Instruction("several", e, [], tuple(parts))

    def _place(self, e: Expr) -> Instruction:
        shape, size = self.graph.shapes[e], self.graph.dtypes[e].itemsize
        g = e.args[0]
        inner = self.graph.shapes[g]
        start, strides = window(dict(e.attrs)["slices"], shape)
        self.constants.append(np.zeros((), self.graph.dtypes[e]))
        zero = (LIVE, self.live + len(self.constants) - 1, 0)
        space, index, offset = self.ref(e)
        target = (space, index, offset + start * size)
        none = (0,) * len(shape)
        parts = (
            self._copy(e, shape, self.ref(e), contiguous(shape), zero, none, size),
            self._copy(e, inner, target, strides, self.ref(g), contiguous(inner), size),
        )
        return Instruction("several", e, [], parts)

    def _codes(self, x: Expr, column: int) -> tuple[Ref, tuple[Any, int, int]]:
        """Where the codes begin, and their type, number and step in bytes."""
        shape, dtype = self.graph.shapes[x], self.graph.dtypes[x]
        space, index, offset = self.ref(x)
        if column < 0:
            return (space, index, offset), (dtype, math.prod(shape), dtype.itemsize)
        place = (space, index, offset + column * dtype.itemsize)
        return place, (dtype, shape[0], shape[1] * dtype.itemsize)

    def _gather(self, e: Expr) -> Instruction:
        """A copy of the numbers, and each table's rows beside them."""
        (x, *tables), kept = e.args, dict(e.attrs)["kept"]
        width, dtype = self.graph.shapes[e][-1], self.graph.dtypes[e]
        space, index, offset = self.ref(e)
        parts = []
        if kept > 0:
            shape, size = (self.graph.shapes[x][0], kept), dtype.itemsize
            lead = self.graph.shapes[x][1]
            parts.append(
                self._copy(
                    e, shape, (space, index, offset), (width, 1), self.ref(x), (lead, 1), size
                )
            )
        first = max(kept, 0)
        for j, table in enumerate(tables):
            at, codes = self._codes(x, kept + j if kept >= 0 else -1)
            rows, columns = self.graph.shapes[table]
            target = (space, index, offset + first * dtype.itemsize)
            details = (dtype, rows, columns, width, *codes, -1)
            parts.append(Instruction("gather", e, [target, self.ref(table), at], details))
            first += columns
        return Instruction("several", e, [], tuple(parts))

    def _scatter(self, e: Expr) -> Instruction:
        g, x = e.args
        attrs, dtype = dict(e.attrs), self.graph.dtypes[e]
        rows, columns = self.graph.shapes[e]
        at, codes = self._codes(x, attrs["column"])
        space, index, offset = self.ref(g)
        source = (space, index, offset + attrs["first"] * dtype.itemsize)
        details = (dtype, rows, columns, self.graph.shapes[g][-1], *codes, attrs["padding"])
        return Instruction("scatter", e, [self.ref(e), source, at], details)

    def _random(self, e: Expr) -> Instruction:
        attrs = dict(e.attrs)
        return Instruction("random", e, [self.ref(e)], (e.args[0], attrs["p"], attrs["shape"]))

    def _host(self, e: Expr) -> Instruction:
        arrays = [a for a in e.args if isinstance(a, Expr)]
        refs = [*map(self.ref, arrays), self.ref(e)]
        kinds = [(self.graph.dtypes[a], self.graph.shapes[a]) for a in (*arrays, e)]
        return Instruction("host", e, refs, (self.functions[e.args[0]], kinds))

    def _copies(self) -> list[Instruction]:
        """What goes to its target at the end. Values are read before any of them is overwritten."""
        found = []
        for target, e, shape, dtype in self.final:
            source = self.ref(e) if isinstance(e, Expr) else e
            flat = (math.prod(shape),)
            found.append(self._copy(e, flat, target, (1,), source, (1,), dtype.itemsize))
        return found


def _looks_up(e: Any) -> bool:
    """Whether it may meet a code that has no row."""
    return e.op in ("gather", "scatter") and dict(e.attrs)["check"]


def single_pass(group: Group) -> bool:
    """Whether a kernel reads every entry once, before it writes there."""
    assert group.program is not None
    return all(e.op not in REDUCTIONS for e in group.program.order())


def contiguous(shape: Shape) -> Shape:
    """The strides, in entries, of an array without gaps."""
    strides = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def window(slices: Sequence[tuple[int, int, int]], shape: Shape) -> tuple[int, Shape]:
    """(first entry, strides) of a slice of an array of this shape."""
    whole = contiguous(shape)
    start = sum(s * w for (s, _, _), w in zip(slices, whole, strict=True))
    return start, tuple(step * w for (_, _, step), w in zip(slices, whole, strict=True))
