"""How the arrays of a program lie in one space of rows and columns, and when each is known.

A kernel walks over rows and, within a row, over columns. This module says of every step of a
lowered program

- its *layout*: ``full`` (R, C), ``row`` (R, 1), ``column`` (C,) or ``scalar`` ();
- its *stage*: ``before`` the loop over the rows, in the ``rows``, or ``after`` them, for what
  depends on a sum over the rows;
- its *level*: the number of passes over the columns that must be complete before it is known. A
  softmax needs the largest entry of a row (level 1) before the exponentials, and their sum (level
  2) before the quotients.

Layouts follow from the steps, not from shapes alone: a sum along the row of a single row is a row
value although its shape is that of a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NoReturn

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr
from chainrule.compile.lower import Lowered, Shape, axes_of

__all__ = ["Layouts"]

REDUCTIONS = frozenset({"sum", "sum_to", "max"})
#: Steps that only give a value another shape.
_SAME = frozenset({"broadcast_to", "copy", "expand_dims", "squeeze"})
_BY_SHAPE = frozenset({"broadcast_to", "full", "one_hot"})
_VECTORS = ("full", "column")


def _bare(shape: Shape) -> Shape:
    """A shape without its axes of length one."""
    return tuple(n for n in shape if n != 1)


class Layouts:
    """Layouts, stages and levels of a program of one space.

    Attributes:
        full: the shape of the space; the last axis is the columns, the others are the rows.
        order: the steps that compute something, arguments before uses.
        layout: of every input and step.
        reduces: of every reduction, what it runs over: ``columns``, ``rows`` or ``all``.
        stage, level: of every step; see the module.
        beside: the rows are taken sixteen at a time, so that one in memory cannot be reduced where
            it lies.

    Raises:
        NotImplementedError: for a program that is not of one space.
    """

    def __init__(self, low: Lowered, space: Shape | None = None, beside: bool = False) -> None:
        self.low, self.beside = low, beside
        steps = low.order()
        read = {a for e in steps for a in e.args if isinstance(a, Expr)}
        read |= {o for o in low.outputs if isinstance(o, Expr)}
        everything = [*(x for x in low.inputs if x in read), *steps]
        shapes = [low.shapes[e] for e in everything] or [()]
        # an axis of length zero belongs to the largest array, too
        full = max(shapes, key=lambda s: (math.prod(n or 1 << 40 for n in s), len(s)))
        full = full if space is None else space
        self.full: Shape = full if len(full) > 1 else (1, *(full or (1,)))
        self.layout: dict[Expr, str] = {}
        self.reduces: dict[Expr, str] = {}
        self.stage: dict[Expr, str] = {}
        self.level: dict[Expr, int] = {}
        self._rows_named = self._names_of_rows(steps)
        for x in low.inputs:
            self.layout[x] = self._of_shape(x, x) if x in read else "scalar"
        for e in steps:
            self.layout[e] = self._of_step(e)
        self.order = [e for e in steps if self.base(e) is e]
        self._set_stages()
        for e in self.order:
            self.level[e] = self._level(e)

    def refuse(self, what: str) -> NoReturn:
        raise NotImplementedError(
            f"{self.low.name} cannot be printed as one C kernel over {self.full}: it has {what}"
        )

    def base(self, a: Any) -> Any:
        """The step, input or number that computes the values of `a`, whatever their shape."""
        while isinstance(a, Expr):
            same = a.op in _SAME or (a.op in REDUCTIONS and a not in self.reduces)
            if a.op == "full" or (a.op == "cast" and not isinstance(a.args[0], Expr)):
                return a.args[0]
            if not same or self.low.dtypes[a] != self.low.dtypes.get(a.args[0], type(a.args[0])):
                return a
            a = a.args[0]
        return a

    def of(self, a: Any) -> str:
        """The layout of an expression or number."""
        return self.layout[a] if isinstance(a, Expr) else "scalar"

    def is_vector(self, a: Any) -> bool:
        """Whether a value varies along the columns."""
        return self.of(a) in _VECTORS

    # -- layouts ----------------------------------------------------------------------------------

    def _names_of_rows(self, steps: Iterable[Expr]) -> set[Expr]:
        """Inputs of shape (R,) that become (R, 1): one number per row, also where R is C."""
        return {
            e.args[0]
            for e in steps
            if e.op == "expand_dims" and self.low.shapes[e] == (*self.full[:-1], 1)
        }

    def _of_shape(self, e: Expr, name: Any) -> str:
        shape, full = self.low.shapes[e], self.full
        if math.prod(shape) == 1:
            return "scalar"
        if _bare(shape) == _bare(full):
            return "full"
        row = shape == (*full[:-1], 1)
        if row or (shape == full[:-1] and (e in self._rows_named or shape[-1:] != full[-1:])):
            return "row"
        if shape[-1:] == full[-1:] and math.prod(shape[:-1]) == 1:
            return "column"
        return self.refuse(f"{name}, an array of shape {shape}")

    def _of_step(self, e: Expr) -> str:
        args = [a for a in e.args if isinstance(a, Expr)]
        if e.op in _BY_SHAPE:
            found = self._of_shape(e, e.op)
            if e.op == "one_hot":
                self._check_one_hot(e)
            return found
        if e.op in REDUCTIONS:
            return self._of_reduction(e)
        if e.op not in _SAME and e.op != "cast" and e.op not in PRIMITIVES:
            self.refuse(f"the operation {e.op}")
        kinds = {self.layout[a] for a in args}
        if "full" in kinds or kinds >= {"row", "column"}:
            found = "full"
        else:
            found = next((k for k in ("row", "column") if k in kinds), "scalar")
        shape = self.low.shapes[e]
        fits = self._fits(shape, found)
        # (R,) beside (R, C) would be matched with the columns
        astray = e.op not in ("squeeze", "expand_dims") and any(
            self.layout[a] == "row"
            and not self._has_columns(a)
            and self.low.shapes[a] != shape
            and math.prod(self.low.shapes[a]) != 1
            for a in args
        )
        if not fits or astray:
            self.refuse(f"{e.op}, which gives an array of shape {shape}")
        return found

    def _has_columns(self, a: Expr) -> bool:
        """Whether the last axis of an array is that of the columns."""
        shape = self.low.shapes[a]
        if self.layout[a] == "row":
            return len(shape) == len(self.full)
        return self.layout[a] in _VECTORS and shape[-1:] == self.full[-1:]

    def _check_one_hot(self, e: Expr) -> None:
        attrs, labels = dict(e.attrs), e.args[0]
        if attrs["axis"] != len(attrs["shape"]) - 1 or attrs["shape"][-1:] != self.full[-1:]:
            self.refuse("one_hot along an axis that is not that of the columns")
        if self.of(labels) == "row" and not self._has_columns(labels):
            self.refuse("one_hot of labels that are not a column")

    def _fits(self, shape: Shape, layout: str) -> bool:
        """Whether an array of this layout may have this shape."""
        if layout == "full":
            return _bare(shape) == _bare(self.full)
        if math.prod(shape) == 1 or layout == "scalar":
            return math.prod(shape) == 1
        if layout == "row":
            rows = self.full[:-1]
            dropped = len(shape) <= len(rows) and _bare(shape) == _bare(rows)
            return dropped or shape == (*rows, 1)
        return shape[-1:] == self.full[-1:] and math.prod(shape[:-1]) == 1

    def _of_reduction(self, e: Expr) -> str:
        a = e.args[0]
        layout, shape, target = self.of(a), self.low.shapes.get(a, ()), self.low.shapes[e]
        if e.op == "sum_to":
            lead = len(shape) - len(target)
            axes = {k for k, n in enumerate(shape) if k < lead or target[k - lead] != n}
        else:
            axes = set(axes_of(dict(e.attrs)["axis"], len(shape)))
        last = len(shape) - 1 if isinstance(a, Expr) and shape and self._has_columns(a) else None
        columns = last in axes and layout in _VECTORS
        axes_of_rows = {k for k, n in enumerate(shape) if k != last and n != 1}
        rows = layout in ("full", "row") and bool(axes_of_rows & axes)
        if rows and not axes_of_rows <= axes:
            self.refuse(f"{e.op} over some of the axes {axes_of_rows} of its rows")
        if not rows and not columns:
            return layout
        self.reduces[e] = "all" if rows and columns else "rows" if rows else "columns"
        if rows:
            return "column" if layout == "full" and not columns else "scalar"
        return "row" if layout == "full" else "scalar"

    # -- stages and levels ------------------------------------------------------------------------

    def over_rows(self, e: Any) -> bool:
        """Whether a step adds up the rows."""
        return self.reduces.get(e) in ("rows", "all")

    def _set_stages(self) -> None:
        late: set[Expr] = set()
        for e in self.order:
            if self.over_rows(e) or any(self.base(a) in late for a in e.args):
                late.add(e)
                if self.layout[e] in ("full", "row"):
                    self.refuse("rows that depend on a reduction over the rows")
        early: set[Expr] = set()
        for e in reversed(self.order):
            in_rows = self.layout[e] in ("full", "row") or self.over_rows(e)
            if in_rows or e in early:
                early.update(b for a in e.args if isinstance(b := self.base(a), Expr))
            small = "after" if e in late or e not in early else "before"
            self.stage[e] = "rows" if self.layout[e] in ("full", "row") else small
        for o in self.low.outputs:  # a small value that becomes a full output is known before
            b = self.base(o)
            if isinstance(o, Expr) and self.layout[o] in ("full", "row"):
                self._pull(b)

    def _pull(self, b: Any) -> None:
        stack = [b]
        while stack:
            e = stack.pop()
            if not isinstance(e, Expr) or self.stage.get(e) != "after":
                continue
            if self.over_rows(e):
                self.refuse("rows that depend on a reduction over the rows")
            self.stage[e] = "before"
            stack.extend(self.base(a) for a in e.args)

    def is_operand(self, a: Any) -> bool:
        """Whether a value can be reduced where it lies, in the memory of an input."""
        return (
            isinstance(a, Expr)
            and a.op == "input"
            and self.is_vector(a)
            and self.low.dtypes[a] == self.low.dtype
            and not (self.beside and self.of(a) == "full")
        )

    def level_in(self, a: Any, stage: str) -> int:
        """The pass of `stage` in which the value `a` can first be used."""
        return self.level[a] if isinstance(a, Expr) and self.stage.get(a) == stage else 0

    def _level(self, e: Expr) -> int:
        if self.over_rows(e):
            return 0
        level = max((self.level_in(self.base(a), self.stage[e]) for a in e.args), default=0)
        if self.reduces.get(e) == "columns" and not self.is_operand(self.base(e.args[0])):
            level += 1
        return level
