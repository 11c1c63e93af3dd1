"""Errata of optimizers: each rule as printed, the library's optimizer, and torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import chainrule as cr
from errata.measured import (
    ROUNDING,
    Errors,
    array,
    as_printed,
    erratum,
    error,
    off,
    rng,
)

State = dict[str, Any]
Rule = Callable[[np.ndarray, np.ndarray, State, int], np.ndarray]

TORCH = ["torch"]
START = rng(50).normal(size=3)
GRADIENTS = list(rng(51).normal(size=(40, 3)))


def written(
    rule: Rule, gradients: Iterable[Any] = GRADIENTS, first: int = 1, start: Any = START
) -> np.ndarray:
    """The iterates of a rule ``(θ, g, state, t) -> θ`` as a formula sheet writes it; states start
    at 0."""
    p, state, path = np.array(start), {}, []
    for t, g in enumerate(gradients, first):
        p = rule(p, g, state, t)
        path.append(p)
    return np.array(path)


def ours(make: Any, gradients: Iterable[Any] = GRADIENTS, lrs: Any = None) -> np.ndarray:
    """The iterates of one of the library's optimizers."""
    p = cr.nn.Parameter(START)
    optimizer, path = make([p]), []
    for k, g in enumerate(gradients):
        if lrs is not None:
            optimizer.param_groups[0]["lr"] = lrs[k]
        p.grad = np.array(g)
        optimizer.step()
        path.append(array(p).copy())
    return np.array(path)


def torchs(make: Any, gradients: Iterable[Any] = GRADIENTS, lrs: Any = None) -> np.ndarray:
    """The iterates of an optimizer of torch, which ``make(torch.optim, parameters)`` makes."""
    import torch

    p = torch.nn.Parameter(torch.tensor(START))
    optimizer, path = make(torch.optim, [p]), []
    for k, g in enumerate(gradients):
        if lrs is not None:
            optimizer.param_groups[0]["lr"] = lrs[k]
        p.grad = torch.tensor(np.array(g))
        optimizer.step()
        path.append(p.detach().numpy().copy())
    return np.array(path)


def beside(
    printed: Any, name: str, gradients: Any = GRADIENTS, lrs: Any = None, **options: Any
) -> Errors:
    """A printed path and the library's optimizer of this name, both beside torch's."""
    expected = torchs(lambda o, p: getattr(o, name)(p, **options), gradients, lrs)
    found = ours(lambda p: getattr(cr.optim, name)(p, **options), gradients, lrs)
    return error(printed, expected), off(found, expected)


def mean(s: State, key: str, x: Any, rate: float) -> Any:
    """An exponential moving average kept in the state."""
    s[key] = rate * s.get(key, 0.0) + (1 - rate) * x
    return s[key]


# -- Adam and its kin -----------------------------------------------------------------------------


def _adam(p: Any, g: Any, s: State, t: int) -> Any:
    m, v = mean(s, "m", g, 0.9) / (1 - 0.9**t), mean(s, "v", g * g, 0.999) / (1 - 0.999**t)
    return p - 0.1 * m / (np.sqrt(v) + 1e-8)


@erratum("E000-24", within=ROUNDING, needs=TORCH)
def adam_exponent() -> Errors:
    """Adam with 1 − βᵗ in the step from t to t + 1, t = 0 first: a division by 0; `cr.optim.Adam`;
    torch, 40 steps."""
    with as_printed():
        return beside(written(_adam, first=0), "Adam", lr=0.1)


@erratum("E004-18", within=ROUNDING, needs=TORCH)
def adam_first_step() -> Errors:
    """Adam whose t, not stated, starts at 0; `cr.optim.Adam` from t = 1; torch, 40 steps."""
    with as_printed():
        return beside(written(_adam, first=0), "Adam", lr=0.1)


@erratum("E004-24", within=ROUNDING, needs=TORCH)
def weight_decay_is_not_l2() -> Errors:
    """Adam with the gradient of an L2 penalty added, beside decoupled decay; `cr.optim.AdamW`;
    torch's AdamW, 40 steps."""

    def l2(p: Any, g: Any, s: State, t: int) -> Any:
        return _adam(p, g + 0.1 * p, s, t)

    return beside(written(l2), "AdamW", lr=0.1, weight_decay=0.1)


@erratum("E004-25", within=ROUNDING)
def decay_that_grows() -> Errors:
    """By how much |w| may grow in a step of decay alone, for ηλ in (0, 3] as said and for ηλ in
    (0, 1], by `cr.optim.SGD(weight_decay=λ)`."""

    def growth(amounts: Any) -> float:
        most = 0.0
        for amount in amounts:
            w = cr.nn.Parameter(np.array([2.0]))
            w.grad = np.zeros(1)
            cr.optim.SGD([w], lr=0.5, weight_decay=amount / 0.5).step()
            most = max(most, abs(float(array(w)[0])) / 2.0 - 1)
        return most

    return growth(np.linspace(0.1, 3, 30)), growth(np.linspace(0.1, 1, 10))


# -- momentum -------------------------------------------------------------------------------------


def _velocity(lr: float, times: float = 1.0, beta: float = 0.9) -> Rule:
    def rule(p: Any, g: Any, s: State, t: int) -> Any:
        s["v"] = beta * s.get("v", 0.0) + lr * g
        return p - times * s["v"]

    return rule


@erratum("E004-15", within=ROUNDING, needs=TORCH)
def rate_inside_the_velocity() -> Errors:
    """v = βv + ηg, θ −= v where η halves after 10 of 40 steps, beside torch's SGD, which keeps η
    outside; `cr.optim.SGD`."""
    lrs = [0.05 if t < 10 else 0.025 for t in range(40)]

    def printed(p: Any, g: Any, s: State, t: int) -> Any:
        return _velocity(lrs[t - 1])(p, g, s, t)

    return beside(written(printed), "SGD", lrs=lrs, lr=0.05, momentum=0.9)


@erratum("E004-16", within=ROUNDING, needs=TORCH)
def nesterovs_iterates() -> Errors:
    """On ½θᵀAθ, the printed iterates θ beside torch's, which are θ − βv;
    `cr.optim.SGD(nesterov=True)`."""
    import torch

    slope, beta, lr = np.array([1.0, 3.0, 10.0]), 0.9, 0.05
    p, v, printed = np.array(START), np.zeros(3), []
    t = torch.nn.Parameter(torch.tensor(START))
    c = cr.nn.Parameter(START)
    theirs = torch.optim.SGD([t], lr=lr, momentum=beta, nesterov=True)
    mine = cr.optim.SGD([c], lr=lr, momentum=beta, nesterov=True)
    their_path, my_path = [], []
    for _ in range(40):
        v = beta * v + lr * slope * (p - beta * v)
        p = p - v
        printed.append(p)
        t.grad = torch.tensor(slope) * t.detach()
        theirs.step()
        their_path.append(t.detach().numpy().copy())
        c.grad = slope * array(c)
        mine.step()
        my_path.append(array(c).copy())
    return error(printed, their_path), off(my_path, their_path)


def _inverse_root(inside: bool, rho: float, eps: float, lr: float) -> Rule:
    """RMSProp with ε inside or outside the root."""

    def rule(p: Any, g: Any, s: State, t: int) -> Any:
        v = mean(s, "v", g * g, rho)
        return p - lr * g / (np.sqrt(v + eps) if inside else np.sqrt(v) + eps)

    return rule
