"""ASGD: gradient descent whose result is the mean of its iterates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["ASGD", "RULES"]


def asgd(xp: Any, p: Any, g: Any, ax: Any, rate: Any, shrink: Any, keep: Any) -> Any:
    """p ← (1 − λ η_t) p − η_t g;  p̄ ← p + (1 − μ_t)(p̄ − p).

    ``shrink`` is 1 − λ η_t, and ``keep`` 1 − μ_t: 0 up to t₀, so that p̄ is p.
    """
    p = shrink * p - rate * g
    return p, p + keep * (ax - p)


_ASGD = Rule(asgd, ("ax",))

#: name -> update
RULES = {"asgd": _ASGD}


class ASGD(Optimizer):
    r"""Averaged gradient descent: falling steps, and the mean of the iterates beside them.

    With :math:`g_t` the gradient at :math:`p_t` (plus ``weight_decay`` · :math:`p_t`) and
    t = 1, 2, …::

        η_t     = lr / (1 + lambd · lr · (t - 1))^alpha
        p_{t+1} = (1 - lambd · η_t) · p_t - η_t · g_t
        μ_t     = 1 / max(1, t - 1 - t0)
        ax_t    = ax_{t-1} + μ_t · (p_{t+1} - ax_{t-1})

    Arguments:
        params: see `Optimizer`.
        lr: the first learning rate.
        lambd: how much p itself shrinks, and how soon the rate falls.
        alpha: the power with which it falls.
        t0: when the mean begins; before, it is the parameters themselves.
        weight_decay: L2 regularization, added to the gradient.
        maximize: climb instead.

    State: ax, the mean; ``state_dict()["state"]["0.ax"]`` is that of the first parameter.

    Where PyTorch differs: it computes η_{t+1} at the end of update t, so that after a schedule
    has changed ``lr`` its first step still has the old one.

    Raises:
        ValueError: for an option out of range.

    Reference: Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0])
    >>> optimizer = cr.optim.ASGD([w], lr=0.25, lambd=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    parameter([2.])
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        for name in ("lambd", "alpha", "t0"):
            if not options[name] >= 0:
                raise ValueError(f"ASGD: {name} must be 0 or more, got {options[name]}")

    def rule(self, group: Group) -> Rule:
        return _ASGD

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        lr, lambd = group["lr"], group["lambd"]
        rate = lr / (1 + lambd * lr * (t - 1)) ** group["alpha"]
        return rate, 1 - lambd * rate, 1 - 1 / max(1.0, t - 1 - group["t0"])
