"""Print one kernel, a lowered program of one space, as a C function a person can read.

The function runs over rows and columns. Its operands are the program's inputs in order, then those
outputs that are not written into an input. An operand is a pointer and a row stride, given at each
call, and a column stride of 0 or 1, fixed in the text by its layout:

    ======  ========  ==========  =============
    layout  shape     row stride  column stride
    ======  ========  ==========  =============
    full    (R, C)    C or more   1
    row     (R, 1)    1 or more   0
    column  (C,)      0           1
    scalar  ()        0           0
    ======  ========  ==========  =============

Within a row there are as many passes over the columns as its reductions demand. What a later pass
needs is computed again where that costs little, and otherwise kept in a *tile* (one row of scratch
memory) or read back from the row of an output. Terms of a sum are written to memory first and then
added by one function of ``math.h`` in an order of its own, so that the bits of a sum do not depend
on what else a kernel does. Every pass reads an input that is also written into a local before it
writes, and its loop is marked for vectorization.

The text is made for ``-O3 -fno-math-errno -fno-trapping-math -fopenmp-simd -ffp-contract=off`` and
never for ``-ffast-math``: NaN, infinity and subnormals are those of the formula.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr
from chainrule.compile.layout import Layouts
from chainrule.compile.lower import Lowered
from chainrule.compile.print_numpy import function_name

__all__ = ["CText", "Operand", "print_c"]

#: Functions of math.h; the names of their float versions end in f.
_FUNCTIONS = {
    **{
        name: f"cr_{name}"
        for name in (
            *("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "erf", "lgamma"),
            *("pow", "sign", "maximum", "minimum", "polygamma"),
        )
    },
    "abs": "fabs",
    "floor": "floor",
    "sqrt": "sqrt",
}
#: C's operators with their precedence: a higher one binds tighter.
_OPERATORS = {
    **{"add": ("+", 12), "subtract": ("-", 12), "multiply": ("*", 13), "divide": ("/", 13)},
    **{"less": ("<", 10), "less_equal": ("<=", 10), "greater": (">", 10)},
    **{"greater_equal": (">=", 10), "equal": ("==", 9), "not_equal": ("!=", 9)},
    **{"logical_and": ("&", 8), "logical_or": ("|", 6)},
}
_COMPARISONS = frozenset(name for name, (_, p) in _OPERATORS.items() if p in (9, 10))
_INTEGRAL = frozenset({"add", "subtract", "multiply", "negative", "maximum", "minimum", "where"})
_ATOM, _UNARY, _TERNARY = 16, 14, 3

#: What computing a value again costs, in additions; a function costs _DEAR.
_COSTS = {"divide": 4, "sqrt": 4, "floor": 1, "abs": 1}
_DEAR, _CHEAP = 20, 3

#: How locals are called that are neither inputs nor outputs.
_WORDS = {"exp": "e", "sum": "sum", "sum_to": "sum", "max": "max", "one_hot": "hit"}

#: What a variable must not be called: keywords of C, macros, and the text's own names.
_TAKEN = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if
    inline int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while asm typeof linux unix near far NULL INFINITY NAN HUGE_VAL I
    errno isnan isinf isfinite fabs fabsf floor floorf sqrt sqrtf rows columns operand step scratch
    width i j""".split()
)

_BOOL = np.dtype(np.bool_)
_BEFORE, _ROWS, _AFTER = range(3)
_STAGES = {"before": _BEFORE, "rows": _ROWS, "after": _AFTER}
_LAST = 1 << 30
#: A pass over the columns: its stage, and how many came before it there.
Pass: TypeAlias = tuple[int, int]
#: A piece of C and the precedence of its outermost operator.
Text: TypeAlias = tuple[str, int]


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


@dataclass(frozen=True)
class CText:
    """A kernel as C.

    Attributes:
        name: the function's name: that of the program and the hash of the source.
        source: the function, without the prelude ``math.h``.
        operands: the inputs in order, then the outputs that have memory of their own.
        tiles: how many rows of scratch memory it needs, of 8 bytes a column each.
        flat: all operands are full or single numbers and nothing is reduced, so that arrays
            without gaps may be given as a single row.
    """

    name: str
    source: str
    operands: tuple[Operand, ...]
    tiles: int
    flat: bool


