"""The momenta of the notes, each by the equations as they are printed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr

RATES = [0.1 if step < 25 else 0.02 for step in range(50)]


def gradient(theta: Any, step: int) -> Any:
    return np.sin(theta + step) + theta


def run(form: str, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
    p = cr.nn.Parameter(np.array([1.0, -2.0, 0.5]))
    optimizer = cr.optim.Momentum([p], momentum=0.8, form=form, **(options or {}))
    found = [optimizer.iterates()[0]]
    for step, lr in enumerate(RATES):
        optimizer.param_groups[0]["lr"] = lr
        p.grad = gradient(p.detach().numpy(), step)
        optimizer.step()
        found.append(optimizer.iterates()[0])
    return np.array(found), p.detach().numpy()


def printed(form: str) -> Any:
    """O-03 to O-06, under a rate that falls in the middle."""
    theta, before, v, beta = (
        np.array([1.0, -2.0, 0.5]),
        np.array([1.0, -2.0, 0.5]),
        np.zeros(3),
        0.8,
    )
    found = [theta]
    for step, lr in enumerate(RATES):
        if form == "nesterov":
            v = beta * v + lr * gradient(theta - beta * v, step)
            theta = theta - v
        elif form == "polyak":
            new = theta - lr * gradient(theta, step) + beta * (theta - before)
            theta, before = new, theta
        elif form == "ema":
            v = beta * v + (1 - beta) * gradient(theta, step)
            theta = theta - lr * v
        else:
            v = beta * v + lr * gradient(theta, step)
            theta = theta - (v if form == "velocity" else (1 + beta) * v)
        found.append(theta)
    return np.array(found)


@pytest.mark.parametrize("form", ["velocity", "ema", "polyak", "nesterov", "printed_polyak"])
def test_iterates_of_the_notes(form: str) -> None:
    np.testing.assert_allclose(run(form)[0], printed(form), rtol=1e-9, atol=1e-12)


def test_polyak_is_the_velocity_form_bit_for_bit() -> None:
    """OK004-n; and E004-17: the printed one is not."""
    np.testing.assert_array_equal(run("polyak")[0], run("velocity")[0])
    assert np.abs(run("printed_polyak")[0] - run("polyak")[0]).max() > 0.1


def constant(form: str, lr: float, steps: int = 40) -> Any:
    p = cr.nn.Parameter(np.array([1.0]))
    optimizer = cr.optim.Momentum([p], lr=lr, momentum=0.9, form=form)
    for _ in range(steps):
        p.grad = 2 * p.detach().numpy()
        optimizer.step()
    return p.detach().item()


def test_the_forms_are_velocity_at_other_rates() -> None:
    """E000-25, E004-17, X-05: (1 - β) : 1 : (1 + β)."""
    assert constant("ema", 0.1) == pytest.approx(constant("velocity", 0.01), rel=1e-10)
    assert constant("printed_polyak", 0.1) == pytest.approx(constant("velocity", 0.19), rel=1e-10)


def test_the_printed_polyak_is_unstable_where_polyak_is_stable() -> None:
    """E004-17: stable for ηλ below 2 instead of 2(1 + β); here ηλ = 3."""
    assert abs(constant("polyak", 1.5, 300)) < 1e-3
    assert abs(constant("printed_polyak", 1.5, 300)) > 1e6


def test_sgd_is_velocity_until_the_rate_changes(torch: ModuleType) -> None:
    """O-04, E004-15: PyTorch keeps η outside."""
    q = torch.nn.Parameter(torch.tensor(np.array([1.0, -2.0, 0.5])))
    other = torch.optim.SGD([q], lr=0.1, momentum=0.8)
    ours, _ = run("velocity")
    gaps = []
    for step, lr in enumerate(RATES):
        other.param_groups[0]["lr"] = lr
        q.grad = torch.tensor(gradient(q.detach().numpy(), step))
        other.step()
        gaps.append(np.abs(q.detach().numpy() - ours[step + 1]).max())
    assert max(gaps[:25]) < 1e-12
    assert gaps[25] > 1e-3


def test_nesterov_is_torch_s_at_the_parameters(torch: ModuleType) -> None:
    """O-05, E004-16: both hold the look-ahead point, while η is constant."""
    q = torch.nn.Parameter(torch.tensor(np.array([1.0])))
    other = torch.optim.SGD([q], lr=0.1, momentum=0.9, nesterov=True)
    p = cr.nn.Parameter(np.array([1.0]))
    mine = cr.optim.Momentum([p], lr=0.1, momentum=0.9, form="nesterov")
    for step in range(300):
        p.grad = gradient(p.detach().numpy(), step)
        q.grad = torch.tensor(p.grad.copy())
        mine.step()
        other.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12)
    assert abs(mine.iterates()[0] - p.detach().numpy()) > 1e-3


def test_decay_and_maximize() -> None:
    grads = [np.array([0.5, -1.0]), np.array([0.2, 0.3])]
    for form in ("velocity", "ema", "polyak", "nesterov", "printed_polyak"):
        ends = []
        for sign in (1, -1):
            p = cr.nn.Parameter(np.array([2.0, -3.0]))
            optimizer = cr.optim.Momentum([p], lr=0.1, form=form, maximize=sign < 0)
            for g in grads:
                p.grad = sign * g + (0.3 * p.detach().numpy() if sign > 0 else 0)
                optimizer.param_groups[0]["weight_decay"] = 0.0 if sign > 0 else 0.3
                optimizer.step()
            ends.append(p.detach().numpy())
        np.testing.assert_allclose(*ends, rtol=1e-14)


def test_iterates_before_the_first_step_are_the_parameters() -> None:
    p = cr.nn.Parameter(np.array([2.0]))
    (theta,) = cr.optim.Momentum([p], form="nesterov").iterates()
    theta[:] = 0
    assert p.detach().item() == 2.0


def test_options_out_of_range() -> None:
    w = [cr.nn.Parameter([1.0])]
    with pytest.raises(ValueError, match=r"Momentum: momentum must be in \[0, 1\), got 1.0"):
        cr.optim.Momentum(w, momentum=1.0)
    with pytest.raises(ValueError, match="no form 'polyack'; did you mean 'polyak'"):
        cr.optim.Momentum(w, form="polyack")
