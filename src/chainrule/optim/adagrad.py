"""Adagrad: each entry's rate falls with the gradients it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["RULES", "Adagrad"]


def adagrad(xp: Any, p: Any, g: Any, v: Any, lr: Any, start: Any, inside: Any, outside: Any) -> Any:
    """v ← v + g²;  p ← p − lr g / (√(v + ε_in) + ε_out).

    One of the two ε is 0. ``start`` is added to v: its first value at the first update, then 0.
    """
    v = v + start + g * g
    return p - lr * g / (xp.sqrt(v + inside) + outside), v


_ADAGRAD = Rule(adagrad, ("v",))

#: name -> update
RULES = {"adagrad": _ADAGRAD}


class Adagrad(Optimizer):
    r"""Gradients divided by the root of the sum of all their squares so far (row O-07).

    With :math:`g_t` the gradient at :math:`p_t` (plus ``weight_decay`` · :math:`p_t`), t = 1, 2, …
    and v_0 = ``initial_accumulator_value``, all entry by entry (erratum E000-29)::

        v_t     = v_{t-1} + g_t²
        p_{t+1} = p_t - lr / (1 + (t - 1) · lr_decay) · g_t / (√v_t + ε)

    Arguments:
        params: see `Optimizer`.
        lr: the learning rate; about the first change of every entry.
        lr_decay: how fast the rate falls beside v, 0 or more.
        weight_decay: L2 regularization, added to the gradient.
        initial_accumulator_value: v_0, 0 or more. Above 0 it keeps the first steps small.
        eps: keeps the quotient bounded where all gradients were 0. Tiny: note 000 prints
            :math:`10^8`, which has lost its sign and stops every entry (erratum E000-21).
        eps_inside: put ε in the root, g / √(v + ε), as Keras does (K-02; with its v_0 = 0.1 and
            ε = 1e-7). They differ where √v is near √ε (erratum E004-26).
        maximize: climb instead.

    State: v, which starts at its first update.

    The rate of an entry never rises again; `RMSprop` and `Adadelta` forget instead of adding up.

    Raises:
        ValueError: for a negative option.

    Reference: Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", 2011.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0, -0.5])
    >>> optimizer = cr.optim.Adagrad([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # the first step is lr in each direction
    >>> w
    parameter([3.5, 0. ])
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        eps_inside: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "eps_inside": eps_inside,
                "maximize": maximize,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        for name in ("lr_decay", "initial_accumulator_value"):
            if not 0 <= options[name] < float("inf"):
                raise ValueError(f"Adagrad: {name} must be 0 or more, got {options[name]}")

    def rule(self, group: Group) -> Rule:
        return _ADAGRAD

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        rate = group["lr"] / (1 + (t - 1) * group["lr_decay"])
        start = group["initial_accumulator_value"] if t == 1 else 0.0
        eps = group["eps"]
        return rate, start, *((eps, 0.0) if group["eps_inside"] else (0.0, eps))
