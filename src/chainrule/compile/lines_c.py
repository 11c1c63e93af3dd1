"""The lines of one pass of a kernel over the columns, or of the numbers known before it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr
from chainrule.compile.frame_c import BOOL, DOUBLE, Frame, repeats
from chainrule.compile.passes import BEFORE, ROWS, STAGES, Pass

__all__ = ["ATOM", "Lines", "Text", "indented", "loop"]

#: A piece of C and the precedence of its outermost operator: a higher one binds tighter.
Text: TypeAlias = tuple[str, int]
ATOM, _UNARY, _EQUALITY, _TERNARY = 16, 14, 9, 3

_OPERATORS = {
    "add": ("+", 12), "subtract": ("-", 12), "multiply": ("*", 13), "divide": ("/", 13),
    "less": ("<", 10), "less_equal": ("<=", 10), "greater": (">", 10), "greater_equal": (">=", 10),
    "equal": ("==", 9), "not_equal": ("!=", 9), "logical_and": ("&", 8), "logical_or": ("|", 6),
}  # fmt: skip
#: C's own functions; the others are those of math.h. The names of float versions end in f.
_FUNCTIONS = {"abs": "fabs", "floor": "floor", "sqrt": "sqrt"}
#: What these do to booleans.
_LOGICAL = {
    "add": "logical_or", "maximum": "logical_or",
    "multiply": "logical_and", "minimum": "logical_and",
}  # fmt: skip
#: What integers can go through; everything else is computed in the program's type.
_INTEGRAL = frozenset({"add", "subtract", "multiply", "negative", "maximum", "minimum", "where"})
_NAME = r"[A-Za-z_]\w*(\[l\])?"  # of a number; where rows are side by side, of that of row l
_LONGEST = 50  # the operands of an expression; longer ones get a name


def indented(head: str, lines: Iterable[str]) -> list[str]:
    """A block in braces."""
    return [head, *(f"    {line}" for line in lines), "}"]


def loop(lines: Sequence[str], index: str = "j", end: str = "columns") -> list[str]:
    """A loop, over the columns if nothing else is said."""
    head = f"for (ptrdiff_t {index} = 0; {index} < {end}; {index}++)"
    return [head, f"    {lines[0]}"] if len(lines) == 1 else indented(f"{head} {{", lines)


class Lines:
    """The lines at one point of a kernel.

    A value that is used once is written where it is used; one that is used more often has a name.
    """

    def __init__(self, frame: Frame, at: Pass) -> None:
        self.frame, self.at = frame, at
        self.layouts, self.passes = frame.layouts, frame.passes
        self.lines: list[str] = []
        self.added = self.lines  # statements that add to totals of the whole
        self.texts: dict[Any, Text] = {}

    # -- numbers of a row, or of the whole --------------------------------------------------------

    def numbers(self) -> list[str]:
        """What is known of a row, or of the whole, before this pass and not before the last."""
        layouts, at = self.layouts, self.at
        here = [
            e
            for e in layouts.order
            if not layouts.is_vector(e) and (STAGES[layouts.stage[e]], layouts.level[e]) == at
        ]
        if at in ((BEFORE, 0), (ROWS, 0)):
            layout = "row" if at[0] == ROWS else "scalar"
            if at[0] == ROWS:
                self._inputs()
            self._labels(lambda b: b.op == "input" and layouts.of(b) == layout)
        for e in here:
            self.texts[e] = self._total(e) if layouts.over_rows(e) else self._build(e)
            folded = any(u not in layouts.reduces and e in self.passes.bases(u) for u in here)
            folded |= any(b is e and self._is_stored(k) for k, b in enumerate(self.frame.bases))
            if self.frame.uses[e] > 1 or not folded:
                self._bind(e)
        self._labels(lambda b: b in here)
        if at[0] == ROWS:
            self._add_up()
        for k, b in enumerate(self.frame.bases):
            if self._is_stored(k):
                value = self._operand(b, self.frame.dtype_of_output(k))
                self.lines.append(f"{self._result(k)} = {value};")
        return self.lines

    def _inputs(self) -> None:
        """The numbers that inputs give for a row."""
        frame, steps = self.frame, self.layouts.order  # labels are read where they become int
        read = {b for e in steps if e.op != "one_hot" for b in self.passes.bases(e)}
        read |= set(frame.bases)
        for x in frame.low.inputs:
            if self.layouts.of(x) == "row" and x in read:
                self._set(frame.type(frame.dtype(x)), frame.element(x), self.of_row(x))

    def _result(self, k: int) -> str:
        """Where output k, a number, goes."""
        return f"*{self.frame.out[k]}"

    def _labels(self, wanted: Callable[[Expr], bool]) -> None:
        """Labels as int, so that a loop that compares them with the columns vectorizes; -1 stands
        for one that is no column."""
        frame = self.frame
        for e in self.layouts.order:
            b = self.layouts.base(e.args[0])
            known = e.op != "one_hot" or not isinstance(b, Expr) or b in frame.labels
            if known or self.layouts.is_vector(b) or not wanted(b):
                continue
            row = b.op == "input" and self.layouts.of(b) == "row"
            value = self.of_row(b) if row else self._atom(b)
            test = f"0 <= {value} && {value} < columns"
            if frame.dtype(b).kind == "f":
                test += f" && {value} == floor({value})"
            name = frame.fresh(f"{frame.pointer[b]}_" if row else "label")
            frame.labels[b] = self._set("int", name, f"{test} ? (int){value} : -1")

    def of_row(self, x: Expr) -> str:
        """The number that an input gives for a row."""
        return f"*{self.frame.pointer[x]}"

    def _set(self, kind: str, name: str, text: str) -> str:
        """Give a number a name; how the number is then written."""
        self.lines.append(f"const {kind} {name} = {text};")
        return name

    def _total(self, e: Expr) -> Text:
        """A sum over the rows, when they are done."""
        name = self.frame.totals[e]
        text = f"{name}[j]" if self.layouts.is_vector(e) else name
        return self._converted(e, text)

    def _converted(self, e: Expr, sum: str) -> Text:
        """A sum, which is computed in double, in the type of its step."""
        kind = self.frame.type(self.frame.dtype(e))
        plain = e.op == "max" or kind == "double"
        return (sum, ATOM) if plain else (f"({kind}){sum}", _UNARY)

    def _add_up(self) -> None:
        """Add to the totals what the row gives, after the last pass that it needs."""
        for e, name in self.frame.totals.items():
            a = e.args[0]
            b, vector = self.layouts.base(a), self.layouts.is_vector(a)
            if self.layouts.is_vector(e):
                continue  # column by column
            passes = int(vector and not self.layouts.is_operand(b))
            if self.at[1] != self.layouts.level_in(b, "rows") + passes:
                continue
            largest = e.op == "max"
            value = self._reduced(e) if vector else self._operand(b, self._sum_type(e))
            self.added.append(
                f"{name} = cr_maximum{self.frame.suffix}({name}, {value});"
                if largest
                else f"{name} += {value};"
            )

    def _sum_type(self, e: Expr) -> np.dtype[Any]:
        return self.frame.low.dtype if e.op == "max" else DOUBLE

    def _reduced(self, e: Expr) -> str:
        """The reduction of a row in memory."""
        b = self.layouts.base(e.args[0])
        at = self.passes.at(b, self.passes.stage_of(e))
        memory = self.frame.in_memory(b, at) or self.frame.tile_of_terms(b, at)
        single = "f" if self.frame.type_of_terms(b) == "float" else ""
        return f"cr_{'max' if e.op == 'max' else 'sum'}{single}({memory}, columns)"

    def _is_stored(self, k: int) -> bool:
        """Whether output k is a number, and known here."""
        layout = self.layouts.of(self.frame.low.outputs[k])
        stage = {"row": "rows", "scalar": "after"}.get(layout)
        return stage is not None and self.at == self.passes.at(self.frame.bases[k], stage)

    # -- a pass over the columns ------------------------------------------------------------------

    def columns(self) -> list[str]:
        """The loop of this pass."""
        frame, passes, layouts = self.frame, self.passes, self.layouts
        compute = [e for e in layouts.order if e in passes.compute[self.at]]
        writes = self._writes()
        uses: Counter[Any] = Counter(b for _, b, _ in writes)
        for e in compute:
            for b in passes.bases(e):
                uses[b] += repeats(e)
        aliased = set(frame.targets.values()) if len(writes) > 1 else set()
        sources = [x for x in frame.low.inputs if layouts.is_vector(x)]
        sources += [e for e in layouts.order if e in passes.reads[self.at] or e in frame.totals]
        for v in sources:
            if uses[v] and layouts.is_vector(v):
                self.texts[v] = self._load(v)
                # loops of one width vectorize best
                other = v not in frame.totals and frame.dtype(v) != frame.low.dtype
                if uses[v] > 1 or v in aliased or other:
                    self._bind(v)
        for e in compute:
            self.texts[e] = self._build(e)
            if uses[e] > 1:
                self._bind(e)
        for target, b, kind in writes:
            self.lines.append(target.format(self._operand(b, kind)))
        return self._loops()

    def _loops(self) -> list[str]:
        return ["#pragma omp simd", *loop(self.lines)]

    def _entry(self, name: str, at: Pass | None = None) -> str:
        """Column j of an operand, or of the tile that a pass writes."""
        return f"{name}[j]"

    def _load(self, v: Expr) -> Text:
        """A value from memory."""
        frame = self.frame
        if v in frame.totals:
            return self._total(v)
        if v.op == "input":
            return self._entry(frame.pointer[v]), ATOM
        if v in self.passes.tiled:
            return self._entry(frame.tile_of_value(v), self.passes.tiled[v]), ATOM
        name = next(frame.out[k] for k in self.passes.store if frame.bases[k] is v)
        return self._entry(name), ATOM

    def _writes(self) -> list[tuple[str, Any, np.dtype[Any]]]:
        """The statements that end a turn of the loop: (text around the value, value, type)."""
        frame, passes, at = self.frame, self.passes, self.at
        found: dict[str, tuple[str, Any, np.dtype[Any]]] = {}

        def write(text: str, b: Any, kind: np.dtype[Any]) -> None:
            found.setdefault(text, (text, b, kind))

        for v, when in passes.tiled.items():
            if when == at:
                write(f"{self._entry(frame.tile_of_value(v), at)} = {{}};", v, frame.dtype(v))
        for b, when in passes.terms:
            if when == at and b not in passes.brought and frame.in_memory(b, at) is None:
                kind = DOUBLE if frame.type_of_terms(b) == "double" else frame.low.dtype
                write(f"{self._entry(frame.tile_of_terms(b, at), at)} = {{}};", b, kind)
        if not passes.beside(at):
            for b, text, kind in self._totals():
                write(text, b, kind)
        for k, when in passes.store.items():
            if when == at and not (passes.beside(at) and passes.is_apart(k)):
                target = f"{self._entry(frame.out[k])} = {{}};"
                write(target, frame.bases[k], frame.dtype_of_output(k))
        return list(found.values())

    def _totals(self) -> Iterator[tuple[Any, str, np.dtype[Any]]]:
        """The totals of columns that this pass adds to: (value, text around it, its type)."""
        for e, name in self.frame.totals.items():
            b = self.layouts.base(e.args[0])
            if not self.layouts.is_vector(e) or self.passes.at(b, "rows") != self.at:
                continue
            if e.op == "max":
                text = f"{name}[j] = cr_maximum{self.frame.suffix}({name}[j], {{}});"
            else:
                text = f"{name}[j] += {{}};"
            yield b, text, self._sum_type(e)

    # -- expressions ------------------------------------------------------------------------------

    def _bind(self, e: Expr) -> None:
        """Give a value a name, unless it has one."""
        frame = self.frame
        name, _ = self._find(e)
        if not re.fullmatch(_NAME, name):
            text, name = name, frame.element(e) if e.op == "input" else frame.local(e)
            name = self._bound(e, name, text)
        self.texts[e] = (name, ATOM)
        if not self.layouts.is_vector(e):
            frame.names[e] = name

    def _bound(self, e: Expr, name: str, text: str) -> str:
        return self._set(self.frame.type(self.frame.dtype(e)), name, text)

    def _find(self, a: Expr) -> Text:
        if a in self.texts:
            return self.texts[a]
        return (self.frame.element(a) if a.op == "input" else self.frame.names[a]), ATOM

    def _atom(self, a: Any) -> str:
        """The name of a value, or a number."""
        if isinstance(a, Expr):
            self._bind(a)
        return self._operand(a, self.frame.dtype(a), _UNARY)

    def _operand(self, a: Any, want: np.dtype[Any], least: int = 0) -> str:
        """An operand in the type `want`, in parentheses if it binds less tightly than `least`."""
        if not isinstance(a, Expr):
            text, precedence = _number(a, want)
        else:
            text, precedence = self._find(a)
            have = self.frame.dtype(a)
            if want == BOOL and have != BOOL:
                text = text if precedence > _EQUALITY else f"({text})"
                text, precedence = f"{text} != 0", _EQUALITY
            elif have != want and not (have == np.float32 and want == DOUBLE):
                text = text if precedence >= _UNARY else f"({text})"
                text, precedence = f"({self.frame.type(want)}){text}", _UNARY
        return text if precedence >= least else f"({text})"

    def _shorten(self, args: Sequence[Any]) -> None:
        """Name the longest operands until the line has a readable length."""
        lengths = {a: len(self._find(a)[0]) for a in args if isinstance(a, Expr)}
        while sum(lengths.values()) > _LONGEST:
            longest = max(lengths, key=lambda a: lengths[a])
            self._bind(longest)
            lengths[longest] = 0

    def _build(self, e: Expr) -> Text:
        """The C expression of a step."""
        if e in self.layouts.reduces:
            if e.op == "max" and self.frame.dtype(e) != self.frame.low.dtype:
                self.layouts.refuse(f"max of {self.frame.dtype(e)}")
            return self._converted(e, self._reduced(e))
        args = self.passes.bases(e)
        if e.op == "one_hot":
            return self._one_hot(e, args[0])
        self._shorten(args)
        dtype = self.frame.dtype(e)
        if e.op in ("cast", "sum", "sum_to", "max"):  # another type is all that is left of it
            return self._operand(args[0], dtype, _UNARY), _UNARY
        if PRIMITIVES[e.op].kind == "test":
            return self._test(e.op, args)
        if dtype == BOOL and e.op in _LOGICAL:
            return self._test(_LOGICAL[e.op], args)
        if dtype.kind != "f" and (e.op not in _INTEGRAL or (dtype == BOOL and e.op != "where")):
            self.layouts.refuse(f"{e.op} of {dtype}")
        if e.op == "where":
            return self._where(args, dtype)
        if e.op in ("maximum", "minimum"):
            return self._extreme(e.op, args, dtype)
        if e.op == "negative":
            text = self._operand(args[0], dtype, _UNARY)
            return f"-({text})" if text.startswith("-") else f"-{text}", _UNARY
        if e.op in _OPERATORS:
            return self._binary(e.op, args, dtype)
        return self._call(e, args, dtype)

    def _call(self, e: Expr, args: Sequence[Any], dtype: np.dtype[Any]) -> Text:
        inside = [self._operand(a, dtype) for a in args] + [str(n) for _, n in e.attrs]
        name = _FUNCTIONS.get(e.op, f"cr_{e.op}") + ("f" if dtype == np.float32 else "")
        return f"{name}({', '.join(inside)})", ATOM

    def _binary(self, op: str, args: Sequence[Any], dtype: np.dtype[Any]) -> Text:
        sign, precedence = _OPERATORS[op]
        left = self._operand(args[0], dtype, precedence)
        right = self._operand(args[1], dtype, precedence + 1)
        if right.startswith("-"):
            if not isinstance(args[1], Expr) and op in ("add", "subtract"):
                sign, right = {"+": "-", "-": "+"}[sign], right[1:]  # the same to the bit
            else:
                right = f"({right})"
        return f"{left} {sign} {right}", precedence

    def _one_hot(self, e: Expr, label: Any) -> Text:
        column = "(int)j" if self.layouts.is_vector(e) else "0"  # of one entry there is no loop
        if not isinstance(label, Expr):
            return f"{column} == {int(label) if label == int(label) else -1}", _EQUALITY
        if self.layouts.is_vector(label):
            return f"{self._atom(label)} == j", _EQUALITY
        return f"{column} == {self.frame.labels[label]}", _EQUALITY

    def _where(self, args: Sequence[Any], dtype: np.dtype[Any]) -> Text:
        for a in args[1:]:  # a load or a function that depends on a condition does not vectorize
            if isinstance(a, Expr) and re.search(r"\[|\w\(", self._find(a)[0]):
                self._bind(a)
        condition = self._operand(args[0], BOOL, _TERNARY + 1)
        yes = self._operand(args[1], dtype, _TERNARY + 1)
        return f"{condition} ? {yes} : {self._operand(args[2], dtype, _TERNARY)}", _TERNARY

    def _extreme(self, op: str, args: Sequence[Any], dtype: np.dtype[Any]) -> Text:
        """Maximum or minimum; NaN if either is."""
        x, bound = args if isinstance(args[0], Expr) else (args[1], args[0])
        if dtype.kind == "f" and (isinstance(bound, Expr) or math.isnan(bound)):
            inside = ", ".join(self._operand(a, dtype) for a in args)
            return f"cr_{op}{'f' if dtype == np.float32 else ''}({inside})", ATOM
        for a in (x, bound):
            if isinstance(a, Expr):
                self._bind(a)
        value, limit = self._operand(x, dtype, _UNARY), self._operand(bound, dtype, _UNARY)
        return f"{value} {'<' if op == 'maximum' else '>'} {limit} ? {limit} : {value}", _TERNARY

    def _test(self, op: str, args: Sequence[Any]) -> Text:
        if op in ("logical_and", "logical_or"):  # & and |, because && and || branch
            sign, precedence = _OPERATORS[op]
            parts = [self._operand(a, BOOL) for a in args]
            parts = [t if t.isidentifier() else f"({t})" for t in parts]
            return f"{parts[0]} {sign} {parts[1]}", precedence
        if op == "logical_not":
            return f"!{self._operand(args[0], BOOL, _UNARY)}", _UNARY
        if op in ("isnan", "isfinite"):
            return self._is(op, args[0])
        kinds = [self.frame.low.dtypes[a] if isinstance(a, Expr) else type(a) for a in args]
        kinds = [BOOL if k is bool else k for k in kinds]
        ufunc: Any = PRIMITIVES[op].numpy
        common = ufunc.resolve_dtypes((*kinds, None))[0]
        sign, precedence = _OPERATORS[op]
        left, right = (self._operand(a, common, precedence + 2) for a in args)
        return f"{left} {sign} {right}", precedence

    def _is(self, op: str, a: Any) -> Text:
        dtype = self.frame.dtype(a)
        if dtype.kind != "f":
            return str(int(op == "isfinite")), ATOM
        if op == "isnan":
            name = self._atom(a)
            return f"{name} != {name}", _EQUALITY
        single = "f" if dtype == np.float32 else ""
        return f"fabs{single}({self._operand(a, dtype)}) < INFINITY", 10


def _number(a: float, want: np.dtype[Any]) -> Text:
    """A constant: the shortest text that gives the number in its type."""
    if want.kind != "f":
        return str(int(bool(a) if want == BOOL else a)), ATOM if a >= 0 else _UNARY
    if math.isnan(a):
        return "NAN", ATOM
    with np.errstate(over="ignore"):
        value = np.float32(a) if want == np.float32 else np.float64(a)
    size = "INFINITY" if math.isinf(value) else f"{abs(value)!s}{'f' if want == np.float32 else ''}"
    negative = math.copysign(1, value) < 0
    return (f"-{size}", _UNARY) if negative else (size, ATOM)
