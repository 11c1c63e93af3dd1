"""Which pass over the columns computes what, what it keeps, and what a later one reads back.

A pass is a loop over the columns. Reductions along a row cut a row into several. A value that more
than one pass needs is computed again where that is cheap; otherwise it is kept: in a *tile*, one
row of scratch memory, or in the row of an output that it is written to anyway.

Where sixteen rows are taken at a time, they stand side by side in tiles alone: the rows of an input
are brought there before the first pass that reads them, and those of an output put apart after the
pass that gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr
from chainrule.compile.layout import Layouts

__all__ = ["AFTER", "BEFORE", "ROWS", "STAGES", "Pass", "Passes", "is_function"]

BEFORE, ROWS, AFTER = range(3)
STAGES = {"before": BEFORE, "rows": ROWS, "after": AFTER}
#: A pass over the columns: its stage, and how many came before it there.
Pass: TypeAlias = tuple[int, int]

#: What computing a value costs, in additions. Tests and choices count as one.
_COSTS = {
    "abs": 1,
    "add": 1,
    "divide": 4,
    "floor": 1,
    "maximum": 1,
    "minimum": 1,
    "multiply": 1,
    "negative": 1,
    "sign": 2,
    "sqrt": 4,
    "subtract": 1,
    "where": 1,
}
_FUNCTION = 20
#: Up to this, a later pass computes a value again.
_CHEAP = 3


def _cost(e: Expr) -> int:
    row = PRIMITIVES.get(e.op)
    return _COSTS.get(e.op, 1 if row is None or row.kind == "test" else _FUNCTION)


def is_function(e: Expr) -> bool:
    """Whether a step calls a function, which costs many additions."""
    return _cost(e) >= _FUNCTION


class Passes:
    """The passes of a program.

    Arguments:
        layouts: the program's layouts.
        targets: output position -> the input whose memory receives it.

    Attributes:
        roots: of every pass, the values it must have.
        compute, reads: of every pass, the values it computes and those it reads back.
        store: of every output that varies along the columns, the pass that writes it.
        terms: what must lie in memory to be reduced or, of rows side by side, to be put apart;
            each with the pass that gives it.
        brought: of every input whose rows are brought side by side, the pass that needs it first.
        tiled: of every value that is kept in a tile, the pass that writes it.
        last: of every value that is read back, the last pass that does.
    """

    def __init__(self, layouts: Layouts, targets: Mapping[int, Expr]) -> None:
        self.layouts, self.targets = layouts, targets
        self.low = layouts.low
        self.roots: dict[Pass, list[Any]] = {}
        self.terms: dict[tuple[Any, Pass], None] = {}
        self.tiled: dict[Expr, Pass] = {}
        self._kept: dict[Expr, Pass] = {}
        self.last: dict[Any, Pass] = {}
        self.compute: dict[Pass, set[Expr]] = {}
        self.reads: dict[Pass, set[Expr]] = {}
        self._reductions()
        self.store = self._stores()
        self._hoist()
        first: dict[Expr, Pass] = {}
        for at in sorted(self.roots):
            for v in self._reach(self.roots[at], at):
                first.setdefault(v, at)
        for at in sorted(self.roots):
            self._decide(at, first)
        self.brought = self._brought()

    def beside(self, at: Pass) -> bool:
        """Whether a pass has sixteen rows side by side."""
        return self.layouts.beside and at[0] == ROWS

    def at(self, a: Any, stage: str) -> Pass:
        """The first pass of a stage that can use a value."""
        return STAGES[stage], self.layouts.level_in(a, stage)

    def _root(self, at: Pass, v: Any) -> None:
        self.roots.setdefault(at, []).append(v)

    def is_step(self, v: Any) -> bool:
        """Whether `v` is computed column by column."""
        return (
            isinstance(v, Expr)
            and v.op != "input"
            and self.layouts.is_vector(v)
            and v not in self.layouts.reduces
        )

    def bases(self, e: Expr) -> list[Any]:
        """What the values of the arguments of a step are computed by."""
        return [self.layouts.base(a) for a in e.args]

    def stage_of(self, e: Expr) -> str:
        """The stage in which the argument of a reduction is gone through."""
        inside = self.layouts.of(e.args[0]) in ("full", "row")
        return "rows" if inside else self.layouts.stage[e]

    def _reductions(self) -> None:
        """Terms of sums along a row must lie in memory; sums over the rows need their value, in
        memory if it is that of rows side by side."""
        for e, over in self.layouts.reduces.items():
            if e not in self.layouts.stage or not self.layouts.is_vector(e.args[0]):
                continue
            b = self.layouts.base(e.args[0])
            if over == "rows" or not self.layouts.is_operand(b):
                self._root(at := self.at(b, self.stage_of(e)), b)
                if over != "rows" or self.beside(at):
                    self.terms[b, at] = None

    def _stores(self) -> dict[int, Pass]:
        """Of each output the pass that writes it: where it is known, but not into the memory of an
        input that a later pass reads."""
        layouts = self.layouts
        store: dict[int, Pass] = {}
        for k, o in enumerate(self.low.outputs):
            if layouts.is_vector(o):
                stage = "rows" if layouts.of(o) == "full" else "after"
                store[k] = self.at(layouts.base(o), stage)
        values = {k: layouts.base(self.low.outputs[k]) for k in store}
        moved = True
        while moved:
            moved = False
            roots = dict(self.roots)
            for k, at in store.items():
                roots[at] = [*roots.get(at, ()), values[k]]
            used: dict[Any, Pass] = {}
            for at in sorted(roots):
                for v in self._reach(roots[at], at, inputs=True):
                    used[v] = at
            for k, x in self.targets.items():
                if k in store and used.get(x, store[k]) > store[k]:
                    store[k], moved = used[x], True
        for k, at in store.items():
            self._root(at, values[k])
            if self.beside(at) and self.is_apart(k):
                self.terms[values[k], at] = None
        return store

    def is_apart(self, k: int) -> bool:
        """Whether output k is put apart from a tile, not written column by column."""
        b = self.layouts.base(self.low.outputs[k])
        return self.low.dtypes.get(b) == self.low.dtype and self.layouts.of(b) == "full"

    def _brought(self) -> dict[Expr, Pass]:
        found = {}
        for x in self.low.inputs:
            readers = [
                at
                for at in sorted(self.roots)
                if self.layouts.of(x) == "full" and self.beside(at)
                if x in self.roots[at] or any(x in self.bases(e) for e in self.compute[at])
            ]
            if readers and self.low.dtypes[x] == self.low.dtype:
                found[x], self.last[x] = readers[0], readers[-1]
        return found

    def _reach(self, roots: Iterable[Any], at: Pass, inputs: bool = False) -> list[Expr]:
        """The column-by-column values below `roots`, and the inputs if wanted."""
        found: dict[Expr, None] = {}
        stack = list(roots)
        while stack:
            v = stack.pop()
            if v in found or (v in self.tiled and self.tiled[v] < at):
                continue
            if self.is_step(v):
                found[v] = None
                stack.extend(self.bases(v))
            elif inputs and isinstance(v, Expr) and v.op == "input":
                found[v] = None
        return list(found)

    def _hoist(self) -> None:
        """What depends on the column alone is not computed in every row unless it is cheap."""
        for at in sorted(self.roots):
            stack = list(self.roots[at]) if at[0] == ROWS else []
            seen: set[Expr] = set()
            while stack:
                v = stack.pop()
                if not self.is_step(v) or v in seen:
                    continue
                seen.add(v)
                if self.layouts.stage[v] == "before" and not self._is_cheap(v, at):
                    if v not in self.tiled:
                        self.tiled[v] = self.at(v, "before")
                        self._root(self.tiled[v], v)
                else:
                    stack.extend(self.bases(v))
        self._kept.update(self.tiled)

    def _is_cheap(self, v: Any, at: Pass) -> bool:
        left = _CHEAP
        stack = [v]
        while stack and left >= 0:
            e = stack.pop()
            if self.is_step(e) and not (e in self._kept and self._kept[e] < at):
                left -= _cost(e)
                stack.extend(self.bases(e))
        return left >= 0

    def _decide(self, at: Pass, first: Mapping[Expr, Pass]) -> None:
        """Compute again, or read back."""
        compute = self.compute[at] = set()
        reads = self.reads[at] = set()
        outputs = {self.layouts.base(self.low.outputs[k]): p for k, p in self.store.items()}
        stack = list(reversed(self.roots[at]))
        while stack:
            v = stack.pop()
            if not self.is_step(v) or v in compute or v in reads:
                continue
            if v not in self._kept and first[v] < at:
                home = outputs.get(v)
                terms = (v, first[v]) in self.terms and self.low.dtypes[v] == self.low.dtype
                fits = home is not None and home[0] == at[0] and not self.beside(at)
                if home is not None and fits and home < at:
                    self._kept[v] = home
                elif terms or not self._is_cheap(v, at):
                    self._kept[v] = self.tiled[v] = first[v]
            if v in self._kept and self._kept[v] < at:
                reads.add(v)
                self.last[v] = at
            else:
                compute.add(v)
                stack.extend(reversed(self.bases(v)))
