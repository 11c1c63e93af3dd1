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
    ys, gs = fresh_symbols(program)
    known = {o: y for o, y in zip(program.outputs, ys, strict=True) if keepable(o)}
    derived, sources = select(
        f"{program.name}_vjp",
        cotangents_of(program, gs, wanted),
        known,
        (("x", program.inputs), ("y", ys), ("g", gs)),
    )
    return Derivative(derived, sources)


def keepable(e: Any) -> bool:
    """Whether a derivative may read a value of the forward pass in place of computing it again.

    Not a maximum of computed values: its derivative looks for the entries that equal it, and an
    executor that rounds these another way than the forward pass did would find none.
    """
    if not isinstance(e, Expr) or e.op == "input":
        return False
    while e.op in ("call", "squeeze", "expand_dims"):
        e = e.args[0]
        if not isinstance(e, Expr):
            return True
    return e.op != "max" or e.args[0].op in ("input", "negative")


def fresh_symbols(program: Program) -> tuple[list[Expr], list[Expr]]:
    """Symbols for the outputs of a program and for their cotangents."""
    n = len(program.outputs)
    return (
        [symbol(_fresh("y", k, program)) for k in range(n)],
        [symbol(_fresh("g", k, program)) for k in range(n)],
    )


def cotangents_of(program: Program, gs: Sequence[Expr], wanted: Sequence[bool]) -> list[Expr]:
    """The cotangent of each wanted input; where it is constant, zeros in the input's shape."""
    total = _reverse(program, gs)
    cotangents = [total.get(x, 0.0) for x, w in zip(program.inputs, wanted, strict=True) if w]
    return [
        c if isinstance(c, Expr) else make("zeros_like", (x,))
        for c, x in zip(
            cotangents, [x for x, w in zip(program.inputs, wanted, strict=True) if w], strict=True
        )
    ]


def select(
    name: str,
    outputs: Sequence[Expr],
    known: dict[Expr, Expr],
    roles: Sequence[tuple[str, Sequence[Expr]]],
) -> tuple[Program, tuple[Source, ...]]:
    """A program of `outputs` in which known values are read, with only the inputs it needs."""
    memo: dict[Expr, Any] = {}
    replaced = tuple(_substitute(o, known, memo) for o in outputs)
    used = {e for e in walk(replaced) if e.op == "input"}
    found = [((role, k), s) for role, symbols in roles for k, s in enumerate(symbols) if s in used]
    program = Program(name, tuple(s for _, s in found), replaced)
    return program, tuple(source for source, _ in found)


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
