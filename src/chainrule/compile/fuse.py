"""From a graph to kernels: which steps run together in one pass over memory.

Every element-wise step and every reduction has a *space*, the shape of the rows and columns it runs
over, and a *level*: how many times before it memory must have been written and read again (after a
product, a reshape, a sum over the rows). Steps of one space and level make one kernel with several
outputs. No list of fused shapes exists: bias with activation, its derivative with the gradient of
the bias, softmax with cross-entropy and gradient, the optimizer with clipping and weight decay all
come out of this rule.

What a later kernel reads again is written to memory if it was expensive to compute (an exponential,
a reduction) or is written anyway, and computed again from what it was computed from if not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from chainrule.array.dtypes import default_dtype, is_float
from chainrule.compile.expression import Expr, make, walk
from chainrule.compile.graph import Graph
from chainrule.compile.lower import Lowered, Shape
from chainrule.compile.residuals import EXPENSIVE
from chainrule.compile.schedule import REDUCTIONS, kind_of

__all__ = ["ALIASES", "Fusion", "Group", "is_leaf", "is_shared"]

#: Steps that give another shape to the same memory.
ALIASES = frozenset({"region", "reshape"})
#: What lies in memory before a step begins.
LEAVES = frozenset({"input", "memory", "count"})
_MOVES = frozenset(
    {
        "product",
        "strided",
        "permute",
        "slice",
        "concat",
        "place",
        "gather",
        "scatter",
        "random",
        "host",
        *ALIASES,
    }
)
_COSTLY = (EXPENSIVE | {"divide", "sqrt"}) - {"sum", "max", "one_hot"}

#: Formulas that say little about a kernel in which there are others.
_PLAIN = frozenset({"add", "bias", "multiply", "negative", "subtract"})

#: Entries from which on a kernel is shared out over threads.
_SHARED = 1 << 15

Space: TypeAlias = tuple[Shape, np.dtype[Any]]
Key: TypeAlias = tuple[Shape, np.dtype[Any], int]


def is_leaf(e: Any) -> bool:
    """Whether an expression lies in memory before the step begins."""
    while isinstance(e, Expr) and e.op in ALIASES:
        e = e.args[0]
    return isinstance(e, Expr) and e.op in LEAVES


def is_shared(space: Shape) -> bool:
    """Whether a kernel is worth several threads."""
    return math.prod(space) >= _SHARED


@dataclass(eq=False)
class Group:
    """One kernel: what it writes, what it reads, and the program between them."""

    space: Shape
    dtype: np.dtype[Any]
    level: int
    outputs: list[Expr] = field(default_factory=list)
    operands: list[Expr] = field(default_factory=list)
    formulas: list[str] = field(default_factory=list)
    program: Lowered | None = None


class Fusion:
    """The kernels of a graph, and the order in which they and the moves between them run.

    Attributes:
        groups: all kernels.
        order: kernels (`Group`) and moves (`Expr`), each after what it reads.
    """

    def __init__(self, graph: Graph, roots: Iterable[Any]) -> None:
        self.graph = graph
        self.roots = [r for r in roots if isinstance(r, Expr)]
        self.steps = walk(self.roots)
        self.space: dict[Expr, Space] = {}
        self.after: set[Expr] = set()
        self.level: dict[Expr, int] = {}
        self.kept = self._stored()
        self.cheap: dict[Expr, bool] = {}
        self.costly: dict[Expr, bool] = {}
        #: Spaces whose sums over all rows have kernels of their own.
        self.apart: set[Space] = set()
        self._rank_all()
        if self._part():
            self._rank_all()
        self.groups: dict[Key, Group] = {}
        while True:
            self._weigh()
            self._group()
            if not self._sources() and not self._sink():
                break
        for group in self.groups.values():
            self._build(group)
        self.order = self._ordered()

    def _group(self) -> None:
        """Find the kernels for the present levels."""
        self.stored = set(self.kept)
        self.groups = {}
        self._made: set[Expr] = set()
        for e in self.steps:
            if e in self.stored and self._computed(e):
                self._store(e)

    def _sink(self) -> bool:
        """Move a kernel whose results only one later kernel of its space reads into that one."""
        readers: dict[Expr, set[Any]] = {}
        for e in self.steps:
            for a in e.args:
                if self._computed(a):
                    readers.setdefault(a, set()).add(self.key(e) if self._computed(e) else None)
        for key, group in self.groups.items():
            later = set().union(*(readers.get(o, set()) for o in group.outputs)) - {key}
            if len(later) != 1 or any(o in self.roots for o in group.outputs):
                continue
            (target,) = later
            if (
                target is None
                or target[:2] != key[:2]
                or any(o in self.after for o in group.outputs)
            ):
                continue
            moved = [e for e in self.steps if self._computed(e) and self.key(e) == key]
            for e in moved:
                self.level[e] = target[2]
            return True
        return False

    # -- spaces and levels ------------------------------------------------------------------------

    def _computed(self, e: Any) -> bool:
        """Whether an expression is computed by a kernel."""
        return isinstance(e, Expr) and e.op not in _MOVES and e.op not in LEAVES

    def kind(self, e: Any, space: Shape) -> str | None:
        return kind_of(self.graph.shape(e), space)

    def _rank_all(self) -> None:
        self.after.clear()
        for e in self.steps:
            self._rank(e)

    def _part(self) -> bool:
        """Find the large spaces in which a kernel would reduce along the rows and over them: it
        could be shared out over threads by neither rows nor columns."""
        ways: dict[Key, set[bool]] = {}
        for e in self.space:
            if e.op in REDUCTIONS and is_shared(self.space[e][0]):
                ways.setdefault(self.key(e), set()).add(self._gathers(e))
        self.apart = {key[:2] for key, found in ways.items() if len(found) == 2}
        return bool(self.apart)

    def _gathers(self, e: Expr) -> bool:
        """Whether a step is a sum over all rows, or all entries."""
        return e.op in REDUCTIONS and self.kind(e, self.space[e][0]) in ("column", "scalar")

    def _rank(self, e: Expr) -> None:
        args = [a for a in e.args if isinstance(a, Expr)]
        if is_leaf(e):
            self.level[e] = 0
            return
        if not self._computed(e):
            self.level[e] = max((self.level[a] for a in args), default=0)
            return
        space = self.space[e] = (self._space_of(e, args), self._dtype_of(e, args))
        reduces = e.op in REDUCTIONS
        kind = self.kind(e, space[0])
        follows = reduces and self.graph.shapes[args[0]] != ()
        follows = follows or any(a in self.after and self.space[a] == space for a in args)
        if follows and kind in ("column", "scalar"):
            self.after.add(e)
        self.level[e] = max((self._available(a, e) for a in args), default=0)
        self.cheap[e] = (
            not reduces
            and (e.op not in _COSTLY or not self.graph.shapes[e])  # a number is cheap in a loop
            and all(not self._computed(a) or self.cheap[a] for a in args)
        )

    def _weigh(self) -> None:
        """Which steps are costly to compute again from what is stored."""
        for e in self.steps:
            if self._computed(e):
                self.costly[e] = self._is_costly(e) or any(
                    a not in self.kept and self.costly.get(a, False) for a in e.args
                )

    def _is_costly(self, e: Expr) -> bool:
        return e.op in _COSTLY and self.graph.shapes[e] == self.space[e][0]

    def _sources(self) -> bool:
        """Store the few costly values from which many that later kernels read are cheap to make."""
        for key, group in self.groups.items():
            extra = [o for o in group.outputs if o not in self.kept and self.costly[o]]
            found: set[Expr] = set()
            stack, seen = list(extra), set(extra)
            while stack:
                e = stack.pop()
                if self._is_costly(e):
                    found.add(e)
                for a in e.args:
                    new = self._computed(a) and a not in seen and a not in self.kept
                    if new and self.key(a) == key and self.costly[a]:
                        seen.add(a)
                        stack.append(a)
            if found and len(found) < len(extra):
                self.kept |= found
                return True
        return False

    def _space_of(self, e: Expr, args: Sequence[Expr]) -> Shape:
        shape = self.graph.shapes[e]
        if e.op in REDUCTIONS:
            inner = self.graph.shapes[args[0]]
            if self._computed(args[0]):
                home = self.space[args[0]][0]
                if self._is_row(inner, home) and args[0] not in self.after:
                    return home
            return inner
        found = shape
        level = -1
        for a in args:
            if not self._computed(a) or self.level[a] <= level:
                continue
            home = self.space[a][0]
            if home == shape:
                continue
            small = a in self.after and kind_of(shape, home) in ("column", "scalar")
            if small or (a not in self.after and self._is_row(shape, home)):
                found, level = home, self.level[a]
        return found

    @staticmethod
    def _is_row(shape: Shape, space: Shape) -> bool:
        return shape != space and len(space) > 1 and shape == (*space[:-1], 1)

    def _dtype_of(self, e: Expr, args: Sequence[Expr]) -> np.dtype[Any]:
        for x in (e, *args):
            dtype: np.dtype[Any] = self.graph.dtypes[x]
            if is_float(dtype):
                return dtype
        for a in args:
            if a in self.space:
                return self.space[a][1]
        return default_dtype

    def _available(self, a: Expr, e: Expr) -> int:
        """The first level at which `e` can read `a`."""
        if is_leaf(a):
            return 0
        level = self.level[a]
        if not self._computed(a):
            return level + 1
        if self.space[a] == self.space[e]:
            late, last = a in self.after, e in self.after
            if not late and self.space[e] in self.apart and self._gathers(e):
                return level + 1
            if late == last or (last and e.op in REDUCTIONS):
                return level
            return level + 1
        return level if self._inline(a, e) else level + 1

    def _inline(self, a: Expr, e: Expr) -> bool:
        """Whether a step of another space is cheap enough to stand inside the kernel of `e`."""
        fits = self.kind(a, self.space[e][0]) is not None and self.space[a][1] == self.space[e][1]
        return fits and self.cheap[a] and a not in self.after and e not in self.after

    # -- what is written to memory ----------------------------------------------------------------

    def _stored(self) -> set[Expr]:
        """What must be in memory: results, and what is moved or multiplied."""
        found = set(self.roots)
        for e in self.steps:
            if e.op in _MOVES:
                found.update(a for a in e.args if isinstance(a, Expr))
        return found

    def key(self, e: Expr) -> Key:
        return (*self.space[e], self.level[e])

    def _store(self, e: Expr) -> None:
        """Let the kernel of `e` write it."""
        if e in self._made:
            return
        self._made.add(e)
        self.stored.add(e)
        key = self.key(e)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(*key)
        group.outputs.append(e)
        self._demand(e, key)

    def _demand(self, e: Expr, key: Key) -> None:
        """Store what the kernel with this key needs for `e` and will not compute itself."""
        stack = [e]
        seen: set[Expr] = set()
        while stack:
            x = stack.pop()
            for a in x.args:
                if not self._computed(a) or a in seen:
                    continue
                seen.add(a)
                if self._within(a, key):
                    stack.append(a)
                else:
                    self._store(a)

    def _within(self, a: Expr, key: Key) -> bool:
        """Whether a kernel computes `a` itself: its own step, or a cheap one that is not stored."""
        if self.key(a) == key:
            return True
        if a in self.after or (a in self.stored and self.level[a] < key[2]):
            return False
        if a.op in REDUCTIONS or (a.op in _COSTLY and not self.cheap[a]):
            return False
        if self.space[a] == key[:2]:
            return not self.costly[a]
        return self.cheap[a] and self.kind(a, key[0]) is not None and self.space[a][1] == key[1]

    # -- programs ---------------------------------------------------------------------------------

    def _build(self, group: Group) -> None:
        """The program of a kernel, over fresh inputs in the place of what it reads."""
        g, key = self.graph, (group.space, group.dtype, group.level)
        position = {e: i for i, e in enumerate(self.steps)}
        group.outputs.sort(key=position.__getitem__)
        memo: dict[Expr, Any] = {}
        shapes: dict[Any, Shape] = {}
        dtypes: dict[Any, Any] = {}
        casts: set[Expr] = set()
        taken: set[str] = set()

        def fresh(e: Expr) -> Expr:
            wish = "n" if e.op == "count" else g.hints.get(e, "t")
            name, n = wish, 1
            while name in taken:
                n += 1
                name = f"{wish}{n}"
            taken.add(name)
            x = make("input", (name,))
            shapes[x], dtypes[x] = g.shapes[e], g.dtypes[e]
            return x

        def visit(root: Expr) -> None:
            stack = [(root, False)]
            while stack:
                e, ready = stack.pop()
                if e in memo:
                    continue
                inside = e is root or (self._computed(e) and self._within(e, key))
                if not inside:
                    memo[e] = fresh(e)
                    group.operands.append(e)
                    continue
                below = [a for a in e.args if isinstance(a, Expr)]
                if not ready:
                    stack.append((e, True))
                    stack.extend((a, False) for a in reversed(below))
                    continue
                args = tuple(memo[a] if isinstance(a, Expr) else a for a in e.args)
                new = memo[e] = make(e.op, args, e.attrs)
                shapes[new], dtypes[new] = g.shapes[e], g.dtypes[e]
                if e in g.casts:
                    casts.add(new)
                if (name := g.formulas.get(e)) and name not in group.formulas:
                    group.formulas.append(name)

        for o in group.outputs:
            visit(o)
        parts = dict.fromkeys(f.removesuffix("_vjp") for f in group.formulas)
        name = "_".join([p for p in parts if p not in _PLAIN] or parts)[:40].strip("_") or "kernel"
        group.program = Lowered(
            name,
            tuple(memo[e] for e in group.operands),
            tuple(memo[o] for o in group.outputs),
            group.dtype,
            shapes,
            dtypes,
            casts,
        )

    def _ordered(self) -> list[Any]:
        """Level by level: first the kernels, then what moves their results."""
        levels: dict[int, tuple[list[Group], list[Expr]]] = {}
        for group in self.groups.values():
            levels.setdefault(group.level, ([], []))[0].append(group)
        for e in self.steps:
            if e.op in _MOVES and not is_leaf(e):
                levels.setdefault(self.level[e], ([], []))[1].append(e)
        return [x for k in sorted(levels) for part in levels[k] for x in part]
