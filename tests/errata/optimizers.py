"""Errata of optimizers: each rule as printed, the library's optimizer, and torch's."""

from __future__ import annotations

import math
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
    worst,
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

    usual, path = torch.get_default_dtype(), []
    torch.set_default_dtype(torch.float64)  # for NAdam's product of momenta, which is a tensor
    try:
        p = torch.nn.Parameter(torch.tensor(START))
        optimizer = make(torch.optim, [p])
        for k, g in enumerate(gradients):
            if lrs is not None:
                optimizer.param_groups[0]["lr"] = lrs[k]
            p.grad = torch.tensor(np.array(g))
            optimizer.step()
            path.append(p.detach().numpy().copy())
    finally:
        torch.set_default_dtype(usual)
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


# -- momentum by its other names ------------------------------------------------------------------


@erratum("E000-25", within=ROUNDING, needs=TORCH)
def averaged_momentum() -> Errors:
    """v = γv + (1 − γ)g beside torch's SGD at the same rate;
    `cr.optim.Momentum(form="ema")` beside torch's at the rate η(1 − γ)."""

    def printed(p: Any, g: Any, s: State, t: int) -> Any:
        return p - 0.1 * mean(s, "v", g, 0.9)

    same = torchs(lambda o, p: o.SGD(p, lr=0.1, momentum=0.9))
    tenth = torchs(lambda o, p: o.SGD(p, lr=0.1 * (1 - 0.9), momentum=0.9))
    found = ours(lambda p: cr.optim.Momentum(p, lr=0.1, momentum=0.9, form="ema"))
    return error(written(printed), same), off(found, tenth)


def _heavy_ball(lr: float) -> np.ndarray:
    """θ_{t+1} = θ_t − η g + β (θ_t − θ_{t−1}), Polyak's own form, on given gradients."""

    def rule(p: Any, g: Any, s: State, t: int) -> Any:
        last = s.get("last", p)
        s["last"] = p
        return p - lr * g + 0.9 * (p - last)

    return written(rule)


@erratum("E004-17", within=ROUNDING)
def printed_polyak() -> Errors:
    """θ −= (1 + β)v beside Polyak's η g and β(θ_t − θ_{t−1}); `cr.optim.Momentum(form="polyak")`;
    its `form="printed_polyak"` is Polyak's at the rate η(1 + β)."""
    found = ours(lambda p: cr.optim.Momentum(p, lr=0.05, momentum=0.9, form="polyak"))
    as_it_stands = ours(
        lambda p: cr.optim.Momentum(p, lr=0.05, momentum=0.9, form="printed_polyak")
    )
    return error(written(_velocity(0.05, times=1.9)), _heavy_ball(0.05)), worst(
        off(found, _heavy_ball(0.05)), off(as_it_stands, _heavy_ball(0.05 * 1.9))
    )


@erratum("X-05", within=ROUNDING, needs=TORCH)
def three_momenta() -> Errors:
    """The notes' average and (1 + β) forms beside torch's SGD with the same η and β: the further;
    `cr.optim.Momentum(form="velocity")`."""

    def averaged(p: Any, g: Any, s: State, t: int) -> Any:
        return p - 0.05 * mean(s, "v", g, 0.9)

    expected = torchs(lambda o, p: o.SGD(p, lr=0.05, momentum=0.9))
    found = ours(lambda p: cr.optim.Momentum(p, lr=0.05, momentum=0.9, form="velocity"))
    others = [written(averaged), written(_velocity(0.05, times=1.9))]
    return worst(*(off(path, expected) for path in others)), off(found, expected)


# -- rules with a second moment only --------------------------------------------------------------


@erratum("E000-21", within=ROUNDING, needs=TORCH)
def adagrad_epsilon() -> Errors:
    """AdaGrad with ε = 10⁸ beside torch's with 10⁻⁸; `cr.optim.Adagrad`, 40 steps."""

    def printed(p: Any, g: Any, s: State, t: int) -> Any:
        s["v"] = s.get("v", 0.0) + g * g
        return p - 0.1 / (np.sqrt(s["v"]) + 1e8) * g

    return beside(written(printed), "Adagrad", lr=0.1, eps=1e-8)


ADADELTA = {"lr": 1.0, "rho": 0.95, "eps": 1e-6}


@erratum("E000-22", within=ROUNDING, needs=TORCH)
def adadelta_one_symbol() -> Errors:
    """AdaDelta with the root of the last update itself: the root of a negative number at step 2;
    `cr.optim.Adadelta`; torch, 40 steps."""

    def printed(p: Any, g: Any, s: State, t: int) -> Any:
        v = mean(s, "v", g * g, 0.95)
        s["d"] = -(np.sqrt(s.get("d", np.zeros(3))) + 1e-6) / (np.sqrt(v) + 1e-6) * g
        return p + s["d"]

    with as_printed():
        path = written(printed)
    return beside(path, "Adadelta", **ADADELTA)


@erratum("E000-23", at_least=0.5, within=ROUNDING, needs=TORCH)
def adadelta_epsilon() -> Errors:
    """AdaDelta with ε outside both roots: the largest distance from torch's path, relative to how
    far that came in 40 steps; `cr.optim.Adadelta`."""

    def printed(p: Any, g: Any, s: State, t: int) -> Any:
        v = mean(s, "v", g * g, 0.95)
        d = -(np.sqrt(s.get("u", 0.0)) + 1e-6) / (np.sqrt(v) + 1e-6) * g
        mean(s, "u", d * d, 0.95)
        return p + d

    expected = torchs(lambda o, p: o.Adadelta(p, **ADADELTA))
    found = ours(lambda p: cr.optim.Adadelta(p, **ADADELTA))
    way = np.max(np.abs(expected - START))
    return off(written(printed), expected) / way, off(found, expected) / way


