"""What every activation layer is: a formula and its options, and no mathematics."""

from __future__ import annotations

from typing import Any

from chainrule.array.errors import nearest
from chainrule.nn.module import Module
from chainrule.ops.formula import FORMULAS, Formula

__all__ = ["Activation", "as_activation"]


class Activation(Module):
    """Any formula of one array as a layer: ``y = f(x)``.

    Arguments:
        formula: one of `chainrule.ops`, or your own, made with `chainrule.formula`.
        options: its attributes by name, constants. For a trained one write a `Module` with a
            `Parameter`.

    Raises:
        TypeError: for what is not a formula of one array, and for options it does not have.

    >>> import chainrule as cr, numpy as np
    >>> @cr.formula
    ... def snake(xp, x, a=1.0):
    ...     return x + xp.sin(a * x) ** 2 / a
    >>> layer = cr.nn.Activation(snake, a=2.0)
    >>> layer
    Activation(snake, a=2.0)
    >>> layer(np.zeros((1, 2)))
    array([[0., 0.]])
    """

    formula: Formula[Any]
    options: dict[str, Any]

    def __init__(self, formula: Formula[Any], **options: Any) -> None:
        self.formula = _unary(formula, type(self).__name__)
        for name, value in options.items():
            if name not in formula.defaults:
                known = ", ".join(formula.defaults) or "none"
                raise TypeError(
                    f"{type(self).__name__}: {formula.name} has no option {name!r}; it has: {known}"
                )
            if not isinstance(value, bool | int | float | str | None):
                raise TypeError(
                    f"{type(self).__name__}: option {name} of {formula.name} is a constant, not "
                    f"{type(value).__name__}; to train it, write a Module with a Parameter"
                )
        self.options = options

    def forward(self, x: Any) -> Any:
        return self.formula(x, **self.options)

    def extra_repr(self) -> str:
        options = [f"{k}={v!r}" for k, v in self.options.items()]
        own = [self.formula.name] if type(self) is Activation else []
        return ", ".join([*own, *options])


def as_activation(value: Any, who: str) -> tuple[Formula[Any] | None, dict[str, Any]]:
    """The formula and options that a name, a formula, an `Activation` or None stands for."""
    if value is None:
        return None, {}
    if isinstance(value, Activation):
        return value.formula, value.options
    if isinstance(value, str):
        if value not in FORMULAS:
            known = [name for name, f in FORMULAS.items() if len(f.arrays) == 1]
            raise ValueError(f"{who}: no activation is called {value!r}; {nearest(value, known)}")
        value = FORMULAS[value]
    return _unary(value, who), {}


def _unary(formula: Any, who: str) -> Formula[Any]:
    if isinstance(formula, type) and issubclass(formula, Activation):
        raise TypeError(f"{who}: write {formula.__name__}(), not the class {formula.__name__}")
    if isinstance(formula, Module):
        name = type(formula).__name__
        raise TypeError(
            f"{who}: {name} is no formula with constants but a layer of its own; put it after this "
            f"one: Sequential({who}(...), {name}(...))"
        )
    if not isinstance(formula, Formula):
        what = getattr(formula, "__name__", type(formula).__name__)
        raise TypeError(
            f"{who}: expected a formula as activation, got {what}; make one with "
            "@chainrule.formula on a function of (xp, x), or write a Module"
        )
    if len(formula.arrays) != 1:
        raise TypeError(
            f"{who}: an activation is a formula of one array; {formula.name} takes "
            f"{', '.join(formula.arrays)}"
        )
    return formula
