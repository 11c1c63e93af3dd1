"""From a program and the shapes of its inputs to an order of steps with buffers.

Two kinds of schedule. *Whole*: every step runs on whole arrays. *Blocked*: a large element-wise
program runs over cache-sized blocks of rows, so that its temporaries stay in cache; row reductions
stay inside a block, and reductions over the rows are added up from block to block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr, Program, walk

__all__ = ["BLOCK", "Schedule", "Step", "schedule"]

Shape = tuple[int, ...]

#: Elements in a block. Adam over 536,000 float32 parameters took 1.27, 0.90, 0.70 and 0.61 ms with
#: blocks of 4k, 8k, 16k and 32k (docs/performance.md).
BLOCK = 32768


@dataclass
class Step:
    """One call: `target = op(args)`, into the buffer `out` of an expression that is dead by then."""

    expr: Expr
    out: Expr | None = None  # None: a fresh array


@dataclass
class Schedule:
    program: Program
    shapes: dict[Expr, Shape]
    alias: dict[Expr, Any]  # identity steps: expression -> what it is
    steps: list[Step] = field(default_factory=list)
    #: None for whole arrays, else (rows, columns, rows in a block)
    blocks: tuple[int, int, int] | None = None

    def resolve(self, a: Any) -> Any:
        while isinstance(a, Expr) and a in self.alias:
            a = self.alias[a]
        return a


def schedule(program: Program, shapes: Sequence[Shape], donated: Sequence[int] = ()) -> Schedule:
    """Order, simplify for these shapes, and assign buffers.

    `donated` inputs may be overwritten once they are read for the last time.
    """
    order = walk(program.outputs)
    s = Schedule(program, _infer(program, order, shapes), {})
    order = _simplify(s, order)
    s.blocks = _blocks(s, order)
    s.steps = _assign(s, order, [program.inputs[k] for k in donated])
    return s


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes as non-negative numbers."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(a % ndim for a in axes) if ndim else ()


def _infer(program: Program, order: list[Expr], shapes: Sequence[Shape]) -> dict[Expr, Shape]:
    known: dict[Expr, Shape] = dict(zip(program.inputs, shapes, strict=True))

    def shape(a: Any) -> Shape:
        return known[a] if isinstance(a, Expr) else ()

    for e in order:
        if e.op == "input":
            continue
        attrs = dict(e.attrs)
        x = shape(e.args[0])
        match e.op:
            case "call" | "stop_gradient" | "ones_like" | "zeros_like":
                known[e] = x
            case "size":
                known[e] = ()
            case "sum" | "max":
                axes = axes_of(attrs["axis"], len(x))
                kept = tuple(1 if i in axes else n for i, n in enumerate(x))
                known[e] = kept if attrs["keepdims"] else ()
            case "sum_to" | "broadcast_to":
                known[e] = shape(e.args[1])
            case "squeeze":
                axes = axes_of(attrs["axis"], len(x))
                known[e] = tuple(n for i, n in enumerate(x) if i not in axes)
            case "expand_dims":
                wide = len(x) + (len(attrs["axis"]) if isinstance(attrs["axis"], tuple) else 1)
                axes, rest = axes_of(attrs["axis"], wide), iter(x)
                known[e] = tuple(1 if i in axes else next(rest) for i in range(wide))
            case _:
                known[e] = np.broadcast_shapes(*(shape(a) for a in e.args))
    return known


def _simplify(s: Schedule, order: list[Expr]) -> list[Expr]:
    """Drop steps that do nothing at these shapes."""
    shapes = s.shapes
    for e in order:
        a = e.args[0]
        if e.op in ("call", "stop_gradient") or (
            e.op in ("sum_to", "broadcast_to") and shapes.get(a, ()) == shapes[e]
        ):
            s.alias[e] = a
    uses: dict[Expr, list[Expr]] = {}
    for e in order:
        for a in e.args if e.op != "input" else ():
            uses.setdefault(s.resolve(a), []).append(e) if isinstance(a, Expr) else None
    finals = {s.resolve(o) for o in s.program.outputs}
    for e in order:
        # a broadcast needs no array where its users broadcast anyway
        if (
            e.op == "broadcast_to"
            and e not in s.alias
            and e not in finals
            and all(_broadcasts_without(s, u, e) for u in uses.get(e, []))
        ):
            s.alias[e] = e.args[0]
    live = {e for e in walk_resolved(s) if e not in s.alias}
    return [e for e in order if e in live and e.op != "input"]


def _broadcasts_without(s: Schedule, user: Expr, e: Expr) -> bool:
    row = PRIMITIVES.get(user.op)
    if row is None or row.kind not in ("elementwise", "test") or user.op == "one_hot":
        return False
    others = [
        s.shapes.get(s.resolve(a), ())
        for a in user.args
        if isinstance(a, Expr) and s.resolve(a) is not e and s.resolve(a).op != "broadcast_to"
    ]
    return bool(others) and np.broadcast_shapes(*others) == s.shapes[user]


def walk_resolved(s: Schedule) -> list[Expr]:
    """What the outputs need once identities are gone (a `like` argument is read for its shape)."""
    seen: set[Expr] = set()
    stack = [s.resolve(o) for o in s.program.outputs]
    while stack:
        e = stack.pop()
        if not isinstance(e, Expr) or e in seen:
            continue
        seen.add(e)
        if e.op != "input":
            stack.extend(s.resolve(a) for a in values(e))
    return list(seen)


def values(e: Expr) -> tuple[Any, ...]:
    """The arguments whose values are read, not only their shapes."""
    if e.op in ("sum_to", "broadcast_to", "one_hot", "call"):
        return e.args[:1]
    if e.op in ("size", "ones_like", "zeros_like"):
        return ()
    return e.args


def _blocks(s: Schedule, order: list[Expr]) -> tuple[int, int, int] | None:
    """(rows, columns, rows per block) when the program is element-wise, large and of one space."""
    inputs = s.program.inputs
    everything = [*inputs, *order]
    full = max((s.shapes[e] for e in everything), key=math.prod, default=())
    if math.prod(full) < 2 * BLOCK:
        return None
    flat = all(s.shapes[e] == full or math.prod(s.shapes[e]) == 1 for e in everything)
    columns = 1 if flat else full[-1]
    finals = {s.resolve(o) for o in s.program.outputs}
    used = {s.resolve(a) for e in order for a in values(e)}
    for e in everything:
        kind = kind_of(s.shapes[e], full)
        if kind is None:
            return None
        if e.op == "input":
            continue
        across_rows = e.op in ("sum", "sum_to") and kind in ("column", "scalar")
        if across_rows:
            if e not in finals or e in used or kind_of(s.shapes.get(s.resolve(e.args[0]), ()), full) != "full":
                return None
        elif e.op in ("max", "squeeze", "expand_dims") and kind != "row":
            return None
        elif e.op in ("squeeze", "expand_dims", "ones_like", "zeros_like", "one_hot", "broadcast_to"):
            return None
    if any(o.op == "input" for o in finals if isinstance(o, Expr)):
        return None
    rows = math.prod(full) // columns
    per_block = max(1, BLOCK // columns)
    return None if per_block * 2 > rows else (rows, columns, per_block)


def kind_of(shape: Shape, full: Shape) -> str | None:
    """How an array lies in the space of rows and columns; None if it does not."""
    if math.prod(shape) == 1:
        return "scalar"
    if shape == full:
        return "full"
    if shape == (*full[:-1], 1):
        return "row"
    if shape[-1:] == full[-1:] and math.prod(shape[:-1]) == 1:
        return "column"
    return None


def is_test(e: Expr) -> bool:
    row = PRIMITIVES.get(e.op)
    return row is not None and row.kind == "test"


#: Element-wise steps that write into a given array.
def _writes_out(e: Expr) -> bool:
    row = PRIMITIVES.get(e.op)
    if row is None or row.kind not in ("elementwise", "test"):
        return False
    return isinstance(row.numpy, np.ufunc) or e.op in ("sigmoid", "where", "erf")


def _assign(s: Schedule, order: list[Expr], donated: list[Expr]) -> list[Step]:
    last: dict[Any, int] = {}
    for i, e in enumerate(order):
        for a in values(e):
            last[s.resolve(a)] = i
    for o in s.program.outputs:
        last[s.resolve(o)] = len(order)
    owner: dict[Expr, Expr] = {d: d for d in donated}  # expression -> expression whose buffer it is in
    free: list[Expr] = [d for d in donated if d not in last]
    steps: list[Step] = []
    for i, e in enumerate(order):
        dying = {s.resolve(a) for a in values(e)}
        dying = {a for a in dying if isinstance(a, Expr) and last.get(a) == i and a in owner}
        out: Expr | None = None
        if _writes_out(e) and s.shapes[e] != ():
            alias_safe = e.op != "erf"
            candidates = [owner[a] for a in dying if alias_safe] + free
            for c in candidates:
                if s.shapes[c] == s.shapes[e] and is_test(c) == is_test(e):
                    out = c
                    break
        for a in dying:
            free.append(owner[a])
        if out is not None:
            free.remove(out)
        steps.append(Step(e, out))
        reusable = e.op not in ("broadcast_to", "squeeze", "expand_dims", "size")
        if reusable:
            owner[e] = out if out is not None else e
        if e not in last and e in owner:
            free.append(owner[e])
    return steps
