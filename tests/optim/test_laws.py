"""What optimizers do to scales and to decay, whatever the numbers (O-16, E004-24, E004-25)."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import chainrule as cr

#: Optimizers whose steps have the length of the rate, whatever that of the gradient, if ε is 0.
INVARIANT: list[tuple[str, dict[str, Any]]] = [
    ("Adagrad", {"eps": 0.0}),
    ("RMSprop", {"eps": 0.0}),
    ("RMSprop", {"eps": 0.0, "momentum": 0.5}),
    ("RMSprop", {"eps": 0.0, "eps_inside": True, "momentum": 0.5}),
    ("Adam", {"eps": 0.0}),
    ("Adam", {"eps": 0.0, "amsgrad": True}),
    ("AdamW", {"eps": 0.0, "weight_decay": 0.1}),
    ("Adamax", {"eps": 0.0}),
    ("NAdam", {"eps": 0.0, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("NAdam", {"eps": 0.0, "form": "ruder"}),
    ("Rprop", {}),
]
#: Optimizers whose way is proportional to the gradient.
LINEAR: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    *[("Momentum", {"form": f}) for f in ("velocity", "ema", "polyak", "nesterov")],
    ("ASGD", {"lambd": 0.0}),
]
EPS = [(n, o) for n, o in INVARIANT if "eps" in o and "amsgrad" not in o]

seeds = st.integers(0, 2**31)


def path(name: str, options: dict[str, Any], seed: int, scale: float = 1.0, steps: int = 12) -> Any:
    """Where gradients of one scale lead to; they are not near 0, and do not depend on p."""
    rng = np.random.default_rng(seed)
    p = cr.nn.Parameter(rng.normal(size=4))
    optimizer = getattr(cr.optim, name)([p], **{"lr": 0.01, **options})
    found = [p.detach().numpy().copy()]
    for _ in range(steps):
        p.grad = scale * rng.uniform(0.1, 2.0, 4) * rng.choice([-1.0, 1.0], 4)
        optimizer.step()
        found.append(p.detach().numpy().copy())
    return np.array(found)


@settings(max_examples=15)
@given(seeds, st.integers(-120, 120))
@pytest.mark.parametrize(("name", "options"), INVARIANT, ids=str)
def test_powers_of_two_change_no_bit(
    name: str, options: dict[str, Any], seed: int, power: int
) -> None:
    one, other = (path(name, options, seed, scale) for scale in (1.0, 2.0**power))
    np.testing.assert_array_equal(one, other)


@settings(max_examples=10)
@given(seeds, st.floats(1e-30, 1e30))
@pytest.mark.parametrize(("name", "options"), INVARIANT, ids=str)
def test_adaptive_steps_do_not_see_the_scale(
    name: str, options: dict[str, Any], seed: int, scale: float
) -> None:
    one, other = (path(name, options, seed, c) for c in (1.0, scale))
    np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@settings(max_examples=10)
@given(seeds, st.floats(1e-2, 1e2))
@pytest.mark.parametrize(("name", "options"), EPS, ids=str)
def test_and_hardly_with_a_small_eps(
    name: str, options: dict[str, Any], seed: int, scale: float
) -> None:
    """Every step is off by ε over the root, here at least 0.1 · 0.1 · 0.01, times the rate."""
    for eps in (1e-7, 1e-10):
        small = {**options, "eps": eps * eps if options.get("eps_inside") else eps}
        one, other = (path(name, small, seed, c) for c in (1.0, scale))
        assert np.abs(one - other).max() < 2 * 12 * 0.01 * eps / 1e-4 + 1e-13


@settings(max_examples=10)
@given(seeds, st.floats(1e-6, 1e6))
@pytest.mark.parametrize(("name", "options"), LINEAR, ids=str)
def test_linear_steps_grow_with_the_gradient(
    name: str, options: dict[str, Any], seed: int, scale: float
) -> None:
    one, other = (path(name, options, seed, c) for c in (1.0, scale))
    way = one - one[0]
    np.testing.assert_allclose(other - other[0], scale * way, rtol=1e-9, atol=1e-13 * (1 + scale))


@settings(max_examples=15)
@given(seeds, st.floats(1.0, 1e6))
def test_adadelta_does_not_see_the_scale_well_above_eps(seed: int, scale: float) -> None:
    options = {"lr": 1.0, "eps": 1e-6}
    one, other = (path("Adadelta", options, seed, c) for c in (1e3, 1e3 * scale))
    assert np.abs(one - one[0]).max() > 1e-3
    np.testing.assert_allclose(other - other[0], one - one[0], rtol=1e-7, atol=1e-12)


# -- decay -----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(seeds, st.floats(1e-3, 0.5), st.floats(0.0, 1.9))
def test_l2_is_shrinking_for_plain_descent(seed: int, lr: float, decay: float) -> None:
    """O-16: W(1 - ηλ) - η∇L, over many steps."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=4)
    p = cr.nn.Parameter(w)
    optimizer = cr.optim.SGD([p], lr=lr, weight_decay=decay)
    for _ in range(20):
        p.grad = g = rng.normal(size=4)
        optimizer.step()
        w = w * (1 - lr * decay) - lr * g
    np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", {"momentum": 0.9}), ("Adam", {}), ("Adagrad", {}), ("RMSprop", {}), ("Adamax", {})],
    ids=str,
)
def test_and_for_no_other(name: str, options: dict[str, Any]) -> None:
    """E004-24."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=4)
    p, q = cr.nn.Parameter(start), cr.nn.Parameter(start)
    l2 = getattr(cr.optim, name)([p], lr=0.05, weight_decay=0.5, **options)
    plain = getattr(cr.optim, name)([q], lr=0.05, **options)
    for _ in range(20):
        g = rng.normal(size=4)
        p.grad, q.grad = g, g.copy()
        l2.step()
        q.assign(q.detach().numpy() * (1 - 0.05 * 0.5))
        plain.step()
    assert np.abs(p.detach().numpy() - q.detach().numpy()).max() > 1e-2


@settings(max_examples=40)
@given(st.floats(0.01, 3.0))
def test_decay_shrinks_below_two_and_keeps_signs_below_one(product: float) -> None:
    """E004-25: 1 - ηλ is below 1 for every ηλ above 0, and that is not enough."""
    for name in ("SGD", "AdamW"):
        p = cr.nn.Parameter(np.array([1.0, -3.0]))
        before = p.detach().numpy().copy()
        optimizer = getattr(cr.optim, name)([p], lr=0.5, weight_decay=product / 0.5)
        p.grad = np.zeros(2)
        optimizer.step()
        ratio = p.detach().numpy() / before
        np.testing.assert_allclose(ratio, 1 - product, rtol=1e-12, atol=1e-15)
        assert (np.abs(ratio) < 1).all() == (0 < product < 2)
        assert (ratio > 0).all() == (product < 1)
