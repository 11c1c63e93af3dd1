"""Print an element-wise program as one C function.

The function runs over a space of rows and columns. An operand is a pointer and a row stride, given
at each call, and a column stride of 0 or 1, fixed in the text:

    ======  ========  ==========  =============
    layout  shape     row stride  column stride
    ======  ========  ==========  =============
    full    (R, C)    C or more   1
    row     (R, 1)    1 or more   0
    column  (C,)      0           1
    scalar  ()        0           0
    ======  ========  ==========  =============

Every turn of the inner loop reads its operands into typed locals before it writes anything, so an
output may lie in the memory of an input. Outputs have a value per row and column, or are sums over
the rows (the gradient of a bias), which are added up in place. Rows are not reduced: softmax is not
of this form.

The text is made for ``-O3 -fno-math-errno -fno-trapping-math -fopenmp-simd -ffp-contract=off`` and
never for ``-ffast-math``: NaN, infinity and subnormals are those of the formula.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.compile.expression import Expr, Program
from chainrule.compile.lower import Lowered, Shape, lower
from chainrule.compile.print_numpy import function_name
from chainrule.compile.schedule import kind_of

__all__ = ["print_c"]

#: One text per primitive: {0}, {1}, {2} are operands, {f} is the suffix of the type's functions.
_TEXTS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "abs": "fabs{f}({0})",
    "sign": "{0} > 0 ? 1 : {0} < 0 ? -1 : {0} == 0 ? 0 : {0}",
    "floor": "floor{f}({0})",
    "sqrt": "sqrt{f}({0})",
    "exp": "exp{f}({0})",
    "expm1": "expm1{f}({0})",
    "log": "log{f}({0})",
    "log1p": "log1p{f}({0})",
    "sin": "sin{f}({0})",
    "cos": "cos{f}({0})",
    "tanh": "tanh{f}({0})",
    "sigmoid": "sigmoid({0})",
    "erf": "erf{f}({0})",
    "lgamma": "lgamma{f}({0})",
    "pow": "pow{f}({0}, {1})",
    "maximum": "({0} >= {1} || {0} != {0}) ? {0} : {1}",
    "minimum": "({0} <= {1} || {0} != {0}) ? {0} : {1}",
    "where": "{0} ? {1} : {2}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "isnan": "{0} != {0}",
    "isfinite": "{0} - {0} == 0",
    "logical_and": "{0} && {1}",
    "logical_or": "{0} || {1}",
    "logical_not": "!{0}",
    "broadcast_to": "{0}",
    "full": "{0}",
    "cast": "{0}",
    "copy": "{0}",
}

_SIGMOID = """
static inline {real} sigmoid({real} x)
{{
    const {real} e = exp{f}(-fabs{f}(x));
    return (x >= 0 ? 1 : e) / (1 + e);
}}
"""

#: What an argument must not be called: keywords of C and the text's own names.
_TAKEN = frozenset({
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else",
    "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
    "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef",
    "union", "unsigned", "void", "volatile", "while", "rows", "columns", "i", "j", "sigmoid",
})  # fmt: skip


def print_c(
    program: Program,
    shapes: Sequence[Shape],
    dtype: Any = np.float32,
    into: Mapping[int, int] | None = None,
) -> str:
    """The C text of an element-wise program.

    Arguments:
        program: what to compute.
        shapes: example shapes of the inputs. Only how each lies in the space counts: the text
            serves every number of rows and columns.
        dtype: numpy.float32 or numpy.float64, the type of everything but tests.
        into: output position -> position of the input whose memory receives it. Such an output
            has no argument of its own. The arguments must not overlap otherwise.

    Returns:
        A function ``void name(ptrdiff_t rows, ptrdiff_t columns, …)`` that takes each input as
        ``const real *x, ptrdiff_t x_step`` and then each output in the same way; an output that is
        a test is ``unsigned char``. A step is a row stride in elements. A contiguous array with
        operands of its own shape and scalars only is best given as a single row.

    Raises:
        TypeError: for another dtype.
        NotImplementedError: for a program that is not element-wise, naming the operation.

    >>> from chainrule.compile.trace import trace
    >>> sgd = trace(lambda xp, p, g, lr: p - lr * g, ["p", "g", "lr"], "sgd")
    >>> print(print_c(sgd, [(2, 3), (2, 3), ()], into={0: 0}))
    #include <math.h>
    #include <stddef.h>
    <BLANKLINE>
    void sgd(ptrdiff_t rows, ptrdiff_t columns,
        float *p, ptrdiff_t p_step,
        const float *g, ptrdiff_t g_step,
        const float *lr, ptrdiff_t lr_step)
    {
        for (ptrdiff_t i = 0; i < rows; i++) {
            float *p_i = p + i * p_step;
            const float *g_i = g + i * g_step;
            const float lr_ = lr[i * lr_step];
            #pragma omp simd
            for (ptrdiff_t j = 0; j < columns; j++) {
                const float p_ = p_i[j];
                const float g_ = g_i[j];
                const float t0 = lr_ * g_;
                const float t1 = p_ - t0;
                p_i[j] = t1;
            }
        }
    }
    <BLANKLINE>
    """
    dtype = np.dtype(dtype)
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"print_c: expected dtype float32 or float64, got {dtype}")
    low = lower(program, [(tuple(s), dtype) for s in shapes])
    return _Printer(low, dtype == np.float32, dict(into or {})).text()


class _Printer:
    def __init__(self, low: Lowered, single: bool, into: dict[int, int]) -> None:
        self.low, self.single = low, single
        self.real, self.suffix = ("float", "f") if single else ("double", "")
        self.order = low.order()
        everything = [*low.inputs, *self.order]
        full = max((low.shapes[e] for e in everything), key=math.prod, default=())
        self.full = full if len(full) > 1 else (1, *full)
        self.taken = {*_TAKEN, *(text.split("{")[0] + self.suffix for text in _TEXTS.values())}
        self.function = self.name(function_name(low.name))
        self.pointers = {x: self.name(str(x)) for x in low.inputs}
        self.values = {x: self.name(f"{p}_") for x, p in self.pointers.items()}
        self.targets = {low.inputs[j] for j in into.values()}
        many = len(low.outputs) > 1
        #: (pointer, value) of every output
        self.outputs = [
            (self.pointers[low.inputs[into[k]]], o)
            if k in into
            else (self.name(f"out{k}" if many else "out"), o)
            for k, o in enumerate(low.outputs)
        ]
        self.own = [n for k, (n, _) in enumerate(self.outputs) if k not in into]
        self.rows = {n: self.name(f"{n}_i") for n in [*self.pointers.values(), *self.own]}
        for k, (name, o) in enumerate(self.outputs):
            if k in into and (
                self.is_sum(o) or low.shapes[low.inputs[into[k]]] != low.shapes.get(o, ())
            ):
                self.refuse(f"output {k} that cannot be written into {name}")
            if not self.is_sum(o) and self.layout(o) != "full":
                self.refuse(f"an output of shape {low.shapes.get(o, ())}")

    def name(self, wish: str) -> str:
        while wish in self.taken:
            wish += "_"
        self.taken.add(wish)
        return wish

    def refuse(self, what: str) -> None:
        raise NotImplementedError(
            f"{self.low.name} cannot be printed as C: it has {what}. A C kernel is element-wise "
            f"over {self.full}; its outputs have that shape or are sums over the rows"
        )

    def layout(self, a: Any) -> str:
        shape = self.low.shapes.get(a, ())
        if self.full == (1, *shape) and shape:
            return "full"
        found = kind_of(shape, self.full)
        if found is None:
            self.refuse(f"an array of shape {shape}")
        return str(found)

    def is_sum(self, o: Any) -> bool:
        """A sum over the rows."""
        return (
            isinstance(o, Expr)
            and o.op in ("sum", "sum_to")
            and self.layout(o) == "column"
            and self.layout(o.args[0]) == "full"
        )

    def type(self, e: Any) -> str:
        return "int" if self.low.dtypes.get(e) == np.bool_ else self.real

    def memory(self, o: Any) -> str:
        return "unsigned char" if self.type(o) == "int" else self.real

    def text(self) -> str:
        sums = [name for name, o in self.outputs if self.is_sum(o)]
        outer, inner = [], []
        read = {a for e in (*self.order, *self.low.outputs) for a in getattr(e, "args", ())}
        for x, pointer in self.pointers.items():
            value, row = self.values[x], self.rows[pointer]
            const = "" if x in self.targets else "const "
            if self.layout(x) in ("full", "column"):
                if x in read or x in self.targets:
                    step = f"{pointer} + i * {pointer}_step"
                    outer.append(f"{const}{self.real} *{row} = {step};")
                if x in read:
                    inner.append(f"const {self.real} {value} = {row}[j];")
            elif x in read:
                outer.append(f"const {self.real} {value} = {pointer}[i * {pointer}_step];")
        for name, o in self.outputs:
            if name in self.own:
                outer.append(f"{self.memory(o)} *{self.rows[name]} = {name} + i * {name}_step;")
        inner += self.steps()
        for name, o in self.outputs:
            added = self.is_sum(o)
            value = self.operand(o.args[0] if added else o)
            inner.append(f"{self.rows[name]}[j] {'+=' if added else '='} {value};")
        return "\n".join(
            [
                "#include <math.h>",
                "#include <stddef.h>",
                *self.helpers(),
                "",
                f"void {self.function}({self.parameters()})",
                "{",
                *(
                    line
                    for name in sums
                    for line in (
                        "    for (ptrdiff_t j = 0; j < columns; j++)",
                        f"        {name}[j] = 0;",
                    )
                ),
                "    for (ptrdiff_t i = 0; i < rows; i++) {",
                *(f"        {line}" for line in outer),
                "        #pragma omp simd",
                "        for (ptrdiff_t j = 0; j < columns; j++) {",
                *(f"            {line}" for line in inner),
                "        }",
                "    }",
                "}",
                "",
            ]
        )

    def helpers(self) -> list[str]:
        used = any(e.op == "sigmoid" for e in self.order)
        text = _SIGMOID.format(real=self.real, f=self.suffix)
        return text.rstrip("\n").split("\n") if used else []

    def parameters(self) -> str:
        lines = ["ptrdiff_t rows, ptrdiff_t columns"]
        for x, pointer in self.pointers.items():
            const = "" if x in self.targets else "const "
            lines.append(f"{const}{self.real} *{pointer}, ptrdiff_t {pointer}_step")
        for name, o in self.outputs:
            if name in self.own:
                lines.append(f"{self.memory(o)} *{name}, ptrdiff_t {name}_step")
        return ",\n    ".join(lines)

    def steps(self) -> list[str]:
        """One typed local per step."""
        lines = []
        count = 0
        for e in self.order:
            self.layout(e)
            if self.is_sum(e) and all(e not in later.args for later in self.order):
                continue
            text = _TEXTS.get(e.op)
            if text is None:
                self.refuse(f"the operation {e.op}")
                continue
            args = [self.operand(a) for a in e.args]
            while (name := f"t{count}") in self.taken:
                count += 1
            self.values[e] = self.name(name)
            value = text.format(*args, f=self.suffix)
            lines.append(f"const {self.type(e)} {self.values[e]} = {value};")
        return lines

    def operand(self, a: Any) -> str:
        if isinstance(a, Expr):
            return self.values[a]
        if math.isnan(a):
            return "NAN"
        with np.errstate(over="ignore"):
            value = np.float32(a) if self.single else float(a)
        if math.isinf(value):
            return "INFINITY" if value > 0 else "-INFINITY"
        return f"{value!s}{self.suffix}"