def print_c(low: Lowered, into: Mapping[int, int] | None = None) -> CText:
    """The C text of a program of one space.

    Arguments:
        low: the program. Of its shapes only how each lies in the space counts: the text serves
            every number of rows and columns (a single row has a text of its own).
        into: output position -> position of the input whose memory receives it. Such an output
            is no operand of its own. The operands must not overlap otherwise.

    Returns:
        A function ``void name(ptrdiff_t rows, ptrdiff_t columns, void *const *operand, const
        ptrdiff_t *step, void *scratch)``; ``step`` holds row strides in elements.

    Raises:
        TypeError: for a program that runs in neither float32 nor float64.
        NotImplementedError: for a program that is not of this form, naming the operation.

    >>> import numpy as np
    >>> from chainrule.compile.lower import lower
    >>> from chainrule.compile.trace import trace
    >>> sgd = trace(lambda xp, p, g, lr: p - lr * g, ["p", "g", "lr"], "sgd")
    >>> f = np.dtype(np.float32)
    >>> print(print_c(lower(sgd, [((2, 3), f), ((2, 3), f), ((), f)]), into={0: 0}).source)
    CR_EXPORT void sgd_49b24eb16d35b2cb(
        ptrdiff_t rows, ptrdiff_t columns,
        void *const *operand, const ptrdiff_t *step, void *scratch)
    {
        float *p = operand[0];
        const float *g = operand[1];
        const float lr = *(const float *)operand[2];
        for (ptrdiff_t i = 0; i < rows; i++) {
            #pragma omp simd
            for (ptrdiff_t j = 0; j < columns; j++)
                p[j] = p[j] - lr * g[j];
            p += step[0], g += step[1];
        }
    }
    <BLANKLINE>
    """
    if low.dtype not in (np.float32, np.float64):
        raise TypeError(f"print_c: expected a program in float32 or float64, got {low.dtype}")
    return _Printer(low, dict(into or {})).printed()


class _Plan:
    """Which pass computes, keeps and reads what.

    Attributes:
        roots: of every pass, the values it must have.
        compute, reads: of every pass, the values it computes and those it reads back.
        kept: where a value can be read back from: the pass that writes it.
        store: the pass that writes each output that varies along the columns.
        tiled: the values that are written to a tile.
    """

    def __init__(self, layouts: Layouts, targets: Mapping[int, Expr]) -> None:
        self.layouts, self.targets = layouts, targets
        self.low = layouts.low
        self.roots: dict[Pass, list[Any]] = {}
        self.kept: dict[Expr, Pass] = {}
        self.tiled: dict[Expr, Pass] = {}
        self.terms: dict[Expr, Pass] = {}
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

    def at(self, a: Any, stage: str) -> Pass:
        return _STAGES[stage], self.layouts.level_in(a, stage)

    def root(self, at: Pass, v: Any) -> None:
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
        return [self.layouts.base(a) for a in e.args]

    def stage_of(self, e: Expr) -> str:
        """The stage in which the argument of a reduction is gone through."""
        inside = self.layouts.of(e.args[0]) in ("full", "row")
        return "rows" if inside else self.layouts.stage[e]

    def _reductions(self) -> None:
        """Terms of sums along a row must lie in memory; sums over the rows need their value."""
        for e, over in self.layouts.reduces.items():
            if e not in self.layouts.stage or not self.layouts.is_vector(e.args[0]):
                continue
            b = self.layouts.base(e.args[0])
            if over == "rows" or not self.layouts.is_operand(b):
                self.root(at := self.at(b, self.stage_of(e)), b)
                if over != "rows":
                    self.terms[b] = at

    def _stores(self) -> dict[int, Pass]:
        """An output goes to memory of its own once it is known, into an input after its last use"""
        layouts = self.layouts
        store: dict[int, Pass] = {}
        for k, o in enumerate(self.low.outputs):
            if layouts.is_vector(o):
                stage = "rows" if layouts.of(o) == "full" else "after"
                store[k] = self.at(layouts.base(o), stage)
                if layouts.of(o) == "column" and store[k][0] == _AFTER:
                    store[k] = (_AFTER, store[k][1])
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
            self.root(at, values[k])
        return store

    def _reach(self, roots: Iterable[Any], at: Pass, inputs: bool = False) -> list[Expr]:
        """The column-by-column values below `roots`, and the inputs if wanted."""
        found: dict[Expr, None] = {}
        stack = list(roots)
        while stack:
            v = stack.pop()
            if v in found or v in self.tiled and self.tiled[v] < at:
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
            stack = list(self.roots[at]) if at[0] == _ROWS else []
            while stack:
                v = stack.pop()
                if not self.is_step(v):
                    continue
                if self.layouts.stage[v] == "before" and not self._is_cheap(v, at):
                    if v not in self.tiled:
                        self.tiled[v] = self.at(v, "before")
                        self.root(self.tiled[v], v)
                else:
                    stack.extend(self.bases(v))
        self.kept.update(self.tiled)

    def _is_cheap(self, v: Any, at: Pass) -> bool:
        left = _CHEAP
        stack = [v]
        while stack and left >= 0:
            e = stack.pop()
            if self.is_step(e) and not (e in self.kept and self.kept[e] < at):
                dear = e.op in _FUNCTIONS and e.op not in ("maximum", "minimum", "sign")
                left -= _COSTS.get(e.op, _DEAR if dear else 1)
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
            if v not in self.kept and first[v] < at:
                home = outputs.get(v)
                if home is not None and home < at and home[0] == at[0]:
                    self.kept[v] = home
                elif v in self.terms and self.terms[v] < at and self._is_float(v):
                    self.kept[v] = self.tiled[v] = self.terms[v]
                elif not self._is_cheap(v, at):
                    self.kept[v] = self.tiled[v] = first[v]
            if v in self.kept and self.kept[v] < at:
                reads.add(v)
                self.last[v] = at
            else:
                compute.add(v)
                stack.extend(reversed(self.bases(v)))

    def _is_float(self, v: Expr) -> bool:
        return bool(self.low.dtypes[v] == self.low.dtype)


