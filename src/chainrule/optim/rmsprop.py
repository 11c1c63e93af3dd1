"""RMSprop: gradients divided by their recent root mean square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["RULES", "RMSprop"]


def rmsprop(
    xp: Any, p: Any, g: Any, v: Any, lr: Any, alpha: Any, share: Any, inside: Any, outside: Any
) -> Any:
    """v ← α v + (1 − α) g²;  p ← p − lr g / (√(v + ε_in) + ε_out).

    One of the two ε is 0; ``share`` is 1 − α, computed in double precision.
    """
    v = alpha * v + share * g * g
    return p - lr * g / (xp.sqrt(v + inside) + outside), v


def rmsprop_momentum(
    xp: Any, p: Any, g: Any, v: Any, buffer: Any,
    lr: Any, alpha: Any, share: Any, inside: Any, outside: Any, mu: Any,
) -> Any:  # fmt: skip
    """v ← α v + (1 − α) g²;  b ← μ b + g / (√(v + ε_in) + ε_out);  p ← p − lr b."""
    v = alpha * v + share * g * g
    buffer = mu * buffer + g / (xp.sqrt(v + inside) + outside)
    return p - lr * buffer, v, buffer


def rmsprop_centered(
    xp: Any, p: Any, g: Any, v: Any, mean: Any,
    lr: Any, alpha: Any, share: Any, inside: Any, outside: Any,
) -> Any:  # fmt: skip
    """v ← α v + (1 − α) g²;  m ← α m + (1 − α) g;  p ← p − lr g / (√(v − m² + ε_in) + ε_out)."""
    v = alpha * v + share * g * g
    mean = mean + share * (g - mean)
    return p - lr * g / (xp.sqrt(_variance(xp, v, mean) + inside) + outside), v, mean


def rmsprop_centered_momentum(
    xp: Any, p: Any, g: Any, v: Any, mean: Any, buffer: Any,
    lr: Any, alpha: Any, share: Any, inside: Any, outside: Any, mu: Any,
) -> Any:  # fmt: skip
    """v ← α v + (1 − α) g²;  m ← α m + (1 − α) g;  b ← μ b + g / (√(v − m² + ε_in) + ε_out);
    p ← p − lr b.
    """
    v = alpha * v + share * g * g
    mean = mean + share * (g - mean)
    buffer = mu * buffer + g / (xp.sqrt(_variance(xp, v, mean) + inside) + outside)
    return p - lr * buffer, v, mean, buffer


def _variance(xp: Any, v: Any, mean: Any) -> Any:
    """v − m², which rounding must not bring below 0."""
    return xp.maximum(v - mean * mean, 0.0)


#: name -> update
RULES = {
    "rmsprop": Rule(rmsprop, ("v",)),
    "rmsprop_momentum": Rule(rmsprop_momentum, ("v", "buffer")),
    "rmsprop_centered": Rule(rmsprop_centered, ("v", "mean")),
    "rmsprop_centered_momentum": Rule(rmsprop_centered_momentum, ("v", "mean", "buffer")),
}


class RMSprop(Optimizer):
    r"""Gradients divided by the root of a running mean of their squares (row O-09).

    With :math:`g_t` the gradient at :math:`p_t` (plus ``weight_decay`` · :math:`p_t`) and all
    state 0 at first, entry by entry::

        v_t     = α · v_{t-1} + (1 - α) · g_t²
        q_t     = g_t / (√v_t + ε)
        p_{t+1} = p_t - lr · q_t                        (without momentum)
        b_t     = momentum · b_{t-1} + q_t
        p_{t+1} = p_t - lr · b_t                        (with momentum)

    ``centered`` takes the running mean m_t of the gradient off: √(v_t - m_t²) in place of √v_t,
    an estimate of the standard deviation.

    Arguments:
        params: see `Optimizer`.
        lr: the learning rate.
        alpha: how slowly the mean of squares forgets, in [0, 1); the notes' ρ and β. PyTorch's
            0.99; the notes and Keras have 0.9 (erratum X-10).
        eps: keeps the quotient bounded.
        weight_decay: L2 regularization, added to the gradient.
        momentum: how much of the last quotient is kept, 0 or more.
        centered: divide by the deviation from the mean.
        eps_inside: put ε in the root, g / √(v + ε), as Keras does (K-01). The two differ where
            √v is near √ε (erratum E004-26).
        maximize: climb instead.

    State: v, and m and b where they are used.

    Where PyTorch differs: if v_t - m_t² comes out below 0 by rounding, it gives NaN; here it
    counts as 0.

    Raises:
        ValueError: for an option out of range.

    References: Tieleman & Hinton, "Lecture 6.5: RMSProp", 2012; Graves, "Generating sequences with
    recurrent neural networks", 2013 (centered).

    >>> import chainrule as cr
    >>> w = cr.nn.Parameter([4.0, -1.0])
    >>> optimizer = cr.optim.RMSprop([w], lr=0.25, alpha=0.75)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # g / √(0.25 g²) is 2
    >>> w
    parameter([ 3.5, -0.5])
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        eps_inside: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "eps_inside": eps_inside,
                "maximize": maximize,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        if not 0 <= options["alpha"] < 1:
            raise ValueError(f"RMSprop: alpha must be in [0, 1), got {options['alpha']}")
        if not 0 <= options["momentum"] < float("inf"):
            raise ValueError(f"RMSprop: momentum must be 0 or more, got {options['momentum']}")

    def rule(self, group: Group) -> Rule:
        centered = "_centered" if group["centered"] else ""
        return RULES[f"rmsprop{centered}{'_momentum' if group['momentum'] else ''}"]

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        alpha, eps = group["alpha"], group["eps"]
        roots = (eps, 0.0) if group["eps_inside"] else (0.0, eps)
        found = (group["lr"], alpha, 1 - alpha, *roots)
        return (*found, group["momentum"]) if group["momentum"] else found
