"""RAdam against PyTorch over hundreds of steps, and the paper's and the note's forms."""

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
    {"weight_decay": 0.1, "decoupled_weight_decay": True},
    {"betas": (0.3, 0.9), "eps": 0.1},
    {"betas": (0.5, 0.6)},
    {"betas": (0.0, 0.0)},
    {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    {"weight_decay": 0.1, "maximize": True, "betas": (0.8, 0.99)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch_over_hundreds_of_steps(torch: ModuleType, options: dict[str, Any]) -> None:
    against_torch(torch, "RAdam", options)


def iterates(steps: int, **options: Any) -> list[float]:
    p = cr.nn.Parameter(np.array([1.0]))
    optimizer = cr.optim.RAdam([p], lr=0.1, **options)
    found = [1.0]
    for step in range(steps):
        p.grad = np.array([np.cos(step)])
        optimizer.step()
        found.append(p.detach().item())
    return found


@pytest.mark.parametrize("threshold", [4.0, 5.0])
def test_recurrence_of_the_paper(threshold: float) -> None:
    """O-15, E004-22, E004-23: momentum alone below the threshold, ε outside the corrected root."""
    b1, b2, eps, theta, m, v = 0.9, 0.99, 1e-3, 1.0, 0.0, 0.0
    expected = [theta]
    final = 2 / (1 - b2) - 1
    for t in range(1, 31):
        g = np.cos(t - 1)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        mean = m / (1 - b1**t)
        length = final - 2 * t * b2**t / (1 - b2**t)
        if length > threshold:
            r = (length - 4) * (length - 2) * final / ((final - 4) * (final - 2) * length)
            theta -= 0.1 * np.sqrt(r) * mean / (np.sqrt(v / (1 - b2**t)) + eps)
        else:
            theta -= 0.1 * mean
        expected.append(theta)
    ours = iterates(30, betas=(b1, b2), eps=eps, eps_hat=False, threshold=threshold)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_the_thresholds_differ_at_the_fifth_step_alone() -> None:
    """E004-23, with β2 = 0.999."""
    four, five = (np.diff(iterates(12, threshold=k)) for k in (4.0, 5.0))
    different = np.abs(four - five) > 1e-9
    np.testing.assert_array_equal(np.flatnonzero(different), [4])


def test_the_printed_fallback_is_plain_adam() -> None:
    """E004-22: what (68) of note 004 does at first is the step RAdam is to avoid."""
    adam = cr.nn.Parameter(np.array([1.0]))
    optimizer = cr.optim.Adam([adam], lr=0.1)
    for step in range(3):
        adam.grad = np.array([np.cos(step)])
        optimizer.step()
    assert abs(adam.detach().item() - iterates(3)[-1]) > 2e-2


def test_a_short_average_never_adapts() -> None:
    """With β2 ≤ 0.6, ρ_∞ ≤ 4: plain momentum, with no ε and no root."""
    np.testing.assert_allclose(
        iterates(20, betas=(0.9, 0.6), eps=0.0), iterates(20, betas=(0.9, 0.3), eps=7.0), rtol=1e-13
    )


def test_zero_gradients_and_no_eps_at_first() -> None:
    p = cr.nn.Parameter(np.array([1.0]))
    optimizer = cr.optim.RAdam([p], eps=0.0)
    for _ in range(3):
        p.grad = np.array([0.0])
        optimizer.step()
    assert p.detach().item() == 1.0


def test_options_out_of_range() -> None:
    w = [cr.nn.Parameter([1.0])]
    with pytest.raises(ValueError, match=r"RAdam: threshold must be 4 or more, got 3.0"):
        cr.optim.RAdam(w, threshold=3)
    with pytest.raises(ValueError, match="betas must be two numbers"):
        cr.optim.RAdam(w, betas=(0.9, -0.1))
