"""The momenta of the notes, each by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from chainrule.array.dtypes import Array
from chainrule.optim.optimizer import Group, Optimizer, Rule

__all__ = ["RULES", "Momentum"]


def velocity(xp: Any, p: Any, g: Any, v: Any, lr: Any, beta: Any) -> Any:
    """v ← β v + η g;  p ← p − v."""
    v = beta * v + lr * g
    return p - v, v


def ema(xp: Any, p: Any, g: Any, v: Any, lr: Any, beta: Any, share: Any) -> Any:
    """v ← β v + (1 − β) g;  p ← p − η v."""
    v = beta * v + share * g
    return p - lr * v, v


def polyak(xp: Any, p: Any, g: Any, change: Any, lr: Any, beta: Any) -> Any:
    """Δ ← β Δ − η g;  p ← p + Δ, where Δ before is what p has changed by last."""
    change = beta * change - lr * g
    return p + change, change


def look_ahead(xp: Any, p: Any, g: Any, v: Any, lr: Any, beta: Any) -> Any:
    """v ← β v + η g;  p ← p − (η g + β v), where p is θ − β v and g the gradient there."""
    v = beta * v + lr * g
    return p - (lr * g + beta * v), v


def printed_polyak(xp: Any, p: Any, g: Any, v: Any, lr: Any, beta: Any) -> Any:
    """v ← β v + η g;  p ← p − (1 + β) v."""
    v = beta * v + lr * g
    return p - (v + beta * v), v


#: name -> update
RULES = {
    "momentum_velocity": Rule(velocity, ("v",)),
    "momentum_ema": Rule(ema, ("v",)),
    "momentum_polyak": Rule(polyak, ("change",)),
    "momentum_nesterov": Rule(look_ahead, ("v",)),
    "momentum_printed_polyak": Rule(printed_polyak, ("v",)),
}


class Momentum(Optimizer):
    r"""Gradient descent that keeps its direction, in the forms of the notes (rows O-03 to O-06).

    With η = ``lr``, β = ``momentum``, g(θ) the gradient at θ (plus ``weight_decay`` · θ) and
    v = 0 at first::

        velocity         v_t = β·v_{t-1} + η·g(θ_t);            θ_{t+1} = θ_t - v_t
        ema              v_t = β·v_{t-1} + (1 - β)·g(θ_t);      θ_{t+1} = θ_t - η·v_t
        polyak           θ_{t+1} = θ_t - η·g(θ_t) + β·(θ_t - θ_{t-1})
        nesterov         v_t = β·v_{t-1} + η·g(θ_t - β·v_{t-1});  θ_{t+1} = θ_t - v_t
        printed_polyak   v_t = β·v_{t-1} + η·g(θ_t);            θ_{t+1} = θ_t - (1 + β)·v_t

    Arguments:
        params: see `Optimizer`.
        lr: the learning rate η.
        momentum: β, in [0, 1); 0.9, as the notes suggest.
        form: one of the five.

            - ``"velocity"``: note 004 (34); Keras's SGD (K-07). `SGD` keeps η outside v, as PyTorch
              does: the same iterates while η is constant; after a change of η, the old v keeps the
              old η here (erratum E004-15).
            - ``"ema"``: note 000: the same as velocity with the rate η(1 - β) while η is constant,
              ten times less at β = 0.9 (errata E000-25, X-05).
            - ``"polyak"``: the heavy ball, the same iterates as velocity.
            - ``"nesterov"``: note 004 (36). Gradients are taken at the parameters, so the
              parameters hold the look-ahead point θ_t - β·v_{t-1}; `iterates` gives θ_t (erratum
              E004-16).
            - ``"printed_polyak"``: note 004 (38), (39), which is not Polyak's method but velocity
              with the rate η(1 + β), unstable where that is (erratum E004-17).
        weight_decay: L2 regularization, added to the gradient.
        maximize: climb instead.

    State: v, or for polyak the last change of θ.

    Raises:
        ValueError: for an option out of range or an unknown form, with the nearest.

    References: Polyak 1964; Nesterov 1983; Sutskever et al., "On the importance of initialization
    and momentum in deep learning", 2013.

    >>> import chainrule as cr
    >>> for form in ("velocity", "ema", "printed_polyak"):
    ...     w = cr.nn.Parameter([4.0])
    ...     optimizer = cr.optim.Momentum([w], lr=0.25, momentum=0.5, form=form)
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    ...     print(form, w.detach().item())
    velocity 2.0
    ema 3.0
    printed_polyak 1.0
    """

    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "form": ("velocity", "ema", "polyak", "nesterov", "printed_polyak")
    }

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        momentum: float = 0.9,
        form: str = "velocity",
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "form": form,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def check(self, options: Mapping[str, Any]) -> None:
        if not 0 <= options["momentum"] < 1:
            raise ValueError(f"Momentum: momentum must be in [0, 1), got {options['momentum']}")

    def rule(self, group: Group) -> Rule:
        return RULES[f"momentum_{group['form']}"]

    def scalars(self, group: Group, t: int) -> tuple[float, ...]:
        lr, beta = group["lr"], group["momentum"]
        return (lr, beta, 1 - beta) if group["form"] == "ema" else (lr, beta)

    def iterates(self) -> list[Array]:
        """θ of every parameter, in the order of the groups, as copies.

        They are the parameters themselves, but for ``form="nesterov"``, whose parameters hold the
        look-ahead point: there θ = p + β·v.

        >>> import numpy as np
        >>> import chainrule as cr
        >>> w = cr.nn.Parameter(np.array([4.0]))
        >>> optimizer = cr.optim.Momentum([w], lr=0.25, momentum=0.5, form="nesterov")
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w, optimizer.iterates()  # v = 2: θ = 4 - 2, and the look-ahead point is 1 further
        (parameter([1.], dtype=float64), [array([2.])])
        """
        kept, found = self._kept(), []
        for group in self.param_groups:
            for p in group["params"]:
                theta = np.array(p._data)
                if group["form"] == "nesterov" and id(p) in kept:
                    theta += group["momentum"] * kept[id(p)][1]["v"]
                found.append(theta)
        return found
