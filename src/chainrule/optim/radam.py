"""RAdam: Adam that waits until its mean of squares can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chainrule.optim.adam import check_betas
from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["RULES", "RAdam"]


def radam(
    xp: Any, p: Any, g: Any, m: Any, v: Any,
    plain: Any, adaptive: Any, c1: Any, beta2: Any, c2: Any, eps: Any,
) -> Any:  # fmt: skip
    """m ← m + (1 − β₁)(g − m);  v ← β₂ v + (1 − β₂) g²;  p ← p − (a + b / (√v + ε)) m.

    Before ρ_t is above the threshold, a = lr / (1 − β₁ᵗ) and b = 0; afterwards a = 0 and
    b = lr r_t √(1 − β₂ᵗ) / (1 − β₁ᵗ).
    """
    m = m + c1 * (g - m)
    v = beta2 * v + c2 * g * g
    return p - (plain + adaptive / (xp.sqrt(v) + eps)) * m, m, v


_RADAM = Rule(radam, ("m", "v"))

#: name -> update
RULES = {"radam": _RADAM}


class RAdam(Optimizer):
    r"""Rectified Adam: momentum alone at first, then Adam with a rising factor (row O-15).

    With the moments m_t, v_t and corrections m̂_t, v̂_t of `Adam`::

        ρ_∞     = 2 / (1 - β2) - 1
        ρ_t     = ρ_∞ - 2 t β2^t / (1 - β2^t)
        r_t     = √[(ρ_t - 4)(ρ_t - 2) ρ_∞ / ((ρ_∞ - 4)(ρ_∞ - 2) ρ_t)]
        p_{t+1} = p_t - lr · r_t · m̂_t / (√v̂_t + ε̂)        where ρ_t > threshold
        p_{t+1} = p_t - lr · m̂_t                             elsewhere

    ρ_t, the length of the average behind v_t, rises from 1 to ρ_∞: with β2 = 0.999 it passes 5 at
    the sixth step. With β2 of at most 0.6 it never passes 4, and momentum is all there is.

    Arguments:
        params: see `Optimizer`.
        lr: the learning rate.
        betas: (β1, β2), as for `Adam`.
        eps: keeps the quotient bounded.
        weight_decay: L2 regularization, added to the gradient.
        decoupled_weight_decay: shrink the parameters by 1 - lr·weight_decay instead, as `AdamW`.
        threshold: 5 as in PyTorch; the paper and note 004 (67) have 4. With β2 = 0.999 only the
            fifth step differs (erratum E004-23).
        eps_hat: True adds ε to √v_t before its correction, as PyTorch does; False is
            √v̂_t + ε as printed in note 004 (67).
        maximize: climb instead.

    State: m and v, and the number t of updates.

    Where note 004 differs: below the threshold, (68) divides by √v̂_t as plain Adam does, the very
    step of high variance that the method is to avoid (erratum E004-22). r_t is computed only where
    it is used; printed before the test, it is the root of a negative number for 2 < ρ_t < 4.

    Raises:
        ValueError: for an option out of range.

    Reference: Liu et al., "On the variance of the adaptive learning rate and beyond", 2020.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0])
    >>> optimizer = cr.optim.RAdam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # the gradient as it is: 4 - 0.25 * 8
    >>> w
    parameter([2.])
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        threshold: float = 5.0,
        eps_hat: bool = True,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "threshold": threshold,
                "eps_hat": eps_hat,
                "maximize": maximize,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        check_betas(self, options)
        if not options["threshold"] >= 4:
            raise ValueError(
                f"RAdam: threshold must be 4 or more, got {options['threshold']}: "
                "the rectification is the root of a negative number below"
            )

    def rule(self, group: Group) -> Rule:
        return _RADAM

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        rest = 1 - beta2**t
        final = 2 / (1 - beta2) - 1
        length = final - 2 * t * beta2**t / rest
        step = group["lr"] / (1 - beta1**t)
        if length <= group["threshold"]:  # the quotient is not used: any ε above 0 will do
            return step, 0.0, 1 - beta1, beta2, 1 - beta2, 1.0
        rectification = math.sqrt(
            (length - 4) * (length - 2) * final / ((final - 4) * (final - 2) * length)
        )
        eps = group["eps"] if group["eps_hat"] else group["eps"] * math.sqrt(rest)
        adaptive = step * rectification * math.sqrt(rest)
        return 0.0, adaptive, 1 - beta1, beta2, 1 - beta2, eps
