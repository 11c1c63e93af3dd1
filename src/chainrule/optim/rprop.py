"""Rprop: steps by the sign of the gradient alone, each entry with a size of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["RULES", "Rprop"]


def rprop(
    xp: Any, p: Any, g: Any, before: Any, size: Any,
    start: Any, shrink: Any, grow: Any, least: Any, most: Any,
) -> Any:  # fmt: skip
    """Δ ← clip(Δ·(η⁺ if g g₋ > 0, η⁻ if g g₋ < 0, else 1));  p ← p − sign(g) Δ, g ← 0 if g g₋ < 0.

    g₋ is the gradient before. ``start`` is added to Δ: its first value at the first update,
    then 0.
    """
    turn = xp.sign(g) * xp.sign(before)  # signs, so that a small product does not vanish
    factor = xp.where(turn > 0.0, grow, xp.where(turn < 0.0, shrink, 1.0))
    size = xp.minimum(xp.maximum((size + start) * factor, least), most)
    g = xp.where(turn < 0.0, 0.0, g)
    return p - xp.sign(g) * size, g, size


_RPROP = Rule(rprop, ("before", "size"))

#: name -> update
RULES = {"rprop": _RPROP}


class Rprop(Optimizer):
    r"""Resilient backpropagation: for whole data sets, not for batches.

    Every entry has a step size Δ, ``lr`` at first. It grows while the gradient keeps its sign;
    where the sign turns, it shrinks and the entry rests for one step::

        Δ       = clip(etas[1] · Δ, …)  where g_t · g_{t-1} > 0
        Δ       = clip(etas[0] · Δ, …)  where g_t · g_{t-1} < 0, and g_t counts as 0 from here on
        p_{t+1} = p_t - sign(g_t) · Δ

    Arguments:
        params: see `Optimizer`.
        lr: the first step size.
        etas: (η⁻, η⁺), 0 < η⁻ < 1 < η⁺.
        step_sizes: the least and the largest Δ.
        maximize: climb instead.

    State: the gradient before, and Δ. The scale of the gradient does not matter at all.

    Raises:
        ValueError: for an option out of range.

    Reference: Riedmiller & Braun, "A direct adaptive method for faster backpropagation learning:
    the RPROP algorithm", 1993.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0, -1.0])
    >>> optimizer = cr.optim.Rprop([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    parameter([ 3.5, -0.5])
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize}
        )

    def check(self, options: Mapping[str, Any]) -> None:
        for name in ("etas", "step_sizes"):
            if not (isinstance(options[name], tuple) and len(options[name]) == 2):
                raise ValueError(f"Rprop: {name} must be two numbers, got {options[name]}")
        shrink, grow = options["etas"]
        if not 0 < shrink < 1 < grow < float("inf"):
            raise ValueError(
                f"Rprop: etas must be one number between 0 and 1 and one above 1, got "
                f"{options['etas']}"
            )
        least, most = options["step_sizes"]
        if not 0 <= least <= most:
            raise ValueError(
                f"Rprop: step_sizes must be the least and the largest, got {options['step_sizes']}"
            )

    def rule(self, group: Group) -> Rule:
        return _RPROP

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        start = group["lr"] if t == 1 else 0.0
        return start, *group["etas"], *group["step_sizes"]
