"""Shapes as letters: a fast check in the normal case, an explanation when it fails.

``"x: (B, I), W: (O, I), b: (O,) -> (B, O)"``: one letter is one length, equal letters are equal
lengths; ``...`` stands for any leading axes. The fast pass is printed Python, a few comparisons;
the slow pass runs only to explain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from chainrule.array.errors import ShapeError
from chainrule.autograd.context import Frame, describe, state

__all__ = ["Signature"]

_TERM = re.compile(r"(\w+)\s*:\s*\(([^)]*)\)")


class Signature:
    """The shapes of an operation's arguments.

    >>> s = Signature("x: (B, I), W: (O, I) -> (B, O)")
    >>> s.fits((32, 8), (4, 8)), s.fits((32, 9), (4, 8))
    (True, False)
    >>> s.explain("dense", (32, 9), (4, 8))
    'dense: expected x: (B, 8), got (32, 9); the data has 9 features: make this layer take 9'
    """

    def __init__(self, text: str) -> None:
        self.text = text
        left = text.split("->")[0]
        self.terms: list[tuple[str, tuple[str, ...]]] = [
            (name, tuple(a.strip() for a in axes.split(",") if a.strip()))
            for name, axes in _TERM.findall(left)
        ]
        self.fits: Callable[..., bool] = self._compile()

    def _compile(self) -> Callable[..., bool]:
        seen: dict[str, str] = {}
        conditions = []
        for k, (_, axes) in enumerate(self.terms):
            fixed = [a for a in axes if a != "..."]
            ellipsis = len(fixed) != len(axes)
            conditions.append(f"len(s{k}) {'>=' if ellipsis else '=='} {len(fixed)}")
            for i, a in enumerate(fixed):
                place = f"s{k}[{i - len(fixed) if ellipsis else i}]"
                if a.isdigit():
                    conditions.append(f"{place} == {a}")
                elif a in seen:
                    conditions.append(f"{place} == {seen[a]}")
                else:
                    seen[a] = place
        arguments = ", ".join(f"s{k}" for k in range(len(self.terms)))
        check: Callable[..., bool] = eval(f"lambda {arguments}: {' and '.join(conditions)}")
        return check

    def check(self, name: str, *shapes: tuple[int, ...]) -> None:
        """Raise a `ShapeError` that names the layer, the expectation, what came and a likely
        fix."""
        if not self.fits(*shapes):
            raise ShapeError(self.explain(name, *shapes))

    def explain(self, name: str, *shapes: tuple[int, ...]) -> str:
        """The message. Parameters, after the first argument, are taken to be right."""
        known: dict[str, int] = {}
        for (_, axes), shape in list(zip(self.terms, shapes, strict=True))[1:]:
            fixed = [a for a in axes if a != "..."]
            if len(shape) >= len(fixed):
                for a, n in zip(fixed, shape[len(shape) - len(fixed) :], strict=True):
                    known.setdefault(a, n)
        frame = state.frame
        who = describe(frame) or name
        for k, ((arg, axes), shape) in enumerate(zip(self.terms, shapes, strict=True)):
            if not self._matches(axes, shape, known):
                # one leading axis is a batch; only more of them need the dots
                lead = "B" if len(shape) <= len(axes) else "..."
                wanted = ", ".join(lead if a == "..." else str(known.get(a, a)) for a in axes)
                comma = "," if len(axes) == 1 else ""
                text = f"{who}: expected {arg}: ({wanted}{comma}), got {_show(shape)}"
                return text + (_fix(axes, shape, known, frame) if k == 0 else "")
        return f"{who}: shapes {', '.join(map(_show, shapes))} do not fit {self.text}"

    @staticmethod
    def _matches(axes: Sequence[str], shape: tuple[int, ...], known: dict[str, int]) -> bool:
        fixed = [a for a in axes if a != "..."]
        if len(shape) < len(fixed) or (len(fixed) == len(axes) and len(shape) != len(fixed)):
            return False
        tail = shape[len(shape) - len(fixed) :]
        return all(a not in known or known[a] == n for a, n in zip(fixed, tail, strict=True))


def _show(shape: tuple[int, ...]) -> str:
    return str(tuple(int(n) for n in shape))


def _fix(
    axes: Sequence[str], shape: tuple[int, ...], known: dict[str, int], frame: Frame | None
) -> str:
    wanted = known.get(axes[-1]) if axes else None
    before = _layer_before(frame)
    if wanted is None or not shape:
        return ""
    if len(shape) > 2 and math.prod(shape[1:]) == wanted:
        return f"; {' x '.join(map(str, shape[1:]))} = {wanted}: put nn.Flatten() before this layer"
    if len(shape) == 1 and shape[0] == wanted:
        return "; a single sample needs a batch axis: x[None]"
    if len(shape) == 2 and shape[0] == wanted and shape[1] != wanted:
        return "; it looks transposed: rows are samples, columns are features"
    if before is not None:
        return (
            f"; the layer before it, {before}, gives {shape[-1]} features: make this layer take "
            f"{shape[-1]} or that one give {wanted}"
        )
    return f"; the data has {shape[-1]} features: make this layer take {shape[-1]}"


def _layer_before(frame: Frame | None) -> str | None:
    """The path of the layer that came before this one in a Sequential."""
    if frame is None or frame.parent is None:
        return None
    previous = None
    children: dict[str, Any] = getattr(frame.parent.module, "_modules", {})
    for name, child in children.items():
        if child is frame.module:
            break
        previous = name
    return None if previous is None else f"{frame.parent.path}.{previous}"
