"""Activations of straight pieces: at their kinks, against torch, their ranges and errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import ops
from tests_activation import differences, value_and_derivatives

NAMES = ["hardshrink", "hardsigmoid", "hardswish", "hardtanh", "relu6", "softshrink"]


@pytest.mark.parametrize("name", [n for n in NAMES if n != "hardsigmoid"])
def test_as_torch_at_kinks_and_extremes(torch, name):
    found = differences(name, getattr(torch.nn.functional, name))
    # torch's hardswish is 0 · inf at -inf; its slopes at NaN are no NaN
    assert found == (({-np.inf}, {"nan"}, {"nan"}) if name == "hardswish" else (set(),) * 3)


def test_hardsigmoid_as_in_torch(torch):
    """Whose own derivative is 1/6 in float32 in every type, and 0 for NaN."""
    values, _, _ = differences("hardsigmoid", torch.nn.functional.hardsigmoid)
    assert values == set()
    x = np.array([-np.inf, -3.0, np.nextafter(-3.0, 0), 0.0, np.nextafter(3.0, 0), 3.0, np.inf])
    _, g, _ = value_and_derivatives("hardsigmoid", x)
    t = torch.tensor(x, requires_grad=True)
    torch.nn.functional.hardsigmoid(t).sum().backward()
    np.testing.assert_allclose(g, t.grad.numpy(), rtol=1e-7)


def test_hardsigmoid_does_not_cancel_at_its_ends():
    x = np.nextafter(-3.0, 0)
    assert ops.hardsigmoid(np.array(x)) == (x + 3) / 6 > 0


def test_the_slope_of_hardswish():
    x = np.linspace(-2.9, 2.9, 30)
    _, g, h = value_and_derivatives("hardswish", x)
    np.testing.assert_allclose(g, x / 3 + 0.5, rtol=1e-14)
    np.testing.assert_allclose(h, 2 * (x / 3 + 0.5) / 3, rtol=1e-14)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9), st.floats(0, 100))
def test_ranges_and_what_shrinks(values, lambd):
    x = np.array(values)
    for name, low, high in (("hardtanh", -1, 1), ("relu6", 0, 6), ("hardsigmoid", 0, 1)):
        y = getattr(ops, name)(x)
        assert ((low <= y) & (y <= high)).all()
    assert (ops.hardswish(x) >= -0.375).all()
    soft, hard = ops.softshrink(x, lambd=lambd), ops.hardshrink(x, lambd=lambd)
    np.testing.assert_allclose(soft, np.sign(x) * np.maximum(np.abs(x) - lambd, 0))
    np.testing.assert_array_equal(hard, np.where(np.abs(x) > lambd, x, 0))
    # softshrink is the proximal map of λ|x|: no neighbour has a smaller value
    for step in (-1e-3, 1e-3):
        cost = [0.5 * (y - x) ** 2 + lambd * np.abs(y) for y in (soft, soft + step)]
        assert (cost[0] <= cost[1] * (1 + 1e-12)).all()


def test_errors():
    x = np.zeros(2)
    np.testing.assert_array_equal(ops.hardtanh(x, min_val=1.0), [1, 1])  # one value is a range
    with pytest.raises(ValueError, match=r"min_val <= max_val, got min_val=2.0, max_val=1.0"):
        ops.hardtanh(x, min_val=2.0)
    with pytest.raises(ValueError, match=r"softshrink: expected lambd >= 0, got -0.5"):
        ops.softshrink(x, lambd=-0.5)
    with pytest.raises(ValueError, match=r"got nan"):
        ops.softshrink(x, lambd=float("nan"))
