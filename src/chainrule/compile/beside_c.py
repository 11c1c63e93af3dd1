"""The lines of a kernel's loop that takes sixteen rows at a time, side by side.

A vector holds one column of the sixteen rows: entry j of row l lies in a tile at ``[16 * j + l]``,
and a number of a row, such as its largest entry, stands in an array of sixteen. So short rows fill
whole vectors, and a reduction goes through all rows in step. Each row gets the bits it would get
alone.
"""

from __future__ import annotations

from typing import Any

from chainrule.compile.expression import Expr
from chainrule.compile.frame_c import BESIDE, Frame
from chainrule.compile.lines_c import ATOM, Lines, Text, loop
from chainrule.compile.passes import ROWS, Pass

__all__ = ["Beside"]


class Beside(Lines):
    """As `Lines`, for the passes over sixteen rows and for their numbers."""

    def __init__(self, frame: Frame, at: Pass) -> None:
        super().__init__(frame, at)
        self.added: list[str] = []
        self.calls: list[str] = []
        self.called: dict[tuple[str, str], str] = {}
        self.over_columns = False

    def _rows(self, lines: list[str], simd: bool = True) -> list[str]:
        """A loop over the sixteen rows, if there is something to do."""
        return ["#pragma omp simd"] * simd + loop(lines, "l", str(BESIDE)) if lines else []

    # -- numbers of the rows ----------------------------------------------------------------------

    def numbers(self) -> list[str]:
        """Reductions, the numbers that follow from them, and what these add to over all rows."""
        super().numbers()
        return [*self.calls, *self._rows(self.lines), *self._rows(self.added, simd=False)]

    def _set(self, kind: str, name: str, text: str) -> str:
        if self.over_columns:
            return super()._set(kind, name, text)
        self._declare(kind, name)
        self.lines.append(f"{name}[l] = {text};")
        return f"{name}[l]"

    def _declare(self, kind: str, name: str) -> None:
        self.frame.numbers.setdefault(kind, []).append(f"{name}[{BESIDE}]")

    def _find(self, a: Expr) -> Text:
        text, precedence = super()._find(a)
        bare = a.op == "input" and self.layouts.of(a) == "row" and not text.endswith("[l]")
        return (f"{text}[l]" if bare else text), precedence

    def of_row(self, x: Expr) -> str:
        name = self.frame.pointer[x]
        return f"{name}[l * step[{self.frame.number(name)}]]"

    def _result(self, k: int) -> str:
        name = self.frame.out[k]
        return f"{name}[l * step[{self.frame.number(name)}]]"

    def _reduced(self, e: Expr) -> str:
        """The reduction of sixteen rows that a tile holds; it is called before the loop."""
        frame, b = self.frame, self.layouts.base(e.args[0])
        at = self.passes.at(b, self.passes.stage_of(e))
        if frame.in_memory(b, at) is not None:  # all rows are the same
            return super()._reduced(e)
        tile, kind = frame.tile_of_terms(b, at), frame.type_of_terms(b)
        function = f"cr_{'max' if e.op == 'max' else 'sum'}16{'f' if kind == 'float' else ''}"
        if (function, tile) not in self.called:
            kind = kind if e.op == "max" else "double"
            exact = frame.type(frame.dtype(e)) == kind
            name = self.called[function, tile] = frame.fresh(e.op[:3] + "s" * (not exact))
            self._declare(kind, name)
            self.calls.append(f"{function}({tile}, columns, {name});")
        return f"{self.called[function, tile]}[l]"

    # -- a pass over the columns ------------------------------------------------------------------

    def columns(self) -> list[str]:
        """The loop of this pass, what is brought side by side before it and put apart after it."""
        self.over_columns = True
        return super().columns()

    def _loops(self) -> list[str]:
        frame, passes = self.frame, self.passes
        lines = []
        for x, at in passes.brought.items():
            if at == self.at:
                name, tile = frame.pointer[x], frame.tile_of_terms(x, at)
                step = f"step[{frame.number(name)}]"
                lines.append(f"cr_beside16{frame.suffix}({name}, {step}, columns, {tile});")
        if self.lines:
            lines += loop(self._rows(self.lines))
        for k, at in passes.store.items():
            if at == self.at and passes.is_apart(k):
                name, tile = frame.out[k], frame.tile_of_terms(frame.bases[k], at)
                step = f"step[{frame.number(name)}]"
                lines.append(f"cr_apart16{frame.suffix}({tile}, columns, {name}, {step});")
        adds = [text.format(self._term(b)) for b, text, _ in self._totals()]
        return [*lines, *loop(self._rows(adds, simd=False))] if adds else lines

    def _term(self, b: Any) -> str:
        """What row l adds to the total of column j."""
        memory = self.frame.in_memory(b, self.at)
        if memory is not None:
            return self._entry(memory)
        return self._entry(self.frame.tile_of_terms(b, self.at), self.at)

    def _load(self, v: Expr) -> Text:
        if v in self.passes.brought:
            at = self.passes.brought[v]
            return self._entry(self.frame.tile_of_terms(v, at), at), ATOM
        return super()._load(v)

    def _entry(self, name: str, at: Pass | None = None) -> str:
        if at is not None:
            return f"{name}[{BESIDE} * j + l]" if at[0] == ROWS else f"{name}[j]"
        n = self.frame.number(name)
        full = self.frame.operands[n].layout == "full"
        return f"{name}[l * step[{n}] + j]" if full else f"{name}[j]"
