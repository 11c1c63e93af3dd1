"""The variables of a kernel's C text: operands, tiles and totals, with their names and types."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.compile.expression import Expr
from chainrule.compile.layout import Layouts
from chainrule.compile.lower import Lowered, Shape
from chainrule.compile.passes import AFTER, BEFORE, ROWS, Pass, Passes, is_function

__all__ = ["BESIDE", "BOOL", "DOUBLE", "Frame", "Operand", "repeats"]

BOOL, DOUBLE, INT64 = np.dtype(np.bool_), np.dtype(np.float64), np.dtype(np.int64)

#: So many rows are taken at a time, side by side.
BESIDE = 16
#: If they have fewer columns than this, in a kernel that reduces rows in float32, and in any other.
#: Measured on a Zen 4 with AVX-512 and with AVX2, where some gain and some lose from there on.
_NARROW, _NARROWER = 48, 32

#: What a variable must not be called: keywords of C, macros, and the text's own names.
_TAKEN = frozenset({
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else",
    "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
    "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef",
    "union", "unsigned", "void", "volatile", "while", "asm", "typeof", "linux", "unix", "near",
    "far", "NULL", "INFINITY", "NAN", "HUGE_VAL", "I", "errno", "isnan", "isinf", "isfinite",
    "fabs", "fabsf", "floor", "floorf", "sqrt", "sqrtf", "rows", "columns", "operand", "step",
    "scratch", "width", "i", "j", "l",
})  # fmt: skip

#: How locals are called that are neither inputs nor outputs.
_WORDS = {
    "exp": "e", "log": "log", "max": "max", "one_hot": "hit", "sigmoid": "sigmoid", "sqrt": "root",
    "sum": "sum", "sum_to": "sum", "tanh": "tanh",
}  # fmt: skip


@dataclass(frozen=True)
class Operand:
    """One pointer a kernel is called with.

    Attributes:
        layout: ``full``, ``row``, ``column`` or ``scalar``.
        dtype: the type of its elements.
        written: whether the kernel writes it: an output, or an input that receives one.
        name: its name in the text.
    """

    layout: str
    dtype: np.dtype[Any]
    written: bool
    name: str


def repeats(e: Expr) -> int:
    """How often the text of a step has its operands."""
    bound = e.op in ("maximum", "minimum") and any(not isinstance(a, Expr) for a in e.args)
    return 2 if bound or e.op in ("isnan", "one_hot") else 1


class Frame:
    """What the lines of one kernel share.

    Attributes:
        bases: of every output, what its values are computed by.
        pointer: of every input, the name of its pointer.
        out: of every output, the name of the pointer it is written through.
        names: of numbers (of a row, or of the whole) that have a variable.
        labels: of labels, the variable that holds them as an int.
        totals: of every reduction over the rows, the variable or tile that adds them up.
        declared: the declarations of tiles and totals.
        cleared: statements that set column j of the totals to their first value.
        tiles: how many tiles there are.
        numbers: where rows are side by side, the arrays of their numbers, by type.
        narrow: rows of fewer columns than this are taken side by side.
    """

    def __init__(self, low: Lowered, into: Mapping[int, int], space: Shape | None) -> None:
        self.low = low
        self.layouts = Layouts(low, space)
        self.suffix = "f" if low.dtype == np.float32 else ""
        self.real = "float" if low.dtype == np.float32 else "double"
        self._taken = set(_TAKEN)
        self.targets = {k: low.inputs[j] for k, j in into.items()}
        self.bases = [self.layouts.base(o) for o in low.outputs]
        self.read = {self.layouts.base(a) for e in self.layouts.order for a in e.args}
        self.read |= set(self.bases)
        self.pointer: dict[Any, str] = {x: self.fresh(str(x)) for x in low.inputs}
        many = len(low.outputs) > 1
        self.out = [
            self.pointer[self.targets[k]] if k in into else self.fresh(f"out{k}" if many else "out")
            for k in range(len(low.outputs))
        ]
        self.operands = self._operands()
        self.passes = Passes(self.layouts, self.targets)
        self.uses = self._uses()
        self.names: dict[Any, str] = {}
        self.labels: dict[Any, str] = {}
        self.totals: dict[Expr, str] = {}
        self.declared: list[str] = []
        self.cleared: list[str] = []
        self.tiles = 0
        self.numbers: dict[str, list[str]] = {}
        self.narrow = 0
        self._tile_of: dict[Any, str] = {}
        self._free: list[tuple[Pass, str, str]] = []
        self._make_tiles()
        for e in self.layouts.order:
            if self.layouts.over_rows(e):
                self._make_total(e)

    def beside(self) -> Frame | None:
        """The frame of a loop that takes sixteen rows at a time, side by side; None where that
        gains nothing. To be called when what is known before the rows has its lines.

        Rows one by one fill no vectors if they are short, and each waits for its reductions. It is
        worth the turning for kernels with functions or with several passes over a row.
        """
        layouts = self.layouts
        full = [e for e in (*self.low.inputs, *layouts.order) if layouts.of(e) == "full"]
        alike = all(self.dtype(e).kind != "f" or self.dtype(e) == self.low.dtype for e in full)
        if not alike or not (any(map(is_function, full)) or (ROWS, 1) in self.passes.roots):
            return None
        reduces = any(over != "rows" for over in layouts.reduces.values())
        if not reduces and all(o.layout in ("full", "scalar") for o in self.operands):
            return None  # it runs as one long row
        other = copy.copy(self)
        other.narrow = _NARROW if reduces and self.real == "float" else _NARROWER
        other.layouts = Layouts(self.low, layouts.full, beside=True)
        other.passes = Passes(other.layouts, self.targets)
        other.uses = other._uses()
        other.names, other.labels, other.numbers = dict(self.names), dict(self.labels), {}
        other._tile_of = {key: t for key, t in self._tile_of.items() if key[1][0] == BEFORE}
        other._free = [((ROWS, -1), *f[1:]) for f in self._free if f[0][0] == ROWS]
        other._make_tiles()
        self.tiles, self._taken = other.tiles, set(other._taken)
        return other

    # -- names and types --------------------------------------------------------------------------

    def fresh(self, wish: str) -> str:
        """`wish` as the name of a variable, with a number where it is taken."""
        wish = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in wish)
        if wish.startswith(("cr_", "CR_", "__")):  # those of math.h and of the compiler
            wish = f"x{wish}"
        name, n = wish, 0
        while name in self._taken:
            n += 1
            name = f"{wish}_{n}" if wish[-1:].isdigit() else f"{wish}{n}"
        self._taken.add(name)
        return name

    def element(self, x: Expr) -> str:
        """The name of an element of an input."""
        if x not in self.names:
            plain = self.layouts.of(x) == "scalar" and x not in self.targets.values()
            self.names[x] = self.pointer[x] if plain else self.fresh(f"{self.pointer[x]}_")
        return self.names[x]

    def local(self, e: Expr) -> str:
        """A name for a value that is neither an input nor a result."""
        parts = self.passes.bases(e)
        mean = e.op == "divide" and parts[0] in self.layouts.reduces
        word = "mean" if mean and not isinstance(parts[1], Expr) else _WORDS.get(e.op, "t")
        for k, x in self.targets.items():
            if self.bases[k] is e:
                word = f"{self.pointer[x]}_new"
        return self.fresh(word)

    def dtype(self, a: Any) -> np.dtype[Any]:
        """The type of a value; a Python number has that of the program."""
        kind = self.low.dtypes[a] if isinstance(a, Expr) else type(a)
        if isinstance(kind, np.dtype):
            return kind.newbyteorder("=")
        if kind is bool:
            return BOOL
        return INT64 if kind is int and isinstance(a, Expr) else self.low.dtype

    def dtype_of_output(self, k: int) -> np.dtype[Any]:
        o = self.low.outputs[k]
        return INT64 if type(o) is int else self.dtype(o)

    def memory(self, dtype: np.dtype[Any]) -> str:
        """The C type of an element."""
        if dtype == BOOL:
            return "unsigned char"
        if dtype in (np.float32, np.float64):
            return "float" if dtype == np.float32 else "double"
        if dtype.kind not in "iu":
            self.layouts.refuse(f"an array of type {dtype}")
        return f"{'u' if dtype.kind == 'u' else ''}int{8 * dtype.itemsize}_t"

    def type(self, dtype: np.dtype[Any]) -> str:
        """The C type of a variable."""
        return "int" if dtype == BOOL else self.memory(dtype)

    # -- operands ---------------------------------------------------------------------------------

    def _operands(self) -> list[Operand]:
        low, of = self.low, self.layouts.of
        for k, x in self.targets.items():
            o = low.outputs[k]
            # a single row has layouts that differ in name only
            fits = of(o) == of(x) or (of(o), of(x)) in (
                *(("row", "scalar"), ("scalar", "row"), ("column", "full")),
            )
            if not fits or low.shapes.get(o, ()) != low.shapes[x] or self.dtype(o) != self.dtype(x):
                self.layouts.refuse(f"output {k} that cannot be written into {x}")
        written = set(self.targets.values())
        found = [Operand(of(x), self.dtype(x), x in written, self.pointer[x]) for x in low.inputs]
        for k, o in enumerate(low.outputs):
            if k not in self.targets:
                found.append(Operand(of(o), self.dtype_of_output(k), True, self.out[k]))
        return found

    def number(self, name: str) -> int:
        """Which operand it is that has this name."""
        return next(n for n, o in enumerate(self.operands) if o.name == name)

    def is_used(self, n: int) -> bool:
        """Whether operand n is read or written."""
        inputs = self.low.inputs
        return n >= len(inputs) or self.operands[n].written or inputs[n] in self.read

    def _uses(self) -> Counter[Any]:
        """How often the number of a row, or of the whole, stands in the text; in a loop twice."""
        uses: Counter[Any] = Counter(self.bases)
        for e in self.layouts.order:
            looped = self.layouts.is_vector(e) or e in self.layouts.reduces
            for b in self.passes.bases(e):
                uses[b] += 2 if looped else repeats(e)
        return uses

    # -- tiles and totals -------------------------------------------------------------------------

    def type_of_terms(self, b: Any) -> str:
        """The C type in which the terms of a sum lie: integers as doubles, exact up to 2^53."""
        return "double" if self.dtype(b).kind in "iu" else self.real

    def in_memory(self, b: Any, at: Pass) -> str | None:
        """Where the terms of a sum lie after a pass, if not in a tile."""
        if self.layouts.is_operand(b):
            return self.pointer[b]
        if self.passes.beside(at):
            return None
        for k, p in self.passes.store.items():
            if self.bases[k] is b and p == at and self.dtype(b) == self.low.dtype:
                return self.out[k]
        return None

    def tile_of_terms(self, b: Any, at: Pass) -> str:
        return self._tile_of[b, self.passes.brought.get(b, at), self.type_of_terms(b)]

    def tile_of_value(self, v: Expr) -> str:
        return self._tile_of[v, self.passes.tiled[v], self.memory(self.dtype(v))]

    def _make_tiles(self) -> None:
        passes = self.passes
        spans: dict[tuple[Any, Pass, str], Pass] = {}  # with the last pass that uses it
        for v, at in (*passes.tiled.items(), *passes.brought.items()):
            spans[v, at, self.memory(self.dtype(v))] = passes.last.get(v, at)
        for b, at in passes.terms:
            if b not in passes.brought and self.in_memory(b, at) is None:
                spans.setdefault((b, at, self.type_of_terms(b)), at)
        free = self._free
        for (b, at, kind), last in sorted(spans.items(), key=lambda span: span[0][1]):
            if at[0] == BEFORE and last[0] >= ROWS:  # every row reads it
                last = (AFTER + 1, 0)
            if self.layouts.beside and at[0] != ROWS:  # those it shares
                continue
            old = next((f for f in free if f[0] < at and f[0][0] == at[0] and f[1] == kind), None)
            if old is not None:
                free.remove(old)
            name = old[2] if old else self._tile("tile", kind)
            self._tile_of[b, at, kind] = name
            free.append((last, kind, name))

    def _tile(self, wish: str, kind: str) -> str:
        name, n = self.fresh(wish), self.tiles
        self.tiles += 1
        place = f"(double *)scratch + {f'{n} * ' if n > 1 else ''}width" if n else "scratch"
        if n and kind != "double":
            place = f"({kind} *)({place})"
        self.declared.append(f"{kind} *{name} = {place};")
        return name

    def _make_total(self, e: Expr) -> None:
        largest = e.op == "max"
        if largest and self.dtype(e) != self.low.dtype:
            self.layouts.refuse(f"max of {self.dtype(e)}")
        start = "-INFINITY" if largest else "0"
        kind = self.real if largest else "double"
        wish = "max" if largest else "total"
        if self.layouts.of(e) == "scalar":
            self.totals[e] = self.fresh(wish)
            self.declared.append(f"{kind} {self.totals[e]} = {start};")
            return
        for k, b in enumerate(self.bases):
            if b is e:
                wish = f"{self.out[k]}_{'max' if largest else 'sum'}"
        self.totals[e] = self._tile(wish, kind)
        self.cleared.append(f"{self.totals[e]}[j] = {start};")
