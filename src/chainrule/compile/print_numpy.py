"""Print a schedule as a NumPy function a person can read, and make it a function."""

from __future__ import annotations

import keyword
import linecache
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.array import numerics
from chainrule.array.dtypes import float_dtype
from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import Expr
from chainrule.compile.schedule import Schedule, axes_of, is_test, kind_of, values

__all__ = ["compile_numpy", "print_numpy"]


def _binding(name: str) -> Any:
    return PRIMITIVES[name].numpy


_GLOBALS: dict[str, Any] = {
    **{name: row.numpy for name, row in PRIMITIVES.items() if row.kind != "reduction"},
    "sum": np.add.reduce,
    "max": np.maximum.reduce,
    "sum_to": numerics.sum_to,
    "broadcast_to": np.broadcast_to,
    "ones": np.ones,
    "zeros": np.zeros,
    "empty": np.empty,
    "asarray": np.asarray,
    "copyto": np.copyto,
    "float_type": lambda *arrays: float_dtype([a for a in arrays if hasattr(a, "dtype")]),
    "slices": range,
}


class _Names:
    """Variable names: inputs by their own names, buffers t0, t1, …"""

    def __init__(self, s: Schedule) -> None:
        self.of: dict[Any, str] = {}
        taken = set(_GLOBALS) | set(keyword.kwlist) | {"i", "block"}
        for x in s.program.inputs:
            name = str(x)
            while name in taken:
                name += "_"
            taken.add(name)
            self.of[x] = name
        self.taken = taken
        self.count = 0

    def fresh(self, stem: str = "t") -> str:
        while True:
            name = f"{stem}{self.count}"
            self.count += 1
            if name not in self.taken:
                self.taken.add(name)
                return name


def print_numpy(s: Schedule, copy_inputs: bool = True) -> str:
    """The source of the function. `copy_inputs`: an output that is an input is copied."""
    return _print_blocked(s) if s.blocks else _print_whole(s, copy_inputs)


def compile_numpy(source: str, name: str) -> Callable[..., Any]:
    """The function of printed source; tracebacks and debuggers show the text."""
    filename = f"<chainrule {name} {hash(source) & 0xFFFFFFFF:08x}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    scope = dict(_GLOBALS)
    exec(compile(source, filename, "exec"), scope)  # our own printed text, never a file's
    function: Callable[..., Any] = scope[name]
    return function


def function_name(s: Schedule) -> str:
    name = "".join(c if c.isalnum() else "_" for c in s.program.name)
    return name if name.isidentifier() and name not in _GLOBALS else f"{name}_"


def _call(s: Schedule, e: Expr, names: dict[Any, str], shape: Callable[[Expr], str]) -> tuple[str, list[str]]:
    """(function, arguments) for one step."""
    attrs = dict(e.attrs)

    def arg(a: Any) -> str:
        a = s.resolve(a)
        return names[a] if isinstance(a, Expr) else repr(a)

    match e.op:
        case "sum" | "max":
            axis = attrs["axis"]
            return e.op, [arg(e.args[0]), f"axis={axis!r}", f"keepdims={attrs['keepdims']!r}"]
        case "sum_to" | "broadcast_to":
            return e.op, [arg(e.args[0]), shape(e.args[1])]
        case "squeeze" | "expand_dims":
            return e.op, [arg(e.args[0]), f"axis={attrs['axis']!r}"]
        case "ones_like" | "zeros_like":
            return e.op[:-5], [shape(e.args[0]), "dtype"]
        case "one_hot":
            return "one_hot", [arg(e.args[0]), names_or_like(s, e.args[1], names), f"axis={attrs['axis']}"]
        case "where":
            c, a, b = (s.resolve(v) for v in e.args)
            if isinstance(c, Expr) and c.op == "less_equal":
                # where(x <= c, c, x) is the maximum that keeps NaN
                x, bound = (s.resolve(v) for v in c.args)
                if x is b and not isinstance(bound, Expr) and not isinstance(a, Expr) and bound == a:
                    return "maximum", [arg(b), repr(a)]
            return "where", [arg(v) for v in e.args]
        case _:
            extra = [f"{k}={v!r}" for k, v in e.attrs]
            return e.op, [arg(a) for a in e.args] + extra


def names_or_like(s: Schedule, a: Any, names: dict[Any, str]) -> str:
    a = s.resolve(a)
    if a in names:
        return names[a]
    for x in s.program.inputs:  # any array of the same shape serves
        if s.shapes[x] == s.shapes[a]:
            return names[x]
    return f"broadcast_to(0.0, {s.shapes[a]})"


