"""A captured step as text: the C program that runs, put together so that a person can read it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from chainrule.compile.frame_c import BESIDE
from chainrule.compile.place import ARGUMENT, LIVE, RESULT, WORKSPACE, Instruction, Ref
from chainrule.compile.replay import Replay

__all__ = ["show_c", "show_numpy"]

_C = {
    "float32": "float", "float64": "double", "bool": "unsigned char", "int64": "int64_t",
    "int32": "int32_t", "int16": "int16_t", "int8": "int8_t", "uint8": "uint8_t",
    "uint16": "uint16_t", "uint32": "uint32_t", "uint64": "uint64_t",
}  # fmt: skip


_SIMD = "#pragma omp simd"
_DECLARED = rf"(?:const )?(?:{'|'.join({*_C.values(), 'int', 'ptrdiff_t'})}) "

#: A part of a live array.
Place: TypeAlias = tuple[int, int, tuple[int, ...]]
_WIDEST = 104  # of a line of declarations


@dataclass
class _Pointer:
    """The declaration of a place in memory."""

    kind: str  # its type in C
    name: str
    base: str
    home: tuple[int, int]  # the space and the number of the array that it is in
    offset: int  # in entries
    shape: tuple[int, ...]


def show_c(replay: Replay, names: Mapping[Place, str], title: str) -> str:
    """The C text of a captured step.

    Arguments:
        names: (number of a live array, first entry, shape) -> name.
        title: the name of the step.
    """
    return _Text(replay, names, title).text()


def show_numpy(replay: Replay) -> str:
    """The NumPy text of a captured step: its calls, and the kernels that they call."""
    parts = [replay.steps.source]
    for name, kernel in replay.steps.kernels.items():
        for signature in list(kernel._plans)[:1]:
            source = kernel.printed(signature).replace("def ", f"def {name}_as_numpy: # ", 0)
            parts.append(source)
    return "\n".join(parts)


class _Text:
    def __init__(self, replay: Replay, names: Mapping[Place, str], title: str) -> None:
        assert replay.layout is not None
        self.replay, self.layout = replay, replay.layout
        self.graph = self.layout.graph
        self.given, self.title = names, title
        self.names: dict[tuple[Ref, str], str] = {}
        self.current: dict[Ref, str] = {}
        self.taken = {"i", "j", "scratch", "workspace", "rows", "columns", title}
        self.declared: list[_Pointer] = []
        for i in self.layout.instructions:  # what the kernels call their own values
            if i.text is not None:
                self.taken.update(re.findall(r"\b[A-Za-z_]\w*", i.text.source))
        self.arguments = [f"x{k + 1}" for k in range(len(replay.recorder.arguments))]
        self.taken.update(self.arguments)

    def text(self) -> str:
        body: list[str] = []
        for i in self.layout.instructions:
            lines = self.instruction(i)
            if i.kind == "kernel" and body and body[-1].startswith("cblas"):
                lines = lines[1:]  # what is done to a product stands below it
            body += lines
        return "\n".join(
            [
                *self.head(),
                f"void {self.title}({', '.join(self.parameters())})",
                "{",
                *(f"    {line}" for line in declarations(self.declared)),
                *(f"    {line}".rstrip() for line in body),
                "}",
                "",
            ]
        )

    # -- around it --------------------------------------------------------------------------------

    def head(self) -> list[str]:
        r = self.replay.recorder
        shapes = [
            f"{n}: {_kind(a.shape, a.dtype)}"
            for n, a in zip(self.arguments, r.arguments, strict=True)
        ]
        results = [
            f"result{k}: {_kind(shape, dtype)}"
            for k, (_, shape, dtype) in enumerate(self.layout.results)
        ]
        kernels = sum(i.kind == "kernel" for i in self.layout.instructions)
        products = sum(i.kind == "product" for i in self.layout.instructions)
        return [
            f"/* {self.title}: {products} products and {kernels} kernels; "
            f"{self.layout.workspace / 1024:.0f} KB of workspace",
            f" * takes {', '.join(shapes)}",
            f" * gives {', '.join(results) or 'nothing'}",
            " * live[k] is memory that lasts: parameters, gradients, the state of the optimizer",
            *self.notes(),
            " */",
            "",
        ]

    def notes(self) -> list[str]:
        """Where what runs is faster and longer than what is shown."""
        found = [f" * loops over j run in vectors ({_SIMD})"]
        beside = any(
            i.text is not None and i.details[0] >= BESIDE and i.details[1] < i.text.narrow
            for i in self.layout.instructions
        )
        if beside:
            found.append(" * short rows run sixteen side by side, with the bits of one by one")
        return found

    def parameters(self) -> list[str]:
        r = self.replay.recorder
        found = [
            f"const {_C[str(a.dtype)]} *{n}"
            for n, a in zip(self.arguments, r.arguments, strict=True)
        ]
        found += [
            f"{_C[str(np.dtype(dtype))]} *result{k}"
            for k, (_, _, dtype) in enumerate(self.layout.results)
        ]
        return [*found, "void *const *live", "char *workspace", "void *scratch"]

    # -- memory -----------------------------------------------------------------------------------

    def name(
        self,
        ref: Ref,
        dtype: Any,
        wish: str,
        shape: Any = None,
        owner: str = "",
        writes: bool = False,
    ) -> str:
        """The name of a place in memory, declared at first use; in the workspace it is that of what
        was written there last."""
        if ref[0] == WORKSPACE:
            if not writes and ref in self.current:
                return self.current[ref]
            name = self.current[ref] = self.place(ref, dtype, wish, shape, owner)
            return name
        return self.place(ref, dtype, wish, shape, owner)

    def place(self, ref: Ref, dtype: Any, wish: str, shape: Any, owner: str) -> str:
        space, index, offset = ref
        c = _C[str(np.dtype(dtype))]
        size = np.dtype(dtype).itemsize
        if space == ARGUMENT and offset == 0:
            return self.arguments[index]
        if space == RESULT and offset == 0:
            return f"result{index}"
        place = (wish if space == WORKSPACE else "", tuple(shape or ()))
        key = (ref, f"{c} {place}")
        if key in self.names:
            return self.names[key]
        if space == LIVE:
            known = self.given.get((index, offset // size, tuple(shape or ())))
            wish = known or (f"{owner}_{wish}" if owner else wish)
            base = f"({c} *)live[{index}] + {offset // size}" if offset else f"live[{index}]"
        elif space == WORKSPACE:
            base = f"({c} *)(workspace + {offset})"
        else:
            home = self.arguments[index] if space == ARGUMENT else f"result{index}"
            base = f"{home} + {offset // size}"
        name = self.names[key] = self.fresh(wish)
        kind = f"const {c}" if space == ARGUMENT else c
        self.declared.append(
            _Pointer(kind, name, base, (space, index), offset // size, tuple(shape or ()))
        )
        return name

    def fresh(self, wish: str) -> str:
        wish = re.sub(r"\W", "_", wish) or "t"
        name, n = wish, 0
        while name in self.taken:
            n += 1
            name = f"{wish}{n}"
        self.taken.add(name)
        return name

    def wish(self, e: Any) -> str:
        return str(self.graph.hints.get(e, "t"))

    # -- instructions -----------------------------------------------------------------------------

    def instruction(self, i: Instruction) -> list[str]:
        found: list[str] = getattr(self, f"_{i.kind}")(i)
        return found

    def _kernel(self, i: Instruction) -> list[str]:
        assert i.text is not None
        rows, columns, steps = i.details
        group = i.node
        pointers = []
        over = []
        for operand, ref in zip(i.text.operands, i.refs, strict=True):
            place = self.value_at(ref, group)
            wish = self.wish(place) if place is not None else operand.name
            shape = self.graph.shapes.get(place) if place is not None else None
            if place is not None and place.op == "count":
                wish = "n"
            owner = group.formulas[-1] if group.formulas else ""
            known = wish if wish != "t" else operand.name
            made = {"full": "d" if owner.endswith("_vjp") else "y"}.get(operand.layout, "t")
            if operand.written and known.startswith("out"):
                known = made
            inside = operand.written and ref[0] == WORKSPACE and place in group.operands
            writes = operand.written and not inside
            pointers.append(self.name(ref, operand.dtype, known, shape, owner, writes))
            if inside:  # another value from here on, with a name of its own
                new = next(e for e in group.outputs if self.layout.ref(e) == ref)
                wish = self.wish(new)
                known = made if wish == "t" else wish
                name = self.name(ref, operand.dtype, known, shape, owner, True)
                over += [f"{name} over {pointers[-1]}"] if name != pointers[-1] else []
        text = "\n".join(sorted_operands(i.text.body(rows, columns, beside=False)))
        text = re.sub(r"\boperand\[(\d+)\]", lambda m: pointers[int(m[1])], text)
        text = re.sub(r"\*\((const )?\w+ \*\)(\w+)([;,])", r"*\2\3", text)
        text = re.sub(r"\bstep\[(\d+)\]", lambda m: str(steps[int(m[1])]), text)
        text = re.sub(r"\brows\b", str(rows), text)
        text = re.sub(r"\bcolumns\b", str(columns), text)
        shown = [line for line in text.split("\n") if line.strip() != _SIMD]
        lines = [f"    {line}" for line in joined(shown)]
        title = "; ".join([formulas(group.formulas), *over])
        return ["", f"{{   /* {title} */", *lines, "}"]

    def value_at(self, ref: Ref, group: Any) -> Any:
        for e in (*group.operands, *group.outputs):
            if self.layout.ref(e) == ref:
                return e
        return None

    def _product(self, i: Instruction) -> list[str]:
        ta, tb, m, n, k, lda, ldb, ldc, dtype = i.details
        left, right = i.node.args
        if ta:
            left = left.args[0]
        if tb:
            right = right.args[0]
        a = self.name(i.refs[0], dtype, self.wish(left), self.graph.shapes[left])
        b = self.name(i.refs[1], dtype, self.wish(right), self.graph.shapes[right])
        c = self.name(i.refs[2], dtype, self.wish(i.node), self.graph.shapes[i.node], "", True)
        letter = "s" if dtype == np.float32 else "d"
        trans = ["CblasTrans" if t else "CblasNoTrans" for t in (ta, tb)]
        shown = f"{a}{'ᵀ' if ta else ''} {b}{'ᵀ' if tb else ''}"
        return [
            "",
            f"/* {c} = {shown}: ({m}, {k}) ({k}, {n}) */",
            f"cblas_{letter}gemm(CblasRowMajor, {trans[0]}, {trans[1]}, {m}, {n}, {k}, 1, "
            f"{a}, {lda}, {b}, {ldb}, 0, {c}, {ldc});",
        ]

    def _copy(self, i: Instruction) -> list[str]:
        size, shape, to, source = i.details
        dtype = {1: np.bool_, 4: np.float32, 8: np.float64}[size]
        a = self.name(i.refs[0], dtype, "t", None, "", True)
        b = self.name(i.refs[1], dtype, "t")
        letters = [f"i{k}" for k in range(len(shape))]
        loops = "".join(
            f"for (ptrdiff_t {v} = 0; {v} < {n}; {v}++) "
            for v, n in zip(letters, shape, strict=True)
        )

        def index(strides: Any) -> str:
            terms = [
                v if s == size else f"{s // size} * {v}"
                for v, s in zip(letters, strides, strict=True)
                if s
            ]
            return " + ".join(terms) or "0"

        return ["", "/* copy */", f"{loops}{a}[{index(to)}] = {b}[{index(source)}];"]

    def _several(self, i: Instruction) -> list[str]:
        return [line for part in i.details for line in self.instruction(part)]

    def _gather(self, i: Instruction) -> list[str]:
        dtype, rows, columns, lead, kind, count, step, _ = i.details
        table = next(t for t in i.node.args[1:] if self.layout.ref(t) == i.refs[1])
        source = self.name(i.refs[1], dtype, self.wish(table), (rows, columns))
        codes, column = self.part(i.refs[2], i.node.args[0], kind)
        out, first = self.part(i.refs[0], i.node, dtype, first_writes=True)
        return [
            "",
            f"/* {out}{_column(first)}: the rows of {source} at {codes}{_column(column)} */",
            f"for (ptrdiff_t i = 0; i < {count}; i++)",
            f"    memcpy({out} + {_entry(lead, first)}, {source} + {columns} * "
            f"(int){codes}[{_entry(step // kind.itemsize, column)}], {columns} * sizeof *{out});",
        ]

    def _scatter(self, i: Instruction) -> list[str]:
        dtype, rows, columns, lead, kind, count, step, padding = i.details
        g, first = self.part(i.refs[1], i.node.args[0], dtype)
        codes, column = self.part(i.refs[2], i.node.args[1], kind)
        out = self.name(i.refs[0], dtype, self.wish(i.node), (rows, columns), "", True)
        code = f"(int){codes}[{_entry(step // kind.itemsize, column)}]"
        but = f" && {code} != {padding}" if padding >= 0 else ""
        return [
            "",
            f"/* {out}: at {codes}{_column(column)} the sums of the rows of {g}{_column(first)};",
            " * they are added in double */",
            f"memset({out}, 0, {rows * columns} * sizeof *{out});",
            f"for (ptrdiff_t i = 0; i < {count}; i++)",
            f"    for (ptrdiff_t j = 0; j < {columns}{but}; j++)",
            f"        {out}[{columns} * {code} + j] += {g}[{_entry(lead, first)} + j];",
        ]

    def part(self, ref: Ref, e: Any, dtype: Any, first_writes: bool = False) -> tuple[str, int]:
        """The name of the array that holds a place, and how many entries the place is from its
        beginning."""
        whole = self.layout.ref(e)
        first = (ref[2] - whole[2]) // np.dtype(dtype).itemsize
        writes = first_writes and not first
        return self.name(whole, dtype, self.wish(e), self.graph.shapes[e], "", writes), first

    def _random(self, i: Instruction) -> list[str]:
        k, p, shape = i.details
        mask = self.name(i.refs[0], np.bool_, "keep", shape, "", True)
        return [
            "",
            f"/* {mask}: {math.prod(shape)} bits, true with probability {p:g}: Philox, draw {k} */",
            f"random_bits({mask}, {math.prod(shape)}, {p!r}, {k});",
        ]

    def _host(self, i: Instruction) -> list[str]:
        (function, _, _), kinds = i.details
        names = [
            self.name(ref, dtype, "t", shape)
            for ref, (dtype, shape) in zip(i.refs, kinds, strict=True)
        ]
        name = getattr(function, "__name__", "call").lstrip("_")
        return ["", f"numpy_{name}({', '.join(names)});  /* done by NumPy */"]

    def _finite(self, i: Instruction) -> list[str]:
        name = self.name(i.refs[0], i.details[0], self.wish(i.node))
        return [
            "",
            f"if (!isfinite(*{name}))",
            "    return;  /* the step itself runs, and says what is wrong */",
        ]


def declarations(pointers: list[_Pointer]) -> list[str]:
    """The places in memory: those of a kind together, in their order, with their shapes."""
    first: dict[tuple[str, tuple[int, int]], _Pointer] = {}
    order = sorted(pointers, key=lambda p: (p.home[0] != LIVE, p.kind, p.home))
    live = [p for p in order if p.home[0] == LIVE]
    live.sort(key=lambda p: (p.kind, p.home, p.offset))
    homes = [p.home for p in pointers]
    lines: list[str] = []
    line, shapes, last = "", list[str](), (-1, -1)
    for p in [*live, *order[len(live) :]]:
        start = first.setdefault((p.kind, p.home), p)
        base = p.base
        if p.home[0] == LIVE and p is not start:  # so many entries further than the first
            further = p.offset - start.offset
            base = f"{start.name} + {further}" if further else start.name
        kind = f"{p.kind} *"
        more = f"{line}, *{p.name} = {base}"
        known = [*shapes, _shape(p.shape)] if p.shape else shapes
        apart = p.home != last and max(homes.count(p.home), homes.count(last)) > 2
        if apart or not line.startswith(kind) or len(_declaration(more, known)) > _WIDEST:
            lines += [_declaration(line, shapes)] if line else []
            more, known = f"{kind}{p.name} = {base}", [_shape(p.shape)] if p.shape else []
        line, shapes, last = more, known, p.home
    return [*lines, _declaration(line, shapes)] if line else lines


def _declaration(line: str, shapes: list[str]) -> str:
    return f"{line};" + (f"  /* {', '.join(shapes)} */" if shapes else "")


def sorted_operands(lines: list[str]) -> list[str]:
    """The declarations of operands: what is read, what is written, and single numbers.

    >>> sorted_operands(["float *x = operand[1];", "const float a = *(const float *)operand[2];",
    ...                  "const float *z = operand[0];", "double total = 0;"])[:2]
    ['const float *z = operand[0];', 'float *x = operand[1];']
    """
    first = next((k for k, line in enumerate(lines) if "operand[" not in line), len(lines))

    def kind(line: str) -> tuple[bool, bool]:
        return "*" not in line.partition("=")[0], not line.startswith("const")

    return [*sorted(lines[:first], key=kind), *lines[first:]]


def joined(lines: list[str]) -> list[str]:
    """Declarations of one type that follow each other, in one line as far as they fit.

    >>> joined(["float *x = z1;", "float *out = d;", "const float a = *y;"])
    ['float *x = z1, *out = d;', 'const float a = *y;']
    """
    found: list[str] = []
    read = r"\w+ = \*?\w+(?:\[\w\])?"  # inside a loop only what is read stands together
    for line in lines:
        if found and (declared := re.fullmatch(rf"( *{_DECLARED})(\*?)(\w+ = .*;)", line)):
            kind, pointer, rest = declared.groups()
            both = f"{found[-1].removesuffix(';')}, {pointer}{rest}"
            alike = re.match(rf"{re.escape(kind + pointer)}\w+ = .*;$", found[-1])
            inside = line.startswith(" ")
            if inside:
                alike = re.match(rf"{re.escape(kind)}{read}(?:, {read})*;$", found[-1])
                alike = alike and re.fullmatch(rf"{read};", rest)
            if alike and len(both) <= 84:
                found[-1] = both
                continue
        found.append(line)
    return found


def formulas(names: list[str]) -> str:
    """What a kernel computes, in a line."""
    return ", ".join(dict.fromkeys(n.removesuffix("_") for n in names)) or "a constant"


def _shape(shape: Any) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _column(first: int) -> str:
    return f" from column {first}" if first else ""


def _entry(step: int, first: int) -> str:
    """The index of the i-th row, from an entry of it on."""
    return ("i" if step == 1 else f"{step} * i") + (f" + {first}" if first else "")


def _kind(shape: Any, dtype: Any) -> str:
    return f"{np.dtype(dtype)} {_shape(shape)}" if shape else str(np.dtype(dtype))
