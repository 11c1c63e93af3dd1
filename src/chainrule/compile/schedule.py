"""From a program and the shapes and types of its inputs to an order of steps with buffers.

Two kinds of schedule. *Whole*: every step runs on whole arrays. *Blocked*: a large element-wise
program runs over cache-sized blocks of rows, so that its temporaries stay in cache; reductions
along a row stay inside a block, and sums over the rows are added up from block to block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr, Program
from chainrule.compile.lower import VIEWS, Lowered, Shape, Signature, lower

__all__ = ["BLOCK", "Schedule", "Space", "Step", "kind_of", "schedule", "writes_out"]

REDUCTIONS = frozenset({"sum", "sum_to", "max"})

#: Elements in a block. Adam over 536,000 float32 parameters took 1.27, 0.90, 0.70 and 0.61 ms with
#: blocks of 4k, 8k, 16k and 32k (docs/performance.md).
BLOCK = 32768


@dataclass
class Step:
    """One call: `expr`, into the array of `out`, an input or an expression that is dead by then."""

    expr: Expr
    out: Expr | None = None  # None: a fresh array


@dataclass
class Space:
    """The rows and columns a blocked program runs over."""

    full: Shape
    rows: int
    columns: int  # 1 where every array is full or a single number: then arrays are flat
    per_block: int
    #: of every expression: "before" the loop, "in" it or "after" it
    stage: dict[Expr, str]


@dataclass
class Schedule:
    """A lowered program with its steps in order, their buffers, and blocks where it runs so."""

    program: Lowered
    steps: list[Step]
    space: Space | None = None  # None: whole arrays
    #: output position -> the input whose memory receives it
    into: dict[int, Expr] = field(default_factory=dict)
    #: (input, value) of those outputs that could not be computed in place
    copies: list[tuple[Expr, Any]] = field(default_factory=list)


def schedule(
    program: Program,
    signature: Signature,
    donated: Sequence[int] = (),
    into: Mapping[int, int] | None = None,
    keep_inputs: bool = True,
) -> Schedule:
    """Order, simplify for these shapes, and assign buffers.

    `donated` inputs may be overwritten once they are read for the last time. `into` maps an
    output's position to that of the input whose memory receives it. `keep_inputs`: an output
    that is an input is copied.
    """
    low = lower(program, signature, keep_inputs or bool(into))
    order = low.order()
    space = _space(low, order)
    s = Schedule(low, [], space, {k: low.inputs[j] for k, j in (into or {}).items()})
    for k, x in s.into.items():
        o = low.outputs[k]
        if isinstance(low.dtypes[x], type) or low.shapes[x] != low.shapes.get(o, ()):
            raise ValueError(
                f"{low.name}: output {k} has shape {low.shapes.get(o, ())} and cannot be written "
                f"into {x}, which is {_described(low, x)}"
            )
    _assign(s, order, [low.inputs[k] for k in donated])
    return s


def _described(low: Lowered, x: Expr) -> str:
    kind = low.dtypes[x]
    return f"a Python {kind.__name__}" if isinstance(kind, type) else f"of shape {low.shapes[x]}"


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


def is_sum_over_rows(e: Expr, kind: Callable[[Any], str | None]) -> bool:
    """Whether a step adds up blocks: its argument has rows, its result has none."""
    return (
        e.op in REDUCTIONS
        and kind(e.args[0]) in ("full", "row")
        and kind(e) in ("column", "scalar")
    )


def _space(low: Lowered, order: list[Expr]) -> Space | None:
    """Rows, columns and stages if the program is large, of one space and needs one pass."""
    read = {a for e in order for a in e.args if isinstance(a, Expr) and a.op == "input"}
    everything = [*(x for x in low.inputs if x in read), *order]
    full = max((low.shapes[e] for e in everything), key=math.prod, default=())
    size = math.prod(full)
    if size < 2 * BLOCK:
        return None
    flat = all(low.shapes[e] == full or math.prod(low.shapes[e]) == 1 for e in everything)
    columns = 1 if flat else full[-1]

    def kind(a: Any) -> str | None:
        return kind_of(low.shapes.get(a, ()), full)

    stage: dict[Expr, str] = {}
    for e in everything:
        k = kind(e)
        if k is None:
            return None
        stages = {stage[a] for a in e.args if a in stage} if e.op != "input" else set()
        if is_sum_over_rows(e, kind):
            if e.op == "max":
                return None
            stage[e] = "after"
        elif k in ("full", "row"):
            if "after" in stages or e.op in ("squeeze", "expand_dims"):
                return None
            if e.op in REDUCTIONS and kind(e.args[0]) == k:  # counts booleans along an axis of one
                return None
            if e.op == "one_hot" and (
                flat or k != "full" or dict(e.attrs)["axis"] != len(full) - 1
            ):
                return None
            stage[e] = "in"
        else:
            stage[e] = "after" if "after" in stages else "before"
    per_block = max(1, BLOCK // columns)
    rows = size // columns
    return None if per_block * 2 > rows else Space(full, rows, columns, per_block, stage)


def writes_out(e: Expr) -> bool:
    """Whether a step can write into a given array."""
    row = PRIMITIVES.get(e.op)
    return row is not None and (
        isinstance(row.numpy, np.ufunc) or e.op in ("sigmoid", "where", "erf")
    )


def _root(e: Any) -> Any:
    """The expression whose memory a view shows."""
    while isinstance(e, Expr) and e.op in VIEWS:
        e = e.args[0]
    return e


def _assign(s: Schedule, order: list[Expr], donated: list[Expr]) -> None:
    """Give every step a buffer: the memory its output goes to, or one that is dead by then."""
    low, end = s.program, len(order)
    last: dict[Any, int] = {}
    for i, e in enumerate(order):
        for a in e.args:
            last[_root(a)] = i
    for o in low.outputs:
        last[_root(o)] = end
    position = {e: i for i, e in enumerate(order)}
    returned = {o for k, o in enumerate(low.outputs) if k not in s.into}
    target: dict[Expr, Expr] = {}
    for k, x in s.into.items():
        o = low.outputs[k]
        in_place = (
            isinstance(o, Expr)
            and o not in target
            and o not in returned
            and writes_out(o)
            and low.dtypes[o] == low.dtypes[x]
            and last.get(x, -1) <= position[o]
            and (s.space is None or s.space.stage[o] == "in")
        )
        if in_place:
            target[o] = x
        else:
            s.copies.append((x, o))
    kept = set() if s.space is None else returned  # slices of a result, in no buffer

    def buffered(e: Expr) -> bool:
        if s.space is not None:
            return low.shapes[e] == s.space.full and s.space.stage[e] == "in"
        return low.shapes[e] != ()

    owner = {d: d for d in donated if d not in s.into.values() and _lends(s, d)}
    free = [d for d in owner if d not in last]
    for i, e in enumerate(order):
        roots = dict.fromkeys(_root(a) for a in e.args)
        dying = [a for a in roots if a in owner and last[a] == i]
        out = target.get(e)
        if out is None and writes_out(e) and buffered(e) and e not in kept:
            for c in [*(owner[a] for a in dying), *free]:
                if low.shapes[c] == low.shapes[e] and low.dtypes[c] == low.dtypes[e]:
                    out = c
                    break
        free.extend(owner[a] for a in dying)
        if out in free:
            free.remove(out)
        s.steps.append(Step(e, out))
        if e.op not in VIEWS and buffered(e) and e not in target:
            owner[e] = e if out is None else out


def _lends(s: Schedule, x: Expr) -> bool:
    """Whether a donated input may hold temporaries."""
    return s.space is None or s.program.shapes[x] == s.space.full
