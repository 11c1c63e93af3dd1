"""Run a text once with symbols in place of arrays, and keep what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.compile.expression import SYMBOLS, Expr, Program, make

__all__ = ["TraceError", "symbol", "trace"]


class TraceError(TypeError):
    """A text did something a trace cannot record. Says what and what to write instead."""


def symbol(name: str) -> Expr:
    """An input of a program."""
    return make("input", (name,))


def trace(text: Callable[..., Any], names: Sequence[str], name: str = "", **attrs: Any) -> Program:
    """Trace ``text(xp, *names, **attrs)`` into a program.

    >>> print(trace(lambda xp, x: x * xp.sigmoid(x), ["x"], "silu"))
    silu(x)
      t0 = sigmoid(x)
      t1 = multiply(x, t0)
      return t1
    """
    inputs = tuple(symbol(n) for n in names)
    name = name or getattr(text, "__name__", "formula")
    try:
        result = text(SYMBOLS, *inputs, **attrs)
    except (TypeError, AttributeError) as error:
        raise TraceError(f"formula {name}: {error}") from error
    outputs = result if isinstance(result, tuple) else (result,)
    for o in outputs:
        if not isinstance(o, Expr | float | int):
            raise TraceError(
                f"formula {name} returned {type(o).__name__}; it must return an array expression "
                "of its arguments (or a tuple of them)"
            )
    return Program(name, inputs, outputs)
