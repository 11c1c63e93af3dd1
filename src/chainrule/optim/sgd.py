"""Stochastic gradient descent, with momentum in PyTorch's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["RULES", "SGD"]


def sgd(xp: Any, p: Any, g: Any, lr: Any) -> Any:
    """p ← p − lr g."""
    return p - lr * g


def momentum(xp: Any, p: Any, g: Any, buffer: Any, lr: Any, mu: Any, share: Any) -> Any:
    """b ← μ b + (1 − dampening) g;  p ← p − lr b."""
    buffer = mu * buffer + share * g
    return p - lr * buffer, buffer


def heavy_ball(xp: Any, p: Any, g: Any, buffer: Any, lr: Any, mu: Any) -> Any:
    """b ← μ b + g;  p ← p − lr b."""
    buffer = mu * buffer + g
    return p - lr * buffer, buffer


def nesterov(xp: Any, p: Any, g: Any, buffer: Any, lr: Any, mu: Any) -> Any:
    """b ← μ b + g;  p ← p − lr (g + μ b)."""
    buffer = mu * buffer + g
    return p - lr * (g + mu * buffer), buffer


_SGD = Rule(sgd)
_MOMENTUM = Rule(momentum, ("buffer",))
_HEAVY_BALL = Rule(heavy_ball, ("buffer",))
_NESTEROV = Rule(nesterov, ("buffer",))

#: name -> update
RULES = {
    "sgd": _SGD,
    "sgd_dampened": _MOMENTUM,
    "sgd_momentum": _HEAVY_BALL,
    "sgd_nesterov": _NESTEROV,
}


class SGD(Optimizer):
    r"""Gradient descent on batches, optionally with momentum.

    Ledger O-01, O-02, O-04, O-05, O-16, R-02; plain, it is the update of backpropagation, of
    weights and biases alike: B-04, B-11, B-14 and B-20 (erratum E003-09).

    With :math:`g_t` the gradient at :math:`p_t`, plus ``weight_decay`` · :math:`p_t`::

        b_1     = g_1
        b_t     = momentum · b_{t-1} + (1 - dampening) · g_t
        p_{t+1} = p_t - lr · b_t                            (plain and heavy ball)
        p_{t+1} = p_t - lr · (g_t + momentum · b_t)         (nesterov)

    Arguments:
        params: see `Optimizer`.
        lr: the learning rate.
        momentum: how much of the last direction is kept; 0 keeps no state at all.
        dampening: takes away from every gradient but the first.
        weight_decay: L2 regularization, :math:`λ/2‖p‖²` added to the loss. For plain SGD it is the
            same as shrinking by 1 - lr·λ at every step; for optimizers that scale the gradient it
            is not (erratum E004-24): see `AdamW`. Decay needs 0 < lr·λ < 2 to shrink (erratum
            E004-25).
        nesterov: look ahead. Needs momentum and no dampening.
        maximize: climb instead.

    State: the buffer b, zero at first.

    Where others differ: the learning rate stands outside b, as in PyTorch. With it inside (Keras,
    note 004 (34); `Momentum`) the iterates are the same as long as lr is constant, and differ after
    a schedule changes it (erratum E004-15). Nesterov's form here takes the gradient at the
    parameters and stores the look-ahead point; the printed form (note 004 (36)) takes it at
    p - momentum·v. The iterates are equal when compared at the look-ahead point (erratum E004-16).

    References: Polyak 1964; Nesterov 1983; Sutskever et al., "On the importance of initialization
    and momentum in deep learning", 2013.

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0])
    >>> optimizer = cr.optim.SGD([w], lr=0.25, momentum=0.5)
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    ...     print(w.detach().item())
    2.0
    0.0
    -1.0
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        if not options["momentum"] >= 0:
            raise ValueError(f"SGD: momentum must be 0 or more, got {options['momentum']}")
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise ValueError("SGD: nesterov needs momentum above 0 and dampening 0")

    def rule(self, group: Group) -> Rule:
        if group["momentum"] == 0:
            return _SGD
        if group["nesterov"]:
            return _NESTEROV
        return _HEAVY_BALL if group["dampening"] == 0 else _MOMENTUM

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        lr, mu, dampening = group["lr"], group["momentum"], group["dampening"]
        if mu == 0:
            return (lr,)
        if group["nesterov"] or dampening == 0:
            return lr, mu
        return lr, mu, 1.0 if t == 1 else 1 - dampening
