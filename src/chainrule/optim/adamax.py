"""Adamax: Adam with the largest gradient in place of the root mean square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.optim.adam import check_betas
from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["RULES", "Adamax"]


def adamax(
    xp: Any, p: Any, g: Any, m: Any, u: Any, a: Any, c1: Any, beta2: Any, inside: Any, outside: Any
) -> Any:
    """m ← m + (1 − β₁)(g − m);  u ← max(β₂ u, |g| + ε_in);  p ← p − a m / (u + ε_out).

    One of the two ε is 0; a = lr / (1 − β₁ᵗ), c1 = 1 − β₁.
    """
    m = m + c1 * (g - m)
    u = xp.maximum(beta2 * u, xp.abs(g) + inside)
    return p - a * m / (u + outside), m, u


_ADAMAX = Rule(adamax, ("m", "u"))

#: name -> update
RULES = {"adamax": _ADAMAX}


class Adamax(Optimizer):
    r"""Adam in the largest norm: the mean gradient by a slowly falling maximum (row O-13).

    With :math:`g_t` the gradient at :math:`p_t` (plus ``weight_decay`` · :math:`p_t`), t = 1, 2, …
    and m_0 = u_0 = 0, entry by entry::

        m_t     = β1 · m_{t-1} + (1 - β1) · g_t
        u_t     = max(β2 · u_{t-1}, |g_t| + ε)
        p_{t+1} = p_t - lr / (1 - β1^t) · m_t / u_t

    Arguments:
        params: see `Optimizer`.
        lr: the learning rate, a bound on the first steps of an entry.
        betas: (β1, β2), how slowly the mean forgets and the maximum falls.
        eps: keeps the quotient bounded; the paper has none, and divides 0 by 0 where the first
            gradient is 0.
        weight_decay: L2 regularization, added to the gradient.
        eps_inside: where ε stands. True is PyTorch's form, in the maximum. False is that of
            note 004 (55) and Keras (K-06): u_t = max(β2·u_{t-1}, \|g_t\|), and m̂_t / (u_t + ε).
            They differ by O(ε) (erratum E004-19).
        maximize: climb instead.

    State: m and u, and the number t of updates.

    Raises:
        ValueError: for an option out of range.

    Reference: Kingma & Ba, "Adam: a method for stochastic optimization", 2015, section 7.1.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0, -1.0])
    >>> optimizer = cr.optim.Adamax([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    parameter([ 3.5, -0.5])
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        eps_inside: bool = True,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "eps_inside": eps_inside,
                "maximize": maximize,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        check_betas(self, options)

    def rule(self, group: Group) -> Rule:
        return _ADAMAX

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        (beta1, beta2), eps = group["betas"], group["eps"]
        inside, outside = (eps, 0.0) if group["eps_inside"] else (0.0, eps)
        return group["lr"] / (1 - beta1**t), 1 - beta1, beta2, inside, outside
