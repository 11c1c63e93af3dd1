"""What a forward pass should keep so that its derivative need not compute it again.

The derivative of a program reads some of the program's own intermediate values. The cheap ones (a
sum, a product) are computed again; the expensive ones (an exponential, a reduction) are kept: they
become further outputs of the forward program and inputs of the backward one. Values are the same
either way, and the derivative of second order does not see the difference: it differentiates the
program, not the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.compile.derivative import Source, cotangents_of, fresh_symbols, keepable, select
from chainrule.compile.expression import Expr, Program, walk
from chainrule.compile.trace import symbol

__all__ = ["EXPENSIVE", "Plan", "plan"]

#: Steps whose value is worth keeping.
EXPENSIVE = frozenset(
    [
        "exp",
        "expm1",
        "log",
        "log1p",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "erf",
        "lgamma",
        "polygamma",
        "pow",
        "sum",
        "max",
        "one_hot",
    ]
)


@dataclass(frozen=True)
class Plan:
    """The forward program with its residuals as last outputs, and the backward program that reads
    them."""

    forward: Program
    backward: Program
    sources: tuple[Source, ...]  # of the backward program's inputs; role "r" is a residual
    residuals: int


def _read(e: Expr) -> tuple[Any, ...]:
    """The arguments whose values are read, not only their shapes."""
    if e.op in ("sum_to", "broadcast_to", "one_hot"):
        return e.args[:1]
    return () if e.op in ("size", "ones_like", "zeros_like") else e.args


def plan(program: Program, wanted: Sequence[bool]) -> Plan | None:
    """The plan for these cotangents, or None where the derivative reads nothing expensive.

    >>> from chainrule.compile.trace import trace
    >>> p = plan(trace(lambda xp, x: x * xp.sigmoid(x), ["x"], "silu"), [True])
    >>> print(p.forward)
    silu(x)
      t0 = sigmoid(x)
      t1 = multiply(x, t0)
      return t1, t0
    """
    ys, gs = fresh_symbols(program)
    cotangents = cotangents_of(program, gs, wanted)
    forward = set(walk(program.outputs))
    known: dict[Expr, Expr] = {
        o: y for o, y in zip(program.outputs, ys, strict=True) if keepable(o)
    }
    kept: list[Expr] = []
    stack: list[Expr] = [c for c in reversed(cotangents) if isinstance(c, Expr)]
    seen: set[Expr] = set()
    while stack:
        e = stack.pop()
        if e in seen or e in known or e.op == "input":
            continue
        seen.add(e)
        if e in forward and e.op in EXPENSIVE and keepable(e):
            kept.append(e)
        else:
            stack.extend(a for a in reversed(_read(e)) if isinstance(a, Expr))
    if not kept:
        return None
    stem = "r"
    while any(str(x).startswith(stem) for x in program.inputs):  # an input may be called r0
        stem += "_"
    rs = [symbol(f"{stem}{k}") for k in range(len(kept))]
    known.update(zip(kept, rs, strict=True))
    backward, sources = select(
        f"{program.name}_vjp",
        cotangents,
        known,
        (("x", program.inputs), ("y", ys), ("r", rs), ("g", gs)),
    )
    return Plan(
        Program(program.name, program.inputs, (*program.outputs, *kept)),
        backward,
        sources,
        len(kept),
    )