def _shape_text(s: Schedule, names: dict[Any, str]) -> Callable[[Any], str]:
    def text(a: Any) -> str:
        a = s.resolve(a)
        if not isinstance(a, Expr) or s.shapes[a] == ():
            return "()"
        for x in s.program.inputs:
            if s.shapes[x] == s.shapes[a] and x in names:
                return f"{names[x]}.shape"
        return repr(s.shapes[a])

    return text


def _peel(s: Schedule) -> set[Expr]:
    """Comparisons that only fed a `where` printed as maximum need no step."""
    uses: dict[Any, list[tuple[Expr, str]]] = {}
    for step in s.steps:
        function, _ = _call(s, step.expr, _AnyName(), lambda a: "")
        for a in values(step.expr):
            uses.setdefault(s.resolve(a), []).append((step.expr, function))
    finals = {s.resolve(o) for o in s.program.outputs}
    return {
        step.expr
        for step in s.steps
        if is_test(step.expr)
        and step.expr not in finals
        and all(u.op == "where" and f == "maximum" for u, f in uses.get(step.expr, [("", "")]))  # type: ignore[union-attr]
    }


class _AnyName(dict[Any, str]):
    def __missing__(self, key: Any) -> str:
        return ""


def _print_whole(s: Schedule, copy_inputs: bool) -> str:
    names = _Names(s)
    of = names.of
    shape = _shape_text(s, of)
    skip = _peel(s)
    lines: list[str] = []
    float_inputs = ", ".join(of[x] for x in s.program.inputs)
    if any(st.expr.op in ("ones_like", "zeros_like") for st in s.steps):
        lines.append(f"dtype = float_type({float_inputs})")
    for step in s.steps:
        e = step.expr
        if e in skip:
            continue
        if e.op == "size":
            of[e] = _size(s, e, of)
            continue
        function, args = _call(s, e, of, shape)
        out = of.get(step.out) if step.out is not None else None
        if out is not None:
            args.append(f"out={out}")
        of[e] = out if out is not None else names.fresh()
        lines.append(f"{of[e]} = {function}({', '.join(args)})")
    results = []
    for o in s.program.outputs:
        o = s.resolve(o)
        if not isinstance(o, Expr):
            results.append(f"asarray({o!r})")
        elif o.op == "input" and copy_inputs:
            results.append(f"asarray({of[o]}).copy()")
        elif s.shapes[o] == ():
            results.append(f"asarray({of[o]})")
        else:
            results.append(of[o])
    tail = "," if len(results) == 1 else ""
    lines.append(f"return {', '.join(results)}{tail}")
    head = f"def {function_name(s)}({', '.join(of[x] for x in s.program.inputs)}):"
    return "\n".join([head, *("    " + line for line in lines)]) + "\n"


def _size(s: Schedule, e: Expr, of: dict[Any, str]) -> str:
    x = s.resolve(e.args[0])
    axis = dict(e.attrs)["axis"]
    ndim = len(s.shapes[x])
    if x in of and x.op == "input" and s.shapes[x]:
        if axis is None:
            return f"{of[x]}.size"
        return " * ".join(f"{of[x]}.shape[{a - ndim}]" for a in axes_of(axis, ndim)).join("()")
    total = 1
    for a in axes_of(axis, ndim):
        total *= s.shapes[x][a]
    return repr(total)


