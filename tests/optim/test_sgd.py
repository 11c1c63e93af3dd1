"""SGD against PyTorch over hundreds of steps, and the forms of the notes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.common import against_torch

OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"maximize": True, "weight_decay": 0.05},
    {"momentum": 0.9},
    {"momentum": 0.9, "weight_decay": 0.1, "maximize": True},
    {"momentum": 0.8, "dampening": 0.4},
    {"momentum": 0.8, "dampening": 0.4, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch_over_hundreds_of_steps(torch: ModuleType, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3))
    p = cr.nn.Parameter(start)
    q = torch.nn.Parameter(torch.tensor(start))
    mine = cr.optim.SGD([p], lr=0.01, **options)
    other = torch.optim.SGD([q], lr=0.01, **options)
    for step in range(300):
        g = np.cos(step + p.detach().numpy()) + 0.1 * rng.normal(size=(4, 3))
        p.grad, q.grad = g, torch.tensor(g)
        mine.step()
        other.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_groups_gaps_and_rates_as_in_torch(torch: ModuleType, options: dict[str, Any]) -> None:
    against_torch(torch, "SGD", options)


def test_momentum_switched_on_later(torch: ModuleType) -> None:
    """The first dampened step is that of the buffer, not of the optimizer."""
    p = cr.nn.Parameter(np.array([1.0]))
    q = torch.nn.Parameter(torch.tensor(np.array([1.0])))
    mine, other = cr.optim.SGD([p], lr=0.1), torch.optim.SGD([q], lr=0.1)
    for step in range(12):
        for optimizer in (mine, other):
            optimizer.param_groups[0].update(momentum=0.9 * (step > 3), dampening=0.5)
        p.grad, q.grad = np.array([1.0 + step]), torch.tensor(np.array([1.0 + step]))
        mine.step()
        other.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-13)


def test_weight_decay_is_the_shrinking_of_note_004() -> None:
    """O-16: W(1 - ηλ) - η∇L."""
    w, g = np.array([2.0, -3.0]), np.array([0.5, 1.0])
    p = cr.nn.Parameter(w)
    p.grad = g
    cr.optim.SGD([p], lr=0.1, weight_decay=0.3).step()
    np.testing.assert_allclose(p.detach().numpy(), w * (1 - 0.1 * 0.3) - 0.1 * g, rtol=1e-14)


def test_velocity_form_of_note_004_is_the_same_at_constant_rate() -> None:
    """O-04, erratum E004-15: v = βv + ηg; θ -= v differs only once η changes."""
    p = cr.nn.Parameter(np.array([1.0]))
    optimizer = cr.optim.SGD([p], lr=0.1, momentum=0.9)
    theta, v = 1.0, 0.0
    for step in range(40):
        lr = 0.1 if step < 30 else 0.01
        if step == 30:
            assert p.detach().item() == pytest.approx(theta, rel=1e-12)
        optimizer.param_groups[0]["lr"] = lr
        p.grad = 2 * p.detach().numpy()
        optimizer.step()
        v = 0.9 * v + lr * 2 * theta
        theta -= v
    assert abs(p.detach().item() - theta) > 1e-3


def test_nesterov_of_note_004_at_the_look_ahead_point() -> None:
    """O-05, erratum E004-16: the stored point is θ - βv."""
    p = cr.nn.Parameter(np.array([1.0]))
    optimizer = cr.optim.SGD([p], lr=0.1, momentum=0.9, nesterov=True)
    theta, v = 1.0, 0.0
    for _ in range(50):
        p.grad = 2 * p.detach().numpy()
        optimizer.step()
        v = 0.9 * v + 0.1 * 2 * (theta - 0.9 * v)
        theta -= v
        assert p.detach().item() == pytest.approx(theta - 0.9 * v, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1}, "SGD: lr must be 0 or more, got -1.0"),
        ({"lr": float("nan")}, "lr must be 0 or more, got nan"),
        ({"momentum": -0.5}, "momentum must be 0 or more"),
        ({"weight_decay": -0.5}, "weight_decay must be 0 or more"),
        ({"nesterov": True}, "nesterov needs momentum"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening 0"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cr.optim.SGD([cr.nn.Parameter([1.0])], **options)


def test_options_that_are_no_numbers() -> None:
    with pytest.raises(TypeError, match="SGD: lr must be a number, got 'fast'"):
        cr.optim.SGD([cr.nn.Parameter([1.0])], lr="fast")  # type: ignore[arg-type]
