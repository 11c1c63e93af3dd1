"""NAdam: Adam with Nesterov's look ahead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from chainrule.optim.adam import check_betas
from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["RULES", "NAdam"]


def nadam(
    xp: Any, p: Any, g: Any, m: Any, v: Any,
    a: Any, b: Any, c1: Any, beta2: Any, c2: Any, eps: Any,
) -> Any:  # fmt: skip
    """m ← m + (1 − β₁)(g − m);  v ← β₂ v + (1 − β₂) g²;  p ← p − (a g + b m) / (√v + ε̂).

    The forms differ in the weights a of the gradient and b of the mean. As in `adam`, a, b and
    ε̂ contain √(1 − β₂ᵗ).
    """
    m = m + c1 * (g - m)
    v = beta2 * v + c2 * g * g
    return p - (a * g + b * m) / (xp.sqrt(v) + eps), m, v


_NADAM = Rule(nadam, ("m", "v"))

#: name -> update
RULES = {"nadam": _NADAM}


class NAdam(Optimizer):
    r"""Adam whose momentum looks one step ahead (row O-14).

    With the moments m_t, v_t of `Adam`, v̂_t = v_t / (1 - β2^t) and t = 1, 2, …::

        μ_t     = β1 · (1 - 0.5 · 0.96^(t · momentum_decay))
        m̄_t     = μ_{t+1} · m_t / (1 - μ_1 ⋯ μ_{t+1}) + (1 - μ_t) · g_t / (1 - μ_1 ⋯ μ_t)
        p_{t+1} = p_t - lr · m̄_t / (√v̂_t + ε)

    Arguments:
        params: see `Optimizer`.
        lr: the learning rate.
        betas: (β1, β2), as for `Adam`.
        eps: keeps the quotient bounded.
        weight_decay: L2 regularization, added to the gradient.
        momentum_decay: how fast μ_t rises to β1. PyTorch's 0.004; 1 gives Keras's schedule (K-04,
            erratum E004-21).
        decoupled_weight_decay: shrink the parameters by 1 - lr·weight_decay instead, as `AdamW`.
        form: how m̄_t is made.

            - ``"schedule"``, the equation above, as in the paper, PyTorch and Keras;
            - ``"constant"``: the same with every μ equal to β1, as in Optax:
              β1·m_t/(1 - β1^(t+1)) + (1 - β1)·g_t/(1 - β1^t). ``momentum_decay`` is not used;
            - ``"ruder"``: both divided by 1 - β1^t, the simplification of Ruder 2016;
            - ``"printed"``: note 004 (60), β1·m_t/(1 - β1^t) + (1 - β1)·g_t, which leaves the
              gradient uncorrected (erratum E004-20).

            With the defaults, the first step is 1.474·lr in the constant form, 1.9·lr in Ruder's
            and 1·lr in the printed one.
        maximize: climb instead.

    State: m and v, and the number t of updates, from which the product of the μ follows.

    Where PyTorch differs: its product is of the μ at the time; where β1 is changed on the way (as
    by a one-cycle schedule), here all factors are those of the present β1, as the bias corrections
    of `Adam` are in both.

    Raises:
        ValueError: for an option out of range or an unknown form.

    References: Dozat, "Incorporating Nesterov momentum into Adam", 2016; Ruder, "An overview of
    gradient descent optimization algorithms", 2016.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0])
    >>> optimizer = cr.optim.NAdam([w], lr=0.5, form="constant")
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # 4 - 1.474 · 0.5
    >>> round(w.detach().item(), 3)
    3.263
    """

    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "form": ("schedule", "constant", "ruder", "printed")
    }

    def __init__(
        self,
        params: Any = None,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        form: str = "schedule",
        maximize: bool = False,
    ) -> None:
        self._product = _Product()
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "form": form,
                "maximize": maximize,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        check_betas(self, options)
        decay = options["momentum_decay"]
        if not 0 <= decay < float("inf"):
            raise ValueError(f"NAdam: momentum_decay must be 0 or more, got {decay}")

    def rule(self, group: Group) -> Rule:
        return _NADAM

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        of_gradient, of_mean = self._weights(group, t)
        root = math.sqrt(1 - beta2**t)
        step = group["lr"] * root
        return (
            step * of_gradient, step * of_mean, 1 - beta1, beta2, 1 - beta2, group["eps"] * root
        )  # fmt: skip

    def _weights(self, group: Group, t: int) -> tuple[float, float]:
        """The weights of the gradient and of the mean in m̄_t."""
        beta, form = group["betas"][0], group["form"]
        if form == "schedule":
            mu = _momentum(beta, group["momentum_decay"], t)
            ahead = _momentum(beta, group["momentum_decay"], t + 1)
            product = self._product.up_to(t, beta, group["momentum_decay"])
            return (1 - mu) / (1 - product), ahead / (1 - product * ahead)
        now = 1 - beta**t
        if form == "constant":
            return (1 - beta) / now, beta / (1 - beta ** (t + 1))
        if form == "ruder":
            return (1 - beta) / now, beta / now
        return 1 - beta, beta / now


def _momentum(beta: float, decay: float, t: int) -> float:
    return beta * (1 - 0.5 * math.pow(0.96, t * decay))


class _Product:
    """μ_1 ⋯ μ_t, which goes on from the last one asked for."""

    def __init__(self) -> None:
        self._schedule: tuple[float, float] | None = None
        self._t, self._value = 0, 1.0

    def up_to(self, t: int, beta: float, decay: float) -> float:
        if self._schedule != (beta, decay) or t < self._t:
            self._schedule, self._t, self._value = (beta, decay), 0, 1.0
        while self._t < t and self._value > 1e-20:  # below, 1 minus it is 1
            self._t += 1
            self._value *= _momentum(beta, decay, self._t)
        return self._value
