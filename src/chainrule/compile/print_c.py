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

Rows of few columns fill no vectors, and each waits for its own reductions. Where that costs much,
they are taken sixteen at a time, side by side (`beside_c`), and a second loop takes those that are
left. Both give a row the same bits.

The text is made for ``-O3 -fno-math-errno -fno-trapping-math -fopenmp-simd -ffp-contract=off`` and
never for ``-ffast-math``: NaN, infinity and subnormals are those of the formula.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chainrule.compile.beside_c import Beside
from chainrule.compile.frame_c import BESIDE, Frame, Operand
from chainrule.compile.lines_c import Lines, indented, loop
from chainrule.compile.lower import Lowered, Shape
from chainrule.compile.passes import AFTER, BEFORE, ROWS, STAGES
from chainrule.compile.print_numpy import function_name

__all__ = ["CText", "Operand", "print_c"]

_EVERY = "for (ptrdiff_t i = 0; i < rows; i++) {"
_SIXTEEN = "for (; columns < {} && i + 16 <= rows; i += 16) {{"
_OTHERS = "for (; i < rows; i++) {"
_FIRST = [
    "/* Sixteen at a time, side by side: entry j of row l stands in a tile at [16 * j + l]. */",
    "ptrdiff_t i = 0;",
]
_WIDTH = "const ptrdiff_t width = {};"  # the columns that a tile has room for
_STEPS = r"    \w+ \+= step\[\d+\](, \w+ \+= step\[\d+\])*;"  # from a row to the next
_ROUNDED, _TURNED = "(columns + 15) / 16 * 16", "16 * columns"


@dataclass(frozen=True)
class CText:
    """A kernel as C.

    Attributes:
        name: the function's name: that of the program and the hash of the source.
        source: the function, without the prelude ``math.h``.
        operands: the inputs in order, then the outputs that have memory of their own.
        tiles: how many tiles it has in scratch memory; see `scratch`.
        narrow: it takes rows of fewer columns than this sixteen at a time.
        apart: of "rows" and "columns", those of which each is computed by itself.
        flat: all operands are full or single numbers and nothing is reduced, so that arrays
            without gaps may be given as a single row.
    """

    name: str
    source: str
    operands: tuple[Operand, ...]
    tiles: int
    flat: bool
    narrow: int = 0
    apart: tuple[str, ...] = ()

    def scratch(self, columns: int) -> int:
        """How many rows of scratch memory it needs, each of 8 bytes a column, with the columns
        rounded up to 16."""
        return self.tiles * (BESIDE if columns < self.narrow else 1)

    def along(self, rows: int) -> str:
        """What the work may be shared out by, "rows" or "columns"; "none" if by neither."""
        few = [way for way in self.apart if way != "rows" or rows >= 2 * BESIDE]
        return few[0] if few else "none"

    def body(self, rows: int, columns: int, beside: bool = True) -> list[str]:
        """The lines of the function for so many rows and columns, without a loop that is not
        entered, or not repeated, and without the tiles that only such a loop has.

        Arguments:
            beside: False for the loop that takes rows one by one, also where the function takes
                them sixteen at a time: it gives the same bits and is easier to read.
        """
        inside = self.source.partition("\n{\n")[2].split("\n")[:-2]
        lines = [line[4:] for line in inside]
        if self.narrow:
            lines = self._one_loop(lines, rows, columns, beside)
        if rows == 1 and _EVERY in lines:
            first = lines.index(_EVERY)
            last = lines.index("}", first)
            once = [k[4:] for k in lines[first + 1 : last] if not re.fullmatch(_STEPS, k)]
            lines[first : last + 1] = once
        return lines

    def _one_loop(self, lines: list[str], rows: int, columns: int, beside: bool) -> list[str]:
        first, head, others = (
            lines.index(line) for line in (_FIRST[0], _SIXTEEN.format(self.narrow), _OTHERS)
        )
        turned = beside and columns < self.narrow
        if not turned or rows < BESIDE:
            lines[first : others + 1] = [_EVERY]
        elif rows % BESIDE:
            lines[head] = "for (; i + 16 <= rows; i += 16) {"
        else:
            lines[others : lines.index("}", others) + 1] = []
            lines[first + 1 : head + 1] = ["for (ptrdiff_t i = 0; i < rows; i += 16) {"]
        width = _TURNED if turned else _ROUNDED
        lines = [_WIDTH.format(width) if line == _width(self.narrow) else line for line in lines]
        for k in reversed(range(len(lines))):
            declared = re.fullmatch(r"(const ptrdiff_t |\w+ \*)(width|tile\d*) = .*", lines[k])
            if declared and not re.search(rf"\b{declared[2]}\b", "\n".join(lines[k + 1 :])):
                del lines[k]
        return lines


