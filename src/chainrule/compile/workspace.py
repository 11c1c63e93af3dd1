"""Where a step's own values lie: their memory is used again when nobody reads them any more.

A kernel writes over an operand where it is the last to read it: that memory is at hand, while other
memory would have to be fetched first, perhaps from another core.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from chainrule.compile.expression import Expr
from chainrule.compile.fuse import Group, is_leaf, is_shared
from chainrule.compile.schedule import REDUCTIONS, kind_of

if TYPE_CHECKING:
    from chainrule.compile.place import Layout

__all__ = ["allocate"]

_LINE, _PAGE = 64, 4096

#: value -> the number of the kernel or move that makes it, or that reads it last
Times: TypeAlias = dict[Expr, int]


def allocate(layout: Layout) -> tuple[dict[Expr, int], int]:
    """For every value that has no place yet, an offset that is free while it lives; and how many
    bytes there are."""
    born, dies = _lifetimes(layout)
    homes = _homes(layout, born)
    for r in list(homes):  # parts live in the array they are joined to
        home = r
        while home in homes:
            home = homes[home]
        born[home] = min(born[home], born[r])
        dies[home] = max(dies[home], dies[r])
    joined = {*homes, *homes.values()}
    over = _over(layout, born, {r: i for r, i in dies.items() if r not in joined})
    for r in sorted(over, key=born.__getitem__, reverse=True):
        dies[over[r]] = dies[r]
    offsets: dict[Expr, int] = {}
    taken: list[tuple[int, int, int, int]] = []  # offset, size, born, dies
    for r in sorted(born, key=lambda r: (born[r], -layout.bytes(r))):
        if r in homes or r in over or (r.op == "permute" and r not in layout.dense):
            continue
        # long arrays begin with a page, for the reason that `array.memory.page_aligned` gives
        unit = _PAGE if layout.bytes(r) >= _PAGE else _LINE
        size = -(-layout.bytes(r) // unit) * unit
        blocks = sorted(t for t in taken if t[2] <= dies[r] and t[3] >= born[r])
        offset = 0
        for start, length, _, _ in blocks:
            if start - offset >= size:
                break
            offset = max(offset, -(-(start + length) // unit) * unit)
        taken.append((offset, size, born[r], dies[r]))
        offsets[r] = offset
    for r in sorted(over, key=born.__getitem__):
        offsets[r] = offsets[over[r]]
    return offsets, max((offset + size for offset, size, _, _ in taken), default=0)


def _lifetimes(layout: Layout) -> tuple[Times, Times]:
    """When each value is made, and when it is read last."""
    born: Times = {}
    for i, node in enumerate(layout.fusion.order):
        for e in node.outputs if isinstance(node, Group) else [node]:
            r = layout.root(e)
            if not is_leaf(r) and r not in layout.at:
                born.setdefault(r, i)
    dies = dict(born)
    for i, _, a in layout.reads:
        r = layout.root(a)
        if r in dies:
            dies[r] = max(dies[r], i)
    for _, e, _, _ in layout.final:
        if isinstance(e, Expr) and (r := layout.root(e)) in dies:
            dies[r] = len(layout.fusion.order)
    return born, dies


def _homes(layout: Layout, born: Times) -> dict[Expr, Expr]:
    """The parts of joined arrays that can be computed in their places there, and the arrays."""
    homes: dict[Expr, Expr] = {}
    for e in reversed(layout.fusion.steps):
        if e.op != "concat" or e not in born:
            continue
        if math.prod(layout.graph.shapes[e][: dict(e.attrs)["axis"]]) != 1:
            continue
        for a in e.args:
            r = layout.root(a)
            if r in born and r not in homes and r is not e and layout.bytes(r) == layout.bytes(a):
                homes[r] = e
    return homes


def _over(layout: Layout, born: Times, dies: Mapping[Expr, int]) -> dict[Expr, Expr]:
    """What is written over which operand: over the newest, which is nearest."""
    found: dict[Expr, Expr] = {}
    for i, node in enumerate(layout.fusion.order):
        if not isinstance(node, Group) or not _writes_over(node):
            continue
        roots = [layout.root(a) for a in node.operands]
        free = [
            r
            for r, a in zip(roots, node.operands, strict=True)
            if dies.get(r) == i and roots.count(r) == 1 and _is_whole(layout, a, node)
        ]
        free.sort(key=born.__getitem__, reverse=True)
        for o in node.outputs:
            if o not in dies or not _is_whole(layout, o, node):
                continue
            alike = (r for r in free if layout.graph.dtypes[r] == layout.graph.dtypes[o])
            if (r := next(alike, None)) is not None:
                found[o] = r
                free.remove(r)
    return found


def _is_whole(layout: Layout, e: Expr, group: Group) -> bool:
    """Whether a value has an entry for each of a kernel, and all of its memory."""
    whole = layout.bytes(e) == layout.bytes(layout.root(e))
    return whole and layout.graph.shapes[e] == group.space and e.op != "permute"


def _writes_over(group: Group) -> bool:
    """Whether a kernel may write over its operands: it has read an entry before it writes there.

    One that reduces rows goes through them several times. It would have to keep what it may not yet
    write, which is not worth it for a few.
    """
    low = group.program
    assert low is not None
    rows = any(
        e.op in REDUCTIONS and kind_of(low.shapes[e], group.space) == "row" for e in low.order()
    )
    return not rows or is_shared(group.space)