@erratum("E004-26", within=ROUNDING, needs=TORCH)
def epsilon_outside_the_root() -> Errors:
    """RMSProp with ε = 10⁻⁷ inside the root, as in Keras, beside torch's outside, with gradients of
    about 10⁻⁴; `cr.optim.RMSprop`."""
    small = [1e-4 * g for g in GRADIENTS]

    def inside(p: Any, g: Any, s: State, t: int) -> Any:
        return p - 0.01 * g / np.sqrt(mean(s, "v", g * g, 0.9) + 1e-7)

    return beside(written(inside, small), "RMSprop", small, lr=0.01, alpha=0.9, eps=1e-7)


# -- AdaMax, NAdam, RAdam -------------------------------------------------------------------------


@erratum("E004-19", at_least=1e-4, within=ROUNDING, needs=TORCH)
def adamax_epsilon() -> Errors:
    """AdaMax with u + ε beside torch's, with gradients of about ε = 10⁻⁸; `cr.optim.Adamax`,
    40 steps."""
    tiny = [1e-8 * g for g in GRADIENTS]

    def printed(p: Any, g: Any, s: State, t: int) -> Any:
        m = mean(s, "m", g, 0.9) / (1 - 0.9**t)
        s["u"] = np.maximum(0.999 * s.get("u", 0.0), np.abs(g))
        return p - 0.1 * m / (s["u"] + 1e-8)

    return beside(written(printed, tiny), "Adamax", tiny, lr=0.1)


def _nadam(p: Any, g: Any, s: State, t: int) -> Any:
    m, v = mean(s, "m", g, 0.9) / (1 - 0.9**t), mean(s, "v", g * g, 0.999) / (1 - 0.999**t)
    return p - 0.01 * (0.9 * m + (1 - 0.9) * g) / (np.sqrt(v) + 1e-8)


@erratum("E004-20", at_least=1e-3, within=ROUNDING, needs=TORCH)
def nadam_correction() -> Errors:
    """NAdam with an uncorrected gradient, beside torch's with its schedule held constant, which is
    Dozat's; `cr.optim.NAdam`, 40 steps."""
    return beside(written(_nadam), "NAdam", lr=0.01, momentum_decay=1e7)


@erratum("E004-21", within=ROUNDING, needs=TORCH)
def nadam_schedule() -> Errors:
    """NAdam as printed, without a schedule of the momentum, beside torch's default;
    `cr.optim.NAdam`, 40 steps."""
    return beside(written(_nadam), "NAdam", lr=0.01)


def _radam(threshold: float, adaptive: bool) -> Rule:
    """RAdam with torch's ε; below the threshold a step of Adam or of the averaged gradient."""

    def rule(p: Any, g: Any, s: State, t: int) -> Any:
        m, v = mean(s, "m", g, 0.9) / (1 - 0.9**t), mean(s, "v", g * g, 0.999)
        root = (np.sqrt(v) + 1e-8) / math.sqrt(1 - 0.999**t)
        top = 2 / (1 - 0.999) - 1
        rho = top - 2 * t * 0.999**t / (1 - 0.999**t)
        if rho <= threshold:
            return p - 0.01 * (m / root if adaptive else m)
        r = math.sqrt((rho - 4) * (rho - 2) * top / ((top - 4) * (top - 2) * rho))
        return p - 0.01 * r * m / root

    return rule


@erratum("E004-22", within=ROUNDING, needs=TORCH)
def radam_fallback() -> Errors:
    """RAdam whose first steps divide by √v̂, with gradients of about 10⁻³; `cr.optim.RAdam`; torch,
    40 steps."""
    small = [1e-3 * g for g in GRADIENTS]
    return beside(written(_radam(5, adaptive=True), small), "RAdam", small, lr=0.01)


@erratum("E004-23", at_least=1e-3, within=ROUNDING, needs=TORCH)
def radam_threshold() -> Errors:
    """RAdam with the threshold 4 beside torch's 5; `cr.optim.RAdam`, 40 steps."""
    return beside(written(_radam(4, adaptive=False)), "RAdam", lr=0.01)


@erratum("X-10", within=ROUNDING, needs=TORCH)
def defaults() -> Errors:
    """The notes' ρ = 0.95 and 0.9 beside torch's defaults of AdaDelta and RMSProp; the library's
    defaults of all options that both have, for eight optimizers."""
    import inspect

    import torch

    def options(owner: Any, name: str) -> dict[str, Any]:
        parameters = inspect.signature(getattr(owner, name)).parameters
        return {k: p.default for k, p in parameters.items() if p.default is not p.empty}

    names = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"]
    apart = 0.0
    for name in names:
        theirs, mine = options(torch.optim, name), options(cr.optim, name)
        for key in {"lr", "betas", "rho", "alpha", "eps", "weight_decay"} & theirs.keys():
            apart = max(apart, off(np.array(mine[key]), np.array(theirs[key])))
    rho, alpha = (
        options(torch.optim, n)[k] for n, k in (("Adadelta", "rho"), ("RMSprop", "alpha"))
    )
    return max(abs(0.95 - rho), abs(0.9 - alpha)), apart