def print_c(
    low: Lowered, into: Mapping[int, int] | None = None, space: Shape | None = None
) -> CText:
    """The C text of a program of one space.

    Arguments:
        low: the program. Of its shapes only how each lies in the space counts: the text serves
            every number of rows and columns (a single row has a text of its own).
        into: output position -> position of the input whose memory receives it. Such an output
            is no operand of its own. The operands must not overlap otherwise.
        space: the shape of the space, rows and columns; the largest array's if not given.

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
    >>> low = lower(sgd, [((2, 3), f), ((2, 3), f), ((), f)])
    >>> print(print_c(low, into={0: 0}).source)  # doctest: +ELLIPSIS
    CR_EXPORT void sgd_...(
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
    frame = Frame(low, dict(into or {}), space)
    name = function_name(low.name)[:60]
    rest = "(\n    ptrdiff_t rows, ptrdiff_t columns,\n"
    rest += "    void *const *operand, const ptrdiff_t *step, void *scratch)\n"
    body, narrow = _body(frame)
    rest += "\n".join(["{", *(f"    {line}" for line in body), "}", ""])
    name += "_" + hashlib.sha256((name + rest).encode()).hexdigest()[:16]
    flat = (
        all(o.layout in ("full", "scalar") for o in frame.operands)
        and not frame.layouts.reduces
        and all(e.op != "one_hot" for e in frame.layouts.order)
    )
    source = f"CR_EXPORT void {name}{rest}"
    operands = tuple(frame.operands)
    return CText(name, source, operands, frame.tiles, flat, narrow, _apart(frame))


def _apart(frame: Frame) -> tuple[str, ...]:
    """Whether rows, and columns, are computed each by itself, into memory of its own."""
    layouts = frame.layouts
    over = set(layouts.reduces.values())
    written = {o.layout for o in frame.operands if o.written}
    rows = not over & {"rows", "all"} and written <= {"full", "row"}
    columns = not over & {"columns", "all"} and written <= {"full", "column"}
    if any(e.op == "one_hot" for e in layouts.order):
        columns = False  # it tells a column by its number
    return ("rows",) * rows + ("columns",) * columns


def _body(frame: Frame) -> tuple[list[str], int]:
    before = _stage(frame, BEFORE)
    beside = frame.beside()
    inside, block = _stage(frame, ROWS), _stage(beside, ROWS) if beside else []
    narrow = beside.narrow if beside else 0
    lines = _pointers(frame)
    if frame.tiles > 1:
        lines.append(_width(narrow))
    lines += [*frame.declared, *before]
    if frame.cleared:
        lines += loop(frame.cleared)
    if beside:
        arrays = [f"{kind} {', '.join(names)};" for kind, names in beside.numbers.items()]
        block = [*arrays, *block, *_steps(frame, f"{BESIDE} * ")]
        lines += [*_FIRST, *indented(_SIXTEEN.format(narrow), block)]
        lines += indented(_OTHERS, [*inside, *_steps(frame)])
    elif inside:
        lines += indented(_EVERY, [*inside, *_steps(frame)])
    return [*lines, *_stage(frame, AFTER)], narrow


def _width(narrow: int) -> str:
    both = f"columns < {narrow} ? {_TURNED} : {_ROUNDED}"
    return _WIDTH.format(both if narrow else _ROUNDED)


def _stage(frame: Frame, stage: int) -> list[str]:
    """Numbers that are known, a pass over the columns, numbers known after it, and so on."""
    layouts, roots = frame.layouts, frame.passes.roots
    kind = Beside if layouts.beside else Lines
    levels = [at[1] for at in roots if at[0] == stage]
    levels += [
        layouts.level[e]
        for e in layouts.order
        if STAGES[layouts.stage[e]] == stage and not layouts.is_vector(e)
    ]
    lines = []
    for n in range(max(levels, default=-1) + 2):
        lines += kind(frame, (stage, n)).numbers()
        if (stage, n) in roots:
            lines += kind(frame, (stage, n)).columns()
    return lines


def _pointers(frame: Frame) -> list[str]:
    """The operands under their names; numbers of the whole are read at once."""
    lines = []
    for n, o in enumerate(frame.operands):
        if not frame.is_used(n):
            continue
        kind = frame.memory(o.dtype)
        number = n < len(frame.low.inputs) and o.layout == "scalar"
        if number and not o.written:
            lines.append(f"const {frame.type(o.dtype)} {o.name} = *(const {kind} *)operand[{n}];")
            continue
        lines.append(f"{'' if o.written else 'const '}{kind} *{o.name} = operand[{n}];")
        if number and (x := frame.low.inputs[n]) in frame.read:
            lines.append(f"const {frame.type(o.dtype)} {frame.element(x)} = *{o.name};")
    return lines


def _steps(frame: Frame, times: str = "") -> list[str]:
    """From one row to the next, or so many rows on."""
    lines: list[str] = []
    for n, o in enumerate(frame.operands):
        if o.layout not in ("full", "row") or not frame.is_used(n):
            continue
        text = f"{o.name} += {times}step[{n}]"
        if lines and len(lines[-1]) + len(text) < 80:
            lines[-1] += f", {text}"
        else:
            lines.append(text)
    return [f"{line};" for line in lines]
