"""Adadelta: steps in the units of the parameters, without a rate to choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["RULES", "Adadelta"]


def adadelta(
    xp: Any, p: Any, g: Any, v: Any, u: Any, lr: Any, rho: Any, share: Any, eps: Any
) -> Any:
    """v ← ρ v + (1 − ρ) g²;  Δ = √(u + ε) / √(v + ε) g;  u ← ρ u + (1 − ρ) Δ²;  p ← p − lr Δ.

    ``share`` is 1 − ρ, computed in double precision.
    """
    v = rho * v + share * g * g
    change = xp.sqrt(u + eps) / xp.sqrt(v + eps) * g
    u = rho * u + share * change * change
    return p - lr * change, v, u


_ADADELTA = Rule(adadelta, ("v", "u"))

#: name -> update
RULES = {"adadelta": _ADADELTA}


class Adadelta(Optimizer):
    r"""Steps as large as the recent ones, by two running means of squares (row O-08).

    With :math:`g_t` the gradient at :math:`p_t` (plus ``weight_decay`` · :math:`p_t`) and
    v_0 = u_0 = 0, all entry by entry (erratum E000-29)::

        v_t     = ρ · v_{t-1} + (1 - ρ) · g_t²
        Δ_t     = √(u_{t-1} + ε) / √(v_t + ε) · g_t
        u_t     = ρ · u_{t-1} + (1 - ρ) · Δ_t²
        p_{t+1} = p_t - lr · Δ_t

    Arguments:
        params: see `Optimizer`.
        lr: a factor; the paper has none, which is PyTorch's default 1. Keras has 0.001 (K-03).
        rho: how slowly the means forget, in [0, 1]. PyTorch's 0.9; the paper and Keras have 0.95
            (erratum X-10).
        eps: gets the method started: the first step is about √ε, and grows from there.
        weight_decay: L2 regularization, added to the gradient.
        maximize: climb instead.

    State: v and u.

    Where note 000 differs: it uses one symbol for the change and for the mean of its square and
    takes the root of a signed number (erratum E000-22), and has ε outside both roots, so that
    the first step is ε in place of √ε and the method hardly starts (erratum E000-23).

    Raises:
        ValueError: for an option out of range.

    Reference: Zeiler, "Adadelta: an adaptive learning rate method", 2012.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0])
    >>> optimizer = cr.optim.Adadelta([w], rho=0.75, eps=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # √0.25 / √(0.25 · 8² + 0.25) · 8
    >>> round(w.detach().item(), 4)
    3.0077
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        if not 0 <= options["rho"] <= 1:
            raise ValueError(f"Adadelta: rho must be in [0, 1], got {options['rho']}")

    def rule(self, group: Group) -> Rule:
        return _ADADELTA

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        return group["lr"], group["rho"], 1 - group["rho"], group["eps"]
