"""Adadelta against PyTorch over hundreds of steps, and what is wrong in note 000."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from optim.common import against_torch

OPTIONS: list[dict[str, Any]] = [
    {"lr": 1.0},
    {"lr": 1.0, "rho": 0.95, "eps": 1e-3},
    {"lr": 0.5, "weight_decay": 0.1},
    {"lr": 1.0, "weight_decay": 0.05, "maximize": True, "rho": 0.0},
    {"lr": 1.0, "rho": 1.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch_over_hundreds_of_steps(torch: ModuleType, options: dict[str, Any]) -> None:
    against_torch(torch, "Adadelta", options)


def test_recurrence_of_the_paper() -> None:
    """O-08 in its corrected form: two running means, ε inside both roots."""
    rng = np.random.default_rng(0)
    theta, v, u = rng.normal(size=5), np.zeros(5), np.zeros(5)
    p = cr.nn.Parameter(theta)
    optimizer = cr.optim.Adadelta([p], rho=0.95, eps=1e-6)
    for _ in range(30):
        p.grad = g = rng.normal(size=5)
        optimizer.step()
        v = 0.95 * v + 0.05 * g**2
        change = -np.sqrt(u + 1e-6) / np.sqrt(v + 1e-6) * g
        u = 0.95 * u + 0.05 * change**2
        theta = theta + change
    np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-12)
    np.testing.assert_allclose(optimizer.state_dict()["state"]["0.u"], u, rtol=1e-12)


def test_the_printed_form_takes_the_root_of_a_negative_number() -> None:
    """E000-22: Δθ as its own mean of squares."""
    change, v = 0.0, 0.0
    with np.errstate(invalid="ignore"):
        for g in (0.5, 0.4):
            v = 0.95 * v + 0.05 * g**2
            change = -(np.sqrt(change) + 1e-6) / (np.sqrt(v) + 1e-6) * g
    assert np.isnan(change)
    p = cr.nn.Parameter(np.array([1.0]))
    optimizer = cr.optim.Adadelta([p], rho=0.95)
    for g in (0.5, 0.4):
        p.grad = np.array([g])
        optimizer.step()
    assert 0.99 < p.detach().item() < 1.0


def test_eps_outside_the_roots_hardly_starts() -> None:
    """E000-23: a first step of ε in place of √ε."""
    p = cr.nn.Parameter(np.array([1.0]))
    p.grad = np.array([0.5])
    cr.optim.Adadelta([p], rho=0.95, eps=1e-6).step()
    ours = 1 - p.detach().item()
    printed = (0 + 1e-6) / (np.sqrt(0.05 * 0.25) + 1e-6) * 0.5
    assert ours == pytest.approx(1e-3 / np.sqrt(0.05 * 0.25 + 1e-6) * 0.5, rel=1e-10)
    assert ours / printed == pytest.approx(1000, rel=1e-3)


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"Adadelta: rho must be in \[0, 1\], got 1.5"):
        cr.optim.Adadelta([cr.nn.Parameter([1.0])], rho=1.5)
