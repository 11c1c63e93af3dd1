"""Adam, with weight decay in the gradient (`Adam`) or beside it (`AdamW`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["RULES", "Adam", "AdamW", "check_betas"]


def adam(
    xp: Any, p: Any, g: Any, m: Any, v: Any, a: Any, c1: Any, beta2: Any, c2: Any, eps: Any
) -> Any:
    """m ← m + (1 − β₁)(g − m);  v ← β₂ v + (1 − β₂) g²;  p ← p − a m / (√v + ε̂).

    c1 = 1 − β₁ and c2 = 1 − β₂ come as numbers of their own, computed in double precision. With
    a = lr √(1 − β₂ᵗ) / (1 − β₁ᵗ) and ε̂ = ε √(1 − β₂ᵗ) the last equation is p − lr m̂ / (√v̂ + ε)
    with numerator and denominator times √(1 − β₂ᵗ) (Kingma & Ba 2015, end of section 2).
    """
    m = m + c1 * (g - m)
    v = beta2 * v + c2 * g * g
    return p - a * m / (xp.sqrt(v) + eps), m, v


def amsgrad(
    xp: Any, p: Any, g: Any, m: Any, v: Any, v_max: Any,
    a: Any, c1: Any, beta2: Any, c2: Any, eps: Any,
) -> Any:  # fmt: skip
    """As `adam`, with v_max ← max(v_max, v) in place of v in the last equation."""
    m = m + c1 * (g - m)
    v = beta2 * v + c2 * g * g
    v_max = xp.maximum(v_max, v)
    return p - a * m / (xp.sqrt(v_max) + eps), m, v, v_max


_ADAM = Rule(adam, ("m", "v"))
_AMSGRAD = Rule(amsgrad, ("m", "v", "v_max"))

#: name -> update
RULES = {"adam": _ADAM, "adam_amsgrad": _AMSGRAD}


def check_betas(optimizer: Optimizer, options: Mapping[str, Any]) -> None:
    """Raise ValueError unless ``options["betas"]`` are two numbers in [0, 1)."""
    betas = options["betas"]
    if not (isinstance(betas, tuple) and len(betas) == 2 and all(0 <= b < 1 for b in betas)):
        raise ValueError(
            f"{type(optimizer).__name__}: betas must be two numbers in [0, 1), got {betas}"
        )


class Adam(Optimizer):
    r"""Adaptive moments (rows O-10, O-11).

    With :math:`g_t` the gradient at :math:`p_t` (plus ``weight_decay`` · :math:`p_t`), t = 1, 2, …
    and m_0 = v_0 = 0::

        m_t     = β1 · m_{t-1} + (1 - β1) · g_t
        v_t     = β2 · v_{t-1} + (1 - β2) · g_t²
        m̂_t     = m_t / (1 - β1^t)
        v̂_t     = v_t / (1 - β2^t)
        p_{t+1} = p_t - lr · m̂_t / (√v̂_t + ε)

    Arguments:
        params: see `Optimizer`.
        lr: the learning rate; about the largest change of an entry in one step.
        betas: (β1, β2), how slowly the mean of the gradient and of its square forget.
        eps: keeps the quotient bounded where gradients vanish, and outside the root; an entry
            whose gradient is well below it hardly moves.
        weight_decay: L2 regularization: it goes through the moments. That is not weight decay
            proper (erratum E004-24); `AdamW` is.
        amsgrad: use the largest v so far in place of v (Reddi et al. 2018).
        maximize: climb instead.
        decoupled_weight_decay: shrink the parameters by 1 - lr·weight_decay instead, as `AdamW`.
        eps_hat: add ε to √v_t before its correction, as Keras does (K-05) and the end of section 2
            of the paper: lr · √(1 - β2^t) / (1 - β1^t) · m_t / (√v_t + ε̂). At first that ε̂ weighs
            as ε = ε̂ / √(1 - β2^t) does, 32 times as much with β2 = 0.999.

    State: m and v (and v_max), and per parameter the number t of updates.

    Where others differ: t counts updates from 1, as PyTorch, Keras and note 004 (44) do; note 000
    prints the exponent t where the first update has t = 0, which divides by zero (errata E000-24,
    E004-18). Optax has a second ε inside the root.

    Reference: Kingma & Ba, "Adam: a method for stochastic optimization", 2015.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0, -1.0])
    >>> optimizer = cr.optim.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # the first step is lr in each direction, however large the gradient
    >>> w
    parameter([ 3.5, -0.5])
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        eps_hat: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
                "eps_hat": eps_hat,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        check_betas(self, options)

    def rule(self, group: Group) -> Rule:
        return _AMSGRAD if group["amsgrad"] else _ADAM

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        root = math.sqrt(1 - beta2**t)
        step = group["lr"] * root / (1 - beta1**t)
        eps = group["eps"] if group["eps_hat"] else group["eps"] * root
        return step, 1 - beta1, beta2, 1 - beta2, eps


class AdamW(Adam):
    r"""Adam with decoupled weight decay (rows O-12, R-02, R-09).

    With the moments of `Adam` from the gradient alone::

        p_{t+1} = p_t - lr · (m̂_t / (√v̂_t + ε) + weight_decay · p_t)

    Arguments:
        params, lr, betas, eps, amsgrad, maximize, eps_hat: as for `Adam`.
        weight_decay: every step shrinks the parameters by 1 - lr·weight_decay, whatever their
            gradients were. PyTorch's default, 0.01.

    Where others differ: the decay is lr·λ, as in PyTorch; the paper has a schedule η_t·λ without
    lr, so that a λ from there is to be divided by lr. Adding λp to the gradient instead (`Adam`
    with ``weight_decay``) decays entries with large gradients less; the two are equal only for
    plain SGD (erratum E004-24).

    Reference: Loshchilov & Hutter, "Decoupled weight decay regularization", 2019.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0, -1.0])
    >>> optimizer = cr.optim.AdamW([w], lr=0.5, weight_decay=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # 4 * 0.75 - 0.5 and -1 * 0.75 + 0.5
    >>> w
    parameter([ 2.5 , -0.25])
    """

    decoupled: ClassVar[bool] = True

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        eps_hat: bool = False,
    ) -> None:
        Optimizer.__init__(
            self,
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "eps_hat": eps_hat,
            },
        )