class _Printer:
    def __init__(self, low: Lowered, into: Mapping[int, int]) -> None:
        self.low = low
        self.layouts = Layouts(low)
        self.suffix = "f" if low.dtype == np.float32 else ""
        self.taken = set(_TAKEN)
        self.targets = {k: low.inputs[j] for k, j in into.items()}
        self.bases = [self.layouts.base(o) for o in low.outputs]
        self.pointer: dict[Any, str] = {x: self.fresh(str(x)) for x in low.inputs}
        many = len(low.outputs) > 1
        #: the pointer of every output
        self.out = [
            self.pointer[self.targets[k]]
            if k in into
            else self.fresh(f"out{k}" if many else "out")
            for k in range(len(low.outputs))
        ]
        self.operands = self._operands()
        self.plan = _Plan(self.layouts, self.targets)
        self.uses = self._uses_of_singles()
        self.names: dict[Any, str] = {}  # of row values and numbers
        self.labels: dict[Any, str] = {}  # of labels as int
        self.totals: dict[Expr, str] = {}  # what adds up the rows
        self.tiles: dict[Any, str] = {}
        self.declared: list[str] = []
        self.cleared: list[str] = []
        self.tile_count = 0
        self._make_tiles()

    # -- names and types --------------------------------------------------------------------------

    def fresh(self, wish: str) -> str:
        """`wish` as a variable's name, with a number where it is taken."""
        wish = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in wish)
        if wish.startswith(("cr_", "CR_", "__")):
            wish = f"x{wish}"
        name, n = wish, 0
        while name in self.taken:
            n += 1
            name = f"{wish}{n}" if not wish[-1:].isdigit() else f"{wish}_{n}"
        self.taken.add(name)
        return name

    def dtype(self, a: Any) -> np.dtype[Any]:
        """The type of a value; Python numbers have that of the program."""
        kind = self.low.dtypes[a] if isinstance(a, Expr) else type(a)
        if isinstance(kind, np.dtype):
            return kind.newbyteorder("=")
        if kind is bool:
            return _BOOL
        return np.dtype(np.int64) if kind is int and isinstance(a, Expr) else self.low.dtype

    def memory(self, dtype: np.dtype[Any]) -> str:
        """The C type of an element."""
        if dtype == _BOOL:
            return "unsigned char"
        if dtype == np.float32 or dtype == np.float64:
            return "float" if dtype == np.float32 else "double"
        if dtype.kind in "iu":
            return f"{'u' if dtype.kind == 'u' else ''}int{8 * dtype.itemsize}_t"
        return self.layouts.refuse(f"an array of type {dtype}")

    def type(self, dtype: np.dtype[Any]) -> str:
        """The C type of a local."""
        return "int" if dtype == _BOOL else self.memory(dtype)

    def word(self, e: Expr) -> str:
        """How a local is called."""
        for k, x in self.targets.items():
            if self.bases[k] is e:
                return f"{self.pointer[x]}_new"
        parts = [self.layouts.base(a) for a in e.args]
        if e.op == "divide" and parts[0] in self.layouts.reduces and not isinstance(parts[1], Expr):
            return "mean"
        return _WORDS.get(e.op, "t")

    # -- operands ---------------------------------------------------------------------------------

    def _operands(self) -> list[Operand]:
        low, of = self.low, self.layouts.of
        for k, x in self.targets.items():
            o = low.outputs[k]
            pair = {of(o), of(x)}
            fits = len(pair) == 1 or pair == {"row", "scalar"} or (of(o), of(x)) == ("column", "full")
            if not fits or low.shapes.get(o, ()) != low.shapes[x] or self.dtype(o) != self.dtype(x):
                self.layouts.refuse(f"output {k} that cannot be written into {x}")
        written = set(self.targets.values())
        return [
            *(Operand(of(x), self.dtype(x), x in written, self.pointer[x]) for x in low.inputs),
            *(
                Operand(of(o), self.dtype_of_output(k), True, self.out[k])
                for k, o in enumerate(low.outputs)
                if k not in self.targets
            ),
        ]

    def dtype_of_output(self, k: int) -> np.dtype[Any]:
        o = self.low.outputs[k]
        return np.dtype(np.int64) if type(o) is int else self.dtype(o)

    # -- tiles ------------------------------------------------------------------------------------

    def in_memory(self, b: Any, at: Pass) -> str | None:
        """Where the terms of a sum lie already after a pass, if not in a tile."""
        if self.layouts.is_operand(b):
            return self.pointer[b]
        for k, p in self.plan.store.items():
            if self.bases[k] is b and p == at and self.dtype(b) == self.low.dtype:
                return self.out[k]
        return None

    def tile_key(self, b: Any, terms: bool) -> Any:
        plain = not terms or self.dtype(b) == self.low.dtype
        return b if plain and isinstance(b, Expr) else ("terms", b)

    def terms_type(self, b: Any) -> str:
        exact = self.dtype(b).kind in "iu"  # of integers, up to 2^53
        return "double" if exact else self.memory(self.low.dtype)

    def _make_tiles(self) -> None:
        plan = self.plan
        spans: dict[Any, tuple[Pass, Pass, str]] = {}
        for v, at in plan.tiled.items():
            spans[v] = (at, plan.last.get(v, at), self.memory(self.dtype(v)))
        for b, at in plan.terms.items():
            key = self.tile_key(b, True)
            if self.in_memory(b, at) is None and key not in spans:
                spans[key] = (at, at, self.terms_type(b))
        free: list[tuple[Pass, str, str]] = []  # (last use, type, name)
        for key, (at, last, kind) in sorted(spans.items(), key=lambda s: s[1][0]):
            if at[0] == _BEFORE and last[0] >= _ROWS:
                last = (_AFTER, _LAST)  # every row reads it
            found = next((f for f in free if f[1] == kind and f[0] < at and f[0][0] == at[0]), None)
            if found is None:
                name = self.tile("tile", kind)
            else:
                free.remove(found)
                name = found[2]
            self.tiles[key] = name
            free.append((last, kind, name))
        for e in self.layouts.order:
            if self.layouts.over_rows(e):
                self._make_total(e)

    def tile(self, wish: str, kind: str) -> str:
        name, n = self.fresh(wish), self.tile_count
        self.tile_count += 1
        place = "scratch" if n == 0 else f"(double *)scratch + {f'{n} * ' if n > 1 else ''}width"
        if n and kind != "double":
            place = f"({kind} *)({place})"
        self.declared.append(f"{kind} *{name} = {place};")
        return name

    def _make_total(self, e: Expr) -> None:
        largest = e.op == "max"
        start = "-INFINITY" if largest else "0"
        kind = self.memory(self.low.dtype) if largest else "double"
        wish = "top" if largest else "total"
        for k, b in enumerate(self.bases):
            if b is e and self.layouts.layout[e] == "column":
                wish = f"{self.out[k]}_{'max' if largest else 'sum'}"
        if self.layouts.layout[e] == "column":
            self.totals[e] = self.tile(wish, kind)
            self.cleared.append(f"{self.totals[e]}[j] = {start};")
        else:
            self.totals[e] = self.fresh(wish)
            self.declared.append(f"{kind} {self.totals[e]} = {start};")

    # -- the function -----------------------------------------------------------------------------

    def printed(self) -> CText:
        name = function_name(self.low.name)[:60]
        lines = self.body()
        head = "    ptrdiff_t rows, ptrdiff_t columns,\n"
        head += "    void *const *operand, const ptrdiff_t *step, void *scratch)\n{\n"
        rest = f"(\n{head}" + "".join(f"    {line}\n" for line in lines) + "}\n"
        name += "_" + hashlib.sha256((name + rest).encode()).hexdigest()[:16]
        flat = (
            all(o.layout in ("full", "scalar") for o in self.operands)
            and not self.layouts.reduces
            and all(e.op != "one_hot" for e in self.layouts.order)
        )
        source = f"CR_EXPORT void {name}{rest}"
        return CText(name, source, tuple(self.operands), self.tile_count, flat)

    def body(self) -> list[str]:
        before, inside, after = self.stage(_BEFORE), self.stage(_ROWS), self.stage(_AFTER)
        pointers = self.pointers()
        lines = [*pointers, *self.tile_lines(), *before]
        if self.cleared:
            lines += _loop("columns", self.cleared, simd=False)
        if inside:
            inside = [*self.rows_of_operands(), *inside, *self.steps()]
            lines += _indented("for (ptrdiff_t i = 0; i < rows; i++) {", inside)
        return [*lines, *after]

    def tile_lines(self) -> list[str]:
        round_up = "const ptrdiff_t width = (columns + 15) / 16 * 16;"
        return [*([round_up] if self.tile_count > 1 else []), *self.declared]

    def read(self) -> set[Any]:
        """The inputs whose values are used."""
        found = {self.layouts.base(a) for e in self.layouts.order for a in e.args}
        return found | set(self.bases)

    def pointers(self) -> list[str]:
        lines = []
        read = self.read()
        written = set(self.targets.values())
        for n, o in enumerate(self.operands):
            x = self.low.inputs[n] if n < len(self.low.inputs) else None
            if x is not None and x not in read and x not in written:
                continue
            kind = self.memory(o.dtype)
            if x is not None and o.layout == "scalar" and not o.written:
                self.taken.discard(o.name)
                lines.append(
                    f"const {self.type(o.dtype)} {o.name} = *(const {kind} *)operand[{n}];"
                )
                continue
            lines.append(f"{'' if o.written else 'const '}{kind} *{o.name} = operand[{n}];")
            if x is not None and o.layout == "scalar" and x in read:
                lines.append(f"const {self.type(o.dtype)} {self.element(x)} = *{o.name};")
        return lines

    def element(self, x: Expr) -> str:
        """The name of an element of an input."""
        if x not in self.names:
            plain = self.layouts.of(x) == "scalar" and x not in self.targets.values()
            self.names[x] = self.pointer[x] if plain else self.fresh(f"{self.pointer[x]}_")
        return self.names[x]

    def rows_of_operands(self) -> list[str]:
        """The numbers of a row."""
        labels = {b for e in self.layouts.order if e.op == "one_hot" for b in self.plan.bases(e)}
        other = {b for e in self.layouts.order if e.op != "one_hot" for b in self.plan.bases(e)}
        read = self.read() - (labels - other - set(self.bases))
        return [
            f"const {self.type(self.dtype(x))} {self.element(x)} = *{self.pointer[x]};"
            for x in self.low.inputs
            if self.layouts.of(x) == "row" and x in read
        ]

    def steps(self) -> list[str]:
        """Go to the next row."""
        moved = [
            f"{o.name} += step[{n}]"
            for n, o in enumerate(self.operands)
            if o.layout in ("full", "row")
            and (o.written or n >= len(self.low.inputs) or self.low.inputs[n] in self.read())
        ]
        lines: list[str] = []
        for m in moved:
            if lines and len(lines[-1]) + len(m) < 80:
                lines[-1] += f", {m}"
            else:
                lines.append(m)
        return [line + ";" for line in lines]

    # -- stages -----------------------------------------------------------------------------------

    def stage(self, stage: int) -> list[str]:
        """Numbers that are known, a pass over the columns, numbers known after it, and so on."""
        passes = [at[1] for at in self.plan.roots if at[0] == stage]
        levels = [
            self.layouts.level[e] for e in self.layouts.order
            if _STAGES[self.layouts.stage[e]] == stage and not self.layouts.is_vector(e)
        ]  # fmt: skip
        lines = []
        for n in range(max([*passes, *levels], default=-1) + 2):
            lines += _Scope(self, (stage, n)).singles()
            if (stage, n) in self.plan.roots:
                lines += _Scope(self, (stage, n)).columns()
        return lines

    def _uses_of_singles(self) -> Counter[Any]:
        uses: Counter[Any] = Counter(self.bases)
        for e in self.layouts.order:
            inside = 2 if self.layouts.is_vector(e) or e in self.layouts.reduces else 1
            for a in e.args:
                uses[self.layouts.base(a)] += max(inside, _repeats(e))
        return uses