def _print_blocked(s: Schedule) -> str:
    assert s.blocks is not None
    rows, columns, per_block = s.blocks
    full = max((s.shapes[e] for e in s.shapes), key=lambda shape: int(np.prod(shape)))
    names = _Names(s)
    outer = dict(names.of)
    of: dict[Any, str] = {}
    head: list[str] = []
    slices: list[str] = []

    def kind(e: Expr) -> str:
        return kind_of(s.shapes[e], full) or "scalar"

    def lay(name: str, k: str) -> str:
        """Rows and columns of an array of kind k."""
        flat = columns == 1
        return {
            "full": f"{name}.reshape(-1)" if flat else f"{name}.reshape(-1, columns)",
            "row": f"{name}.reshape(-1, 1)",
            "column": f"{name}.reshape(columns)",
            "scalar": f"{name}.reshape(())" if flat else f"{name}.reshape(1)",
        }[k]

    whole = next(outer[x] for x in s.program.inputs if s.shapes[x] == full) if any(
        s.shapes[x] == full for x in s.program.inputs
    ) else None
    shape_of_full = f"{whole}.shape" if whole else repr(full)
    head.append(f"dtype = float_type({', '.join(outer[x] for x in s.program.inputs)})")
    if columns != 1:
        head.append(f"columns = {shape_of_full}[-1]")
    for x in s.program.inputs:
        k = kind(x)
        base = f"{outer[x]}_all" if k in ("full", "row") else outer[x]
        head.append(f"{base} = {lay(f'asarray({outer[x]})', k)}")
        of[x] = outer[x]
        if k in ("full", "row"):
            slices.append(f"{outer[x]} = {base}[i:i + block]")
    finals = [s.resolve(o) for o in s.program.outputs]
    results: dict[Any, str] = {}
    added: dict[Any, str] = {}
    for n, o in enumerate(dict.fromkeys(finals)):
        name = names.fresh("out") if len(finals) > 1 else "out"
        k = kind(o)
        results[o] = name
        if k in ("full", "row"):
            shape = shape_of_full if k == "full" else f"({shape_of_full}[:-1] + (1,))"
            head.append(f"{name} = empty({shape}, {'bool' if is_test(o) else 'dtype'})")
            head.append(f"{name}_all = {lay(name, k)}")
        else:
            like = next((outer[x] for x in s.program.inputs if s.shapes[x] == s.shapes[o]), None)
            shape = f"asarray({like}).shape" if like else repr(s.shapes[o])
            head.append(f"{name} = zeros({shape}, dtype)")
            added[o] = name
    # the loop
    body: list[str] = []
    temporaries: list[tuple[str, str]] = []
    buffer: dict[Expr, str] = {}
    skip = _peel(s)
    shape_text = _shape_text(s, {})
    for step in s.steps:
        e = step.expr
        if e in skip:
            continue
        if e.op == "size":
            of[e] = _size(s, e, {x: f"asarray({outer[x]})" for x in ()})
            continue
        if e in added:
            x = of[s.resolve(e.args[0])]
            axis = "0" if kind(e) == "column" else "None"
            total = f"sum({x}, axis={axis})"
            body.append(f"{added[e]} += {total}" if s.shapes[e] == () else
                        f"{added[e]} += {total}.reshape({added[e]}.shape)" if kind(e) == "column" else
                        f"{added[e]} += {total}")
            continue
        if e.op in ("sum", "max"):  # along the row
            function, args = e.op, [of[s.resolve(e.args[0])], "axis=-1", "keepdims=True"]
        elif e.op == "sum_to":
            function, args = "sum", [of[s.resolve(e.args[0])], "axis=-1", "keepdims=True"]
        else:
            function, args = _call(s, e, of, shape_text)
        if e in results:
            target = results[e]
            of[e] = f"{target}_"
            slices.append(f"{of[e]} = {target}_all[i:i + block]")
            args.append(f"out={of[e]}")
            if function in _NO_OUT:
                body.append(f"{of[e]}[...] = {function}({', '.join(args[:-1])})")
                continue
        elif step.out is not None and step.out in buffer:
            of[e] = buffer[e] = buffer[step.out]
            args.append(f"out={of[e]}")
        elif function in _NO_OUT or kind(e) != "full":
            of[e] = names.fresh()
        else:
            of[e] = buffer[e] = names.fresh()
            temporaries.append((of[e], "bool" if is_test(e) else "dtype"))
            args.append(f"out={of[e]}")
        body.append(f"{of[e]} = {function}({', '.join(args)})")
    size = "block" if columns == 1 else "(block, columns)"
    for name, dtype in temporaries:
        head.append(f"{name} = empty({size}, {dtype})")
    loop = [f"block = {per_block}"]
    loop += head
    count = f"{rows}" if whole is None else (f"{whole}.size" if columns == 1 else f"{whole}.size // columns")
    if whole is not None:
        loop.insert(1, f"rows = {count}" if columns == 1 else "rows = 0")
        if columns != 1:
            at = loop.index(f"columns = {shape_of_full}[-1]")
            loop.remove("rows = 0")
            loop.insert(at, f"rows = {count}")
    else:
        loop.insert(1, f"rows = {count}")
    loop.append("for i in slices(0, rows, block):")
    if temporaries:
        loop.append("    if rows - i < block:")
        loop += [f"        {name} = {name}[:rows - i]" for name, _ in temporaries]
    loop += ["    " + line for line in slices + body]
    tail = "," if len(finals) == 1 else ""
    loop.append(f"return {', '.join(results[o] for o in finals)}{tail}")
    top = f"def {function_name(s)}({', '.join(outer[x] for x in s.program.inputs)}):"
    return "\n".join([top, *("    " + line for line in loop)]) + "\n"


_NO_OUT = frozenset({"lgamma", "polygamma", "sum", "max", "one_hot"})
