"""The symbolic derivative of a program: reverse mode over its trace, with the rows of the table.

The result is again a program, with inputs ``x…, y…, g…`` (the inputs, the outputs and the outputs'
cotangents) and one output per wanted cotangent. It refers to an output instead of computing it
again, and has only the inputs it needs. Differentiating it gives the second order, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.array.primitives import PRIMITIVES
from chainrule.compile.expression import SYMBOLS, Expr, Program, make, walk
from chainrule.compile.trace import symbol

__all__ = ["Derivative", "derive"]

#: (role, position): "x" input, "y" output, "g" cotangent of an output
Source = tuple[str, int]


@dataclass(frozen=True)
class Derivative:
    """The cotangents of the wanted inputs as a program, and where each of its inputs comes from."""

    program: Program
    sources: tuple[Source, ...]


def derive(program: Program, wanted: Sequence[bool]) -> Derivative:
    """The vector-Jacobian product of `program` for the inputs marked in `wanted`."""
    ys = [symbol(_fresh("y", k, program)) for k in range(len(program.outputs))]
    gs = [symbol(_fresh("g", k, program)) for k in range(len(program.outputs))]
    cotangents = _reverse(program, gs)
    # a scalar program's output stands for itself in its own derivative (exp: g y)
    known = {o: y for o, y in zip(program.outputs, ys, strict=True) if isinstance(o, Expr)}
    known = {o: y for o, y in known.items() if o.op != "input"}
    memo: dict[Expr, Any] = {}
    outputs = tuple(
        _substitute(cotangents.get(x, 0.0), known, memo)
        for x, want in zip(program.inputs, wanted, strict=True)
        if want
    )
    # a constant cotangent still needs its input's shape
    outputs = tuple(
        o if isinstance(o, Expr) else make("zeros_like", (x,))
        for o, x in zip(outputs, [x for x, w in zip(program.inputs, wanted, strict=True) if w], strict=True)
    )
    used = {e for e in walk(outputs) if e.op == "input"}
    sources: list[Source] = []
    inputs: list[Expr] = []
    for role, symbols in (("x", program.inputs), ("y", ys), ("g", gs)):
        for k, s in enumerate(symbols):
            if s in used:
                sources.append((role, k))
                inputs.append(s)
    return Derivative(Program(f"{program.name}_vjp", tuple(inputs), outputs), tuple(sources))


def _fresh(stem: str, k: int, program: Program) -> str:
    """A name for output or cotangent k that no input of the program has."""
    name = stem if len(program.outputs) == 1 else f"{stem}{k}"
    taken = {str(i) for i in program.inputs}
    while name in taken:
        name += "_"
    return name


def _reverse(program: Program, gs: Sequence[Expr]) -> dict[Expr, Any]:
    total: dict[Expr, Any] = {}

    def add(e: Any, g: Any) -> None:
        if isinstance(e, Expr) and g is not None:
            total[e] = total[e] + g if e in total else g

    for o, g in zip(program.outputs, gs, strict=True):
        add(o, g)
    for e in reversed(_order(program.outputs)):
        if e.op == "input" or e not in total:
            continue
        g = total[e]
        if e.op == "call":
            args = e.args[1:]
            contributions: Any = dict(e.attrs)["formula"].override_vjp(args, e, g)
        else:
            row = PRIMITIVES.get(e.op)
            if row is None or row.vjp is None:  # piecewise constant
                continue
            args = e.args
            contributions = row.vjp(SYMBOLS, e, g, *args, **dict(e.attrs))
        broadcasting = len(args) > 1
        for a, c in zip(args, contributions, strict=True):
            if isinstance(a, Expr) and c is not None and not _is_zero(c):
                add(a, SYMBOLS.sum_to(c, a) if broadcasting else c)
    return total


def _is_zero(c: Any) -> bool:
    return not isinstance(c, Expr) and c == 0


def _order(outputs: tuple[Any, ...]) -> list[Expr]:
    """Arguments before uses, where a formula with its own derivative stands on its arguments."""
    order: list[Expr] = []
    done: set[Expr] = set()
    stack: list[tuple[Any, bool]] = [(o, False) for o in reversed(outputs)]
    while stack:
        e, ready = stack.pop()
        if not isinstance(e, Expr) or e in done:
            continue
        if ready:
            done.add(e)
            order.append(e)
            continue
        stack.append((e, True))
        if e.op != "input":
            below = e.args[1:] if e.op == "call" else e.args
            stack.extend((a, False) for a in reversed(below))
    return order


def _substitute(e: Any, known: dict[Expr, Expr], memo: dict[Expr, Any]) -> Any:
    """`e` with every known output replaced by its symbol."""
    if not isinstance(e, Expr):
        return e
    for node in walk([e]):
        if node in memo:
            continue
        if node in known:
            memo[node] = known[node]
        elif node.op == "input":
            memo[node] = node
        else:
            args = tuple(memo[a] if isinstance(a, Expr) else a for a in node.args)
            memo[node] = node if args == node.args else make(node.op, args, node.attrs)
    return memo[e]