def _repeats(e: Expr) -> int:
    """How often the text of a step has its operands."""
    bound = e.op in ("maximum", "minimum") and any(not isinstance(a, Expr) for a in e.args)
    return 2 if bound or e.op in ("isnan", "one_hot") else 1


def _indented(head: str, lines: Iterable[str]) -> list[str]:
    return [head, *(f"    {line}" for line in lines), "}"]


def _loop(count: str, lines: Sequence[str], simd: bool = True) -> list[str]:
    head = f"for (ptrdiff_t j = 0; j < {count}; j++)"
    whole = [head, f"    {lines[0]}"] if len(lines) == 1 else _indented(f"{head} {{", lines)
    return ["#pragma omp simd", *whole] if simd else whole


class _Scope:
    """The lines of one pass over the columns, or of the numbers that are known before it.

    A value used once is written where it is used; one used more often has a name.
    """

    def __init__(self, printer: _Printer, at: Pass) -> None:
        self.p, self.at = printer, at
        self.layouts, self.plan = printer.layouts, printer.plan
        self.lines: list[str] = []
        self.texts: dict[Any, Text] = {}

    # -- numbers of a row, or of the whole --------------------------------------------------------

    def singles(self) -> list[str]:
        stage, level = self.at
        p, layouts = self.p, self.layouts
        here = [
            e
            for e in layouts.order
            if _STAGES[layouts.stage[e]] == stage
            and layouts.level[e] == level
            and not layouts.is_vector(e)
        ]
        if level == 0 and stage == _ROWS:
            self.label_lines(lambda b: layouts.of(b) == "row" and b.op == "input")
        if level == 0 and stage == _BEFORE:
            self.label_lines(lambda b: layouts.of(b) == "scalar" and b.op == "input")
        for e in here:
            text = self.total(e) if layouts.over_rows(e) else self.build(e)
            self.texts[e] = text
            folded = any(
                u not in layouts.reduces and e in self.plan.bases(u) for u in here
            ) or any(p.bases[k] is e and self.stored_here(k) for k in range(len(p.bases)))
            if p.uses[e] > 1 or not folded:
                self.bind(e)
        self.label_lines(lambda b: b in self.layouts.order and b in here)
        self.add_up(level)
        self.store_singles()
        return self.lines

    def label_lines(self, wanted: Any) -> None:
        """Labels as int, so that comparing them with the columns vectorizes; -1: none of them."""
        p = self.p
        for e in self.layouts.order:
            if e.op != "one_hot":
                continue
            b = self.layouts.base(e.args[0])
            known = not isinstance(b, Expr) or b in p.labels or self.layouts.is_vector(b)
            if known or not wanted(b):
                continue
            row = b.op == "input" and self.layouts.of(b) == "row"
            value = f"{p.pointer[b]}[0]" if row else self.atom(b)
            whole = f" && {value} == (int){value}" if p.dtype(b).kind == "f" else ""
            name = p.labels[b] = p.fresh(f"{p.pointer[b]}_" if row else "label")
            test = f"0 <= {value} && {value} < columns{whole}"
            if p.dtype(b) == _BOOL:
                test = f"{value} < columns"
            self.lines.append(f"const int {name} = {test} ? (int){value} : -1;")

    def total(self, e: Expr) -> Text:
        """A sum over the rows when they are done."""
        total = self.p.totals[e]
        text = f"{total}[j]" if self.layouts.is_vector(e) else total
        if e.op != "max" and (kind := self.p.type(self.p.dtype(e))) != "double":
            return f"({kind}){text}", _UNARY
        return text, _ATOM

    def add_up(self, level: int) -> None:
        """Add to the totals what the row gives, after the last pass that it needs."""
        p = self.p
        if self.at[0] != _ROWS:
            return
        for e, name in p.totals.items():
            b = self.layouts.base(e.args[0])
            over = self.layouts.reduces[e]
            vector = self.layouts.is_vector(e.args[0])
            if over == "rows" and vector:
                continue
            ready = self.layouts.level_in(b, "rows")
            if vector and not self.layouts.is_operand(b):
                ready += 1
            if ready != level:
                continue
            if vector:
                value = f"{self.reducer(e)}({self.terms(e)}, columns)"
            else:
                value = self.operand(b, np.dtype(np.float64) if e.op != "max" else p.low.dtype, 0)
            if e.op == "max":
                self.lines.append(f"{name} = cr_maximum{p.suffix}({name}, {value});")
            else:
                self.lines.append(f"{name} += {value};")

    def reducer(self, e: Expr) -> str:
        single = self.term_type(e) == "float"
        return ("cr_max" if e.op == "max" else "cr_sum") + ("f" if single else "")

    def term_type(self, e: Expr) -> str:
        return self.p.terms_type(self.layouts.base(e.args[0]))

    def terms(self, e: Expr) -> str:
        """The memory in which the terms of a sum along the row lie."""
        b = self.layouts.base(e.args[0])
        at = self.plan.at(b, self.plan.stage_of(e))
        return self.p.in_memory(b, at) or self.p.tiles[self.p.tile_key(b, True)]

    def store_singles(self) -> None:
        """Outputs that are one number a row, or one number, once they are known."""
        p = self.p
        for k, b in enumerate(p.bases):
            if self.stored_here(k):
                self.lines.append(f"*{p.out[k]} = {self.operand(b, p.dtype_of_output(k), 0)};")

    def stored_here(self, k: int) -> bool:
        """Whether output k is one number a row, or one number, and is known now."""
        layout = self.layouts.of(self.p.low.outputs[k])
        if layout not in ("row", "scalar"):
            return False
        return self.at == self.plan.at(self.p.bases[k], "rows" if layout == "row" else "after")

    # -- a pass over the columns ------------------------------------------------------------------

    def columns(self) -> list[str]:
        p, plan, at = self.p, self.plan, self.at
        compute = [e for e in self.layouts.order if e in plan.compute[at]]
        writes = self.writes()
        uses: Counter[Any] = Counter()
        for e in compute:
            for b in map(self.layouts.base, e.args):
                uses[b] += _repeats(e)
        uses.update(b for _, b, _ in writes)
        aliased = set(p.targets.values()) if len(writes) > 1 else set()
        sources = [x for x in p.low.inputs if self.layouts.is_vector(x)]
        sources += [e for e in self.layouts.order if e in plan.reads[at]]
        sources += [e for e in p.totals if self.layouts.is_vector(e)]
        for v in sources:
            if uses[v]:
                self.texts[v] = self.load(v)
                if uses[v] > 1 or v in aliased or (p.dtype(v) != p.low.dtype and v.op == "input"):
                    self.bind(v)
        for e in compute:
            self.texts[e] = self.build(e)
            if uses[e] > 1:
                self.bind(e)
        for target, b, kind in writes:
            text = self.operand(b, kind, 0)
            self.lines.append(f"{target} {text};")
        return _loop("columns", self.lines)

    def load(self, v: Expr) -> Text:
        """A value from memory."""
        p = self.p
        if v.op == "input":
            return f"{p.pointer[v]}[j]", _ATOM
        if v in p.totals:
            return self.total(v)
        if v in self.plan.tiled:
            return f"{p.tiles[v]}[j]", _ATOM
        k = next(k for k in self.plan.store if p.bases[k] is v)
        return f"{p.out[k]}[j]", _ATOM

    def writes(self) -> list[tuple[str, Any, np.dtype[Any]]]:
        """What a pass writes: (start of the statement, value, type)."""
        p, plan, at = self.p, self.plan, self.at
        double = np.dtype(np.float64)
        found: list[tuple[str, Any, np.dtype[Any]]] = []
        for v, when in plan.tiled.items():
            if when == at:
                found.append((f"{p.tiles[v]}[j] =", v, p.dtype(v)))
        for b, when in plan.terms.items():
            key = p.tile_key(b, True)
            if when == at and p.in_memory(b, at) is None and key not in plan.tiled:
                kind = double if p.terms_type(b) == "double" else p.low.dtype
                found.append((f"{p.tiles[key]}[j] =", b, kind))
        for e, name in p.totals.items():
            b = self.layouts.base(e.args[0])
            if self.layouts.is_vector(e) and plan.at(b, "rows") == at:
                if e.op == "max":
                    found.append((f"{name}[j] = cr_maximum{p.suffix}({name}[j],", b, p.low.dtype))
                else:
                    found.append((f"{name}[j] +=", b, p.dtype(b)))
        for k, when in plan.store.items():
            if when == at:
                found.append((f"{p.out[k]}[j] =", p.bases[k], p.dtype_of_output(k)))
        return found

    # -- expressions ------------------------------------------------------------------------------

    def bind(self, e: Any) -> None:
        """Give a value a name."""
        p = self.p
        if e in p.names and not self.layouts.is_vector(e):
            return
        text, precedence = self.texts[e]
        if precedence == _ATOM and text.isidentifier():
            return
        kind = p.type(p.dtype(e))
        name = p.element(e) if e.op == "input" else self.local(e)
        self.lines.append(f"const {kind} {name} = {text};")
        self.texts[e] = (name, _ATOM)
        if not self.layouts.is_vector(e):
            p.names[e] = name

    def local(self, e: Expr) -> str:
        return self.p.fresh(self.p.word(e))

    def atom(self, a: Any) -> str:
        """The name of a value, or a number."""
        if isinstance(a, Expr) and not self.find(a)[0].isidentifier():
            self.bind(a)
        return self.operand(a, self.p.dtype(a), _ATOM)

    def find(self, a: Expr) -> Text:
        if a in self.texts:
            return self.texts[a]
        if a.op == "input":
            return self.p.element(a), _ATOM
        return self.p.names[a], _ATOM

    def operand(self, a: Any, want: np.dtype[Any], least: int) -> str:
        """An operand in the type `want`, in parentheses if it binds less tightly than `least`."""
        if not isinstance(a, Expr):
            text, precedence = _number(a, want)
        else:
            text, precedence = self.find(a)
            have = self.p.dtype(a)
            if have != want and want != _BOOL and have != np.dtype(want):
                inner = text if precedence >= _UNARY else f"({text})"
                widening = have == np.float32 and want == np.float64
                if not widening:
                    text, precedence = f"({self.p.type(want)}){inner}", _UNARY
            elif have != want and want == _BOOL:
                text, precedence = f"{text if precedence > 9 else f'({text})'} != 0", 9
        return text if precedence >= least else f"({text})"

    def shorten(self, e: Expr) -> None:
        """Name the longest operands until the line has a readable length."""
        args = [b for a in e.args if isinstance(b := self.layouts.base(a), Expr)]
        while sum(len(self.find(b)[0]) for b in args) > 64:
            longest = max(args, key=lambda b: len(self.find(b)[0]))
            if self.find(longest)[0].isidentifier():
                break
            self.bind(longest)

    def build(self, e: Expr) -> Text:
        """The C expression of a step."""
        p, layouts = self.p, self.layouts
        dtype = p.dtype(e)
        if e in layouts.reduces:
            text = f"{self.reducer(e)}({self.terms(e)}, columns)"
            if e.op != "max" and p.type(dtype) != "double":
                return f"({p.type(dtype)}){text}", _UNARY
            return text, _ATOM
        args = [layouts.base(a) for a in e.args]
        if e.op == "one_hot":
            return self.one_hot(args[0])
        self.shorten(e)
        if e.op == "cast" or e.op in ("sum", "sum_to", "max"):
            return self.operand(args[0], dtype, _UNARY), _UNARY
        if e.op == "where":
            return self.where(args, dtype)
        row = PRIMITIVES[e.op]
        if row.kind == "test":
            return self.test(e.op, args)
        if dtype.kind not in "f" and e.op not in _INTEGRAL:
            layouts.refuse(f"{e.op} of {dtype}")
        if dtype == _BOOL:
            logical = {"add": "logical_or", "maximum": "logical_or"}
            logical |= {"multiply": "logical_and", "minimum": "logical_and"}
            if e.op not in logical:
                layouts.refuse(f"{e.op} of booleans")
            return self.test(logical[e.op], args)
        if e.op in ("maximum", "minimum"):
            return self.extreme(e.op, args, dtype)
        if e.op == "negative":
            text = self.operand(args[0], dtype, _UNARY)
            return f"-({text})" if text.startswith("-") else f"-{text}", _UNARY
        if e.op in _OPERATORS:
            sign, precedence = _OPERATORS[e.op]
            left = self.operand(args[0], dtype, precedence)
            right = self.operand(args[1], dtype, precedence + 1)
            if right.startswith("-") and e.op in ("add", "subtract") and not isinstance(args[1], Expr):
                sign, right = ("-" if e.op == "add" else "+"), right[1:]
            elif right.startswith("-"):
                right = f"({right})"
            return f"{left} {sign} {right}", precedence
        inside = [self.operand(a, dtype, _TERNARY) for a in args]
        inside += [str(n) for _, n in e.attrs]
        return f"{_FUNCTIONS[e.op]}{p.suffix}({', '.join(inside)})", _ATOM

    def one_hot(self, label: Any) -> Text:
        p = self.p
        if not isinstance(label, Expr):
            return f"(int)j == {int(label) if label == int(label) else -1}", 9
        if self.layouts.is_vector(label):
            return f"{self.atom(label)} == j", 9
        return f"(int)j == {p.labels[label]}", 9

    def where(self, args: Sequence[Any], dtype: np.dtype[Any]) -> Text:
        condition = self.operand(args[0], _BOOL, _TERNARY + 1)
        for a in args[1:]:  # loads and functions must not depend on the condition
            if isinstance(a, Expr) and re.search(r"\[|\w\(", self.find(a)[0]):
                self.bind(a)
        yes = self.operand(args[1], dtype, _TERNARY + 1)
        no = self.operand(args[2], dtype, _TERNARY)
        return f"{condition} ? {yes} : {no}", _TERNARY

    def test(self, op: str, args: Sequence[Any]) -> Text:
        p = self.p
        if op in ("logical_and", "logical_or"):
            sign, precedence = _OPERATORS[op]
            parts = [self.operand(a, _BOOL, 0) for a in args]
            parts = [t if t.isidentifier() else f"({t})" for t in parts]
            return f"{parts[0]} {sign} {parts[1]}", precedence
        if op == "logical_not":
            return f"!{self.operand(args[0], _BOOL, _UNARY)}", _UNARY
        if op in ("isnan", "isfinite"):
            (a,) = args
            if p.dtype(a).kind != "f":
                return str(int(op == "isfinite")), _ATOM
            if op == "isnan":
                return f"{self.atom(a)} != {self.atom(a)}", 9
            single = p.dtype(a) == np.float32
            return f"fabs{'f' if single else ''}({self.operand(a, p.dtype(a), 0)}) < INFINITY", 10
        kinds = [p.low.dtypes[a] if isinstance(a, Expr) else type(a) for a in args]
        found = PRIMITIVES[op].numpy.resolve_dtypes(
            (*(bool if k is bool else k for k in map(_weak, kinds)), None)
        )[0]
        sign, precedence = _OPERATORS[op]
        want = [p.dtype(a) if found == _BOOL else found for a in args]
        left = self.operand(args[0], want[0], precedence + 2)
        right = self.operand(args[1], want[1], precedence + 2)
        return f"{left} {sign} {right}", precedence

    def extreme(self, op: str, args: Sequence[Any], dtype: np.dtype[Any]) -> Text:
        """Maximum or minimum; NaN if either is."""
        a, b = args if isinstance(args[0], Expr) else reversed(args)
        sign = "<" if op == "maximum" else ">"
        if dtype.kind != "f" or (not isinstance(b, Expr) and not math.isnan(b)):
            x, bound = self.operand_atom(a, dtype), self.operand_atom(b, dtype)
            return f"{x} {sign} {bound} ? {bound} : {x}", _TERNARY
        inside = [self.operand(x, dtype, _TERNARY) for x in args]
        return f"{_FUNCTIONS[op]}{self.p.suffix}({', '.join(inside)})", _ATOM

    def operand_atom(self, a: Any, dtype: np.dtype[Any]) -> str:
        if isinstance(a, Expr):
            self.atom(a)
        return self.operand(a, dtype, _UNARY)


def _weak(kind: Any) -> Any:
    """A type as NumPy's type resolution takes it."""
    return np.dtype(np.bool_) if kind is bool else kind


def _number(a: float, want: np.dtype[Any]) -> Text:
    """A constant: the shortest text that gives the number in its type."""
    if want == _BOOL or want.kind in "iu":
        return str(int(bool(a) if want == _BOOL else a)), _ATOM if a >= 0 else _UNARY
    if math.isnan(a):
        return "NAN", _ATOM
    with np.errstate(over="ignore"):
        value = np.float32(a) if want == np.float32 else np.float64(a)
    sign = "-" if math.copysign(1, value) < 0 else ""
    size = "INFINITY" if math.isinf(value) else f"{abs(value)!s}{'f' if want == np.float32 else ''}"
    return sign + size, _UNARY if sign else _ATOM
